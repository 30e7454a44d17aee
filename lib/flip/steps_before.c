/*
 * steps_before: the first rows: preflight, lock, flush, drain. Nothing here stops a write. Every run
 * and undo is idempotent: it looks, acts, looks again.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/base/str.h"
#include "lib/flip/flip_priv.h"

#define HEARTBEAT_FAST_MS 20
#define DRAIN_LOOK_MS 20
#define DRAIN_SETTLE_MS 300 /* how long drain looks for a better moment once the configured one is there */
#define BEAT_WAIT_MS 1500   /* after that the heartbeat is taken for broken, and the rest must do */
#define LAG_FINE_MS 60	    /* a lag below which waiting longer gains nothing: three beats */

/* --- preflight
 * ----------------------------------------------------------------------------------------------- */

int MAY_WAIT step_preflight(struct flip *f, struct err *err)
{
	int rc = preflight_run(f->cluster, f->to, &f->ctx, journal_id(f->journal), f->id,
		flip_deadline(steps[0].limit_ms), f->arena, &f->preflight, err);
	int refused = 0;

	if (rc < 0)
		return rc;
	for (int i = 0; i < f->preflight.n; i++) {
		const struct check_out *c = &f->preflight.results[i];
		if (c->result == CHECK_WARN)
			flip_warn(f, "%s: %s", c->name, c->seen);
		if (c->result != CHECK_REFUSE)
			continue;
		if (refused++ == 0) {
			err_server(err, c->server);
			err_set(err, -EPERM, "%s: %s", c->name, c->seen);
			err_hint(err, "%s", c->hint);
		}
	}
	flip_step_detail(f, "preflight", "%d checks, %d refuse", f->preflight.n, refused);
	return refused ? -EPERM : 0;
}

/* --- lock
 * ---------------------------------------------------------------------------------------------------- */

struct side_opener {
	struct flip *f;
	struct flip_side *s;
	int rc;
	struct err err;
};

static void side_open_fiber(void *arg)
{
	struct side_opener *o = arg;

	o->rc = sess_open_all(o->f, o->s, flip_deadline(ROUND_TRIP_MS * 2), &o->err);
}

static int MAY_WAIT open_both(struct flip *f, struct err *err)
{
	struct side_opener o[2] = {{.f = f, .s = &f->old_side}, {.f = f, .s = &f->new_side}};
	struct fiber *fibers[2];

	for (int i = 0; i < 2; i++)
		fibers[i] = fiber_spawn("open sessions", side_open_fiber, &o[i]);
	for (int i = 0; i < 2; i++)
		fiber_join(fibers[i]);
	for (int i = 0; i < 2; i++)
		if (o[i].rc < 0) {
			*err = o[i].err;
			return o[i].rc;
		}
	return 0;
}

int MAY_WAIT side_take_lock(struct flip *f, struct flip_side *s, struct err *err)
{
	uint64_t holder = 0;
	enum act act = node_lock_take(s->lock, flip_deadline(ROUND_TRIP_MS), &holder, err);

	if (act == ACT_REFUSED && holder)
		err_hint(err,
			"another flip of %s runs, perhaps from another host; session %llu on %s holds the "
			"lock",
			f->conf->name, (unsigned long long)holder, s->server->conf->name);
	if (act != ACT_DONE)
		return act == ACT_REFUSED ? -EBUSY : flip_rc(act, err);
	s->locked = true;
	f->cluster->lock_session[s->side] = session_get_mark(s->lock)->id;
	return 0;
}

int MAY_WAIT row_write(struct flip *f, struct session *act, const char *state, struct err *err)
{
	struct node_row row = {.marker = (uint64_t)f->attempt};

	str_copy(row.id, sizeof(row.id), f->id);
	str_copy(row.cluster, sizeof(row.cluster), f->conf->name);
	str_copy(row.host, sizeof(row.host), f->host);
	str_copy(row.journal, sizeof(row.journal), journal_id(f->journal));
	str_copy(row.direction, sizeof(row.direction), conf_side_name(f->to));
	str_copy(row.state, sizeof(row.state), state);
	return flip_rc(node_row_write(act, &row, flip_deadline(ROUND_TRIP_MS), err), err);
}

static int MAY_WAIT note_bypass(struct flip *f, struct err *err)
{
	enum act act = node_facts(f->old_side.reaper, FACTS_ACCOUNTS, f->arena, flip_deadline(ROUND_TRIP_MS),
		&f->old_facts, err);

	if (act != ACT_DONE)
		return flip_rc(act, err);
	f->nbypass = f->old_facts.nbypass;
	f->bypass = f->old_facts.bypass;
	return 0;
}

/* The row is noted in the journal before it is written: a crash between the two leaves a row that nobody
 * wrote. */
int MAY_WAIT step_lock(struct flip *f, struct err *err)
{
	int rc = open_both(f, err);

	if (rc == 0)
		rc = side_take_lock(f, &f->old_side, err);
	if (rc == 0)
		rc = side_take_lock(f, &f->new_side, err);
	if (rc == 0)
		rc = jn_write(f, "row", "lock", NULL, true, err);
	if (rc < 0)
		return rc;
	f->row_written = true;
	rc = row_write(f, f->old_side.act, "running", err);
	if (rc == 0)
		rc = note_bypass(f, err);
	return rc < 0 ? rc : verify_prepare(f, err);
}

/* Closes the row on whichever side takes writes now, then lets go of both locks. */
int MAY_WAIT step_lock_undo(struct flip *f, struct err *err)
{
	struct flip_side *open = f->opened ? &f->new_side : &f->old_side;
	int rc = 0;

	if (f->row_written) {
		if (!f->closing)
			rc = jn_write(f, "closing", "", NULL, true, err);
		f->closing = true;
		if (rc == 0)
			rc = sess_open(f, open, SESSION_ACT, flip_deadline(ROUND_TRIP_MS), err);
		if (rc == 0)
			rc = row_write(f, open->act, "closed", err);
	}
	struct flip_side *sides[] = {&f->old_side, &f->new_side};
	for (int i = 0; i < 2; i++) {
		struct err ignored = {0};
		if (sides[i]->lock && session_alive(sides[i]->lock) && sides[i]->locked)
			(void)!node_lock_release(sides[i]->lock, flip_deadline(ROUND_TRIP_MS), &ignored);
		sides[i]->locked = false;
		f->cluster->lock_session[sides[i]->side] = 0;
	}
	return rc;
}

int MAY_WAIT step_lock_undone(struct flip *f, struct err *err)
{
	struct flip_side *sides[] = {&f->old_side, &f->new_side};

	for (int i = 0; i < 2; i++) {
		uint64_t holder = 0;
		struct session *s = sides[i]->lock;
		if (!s || !session_alive(s))
			continue; /* the lock went with its session */
		enum act act = node_lock_holder(s, flip_deadline(ROUND_TRIP_MS), &holder, err);
		if (act == ACT_DONE && holder == session_get_mark(s)->id)
			return err_set(
				err, -EBUSY, "%s: the lock is still held", sides[i]->server->conf->name);
		if (act != ACT_DONE)
			return flip_rc(act, err);
	}
	return 0;
}

/* --- flush
 * --------------------------------------------------------------------------------------------------- */

/*
 * FLUSH TABLES waits for statements that use the tables, and new statements queue behind it (facts: peers,
 * pain 5). auto: skipped while a statement older than a second runs.
 */
static bool flush_would_queue(const struct flip *f, const struct facts *facts)
{
	for (int i = 0; i < facts->nsessions; i++) {
		const struct facts_session *s = &facts->sessions[i];
		if (kill_exempt(f, &f->old_side, s) || strcasecmp(s->command, "Query") != 0)
			continue;
		if (s->time_ms > 1000)
			return true;
	}
	return false;
}

int MAY_WAIT step_flush(struct flip *f, struct err *err)
{
	struct err why = {0};
	enum act act;

	if (f->policy.flush == CONF_FLUSH_NEVER) {
		flip_step_detail(f, "flush", "flush: never");
		return STEP_SKIPPED;
	}
	if (f->policy.flush == CONF_FLUSH_AUTO) {
		struct arena *a CLEANUP(arena_freep) = arena_new();
		struct facts *facts = arena_alloc(a, sizeof(*facts));
		if (node_facts(f->old_side.reaper, FACTS_SESSIONS, a, flip_deadline(ROUND_TRIP_MS), facts,
			    err) != ACT_DONE)
			return flip_rc(ACT_UNKNOWN, err);
		if (flush_would_queue(f, facts)) {
			flip_step_detail(f, "flush",
				"skipped: a long statement runs and others would queue behind the flush");
			return STEP_SKIPPED;
		}
	}
	act = node_flush(f->old_side.act, 500, flip_deadline(ROUND_TRIP_MS), &why);
	if (act == ACT_REFUSED) { /* it ran out or lacks the privilege: a flush is a kindness, not a need */
		flip_step_detail(f, "flush", "%s", err_text(&why));
		return STEP_SKIPPED;
	}
	if (act == ACT_UNKNOWN) {
		*err = why;
		return flip_rc(act, &why);
	}
	return 0;
}

/* --- drain
 * --------------------------------------------------------------------------------------------------- */

static bool is_writing(const struct facts_session *s)
{
	static const char *const verbs[] = {"INSERT", "UPDATE", "DELETE", "REPLACE", "LOAD", "ALTER",
		"CREATE", "DROP", "TRUNCATE", "OPTIMIZE", "REPAIR", "RENAME", "LOCK", "CALL", "ANALYZE"};
	const char *p = s->info + strspn(s->info, " \t\n(");

	if (strcasecmp(s->command, "Query") != 0)
		return false;
	for (size_t i = 0; i < COUNT_OF(verbs); i++)
		if (!strncasecmp(p, verbs[i], strlen(verbs[i])))
			return true;
	return false;
}

/* What stands in the way now, into buf; empty when nothing does. */
static void drain_obstacle(struct flip *f, const struct facts *old_facts, const struct facts *new_facts,
	int64_t lag_ms, char *buf, size_t size)
{
	const struct conf_policy *p = &f->policy;

	buf[0] = '\0';
	for (int i = 0; i < old_facts->nsessions && !buf[0]; i++) {
		const struct facts_session *s = &old_facts->sessions[i];
		if (kill_exempt(f, &f->old_side, s))
			continue;
		if (is_writing(s) && s->time_ms > p->max_transaction_age_ms)
			snprintf(buf, size,
				"session %llu of %s has been writing for %.1f s (max_transaction_age)",
				(unsigned long long)s->id, s->user, (double)s->time_ms / 1000);
		else if (s->trx_rows > 0 && s->trx_age_ms > p->max_transaction_age_ms)
			snprintf(buf, size,
				"session %llu of %s has a transaction with %llu changed rows open for %.1f s "
				"(max_transaction_age)",
				(unsigned long long)s->id, s->user, (unsigned long long)s->trx_rows,
				(double)s->trx_age_ms / 1000);
		else if (s->trx_rows > (uint64_t)p->max_transaction_rows)
			snprintf(buf, size,
				"session %llu of %s has changed %llu rows in one transaction "
				"(max_transaction_rows)",
				(unsigned long long)s->id, s->user, (unsigned long long)s->trx_rows);
	}
	const struct facts_channel *ch = facts_channel_from(new_facts, old_facts->id.server_id, NULL, 0);
	if (!buf[0] && (!ch || strcmp(ch->io, "Yes") != 0 || strcmp(ch->sql, "Yes") != 0))
		snprintf(buf, size, "%s does not replicate", f->new_side.server->conf->name);
	if (!buf[0] && ch->lag_s >= 0 && ch->lag_s * 1000 > p->max_lag_ms)
		snprintf(buf, size, "%s lags %lld s (max_lag)", f->new_side.server->conf->name,
			(long long)ch->lag_s);
	if (!buf[0] && lag_ms > p->max_lag_ms)
		snprintf(buf, size, "%s lags %lld ms by heartbeat (max_lag)", f->new_side.server->conf->name,
			(long long)lag_ms);
}

int64_t drain_lag_ms(const struct facts *old_facts, const struct facts *new_facts)
{
	int64_t lag = old_facts->heartbeat_wall_ms - new_facts->heartbeat_wall_ms;

	if (old_facts->heartbeat_wall_ms < 0 || new_facts->heartbeat_wall_ms < 0)
		return 0;
	return lag > 0 ? lag : 0;
}

static int MAY_WAIT drain_look(
	struct flip *f, struct arena *a, struct facts *o, struct facts *n, struct err *err)
{
	enum act act =
		node_facts(f->old_side.reaper, FACTS_SESSIONS, a, flip_deadline(ROUND_TRIP_MS), o, err);

	if (act == ACT_DONE)
		act = node_facts(f->new_side.reaper, FACTS_CORE, a, flip_deadline(ROUND_TRIP_MS), n, err);
	if (act != ACT_DONE)
		return flip_rc(act, err);
	f->old_facts = *o;
	f->new_facts = *n;
	f->old_facts.sessions = NULL; /* it lives in the arena of this look */
	f->old_facts.nsessions = 0;
	return 0;
}

/* While a bypassing account is connected, a session left over could write after the position: then no
 * kill_late. */
static bool bypass_connected(const struct flip *f, const struct facts *o)
{
	for (int i = 0; i < o->nsessions; i++) {
		if (!kill_exempt(f, &f->old_side, &o->sessions[i]) && kill_bypass(f, o->sessions[i].user))
			return true;
	}
	return false;
}

/* Until new shows a beat of this drain, its lag by heartbeat is as old as the last slow beat: up to a whole
 * interval. */
static bool beat_shown(const struct facts *o, const struct facts *n, int64_t first_beat_ms, int64_t begun_us)
{
	return o->heartbeat_wall_ms < 0 || n->heartbeat_wall_ms < 0 || n->heartbeat_wall_ms > first_beat_ms ||
	       clock_us() - begun_us > BEAT_WAIT_MS * 1000;
}

/* What comes before the first look: sessions that a withdrawn fence has cost, the operator's hooks (once). */
static int MAY_WAIT drain_ready(struct flip *f, struct err *err)
{
	int rc = sess_reopen(f, err);

	if (rc == 0 && !f->hooks_begun && f->conf->hooks.before_fence.n) {
		rc = jn_write(f, "hooks", "drain", NULL, true, err);
		f->hooks_begun = true;
		if (rc == 0)
			rc = hooks_run(f, &f->conf->hooks.before_fence, "before_fence", true, err);
		if (rc < 0 && rc != -ECANCELED)
			rc = err->code = -EPERM; /* that is a refusal, whatever the hook's own code */
	}
	return rc < 0 ? rc : events_semi_sync_off(f, err);
}

int MAY_WAIT step_drain(struct flip *f, struct err *err)
{
	int64_t end = flip_deadline(f->policy.drain_timeout_ms), good_since = 0, begun = clock_us(),
		first_beat = -1;
	char obstacle[256];
	int ready = drain_ready(f, err);

	if (ready < 0)
		return ready;
	cluster_heartbeat_fast(f->cluster, HEARTBEAT_FAST_MS);
	for (;;) {
		struct arena *a CLEANUP(arena_freep) = arena_new();
		struct facts *o = arena_alloc(a, sizeof(*o)), *n = arena_alloc(a, sizeof(*n));
		int rc = drain_look(f, a, o, n, err);
		int64_t lag = rc == 0 ? drain_lag_ms(o, n) : 0;

		if (rc < 0)
			return rc;
		first_beat = first_beat < 0 ? o->heartbeat_wall_ms : first_beat;
		drain_obstacle(f, o, n, lag, obstacle, sizeof(obstacle));
		if (!obstacle[0] && !beat_shown(o, n, first_beat, begun))
			str_copy(obstacle, sizeof(obstacle),
				"no heartbeat of this drain has come out on new yet");
		f->kill_late = !bypass_connected(f, o) && !strcmp(o->binlog_format, "ROW");
		if (!obstacle[0]) {
			if (!good_since)
				good_since = clock_us();
			if (lag <= LAG_FINE_MS || clock_us() - good_since > DRAIN_SETTLE_MS * 1000) {
				flip_step_detail(f, "drain", "lag %lld ms", (long long)lag);
				return 0;
			}
		} else
			good_since = 0;
		flip_step_detail(
			f, "drain", "waiting: %s", obstacle[0] ? obstacle : "for a moment of low lag");
		if (clock_us() > end) {
			err_hint(err, "find out what it does, end it or wait; or raise the limit named, or "
				      "drain_timeout");
			return err_set(err, -ETIME, "the right moment did not come within drain_timeout: %s",
				obstacle);
		}
		rc = fiber_sleep_ms(DRAIN_LOOK_MS);
		if (rc < 0)
			return rc;
	}
}
