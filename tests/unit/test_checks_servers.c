/* The judges of servers, their restarts and their names: each result of each row, in both directions. */
#include "tests/unit/preflight_pair.h"

#include "lib/base/arena.h"

#define CHANGE(name) static void name(struct pair *p)

CHANGE(old_down)
{
	p->old->up = false;
	err_set(&p->error[p->in.from], -ECONNREFUSED, "connect: Connection refused");
}

CHANGE(old_full)
{
	p->old->up = false;
	err_set(&p->error[p->in.from], -EIO, "connecting as flipd: 1040 - Zu viele Verbindungen");
	p->error[p->in.from].sql_errno = 1040;
}

CHANGE(old_full_tls) /* the library's own number comes first */
{
	old_full(p);
	err_set(&p->error[p->in.from], -EIO, "SSL error: cannot be verified: 1040 - Zu viele Verbindungen");
	p->error[p->in.from].sql_errno = 2026;
}

CHANGE(new_down)
{
	p->new->up = false;
	err_set(&p->error[p->in.to], -ETIMEDOUT, "connect: timed out");
}

CHANGE(replica_down)
{
	p->replica[0].up = false;
}

CHANGE(clock_ahead)
{
	p->new->wall_ms += 5000;
}

CHANGE(clock_behind)
{
	p->new->wall_ms -= 5000;
}

CHANGE(clock_looked_later)
{
	p->new->wall_ms += 5000;
	p->new->taken_at_ms += 5000;
}

CHANGE(clock_unknown)
{
	p->old->wall_ms = 0;
}

CHANGE(same_id)
{
	p->new->id.server_id = p->old->id.server_id;
}

CHANGE(same_server)
{
	p->new->id = p->old->id;
}

CHANGE(id_zero)
{
	p->old->id.server_id = 0;
}

CHANGE(replica_id)
{
	p->replica[0].id.server_id = p->new->id.server_id;
}

static void set_version(struct facts *f, bool mariadb, int num, const char *text)
{
	f->is_mariadb = mariadb;
	f->version_num = num;
	str_copy(f->version, sizeof(f->version), text);
}

CHANGE(new_older)
{
	set_version(p->new, true, 100618, "10.6.18-MariaDB");
}

CHANGE(new_newer)
{
	set_version(p->new, true, 110405, "11.4.5-MariaDB");
}

CHANGE(old_mysql8)
{
	set_version(p->old, false, 80036, "8.0.36");
}

CHANGE(old_mysql8_new_early)
{
	set_version(p->old, false, 80036, "8.0.36");
	set_version(p->new, true, 101106, "10.11.6-MariaDB");
}

CHANGE(new_mysql8_old_early)
{
	set_version(p->new, false, 80036, "8.0.36");
	set_version(p->old, true, 100508, "10.5.8-MariaDB");
}

CHANGE(both_mysql)
{
	set_version(p->old, false, 80036, "8.0.36");
	set_version(p->new, false, 80036, "8.0.36");
}

CHANGE(flavor_wrong)
{
	p->new_conf->flavor = CONF_FLAVOR_MYSQL;
}

CHANGE(flavor_right)
{
	p->new_conf->flavor = CONF_FLAVOR_MARIADB;
	p->old_conf->flavor = CONF_FLAVOR_RDS;
}

CHANGE(grants_few)
{
	p->new->privileges = "GRANT PROCESS ON *.* TO `flipd`@`%`";
}

/* All but what moving events takes. */
CHANGE(grants_without_super)
{
	p->old->privileges = "GRANT RELOAD, PROCESS, BINLOG MONITOR, REPLICATION MASTER ADMIN, BINLOG ADMIN, "
			     "CONNECTION ADMIN, "
			     "READ_ONLY ADMIN, REPLICATION SLAVE ADMIN, SLAVE MONITOR ON *.* TO `flipd`@`%`\n"
			     "GRANT ALL PRIVILEGES ON `flipd`.* TO `flipd`@`%`\n";
}

CHANGE(scheduler_without_super)
{
	grants_without_super(p);
	str_copy(p->old->event_scheduler, sizeof(p->old->event_scheduler), "ON");
}

CHANGE(grants_hidden)
{
	p->new->privileges = NULL;
}

CHANGE(binlog_off)
{
	p->new->log_bin = false;
}

CHANGE(updates_off)
{
	p->old->log_slave_updates = false;
}

CHANGE(format_statement)
{
	str_copy(p->old->binlog_format, sizeof(p->old->binlog_format), "STATEMENT");
}

CHANGE(format_mixed)
{
	str_copy(p->new->binlog_format, sizeof(p->new->binlog_format), "MIXED");
}

CHANGE(format_mixed_and_off)
{
	str_copy(p->old->binlog_format, sizeof(p->old->binlog_format), "MIXED");
	p->new->log_bin = false;
}

CHANGE(sync_binlog_off)
{
	p->old->sync_binlog_full = false;
}

CHANGE(flush_off_both)
{
	p->old->flush_log_full = p->new->flush_log_full = false;
}

static const struct pair_case servers[] = {
	{"connect", old_down, CHECK_REFUSE, 'o', "does not answer: connect: Connection refused",
		"start the server"},
	{"connect", old_full, CHECK_REFUSE, 'o', "Zu viele Verbindungen", "raise max_connections"},
	{"connect", old_full_tls, CHECK_REFUSE, 'o', "Zu viele Verbindungen", "raise max_connections"},
	{"connect", new_down, CHECK_REFUSE, 'n', "does not answer: connect: timed out", "start the server"},
	{"connect", replica_down, CHECK_WARN, 'r', "reports 10.1.0.7:3306", "goes on without reports"},
	{"clock_skew", clock_ahead, CHECK_WARN, 'n', "5000 ms ahead of", "chrony"},
	{"clock_skew", clock_behind, CHECK_WARN, 'n', "5000 ms behind", "chrony"},
	{"clock_skew", clock_looked_later, CHECK_OK, '-', "0 ms apart", NULL},
	{"clock_skew", clock_unknown, CHECK_SKIP, '-', "did not tell", NULL},
	{"clock_skew", old_down, CHECK_SKIP, 'o', "does not answer", NULL},
	{"server_id", same_id, CHECK_REFUSE, '-', "both have server_id", "SET GLOBAL server_id"},
	{"server_id", same_server, CHECK_REFUSE, '-', "are the same server", "two different servers"},
	{"server_id", id_zero, CHECK_REFUSE, 'o', "server_id 0", "SET GLOBAL server_id"},
	{"server_id", replica_id, CHECK_WARN, 'r', "replica reports has the server_id",
		"SET GLOBAL server_id"},
	{"server_id", new_down, CHECK_SKIP, 'n', "does not answer", NULL},
	{"version_order", new_older, CHECK_WARN, 'n', "older than its master", "upgrade"},
	{"version_order", new_newer, CHECK_WARN, 'o', "11.4.5-MariaDB", "way back"},
	{"version_order", old_mysql8, CHECK_SKIP, '-', "cannot be compared", NULL},
	{"version_order", old_down, CHECK_SKIP, 'o', "does not answer", NULL},
	{"flavor_pair", old_mysql8, CHECK_WARN, 'o', "supported by neither vendor", "rehearse both ways"},
	{"flavor_pair", old_mysql8_new_early, CHECK_REFUSE, 'n', "cannot replicate from MySQL 8.0.36",
		"10.11.11"},
	{"flavor_pair", new_mysql8_old_early, CHECK_REFUSE, 'o', "10.5.8-MariaDB", "upgrade"},
	{"flavor_pair", both_mysql, CHECK_OK, '-', "MySQL", NULL},
	{"flavor_pair", flavor_wrong, CHECK_REFUSE, 'n', "configured as mysql", "flavor: auto"},
	{"flavor_pair", flavor_right, CHECK_OK, '-', "MariaDB", NULL},
	{"flavor_pair", new_down, CHECK_SKIP, 'n', "does not answer", NULL},
	{"privileges", grants_few, CHECK_REFUSE, 'n', "READ ONLY ADMIN", "GRANT"},
	{"privileges", grants_without_super, CHECK_OK, '-', "has all it needs", NULL},
	{"privileges", scheduler_without_super, CHECK_REFUSE, 'o', "SUPER, EVENT, SET USER", "GRANT SUPER"},
	{"privileges", grants_hidden, CHECK_SKIP, 'n', "were not shown", NULL},
	{"privileges", old_down, CHECK_SKIP, 'o', "does not answer", NULL},
	{"binlog", binlog_off, CHECK_REFUSE, 'n', "writes no binary log", "log_bin=ON"},
	{"binlog", updates_off, CHECK_REFUSE, 'o', "log_slave_updates off", "log_slave_updates=ON"},
	{"binlog", format_statement, CHECK_REFUSE, 'o', "STATEMENT format",
		"SET GLOBAL binlog_format = 'ROW'"},
	{"binlog", format_mixed, CHECK_WARN, 'n', "MIXED format", "SET GLOBAL binlog_format = 'ROW'"},
	{"binlog", format_mixed_and_off, CHECK_REFUSE, 'n', "MIXED format", "log_bin=ON"},
	{"binlog", new_down, CHECK_SKIP, 'n', "does not answer", NULL},
	{"durability", sync_binlog_off, CHECK_WARN, 'o', "sync_binlog is not 1",
		"SET GLOBAL sync_binlog = 1"},
	{"durability", flush_off_both, CHECK_WARN, '-', "innodb_flush_log_at_trx_commit is not 1",
		"SET GLOBAL"},
	{"durability", old_down, CHECK_SKIP, 'o', "does not answer", NULL},
};

CHANGE(boots_open)
{
	p->old->boots_read_only = 0;
}

CHANGE(boots_unknown)
{
	p->new->boots_read_only = -1;
}

CHANGE(boots_said_fenced)
{
	p->new->boots_read_only = -1;
	p->new_conf->boots_fenced = 1;
}

CHANGE(boots_said_open)
{
	p->old_conf->boots_fenced = 0;
}

CHANGE(boots_said_wrongly)
{
	p->old_conf->boots_fenced = 1;
	p->old->boots_read_only = 0;
}

CHANGE(boots_outer_fence)
{
	p->old->boots_read_only = 0;
	p->old_conf->fences[0].kind = CONF_FENCE_HOOK;
}

CHANGE(galera_node)
{
	p->new->wsrep_on = 'Y';
}

CHANGE(galera_unknown)
{
	p->old->wsrep_on = '\0';
}

static void add_dns(struct pair *p, const char *name)
{
	static const char *const values[] = {"10.1.0.5", "10.1.0.6"};
	struct conf_endpoint *e = &p->endpoints[p->conf.nendpoints++];

	*e = (struct conf_endpoint){
		.kind = CONF_ENDPOINT_DNS, .label = "dns", .rr_name = name, .zone = "example.com."};
	for (int i = 0; i < 2; i++)
		e->value[i] = (struct conf_list){.n = 1, .v = (const char **)(uintptr_t)&values[i]};
	p->conf.endpoints = p->endpoints;
}

CHANGE(self_none)
{
	add_dns(p, "db.example.com.");
}

CHANGE(self_host)
{
	add_dns(p, "db.example.com.");
	p->new_conf->host = "DB.example.com";
}

CHANGE(self_replication)
{
	add_dns(p, "db.example.com.");
	p->old_conf->replication_host = "db.example.com";
}

CHANGE(self_channel)
{
	add_dns(p, "db.example.com.");
	str_copy(p->channel->host, sizeof(p->channel->host), "db.example.com");
}

CHANGE(self_replica_channel)
{
	add_dns(p, "db.example.com.");
	str_copy(pair_channel(&p->replica[0], p->old, p->old_conf)->host, 256, "db.example.com");
}

CHANGE(self_value)
{
	static const char *value = "db.example.com";

	add_dns(p, "db.example.com.");
	p->endpoints[0].value[1] = (struct conf_list){.n = 1, .v = &value};
}

static void open_row(struct facts *f, const char *id, const char *journal)
{
	str_copy(f->flip_row_id, sizeof(f->flip_row_id), id);
	str_copy(f->flip_row_host, sizeof(f->flip_row_host), "other-host");
	str_copy(f->flip_row_journal, sizeof(f->flip_row_journal), journal);
	str_copy(f->flip_row_state, sizeof(f->flip_row_state), "running");
}

CHANGE(row_foreign)
{
	open_row(p->old, "flip-9", "journal-9");
	open_row(p->new, "flip-9", "journal-9");
}

CHANGE(row_ours)
{
	open_row(p->new, "flip-8", "journal-1");
}

CHANGE(row_of_this_flip)
{
	open_row(p->old, "flip-7", "journal-1");
	p->in.flip_id = "flip-7";
}

static const struct pair_case restarts[] = {
	{"boot_fence", boots_open, CHECK_WARN, 'o', "boots open", "read_only=1 in the my.cnf"},
	{"boot_fence", boots_unknown, CHECK_WARN, 'n', "not known", "boots_fenced: true"},
	{"boot_fence", boots_said_fenced, CHECK_OK, '-', "boots read-only", NULL},
	{"boot_fence", boots_said_open, CHECK_WARN, 'o', "boots open", "read_only=1 in the my.cnf"},
	{"boot_fence", boots_said_wrongly, CHECK_WARN, 'o', "its last start left it open", "read_only=1"},
	{"boot_fence", boots_outer_fence, CHECK_OK, '-', "outlives a restart", NULL},
	{"boot_fence", new_down, CHECK_SKIP, 'n', "does not answer", NULL},
	{"galera", galera_node, CHECK_REFUSE, 'n', "is a Galera node", "wsrep_on=OFF"},
	{"galera", galera_unknown, CHECK_SKIP, 'o', "did not show", NULL},
	{"self_reference", self_none, CHECK_OK, '-', "any of the 1 names", NULL},
	{"self_reference", self_host, CHECK_REFUSE, 'n', "host of", "always means that one server"},
	{"self_reference", self_replication, CHECK_REFUSE, 'o', "replication_address of", "always means"},
	{"self_reference", self_channel, CHECK_REFUSE, 'n', "MASTER_HOST", "always means"},
	{"self_reference", self_replica_channel, CHECK_REFUSE, 'r', "replication on reports", "always means"},
	{"self_reference", self_value, CHECK_REFUSE, '-', "db.example.com", "always means"},
	{"unfinished_flip", row_foreign, CHECK_REFUSE, 'o', "begun on host other-host, journal journal-9",
		"flipctl resolve shard1"},
	{"unfinished_flip", row_ours, CHECK_REFUSE, 'n', "this flipd's", "flipctl resolve shard1"},
	{"unfinished_flip", row_of_this_flip, CHECK_OK, '-', "no unfinished flip", NULL},
	{"unfinished_flip", old_down, CHECK_SKIP, 'o', "does not answer", NULL},
};

static void test_servers(void **state)
{
	(void)state;
	pair_run_cases(servers, COUNT_OF(servers));
}

static void test_restarts(void **state)
{
	(void)state;
	pair_run_cases(restarts, COUNT_OF(restarts));
}

/* Every row of the table that is judged: nothing is wrong with a healthy pair. */
static void test_healthy(void **state)
{
	(void)state;
	for (int to = 0; to < 2; to++) {
		struct pair *p = pair_new((enum conf_side)to);
		struct check_out out;

		for (int i = 0; i < checks_count; i++) {
			if (!checks[i].judge)
				continue;
			pair_judge(p, checks[i].name, &out);
			if (out.result != CHECK_OK)
				fail_msg("%s: %s: %s", out.name, check_result_name(out.result), out.seen);
		}
		free(p);
	}
}

/* A server that was never looked at, and one that answered with nothing. */
static void test_empty(void **state)
{
	(void)state;
	for (int kind = 0; kind < 3; kind++) {
		struct pair *p = pair_new(CONF_TARGET);
		struct check_out out;

		memset(p->side, 0, sizeof(p->side));
		memset(p->replica, 0, sizeof(p->replica));
		p->side[0].up = p->side[1].up = p->replica[0].up = kind == 1;
		if (kind == 2) {
			p->in.old_facts = p->in.new_facts = NULL;
			p->in.old_error = p->in.new_error = NULL;
			p->in.replicas = NULL;
			p->in.nreplicas = 0;
			p->in.journal_id = p->in.flip_id = NULL;
		}
		for (int i = 0; i < checks_count; i++) {
			if (!checks[i].judge)
				continue;
			pair_judge(p, checks[i].name, &out);
			if (kind != 1 && out.result != CHECK_SKIP && strcmp(checks[i].name, "connect") != 0 &&
				strcmp(checks[i].name, "self_reference") != 0)
				fail_msg("%s: %s: %s", out.name, check_result_name(out.result), out.seen);
		}
		free(p);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_healthy), cmocka_unit_test(test_empty),
		cmocka_unit_test(test_servers), cmocka_unit_test(test_restarts)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
