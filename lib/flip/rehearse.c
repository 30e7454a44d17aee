/*
 * rehearse: a flip that ends before its fence. The rows up to `events` run as they are; then, on the very
 * sessions that a flip would use, what each further row waits for is measured without stopping a write: no
 * fence, no kill, no opening, no endpoint switched. What was measured predicts the blackout; then all is
 * undone as in any flip that ends before its fence. The prediction stays in the journal, for the next flip.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/flip/flip_priv.h"
#include "lib/flip/predict.h"

#define TRIPS 5	 /* round trips to each side */
#define WRITES 3 /* logged on old; the first is awaited on new */
#define RECORDS 3
#define PROVE_LIMIT_MS 5000

struct rehearsal {
	struct flip *f;
	struct predict_parts parts;
	struct facts_position position; /* of old */
};

static double ms(int64_t us)
{
	return (double)us / 1000;
}

static int by_size(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

static int64_t median(int64_t *v, int n)
{
	qsort(v, (size_t)n, sizeof(*v), by_size);
	return v[n / 2];
}

/* --- the proofs
 * ------------------------------------------------------------------------- */

/* The proof that a flip asks of that side, several times: open or closed as it must be, the lock held. */
static int MAY_WAIT round_trips(
	struct flip_side *s, bool closed, struct facts_position *ret, int64_t *ret_us, struct err *err)
{
	const char *name = s->server->conf->name;
	int64_t took[TRIPS];

	for (int i = 0; i < TRIPS; i++) {
		int64_t begun_us = clock_us();
		struct node_proof p;
		enum act act = node_prove(s->lock, flip_deadline(ROUND_TRIP_MS), &p, err);

		if (act != ACT_DONE)
			return flip_rc(act, err);
		if (!p.holds_lock || p.read_only != closed)
			err_server(err, name);
		if (!p.holds_lock)
			return err_set(err, -ENOLCK, "%s: the flip's lock is not held any more", name);
		if (p.read_only != closed)
			return err_set(err, -EPERM, "%s: somebody has %s it", name,
				p.read_only ? "closed" : "opened");
		took[i] = clock_us() - begun_us;
		*ret = p.position;
	}
	*ret_us = median(took, TRIPS);
	return 0;
}

/* Fences other than read_only: their own check stands for what closing or opening them takes. */
static int MAY_WAIT other_fences(
	struct flip *f, const struct conf_server *c, int64_t *ret_us, struct err *err)
{
	int64_t begun_us = clock_us();
	int n = 0;

	for (int i = 0; i < c->nfences; i++) {
		const struct fence_ops *ops = registry_fence(c->fences[i].kind);
		if (c->fences[i].kind == CONF_FENCE_READ_ONLY || !ops || !ops->check)
			continue;
		enum act act = ops->check(&c->fences[i], &f->ctx, flip_deadline(PROVE_LIMIT_MS), err);
		if (act != ACT_DONE)
			return flip_rc(act, err);
		n++;
	}
	*ret_us = n ? clock_us() - begun_us : 0;
	return 0;
}

static int MAY_WAIT prove_fence(struct rehearsal *r, struct err *err)
{
	struct flip *f = r->f;
	int rc = round_trips(&f->old_side, false, &r->position, &r->parts.old_us, err);

	if (rc == 0)
		rc = other_fences(f, f->old_side.server->conf, &r->parts.old_fences_us, err);
	flip_step_detail(f, "fence", "not sent; a round trip to %s takes %.1f ms",
		f->old_side.server->conf->name, ms(r->parts.old_us));
	return rc;
}

/* What the fence would do about those in its way, as `blockers` says. */
static int64_t blocked_us(const struct flip *f, int nblockers, int64_t list_us)
{
	if (nblockers == 0)
		return 0;
	return f->policy.blockers == CONF_BLOCKERS_WAIT ? f->policy.fence_timeout_ms * 1000
							: BLOCKER_GRACE_MS * 1000 + 2 * list_us;
}

/* Who would be killed, and who would hold the fence up now. */
static int MAY_WAIT prove_kill(struct rehearsal *r, struct err *err)
{
	struct arena *a CLEANUP(arena_freep) = arena_new();
	struct flip *f = r->f;
	struct facts_session *list = NULL;
	int n = 0, victims = 0, blockers = 0, walkers = 0;
	int64_t begun_us = clock_us(), list_us;
	enum act act = node_sessions(f->old_side.reaper, a, flip_deadline(ROUND_TRIP_MS), &list, &n, err);

	if (act != ACT_DONE)
		return flip_rc(act, err);
	list_us = clock_us() - begun_us;
	for (int i = 0; i < n; i++) {
		if (kill_exempt(f, &f->old_side, &list[i]))
			continue;
		victims++;
		blockers += drain_is_writing(&list[i]) && list[i].time_ms >= BLOCKER_GRACE_MS;
		walkers += kill_bypass(f, list[i].user) != NULL;
	}
	r->parts.blocked_us = blocked_us(f, blockers, list_us);
	r->parts.kill_us = victims ? 2 * list_us + r->parts.old_us : list_us;
	r->parts.kill_us += walkers ? KILL_SILENCE_MS * 1000 : 0;
	flip_step_detail(f, "kill",
		"nobody killed; of %d sessions %d would be, and %d would hold the fence up now", n, victims,
		blockers);
	return 0;
}

static int MAY_WAIT prove_coordinates(struct rehearsal *r, struct err *err)
{
	char text[160];

	(void)err;
	flip_step_detail(r->f, "coordinates", "%s:%llu %s, read with the lock held", r->position.file,
		(unsigned long long)r->position.pos,
		gtid_format(&r->position.binlog_pos, text, sizeof(text)));
	return 0;
}

struct endpoint_proof {
	struct flip *f;
	int index;
	int64_t took_us;
	enum act act;
	struct err err;
};

static void endpoint_fiber(void *arg)
{
	struct endpoint_proof *p = arg;
	struct cluster *c = p->f->cluster;
	int64_t begun_us = clock_us();

	p->act = c->endpoint_ops[p->index]->prove(
		c->endpoints[p->index], &p->f->ctx, flip_deadline(PROVE_LIMIT_MS), &p->err);
	p->took_us = clock_us() - begun_us;
	if (p->act != ACT_DONE)
		err_wrap(&p->err, "%s", p->f->conf->endpoints[p->index].label);
}

/* An update that changes nothing on each endpoint, side by side; those of after_open cost no blackout. */
static int MAY_WAIT prove_endpoints(struct rehearsal *r, struct err *err)
{
	struct flip *f = r->f;
	int n = f->conf->nendpoints, proven = 0, rc = 0;
	struct endpoint_proof *p = arena_alloc(f->arena, sizeof(*p) * (size_t)(n + 1));
	struct fiber **fibers = arena_alloc(f->arena, sizeof(*fibers) * (size_t)(n + 1));
	bool cancelled = false;

	for (int i = 0; i < n; i++) {
		p[i] = (struct endpoint_proof){.f = f, .index = i};
		if (f->cluster->endpoint_ops[i])
			fibers[i] = fiber_spawn("endpoint", endpoint_fiber, &p[i]);
	}
	for (int i = 0; i < n; i++) {
		if (!fibers[i])
			continue;
		if (cancelled)
			fiber_cancel(fibers[i]);
		cancelled = fiber_join_or_cancel(fibers[i]) < 0 || cancelled;
		proven++;
		if (p[i].act != ACT_DONE && rc == 0) {
			rc = flip_rc(p[i].act, &p[i].err);
			*err = p[i].err;
		}
		if (f->conf->endpoints[i].order == CONF_ORDER_BEFORE_OPEN &&
			p[i].took_us > r->parts.endpoints_us)
			r->parts.endpoints_us = p[i].took_us;
	}
	if (proven)
		flip_step_detail(f, "endpoints",
			"not switched; %d took an update that changes nothing, in %.1f ms", proven,
			ms(r->parts.endpoints_us));
	return cancelled ? -ECANCELED : rc;
}

/* Room for a whole flip, and durable records as long as the intent. */
static int MAY_WAIT prove_intent(struct rehearsal *r, struct err *err)
{
	int64_t took[RECORDS];
	int rc = journal_reserve(r->f->journal, err);

	for (int i = 0; i < RECORDS && rc == 0; i++) {
		struct wire *d = wire_object();
		int64_t begun_us;

		wire_set(d, "final", jn_position(&r->position));
		wire_set(d, "way_back", jn_position(&r->position));
		begun_us = clock_us();
		rc = jn_write(r->f, "trial", "intent", d, true, err);
		took[i] = clock_us() - begun_us;
	}
	if (rc < 0)
		return rc;
	r->parts.journal_us = median(took, RECORDS);
	flip_step_detail(
		r->f, "intent", "not written; a durable record takes %.1f ms", ms(r->parts.journal_us));
	return 0;
}

/* Waits on the session that would open new, as the opening would. */
static int MAY_WAIT await_new(struct flip *f, const struct facts_position *at, struct err *err)
{
	int64_t end = flip_deadline(f->policy.max_blackout_ms);
	struct node_goal goal;

	goal_at(f, at, &goal);
	for (;;) {
		struct err why = {0};
		int64_t left = (end - clock_us()) / 1000 + 1;
		enum act act;

		act = node_wait_position(
			f->new_side.lock, &goal, left < 1000 ? left : 1000, flip_deadline(2000), &why);
		if (act == ACT_DONE)
			return 0;
		if (act == ACT_UNKNOWN || clock_us() >= end) {
			*err = why;
			if (act == ACT_REFUSED)
				err_wrap(err, "%s does not get there within max_blackout",
					f->new_side.server->conf->name);
			return flip_rc(act, &why);
		}
		if (fiber_sleep_ms(1) < 0)
			return -ECANCELED;
	}
}

/* The flip's own row on old, as before a fence: a write that is logged. */
static int MAY_WAIT write_row(struct flip *f, int64_t *ret_us, struct err *err)
{
	int64_t begun_us = clock_us();
	int rc = row_write(f, f->old_side.act, "rehearsing", err);

	*ret_us = clock_us() - begun_us;
	return rc;
}

/* How long new takes to have what old wrote, at the moment that drain has found. */
static int MAY_WAIT prove_sync(struct rehearsal *r, struct err *err)
{
	struct flip *f = r->f;
	int64_t wrote[WRITES], written_us;
	struct node_proof p;
	int rc;

	f->attempt++;
	rc = write_row(f, &wrote[0], err);
	written_us = clock_us();
	if (rc == 0)
		rc = flip_rc(node_prove(f->old_side.lock, flip_deadline(ROUND_TRIP_MS), &p, err), err);
	if (rc == 0)
		rc = await_new(f, &p.position, err);
	r->parts.apply_us = clock_us() - written_us;
	for (int i = 1; i < WRITES && rc == 0; i++)
		rc = write_row(f, &wrote[i], err);
	if (rc < 0)
		return rc;
	r->parts.write_us = median(wrote, WRITES);
	flip_step_detail(f, "sync", "a write takes %.1f ms on %s, and is on %s after another %.1f ms",
		ms(r->parts.write_us), f->old_side.server->conf->name, f->new_side.server->conf->name,
		ms(r->parts.apply_us));
	return 0;
}

static int MAY_WAIT prove_verify(struct rehearsal *r, struct err *err)
{
	struct flip *f = r->f;
	int tables = 0, rc = verify_marker(f, err);

	if (rc == 0)
		rc = verify_time(f, &tables, &r->parts.verify_us, err);
	if (rc == 0 && tables)
		flip_step_detail(f, "verify", "%s shows the flip's row; it reads its %d tables in %.1f ms",
			f->new_side.server->conf->name, tables, ms(r->parts.verify_us));
	else if (rc == 0)
		flip_step_detail(f, "verify", "%s shows the flip's row", f->new_side.server->conf->name);
	return rc;
}

static int MAY_WAIT prove_open(struct rehearsal *r, struct err *err)
{
	struct flip *f = r->f;
	struct facts_position ignored;
	struct prediction predicted;
	struct strbuf text = {0};
	int rc = round_trips(&f->new_side, true, &ignored, &r->parts.new_us, err);

	if (rc == 0)
		rc = other_fences(f, f->new_side.server->conf, &r->parts.new_fences_us, err);
	if (rc < 0)
		return rc;
	r->parts.guarded = f->guarded;
	r->parts.kill_late = f->kill_late;
	r->parts.gtid = f->use_gtid;
	predict(&r->parts, &predicted);
	predict_text(&predicted, &text);
	f->predicted_us = predicted.total_us;
	flip_step_detail(f, "open", "not sent; a round trip to %s takes %.1f ms; predicted blackout: %s",
		f->new_side.server->conf->name, ms(r->parts.new_us), strbuf_str(&text));
	strbuf_free(&text);
	return 0;
}

/* `sync` is first: drain has just found the moment for it, as it does for a fence. */
static const struct proof {
	const char *step;
	int MAY_WAIT (*run)(struct rehearsal *, struct err *);
} proofs[] = {
	{"sync", prove_sync},
	{"fence", prove_fence},
	{"kill", prove_kill},
	{"coordinates", prove_coordinates},
	{"endpoints", prove_endpoints},
	{"intent", prove_intent},
	{"verify", prove_verify},
	{"open", prove_open},
};

/* The row itself never begins: it is skipped, and told with how long its proof took. */
static int MAY_WAIT prove_one(struct rehearsal *r, const struct proof *p, struct err *err)
{
	struct flip *f = r->f;
	int row = step_index(p->step), rc;
	struct step_state *st = &f->st[row];
	int64_t begun_us = clock_us(), wall_ms = clock_wall_ms();

	fiber_doing("%s: measuring", p->step);
	sess_tag(f, p->step);
	rc = fiber_check();
	if (rc == 0)
		rc = p->run(r, err);
	if (rc == -ECANCELED || f->aborting)
		return -ECANCELED; /* the end says why */
	st->started_wall_ms = wall_ms;
	st->duration_us = clock_us() - begun_us;
	st->status = rc == 0 ? STEP_WAS_SKIPPED : rc == -EUNATCH ? STEP_UNKNOWN : STEP_FAILED;
	if (rc < 0) {
		flip_step_detail(f, p->step, "%s", err_text(err));
		flip_fail(f, p->step, err);
	}
	flip_emit_step(f, row);
	return rc;
}

static int MAY_WAIT note_prediction(struct flip *f, struct err *err)
{
	struct wire *d = wire_object();

	wire_set_int(d, "us", f->predicted_us);
	wire_set(d, "old", jn_mark(session_get_mark(f->old_side.lock)));
	wire_set(d, "new", jn_mark(session_get_mark(f->new_side.lock)));
	return jn_write(f, "predicted", "", d, true, err);
}

/* Old's events rest no longer than they must; the undo sees to it once more, and proves it. */
static int MAY_WAIT let_events_run(struct flip *f, struct err *err)
{
	bool changed = f->scheduler_changed;
	int rc = events_back(f, err);

	f->scheduler_changed = changed;
	if (rc < 0 && rc != -ECANCELED)
		flip_fail(f, "events", err);
	return rc;
}

int MAY_WAIT rehearse(struct flip *f, struct err *err)
{
	struct rehearsal r = {.f = f};
	int rc = let_events_run(f, err);

	for (size_t i = 0; i < COUNT_OF(proofs) && rc == 0; i++)
		rc = prove_one(&r, &proofs[i], err);
	if (rc == 0) {
		rc = note_prediction(f, err);
		if (rc < 0 && rc != -ECANCELED)
			flip_fail(f, "open", err);
	}
	f->rehearsed = rc == 0;
	return rc;
}
