/* fiber: spawn, waits, deadlines, cancel, shield, join, conds, mutexes, over the real loop. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "lib/base/clock.h"
#include "lib/io/fiber.h"
#include "lib/io/loop.h"
#include "tests/unit/in_loop.h"

static char trace[256];

static void note(const char *s)
{
	(void)strncat(trace, s, sizeof(trace) - strlen(trace) - 1);
}

static int setup(void **state)
{
	(void)state;
	trace[0] = '\0';
	return loop_init();
}

static int teardown(void **state)
{
	(void)state;
	assert_int_equal(fiber_count(), 0);
	loop_free();
	return 0;
}

/* Order and time */

static void note_twice(void *arg)
{
	note(arg);
	assert_int_equal(fiber_yield(), 0);
	note(arg);
}

static void order_main(void *arg)
{
	(void)arg;
	struct fiber *a = fiber_spawn("a", note_twice, (void *)(uintptr_t) "a");
	struct fiber *b = fiber_spawn("b", note_twice, (void *)(uintptr_t) "b");
	assert_int_equal(fiber_count(), 3);
	assert_string_equal(trace, "");
	fiber_join(b);
	fiber_join(a);
	fiber_join(NULL);
	fiber_stop(NULL);
	assert_string_equal(trace, "abab");
}

static void test_order(void **state)
{
	(void)state;
	run(order_main, NULL);
}

static void sleep_main(void *arg)
{
	(void)arg;
	int64_t begun = clock_us();
	assert_int_equal(fiber_sleep_ms(20), 0);
	int64_t took = clock_us() - begun;
	assert_true(took >= 20000 && took < 60000);
	begun = clock_us();
	assert_int_equal(fiber_sleep_us(300), 0);
	took = clock_us() - begun;
	assert_true(took >= 300 && took < 20000);
	assert_int_equal(fiber_sleep_us(0), 0);
	assert_int_equal(fiber_sleep_us(-5), 0);
}

static void test_sleep(void **state)
{
	(void)state;
	run(sleep_main, NULL);
}

/* Descriptors */

static void fd_main(void *arg)
{
	int p[2];
	(void)arg;

	assert_int_equal(pipe(p), 0);
	assert_int_equal(fiber_wait_fd(p[0], LOOP_READ, in_ms(5)), -ETIMEDOUT);
	assert_int_equal(fiber_wait_fd(p[0], LOOP_READ, clock_us() - 1), -ETIMEDOUT);
	assert_int_equal(fiber_wait_fd(p[1], LOOP_WRITE, CLOCK_FOREVER), LOOP_WRITE);
	assert_int_equal(write(p[1], "x", 1), 1);
	assert_int_equal(fiber_wait_fd(p[0], LOOP_READ, in_ms(1000)), LOOP_READ);
	/* Ready wins over a deadline that has passed. */
	assert_int_equal(fiber_wait_fd(p[0], LOOP_READ, clock_us() - 1), LOOP_READ);
	(void)close(p[1]);
	char c[2];
	assert_int_equal(read(p[0], c, 2), 1);
	assert_int_equal(fiber_wait_fd(p[0], LOOP_READ, in_ms(1000)), LOOP_READ);
	(void)close(p[0]);
}

static void test_fd(void **state)
{
	(void)state;
	run(fd_main, NULL);
}

/* Cancel */

static int result;

static void sleeper(void *arg)
{
	(void)arg;
	result = fiber_sleep_ms(60000);
	assert_false(fiber_cancelled());
	/* Delivered once: what follows is ordinary. */
	assert_int_equal(fiber_sleep_ms(1), 0);
	note("cleaned");
}

static void shielded(void *arg)
{
	(void)arg;
	fiber_shield();
	assert_int_equal(fiber_sleep_ms(10), 0);
	fiber_shield();
	assert_false(fiber_cancelled()); /* kept, not due */
	assert_int_equal(fiber_check(), 0);
	assert_int_equal(fiber_yield(), 0);
	fiber_unshield();
	assert_int_equal(fiber_yield(), 0);
	fiber_unshield();
	result = fiber_check();
	assert_int_equal(fiber_check(), 0);
}

static void cancel_cb(void *arg)
{
	fiber_cancel(arg);
}

static void self_main(void *arg)
{
	(void)arg;
	fiber_cancel(fiber_self());
	assert_true(fiber_cancelled());
	assert_int_equal(fiber_yield(), -ECANCELED);
	assert_false(fiber_cancelled());
	assert_int_equal(fiber_yield(), 0);
}

static void test_cancel_is_delivered_once(void **state)
{
	(void)state;
	struct fiber *f = fiber_spawn("sleeper", sleeper, NULL);
	loop_soon(cancel_cb, f);
	result = 0;
	loop_run();
	assert_true(fiber_done(f));
	fiber_join(f);
	assert_int_equal(result, -ECANCELED);
	assert_string_equal(trace, "cleaned");
	run(self_main, NULL);
}

static void stop_main(void *arg)
{
	(void)arg;
	/* Not begun yet: the first wait is cancelled. */
	struct fiber *f = fiber_spawn("sleeper", sleeper, NULL);
	result = 0;
	fiber_stop(f);
	assert_int_equal(result, -ECANCELED);
	f = fiber_spawn("shielded", shielded, NULL);
	assert_int_equal(fiber_yield(), 0);
	result = 0;
	fiber_stop(f);
	assert_int_equal(result, -ECANCELED);
}

static void test_stop(void **state)
{
	(void)state;
	run(stop_main, NULL);
}

static void joiner(void *arg)
{
	fiber_join(arg);
	note("joined ");
	result = fiber_yield();
}

static void join_main(void *arg)
{
	(void)arg;
	struct fiber *slow = fiber_spawn("slow", note_twice, (void *)(uintptr_t) "s ");
	struct fiber *f = fiber_spawn("joiner", joiner, slow);
	assert_int_equal(fiber_yield(), 0);
	/* A join is not ended by a cancel, which is kept for what comes after. */
	fiber_stop(f);
	assert_string_equal(trace, "s s joined ");
	assert_int_equal(result, -ECANCELED);
}

static void test_join_keeps_a_cancel(void **state)
{
	(void)state;
	run(join_main, NULL);
}

static void test_detach(void **state)
{
	(void)state;
	fiber_detach(fiber_spawn("loner", note_twice, (void *)(uintptr_t) "d"));
	loop_run();
	assert_string_equal(trace, "dd");
	struct fiber *f = fiber_spawn("loner", note_twice, (void *)(uintptr_t) "e");
	loop_run();
	fiber_detach(f);
}

/* Conds and mutexes */

static struct fiber_cond cond;
static struct fiber_mutex mutex;

static void cond_waiter(void *arg)
{
	assert_int_equal(fiber_cond_wait(&cond, CLOCK_FOREVER), 0);
	note(arg);
}

static void cond_main(void *arg)
{
	struct fiber *f[3];
	static const char *const names[] = {"1", "2", "3"};
	(void)arg;

	assert_int_equal(fiber_cond_wait(&cond, in_ms(5)), -ETIMEDOUT);
	assert_null(cond.head);
	fiber_cond_signal(&cond);
	for (size_t i = 0; i < COUNT_OF(f); i++)
		f[i] = fiber_spawn(names[i], cond_waiter, (void *)(uintptr_t)names[i]);
	struct fiber *s = fiber_spawn("cancelled", sleeper, NULL);
	assert_int_equal(fiber_yield(), 0);
	assert_string_equal(trace, "");
	fiber_cond_signal(&cond);
	for (size_t i = 0; i < COUNT_OF(f); i++)
		fiber_join(f[i]);
	assert_string_equal(trace, "123");
	fiber_stop(s);
}

static void test_cond(void **state)
{
	(void)state;
	run(cond_main, NULL);
}

static int inside, most_inside;

static void locker(void *arg)
{
	int *rounds = arg;

	for (int i = 0; i < 20; i++) {
		assert_int_equal(fiber_mutex_lock(&mutex, CLOCK_FOREVER), 0);
		if (++inside > most_inside)
			most_inside = inside;
		assert_int_equal(fiber_yield(), 0);
		inside--;
		(*rounds)++;
		fiber_mutex_unlock(&mutex);
	}
}

static void mutex_main(void *arg)
{
	int rounds[3] = {0};
	struct fiber *f[3];
	(void)arg;

	assert_int_equal(fiber_mutex_lock(&mutex, CLOCK_FOREVER), 0);
	assert_int_equal(fiber_mutex_lock(&mutex, in_ms(5)), -ETIMEDOUT);
	for (int i = 0; i < 3; i++)
		f[i] = fiber_spawn("locker", locker, &rounds[i]);
	assert_int_equal(fiber_sleep_ms(2), 0);
	assert_int_equal(rounds[0] + rounds[1] + rounds[2], 0);
	fiber_mutex_unlock(&mutex);
	fiber_join(f[0]);
	/* Nobody starved though each asks again at once. */
	assert_true(rounds[1] >= 19 && rounds[2] >= 18);
	fiber_join(f[1]);
	fiber_join(f[2]);
	assert_int_equal(most_inside, 1);
	assert_false(mutex.held);
}

static void test_mutex(void **state)
{
	(void)state;
	run(mutex_main, NULL);
}

/* Stacks, names, many */

static void deep(void *arg)
{
	volatile char block[12000];

	for (size_t i = 0; i < sizeof(block); i++)
		block[i] = (char)i;
	assert_int_equal(fiber_yield(), 0);
	for (size_t i = 0; i < sizeof(block); i++)
		assert_int_equal(block[i], (char)i);
	(*(int *)arg)++;
}

static void many_main(void *arg)
{
	struct fiber *f[300];
	int n = 0;
	(void)arg;

	for (int round = 0; round < 3; round++) {
		for (size_t i = 0; i < COUNT_OF(f); i++)
			f[i] = fiber_spawn("deep", deep, &n);
		for (size_t i = 0; i < COUNT_OF(f); i++)
			fiber_join(f[i]);
	}
	assert_int_equal(n, 900);
}

static void test_many(void **state)
{
	(void)state;
	run(many_main, NULL);
}

static void count_one(const struct fiber *f, void *arg)
{
	assert_string_equal(fiber_name(f), "main");
	assert_string_equal(fiber_get_doing(f), "fence: SET GLOBAL");
	(*(int *)arg)++;
}

static void names_main(void *arg)
{
	int n = 0;
	char text[300];
	(void)arg;

	fiber_doing("%s: %s", "fence", "SET GLOBAL");
	fiber_each(count_one, &n);
	assert_int_equal(n, 1);
	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	fiber_doing("%s", text);
	assert_int_equal(strlen(fiber_get_doing(fiber_self())), 159);
}

static void test_names(void **state)
{
	(void)state;
	assert_null(fiber_self());
	fiber_doing("outside");
	run(names_main, NULL);
}

/* The loop itself */

static void count_soon(void *arg)
{
	(*(int *)arg)++;
}

static void stop_loop(int events, void *arg)
{
	assert_int_equal(events, LOOP_TIMEOUT);
	(*(int *)arg)++;
	loop_stop();
}

static void never(int events, void *arg)
{
	(void)events, (void)arg;
	fail();
}

static void test_loop(void **state)
{
	int n = 0;
	(void)state;

	loop_run(); /* nothing armed: comes back */
	loop_soon(count_soon, &n);
	loop_post(count_soon, &n);
	loop_run();
	assert_int_equal(n, 2);
	struct loop_watch *w = loop_watch_once(-1, 0, CLOCK_FOREVER, never, NULL);
	struct loop_watch *v = loop_watch_once(-1, 0, in_ms(60000), never, NULL);
	(void)loop_watch_once(-1, 0, in_ms(3), stop_loop, &n);
	loop_run(); /* the others keep it alive, loop_stop ends it */
	assert_int_equal(n, 3);
	loop_unwatch(w);
	loop_unwatch(v);
	loop_unwatch(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_order, setup, teardown),
		cmocka_unit_test_setup_teardown(test_sleep, setup, teardown),
		cmocka_unit_test_setup_teardown(test_fd, setup, teardown),
		cmocka_unit_test_setup_teardown(test_cancel_is_delivered_once, setup, teardown),
		cmocka_unit_test_setup_teardown(test_stop, setup, teardown),
		cmocka_unit_test_setup_teardown(test_join_keeps_a_cancel, setup, teardown),
		cmocka_unit_test_setup_teardown(test_detach, setup, teardown),
		cmocka_unit_test_setup_teardown(test_cond, setup, teardown),
		cmocka_unit_test_setup_teardown(test_mutex, setup, teardown),
		cmocka_unit_test_setup_teardown(test_many, setup, teardown),
		cmocka_unit_test_setup_teardown(test_names, setup, teardown),
		cmocka_unit_test_setup_teardown(test_loop, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
