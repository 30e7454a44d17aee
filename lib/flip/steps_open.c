/*
 * steps_open: the rows intent, sync, verify, open: what permits new to open, and its opening. The
 * pivot is the intent: before it only old may open, after it only new, until a durable revocation.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "lib/base/clock.h"
#include "lib/base/str.h"
#include "lib/flip/flip_priv.h"

#define PROOF_FRESH_MS 10 /* old needs more to go, to come back open and to take a write */

int64_t budget_left_ms(const struct flip *f)
{
	int64_t left = f->policy.max_blackout_ms - (clock_us() - f->fence_us) / 1000;

	return left > 1 ? left : 1;
}

/* --- intent
 * -------------------------------------------------------------------------------------------------- */

struct last_proof {
	struct flip *f;
	int rc;
	struct err err;
};

static void last_proof_fiber(void *arg)
{
	struct last_proof *p = arg;

	p->rc = guard_prove(p->f, &p->err);
}

/*
 * The intent carries old's final position and the way back. Old is proven once more beside the write: the
 * proof that goes right before the opening costs no time of its own.
 */
int MAY_WAIT step_intent(struct flip *f, struct err *err)
{
	struct last_proof proof = {.f = f};
	struct wire *d = wire_object();
	struct fiber *prover;
	int rc;

	wire_set(d, "final", jn_position(&f->final));
	wire_set(d, "way_back", jn_position(&f->baseline));
	wire_set(d, "repoint", jn_position(&f->repoint));
	wire_set_str(d, "to", conf_side_name(f->to));
	fiber_shield(); /* a cancel must not leave it unknown whether the intent is on disk */
	prover = fiber_spawn("last proof", last_proof_fiber, &proof);
	rc = jn_write(f, "intent", "intent", d, true, err);
	/* Not known to be durable counts as live: only a revocation may say otherwise. */
	f->intent = true;
	f->revoked = false;
	fiber_join(prover);
	fiber_unshield();
	if (rc < 0)
		return rc;
	f->intent_durable = true;
	if (proof.rc == 0 || proof.rc == -ESTALE) /* a write that went through is why the position moved */
		rc = fence_write_end(f, err);
	if (proof.rc < 0 && (rc == 0 || rc == -ECANCELED)) {
		*err = proof.err;
		rc = proof.rc;
	}
	return rc;
}

/* The revocation is written by decide.c, after the proof that new never took a write. */
int MAY_WAIT step_intent_undo(struct flip *f, struct err *err)
{
	int rc;

	if (!f->intent || f->revoked)
		return 0;
	f->intent_durable = false; /* from now on it may be revoked on disk, whatever becomes of the answer */
	rc = jn_write(f, "revoke", "intent", NULL, true, err);
	if (rc == 0)
		f->revoked = true;
	return rc;
}

/* --- sync, verify
 * -------------------------------------------------------------------------------------------- */

void goal_at(const struct flip *f, const struct facts_position *at, struct node_goal *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->use_gtid = f->use_gtid;
	ret->gtid = at->binlog_pos;
	str_copy(ret->file, sizeof(ret->file), at->file);
	ret->pos = at->pos;
}

void goal_of(const struct flip *f, struct node_goal *ret)
{
	goal_at(f, &f->final, ret);
}

/* New is synced and still closed: further replicas go on from exactly here. Needed in file mode alone. */
static int MAY_WAIT note_repoint(struct flip *f, struct err *err)
{
	struct node_proof p;
	enum act act = node_prove(f->new_side.act, flip_deadline(ROUND_TRIP_MS), &p, err);

	if (act != ACT_DONE)
		return flip_rc(act, err);
	f->repoint = p.position;
	return 0;
}

int MAY_WAIT step_sync(struct flip *f, struct err *err)
{
	struct node_goal goal;
	int rc = sess_open(f, &f->new_side, SESSION_ACT, flip_deadline(ROUND_TRIP_MS), err);

	if (rc < 0)
		return rc;
	goal_of(f, &goal);
	for (;;) {
		struct err why = {0};
		int64_t left = f->opened ? 1000 : budget_left_ms(f);
		enum act act = node_wait_position(
			f->new_side.act, &goal, left < 1000 ? left : 1000, flip_deadline(2000), &why);

		if (act == ACT_DONE)
			return f->opened || f->use_gtid ? 0 : note_repoint(f, err);
		if (act == ACT_UNKNOWN || f->opened || budget_left_ms(f) <= 1) {
			*err = why;
			return flip_rc(act, &why);
		}
		if (fiber_sleep_ms(1) < 0)
			return -ECANCELED;
	}
}

int MAY_WAIT verify_marker(struct flip *f, struct err *err)
{
	const char *name = f->new_side.server->conf->name;
	struct node_row row;
	int rc = sess_open(f, &f->new_side, SESSION_ACT, flip_deadline(ROUND_TRIP_MS), err);
	enum act act;

	if (rc < 0)
		return rc;
	act = node_row_read(f->new_side.act, f->id, flip_deadline(ROUND_TRIP_MS), &row, err);
	f->mismatch = f->opened && ((act == ACT_REFUSED && err->code == -ENOENT) ||
					   (act == ACT_DONE && row.marker < (uint64_t)f->attempt));
	if (act != ACT_DONE) {
		err_wrap(err, "%s does not show the flip's marker row", name);
		return flip_rc(act, err);
	}
	if (row.marker < (uint64_t)f->attempt)
		return err_set(err, -EIO, "%s shows an older marker (%llu, not %d): it lacks writes of old",
			name, (unsigned long long)row.marker, f->attempt);
	return 0;
}

/* The marker row that was written on old right before the fence has come out on new. */
int MAY_WAIT step_verify(struct flip *f, struct err *err)
{
	int rc = verify_marker(f, err);

	if (rc < 0)
		return rc;
	/* Decided by the plain order, while both sides are closed. Forward from a crash the comparison cannot
	 * hold. */
	return f->opened ? 0 : verify_compare(f, err);
}

/* --- open
 * ---------------------------------------------------------------------------------------------------- */

int MAY_WAIT open_confirmed(struct flip *f, struct err *err)
{
	int rc;

	if (!f->opened) {
		f->opened = true;
		f->opened_us = clock_us();
		f->opened_wall_ms = clock_wall_ms();
		fiber_cond_signal(&f->opened_cond);
		probe_allow(f->probe, f->to, true);
		flip_emit_kept(f);
		if (!f->recovered)
			runner_note_attempt(f);
	}
	f->open_unknown = false;
	fiber_stop(f->budget);
	f->budget = NULL;
	/* Applications are served; a journal that fails now is no reason to stop. Recovery finds new open by
	 * looking. */
	fiber_shield();
	rc = jn_write(f, "opened", "open", NULL, true, err);
	fiber_unshield();
	if (rc < 0)
		flip_warn(f, "the opening could not be noted in the journal: %s", err_text(err));
	err_clear(err);
	cluster_poke(f->cluster);
	return 0;
}

static enum act MAY_WAIT send_open(struct flip *f, const struct node_goal *goal, struct err *err)
{
	int64_t left = budget_left_ms(f);
	enum act act;

	if (!f->open_sent)
		probe_expect(f->probe, f->to);
	f->open_sent = f->open_unknown = true;
	if (f->guarded)
		act = node_open_guarded(
			f->new_side.lock, goal, left < 1000 ? left : 1000, flip_deadline(2500), err);
	else
		act = node_unfence(f->new_side.lock, flip_deadline(ROUND_TRIP_MS), err);
	if (act == ACT_REFUSED)
		f->open_unknown = false;
	return act;
}

int MAY_WAIT open_other_fences(struct flip *f, struct err *err)
{
	const struct conf_server *c = f->new_side.server->conf;
	int rc = 0;

	for (int i = 0; i < c->nfences && rc == 0; i++) {
		const struct fence_ops *ops;
		if (c->fences[i].kind == CONF_FENCE_READ_ONLY)
			continue;
		ops = registry_fence(c->fences[i].kind);
		f->new_fences_open |= ops != NULL;
		if (ops)
			rc = flip_rc(
				ops->open(&c->fences[i], &f->ctx, outer_deadline(&c->fences[i]), err), err);
	}
	return rc;
}

/* Never without a live intent, old's last proof, and every endpoint without after_open switched. */
int MAY_WAIT step_open(struct flip *f, struct err *err)
{
	struct node_goal goal;
	int rc = 0;

	if (!f->intent || f->revoked || !f->intent_durable)
		return err_set(
			err, -EPERM, "%s is not opened without an intent", f->new_side.server->conf->name);
	goal_of(f, &goal);
	for (int tries = 0;; tries++) {
		struct err why = {0};
		enum act act;

		/* The intent's own proof is the last one for the first try, but where the disk took its time.
		 */
		if (tries > 0 || !f->guarded || clock_us() - f->proved_us > PROOF_FRESH_MS * 1000)
			rc = guard_prove(f, err);
		if (rc < 0 || fiber_cancelled())
			return rc < 0 ? rc : -ECANCELED;
		act = send_open(f, &goal, &why);
		if (act == ACT_DONE)
			break;
		if (act == ACT_UNKNOWN || !f->guarded || budget_left_ms(f) <= 1) {
			if (act == ACT_REFUSED && f->guarded)
				err_wrap(&why, "max_blackout (%lld ms) ran out",
					(long long)f->policy.max_blackout_ms);
			*err = why;
			return flip_rc(act, &why);
		}
		if (fiber_sleep_ms(1) < 0) /* a server that refuses at once is not asked in a tight loop */
			return -ECANCELED;
	}
	rc = open_other_fences(f, err);
	return rc < 0 ? rc : open_confirmed(f, err);
}

/* What applications find on new from here on: its own event scheduler as old's was. */
int MAY_WAIT step_open_verify(struct flip *f, struct err *err)
{
	(void)err;
	cluster_heartbeat_resume(f->cluster, f->to);
	settings_scheduler_on(f);
	return 0;
}
