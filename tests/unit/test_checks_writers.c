/* The judges of writers: each result of each row, in both directions; and whose a session is. */
#include "tests/unit/preflight_pair.h"

#define CHANGE(name) static void name(struct pair *p)

CHANGE(down_old)
{
	p->old->up = false;
}

CHANGE(down_new)
{
	p->new->up = false;
}

CHANGE(new_open)
{
	p->new->read_only = false;
}

CHANGE(old_closed)
{
	p->old->read_only = true;
}

CHANGE(turned)
{
	p->old->read_only = true;
	p->new->read_only = false;
}

CHANGE(replica_open)
{
	p->replica[0].read_only = false;
}

CHANGE(writer_on_new)
{
	pair_session(p->new, "app", "Sleep")->trx_rows = 12;
}

CHANGE(reader_on_new)
{
	pair_session(p->new, "report", "Query")->trx_age_ms = 99000;
}

static const char *exempt[] = {"monitoring"};

CHANGE(quiet_on_new)
{
	p->conf.policy.exempt_users = (struct conf_list){.n = 1, .v = exempt};
	pair_session(p->new, "monitoring", "Sleep");
	pair_session(p->new, "system user", "Slave_SQL")->trx_rows = 5;
	pair_session(p->new, "repl", "Binlog Dump");
	pair_session(p->new, "flipd_probe", "Sleep");
}

CHANGE(not_gathered)
{
	p->old->nsessions = p->new->nsessions = 0;
}

CHANGE(long_by_age)
{
	struct facts_session *s = pair_session(p->old, "app", "Sleep");

	s->trx_age_ms = 5000;
	s->trx_rows = 3;
}

CHANGE(long_by_size)
{
	struct facts_session *s = pair_session(p->old, "batch", "Query");

	s->trx_age_ms = 100;
	s->trx_rows = 20000;
}

CHANGE(long_reader)
{
	pair_session(p->old, "report", "Query")->trx_age_ms = 900000;
}

CHANGE(long_many)
{
	for (int i = 0; i < 7; i++)
		long_by_age(p);
}

CHANGE(lock_tables)
{
	struct facts_session *s = pair_session(p->old, "admin", "Query");

	s->holds_tables = true;
	str_copy(s->info, sizeof(s->info), "LOCK TABLES t WRITE");
}

CHANGE(lock_waiter)
{
	str_copy(pair_session(p->old, "app", "Query")->state, 64, "Waiting for table metadata lock");
}

CHANGE(lock_no_space)
{
	struct facts_session *s = pair_session(p->old, "app", "Query");

	s->waits_for_space = true;
	s->time_ms = 1500;
}

CHANGE(lock_no_space_own)
{
	pair_session(p->old, "flipd", "Query")->waits_for_space = true;
}

CHANGE(lock_none)
{
	str_copy(pair_session(p->old, "app", "Query")->state, 64, "Waiting for next activation");
}

CHANGE(xa)
{
	p->old->nxa = 2;
}

CHANGE(mixed)
{
	str_copy(p->old->binlog_format, sizeof(p->old->binlog_format), "MIXED");
}

CHANGE(statement)
{
	str_copy(p->old->binlog_format, sizeof(p->old->binlog_format), "STATEMENT");
}

CHANGE(mixed_on_new)
{
	str_copy(p->new->binlog_format, sizeof(p->new->binlog_format), "MIXED");
}

CHANGE(root_on_old)
{
	pair_bypass(p->old, "root");
}

CHANGE(root_on_both)
{
	pair_bypass(p->old, "root");
	pair_bypass(p->new, "root");
}

CHANGE(bypass_own)
{
	pair_bypass(p->old, "flipd");
}

static const struct facts_account lock_root = {.user = "root", .host = "localhost"};

CHANGE(bypass_locked)
{
	static const char *locked[] = {"root"};

	pair_bypass(p->new, "root");
	p->conf.policy.lock_accounts = (struct conf_list){.n = 1, .v = locked};
	p->in.nlock = 1;
	p->in.lock = &lock_root;
}

/* root walks through old's fence, and is to be locked. */
CHANGE(bypass_to_lock)
{
	bypass_locked(p);
	p->new->nbypass = 0;
	pair_bypass(p->old, "root");
}

CHANGE(bypass_to_lock_and_not)
{
	bypass_to_lock(p);
	pair_bypass(p->old, "batch");
}

CHANGE(lock_nobody)
{
	bypass_to_lock(p);
	p->in.nlock = 0;
}

CHANGE(lock_not_looked_at)
{
	bypass_to_lock(p);
	p->in.nlock = -1;
}

CHANGE(lock_already)
{
	static const struct facts_account before = {.user = "root", .host = "localhost", .locked = true};

	bypass_to_lock(p);
	p->in.lock = &before;
}

CHANGE(bypass_hidden)
{
	p->new->nbypass = -1;
}

CHANGE(bypass_hidden_and_seen)
{
	p->new->nbypass = -1;
	pair_bypass(p->old, "root");
}

CHANGE(events_disabled)
{
	p->old->nevents_enabled = 3;
	str_copy(p->old->event_scheduler, sizeof(p->old->event_scheduler), "ON");
	str_copy(p->new->event_scheduler, sizeof(p->new->event_scheduler), "DISABLED");
}

CHANGE(events_on_new)
{
	p->new->nevents_enabled = 2;
	str_copy(p->new->event_scheduler, sizeof(p->new->event_scheduler), "ON");
}

CHANGE(events_hidden)
{
	p->old->nevents_enabled = -1;
}

CHANGE(events_on_old)
{
	p->old->nevents_enabled = 3;
	str_copy(p->old->event_scheduler, sizeof(p->old->event_scheduler), "ON");
}

CHANGE(many_accounts)
{
	static char names[15][8];

	for (int i = 0; i < 15; i++) {
		(void)snprintf(names[i], sizeof(names[i]), "app%d", i);
		pair_session(p->old, names[i], "Sleep");
	}
}

CHANGE(many_clients)
{
	pair_session(p->old, "app", "Sleep");
	pair_session(p->old, "app", "Query");
	pair_session(p->old, "report", "Sleep");
	pair_session(p->old, "repl", "Binlog Dump");
	pair_session(p->old, "event_scheduler", "Daemon");
}

static const struct pair_case writers[] = {
	{"standby_fenced", new_open, CHECK_REFUSE, 'n', "read_only=0", "SET GLOBAL read_only = 1"},
	{"standby_fenced", NULL, CHECK_OK, 'n', "read_only=1", NULL},
	{"standby_fenced", down_new, CHECK_SKIP, 'n', "does not answer", NULL},
	{"single_master", new_open, CHECK_REFUSE, '-', "both sides take writes", "SET GLOBAL read_only = 1"},
	{"single_master", old_closed, CHECK_REFUSE, 'o', "no side takes writes", "SET GLOBAL read_only = 0"},
	{"single_master", turned, CHECK_REFUSE, 'n', "is the master already", "flipctl flip shard1 --to"},
	{"single_master", replica_open, CHECK_WARN, 'r', "replica reports 10.1.0.7:3306 is writable",
		"read_only = 1"},
	{"single_master", down_old, CHECK_SKIP, 'o', "does not answer", NULL},
	{"stray_writers", writer_on_new, CHECK_REFUSE, 'n', "app@10.0.0.9:5000 (12 rows)", "KILL"},
	{"stray_writers", reader_on_new, CHECK_WARN, 'n', "report 1", "exempt_users"},
	{"stray_writers", quiet_on_new, CHECK_OK, 'n', "no application", NULL},
	{"stray_writers", not_gathered, CHECK_SKIP, 'n', "were not looked at", NULL},
	{"long_transactions", long_by_age, CHECK_WARN, 'o', "app@10.0.0.9:5000 open 5000 ms, 3 rows, idle",
		"KILL 102"},
	{"long_transactions", long_by_size, CHECK_WARN, 'o', "20000 rows, busy", "at most 30 s"},
	{"long_transactions", long_reader, CHECK_OK, 'o', "older than 2000 ms or larger than 10000", NULL},
	{"long_transactions", long_many, CHECK_WARN, 'o', " more", "KILL 102"},
	{"long_transactions", not_gathered, CHECK_SKIP, 'o', "were not looked at", NULL},
	{"locks", lock_tables, CHECK_WARN, 'o', "admin@10.0.0.9:5000 locks tables (LOCK TABLES t WRITE)",
		"KILL"},
	{"locks", lock_waiter, CHECK_WARN, 'o', "Waiting for table metadata lock", "LOCK TABLES and DDL"},
	{"locks", lock_no_space, CHECK_REFUSE, 'o', "of app, for 1.5 s", "do not KILL"},
	{"locks", lock_no_space_own, CHECK_REFUSE, 'o', "a commit waits for disk space", "make room"},
	{"locks", lock_none, CHECK_OK, 'o', "no table locks", NULL},
	{"locks", xa, CHECK_WARN, 'o', "2 prepared XA", "XA RECOVER"},
	{"locks", not_gathered, CHECK_SKIP, 'o', "were not looked at", NULL},
	{"temporary_tables", mixed, CHECK_WARN, 'o', "MIXED", "SET GLOBAL binlog_format = 'ROW'"},
	{"temporary_tables", statement, CHECK_REFUSE, 'o', "STATEMENT", "SET GLOBAL binlog_format = 'ROW'"},
	{"temporary_tables", mixed_on_new, CHECK_OK, 'o', "ROW", NULL},
	{"temporary_tables", down_old, CHECK_SKIP, 'o', "not known", NULL},
	{"bypass", root_on_old, CHECK_WARN, 'o', "'root'@'localhost'", "FROM 'root'@'localhost'"},
	{"bypass", root_on_both, CHECK_WARN, '-', "'root'@'localhost'", "REVOKE READ ONLY ADMIN"},
	{"bypass", bypass_own, CHECK_OK, '-', "no account walks through", NULL},
	{"bypass", bypass_locked, CHECK_WARN, 'n', "'root'@'localhost'", "REVOKE READ ONLY ADMIN"},
	{"bypass", bypass_to_lock, CHECK_OK, '-', "will be locked there for the flip: 'root'@'localhost'",
		NULL},
	{"bypass", bypass_to_lock_and_not, CHECK_WARN, 'o', "'batch'@'localhost'",
		"FROM 'batch'@'localhost'"},
	{"bypass", lock_nobody, CHECK_WARN, 'o', "lock_accounts names what is no account of ",
		"SELECT User, Host"},
	{"bypass", lock_not_looked_at, CHECK_WARN, 'o', "could not be looked at", "privileges"},
	{"bypass", lock_already, CHECK_OK, '-', "locked already, and left so: 'root'@'localhost'", NULL},
	{"bypass", bypass_hidden, CHECK_SKIP, 'n', "may not see", NULL},
	{"bypass", bypass_hidden_and_seen, CHECK_WARN, 'o', "'root'@'localhost'", "REVOKE READ ONLY ADMIN"},
	{"events", events_disabled, CHECK_WARN, 'n', "the 3 events of", "event_scheduler=OFF"},
	{"events", events_on_new, CHECK_WARN, 'n', "2 events are enabled", "DISABLE ON SLAVE"},
	{"events", events_hidden, CHECK_SKIP, 'o', "may not see", NULL},
	{"events", events_on_old, CHECK_OK, 'o', "is ON, 3 events", NULL},
	{"events", down_new, CHECK_SKIP, 'n', "does not answer", NULL},
	{"sessions", many_clients, CHECK_OK, 'o', "3 sessions on", NULL},
	{"sessions", many_clients, CHECK_OK, 'o', "app 2, report 1", NULL},
	{"sessions", many_accounts, CHECK_OK, 'o', "app11 1, other accounts 3", NULL},
	{"sessions", not_gathered, CHECK_SKIP, 'o', "were not looked at", NULL},
};

static void test_writers(void **state)
{
	(void)state;
	pair_run_cases(writers, COUNT_OF(writers));
}

static void test_session_who(void **state)
{
	static const struct {
		const char *user, *command;
		enum checks_who who;
	} cases[] = {
		{"system user", "Slave_IO", CHECKS_WHO_SERVER},
		{"anybody", "Binlog Dump GTID", CHECKS_WHO_SERVER},
		{"repl", "Sleep", CHECKS_WHO_SERVER},
		{"rdsadmin", "Query", CHECKS_WHO_SERVER},
		{"event_scheduler", "Daemon", CHECKS_WHO_SERVER},
		{"flipd", "Query", CHECKS_WHO_FLIPD},
		{"flipd_probe", "Sleep", CHECKS_WHO_FLIPD},
		{"beat", "Sleep", CHECKS_WHO_FLIPD},
		{"monitoring", "Sleep", CHECKS_WHO_EXEMPT},
		{"app", "Sleep", CHECKS_WHO_CLIENT},
		{"flipd2", "Query", CHECKS_WHO_CLIENT},
		{"", "Query", CHECKS_WHO_CLIENT},
	};
	struct pair *p = pair_new(CONF_TARGET);

	(void)state;
	p->conf.policy.exempt_users = (struct conf_list){.n = 1, .v = exempt};
	p->conf.policy.heartbeat_account.user = "beat";
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct facts_session *s;

		p->old->nsessions = 0;
		s = pair_session(p->old, cases[i].user, cases[i].command);
		if (checks_session_who(&p->conf, p->old_conf, s) != cases[i].who)
			fail_msg("%s %s", cases[i].user, cases[i].command);
	}
	free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_writers),
		cmocka_unit_test(test_session_who),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
