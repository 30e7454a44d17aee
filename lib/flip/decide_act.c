/*
 * decide_act: carries out one decision. Each action is idempotent; one that fails is tried again after the next look,
 * so nothing here loops. Old opens before all else in a roll back; only what the table puts before it holds it closed.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/base/str.h"
#include "lib/flip/decide.h"

#define BLIND_MS 5000 /* how long a roll back waits for a new side out of reach, old being open already */

/* Old is open; the rest of the undo follows, each row on its own, failures reported. */
static void MAY_WAIT undo_rest(struct flip *f)
{
	static const char *const rows[] = {"endpoints", "events", "lock"};

	f->st[step_index("endpoints")].begun |= f->recovered && f->fence_journaled;
	f->st[step_index("events")].begun |= f->scheduler_changed || f->semi_sync_changed;
	f->st[step_index("lock")].begun |= f->row_written;
	for (size_t i = 0; i < COUNT_OF(rows); i++)
		runner_undo(f, rows[i]);
	cluster_heartbeat_resume(f->cluster);
}

static void stop_reason(struct flip *f, const char *why)
{
	struct err err = {0};

	if (f->error.code)
		return;
	err_set(&err, -ECANCELED, "%s", f->stop_why[0] ? f->stop_why : why);
	flip_fail(f, flip_step_now(f) ? flip_step_now(f) : "", &err);
}

static enum decide_next failed(struct flip *f, const char *what, const struct err *err)
{
	flip_warn(f, "%s: %s; trying again", what, err_text(err));
	return DECIDE_LATER;
}

static enum decide_next MAY_WAIT act_clean(struct flip *f, const struct recover_decision *d, struct look *l)
{
	bool refused = f->error.code == -EPERM && str_eq(f->error_step, "drain");

	if (!l->old_view.seen.up || l->old_view.seen.writable)
		undo_rest(f);
	else
		flip_warn(f, "%s is closed, and not by this flip: it is left so", f->old_side.server->conf->name);
	stop_reason(f, d->why);
	decide_end(f, refused ? FLIP_REFUSED : FLIP_ABORTED);
	return DECIDE_ENDED;
}

static enum decide_next MAY_WAIT act_leave_aborted(struct flip *f, const struct recover_decision *d, struct look *l)
{
	(void)l;
	stop_reason(f, d->why);
	decide_end(f, FLIP_ABORTED);
	return DECIDE_ENDED;
}

/* Old is open, proven, before all else. */
static int MAY_WAIT open_old(struct flip *f, struct look *l, struct err *err)
{
	int fence = step_index("fence");
	int rc = 0;

	sess_tag(f, "fence");
	if (!l->old_view.seen.writable)
		rc = step_fence_undo(f, err);
	if (rc == 0)
		rc = step_fence_undone(f, err);
	if (rc < 0 || f->st[fence].status == STEP_UNDONE)
		return rc;
	f->st[fence].status = STEP_UNDONE;
	flip_emit_step(f, fence);
	if (!f->recovered)
		runner_note_attempt(f);
	return 0;
}

static enum decide_next MAY_WAIT roll_back(struct flip *f, const struct recover_decision *d, struct look *l)
{
	struct err err = {0};

	if (open_old(f, l, &err) < 0)
		return failed(f, "old could not be opened", &err);
	undo_rest(f);
	stop_reason(f, d->why);
	decide_end(f, FLIP_ROLLED_BACK);
	return DECIDE_ENDED;
}

static enum decide_next MAY_WAIT act_roll_back(struct flip *f, const struct recover_decision *d, struct look *l)
{
	return roll_back(f, d, l);
}

/* Old opens now. New is given a while to answer: then the table says what becomes of it, closing it first where it was
 * opened; one that stays away holds nothing up but the end of the flip. */
static enum decide_next MAY_WAIT act_roll_back_blind(struct flip *f, const struct recover_decision *d, struct look *l)
{
	struct err err = {0};

	if (open_old(f, l, &err) < 0)
		return failed(f, "old could not be opened", &err);
	f->st[step_index("endpoints")].begun |= f->recovered && f->fence_journaled;
	runner_undo(f, "endpoints");
	if (!f->blind_since_us)
		f->blind_since_us = clock_us();
	if (clock_us() - f->blind_since_us < BLIND_MS * 1000)
		return DECIDE_LATER;
	flip_warn(f, "%s was out of reach while the flip was rolled back (%s): what the flip changed there is not undone%s",
		f->new_side.server->conf->name, err_text(&l->new_view.err),
		f->semi_sync_changed ? "; switch rpl_semi_sync_master_enabled on again" : "");
	f->semi_sync_changed = false;
	return roll_back(f, d, l);
}

static enum decide_next MAY_WAIT go_on(struct flip *f, const char *from_row)
{
	struct err err = {0};
	int rc;

	f->rolling_back = false;
	f->guarded = f->kill_late = false;
	if (f->state != FLIP_RECOVERING && f->recovered)
		flip_set_state(f, FLIP_RECOVERING);
	fiber_unshield();
	rc = runner_run(f, from_row, &err);
	while (fiber_cancelled())
		(void)fiber_yield();
	fiber_shield();
	if (rc == 0) {
		decide_end(f, FLIP_DONE);
		return DECIDE_ENDED;
	}
	runner_stop_all(f);
	guard_stop(f);
	fiber_stop(f->budget);
	f->budget = NULL;
	f->rolling_back = !f->opened;
	return DECIDE_LATER;
}

static enum decide_next MAY_WAIT act_resume(struct flip *f, const struct recover_decision *d, struct look *l)
{
	(void)d;
	(void)l;
	f->fence_us = clock_us();
	f->has_final = false;
	return go_on(f, "coordinates");
}

static enum decide_next MAY_WAIT close_side(struct flip *f, struct flip_side *s)
{
	struct err err = {0};
	bool none = false;

	if (node_fence(s->lock, f->policy.fence_timeout_ms, flip_deadline(f->policy.fence_timeout_ms + 500), &err) != ACT_DONE) {
		struct err ignored = {0}; /* who holds the fence up is killed, then it is tried again */
		(void)!kill_all(f, s, 0, &none, &ignored);
		return failed(f, "a side that must be closed could not be", &err);
	}
	if (kill_all(f, s, f->policy.kill_timeout_ms, &none, &err) < 0)
		return failed(f, "the sessions of a closed side could not be killed", &err);
	flip_warn(f, "%s was open and has been closed again", s->server->conf->name);
	return DECIDE_LOOK_AGAIN;
}

static enum decide_next MAY_WAIT act_close_new(struct flip *f, const struct recover_decision *d, struct look *l)
{
	(void)d;
	(void)l;
	return close_side(f, &f->new_side);
}

static enum decide_next MAY_WAIT act_close_old(struct flip *f, const struct recover_decision *d, struct look *l)
{
	(void)d;
	(void)l;
	return close_side(f, &f->old_side);
}

/* Names what an operator has to look at, and ends stuck. */
static enum decide_next MAY_WAIT end_stuck(struct flip *f, const struct recover_decision *d, struct look *l)
{
	struct look_side *v[] = {&l->old_view, &l->new_view};
	struct err err = {0};

	for (int i = 0; i < 2; i++) {
		const char *name = v[i]->side->server->conf->name;
		if (!v[i]->seen.up)
			flip_warn(f, "%s is out of reach: %s", name, err_text(&v[i]->err));
		else if (v[i]->beyond)
			flip_warn(f, "%s has %llu transactions of its own that the other side lacks, from %u-%u-%llu on", name,
				(unsigned long long)v[i]->beyond, v[i]->first.domain, v[i]->first.server,
				(unsigned long long)v[i]->first.seq);
	}
	err_set(&err, -EIO, "%s", d->why);
	err_hint(&err, "see what both servers show, mend it, then: flipctl resolve %s", f->conf->name);
	flip_fail(f, f->error_step[0] ? f->error_step : "", &err);
	decide_end(f, FLIP_OUTCOME_STUCK);
	return DECIDE_ENDED;
}

static enum decide_next MAY_WAIT act_close_new_stuck(struct flip *f, const struct recover_decision *d, struct look *l)
{
	if (l->new_view.seen.writable && close_side(f, &f->new_side) == DECIDE_LATER)
		return DECIDE_LATER;
	return end_stuck(f, d, l);
}

/* New is proven closed and unwritten by the very look this decision stands on. */
static enum decide_next MAY_WAIT act_revoke(struct flip *f, const struct recover_decision *d, struct look *l)
{
	struct err err = {0};

	(void)d;
	(void)l;
	if (step_intent_undo(f, &err) < 0)
		return failed(f, "the revocation could not be made durable", &err);
	f->st[step_index("intent")].status = STEP_UNDONE;
	return DECIDE_LOOK_AGAIN;
}

static int MAY_WAIT open_new_now(struct flip *f, struct err *err)
{
	enum act act;

	if (!f->intent || f->revoked || !f->intent_durable)
		return err_set(err, -EPERM, "%s is not opened without an intent", f->new_side.server->conf->name);
	f->open_sent = f->open_unknown = true;
	act = node_unfence(f->new_side.lock, flip_deadline(ROUND_TRIP_MS), err);
	return act == ACT_DONE ? open_confirmed(f, err) : flip_rc(act, err);
}

/* The sessions of a side that was closed in an earlier life, or whose kill was cut short, are killed now. */
static enum decide_next MAY_WAIT kill_left(struct flip *f)
{
	struct err err = {0};
	bool none = false;

	if (kill_all(f, &f->old_side, f->policy.kill_timeout_ms, &none, &err) < 0)
		return failed(f, "the sessions of old could not be killed", &err);
	return DECIDE_LOOK_AGAIN;
}

static enum decide_next MAY_WAIT act_forward(struct flip *f, const struct recover_decision *d, struct look *l)
{
	struct err err = {0};

	(void)d;
	if (l->old_view.seen.up && kill_left(f) == DECIDE_LATER)
		return DECIDE_LATER;
	if (l->new_view.seen.writable)
		(void)open_confirmed(f, &err);
	if (f->opened && l->new_view.seen.writable)
		return go_on(f, "detach");
	if (f->opened || l->new_view.seen.beyond) { /* it had opened, and restarted closed: only it may ever open */
		if (open_new_now(f, &err) < 0)
			return failed(f, "new could not be opened again", &err);
		return go_on(f, "detach");
	}
	f->fence_us = f->recovered ? clock_us() : f->fence_us;
	guard_start(f);
	return go_on(f, "open");
}

/* New serves; what needs old waits until it answers. */
static enum decide_next MAY_WAIT act_forward_blind(struct flip *f, const struct recover_decision *d, struct look *l)
{
	struct err err = {0};

	(void)d;
	if (!l->new_view.seen.writable && open_new_now(f, &err) < 0)
		return failed(f, "new could not be opened again", &err);
	(void)open_confirmed(f, &err);
	f->rolling_back = false;
	if (step_detach(f, &err) < 0 || step_endpoints(f, &err) < 0)
		return failed(f, "new serves; what does not need old could not all be done", &err);
	flip_warn(f, "%s is out of reach; %s serves, and old is closed and followed up the moment it answers",
		f->old_side.server->conf->name, f->new_side.server->conf->name);
	return DECIDE_LATER;
}

static enum decide_next MAY_WAIT act_serve_stuck(struct flip *f, const struct recover_decision *d, struct look *l)
{
	struct err err = {0};

	f->old_out = true;
	if (l->new_view.seen.up && !l->new_view.seen.writable && open_new_now(f, &err) < 0)
		return failed(f, "new could not be opened again", &err);
	if (!f->opened)
		(void)open_confirmed(f, &err);
	f->rolling_back = false;
	(void)step_detach(f, &err);
	settings_scheduler_on(f);
	return end_stuck(f, d, l);
}

static enum decide_next MAY_WAIT act_failover(struct flip *f, const struct recover_decision *d, struct look *l)
{
	struct err err = {0};
	struct wire *w;

	(void)d;
	if (!f->intent || f->revoked) {
		w = wire_object();
		wire_set(w, "final", jn_position(&f->final));
		wire_set(w, "way_back", jn_position(&f->baseline));
		wire_set_str(w, "by_word_of", f->word.user);
		if (jn_write(f, "intent", "intent", w, true, &err) < 0)
			return failed(f, "the intent could not be made durable", &err);
		f->intent = f->intent_durable = true;
		f->revoked = false;
	}
	if (l->new_view.seen.up && !l->new_view.seen.writable && open_new_now(f, &err) < 0)
		return failed(f, "new could not be opened", &err);
	if (!f->opened)
		(void)open_confirmed(f, &err);
	f->rolling_back = false;
	f->old_out = true;
	(void)step_detach(f, &err);
	(void)step_endpoints(f, &err);
	settings_semi_sync_on(f);
	settings_scheduler_on(f);
	flip_warn(f, "a failover by the word of %s: %s is left out; writes that only it has may be lost. Keep it closed, "
		"and seed it anew from %s", f->word.user, f->old_side.server->conf->name, f->new_side.server->conf->name);
	runner_undo(f, "lock");
	decide_end(f, FLIP_DONE);
	return DECIDE_ENDED;
}

static enum decide_next MAY_WAIT act_open_old_loss(struct flip *f, const struct recover_decision *d, struct look *l)
{
	struct err err = {0};

	if (step_intent_undo(f, &err) < 0)
		return failed(f, "the revocation could not be made durable", &err);
	flip_warn(f, "%s was opened again by the word of %s that %s is dead: writes that only %s took may be lost",
		f->old_side.server->conf->name, f->word.user, f->new_side.server->conf->name, f->new_side.server->conf->name);
	f->semi_sync_changed = false;
	return roll_back(f, d, l);
}

static enum decide_next MAY_WAIT act_wait(struct flip *f, const struct recover_decision *d, struct look *l)
{
	(void)d;
	(void)l;
	(void)f;
	return DECIDE_LATER;
}

/* Of an ended flip nothing is recovered: the watcher's guard speaks of it. */
static enum decide_next MAY_WAIT act_ended(struct flip *f, const struct recover_decision *d, struct look *l)
{
	(void)d;
	(void)l;
	(void)f;
	return DECIDE_ENDED;
}

enum decide_next MAY_WAIT decide_act(struct flip *f, const struct recover_decision *d, struct look *l)
{
	typedef enum decide_next (*act_fn)(struct flip *, const struct recover_decision *, struct look *);
	static const act_fn acts[] = {
		[RECOVER_DO_CLEAN] = act_clean,
		[RECOVER_DO_LEAVE_ABORTED] = act_leave_aborted,
		[RECOVER_DO_ROLL_BACK] = act_roll_back,
		[RECOVER_DO_ROLL_BACK_BLIND] = act_roll_back_blind,
		[RECOVER_DO_RESUME] = act_resume,
		[RECOVER_DO_CLOSE_NEW] = act_close_new,
		[RECOVER_DO_CLOSE_NEW_STUCK] = act_close_new_stuck,
		[RECOVER_DO_CLOSE_OLD] = act_close_old,
		[RECOVER_DO_REVOKE] = act_revoke,
		[RECOVER_DO_FORWARD] = act_forward,
		[RECOVER_DO_FORWARD_BLIND] = act_forward_blind,
		[RECOVER_DO_SERVE_STUCK] = act_serve_stuck,
		[RECOVER_DO_FAILOVER] = act_failover,
		[RECOVER_DO_OPEN_OLD_LOSS] = act_open_old_loss,
		[RECOVER_DO_WAIT] = act_wait,
		[RECOVER_DO_STUCK] = end_stuck,
		[RECOVER_DO_ALARM] = act_ended,
		[RECOVER_DO_CLOSE_LAST] = act_ended,
		[RECOVER_DO_NOTHING] = act_ended,
	};

	sess_tag(f, "decide");
	return acts[d->action](f, d, l);
}

int MAY_WAIT flip_guard_close(struct cluster *c, enum conf_side side, struct err *err)
{
	struct cluster_server *s = &c->side[side];
	struct session *x = NULL;
	enum act act = ACT_UNKNOWN;
	int rc = cluster_session(s, SESSION_LOCK, flip_deadline(ROUND_TRIP_MS), &x, err);

	if (rc < 0)
		return rc;
	session_tag(x, "guard", "fence");
	for (int tries = 0; tries < 5 && act != ACT_DONE; tries++) {
		err_clear(err);
		act = node_fence(x, c->conf->policy.fence_timeout_ms, flip_deadline(c->conf->policy.fence_timeout_ms + 500), err);
		if (act == ACT_UNKNOWN)
			break;
	}
	session_close(x);
	return flip_rc(act, err);
}
