/*
 * endpoint_hook: a proxy, or anything else, switched by a program or URL of the operator: actions check,
 * switch, verify, revert, each of which may be called more than once.
 *
 * Where it points is asked with `verify`, once for each side: FLIPD_TO is the side asked for, and OLD and NEW
 * follow it, so that one script serves every direction.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/base/arena.h"
#include "lib/base/clock.h"
#include "lib/provider/provider.h"

struct endpoint {
	const struct conf_endpoint *conf;
};

static int hook_create(const struct conf_endpoint *conf, struct endpoint **ret, struct err *err)
{
	if (!conf->path)
		return err_set(err, -EINVAL, "%s: no path", conf->label);
	struct endpoint *ep = xcalloc(1, sizeof(*ep));
	ep->conf = conf;
	*ret = ep;
	return 0;
}

static void hook_destroy(struct endpoint *ep)
{
	free(ep);
}

/* One call, within the hook's own time-out as well. */
static enum act MAY_WAIT call(const struct endpoint *ep, const char *action, const struct provider_ctx *ctx,
	int64_t deadline_us, struct err *err)
{
	int64_t own_us = clock_us() + ep->conf->timeout_ms * 1000;
	int64_t until_us = ep->conf->timeout_ms > 0 && own_us < deadline_us ? own_us : deadline_us;
	enum act act = hook_run(ep->conf->path, action, ctx, until_us, err);

	if (act != ACT_DONE)
		err_server(err, ep->conf->label);
	return act;
}

/* verify for one side, as if the flip went there. */
static enum act MAY_WAIT verify_side(const struct endpoint *ep, const struct provider_ctx *ctx,
	enum conf_side side, int64_t deadline_us, struct err *err)
{
	struct provider_ctx asked = *ctx;

	if (ctx->to != side) {
		asked.from = ctx->to;
		asked.to = side;
		asked.old_server = ctx->new_server;
		asked.new_server = ctx->old_server;
	}
	return call(ep, "verify", &asked, deadline_us, err);
}

static enum act hook_warm(
	struct endpoint *ep, const struct provider_ctx *ctx, int64_t deadline_us, struct err *err)
{
	(void)ep, (void)ctx, (void)deadline_us, (void)err;
	return ACT_DONE;
}

static enum act MAY_WAIT hook_look(struct endpoint *ep, const struct provider_ctx *ctx, int64_t deadline_us,
	enum endpoint_at *ret, struct err *err)
{
	struct err one = {0};
	enum act act = verify_side(ep, ctx, CONF_TARGET, deadline_us, &one);
	enum endpoint_at at = ENDPOINT_AT_TARGET;

	if (act == ACT_REFUSED) {
		err_clear(&one);
		at = ENDPOINT_AT_SOURCE;
		act = verify_side(ep, ctx, CONF_SOURCE, deadline_us, &one);
	}
	if (act == ACT_REFUSED) {
		at = ENDPOINT_AT_OTHER;
		act = ACT_DONE;
		err_wrap(&one, "points to neither side");
	}
	if (one.code) {
		(void)err_set(err, one.code, "%s", one.message);
		err_server(err, ep->conf->label);
	}
	if (act == ACT_DONE)
		*ret = at;
	return act;
}

static enum act MAY_WAIT hook_prove(
	struct endpoint *ep, const struct provider_ctx *ctx, int64_t deadline_us, struct err *err)
{
	return call(ep, "check", ctx, deadline_us, err);
}

/* The flip's own direction is `switch`, the way back `revert`, both told the flip's FROM and TO. */
static enum act MAY_WAIT hook_switch_to(struct endpoint *ep, const struct provider_ctx *ctx,
	enum conf_side to, int64_t deadline_us, struct err *err)
{
	return call(ep, to == ctx->to ? "switch" : "revert", ctx, deadline_us, err);
}

static enum act MAY_WAIT hook_spread(struct endpoint *ep, const struct provider_ctx *ctx, enum conf_side to,
	int64_t deadline_us, struct err *err)
{
	return verify_side(ep, ctx, to, deadline_us, err);
}

static void hook_plan(const struct endpoint *ep, enum conf_side to, char *buf, size_t size)
{
	char name[200];

	(void)snprintf(buf, size, "FLIPD_ACTION=switch FLIPD_TO=%s %s", conf_side_name(to),
		conf_hook_name(ep->conf->path, name, sizeof(name)));
}

extern const struct endpoint_ops endpoint_hook; /* for registry.c */
const struct endpoint_ops endpoint_hook = {
	.kind = CONF_ENDPOINT_HOOK,
	.type = "hook",
	.create = hook_create,
	.destroy = hook_destroy,
	.warm = hook_warm,
	.look = hook_look,
	.prove = hook_prove,
	.switch_to = hook_switch_to,
	.spread = hook_spread,
	.plan_kind = "exec",
	.plan = hook_plan,
};
