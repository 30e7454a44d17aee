/* A healthy pair of servers as the judges see it, for either direction, and how a case of a table is run on
 * it. */
#ifndef TESTS_UNIT_PREFLIGHT_PAIR_H
#define TESTS_UNIT_PREFLIGHT_PAIR_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <errno.h>

#include "lib/base/str.h"
#include "lib/flip/checks.h"

#define PAIR_SESSIONS 24

struct pair {
	struct conf_cluster conf;
	struct conf_fence fence[2];
	struct conf_server replica_conf[1];
	struct conf_endpoint endpoints[3];
	struct conf_lowered lower[1];
	struct facts side[2], replica[1];
	struct facts *old, *new; /* of the direction under test */
	struct conf_server *old_conf, *new_conf;
	struct facts_channel *channel; /* new's, from old */
	struct facts_session sessions[2][PAIR_SESSIONS];
	struct facts_account bypass[2][4];
	struct facts_setting settings[2][64];
	struct survey *survey[2], *old_survey, *new_survey;
	struct survey_thing things[2][40];
	struct err error[2];
	struct check_input in;
};

static inline void pair_gtid(struct gtid_list *l, const char *text)
{
	assert_int_equal(gtid_parse(text, l), 0);
}

static inline void pair_server(
	struct conf_server *s, const char *name, const char *host, struct conf_fence *fence)
{
	*s = (struct conf_server){
		.name = name,
		.host = host,
		.port = 3306,
		.replication_host = host,
		.replication_port = 3306,
		.account = {.user = "flipd", .password = "x"},
		.replication = {.user = "repl", .password = "y"},
		.nfences = fence ? 1 : 0,
		.fences = fence,
		.boots_fenced = -1,
	};
}

static inline void pair_facts(struct facts *f, uint32_t server_id, const char *host)
{
	*f = (struct facts){
		.up = true,
		.taken_at_ms = 1000,
		.version_num = 101119,
		.is_mariadb = true,
		.wall_ms = 1790000000000,
		.log_bin = true,
		.log_slave_updates = true,
		.sync_binlog_full = true,
		.flush_log_full = true,
		.boots_read_only = 1,
		.schema_present = true,
		.wsrep_on = 'N',
		.heartbeat_wall_ms = -1,
	};
	f->id.server_id = server_id;
	f->id.port = 3306;
	f->id.boot_s = 1780000000;
	str_copy(f->id.hostname, sizeof(f->id.hostname), host);
	str_copy(f->version, sizeof(f->version), "10.11.19-MariaDB-log");
	str_copy(f->binlog_format, sizeof(f->binlog_format), "ROW");
	str_copy(f->event_scheduler, sizeof(f->event_scheduler), "OFF");
	str_copy(f->slave_skip_errors, sizeof(f->slave_skip_errors), "OFF");
	str_copy(f->slave_exec_mode, sizeof(f->slave_exec_mode), "STRICT");
	str_copy(f->current_user, sizeof(f->current_user), "flipd@%");
	f->privileges = "GRANT ALL PRIVILEGES ON *.* TO `flipd`@`%` WITH GRANT OPTION";
	str_copy(f->position.file, sizeof(f->position.file), "binlog.000007");
	f->position.pos = 4711;
}

/* Source has server_id 1, target 2; both have been master before: 0-1-100 and 0-2-50. */
static inline void pair_positions(struct pair *p)
{
	const char *state = p->in.from == CONF_SOURCE ? "0-1-100,0-2-50" : "0-1-50,0-2-100";

	for (int i = 0; i < 2; i++) {
		pair_gtid(&p->side[i].position.binlog_state, state);
		pair_gtid(&p->side[i].position.binlog_pos, p->in.from == CONF_SOURCE ? "0-1-100" : "0-2-100");
	}
	pair_gtid(&p->new->position.slave_pos, p->in.from == CONF_SOURCE ? "0-1-100" : "0-2-100");
}

static inline struct facts_channel *pair_channel(
	struct facts *f, const struct facts *from, const struct conf_server *c)
{
	struct facts_channel *ch = &f->channels[f->nchannels++];

	*ch = (struct facts_channel){.port = c->replication_port, .master_server_id = from->id.server_id};
	str_copy(ch->host, sizeof(ch->host), c->replication_host);
	str_copy(ch->io, sizeof(ch->io), "Yes");
	str_copy(ch->sql, sizeof(ch->sql), "Yes");
	str_copy(ch->using_gtid, sizeof(ch->using_gtid), "Slave_Pos");
	return ch;
}

static inline struct facts_session *pair_session(struct facts *f, const char *user, const char *command)
{
	struct facts_session *s = &f->sessions[f->nsessions++];

	assert_true(f->nsessions <= PAIR_SESSIONS);
	*s = (struct facts_session){.id = 100 + (uint64_t)f->nsessions, .trx_age_ms = -1};
	str_copy(s->user, sizeof(s->user), user);
	str_copy(s->host, sizeof(s->host), "10.0.0.9:5000");
	str_copy(s->command, sizeof(s->command), command);
	return s;
}

static inline void pair_bypass(struct facts *f, const char *user)
{
	str_copy(f->bypass[f->nbypass].user, sizeof(f->bypass->user), user);
	str_copy(f->bypass[f->nbypass++].host, sizeof(f->bypass->host), "localhost");
}

/* What both servers show alike. */
static const struct facts_setting pair_settings[] = {{"auto_increment_increment", "1"},
	{"auto_increment_offset", "1"}, {"character_set_server", "utf8mb4"}, {"extra_port", "0"},
	{"innodb_buffer_pool_size", "134217728"}, {"max_allowed_packet", "16777216"},
	{"max_connections", "151"}, {"Max_used_connections", "40"}, {"own_max_user_connections", "0"},
	{"slave_parallel_threads", "4"}, {"slave_parallel_mode", "optimistic"},
	{"sql_mode", "STRICT_TRANS_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION"},
	{"system_time_zone", "UTC"}, {"Threads_connected", "12"}, {"time_zone", "SYSTEM"},
	{"tx_isolation", "REPEATABLE-READ"}, {"wait_timeout", "28800"},
	{"lock maxscale_mariadbmonitor", NULL}};

static inline void pair_set(struct facts *f, const char *name, const char *value)
{
	for (int i = 0; i < f->nsettings; i++)
		if (strcmp(f->settings[i].name, name) == 0)
			f->settings[i].value = value;
}

static inline void pair_conf(struct pair *p)
{
	p->conf = (struct conf_cluster){
		.name = "shard1",
		.nreplicas = 1,
		.replicas = p->replica_conf,
		.policy =
			{
				.max_lag_ms = 1000,
				.max_transaction_age_ms = 2000,
				.max_transaction_rows = 10000,
				.drain_timeout_ms = 30000,
				.max_blackout_ms = 10000,
				.settle_timeout_ms = 600000,
				.heartbeat_schema = "flipd",
				.fence_probe = {.user = "flipd_probe", .password = "z"},
			},
	};
	pair_server(&p->conf.side[CONF_SOURCE], "source", "10.1.0.5", &p->fence[0]);
	pair_server(&p->conf.side[CONF_TARGET], "target", "10.1.0.6", &p->fence[1]);
	pair_server(&p->replica_conf[0], "reports", "10.1.0.7", NULL);
}

/* What both sides hold alike. */
static const struct survey_thing pair_things[] = {{SURVEY_TABLE, "app.t", "2:11", 1},
	{SURVEY_TABLE, "app.u", "3:12", 1}, {SURVEY_TABLE, "app.v", "2:11", 0},
	{SURVEY_INDEXES, "app.t", "1:21", 0}, {SURVEY_INDEXES, "app.u", "1:22", 0},
	{SURVEY_ENGINE, "app.t", "InnoDB", 0}, {SURVEY_ENGINE, "app.u", "InnoDB", 0},
	{SURVEY_VIEW, "app.v", "31", 0}, {SURVEY_TRIGGER, "app.before", "41", 0},
	{SURVEY_ROUTINE, "app.f FUNCTION", "51", 0}, {SURVEY_EVENT, "app.nightly", "61", 0},
	{SURVEY_ACCOUNT, "app@%", "71", 0}, {SURVEY_ACCOUNT, "root@localhost", "72", 0},
	{SURVEY_GRANTS, "app@%", "1:81", 0}, {SURVEY_DEFINER, "app@%", "", 0},
	{SURVEY_DEFINER, "app@%", "", 0}, {SURVEY_PLUGIN, "innodb", "STORAGE ENGINE", 0},
	{SURVEY_PLUGIN, "myisam", "STORAGE ENGINE", 0}, {SURVEY_PLUGIN, "ed25519", "AUTHENTICATION", 0}};

static inline void pair_survey(struct pair *p, int side)
{
	static struct survey surveys[2];
	struct survey *s = p->survey[side] = &surveys[side];

	*s = (struct survey){.accounts = {.state = SURVEY_DONE},
		.schema = {.state = SURVEY_DONE},
		.n = (int)COUNT_OF(pair_things),
		.things = p->things[side]};
	memcpy(p->things[side], pair_things, sizeof(pair_things));
	memset(s->seen, 1, sizeof(s->seen));
	survey_sort(s);
}

static inline void pair_put(
	struct survey *s, enum survey_kind kind, const char *name, const char *digest, int64_t n)
{
	struct survey_thing *there = (struct survey_thing *)survey_find(s, kind, name);

	*(there ? there : &s->things[s->n++]) = (struct survey_thing){kind, name, digest, n};
	survey_sort(s);
}

static inline void pair_drop(struct survey *s, enum survey_kind kind, const char *name)
{
	struct survey_thing *there = (struct survey_thing *)survey_find(s, kind, name);

	assert_non_null(there);
	*there = s->things[--s->n];
	survey_sort(s);
}

static inline struct pair *pair_new(enum conf_side to)
{
	struct pair *p = calloc(1, sizeof(*p));
	enum conf_side from = to == CONF_SOURCE ? CONF_TARGET : CONF_SOURCE;

	assert_non_null(p);
	pair_conf(p);
	pair_facts(&p->side[CONF_SOURCE], 1, "db1");
	pair_facts(&p->side[CONF_TARGET], 2, "db2");
	pair_facts(&p->replica[0], 3, "db3");
	pair_survey(p, CONF_SOURCE);
	pair_survey(p, CONF_TARGET);
	p->old_survey = p->survey[from];
	p->new_survey = p->survey[to];
	p->replica[0].read_only = true;
	p->old = &p->side[from];
	p->new = &p->side[to];
	p->old_conf = &p->conf.side[from];
	p->new_conf = &p->conf.side[to];
	p->new->read_only = true;
	p->channel = pair_channel(p->new, p->old, p->old_conf);
	for (int i = 0; i < 2; i++) {
		p->side[i].sessions = p->sessions[i];
		p->side[i].bypass = p->bypass[i];
		p->side[i].settings = p->settings[i];
		p->side[i].nsettings = (int)COUNT_OF(pair_settings);
		memcpy(p->settings[i], pair_settings, sizeof(pair_settings));
		pair_session(&p->side[i], "flipd", "Query");
	}
	p->in = (struct check_input){
		.conf = &p->conf,
		.from = from,
		.to = to,
		.old_facts = p->old,
		.new_facts = p->new,
		.old_survey = p->old_survey,
		.new_survey = p->new_survey,
		.old_error = &p->error[from],
		.new_error = &p->error[to],
		.nreplicas = 1,
		.replicas = p->replica,
		.journal_id = "journal-1",
		.flip_id = "",
		.wall_ms = 1790000000000,
		.new_heartbeat_lag_ms = -1,
		.own_host = "flipd-host",
	};
	pair_positions(p);
	return p;
}

static inline const struct check *pair_check(const char *name)
{
	for (int i = 0; i < checks_count; i++)
		if (strcmp(checks[i].name, name) == 0)
			return &checks[i];
	fail_msg("no check %s", name);
	return NULL;
}

/* Judges one row; the rules that hold for every result are asserted here. */
static inline void pair_judge(const struct pair *p, const char *name, struct check_out *out)
{
	const struct check *check = pair_check(name);

	memset(out, 0, sizeof(*out));
	out->name = check->name;
	check->judge(&p->in, out);
	if (!out->seen[0])
		fail_msg("%s says nothing", name);
	if ((out->result == CHECK_WARN || out->result == CHECK_REFUSE) && !out->hint[0])
		fail_msg("%s (%s) gives no hint: %s", name, check_result_name(out->result), out->seen);
}

/* One change to a healthy pair and what must come of it. */
struct pair_case {
	const char *check;
	void (*change)(struct pair *);
	enum check_result result;
	char where;		 /* o: old, n: new, r: the replica, -: no one server */
	const char *seen, *hint; /* parts of the texts */
};

static inline void pair_expect_server(
	const struct pair *p, const struct pair_case *c, const struct check_out *out)
{
	const char *want = c->where == 'o'   ? p->old_conf->name
			   : c->where == 'n' ? p->new_conf->name
			   : c->where == 'r' ? "reports"
					     : "";

	if (strcmp(out->server, want) != 0)
		fail_msg("%s: server '%s', not '%s': %s", c->check, out->server, want, out->seen);
}

/* Runs every case in both directions. */
static inline void pair_run_cases(const struct pair_case *cases, size_t n)
{
	for (size_t i = 0; i < 2 * n; i++) {
		const struct pair_case *c = &cases[i / 2];
		struct pair *p = pair_new(i % 2 ? CONF_SOURCE : CONF_TARGET);
		struct check_out out;

		if (c->change)
			c->change(p);
		pair_judge(p, c->check, &out);
		if (out.result != c->result)
			fail_msg("%s case %zu: %s, not %s: %s", c->check, i / 2,
				check_result_name(out.result), check_result_name(c->result), out.seen);
		pair_expect_server(p, c, &out);
		if (c->seen && !strstr(out.seen, c->seen))
			fail_msg("%s case %zu: no '%s' in: %s", c->check, i / 2, c->seen, out.seen);
		if (c->hint && !strstr(out.hint, c->hint))
			fail_msg("%s case %zu: no '%s' in the hint: %s", c->check, i / 2, c->hint, out.hint);
		free(p);
	}
}

#endif
