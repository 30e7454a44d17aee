/*
 * runner: runs the table. It knows no step by what it does, only by its row: order, early and late rows,
 * journal, verify, and the withdrawal of a fence that could not be had (rows fence to coordinates answer
 * -EAGAIN then).
 */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/base/str.h"
#include "lib/flip/flip_priv.h"

/*
 * The order of rows: the table's, but
 *   guarded opening: sync and verify after open (the server itself waits, and guards);
 *   plain: sync and verify before intent;
 *   kill_late: kill is joined before detach instead of before coordinates;
 *   a rehearsal has none from the fence on.
 */
void runner_order(struct flip *f)
{
	int sync = step_index("sync"), verify = step_index("verify"), kill = step_index("kill");
	int intent = step_index("intent"), open = step_index("open"), detach = step_index("detach");

	f->norder = 0;
	for (int i = 0; i < steps_count; i++) {
		if (i == sync || i == verify || (i == kill && f->kill_late))
			continue;
		if (i == intent && !f->guarded) {
			f->order[f->norder++] = sync;
			f->order[f->norder++] = verify;
		}
		if (i == detach && f->kill_late)
			f->order[f->norder++] = kill;
		f->order[f->norder++] = i;
		if (i == open && f->guarded) {
			f->order[f->norder++] = sync;
			f->order[f->norder++] = verify;
		}
	}
	assert(f->norder == steps_count);
	if (f->request.rehearsal)
		f->norder = step_index("fence");
}

static const char *status_word(int rc)
{
	return rc == STEP_SKIPPED ? "skipped" : rc < 0 ? "failed" : "done";
}

static void row_begin(struct flip *f, int row)
{
	struct step_state *st = &f->st[row];

	if (st->status == STEP_FAILED || st->status == STEP_UNKNOWN)
		st->detail[0] = 0; /* why it failed the last time */
	st->status = STEP_RUNNING;
	st->begun = true;
	st->started_wall_ms = clock_wall_ms();
	st->started_us = clock_us();
	st->duration_us = -1;
	(void)!jn_write(f, "begin", steps[row].name, NULL, false, NULL);
	flip_emit_step(f, row);
}

/* why: of a failure; it is shown with the step, which is tried again perhaps, and then not the flip's error.
 */
static void row_end(struct flip *f, int row, int rc, const struct err *why)
{
	struct step_state *st = &f->st[row];
	struct wire *d = wire_object();

	st->duration_us = clock_us() - st->started_us;
	st->status = rc == STEP_SKIPPED ? STEP_WAS_SKIPPED
		     : rc == -EUNATCH	? STEP_UNKNOWN
		     : rc < 0		? STEP_FAILED
					: STEP_DONE;
	if (rc < 0 && !st->detail[0])
		str_copy(st->detail, sizeof(st->detail),
			why->message[0]	   ? why->message
			: rc == -ECANCELED ? "cut short"
					   : strerror(-rc));
	wire_set_str(d, "state", rc == -EUNATCH ? "unknown" : status_word(rc));
	if (rc < 0)
		wire_set_str(d, "why", st->detail);
	wire_set_int(d, "us", st->duration_us);
	(void)!jn_write(f, "end", steps[row].name, d, false, NULL);
	flip_emit_step(f, row);
}

/* run and verify of one row, in the calling fiber. */
static int MAY_WAIT row_execute(struct flip *f, int row, struct err *err)
{
	const struct step *s = &steps[row];
	int rc;

	row_begin(f, row);
	fiber_doing("%s: %s", s->name, s->does);
	rc = s->run(f, err);
	if (rc == 0 && s->verify)
		rc = s->verify(f, err);
	row_end(f, row, rc, err);
	return rc;
}

struct row_fiber {
	struct flip *f;
	int row;
};

static void early_fiber(void *arg)
{
	struct row_fiber *a = arg;
	struct step_state *st = &a->f->st[a->row];

	row_begin(a->f, a->row);
	fiber_doing("%s: %s", steps[a->row].name, steps[a->row].does);
	st->result = steps[a->row].run(a->f, &st->err);
	st->finished = true;
	fiber_cond_signal(&a->f->row_cond);
}

static void late_fiber(void *arg)
{
	struct row_fiber *a = arg;
	struct step_state *st = &a->f->st[a->row];

	st->result = row_execute(a->f, a->row, &st->err);
	st->finished = true;
	fiber_cond_signal(&a->f->row_cond);
}

/* Joins a row's fiber; a cancel of the flip ends the row too, and is answered. */
static int MAY_WAIT row_join(struct flip *f, int row)
{
	struct step_state *st = &f->st[row];
	int rc = 0;

	while (!st->finished && rc != -ECANCELED)
		rc = fiber_cond_wait(&f->row_cond, CLOCK_FOREVER);
	fiber_stop(st->fiber);
	st->fiber = NULL;
	st->spawned = false;
	return rc == -ECANCELED && st->result >= 0 ? -ECANCELED : st->result;
}

static void row_spawn(struct flip *f, int row, void (*fn)(void *))
{
	struct row_fiber *a = arena_alloc(f->arena, sizeof(*a));
	struct step_state *st = &f->st[row];

	*a = (struct row_fiber){f, row};
	st->spawned = true;
	st->finished = false;
	st->result = 0;
	err_clear(&st->err);
	st->fiber = fiber_spawn(steps[row].name, fn, a);
}

static void spawn_early(struct flip *f, int row)
{
	for (int i = 0; i < steps_count; i++)
		if (steps[i].early && !strcmp(steps[i].early, steps[row].name) && !f->st[i].spawned)
			row_spawn(f, i, steps[i].late ? late_fiber : early_fiber);
}

static int MAY_WAIT row_join_early(struct flip *f, int row, struct err *err)
{
	int rc = row_join(f, row);

	if (rc < 0)
		*err = f->st[row].err;
	if (rc == 0 && steps[row].verify)
		rc = steps[row].verify(f, err);
	row_end(f, row, rc, err);
	return rc;
}

/* Late rows never fail a flip whose applications are served: what they left undone is a warning. */
static int MAY_WAIT join_late(struct flip *f)
{
	for (int i = 0; i < steps_count; i++) {
		struct step_state *st = &f->st[i];
		if (!steps[i].late || !st->spawned)
			continue;
		int rc = row_join(f, i);
		if (rc == -ECANCELED)
			return rc;
		if (rc < 0)
			flip_warn(f, "%s: %s", steps[i].name, err_text(&st->err));
	}
	return 0;
}

void MAY_WAIT runner_stop_all(struct flip *f)
{
	for (int i = 0; i < steps_count; i++) {
		struct step_state *st = &f->st[i];
		if (!st->spawned)
			continue;
		fiber_stop(st->fiber);
		st->fiber = NULL;
		st->spawned = false;
		if (st->status == STEP_RUNNING)
			row_end(f, i, st->result < 0 ? st->result : -ECANCELED, &st->err);
	}
}

void runner_note_attempt(struct flip *f)
{
	struct attempt *a;

	if (f->nattempts == (int)COUNT_OF(f->attempts) || !f->fence_us)
		return;
	a = &f->attempts[f->nattempts++];
	a->at_wall_ms = f->fence_wall_ms;
	a->blackout_us = clock_us() - f->fence_us;
	str_copy(a->blockers, sizeof(a->blockers), f->blockers_seen);
}

/* The fence is taken back and rows drain to coordinates run again: old is proven open before that, and its
 * events run. */
static int MAY_WAIT withdraw(struct flip *f, struct err *err)
{
	int rc = 0;

	flip_emit_kept(f);
	runner_stop_all(f);
	guard_stop(f);
	fence_write_drop(f);
	if (f->fence_issued) {
		rc = step_fence_undo(f, err);
		if (rc == 0)
			rc = step_fence_undone(f, err);
		if (rc == 0) {
			runner_note_attempt(f);
			f->fence_us = 0;
		}
	}
	if (rc == 0)
		rc = events_back(f, err);
	if (rc < 0)
		return rc;
	fiber_stop(f->budget);
	f->budget = NULL;
	cluster_heartbeat_resume(f->cluster, f->from);
	probe_allow(f->probe, f->from, true);
	f->fence_issued = f->fence_answered = f->fence_refused = f->has_final = false;
	return 0;
}

/* Told to stop meanwhile, the flip is one before the fence again. */
static bool may_try_again(const struct flip *f, int row, int rc)
{
	return rc == -EAGAIN && !f->terminating && row >= step_index("fence") &&
	       row <= step_index("coordinates") && f->attempt < f->policy.fence_attempts;
}

static int order_index(const struct flip *f, const char *name)
{
	int row = step_index(name), k = 0;

	while (k < f->norder && f->order[k] != row)
		k++;
	assert(k < f->norder);
	return k;
}

static int MAY_WAIT run_one(struct flip *f, int row, struct err *err)
{
	if (!strcmp(steps[row].name, "finish") && join_late(f) < 0)
		return -ECANCELED;
	if (steps[row].late) {
		if (!f->st[row].spawned)
			row_spawn(f, row, late_fiber);
		return 0;
	}
	spawn_early(f, row);
	sess_tag(f, steps[row].name);
	if (f->st[row].spawned)
		return row_join_early(f, row, err);
	return row_execute(f, row, err);
}

int MAY_WAIT runner_run(struct flip *f, const char *from_row, struct err *err)
{
	runner_order(f);
	for (int k = from_row ? order_index(f, from_row) : 0; k < f->norder; k++) {
		int row = f->order[k];
		struct err why = {0};
		int rc = fiber_cancelled() ? -ECANCELED : 0;

		if (f->aborting && !f->opened)
			rc = -ECANCELED;
		if (rc == 0)
			rc = run_one(f, row, &why);
		if (rc >= 0)
			continue;
		if (may_try_again(f, row, rc)) {
			struct err undo = {0};
			rc = withdraw(f, &undo);
			if (rc == 0) {
				if (f->terminating) /* meanwhile, when there still was a fence */
					(void)!flip_abort(f, "flipd was told to stop", NULL);
				k = order_index(f, "drain") - 1;
				continue;
			}
			why = undo;
		}
		if (!why.code)
			err_set(&why, rc, "%s",
				f->stop_why[0]	   ? f->stop_why
				: rc == -ECANCELED ? "cancelled"
						   : "failed");
		if (rc == -ECANCELED && f->stop_why[0]) {
			err_clear(&why);
			err_set(&why, rc, "%s", f->stop_why);
		}
		flip_fail(f, steps[row].name, &why);
		*err = why;
		return rc;
	}
	return 0;
}

#define UNDO_TRIES 4
#define UNDO_AGAIN_MS 100

static int MAY_WAIT undo_once(struct flip *f, int row, struct err *err)
{
	int rc = steps[row].undo(f, err);

	return rc >= 0 && steps[row].undone ? steps[row].undone(f, err) : rc;
}

/* One row's undo with its proof, tried again, shielded from the cancel that caused it; a failure is a warning
 * of its own. */
bool MAY_WAIT runner_undo(struct flip *f, const char *name)
{
	int row = step_index(name);
	struct step_state *st = &f->st[row];
	struct err err = {0};
	int rc;

	if (!st->begun || !steps[row].undo || st->status == STEP_UNDONE)
		return true;
	sess_tag(f, name);
	rc = undo_once(f, row, &err);
	for (int tries = 1; rc < 0 && rc != -ECANCELED && tries < UNDO_TRIES; tries++) {
		if (fiber_sleep_ms(UNDO_AGAIN_MS) < 0)
			break;
		err_clear(&err);
		rc = undo_once(f, row, &err);
	}
	if (rc < 0) {
		flip_warn(f, "%s could not be undone: %s", name, err_text(&err));
		return false;
	}
	st->status = STEP_UNDONE;
	struct wire *d = wire_object();
	wire_set_str(d, "state", "undone");
	wire_set_int(d, "us", st->duration_us);
	(void)!jn_write(f, "end", name, d, false, NULL);
	flip_emit_step(f, row);
	return true;
}
