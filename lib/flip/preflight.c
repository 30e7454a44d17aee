/*
 * preflight: the table of checks, and judging by it. To add a check: one row here, one judge in checks_*.c.
 * Gathering and proving are in preflight_run.c.
 */
#include "lib/flip/preflight.h"

#include <string.h>

#include "lib/base/str.h"
#include "lib/flip/checks.h"
#include "lib/model/wire.h"

/* In the order of SPEC.md section 6, which is the order in which they are shown. */
const struct check checks[] = {
	/* servers */
	{.name = "connect",
		.question = "Does every server answer?",
		.background = true,
		.judge = judge_connect},
	{.name = "clock_skew",
		.question = "Do both servers tell the same time?",
		.background = true,
		.judge = judge_clock_skew},
	{.name = "server_id",
		.question = "Are the sides two servers, each with a server_id of its own?",
		.background = true,
		.judge = judge_server_id},
	{.name = "version_order",
		.question = "Is each replica, now and after the flip, as new as its master?",
		.background = true,
		.judge = judge_version_order},
	{.name = "flavor_pair",
		.question = "Can these two kinds of server replicate from one another, both ways?",
		.background = true,
		.judge = judge_flavor_pair},
	{.name = "privileges",
		.question = "Has flipd's account each privilege that the flip needs, on both sides?",
		.judge = judge_privileges},
	{.name = "own_accounts",
		.question = "Are flipd's account and the one that replicates what they should be, and will "
			    "they be let in?",
		.background = true,
		.judge = judge_own_accounts},
	{.name = "spare_connection",
		.question = "Is there a way in for flipd when all connections are taken?",
		.judge = judge_spare_connection},
	{.name = "binlog",
		.question = "Do both sides log all changes, replicated ones too, as rows?",
		.background = true,
		.judge = judge_binlog},
	{.name = "log_retention",
		.question = "Are logs kept long enough for a replica that was down?",
		.background = true,
		.judge = judge_log_retention},
	{.name = "variables",
		.question = "Do both sides have the settings that applications notice?",
		.judge = judge_variables},
	{.name = "durability",
		.question = "Is an acknowledged commit on disk on both sides?",
		.background = true,
		.judge = judge_durability},
	{.name = "capacity", .question = "Is new as large as old?", .judge = judge_capacity},
	{.name = "boot_fence",
		.question = "Does each side come up closed after a restart?",
		.background = true,
		.judge = judge_boot_fence},
	{.name = "galera", .question = "Is neither side a Galera node?", .judge = judge_galera},
	{.name = "managers", .question = "Does nothing else move masters here?", .judge = judge_managers},
	{.name = "self_reference",
		.question = "Do flipd and replication avoid the names that the flip switches?",
		.background = true,
		.judge = judge_self_reference},
	{.name = "unfinished_flip",
		.question = "Has every earlier flip of this cluster ended?",
		.background = true,
		.judge = judge_unfinished_flip},
	/* replication */
	{.name = "replicating",
		.question = "Does new replicate from old itself, both threads running, without an error?",
		.background = true,
		.judge = judge_replicating},
	{.name = "binlog_filters",
		.question = "Is nothing left out of the logs or of replication?",
		.background = true,
		.judge = judge_binlog_filters},
	{.name = "skipped_errors",
		.question = "Has replication stopped at each error, and left none out?",
		.background = true,
		.judge = judge_skipped_errors},
	{.name = "lag", .question = "Is new at most max_lag behind?", .background = true, .judge = judge_lag},
	{.name = "delay",
		.question = "Does new apply changes without a delay on purpose?",
		.background = true,
		.judge = judge_delay},
	{.name = "gtid",
		.question = "Do the transaction ids of both sides tell one history?",
		.background = true,
		.judge = judge_gtid},
	{.name = "channels",
		.question = "Is the replication from old to new the only one on either side?",
		.background = true,
		.judge = judge_channels},
	{.name = "reverse_path",
		.question = "Can old reach new and log in, to follow it after the flip?",
		.prove = prove_reverse_path},
	{.name = "parallel",
		.question = "Do both sides apply with the same number of threads, the same way?",
		.judge = judge_parallel},
	{.name = "semi_sync",
		.question = "Will no commit hang waiting for a semi-sync replica?",
		.background = true,
		.judge = judge_semi_sync},
	/* writers */
	{.name = "standby_fenced",
		.question = "Is new closed to writes?",
		.background = true,
		.judge = judge_standby_fenced},
	{.name = "single_master",
		.question = "Does old, and nobody else, take writes?",
		.background = true,
		.judge = judge_single_master},
	{.name = "stray_writers", .question = "Does nobody write on new?", .judge = judge_stray_writers},
	{.name = "auto_increment",
		.question = "Do both sides hand out ids the same way?",
		.judge = judge_auto_increment},
	{.name = "long_transactions",
		.question = "Is no transaction on old too old or too large?",
		.judge = judge_long_transactions},
	{.name = "ddl", .question = "Is no table being altered?", .judge = judge_ddl},
	{.name = "locks",
		.question =
			"Do no table locks, prepared XA transactions or commits without disk space stand in "
			"the way of the fence?",
		.judge = judge_locks},
	{.name = "backups", .question = "Is no backup running?", .judge = judge_backups},
	{.name = "temporary_tables",
		.question = "Can sessions with temporary tables be killed without a trace in the log?",
		.background = true,
		.judge = judge_temporary_tables},
	{.name = "bypass",
		.question = "Does the fence stop every account but flipd's?",
		.judge = judge_bypass},
	{.name = "events", .question = "Will events run on new, and only there?", .judge = judge_events},
	{.name = "sessions", .question = "Which sessions will be killed?", .judge = judge_sessions},
	{.name = "fence_probe",
		.question = "Can the probe's account write on old, and is it refused by new?",
		.prove = prove_fence_probe},
	/* schema */
	{.name = "schema",
		.question =
			"Do both sides have the same tables, indexes, views, triggers, routines and events?",
		.survey = true,
		.judge = judge_schema},
	{.name = "accounts",
		.question = "Can every account of old log in to new, with the same grants, and are definers "
			    "there?",
		.survey = true,
		.judge = judge_accounts},
	{.name = "engines",
		.question = "Do all tables have transactions, in engines that new has?",
		.survey = true,
		.judge = judge_engines},
	{.name = "primary_keys",
		.question = "Does every table have a primary key?",
		.survey = true,
		.judge = judge_primary_keys},
	/* endpoints */
	{.name = "dns_current",
		.question = "Does each record show old's value on every authoritative server?",
		.prove = prove_dns_current},
	{.name = "dns_ttl",
		.question = "Do clients forget each record's old value soon?",
		.prove = prove_dns_ttl},
	{.name = "dns_update",
		.question = "Is an update that changes nothing accepted for each record?",
		.prove = prove_dns_update},
	{.name = "route53",
		.question = "Can each Route 53 record be read and changed?",
		.prove = prove_route53},
	{.name = "hooks",
		.question = "Can each hook be run, and do endpoint and fence hooks answer their check?",
		.prove = prove_hooks},
	{.name = "security_groups",
		.question = "Can each fence outside the servers be used?",
		.prove = prove_security_groups},
};

const int checks_count = (int)COUNT_OF(checks);

const char *check_result_name(enum check_result r)
{
	static const char *const names[] = {
		[CHECK_OK] = "ok", [CHECK_WARN] = "warn", [CHECK_REFUSE] = "refuse", [CHECK_SKIP] = "skip"};

	return (size_t)r < COUNT_OF(names) ? names[r] : "skip";
}

void preflight_judge(
	const struct check_input *in, bool only_background, struct arena *arena, struct preflight *ret)
{
	struct preflight p = {.results = arena_alloc(arena, COUNT_OF(checks) * sizeof(*p.results))};

	for (size_t i = 0; i < COUNT_OF(checks); i++) {
		struct check_out *out = &p.results[p.n];

		if (!checks[i].judge || (only_background && !checks[i].background))
			continue;
		if (!checks_begin(in->conf, &checks[i], out))
			checks[i].judge(in, out);
		checks_end(in->conf, out);
		p.n++;
	}
	p.ready = checks_ready(p.results, p.n);
	*ret = p;
}

char *preflight_print(void)
{
	struct strbuf text = {0};

	for (size_t i = 0; i < COUNT_OF(checks); i++)
		strbuf_addf(&text, "%-18s %-10s %s\n", checks[i].name,
			checks[i].background ? "background"
			: checks[i].prove    ? "proves"
					     : "on demand",
			checks[i].question);
	return text.data;
}

struct wire *preflight_wire(const struct preflight *p)
{
	struct wire *list = wire_array();

	for (int i = 0; i < p->n; i++) {
		const struct check_out *r = &p->results[i];
		struct wire *o = wire_add_object(list);

		wire_set_str(o, "name", r->name);
		wire_set_str(o, "server", r->server[0] ? r->server : NULL);
		wire_set_str(o, "result", check_result_name(r->result));
		wire_set_str(o, "seen", r->seen);
		wire_set_str(o, "hint", r->hint[0] ? r->hint : NULL);
	}
	return list;
}
