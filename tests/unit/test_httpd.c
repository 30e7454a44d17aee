/* test_httpd: requests to the small HTTP server: what is answered, what is refused, what becomes of who
 * leaves. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

#include "lib/base/str.h"
#include "lib/io/httpd.h"
#include "tests/unit/peer.h"

static uint16_t port;
static char seen[256];
static struct httpd_request *kept;

static void on_request(struct httpd_request *r, const char *path, void *arg)
{
	(void)arg;
	str_copy(seen, sizeof(seen), path);
	if (str_eq(path, "/later"))
		kept = r;
	else
		httpd_reply(r, 200, "text/x", "hello", 5);
}

/* A free port: one that was just given back. */
static struct httpd *begin(void)
{
	struct peer p;
	struct httpd *h;
	struct err err = {0};

	peer_start(&p, NULL);
	(void)close(p.fd);
	port = p.port;
	seen[0] = '\0';
	kept = NULL;
	assert_int_equal(httpd_start("127.0.0.1", port, -1, on_request, NULL, &h, &err), 0);
	return h;
}

static void end(struct httpd *h)
{
	httpd_stop(h);
	(void)fiber_yield();
	(void)fiber_yield();
}

static int client(void)
{
	struct sockaddr_in addr = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(port)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	return fd;
}

/* All that comes until the server closes. */
static const char *hear(int fd)
{
	static char buf[8192];
	size_t len = 0;

	for (;;) {
		assert_true(fiber_wait_fd(fd, LOOP_READ, peer_deadline_us(5000)) > 0);
		ssize_t n = recv(fd, buf + len, sizeof(buf) - 1 - len, 0);
		if (n <= 0)
			break;
		len += (size_t)n;
	}
	buf[len] = '\0';
	(void)close(fd);
	return buf;
}

static const char *ask(const char *text)
{
	int fd = client();

	(void)!send(fd, text, strlen(text), MSG_NOSIGNAL);
	return hear(fd);
}

static void assert_begins(const char *text, const char *begin_with)
{
	if (strncmp(text, begin_with, strlen(begin_with)) != 0)
		fail_msg("\"%.80s\" does not begin with \"%s\"", text, begin_with);
}

static void body_answers(void *arg)
{
	struct httpd *h = begin();
	(void)arg;

	const char *answer = ask("GET /a/b?c=d HTTP/1.1\r\nHost: x\r\n\r\n");
	assert_begins(answer, "HTTP/1.1 200 OK\r\n");
	assert_non_null(strstr(answer, "\r\nContent-Length: 5\r\n"));
	assert_non_null(strstr(answer, "\r\nContent-Type: text/x\r\n"));
	assert_string_equal(strstr(answer, "\r\n\r\n"), "\r\n\r\nhello");
	assert_string_equal(seen, "/a/b");
	answer = ask("HEAD / HTTP/1.0\n\n");
	assert_begins(answer, "HTTP/1.1 200 OK\r\n");
	assert_string_equal(strstr(answer, "\r\n\r\n"), "\r\n\r\n");
	end(h);
}

static void body_refusals(void *arg)
{
	struct httpd *h = begin();
	static char text[16384];
	(void)arg;

	assert_begins(ask("POST / HTTP/1.1\r\n\r\n"), "HTTP/1.1 405 ");
	assert_begins(ask("DELETE / HTTP/1.1\r\n\r\n"), "HTTP/1.1 405 ");
	assert_begins(ask("\r\n\r\n"), "HTTP/1.1 400 ");
	assert_begins(ask("GET\r\n\r\n"), "HTTP/1.1 400 ");
	assert_begins(ask("GET x HTTP/1.1\r\n\r\n"), "HTTP/1.1 400 ");
	assert_begins(ask("GET / SIP/2.0\r\n\r\n"), "HTTP/1.1 400 ");
	memset(text, 'a', sizeof(text));
	memcpy(text, "GET /", 5);
	text[1000] = '\0';
	(void)strcat(text, " HTTP/1.1\r\n\r\n");
	assert_begins(ask(text), "HTTP/1.1 400 ");
	memset(text + 5, 'a', sizeof(text) - 6);
	text[sizeof(text) - 1] = '\0';
	assert_begins(ask(text), "HTTP/1.1 431 ");
	(void)strcpy(text, "GET / HTTP/1.1\r\n");
	for (int i = 0; i < 200; i++)
		(void)strcat(text, "X-Y: z\r\n");
	assert_begins(ask(text), "HTTP/1.1 431 ");
	assert_string_equal(seen, "");
	end(h);
}

/* The owner may answer after the client has gone, and after the server was stopped. */
static void body_later(void *arg)
{
	struct httpd *h = begin();
	static const char text[] = "GET /later HTTP/1.1\r\n\r\n";
	int fd = client();
	(void)arg;

	assert_int_equal(send(fd, text, strlen(text), 0), (ssize_t)strlen(text));
	for (int i = 0; i < 1000 && !kept; i++)
		(void)fiber_sleep_ms(2);
	assert_non_null(kept);
	httpd_reply_text(kept, 503, "sorry");
	const char *answer = hear(fd);
	assert_begins(answer, "HTTP/1.1 503 ");
	assert_non_null(strstr(answer, "\r\n\r\nsorry\n"));

	kept = NULL;
	fd = client();
	assert_int_equal(send(fd, text, strlen(text), 0), (ssize_t)strlen(text));
	for (int i = 0; i < 1000 && !kept; i++)
		(void)fiber_sleep_ms(2);
	struct linger hard = {1, 0};
	(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
	(void)close(fd);
	(void)fiber_sleep_ms(20);
	struct httpd_request *first = kept;

	kept = NULL;
	fd = client();
	assert_int_equal(send(fd, text, strlen(text), 0), (ssize_t)strlen(text));
	for (int i = 0; i < 1000 && !kept; i++)
		(void)fiber_sleep_ms(2);
	end(h);
	httpd_reply_text(first, 200, "nobody");
	httpd_reply_text(kept, 200, "nobody");
	(void)close(fd);
}

static void test_answers(void **state)
{
	(void)state;
	peer_run(body_answers);
}

static void test_refusals(void **state)
{
	(void)state;
	peer_run(body_refusals);
}

static void test_later(void **state)
{
	(void)state;
	peer_run(body_later);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_answers),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_later),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
