/*
 * steps_events: the row events: what old's scheduler and new's semi-sync do is noted and switched off,
 * accounts are locked, the order of the rows is chosen, and what watches the blackout is made warm. The last
 * moment before the fence.
 */
#include <errno.h>
#include <string.h>
#include <strings.h>

#include "lib/base/clock.h"
#include "lib/base/str.h"
#include "lib/flip/flip_priv.h"

static bool only_read_only(const struct conf_server *s)
{
	return s->nfences == 1 && s->fences[0].kind == CONF_FENCE_READ_ONLY;
}

bool channel_uses_gtid(const struct facts_channel *ch)
{
	return ch && ch->using_gtid[0] && strcasecmp(ch->using_gtid, "No") != 0;
}

/* By file, repoint needs new's position between its last applied and its first own write. */
bool needs_plain_order(const struct conf_cluster *c, enum conf_side to, bool use_gtid)
{
	return c->policy.verify != CONF_VERIFY_NONE || !only_read_only(&c->side[to]) ||
	       (!use_gtid && c->nreplicas > 0);
}

/* Chosen from what the servers do: GTID where the channel from old uses it; and the order of the rows after.
 */
static void choose_order(struct flip *f)
{
	const struct facts_channel *ch =
		facts_channel_from(&f->new_facts, f->old_facts.id.server_id, NULL, 0);

	f->use_gtid = channel_uses_gtid(ch);
	f->guarded = !f->request.group && !needs_plain_order(f->conf, f->to, f->use_gtid) &&
		     drain_lag_ms(&f->old_facts, &f->new_facts) <= 1000;
	if (!only_read_only(f->old_side.server->conf))
		f->kill_late = false; /* other fences stop new connections only */
	runner_order(f);
	flip_step_detail(f, "events", "%s, %s", f->use_gtid ? "GTID" : "file and position",
		f->guarded ? "guarded opening" : "plain order");
	if (f->nlocked)
		flip_step_detail(f, "events", "%s, %s, %d accounts locked",
			f->use_gtid ? "GTID" : "file and position",
			f->guarded ? "guarded opening" : "plain order", f->nlocked);
}

/* What runs on old by itself, to run on new after; an account without EVENT sees none. */
static int MAY_WAIT note_events(struct flip *f, struct wire *d, struct err *err)
{
	struct wire *list = wire_set_array(d, "events");
	enum act act = node_list_events(
		f->old_side.act, f->arena, flip_deadline(ROUND_TRIP_MS), &f->events, &f->nevents, err);

	for (int i = 0; act == ACT_DONE && i < f->nevents; i++)
		wire_add_str(list, f->events[i]);
	return flip_rc(act, err);
}

static int MAY_WAIT write_noted(struct flip *f, struct wire *d, struct err *err)
{
	wire_set_str(d, "event_scheduler", f->noted_scheduler);
	wire_set_bool(d, "semi_sync", f->noted_semi_sync);
	wire_set_bool(d, "scheduler_changed", f->scheduler_changed);
	wire_set_bool(d, "semi_sync_changed", f->semi_sync_changed);
	return jn_write(f, "noted", "events", d, true, err);
}

static int MAY_WAIT semi_sync_off(struct flip *f, struct err *err)
{
	return flip_rc(
		node_set_semi_sync_master(f->new_side.act, false, flip_deadline(ROUND_TRIP_MS), err), err);
}

/*
 * Off before drain looks: new's applier commits too, and where it waits for an acknowledgement that nobody
 * gives, new lags by the whole time-out and even SHOW MASTER STATUS hangs there (10.11.19, AFTER_SYNC). So
 * new cannot be asked now: on is what it was in preflight or is by the last poll.
 */
int MAY_WAIT events_semi_sync_off(struct flip *f, struct err *err)
{
	int rc;

	if (f->semi_sync_changed ||
		!(f->preflight.new_semi_sync || f->new_side.server->facts.semi_sync_master))
		return 0;
	f->semi_sync_changed = f->noted_semi_sync = true;
	rc = write_noted(f, wire_object(), err);
	return rc < 0 ? rc : semi_sync_off(f, err);
}

void MAY_WAIT fence_probe_warm(struct flip *f)
{
	struct err why = {0};

	if (!f->policy.fence_probe.user)
		return;
	if (f->fence_probe &&
		session_alive(f->fence_probe) && /* that it is gone shows only when it is used */
		node_probe_try(f->fence_probe, flip_deadline(ROUND_TRIP_MS), &why) != ACT_UNKNOWN)
		return;
	err_clear(&why);
	session_close(f->fence_probe);
	f->fence_probe = NULL;
	if (session_open(f->old_side.server->node, SESSION_PROBE, &f->policy.fence_probe,
		    flip_deadline(ROUND_TRIP_MS), &f->fence_probe, &why) < 0)
		flip_warn(f, "the fence will not be proven by a write: %s", err_text(&why));
}

/* What is not there is warned of: the flip goes on without. */
static void MAY_WAIT warm_probes(struct flip *f)
{
	struct err why = {0};

	fence_probe_warm(f);
	if (!f->probe && probe_start(f->cluster, f->from, &f->probe, &why) < 0 &&
		f->policy.fence_probe.user && f->policy.probe_via != CONF_VIA_NONE)
		flip_warn(f, "the blackout is computed, not measured: %s", err_text(&why));
}

int MAY_WAIT step_events(struct flip *f, struct err *err)
{
	struct wire *d = wire_object();
	int rc = note_events(f, d, err);

	if (rc < 0) {
		wire_free(d);
		return rc;
	}
	if (!f->noted_scheduler[0])
		str_copy(f->noted_scheduler, sizeof(f->noted_scheduler), f->old_facts.event_scheduler);
	f->scheduler_changed = !strcasecmp(f->noted_scheduler, "ON");
	f->semi_sync_changed = f->semi_sync_changed || f->new_facts.semi_sync_master;
	f->noted_semi_sync = f->semi_sync_changed;
	rc = write_noted(f, d, err);
	if (rc == 0 && f->scheduler_changed)
		rc = flip_rc(
			node_set_event_scheduler(f->old_side.act, false, flip_deadline(ROUND_TRIP_MS), err),
			err);
	if (rc == 0 && f->semi_sync_changed)
		rc = semi_sync_off(f, err);
	if (rc < 0)
		return rc;
	warm_probes(f);
	if (!f->request.rehearsal)	    /* a rehearsal keeps nobody from writing */
		rc = accounts_lock(f, err); /* last: whoever is locked out waits for the flip */
	if (rc == 0)
		choose_order(f);
	return rc;
}

/*
 * Before anything is closed: what this build cannot close it could not open again either. Preflight refuses
 * it; a check that was lowered must not leave old closed.
 */
int have_adapters(const struct flip *f, struct err *err)
{
	const struct conf_server *sides[] = {f->old_side.server->conf, f->new_side.server->conf};

	for (int s = 0; s < 2; s++)
		for (int i = 0; i < sides[s]->nfences; i++) {
			enum conf_fence_kind kind = sides[s]->fences[i].kind;
			if (kind == CONF_FENCE_READ_ONLY || registry_fence(kind))
				continue;
			err_server(err, sides[s]->name);
			return err_set(err, -ENOSYS, "%s: this build has no adapter for fences of kind %s",
				sides[s]->name, conf_fence_kind_name(kind));
		}
	for (int i = 0; i < f->conf->nendpoints; i++)
		if (!f->cluster->endpoint_ops[i])
			return err_set(err, -ENOSYS,
				"%s: this build has no adapter for endpoints of its kind",
				f->conf->endpoints[i].label);
	return 0;
}

static int MAY_WAIT scheduler_back(struct flip *f, struct err *err)
{
	int rc = 0;

	if (f->scheduler_changed)
		rc = sess_open(f, &f->old_side, SESSION_ACT, flip_deadline(ROUND_TRIP_MS), err);
	if (f->scheduler_changed && rc == 0)
		rc = flip_rc(
			node_set_event_scheduler(f->old_side.act, true, flip_deadline(ROUND_TRIP_MS), err),
			err);
	return rc;
}

static int MAY_WAIT semi_sync_back(struct flip *f, struct err *err)
{
	if (!f->semi_sync_changed)
		return 0;
	if (f->new_side.out_of_reach) /* they would turn it off again */
		return err_set(err, -EHOSTUNREACH,
			"%s: this flip's earlier sessions are not seen gone: semi-sync waits for that",
			f->new_side.server->conf->name);
	int rc = sess_open(f, &f->new_side, SESSION_ACT, flip_deadline(ROUND_TRIP_MS), err);
	return rc < 0 ? rc
		      : flip_rc(node_set_semi_sync_master(
					f->new_side.act, true, flip_deadline(ROUND_TRIP_MS), err),
				err);
}

/* A fence is taken back and drain waits anew, perhaps for long: old's events run meanwhile, and nobody is
 * locked out. */
int MAY_WAIT events_back(struct flip *f, struct err *err)
{
	struct err ignored = {0};
	int rc = scheduler_back(f, err);

	if (f->scheduler_changed)
		f->scheduler_changed = rc < 0;
	(void)!accounts_unlock(f, &ignored); /* else they stay noted, and locked till the end of the flip */
	return rc;
}

/* Each on its own; the first error is told. */
int MAY_WAIT step_events_undo(struct flip *f, struct err *err)
{
	int MAY_WAIT (*const back[])(struct flip *, struct err *) = {
		accounts_unlock, scheduler_back, semi_sync_back};
	int rc = 0;

	for (size_t i = 0; i < COUNT_OF(back); i++) {
		struct err why = {0};
		int one = back[i](f, &why);
		if (one < 0 && rc == 0) {
			*err = why;
			rc = one;
		}
	}
	return rc;
}

int MAY_WAIT step_events_undone(struct flip *f, struct err *err)
{
	struct arena *a CLEANUP(arena_freep) = arena_new();
	struct facts *facts = arena_alloc(a, sizeof(*facts));

	if (!f->scheduler_changed)
		return 0;
	if (node_facts(f->old_side.act, FACTS_CORE, a, flip_deadline(ROUND_TRIP_MS), facts, err) != ACT_DONE)
		return flip_rc(ACT_UNKNOWN, err);
	if (strcasecmp(facts->event_scheduler, f->noted_scheduler) != 0)
		return err_set(err, -EIO, "%s: event_scheduler is %s, not %s as before",
			f->old_side.server->conf->name, facts->event_scheduler, f->noted_scheduler);
	return 0;
}
