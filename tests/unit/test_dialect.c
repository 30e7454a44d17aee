/* test_dialect: the texts for MariaDB, the reading of answers, the plan's texts, the judgement of privileges.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "lib/base/arena.h"
#include "lib/base/str.h"
#include "lib/io/db.h"
#include "lib/provider/dialect.h"
#include "tests/unit/text_has.h"

static const struct dialect *const d = &dialect_mariadb;
static const struct dialect_ctx ctx = {.schema = "flipd",
	.cluster = "it's",
	.node = "source",
	.lock = "flipd.it's",
	.version = 101119,
	.server_id = 2};

/* --- answers by hand --- */

/* A result set of one row; names and cells alternate and end with NULL; a cell "-" is SQL NULL. */
static struct db_result *answer(struct db_result *next, const char *first, ...)
{
	struct db_result *r = xcalloc(1, sizeof(*r));
	va_list ap;

	r->names = xcalloc(40, sizeof(char *));
	r->cells = xcalloc(40, sizeof(char *));
	r->next = next;
	va_start(ap, first);
	for (const char *name = first; name; name = va_arg(ap, const char *)) {
		const char *cell = va_arg(ap, const char *);
		r->names[r->cols] = xstrdup(name);
		r->cells[r->cols++] = strcmp(cell, "-") ? xstrdup(cell) : NULL;
	}
	va_end(ap);
	r->rows = 1;
	return r;
}

static struct facts *read_facts(struct db_result *r, struct dialect_extra *x)
{
	struct facts *f = xcalloc(1, sizeof(*f));
	struct arena *arena = arena_new();

	d->read_facts(r, arena, f, x);
	f->sessions = NULL;
	f->bypass = NULL;
	f->privileges = f->privileges ? xstrdup(f->privileges) : NULL; /* the caller's */
	arena_free(arena);
	db_result_free(r);
	return f;
}

/* --- texts --- */

static void test_limits(void **state)
{
	struct strbuf b = {0};
	(void)state;

	d->fence(&ctx, 500, &b);
	is(&b, "SET STATEMENT max_statement_time=0.500, lock_wait_timeout=1 FOR SET GLOBAL read_only=1");
	d->fence(&ctx, 1001, &b);
	is(&b, "SET STATEMENT max_statement_time=1.001, lock_wait_timeout=2 FOR SET GLOBAL read_only=1");
	/* 0 would be no limit */
	d->flush(&ctx, 0, &b);
	is(&b, "SET STATEMENT max_statement_time=0.001, lock_wait_timeout=1 FOR FLUSH LOCAL TABLES");
	d->unfence(&ctx, &b);
	is(&b, "SET GLOBAL read_only=0");
}

static void test_hello_by_role(void **state)
{
	struct strbuf b = {0};
	(void)state;

	d->hello(&ctx, SESSION_LOCK, &b);
	has(&b, "SET NAMES utf8mb4; ");
	has(&b, "wait_timeout=86400");
	has(&b, "SET SESSION sql_log_bin=0");
	strbuf_free(&b);
	d->hello(&ctx, SESSION_REAPER, &b);
	has(&b, "SET SESSION sql_log_bin=0");
	strbuf_free(&b);
	/* The probe's account may do nothing, and what the others write is to be replicated. */
	static const enum session_role roles[] = {
		SESSION_WATCH, SESSION_ACT, SESSION_HEARTBEAT, SESSION_PROBE};
	for (size_t i = 0; i < COUNT_OF(roles); i++) {
		d->hello(&ctx, roles[i], &b);
		lacks(&b, "sql_log_bin");
		has(&b, "time_zone='+00:00'");
		strbuf_free(&b);
	}
}

static void test_guarded_opening(void **state)
{
	struct strbuf b = {0};
	struct node_goal g = {.use_gtid = true, .gtid = {.n = 2, .v = {{0, 1, 10}, {5, 2, 7}}}};
	(void)state;

	d->open_guarded(&ctx, &g, true, 700, &b);
	has(&b, "SET STATEMENT max_statement_time=0.900 FOR SET GLOBAL read_only = NOT "
		"(IS_USED_LOCK('flipd.it''s') <=> "
		"CONNECTION_ID() AND MASTER_GTID_WAIT('0-1-10', 0.700) <=> 0 AND ");
	has(&b, "CONCAT(',', @@global.gtid_slave_pos), ',0-1-', -1), ',', 1) AS UNSIGNED) >= 10");
	/* its own transaction is never in gtid_slave_pos */
	has(&b, "CONCAT(',', @@global.gtid_binlog_state), ',5-2-', -1), ',', 1) AS UNSIGNED) >= 7");
	has(&b, "; SELECT @@global.read_only AS read_only");
	strbuf_free(&b);
	d->open_guarded(&ctx, &g, true, 5000, &b);
	has(&b, "MASTER_GTID_WAIT('0-1-10', 1.000)"); /* at most a second */
	strbuf_free(&b);
	g.gtid.n = 0;
	d->open_guarded(&ctx, &g, true, 700, &b);
	has(&b, "AND FALSE)"); /* an empty position opens nothing */
	strbuf_free(&b);
}

static void test_guarded_opening_by_file(void **state)
{
	struct strbuf b = {0};
	struct node_goal g = {.file = "bin.000001", .pos = 4711};
	(void)state;

	d->open_guarded(&ctx, &g, false, 300, &b);
	has(&b, "max_statement_time=0.300 FOR SET GLOBAL read_only = NOT (");
	has(&b, "COALESCE(MASTER_POS_WAIT('bin.000001', 4711, 1) >= 0, FALSE))");
	strbuf_free(&b);
	d->wait(&ctx, &g, false, 1500, &b);
	has(&b, "SET STATEMENT max_statement_time=1.500 FOR SELECT MASTER_POS_WAIT('bin.000001', 4711, 2) AS "
		"waited");
	strbuf_free(&b);
}

static void test_quoting(void **state)
{
	struct strbuf b = {0};
	struct node_row row = {.id = "1'; DROP", .cluster = "c", .state = "x\\"};
	(void)state;

	d->row_write(&ctx, &row, &b);
	has(&b, "'1''; DROP'");
	lacks(&b, "x\\'");
	has(&b, "FROM DUAL WHERE CONCAT(@@global.read_only) IN ('0', 'OFF') ON DUPLICATE");
	strbuf_free(&b);
	d->heartbeat(&ctx, 77, &b);
	has(&b, "'it''s', NOW(6)");
	has(&b, "COALESCE(IS_USED_LOCK('flipd.it''s'), 77) = 77 ON DUPLICATE");
	strbuf_free(&b);
	d->session_there(&ctx, 5, "a'b@c@10.%", &b);
	has(&b, "ID=5 AND USER='a''b@c'");
	strbuf_free(&b);
}

/* A commit that waits for disk space must not be cut off, nor whoever is queued behind it. */
static void test_kill(void **state)
{
	const uint64_t ids[] = {7, 8};
	struct strbuf b = {0};
	(void)state;

	d->kill(&ctx, 7, true, &b);
	assert_string_equal(strbuf_str(&b), "KILL HARD QUERY 7");
	strbuf_free(&b);
	d->kill_many(&ctx, ids, 2, &b);
	has(&b, "KILL HARD CONNECTION 7; KILL HARD CONNECTION 8; ");
	strbuf_free(&b);
	d->session_there(&ctx, 5, "app@%", &b);
	has(&b, "STATE IN ('Commit', 'Waiting for someone to free space')");
	strbuf_free(&b);
}

static void test_follow(void **state)
{
	const struct conf_server m = {.host = "h1",
		.replication_host = "h2",
		.replication_port = 3307,
		.port = 3306,
		.tls = {.mode = CONF_TLS_VERIFY_IDENTITY, .ca = "/ca.pem"}};
	const struct conf_account a = {"repl", "p'w\\d"};
	struct node_follow f = {.master = &m,
		.account = &a,
		.use_gtid = true,
		.has_slave_pos = true,
		.gtid_slave_pos = {.n = 1, .v = {{0, 1, 9}}}};
	struct strbuf b = {0};
	(void)state;

	d->follow(&ctx, &f, false, &b);
	is(&b, "STOP SLAVE; SET GLOBAL gtid_slave_pos='0-1-9'; CHANGE MASTER TO MASTER_HOST='h2', "
	       "MASTER_PORT=3307, "
	       "MASTER_USER='repl', MASTER_PASSWORD='p''w\\\\d', MASTER_CONNECT_RETRY=1, MASTER_SSL=1, "
	       "MASTER_SSL_VERIFY_SERVER_CERT=1, MASTER_SSL_CA='/ca.pem', MASTER_SSL_CERT='', "
	       "MASTER_SSL_KEY='', "
	       "MASTER_DELAY=0, MASTER_USE_GTID=slave_pos; START SLAVE");
	/* preferred: as far as the master offers it */
	const struct conf_server preferring = {.host = "h1", .tls = {.mode = CONF_TLS_PREFERRED}};
	f.master = &preferring;
	d->follow(&ctx, &f, false, &b);
	has(&b, ", MASTER_SSL=0, ");
	strbuf_free(&b);
	f.encrypted = true;
	d->follow(&ctx, &f, false, &b);
	has(&b, ", MASTER_SSL=1, MASTER_SSL_VERIFY_SERVER_CERT=0, MASTER_SSL_CA='', ");
	strbuf_free(&b);
	f.master = &m;
	d->follow(&ctx, &f, true, &b);
	lacks(&b, "p'");
	has(&b, "MASTER_PASSWORD='***'");
	strbuf_free(&b);
	f.use_gtid = false;
	str_copy(f.file, sizeof(f.file), "bin.7");
	f.pos = 4;
	d->try_reverse(&ctx, &f, &b);
	has(&b, "CHANGE MASTER 'flipd_reverse' TO MASTER_HOST='h2'");
	has(&b, "MASTER_USE_GTID=no, MASTER_LOG_FILE='bin.7', MASTER_LOG_POS=4, MASTER_DELAY=2147483647; "
		"START SLAVE 'flipd_reverse' IO_THREAD");
	strbuf_free(&b);
}

static void test_facts_by_version(void **state)
{
	struct dialect_ctx old = ctx;
	struct strbuf b = {0};
	(void)state;

	old.version = 100527;
	d->facts(&old, FACTS_ACCOUNTS, &b);
	has(&b, "expire_logs_days * 86400");
	lacks(&b, "version_id"); /* before 10.11 SUPER is enough to write */
	has(&b, "AS schema_tables");
	strbuf_free(&b);
	old.version = 101119;
	old.schema_seen = old.origin_wanted = true;
	d->facts(&old, FACTS_CORE, &b);
	has(&b, "binlog_expire_logs_seconds");
	has(&b, "FROM `flipd`.heartbeat WHERE cluster='it''s'");
	has(&b, "GLOBAL_VALUE_ORIGIN");
	lacks(&b, "schema_tables");
	lacks(&b, "PROCESSLIST");
	lacks(&b, "global_priv");
	strbuf_free(&b);
}

/* --- reading --- */

static void test_read_core(void **state)
{
	struct dialect_extra x;
	struct db_result *grants = answer(NULL, "Grants for flipd@%",
		"GRANT RELOAD ON *.* TO `flipd`@`%` IDENTIFIED BY PASSWORD '*ABC' REQUIRE SSL", NULL);
	struct db_result *origin = answer(grants, "origin", "CONFIG", "value", "ON", NULL);
	struct db_result *core = answer(origin, "wall_ms", "1700000000123", "version", "10.11.19-MariaDB-log",
		"hostname", "h", "port", "3306", "server_id", "4294967295", "read_only", "1", "binlog_state",
		"0-1-5,0-2-7", "binlog_pos", "0-2-7", "slave_pos", "", "current_pos", "0-2-7", "flush_log",
		"3", NULL);
	struct facts *f = read_facts(answer(core, "File", "bin.000003", "Position", "329", NULL), &x);
	(void)state;

	assert_string_equal(f->position.file, "bin.000003");
	assert_int_equal(f->position.pos, 329);
	assert_true(f->read_only && f->is_mariadb && f->flush_log_full);
	assert_int_equal(f->version_num, 101119);
	assert_int_equal(f->id.server_id, 4294967295u);
	assert_int_equal(f->position.binlog_state.n, 2);
	assert_int_equal(f->wall_ms, 1700000000123);
	assert_int_equal(f->heartbeat_wall_ms, -1);
	assert_int_equal(f->nbypass, -1);
	assert_true(x.origin_read && x.boots == 1 && x.error == 0);
	assert_string_equal(f->privileges, "GRANT RELOAD ON *.* TO `flipd`@`%`\n");
	free((char *)f->privileges);
	free(f);
}

static void test_read_oddities(void **state)
{
	static const struct {
		const char *origin, *value;
		int boots;
	} rows[] = {{"COMPILE-TIME", "OFF", 0}, {"CONFIG", "OFF", 0}, {"COMMAND-LINE", "ON", 1},
		{"SQL", "ON", -1}};
	struct dialect_extra x;
	(void)state;

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		free(read_facts(answer(NULL, "origin", rows[i].origin, "value", rows[i].value, NULL), &x));
		assert_int_equal(x.boots, rows[i].boots);
	}
	/* from 12.0 on a word */
	struct facts *f = read_facts(answer(NULL, "wall_ms", "1", "read_only", "NO_LOCK_NO_ADMIN", NULL), &x);
	assert_true(f->read_only);
	free(f);
	f = read_facts(answer(NULL, "wall_ms", "1", "read_only", "OFF", "binlog_pos", "0-1", NULL), &x);
	assert_false(f->read_only);
	assert_int_equal(x.error, -EINVAL); /* half a position is none */
	free(f);
}

/* A proof is what the server says, whole. */
static void test_read_prove(void **state)
{
	static const struct {
		const char *read_only, *lock, *state;
		int rc;
		bool closed, locked;
	} rows[] = {{"1", "1", "0-1-5", 0, true, true}, {"0", "0", "0-1-5", 0, false, false},
		{"1", "-", "0-1-5", 0, true, false}, {"-", "1", "0-1-5", -EPROTO, false, false},
		{"1", "1", "-", -EPROTO, false, false}, {"1", "1", "0-1", -EINVAL, false, false}};
	(void)state;

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct node_proof p = {0};
		struct db_result *r = answer(NULL, "read_only", rows[i].read_only, "holds_lock", rows[i].lock,
			"binlog_pos", "0-1-5", "binlog_state", rows[i].state, "slave_pos", "", "current_pos",
			"0-1-5", NULL);
		assert_int_equal(d->read_prove(r, &p), rows[i].rc);
		if (rows[i].rc == 0) {
			assert_int_equal(p.read_only, rows[i].closed);
			assert_int_equal(p.holds_lock, rows[i].locked);
			assert_int_equal(p.position.binlog_state.n, 1);
		}
		db_result_free(r);
	}
}

static void test_read_channel(void **state)
{
	struct dialect_extra x;
	struct facts *f =
		read_facts(answer(NULL, "Connection_name", "", "Slave_IO_Running", "Yes", "Slave_SQL_Running",
				   "No", "Master_Host", "h", "Master_Port", "3306", "Seconds_Behind_Master",
				   "-", "Last_IO_Errno", "0", "Last_SQL_Errno", "1062", "Last_SQL_Error",
				   "Duplicate", "Replicate_Do_DB", "a,b", "Replicate_Ignore_Domain_Ids", "3",
				   "Exec_Master_Log_Pos", "99", NULL),
			&x);
	const struct facts_channel *c = &f->channels[0];
	(void)state;

	assert_int_equal(f->nchannels, 1);
	assert_int_equal(c->lag_s, -1);
	assert_string_equal(c->last_error, "Duplicate");
	assert_string_equal(c->filters, "Replicate_Do_DB=a,b; Replicate_Ignore_Domain_Ids=3");
	assert_int_equal(c->exec_log_pos, 99);
	free(f);
}

static void test_read_guard(void **state)
{
	static const struct {
		const char *waited, *reached;
		bool want, null;
	} rows[] = {{"0", "1", true, false}, {"0", "0", false, false}, {"-1", "1", false, false},
		{"-", "1", false, true}};
	struct dialect_guard g;
	(void)state;

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct db_result *r =
			answer(NULL, "waited", rows[i].waited, "reached", rows[i].reached, NULL);
		assert_int_equal(d->read_guard(r, &g), 0);
		assert_true(g.reached == rows[i].want && g.null == rows[i].null);
		db_result_free(r);
	}
	struct db_result *r =
		answer(NULL, "waited", "35", "position", "", NULL); /* MASTER_POS_WAIT counts events */
	assert_int_equal(d->read_guard(r, &g), 0);
	assert_true(g.reached);
	db_result_free(r);
	r = answer(NULL, "read_only", "0", "holds_lock", "1", "position", "0-1-2", NULL);
	assert_int_equal(d->read_guard(r, &g), 0);
	assert_true(!g.read_only && g.holds_lock);
	db_result_free(r);
	r = answer(NULL, "read_only", "OFF", "holds_lock", "1", "position", "0-1-2", NULL);
	assert_int_equal(d->read_guard(r, &g), 0);
	assert_true(!g.read_only);
	db_result_free(r);
	r = answer(NULL, "read_only", "ON", "holds_lock", "1", "position", "0-1-2", NULL);
	assert_int_equal(d->read_guard(r, &g), 0);
	assert_true(g.read_only);
	db_result_free(r);
	r = answer(NULL, "read_only", "-", "holds_lock", "1", "position", "0-1-2", NULL);
	assert_int_equal(d->read_guard(r, &g), -EPROTO);
	db_result_free(r);
	assert_int_equal(d->read_guard(NULL, &g), -EPROTO);
}

static void test_accounts(void **state)
{
	static const char *names[] = {"legacy", "o'clock@10.1.%", "@"};
	const struct conf_list entries = {.n = 3, .v = names};
	const struct facts_account a[] = {
		{.user = "legacy", .host = "%"}, {.user = "o'clock", .host = "10.1.%"}};
	struct db_result *r =
		answer(NULL, "account_user", "legacy", "account_host", "%", "locked", "1", NULL);
	struct facts_account read = {0};
	struct strbuf b = {0};
	(void)state;

	d->accounts(&ctx, &entries, &b);
	has(&b, "BINARY User IN ('', 'legacy', 'o''clock') ORDER BY");
	has(&b, "CONCAT(User, '@', Host) <> CURRENT_USER()"); /* never flipd's own */
	strbuf_free(&b);
	d->accounts_lock(&ctx, a, 2, true, &b);
	is(&b, "SET STATEMENT max_statement_time=1.000, lock_wait_timeout=1, sql_log_bin=0 FOR ALTER USER IF "
	       "EXISTS `legacy`@`%`, `o'clock`@`10.1.%` ACCOUNT LOCK");
	d->accounts_lock(&ctx, a, 1, false, &b);
	is(&b, "SET STATEMENT max_statement_time=1.000, lock_wait_timeout=1, sql_log_bin=0 FOR ALTER USER IF "
	       "EXISTS `legacy`@`%` ACCOUNT UNLOCK");
	d->read_account(r, 0, &read);
	assert_string_equal(read.user, "legacy");
	assert_string_equal(read.host, "%");
	assert_true(read.locked);
	db_result_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_accounts),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_hello_by_role),
		cmocka_unit_test(test_guarded_opening),
		cmocka_unit_test(test_guarded_opening_by_file),
		cmocka_unit_test(test_quoting),
		cmocka_unit_test(test_kill),
		cmocka_unit_test(test_follow),
		cmocka_unit_test(test_facts_by_version),
		cmocka_unit_test(test_read_core),
		cmocka_unit_test(test_read_oddities),
		cmocka_unit_test(test_read_prove),
		cmocka_unit_test(test_read_channel),
		cmocka_unit_test(test_read_guard),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
