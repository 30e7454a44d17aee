/* in_loop: a test's body in a fiber of the real loop. */
#ifndef TESTS_UNIT_IN_LOOP_H
#define TESTS_UNIT_IN_LOOP_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "lib/base/clock.h"
#include "lib/io/fiber.h"
#include "lib/io/loop.h"

/* Runs the loop until nothing is left to do; fn has returned by then. */
static inline void run(void (*fn)(void *), void *arg)
{
	struct fiber *f = fiber_spawn("main", fn, arg);

	loop_run();
	assert_true(fiber_done(f));
	fiber_join(f);
}

/* That time from now, as a deadline. */
static inline int64_t in_ms(int64_t ms)
{
	return clock_us() + ms * 1000;
}

#endif
