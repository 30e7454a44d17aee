/* work: jobs on threads, deadlines, abandoned jobs, a full pool, lanes. Jobs block on gates, never on time.
 */
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "lib/base/arena.h"
#include "lib/base/clock.h"
#include "lib/io/fiber.h"
#include "lib/io/loop.h"
#include "lib/io/work.h"
#include "tests/unit/in_loop.h"

static int gate[2]; /* jobs hang until a byte for each is written, or it is closed */
static atomic_int dropped, ran;

static int setup(void **state)
{
	(void)state;
	atomic_store(&dropped, 0);
	atomic_store(&ran, 0);
	assert_int_equal(pipe(gate), 0);
	assert_int_equal(loop_init(), 0);
	return work_init();
}

static int teardown(void **state)
{
	(void)state;
	assert_int_equal(fiber_count(), 0);
	if (gate[1] >= 0)
		(void)close(gate[1]);
	(void)work_free();
	(void)close(gate[0]);
	loop_free();
	return 0;
}

static void hang(void *arg)
{
	char c;
	(void)arg;

	(void)!read(gate[0], &c, 1);
	atomic_fetch_add(&ran, 1);
}

static void drop(void *arg)
{
	free(arg);
	atomic_fetch_add(&dropped, 1);
}

static void double_it(void *arg)
{
	*(int *)arg *= 2;
}

static void simple_main(void *arg)
{
	int n = 21;
	(void)arg;

	assert_int_equal(work_run(double_it, drop, &n, CLOCK_FOREVER), 0);
	assert_int_equal(n, 42);
	assert_int_equal(work_run(double_it, drop, &n, in_ms(5000)), 0);
	assert_int_equal(n, 84);
	assert_int_equal(atomic_load(&dropped), 0);
}

static void test_simple(void **state)
{
	(void)state;
	run(simple_main, NULL);
}

static void MAY_WAIT wait_for(atomic_int *what, int n)
{
	for (int i = 0; i < 5000 && atomic_load(what) < n; i++)
		assert_int_equal(fiber_sleep_ms(1), 0);
	assert_int_equal(atomic_load(what), n);
}

static void hang_fiber(void *arg)
{
	int *r = arg;

	*r = work_run(hang, drop, xcalloc(1, 1), CLOCK_FOREVER);
}

static void abandon_main(void *arg)
{
	int r = 1;
	(void)arg;

	int64_t begun = clock_us();
	assert_int_equal(work_run(hang, drop, xcalloc(1, 100), in_ms(20)), -ETIMEDOUT);
	assert_true(clock_us() - begun < 500000);
	assert_int_equal(work_abandoned(), 1);
	struct fiber *f = fiber_spawn("hang", hang_fiber, &r);
	assert_int_equal(fiber_sleep_ms(5), 0);
	fiber_stop(f);
	assert_int_equal(r, -ECANCELED);
	assert_int_equal(work_abandoned(), 2);
	assert_int_equal(atomic_load(&dropped), 0);
	/* They return at last: their threads drop them. */
	assert_int_equal(write(gate[1], "xx", 2), 2);
	wait_for(&dropped, 2);
	assert_int_equal(atomic_load(&ran), 2);
	assert_int_equal(work_abandoned(), 0);
}

static void test_abandon(void **state)
{
	(void)state;
	run(abandon_main, NULL);
}

static void cancelled_main(void *arg)
{
	(void)arg;
	/* A cancel that is due: the job may or may not have run, but is dropped. */
	for (int i = 1; i <= 50; i++) {
		fiber_cancel(fiber_self());
		assert_int_equal(
			work_run(double_it, drop, xcalloc(1, sizeof(int)), CLOCK_FOREVER), -ECANCELED);
		wait_for(&dropped, i);
	}
}

static void test_cancelled_before(void **state)
{
	(void)state;
	run(cancelled_main, NULL);
}

static void quick(void *arg)
{
	(void)arg;
	atomic_fetch_add(&ran, 1);
}

static void quick_fiber(void *arg)
{
	int *r = arg;

	*r = work_run(quick, drop, xcalloc(1, 1), CLOCK_FOREVER);
}

static void cancelled_at_the_end_main(void *arg)
{
	(void)arg;
	/* The loop hears of the end between the cancel and its delivery, or not yet: cancelled either way. */
	for (int i = 1; i <= 20; i++) {
		int r = 1;
		struct fiber *f = fiber_spawn("quick", quick_fiber, &r);
		assert_int_equal(fiber_yield(), 0);
		while (atomic_load(&ran) < i)
			(void)poll(NULL, 0, 1);
		assert_int_equal(fiber_yield(), 0);
		fiber_stop(f);
		assert_int_equal(r, -ECANCELED);
		wait_for(&dropped, i);
	}
}

static void test_cancelled_at_the_end(void **state)
{
	(void)state;
	run(cancelled_at_the_end_main, NULL);
}

static void full_fn(void *arg)
{
	int *r = arg;
	void *mine = xcalloc(1, 1);

	*r = work_run(hang, drop, mine, CLOCK_FOREVER);
	free(mine); /* ran, or was refused: still ours */
}

static void full_main(void *arg)
{
	enum { N = 200 };
	struct fiber *f[N];
	int r[N], done = 0, refused = 0, n = 1;
	(void)arg;

	for (int i = 0; i < N; i++) {
		r[i] = 1;
		f[i] = fiber_spawn("full", full_fn, &r[i]);
	}
	assert_int_equal(fiber_yield(), 0);
	for (int i = 0; i < N; i++)
		refused += r[i] == -EAGAIN;
	/* 32 threads and the queue of 64 were taken, and the rest did not wait. */
	assert_int_equal(refused, N - 96);
	assert_int_equal(work_run(double_it, drop, &n, CLOCK_FOREVER), -EAGAIN);
	assert_int_equal(n, 1);
	(void)close(gate[1]);
	gate[1] = -1;
	for (int i = 0; i < N; i++) {
		fiber_join(f[i]);
		done += r[i] == 0;
	}
	assert_int_equal(done + refused, N);
	assert_int_equal(atomic_load(&ran), done);
	assert_int_equal(work_run(double_it, drop, &n, CLOCK_FOREVER), 0);
	assert_int_equal(n, 2);
}

static void test_full(void **state)
{
	(void)state;
	run(full_main, NULL);
}

static void hung_others_main(void *arg)
{
	enum { N = 20 };
	struct fiber *f[N];
	int r[N], n = 1;
	(void)arg;

	for (int i = 0; i < N; i++)
		f[i] = fiber_spawn("hang", full_fn, &r[i]);
	assert_int_equal(fiber_yield(), 0);
	/* More jobs hang than threads are kept, and another still runs at once. */
	assert_int_equal(work_run(double_it, drop, &n, in_ms(2000)), 0);
	(void)close(gate[1]);
	gate[1] = -1;
	for (int i = 0; i < N; i++)
		fiber_join(f[i]);
}

static void test_hung_jobs_do_not_stop_others(void **state)
{
	(void)state;
	run(hung_others_main, NULL);
}

static void simple_main_again(void *arg)
{
	int n = 21;
	(void)arg;

	assert_int_equal(work_run(double_it, drop, &n, CLOCK_FOREVER), 0);
	assert_int_equal(n, 42);
}

static void hung_main(void *arg)
{
	(void)arg;
	assert_int_equal(work_run(hang, drop, xcalloc(1, 1), in_ms(10)), -ETIMEDOUT);
}

static void test_free_with_a_hung_job(void **state)
{
	(void)state;
	run(hung_main, NULL);
	int64_t begun = clock_us();
	assert_int_equal(work_free(), 1); /* one hangs */
	assert_true(clock_us() - begun < 3000000);
	/* It ends after all; a new pool does not notice. */
	assert_int_equal(work_init(), 0);
	assert_int_equal(write(gate[1], "x", 1), 1);
	for (int i = 0; i < 5000 && atomic_load(&dropped) < 1; i++)
		(void)poll(NULL, 0, 1);
	assert_int_equal(atomic_load(&dropped), 1);
	assert_int_equal(work_abandoned(), 0);
	run(simple_main_again, NULL);
}

static void many_main(void *arg)
{
	struct fiber *f[20];
	(void)arg;

	for (size_t i = 0; i < COUNT_OF(f); i++)
		f[i] = fiber_spawn("one", simple_main_again, NULL);
	for (size_t i = 0; i < COUNT_OF(f); i++)
		fiber_join(f[i]);
}

static int threads_now(void)
{
	DIR *d = opendir("/proc/self/task");
	int n = 0;

	assert_non_null(d);
	for (const struct dirent *e = readdir(d); e; e = readdir(d))
		n += e->d_name[0] != '.';
	(void)closedir(d);
	return n;
}

/* All threads, those started for a while too, are gone when it returns: exit handlers meet none. */
static void test_free_joins(void **state)
{
	(void)state;
	run(many_main, NULL);
	assert_int_equal(work_free(), 0);
	assert_int_equal(threads_now(), 1);
}

/* Lanes */

static int order[100], norder, ndone;

static void lane_fn(void *arg)
{
	order[norder++] = (int)(intptr_t)arg;
}

static void lane_done(void *arg)
{
	assert_int_equal((intptr_t)arg, ndone);
	ndone++;
}

static void test_lane(void **state)
{
	struct work_lane *lane = work_lane_new("a name longer than the kernel takes");
	(void)state;

	norder = ndone = 0;
	for (intptr_t i = 0; i < 50; i++)
		work_lane_post(lane, lane_fn, lane_done, (void *)i);
	loop_run(); /* the loop stays while a lane works */
	assert_int_equal(ndone, 50);
	for (intptr_t i = 50; i < 100; i++)
		work_lane_post(lane, lane_fn, lane_done, (void *)i);
	work_lane_free(lane); /* finishes what is queued */
	assert_int_equal(ndone, 100);
	for (int i = 0; i < 100; i++)
		assert_int_equal(order[i], i);
	work_lane_free(NULL);
	loop_run();
	assert_int_equal(ndone, 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_simple, setup, teardown),
		cmocka_unit_test_setup_teardown(test_abandon, setup, teardown),
		cmocka_unit_test_setup_teardown(test_cancelled_before, setup, teardown),
		cmocka_unit_test_setup_teardown(test_cancelled_at_the_end, setup, teardown),
		cmocka_unit_test_setup_teardown(test_full, setup, teardown),
		cmocka_unit_test_setup_teardown(test_hung_jobs_do_not_stop_others, setup, teardown),
		cmocka_unit_test_setup_teardown(test_free_joins, setup, teardown),
		cmocka_unit_test_setup_teardown(test_free_with_a_hung_job, setup, teardown),
		cmocka_unit_test_setup_teardown(test_lane, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
