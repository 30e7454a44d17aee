/* test_grants: the text that creates flipd's accounts, and the table behind it. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "lib/base/str.h"
#include "lib/model/grants.h"
#include "tests/unit/text_has.h"

static void test_text_is_one_statement_a_line(void **state)
{
	struct strbuf b = {0};
	int lines = 0;
	(void)state;

	assert_int_equal(grants_text("mariadb", &b), 0);
	for (char *line = strtok(b.data, "\n"); line; line = strtok(NULL, "\n"), lines++) {
		bool known = !strncmp(line, "CREATE ", 7) || !strncmp(line, "GRANT ", 6);
		assert_true(known);
		assert_int_equal(line[strlen(line) - 1], ';');
		assert_ptr_equal(strchr(line, ';'), line + strlen(line) - 1);
	}
	assert_in_range(lines, 10, 30);
	strbuf_free(&b);
}

static void test_accounts_and_passwords(void **state)
{
	static const char *const users[] = {"flipd", "flipd_probe", "repl"};
	struct strbuf b = {0}, want = {0};
	(void)state;

	assert_int_equal(grants_text("mariadb", &b), 0);
	for (size_t i = 0; i < COUNT_OF(users); i++) {
		strbuf_free(&want);
		strbuf_addf(&want, "CREATE USER IF NOT EXISTS '%s'@'%%' IDENTIFIED BY 'PASSWORD_OF_%s';\n",
			users[i], users[i]);
		has(&b, strbuf_str(&want));
	}
	strbuf_free(&want);
	strbuf_free(&b);
}

static void test_least_privileges(void **state)
{
	struct strbuf b = {0};
	(void)state;

	assert_int_equal(grants_text("mariadb", &b), 0);
	has(&b, "GRANT READ ONLY ADMIN, CONNECTION ADMIN, PROCESS, RELOAD, REPLICATION SLAVE ADMIN");
	has(&b, "GRANT SUPER, EVENT, SET USER ON *.* TO 'flipd'@'%';\n"); /* a line of its own: to be struck
									     out */
	has(&b, "GRANT CREATE, SELECT, INSERT, UPDATE, DELETE ON `flipd`.* TO 'flipd'@'%';\n");
	has(&b, "GRANT SELECT ON mysql.global_priv TO 'flipd'@'%';\n");
	has(&b, "GRANT REFERENCES, SHOW VIEW ON *.* TO 'flipd'@'%';\n");
	has(&b, "GRANT SELECT, INSERT, UPDATE ON `flipd`.`probe` TO 'flipd_probe'@'%';\n");
	has(&b, "GRANT REPLICATION SLAVE ON *.* TO 'repl'@'%';\n");
	assert_null(strstr(strbuf_str(&b), "ALL PRIVILEGES"));
	assert_null(strstr(strbuf_str(&b), "GRANT OPTION"));
	assert_null(strstr(strbuf_str(&b), "GRANT CREATE USER")); /* only lock_accounts needs it */
	/* The table that the probe's grant names is there before it. */
	assert_true(strstr(strbuf_str(&b), "EXISTS `flipd`.probe ") <
		    strstr(strbuf_str(&b), "ON `flipd`.`probe`"));
	strbuf_free(&b);
}

static void test_unknown_flavor(void **state)
{
	struct strbuf b = {0};
	(void)state;

	assert_int_equal(grants_text("oracle", &b), -EINVAL);
	assert_int_equal(grants_text("", &b), -EINVAL);
	assert_int_equal(b.len, 0);
}

static void test_table_is_sound(void **state)
{
	int n;
	const struct grants_need *needs = grants_needs(&n);
	(void)state;

	assert_true(n > 10);
	for (int i = 0; i < n; i++) {
		assert_non_null(needs[i].privilege);
		assert_true(needs[i].why && needs[i].why[0]);
		for (int k = 0; k < i; k++) {
			bool same_on = str_eq(needs[i].on ? needs[i].on : "", needs[k].on ? needs[k].on : "");
			assert_false(same_on && str_eq(needs[i].privilege, needs[k].privilege));
		}
	}
}

static void test_schema_text(void **state)
{
	struct strbuf b = {0};
	(void)state;

	grants_schema_text("a`b", "; ", &b);
	has(&b, "CREATE DATABASE IF NOT EXISTS `a``b`; CREATE TABLE IF NOT EXISTS `a``b`.heartbeat ");
	assert_int_not_equal(b.data[b.len - 1], ' '); /* no empty statement at the end of a packet */
	strbuf_free(&b);
	grants_schema_text("flipd", ";\n", &b);
	assert_string_equal(b.data + b.len - 2, ";\n");
	has(&b, "ENGINE=InnoDB");
	strbuf_free(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_text_is_one_statement_a_line),
		cmocka_unit_test(test_accounts_and_passwords),
		cmocka_unit_test(test_least_privileges),
		cmocka_unit_test(test_unknown_flavor),
		cmocka_unit_test(test_table_is_sound),
		cmocka_unit_test(test_schema_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
