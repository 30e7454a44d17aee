/*
 * decide_undo: what a roll back undoes once old is open: endpoints, settings, the rest. Nothing of it is in a
 * hurry, but new is watched meanwhile.
 */
#include <errno.h>

#include "lib/base/clock.h"
#include "lib/base/str.h"
#include "lib/flip/decide.h"

#define NEW_EVERY_MS 100
#define NEW_LIMIT_MS 400

bool MAY_WAIT decide_new_is_open(struct flip *f)
{
	struct node_proof p;
	struct err ignored = {0};

	return sess_ask(f, &f->new_side, NEW_LIMIT_MS, &p, &ignored) == 0 && !p.read_only;
}

bool MAY_WAIT decide_old_is_closed(struct flip *f)
{
	struct node_proof p;
	struct err ignored = {0};

	return sess_ask(f, &f->old_side, ROUND_TRIP_MS, &p, &ignored) == 0 && p.read_only;
}

/* That `reverse` had begun may have gone with flipd's machine: only the intent was durable for certain. */
int MAY_WAIT decide_unfollow(struct flip *f, struct err *err)
{
	struct arena *a CLEANUP(arena_freep) = arena_new();
	const struct conf_server *n = f->new_side.server->conf;
	struct facts *facts = NULL;
	int rc;

	if (!f->st[step_index("reverse")].begun && !(f->recovered && f->intent))
		return 0;
	rc = sess_open(f, &f->old_side, SESSION_ACT, flip_deadline(ROUND_TRIP_MS), err);
	if (rc == 0)
		rc = side_facts(f->old_side.act, a, &facts, err);
	if (rc < 0 || !facts_channel_from(facts, f->new_side.identity.server_id, n->replication_host,
			      n->replication_port))
		return rc;
	return flip_rc(node_forget_replication(f->old_side.act, flip_deadline(REPLICATION_UP_MS), err), err);
}

/* Those beside read_only outlive a restart of new, and need no answer of it. */
static void MAY_WAIT close_fences_of_new(struct flip *f)
{
	const struct conf_server *c = f->new_side.server->conf;

	for (int i = 0; f->new_fences_open && i < c->nfences; i++) {
		const struct conf_fence *fence = &c->fences[i];
		const struct fence_ops *ops = registry_fence(fence->kind);
		struct err err = {0};
		if (fence->kind == CONF_FENCE_READ_ONLY || !ops ||
			(ops->close(fence, &f->ctx, outer_deadline(fence), &err) == ACT_DONE &&
				ops->verify(fence, &f->ctx, outer_deadline(fence), &err) == ACT_DONE))
			continue;
		flip_warn(f, "a fence of %s could not be closed again: %s", c->name, err_text(&err));
		return;
	}
	f->new_fences_open = false;
}

static void endpoints_back(void *arg)
{
	(void)runner_undo(arg, "endpoints");
	if (!fiber_cancelled()) /* else new is open, and this is tried again once it is closed */
		close_fences_of_new(arg);
}

struct new_watch {
	struct flip *f;
	struct fiber *endpoints;
	struct fiber_cond over;
	bool is_over;
};

static void new_watch_fiber(void *arg)
{
	struct new_watch *n = arg;

	while (!n->is_over && fiber_cond_wait(&n->over, flip_deadline(NEW_EVERY_MS)) == -ETIMEDOUT)
		if (decide_new_is_open(n->f) && !n->is_over) {
			fiber_cancel(n->endpoints);
			return;
		}
}

/* Name servers may be silent for long, and meanwhile new may boot open beside old: then it is cut short. */
static void MAY_WAIT await_endpoints(struct flip *f, struct fiber *endpoints)
{
	struct new_watch n = {.f = f, .endpoints = endpoints};
	struct fiber *watch =
		f->fence_journaled ? fiber_spawn("new stays closed", new_watch_fiber, &n) : NULL;

	fiber_join(endpoints);
	n.is_over = true;
	fiber_cond_signal(&n.over);
	fiber_join(watch); /* a question under way is waited for: cut off it would cost the session */
}

void MAY_WAIT decide_undo_endpoints(struct flip *f)
{
	await_endpoints(f, fiber_spawn("endpoints back", endpoints_back, f));
}

bool MAY_WAIT decide_undo_events(struct flip *f)
{
	f->st[step_index("events")].begun |= f->scheduler_changed || f->semi_sync_changed || f->nlocked;
	return runner_undo(f, "events");
}

bool MAY_WAIT decide_undo_settings(struct flip *f)
{
	const struct step_state *st = &f->st[step_index("endpoints")];

	f->st[step_index("endpoints")].begun |= f->recovered && f->fence_journaled;
	cluster_heartbeat_resume(f->cluster, f->from);
	/* Side by side: accounts are not locked out for as long as a name server is silent. */
	struct fiber *endpoints = fiber_spawn("endpoints back", endpoints_back, f);
	bool events = decide_undo_events(f);
	await_endpoints(f, endpoints);
	return events && !f->new_fences_open && (!st->begun || st->status == STEP_UNDONE);
}

bool MAY_WAIT decide_undo_rest(struct flip *f)
{
	f->st[step_index("lock")].begun |= f->row_written;
	if (!decide_undo_settings(f) && !settle_over(f))
		return false;
	return runner_undo(f, "lock");
}
