/*
 * steps_after: the rows from detach to finish. Applications are served already; what is done here makes the
 * way back and tidies up. Each run looks, acts, looks again, so that a later life can run it again.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "lib/base/clock.h"
#include "lib/base/str.h"
#include "lib/flip/flip_priv.h"

#define SPREAD_EVERY_MS 100

static int MAY_WAIT side_ready(struct flip *f, struct flip_side *s, struct err *err)
{
	int rc = sess_open(f, s, SESSION_ACT, flip_deadline(ROUND_TRIP_MS), err);

	return rc == 0 ? sess_open(f, s, SESSION_REAPER, flip_deadline(ROUND_TRIP_MS), err) : rc;
}

/* A struct facts is large: it lives in the arena, not on a fiber's stack. */
int MAY_WAIT side_facts(struct session *s, struct arena *a, struct facts **ret, struct err *err)
{
	*ret = arena_alloc(a, sizeof(**ret));
	return flip_rc(node_facts(s, FACTS_CORE, a, flip_deadline(ROUND_TRIP_MS), *ret, err), err);
}

/* --- detach
 * -------------------------------------------------------------------------------------------------- */

int MAY_WAIT step_detach(struct flip *f, struct err *err)
{
	int rc = side_ready(f, &f->new_side, err);

	if (rc < 0)
		return rc;
	return flip_rc(node_forget_replication(f->new_side.act, flip_deadline(REPLICATION_UP_MS), err), err);
}

int MAY_WAIT step_detach_verify(struct flip *f, struct err *err)
{
	struct arena *a CLEANUP(arena_freep) = arena_new();
	struct facts *facts = NULL;
	int rc = side_facts(f->new_side.act, a, &facts, err);

	if (rc < 0)
		return rc;
	if (facts->read_only)
		return err_set(err, -EPERM, "%s is closed again: somebody's hand or a restart",
			f->new_side.server->conf->name);
	if (f->old_side.identity.server_id &&
		facts_channel_from(facts, f->old_side.identity.server_id, NULL, 0))
		return err_set(err, -EIO, "%s still has its replication from %s",
			f->new_side.server->conf->name, f->old_side.server->conf->name);
	return 0;
}

/* --- reverse
 * ------------------------------------------------------------------------------------------------- */

/* Old closed, and nothing of its own beyond the final position: else it is kept out. Looks at its binlog's
 * state. */
static int MAY_WAIT prove_old_unmoved(struct flip *f, struct session *s, struct err *err)
{
	struct flip_side *o = &f->old_side;
	struct node_proof p;
	struct gtid first;
	uint64_t beyond;
	enum act act = node_prove(s, flip_deadline(ROUND_TRIP_MS), &p, err);

	if (act != ACT_DONE)
		return flip_rc(act, err);
	beyond = gtid_own_beyond(
		&p.position.binlog_state, &f->final.binlog_state, o->identity.server_id, &first);
	if (p.read_only && beyond == 0)
		return 0;
	err_server(err, o->server->conf->name);
	if (!p.read_only)
		return err_set(err, -EPERM, "%s is open", o->server->conf->name);
	f->old_out = true;
	err_hint(err,
		"look at them with mariadb-binlog on %s, bring over by hand what is wanted, then seed it "
		"anew from %s",
		o->server->conf->name, f->new_side.server->conf->name);
	return err_set(err, -ESTALE,
		"%s has %llu transactions after the final position, from " GTID_FMT " on: it is kept out "
		"of replication",
		o->server->conf->name, (unsigned long long)beyond, GTID_OF(&first));
}

void way_back(const struct flip *f, struct node_follow *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->master = f->new_side.server->conf;
	ret->account = &f->new_side.server->conf->replication;
	ret->encrypted = node_is_encrypted(f->new_side.server->node);
	ret->use_gtid = f->use_gtid;
	/* Strict mode refuses a position before the server's own last event (E21): per domain the later one.
	 */
	gtid_later(&f->baseline.binlog_pos, &f->final.binlog_pos, &ret->gtid_slave_pos);
	ret->has_slave_pos = f->use_gtid;
	str_copy(ret->file, sizeof(ret->file), f->baseline.file);
	ret->pos = f->baseline.pos;
}

/* A crash can leave a server unable to go on with what it remembers of its replication: its relay logs and
 * relay-log.info do not fit, and START SLAVE and CHANGE MASTER are refused (1201, measured on 10.11.19) until
 * RESET SLAVE. Its position by GTID is in a table, and holds. */
#define ER_MASTER_INFO 1201

static bool is_broken(enum act act, const struct err *err)
{
	return act == ACT_REFUSED && err->sql_errno == ER_MASTER_INFO;
}

static enum act MAY_WAIT forget_broken(struct session *s, struct err *err)
{
	err_clear(err);
	return node_forget_replication(s, flip_deadline(REPLICATION_UP_MS), err);
}

int MAY_WAIT side_restart(struct session *s, bool may_forget, bool *ret_broken, struct err *err)
{
	enum act act = node_start_replication(s, flip_deadline(REPLICATION_UP_MS), err);

	*ret_broken = may_forget && is_broken(act, err);
	if (*ret_broken)
		act = forget_broken(s, err);
	else if (is_broken(act, err))
		err_hint(err, "its relay log did not survive a crash: RESET SLAVE there, and follow by hand");
	return flip_rc(act, err);
}

int MAY_WAIT side_follow(struct session *s, const struct node_follow *follow, struct err *err)
{
	enum act act = node_follow(s, follow, flip_deadline(REPLICATION_UP_MS), err);

	if (is_broken(act, err)) {
		act = forget_broken(s, err);
		if (act == ACT_DONE)
			act = node_follow(s, follow, flip_deadline(REPLICATION_UP_MS), err);
	}
	return flip_rc(act, err);
}

const struct facts_channel *channel_from_new(const struct flip *f, const struct facts *facts)
{
	const struct conf_server *n = f->new_side.server->conf;
	const struct facts_channel *ch =
		facts_channel_from(facts, 0, n->replication_host, n->replication_port);

	if (!ch && f->new_side.identity.server_id)
		ch = facts_channel_from(facts, f->new_side.identity.server_id, NULL, 0);
	return ch;
}

/* Restored, or without the end of its log after a crash: as a replica it would lack those writes in silence.
 */
static int old_is_short(struct flip *f, struct err *err)
{
	const char *old = f->old_side.server->conf->name;

	f->old_out = true;
	flip_warn(f,
		"%s has lost transactions that it had before its final position: seed it anew from %s and "
		"let it "
		"replicate from there",
		old, f->new_side.server->conf->name);
	err_server(err, old);
	return err_set(err, -ESTALE, "%s has lost transactions: it is kept out of replication", old);
}

int MAY_WAIT step_reverse(struct flip *f, struct err *err)
{
	struct arena *a CLEANUP(arena_freep) = arena_new();
	struct node_follow follow;
	struct facts *facts = NULL;
	bool broken = false;
	int rc;

	if (f->old_out)
		return err_set(err, -ESTALE, "%s is kept out of replication", f->old_side.server->conf->name);
	rc = side_ready(f, &f->old_side, err);
	if (rc == 0)
		rc = prove_old_unmoved(f, f->old_side.act, err);
	if (rc == 0)
		rc = side_facts(f->old_side.act, a, &facts, err);
	if (rc < 0)
		return rc;
	if (channel_from_new(f, facts)) { /* an earlier life or try set it up: only start it */
		rc = side_restart(f->old_side.act, f->use_gtid, &broken, err);
		if (rc < 0 || !broken)
			return rc;
	}
	if (!gtid_reached(&facts->position.binlog_state, &f->final.binlog_state))
		return old_is_short(f, err);
	way_back(f, &follow);
	if (broken) /* it may have gone on from there already */
		follow.has_slave_pos = false;
	return side_follow(f->old_side.act, &follow, err);
}

static bool runs(const struct facts_channel *ch)
{
	return ch && !strcasecmp(ch->io, "Yes") && !strcasecmp(ch->sql, "Yes");
}

/* Waits until both threads run; the server's own word for why they do not. */
int MAY_WAIT await_replication(struct flip *f, struct session *s, const char *name, struct err *err)
{
	int64_t end = flip_deadline(REPLICATION_UP_MS);
	int64_t pause_ms = 2;

	for (;;) {
		struct arena *a CLEANUP(arena_freep) = arena_new();
		struct facts *facts = NULL;
		const struct facts_channel *ch;
		int rc = side_facts(s, a, &facts, err);

		if (rc < 0)
			return rc;
		ch = channel_from_new(f, facts);
		if (runs(ch))
			return 0;
		if (clock_us() > end) {
			err_server(err, name);
			return err_set(err, -EIO, "%s does not replicate from %s: IO %s, SQL %s: %s", name,
				f->new_side.server->conf->name, ch ? ch->io : "none", ch ? ch->sql : "none",
				ch && ch->last_error[0] ? ch->last_error : "no error shown");
		}
		rc = fiber_sleep_ms(pause_ms);
		if (rc < 0)
			return rc;
		pause_ms = pause_ms < 50 ? pause_ms * 2 : 50;
	}
}

int MAY_WAIT step_reverse_verify(struct flip *f, struct err *err)
{
	int rc = await_replication(f, f->old_side.act, f->old_side.server->conf->name, err);

	if (rc == 0)
		rc = prove_old_unmoved(f, f->old_side.act, err);
	return rc;
}

/* --- late rows
 * ----------------------------------------------------------------------------------------------- */

int MAY_WAIT step_flush_again(struct flip *f, struct err *err)
{
	struct err why = {0};
	enum act act;

	(void)err;
	if (f->policy.flush == CONF_FLUSH_NEVER || f->old_out || !f->old_side.act)
		return STEP_SKIPPED;
	act = node_flush(f->old_side.act, 5000, flip_deadline(8000), &why);
	if (act != ACT_DONE)
		flip_step_detail(f, "flush_again", "%s", err_text(&why));
	return act == ACT_DONE ? 0 : STEP_SKIPPED;
}

int64_t settle_deadline(const struct flip *f)
{
	int64_t from = f->opened_us ? f->opened_us : f->look_since_us;

	if (from < f->undo_since_us) /* an outage may have been longer than all of settle_timeout */
		from = f->undo_since_us;
	return from + f->policy.settle_timeout_ms * 1000;
}

bool settle_over(const struct flip *f)
{
	return clock_us() > settle_deadline(f);
}

/* Clients that still come to old have the name's old address: they are counted and named. */
static void MAY_WAIT count_stragglers(struct flip *f)
{
	struct arena *a CLEANUP(arena_freep) = arena_new();
	struct facts_session *list = NULL;
	struct err ignored = {0};
	char who[160] = "";
	struct session *s = NULL; /* of its own: the guard works with old's at the same time */
	int n = 0, left = 0;

	if (cluster_session(f->old_side.server, SESSION_WATCH, flip_deadline(ROUND_TRIP_MS), &s, &ignored) <
		0)
		return;
	if (node_sessions(s, a, flip_deadline(ROUND_TRIP_MS), &list, &n, &ignored) != ACT_DONE)
		n = 0;
	session_close(s);
	for (int i = 0; i < n; i++) {
		if (kill_exempt(f, &f->old_side, &list[i]))
			continue;
		if (left++ == 0)
			(void)snprintf(who, sizeof(who), "%.60s@%.80s", list[i].user, list[i].host);
	}
	if (left)
		flip_warn(f, "%d clients are still connected to %s, the first is %s", left,
			f->old_side.server->conf->name, who);
}

static int MAY_WAIT await_spread(struct flip *f, int i, struct err *err)
{
	int64_t end = settle_deadline(f);

	for (;;) {
		err_clear(err);
		enum act act = f->cluster->endpoint_ops[i]->spread(
			f->cluster->endpoints[i], &f->ctx, f->to, flip_deadline(3000), err);
		if (act == ACT_DONE)
			return 0;
		if (err->code == -ECANCELED)
			return -ECANCELED;
		flip_step_detail(f, "propagate", "%s", err_text(err));
		if (clock_us() > end || f->hasty)
			return -ETIME;
		int rc = fiber_sleep_ms(SPREAD_EVERY_MS);
		if (rc < 0)
			return rc;
	}
}

/* Not held up by an endpoint, nor ended with the row: an early row is begun again where `reverse` fails. */
static void told_fiber(void *arg)
{
	struct flip *f = arg;
	struct err ignored = {0};

	(void)hooks_run(f, &f->conf->hooks.after_open, "after_open", false, &ignored);
	f->told_over = true;
	fiber_cond_signal(&f->row_cond);
}

void tell_opened(struct flip *f)
{
	if (!f->told)
		f->told = fiber_spawn("after_open", told_fiber, f);
}

static int MAY_WAIT await_told(struct flip *f)
{
	while (!f->told_over)
		if (fiber_cond_wait(&f->row_cond, CLOCK_FOREVER) < 0)
			return -ECANCELED;
	return 0;
}

/* Tried again for as long as nobody waits for the end. */
static int MAY_WAIT switch_after_open(struct flip *f, struct err *err)
{
	int rc;

	while ((rc = endpoints_after_open(f, err)) < 0 && rc != -ECANCELED && !settle_over(f) && !f->hasty) {
		err_clear(err);
		if (fiber_sleep_ms(SPREAD_EVERY_MS) < 0)
			return -ECANCELED;
	}
	return rc;
}

int MAY_WAIT step_propagate(struct flip *f, struct err *err)
{
	int rc;

	tell_opened(f);
	rc = switch_after_open(f, err);
	if (rc == 0)
		rc = await_told(f);
	if (rc < 0)
		return rc;
	for (int i = 0; i < f->conf->nendpoints && rc != -ECANCELED; i++) {
		struct err why = {0};
		rc = await_spread(f, i, &why);
		if (rc < 0 && rc != -ECANCELED)
			flip_warn(f, "%s is not everywhere yet: %s", f->conf->endpoints[i].label,
				err_text(&why));
	}
	return rc == -ECANCELED ? rc : f->conf->nendpoints ? 0 : STEP_SKIPPED;
}

/* --- finish
 * -------------------------------------------------------------------------------------------------- */

int MAY_WAIT step_finish(struct flip *f, struct err *err)
{
	struct err ignored = {0};
	int rc = side_ready(f, &f->new_side, err);

	if (rc < 0)
		return rc;
	count_stragglers(f);
	settings_semi_sync_on(f);
	settings_scheduler_on(f); /* a restart in between may have passed the opening's own over */
	if (f->probe) {
		probe_await_new(f->probe, flip_deadline(ROUND_TRIP_MS));
		probe_stop(f->probe, &f->probe_result);
		f->probe = NULL;
		f->has_probe_result = true;
	}
	session_close(f->fence_probe);
	f->fence_probe = NULL;
	accounts_unlock_patiently(f);
	/* Till here old that comes up open is closed again; from here on the watcher looks. */
	rc = guard_end(f, err);
	if (rc == 0) /* a restart may have left it open for a moment, and it no replica */
		rc = prove_old_unmoved(f, f->old_side.lock, err);
	if (rc < 0)
		return rc;
	(void)!accounts_unlock(
		f, &ignored); /* it may have been away before; what is left is told at the end */
	rc = step_lock_undo(f, err);
	return rc == 0 ? step_lock_undone(f, err) : rc;
}
