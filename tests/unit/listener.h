/* listener: for tests of listening sockets: a listener whose clients are sockets of the test, and what it
 * counts. */
#ifndef TESTS_UNIT_LISTENER_H
#define TESTS_UNIT_LISTENER_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/base/str.h"
#include "lib/io/listen.h"
#include "tests/unit/peer.h"

static char directory[64], path[96];
static int opened, closed, lines, too_long;
static struct listen_client *last, *before;
static bool hold;

static void on_open(struct listen_client *c, void *arg)
{
	(void)c, (void)arg;
	opened++;
}

static void send_big(struct listen_client *c)
{
	char *big = calloc(1, 70000);

	listen_send(c, big, 70000);
	free(big);
}

/* Echoes the line; "close" closes, "big" is answered with more than anybody may leave unread. */
static void on_line(struct listen_client *c, char *line, size_t len, void *arg)
{
	(void)arg;
	lines++;
	if (last != c)
		before = last;
	last = c;
	if (str_eq(line, "big")) {
		send_big(c);
		return;
	}
	if (str_eq(line, "end it")) { /* the one that spoke before */
		send_big(before);
		return;
	}
	if (hold) {
		listen_client_hold(c);
		return;
	}
	listen_send(c, line, len);
	listen_send(c, "\n", 1);
	if (str_eq(line, "close"))
		listen_client_close(c);
}

static void on_too_long(struct listen_client *c, void *arg)
{
	(void)arg;
	too_long++;
	listen_send(c, "too long\n", 9);
}

static void on_close(struct listen_client *c, void *arg)
{
	(void)c, (void)arg;
	closed++;
}

static const struct listen_ops ops = {on_open, on_line, on_too_long, on_close};
static const struct listen_limits usual = {.max_clients = 4,
	.max_held = 2,
	.max_line = 100,
	.max_out = 4 << 20,
	.line_ms = 60000,
	.idle_ms = 60000,
	.full_text = "full\n"};

static struct listener *begin(const struct listen_limits *limits)
{
	struct listener *l;
	struct err err = {0};

	opened = closed = lines = too_long = 0;
	hold = false;
	last = NULL;
	assert_int_equal(listen_unix(path, 0666, limits, &ops, NULL, &l, &err), 0);
	return l;
}

static void end(struct listener *l)
{
	listener_free(l);
	(void)fiber_yield();
	(void)fiber_yield();
	assert_int_equal(opened, closed);
	assert_int_not_equal(access(path, F_OK), 0);
}

static int client(void)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	(void)snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
	assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	return fd;
}

static void say(int fd, const char *text)
{
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

/* What comes until there is a newline, or the end: then what came before it. */
static const char *hear(int fd)
{
	static char buf[256];
	size_t len = 0;

	while (len < sizeof(buf) - 1 && (len == 0 || buf[len - 1] != '\n')) {
		assert_true(fiber_wait_fd(fd, LOOP_READ, peer_deadline_us(5000)) > 0);
		ssize_t n = recv(fd, buf + len, 1, 0);
		if (n <= 0)
			break;
		len += (size_t)n;
	}
	buf[len] = '\0';
	return buf;
}

static void until(const int *count, int wanted)
{
	for (int i = 0; i < 1000 && *count < wanted; i++)
		(void)fiber_sleep_ms(5);
	assert_int_equal(*count, wanted);
}

#define TEST(name)                                                                                           \
	static void test_##name(void **state)                                                                \
	{                                                                                                    \
		(void)state;                                                                                 \
		peer_run(body_##name);                                                                       \
	}

/* Set-up and tear-down of the group: a directory of its own for the socket. */
static int directory_make(void **state)
{
	(void)state;
	(void)snprintf(directory, sizeof(directory), "/tmp/flipd-listen-XXXXXX");
	if (!mkdtemp(directory))
		return -1;
	(void)snprintf(path, sizeof(path), "%s/sock", directory);
	return 0;
}

static int directory_remove(void **state)
{
	(void)state;
	return rmdir(directory);
}

#endif
