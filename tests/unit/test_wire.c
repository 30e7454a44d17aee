/* Tests of wire: builders, readers, what is refused, and that what goes out comes back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/str.h"
#include "lib/model/wire.h"

/* Takes v over. */
static void dumps(struct wire *v, const char *want)
{
	char *text = wire_dump(v, 0);

	assert_string_equal(text, want);
	free(text);
	wire_free(v);
}

static struct wire *parse(const char *text)
{
	struct wire *v = NULL;
	struct err err = {0};

	if (wire_parse(text, strlen(text), &v, &err) < 0)
		fail_msg("%s: %s", text, err_text(&err));
	return v;
}

static void builds_objects(void **state)
{
	struct wire *o = wire_object(), *in;

	(void)state;
	wire_set_str(o, "z", "last letter first");
	wire_set_str(o, "none", NULL);
	wire_set_strf(o, "f", "%d of %s", 3, "x");
	wire_set_int(o, "i", INT64_MIN);
	wire_set_int_or_null(o, "n", -1);
	wire_set_int_or_null(o, "p", 0);
	wire_set_bool(o, "b", true);
	wire_set_null(o, "null");
	in = wire_set_object(o, "o");
	wire_set_array(in, "a");
	wire_set(o, "c", NULL);
	wire_set_int(o, "z", 1); /* keeps its place */
	wire_remove(o, "none");
	dumps(o, "{\"z\":1,\"f\":\"3 of x\",\"i\":-9223372036854775808,\"n\":null,\"p\":0,\"b\":true,"
		 "\"null\":null,\"o\":{\"a\":[]},\"c\":null}");
}

static void builds_arrays(void **state)
{
	struct wire *a = wire_array();

	(void)state;
	wire_add_str(a, "s");
	wire_add_strf(a, "%s-%d", "t", 1);
	wire_add_str(a, NULL);
	wire_add_int(a, INT64_MAX);
	wire_add_real(a, 0.5);
	wire_add_bool(a, false);
	wire_add_null(a);
	wire_set_int(wire_add_object(a), "k", 1);
	wire_add_int(wire_add_array(a), 2);
	wire_add(a, wire_number(3));
	wire_add(a, NULL);
	dumps(a, "[\"s\",\"t-1\",null,9223372036854775807,0.5,false,null,{\"k\":1},[2],3,null]");
}

static void reals_have_three_decimals(void **state)
{
	static const struct {
		double in;
		const char *out;
	} rows[] = {
		{0, "[0.0]"},
		{2, "[2.0]"},
		{0.1, "[0.1]"},
		{1.0 / 3, "[0.333]"},
		{-1.0 / 3, "[-0.333]"},
		{0.0005, "[0.001]"},
		{12.3456, "[12.346]"},
		{1763707200.123456, "[1763707200.123]"},
		{1.0 / 0.0, "[null]"},
		{NAN, "[null]"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct wire *a = wire_array();

		wire_add_real(a, rows[i].in);
		dumps(a, rows[i].out);
	}
}

static void strings_become_utf8(void **state)
{
	static const struct {
		const char *in, *out;
	} rows[] = {
		{"grün", "\"grün\""},
		{"a\xff"
		 "b",
			"\"a\xef\xbf\xbd"
			"b\""},
		{"\xc3", "\"\xef\xbf\xbd\""},
		{"\xed\xa0\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""}, /* a surrogate */
		{"\xf0\x9f\x98\x80", "\"\xf0\x9f\x98\x80\""},
		{"\n\"\\\x01", "\"\\n\\\"\\\\\\u0001\""},
		{"", "\"\""},
	};
	struct wire *o = wire_object();

	(void)state;
	for (size_t i = 0; i < COUNT_OF(rows); i++)
		dumps(wire_string(rows[i].in), rows[i].out);
	wire_set_int(o, "k\xff", 1);
	dumps(o, "{\"k\xef\xbf\xbd\":1}");
}

static void pretty(void **state)
{
	struct wire *o = parse("{\"b\":[1,2],\"a\":{}}");
	char *text = wire_dump(o, 2);

	(void)state;
	assert_string_equal(text, "{\n  \"b\": [\n    1,\n    2\n  ],\n  \"a\": {}\n}");
	free(text);
	wire_free(o);
	dumps(NULL, "null");
}

static void reads(void **state)
{
	struct wire *o =
		parse("{\"s\":\"x\",\"i\":7,\"r\":1.5,\"t\":true,\"f\":false,\"n\":null,\"a\":[1,\"y\"]}");

	(void)state;
	assert_string_equal(wire_get_str(o, "s"), "x");
	assert_null(wire_get_str(o, "i"));
	assert_null(wire_get_str(o, "gone"));
	assert_int_equal(wire_get_int(o, "i", -1), 7);
	assert_int_equal(wire_get_int(o, "r", -1), -1);
	assert_int_equal(wire_get_int(o, "s", -1), -1);
	assert_true(wire_get_real(o, "r", 0) == 1.5);
	assert_true(wire_get_real(o, "i", 0) == 7);
	assert_true(wire_get_real(o, "n", -2) == -2);
	assert_true(wire_get_bool(o, "t"));
	assert_false(wire_get_bool(o, "f"));
	assert_false(wire_get_bool(o, "i"));
	assert_true(wire_is_null(wire_get(o, "n")));
	assert_true(wire_is_null(wire_get(o, "gone")));
	assert_int_equal(wire_len(wire_get(o, "a")), 2);
	assert_int_equal(wire_len(o), 7);
	assert_int_equal(wire_len(wire_get(o, "s")), 0);
	assert_string_equal(wire_str(wire_at(wire_get(o, "a"), 1)), "y");
	assert_null(wire_at(wire_get(o, "a"), 2));
	assert_string_equal(wire_key(o, 2), "r");
	assert_null(wire_key(o, 7));
	assert_true(wire_at(o, 2) == wire_get(o, "r"));
	assert_null(wire_at(o, 7));
	wire_free(o);
}

static void absent_values_are_harmless(void **state)
{
	(void)state;
	assert_null(wire_get(wire_get(NULL, "a"), "b"));
	assert_null(wire_str(NULL));
	assert_int_equal(wire_int(NULL, 5), 5);
	assert_false(wire_bool(NULL));
	assert_int_equal(wire_len(NULL), 0);
	assert_null(wire_at(NULL, 0));
	assert_null(wire_key(NULL, 0));
	assert_int_equal(wire_type(NULL), WIRE_NULL);
	assert_null(wire_copy(NULL));
	assert_null(wire_ref(NULL));
	wire_free(NULL);
}

static int collect(const char *key, struct wire *value, void *arg)
{
	strbuf_addf(arg, "%s%lld ", key, (long long)wire_int(value, -1));
	return str_eq(key, "stop") ? 42 : 0;
}

static void walks_keys(void **state)
{
	struct wire *o = parse("{\"b\":1,\"a\":2,\"stop\":3,\"c\":4}");
	struct strbuf b = {0};

	(void)state;
	assert_int_equal(wire_each_key(o, collect, &b), 42);
	assert_string_equal(strbuf_str(&b), "b1 a2 stop3 ");
	assert_int_equal(wire_each_key(NULL, collect, &b), 0);
	strbuf_free(&b);
	wire_free(o);
}

static void counts_references(void **state)
{
	struct wire *o = wire_object(), *child = wire_object(), *copy;

	(void)state;
	wire_set_int(child, "x", 1);
	wire_set(o, "c", wire_ref(child));
	copy = wire_copy(o);
	wire_set_int(child, "x", 2);
	assert_int_equal(wire_get_int(wire_get(o, "c"), "x", 0), 2);
	assert_int_equal(wire_get_int(wire_get(copy, "c"), "x", 0), 1);
	assert_false(wire_equal(o, copy));
	wire_set_int(child, "x", 1);
	assert_true(wire_equal(o, copy));
	assert_true(wire_equal(NULL, wire_get(o, "gone")));
	assert_false(wire_equal(NULL, o));
	wire_freep(&o);
	assert_null(o);
	assert_int_equal(wire_get_int(child, "x", 0), 1);
	wire_free(child);
	wire_free(copy);
}

static void wants(void **state)
{
	struct wire *o = parse("{\"s\":\"x\",\"i\":7,\"n\":null}"), *v = o;
	static const char *const known[] = {"s", "i", "n", NULL}, *const fewer[] = {"s", "n", NULL};
	struct err err = {0};

	(void)state;
	assert_int_equal(wire_want(o, "s", WIRE_STRING, true, &v, &err), 0);
	assert_string_equal(wire_str(v), "x");
	assert_int_equal(wire_want(o, "i", WIRE_REAL, true, &v, &err), 0);
	assert_int_equal(wire_want(o, "gone", WIRE_STRING, false, &v, &err), 0);
	assert_null(v);
	assert_int_equal(wire_want(o, "n", WIRE_STRING, true, &v, &err), -EINVAL);
	assert_string_equal(err.message, "n: missing");
	err_clear(&err);
	assert_int_equal(wire_want(o, "i", WIRE_STRING, false, &v, &err), -EINVAL);
	assert_string_equal(err.message, "i: a string is wanted, not a whole number");
	err_clear(&err);
	assert_int_equal(wire_only_keys(o, known, &err), 0);
	assert_int_equal(wire_only_keys(o, fewer, &err), -EINVAL);
	assert_string_equal(err.message, "i: no such key");
	wire_free(o);
}

static void refuses(void **state)
{
	static const char *const bad[] = {"", " ", "{", "{}x", "{} {}", "[1,]", "{\"a\":1,\"a\":2}",
		"{'a':1}", "{a:1}", "nul", "01", "1.", "\"\xff\"", "\"\\ud800\"", "\"a\\u0000\"", "\"\x01\"",
		"9223372036854775808", "1e999", "[1 2]", "// c\n1", "NaN"};
	struct wire *v = NULL;

	(void)state;
	for (size_t i = 0; i < COUNT_OF(bad); i++) {
		struct err err = {0};

		if (wire_parse(bad[i], strlen(bad[i]), &v, &err) != -EINVAL)
			fail_msg("'%s' was not refused", bad[i]);
		assert_true(err.message[0]);
	}
	assert_int_equal(wire_parse("1\0", 2, &v, NULL), -EINVAL);
	struct err large = {0};
	assert_int_equal(wire_parse("1", WIRE_TEXT_MAX + 1, &v, &large), -E2BIG); /* not one byte is read */
	assert_string_equal(large.message, "67108865 bytes of JSON, at most 67108864 are read");
	assert_null(v);
}

static void bounds_depth(void **state)
{
	char text[3 * WIRE_DEPTH_MAX];
	struct wire *v = NULL;
	size_t n = WIRE_DEPTH_MAX;

	(void)state;
	memset(text, '[', n);
	memset(text + n, ']', n);
	assert_int_equal(wire_parse(text, 2 * n, &v, NULL), 0);
	wire_free(v);
	n++;
	memset(text, '[', n);
	memset(text + n, ']', n);
	assert_int_equal(wire_parse(text, 2 * n, &v, NULL), -EINVAL);
	/* Brackets in strings nest nothing. */
	memset(text, '[', sizeof(text));
	text[0] = text[sizeof(text) - 1] = '"';
	assert_int_equal(wire_parse(text, sizeof(text), &v, NULL), 0);
	wire_free(v);
}

static void reads_lines(void **state)
{
	const char *line = "{\"id\":1,\"cmd\":\"ping\"}";
	struct wire *v = NULL;
	struct err err = {0};

	(void)state;
	assert_int_equal(wire_parse_line(line, strlen(line), strlen(line), &v, &err), 0);
	assert_string_equal(wire_get_str(v, "cmd"), "ping");
	wire_free(v);
	assert_int_equal(wire_parse_line(line, strlen(line), strlen(line) - 1, &v, NULL), -E2BIG);
	assert_int_equal(wire_parse_line("[]", 2, 100, &v, NULL), -EINVAL);
	assert_int_equal(wire_parse_line("7", 1, 100, &v, NULL), -EINVAL);
	assert_int_equal(wire_parse_line("{\"id\":", 6, 100, &v, &err), -EINVAL);
	assert_non_null(strstr(err.message, "bad JSON"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(builds_objects),
		cmocka_unit_test(builds_arrays),
		cmocka_unit_test(reals_have_three_decimals),
		cmocka_unit_test(strings_become_utf8),
		cmocka_unit_test(pretty),
		cmocka_unit_test(reads),
		cmocka_unit_test(absent_values_are_harmless),
		cmocka_unit_test(walks_keys),
		cmocka_unit_test(counts_references),
		cmocka_unit_test(wants),
		cmocka_unit_test(refuses),
		cmocka_unit_test(bounds_depth),
		cmocka_unit_test(reads_lines),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
