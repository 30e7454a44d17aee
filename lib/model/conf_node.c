/* conf_node: the tree of a text: where a node stands, what is wrong with it, and which layers have a key. */
#include "lib/model/conf_priv.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MESSAGES_MAX 500
#define VALUE_SHOWN 80 /* bytes of a key that messages show */

/* "clusters.shard1.endpoints[0].dns"; empty at the top. */
static void add_path(struct strbuf *b, const struct conf_node *n)
{
	if (!n->parent)
		return;
	add_path(b, n->parent);
	if (n->key)
		strbuf_addf(b, "%s%.*s", b->len ? "." : "", VALUE_SHOWN, n->key);
	else
		strbuf_addf(b, "[%d]", n->index);
}

static void clean_line(char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s < ' ' || *s == 0x7f)
			*s = '?';
}

/* "FILE:LINE: KEY: message", freed by the caller. */
static char *message_v(const char *file, int line, const char *key, const char *fmt, va_list ap)
{
	struct strbuf b = {0};
	char *text;

	if (vasprintf(&text, fmt, ap) < 0)
		abort(); /* GCOVR_EXCL_LINE: out of memory */
	strbuf_addf(&b, "%s:%d: %s: %s", file, line, key, text);
	free(text);
	text = xstrdup(strbuf_str(&b));
	strbuf_free(&b);
	clean_line(text);
	return text;
}

static char *node_message_v(const struct conf_node *n, const char *sub, const char *fmt, va_list ap)
{
	struct strbuf key = {0};
	char *text;

	add_path(&key, n);
	if (sub)
		strbuf_addf(&key, "%s%s", key.len ? "." : "", sub);
	text = message_v(n->file, n->line, key.len ? strbuf_str(&key) : "yaml", fmt, ap);
	strbuf_free(&key);
	return text;
}

/* Values in defaults are read once for each server: their messages come again and again. */
static bool is_there(const char *const *v, int n, const char *text)
{
	for (int i = 0; i < n; i++)
		if (str_eq(v[i], text))
			return true;
	return false;
}

/* Where an error belongs: after those of the same line. */
static int find_place(const struct conf_reader *rd, const struct conf_place *p)
{
	int at = rd->errors->n;

	for (; at > 0; at--) {
		const struct conf_place *before = &rd->places[at - 1];
		int order = strcmp(before->file, p->file);

		if (order < 0 || (order == 0 && before->line <= p->line))
			break;
	}
	return at;
}

static void insert_error(struct conf_reader *rd, int at, const struct conf_place *p, char *text)
{
	struct conf_errors *e = rd->errors;
	size_t after = (size_t)(e->n - at), size = (size_t)e->n * sizeof(*p);

	e->v = xrealloc(e->v, ((size_t)e->n + 1) * sizeof(*e->v));
	rd->places = arena_grow(rd->scratch, rd->places, size, size + sizeof(*p));
	memmove(&e->v[at + 1], &e->v[at], after * sizeof(*e->v));
	memmove(&rd->places[at + 1], &rd->places[at], after * sizeof(*p));
	e->v[at] = text;
	rd->places[at] = *p;
	e->n++;
}

static void take_error(struct conf_reader *rd, const char *file, int line, char *text)
{
	const struct conf_place place = {arena_strdup(rd->scratch, file), line};
	struct conf_errors *e = rd->errors;

	if (is_there((const char *const *)e->v, e->n, text) || e->n > MESSAGES_MAX) {
		free(text);
	} else if (e->n == MESSAGES_MAX) {
		free(text);
		insert_error(rd, e->n, &place, xstrdup("and more errors"));
	} else {
		insert_error(rd, find_place(rd, &place), &place, text);
	}
}

void conf_error(struct conf_reader *rd, const struct conf_node *n, const char *sub, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	take_error(rd, n->file, n->line, node_message_v(n, sub, fmt, ap));
	va_end(ap);
}

void conf_error_at(struct conf_reader *rd, const char *file, int line, const char *key, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	take_error(rd, file, line, message_v(file, line, key, fmt, ap));
	va_end(ap);
}

void conf_warn(struct conf_reader *rd, const struct conf_node *n, const char *sub, const char *fmt, ...)
{
	struct conf *c = &rd->box->conf;
	size_t size = (size_t)c->nwarnings * sizeof(*c->warnings);
	va_list ap;
	char *text;

	va_start(ap, fmt);
	text = node_message_v(n, sub, fmt, ap);
	va_end(ap);
	if (!is_there(c->warnings, c->nwarnings, text) && c->nwarnings < MESSAGES_MAX) {
		c->warnings = arena_grow(rd->arena, c->warnings, size, size + sizeof(*c->warnings));
		c->warnings[c->nwarnings++] = arena_strdup(rd->arena, text);
	}
	free(text);
}

const struct conf_node *conf_node_get(const struct conf_node *map, const char *key)
{
	if (!map || map->kind != CONF_NODE_MAP)
		return NULL;
	for (int i = 0; i < map->n; i++)
		if (str_eq(map->v[i]->key, key))
			return map->v[i];
	return NULL;
}

bool conf_node_want_map(struct conf_reader *rd, const struct conf_node *n)
{
	if (n->kind == CONF_NODE_MAP || n->kind == CONF_NODE_NULL)
		return true;
	conf_error(rd, n, NULL, "a mapping is wanted");
	return false;
}

struct conf_layers conf_layers_add(
	struct conf_reader *rd, const struct conf_layers *layers, const struct conf_node *n)
{
	struct conf_layers more = {.n = layers->n + 1};
	size_t size = (size_t)layers->n * sizeof(*more.v);

	more.v = arena_grow(rd->scratch, layers->v, size, size + sizeof(*more.v));
	more.v[layers->n] = n;
	return more;
}

struct conf_layers conf_layers_get(struct conf_reader *rd, const struct conf_layers *layers, const char *key)
{
	struct conf_layers found = {0};

	for (int i = 0; i < layers->n; i++) {
		const struct conf_node *n = conf_node_get(layers->v[i], key);

		if (n)
			found = conf_layers_add(rd, &found, n);
	}
	return found;
}
