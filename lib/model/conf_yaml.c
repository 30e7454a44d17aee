/*
 * conf_yaml: a YAML text as a tree of nodes. Bounded in depth and number, copies made by aliases included: a
 * few lines cannot become a million. Tags are refused: the table of keys says what a value is.
 */
#include "lib/model/conf_priv.h"

#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#define DEPTH_MAX 16
#define NODES_MAX 500000
#define KEYS_MAX 20000
#define ANCHORS_MAX 1000

struct anchor {
	const char *name;
	const struct conf_node *node;
};

struct yaml {
	yaml_parser_t parser;
	struct conf_reader *rd;
	const char *file;
	int nodes, nanchors;
	struct anchor anchors[ANCHORS_MAX];
};

static int line_of(const yaml_event_t *e)
{
	return (int)e->start_mark.line + 1;
}

/* The parser's own words; they never quote the text. */
static void syntax_error(struct yaml *y)
{
	const yaml_parser_t *p = &y->parser;
	const yaml_mark_t *mark = &p->problem_mark;

	conf_error_at(y->rd, y->file, (int)mark->line + 1, "yaml", "%s%s%s",
		p->problem ? p->problem : "not readable", p->context ? " " : "",
		p->context ? p->context : "");
}

/* The next event, which the caller deletes. False after an error. */
static bool next_event(struct yaml *y, yaml_event_t *e)
{
	if (yaml_parser_parse(&y->parser, e))
		return true;
	syntax_error(y);
	return false;
}

static struct conf_node *new_node(struct yaml *y, const struct conf_node *parent, const yaml_event_t *e)
{
	struct conf_node *n = arena_alloc(y->rd->scratch, sizeof(*n));

	n->file = y->file;
	n->line = line_of(e);
	n->parent = parent;
	n->index = parent ? parent->n : 0;
	return n;
}

static void add_child(struct yaml *y, struct conf_node *n, struct conf_node *child)
{
	if (n->n == n->cap) {
		int cap = n->cap ? n->cap * 2 : 8;

		n->v = arena_grow(
			y->rd->scratch, n->v, (size_t)n->n * sizeof(*n->v), (size_t)cap * sizeof(*n->v));
		n->cap = cap;
	}
	n->v[n->n++] = child;
}

static bool is_null_word(const yaml_event_t *e)
{
	const char *s = (const char *)e->data.scalar.value;

	return e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
	       (!*s || str_eq(s, "~") || str_eq(s, "null"));
}

/* What a configuration has no use for. */
static const char *refused(struct yaml *y, const yaml_event_t *e, int depth)
{
	const yaml_char_t *tag = NULL;

	if (e->type == YAML_SCALAR_EVENT)
		tag = e->data.scalar.tag;
	else if (e->type == YAML_SEQUENCE_START_EVENT)
		tag = e->data.sequence_start.tag;
	else if (e->type == YAML_MAPPING_START_EVENT)
		tag = e->data.mapping_start.tag;
	if (tag)
		return "tags are not taken";
	if (e->type == YAML_SCALAR_EVENT && memchr(e->data.scalar.value, '\0', e->data.scalar.length))
		return "a zero byte is not taken";
	if (depth > DEPTH_MAX)
		return "nested too deep";
	return ++y->nodes > NODES_MAX ? "too many values in one file" : NULL;
}

static const yaml_char_t *anchor_of(const yaml_event_t *e)
{
	if (e->type == YAML_SCALAR_EVENT)
		return e->data.scalar.anchor;
	if (e->type == YAML_SEQUENCE_START_EVENT)
		return e->data.sequence_start.anchor;
	return e->data.mapping_start.anchor;
}

/* Once the node is whole: an alias inside it would have no end. */
static const char *keep_anchor(struct yaml *y, const yaml_event_t *e, const struct conf_node *n)
{
	const yaml_char_t *name = anchor_of(e);

	if (!name)
		return NULL;
	if (y->nanchors == ANCHORS_MAX)
		return "too many anchors in one file";
	y->anchors[y->nanchors++] = (struct anchor){arena_strdup(y->rd->scratch, (const char *)name), n};
	return NULL;
}

/* Fills to, which keeps its own place, with what from has. */
static const char *copy_value(struct yaml *y, struct conf_node *to, const struct conf_node *from, int depth)
{
	const char *why = NULL;

	if (depth > DEPTH_MAX)
		return "nested too deep";
	to->kind = from->kind;
	to->text = from->text;
	to->secret = from->secret;
	for (int i = 0; i < from->n && !why; i++) {
		struct conf_node *child = arena_alloc(y->rd->scratch, sizeof(*child));

		if (++y->nodes > NODES_MAX)
			return "too many values in one file";
		*child = (struct conf_node){.file = y->file,
			.line = from->v[i]->line,
			.parent = to,
			.key = from->v[i]->key,
			.index = i};
		why = copy_value(y, child, from->v[i], depth + 1);
		add_child(y, to, child);
	}
	return why;
}

static const char *take_alias(struct yaml *y, struct conf_node *n, const char *name, int depth)
{
	for (int i = y->nanchors - 1; i >= 0; i--) /* the latest of a name counts */
		if (str_eq(y->anchors[i].name, name))
			return copy_value(y, n, y->anchors[i].node, depth);
	return "an alias of what is not there, or holds it";
}

static bool read_children(struct yaml *y, struct conf_node *n, int depth);

/* Fills n from its first event. */
static bool read_value(struct yaml *y, struct conf_node *n, const yaml_event_t *e, int depth)
{
	const char *why = refused(y, e, depth);

	if (!why && e->type == YAML_ALIAS_EVENT) {
		why = take_alias(y, n, (const char *)e->data.alias.anchor, depth);
		if (!why)
			return true;
	} else if (!why && e->type == YAML_SCALAR_EVENT) {
		n->kind = is_null_word(e) ? CONF_NODE_NULL : CONF_NODE_SCALAR;
		n->text = arena_strdup(y->rd->scratch, (const char *)e->data.scalar.value);
		n->secret = arena_alloc(y->rd->scratch, sizeof(*n->secret));
	} else if (!why) {
		n->kind = e->type == YAML_MAPPING_START_EVENT ? CONF_NODE_MAP : CONF_NODE_LIST;
		if (!read_children(y, n, depth + 1))
			return false;
	}
	if (!why)
		why = keep_anchor(y, e, n);
	if (why)
		conf_error_at(y->rd, y->file, line_of(e), "yaml", "%s", why);
	return !why;
}

/* The key of the next entry: its node, in which the value will stand. NULL after an error. */
static struct conf_node *read_key(struct yaml *y, struct conf_node *map, const yaml_event_t *e)
{
	struct conf_node *child = new_node(y, map, e);
	const struct conf_node *before;

	if (e->type != YAML_SCALAR_EVENT || anchor_of(e) || refused(y, e, 0)) {
		conf_error_at(y->rd, y->file, line_of(e), "yaml", "a key has to be a plain word");
		return NULL;
	}
	child->key = arena_strdup(y->rd->scratch, (const char *)e->data.scalar.value);
	before = conf_node_get(map, child->key);
	if (before)
		conf_error(y->rd, child, NULL, "defined twice, first at %s:%d", before->file, before->line);
	if (map->n >= KEYS_MAX) {
		conf_error_at(
			y->rd, y->file, line_of(e), "yaml", "more than %d keys in one mapping", KEYS_MAX);
		return NULL;
	}
	return child;
}

static bool read_entry(struct yaml *y, struct conf_node *n, const yaml_event_t *first, int depth)
{
	struct conf_node *child;
	yaml_event_t e;
	bool ok;

	if (n->kind == CONF_NODE_LIST) {
		child = new_node(y, n, first);
		ok = read_value(y, child, first, depth);
	} else {
		child = read_key(y, n, first);
		if (!child || !next_event(y, &e))
			return false;
		ok = read_value(y, child, &e, depth);
		yaml_event_delete(&e);
	}
	if (ok)
		add_child(y, n, child);
	return ok;
}

static bool read_children(struct yaml *y, struct conf_node *n, int depth)
{
	for (;;) {
		yaml_event_t e;
		bool ok;

		if (!next_event(y, &e))
			return false;
		if (e.type == YAML_MAPPING_END_EVENT || e.type == YAML_SEQUENCE_END_EVENT) {
			yaml_event_delete(&e);
			return true;
		}
		ok = read_entry(y, n, &e, depth);
		yaml_event_delete(&e);
		if (!ok)
			return false;
	}
}

/* One document at most. *ret is NULL for an empty text. */
static bool read_stream(struct yaml *y, struct conf_node **ret)
{
	yaml_event_type_t type;

	do {
		yaml_event_t e;
		bool ok = true;

		if (!next_event(y, &e))
			return false;
		type = e.type;
		if (type == YAML_DOCUMENT_START_EVENT && *ret) {
			conf_error_at(y->rd, y->file, line_of(&e), "yaml", "a second document in one file");
			ok = false;
		} else if (type == YAML_SCALAR_EVENT || type == YAML_MAPPING_START_EVENT ||
			   type == YAML_SEQUENCE_START_EVENT || type == YAML_ALIAS_EVENT) {
			*ret = new_node(y, NULL, &e);
			ok = read_value(y, *ret, &e, 0);
		}
		yaml_event_delete(&e);
		if (!ok)
			return false;
	} while (type != YAML_STREAM_END_EVENT);
	return true;
}

/* Some editors begin a file with the mark of UTF-8, which the parser takes only where it may guess the
 * encoding. */
static size_t mark_of_utf8(const char *text, size_t len)
{
	static const char mark[3] = {'\xef', '\xbb', '\xbf'};

	return len >= sizeof(mark) && memcmp(text, mark, sizeof(mark)) == 0 ? sizeof(mark) : 0;
}

void conf_yaml_read(struct conf_reader *rd, const char *file, const char *text, size_t len)
{
	size_t skipped = mark_of_utf8(text, len);
	struct yaml *y = xcalloc(1, sizeof(*y));
	struct conf_node *top = NULL;

	y->rd = rd;
	y->file = arena_strdup(rd->scratch, file);
	if (!yaml_parser_initialize(&y->parser))
		abort(); /* GCOVR_EXCL_LINE: out of memory */
	yaml_parser_set_encoding(&y->parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&y->parser, (const unsigned char *)text + skipped, len - skipped);
	if (!read_stream(y, &top))
		rd->partial = true;
	else if (top && conf_node_want_map(rd, top)) {
		rd->docs = arena_grow(rd->scratch, rd->docs, (size_t)rd->ndocs * sizeof(*rd->docs),
			((size_t)rd->ndocs + 1) * sizeof(*rd->docs));
		rd->docs[rd->ndocs++] = top;
	}
	yaml_parser_delete(&y->parser);
	free(y);
}
