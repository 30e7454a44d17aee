/*
 * fence_hook: a fence that a program or URL of the operator closes and opens: actions check, close, verify,
 * open. Exit 0 of `verify` proves that it is closed.
 */
#include "lib/base/clock.h"
#include "lib/provider/provider.h"

static enum act MAY_WAIT call(const struct conf_fence *fence, const char *action,
	const struct provider_ctx *ctx, int64_t deadline_us, struct err *err)
{
	int64_t own_us = clock_us() + fence->hook_timeout_ms * 1000;
	int64_t until_us = fence->hook_timeout_ms > 0 && own_us < deadline_us ? own_us : deadline_us;

	return hook_run(fence->hook_path, action, ctx, until_us, err);
}

static enum act MAY_WAIT fence_check(
	const struct conf_fence *fence, const struct provider_ctx *ctx, int64_t deadline_us, struct err *err)
{
	return call(fence, "check", ctx, deadline_us, err);
}

static enum act MAY_WAIT fence_close(
	const struct conf_fence *fence, const struct provider_ctx *ctx, int64_t deadline_us, struct err *err)
{
	return call(fence, "close", ctx, deadline_us, err);
}

static enum act MAY_WAIT fence_verify(
	const struct conf_fence *fence, const struct provider_ctx *ctx, int64_t deadline_us, struct err *err)
{
	return call(fence, "verify", ctx, deadline_us, err);
}

static enum act MAY_WAIT fence_open(
	const struct conf_fence *fence, const struct provider_ctx *ctx, int64_t deadline_us, struct err *err)
{
	return call(fence, "open", ctx, deadline_us, err);
}

extern const struct fence_ops fence_hook; /* for registry.c */
const struct fence_ops fence_hook = {
	.kind = CONF_FENCE_HOOK,
	.check = fence_check,
	.close = fence_close,
	.verify = fence_verify,
	.open = fence_open,
};
