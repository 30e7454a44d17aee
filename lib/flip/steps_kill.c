/*
 * steps_kill: the row kill, beside the fence: who holds the fence up is named, and dealt with as `blockers`
 * says; then the clients of old.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "lib/base/clock.h"
#include "lib/flip/flip_priv.h"

#define BLOCKER_SURE_MS 100 /* one that has run that long is what holds the fence up */

/* "Waiting for backup lock" and the like: it queues behind the fence. "Waiting for semi-sync ACK" holds it up
 * (E16). */
static bool waits_for_lock(const struct facts_session *s)
{
	return strstr(s->state, "Waiting for") && strstr(s->state, "lock");
}

/* Whether a session may be what the fence waits for. idle: it holds LOCK TABLES, as any idle one may: no
 * server shows. */
static bool may_block(const struct flip *f, const struct facts_session *s, bool idle)
{
	if (kill_exempt(f, &f->old_side, s) || waits_for_lock(s) || s->time_ms < BLOCKER_GRACE_MS)
		return false;
	if (idle)
		return !strcasecmp(s->command, "Sleep");
	return s->trx_rows || !strcasecmp(s->command, "Query");
}

/* Up to four more of them; how long the one that runs longest has been at it. */
static int64_t add_blockers(struct flip *f, const struct facts_session *list, int n, bool idle)
{
	size_t len = strlen(f->blockers_seen), size = sizeof(f->blockers_seen);
	int64_t longest_ms = 0;

	for (int i = 0, named = 0; i < n && named < 4 && len < size - 64; i++) {
		const struct facts_session *s = &list[i];
		const char *what = s->waits_for_space ? "no disk space"
				   : idle	      ? "idle: LOCK TABLES?"
				   : s->info[0]	      ? s->info
						      : s->command;
		if (!may_block(f, s, idle))
			continue;
		named++;
		longest_ms = s->time_ms > longest_ms ? s->time_ms : longest_ms;
		len += (size_t)snprintf(f->blockers_seen + len, size - len,
			"%ssession %llu of %s (%.20s, %.1f s)", len ? ", " : "", (unsigned long long)s->id,
			s->user, what, (double)s->time_ms / 1000);
	}
	return longest_ms;
}

/* Names the sessions that hold the fence up, as far as they show: running writers and open transactions;
 * where none has run for long, the idle ones too. */
static void MAY_WAIT name_blockers(struct flip *f)
{
	struct arena *a CLEANUP(arena_freep) = arena_new();
	struct facts_session *list = NULL;
	struct err ignored = {0};
	int n = 0;

	if (node_sessions(f->old_side.reaper, a, flip_deadline(ROUND_TRIP_MS), &list, &n, &ignored) !=
		ACT_DONE)
		return;
	int64_t longest_ms = add_blockers(f, list, n, false);
	if (longest_ms)
		f->blocker_since_us = clock_us() - longest_ms * 1000;
	if (longest_ms < BLOCKER_SURE_MS)
		(void)add_blockers(f, list, n, true);
}

static bool fence_pending(const struct flip *f)
{
	return !f->fence_answered && !f->fence_refused;
}

/* Waits until the fence has answered; -ETIMEDOUT at the deadline. */
static int MAY_WAIT await_fence(struct flip *f, int64_t deadline_us)
{
	while (fence_pending(f)) {
		int rc = fiber_cond_wait(&f->fence_cond, deadline_us);
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* The fence is still waiting after the grace: who holds it up is named, and dealt with as `blockers` says. */
static int MAY_WAIT deal_with_blockers(struct flip *f, struct err *err)
{
	bool none = false;
	int rc = 0;

	name_blockers(f);
	if (f->policy.blockers == CONF_BLOCKERS_WITHDRAW)
		return flip_rc(node_kill(f->old_side.reaper, session_get_mark(f->old_side.lock)->id, true,
				       flip_deadline(ROUND_TRIP_MS), err),
			err);
	while (f->policy.blockers == CONF_BLOCKERS_KILL && fence_pending(f) && rc == 0) {
		rc = kill_all(f, &f->old_side, 0, &none, err);
		if (rc == 0)
			rc = await_fence(f, clock_us() + (f->no_space ? 50000 : 5000));
		if (rc == -ETIMEDOUT)
			rc = 0;
	}
	return rc;
}

int MAY_WAIT step_kill(struct flip *f, struct err *err)
{
	bool none = false;
	int before, rc = 0;

	while (!f->fence_issued && rc == 0)
		rc = fiber_cond_wait(&f->fence_cond, CLOCK_FOREVER);
	if (rc < 0)
		return rc;
	rc = await_fence(f, f->fence_us + BLOCKER_GRACE_MS * 1000);
	if (rc == -ETIMEDOUT) {
		rc = deal_with_blockers(f, err);
		if (rc == 0)
			rc = await_fence(f, CLOCK_FOREVER);
	}
	if (rc < 0)
		return rc;
	if (f->fence_refused)
		return STEP_SKIPPED;
	/* Sessions that the fence holds can wait until applications are served: killing them now would cost
	 * the opening its processors. */
	while (f->kill_late && !f->opened && rc == 0)
		rc = fiber_cond_wait(&f->opened_cond, flip_deadline(f->policy.max_blackout_ms));
	if (rc == -ECANCELED)
		return rc;
	before = f->nvictims;
	rc = kill_behind_fence(f, &none, err);
	if (rc == 0 && !none)
		flip_warn(f, "sessions were still left on %s after kill_timeout; the fence holds them",
			f->old_side.server->conf->name);
	flip_step_detail(f, "kill", "%d sessions killed", f->nvictims - before);
	return rc;
}
