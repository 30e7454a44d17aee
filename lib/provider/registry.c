/* registry: the only list of adapters. A new one is its own .c file and one line here. */
#include "lib/provider/provider.h"

#define ENDPOINTS(X)                                                                                         \
	X(CONF_ENDPOINT_DNS, endpoint_dns)                                                                   \
	X(CONF_ENDPOINT_HOOK, endpoint_hook)

#define FENCES(X) X(CONF_FENCE_HOOK, fence_hook)

#define DECLARE_ENDPOINT(k, ops) extern const struct endpoint_ops ops;
#define DECLARE_FENCE(k, ops) extern const struct fence_ops ops;
#define ROW(k, ops) [k] = &(ops),

ENDPOINTS(DECLARE_ENDPOINT)
FENCES(DECLARE_FENCE)

static const struct endpoint_ops *const endpoints[] = {ENDPOINTS(ROW)};
static const struct fence_ops *const fences[] = {FENCES(ROW)};

const struct endpoint_ops *registry_endpoint(enum conf_endpoint_kind kind)
{
	return (size_t)kind < COUNT_OF(endpoints) ? endpoints[kind] : NULL;
}

const struct fence_ops *registry_fence(enum conf_fence_kind kind)
{
	return (size_t)kind < COUNT_OF(fences) ? fences[kind] : NULL;
}
