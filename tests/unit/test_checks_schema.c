/* The judges of what both sides hold, and the comparing of surveys. */
#include "tests/unit/preflight_pair.h"

#define CHANGE(name) static void name(struct pair *p)

CHANGE(down_new)
{
	p->new->up = false;
}

CHANGE(not_looked)
{
	p->in.new_survey = NULL;
}

CHANGE(late)
{
	p->new_survey->schema.state = p->new_survey->accounts.state = SURVEY_LATE;
	str_copy(p->new_survey->schema.why, 160, "more than the 300 ms that it may take");
	str_copy(p->new_survey->accounts.why, 160, "more than the 300 ms that it may take");
}

CHANGE(refused)
{
	p->old_survey->schema.state = p->old_survey->accounts.state = SURVEY_REFUSED;
	str_copy(p->old_survey->schema.why, 160, "error 1142");
	str_copy(p->old_survey->accounts.why, 160, "error 1142");
}

static void may(struct facts *f, const char *what)
{
	f->privileges = what;
}

CHANGE(blind)
{
	may(p->old, "GRANT PROCESS ON *.* TO `flipd`@`%`");
}

CHANGE(least)
{
	may(p->old, "GRANT REFERENCES, SHOW VIEW ON *.* TO `flipd`@`%`");
	may(p->new, "GRANT REFERENCES, SHOW VIEW ON *.* TO `flipd`@`%`");
	p->old_survey->seen[SURVEY_TRIGGER] = p->new_survey->seen[SURVEY_TRIGGER] = false;
	pair_drop(p->new_survey, SURVEY_TRIGGER, "app.before");
}

CHANGE(column_differs)
{
	pair_put(p->new_survey, SURVEY_TABLE, "app.t", "2:99", 1);
}

CHANGE(table_missing)
{
	pair_drop(p->new_survey, SURVEY_TABLE, "app.u");
	pair_drop(p->new_survey, SURVEY_INDEXES, "app.u");
	pair_drop(p->new_survey, SURVEY_ENGINE, "app.u");
}

CHANGE(table_more)
{
	pair_put(p->new_survey, SURVEY_TABLE, "app.zz", "1:1", 1);
	pair_put(p->new_survey, SURVEY_ENGINE, "app.zz", "InnoDB", 0);
}

CHANGE(index_missing)
{
	pair_drop(p->new_survey, SURVEY_INDEXES, "app.u");
}

CHANGE(code_differs)
{
	pair_put(p->new_survey, SURVEY_VIEW, "app.v", "32", 0);
	pair_drop(p->new_survey, SURVEY_TRIGGER, "app.before");
	pair_put(p->new_survey, SURVEY_ROUTINE, "app.f FUNCTION", "52", 0);
	pair_put(p->old_survey, SURVEY_EVENT, "app.weekly", "62", 0);
}

CHANGE(account_missing)
{
	pair_drop(p->new_survey, SURVEY_ACCOUNT, "app@%");
	pair_drop(p->new_survey, SURVEY_GRANTS, "app@%");
	pair_drop(p->new_survey, SURVEY_DEFINER, "app@%");
	pair_drop(p->new_survey, SURVEY_DEFINER, "app@%");
}

CHANGE(password_differs)
{
	pair_put(p->new_survey, SURVEY_ACCOUNT, "app@%", "79", 0);
}

CHANGE(grants_differ)
{
	pair_put(p->new_survey, SURVEY_GRANTS, "app@%", "2:89", 0);
}

CHANGE(local_differ)
{
	pair_put(p->new_survey, SURVEY_ACCOUNT, "root@localhost", "79", 0);
	pair_put(p->new_survey, SURVEY_ACCOUNT, "monitoring@%", "79", 0);
}

CHANGE(definer_role)
{
	pair_put(p->new_survey, SURVEY_DEFINER, "keeper", "", 0);
	pair_put(p->new_survey, SURVEY_ACCOUNT, "keeper@", "73", 0);
}

CHANGE(definer_role_missing)
{
	pair_put(p->new_survey, SURVEY_DEFINER, "keeper", "", 0);
}

CHANGE(definer_missing)
{
	pair_put(p->new_survey, SURVEY_DEFINER, "gone@localhost", "", 0);
}

CHANGE(plugin_missing)
{
	pair_drop(p->new_survey, SURVEY_PLUGIN, "ed25519");
}

CHANGE(accounts_unseen)
{
	p->new_survey->seen[SURVEY_ACCOUNT] = false;
}

CHANGE(myisam)
{
	pair_put(p->old_survey, SURVEY_ENGINE, "app.t", "MyISAM", 0);
}

CHANGE(engine_missing)
{
	pair_put(p->old_survey, SURVEY_ENGINE, "app.t", "ROCKSDB", 0);
}

CHANGE(no_key)
{
	pair_put(p->old_survey, SURVEY_TABLE, "app.t", "2:11", 0);
}

static const struct pair_case cases[] = {
	{"schema", NULL, CHECK_OK, '-', "2 tables are the same", NULL},
	{"schema", down_new, CHECK_SKIP, 'n', "does not answer", NULL},
	{"schema", not_looked, CHECK_SKIP, 'n', "was not asked", NULL},
	{"schema", late, CHECK_SKIP, 'n', "300 ms that it may take; `flipctl check`", NULL},
	{"schema", refused, CHECK_SKIP, 'o', "error 1142", NULL},
	{"schema", blind, CHECK_SKIP, 'o', "may not see the tables", "GRANT REFERENCES"},
	{"schema", least, CHECK_OK, '-', "may not see triggers", NULL},
	{"schema", column_differs, CHECK_WARN, '-', "1 differences: table app.t differ", "--no-data"},
	{"schema", table_missing, CHECK_WARN, '-', "1 differences: table app.u only on", "--no-data"},
	{"schema", table_more, CHECK_WARN, '-', "1 differences: table app.zz only on", "--no-data"},
	{"schema", index_missing, CHECK_WARN, '-', "indexes of app.u differ", "caught up"},
	{"schema", code_differs, CHECK_WARN, '-', "4 differences: view app.v differ, trigger app.before only",
		"mend"},
	{"accounts", NULL, CHECK_OK, '-', "2 accounts", NULL},
	{"accounts", late, CHECK_SKIP, 'n', "300 ms", NULL},
	{"accounts", refused, CHECK_SKIP, 'o', "error 1142", NULL},
	{"accounts", account_missing, CHECK_WARN, 'n', "app@% is missing", "SHOW CREATE USER"},
	{"accounts", password_differs, CHECK_WARN, 'n', "app@% differs", "SHOW GRANTS"},
	{"accounts", grants_differ, CHECK_WARN, 'n', "grants of app@% differ", "SHOW GRANTS"},
	{"accounts", local_differ, CHECK_OK, '-', "2 accounts", NULL},
	{"accounts", definer_role, CHECK_OK, '-', "are on", NULL},
	{"accounts", definer_role_missing, CHECK_WARN, 'n', "keeper", "1449"},
	{"accounts", definer_missing, CHECK_WARN, 'n', "gone@localhost", "1449"},
	{"accounts", plugin_missing, CHECK_WARN, 'n', "ed25519", "INSTALL SONAME"},
	{"accounts", accounts_unseen, CHECK_SKIP, '-', "may not see the accounts", NULL},
	{"engines", NULL, CHECK_OK, 'o', "all 2 tables", NULL},
	{"engines", myisam, CHECK_WARN, 'o', "app.t (MyISAM)", "ENGINE=InnoDB"},
	{"engines", engine_missing, CHECK_WARN, 'n', "app.t (ROCKSDB)", "INSTALL SONAME"},
	{"engines", late, CHECK_SKIP, 'n', "300 ms", NULL},
	{"primary_keys", NULL, CHECK_OK, 'o', "all 2 tables", NULL},
	{"primary_keys", no_key, CHECK_WARN, 'o', "1 tables of", "ADD PRIMARY KEY"},
	{"primary_keys", blind, CHECK_SKIP, 'o', "may not see", NULL},
};

static void all_cases(void **state)
{
	(void)state;
	pair_run_cases(cases, COUNT_OF(cases));
}

/* --- surveys --- */

static void note(void *arg, enum survey_side where, const struct survey_thing *thing)
{
	strbuf_addf(arg, "%c%s ", "ab="[where], thing -> name);
}

static void compared(void **state)
{
	struct survey_thing x[] = {{SURVEY_VIEW, "v", "1", 0}, {SURVEY_TABLE, "c", "1", 0},
		{SURVEY_TABLE, "a", "1", 0}, {SURVEY_TABLE, "b", "1", 0}};
	struct survey_thing y[] = {{SURVEY_TABLE, "d", "1", 0}, {SURVEY_TABLE, "b", "2", 0},
		{SURVEY_TABLE, "c", "1", 0}, {SURVEY_VIEW, "v", "1", 0}};
	struct survey a = {.n = 4, .things = x}, b = {.n = 4, .things = y}, none = {0};
	const struct survey_thing *list;
	struct strbuf told = {0};

	(void)state;
	survey_sort(&a);
	survey_sort(&b);
	survey_sort(&none);
	assert_int_equal(survey_compare(&a, &b, SURVEY_TABLE, note, &told), 3);
	assert_string_equal(strbuf_str(&told), "aa =b bd ");
	assert_int_equal(survey_compare(&a, &b, SURVEY_VIEW, note, &told), 0);
	assert_int_equal(survey_compare(&a, &b, SURVEY_PLUGIN, note, &told), 0);
	assert_int_equal(survey_compare(&none, &a, SURVEY_TABLE, note, &told), 3);
	assert_int_equal(survey_slice(&a, SURVEY_TABLE, &list), 3);
	assert_string_equal(list->name, "a");
	assert_int_equal(survey_slice(&none, SURVEY_TABLE, &list), 0);
	assert_null(survey_find(&a, SURVEY_TABLE, "v"));
	assert_non_null(survey_find(&a, SURVEY_VIEW, "v"));
	strbuf_free(&told);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(all_cases), cmocka_unit_test(compared)};

	return cmocka_run_group_tests_name("checks_schema", tests, NULL, NULL);
}
