/* What a survey asks, and how its answers and those of settings are read. */
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

static const struct dialect *const d = &dialect_mariadb;
static const struct dialect_ctx ctx = {.schema = "fl'ipd", .cluster = "c", .version = 101119};

/* A result set of two columns; cells end with NULL. */
static struct db_result *list(struct db_result *next, const char *a, const char *b, ...)
{
	struct db_result *r = xcalloc(1, sizeof(*r));
	const char *cell;
	va_list ap;
	int n = 0;

	r->cols = 2;
	r->names = xcalloc(2, sizeof(char *));
	r->names[0] = xstrdup(a);
	r->names[1] = xstrdup(b);
	r->cells = xcalloc(40, sizeof(char *));
	r->next = next;
	va_start(ap, b);
	while ((cell = va_arg(ap, const char *)))
		r->cells[n++] = strcmp(cell, "-") ? xstrdup(cell) : NULL;
	va_end(ap);
	r->rows = n / 2;
	return r;
}

static void asked(unsigned what, const char *const *has, const char *const *lacks)
{
	struct strbuf b = {0};

	d->survey(&ctx, what, 1250, &b);
	assert_int_equal(strncmp(strbuf_str(&b), "SET SESSION max_statement_time=1.250; ", 38), 0);
	for (; *has; has++)
		assert_non_null(strstr(strbuf_str(&b), *has));
	for (; *lacks; lacks++)
		assert_null(strstr(strbuf_str(&b), *lacks));
	strbuf_free(&b);
}

static void test_text(void **state)
{
	static const char *const tables[] = {"survey_table", "survey_indexes", "survey_view", NULL};
	static const char *const accounts[] = {"survey_account", "survey_grants", "survey_plugin", NULL};
	static const char *const triggers[] = {"survey_table", "survey_trigger", NULL};
	/* Columns for which the server opens every table. */
	static const char *const dear[] = {
		"survey_account", "survey_trigger", "CREATE_OPTIONS", "TABLE_COLLATION", "INDEX_TYPE", NULL};
	static const char *const none[] = {NULL};

	(void)state;
	asked(SURVEY_SCHEMA, tables, dear);
	asked(SURVEY_ACCOUNTS, accounts, tables);
	asked(SURVEY_SCHEMA | SURVEY_TRIGGERS, triggers, none);
}

static void test_read(void **state)
{
	struct arena *arena = arena_new();
	struct survey s = {0};
	struct db_result *r = list(NULL, "survey_view", "digest", NULL);

	(void)state;
	r = list(r, "survey_definer", "digest", "a@%", "", NULL);
	r = list(r, "survey_engine", "digest", "app.t", "InnoDB", "app.s", "-", NULL);
	r = list(r, "something", "digest", "x", "y", NULL);
	assert_int_equal(d->read_survey(r, arena, &s), 0);
	db_result_free(r);
	r = list(NULL, "survey_definer", "digest", "b@%", "", NULL);
	assert_int_equal(d->read_survey(r, arena, &s), 0);
	db_result_free(r);
	survey_sort(&s);
	assert_int_equal(s.n, 4);
	assert_true(s.seen[SURVEY_VIEW] && s.seen[SURVEY_ENGINE] && !s.seen[SURVEY_TABLE]);
	assert_string_equal(survey_find(&s, SURVEY_ENGINE, "app.t")->digest, "InnoDB");
	assert_string_equal(survey_find(&s, SURVEY_ENGINE, "app.s")->digest, "");
	assert_non_null(survey_find(&s, SURVEY_DEFINER, "b@%"));
	arena_free(arena);
}

/* Figures that every look shows are fields; all other names are kept as they are. */
static void test_settings(void **state)
{
	struct arena *arena = arena_new();
	struct facts *f = xcalloc(1, sizeof(*f));
	struct dialect_extra x;
	struct db_result *r = list(NULL, "Variable_name", "Value", "lock a", "-", "sql_mode", "", NULL);

	(void)state;
	r = list(r, "Variable_name", "Value", "Uptime", "12", "Slave_skipped_errors", "3", "port", "1", NULL);
	d->read_facts(r, arena, f, &x);
	assert_int_equal(f->uptime_s, 12);
	assert_int_equal(f->skipped_errors, 3);
	assert_int_equal(f->nsettings, 3);
	assert_string_equal(facts_setting(f, "SQL_MODE"), "");
	assert_string_equal(facts_setting(f, "port"), "1");
	assert_null(facts_setting(f, "lock a"));
	assert_null(facts_setting(f, "uptime"));
	db_result_free(r);
	arena_free(arena);
	free(f);
}

static void test_granted(void **state)
{
	struct facts *f = xcalloc(1, sizeof(*f));

	(void)state;
	f->privileges = "GRANT PROCESS, SHOW VIEW ON *.* TO `f`@`%`\nGRANT SELECT ON `app`.* TO `f`@`%`\n";
	assert_true(node_judge_granted(f, "SHOW VIEW"));
	assert_false(node_judge_granted(f, "SELECT"));
	assert_false(node_judge_granted(f, "TRIGGER"));
	f->privileges = "GRANT ALL PRIVILEGES ON *.* TO `f`@`%`";
	assert_true(node_judge_granted(f, "TRIGGER"));
	free(f);
}

/* SHOW GRANTS shows what PUBLIC and roles may, too: flipd's own lines can come after a grant for each of many
 * schemas. */
static void test_many_grants(void **state)
{
	struct strbuf schemas = {0};
	struct arena *arena = arena_new();
	struct facts *f = arena_alloc(arena, sizeof(*f));
	struct dialect_extra x;
	struct db_result *r;
	(void)state;

	for (int i = 0; i < 400; i++)
		strbuf_addf(&schemas, "GRANT SELECT ON `tenant_%d`.* TO PUBLIC\n", i);
	strbuf_add(&schemas, "GRANT TRIGGER ON *.* TO `flipd`@`%`");
	r = list(NULL, "Grants for flipd@%", "", strbuf_str(&schemas), "-", NULL);
	d->read_facts(r, arena, f, &x);
	assert_true(node_judge_granted(f, "TRIGGER"));
	assert_false(node_judge_granted(f, "SELECT"));
	db_result_free(r);
	strbuf_free(&schemas);
	arena_free(arena);
}

/* Of a server that follows nobody yet. */
static void test_default_filters(void **state)
{
	struct arena *arena = arena_new();
	struct facts *f = arena_alloc(arena, sizeof(*f));
	struct db_result *r = list(NULL, "default_filters", "Replicate_Ignore_DB", "1", "logs", NULL);
	struct dialect_extra x;
	struct strbuf asked = {0};
	(void)state;

	d->facts(&ctx, FACTS_CORE, &asked);
	assert_non_null(strstr(strbuf_str(&asked), "@@global.replicate_ignore_db AS Replicate_Ignore_DB"));
	assert_non_null(strstr(strbuf_str(&asked), "@@global.replicate_rewrite_db"));
	strbuf_free(&asked);
	d->facts(&(struct dialect_ctx){.schema = "flipd", .cluster = "c", .version = 100622}, FACTS_CORE,
		&asked);
	assert_null(strstr(strbuf_str(&asked), "replicate_rewrite_db"));
	strbuf_free(&asked);
	d->read_facts(r, arena, f, &x);
	assert_string_equal(f->default_filters, "Replicate_Ignore_DB=logs");
	db_result_free(r);
	arena_free(arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_many_grants),
		cmocka_unit_test(test_default_filters), cmocka_unit_test(test_text),
		cmocka_unit_test(test_read), cmocka_unit_test(test_settings), cmocka_unit_test(test_granted)};

	return cmocka_run_group_tests_name("dialect_survey", tests, NULL, NULL);
}
