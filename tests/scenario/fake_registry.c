/*
 * fake_registry: the endpoint (a name whose value is changed by compare-and-swap), the hook fence and hooks,
 * all in memory; each a call of flipd's that can go wrong.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/provider/provider.h"
#include "tests/scenario/fake_loop.h"
#include "tests/scenario/world.h"

#define ANSWER_US 400

struct hook_fail hook_fail;
int endpoint_lost, endpoint_silent;
int hooks_ran;

struct endpoint {
	int unused;
};

/* One call: how it ended, and whether its effect is to come. */
static enum act MAY_WAIT call(
	const char *what, const char *where, int64_t deadline_us, enum fault *ret, struct err *err)
{
	enum fault fault = flipd_calls(what, where);
	int64_t late_us = flipd_waits_us(what, where);
	int rc;

	*ret = fault;
	if (fault == FAULT_REFUSED) {
		err_set(err, -EIO, "%s: refused (a fault)", what);
		return ACT_REFUSED;
	}
	if (fault == FAULT_HANGS || (late_us && clock_us() + late_us > deadline_us)) {
		rc = fiber_sleep_us(deadline_us - clock_us());
		err_set(err, rc < 0 ? rc : -ETIMEDOUT, "%s: no answer", what);
		return ACT_UNKNOWN;
	}
	rc = fiber_sleep_us(jitter_us(ANSWER_US) + late_us);
	if (rc < 0) {
		err_set(err, rc, "%s: cancelled", what);
		return ACT_UNKNOWN;
	}
	return ACT_DONE;
}

/* After the effect. */
static enum act MAY_WAIT answer(const char *what, enum fault fault, int64_t deadline_us, struct err *err)
{
	int rc;

	if (fault == FAULT_CRASH_SENT)
		flipd_crash(false);
	fault_after(fault);
	if (fault != FAULT_REPLY_LOST && fault != FAULT_LATE)
		return ACT_DONE;
	rc = fiber_sleep_us(deadline_us - clock_us());
	err_set(err, rc < 0 ? rc : -ETIMEDOUT, "%s: the answer is lost", what);
	return ACT_UNKNOWN;
}

static int ep_create(const struct conf_endpoint *conf, struct endpoint **ret, struct err *err)
{
	(void)conf;
	(void)err;
	*ret = xcalloc(1, sizeof(**ret));
	return 0;
}

static void ep_destroy(struct endpoint *e)
{
	free(e);
}

static enum act ep_warm(
	struct endpoint *e, const struct provider_ctx *ctx, int64_t deadline_us, struct err *err)
{
	enum fault fault;
	enum act act = call("endpoint warm", "dns", deadline_us, &fault, err);

	(void)e;
	(void)ctx;
	return act == ACT_DONE ? answer("endpoint warm", fault, deadline_us, err) : act;
}

static enum act ep_look(struct endpoint *e, const struct provider_ctx *ctx, int64_t deadline_us,
	enum endpoint_at *ret, struct err *err)
{
	enum fault fault;
	enum act act = call("endpoint look", "dns", deadline_us, &fault, err);

	(void)e;
	(void)ctx;
	if (act != ACT_DONE)
		return act;
	*ret = (enum endpoint_at)w.endpoint;
	if (w.endpoint == ENDPOINT_AT_OTHER)
		err_set(err, -ESTALE, "192.0.2.99");
	return answer("endpoint look", fault, deadline_us, err);
}

static enum act ep_prove(
	struct endpoint *e, const struct provider_ctx *ctx, int64_t deadline_us, struct err *err)
{
	enum fault fault;
	enum act act = call("endpoint prove", "dns", deadline_us, &fault, err);

	(void)e;
	(void)ctx;
	return act == ACT_DONE ? answer("endpoint prove", fault, deadline_us, err) : act;
}

static void spread(void *arg)
{
	(void)arg;
	w.endpoint_spread = w.endpoint;
}

static enum act ep_switch(struct endpoint *e, const struct provider_ctx *ctx, enum conf_side to,
	int64_t deadline_us, struct err *err)
{
	enum fault fault;
	if (w.rehearsal)
		violation("a rehearsal switches an endpoint");
	enum act act = call("endpoint switch", conf_side_name(to), deadline_us, &fault, err);

	(void)e;
	(void)ctx;
	if (act != ACT_DONE)
		return act;
	if (endpoint_silent > 0) {
		endpoint_silent--;
		err_set(err, -ECONNRESET, "endpoint switch: the connection is lost");
		return ACT_UNKNOWN;
	}
	if (w.endpoint == ENDPOINT_AT_OTHER) {
		err_set(err, -ESTALE, "a third value stands there: 192.0.2.99");
		return ACT_REFUSED;
	}
	if (w.endpoint != (int)to) {
		note("endpoint: switched to %s", conf_side_name(to));
		w.endpoint = (int)to;
		vtime_at(vtime_us() + w.spread_us, spread, NULL);
	}
	if (endpoint_lost > 0) {
		endpoint_lost--;
		fault = FAULT_REPLY_LOST;
		deadline_us = deadline_us < clock_us() + 200000 ? deadline_us : clock_us() + 200000;
	}
	return answer("endpoint switch", fault, deadline_us, err);
}

static enum act ep_spread(struct endpoint *e, const struct provider_ctx *ctx, enum conf_side to,
	int64_t deadline_us, struct err *err)
{
	enum fault fault;
	enum act act = call("endpoint spread", "dns", deadline_us, &fault, err);

	(void)e;
	(void)ctx;
	if (act != ACT_DONE)
		return act;
	if (w.endpoint_spread != (int)to) {
		err_set(err, -EAGAIN, "ns2 still shows the other side");
		return ACT_REFUSED;
	}
	return answer("endpoint spread", fault, deadline_us, err);
}

static void ep_plan(const struct endpoint *e, enum conf_side to, char *buf, size_t size)
{
	(void)e;
	str_copy(buf, size, conf_side_name(to));
}

static const struct endpoint_ops endpoint_ops = {.kind = CONF_ENDPOINT_DNS,
	.type = "dns",
	.create = ep_create,
	.destroy = ep_destroy,
	.warm = ep_warm,
	.look = ep_look,
	.prove = ep_prove,
	.switch_to = ep_switch,
	.spread = ep_spread,
	.plan_kind = "dns",
	.plan = ep_plan};

const struct endpoint_ops *registry_endpoint(enum conf_endpoint_kind kind)
{
	return kind == CONF_ENDPOINT_DNS || kind == CONF_ENDPOINT_HOOK ? &endpoint_ops : NULL;
}

/* --- a fence outside the server: it stops new connections of applications --- */

/* Which server a hook is for, by its path: these are programs that preflight finds, and nobody runs. */
static struct server *fenced_by(const struct conf_fence *fence)
{
	return &w.server[strcmp(fence->hook_path, FENCE_HOOK_SOURCE) != 0];
}

static enum act MAY_WAIT fence_call(const char *what, const struct conf_fence *fence, enum fault *ret,
	int64_t deadline_us, struct err *err)
{
	return call(what, fenced_by(fence)->name, deadline_us, ret, err);
}

static enum act fence_check(
	const struct conf_fence *fence, const struct provider_ctx *ctx, int64_t deadline_us, struct err *err)
{
	enum fault fault;

	(void)ctx;
	return fence_call("fence check", fence, &fault, deadline_us, err);
}

static enum act MAY_WAIT fence_set(
	const char *what, const struct conf_fence *fence, bool closed, int64_t deadline_us, struct err *err)
{
	enum fault fault;
	enum act act = fence_call(what, fence, &fault, deadline_us, err);

	if (act != ACT_DONE)
		return act;
	note("%s: its outer fence is %s", fenced_by(fence)->name, closed ? "closed" : "open");
	fenced_by(fence)->outer_closed = closed;
	return answer(what, fault, deadline_us, err);
}

static enum act fence_close(
	const struct conf_fence *fence, const struct provider_ctx *ctx, int64_t deadline_us, struct err *err)
{
	(void)ctx;
	return fence_set("fence close", fence, true, deadline_us, err);
}

static enum act fence_open(
	const struct conf_fence *fence, const struct provider_ctx *ctx, int64_t deadline_us, struct err *err)
{
	(void)ctx;
	return fence_set("fence open", fence, false, deadline_us, err);
}

static enum act fence_verify(
	const struct conf_fence *fence, const struct provider_ctx *ctx, int64_t deadline_us, struct err *err)
{
	enum fault fault;
	enum act act = fence_call("fence verify", fence, &fault, deadline_us, err);

	(void)ctx;
	if (act != ACT_DONE)
		return act;
	if (fenced_by(fence)->outer_closed)
		return ACT_DONE;
	err_set(err, -EPERM, "exit status 1: open");
	return ACT_REFUSED;
}

static const struct fence_ops fence_ops = {.kind = CONF_FENCE_HOOK,
	.check = fence_check,
	.close = fence_close,
	.verify = fence_verify,
	.open = fence_open};

const struct fence_ops *registry_fence(enum conf_fence_kind kind)
{
	return kind == CONF_FENCE_HOOK ? &fence_ops : NULL;
}

enum act MAY_WAIT hook_run(const char *path, const char *action, const struct provider_ctx *ctx,
	int64_t deadline_us, struct err *err)
{
	enum fault fault;
	if (w.rehearsal && strcmp(action, "on_stuck") != 0)
		violation("a rehearsal runs the hook %s", action);
	enum act act = call("hook", action, deadline_us, &fault, err);

	(void)path;
	(void)ctx;
	if (act != ACT_DONE)
		return act;
	note("hook %s", action);
	hooks_ran++;
	if (hook_fail.action && !strcmp(hook_fail.action, action)) {
		err_set(err, -EIO, "exit status 1: not now");
		return ACT_REFUSED;
	}
	return answer("hook", fault, deadline_us, err);
}
