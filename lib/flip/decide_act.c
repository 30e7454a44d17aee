/*
 * decide_act: carries out one decision. Each action is idempotent; one that fails is tried again after the
 * next look, so nothing here loops. Old opens before all else in a roll back; only what the table puts before
 * it holds it closed.
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/base/str.h"
#include "lib/flip/decide.h"

#define STALE_MS 100 /* how old a look at new may be when old opens on its strength */
#define UNSEEN_AGAIN_MS 20
#define BLIND_MS 5000 /* how long a roll back waits for a new side out of reach, old being open already */

/* New was closed when the roll back began; a restart since may have left it open. Open, or no answer: the
 * table says what then, and there is no end before. */
static enum decide_next MAY_WAIT new_stayed_closed(struct flip *f)
{
	struct node_proof p;
	struct err ignored = {0};

	if (sess_ask(f, &f->new_side, ROUND_TRIP_MS, &p, &ignored) == 0)
		return p.read_only ? DECIDE_ENDED : DECIDE_LOOK_AGAIN;
	if (!settle_over(f))
		return DECIDE_LATER;
	decide_warn(f, "%s gives no answer at the flip's end: see that it is closed",
		f->new_side.server->conf->name);
	return DECIDE_ENDED;
}

static void stop_reason(struct flip *f, const char *why)
{
	struct err err = {0};

	if (f->error.code)
		return;
	err_set(&err, -ECANCELED, "%s", f->stop_why[0] ? f->stop_why : why);
	flip_fail(f, flip_step_now(f) ? flip_step_now(f) : "", &err);
}

enum decide_next decide_failed(struct flip *f, const char *what, const struct err *err)
{
	flip_warn(f, "%s: %s; trying again", what, err_text(err));
	return DECIDE_LATER;
}

/* Preflight tries the way back with a connection on old, the master: flipd killed right then leaves it there.
 */
static bool MAY_WAIT remove_trial(struct flip *f)
{
	int64_t deadline = flip_deadline(ROUND_TRIP_MS);
	struct err err = {0};

	if (!f->recovered || f->fence_journaled || !f->old_side.lock)
		return true;
	if (sess_open(f, &f->old_side, SESSION_ACT, deadline, &err) == 0 &&
		node_try_reverse_remove(f->old_side.act, deadline, &err) == ACT_DONE)
		return true;
	flip_warn(
		f, "the connection on which the way back was tried could not be removed: %s", err_text(&err));
	return false;
}

/* A rehearsal that was told to stop is aborted even where it had gone through. */
static bool rehearsed_and_undone(const struct flip *f)
{
	return f->rehearsed && !f->aborting && f->st[step_index("events")].status == STEP_UNDONE &&
	       f->st[step_index("lock")].status == STEP_UNDONE;
}

/* What an earlier life has left on a server, sessions and the lock they hold, only a look at it takes away:
 * one that does not answer is given a while. Nothing is held up by it. */
static bool awaits_a_side(const struct flip *f, const struct look *l)
{
	return f->recovered && !(l->old_view.seen.up && l->new_view.seen.up) &&
	       clock_us() - f->look_since_us < BLIND_MS * 1000;
}

static enum decide_next MAY_WAIT act_clean(struct flip *f, const struct recover_decision *d, struct look *l)
{
	bool refused = f->error.code == -EPERM && str_eq(f->error_step, "drain");

	if (!l->old_view.seen.up && !settle_over(f))
		return DECIDE_LATER; /* the scheduler and the row are still as the flip left them */
	if ((!remove_trial(f) || !decide_undo_rest(f)) && !settle_over(f))
		return DECIDE_LATER;
	if (awaits_a_side(f, l))
		return DECIDE_LATER;
	if (rehearsed_and_undone(f)) {
		decide_skip_rest(f);
		decide_end(f, FLIP_DONE);
		return DECIDE_ENDED;
	}
	stop_reason(f, d->why);
	decide_end(f, refused ? FLIP_REFUSED : FLIP_ABORTED);
	return DECIDE_ENDED;
}

/* Old is closed and not by this flip: it stays so, and the flip's row, which would refuse every later flip,
 * is closed when somebody has opened it. */
static bool row_waits(const struct flip *f, const struct look *l)
{
	return f->row_written && l->old_view.seen.up && !l->old_view.seen.writable && !l->old_view.foreign &&
	       !l->new_view.foreign && !l->new_view.seen.writable && !settle_over(f);
}

static enum decide_next MAY_WAIT act_leave_aborted(
	struct flip *f, const struct recover_decision *d, struct look *l)
{
	struct err err = {0};

	if (l->old_view.seen.up && !l->old_view.foreign)
		(void)!accounts_unlock(f, &err); /* they are of its making; told at the end where it failed */
	if (l->old_view.seen.up && l->old_view.seen.writable && !l->old_view.foreign && !l->new_view.foreign)
		(void)decide_undo_events(f); /* so are events that rest on the master */
	if (row_waits(f, l))
		return DECIDE_LATER;
	stop_reason(f, d->why);
	decide_end(f, FLIP_ABORTED);
	return DECIDE_ENDED;
}

/* Fences beside read_only do not show in what the server says: they are opened again whatever it says. */
static bool other_fences(const struct conf_server *c)
{
	for (int i = 0; i < c->nfences; i++)
		if (c->fences[i].kind != CONF_FENCE_READ_ONLY)
			return true;
	return false;
}

/* While the look waited for old, new may have restarted, open: what was seen too long ago is asked once more.
 */
static bool MAY_WAIT new_still_closed(struct flip *f, const struct look *l)
{
	const struct look_side *v = &l->new_view;
	struct node_proof p;
	struct err ignored = {0};

	if (!v->seen.up || v->seen.writable || clock_us() - v->seen_us < STALE_MS * 1000)
		return true;
	return node_prove(f->new_side.lock, flip_deadline(ROUND_TRIP_MS), &p, &ignored) == ACT_DONE &&
	       p.read_only;
}

/* Old is open, proven, before all else. */
static int MAY_WAIT open_old(struct flip *f, struct look *l, struct err *err)
{
	int fence = step_index("fence");
	int rc = 0;

	sess_tag(f, "fence");
	rc = decide_unfollow(f, err);
	if (rc < 0)
		return rc;
	if (!l->old_view.seen.writable || other_fences(f->old_side.server->conf))
		rc = step_fence_undo(f, err);
	if (rc == 0)
		rc = step_fence_undone(f, err);
	if (rc == 0 && !f->undo_since_us)
		f->undo_since_us = clock_us();
	if (rc < 0 || f->st[fence].status == STEP_UNDONE)
		return rc;
	f->st[fence].status = STEP_UNDONE;
	flip_emit_step(f, fence);
	if (!f->recovered)
		runner_note_attempt(f);
	return 0;
}

/* A restart has opened new while the rest was undone: the table says what then. Where a look cannot see it
 * whole (its row cannot be read) there is a pause before the next. */
static bool MAY_WAIT new_has_opened(struct flip *f, const struct look *l)
{
	if (settle_over(f) || !decide_new_is_open(f))
		return false;
	if (!l->new_view.seen.up)
		(void)fiber_sleep_ms(UNSEEN_AGAIN_MS);
	return true;
}

static enum decide_next MAY_WAIT roll_back(struct flip *f, const struct recover_decision *d, struct look *l)
{
	enum decide_next next = DECIDE_ENDED;
	struct err err = {0};

	if (!l->old_view.seen.writable && !new_still_closed(f, l))
		return DECIDE_LOOK_AGAIN;
	if (open_old(f, l, &err) < 0)
		return decide_failed(f, "old could not be opened", &err);
	if (!decide_undo_settings(f)) {
		if (new_has_opened(f, l))
			return DECIDE_LOOK_AGAIN;
		if (!settle_over(f))
			return DECIDE_LATER;
	}
	if (l->new_view.seen.up) /* else all that it is given was waited for already */
		next = new_stayed_closed(f);
	else if (!look_word_holds(f, &l->new_view, &err)) /* nobody closes it once the flip has ended */
		return decide_failed(f, "new is not left as it is", &err);
	if (next != DECIDE_ENDED)
		return next;
	if (!decide_undo_rest(f)) {
		if (!settle_over(f))
			return DECIDE_LATER;
		if (decide_old_is_closed(f))
			return DECIDE_LOOK_AGAIN;
	}
	stop_reason(f, d->why);
	decide_end(f, FLIP_ROLLED_BACK);
	return DECIDE_ENDED;
}

static enum decide_next MAY_WAIT act_roll_back(
	struct flip *f, const struct recover_decision *d, struct look *l)
{
	return roll_back(f, d, l);
}

/* Old opens now. New is given a while to answer: then the table says what becomes of it, closing it first
 * where it was opened; one that stays away holds nothing up but the end of the flip. */
static enum decide_next MAY_WAIT act_roll_back_blind(
	struct flip *f, const struct recover_decision *d, struct look *l)
{
	struct err err = {0};

	/* An earlier life may have revoked the intent by a word: then new was permitted, and may be back. */
	if (f->recovered && f->revoked && !l->old_view.seen.writable &&
		!look_word_holds(f, &l->new_view, &err))
		return decide_failed(f, "old is not opened beside new", &err);
	if (open_old(f, l, &err) < 0)
		return decide_failed(f, "old could not be opened", &err);
	f->st[step_index("endpoints")].begun |= f->recovered && f->fence_journaled;
	decide_undo_endpoints(f);
	(void)!accounts_unlock(f, &err); /* tried again, and told, with the rest */
	if (new_has_opened(f, l))
		return DECIDE_LOOK_AGAIN;
	if (!f->blind_since_us)
		f->blind_since_us = clock_us();
	if (clock_us() - f->blind_since_us < BLIND_MS * 1000)
		return DECIDE_LATER;
	decide_warn(f,
		"%s was out of reach while the flip was rolled back (%s): what the flip changed there is not "
		"undone%s",
		f->new_side.server->conf->name, err_text(&l->new_view.err),
		f->semi_sync_changed ? "; switch rpl_semi_sync_master_enabled on again" : "");
	bool semi_sync = f->semi_sync_changed;
	f->semi_sync_changed = false;
	enum decide_next next = roll_back(f, d, l);
	if (next != DECIDE_ENDED && semi_sync) { /* new may answer yet: what was left there is undone then */
		f->semi_sync_changed = true;
		f->st[step_index("events")].status = STEP_DONE;
	}
	return next;
}

enum decide_next MAY_WAIT decide_close(struct flip *f, struct flip_side *s)
{
	struct err err = {0};
	bool none = false;

	if (cluster_heartbeat_pause(f->cluster, s->side, s->reaper, flip_deadline(ROUND_TRIP_MS), &err) < 0)
		return decide_failed(
			f, "a side that must be closed is still written by flipd's own heartbeat", &err);
	if (node_fence(s->lock, f->policy.fence_timeout_ms, flip_deadline(f->policy.fence_timeout_ms + 500),
		    &err) != ACT_DONE) {
		struct err ignored = {0}; /* who holds the fence up is killed, then it is tried again */
		(void)!kill_all(f, s, 0, &none, &ignored);
		return decide_failed(f, "a side that must be closed could not be", &err);
	}
	if (kill_all(f, s, f->policy.kill_timeout_ms, &none, &err) < 0)
		return decide_failed(f, "the sessions of a closed side could not be killed", &err);
	flip_warn(f, "%s was open and has been closed again", s->server->conf->name);
	return DECIDE_LOOK_AGAIN;
}

static enum decide_next MAY_WAIT act_close_new(
	struct flip *f, const struct recover_decision *d, struct look *l)
{
	(void)d;
	(void)l;
	return decide_close(f, &f->new_side);
}

static enum decide_next MAY_WAIT act_close_old(
	struct flip *f, const struct recover_decision *d, struct look *l)
{
	(void)d;
	(void)l;
	return decide_close(f, &f->old_side);
}

/* Names what an operator has to look at, and ends stuck. */
enum decide_next MAY_WAIT decide_stuck(struct flip *f, const struct recover_decision *d, struct look *l)
{
	struct look_side *v[] = {&l->old_view, &l->new_view};
	struct err err = {0};

	for (int i = 0; i < 2; i++) {
		const char *name = v[i]->side->server->conf->name;
		if (!v[i]->seen.up)
			flip_warn(f, "%s is out of reach: %s", name, err_text(&v[i]->err));
		else if (v[i]->beyond)
			flip_warn(f,
				"%s has %llu transactions of its own that the other side lacks, "
				"from " GTID_FMT " on",
				name, (unsigned long long)v[i]->beyond, GTID_OF(&v[i]->first));
	}
	err_set(&err, -EIO, "%s", d->why);
	err_hint(&err, "see what both servers show, mend it, then: flipctl resolve %s", f->conf->name);
	flip_fail(f, f->error_step[0] ? f->error_step : "", &err);
	if (!f->error.hint[0]) /* what went wrong first says why, not what to do now */
		err_hint(&f->error, "%s", err.hint);
	decide_end(f, FLIP_OUTCOME_STUCK);
	return DECIDE_ENDED;
}

/* Old is open and serves: applications are sent back to it, and it is as it was but for the row. */
static enum decide_next MAY_WAIT act_close_new_stuck(
	struct flip *f, const struct recover_decision *d, struct look *l)
{
	if (l->new_view.seen.writable && decide_close(f, &f->new_side) == DECIDE_LATER)
		return DECIDE_LATER;
	if (!decide_undo_settings(f) && !settle_over(f))
		return DECIDE_LATER;
	return decide_stuck(f, d, l);
}

/* New is proven closed and unwritten by the very look this decision stands on. */
static enum decide_next MAY_WAIT act_revoke(struct flip *f, const struct recover_decision *d, struct look *l)
{
	struct err err = {0};

	(void)d;
	(void)l;
	if (step_intent_undo(f, &err) < 0)
		return decide_failed(f, "the revocation could not be made durable", &err);
	f->st[step_index("intent")].status = STEP_UNDONE;
	return DECIDE_LOOK_AGAIN;
}

static enum decide_next MAY_WAIT act_open_old_loss(
	struct flip *f, const struct recover_decision *d, struct look *l)
{
	struct err err = {0};

	if (!look_word_holds(f, &l->new_view, &err))
		return decide_failed(f, "old is not opened beside new", &err);
	if (!f->word.accept_loss) /* another word has come meanwhile */
		return DECIDE_LOOK_AGAIN;
	/* First: the revocation takes it along to the disk, and a later life may see nothing of the loss. */
	decide_warn(f,
		"%s opens again by the word of %s that %s is dead: writes that only %s took may be lost",
		f->old_side.server->conf->name, f->word.user, f->new_side.server->conf->name,
		f->new_side.server->conf->name);
	if (step_intent_undo(f, &err) < 0)
		return decide_failed(f, "the revocation could not be made durable", &err);
	if ((f->st[step_index("repoint")].begun || f->recovered) && f->conf->nreplicas > 0)
		decide_warn(f,
			"replicas may follow %s by now, which is given up: make them follow %s by hand",
			f->new_side.server->conf->name, f->old_side.server->conf->name);
	f->opened = false;
	f->rolling_back = true; /* also where new had been opened */
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
	enum recover_phase phase = jn_phase(f);

	if (awaits_a_side(f, l))
		return DECIDE_LATER;
	if (phase != RECOVER_OPENED)
		stop_reason(f, d->why);
	decide_end(f, phase == RECOVER_OPENED	      ? FLIP_DONE
		      : phase == RECOVER_BEFORE_FENCE ? FLIP_ABORTED
						      : FLIP_ROLLED_BACK);
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
		[RECOVER_DO_RESUME] = decide_resume,
		[RECOVER_DO_CLOSE_NEW] = act_close_new,
		[RECOVER_DO_CLOSE_NEW_STUCK] = act_close_new_stuck,
		[RECOVER_DO_CLOSE_OLD] = act_close_old,
		[RECOVER_DO_REVOKE] = act_revoke,
		[RECOVER_DO_FORWARD] = decide_forward,
		[RECOVER_DO_FORWARD_BLIND] = decide_forward_blind,
		[RECOVER_DO_SERVE_STUCK] = decide_serve_stuck,
		[RECOVER_DO_FAILOVER] = decide_failover,
		[RECOVER_DO_OPEN_OLD_LOSS] = act_open_old_loss,
		[RECOVER_DO_WAIT] = act_wait,
		[RECOVER_DO_STUCK] = decide_stuck,
		[RECOVER_DO_ALARM] = act_ended,
		[RECOVER_DO_CLOSE_LAST] = act_ended,
		[RECOVER_DO_NOTHING] = act_ended,
	};

	assert(d->action < COUNT_OF(acts) && acts[d->action]);
	sess_tag(f, "decide");
	return acts[d->action](f, d, l);
}
