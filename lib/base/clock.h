/*
 * clock: the only source of time. Monotonic for durations and deadlines, wall for people and the journal.
 * Milliseconds (_ms) or microseconds (_us) in int64_t. Tests replace both sources.
 */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include "lib/base/base.h"

#define CLOCK_FOREVER INT64_MAX

int64_t clock_ms(void);	     /* monotonic */
int64_t clock_us(void);	     /* monotonic */
int64_t clock_wall_ms(void); /* since the epoch, UTC */
/* NULL restores the real clocks. */
void clock_replace(int64_t (*mono_us)(void), int64_t (*wall_ms)(void));
/* now + delta, saturating; a delta of CLOCK_FOREVER gives CLOCK_FOREVER. */
int64_t clock_deadline_ms(int64_t delta_ms);
/* "2026-11-21T06:24:55.123Z" into buf (at least 25 bytes); returns buf. */
char *clock_format_rfc3339(int64_t wall_ms, char *buf, size_t size);
/* Parses RFC 3339 with offset or Z, or local time without one; 0 or -EINVAL. */
int clock_parse_time(const char *s, int64_t *ret_wall_ms) MUSTCHECK;

#endif
