/* guard_close: closes a side that is open beside the master, outside a flip (policy `guard: fence`). */
#include <errno.h>

#include "lib/base/clock.h"
#include "lib/flip/flip_priv.h"

#define CLOSE_TRIES 5

/* One sweep: the fence holds whoever comes back. */
static enum act MAY_WAIT kill_clients(
	struct cluster *c, struct session *x, const struct conf_server *server, struct err *err)
{
	struct arena *a CLEANUP(arena_freep) = arena_new();
	struct facts_session *list = NULL;
	int n = 0, nids = 0;
	enum act act = node_sessions(x, a, flip_deadline(ROUND_TRIP_MS), &list, &n, err);

	if (act != ACT_DONE)
		return act;
	if (facts_waits_for_space(list, n)) {
		err_set(err, -ENOSPC, "a commit waits for disk space: nobody is killed");
		return ACT_REFUSED;
	}
	uint64_t *ids = arena_alloc(a, ((size_t)n + 1) * sizeof(*ids));
	for (int i = 0; i < n; i++)
		if (!kill_exempt_user(&c->conf->policy, server, &list[i]))
			ids[nids++] = list[i].id;
	return node_kill_many(x, ids, nids, flip_deadline(KILLS_MS), err);
}

int MAY_WAIT flip_guard_close(struct cluster *c, enum conf_side side, struct err *err)
{
	struct cluster_server *s = &c->side[side];
	int64_t limit_ms = c->conf->policy.fence_timeout_ms;
	struct session *x = NULL;
	enum act act = ACT_REFUSED;
	int rc = cluster_session(s, SESSION_LOCK, flip_deadline(ROUND_TRIP_MS), &x, err);

	if (rc < 0)
		return rc;
	session_tag(x, "guard", "fence");
	for (int tries = 0; tries < CLOSE_TRIES && act == ACT_REFUSED; tries++) {
		struct err ignored = {0};
		err_clear(err);
		act = node_fence(x, limit_ms, flip_deadline(limit_ms + 500), err);
		if (act != ACT_UNKNOWN && kill_clients(c, x, s->conf, &ignored) == ACT_UNKNOWN)
			break;
	}
	session_close(x);
	return flip_rc(act, err);
}
