/* test_listen_places: who has a place on a listening socket when there are more clients than places. */
#include "tests/unit/listener.h"

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

/* However many come, root is not pushed out by others, and has a place where there is none. */
static void body_root_stays(void *arg)
{
	struct listen_limits two = usual;
	(void)arg;

	two.max_clients = 2;
	struct listener *l = begin(&two);
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

TEST(full)
static void test_root_stays(void **state)
{
	(void)state;
	if (geteuid() != 0)
		skip();
	peer_run(body_root_stays);
}
TEST(gone_before_its_turn)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_full),
		cmocka_unit_test(test_root_stays),
		cmocka_unit_test(test_gone_before_its_turn),
	};

	return cmocka_run_group_tests(tests, directory_make, directory_remove);
}
