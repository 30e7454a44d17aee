/* clock: replaceable sources, deadlines, RFC 3339 both ways. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

#include "lib/base/clock.h"

static int64_t fake_us, fake_wall;

static int64_t get_us(void)
{
	return fake_us;
}

static int64_t get_wall(void)
{
	return fake_wall;
}

static void test_real(void **state)
{
	int64_t a = clock_us(), b = clock_us();
	(void)state;

	assert_true(a > 0 && b >= a);
	assert_true(llabs(clock_ms() - b / 1000) < 1000);
	assert_true(llabs(clock_wall_ms() / 1000 - (int64_t)time(NULL)) <= 1);
}

static void test_replaced(void **state)
{
	(void)state;

	clock_replace(get_us, get_wall);
	fake_us = 5000999;
	fake_wall = 42;
	assert_int_equal(clock_us(), 5000999);
	assert_int_equal(clock_ms(), 5000);
	assert_int_equal(clock_wall_ms(), 42);
	assert_int_equal(clock_deadline_ms(10), 5010);
	assert_int_equal(clock_deadline_ms(-10), 4990);
	assert_true(clock_deadline_ms(CLOCK_FOREVER) == CLOCK_FOREVER);
	assert_true(clock_deadline_ms(CLOCK_FOREVER - 1) == CLOCK_FOREVER);
	clock_replace(NULL, NULL);
	assert_true(clock_us() != 5000999);
}

static void test_format(void **state)
{
	char buf[25];
	(void)state;

	assert_string_equal(
		clock_format_rfc3339(INT64_C(1795242295123), buf, sizeof(buf)), "2026-11-21T06:24:55.123Z");
	assert_string_equal(clock_format_rfc3339(0, buf, sizeof(buf)), "1970-01-01T00:00:00.000Z");
	assert_string_equal(clock_format_rfc3339(-1, buf, sizeof(buf)), "1969-12-31T23:59:59.999Z");
}

static void test_parse(void **state)
{
	static const struct {
		const char *text;
		int64_t ms; /* -1: refused */
	} rows[] = {
		{"2026-11-21T06:24:55.123Z", INT64_C(1795242295123)},
		{"2026-11-21t06:24:55.1239z", INT64_C(1795242295123)},
		{"2026-11-21T07:24:55+01:00", INT64_C(1795242295000)},
		{"2026-11-20 20:54:55-0930", INT64_C(1795242295000)},
		{"2026-11-21T06:24Z", INT64_C(1795242240000)},
		/* Local: Europe/Berlin is an hour ahead in winter, two in summer. */
		{"2026-11-21T07:24:55", INT64_C(1795242295000)},
		{"2026-07-01 02:00", INT64_C(1782864000000)},
		{"2026-03-29T02:30:00", -1}, /* left out by the change to summer time */
		{"2026-02-30T00:00:00Z", -1},
		{"2026-13-01T00:00:00Z", -1},
		{"2026-11-21T24:00:00Z", -1},
		{"2026-11-21T06:60:00Z", -1},
		{"2026-11-21", -1},
		{"2026-11-21T06", -1},
		{"2026-11-21T06:24:55.Z", -1},
		{"2026-11-21T06:24:55Zx", -1},
		{"2026-11-21T06:24:55+1", -1},
		{"26-11-21T06:24:55Z", -1},
		{"", -1},
	};
	(void)state;

	assert_int_equal(setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3", 1), 0);
	tzset();
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		int64_t ms = -7;
		assert_int_equal(clock_parse_time(rows[i].text, &ms), rows[i].ms < 0 ? -EINVAL : 0);
		assert_int_equal(ms, rows[i].ms < 0 ? -7 : rows[i].ms);
	}
	assert_int_equal(clock_parse_time(NULL, &(int64_t){0}), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_real),
		cmocka_unit_test(test_replaced),
		cmocka_unit_test(test_format),
		cmocka_unit_test(test_parse),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
