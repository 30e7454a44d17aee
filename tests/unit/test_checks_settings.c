/* The judges of settings, and of what others do on the servers: each result of each row, in both directions.
 */
#include "tests/unit/preflight_pair.h"

#define CHANGE(name) static void name(struct pair *p)

CHANGE(down_old)
{
	p->old->up = false;
}

CHANGE(not_gathered)
{
	p->new->nsettings = 0;
}

CHANGE(no_sessions)
{
	p->new->nsessions = 0;
}

/* --- skipped_errors --- */

CHANGE(new_skips)
{
	str_copy(p->new->slave_skip_errors, 64, "1032,1062");
}

CHANGE(old_skips)
{
	str_copy(p->old->slave_skip_errors, 64, "ALL");
}

CHANGE(new_idempotent)
{
	str_copy(p->new->slave_exec_mode, 16, "IDEMPOTENT");
}

CHANGE(new_has_skipped)
{
	p->new->skipped_errors = 3;
}

CHANGE(mode_unknown)
{
	p->new->slave_exec_mode[0] = '\0';
}

/* --- log_retention, parallel, auto_increment --- */

CHANGE(logs_short)
{
	p->new->expire_logs_s = 3600;
}

CHANGE(logs_long)
{
	p->old->expire_logs_s = 864000;
}

CHANGE(fewer_threads)
{
	pair_set(p->old, "slave_parallel_threads", "0");
}

CHANGE(other_mode)
{
	pair_set(p->new, "slave_parallel_mode", "conservative");
}

CHANGE(other_steps)
{
	pair_set(p->new, "auto_increment_increment", "2");
}

CHANGE(offsets_only)
{
	pair_set(p->new, "auto_increment_offset", "2");
}

CHANGE(staggered)
{
	pair_set(p->old, "auto_increment_increment", "2");
	other_steps(p);
	offsets_only(p);
}

/* --- variables, capacity, spare_connection --- */

CHANGE(other_mode_of_sql)
{
	pair_set(p->new, "sql_mode", "STRICT_TRANS_TABLES,ERROR_FOR_DIVISION_BY_ZERO");
}

CHANGE(larger_packet)
{
	pair_set(p->new, "max_allowed_packet", "67108864");
}

CHANGE(smaller_packet)
{
	pair_set(p->new, "max_allowed_packet", "1048576");
}

CHANGE(zone_said)
{
	pair_set(p->new, "time_zone", "UTC");
}

CHANGE(zone_of_machine)
{
	pair_set(p->new, "system_time_zone", "CET");
}

CHANGE(two_differ)
{
	other_mode_of_sql(p);
	pair_set(p->new, "wait_timeout", "60");
}

CHANGE(small_pool)
{
	pair_set(p->new, "innodb_buffer_pool_size", "67108864");
}

CHANGE(large_pool)
{
	pair_set(p->new, "innodb_buffer_pool_size", "268435456");
}

CHANGE(too_many_clients)
{
	pair_set(p->old, "Max_used_connections", "400");
	pair_set(p->old, "max_connections", "100");
}

CHANGE(crowded)
{
	pair_set(p->old, "Threads_connected", "149");
}

CHANGE(full)
{
	pair_set(p->new, "Threads_connected", "152");
}

CHANGE(own_limit)
{
	pair_set(p->new, "own_max_user_connections", "3");
}

CHANGE(no_spare)
{
	p->old->privileges = "GRANT PROCESS ON *.* TO `flipd`@`%`";
}

CHANGE(no_spare_but_port)
{
	no_spare(p);
	pair_set(p->old, "extra_port", "3307");
}

/* --- managers, ddl, backups --- */

static void says(struct facts *f, const char *user, const char *info)
{
	str_copy(pair_session(f, user, "Query")->info, 256, info);
}

CHANGE(maxscale_lock)
{
	pair_set(p->new, "lock maxscale_mariadbmonitor", "77");
}

CHANGE(orchestrator)
{
	pair_session(p->old, "orchestrator", "Sleep");
	pair_session(p->old, "orchestrator", "Sleep");
}

CHANGE(alter_on_old)
{
	says(p->old, "app", "  /* deploy 7 */ alter table app.t ADD COLUMN x INT");
}

CHANGE(alter_on_new)
{
	says(p->new, "system user", "ALTER TABLE app.t ENGINE=InnoDB");
}

CHANGE(ghost)
{
	says(p->old, "app", "insert /* gh-ost `app`.`t` */ ignore into `app`.`_t_gho` ...");
}

CHANGE(speaks_of_it)
{
	says(p->old, "app", "SELECT 'ALTER TABLE'");
	says(p->old, "flipd", "ALTER TABLE x");
}

CHANGE(dump)
{
	says(p->old, "admin", "SELECT /*!40001 SQL_NO_CACHE */ `id` FROM `t`");
}

CHANGE(backup_stage)
{
	says(p->new, "admin", "BACKUP STAGE BLOCK_COMMIT");
}

CHANGE(backup_account)
{
	pair_session(p->new, "mariabackup", "Sleep");
}

static const struct pair_case cases[] = {
	{"skipped_errors", NULL, CHECK_OK, '-', "neither", NULL},
	{"skipped_errors", new_skips, CHECK_REFUSE, 'n', "slave_skip_errors=1032,1062", "my.cnf"},
	{"skipped_errors", old_skips, CHECK_WARN, 'o', "slave_skip_errors=ALL", "my.cnf"},
	{"skipped_errors", new_idempotent, CHECK_REFUSE, 'n', "IDEMPOTENT", "STRICT"},
	{"skipped_errors", new_has_skipped, CHECK_REFUSE, 'n', "skipped 3 errors", "compare the data"},
	{"skipped_errors", mode_unknown, CHECK_SKIP, 'n', "did not show", NULL},
	{"skipped_errors", down_old, CHECK_SKIP, 'o', "does not answer", NULL},
	{"log_retention", NULL, CHECK_OK, '-', "for ever", NULL},
	{"log_retention", logs_short, CHECK_WARN, 'n', "after 3600 s", "expire_logs_days"},
	{"log_retention", logs_long, CHECK_OK, '-', "for 240 h", NULL},
	{"parallel", NULL, CHECK_OK, '-', "4 threads", NULL},
	{"parallel", fewer_threads, CHECK_WARN, '-', "slave_parallel_threads is 0", "STOP SLAVE"},
	{"parallel", other_mode, CHECK_WARN, '-', "conservative on", "slave_parallel_mode"},
	{"parallel", not_gathered, CHECK_SKIP, 'n', "not looked at", NULL},
	{"auto_increment", NULL, CHECK_OK, '-', "steps of 1", NULL},
	{"auto_increment", other_steps, CHECK_WARN, '-', "increment is 1", "the same on both"},
	{"auto_increment", offsets_only, CHECK_WARN, '-', "do nothing", "auto_increment_increment=2"},
	{"auto_increment", staggered, CHECK_OK, '-', "steps of 2", NULL},
	{"variables", NULL, CHECK_OK, '-', "none differ", NULL},
	{"variables", other_mode_of_sql, CHECK_WARN, '-', "...,NO_ENGINE_SUBSTITUTION", "sql_mode"},
	{"variables", two_differ, CHECK_WARN, '-', "wait_timeout", "sql_mode, wait_timeout"},
	{"variables", larger_packet, CHECK_OK, '-', "none", NULL},
	{"variables", smaller_packet, CHECK_WARN, '-', "max_allowed_packet", "applications"},
	{"variables", zone_said, CHECK_OK, '-', "none", NULL},
	{"variables", zone_of_machine, CHECK_WARN, '-', "time_zone", "my.cnf"},
	{"capacity", NULL, CHECK_OK, '-', "not smaller", NULL},
	{"capacity", small_pool, CHECK_WARN, 'n', "67108864", "innodb_buffer_pool_size"},
	{"capacity", large_pool, CHECK_OK, '-', "not smaller", NULL},
	{"capacity", too_many_clients, CHECK_WARN, 'n', "400 connections", "max_connections = 410"},
	{"spare_connection", NULL, CHECK_OK, '-', "12 of 151", NULL},
	{"spare_connection", crowded, CHECK_WARN, 'o', "149 of 151", "SET GLOBAL max_connections"},
	{"spare_connection", full, CHECK_REFUSE, 'n', "152 of 151", "SET GLOBAL max_connections"},
	{"spare_connection", own_limit, CHECK_WARN, 'n', "may have 3 sessions", "ALTER USER"},
	{"spare_connection", no_spare, CHECK_WARN, 'o', "cannot come back", "CONNECTION ADMIN"},
	{"spare_connection", no_spare_but_port, CHECK_OK, '-', "one more", NULL},
	{"managers", NULL, CHECK_OK, '-', "no other manager", NULL},
	{"managers", maxscale_lock, CHECK_WARN, 'n', "#77 holds the lock maxscale", "maintenance"},
	{"managers", orchestrator, CHECK_WARN, 'o', "orchestrator@10.0.0.9", "stop it"},
	{"managers", no_sessions, CHECK_SKIP, 'n', "not looked at", NULL},
	{"ddl", NULL, CHECK_OK, '-', "no table", NULL},
	{"ddl", alter_on_old, CHECK_WARN, 'o', "alter table app.t", "let it end"},
	{"ddl", alter_on_new, CHECK_WARN, 'n', "system user", "let it end"},
	{"ddl", ghost, CHECK_WARN, 'o', "gh-ost", "let it end"},
	{"ddl", speaks_of_it, CHECK_OK, '-', "no table", NULL},
	{"ddl", no_sessions, CHECK_SKIP, 'n', "not looked at", NULL},
	{"backups", NULL, CHECK_OK, '-', "no backup", NULL},
	{"backups", dump, CHECK_WARN, 'o', "SQL_NO_CACHE", "let it end"},
	{"backups", backup_stage, CHECK_WARN, 'n', "BACKUP STAGE", "let it end"},
	{"backups", backup_account, CHECK_WARN, 'n', "mariabackup@", "let it end"},
};

static void all_cases(void **state)
{
	(void)state;
	pair_run_cases(cases, COUNT_OF(cases));
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(all_cases)};

	return cmocka_run_group_tests_name("checks_settings", tests, NULL, NULL);
}
