/* test_probe: the probe that goes where the endpoint points is stopped while a write of its waits for an
 * answer; one whose account is refused, and one whose flip settles for long, leave the servers alone. Servers
 * and sessions are the test's own. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "lib/base/arena.h"
#include "lib/cluster/cluster.h"
#include "tests/unit/peer.h"

struct session {
	struct session_mark mark;
	bool busy;
};

static struct fiber_cond never;
static enum conf_side pointing;
static int writing, writes, opened, closed, tried;
static bool refused;

int MAY_WAIT session_open(struct node *node, enum session_role role, const struct conf_account *as,
	int64_t deadline_us, struct session **ret, struct err *err)
{
	(void)node, (void)role, (void)as, (void)deadline_us, (void)err;
	tried++;
	if (refused)
		return err_set(err, -EACCES, "Too many connections");
	*ret = xcalloc(1, sizeof(**ret));
	opened++;
	return 0;
}

void session_close(struct session *s)
{
	if (!s)
		return;
	assert_false(s->busy);
	closed++;
	free(s);
}

bool session_alive(const struct session *s)
{
	(void)s;
	return !refused;
}

const struct session_mark *session_get_mark(const struct session *s)
{
	return &s->mark;
}

/* Answered at once where the old master is, never on the new one. */
enum act MAY_WAIT node_probe_write(struct session *s, uint64_t seq, int64_t deadline_us, struct err *err)
{
	(void)seq, (void)err;
	writes++;
	if (pointing == CONF_TARGET)
		return ACT_DONE;
	s->busy = true;
	writing++;
	(void)fiber_cond_wait(&never, deadline_us);
	s->busy = false;
	return ACT_UNKNOWN;
}

static enum act look(struct endpoint *e, const struct provider_ctx *ctx, int64_t deadline_us,
	enum endpoint_at *ret, struct err *err)
{
	(void)e, (void)ctx, (void)deadline_us, (void)err;
	*ret = (enum endpoint_at)pointing;
	return ACT_DONE;
}

static void body_stopped_as_it_writes(void *arg)
{
	static const struct endpoint_ops dns = {.kind = CONF_ENDPOINT_DNS, .look = look};
	struct conf_endpoint endpoint = {.kind = CONF_ENDPOINT_DNS};
	struct conf_cluster conf = {.name = "a", .nendpoints = 1, .endpoints = &endpoint};
	const struct endpoint_ops *ops[] = {&dns};
	struct endpoint *endpoints[] = {NULL};
	struct cluster *c = xcalloc(1, sizeof(*c));
	struct probe *probe = NULL;
	struct probe_result result;
	struct err err = {0};
	(void)arg;

	conf.policy.probe_via = CONF_VIA_ENDPOINT;
	conf.policy.fence_probe.user = (char[]){"probe"};
	conf.policy.probe_interval_us = 1000;
	c->conf = &conf;
	c->endpoint_ops = ops;
	c->endpoints = endpoints;
	pointing = CONF_TARGET;
	refused = false;
	tried = opened = closed = 0;
	assert_int_equal(probe_start(c, CONF_TARGET, &probe, &err), 0);
	assert_non_null(probe);
	probe_allow(probe, CONF_SOURCE, true);
	pointing = CONF_SOURCE;
	for (int i = 0; i < 1000 && !writing; i++)
		(void)fiber_sleep_ms(1);
	assert_int_equal(writing, 1);
	probe_stop(probe, &result);
	assert_true(result.writes > 0);
	assert_int_equal(opened, 2);
	assert_int_equal(closed, 2);
	free(c);
}

static void test_stopped_as_it_writes(void **state)
{
	(void)state;
	peer_run(body_stopped_as_it_writes);
}

static struct probe *MAY_WAIT probe_of_servers(struct cluster *c, struct conf_cluster *conf)
{
	struct probe *probe = NULL;
	struct err err = {0};

	conf->name = "a";
	conf->policy.probe_via = CONF_VIA_SERVERS;
	conf->policy.fence_probe.user = (char[]){"probe"};
	conf->policy.probe_interval_us = 1000;
	c->conf = conf;
	pointing = CONF_TARGET; /* so every write is answered */
	refused = false;
	tried = opened = closed = 0;
	assert_int_equal(probe_start(c, CONF_SOURCE, &probe, &err), 0);
	return probe;
}

/* Its session was cut and it cannot log in again: it does not ask at every interval. */
static void body_refused(void *arg)
{
	struct conf_cluster *conf = xcalloc(1, sizeof(*conf));
	struct cluster *c = xcalloc(1, sizeof(*c));
	struct probe *probe = probe_of_servers(c, conf);
	(void)arg;

	assert_int_equal(tried, 2);
	refused = true;
	assert_int_equal(fiber_sleep_ms(450), 0);
	assert_in_range(tried, 3, 2 + 6);
	refused = false;
	int before = opened;
	for (int i = 0; i < 1000 && opened == before; i++)
		assert_int_equal(fiber_sleep_ms(1), 0);
	assert_int_equal(opened, before + 1);
	probe_stop(probe, NULL);
	assert_int_equal(closed, opened);
	free(c);
	free(conf);
}

static void test_refused(void **state)
{
	(void)state;
	peer_run(body_refused);
}

/* New has taken its write: a moment later nothing is written any more. */
static void body_settles(void *arg)
{
	struct conf_cluster *conf = xcalloc(1, sizeof(*conf));
	struct cluster *c = xcalloc(1, sizeof(*c));
	struct probe *probe = probe_of_servers(c, conf);
	struct probe_result result;
	(void)arg;

	probe_allow(probe, CONF_SOURCE, false);
	probe_allow(probe, CONF_TARGET, true);
	probe_await_new(probe, peer_deadline_us(2000));
	assert_true(probe_seen_new(probe));
	assert_int_equal(fiber_sleep_ms(1100), 0);
	int before = writes;
	assert_int_equal(fiber_sleep_ms(100), 0);
	assert_int_equal(writes, before);
	probe_stop(probe, &result);
	assert_true(result.first_new_us > result.last_old_us);
	free(c);
	free(conf);
}

static void test_settles(void **state)
{
	(void)state;
	peer_run(body_settles);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_settles),
		cmocka_unit_test(test_stopped_as_it_writes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
