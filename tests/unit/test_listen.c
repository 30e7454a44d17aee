/* test_listen: lines, bounds and ends of the clients of a listening socket; every client is a socket of the
 * test. */
#include "tests/unit/listener.h"

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

TEST(lines)
TEST(peer)
TEST(too_long)
TEST(held)
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
		cmocka_unit_test(test_unread),
		cmocka_unit_test(test_too_much_out),
		cmocka_unit_test(test_slow),
		cmocka_unit_test(test_half_closed),
		cmocka_unit_test(test_addresses),
	};

	return cmocka_run_group_tests(tests, directory_make, directory_remove);
}
