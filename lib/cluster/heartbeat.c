/*
 * heartbeat: one guarded UPDATE on the master per interval. flipd's account walks through read_only, so the
 * statement itself asks for read_only = 0 and for the lock to be free or ours (experiments E4, E8); a flip
 * pauses it from its fence to its opening all the same.
 */
#include "lib/cluster/heartbeat.h"

#include <errno.h>

#include "lib/base/clock.h"
#include "lib/cluster/cluster.h"

#define HEARTBEAT_LIMIT_MS 3000

/* With the other side out of reach the one that is open need not be the master: a restart may have opened it,
 * and a beat there would be a transaction of its own. It is where it was before, or a flip has opened it. */
static bool is_home(const struct cluster *c, enum cluster_master m)
{
	return c->side[!m].facts.up || c->heartbeat_home == (int)m;
}

static void failed(struct cluster *c, const struct err *why)
{
	c->heartbeat_failures++;
	c->heartbeat_error = *why;
}

/* A session on today's master, or NULL when there is none to beat on. */
static struct session *MAY_WAIT heartbeat_session(struct cluster *c)
{
	enum cluster_master m = cluster_master(c);
	const struct conf_account *as = &c->conf->policy.heartbeat_account;
	struct err err = {0};

	if (c->heartbeat && (!session_alive(c->heartbeat) || (int)m != (int)c->heartbeat_side)) {
		session_close(c->heartbeat);
		c->heartbeat = NULL;
	}
	if (m > CLUSTER_MASTER_TARGET || !is_home(c, m) || !c->side[m].facts.schema_present)
		return NULL;
	if (!c->heartbeat) {
		struct session *s = NULL;
		if (session_open(c->side[m].node, SESSION_HEARTBEAT, as->user ? as : NULL,
			    clock_us() + HEARTBEAT_LIMIT_MS * 1000, &s, &err) < 0) {
			failed(c, &err);
			return NULL;
		}
		c->heartbeat = s;
		c->heartbeat_side = (enum conf_side)m;
	}
	if (c->heartbeat_lost && c->heartbeat_lost_side == c->heartbeat_side) {
		/* One that got no answer is seen gone before the next: it could write long after, behind a
		 * fence. */
		if (node_kill_own(c->heartbeat, &c->heartbeat_lost_mark,
			    clock_us() + HEARTBEAT_LIMIT_MS * 1000, &err) != ACT_DONE) {
			failed(c, &err);
			return NULL;
		}
		c->heartbeat_lost = false;
	}
	return c->heartbeat;
}

static void MAY_WAIT heartbeat_once(struct cluster *c)
{
	struct err err = {0};
	bool written = false;
	struct session *s = heartbeat_session(c);

	if (!s || c->heartbeat_paused || c->stopping)
		return;
	fiber_doing("heartbeat on %s", c->side[c->heartbeat_side].conf->name);
	enum act act = node_heartbeat(s, c->lock_session[c->heartbeat_side],
		clock_us() + HEARTBEAT_LIMIT_MS * 1000, &written, &err);
	if (written)
		c->heartbeat_home = (int)c->heartbeat_side;
	if (act == ACT_DONE)
		c->heartbeat_failures = 0;
	else
		failed(c, &err);
	if (act != ACT_UNKNOWN)
		return;
	c->heartbeat_lost = true;
	c->heartbeat_lost_mark = *session_get_mark(s);
	c->heartbeat_lost_side = c->heartbeat_side;
}

void heartbeat_fiber_main(void *arg)
{
	struct cluster *c = arg;

	while (!c->stopping) {
		int64_t ms =
			c->heartbeat_fast_ms ? c->heartbeat_fast_ms : c->conf->policy.heartbeat_interval_ms;

		if (!c->heartbeat_paused) {
			c->heartbeat_busy = true;
			heartbeat_once(c);
			c->heartbeat_busy = false;
			fiber_cond_signal(&c->heartbeat_wake);
		}
		fiber_doing("waiting for the next heartbeat");
		if (fiber_cond_wait(&c->heartbeat_wake, clock_us() + ms * 1000) == -ECANCELED)
			return;
	}
}

int MAY_WAIT cluster_heartbeat_pause(
	struct cluster *c, enum conf_side side, struct session *reaper, int64_t deadline_us, struct err *err)
{
	c->heartbeat_paused = true;
	while (c->heartbeat_busy) {
		int rc = fiber_cond_wait(&c->heartbeat_wake, deadline_us);
		if (rc < 0)
			return err_set(
				err, rc, "a heartbeat on %s does not answer", c->side[side].conf->name);
	}
	if (!c->heartbeat_lost || c->heartbeat_lost_side != side)
		return 0;
	if (node_kill_own(reaper, &c->heartbeat_lost_mark, deadline_us, err) != ACT_DONE)
		return err_set(err, -EBUSY, "a heartbeat that got no answer is not seen gone");
	c->heartbeat_lost = false;
	return 0;
}

void cluster_heartbeat_fast(struct cluster *c, int64_t interval_ms)
{
	c->heartbeat_fast_ms = interval_ms;
	fiber_cond_signal(&c->heartbeat_wake);
}

void cluster_heartbeat_resume(struct cluster *c, int master)
{
	if (master >= 0)
		c->heartbeat_home = master;
	c->heartbeat_paused = false;
	c->heartbeat_fast_ms = 0;
}
