/*
 * arena: blocks of growing size in a list; an allocation is cut from the newest. Under AddressSanitizer each
 * allocation is a block of its own, so that running over its end is seen.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/arena.h"

#ifdef __SANITIZE_ADDRESS__
#define BLOCK_FIRST 0
#define BLOCK_MOST 0
#else
#define BLOCK_FIRST 2048
#define BLOCK_MOST 65536
#endif

struct block {
	struct block *next;
	size_t used, size;
	_Alignas(max_align_t) char data[];
};

struct arena {
	struct block *head;
	size_t next_size;
};

static _Noreturn void out_of_memory(void)
{
	(void)fputs("out of memory\n", stderr);
	abort();
}

void *xcalloc(size_t n, size_t size)
{
	void *p = calloc(n ? n : 1, size ? size : 1);
	if (!p)
		out_of_memory();
	return p;
}

void *xrealloc(void *p, size_t size)
{
	p = realloc(p, size ? size : 1);
	if (!p)
		out_of_memory();
	return p;
}

char *xstrdup(const char *s)
{
	if (!s)
		return NULL;
	char *copy = strdup(s);
	if (!copy)
		out_of_memory();
	return copy;
}

struct arena *arena_new(void)
{
	struct arena *a = xcalloc(1, sizeof(*a));
	a->next_size = BLOCK_FIRST;
	return a;
}

void arena_free(struct arena *a)
{
	if (!a)
		return;
	while (a->head) {
		struct block *b = a->head;
		a->head = b->next;
		free(b);
	}
	free(a);
}

void arena_freep(struct arena **a)
{
	arena_free(*a);
	*a = NULL;
}

static struct block *block_add(struct arena *a, size_t need)
{
	size_t size = need > a->next_size ? need : a->next_size;
	struct block *b = xcalloc(1, sizeof(*b) + size);

	b->size = size;
	/* A large one goes behind the head: the space left there is still used. */
	if (need > a->next_size && a->head) {
		b->next = a->head->next;
		a->head->next = b;
	} else {
		b->next = a->head;
		a->head = b;
	}
	if (a->next_size != BLOCK_MOST)
		a->next_size *= 2;
	return b;
}

void *arena_alloc(struct arena *a, size_t size)
{
	const size_t align = _Alignof(max_align_t);

	if (size > SIZE_MAX / 2)
		out_of_memory();
	size_t need = BLOCK_MOST ? (size + align - 1) / align * align : size;
	if (need == 0)
		need = align;
	struct block *b = a->head;
	if (!b || b->size - b->used < need)
		b = block_add(a, need);
	void *p = b->data + b->used;
	b->used += need;
	return p;
}

char *arena_strndup(struct arena *a, const char *s, size_t n)
{
	size_t len = strnlen(s, n);
	char *copy = arena_alloc(a, len + 1);
	memcpy(copy, s, len);
	return copy;
}

char *arena_strdup(struct arena *a, const char *s)
{
	return s ? arena_strndup(a, s, strlen(s)) : NULL;
}

char *arena_vprintf(struct arena *a, const char *fmt, va_list ap)
{
	va_list again;

	va_copy(again, ap);
	int n = vsnprintf(NULL, 0, fmt, again);
	va_end(again);
	if (n < 0)
		return arena_strdup(a, "");
	char *s = arena_alloc(a, (size_t)n + 1);
	(void)vsnprintf(s, (size_t)n + 1, fmt, ap);
	return s;
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	char *s = arena_vprintf(a, fmt, ap);
	va_end(ap);
	return s;
}

void *arena_grow(struct arena *a, const void *old, size_t old_size, size_t new_size)
{
	void *p = arena_alloc(a, new_size);
	if (old && old_size)
		memcpy(p, old, old_size < new_size ? old_size : new_size);
	return p;
}
