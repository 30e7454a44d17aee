/*
 * test_endpoint_late: the dns endpoint before a name server of our own that stood still while an update came,
 * and carries it out after it has answered the way back: the record must not be left at the side that the
 * flip had given up.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

#include "lib/provider/provider.h"
#include "tests/unit/peer.h"

enum { OPCODE_QUERY, OPCODE_UPDATE = 5, RCODE_SERVFAIL = 2, RCODE_NXRRSET = 8 };
enum { AT_SOURCE = 1, AT_TARGET = 2 }; /* the last byte of either side's address */

static struct {
	struct peer peer;
	int udp, stands;
	bool frozen, fails, forwards; /* fails: SERVFAIL, with the effect when it forwards */
	int updates;
	struct fiber *answers;
} ns;

static const struct provider_ctx forth = {.cluster = "c", .from = CONF_SOURCE, .to = CONF_TARGET};
static const char *source_value[] = {"10.0.0.1"}, *target_value[] = {"10.0.0.2"}, *servers[2];
static struct conf_endpoint conf = {.kind = CONF_ENDPOINT_DNS,
	.label = "dns db.example.test.",
	.rr_name = "db.example.test.",
	.zone = "example.test.",
	.type = "A",
	.ttl_s = 5,
	.value = {{1, source_value}, {1, target_value}}};

/* The update's last record is the new value, and its prerequisite the other side's. */
static void serve_update(struct peer *p, int fd)
{
	uint8_t m[2000], reply[14] = {0, 12};
	ssize_t n;
	(void)p;

	while ((n = peer_read(fd, m, sizeof(m), 14)) > 0) {
		int value = m[n - 1];
		bool holds = ns.stands != value;
		if (ns.frozen)
			return;
		ns.updates++;
		memcpy(reply + 2, m + 2, 2);
		reply[4] = 0x80 | OPCODE_UPDATE << 3;
		reply[5] = ns.fails ? RCODE_SERVFAIL : holds ? 0 : RCODE_NXRRSET;
		if (holds && (!ns.fails || ns.forwards))
			ns.stands = value;
		(void)send(fd, reply, sizeof(reply), MSG_NOSIGNAL);
	}
}

static void serve_questions(void *arg)
{
	static const uint8_t record[] = {0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4, 10, 0, 0};
	(void)arg;

	while (fiber_wait_fd(ns.udp, LOOP_READ, CLOCK_FOREVER) > 0) {
		struct sockaddr_in from;
		socklen_t len = sizeof(from);
		uint8_t m[600];
		ssize_t n = recvfrom(ns.udp, m, 512, 0, (struct sockaddr *)&from, &len);
		if (n < 12 || ns.frozen)
			continue;
		m[2] = 0x84;
		m[3] = 0;
		m[7] = 1;
		memcpy(m + n, record, sizeof(record));
		m[(size_t)n + sizeof(record)] = (uint8_t)ns.stands;
		(void)sendto(ns.udp, m, (size_t)n + sizeof(record) + 1, 0, (struct sockaddr *)&from, len);
	}
}

static void ns_start(void)
{
	struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

	ns.stands = AT_SOURCE;
	peer_start(&ns.peer, serve_update);
	addr.sin_port = htons(ns.peer.port);
	ns.udp = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	assert_true(ns.udp >= 0);
	assert_int_equal(bind(ns.udp, (struct sockaddr *)&addr, sizeof(addr)), 0);
	ns.answers = fiber_spawn("name server", serve_questions, NULL);
	servers[0] = ns.peer.address;
	conf.servers = (struct conf_list){1, servers};
}

static void ns_stop(void)
{
	fiber_stop(ns.answers);
	peer_stop(&ns.peer);
	(void)close(ns.udp);
}

/* The update that it had read before it stood still. */
static void carry_out(void *arg)
{
	assert_int_equal(fiber_sleep_ms(*(int *)arg), 0);
	if (ns.stands == AT_SOURCE)
		ns.stands = AT_TARGET;
}

static void late(void *arg)
{
	const struct endpoint_ops *ops = registry_endpoint(CONF_ENDPOINT_DNS);
	struct endpoint *ep = NULL;
	struct err err = {0};
	enum act act = ACT_UNKNOWN;

	ns_start();
	assert_int_equal(ops->create(&conf, &ep, &err), 0);
	ns.frozen = true;
	assert_int_equal(ops->switch_to(ep, &forth, CONF_TARGET, peer_deadline_us(300), &err), ACT_UNKNOWN);
	ns.frozen = false;
	struct fiber *update = fiber_spawn("update", carry_out, arg);
	for (int tries = 0; tries < 3 && act != ACT_DONE; tries++) {
		err_clear(&err);
		act = ops->switch_to(ep, &forth, CONF_SOURCE, peer_deadline_us(5000), &err);
	}
	assert_int_equal(act, ACT_DONE);
	fiber_join(update);
	assert_int_equal(ns.stands, AT_SOURCE);
	ops->destroy(ep);
	ns_stop();
}

static void late_after_the_answer(void *arg)
{
	int ms = 150;
	(void)arg;

	late(&ms);
}

static void test_late_after_the_answer(void **state)
{
	(void)state;
	peer_run(late_after_the_answer);
}

/* Nothing is waited for on the way to new, which is in the blackout, nor back where every update was
 * answered. */
static void answered(void *arg)
{
	const struct endpoint_ops *ops = registry_endpoint(CONF_ENDPOINT_DNS);
	struct endpoint *ep = NULL;
	struct err err = {0};
	(void)arg;

	ns_start();
	ns.updates = 0;
	assert_int_equal(ops->create(&conf, &ep, &err), 0);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(
			ops->switch_to(ep, &forth, CONF_TARGET, peer_deadline_us(5000), &err), ACT_DONE);
		assert_int_equal(ns.stands, AT_TARGET);
		assert_int_equal(
			ops->switch_to(ep, &forth, CONF_SOURCE, peer_deadline_us(5000), &err), ACT_DONE);
		assert_int_equal(ns.stands, AT_SOURCE);
	}
	assert_int_equal(ns.updates, 4); /* after the wait one more would be sent */
	ops->destroy(ep);
	ns_stop();
}

static void test_answered(void **state)
{
	(void)state;
	peer_run(answered);
}

/* An earlier life may have sent an update right before it died. */
static void earlier_life(void *arg)
{
	const struct endpoint_ops *ops = registry_endpoint(CONF_ENDPOINT_DNS);
	struct endpoint *ep = NULL;
	struct err err = {0};
	int ms = 150;
	(void)arg;

	ns_start();
	assert_int_equal(ops->create(&conf, &ep, &err), 0);
	struct fiber *update = fiber_spawn("update", carry_out, &ms);
	assert_int_equal(ops->switch_to(ep, &forth, CONF_SOURCE, peer_deadline_us(5000), &err), ACT_DONE);
	fiber_join(update);
	assert_int_equal(ns.stands, AT_SOURCE);
	ops->destroy(ep);
	ns_stop();
}

static void test_earlier_life(void **state)
{
	(void)state;
	peer_run(earlier_life);
}

/* SERVFAIL by a server that had passed the update on, and by one that cannot carry it out. */
static void fails(void *arg)
{
	const struct endpoint_ops *ops = registry_endpoint(CONF_ENDPOINT_DNS);
	struct endpoint *ep = NULL;
	struct err err = {0};
	(void)arg;

	ns_start();
	assert_int_equal(ops->create(&conf, &ep, &err), 0);
	ns.fails = ns.forwards = true;
	assert_int_equal(ops->switch_to(ep, &forth, CONF_TARGET, peer_deadline_us(3000), &err), ACT_DONE);
	ns.forwards = false;
	ns.updates = 0;
	assert_int_equal(ops->switch_to(ep, &forth, CONF_SOURCE, peer_deadline_us(3000), &err), ACT_REFUSED);
	assert_non_null(strstr(err.message, "SERVFAIL"));
	assert_int_equal(ns.updates, 2);
	assert_int_equal(ns.stands, AT_TARGET);
	ns.fails = false;
	ops->destroy(ep);
	ns_stop();
}

static void test_fails(void **state)
{
	(void)state;
	peer_run(fails);
}

/* It had passed the update on; the next server in the list is dead, or refuses, and says nothing about that.
 */
static void fails_before_a_dead_one(void *arg)
{
	const struct endpoint_ops *ops = registry_endpoint(CONF_ENDPOINT_DNS);
	struct endpoint *ep = NULL;
	struct err err = {0};
	char dead[32];
	(void)arg;

	peer_dead_address(dead, sizeof(dead));
	ns_start();
	servers[1] = dead;
	conf.servers.n = 2;
	assert_int_equal(ops->create(&conf, &ep, &err), 0);
	ns.fails = ns.forwards = true;
	assert_int_equal(ops->switch_to(ep, &forth, CONF_TARGET, peer_deadline_us(3000), &err), ACT_DONE);
	assert_int_equal(ns.stands, AT_TARGET);
	ns.stands = AT_SOURCE;
	ns.forwards = false; /* it arrives after the way back */
	err_clear(&err);
	assert_int_equal(ops->switch_to(ep, &forth, CONF_TARGET, peer_deadline_us(3000), &err), ACT_REFUSED);
	ns.fails = false;
	int ms = 150;
	struct fiber *update = fiber_spawn("update", carry_out, &ms);
	assert_int_equal(ops->switch_to(ep, &forth, CONF_SOURCE, peer_deadline_us(5000), &err), ACT_DONE);
	fiber_join(update);
	assert_int_equal(ns.stands, AT_SOURCE);
	conf.servers.n = 1;
	ops->destroy(ep);
	ns_stop();
}

static void test_fails_before_a_dead_one(void **state)
{
	(void)state;
	peer_run(fails_before_a_dead_one);
}

#define LABEL63 "abcdefghijklmnopqrstuvwxyz-0123456789-abcdefghijklmnopqrstuvwxy"
#define LABEL61 "abcdefghijklmnopqrstuvwxyz-0123456789-abcdefghijklmnopqrstuvw"

/* A name of 255 octets, the most that there is. */
static void longest(void *arg)
{
	const struct endpoint_ops *ops = registry_endpoint(CONF_ENDPOINT_DNS);
	struct endpoint *ep = NULL;
	struct err err = {0};
	enum endpoint_at at = ENDPOINT_AT_OTHER;
	(void)arg;

	conf.rr_name = LABEL63 "." LABEL63 "." LABEL63 "." LABEL61 ".";
	conf.zone = LABEL63 "." LABEL61 ".";
	assert_int_equal(strlen(conf.rr_name), 254);
	ns_start();
	assert_int_equal(ops->create(&conf, &ep, &err), 0);
	assert_int_equal(ops->switch_to(ep, &forth, CONF_TARGET, peer_deadline_us(3000), &err), ACT_DONE);
	assert_int_equal(ops->look(ep, &forth, peer_deadline_us(3000), &at, &err), ACT_DONE);
	assert_int_equal(at, ENDPOINT_AT_TARGET);
	assert_int_equal(ops->switch_to(ep, &forth, CONF_SOURCE, peer_deadline_us(3000), &err), ACT_DONE);
	assert_int_equal(ns.stands, AT_SOURCE);
	ops->destroy(ep);
	ns_stop();
}

static void test_longest(void **state)
{
	(void)state;
	peer_run(longest);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_late_after_the_answer),
		cmocka_unit_test(test_answered),
		cmocka_unit_test(test_earlier_life),
		cmocka_unit_test(test_fails),
		cmocka_unit_test(test_fails_before_a_dead_one),
		cmocka_unit_test(test_longest),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
