/* str: buffers, durations, sizes, numbers, UTF-8. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "lib/base/arena.h"
#include "lib/base/str.h"

static void test_strbuf(void **state)
{
	struct strbuf b = {0};
	(void)state;

	assert_string_equal(strbuf_str(&b), "");
	strbuf_add(&b, "");
	assert_non_null(b.data);
	for (int i = 0; i < 1000; i++)
		strbuf_addf(&b, "%d,", i);
	assert_int_equal(b.len, 3890);
	assert_int_equal(strlen(strbuf_str(&b)), b.len);
	strbuf_addn(&b, "a\0b", 3);
	assert_int_equal(b.len, 3893);
	assert_memory_equal(b.data + 3890, "a\0b", 4);
	strbuf_free(&b);
	assert_null(b.data);
	strbuf_free(&b);
}

static void test_duration(void **state)
{
	static const struct {
		const char *text;
		int64_t us; /* -1: refused */
		const char *back;
	} rows[] = {
		{"500ms", 500000, "500ms"},
		{"10s", 10000000, "10s"},
		{"1h", INT64_C(3600000000), "1h"},
		{"250us", 250, "250us"},
		{"1500ms", 1500000, "1500ms"},
		{"120s", 120000000, "2m"},
		{"1000us", 1000, "1ms"},
		{"0s", 0, "0s"},
		{"10", -1, NULL},
		{"", -1, NULL},
		{"s", -1, NULL},
		{"-1s", -1, NULL},
		{"1 s", -1, NULL},
		{"1.5s", -1, NULL},
		{"1d", -1, NULL},
		{"1sx", -1, NULL},
		{"9223372036854775807s", -1, NULL},
		{"99999999999999999999us", -1, NULL},
		{"9223372036854775807us", INT64_MAX, "9223372036854775807us"},
	};
	char buf[24];
	(void)state;

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		int64_t us = -7;
		int r = str_parse_duration_us(rows[i].text, &us);
		assert_int_equal(r, rows[i].us < 0 ? -EINVAL : 0);
		assert_int_equal(us, rows[i].us < 0 ? -7 : rows[i].us);
		if (rows[i].back)
			assert_string_equal(str_format_duration(us, buf, sizeof(buf)), rows[i].back);
	}
	assert_int_equal(str_parse_duration_us(NULL, &(int64_t){0}), -EINVAL);
}

static void test_size(void **state)
{
	int64_t v = -7;
	(void)state;

	assert_int_equal(str_parse_size("4096", &v), 0);
	assert_int_equal(v, 4096);
	assert_int_equal(str_parse_size("10K", &v), 0);
	assert_int_equal(v, 10240);
	assert_int_equal(str_parse_size("2M", &v), 0);
	assert_int_equal(v, 2 << 20);
	assert_int_equal(str_parse_size("1G", &v), 0);
	assert_int_equal(v, 1 << 30);
	v = -7;
	assert_int_equal(str_parse_size("9223372036854775807K", &v), -EINVAL);
	assert_int_equal(str_parse_size("1k", &v), -EINVAL);
	assert_int_equal(str_parse_size("K", &v), -EINVAL);
	assert_int_equal(v, -7);
}

static void test_int(void **state)
{
	int64_t v = -7;
	(void)state;

	assert_int_equal(str_parse_int("0", 0, 9, &v), 0);
	assert_int_equal(v, 0);
	assert_int_equal(str_parse_int("-5", -5, 9, &v), 0);
	assert_int_equal(v, -5);
	assert_int_equal(str_parse_int("9223372036854775807", INT64_MIN, INT64_MAX, &v), 0);
	assert_int_equal(v, INT64_MAX);
	v = -7;
	assert_int_equal(str_parse_int("10", 0, 9, &v), -ERANGE);
	assert_int_equal(str_parse_int("-1", 0, 9, &v), -ERANGE);
	assert_int_equal(str_parse_int("9223372036854775808", INT64_MIN, INT64_MAX, &v), -ERANGE);
	assert_int_equal(str_parse_int("9223372036854775808x", INT64_MIN, INT64_MAX, &v), -EINVAL);
	assert_int_equal(str_parse_int("", 0, 9, &v), -EINVAL);
	assert_int_equal(str_parse_int("-", 0, 9, &v), -EINVAL);
	assert_int_equal(str_parse_int("1 ", 0, 9, &v), -EINVAL);
	assert_int_equal(str_parse_int(" 1", 0, 9, &v), -EINVAL);
	assert_int_equal(str_parse_int("+1", 0, 9, &v), -EINVAL);
	assert_int_equal(str_parse_int(NULL, 0, 9, &v), -EINVAL);
	assert_int_equal(v, -7);
}

static void test_utf8(void **state)
{
	static const char *const good[] = {"", "plain", "\xc3\xa4", "\xe2\x82\xac", "\xf0\x9f\x92\xa9",
		"\xef\xbf\xbf", "\xf4\x8f\xbf\xbf"};
	static const char *const bad[] = {"\x80", "\xc3", "\xc0\xaf", "\xc1\xbf", "\xe0\x80\xaf",
		"\xed\xa0\x80", "\xf0\x80\x80\x80", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff",
		"a\xe2\x82", "\xe2\x28\xa1"};
	(void)state;

	for (size_t i = 0; i < COUNT_OF(good); i++)
		assert_true(str_utf8_valid(good[i], strlen(good[i])));
	for (size_t i = 0; i < COUNT_OF(bad); i++)
		assert_false(str_utf8_valid(bad[i], strlen(bad[i])));
}

static void test_host_and_port(void **state)
{
	char buf[64];

	(void)state;
	(void)snprintf(buf, sizeof(buf), HOST_PORT, HOST_PORT_OF("10.0.0.1", 3306));
	assert_string_equal(buf, "10.0.0.1:3306");
	(void)snprintf(buf, sizeof(buf), HOST_PORT, HOST_PORT_OF("fd00::1", (uint16_t)65535));
	assert_string_equal(buf, "[fd00::1]:65535");
}

static void test_helpers(void **state)
{
	char buf[5];
	(void)state;

	assert_true(str_eq(NULL, NULL));
	assert_false(str_eq(NULL, ""));
	assert_true(str_eq("a", "a"));
	assert_false(str_eq("a", "A"));
	assert_true(str_ieq("a", "A"));
	assert_false(str_ieq("a", NULL));
	assert_string_equal(str_copy(buf, sizeof(buf), "abc"), "abc");
	assert_string_equal(str_copy(buf, sizeof(buf), "abcdefgh"), "abcd");
	assert_string_equal(str_copy(buf, sizeof(buf), "abc\xc3\xa4"), "abc");
	assert_string_equal(str_copy(buf, sizeof(buf), "ab\xc3\xa4"), "ab\xc3\xa4");
	assert_string_equal(str_copy(buf, sizeof(buf), NULL), "");
	str_free_secret(NULL);
	str_free_secret(xstrdup("secret"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_strbuf),
		cmocka_unit_test(test_duration),
		cmocka_unit_test(test_size),
		cmocka_unit_test(test_int),
		cmocka_unit_test(test_utf8),
		cmocka_unit_test(test_host_and_port),
		cmocka_unit_test(test_helpers),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
