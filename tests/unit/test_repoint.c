/* test_repoint: what a flip left is done no further once it is cancelled, also while a replica does not
 * answer. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "lib/base/arena.h"
#include "lib/flip/flip_priv.h"
#include "lib/io/work.h"
#include "tests/unit/peer.h"

static bool kept;

static void follow_fiber(void *arg)
{
	assert_null(flip_follow_up(arg));
	kept = fiber_cancelled();
}

/* It waits, ends at the cancel, keeps that for its caller, and nothing is taken for done. */
static void expect_stopped(struct flip *f)
{
	struct fiber *fiber = fiber_spawn("follow up", follow_fiber, f);

	for (int i = 0; i < 10; i++)
		(void)fiber_yield();
	assert_false(fiber_done(fiber));
	kept = false;
	fiber_stop(fiber);
	assert_true(kept);
	assert_true(flip_left(f));
}

static void body_cancelled(void *arg)
{
	struct conf_server server = {.name = "reports", .host = (char[]){"127.0.0.1"}};
	struct conf_cluster conf = {.name = "a", .nreplicas = 1, .replicas = &server};
	struct cluster_server *replica = xcalloc(1, sizeof(*replica));
	struct cluster *c = xcalloc(1, sizeof(*c));
	struct flip *f = xcalloc(1, sizeof(*f));
	bool follows = false;
	struct peer p;
	(void)arg;

	assert_int_equal(work_init(), 0);
	peer_start(&p, NULL);
	server.port = p.port;
	server.account.user = (char[]){"flipd"};
	replica->node = node_new(&server, conf.name, "flipd");
	c->conf = f->conf = &conf;
	c->replicas = replica;
	f->cluster = c;
	f->follows = &follows;
	f->outcome = FLIP_DONE;
	expect_stopped(f);
	peer_stop(&p);
	(void)work_free();
	node_free(replica->node);
	free(replica);
	free(f);
	free(c);
}

static enum act MAY_WAIT switch_for_ever(struct endpoint *e, const struct provider_ctx *ctx,
	enum conf_side to, int64_t deadline_us, struct err *err)
{
	(void)e, (void)ctx, (void)to, (void)deadline_us;
	while (fiber_sleep_ms(1000) == 0)
		;
	err_set(err, -ECANCELED, "cancelled");
	return ACT_UNKNOWN;
}

/* The same while an endpoint of after_open does not answer. */
static void body_endpoint_cancelled(void *arg)
{
	static const struct endpoint_ops ops = {.kind = CONF_ENDPOINT_DNS, .switch_to = switch_for_ever};
	const struct endpoint_ops *all[] = {&ops};
	struct endpoint *none[] = {NULL};
	struct conf_endpoint endpoint = {.order = CONF_ORDER_AFTER_OPEN, .label = "dns db."};
	struct conf_cluster conf = {.name = "a", .nendpoints = 1, .endpoints = &endpoint};
	struct flip_end_state end = {.state = EP_FAILED};
	struct cluster *c = xcalloc(1, sizeof(*c));
	struct flip *f = xcalloc(1, sizeof(*f));
	(void)arg;

	c->conf = f->conf = &conf;
	c->endpoints = none;
	c->endpoint_ops = all;
	c->side[CONF_TARGET].facts.up = c->side[CONF_SOURCE].facts.up = true;
	c->side[CONF_SOURCE].facts.read_only = true;
	f->cluster = c;
	f->to = CONF_TARGET;
	f->ends = &end;
	f->outcome = FLIP_DONE;
	expect_stopped(f);
	free(f);
	free(c);
}

static void test_endpoint_cancelled(void **state)
{
	(void)state;
	peer_run(body_endpoint_cancelled);
}

static void test_cancelled(void **state)
{
	(void)state;
	peer_run(body_cancelled);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cancelled),
		cmocka_unit_test(test_endpoint_cancelled),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
