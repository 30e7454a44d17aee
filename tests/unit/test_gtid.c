/* Tests of gtid: what parses, and what "reached", "own" and "later" mean. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/str.h"
#include "lib/model/gtid.h"

static struct gtid_list list(const char *s)
{
	struct gtid_list l;

	if (gtid_parse(s, &l) < 0)
		fail_msg("'%s' does not parse", s);
	return l;
}

static void parses(void **state)
{
	static const struct {
		const char *in, *out;
	} good[] = {
		{"", ""},
		{" \n", ""},
		{"0-1-10", "0-1-10"},
		{"1-5-7,0-1-10", "0-1-10,1-5-7"},
		{"0-2-5,0-1-9", "0-1-9,0-2-5"},
		{" 0-1-10 ,\n 1-5-7\n", "0-1-10,1-5-7"},
		{"0-1-0", "0-1-0"},
		{"4294967295-4294967295-18446744073709551615", "4294967295-4294967295-18446744073709551615"},
	};
	char buf[256];

	(void)state;
	for (size_t i = 0; i < COUNT_OF(good); i++) {
		struct gtid_list l = list(good[i].in);

		assert_string_equal(gtid_format(&l, buf, sizeof(buf)), good[i].out);
	}
}

static void refuses(void **state)
{
	static const char *const bad[] = {"0", "0-1", "0-1-", "-1-2", "0-1-2-3", "0-1-2,", ",0-1-2",
		"0-1-2,,1-1-1", "0-1-2 1-1-1", "a-1-2", "0-1-x", "0-1--2", "+0-1-2", "0x1-1-2",
		"4294967296-1-1", "0-4294967296-1", "0-1-18446744073709551616", "0-1-99999999999999999999999",
		"0-1-2,0-1-3", "0- 1-2", "0-1-2;"};
	struct gtid_list l = {.n = 7};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(bad); i++)
		if (gtid_parse(bad[i], &l) != -EINVAL)
			fail_msg("'%s' was not refused", bad[i]);
	assert_int_equal(gtid_parse(NULL, &l), -EINVAL);
	assert_int_equal(l.n, 7); /* untouched */
}

static void holds_sixty_four(void **state)
{
	struct strbuf b = {0};
	struct gtid_list l;

	(void)state;
	for (int i = 0; i < GTID_MAX; i++)
		strbuf_addf(&b, "%s%d-1-%d", i ? "," : "", GTID_MAX - i, i + 1);
	assert_int_equal(gtid_parse(strbuf_str(&b), &l), 0);
	assert_int_equal(l.n, GTID_MAX);
	assert_int_equal(l.v[0].domain, 1);
	strbuf_add(&b, ",99-1-1");
	assert_int_equal(gtid_parse(strbuf_str(&b), &l), -E2BIG);
	strbuf_free(&b);
}

/* A position that did not fit must not read as another position. */
static void cut_text_is_no_position(void **state)
{
	struct gtid_list l = list("0-1-10,1-1-20,2-1-30"), again;
	char buf[32];

	(void)state;
	assert_string_equal(gtid_format(&l, buf, sizeof(buf)), "0-1-10,1-1-20,2-1-30");
	for (size_t size = 2; size <= strlen("0-1-10,1-1-20,2-1-30"); size++) {
		gtid_format(&l, buf, size);
		assert_true(strlen(buf) < size);
		if (gtid_parse(buf, &again) == 0)
			fail_msg("size %zu gives '%s'", size, buf);
	}
	assert_string_equal(gtid_format(&l, buf, 1), "");
}

static void equality(void **state)
{
	struct gtid_list a = list("0-1-10,1-5-7"), b = list("1-5-7,0-1-10");
	struct gtid_list other[] = {
		list(""), list("0-1-10"), list("0-2-10,1-5-7"), list("0-1-11,1-5-7"), list("0-1-10,2-5-7")};

	(void)state;
	assert_true(gtid_equal(&a, &b));
	for (size_t i = 0; i < COUNT_OF(other); i++)
		assert_false(gtid_equal(&a, &other[i]));
}

static void lookups(void **state)
{
	struct gtid_list l = list("0-1-10,0-2-30,0-3-20,5-1-1");

	(void)state;
	assert_int_equal(gtid_find_domain(&l, 0)->server, 2);
	assert_int_equal(gtid_find_domain(&l, 5)->seq, 1);
	assert_null(gtid_find_domain(&l, 1));
	assert_int_equal(gtid_find(&l, 0, 3)->seq, 20);
	assert_null(gtid_find(&l, 5, 2));
}

static void reached(void **state)
{
	static const struct {
		const char *have, *want;
		bool yes;
	} rows[] = {
		{"", "", true},
		{"0-1-10", "", true},
		{"", "0-1-1", false},
		{"0-1-10", "0-1-10", true},
		{"0-1-11", "0-1-10", true},
		{"0-1-9", "0-1-10", false},
		{"0-1-10,1-1-1", "0-1-10", true},
		{"0-1-10", "0-1-10,1-1-1", false},
		{"0-1-10,1-1-1", "0-1-10,1-1-2", false},
		/* what the server's own wait gets wrong: the same or a later number of another server */
		{"0-1-10", "0-77-10", false},
		{"0-1-3", "0-77-3", false},
		{"0-1-11", "0-77-10", true}, /* a position shows only the last server */
		/* a state shows them all */
		{"0-1-20,0-2-9", "0-2-10", false},
		{"0-1-20,0-2-10", "0-2-10", true},
		{"0-1-20,0-2-30", "0-3-10", false},
		{"0-1-20,0-2-30", "0-1-10,0-2-30", true},
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct gtid_list have = list(rows[i].have), want = list(rows[i].want);

		if (gtid_reached(&have, &want) != rows[i].yes)
			fail_msg("have %s, want %s", rows[i].have, rows[i].want);
	}
}

static void own_beyond(void **state)
{
	static const struct {
		const char *state, *base;
		uint32_t server;
		uint64_t n;
		const char *first; /* NULL: none */
	} rows[] = {
		{"", "", 2, 0, NULL},
		{"0-1-100", "0-1-100", 2, 0, NULL},
		{"0-1-150", "0-1-100", 2, 0, NULL}, /* replicated on only */
		{"0-1-100,0-2-101", "0-1-100", 2, 1, "0-2-101"},
		{"0-1-100,0-2-50", "0-1-100,0-2-50", 2, 0, NULL},
		{"0-1-150,0-2-50", "0-1-100,0-2-50", 2, 0, NULL},
		{"0-1-100,0-2-105", "0-1-100,0-2-50", 2, 5, "0-2-101"},
		{"0-1-105,0-2-106", "0-1-100", 2, 1, "0-2-106"}, /* 101 to 105 were the other's */
		{"0-1-120,0-2-110", "0-1-100", 2, 10, "0-2-101"},
		{"0-2-10", "0-2-10", 2, 0, NULL},
		{"0-2-13", "0-2-10", 2, 3, "0-2-11"},
		{"0-2-9", "0-2-10", 2, 0, NULL},
		{"0-2-3", "", 2, 3, "0-2-1"},
		{"0-1-100,0-2-101,1-2-7", "0-1-100,1-2-5", 2, 3, "0-2-101"}, /* two domains */
		{"0-1-100,0-2-60", "0-1-100,0-2-50", 2, 10, "0-2-51"},	     /* out of order, still its own */
		{"0-2-0", "", 2, 0, NULL},
		/* more than a number holds: as many as it does */
		{"0-2-18446744073709551615,1-2-5", "", 2, UINT64_MAX, "0-2-1"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct gtid_list now = list(rows[i].state), base = list(rows[i].base);
		struct gtid first = {9, 9, 9}, want = {9, 9, 9};

		if (rows[i].first)
			want = list(rows[i].first).v[0];
		if (gtid_own_beyond(&now, &base, rows[i].server, &first) != rows[i].n)
			fail_msg("%s beyond %s", rows[i].state, rows[i].base);
		assert_memory_equal(&first, &want, sizeof(first));
		assert_int_equal(gtid_own_beyond(&now, &base, rows[i].server, NULL), rows[i].n);
	}
}

static void later(void **state)
{
	static const struct {
		const char *a, *b, *want;
	} rows[] = {
		{"", "", ""},
		{"0-1-10", "", "0-1-10"},
		{"", "0-1-10", "0-1-10"},
		{"0-1-10", "0-2-11", "0-2-11"},
		{"0-2-11", "0-1-10", "0-2-11"},
		{"0-1-10,1-1-5", "0-1-9,1-1-6,2-1-1", "0-1-10,1-1-6,2-1-1"},
		{"0-1-10,0-2-20", "0-1-15", "0-2-20"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct gtid_list a = list(rows[i].a), b = list(rows[i].b), want = list(rows[i].want), got;

		gtid_later(&a, &b, &got);
		assert_true(gtid_equal(&got, &want));
		gtid_later(&a, &b, &a); /* into itself */
		assert_true(gtid_equal(&a, &want));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parses),
		cmocka_unit_test(refuses),
		cmocka_unit_test(holds_sixty_four),
		cmocka_unit_test(cut_text_is_no_position),
		cmocka_unit_test(equality),
		cmocka_unit_test(lookups),
		cmocka_unit_test(reached),
		cmocka_unit_test(own_beyond),
		cmocka_unit_test(later),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
