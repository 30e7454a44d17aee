/*
 * Fuzz target: what a server answers: facts, proofs, coordinates, guards, rows. Result sets are parted by
 * empty lines; the first line of each has the columns' names, the others are rows, parted by tabs; a cell of
 * \N is NULL. Whatever it says: nothing counts as proven that it does not say in so many words, and a
 * position is read whole or not at all.
 */
#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/arena.h"
#include "lib/base/str.h"
#include "lib/io/db.h"
#include "lib/provider/dialect.h"

#define SETS_MAX 24
#define COLS_MAX 48
#define ROWS_MAX 200

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct dialect *const d = &dialect_mariadb;

/* --- the text --- */

static int split(char *line, char **v)
{
	int n = 0;

	for (char *at = line; at && n < COLS_MAX; n++) {
		v[n] = at;
		at = strchr(at, '\t');
		if (at)
			*at++ = '\0';
	}
	return n;
}

static char *next_line(char **text)
{
	char *line = *text, *end = line ? strchr(line, '\n') : NULL;

	if (end)
		*end++ = '\0';
	*text = end;
	return line;
}

static struct db_result *read_set(char **text)
{
	struct db_result *r = xcalloc(1, sizeof(*r));
	char *v[COLS_MAX], *line = next_line(text);

	r->cols = split(line, v);
	r->names = xcalloc(COLS_MAX, sizeof(char *));
	r->cells = xcalloc((size_t)COLS_MAX * ROWS_MAX, sizeof(char *));
	for (int c = 0; c < r->cols; c++)
		r->names[c] = xstrdup(v[c]);
	while ((line = next_line(text)) && *line && r->rows < ROWS_MAX) {
		int n = split(line, v);
		for (int c = 0; c < n && c < r->cols; c++)
			if (strcmp(v[c], "\\N") != 0)
				r->cells[r->rows * r->cols + c] = xstrdup(v[c]);
		r->rows++;
	}
	return r;
}

static struct db_result *read_chain(char *text)
{
	struct db_result *first = NULL, **at = &first;

	for (int n = 0; text && *text && n < SETS_MAX; n++) {
		*at = read_set(&text);
		at = &(*at)->next;
	}
	return first;
}

/* --- what must hold --- */

static void check_list(const struct gtid_list *l)
{
	static char buf[GTID_MAX * 44 + 1];
	struct gtid_list again;

	if (gtid_parse(gtid_format(l, buf, sizeof(buf)), &again) < 0)
		abort();
	assert(gtid_equal(l, &again));
}

static void check_position(const struct facts_position *p)
{
	assert(memchr(p->file, 0, sizeof(p->file)));
	check_list(&p->binlog_pos);
	check_list(&p->binlog_state);
	check_list(&p->slave_pos);
	check_list(&p->current_pos);
}

static void check_prove(const struct db_result *r)
{
	static struct node_proof p;
	int e = d->read_prove(r, &p);
	const struct db_result *set = dialect_find(r, "read_only");
	const char *said = set ? db_get(set, 0, "read_only") : NULL;

	if (e < 0)
		return;
	check_position(&p.position);
	/* Closed only where the server says a value that means it; the lock likewise. */
	if (p.read_only)
		assert(said && !str_eq(said, "0") && !str_ieq(said, "OFF"));
	if (p.holds_lock)
		assert(db_get_int(set, 0, "holds_lock", -1) == 1);
	assert(db_get(set, 0, "binlog_state") && db_get(set, 0, "binlog_pos"));
}

static void check_guard(const struct db_result *r)
{
	static struct dialect_guard g;

	if (d->read_guard(r, &g) < 0)
		return;
	const struct db_result *w = dialect_find(r, "waited"), *s = dialect_find(r, "read_only");
	assert(g.answered && memchr(g.position, 0, sizeof(g.position)));
	if (g.reached)
		assert(w && db_get(w, 0, "waited") && !g.null);
	if (!g.read_only)
		assert(!w && s && db_get(s, 0, "read_only"));
}

static void check_facts(const struct db_result *r)
{
	static struct facts f;
	struct arena *arena = arena_new();
	struct dialect_extra x = {0};

	f = (struct facts){0};
	d->read_facts(r, arena, &f, &x);
	if (x.error == 0)
		check_position(&f.position);
	assert(f.nchannels >= 0 && f.nchannels <= FACTS_CHANNELS_MAX);
	assert(memchr(f.default_filters, 0, sizeof(f.default_filters)) &&
		memchr(f.version, 0, sizeof(f.version)));
	for (int i = 0; i < f.nown; i++)
		assert(memchr(f.own[i].host, 0, sizeof(f.own[i].host)));
	for (int i = 0; i < f.nsessions; i++)
		assert(memchr(f.sessions[i].info, 0, sizeof(f.sessions[i].info)));
	for (int i = 0; i < f.nbypass; i++)
		assert(memchr(f.bypass[i].user, 0, sizeof(f.bypass[i].user)));
	for (int i = 0; i < f.nsettings; i++)
		assert(f.settings[i].name);
	arena_free(arena);
}

static void check_survey(const struct db_result *r)
{
	static struct survey s;
	struct arena *arena = arena_new();

	s = (struct survey){0};
	if (d->read_survey(r, arena, &s) == 0) {
		survey_sort(&s);
		for (int i = 0; i < s.n; i++)
			assert(survey_find(&s, s.things[i].kind, s.things[i].name));
	}
	arena_free(arena);
}

/* What is read from one server goes into statements to it: an event's name is taken as it is. */
static void check_small(const struct db_result *r)
{
	static struct dialect_hello h;
	static struct node_row row;
	static struct dialect_event e;
	static struct facts_channel c;
	struct strbuf sql = {0};
	const struct dialect_ctx ctx = {.schema = "flipd", .cluster = "c", .node = "source", .lock = "l"};

	(void)d->read_hello(r, &h);
	(void)d->read_channel(r, &c);
	if (d->read_row(r, &row) == 0)
		d->row_write(&ctx, &row, &sql);
	for (int i = 0; r && i < r->rows; i++) {
		d->read_event(r, i, &e);
		d->event_enable(&ctx, &e, &sql);
	}
	strbuf_free(&sql);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = calloc(size + 1, 1);

	memcpy(text, data, size);
	struct db_result *r = read_chain(text);
	check_prove(r);
	check_guard(r);
	check_facts(r);
	check_survey(r);
	check_small(r);
	db_result_free(r);
	free(text);
	return 0;
}
