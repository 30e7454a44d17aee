/*
 * steps_fence: the rows fence and coordinates: from the last moment at which nothing has happened to the
 * moment at which old's final position is known and proven. Nothing avoidable happens between the issue of
 * the fence and the opening: sessions are warm, the one durable write before it is done, the kill
 * (steps_kill.c) runs beside it.
 */
#include <errno.h>
#include <stdio.h>

#include "lib/base/clock.h"
#include "lib/base/str.h"
#include "lib/flip/flip_priv.h"

#define NEW_STALE_MS 100
#define NEW_LIMIT_MS 400
#define HUSH_US 20000 /* a blackout that lasts longer is told of while it lasts */
#define UNFENCE_FIRST_MS 1000

/* --- fence
 * --------------------------------------------------------------------------------------------------- */

/* The lock is held on a session that answers; whoever else holds it ends the flip. */
static int MAY_WAIT prove_lock(struct flip *f, struct flip_side *s, struct node_proof *ret, struct err *err)
{
	const char *name = s->server->conf->name;
	int rc = sess_open(f, s, SESSION_LOCK, flip_deadline(ROUND_TRIP_MS), err);
	enum act act;

	if (rc == 0 && !s->locked)
		rc = side_take_lock(f, s, err);
	if (rc < 0)
		return rc;
	act = node_prove(s->lock, flip_deadline(ROUND_TRIP_MS), ret, err);
	if (act != ACT_DONE || ret->holds_lock)
		return flip_rc(act, err);
	err_server(err, name);
	return err_set(err, -ENOLCK, "%s: the flip's lock is not held any more", name);
}

/* A lock lost before the fence is taken again: that its session is gone shows only when it is used. */
static int MAY_WAIT have_lock(struct flip *f, struct flip_side *s, struct node_proof *ret, struct err *err)
{
	int rc = prove_lock(f, s, ret, err);

	if (rc < 0 && s->lock && !session_alive(s->lock) && !fiber_cancelled()) {
		err_clear(err);
		rc = prove_lock(f, s, ret, err);
	}
	if (rc == 0)
		rc = sess_open(f, s, SESSION_REAPER, flip_deadline(ROUND_TRIP_MS), err);
	if (rc == 0)
		rc = sess_open(f, s, SESSION_ACT, flip_deadline(ROUND_TRIP_MS), err);
	return rc;
}

/* New is proven closed, and where its own log stands is noted: F0 is measured from it, and it is the way
 * back. */
static int MAY_WAIT take_baseline(struct flip *f, struct err *err)
{
	const char *name = f->new_side.server->conf->name;
	struct node_proof p;
	int rc = have_lock(f, &f->new_side, &p, err);

	if (rc < 0)
		return rc;
	if (!p.read_only) {
		err_server(err, name);
		return err_set(err, -EPERM, "%s: it is open to writes; the flip does not go on", name);
	}
	f->baseline = p.position;
	f->has_baseline = true;
	return 0;
}

static int MAY_WAIT journal_fence(struct flip *f, struct err *err)
{
	struct wire *d = wire_object();
	int rc;

	wire_set(d, "baseline", jn_position(&f->baseline));
	wire_set(d, "before", jn_position(&f->before));
	wire_set_int(d, "attempt", f->attempt);
	wire_set_bool(d, "gtid", f->use_gtid);
	rc = journal_reserve(f->journal, err);
	if (rc < 0) {
		wire_free(d);
		return rc;
	}
	rc = jn_write(f, "fence", "fence", d, true, err);
	if (rc < 0)
		return rc;
	f->fence_journaled = true;
	f->old_reopened = false;
	f->unfence_tries = 0;
	return 0;
}

static void budget_fiber(void *arg)
{
	struct flip *f = arg;
	int64_t left;

	if (fiber_sleep_us(HUSH_US) < 0)
		return;
	if (f->hush)
		flip_emit_kept(f);
	left = f->fence_us + f->policy.max_blackout_ms * 1000 - clock_us();
	if (fiber_sleep_us(left > 0 ? left : 0) < 0 || f->opened)
		return;
	f->out_of_time = true;
	if (!f->stop_why[0])
		(void)snprintf(f->stop_why, sizeof(f->stop_why),
			"max_blackout (%lld ms) ran out before %s could be opened",
			(long long)f->policy.max_blackout_ms, f->new_side.server->conf->name);
	fiber_cancel(f->fiber);
}

/* A hook that needs long to open could never be undone within less than its own time-out. */
int64_t outer_deadline(const struct conf_fence *fence)
{
	return flip_deadline(fence->hook_timeout_ms > ROUND_TRIP_MS ? fence->hook_timeout_ms : ROUND_TRIP_MS);
}

static int MAY_WAIT close_one(struct flip *f, const struct conf_fence *fence, struct err *err)
{
	const struct fence_ops *ops;
	enum act act;

	if (fence->kind == CONF_FENCE_READ_ONLY) {
		struct node_proof proof;

		act = node_fence_proven(f->old_side.lock, f->policy.fence_timeout_ms,
			flip_deadline(f->policy.fence_timeout_ms + 500), &proof, err);
		if (act != ACT_DONE)
			return act == ACT_REFUSED ? -EAGAIN : flip_rc(act, err);
		return guard_judge(f, &proof, err);
	}
	ops = registry_fence(fence->kind);
	act = ops->close(fence, &f->ctx, outer_deadline(fence), err);
	if (act == ACT_DONE)
		act = ops->verify(fence, &f->ctx, outer_deadline(fence), err);
	if (act != ACT_DONE)
		err_server(err, f->old_side.server->conf->name);
	return flip_rc(act, err);
}

/* The last before the blackout: new proven closed, heartbeats away, all of it on disk. */
static int MAY_WAIT before_fence(struct flip *f, struct err *err)
{
	struct node_proof p;
	int rc = have_adapters(f, err);

	if (rc == 0)
		fence_probe_warm(f); /* drain may have taken hours; before all that must not grow old */
	if (rc == 0)
		rc = endpoints_warm(f, err); /* and name servers close what is idle for half a minute */
	if (rc == 0)
		rc = have_lock(f, &f->old_side, &p, err);
	sess_tag(f, "fence");
	if (rc == 0)
		f->before = p.position;
	if (rc == 0)
		rc = take_baseline(f, err);
	if (rc == 0)
		rc = row_write(f, f->old_side.act, "fencing", err);
	if (rc == 0)
		rc = cluster_heartbeat_pause(
			f->cluster, f->from, f->old_side.reaper, flip_deadline(ROUND_TRIP_MS), err);
	if (rc == 0)
		rc = drain_still(f, err);
	return rc < 0 ? rc : journal_fence(f, err);
}

int MAY_WAIT step_fence(struct flip *f, struct err *err)
{
	const struct conf_server *old_conf = f->old_side.server->conf;
	int rc;

	f->attempt++;
	f->blockers_seen[0] = '\0';
	rc = before_fence(f, err);
	if (rc < 0)
		return rc;
	f->fence_us = clock_us();
	f->fence_wall_ms = clock_wall_ms();
	f->fence_issued = true;
	f->hush = true;
	f->budget = fiber_spawn("budget", budget_fiber, f);
	fiber_cond_signal(&f->fence_cond);
	for (int i = 0; i < old_conf->nfences && rc == 0; i++)
		rc = close_one(f, &old_conf->fences[i], err);
	if (rc == -EAGAIN)
		err_wrap(err, "the fence could not be had within fence_timeout, attempt %d of %lld%s%s",
			f->attempt, (long long)f->policy.fence_attempts,
			f->blockers_seen[0] ? "; in the way: " : "", f->blockers_seen);
	if (rc == 0)
		rc = drain_give_way(f, err);
	probe_allow(f->probe, f->from, rc < 0);
	f->fence_answered = rc == 0;
	f->fence_refused = rc < 0;
	fiber_cond_signal(&f->fence_cond);
	flip_step_detail(f, "fence", "attempt %d", f->attempt);
	return rc;
}

static void fence_write_fiber(void *arg)
{
	struct fence_write *w = arg;

	w->act = node_probe_write(w->session, (uint64_t)clock_us(), flip_deadline(ROUND_TRIP_MS), &w->err);
}

static int judge_fence_write(struct flip *f, const struct fence_write *w, struct err *err)
{
	if (w->act == ACT_DONE) {
		err_server(err, f->old_side.server->conf->name);
		err_hint(err, "the account of fence_probe must not have READ ONLY ADMIN or SUPER");
		return err_set(err, -EPERM, "%s: a write of fence_probe was accepted behind the fence",
			f->old_side.server->conf->name);
	}
	if (w->act == ACT_UNKNOWN || w->err.sql_errno != 1290)
		flip_warn(f, "the fence was not proven by a write: %s", err_text(&w->err));
	return 0;
}

/* A write of the probe account, which the fence must refuse: under way from here, awaited before anything may
 * open. */
static void fence_write_begin(struct flip *f)
{
	struct fence_write *w = &f->fence_write;

	if (w->fiber || !f->fence_probe || !session_alive(f->fence_probe))
		return;
	*w = (struct fence_write){.session = f->fence_probe};
	w->fiber = fiber_spawn("fence probe", fence_write_fiber, w);
}

int MAY_WAIT fence_write_end(struct flip *f, struct err *err)
{
	struct fence_write *w = &f->fence_write;

	if (!w->fiber)
		return 0;
	int rc = fiber_join_or_cancel(w->fiber);
	w->fiber = NULL;
	return rc < 0 ? rc : judge_fence_write(f, w, err);
}

void MAY_WAIT fence_write_drop(struct flip *f)
{
	fiber_stop(f->fence_write.fiber);
	f->fence_write.fiber = NULL;
}

/*
 * The variable was read back with the fence itself. Where the kill may come late, the position read with it
 * is the final one; with sessions still to be killed first it is provisional, and the write is awaited here.
 */
int MAY_WAIT step_fence_verify(struct flip *f, struct err *err)
{
	int rc;

	fence_write_begin(f);
	if (f->kill_late)
		return 0;
	f->has_final = false;
	rc = guard_prove(f, err);
	f->has_final = false;
	return rc < 0 ? rc : fence_write_end(f, err);
}

/* From here on old may take writes beyond its final position, whether an answer comes or not. Not durable: no
 * disk holds up the opening of old. */
static void MAY_WAIT note_reopening(struct flip *f)
{
	struct err ignored = {0};

	if (!f->old_reopened && f->fence_journaled)
		(void)!jn_write(f, "reopened", "fence", NULL, false, &ignored);
	f->old_reopened = true;
}

/* The first try is a short one: one that hangs is killed soon, so that there is little time in which new
 * boots open before its effect comes. A server that needs longer gets it at the next. */
static int64_t unfence_deadline(struct flip *f)
{
	return flip_deadline(f->unfence_tries++ ? ROUND_TRIP_MS : UNFENCE_FIRST_MS);
}

/* A hook may have taken seconds, in which new may have restarted, open. One that gives no answer is what it
 * was when this was decided. */
static int MAY_WAIT new_not_open(struct flip *f, int64_t since_us, struct err *err)
{
	struct node_proof p;
	struct err ignored = {0};

	if (clock_us() - since_us < NEW_STALE_MS * 1000 ||
		sess_ask(f, &f->new_side, NEW_LIMIT_MS, &p, &ignored) < 0 || p.read_only)
		return 0;
	return err_set(err, -EPERM, "%s has been opened meanwhile", f->new_side.server->conf->name);
}

static int MAY_WAIT open_fences(struct flip *f, struct err *err)
{
	const struct conf_server *c = f->old_side.server->conf;
	/* A decision has looked at new right before; a fence that is withdrawn was preceded by the last look.
	 */
	int64_t since_us = f->rolling_back ? clock_us() : f->fence_us;
	int rc = 0;

	for (int i = c->nfences - 1; i >= 0 && rc == 0; i--) {
		rc = new_not_open(f, since_us, err);
		if (rc < 0)
			return rc;
		since_us = clock_us();
		if (c->fences[i].kind == CONF_FENCE_READ_ONLY) {
			rc = flip_rc(node_unfence(f->old_side.lock, unfence_deadline(f), err), err);
			continue;
		}
		const struct fence_ops *ops = registry_fence(c->fences[i].kind);
		if (ops) /* else nothing that this build could have closed */
			rc = flip_rc(
				ops->open(&c->fences[i], &f->ctx, outer_deadline(&c->fences[i]), err), err);
	}
	return rc;
}

/* Opens old. Nothing that could do so is ever sent while an intent lives (SPEC.md, invariant c). */
int MAY_WAIT step_fence_undo(struct flip *f, struct err *err)
{
	if (f->intent && !f->revoked)
		return err_set(err, -EPERM, "%s is not opened: the intent to open %s is not revoked",
			f->old_side.server->conf->name, f->new_side.server->conf->name);
	if (!f->old_side.lock || !session_alive(f->old_side.lock) || !f->old_side.locked)
		return err_set(
			err, -ENOLCK, "%s: the flip's lock is not held", f->old_side.server->conf->name);
	note_reopening(f);
	return open_fences(f, err);
}

int MAY_WAIT step_fence_undone(struct flip *f, struct err *err)
{
	struct node_proof p;
	enum act act = node_prove(f->old_side.lock, flip_deadline(ROUND_TRIP_MS), &p, err);

	if (act != ACT_DONE)
		return flip_rc(act, err);
	if (p.read_only)
		return err_set(err, -EIO, "%s is still closed", f->old_side.server->conf->name);
	return 0;
}

/* --- coordinates
 * --------------------------------------------------------------------------------------------- */

int MAY_WAIT step_coordinates(struct flip *f, struct err *err)
{
	struct wire *d;
	char text[256];
	int rc = 0;

	if (!f->has_final) /* kill_late: taken together with the proof of the fence */
		rc = guard_prove(f, err);
	if (rc < 0)
		return rc;
	guard_start(f);
	d = wire_object();
	wire_set(d, "final", jn_position(&f->final));
	rc = jn_write(f, "position", "coordinates", d, false, err);
	flip_step_detail(f, "coordinates", "%s:%llu %s", f->final.file, (unsigned long long)f->final.pos,
		gtid_format(&f->final.binlog_pos, text, sizeof(text)));
	return rc;
}
