/* test_node: what of node needs no server: names, tags, the plan's texts, the judgement of privileges. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "lib/base/arena.h"
#include "lib/provider/node_priv.h"
#include "tests/unit/text_has.h"

static void test_lock_names(void **state)
{
	const struct conf_server conf = {.name = "source", .host = "h"};
	const char *longer = "a-cluster-name-that-is-longer-than-the-lock-names-of-mysql-may-be-1";
	char other[80];
	(void)state;

	struct node *n = node_new(&conf, "shard1", "flipd");
	assert_string_equal(n->lock, "flipd.shard1");
	node_free(n);
	str_copy(other, sizeof(other), longer);
	other[strlen(other) - 1] = '2';
	struct node *a = node_new(&conf, longer, "flipd"), *b = node_new(&conf, other, "flipd");
	assert_true(strlen(a->lock) <= 64 && strlen(b->lock) <= 64);
	assert_string_not_equal(a->lock, b->lock);
	node_free(a);
	node_free(b);
	node_free(NULL);
}

static void test_plan(void **state)
{
	const struct conf_server conf = {.name = "source", .host = "h", .port = 3306};
	const struct conf_account a = {"repl", "sesame"};
	const struct node_follow f = {
		.master = &conf, .account = &a, .use_gtid = true, .has_slave_pos = true};
	struct node *n = node_new(&conf, "shard1", "flipd");
	struct strbuf b = {0};
	(void)state;

	for (int i = NODE_TEXT_LOCK; i <= NODE_TEXT_RELEASE; i++) {
		size_t before = b.len;
		node_plan_text(n, (enum node_text)i, &f, 500, &b);
		assert_true(b.len > before + 5);
		node_plan_text(n, (enum node_text)i, NULL, 500, &b);
		strbuf_add(&b, "\n");
	}
	lacks(&b, "sesame");
	has(&b, "MASTER_GTID_WAIT('<POSITION>', 0.500)");
	has(&b, "gtid_slave_pos='<POSITION>'");
	has(&b, "KILL HARD CONNECTION <ID>");
	strbuf_free(&b);
	node_plan_text(n, NODE_TEXT_FENCE, NULL, 500, &b);
	is(&b, "SET STATEMENT max_statement_time=0.500, lock_wait_timeout=1 FOR SET GLOBAL read_only=1");
	node_prepare_text(n, &b);
	has(&b, "CREATE DATABASE IF NOT EXISTS `flipd`;\n");
	strbuf_free(&b);
	node_free(n);
}

static void test_tag(void **state)
{
	struct session s = {0};
	char longer[300];
	(void)state;

	session_tag(&s, "20261121-1", "open");
	assert_string_equal(s.tag, "/* flipd 20261121-1 open */ ");
	session_tag(&s, "x*/; DROP", "a b");
	assert_string_equal(s.tag, "/* flipd x____DROP a_b */ ");
	session_tag(&s, NULL, "open");
	assert_string_equal(s.tag, "");
	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	session_tag(&s, longer, "open");
	assert_string_equal(s.tag, ""); /* better none than half a comment */
	assert_false(session_alive(&s));
	session_close(NULL);
}

/* --- privileges --- */

static enum act judge(const char *grants, int version, unsigned events, const char *schema, struct err *e)
{
	struct facts *f = xcalloc(1, sizeof(*f));

	f->privileges = grants;
	str_copy(f->schema, sizeof(f->schema), schema);
	str_copy(f->current_user, sizeof(f->current_user), "flipd@%");
	f->version_num = version;
	*e = (struct err){0};
	enum act act = node_judge_privileges(f, events, e);
	free(f);
	return act;
}

#define MOST                                                                                                 \
	"GRANT RELOAD, PROCESS, BINLOG MONITOR, CONNECTION ADMIN, REPLICATION SLAVE ADMIN, REPLICATION "     \
	"MASTER ADMIN, "                                                                                     \
	"BINLOG ADMIN, SLAVE MONITOR"
#define TABLES "GRANT SELECT, INSERT, UPDATE, DELETE, CREATE ON `flipd`.* TO `flipd`@`%`\n"

static void test_judge(void **state)
{
	struct err e;
	(void)state;

	assert_int_equal(
		judge(MOST ", READ_ONLY ADMIN ON *.* TO `flipd`@`%`\n" TABLES, 101119, false, "flipd", &e),
		ACT_DONE);
	assert_int_equal(
		judge("GRANT ALL PRIVILEGES ON *.* TO `root`@`%` WITH GRANT OPTION\n", 101119, true, "", &e),
		ACT_DONE);
	assert_int_equal(
		judge(MOST ", READ_ONLY ADMIN ON *.* TO `flipd`@`%`\n" TABLES, 101119, true, "flipd", &e),
		ACT_REFUSED);
	assert_string_equal(e.message, "account flipd@% lacks privileges: SUPER, EVENT, SET USER");
	assert_string_equal(e.hint,
		"GRANT SUPER, EVENT, SET USER ON *.* TO 'flipd'@'%'; flipctl grants mariadb prints all");
	/* another schema than the one used */
	assert_int_equal(
		judge(MOST ", READ_ONLY ADMIN ON *.* TO `flipd`@`%`\n" TABLES, 101119, false, "ops", &e),
		ACT_REFUSED);
	assert_non_null(strstr(e.message, "CREATE ON ops"));
	assert_non_null(strstr(e.hint, "ON ops.*"));
	/* lock_accounts needs more, and only it */
	const char *most = MOST ", READ_ONLY ADMIN ON *.* TO `flipd`@`%`\n" TABLES;
	const char *looks = MOST ", READ_ONLY ADMIN ON *.* TO `flipd`@`%`\n" TABLES
				 "GRANT SELECT ON `mysql`.`global_priv` TO `flipd`@`%`\n";
	assert_int_equal(judge(looks, 101119, NODE_NEEDS_LOCKS, "flipd", &e), ACT_REFUSED);
	assert_string_equal(e.message, "account flipd@% lacks privileges: CREATE USER");
	assert_string_equal(e.hint, "GRANT CREATE USER ON *.* TO 'flipd'@'%'; sessions.lock_accounts needs "
				    "it, see flipd.yaml(5)");
	assert_int_equal(judge(most, 101119, NODE_NEEDS_LOCKS, "flipd", &e), ACT_REFUSED);
	assert_string_equal(
		e.message, "account flipd@% lacks privileges: SELECT ON mysql.global_priv, CREATE USER");
	assert_non_null(strstr(e.hint, "GRANT SELECT ON mysql.global_priv TO 'flipd'@'%'"));
	/* 10.11 parted READ_ONLY ADMIN from SUPER */
	const char *super =
		"GRANT SUPER, PROCESS, RELOAD ON *.* TO `flipd`@`%`\nGRANT `r` TO `flipd`@`%`\n" TABLES;
	assert_int_equal(judge(super, 101119, false, "flipd", &e), ACT_REFUSED);
	assert_string_equal(e.message, "account flipd@% lacks privileges: READ ONLY ADMIN");
	assert_int_equal(judge(super, 100618, false, "flipd", &e), ACT_DONE);
	assert_int_equal(judge("", 101119, false, "flipd", &e), ACT_REFUSED);
	assert_int_equal(
		judge("GRANT\nGRANT  ON \n ON  TO \nGRANT SELECT (a, b), X ON", 101119, false, "flipd", &e),
		ACT_REFUSED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lock_names),
		cmocka_unit_test(test_plan),
		cmocka_unit_test(test_tag),
		cmocka_unit_test(test_judge),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
