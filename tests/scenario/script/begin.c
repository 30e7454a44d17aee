/* begin: what a script says of the world before anything happens, beside its configuration. */
#include <stdlib.h>
#include <string.h>

#include "tests/scenario/script/script.h"

static void begin_writers(const struct words *l)
{
	for (int i = atoi(l->v[1]); i > 0; i--)
		client_add(CLIENT_WRITER, 0, 0);
}

static void begin_apply(const struct words *l)
{
	w.server[w.to].apply_us = words_us(l->v[1]);
}

static void begin_max_blackout(const struct words *l)
{
	plan.max_blackout_ms = words_us(l->v[1]) / 1000;
}

static void begin_max_lag(const struct words *l)
{
	plan.max_lag_ms = words_us(l->v[1]) / 1000;
}

static void begin_group(const struct words *l)
{
	plan.group = arena_strdup(w.arena, l->v[1]);
}

static void begin_scheduler(const struct words *l)
{
	(void)l;
	w.server[w.from].scheduler = true;
}

static void begin_semi_sync(const struct words *l)
{
	(void)l;
	w.server[w.to].semi_sync = true;
}

static void begin_fence(const struct words *l)
{
	struct server *s = &w.server[words_server(l->v[1])];

	s->outer = strcmp(l->v[2], "security-group") != 0;
	s->outer_closed = s->outer && s->read_only;
}

static void begin_events(const struct words *l)
{
	w.nevents = atoi(l->v[1]);
	w.server[w.from].events_on = (1u << w.nevents) - 1;
}

/* The side that takes writes is asked for: nothing is to be done. */
static void begin_to(const struct words *l)
{
	plan.to = !strcmp(l->v[1], "source") ? CONF_SOURCE : CONF_TARGET;
	w.to = plan.to;
	w.from = !plan.to;
}

static void begin_restart(const struct words *l)
{
	w.restart_us = words_us(l->v[1]);
}

static void begin_until(const struct words *l)
{
	w.judge_from_us = w.begun_us + words_us(l->v[1]);
}

static void begin_heartbeat(const struct words *l)
{
	(void)l;
	w.no_heartbeat = true;
}

static void begin_no_tables(const struct words *l)
{
	(void)l;
	w.no_tables = true;
}

static void begin_binlog(const struct words *l)
{
	w.binlog_mixed = !strcmp(l->v[1], "MIXED");
}

/* Not the usual two minutes. */
static void begin_last(const struct words *l)
{
	plan.last_ms = words_us(l->v[1]) / 1000;
}

static void begin_account(const struct words *l)
{
	w.bypass_account |= !strcmp(l->v[1], "bypass");
	w.probe_walks |= !strcmp(l->v[1], "probe-walks");
}

static void begin_differs(const struct words *l)
{
	w.server[words_server(l->v[1])].differs = (uint64_t)atoi(l->v[2]);
}

/* A flip that a flipd on another host began and left: its row came over with replication. */
static void begin_foreign(const struct words *l)
{
	struct node_row *r = &w.row[w.nrows];

	*r = (struct node_row){.marker = 1};
	str_copy(r->id, sizeof(r->id), l->v[1]);
	str_copy(r->cluster, sizeof(r->cluster), "c");
	str_copy(r->host, sizeof(r->host), "elsewhere");
	str_copy(r->journal, sizeof(r->journal), "journal-9");
	str_copy(r->direction, sizeof(r->direction), conf_side_name((enum conf_side)w.to));
	str_copy(r->state, sizeof(r->state), "fencing");
	log_write(&w.server[w.from], ENTRY_ROW, w.nrows++);
}

static void begin_slow_applies(const struct words *l)
{
	(void)l;
	w.slow_applies = true;
}

static void begin_rehearse(const struct words *l)
{
	w.rehearsal = plan.rehearse = true;
	plan.then_flip = l->n > 1;
}

static const struct {
	const char *word;
	int least;
	void (*fn)(const struct words *);
} lines[] = {
	{"writers", 2, begin_writers},
	{"apply", 2, begin_apply},
	{"max_blackout", 2, begin_max_blackout},
	{"max_lag", 2, begin_max_lag},
	{"group", 2, begin_group},
	{"rehearse", 1, begin_rehearse}, /* instead of a flip; with `first`: before it */
	{"scheduler", 1, begin_scheduler},
	{"slow_applies", 1, begin_slow_applies},
	{"semi_sync", 1, begin_semi_sync},
	{"fence", 3, begin_fence},
	{"events", 2, begin_events},
	{"to", 2, begin_to},
	{"restart", 2, begin_restart},
	{"until", 2, begin_until},
	{"no-heartbeat", 1, begin_heartbeat},
	{"no-tables", 1, begin_no_tables},
	{"binlog", 2, begin_binlog},
	{"last", 2, begin_last},
	{"account", 2, begin_account},
	{"differs", 3, begin_differs},
	{"foreign-row", 2, begin_foreign},
};

bool begin_parse(const struct words *l)
{
	for (size_t i = 0; i < COUNT_OF(lines); i++) {
		if (strcmp(lines[i].word, l->v[0]) != 0 || l->n < lines[i].least)
			continue;
		lines[i].fn(l);
		return true;
	}
	return false;
}
