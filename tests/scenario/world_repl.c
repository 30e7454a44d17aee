/*
 * world_repl: binary logs and replication. An entry is fetched a moment after it was logged and applied one
 * by one, each taking the server's apply_us; a server passes over its own entries by their server id (E3b);
 * in strict mode a number that is not higher than the last one stops the applier.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/scenario/fake_loop.h"
#include "tests/scenario/world.h"

#define NET_US 200
#define CONNECT_US 600
#define RETRY_US 1000000
#define FIRST_POS 330
#define ENTRY_BYTES 200

uint64_t pos_of(int entry)
{
	return FIRST_POS + (uint64_t)entry * ENTRY_BYTES;
}

int entry_at(uint64_t pos)
{
	return pos < FIRST_POS ? 0 : (int)((pos - FIRST_POS) / ENTRY_BYTES);
}

static void state_add(struct gtid_list *l, struct gtid g)
{
	int i = 0;

	for (; i < l->n; i++)
		if (l->v[i].domain == g.domain && l->v[i].server == g.server) {
			l->v[i].seq = g.seq;
			return;
		}
	for (i = l->n++; i > 0 && l->v[i - 1].server > g.server; i--)
		l->v[i] = l->v[i - 1];
	l->v[i] = g;
}

static void data_set(struct server *s, int64_t number)
{
	if (number >= w.cap_writes)
		abort();
	if (!s->data)
		s->data = xcalloc((size_t)w.cap_writes, 1);
	s->data[number] = 1;
}

int write_number(void)
{
	if (!w.acked) {
		w.cap_writes = WRITES_MOST + CLIENTS_MAX;
		w.acked = xcalloc((size_t)w.cap_writes, 1);
	}
	return w.nwrites++;
}

void log_append(struct server *s, struct gtid g, int kind, int64_t value)
{
	if (s->nlog == s->cap) {
		s->cap = s->cap ? s->cap * 2 : 256;
		s->log = xrealloc(s->log, (size_t)s->cap * sizeof(*s->log));
	}
	s->log[s->nlog++] = (struct entry){.gtid = g, .kind = kind, .value = value};
	s->seq = g.seq > s->seq ? g.seq : s->seq;
	state_add(&s->state, g);
	if (kind == ENTRY_APP)
		data_set(s, value);
	else if (kind == ENTRY_ROW)
		s->row = (int)value;
	else if (kind == ENTRY_BEAT)
		s->heartbeat_wall_ms = value;
	link_wake_all();
}

/* The end of its log is gone, as after a crash with sync_binlog=0 or from a backup. */
void log_lose(struct server *s, int n)
{
	int keep = s->nlog > n ? s->nlog - n : 0;

	note("%s has lost its last %d transactions", s->name, s->nlog - keep);
	s->nlog = 0;
	s->seq = 0;
	s->state = (struct gtid_list){0};
	if (s->data)
		memset(s->data, 0, (size_t)w.cap_writes);
	for (int i = 0; i < keep; i++)
		log_append(s, s->log[i].gtid, (int)s->log[i].kind, s->log[i].value);
}

void log_write(struct server *s, int kind, int64_t value)
{
	log_append(s, (struct gtid){0, s->server_id, s->seq + 1}, kind, value);
}

void server_position(const struct server *s, struct facts_position *ret)
{
	memset(ret, 0, sizeof(*ret));
	str_copy(ret->file, sizeof(ret->file), "binlog.000007");
	ret->pos = pos_of(s->nlog);
	if (s->nlog)
		ret->binlog_pos = (struct gtid_list){.n = 1, .v = {s->log[s->nlog - 1].gtid}};
	ret->binlog_state = s->state;
	ret->slave_pos = s->slave_pos;
	ret->current_pos = ret->binlog_pos;
}

/* --- the threads --- */

static void apply_next(struct server *s);

struct tick {
	struct server *s;
	int generation;
};

static void tick_at(struct server *s, int64_t at_us, void (*fn)(void *))
{
	struct tick *t = arena_alloc(w.arena, sizeof(*t));

	*t = (struct tick){s, s->link.generation};
	vtime_at(at_us, fn, t);
}

static void link_fail(struct server *s, int code, const char *why)
{
	s->link.error = code;
	(void)snprintf(s->link.last_error, sizeof(s->link.last_error), "%s", why);
	s->link.sql = false;
	note("%s: replication stops: %d %s", s->name, code, why);
}

static void apply_entry(struct server *s, const struct entry *e)
{
	if (e->gtid.server == s->server_id)
		return;
	if (s->strict && e->gtid.seq <= s->seq) {
		link_fail(s, 1950, "out of order in strict mode");
		return;
	}
	s->slave_pos = (struct gtid_list){.n = 1, .v = {e->gtid}};
	log_append(s, e->gtid, (int)e->kind, e->value);
}

static void applied(void *arg)
{
	struct tick *t = arg;
	struct server *s = t->s;
	struct link *l = &s->link;

	if (t->generation != l->generation)
		return;
	l->applying = false;
	if (!l->sql || !s->up)
		return;
	apply_entry(s, &w.server[l->master].log[l->applied]);
	if (!l->sql)
		return;
	l->applied++;
	server_poke(s);
	apply_next(s);
}

static void apply_next(struct server *s)
{
	struct link *l = &s->link;

	if (!l->there || !l->sql || l->applying || l->applied >= l->fetched || !s->up)
		return;
	const struct entry *e = &w.server[l->master].log[l->applied];
	bool slow = w.slow_applies && e->kind == ENTRY_APP && e->value == w.slow_write;

	l->applying = true;
	tick_at(s, vtime_us() + (slow ? w.slow_us : s->apply_us), applied);
}

static void fetch(void *arg)
{
	struct tick *t = arg;
	struct link *l = &t->s->link;
	struct server *m = &w.server[l->master];

	if (t->generation != l->generation || !l->io || !m->up || m->cut || !t->s->up || t->s->cut)
		return;
	l->fetched = m->nlog;
	apply_next(t->s);
}

void link_wake_all(void)
{
	for (int i = 0; i < w.nservers; i++) {
		struct server *s = &w.server[i];
		if (s->link.there && s->link.io && s->link.fetched < w.server[s->link.master].nlog)
			tick_at(s, vtime_us() + NET_US, fetch);
	}
}

/* Where in the master's log a position stands: behind its last transaction; -1 where the master has it not.
 */
static int find_position(const struct server *m, const struct gtid_list *pos)
{
	if (!pos->n)
		return 0;
	for (int i = m->nlog - 1; i >= 0; i--)
		if (m->log[i].gtid.server == pos->v[0].server && m->log[i].gtid.seq == pos->v[0].seq)
			return i + 1;
	return -1;
}

static void connect_master(void *arg)
{
	struct tick *t = arg;
	struct server *s = t->s;
	struct link *l = &s->link;
	struct server *m = &w.server[l->master];

	if (t->generation != l->generation || !l->there || !s->up || l->io)
		return;
	if (!m->up || m->cut || s->cut) {
		tick_at(s, vtime_us() + RETRY_US, connect_master);
		return;
	}
	if (l->use_gtid) {
		int at = find_position(m, &s->slave_pos);
		if (at < 0) {
			link_fail(s, 1236, "the master's log has not the position asked for");
			return;
		}
		l->fetched = l->applied = at;
	}
	l->io = true;
	fetch(t);
}

void link_set(struct server *s, int master, bool use_gtid, int at_entry)
{
	int generation = s->link.generation + 1;

	s->link = (struct link){.there = true,
		.master = master,
		.use_gtid = use_gtid,
		.fetched = at_entry,
		.applied = at_entry,
		.generation = generation};
}

void link_start(struct server *s)
{
	if (!s->link.there || s->link.sql || s->link.broken)
		return;
	s->link.generation++;
	s->link.applying = false;
	s->link.sql = true;
	s->link.error = 0;
	s->link.last_error[0] = '\0';
	tick_at(s, vtime_us() + CONNECT_US, connect_master);
}

/* In file mode what was fetched but not applied is fetched again; in GTID mode the position says. */
void link_stop(struct server *s)
{
	s->link.generation++;
	s->link.applying = s->link.io = s->link.sql = false;
	s->link.fetched = s->link.applied;
}

void link_forget(struct server *s)
{
	link_stop(s);
	s->link.there = s->link.broken = false;
}

void link_break(struct server *s)
{
	link_stop(s);
	s->link.broken = true;
}

const char *link_io(const struct server *s)
{
	if (s->link.io)
		return w.server[s->link.master].up ? "Yes" : "Connecting";
	return s->link.sql ? "Connecting" : "No";
}

/* --- waiting for a position --- */

static bool has_entry(const struct gtid_list *l, const struct gtid *g)
{
	const struct gtid *have = gtid_find(l, g->domain, g->server);

	return have && have->seq >= g->seq;
}

/* As MASTER_GTID_WAIT and the look behind it do: the number alone is waited for (E1e), then the server id
 * counts. */
bool goal_reached(struct server *s, const struct node_goal *g, bool *ret_never)
{
	*ret_never = false;
	if (w.reckless[MUTANT_NO_WAIT])
		return true;
	if (!g->use_gtid) {
		*ret_never = !s->link.there || !s->link.sql;
		return !*ret_never && pos_of(s->link.applied) >= g->pos;
	}
	for (int i = 0; i < g->gtid.n; i++) {
		const struct gtid *e = &g->gtid.v[i];
		const struct gtid *now = gtid_find_domain(&s->slave_pos, e->domain);

		if (e->server == s->server_id) {
			*ret_never = !has_entry(&s->state, e);
			if (*ret_never)
				return false;
			continue;
		}
		if (!now || now->seq < e->seq)
			return false;
		if (!has_entry(&s->slave_pos, e)) {
			*ret_never = true;
			return false;
		}
	}
	return true;
}
