/*
 * steps_drain: waits for the right moment to fence: replication close, no long statement, no long
 * transaction. Nothing here stops a write. What is decided here, too: whether the kill may come after the
 * opening.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "lib/base/clock.h"
#include "lib/base/str.h"
#include "lib/flip/flip_priv.h"

#define LOOK_MS 20
#define SETTLE_MS 300	  /* how long a better moment is looked for once the configured one is there */
#define WORSE_MOST 2	  /* nor longer than the lag falls */
#define BEAT_WAIT_MS 1500 /* after that the heartbeat is taken for broken, and the rest must do */
#define STILL_MS 1000	  /* so long what drain saw is taken for true */
#define LAG_FINE_MS 60	  /* a lag below which waiting longer gains nothing: three beats */

struct drain {
	int64_t begun_us, good_since_us; /* 0: something stands in the way */
	int64_t lag_ms;			 /* at the last look */
	int worse;			 /* looks since it last fell */
	bool busy;			 /* something may be writing that takes long */
	int64_t idle_ms;		 /* of old's clock, at the first look without it; 0: there was none */
};

bool drain_is_writing(const struct facts_session *s)
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
		if (s->waits_for_space)
			(void)snprintf(buf, size,
				"session %llu of %s waits for disk space in its commit, and so does the "
				"fence",
				(unsigned long long)s->id, s->user);
		if (s->waits_for_space || kill_exempt(f, &f->old_side, s))
			continue;
		if (drain_is_writing(s) && s->time_ms > p->max_transaction_age_ms)
			(void)snprintf(buf, size,
				"session %llu of %s has been writing for %.1f s (max_transaction_age)",
				(unsigned long long)s->id, s->user, (double)s->time_ms / 1000);
		else if (s->trx_rows > 0 && s->trx_age_ms > p->max_transaction_age_ms)
			(void)snprintf(buf, size,
				"session %llu of %s has a transaction with %llu changed rows open for %.1f s "
				"(max_transaction_age)",
				(unsigned long long)s->id, s->user, (unsigned long long)s->trx_rows,
				(double)s->trx_age_ms / 1000);
		else if (s->trx_rows > (uint64_t)p->max_transaction_rows)
			(void)snprintf(buf, size,
				"session %llu of %s has changed %llu rows in one transaction "
				"(max_transaction_rows)",
				(unsigned long long)s->id, s->user, (unsigned long long)s->trx_rows);
	}
	const struct facts_channel *ch = facts_channel_from(new_facts, old_facts->id.server_id, NULL, 0);
	if (!buf[0] && (!ch || strcmp(ch->io, "Yes") != 0 || strcmp(ch->sql, "Yes") != 0))
		(void)snprintf(buf, size, "%s does not replicate", f->new_side.server->conf->name);
	if (!buf[0] && ch && ch->lag_s >= 0 && ch->lag_s * 1000 > p->max_lag_ms)
		(void)snprintf(buf, size, "%s lags %lld s (max_lag)", f->new_side.server->conf->name,
			(long long)ch->lag_s);
	if (!buf[0] && lag_ms > p->max_lag_ms)
		(void)snprintf(buf, size, "%s lags up to %lld ms by heartbeat (max_lag)",
			f->new_side.server->conf->name, (long long)lag_ms);
}

int64_t drain_lag_ms(const struct facts *old_facts, const struct facts *new_facts)
{
	int64_t lag = old_facts->heartbeat_wall_ms - new_facts->heartbeat_wall_ms;

	if (old_facts->heartbeat_wall_ms < 0 || new_facts->heartbeat_wall_ms < 0)
		return 0;
	return lag > 0 ? lag : 0;
}

/*
 * By a beat of this flip what it says; before one has come out on new at most the time since the last that
 * has: a slow beat says little. Where none comes out for long it is by what old has beaten since, if it beats
 * at all.
 */
static int64_t lag_at_most_ms(
	const struct flip *f, const struct facts *o, const struct facts *n, int64_t begun_us)
{
	if (o->heartbeat_wall_ms < 0 || n->heartbeat_wall_ms < 0)
		return 0;
	if (n->heartbeat_wall_ms > f->beat_before_ms || clock_us() - begun_us > BEAT_WAIT_MS * 1000)
		return drain_lag_ms(o, n);
	return o->wall_ms - n->heartbeat_wall_ms;
}

/* For how long the one has been writing that has done so for longest, as far as that could make new lag. */
static int64_t longest_writing_ms(const struct flip *f, const struct facts *o)
{
	int64_t longest = 0;

	for (int i = 0; i < o->nsessions; i++) {
		const struct facts_session *s = &o->sessions[i];
		if (drain_is_writing(s) && s->time_ms > f->policy.max_lag_ms && s->time_ms > longest &&
			!kill_exempt(f, &f->old_side, s))
			longest = s->time_ms;
	}
	return longest;
}

/*
 * A long statement that has just ended, a copying ALTER TABLE, is applied by new for as long as it took, and
 * a lag of that does not show at once. Only a beat that old has written since can tell. Before the first look
 * after a fence that was taken back any such may have ended.
 */
static bool has_yet_to_apply(struct flip *f, struct drain *d, const struct facts *o, const struct facts *n)
{
	int64_t longest_ms = longest_writing_ms(f, o);

	f->blocker_since_us = longest_ms ? clock_us() - longest_ms * 1000 : 0;
	if (!longest_ms && d->busy)
		d->idle_ms = o->wall_ms;
	d->busy = longest_ms > 0;
	if (d->busy || !d->idle_ms || o->heartbeat_wall_ms < 0 || n->heartbeat_wall_ms > d->idle_ms)
		return false;
	return o->heartbeat_wall_ms > d->idle_ms || o->wall_ms - d->idle_ms < BEAT_WAIT_MS;
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

/* What comes before the first look: sessions that a withdrawn fence has cost, the operator's hooks (once). */
static int MAY_WAIT drain_ready(struct flip *f, struct err *err)
{
	int rc = sess_reopen(f, err);

	if (rc == 0 && !f->hooks_begun && !f->request.rehearsal && f->conf->hooks.before_fence.n) {
		rc = jn_write(f, "hooks", "drain", NULL, true, err);
		f->hooks_begun = true;
		if (rc == 0)
			rc = hooks_run(f, &f->conf->hooks.before_fence, "before_fence", true, err);
		if (rc < 0 && rc != -ECANCELED)
			rc = err->code = -EPERM; /* that is a refusal, whatever the hook's own code */
	}
	return rc < 0 ? rc : events_semi_sync_off(f, err);
}

/* Whether now is as good as it gets, with nothing in the way. */
static bool good_moment(struct drain *d, int64_t lag_ms)
{
	bool falls = d->good_since_us && lag_ms < d->lag_ms;

	d->worse = falls ? 0 : d->worse + 1;
	d->lag_ms = lag_ms;
	if (!d->good_since_us) {
		d->good_since_us = clock_us();
		d->worse = 0;
	}
	return lag_ms <= LAG_FINE_MS || d->worse >= WORSE_MOST ||
	       clock_us() - d->good_since_us > SETTLE_MS * 1000;
}

/* One look: true when the fence may follow; else obstacle says what is waited for. */
static int MAY_WAIT look_once(struct flip *f, struct drain *d, char *obstacle, size_t size, struct err *err)
{
	struct arena *a CLEANUP(arena_freep) = arena_new();
	struct facts *o = arena_alloc(a, sizeof(*o)), *n = arena_alloc(a, sizeof(*n));
	int rc = drain_look(f, a, o, n, err);
	int64_t lag = rc == 0 ? lag_at_most_ms(f, o, n, d->begun_us) : 0;

	if (rc < 0)
		return rc;
	f->kill_late = !bypass_connected(f, o) && !strcmp(o->binlog_format, "ROW");
	drain_obstacle(f, o, n, lag, obstacle, size);
	if (has_yet_to_apply(f, d, o, n) && !obstacle[0])
		(void)snprintf(obstacle, size, "%s has yet to apply a long statement that has just ended",
			f->new_side.server->conf->name);
	if (obstacle[0]) {
		d->good_since_us = 0;
	} else if (good_moment(d, lag)) {
		f->drained_us = clock_us();
		flip_step_detail(f, "drain", "lag %lld ms%s", (long long)lag,
			f->request.rehearsal && f->conf->hooks.before_fence.n
				? "; the hooks before_fence are not run: they may stop writes"
				: "");
		return 1;
	}
	flip_step_detail(f, "drain", "waiting: %s", obstacle[0] ? obstacle : "for a moment of low lag");
	return 0;
}

/*
 * Right before the fence. Where servers answer late (far away, frozen, cut off for a moment) drain's last
 * look is old by now: lag has grown, a long statement has begun. Then one more; -EAGAIN: not now, drain waits
 * anew.
 */
int MAY_WAIT drain_still(struct flip *f, struct err *err)
{
	struct arena *a CLEANUP(arena_freep) = arena_new();
	struct facts *o = arena_alloc(a, sizeof(*o)), *n = arena_alloc(a, sizeof(*n));
	char obstacle[256];
	int rc;

	if (clock_us() - f->drained_us <= STILL_MS * 1000)
		return 0;
	rc = drain_look(f, a, o, n, err);
	if (rc < 0)
		return rc;
	drain_obstacle(f, o, n, drain_lag_ms(o, n), obstacle, sizeof(obstacle));
	if (!obstacle[0] && f->kill_late && bypass_connected(f, o))
		(void)snprintf(
			obstacle, sizeof(obstacle), "an account that walks through the fence has connected");
	if (!obstacle[0])
		return 0;
	err_server(err, f->old_side.server->conf->name);
	err_hint(err, "find out why the servers answer late (network, load, disk), then flip again");
	return err_set(err, -EAGAIN, "%lld ms after drain the moment was not right any more: %s",
		(long long)((clock_us() - f->drained_us) / 1000), obstacle);
}

/*
 * A long statement has ended right before the fence, or the fence has waited for it: now new has it before
 * it, which may take as long again, with old closed all the while, until max_blackout. So old opens once
 * more, and drain waits for new instead. One that was killed is applied nowhere.
 */
int drain_give_way(struct flip *f, struct err *err)
{
	int64_t took_ms = f->blocker_since_us ? (clock_us() - f->blocker_since_us) / 1000 : 0;
	bool killed = f->policy.blockers == CONF_BLOCKERS_KILL && f->blockers_seen[0];

	if (killed || took_ms <= f->policy.max_lag_ms || f->attempt >= f->policy.fence_attempts)
		return 0;
	return err_set(err, -EAGAIN, "a statement that took %.1f s has ended, and %s has yet to apply it",
		(double)took_ms / 1000, f->new_side.server->conf->name);
}

int MAY_WAIT step_drain(struct flip *f, struct err *err)
{
	int64_t end = flip_deadline(f->policy.drain_timeout_ms);
	struct drain d = {.begun_us = clock_us(), .busy = f->attempt > 0};
	char obstacle[256];
	int rc = drain_ready(f, err);

	if (rc < 0)
		return rc;
	cluster_heartbeat_fast(f->cluster, HEARTBEAT_FAST_MS); /* again, after a fence that was withdrawn */
	for (;;) {
		rc = look_once(f, &d, obstacle, sizeof(obstacle), err);
		if (rc != 0)
			return rc < 0 ? rc : 0;
		if (clock_us() > end) {
			err_hint(err, "find out what it does, end it or wait; or raise the limit named, or "
				      "drain_timeout");
			return err_set(err, -ETIME, "the right moment did not come within drain_timeout: %s",
				obstacle);
		}
		rc = fiber_sleep_ms(LOOK_MS);
		if (rc < 0)
			return rc;
	}
}
