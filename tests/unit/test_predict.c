/* predict: the formula of the blackout, by hand-made parts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lib/flip/predict.h"

/* Two servers of one data centre: all that a flip waits for shows as a part of its own. */
static const struct predict_parts near_by = {.guarded = true,
	.kill_late = true,
	.gtid = true,
	.old_us = 300,
	.new_us = 400,
	.write_us = 1000,
	.apply_us = 900,
	.endpoints_us = 1500,
	.journal_us = 500,
	.kill_us = 7000,
	.verify_us = 20000};

static struct prediction of(const struct predict_parts *p)
{
	struct prediction r;

	predict(p, &r);
	assert_int_equal(r.total_us,
		r.fence_us + r.kill_us + r.endpoints_us + r.sync_us + r.verify_us + r.intent_us + r.open_us);
	return r;
}

static void test_guarded(void **state)
{
	struct predict_parts p = near_by;

	(void)state;
	/* The fence waits for a write; names; the record; the opening. Nothing is killed or compared before.
	 */
	assert_int_equal(of(&p).total_us, 1000 + 1500 + 500 + 400);
	assert_int_equal(of(&p).kill_us + of(&p).sync_us + of(&p).verify_us, 0);
	p.endpoints_us = 0;
	assert_int_equal(of(&p).total_us, 1000 + 500 + 400);
	p.write_us = 100; /* never less than its own round trip */
	assert_int_equal(of(&p).fence_us, 300);
	p.journal_us = 100; /* nor the record less than the proof beside it */
	assert_int_equal(of(&p).intent_us, 300);
}

static void test_replication_beside_it(void **state)
{
	struct predict_parts p = near_by;

	(void)state;
	/* It has 2000 us for nothing: names and record. What it takes longer, the opening waits. */
	p.apply_us = 2400;
	assert_int_equal(of(&p).open_us, 400);
	p.apply_us = 50000;
	assert_int_equal(of(&p).open_us, 50000 - 2000);
	assert_int_equal(of(&p).total_us, 1000 + 50000);
	p.guarded = false;
	assert_int_equal(of(&p).sync_us, 50000 - 1500);
}

static void test_kill_before_the_position(void **state)
{
	struct predict_parts p = near_by;

	(void)state;
	p.kill_late = false;
	assert_int_equal(of(&p).kill_us, 300 + 7000 + 300);
	assert_int_equal(of(&p).total_us, 1000 + 7600 + 1500 + 500 + 400);
}

static void test_plain_order(void **state)
{
	struct predict_parts p = near_by;

	(void)state;
	p.guarded = false;
	assert_int_equal(of(&p).sync_us, 400);
	assert_int_equal(of(&p).verify_us, 400 + 20000);
	assert_int_equal(of(&p).open_us, 300 + 400);
	assert_int_equal(of(&p).total_us, 1000 + 1500 + 400 + 20400 + 500 + 700);
	p.gtid = false;
	assert_int_equal(of(&p).sync_us, 400 + 400);
}

static void test_what_is_in_the_way(void **state)
{
	struct predict_parts p = near_by;

	(void)state;
	p.blocked_us = 12000;
	p.old_fences_us = 30000;
	p.new_fences_us = 5000;
	assert_int_equal(of(&p).fence_us, 1000 + 12000 + 30000);
	assert_int_equal(of(&p).open_us, 400 + 5000);
}

static void test_text(void **state)
{
	struct predict_parts p = near_by;
	struct prediction r = of(&p);
	struct strbuf b = {0};

	(void)state;
	predict_text(&r, &b);
	assert_string_equal(strbuf_str(&b), "3.4 ms: fence 1.0, endpoints 1.5, intent 0.5, open 0.4");
	strbuf_free(&b);
	r = (struct prediction){0};
	predict_text(&r, &b);
	assert_string_equal(strbuf_str(&b), "0.0 ms");
	strbuf_free(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_guarded),
		cmocka_unit_test(test_replication_beside_it),
		cmocka_unit_test(test_kill_before_the_position),
		cmocka_unit_test(test_plain_order),
		cmocka_unit_test(test_what_is_in_the_way),
		cmocka_unit_test(test_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
