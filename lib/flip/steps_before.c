/*
 * steps_before: the first rows: preflight, lock, flush. Nothing here stops a write. Every run
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

#define TRIAL_MS 15000 /* a try of the way back, and its removal, on a bad line */
#define ER_LOCK_WAIT 1205

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
			"lock. If no flipd knows of one it is left from a partition: KILL %llu there",
			f->conf->name, (unsigned long long)holder, s->server->conf->name,
			(unsigned long long)holder);
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

/* A check that began before may try the way back on old: its connection would stand in the way of `reverse`.
 * With the locks taken none begins any more. */
static int MAY_WAIT await_trial(struct flip *f)
{
	int rc = fiber_mutex_lock(&f->cluster->trial, flip_deadline(TRIAL_MS));

	if (rc == 0)
		fiber_mutex_unlock(&f->cluster->trial);
	return rc == -ETIMEDOUT ? 0 : rc;
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
		rc = await_trial(f);
	if (rc == 0)
		rc = jn_write(f, "row", "lock", NULL, true, err);
	if (rc < 0)
		return rc;
	f->row_written = true; /* from here on it may be */
	f->beat_before_ms = f->old_side.server->facts.heartbeat_wall_ms;
	cluster_heartbeat_fast(f->cluster, HEARTBEAT_FAST_MS); /* for drain, which is soon */
	rc = row_write(f, f->old_side.act, "running", err);
	if (rc < 0 && err->sql_errno == ER_LOCK_WAIT) {
		f->row_written = false; /* for certain: nor can it be closed, before whoever it is lets go */
		err_hint(err,
			"a backup or FLUSH TABLES WITH READ LOCK holds every write on %s up: let it end, or "
			"find its session (SHOW PROCESSLIST) and KILL it",
			f->old_side.server->conf->name);
	}
	if (rc == 0)
		rc = note_bypass(f, err);
	if (rc == 0 && !f->request.rehearsal)
		recall_prediction(f);
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
