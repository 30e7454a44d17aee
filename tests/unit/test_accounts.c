/* test_accounts: how the configuration names accounts. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "lib/base/str.h"
#include "lib/model/accounts.h"

static void test_entries(void **state)
{
	static const struct {
		const char *entry, *user, *host; /* host NULL: every one */
	} rows[] = {
		{"legacy", "legacy", NULL},
		{"legacy@%", "legacy", "%"},
		{"'legacy'@'10.1.%'", "legacy", "10.1.%"},
		{"`a b`@\"localhost\"", "a b", "localhost"},
		{"'quoted'", "quoted", NULL},
		{"a@b@10.0.0.1", "a@b", "10.0.0.1"},
		{"'", "'", NULL},
		{"x@", "x", ""},
	};
	(void)state;

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct account_name name;
		assert_int_equal(account_name_parse(rows[i].entry, &name), 0);
		assert_string_equal(name.user, rows[i].user);
		assert_string_equal(name.host, rows[i].host ? rows[i].host : "");
		assert_int_equal(name.any_host, !rows[i].host);
	}
}

static void test_bad_entries(void **state)
{
	char long_user[200], long_host[300] = "x@";
	const char *const bad[] = {"", "@%", "''@'%'", "''", long_user, long_host};
	(void)state;

	memset(long_user, 'u', sizeof(long_user));
	long_user[sizeof(long_user) - 1] = '\0';
	memset(long_host + 2, 'h', sizeof(long_host) - 2);
	long_host[sizeof(long_host) - 1] = '\0';
	for (size_t i = 0; i < COUNT_OF(bad); i++) {
		struct account_name name;
		assert_int_equal(account_name_parse(bad[i], &name), -EINVAL);
	}
}

static void test_matches(void **state)
{
	(void)state;
	assert_true(account_name_matches("legacy", "legacy", "%"));
	assert_true(account_name_matches("legacy", "legacy", "10.1.0.1"));
	assert_false(account_name_matches("legacy", "Legacy", "%"));
	assert_false(account_name_matches("legacy", "legacy2", "%"));
	assert_true(account_name_matches("legacy@DB1.example.com", "legacy", "db1.example.com"));
	assert_false(account_name_matches("legacy@%", "legacy", "10.1.0.1")); /* a name, not a pattern */
	assert_false(account_name_matches("", "", "%"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_entries),
		cmocka_unit_test(test_bad_entries),
		cmocka_unit_test(test_matches),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
