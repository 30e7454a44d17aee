/* fiber_stack: mapped stacks with a guard page below, kept for reuse. valgrind and AddressSanitizer know of
 * them. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/base/arena.h"
#include "lib/io/fiber_stack.h"

#ifdef FIBER_WITH_ASAN
#include <sanitizer/asan_interface.h>
#endif

#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#else
#define VALGRIND_STACK_REGISTER(start, end) 0u
#define VALGRIND_STACK_DEREGISTER(id) ((void)(id))
#endif

#define POOL_MOST 64 /* free stacks kept */

static struct {
	struct fiber_stack *free;
	int count;
} pool;

static size_t page_bytes(void)
{
	return (size_t)sysconf(_SC_PAGESIZE);
}

static struct fiber_stack *stack_new(void)
{
	char *p = mmap(NULL, page_bytes() + FIBER_STACK_BYTES, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED || mprotect(p, page_bytes(), PROT_NONE) < 0) {
		(void)fputs("out of memory for a stack\n", stderr);
		abort();
	}
	struct fiber_stack *s = xcalloc(1, sizeof(*s));
	s->base = p + page_bytes();
	s->valgrind_id = VALGRIND_STACK_REGISTER(s->base, s->base + FIBER_STACK_BYTES);
	return s;
}

struct fiber_stack *fiber_stack_take(void)
{
	struct fiber_stack *s = pool.free;

	if (!s)
		return stack_new();
	pool.free = s->next;
	pool.count--;
	s->next = NULL;
	return s;
}

void fiber_stack_give(struct fiber_stack *s)
{
#ifdef FIBER_WITH_ASAN
	/* Frames that never returned (fiber_main's) left their red zones. */
	__asan_unpoison_memory_region(s->base, FIBER_STACK_BYTES);
#endif
	if (pool.count < POOL_MOST) {
		s->next = pool.free;
		pool.free = s;
		pool.count++;
		return;
	}
	VALGRIND_STACK_DEREGISTER(s->valgrind_id);
	(void)munmap(s->base - page_bytes(), page_bytes() + FIBER_STACK_BYTES);
	free(s);
}
