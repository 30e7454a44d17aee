/* checks_settings: judges of how the two servers are set up: what applications notice after a flip, what
 * replication passes over, and whether there is room. */
#include "lib/flip/checks.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "lib/base/str.h"

#define DAY_S 86400
#define OWN_SESSIONS                                                                                         \
	8 /* that flipd may have open on a server in a flip: watch, act, lock, reaper, probe ... */

/* --- shared: two sides, by name of a setting --- */

static int64_t number(const struct facts *f, const char *name, int64_t otherwise)
{
	const char *text = facts_setting(f, name);

	return text && *text ? strtoll(text, NULL, 10) : otherwise;
}

static bool settings_gathered(const struct check_input *in, struct check_out *out)
{
	const struct checks_side side[2] = {checks_old(in), checks_new(in)};
	bool there = checks_both_up(in, out);

	for (int i = 0; there && i < 2; i++) {
		if (side[i].facts->nsettings > 0)
			continue;
		check_say(out, CHECK_SKIP, side[i].conf->name, "the settings of " AT " were not looked at",
			AT_OF(side[i]));
		return false;
	}
	return there;
}

/* --- replication --- */

static void judge_skipping(const struct checks_side *s, enum check_result result, struct check_out *out)
{
	const struct facts *f = s->facts;

	if (f->slave_skip_errors[0] && strcasecmp(f->slave_skip_errors, "OFF") != 0) {
		check_say(out, result, s->conf->name,
			AT " has slave_skip_errors=%.100s: it leaves out what fails", AT_OF(*s),
			f->slave_skip_errors);
		check_hint(out,
			"remove slave_skip_errors from the my.cnf of %s, restart it, compare the data",
			s->conf->name);
	}
	/* IDEMPOTENT passes over duplicate keys and rows that are not found (MariaDB: slave_exec_mode). */
	if (strcasecmp(f->slave_exec_mode, "IDEMPOTENT") == 0) {
		check_say(out, result, s->conf->name,
			AT " has slave_exec_mode=IDEMPOTENT: rows that are missing or double pass unseen",
			AT_OF(*s));
		check_hint(out,
			"SET GLOBAL slave_exec_mode = 'STRICT' on %s and in its my.cnf; compare the data",
			s->conf->name);
	}
	if (f->skipped_errors > 0) {
		check_say(out, result, s->conf->name,
			AT " has skipped %" PRId64 " errors of replication since its start", AT_OF(*s),
			f->skipped_errors);
		check_hint(out,
			"compare the data of both sides (CHECKSUM TABLE), seed %s anew where it differs; "
			"once "
			"it is right: preflight: {skipped_errors: warn} until its next restart",
			s->conf->name);
	}
}

/* What new left out is lost with the flip; what old would leave out is lost on the way back. */
void judge_skipped_errors(const struct check_input *in, struct check_out *out)
{
	const struct checks_side old = checks_old(in), new = checks_new(in);

	if (!checks_both_up(in, out))
		return;
	if (!new.facts->slave_exec_mode[0]) {
		check_say(out, CHECK_SKIP, new.conf->name, AT " did not show which errors it skips",
			AT_OF(new));
		return;
	}
	judge_skipping(&new, CHECK_REFUSE, out);
	judge_skipping(&old, CHECK_WARN, out);
	check_say(out, CHECK_OK, NULL, "neither %s nor %s skips errors", old.conf->name, new.conf->name);
}

void judge_log_retention(const struct check_input *in, struct check_out *out)
{
	const struct checks_side side[2] = {checks_old(in), checks_new(in)};

	if (!checks_both_up(in, out))
		return;
	for (int i = 0; i < 2; i++) {
		int64_t kept = side[i].facts->expire_logs_s;

		if (kept > 0 && kept < DAY_S) {
			check_say(out, CHECK_WARN, side[i].conf->name,
				AT " deletes its logs after %" PRId64
				   " s: a replica that was down longer cannot go on",
				AT_OF(side[i]), kept);
			check_hint(out, "SET GLOBAL expire_logs_days = 7 on %s and in its my.cnf",
				side[i].conf->name);
		} else if (kept > 0) {
			check_say(out, CHECK_OK, NULL, "%s keeps its logs for %" PRId64 " h",
				side[i].conf->name, kept / 3600);
		} else {
			check_say(out, CHECK_OK, NULL, "%s keeps its logs for ever", side[i].conf->name);
		}
	}
}

/* old applies as new does now: fewer threads there are a lag on the way back. */
void judge_parallel(const struct check_input *in, struct check_out *out)
{
	static const char *const names[] = {
		"slave_parallel_threads", "slave_domain_parallel_threads", "slave_parallel_mode"};
	const struct checks_side old = checks_old(in), new = checks_new(in);

	if (!settings_gathered(in, out))
		return;
	for (size_t i = 0; i < COUNT_OF(names); i++) {
		const char *at_old = facts_setting(old.facts, names[i]);
		const char *at_new = facts_setting(new.facts, names[i]);

		if (!at_old || !at_new || str_ieq(at_old, at_new))
			continue;
		check_say(out, CHECK_WARN, NULL, "%s is %s on %s, %s on %s", names[i], at_old, old.conf->name,
			at_new, new.conf->name);
		check_hint(out,
			"after the flip %s applies what %s writes: give both the same %s (STOP SLAVE "
			"SQL_THREAD first) and put it into my.cnf",
			old.conf->name, new.conf->name, names[i]);
	}
	check_say(out, CHECK_OK, NULL, "both sides apply with %" PRId64 " threads",
		number(new.facts, "slave_parallel_threads", 0));
}

void judge_auto_increment(const struct check_input *in, struct check_out *out)
{
	const struct checks_side old = checks_old(in), new = checks_new(in);
	int64_t step[2], offset[2];

	if (!settings_gathered(in, out))
		return;
	step[0] = number(old.facts, "auto_increment_increment", 1);
	step[1] = number(new.facts, "auto_increment_increment", 1);
	offset[0] = number(old.facts, "auto_increment_offset", 1);
	offset[1] = number(new.facts, "auto_increment_offset", 1);
	if (step[0] != step[1]) {
		check_say(out, CHECK_WARN, NULL,
			"auto_increment_increment is %" PRId64 " on %s, %" PRId64 " on %s: ids will be "
			"handed out in other steps",
			step[0], old.conf->name, step[1], new.conf->name);
		check_hint(
			out, "SET GLOBAL auto_increment_increment to the same on both sides, and in my.cnf");
	} else if (step[0] == 1 && offset[0] != offset[1]) {
		/* An offset larger than the increment is ignored (MariaDB: auto_increment_offset). */
		check_say(out, CHECK_WARN, NULL,
			"auto_increment_offset is %" PRId64 " on %s, %" PRId64
			" on %s, but both count in steps of 1: the offsets do nothing",
			offset[0], old.conf->name, offset[1], new.conf->name);
		check_hint(out, "set auto_increment_increment=2 on both sides, or the same offset");
	}
	check_say(out, CHECK_OK, NULL, "steps of %" PRId64 " from %" PRId64 " on %s, %" PRId64 " on %s",
		step[0], offset[0], old.conf->name, offset[1], new.conf->name);
}

/* --- what applications notice --- */

static const struct {
	const char *name;
	bool at_least; /* new may have more */
} noticed[] = {
	{.name = "sql_mode"},
	{.name = "time_zone"},
	{.name = "character_set_server"},
	{.name = "collation_server"},
	{.name = "lower_case_table_names"},
	{.name = "max_allowed_packet", .at_least = true},
	{.name = "innodb_autoinc_lock_mode"},
	{.name = "tx_isolation"},
	{.name = "transaction_isolation"},
	{.name = "init_connect"},
	{.name = "wait_timeout"},
	{.name = "interactive_timeout"},
	{.name = "lock_wait_timeout"},
	{.name = "innodb_lock_wait_timeout"},
	{.name = "idle_transaction_timeout"},
	{.name = "idle_write_transaction_timeout"},
	{.name = "max_statement_time"},
	{.name = "default_storage_engine"},
	{.name = "explicit_defaults_for_timestamp"},
	{.name = "innodb_strict_mode"},
	{.name = "old_mode"},
};

/* Two long lists are shown from where they part: "...,NO_ZERO_DATE". */
static size_t common_words(const char *a, const char *b)
{
	size_t word = 0;

	for (size_t i = 0;; i++) {
		if ((!a[i] || a[i] == ',') && (!b[i] || b[i] == ','))
			word = i;
		if (!a[i] || a[i] != b[i])
			break;
	}
	return word > 20 ? word : 0;
}

static void variable_differs(const struct checks_side *old, const struct checks_side *new, const char *name,
	const char *a, const char *b, struct check_out *out)
{
	size_t skip = common_words(a, b);

	check_say(out, CHECK_WARN, NULL, "%s: %s %s%.60s, %s %s%.60s", name, old->conf->name,
		skip ? "..." : "", *a ? a + skip : "empty", new->conf->name, skip ? "..." : "",
		*b ? b + skip : "empty");
}

/* SYSTEM is what the machine says. */
static const char *zone_of(const struct facts *f, const char *value)
{
	const char *zone = strcasecmp(value, "SYSTEM") == 0 ? facts_setting(f, "system_time_zone") : NULL;

	return zone ? zone : value;
}

static bool variable_same(const struct facts *old, const struct facts *new, size_t i)
{
	const char *a = facts_setting(old, noticed[i].name), *b = facts_setting(new, noticed[i].name);

	if (!a || !b)
		return true;
	if (noticed[i].at_least)
		return number(new, noticed[i].name, 0) >= number(old, noticed[i].name, 0);
	if (strcmp(noticed[i].name, "time_zone") == 0)
		return str_ieq(zone_of(old, a), zone_of(new, b));
	return str_eq(a, b);
}

void judge_variables(const struct check_input *in, struct check_out *out)
{
	const struct checks_side old = checks_old(in), new = checks_new(in);
	struct checks_list names = {0};

	if (!settings_gathered(in, out))
		return;
	for (size_t i = 0; i < COUNT_OF(noticed); i++) {
		const char *name = noticed[i].name;

		if (variable_same(old.facts, new.facts, i))
			continue;
		checks_list_add(&names, "%s", name);
		variable_differs(&old, &new, name, facts_setting(old.facts, name),
			facts_setting(new.facts, name), out);
	}
	if (names.n)
		check_hint(out, "applications will notice: give %s what %s has (SET GLOBAL, and my.cnf): %s",
			new.conf->name, old.conf->name, checks_list_text(&names));
	check_say(out, CHECK_OK, NULL, "%d settings compared, none differ", (int)COUNT_OF(noticed));
}

/* --- room --- */

void judge_capacity(const struct check_input *in, struct check_out *out)
{
	static const char *const sizes[] = {"innodb_buffer_pool_size", "innodb_log_file_size",
		"innodb_io_capacity", "max_connections", "table_open_cache", "thread_pool_size"};
	const struct checks_side old = checks_old(in), new = checks_new(in);
	int64_t used, room;

	if (!settings_gathered(in, out))
		return;
	for (size_t i = 0; i < COUNT_OF(sizes); i++) {
		int64_t at_old = number(old.facts, sizes[i], 0), at_new = number(new.facts, sizes[i], -1);

		if (at_new < 0 || at_new >= at_old)
			continue;
		check_say(out, CHECK_WARN, new.conf->name,
			"%s is %" PRId64 " on " AT ", less than the %" PRId64 " of %s", sizes[i], at_new,
			AT_OF(new), at_old, old.conf->name);
		check_hint(out, "raise %s in the my.cnf of %s, or be sure that it needs no more", sizes[i],
			new.conf->name);
	}
	used = number(old.facts, "Max_used_connections", 0);
	room = number(new.facts, "max_connections", INT64_MAX);
	if (used > room) {
		check_say(out, CHECK_WARN, new.conf->name,
			AT " has had %" PRId64 " connections at once; " AT " takes %" PRId64, AT_OF(old),
			used, AT_OF(new), room);
		check_hint(out, "SET GLOBAL max_connections = %" PRId64 " on %s and in its my.cnf", used + 10,
			new.conf->name);
	}
	check_say(out, CHECK_OK, NULL, "%s is not smaller than %s", new.conf->name, old.conf->name);
}

/* One connection above max_connections is kept for SUPER and CONNECTION ADMIN (MariaDB: max_connections). */
static bool may_use_the_spare(const struct facts *f)
{
	return node_judge_granted(f, "CONNECTION ADMIN") || node_judge_granted(f, "SUPER");
}

static void judge_spare_of(const struct checks_side *s, struct check_out *out)
{
	int64_t most = number(s->facts, "max_connections", INT64_MAX);
	int64_t used = number(s->facts, "Threads_connected", 0), extra = number(s->facts, "extra_port", 0);
	int64_t own = number(s->facts, "own_max_user_connections", 0);

	if (own > 0 && own < OWN_SESSIONS) {
		check_say(out, CHECK_WARN, s->conf->name,
			AT ": %s may have %" PRId64 " sessions, flipd needs %d", AT_OF(*s),
			s->facts->current_user, own, OWN_SESSIONS);
		check_hint(
			out, "ALTER USER flipd's account WITH MAX_USER_CONNECTIONS 0 on %s", s->conf->name);
	}
	if (used + OWN_SESSIONS > most) {
		/* All of them: the one that is kept is not enough for a flip, which then ends in `lock`. */
		check_say(out, used >= most ? CHECK_REFUSE : CHECK_WARN, s->conf->name,
			AT ": %" PRId64 " of %" PRId64 " connections are taken", AT_OF(*s), used, most);
		check_hint(out, "SET GLOBAL max_connections = %" PRId64 " on %s: flipd opens up to %d",
			used + 2 * OWN_SESSIONS, s->conf->name, OWN_SESSIONS);
	}
	if (!extra && s->facts->privileges && !may_use_the_spare(s->facts)) {
		check_say(out, CHECK_WARN, s->conf->name,
			AT ": once max_connections is reached flipd cannot come back in", AT_OF(*s));
		check_hint(out, "GRANT CONNECTION ADMIN ON *.* TO flipd's account on %s, or set extra_port",
			s->conf->name);
	}
	check_say(out, CHECK_OK, NULL, "%s: %" PRId64 " of %" PRId64 " taken, and one more for flipd",
		s->conf->name, used, most);
}

void judge_spare_connection(const struct check_input *in, struct check_out *out)
{
	const struct checks_side old = checks_old(in), new = checks_new(in);

	if (!settings_gathered(in, out))
		return;
	judge_spare_of(&old, out);
	judge_spare_of(&new, out);
}
