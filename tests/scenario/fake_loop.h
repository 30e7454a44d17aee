/*
 * fake_loop: lib/io/loop.h over virtual time. Whatever is ready runs first; then time jumps to what is armed
 * next. flipd's own waits and the simulated world's events share one queue; a crash of flipd forgets the
 * former alone.
 */
#ifndef TESTS_SCENARIO_FAKE_LOOP_H
#define TESTS_SCENARIO_FAKE_LOOP_H

#include "lib/base/base.h"

#define VTIME_WALL_BASE_MS INT64_C(1790000000000)

int64_t vtime_us(void);
int64_t vtime_wall_ms(void);
/* fn(arg) at that time; survives a crash of flipd. */
void vtime_at(int64_t at_us, void (*fn)(void *arg), void *arg);
/* flipd's process is gone: none of its waits is ever answered, none of its calls ever run. */
void fake_loop_forget(void);
/* Called when more happens at one moment, or in all, than any run needs: a run that does not end by itself.
 */
void fake_loop_on_livelock(void (*fn)(void));

#endif
