/*
 * decide_forward: the decisions that go towards new, or leave it serving. New is opened only under a durable
 * intent and with old proven closed right before, or on an operator's word; it forgets old only once it has
 * applied all that it had received.
 */
#include <errno.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/base/str.h"
#include "lib/flip/decide.h"

#define ENDPOINT_TRIES 4
#define ENDPOINT_AGAIN_MS 100
#define RELAY_LIMIT_MS 60000 /* what new has received is applied by then, or its replication is kept */

static enum decide_next MAY_WAIT go_on(struct flip *f, const char *from_row)
{
	struct err err = {0};
	int rc;

	f->rolling_back = false;
	f->guarded = f->kill_late = false;
	fiber_unshield();
	rc = runner_run(f, from_row, &err);
	while (fiber_cancelled())
		(void)fiber_yield();
	fiber_shield();
	if (rc == 0) {
		decide_end(f, FLIP_DONE);
		return DECIDE_ENDED;
	}
	/* The flip's error is the first: another one is told besides. */
	if (rc != -ECANCELED && !str_eq(err_text(&err), err_text(&f->error)))
		flip_warn(f, "%s%s%s; trying again", err_text(&err), err.hint[0] ? "; " : "", err.hint);
	runner_stop_all(f);
	guard_stop(f);
	fiber_stop(f->budget);
	f->budget = NULL;
	f->rolling_back = !f->opened;
	return DECIDE_LATER;
}

/* Where old answers, it is closed at this very moment, and the lock is this flip's. */
static int MAY_WAIT old_still_closed(struct flip *f, struct err *err)
{
	struct flip_side *o = &f->old_side;
	struct node_proof p;
	enum act act;
	int rc;

	if (o->out_of_reach || !o->lock)
		return 0; /* the table has let this row through on a word, or because new may only ever be the
			     one */
	rc = fiber_mutex_lock(
		&f->proof_mutex, flip_deadline(ROUND_TRIP_MS)); /* the guard proves on it, too */
	if (rc < 0)
		return err_set(err, rc, "%s could not be proven closed in time", o->server->conf->name);
	act = node_prove(o->lock, flip_deadline(ROUND_TRIP_MS), &p, err);
	fiber_mutex_unlock(&f->proof_mutex);
	if (act != ACT_DONE)
		return flip_rc(act, err);
	if (!p.read_only || !p.holds_lock)
		return err_set(err, -EPERM, "%s is not proven closed any more", o->server->conf->name);
	return 0;
}

static int MAY_WAIT intend(struct flip *f, struct err *err)
{
	struct wire *w;
	int rc;

	if (f->intent && !f->revoked && f->intent_durable)
		return 0;
	w = wire_object();
	wire_set(w, "final", jn_position(&f->final));
	wire_set(w, "way_back", jn_position(&f->baseline));
	wire_set_str(w, "by_word_of", f->word.user);
	rc = jn_write(f, "intent", "intent", w, true, err);
	/* Not known to be durable counts as live: only a revocation may say otherwise. */
	f->intent = true;
	f->revoked = false;
	f->intent_durable = rc == 0;
	return rc;
}

static int MAY_WAIT open_new_now(struct flip *f, struct err *err)
{
	int rc = old_still_closed(f, err);
	enum act act;

	if (rc < 0)
		return rc;
	if (!f->intent || f->revoked || !f->intent_durable)
		return err_set(
			err, -EPERM, "%s is not opened without an intent", f->new_side.server->conf->name);
	f->open_sent = f->open_unknown = true;
	act = node_unfence(f->new_side.lock, flip_deadline(ROUND_TRIP_MS), err);
	if (act != ACT_DONE)
		return flip_rc(act, err);
	rc = open_other_fences(f, err);
	return rc < 0 ? rc : open_confirmed(f, err);
}

/*
 * All that new has received from old is applied before anything writes there or its replication is forgotten:
 * without old it is the only copy. RELAY_KEPT when that did not come about; then the replication is kept.
 */
enum relay { RELAY_APPLIED, RELAY_KEPT, RELAY_UNKNOWN /* new could not be asked */ };

static enum relay MAY_WAIT relay_applied(struct flip *f)
{
	int64_t end = flip_deadline(RELAY_LIMIT_MS);

	while (clock_us() < end) {
		struct arena *a CLEANUP(arena_freep) = arena_new();
		struct facts *facts = arena_alloc(a, sizeof(*facts));
		const struct facts_channel *ch;
		struct err err = {0};

		if (node_facts(f->new_side.reaper, FACTS_CORE, a, flip_deadline(ROUND_TRIP_MS), facts,
			    &err) != ACT_DONE)
			return RELAY_UNKNOWN;
		ch = facts_channel_from(facts, f->old_side.identity.server_id,
			f->old_side.server->conf->replication_host,
			f->old_side.server->conf->replication_port);
		if (!ch || (ch->exec_log_pos == ch->read_master_log_pos &&
				   !strcmp(ch->exec_log_file, ch->master_log_file)))
			return RELAY_APPLIED;
		if (!str_ieq(ch->sql, "Yes") || fiber_sleep_ms(20) < 0)
			break;
	}
	flip_warn(f, "%s has not applied all that it had received from %s: its replication is kept as it is",
		f->new_side.server->conf->name, f->old_side.server->conf->name);
	return RELAY_KEPT;
}

/* Both orders of endpoints, and the settings: what new needs to serve and old is not needed for. */
static void MAY_WAIT serve_without_old(struct flip *f)
{
	struct err err = {0};
	int rc = -EAGAIN;

	if (f->opened)
		tell_opened(f);
	for (int tries = 0; rc < 0 && tries < ENDPOINT_TRIES; tries++) {
		if (tries > 0 && fiber_sleep_ms(ENDPOINT_AGAIN_MS) < 0)
			break;
		err_clear(&err);
		rc = step_endpoints(f, &err);
		if (rc == 0)
			rc = endpoints_after_open(f, &err);
	}
	if (rc < 0)
		flip_warn(f, "applications may still be sent to %s: %s", f->old_side.server->conf->name,
			err_text(&err));
	settings_scheduler_on(f);
}

/* The sessions of a side that was closed in an earlier life, or whose kill was cut short, are killed now. */
static enum decide_next MAY_WAIT kill_left(struct flip *f)
{
	struct err err = {0};
	bool none = false;

	if (kill_all(f, &f->old_side, f->policy.kill_timeout_ms, &none, &err) < 0)
		return decide_failed(f, "the sessions of old could not be killed", &err);
	/* An account that walks through the fence may be in a commit that waits: it would come to be after
	 * all. */
	if (!f->opened && f->no_space && !none)
		return decide_failed(f, "a commit on old waits for disk space", &err);
	return DECIDE_LOOK_AGAIN;
}

enum decide_next MAY_WAIT decide_resume(struct flip *f, const struct recover_decision *d, struct look *l)
{
	(void)d;
	(void)l;
	if (kill_left(f) == DECIDE_LATER)
		return DECIDE_LATER;
	f->has_final = false; /* taken anew, with the sessions gone */
	f->fence_us = clock_us() - (clock_wall_ms() - f->fence_wall_ms) * 1000; /* it has gone on meanwhile */
	return go_on(f, "coordinates");
}

/* New has old's final position. Where it has forgotten old, by this flip or by the hand of somebody who
 * promotes a server as one does (RESET SLAVE ALL), its GTIDs still tell, also of what came by file and
 * offset. */
static bool MAY_WAIT tail_applied(struct flip *f, struct err *err)
{
	struct arena *a CLEANUP(arena_freep) = arena_new();
	struct facts *facts = arena_alloc(a, sizeof(*facts));
	const struct conf_server *o = f->old_side.server->conf;
	struct node_goal goal;

	if (node_facts(f->new_side.reaper, FACTS_CORE, a, flip_deadline(ROUND_TRIP_MS), facts, err) !=
		ACT_DONE)
		return false;
	goal_of(f, &goal);
	if (!facts_channel_from(
		    facts, f->old_side.identity.server_id, o->replication_host, o->replication_port))
		goal.use_gtid = true;
	return node_wait_position(f->new_side.reaper, &goal, 1000, flip_deadline(ROUND_TRIP_MS), err) ==
	       ACT_DONE;
}

/* Open, or once open, by another than the flip's own opening (a restart, a hand): it lacks writes that old
 * acknowledged. Without transactions of its own it is closed and may catch up; else it is not cut off from
 * what it lacks. */
static enum decide_next MAY_WAIT tail_missing(
	struct flip *f, const struct recover_decision *d, struct look *l, const struct err *why)
{
	if (l->new_view.seen.writable && !l->new_view.seen.beyond)
		return decide_close(f, &f->new_side);
	if (!settle_over(f))
		return decide_failed(f, "new took writes before it had all of old's", why);
	f->old_out = true;
	flip_warn(f, "%s took writes before it had all that %s had acknowledged: %s",
		f->new_side.server->conf->name, f->old_side.server->conf->name, err_text(why));
	return decide_stuck(f, d, l);
}

/* What cannot be done in settle_timeout is an operator's. */
static enum decide_next MAY_WAIT settle(struct flip *f, const struct recover_decision *d, struct look *l)
{
	enum decide_next next = go_on(f, "detach");

	return next == DECIDE_LATER && settle_over(f) && !f->terminating ? decide_stuck(f, d, l) : next;
}

/* Out of a roll back an operator's word leads forward, and what was to send applications to new then may have
 * been cut short. The row that switches those of after_open may have been, too, by a `reverse` that fails. */
static int MAY_WAIT endpoints_at_last(struct flip *f, struct err *err)
{
	int rc = f->st[step_index("endpoints")].status == STEP_DONE ? 0 : step_endpoints(f, err);

	return rc < 0 || !f->opened ? rc : endpoints_after_open(f, err);
}

enum decide_next MAY_WAIT decide_forward(struct flip *f, const struct recover_decision *d, struct look *l)
{
	struct err err = {0};
	bool open = l->new_view.seen.writable;
	int rc;

	if (f->mismatch)
		return decide_stuck(f, d, l);
	if (!l->old_view.seen.up)
		return decide_forward_blind(f, d, l);
	if (kill_left(f) == DECIDE_LATER)
		return DECIDE_LATER;
	if (!f->opened && (open || l->new_view.seen.beyond) && !tail_applied(f, &err))
		return tail_missing(f, d, l, &err);
	if (open && (open_other_fences(f, &err) < 0 || open_confirmed(f, &err) < 0))
		return decide_failed(f, "new is open, but not every fence of it", &err);
	/* It had opened, and restarted closed: only it may ever open. */
	if (!open && (f->opened || l->new_view.seen.beyond) &&
		(intend(f, &err) < 0 || open_new_now(f, &err) < 0))
		return decide_failed(f, "new could not be opened again", &err);
	guard_start(f); /* go_on stops it again: it must not prove on a session that a look works with */
	rc = endpoints_at_last(f, &err);
	if (!f->opened)
		return rc < 0 ? decide_failed(f, "applications are still sent to old", &err)
			      : go_on(f, "open");
	if (rc < 0)
		flip_warn(f, "applications may still be sent to %s: %s", f->old_side.server->conf->name,
			err_text(&err));
	cluster_heartbeat_resume(f->cluster, f->to);
	settings_scheduler_on(f);
	return settle(f, d, l);
}

/* Whether new was opened by another than this flip (a restart, a hand) before it had old's final position:
 * while old is out of reach it is neither taken for opened nor cut off from what it lacks. */
static bool MAY_WAIT opened_early(struct flip *f, struct look *l, struct err *err)
{
	return l->new_view.seen.writable && !f->opened && !tail_applied(f, err);
}

/* New serves; what needs old waits until it answers. */
enum decide_next MAY_WAIT decide_forward_blind(
	struct flip *f, const struct recover_decision *d, struct look *l)
{
	struct err err = {0};
	bool applied;

	if (f->mismatch)
		return decide_stuck(f, d, l);
	if (opened_early(f, l, &err))
		return decide_failed(f, "new took writes before it had all of old's", &err);
	if (f->opened && l->new_view.seen.writable)
		guard_start(f); /* what follows may take long, and old may boot open meanwhile */
	applied = relay_applied(f) == RELAY_APPLIED;
	if (!l->new_view.seen.writable && !look_word_holds(f, &l->old_view, &err))
		return decide_failed(f, "new is not opened beside old", &err);
	if (!l->new_view.seen.writable && (intend(f, &err) < 0 || open_new_now(f, &err) < 0))
		return decide_failed(f, "new could not be opened", &err);
	if (l->new_view.seen.writable && open_other_fences(f, &err) < 0)
		return decide_failed(f, "new is open, but not every fence of it", &err);
	(void)open_confirmed(f, &err);
	guard_start(f);
	f->rolling_back = false;
	cluster_heartbeat_resume(f->cluster, f->to);
	if (applied && step_detach(f, &err) < 0)
		return decide_failed(f, "new serves, but could not forget its replication", &err);
	serve_without_old(f);
	flip_warn(f, "%s is out of reach; %s serves, and old is closed and followed up the moment it answers",
		f->old_side.server->conf->name, f->new_side.server->conf->name);
	return DECIDE_LATER;
}

enum decide_next MAY_WAIT decide_serve_stuck(struct flip *f, const struct recover_decision *d, struct look *l)
{
	struct err err = {0};

	f->old_out = true;
	if (opened_early(f, l, &err))
		return decide_stuck(f, d, l);
	if (l->new_view.seen.up && !l->new_view.seen.writable &&
		(intend(f, &err) < 0 || open_new_now(f, &err) < 0))
		return decide_failed(f, "new could not be opened again", &err);
	if (l->new_view.seen.writable && open_other_fences(f, &err) < 0)
		flip_warn(f, "new is open, but not every fence of it: %s", err_text(&err));
	if (!f->opened)
		(void)open_confirmed(f, &err);
	f->rolling_back = false;
	guard_start(f);
	if (l->new_view.seen.up && relay_applied(f) == RELAY_APPLIED)
		(void)step_detach(f, &err);
	serve_without_old(f);
	guard_stop(f);
	return decide_stuck(f, d, l);
}

/* Nobody opens new again once the flip has ended. */
static int MAY_WAIT prove_new_open(struct flip *f, struct err *err)
{
	struct node_proof p;
	int rc = sess_ask(f, &f->new_side, ROUND_TRIP_MS, &p, err);

	if (rc < 0 || !p.read_only)
		return rc;
	return err_set(err, -EPERM, "%s is closed again", f->new_side.server->conf->name);
}

enum decide_next MAY_WAIT decide_failover(struct flip *f, const struct recover_decision *d, struct look *l)
{
	struct err err = {0};
	enum relay relay;

	(void)d;
	relay = relay_applied(f);
	if (relay == RELAY_UNKNOWN)
		return decide_failed(f, "new could not be asked for what it has of old's", &err);
	if (!look_word_holds(f, &l->old_view, &err))
		return decide_failed(f, "old is not left out", &err);
	if (!f->word.accept_loss) /* another word has come meanwhile */
		return DECIDE_LOOK_AGAIN;
	if (intend(f, &err) < 0)
		return decide_failed(f, "the intent could not be made durable", &err);
	if (l->new_view.seen.up && !l->new_view.seen.writable && open_new_now(f, &err) < 0)
		return decide_failed(f, "new could not be opened", &err);
	if (l->new_view.seen.writable && open_other_fences(f, &err) < 0) /* a restart has opened it */
		return decide_failed(f, "new is open, but not every fence of it", &err);
	if (!f->opened)
		(void)open_confirmed(f, &err);
	guard_start(f);
	f->rolling_back = false;
	f->old_out = true;
	/* Else what is given up would flow into the master when old comes back. */
	if (relay == RELAY_APPLIED && step_detach(f, &err) < 0)
		return decide_failed(f, "new serves, but could not forget its replication", &err);
	serve_without_old(f);
	settings_semi_sync_on(f);
	guard_stop(f); /* it works with the session that is looked through now */
	/* Nobody closes old once the flip has ended: one that answers by now is looked at, not left out. */
	if (!look_word_holds(f, &l->old_view, &err))
		return decide_failed(f, "old is not left out", &err);
	if (prove_new_open(f, &err) < 0)
		return decide_failed(f, "new is not proven open", &err);
	decide_warn(f,
		"a failover by the word of %s: %s is left out; writes that only it has may be lost. Keep it "
		"closed, "
		"and seed it anew from %s",
		f->word.user, f->old_side.server->conf->name, f->new_side.server->conf->name);
	if (f->conf->nreplicas > 0 && !f->follows)
		decide_warn(f, "replicas still follow %s, which is left out: make them follow %s by hand",
			f->old_side.server->conf->name, f->new_side.server->conf->name);
	if (!runner_undo(f, "lock") && !settle_over(f))
		return DECIDE_LATER; /* an open row would be in the way of every other flip */
	decide_end(f, FLIP_DONE);
	return DECIDE_ENDED;
}
