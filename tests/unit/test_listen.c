/* test_listen: lines, bounds and ends of the clients of a listening socket; every client is a socket of the
 * test. */
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

static const char *many(int n)
{
	static char text[512];

	for (int i = 0; i < n; i++)
		memcpy(text + (size_t)i * 2, "m\n", 3);
	return text;
}

/* As another user, which root alone can do. */
static int client_of_nobody(void)
{
	assert_int_equal(chmod(directory, 0711), 0);
	assert_int_equal(seteuid(65534), 0);
	int fd = client();
	assert_int_equal(seteuid(0), 0);
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

static void body_lines(void *arg)
{
	struct listener *l = begin(&usual);
	struct stat st;
	int a = client(), b = client();
	(void)arg;

	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0666);
	say(a, "one\ntwo\nhal");
	assert_string_equal(hear(a), "one\n");
	assert_string_equal(hear(a), "two\n");
	say(b, "other\n");
	assert_string_equal(hear(b), "other\n");
	say(a, "f\n");
	assert_string_equal(hear(a), "half\n");
	assert_int_equal(listener_clients(l), 2);
	(void)close(a);
	until(&closed, 1);
	say(b, "close\nnever\n");
	assert_string_equal(hear(b), "close\n");
	assert_string_equal(hear(b), "");
	assert_int_equal(lines, 5);
	(void)close(b);
	end(l);
}

static void body_peer(void *arg)
{
	struct listener *l = begin(&usual);
	int a = client();
	(void)arg;

	say(a, "x\n");
	assert_string_equal(hear(a), "x\n");
	const struct listen_peer *peer = listen_client_peer(last);
	assert_true(peer->known);
	assert_int_equal(peer->uid, geteuid());
	assert_int_equal(peer->pid, getpid());
	gid_t groups[1024];
	assert_int_equal(peer->ngroups, getgroups(COUNT_OF(groups), groups));
	(void)close(a);
	end(l);
}

static void body_too_long(void *arg)
{
	struct listener *l = begin(&usual);
	char text[4096];
	int a = client(), b = client();
	(void)arg;

	memset(text, 'x', sizeof(text));
	text[100] = '\n';
	text[101] = '\0';
	say(b, text);
	assert_int_equal(strlen(hear(b)), 101);
	text[100] = 'x';
	text[101] = 'x';
	text[sizeof(text) - 1] = '\0';
	say(a, text);
	assert_string_equal(hear(a), "too long\n");
	assert_string_equal(hear(a), "");
	assert_int_equal(too_long, 1);
	say(b, "still here\n");
	assert_string_equal(hear(b), "still here\n");
	(void)close(a);
	(void)close(b);
	end(l);
}

/* Two at once: the third line waits until one has been released. */
static void body_held(void *arg)
{
	struct listener *l = begin(&usual);
	int a = client();
	(void)arg;

	hold = true;
	say(a, "1\n2\n3\n4\n");
	until(&lines, 2);
	for (int i = 0; i < 4; i++)
		(void)fiber_yield();
	assert_int_equal(lines, 2);
	hold = false;
	listen_client_release(last);
	assert_string_equal(hear(a), "3\n");
	assert_string_equal(hear(a), "4\n");
	listen_client_release(last);
	(void)close(a);
	until(&closed, 1);
	end(l);
}

/* In one turn of the loop: one client is dropped, another has more lines than its turn takes, and is dropped
 * by a third: it is gone when its lines are to be resumed. */
static void body_gone_before_its_turn(void *arg)
{
	struct listen_limits narrow = usual;
	(void)arg;

	narrow.max_out = 60000;
	struct listener *l = begin(&narrow);
	int first = client(), second = client(), third = client();
	until(&opened, 3);
	say(first, "big\n");
	say(second, many(120));
	say(third, "end it\n");
	until(&closed, 2);
	assert_int_equal(listener_clients(l), 1);
	assert_true(lines < 100);
	say(third, "x\n");
	assert_string_equal(hear(third), "x\n");
	(void)close(first);
	(void)close(second);
	(void)close(third);
	until(&closed, 3);
	end(l);
}

/* However many come, root is not pushed out by others, and has a place where there is none. */
static void body_root_stays(void *arg)
{
	static const struct listen_limits two = {.max_clients = 2,
		.max_held = 2,
		.max_line = 100,
		.max_out = 4 << 20,
		.line_ms = 60000,
		.idle_ms = 60000,
		.full_text = "full\n"};
	struct listener *l;
	(void)arg;

	if (geteuid() != 0)
		return;
	l = begin(&two);
	int root = client(), other = client_of_nobody();
	say(root, "x\n");
	assert_string_equal(hear(root), "x\n");
	say(other, "y\n"); /* root is idle for longer from here on */
	assert_string_equal(hear(other), "y\n");
	int third = client_of_nobody();
	assert_string_equal(hear(other), "");
	int second = client();
	assert_string_equal(hear(third), "");
	int fourth = client_of_nobody();
	assert_string_equal(hear(fourth), "full\n");
	(void)fiber_sleep_ms(2);
	say(root, "z\n");
	assert_string_equal(hear(root), "z\n");
	int newest = client(); /* among themselves the idlest goes */
	assert_string_equal(hear(second), "");
	int all[] = {root, other, third, second, fourth, newest};
	for (size_t i = 0; i < COUNT_OF(all); i++)
		(void)close(all[i]);
	until(&closed, 5);
	end(l);
}

/* The longest idle one gives way to a fifth; where all have requests under way, the fifth is told so. */
static void body_full(void *arg)
{
	struct listener *l = begin(&usual);
	int c[6];
	(void)arg;

	for (int i = 0; i < 5; i++) {
		c[i] = client();
		until(&opened, i + 1);
		(void)fiber_sleep_ms(2);
	}
	assert_int_equal(listener_clients(l), 4);
	assert_string_equal(hear(c[0]), "");
	hold = true;
	for (int i = 1; i < 5; i++)
		say(c[i], "x\n");
	until(&lines, 4);
	c[5] = client();
	assert_string_equal(hear(c[5]), "full\n");
	assert_string_equal(hear(c[5]), "");
	for (int i = 0; i < 6; i++)
		(void)close(c[i]);
	end(l);
}

/* Who does not read is not read from, and dropped when it does not begin to. */
static void body_unread(void *arg)
{
	struct listen_limits impatient = usual;
	impatient.line_ms = 300;
	struct listener *l = begin(&impatient);
	int a = client();
	(void)arg;

	for (int i = 0; i < 100; i++)
		say(a, "big\n");
	until(&closed, 1);
	assert_true(lines < 100);
	(void)close(a);
	end(l);
}

static void body_too_much_out(void *arg)
{
	struct listen_limits narrow = usual;
	narrow.max_out = 50000;
	struct listener *l = begin(&narrow);
	int a = client();
	(void)arg;

	say(a, "big\n");
	until(&closed, 1);
	(void)close(a);
	end(l);
}

static void body_slow(void *arg)
{
	struct listen_limits impatient = usual;
	impatient.line_ms = 100;
	impatient.idle_ms = 2500;
	struct listener *l = begin(&impatient);
	int slow = client(), idle = client();
	(void)arg;

	say(slow, "never ended");
	until(&closed, 1);
	assert_string_equal(hear(slow), "");
	until(&closed, 2);
	assert_string_equal(hear(idle), "");
	(void)close(slow);
	(void)close(idle);
	end(l);
}

static void body_half_closed(void *arg)
{
	struct listener *l = begin(&usual);
	int a = client();
	(void)arg;

	hold = true;
	say(a, "x\n");
	assert_int_equal(shutdown(a, SHUT_WR), 0);
	until(&lines, 1);
	(void)fiber_sleep_ms(20);
	assert_int_equal(closed, 0);
	listen_send(last, "answer\n", 7);
	listen_client_release(last);
	assert_string_equal(hear(a), "answer\n");
	until(&closed, 1);
	(void)close(a);
	end(l);
}

static void body_addresses(void *arg)
{
	struct listener *l = begin(&usual), *second;
	struct err err = {0};
	(void)arg;

	assert_int_equal(listen_unix(path, 0666, &usual, &ops, NULL, &second, &err), -EADDRINUSE);
	end(l);
	/* A file that nobody listens on any more is replaced; one that is no socket is not. */
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	(void)snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	(void)close(fd);
	end(begin(&usual));
	FILE *f = fopen(path, "w");
	assert_non_null(f);
	(void)fclose(f);
	err_clear(&err);
	assert_int_equal(listen_unix(path, 0666, &usual, &ops, NULL, &second, &err), -EEXIST);
	(void)unlink(path);
	err_clear(&err);
	assert_int_equal(listen_tcp("db.example.com", 1, &usual, &ops, NULL, &second, &err), -EINVAL);
	char longest[200];
	memset(longest, 'x', sizeof(longest));
	longest[sizeof(longest) - 1] = '\0';
	err_clear(&err);
	assert_int_equal(listen_unix(longest, 0666, &usual, &ops, NULL, &second, &err), -ENAMETOOLONG);
}

#define TEST(name)                                                                                           \
	static void test_##name(void **state)                                                                \
	{                                                                                                    \
		(void)state;                                                                                 \
		peer_run(body_##name);                                                                       \
	}
TEST(lines)
TEST(peer)
TEST(too_long)
TEST(held)
TEST(full)
TEST(root_stays)
TEST(gone_before_its_turn)
TEST(unread)
TEST(too_much_out)
TEST(slow)
TEST(half_closed)
TEST(addresses)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lines),
		cmocka_unit_test(test_peer),
		cmocka_unit_test(test_too_long),
		cmocka_unit_test(test_held),
		cmocka_unit_test(test_full),
		cmocka_unit_test(test_root_stays),
		cmocka_unit_test(test_gone_before_its_turn),
		cmocka_unit_test(test_unread),
		cmocka_unit_test(test_too_much_out),
		cmocka_unit_test(test_slow),
		cmocka_unit_test(test_half_closed),
		cmocka_unit_test(test_addresses),
	};

	(void)snprintf(directory, sizeof(directory), "/tmp/flipd-listen-XXXXXX");
	if (!mkdtemp(directory))
		return 1;
	(void)snprintf(path, sizeof(path), "%s/sock", directory);
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	(void)rmdir(directory);
	return failed;
}
