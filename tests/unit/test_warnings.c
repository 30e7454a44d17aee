/* test_warnings: what a flip keeps of what it has to say. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>

#include "lib/flip/flip_priv.h"

static void test_an_alarm_is_kept_whatever_was_said(void **state)
{
	static struct flip f;
	int kept;
	(void)state;

	for (int i = 0; i < 3; i++)
		flip_warn(&f, "the same");
	assert_int_equal(f.nwarnings, 1);
	for (int i = 0; i < 2000; i++)
		flip_warn(&f, "try %d failed", i);
	kept = f.nwarnings;
	assert_in_range(kept, 100, 1999); /* no more than anybody reads, and no end of memory */
	flip_warn(&f, "ALARM: both sides are open");
	assert_int_equal(f.nwarnings, kept + 1);
	assert_string_equal(f.warnings[kept], "ALARM: both sides are open");
	for (int i = 0; i < f.nwarnings; i++)
		free(f.warnings[i]);
	free(f.warnings);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_an_alarm_is_kept_whatever_was_said),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
