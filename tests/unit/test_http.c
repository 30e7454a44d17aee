/* test_http: requests against a server of our own: answers, bounds, silence, cancel, names that cannot be. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

#include "lib/base/arena.h"
#include "lib/base/str.h"
#include "lib/io/http.h"
#include "tests/unit/peer.h"

static char request[8192];
static const char *reply;
static size_t flood;

static void send_text(int fd, const char *text, size_t len)
{
	while (len > 0) {
		ssize_t n = send(fd, text, len, MSG_NOSIGNAL);
		if (n > 0) {
			text += n;
			len -= (size_t)n;
		} else if (errno != EAGAIN || fiber_wait_fd(fd, LOOP_WRITE, CLOCK_FOREVER) < 0) {
			return;
		}
	}
}

/* Reads head and body, then sends `reply`, and `flood` bytes more. */
static void serve(struct peer *p, int fd)
{
	char block[4096];
	(void)p;

	for (;;) {
		size_t len = 0, body = 0;
		char *end = NULL;
		if (fiber_wait_fd(fd, LOOP_READ, CLOCK_FOREVER) < 0)
			return;
		memset(request, 0, sizeof(request));
		while (!end || strlen(end + 4) < body) {
			ssize_t n = peer_read(fd, request + len, sizeof(request) - 1 - len, 1);
			if (n < 0)
				return;
			len += (size_t)n;
			end = strstr(request, "\r\n\r\n");
			const char *length = strstr(request, "Content-Length: ");
			body = length ? (size_t)atoi(length + 16) : 0;
		}
		if (!reply) {
			(void)fiber_wait_fd(fd, LOOP_READ, CLOCK_FOREVER);
			return;
		}
		send_text(fd, reply, strlen(reply));
		memset(block, 'x', sizeof(block));
		for (size_t i = 0; strstr(reply, "X-Long") && i < sizeof(block); i += 64)
			memcpy(block + i, "\r\nX: ", 5);
		for (size_t sent = 0; sent < flood; sent += sizeof(block))
			send_text(fd, block, sizeof(block));
		if (strstr(reply, "close"))
			return;
	}
}

static int ask(struct peer *p, const char *method, const char *body, int64_t ms, int *status, char **answer,
	struct err *err)
{
	static const char *const headers[] = {"Content-Type: application/json", "X-Test: yes", NULL};
	char url[80];

	(void)snprintf(url, sizeof(url), "http://%s/a/b?c=d", p->address);
	return http_do(method, url, body, headers, peer_deadline_us(ms), status, answer, err);
}

static void answers(void *arg)
{
	struct peer p;
	struct err err = {0};
	char *body = NULL;
	int status = 0;
	(void)arg;

	peer_start(&p, serve);
	reply = "HTTP/1.1 201 Created\r\nContent-Length: 5\r\n\r\nhello";
	assert_int_equal(ask(&p, "POST", "{\"a\":1}", 2000, &status, &body, &err), 0);
	assert_int_equal(status, 201);
	assert_string_equal(body, "hello");
	assert_non_null(strstr(request, "POST /a/b?c=d HTTP/1.1\r\n"));
	assert_non_null(strstr(request, "\r\nX-Test: yes\r\n"));
	assert_non_null(strstr(request, "\r\n\r\n{\"a\":1}"));
	free(body);
	reply = "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n";
	assert_int_equal(ask(&p, "GET", NULL, 2000, &status, NULL, &err), 0);
	assert_int_equal(status, 302);
	assert_non_null(strstr(request, "GET /a/b"));
	assert_int_equal(ask(&p, "POST", NULL, 2000, NULL, NULL, &err), 0);
	assert_non_null(strstr(request, "Content-Length: 0\r\n"));
	assert_int_equal(ask(&p, "DELETE", NULL, 2000, NULL, NULL, &err), 0);
	assert_non_null(strstr(request, "DELETE /a/b"));
	assert_int_equal(p.connections, 1);
	http_free();
	peer_stop(&p);
}

static void refusals(void *arg)
{
	char dead[32], url[64];
	struct err err = {0};
	int status = 77;
	(void)arg;

	peer_dead_address(dead, sizeof(dead));
	(void)snprintf(url, sizeof(url), "http://%s/secret-token", dead);
	int r = http_do("GET", url, NULL, NULL, peer_deadline_us(2000), &status, NULL, &err);
	assert_int_equal(r, -ECONNREFUSED);
	assert_true(http_not_sent(r));
	assert_null(strstr(err.message, "secret-token"));
	assert_int_equal(status, 77);
	err_clear(&err);
	assert_int_equal(
		http_do("GET", "file:///etc/passwd", NULL, NULL, peer_deadline_us(2000), NULL, NULL, &err),
		-EINVAL);
	err_clear(&err);
	assert_int_equal(
		http_do("GET", "http://[nonsense", NULL, NULL, peer_deadline_us(2000), NULL, NULL, &err),
		-EINVAL);
	http_free();
}

static void bounds(void *arg)
{
	struct peer p;
	struct err err = {0};
	char *body = NULL;
	(void)arg;

	peer_start(&p, serve);
	reply = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n";
	flood = HTTP_BODY_MAX;
	assert_int_equal(ask(&p, "GET", NULL, 10000, NULL, &body, &err), 0);
	assert_int_equal(strlen(body), HTTP_BODY_MAX);
	free(body);
	body = NULL;
	flood = HTTP_BODY_MAX + 4096;
	assert_int_equal(ask(&p, "GET", NULL, 10000, NULL, &body, &err), -EMSGSIZE);
	assert_null(body);
	assert_false(http_not_sent(-EMSGSIZE));
	err_clear(&err);
	reply = "HTTP/1.1 200 OK\r\nConnection: close\r\nX-Long: ";
	flood = HTTP_HEADER_MAX + 4096;
	assert_int_equal(ask(&p, "GET", NULL, 10000, NULL, NULL, &err), -EMSGSIZE);
	flood = 0;
	http_free();
	peer_stop(&p);
}

static void ticker(void *arg)
{
	int *ticks = arg;

	while (fiber_sleep_ms(5) == 0)
		(*ticks)++;
}

static void silence(void *arg)
{
	struct peer p;
	struct err err = {0};
	int ticks = 0;
	(void)arg;

	peer_start(&p, serve);
	reply = NULL;
	struct fiber *t = fiber_spawn("ticker", ticker, &ticks);
	int64_t begin_us = clock_us();
	int r = ask(&p, "POST", "{}", 200, NULL, NULL, &err);
	assert_int_equal(r, -ETIMEDOUT);
	assert_false(http_not_sent(r));
	assert_in_range(clock_us() - begin_us, 200000, 400000);
	assert_true(ticks >= 20);
	err_clear(&err);
	reply = "close"; /* no HTTP at all */
	r = ask(&p, "GET", NULL, 2000, NULL, NULL, &err);
	assert_true(r < 0 && r != -ETIMEDOUT);
	fiber_stop(t);
	http_free();
	peer_stop(&p);
}

static void ask_for_ever(void *arg)
{
	struct err err = {0};

	assert_int_equal(ask(arg, "GET", NULL, 60000, NULL, NULL, &err), -ECANCELED);
}

static void cancelled(void *arg)
{
	struct peer p;
	(void)arg;

	peer_start(&p, serve);
	reply = NULL;
	struct fiber *f = fiber_spawn("asks", ask_for_ever, &p);
	while (!p.connections)
		assert_int_equal(fiber_sleep_ms(1), 0);
	fiber_stop(f);
	http_free();
	peer_stop(&p);
}

static void test_answers(void **state)
{
	(void)state;
	peer_run(answers);
}

static void test_refusals(void **state)
{
	(void)state;
	peer_run(refusals);
}

static void test_bounds(void **state)
{
	(void)state;
	peer_run(bounds);
}

static void test_silence(void **state)
{
	(void)state;
	peer_run(silence);
}

static void test_cancel(void **state)
{
	(void)state;
	peer_run(cancelled);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_answers),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_silence),
		cmocka_unit_test(test_cancel),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
