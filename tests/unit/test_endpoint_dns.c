/*
 * test_endpoint_dns: values of the sides as sets, what an answer is taken for, shares of a deadline, and the
 * endpoint before servers that are dead, silent or refuse. (The whole procedure with real servers:
 * tests/live/test_dns.py.)
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

#include "lib/base/arena.h"
#include "lib/base/str.h"
#include "lib/provider/dns_record.h"
#include "tests/unit/peer.h"

static struct conf_endpoint conf;
static const char *values[2][4], *servers[4], *authorities[4];

static void conf_reset(const char *type, const char *source, const char *target)
{
	values[0][0] = source;
	values[1][0] = target;
	servers[0] = "127.0.0.1:1";
	conf = (struct conf_endpoint){.kind = CONF_ENDPOINT_DNS,
		.label = "dns db.example.test.",
		.rr_name = "db.example.test.",
		.zone = "example.test.",
		.type = type,
		.ttl_s = 5,
		.servers = {1, servers},
		.authoritative = {0, authorities},
		.value = {{1, values[0]}, {1, values[1]}}};
}

static void answer(struct dns_answer *a, const char *first, const char *second)
{
	*a = (struct dns_answer){.authoritative = true, .ttl_s = 5};
	if (first)
		(void)str_copy(a->values[a->nvalues++], sizeof(a->values[0]), first);
	if (second)
		(void)str_copy(a->values[a->nvalues++], sizeof(a->values[0]), second);
}

static void test_sets(void **state)
{
	static struct dns_answer a;
	struct dns_record r;
	struct err err = {0};
	char text[64];
	(void)state;

	conf_reset("AAAA", "FD00::2", "fd00::b");
	values[0][1] = "fd00:0::1";
	values[0][2] = "fd00::2";
	conf.value[CONF_SOURCE].n = 3;
	assert_int_equal(dns_record_init(&r, &conf, &err), 0);
	assert_int_equal(r.side[CONF_SOURCE].n, 2);
	assert_string_equal(r.side[CONF_SOURCE].v[0], "fd00::1");
	answer(&a, "fd00::1", "fd00::2");
	assert_int_equal(dns_record_at(&r, &a), ENDPOINT_AT_SOURCE);
	assert_string_equal(dns_record_text(&a, text, sizeof(text)), "fd00::1 fd00::2");
	assert_string_equal(dns_record_text(&a, text, 10), "fd00::1 f");
	answer(&a, "fd00::1", NULL);
	assert_int_equal(dns_record_at(&r, &a), ENDPOINT_AT_OTHER);
	answer(&a, "fd00::b", NULL);
	assert_int_equal(dns_record_at(&r, &a), ENDPOINT_AT_TARGET);
	a.rcode = 3;
	assert_int_equal(dns_record_at(&r, &a), ENDPOINT_AT_OTHER);
	answer(&a, NULL, NULL);
	assert_int_equal(dns_record_at(&r, &a), ENDPOINT_AT_OTHER);
	assert_string_equal(dns_record_text(&a, text, sizeof(text)), "nothing (no record of this type)");
	a.rcode = 3;
	assert_string_equal(dns_record_text(&a, text, sizeof(text)), "nothing (NXDOMAIN)");
	dns_record_free(&r);
}

static void refused(const char *said)
{
	const struct endpoint_ops *ops = registry_endpoint(CONF_ENDPOINT_DNS);
	struct endpoint *ep = NULL;
	struct err err = {0};

	assert_int_equal(ops->create(&conf, &ep, &err), -EINVAL);
	assert_null(ep);
	assert_non_null(strstr(err.message, said));
	assert_non_null(strstr(err.message, conf.label));
}

static void test_create(void **state)
{
	(void)state;
	conf_reset("A", "10.0.0.1", "not an address");
	refused("target: not an address");
	conf_reset("CNAME", "A1.example.test", "a1.example.test.");
	refused("same value");
	conf_reset("MX", "10 a.", "10 b.");
	refused("type MX");
	conf_reset("A", "10.0.0.1", "10.0.0.2");
	conf.servers.n = 0;
	refused("no server");
	conf_reset("A", "10.0.0.1", "10.0.0.2");
	conf.value[CONF_TARGET].n = 0;
	refused("target: between 1 and");
}

static void test_plan(void **state)
{
	const struct endpoint_ops *ops = registry_endpoint(CONF_ENDPOINT_DNS);
	struct endpoint *ep = NULL;
	struct err err = {0};
	char text[200];
	(void)state;

	conf_reset("A", "10.0.0.1", "10.0.0.9");
	values[1][1] = "10.0.0.8";
	conf.value[CONF_TARGET].n = 2;
	conf.tsig_name = "flipd-key.";
	assert_int_equal(ops->create(&conf, &ep, &err), 0);
	ops->plan(ep, CONF_TARGET, text, sizeof(text));
	assert_string_equal(text,
		"update zone example.test. at 127.0.0.1:1: if db.example.test. A is exactly {10.0.0.1}, "
		"replace it by {10.0.0.8 10.0.0.9} with ttl 5, signed by flipd-key.");
	ops->plan(ep, CONF_SOURCE, text, 20);
	assert_int_equal(strlen(text), 19);
	ops->destroy(ep);
}

static int64_t now_us;

static int64_t fake_us(void)
{
	return now_us;
}

static void test_shares(void **state)
{
	(void)state;
	clock_replace(fake_us, NULL);
	now_us = 1000;
	assert_int_equal(dns_record_share(2000, 4), 1250);
	assert_int_equal(dns_record_share(2000, 1), 2000);
	assert_int_equal(dns_record_share(500, 4), 500);
	assert_true(dns_record_share(CLOCK_FOREVER, 4) == CLOCK_FOREVER);
	clock_replace(NULL, NULL);
}

static void test_causes(void **state)
{
	struct err err = {0}, one = {0}, none = {0};
	(void)state;

	dns_record_also(&err, &none);
	assert_int_equal(err.code, 0);
	(void)err_set(&one, -ENOENT, "first");
	dns_record_also(&err, &one);
	dns_record_also(&err, &one);
	dns_record_also(NULL, &one);
	assert_int_equal(err.code, -ENOENT);
	assert_string_equal(err.message, "first; first");
	for (int i = 0; i < 200; i++)
		dns_record_also(&err, &one);
	assert_true(strlen(err.message) < sizeof(err.message));
}

/* Takes updates and refuses them all: rcode 5, unsigned. Datagrams find nobody. */
static void serve_refusals(struct peer *p, int fd)
{
	uint8_t m[600], reply[14] = {0, 12};
	(void)p;

	while (peer_read(fd, m, sizeof(m), 14) > 0) {
		memcpy(reply + 2, m + 2, 2);
		reply[4] = 0xa8;
		reply[5] = 5;
		(void)send(fd, reply, sizeof(reply), MSG_NOSIGNAL);
	}
}

static void dead_and_refusing(void *arg)
{
	const struct endpoint_ops *ops = registry_endpoint(CONF_ENDPOINT_DNS);
	struct endpoint *ep = NULL;
	struct err err = {0};
	struct peer p;
	char dead[32];
	enum endpoint_at at = ENDPOINT_AT_TARGET;
	(void)arg;

	peer_dead_address(dead, sizeof(dead));
	peer_start(&p, serve_refusals);
	conf_reset("A", "10.0.0.1", "10.0.0.2");
	servers[0] = dead;
	servers[1] = p.address;
	conf.servers.n = 2;
	assert_int_equal(ops->create(&conf, &ep, &err), 0);
	assert_int_equal(ops->warm(ep, NULL, peer_deadline_us(1000), &err), ACT_DONE);
	assert_int_equal(ops->switch_to(ep, NULL, CONF_TARGET, peer_deadline_us(1000), &err), ACT_REFUSED);
	/* Each server once, the warm one first, and what it said. */
	assert_non_null(strstr(err.message, p.address));
	assert_non_null(strstr(err.message, dead));
	assert_true(strstr(err.message, p.address) < strstr(err.message, dead));
	assert_null(strstr(strstr(err.message, p.address) + 1, p.address));
	assert_string_equal(err.server, conf.label);
	err_clear(&err);
	assert_int_equal(ops->look(ep, NULL, peer_deadline_us(1000), &at, &err), ACT_UNKNOWN);
	assert_int_equal(at, ENDPOINT_AT_TARGET);
	err_clear(&err);
	assert_int_equal(ops->prove(ep, NULL, peer_deadline_us(1000), &err), ACT_UNKNOWN);
	ops->destroy(ep);
	ops->destroy(NULL);
	peer_stop(&p);
}

static void test_dead_and_refusing(void **state)
{
	(void)state;
	peer_run(dead_and_refusing);
}

/* Reads and never answers. */
static void serve_nothing(struct peer *p, int fd)
{
	uint8_t m[600];
	(void)p;

	while (peer_read(fd, m, sizeof(m), 1) > 0)
		continue;
}

static void switch_it(void *arg)
{
	const struct endpoint_ops *ops = registry_endpoint(CONF_ENDPOINT_DNS);
	struct err err = {0};

	assert_int_equal(ops->switch_to(arg, NULL, CONF_TARGET, peer_deadline_us(400), &err), ACT_UNKNOWN);
}

/* A check and a flip may use one endpoint at the same time: each has a connection of its own. */
static void side_by_side(void *arg)
{
	const struct endpoint_ops *ops = registry_endpoint(CONF_ENDPOINT_DNS);
	struct endpoint *ep = NULL;
	struct err err = {0};
	struct peer p;
	(void)arg;

	peer_start(&p, serve_nothing);
	conf_reset("A", "10.0.0.1", "10.0.0.2");
	servers[0] = p.address;
	assert_int_equal(ops->create(&conf, &ep, &err), 0);
	assert_int_equal(ops->warm(ep, NULL, peer_deadline_us(1000), &err), ACT_DONE);
	struct fiber *a = fiber_spawn("a", switch_it, ep), *b = fiber_spawn("b", switch_it, ep);
	assert_int_equal(fiber_sleep_ms(20), 0);
	assert_int_equal(p.connections, 2);
	assert_int_equal(ops->warm(ep, NULL, peer_deadline_us(1000), &err), ACT_DONE);
	fiber_join(a);
	fiber_join(b);
	assert_true(p.connections >= 3);
	ops->destroy(ep);
	peer_stop(&p);
}

static void test_side_by_side(void **state)
{
	(void)state;
	peer_run(side_by_side);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sets),
		cmocka_unit_test(test_create),
		cmocka_unit_test(test_plan),
		cmocka_unit_test(test_shares),
		cmocka_unit_test(test_causes),
		cmocka_unit_test(test_dead_and_refusing),
		cmocka_unit_test(test_side_by_side),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
