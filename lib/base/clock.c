/* clock: the two sources of time, and RFC 3339. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "lib/base/clock.h"

static int64_t real_mono_us(void)
{
	struct timespec t;
	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static int64_t real_wall_ms(void)
{
	struct timespec t;
	(void)clock_gettime(CLOCK_REALTIME, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int64_t (*source_mono_us)(void) = real_mono_us;
static int64_t (*source_wall_ms)(void) = real_wall_ms;

void clock_replace(int64_t (*mono_us)(void), int64_t (*wall_ms)(void))
{
	source_mono_us = mono_us ? mono_us : real_mono_us;
	source_wall_ms = wall_ms ? wall_ms : real_wall_ms;
}

int64_t clock_us(void)
{
	return source_mono_us();
}

int64_t clock_ms(void)
{
	return source_mono_us() / 1000;
}

int64_t clock_wall_ms(void)
{
	return source_wall_ms();
}

int64_t clock_deadline_ms(int64_t delta_ms)
{
	int64_t now = clock_ms();

	if (delta_ms == CLOCK_FOREVER || (delta_ms > 0 && now > CLOCK_FOREVER - delta_ms))
		return CLOCK_FOREVER;
	return now + delta_ms;
}

char *clock_format_rfc3339(int64_t wall_ms, char *buf, size_t size)
{
	int64_t ms = wall_ms % 1000;
	if (ms < 0)
		ms += 1000;
	time_t s = (time_t)((wall_ms - ms) / 1000);
	struct tm t;

	if (!gmtime_r(&s, &t)) {
		(void)snprintf(buf, size, "?");
		return buf;
	}
	(void)snprintf(buf, size, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", t.tm_year + 1900, t.tm_mon + 1,
		t.tm_mday, t.tm_hour, t.tm_min, t.tm_sec, (int)ms);
	return buf;
}

/* Reads exactly n digits and moves on; -1 where there are fewer. */
static int take_digits(const char **s, int n)
{
	int value = 0;

	for (int i = 0; i < n; i++) {
		if (!isdigit((unsigned char)(*s)[i]))
			return -1;
		value = value * 10 + ((*s)[i] - '0');
	}
	*s += n;
	return value;
}

static bool take_char(const char **s, const char *any_of)
{
	if (!**s || !strchr(any_of, **s))
		return false;
	(*s)++;
	return true;
}

/* ".123456": milliseconds, the rest is cut. Nothing there is 0. */
static int take_fraction(const char **s, int *ret_ms)
{
	int scale = 100, ms = 0;

	*ret_ms = 0;
	if (!take_char(s, ".,"))
		return 0;
	if (!isdigit((unsigned char)**s))
		return -EINVAL;
	for (; isdigit((unsigned char)**s); (*s)++) {
		ms += (**s - '0') * scale;
		scale /= 10;
	}
	*ret_ms = ms;
	return 0;
}

static bool in_range(int v, int min, int max)
{
	return v >= min && v <= max;
}

/* "2026-11-21T06:24", with ":55" and a fraction or without. */
static int take_date_time(const char **s, struct tm *t, int *ret_ms)
{
	int year = take_digits(s, 4);
	if (year < 0 || !take_char(s, "-"))
		return -EINVAL;
	int month = take_digits(s, 2);
	if (!in_range(month, 1, 12) || !take_char(s, "-"))
		return -EINVAL;
	int day = take_digits(s, 2);
	if (!in_range(day, 1, 31) || !take_char(s, "Tt "))
		return -EINVAL;
	int hour = take_digits(s, 2);
	if (!in_range(hour, 0, 23) || !take_char(s, ":"))
		return -EINVAL;
	int minute = take_digits(s, 2);
	if (!in_range(minute, 0, 59))
		return -EINVAL;

	int second = 0;
	*ret_ms = 0;
	if (take_char(s, ":")) {
		second = take_digits(s, 2);
		if (!in_range(second, 0, 59) || take_fraction(s, ret_ms) < 0)
			return -EINVAL;
	}
	*t = (struct tm){.tm_year = year - 1900,
		.tm_mon = month - 1,
		.tm_mday = day,
		.tm_hour = hour,
		.tm_min = minute,
		.tm_sec = second,
		.tm_isdst = -1,
		.tm_wday = -1};
	return 0;
}

/* "Z", "+01:00", "-0530", or nothing (local). */
static int take_offset(const char **s, bool *ret_local, int *ret_minutes)
{
	*ret_local = false;
	*ret_minutes = 0;
	if (take_char(s, "Zz"))
		return 0;
	if (!**s) {
		*ret_local = true;
		return 0;
	}
	int sign = **s == '-' ? -1 : 1;
	if (!take_char(s, "+-"))
		return -EINVAL;
	int hours = take_digits(s, 2);
	(void)take_char(s, ":");
	int minutes = take_digits(s, 2);
	if (!in_range(hours, 0, 23) || !in_range(minutes, 0, 59))
		return -EINVAL;
	*ret_minutes = sign * (hours * 60 + minutes);
	return 0;
}

int clock_parse_time(const char *s, int64_t *ret_wall_ms)
{
	struct tm t;
	int ms, minutes;
	bool local;

	if (!s || take_date_time(&s, &t, &ms) < 0 || take_offset(&s, &local, &minutes) < 0 || *s)
		return -EINVAL;
	struct tm asked = t;
	time_t at = local ? mktime(&t) : timegm(&t);
	/* 31 February, or an hour that the change to summer time leaves out, comes back as another time. */
	if (t.tm_wday < 0 || t.tm_mday != asked.tm_mday || t.tm_mon != asked.tm_mon ||
		t.tm_hour != asked.tm_hour || t.tm_min != asked.tm_min)
		return -EINVAL;
	*ret_wall_ms = ((int64_t)at - (int64_t)minutes * 60) * 1000 + ms;
	return 0;
}
