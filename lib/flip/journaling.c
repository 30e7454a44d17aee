/*
 * journaling: what a flip writes into the journal, and how a later life reads it back. One kind of record per
 * fact; the replay of all records gives the state that recovery decides from.
 *
 *     begin, end      a step            noted    settings to restore      position  old's final one
 *     session         a connection      hooks    before_fence begun       intent, revoke, opened
 *     row             written on old    fence    baseline of new          endpoint  begun, switched
 *     closing         row is being closed by us                           word      an operator's
 *     predicted       blackout, by a rehearsal                            trial     timed, says nothing
 *     accounts        to be locked on old   unlocked  all of them again
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/base/str.h"
#include "lib/flip/flip_priv.h"

/* The kinds there are, and the key of the position that one must carry. What is not here is damage to a later
 * life. */
static const struct {
	const char *kind, *position;
} kinds[] = {{"requested", NULL}, {"begin", NULL}, {"end", NULL}, {"session", NULL}, {"row", NULL},
	{"noted", NULL}, {"accounts", NULL}, {"unlocked", NULL}, {"hooks", NULL}, {"fence", "baseline"},
	{"position", "final"}, {"endpoint", NULL}, {"killed", NULL}, {"intent", "final"}, {"revoke", NULL},
	{"opened", NULL}, {"reopened", NULL}, {"closing", NULL}, {"decide", NULL}, {"word", NULL},
	{"predicted", NULL}, {"trial", NULL}, {"warning", NULL}};

static size_t kind_find(const char *kind)
{
	size_t k = 0;

	while (k < COUNT_OF(kinds) && !str_eq(kinds[k].kind, kind))
		k++;
	return k;
}

int MAY_WAIT jn_write(
	struct flip *f, const char *kind, const char *step, struct wire *data, bool durable, struct err *err)
{
	assert(kind_find(kind) < COUNT_OF(kinds));
	char *text = data ? wire_dump(data, 0) : xstrdup("{}");
	int rc = journal_write(f->journal, f->id, kind, step, text, durable, err);

	free(text);
	wire_free(data);
	if (rc < 0)
		err_wrap(err, "journal (%s)", kind);
	return rc;
}

static void set_gtid(struct wire *o, const char *key, const struct gtid_list *l)
{
	char buf[GTID_MAX * 44];

	wire_set_str(o, key, gtid_format(l, buf, sizeof(buf)));
}

static void read_gtid(const struct wire *o, const char *key, struct gtid_list *ret)
{
	const char *s = wire_get_str(o, key);

	memset(ret, 0, sizeof(*ret));
	if (s && gtid_parse(s, ret) < 0)
		memset(ret, 0, sizeof(*ret));
}

struct wire *jn_position(const struct facts_position *p)
{
	struct wire *o = wire_object();

	wire_set_str(o, "file", p->file);
	wire_set_int(o, "pos", (int64_t)p->pos);
	set_gtid(o, "binlog_pos", &p->binlog_pos);
	set_gtid(o, "binlog_state", &p->binlog_state);
	set_gtid(o, "slave_pos", &p->slave_pos);
	set_gtid(o, "current_pos", &p->current_pos);
	return o;
}

void jn_read_position(const struct wire *o, struct facts_position *ret)
{
	memset(ret, 0, sizeof(*ret));
	if (wire_get_str(o, "file"))
		str_copy(ret->file, sizeof(ret->file), wire_get_str(o, "file"));
	ret->pos = (uint64_t)wire_get_int(o, "pos", 0);
	read_gtid(o, "binlog_pos", &ret->binlog_pos);
	read_gtid(o, "binlog_state", &ret->binlog_state);
	read_gtid(o, "slave_pos", &ret->slave_pos);
	read_gtid(o, "current_pos", &ret->current_pos);
}

struct wire *jn_mark(const struct session_mark *m)
{
	struct wire *o = wire_object();

	wire_set_int(o, "id", (int64_t)m->id);
	wire_set_str(o, "account", m->account);
	wire_set_str(o, "host", m->server.hostname);
	wire_set_int(o, "port", m->server.port);
	wire_set_int(o, "server_id", m->server.server_id);
	wire_set_str(o, "uuid", m->server.uuid);
	wire_set_int(o, "boot_s", m->server.boot_s);
	return o;
}

static void copy_str(char *buf, size_t size, const struct wire *o, const char *key)
{
	const char *s = wire_get_str(o, key);

	str_copy(buf, size, s ? s : "");
}

int jn_read_mark(const struct wire *o, struct session_mark *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->id = (uint64_t)wire_get_int(o, "id", 0);
	copy_str(ret->account, sizeof(ret->account), o, "account");
	copy_str(ret->server.hostname, sizeof(ret->server.hostname), o, "host");
	copy_str(ret->server.uuid, sizeof(ret->server.uuid), o, "uuid");
	ret->server.port = (uint32_t)wire_get_int(o, "port", 0);
	ret->server.server_id = (uint32_t)wire_get_int(o, "server_id", 0);
	ret->server.boot_s = wire_get_int(o, "boot_s", 0);
	return ret->id ? 0 : -EINVAL;
}

enum recover_phase jn_phase(const struct flip *f)
{
	if (f->intent && f->revoked) /* whatever came before: only old may open now */
		return RECOVER_FENCED;
	if (f->opened)
		return RECOVER_OPENED;
	if (f->intent && !f->revoked)
		return RECOVER_INTENT;
	return f->fence_journaled ? RECOVER_FENCED : RECOVER_BEFORE_FENCE;
}

static void replay_step(struct flip *f, const struct journal_record *r, const struct wire *d)
{
	static const struct {
		const char *word;
		enum step_status status;
	} ends[] = {{"done", STEP_DONE}, {"skipped", STEP_WAS_SKIPPED}, {"failed", STEP_FAILED},
		{"undone", STEP_UNDONE}};

	for (int i = 0; i < steps_count; i++) {
		if (!str_eq(steps[i].name, r->step))
			continue;
		struct step_state *st = &f->st[i];
		if (str_eq(r->kind, "begin")) {
			st->begun = true;
			st->status = STEP_UNKNOWN;
			st->started_wall_ms = r->at_ms;
			return;
		}
		st->duration_us = wire_get_int(d, "us", -1);
		if (wire_get_str(d, "why"))
			str_copy(st->detail, sizeof(st->detail), wire_get_str(d, "why"));
		for (size_t k = 0; k < COUNT_OF(ends); k++)
			if (str_eq(ends[k].word, wire_get_str(d, "state")))
				st->status = ends[k].status;
	}
}

static void replay_session(struct flip *f, const struct wire *d)
{
	const char *side = wire_get_str(d, "side");
	struct flip_side *s = flip_side_by(f, str_eq(side, "target") ? CONF_TARGET : CONF_SOURCE);
	struct session_mark m;

	if (jn_read_mark(d, &m) < 0)
		return;
	if (s->nmarks == MARKS_MAX) { /* the newest are the ones that may still live */
		memmove(s->marks, s->marks + 1, sizeof(s->marks[0]) * (MARKS_MAX - 1));
		s->nmarks--;
	}
	s->marks[s->nmarks++] = m;
	if (!s->identity.server_id)
		s->identity = m.server;
}

static void replay_noted(struct flip *f, const struct wire *d)
{
	copy_str(f->noted_scheduler, sizeof(f->noted_scheduler), d, "event_scheduler");
	f->noted_semi_sync = wire_get_bool(d, "semi_sync");
	f->scheduler_changed = wire_get_bool(d, "scheduler_changed");
	f->semi_sync_changed = wire_get_bool(d, "semi_sync_changed");
	const struct wire *events = wire_get(d, "events");
	f->events = arena_alloc(f->arena, sizeof(*f->events) * (wire_len(events) + 1));
	f->nevents = 0;
	for (size_t i = 0; i < wire_len(events); i++)
		if (wire_str(wire_at(events, i)))
			f->events[f->nevents++] = arena_strdup(f->arena, wire_str(wire_at(events, i)));
}

static void replay_fence(struct flip *f, const struct journal_record *r, const struct wire *d)
{
	f->fence_journaled = f->fence_issued = true;
	f->fence_wall_ms = r->at_ms;
	f->attempt = (int)wire_get_int(d, "attempt", 1);
	f->use_gtid = wire_get_bool(d, "gtid");
	jn_read_position(wire_get(d, "baseline"), &f->baseline);
	jn_read_position(wire_get(d, "before"), &f->before);
	f->has_baseline = true;
	if (f->old_side.nmarks)
		f->fenced_boot = f->old_side.marks[f->old_side.nmarks - 1].server;
	f->has_final = f->old_reopened = false;
}

static void replay_intent(struct flip *f, const struct wire *d)
{
	f->intent = f->intent_durable = true;
	f->revoked = false;
	jn_read_position(wire_get(d, "final"), &f->final);
	f->has_final = true;
	jn_read_position(wire_get(d, "repoint"), &f->repoint);
	f->open_unknown = true; /* whether the opening was sent is not known to this life */
	f->new_fences_open = true;
}

static void replay_endpoint(struct flip *f, const struct wire *d)
{
	int64_t i = wire_get_int(d, "index", -1);

	if (i < 0 || i >= f->conf->nendpoints)
		return;
	f->ends[i].begun = true;
	f->ends[i].state = wire_get_bool(d, "switched") ? EP_SWITCHED : EP_PENDING;
}

static void replay_one(struct flip *f, const struct journal_record *r, const struct wire *d)
{
	if (str_eq(r->kind, "begin") || str_eq(r->kind, "end"))
		replay_step(f, r, d);
	else if (str_eq(r->kind, "requested")) {
		copy_str(f->request.user, sizeof(f->request.user), d, "user");
		f->request.uid = wire_get_int(d, "uid", 0);
		f->request.pid = wire_get_int(d, "pid", 0);
		f->policy.max_blackout_ms = wire_get_int(d, "max_blackout_ms", f->policy.max_blackout_ms);
	} else if (str_eq(r->kind, "session"))
		replay_session(f, d);
	else if (str_eq(r->kind, "row"))
		f->row_written = true;
	else if (str_eq(r->kind, "noted"))
		replay_noted(f, d);
	else if (str_eq(r->kind, "accounts"))
		accounts_replay(f, d);
	else if (str_eq(r->kind, "unlocked"))
		f->unlocked = true;
	else if (str_eq(r->kind, "hooks"))
		f->hooks_begun = true;
	else if (str_eq(r->kind, "fence"))
		replay_fence(f, r, d);
	else if (str_eq(r->kind, "intent"))
		replay_intent(f, d);
	else if (str_eq(r->kind, "revoke")) {
		f->revoked = true;
		f->opened = false;
	} else if (str_eq(r->kind, "position")) {
		jn_read_position(wire_get(d, "final"), &f->final);
		f->has_final = true;
	} else if (str_eq(r->kind, "opened")) {
		f->opened = f->intent && !f->revoked;
		f->opened_wall_ms = r->at_ms;
	} else if (str_eq(r->kind, "predicted"))
		f->predicted_us = wire_get_int(d, "us", -1);
	else if (str_eq(r->kind, "endpoint"))
		replay_endpoint(f, d);
	else if (str_eq(r->kind, "reopened"))
		f->old_reopened = true;
	else if (str_eq(r->kind, "warning") && wire_get_str(d, "text"))
		flip_warn(f, "%s", wire_get_str(d, "text"));
	else if (str_eq(r->kind, "closing"))
		f->closing = true;
}

/* --- damage --- */

static bool position_whole(const struct wire *o)
{
	static const char *const lists[] = {"binlog_pos", "binlog_state", "slave_pos", "current_pos"};
	struct gtid_list l;

	for (size_t i = 0; i < COUNT_OF(lists); i++) {
		const char *s = wire_get_str(o, lists[i]);
		if (!s || gtid_parse(s, &l) < 0)
			return false;
	}
	return wire_get_str(o, "file") && wire_get_int(o, "pos", -1) >= 0;
}

/* What is wrong with a record, or NULL. f is as the records before it say. */
static const char *damage(const struct flip *f, const struct journal_record *r, const struct wire *d)
{
	struct session_mark m;
	size_t k = kind_find(r->kind);

	if (k == COUNT_OF(kinds))
		return "is of a kind that this flipd does not know";
	if (wire_type(d) != WIRE_OBJECT || wire_get(d, "damaged"))
		return "cannot be read";
	if (kinds[k].position && !position_whole(wire_get(d, kinds[k].position)))
		return "has lost its position";
	if (str_eq(r->kind, "session") && jn_read_mark(d, &m) < 0)
		return "has lost the session's number";
	if (str_eq(r->kind, "intent") && !f->fence_journaled)
		return "has no fence before it";
	if (str_eq(r->kind, "opened") && (!f->intent || f->revoked))
		return "has no intent before it";
	return NULL;
}

/*
 * Whatever the records are, the phase follows them as they stand: no opening without an intent that lives.
 * But what else would follow from a journal with holes is for an operator to say: the first one is the error.
 */
int jn_replay(struct flip *f, const struct journal_record *r, int n, struct err *err)
{
	int rc = 0;

	for (int i = 0; i < n; i++) {
		struct wire *d = NULL;

		if (wire_parse(r[i].data, strlen(r[i].data), &d, NULL) < 0)
			d = NULL;
		const char *what =
			r[i].seq != i + 1 ? "does not follow the one before it" : damage(f, &r[i], d);
		if (what && rc == 0)
			rc = err_set(err, -EBADMSG, "the journal is damaged: record %lld (%.32s) %s",
				(long long)r[i].seq, r[i].kind, what);
		replay_one(f, &r[i], d);
		wire_free(d);
	}
	if (f->opened)
		f->open_unknown = false;
	return rc;
}
