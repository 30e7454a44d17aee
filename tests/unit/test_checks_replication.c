/* The judges of replication and of transaction ids: each result of each row, in both directions. */
#include "tests/unit/preflight_pair.h"

#define CHANGE(name) static void name(struct pair *p)

static uint32_t old_id(const struct pair *p)
{
	return p->old->id.server_id;
}

static uint32_t new_id(const struct pair *p)
{
	return p->new->id.server_id;
}

/* A list from a text in which O and N stand for the sides' server ids. */
static void set_gtid(const struct pair *p, struct gtid_list *l, const char *text)
{
	char buf[128];

	str_copy(buf, sizeof(buf), text);
	for (char *c = buf; *c; c++)
		*c = *c == 'O' ? (char)('0' + old_id(p)) : *c == 'N' ? (char)('0' + new_id(p)) : *c;
	pair_gtid(l, buf);
}

CHANGE(down_old)
{
	p->old->up = false;
}

CHANGE(down_new)
{
	p->new->up = false;
}

CHANGE(no_channel)
{
	p->new->nchannels = 0;
}

CHANGE(from_elsewhere)
{
	str_copy(p->channel->host, sizeof(p->channel->host), "10.9.9.9");
	p->channel->master_server_id = 9;
}

CHANGE(other_server_behind_name)
{
	p->channel->master_server_id = 9;
}

CHANGE(stale_id_stopped)
{
	p->channel->master_server_id = 9;
	str_copy(p->channel->io, sizeof(p->channel->io), "No");
}

CHANGE(other_name_same_server)
{
	str_copy(p->channel->host, sizeof(p->channel->host), "alias.example.com");
}

CHANGE(io_connecting)
{
	str_copy(p->channel->io, sizeof(p->channel->io), "Connecting");
}

CHANGE(sql_stopped)
{
	str_copy(p->channel->sql, sizeof(p->channel->sql), "No");
	p->channel->last_sql_errno = 1062;
	str_copy(p->channel->last_error, sizeof(p->channel->last_error), "Duplicate entry '7'");
}

CHANGE(do_db)
{
	str_copy(p->old->binlog_do_db, sizeof(p->old->binlog_do_db), "shop");
}

CHANGE(ignore_db)
{
	str_copy(p->new->binlog_ignore_db, sizeof(p->new->binlog_ignore_db), "logs");
}

CHANGE(filter_new)
{
	str_copy(p->channel->filters, sizeof(p->channel->filters), "Replicate_Ignore_DB=logs");
}

CHANGE(filter_rds)
{
	str_copy(p->channel->filters, sizeof(p->channel->filters),
		"Replicate_Wild_Ignore_Table=mysql.rds\\_%");
}

CHANGE(filter_rds_and_more)
{
	str_copy(p->channel->filters, sizeof(p->channel->filters),
		"Replicate_Wild_Ignore_Table=mysql.rds\\_%,a.%");
}

CHANGE(filter_waits)
{
	str_copy(p->old->default_filters, sizeof(p->old->default_filters), "Replicate_Ignore_DB=logs");
}

CHANGE(filter_replica)
{
	str_copy(pair_channel(&p->replica[0], p->old, p->old_conf)->filters, 512, "Replicate_Do_DB=shop");
}

CHANGE(lag_status)
{
	p->channel->lag_s = 7;
}

CHANGE(lag_heartbeat)
{
	p->in.new_heartbeat_lag_ms = 2500;
}

CHANGE(lag_unknown)
{
	p->channel->lag_s = -1;
}

CHANGE(lag_small)
{
	p->in.new_heartbeat_lag_ms = 400;
}

CHANGE(delayed)
{
	p->channel->delay_s = 60;
}

CHANGE(delayed_replica)
{
	pair_channel(&p->replica[0], p->old, p->old_conf)->delay_s = 3600;
}

static const struct pair_case replication[] = {
	{"replicating", no_channel, CHECK_REFUSE, 'n', "from nowhere",
		"CHANGE MASTER TO MASTER_HOST='10.1.0."},
	{"replicating", from_elsewhere, CHECK_REFUSE, 'n', "replicates from 10.9.9.9:3306", "CHANGE MASTER"},
	{"replicating", other_server_behind_name, CHECK_REFUSE, 'n', "from server_id 9", "another server"},
	{"replicating", stale_id_stopped, CHECK_REFUSE, 'n', "IO thread No", "START SLAVE"},
	{"replicating", other_name_same_server, CHECK_OK, 'n', "both threads run", NULL},
	{"replicating", io_connecting, CHECK_REFUSE, 'n', "IO thread Connecting", "START SLAVE"},
	{"replicating", sql_stopped, CHECK_REFUSE, 'n', "error 1062: Duplicate entry '7'", "START SLAVE"},
	{"replicating", down_new, CHECK_SKIP, 'n', "does not answer", NULL},
	{"binlog_filters", do_db, CHECK_REFUSE, 'o', "binlog_do_db=shop", "remove binlog_do_db"},
	{"binlog_filters", ignore_db, CHECK_REFUSE, 'n', "binlog_ignore_db=logs", "remove binlog_do_db"},
	{"binlog_filters", filter_new, CHECK_REFUSE, 'n', "Replicate_Ignore_DB=logs",
		"SET GLOBAL replicate_"},
	{"binlog_filters", filter_rds, CHECK_OK, '-', "no filters", NULL},
	{"binlog_filters", filter_rds_and_more, CHECK_REFUSE, 'n', "a.%", "STOP SLAVE"},
	{"binlog_filters", filter_waits, CHECK_REFUSE, 'o',
		"will replicate, and then leaves changes out: Repl", "out of its my.cnf"},
	{"binlog_filters", filter_replica, CHECK_WARN, 'r', "Replicate_Do_DB=shop", "on reports"},
	{"binlog_filters", down_old, CHECK_SKIP, 'o', "does not answer", NULL},
	{"lag", lag_status, CHECK_WARN, 'n', "7000 ms behind by its status", "drain, at most 30 s"},
	{"lag", lag_heartbeat, CHECK_WARN, 'n', "2500 ms behind by the heartbeat", "drain"},
	{"lag", lag_small, CHECK_OK, 'n', "400 ms behind by the heartbeat, max_lag 1s", NULL},
	{"lag", lag_unknown, CHECK_SKIP, 'n', "not known", NULL},
	{"delay", delayed, CHECK_REFUSE, 'n', "60 s late on purpose; max_blackout is 10 s", "MASTER_DELAY=0"},
	{"delay", delayed_replica, CHECK_WARN, 'r', "3600 s late", "repointed after"},
	{"delay", no_channel, CHECK_SKIP, 'n', "does not replicate", NULL},
	{"delay", down_new, CHECK_SKIP, 'n', "does not answer", NULL},
};

/* As the watcher polls: both asked at once, old answered last. */
static void looked_together(struct pair *p)
{
	p->new->asked_at_us = p->old->asked_at_us = 1000000;
	p->new->answered_at_us = 1000400;
	p->old->answered_at_us = 1000900;
}

CHANGE(by_file)
{
	str_copy(p->channel->using_gtid, sizeof(p->channel->using_gtid), "No");
}

CHANGE(by_file_errant)
{
	by_file(p);
	set_gtid(p, &p->new->position.binlog_state, "0-O-100,0-N-103");
}

CHANGE(errant)
{
	set_gtid(p, &p->new->position.binlog_state, "0-O-100,0-N-103");
}

CHANGE(errant_domain)
{
	set_gtid(p, &p->new->position.binlog_state, "0-O-100,0-N-50,7-N-3");
}

/* Not old's, not new's own. */
CHANGE(errant_foreign)
{
	set_gtid(p, &p->new->position.binlog_state, "0-O-100,0-N-50,0-9-101");
}

CHANGE(errant_foreign_looked_later)
{
	errant_foreign(p);
	looked_together(p);
}

CHANGE(foreign_history)
{
	set_gtid(p, &p->new->position.binlog_state, "0-O-100,0-N-50,0-9-20");
}

CHANGE(above)
{
	set_gtid(p, &p->new->position.slave_pos, "0-O-120");
}

CHANGE(above_looked_later)
{
	set_gtid(p, &p->new->position.slave_pos, "0-O-120");
	looked_together(p);
}

/* A flip to old proved more than the log that old still shows. */
CHANGE(executed_before)
{
	static struct gtid_list reached;

	set_gtid(p, &p->new->position.binlog_state, "0-O-100,0-N-103");
	set_gtid(p, &reached, "0-N-103");
	p->in.old_reached = &reached;
}

CHANGE(stranger)
{
	set_gtid(p, &p->new->position.slave_pos, "0-7-3");
}

CHANGE(old_was_reset)
{
	p->old->position.binlog_state.n = 0;
}

CHANGE(old_was_reset_other_domain)
{
	set_gtid(p, &p->new->position.slave_pos, "0-O-100,5-9-8");
}

CHANGE(foreign_log_domain)
{
	set_gtid(p, &p->new->position.binlog_state, "0-O-100,0-N-50,5-9-8");
}

CHANGE(behind)
{
	set_gtid(p, &p->new->position.slave_pos, "0-O-80");
}

CHANGE(own_last)
{
	set_gtid(p, &p->new->position.slave_pos, "0-N-50");
}

CHANGE(nothing_written)
{
	for (int i = 0; i < 2; i++)
		p->side[i].position.binlog_state.n = p->side[i].position.slave_pos.n = 0;
}

static const struct pair_case gtids[] = {
	{"gtid", by_file, CHECK_SKIP, 'n', "file and position", NULL},
	{"gtid", by_file_errant, CHECK_WARN, 'n', "3 transactions of its own", "mysqlbinlog"},
	{"gtid", errant, CHECK_REFUSE, 'n', "3 transactions of its own that", "seed"},
	{"gtid", errant_domain, CHECK_REFUSE, 'n', "the first 7-", "preflight: {gtid: warn}"},
	{"gtid", errant_foreign, CHECK_REFUSE, 'n', "lacks, up to 0-9-101", "seed"},
	{"gtid", errant_foreign_looked_later, CHECK_OK, 'n', "within what", NULL},
	{"gtid", foreign_history, CHECK_OK, 'n', "within what", NULL},
	{"gtid", above, CHECK_REFUSE, 'n', "-120, above 0-", "compare the data"},
	{"gtid", executed_before, CHECK_OK, 'n', "within what", NULL},
	{"gtid", above_looked_later, CHECK_OK, 'n', "within what", NULL},
	{"gtid", stranger, CHECK_REFUSE, 'n', "0-7-3", "seed"},
	{"gtid", old_was_reset, CHECK_REFUSE, 'n', NULL, "seed"},
	{"gtid", old_was_reset_other_domain, CHECK_WARN, 'n', "5-9-8", "gtid_slave_pos without it"},
	{"gtid", foreign_log_domain, CHECK_WARN, 'n', "5-9-8", "DELETE_DOMAIN_ID=(5)"},
	{"gtid", behind, CHECK_OK, 'n', "-80', within", NULL},
	{"gtid", own_last, CHECK_OK, 'n', "-50', within", NULL},
	{"gtid", nothing_written, CHECK_OK, 'n', "stands at ''", NULL},
	{"gtid", no_channel, CHECK_SKIP, 'n', "does not replicate", NULL},
	{"gtid", down_old, CHECK_SKIP, 'o', "does not answer", NULL},
};

CHANGE(named)
{
	str_copy(p->channel->name, sizeof(p->channel->name), "dc1");
}

static struct facts_channel *stranger_channel(struct facts *f)
{
	struct facts_channel *c = &f->channels[f->nchannels++];

	*c = (struct facts_channel){.port = 3306, .master_server_id = 9};
	str_copy(c->name, sizeof(c->name), "other");
	str_copy(c->host, sizeof(c->host), "10.9.9.9");
	str_copy(c->io, sizeof(c->io), "Yes");
	str_copy(c->sql, sizeof(c->sql), "Yes");
	return c;
}

CHANGE(two_masters)
{
	stranger_channel(p->new);
}

CHANGE(old_follows)
{
	stranger_channel(p->old);
}

CHANGE(old_followed)
{
	struct facts_channel *c = stranger_channel(p->old);

	str_copy(c->io, sizeof(c->io), "No");
	str_copy(c->sql, sizeof(c->sql), "No");
}

CHANGE(ring)
{
	pair_channel(p->old, p->new, p->new_conf);
}

CHANGE(trial_left)
{
	struct facts_channel *c = pair_channel(p->old, p->new, p->new_conf);

	str_copy(c->name, sizeof(c->name), "flipd_reverse");
	str_copy(c->sql, sizeof(c->sql), "No");
	c->delay_s = CHECKS_TRIAL_DELAY_S;
}

CHANGE(semi_new_alone)
{
	p->new->semi_sync_master = true;
	p->new->semi_sync_timeout_ms = 4000;
	p->old->semi_sync_slave = true;
}

CHANGE(semi_new_alone_later)
{
	semi_new_alone(p);
	p->old->semi_sync_slave = false;
}

CHANGE(semi_replica_acknowledges)
{
	semi_new_alone_later(p);
	p->replica[0].semi_sync_slave = true;
}

CHANGE(semi_old_alone)
{
	p->old->semi_sync_master = true;
	p->old->semi_sync_timeout_ms = 10000;
}

CHANGE(semi_both_alone)
{
	semi_new_alone(p);
	semi_old_alone(p);
}

CHANGE(semi_old_served)
{
	p->old->semi_sync_master = true;
	p->old->semi_sync_clients = 2;
}

static const struct pair_case connections[] = {
	{"channels", named, CHECK_REFUSE, 'n', "named connection 'dc1'", "RESET SLAVE 'dc1' ALL"},
	{"channels", two_masters, CHECK_REFUSE, 'n', "also replicates from 10.9.9.9:3306",
		"RESET SLAVE 'other' ALL"},
	{"channels", old_follows, CHECK_REFUSE, 'o', "itself replicates from 10.9.9.9:3306",
		"STOP SLAVE 'other'"},
	{"channels", old_followed, CHECK_WARN, 'o', "stopped connection 'other'", "RESET SLAVE 'other' ALL"},
	{"channels", ring, CHECK_OK, '-', "has 1 connections", NULL},
	{"channels", trial_left, CHECK_WARN, 'o', "trial connection 'flipd_reverse'",
		"RESET SLAVE 'flipd_reverse' ALL"},
	{"channels", down_new, CHECK_SKIP, 'n', "does not answer", NULL},
	{"semi_sync", semi_new_alone, CHECK_WARN, 'n', "would wait 4000 ms", "step events"},
	{"semi_sync", semi_new_alone_later, CHECK_WARN, '-', "waits 4000 ms in vain",
		"rpl_semi_sync_slave_enabled = 1"},
	{"semi_sync", semi_replica_acknowledges, CHECK_WARN, 'n', "would wait 4000 ms", "step events"},
	{"semi_sync", semi_old_alone, CHECK_WARN, 'o', "wait up to 10000 ms",
		"rpl_semi_sync_slave_enabled = 1"},
	{"semi_sync", semi_both_alone, CHECK_WARN, '-', "would wait 4000 ms", "step events"},
	{"semi_sync", semi_old_served, CHECK_OK, '-', "2 replicas", NULL},
	{"semi_sync", down_old, CHECK_SKIP, 'o', "does not answer", NULL},
};

static void test_replication(void **state)
{
	(void)state;
	pair_run_cases(replication, COUNT_OF(replication));
}

static void test_gtids(void **state)
{
	(void)state;
	pair_run_cases(gtids, COUNT_OF(gtids));
}

static void test_connections(void **state)
{
	(void)state;
	pair_run_cases(connections, COUNT_OF(connections));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_replication),
		cmocka_unit_test(test_gtids),
		cmocka_unit_test(test_connections),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
