/*
 * test_dns_update: answers read from bytes, addresses and values in their spellings, and the exchange with a
 * server that answers rightly, wrongly, to another message, half or not at all. (Keys and real servers:
 * tests/live/test_dns.py.)
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

#include "lib/base/str.h"
#include "lib/io/dns.h"
#include "lib/io/dns_conn.h"
#include "lib/io/dns_update.h"
#include "tests/unit/peer.h"

/* --- answers --- */

#define HEADER(flags, qd, an) "\x12\x34" flags "\x00" qd "\x00" an "\x00\x00\x00\x00"
#define QUESTION(type)                                                                                       \
	"\x02"                                                                                               \
	"DB\x07"                                                                                             \
	"eXample\x04"                                                                                        \
	"test\x00\x00" type "\x00\x01"
#define NAME "\xc0\x0c"
#define REST(type, ttl, len) "\x00" type "\x00\x01\x00\x00\x00" ttl "\x00" len

static __attribute__((noinline)) int parse(
	const char *wire, size_t len, const char *type, struct dns_answer *a)
{
	struct err err = {0};
	int r = dns_parse_answer((const uint8_t *)wire, len, "db.example.TEST", type, a, &err);

	assert_int_equal(r, err.code);
	return r;
}

#define PARSE(wire, type, a) parse(wire, sizeof(wire) - 1, type, a)

static void test_answer_addresses(void **state)
{
	/* clang-format off */
	static const char wire[] = HEADER("\x84\x00", "\x01", "\x04") QUESTION("\x01")
		NAME REST("\x01", "\x09", "\x04") "\x0a\x00\x00\x02"
		NAME REST("\x01", "\x05", "\x04") "\x0a\x00\x00\x01"
		NAME REST("\x01", "\x09", "\x04") "\x0a\x00\x00\x02"
		"\x01x\x00" REST("\x01", "\x01", "\x04") "\x0a\x00\x00\x07";
	/* clang-format on */
	struct dns_answer a;
	(void)state;

	assert_int_equal(PARSE(wire, "A", &a), 0);
	assert_int_equal(a.rcode, 0);
	assert_true(a.authoritative);
	assert_int_equal(a.nvalues, 2);
	assert_string_equal(a.values[0], "10.0.0.1");
	assert_string_equal(a.values[1], "10.0.0.2");
	assert_int_equal(a.ttl_s, 5);
}

static void test_answer_names(void **state)
{
	/* clang-format off */
	static const char wire[] = HEADER("\x80\x00", "\x01", "\x01") QUESTION("\x05")
		NAME REST("\x05", "\x3c", "\x05") "\x02" "B1\xc0\x0f";
	/* clang-format on */
	struct dns_answer a;
	(void)state;

	assert_int_equal(PARSE(wire, "CNAME", &a), 0);
	assert_false(a.authoritative);
	assert_int_equal(a.nvalues, 1);
	assert_string_equal(a.values[0], "b1.example.test.");
	assert_int_equal(a.ttl_s, 60);
}

static void test_answer_refusals(void **state)
{
	struct dns_answer a = {.rcode = 99};
	(void)state;

	assert_int_equal(PARSE(HEADER("\x04\x00", "\x01", "\x00") QUESTION("\x05"), "CNAME", &a), -EBADMSG);
	assert_int_equal(PARSE(HEADER("\x86\x00", "\x01", "\x00") QUESTION("\x05"), "CNAME", &a), -EBADMSG);
	assert_int_equal(PARSE(HEADER("\xac\x00", "\x01", "\x00") QUESTION("\x05"), "CNAME", &a), -EBADMSG);
	assert_int_equal(PARSE(HEADER("\x84\x00", "\x01", "\x00") QUESTION("\x01"), "CNAME", &a), -EBADMSG);
	assert_int_equal(PARSE(HEADER("\x84\x00", "\x00", "\x00"), "CNAME", &a), -EBADMSG);
	assert_int_equal(PARSE(HEADER("\x84\x00", "\x01", "\x01") QUESTION("\x05"), "CNAME", &a), -EBADMSG);
	assert_int_equal(PARSE("\x12", "CNAME", &a), -EBADMSG);
	assert_int_equal(PARSE("", "CNAME", &a), -EBADMSG);
	assert_int_equal(PARSE(HEADER("\x84\x00", "\x01", "\x00") QUESTION("\x05"), "MX", &a), -EINVAL);
	assert_int_equal(a.rcode, 99);
	assert_int_equal(PARSE(HEADER("\x84\x03", "\x01", "\x00") QUESTION("\x05"), "CNAME", &a), 0);
	assert_int_equal(a.rcode, 3);
	assert_int_equal(PARSE(HEADER("\x84\x05", "\x00", "\x00"), "CNAME", &a), 0);
	assert_int_equal(a.rcode, 5);
	assert_int_equal(a.nvalues, 0);
}

/* --- spellings --- */

static void test_values(void **state)
{
	static const struct {
		const char *type, *from, *to;
	} rows[] = {
		{"A", "10.0.0.1", "10.0.0.1"},
		{"A", "10.0.0.256", NULL},
		{"A", "host.example.", NULL},
		{"AAAA", "FD00:0:0::1", "fd00::1"},
		{"AAAA", "10.0.0.1", NULL},
		{"CNAME", "B1.Example.test", "b1.example.test."},
		{"CNAME", "b1.example.test.", "b1.example.test."},
		{"CNAME", "", NULL},
		{"CNAME", "a..b", NULL},
		{"MX", "10 mail.", NULL},
		{"nonsense", "x", NULL},
	};
	char buf[256];
	(void)state;

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct err err = {0};
		int r = dns_canonical_value(rows[i].type, rows[i].from, buf, sizeof(buf), &err);
		assert_int_equal(r, rows[i].to ? 0 : -EINVAL);
		if (rows[i].to)
			assert_string_equal(buf, rows[i].to);
	}
}

static void test_servers(void **state)
{
	static const struct {
		const char *text;
		int family, port;
	} rows[] = {
		{"10.0.0.53", AF_INET, 53},
		{"10.0.0.53:5300", AF_INET, 5300},
		{"fd00::53", AF_INET6, 53},
		{"[fd00::53]", AF_INET6, 53},
		{"[fd00::53]:65535", AF_INET6, 65535},
		{"ns1.example.test", 0, 0},
		{"10.0.0.53:", 0, 0},
		{"10.0.0.53:0", 0, 0},
		{"10.0.0.53:65536", 0, 0},
		{"[fd00::53", 0, 0},
		{"[fd00::53]5", 0, 0},
		{"", 0, 0},
	};
	(void)state;

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct sockaddr_storage addr;
		socklen_t len = 0;
		struct err err = {0};
		int r = dns_server_parse(rows[i].text, &addr, &len, &err);
		assert_int_equal(r, rows[i].family ? 0 : -EINVAL);
		if (r)
			continue;
		assert_int_equal(addr.ss_family, rows[i].family);
		assert_int_equal(ntohs(((struct sockaddr_in *)&addr)->sin_port), rows[i].port);
	}
}

/* --- exchanges --- */

enum how { RIGHT, NXRRSET, OTHER_ID, NO_ANSWER_BIT, QUERY, GARBAGE, HALF, CLOSE, SILENT };
static enum how how;
static uint8_t seen[600];
static size_t seen_len;

static void serve(struct peer *p, int fd)
{
	uint8_t m[600], answer[14] = {0, 12};
	(void)p;

	for (;;) {
		ssize_t n = peer_read(fd, m, sizeof(m), 14);
		if (n < 0)
			return;
		memcpy(seen, m, (size_t)n);
		seen_len = (size_t)n;
		memcpy(answer + 2, m + 2, 2);
		answer[2] ^= how == OTHER_ID;
		answer[4] = how == NO_ANSWER_BIT ? 0x28 : how == QUERY ? 0x80 : 0xa8;
		answer[5] = how == NXRRSET ? 8 : 0;
		if (how == GARBAGE)
			answer[1] = 5;
		if (how == CLOSE)
			return;
		if (how != SILENT)
			(void)send(fd, answer, how == HALF ? 7 : how == GARBAGE ? 7 : 14, MSG_NOSIGNAL);
		if (how == HALF)
			return;
	}
}

static enum act update(const char *server, int64_t ms, int *rcode, bool *alive, struct err *err)
{
	static const char *const old[] = {"a1.example.test.", "a2.example.test."}, *const new[] = {
											   "B1.example.test"};
	struct dns_update u = {.zone = "example.test",
		.name = "db.example.test.",
		.type = "CNAME",
		.ttl_s = 5,
		.old_values = old,
		.nold = 2,
		.new_values = new,
		.nnew = 1};
	struct dns_conn *c = NULL;
	int r = dns_conn_open(server, peer_deadline_us(1000), &c, err);

	if (r < 0)
		return ACT_REFUSED;
	enum act act = dns_update_send(c, &u, peer_deadline_us(ms), rcode, err);
	*alive = dns_conn_alive(c);
	dns_conn_close(c);
	return act;
}

static void exchanges(void *arg)
{
	static const struct {
		enum how how;
		enum act act;
		int rcode, code;
		bool alive;
	} rows[] = {
		{RIGHT, ACT_DONE, 0, 0, true},
		{NXRRSET, ACT_REFUSED, 8, -ESTALE, true},
		{OTHER_ID, ACT_UNKNOWN, -1, -EBADMSG, false},
		{NO_ANSWER_BIT, ACT_UNKNOWN, -1, -EBADMSG, false},
		{QUERY, ACT_UNKNOWN, -1, -EBADMSG, false},
		{GARBAGE, ACT_UNKNOWN, -1, -EBADMSG, false},
		{HALF, ACT_UNKNOWN, -1, -ECONNRESET, false},
		{CLOSE, ACT_UNKNOWN, -1, -ECONNRESET, false},
		{SILENT, ACT_UNKNOWN, -1, -ETIMEDOUT, false},
	};
	struct peer p;
	(void)arg;

	peer_start(&p, serve);
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct err err = {0};
		int rcode = 0;
		bool alive = false;
		how = rows[i].how;
		assert_int_equal(update(p.address, 150, &rcode, &alive, &err), rows[i].act);
		assert_int_equal(rcode, rows[i].rcode);
		assert_int_equal(err.code, rows[i].code);
		assert_int_equal(alive, rows[i].alive);
		if (rows[i].act != ACT_DONE)
			assert_non_null(strstr(err.message, p.address));
	}
	peer_stop(&p);
}

static void test_exchanges(void **state)
{
	(void)state;
	peer_run(exchanges);
}

static int ended; /* how the connection did, as the server sees it */

static void serve_to_the_end(struct peer *p, int fd)
{
	uint8_t m[600];
	ssize_t n = 1;
	(void)p;

	while (n > 0 && fiber_wait_fd(fd, LOOP_READ, CLOCK_FOREVER) > 0)
		n = recv(fd, m, sizeof(m), 0);
	ended = n < 0 ? errno : 0;
}

static void given_up(void *arg)
{
	struct peer p;
	bool alive = true;
	int rcode = 0;
	(void)arg;

	peer_start(&p, serve_to_the_end);
	ended = -1;
	assert_int_equal(update(p.address, 50, &rcode, &alive, NULL), ACT_UNKNOWN);
	while (ended < 0)
		assert_int_equal(fiber_sleep_ms(1), 0);
	assert_int_equal(ended, ECONNRESET);
	peer_stop(&p);
}

/* An update that is given up goes with its connection: what the kernel still has of it is never sent. */
static void test_given_up(void **state)
{
	(void)state;
	peer_run(given_up);
}

/* The zone, both old records as prerequisites without TTL, the set deleted, one record added. */
static void test_message(void **state)
{
	static const uint8_t counts[] = {0x28, 0x00, 0, 1, 0, 2, 0, 2, 0, 0};
	(void)state;

	how = RIGHT;
	peer_run(exchanges);
	assert_int_equal(seen[0] << 8 | seen[1], (int)seen_len - 2);
	assert_memory_equal(seen + 4, counts, sizeof(counts));
	assert_null(memmem(seen, seen_len, "B1", 2));
	assert_non_null(memmem(seen, seen_len, "\x00\x05\x00\xff\x00\x00\x00\x00\x00\x00", 10));
	assert_non_null(memmem(seen, seen_len, "\x00\x05\x00\x01\x00\x00\x00\x05", 8));
}

static void warm(void *arg)
{
	struct peer p;
	struct dns_conn *c = NULL;
	struct err err = {0};
	struct dns_update u = {.zone = "z.", .name = "n.z.", .type = "A"};
	char dead[32];
	int rcode = 0;
	(void)arg;

	peer_start(&p, serve);
	assert_int_equal(dns_conn_open(p.address, peer_deadline_us(1000), &c, &err), 0);
	assert_true(dns_conn_alive(c));
	how = RIGHT;
	assert_int_equal(dns_update_send(c, &u, peer_deadline_us(1000), &rcode, &err), ACT_DONE);
	assert_int_equal(dns_update_send(c, &u, peer_deadline_us(1000), &rcode, &err), ACT_DONE);
	assert_int_equal(p.connections, 1);
	peer_stop(&p);
	assert_false(dns_conn_alive(c));
	/* The server has gone: nothing was sent. */
	assert_int_equal(dns_update_send(c, &u, peer_deadline_us(1000), &rcode, &err), ACT_REFUSED);
	assert_int_equal(rcode, -1);
	dns_conn_close(c);
	err_clear(&err);
	peer_dead_address(dead, sizeof(dead));
	assert_int_equal(dns_conn_open(dead, peer_deadline_us(1000), &c, &err), -ECONNREFUSED);
	dns_conn_close(NULL);
}

static void test_warm(void **state)
{
	(void)state;
	peer_run(warm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_answer_addresses),
		cmocka_unit_test(test_answer_names),
		cmocka_unit_test(test_answer_refusals),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_servers),
		cmocka_unit_test(test_exchanges),
		cmocka_unit_test(test_given_up),
		cmocka_unit_test(test_message),
		cmocka_unit_test(test_warm),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
