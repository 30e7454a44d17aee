/* guard: looking at, and where it is asked for closing again, what the last flip closed. */
#include "daemon/guard.h"

#include "daemon/run.h"
#include "daemon/server.h"
#include "daemon/state.h"
#include "daemon/watch.h"
#include "lib/base/log.h"
#include "lib/base/str.h"

static void close_main(void *arg)
{
	struct watched *w = arg;

	if (w->guarded < 0 || w->master != CLUSTER_MASTER_BOTH_WRITABLE) /* a poll came in between */
		return;
	struct live *live = live_use(w);
	enum conf_side side = (enum conf_side)w->guarded;
	struct log_ctx ctx = {.cluster = w->name, .server = conf_side_name(side)};
	struct err err = {0};

	if (flip_guard_close(live->cluster, side, &err) == 0)
		log_at(LOG_LEVEL_ERROR, &ctx,
			"closed again, its sessions killed; what was written there meanwhile "
			"is on no other server");
	else
		log_at(LOG_LEVEL_ERROR, &ctx, "cannot be closed again: %s", err_text(&err));
	live_done(live);
	cluster_poke(w->live->cluster);
}

static void call_out(struct watched *w, bool fence)
{
	struct log_ctx ctx = {.cluster = w->name, .server = conf_side_name((enum conf_side)w->guarded)};

	if (w->alarmed)
		return;
	w->alarmed = true;
	log_at(LOG_LEVEL_ERROR, &ctx,
		"both sides take writes: the last flip closed this one and somebody opened it; %s",
		fence ? "it is closed again" : "close it with SET GLOBAL read_only=1 and kill its sessions");
}

/* What the last flip closed takes writes and the other side is closed: somebody has changed masters since.
 * Which one is to be closed when both are open flipd does not know any more. */
static bool overtaken(const struct watched *w)
{
	const struct facts *other;

	if (w->run || w->guarded < 0 || (int)w->master != w->guarded || !state_looked_since(w))
		return false;
	other = &w->live->cluster->side[!w->guarded].facts;
	return other->up && other->read_only;
}

void guard_look(struct watched *w)
{
	const struct cluster *c = w->live->cluster;
	bool fence = c->conf->policy.guard == CONF_GUARD_FENCE;

	/* A flip that is stuck with new serving closes old the moment it answers, as it would have itself. */
	if (w->run && !w->run->active && flip_settling(w->run->flip)) {
		w->guarded = flip_from(w->run->flip);
		fence = true;
	}

	if (w->guard && fiber_done(w->guard)) {
		struct fiber *over = w->guard;
		w->guard = NULL;
		fiber_join(over);
	}
	if (w->master != CLUSTER_MASTER_BOTH_WRITABLE) {
		if (overtaken(w))
			w->guarded = -1;
		w->alarmed = false;
		return;
	}
	/* A flip guards for itself; a rehearsal does not. */
	if ((w->run && w->run->active && !flip_is_rehearsal(w->run->flip)) || w->unreadable ||
		w->guarded < 0 || w->server->stopping)
		return;
	call_out(w, fence);
	if (fence && !w->guard)
		w->guard = fiber_spawn("guard", close_main, w);
}

void guard_set(struct watched *w, bool done, bool rolled_back, const char *closed)
{
	if (done || rolled_back)
		w->guarded = str_eq(closed, "target") ? CONF_TARGET : CONF_SOURCE;
}
