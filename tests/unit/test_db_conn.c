/* test_db_conn: who waits for one of the places to connect from, and is cancelled just when it gets one. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdatomic.h>

#include "lib/io/db_conn.h"
#include "lib/io/work.h"
#include "tests/unit/peer.h"

#define PLACES 24

static int gate[2];
static atomic_int hanging;
static uint16_t port;

static void serve(struct peer *p, int fd)
{
	(void)p;
	(void)!send(fd, "x", 1, MSG_NOSIGNAL);
	(void)fiber_wait_fd(fd, LOOP_READ, CLOCK_FOREVER);
}

/* Hangs until the gate is closed. */
static void hang(struct db_conn_job *job)
{
	char c;
	(void)job;

	atomic_fetch_add(&hanging, 1);
	(void)!read(gate[0], &c, 1);
}

static void until_hanging(int n)
{
	for (int i = 0; i < 1000 && atomic_load(&hanging) < n; i++)
		(void)fiber_sleep_ms(5);
	assert_int_equal(atomic_load(&hanging), n);
}

static void connect_fiber(void *arg)
{
	struct db_opts o = {.host = "127.0.0.1", .port = port};
	struct db_conn_job *job = db_conn_job_new(&o, peer_deadline_us(3000));

	job->connect = hang;
	*(int *)arg = db_conn_run(job, NULL);
}

static void body_cancelled_as_it_gets_a_place(void *arg)
{
	struct peer p;
	struct fiber *f[PLACES + 1];
	int r[PLACES + 1] = {0};
	(void)arg;

	assert_int_equal(work_init(), 0);
	assert_int_equal(pipe(gate), 0);
	peer_start(&p, serve);
	port = p.port;
	for (int i = 0; i <= PLACES; i++) {
		f[i] = fiber_spawn("connect", connect_fiber, &r[i]);
		/* The later ones knock first. */
		for (int k = 0; k < 50; k++)
			(void)fiber_yield();
	}
	until_hanging(PLACES);
	int64_t begun = clock_us();
	fiber_cancel(f[0]);
	fiber_cancel(f[PLACES]);
	fiber_join(f[PLACES]);
	assert_int_equal(r[PLACES], -ECANCELED);
	assert_true(clock_us() - begun < 1000000);
	/* Nor has it kept the place. */
	struct fiber *next = fiber_spawn("connect", connect_fiber, &r[PLACES]);
	until_hanging(PLACES + 1);
	assert_int_equal(work_abandoned(), 1);
	for (int i = 0; i < PLACES; i++)
		fiber_stop(f[i]);
	fiber_stop(next);
	assert_int_equal(work_abandoned(), PLACES + 1);
	(void)close(gate[1]);
	peer_stop(&p);
	assert_int_equal(work_free(), 0);
	(void)close(gate[0]);
}

static void test_cancelled_as_it_gets_a_place(void **state)
{
	(void)state;
	peer_run(body_cancelled_as_it_gets_a_place);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cancelled_as_it_gets_a_place),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
