/*
 * steps_endpoints: the row endpoints, and the endpoints of `order: after_open`, which are switched once new
 * is open. Each endpoint is a compare-and-swap of its own; all of one order go side by side.
 */
#include <errno.h>

#include "lib/base/clock.h"
#include "lib/flip/flip_priv.h"

#define ENDPOINT_LIMIT_MS 5000
#define WARM_LIMIT_MS 1000

struct switcher {
	struct flip *f;
	int index;
	enum conf_side to;
	int64_t deadline_us;
	int rc;
	bool third; /* endpoints_follow_up: it shows neither side */
	struct err err;
};

static enum endpoint_at at_of(enum conf_side side)
{
	return side == CONF_SOURCE ? ENDPOINT_AT_SOURCE : ENDPOINT_AT_TARGET;
}

/* A reply that did not arrive is unknown: the endpoint is asked, and switched again while there is time. On
 * the way back where it points now is not enough: what the first try has sent may still arrive. */
static void switch_fiber(void *arg)
{
	struct switcher *w = arg;
	struct cluster *c = w->f->cluster;
	struct endpoint *ep = c->endpoints[w->index];
	const struct endpoint_ops *ops = c->endpoint_ops[w->index];
	enum act act;

	for (;;) {
		enum endpoint_at at = ENDPOINT_AT_OTHER;

		err_clear(&w->err);
		act = ops->switch_to(ep, &w->f->ctx, w->to, w->deadline_us, &w->err);
		if (act != ACT_UNKNOWN || w->err.code == -ECANCELED || clock_us() >= w->deadline_us)
			break;
		flip_step_detail(w->f, "endpoints", "%s gave no answer and is asked again: %s",
			w->f->conf->endpoints[w->index].label, err_text(&w->err));
		struct err look = {0};
		if (w->to == w->f->to && ops->look(ep, &w->f->ctx, w->deadline_us, &at, &look) == ACT_DONE &&
			at == at_of(w->to)) {
			act = ACT_DONE;
			break;
		}
		if (fiber_sleep_ms(20) < 0)
			break;
	}
	w->rc = flip_rc(act, &w->err);
	if (act != ACT_DONE)
		err_wrap(&w->err, "%s", w->f->conf->endpoints[w->index].label);
}

static void note_endpoint(struct flip *f, int i, bool switched)
{
	struct wire *d = wire_object();

	wire_set_int(d, "index", i);
	wire_set_bool(d, "switched", switched);
	(void)!jn_write(f, "endpoint", "endpoints", d, false, NULL);
}

/* A hook may be given more time than other endpoints need. */
static int64_t limit_of(const struct conf_endpoint *e)
{
	return e->timeout_ms > ENDPOINT_LIMIT_MS ? e->timeout_ms : ENDPOINT_LIMIT_MS;
}

/* One of the endpoints that this call is about; an order that the opening does not wait for is asked for
 * again until all of it is switched. */
static bool is_wanted(const struct flip *f, int i, enum conf_order order, enum conf_side to)
{
	if (!f->cluster->endpoint_ops[i])
		return false;
	if (to == f->from)
		return f->ends[i].begun;
	return f->conf->endpoints[i].order == order &&
	       (order == CONF_ORDER_BEFORE_OPEN || f->ends[i].state != EP_SWITCHED);
}

/* A cancel of the caller ends all that are left. */
static bool MAY_WAIT join_switchers(struct fiber **fibers, int n)
{
	bool cancelled = false;

	for (int i = 0; i < n; i++) {
		if (fiber_join_or_cancel(fibers[i]) == 0 || cancelled)
			continue;
		cancelled = true;
		for (int j = i + 1; j < n; j++)
			if (fibers[j])
				fiber_cancel(fibers[j]);
	}
	return cancelled;
}

/* All endpoints of the given order at once, each within its own limit and most_ms; the first error is
 * returned, the others are in the endpoints' states. */
static int MAY_WAIT switch_all(
	struct flip *f, enum conf_order order, enum conf_side to, int64_t most_ms, struct err *err)
{
	int n = f->conf->nendpoints, rc = 0;
	struct switcher *w = arena_alloc(f->arena, sizeof(*w) * (size_t)(n + 1));
	struct fiber **fibers = arena_alloc(f->arena, sizeof(*fibers) * (size_t)(n + 1));

	for (int i = 0; i < n; i++) {
		int64_t limit_ms = limit_of(&f->conf->endpoints[i]);
		if (!is_wanted(f, i, order, to))
			continue;
		w[i] = (struct switcher){.f = f,
			.index = i,
			.to = to,
			.deadline_us = flip_deadline(limit_ms < most_ms ? limit_ms : most_ms)};
		note_endpoint(f, i, false); /* on the way back, too: it no longer counts as switched */
		f->ends[i].begun = true;
		fibers[i] = fiber_spawn("endpoint", switch_fiber, &w[i]);
	}
	bool cancelled = join_switchers(fibers, n);
	for (int i = 0; i < n; i++) {
		if (!w[i].f)
			continue;
		f->ends[i].state = w[i].rc < 0 ? EP_FAILED : to == f->to ? EP_SWITCHED : EP_REVERTED;
		if (w[i].rc == 0 && to == f->to)
			note_endpoint(f, i, true);
		if (w[i].rc < 0 && rc == 0) {
			rc = w[i].rc;
			*err = w[i].err;
		}
	}
	return cancelled ? -ECANCELED : rc;
}

/* Where one side is open already. */
static int64_t settle_left_ms(const struct flip *f)
{
	int64_t left = (settle_deadline(f) - clock_us()) / 1000;

	return left > ENDPOINT_LIMIT_MS ? left : ENDPOINT_LIMIT_MS;
}

int MAY_WAIT endpoints_after_open(struct flip *f, struct err *err)
{
	return switch_all(f, CONF_ORDER_AFTER_OPEN, f->to, settle_left_ms(f), err);
}

static bool is_left(const struct flip *f, int i)
{
	return f->cluster->endpoint_ops && f->cluster->endpoint_ops[i] &&
	       f->conf->endpoints[i].order == CONF_ORDER_AFTER_OPEN && f->ends[i].state == EP_FAILED;
}

bool endpoints_left(const struct flip *f)
{
	for (int i = 0; i < f->conf->nendpoints; i++)
		if (is_left(f, i))
			return true;
	return false;
}

/* One more try, and where it fails a look: a record with a third value is somebody's decision. A hook that
 * says neither side may only be down. */
static void follow_up_fiber(void *arg)
{
	struct switcher *w = arg;
	struct flip *f = w->f;
	enum endpoint_at at = ENDPOINT_AT_SOURCE;
	struct err ignored = {0};

	switch_fiber(w);
	if (w->rc < 0 && w->err.code != -ECANCELED &&
		f->conf->endpoints[w->index].kind != CONF_ENDPOINT_HOOK &&
		f->cluster->endpoint_ops[w->index]->look(f->cluster->endpoints[w->index], &f->ctx,
			flip_deadline(ENDPOINT_LIMIT_MS), &at, &ignored) == ACT_DONE)
		w->third = at == ENDPOINT_AT_OTHER;
}

const char *MAY_WAIT endpoints_follow_up(struct flip *f)
{
	for (int i = 0; i < f->conf->nendpoints; i++) {
		struct switcher w = {.f = f, .index = i, .to = f->to};
		/* Whoever has changed masters since has changed the names too. */
		if (!is_left(f, i) || (int)cluster_master(f->cluster) != (int)f->to)
			continue;
		w.deadline_us = flip_deadline(limit_of(&f->conf->endpoints[i]));
		/* In a fiber of its own: it would take up the cancel that is the caller's. */
		if (fiber_join_or_cancel(fiber_spawn("endpoint", follow_up_fiber, &w)) < 0) {
			fiber_cancel(fiber_self());
			return NULL;
		}
		if (w.third)
			f->ends[i].state = EP_PENDING;
		if (w.rc < 0)
			continue;
		f->ends[i].state = EP_SWITCHED;
		return f->conf->endpoints[i].label;
	}
	return NULL;
}

int MAY_WAIT step_endpoints(struct flip *f, struct err *err)
{
	if (f->conf->nendpoints == 0)
		return STEP_SKIPPED;
	return switch_all(
		f, CONF_ORDER_BEFORE_OPEN, f->to, f->opened ? settle_left_ms(f) : budget_left_ms(f), err);
}

int step_endpoints_verify(struct flip *f, struct err *err)
{
	for (int i = 0; i < f->conf->nendpoints; i++)
		if (f->conf->endpoints[i].order == CONF_ORDER_BEFORE_OPEN && f->ends[i].state != EP_SWITCHED)
			return err_set(
				err, -EIO, "%s has not accepted the switch", f->conf->endpoints[i].label);
	return 0;
}

int MAY_WAIT step_endpoints_undo(struct flip *f, struct err *err)
{
	/* In an earlier life it may have begun without a record that survived: all are switched back, by look
	 * and swap. */
	int rc;

	for (int i = 0; i < f->conf->nendpoints; i++)
		f->ends[i].begun = f->ends[i].begun || f->recovered;
	rc = switch_all(f, CONF_ORDER_BEFORE_OPEN, f->from, settle_left_ms(f), err);
	if (rc < 0 && rc != -EUNATCH &&
		rc != -ECANCELED) { /* a third value is not switched back, and need not be */
		struct err why = {0};
		if (step_endpoints_undone(f, &why) == 0)
			return 0;
	}
	return rc;
}

int MAY_WAIT step_endpoints_undone(struct flip *f, struct err *err)
{
	for (int i = 0; i < f->conf->nendpoints; i++) {
		enum endpoint_at at = ENDPOINT_AT_OTHER;

		if (!f->ends[i].begun || !f->cluster->endpoint_ops[i])
			continue;
		enum act act = f->cluster->endpoint_ops[i]->look(f->cluster->endpoints[i], &f->ctx,
			flip_deadline(limit_of(&f->conf->endpoints[i])), &at, err);
		if (act != ACT_DONE)
			return flip_rc(act, err);
		if (at == ENDPOINT_AT_OTHER) {
			flip_warn(f, "%s shows a third value, somebody's decision: it is left so",
				f->conf->endpoints[i].label);
			err_clear(err);
			continue;
		}
		if (at != at_of(f->from))
			return err_set(err, -EIO, "%s does not point back to %s", f->conf->endpoints[i].label,
				conf_side_name(f->from));
	}
	return 0;
}

/* --- before the fence
 * ------------------------------------------------------------------------------------------- */

static void warm_fiber(void *arg)
{
	struct switcher *w = arg;
	struct cluster *c = w->f->cluster;

	w->rc = flip_rc(
		c->endpoint_ops[w->index]->warm(c->endpoints[w->index], &w->f->ctx, w->deadline_us, &w->err),
		&w->err);
}

int MAY_WAIT endpoints_warm(struct flip *f, struct err *err)
{
	int n = f->conf->nendpoints, rc = 0;
	struct switcher *w = arena_alloc(f->arena, sizeof(*w) * (size_t)(n + 1));
	struct fiber **fibers = arena_alloc(f->arena, sizeof(*fibers) * (size_t)(n + 1));

	for (int i = 0; i < n; i++) {
		w[i] = (struct switcher){.f = f, .index = i, .deadline_us = flip_deadline(WARM_LIMIT_MS)};
		if (f->cluster->endpoint_ops[i])
			fibers[i] = fiber_spawn("warm", warm_fiber, &w[i]);
	}
	bool cancelled = join_switchers(fibers, n);
	for (int i = 0; i < n && rc == 0; i++) {
		if (w[i].rc == 0 || f->conf->endpoints[i].order != CONF_ORDER_BEFORE_OPEN)
			continue;
		rc = w[i].rc;
		*err = w[i].err;
		err_wrap(err, "it could not be switched, so nothing is closed: %s",
			f->conf->endpoints[i].label);
	}
	return cancelled ? -ECANCELED : rc;
}
