/* checks_replication: judges of the way from old to new and back. */
#include "lib/flip/checks.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <strings.h>

#include "lib/base/clock.h"
#include "lib/base/str.h"

const char *checks_repl_host(const struct conf_server *s)
{
	return s->replication_host ? s->replication_host : s->host;
}

unsigned checks_repl_port(const struct conf_server *s)
{
	return s->replication_port ? s->replication_port : s->port;
}

static bool is_yes(const char *s)
{
	return strcasecmp(s, "Yes") == 0;
}

static void replicating_none(
	const struct checks_side *old, const struct checks_side *new, struct check_out *out)
{
	struct checks_list from = {0};

	for (int i = 0; i < new->facts->nchannels &&i < FACTS_CHANNELS_MAX; i++)
		checks_list_add(
			&from, "%s:%" PRIu32, new->facts->channels[i].host, new->facts->channels[i].port);
	check_say(out, CHECK_REFUSE, new->conf->name,
		AT " does not replicate from " AT " (it replicates from %s)", AT_OF(*new), AT_OF(*old),
		from.n ? checks_list_text(&from) : "nowhere");
	check_hint(out,
		"on %s: CHANGE MASTER TO MASTER_HOST='%s', MASTER_PORT=%u, MASTER_USER=..., "
		"MASTER_USE_GTID=slave_pos; START SLAVE",
		new->conf->name, checks_repl_host(old->conf), checks_repl_port(old->conf));
}

void judge_replicating(const struct check_input *in, struct check_out *out)
{
	const struct checks_side old = checks_old(in), new = checks_new(in);
	const struct facts_channel *c = checks_channel(in);

	if (!checks_both_up(in, out))
		return;
	if (!c) {
		replicating_none(&old, &new, out);
		return;
	}
	/* The server id of a channel is that of its last connection: it counts while the IO thread runs. */
	if (is_yes(c->io) && c->master_server_id && c->master_server_id != old.facts->id.server_id) {
		check_say(out, CHECK_REFUSE, new.conf->name,
			AT " replicates from server_id %" PRIu32 " at " HOST_PORT ", but " AT
			   " has server_id %" PRIu32,
			AT_OF(new), c->master_server_id, HOST_PORT_OF(c->host, c->port), AT_OF(old),
			old.facts->id.server_id);
		check_hint(out,
			HOST_PORT
			" leads to another server: mend the name, or CHANGE MASTER TO MASTER_HOST='%s' on %s",
			HOST_PORT_OF(c->host, c->port), checks_repl_host(old.conf), new.conf->name);
	}
	if (c->last_io_errno || c->last_sql_errno) {
		check_say(out, CHECK_REFUSE, new.conf->name,
			AT ": replication stopped with error %" PRId64 ": %s", AT_OF(new),
			c->last_io_errno ? c->last_io_errno : c->last_sql_errno, c->last_error);
		check_hint(out, "mend the cause on %s (SHOW SLAVE STATUS), then START SLAVE", new.conf->name);
	}
	if (!is_yes(c->io) || !is_yes(c->sql)) {
		check_say(out, CHECK_REFUSE, new.conf->name, AT ": IO thread %s, SQL thread %s", AT_OF(new),
			c->io, c->sql);
		check_hint(out, "on %s: START SLAVE, and see SHOW SLAVE STATUS", new.conf->name);
	}
	check_say(out, CHECK_OK, new.conf->name, AT " replicates from " AT ", both threads run", AT_OF(new),
		AT_OF(old));
}

/* RDS writes to tables that only it has; ignoring them is needed, and loses nothing. */
static bool filter_is_harmless(const char *filters)
{
	static const char harmless[] = "Replicate_Wild_Ignore_Table=mysql.rds";

	return strncasecmp(filters, harmless, sizeof(harmless) - 1) == 0 && !strpbrk(filters, ",;");
}

static void judge_log_filters(const struct checks_side *s, struct check_out *out)
{
	const struct facts *f = s->facts;

	if (!f->binlog_do_db[0] && !f->binlog_ignore_db[0])
		return;
	check_say(out, CHECK_REFUSE, s->conf->name, AT " does not log everything:%s%s%s%s", AT_OF(*s),
		f->binlog_do_db[0] ? " binlog_do_db=" : "", f->binlog_do_db,
		f->binlog_ignore_db[0] ? " binlog_ignore_db=" : "", f->binlog_ignore_db);
	check_hint(out,
		"remove binlog_do_db and binlog_ignore_db from the my.cnf of %s and restart it: such writes "
		"never reach the other side",
		s->conf->name);
}

static void judge_filters(const struct conf_server *s, const char *leaves, const char *filters,
	enum check_result result, struct check_out *out)
{
	if (!filters[0] || filter_is_harmless(filters))
		return;
	check_say(out, result, s->name, AT " %s changes out: %s", s->name, HOST_PORT_OF(s->host, s->port),
		leaves, filters);
	check_hint(out,
		"on %s: STOP SLAVE; SET GLOBAL replicate_... = ''; START SLAVE; out of its my.cnf too; then "
		"copy what it missed",
		s->name);
}

/* Filters without a connection wait for the first one: old has none before it follows new. */
static void judge_replica_filters(
	const struct conf_server *s, const struct facts *f, enum check_result result, struct check_out *out)
{
	bool has_default = false;

	for (int i = 0; i < f->nchannels && i < FACTS_CHANNELS_MAX; i++) {
		judge_filters(s, "leaves", f->channels[i].filters, result, out);
		has_default = has_default || !f->channels[i].name[0];
	}
	if (!has_default)
		judge_filters(s, "will replicate, and then leaves", f->default_filters, result, out);
}

void judge_binlog_filters(const struct check_input *in, struct check_out *out)
{
	const struct checks_side old = checks_old(in), new = checks_new(in);

	if (!checks_both_up(in, out))
		return;
	judge_log_filters(&old, out);
	judge_log_filters(&new, out);
	judge_replica_filters(old.conf, old.facts, CHECK_REFUSE, out);
	judge_replica_filters(new.conf, new.facts, CHECK_REFUSE, out);
	for (int i = 0; in->replicas && i < in->nreplicas; i++)
		judge_replica_filters(&in->conf->replicas[i], &in->replicas[i], CHECK_WARN, out);
	check_say(out, CHECK_OK, NULL, "no filters on %s or %s", old.conf->name, new.conf->name);
}

void judge_lag(const struct check_input *in, struct check_out *out)
{
	const struct checks_side new = checks_new(in);
	const struct facts_channel *c = checks_channel(in);
	int64_t status_ms = c && c->lag_s >= 0 ? c->lag_s * 1000 : -1;
	int64_t worst = status_ms > in->new_heartbeat_lag_ms ? status_ms : in->new_heartbeat_lag_ms;
	const char *by = status_ms >= in->new_heartbeat_lag_ms ? "by its status" : "by the heartbeat";
	char limit[24];

	if (!checks_both_up(in, out))
		return;
	if (worst < 0) {
		check_say(
			out, CHECK_SKIP, new.conf->name, "how far " AT " is behind is not known", AT_OF(new));
		return;
	}
	str_format_duration(in->conf->policy.max_lag_ms * 1000, limit, sizeof(limit));
	if (worst <= in->conf->policy.max_lag_ms) {
		check_say(out, CHECK_OK, new.conf->name, AT " is %" PRId64 " ms behind %s, max_lag %s",
			AT_OF(new), worst, by, limit);
		return;
	}
	check_say(out, CHECK_WARN, new.conf->name, AT " is %" PRId64 " ms behind %s, more than max_lag %s",
		AT_OF(new), worst, by, limit);
	check_hint(out,
		"the flip waits in drain, at most %" PRId64
		" s, until it has caught up; flip at a quieter time, or raise max_lag",
		in->conf->policy.drain_timeout_ms / 1000);
}

void judge_delay(const struct check_input *in, struct check_out *out)
{
	const struct checks_side new = checks_new(in);
	const struct facts_channel *c = checks_channel(in);

	if (!checks_both_up(in, out))
		return;
	if (!c) {
		check_say(out, CHECK_SKIP, new.conf->name, AT " does not replicate from the master",
			AT_OF(new));
	} else if (c->delay_s > 0) {
		check_say(out, CHECK_REFUSE, new.conf->name,
			AT " applies each change %" PRId64 " s late on purpose; max_blackout is %" PRId64
			   " s",
			AT_OF(new), c->delay_s, in->conf->policy.max_blackout_ms / 1000);
		check_hint(out, "on %s: STOP SLAVE; CHANGE MASTER TO MASTER_DELAY=0; START SLAVE",
			new.conf->name);
	} else {
		check_say(out, CHECK_OK, new.conf->name, AT " applies without delay", AT_OF(new));
	}
	for (int i = 0; in->replicas && i < in->nreplicas; i++) {
		const struct facts *r = &in->replicas[i];

		if (!r->up || !r->nchannels ||
			r->channels[0].delay_s * 1000 <= in->conf->policy.settle_timeout_ms)
			continue;
		check_say(out, CHECK_WARN, in->conf->replicas[i].name,
			"replica %s applies %" PRId64 " s late, longer than settle_timeout",
			in->conf->replicas[i].name, r->channels[0].delay_s);
		check_hint(out,
			"replica %s will be repointed after the flip has ended; or set its MASTER_DELAY=0 "
			"for now",
			in->conf->replicas[i].name);
	}
}

/* Each channel besides the one that a flip works with: its applier writes through every fence. */
static void judge_new_channels(
	const struct checks_side *new, const struct facts_channel *from_old, struct check_out *out)
{
	for (int i = 0; i < new->facts->nchannels &&i < FACTS_CHANNELS_MAX; i++) {
		const struct facts_channel *c = &new->facts->channels[i];

		if (c == from_old && !c->name[0])
			continue;
		if (c == from_old) {
			check_say(out, CHECK_REFUSE, new->conf->name,
				AT " replicates from the master over the named connection '%s'", AT_OF(*new),
				c->name);
			check_hint(out,
				"flipd works with the default connection: on %s STOP SLAVE '%s'; RESET SLAVE "
				"'%s' ALL, then CHANGE MASTER without a name",
				new->conf->name, c->name, c->name);
			continue;
		}
		check_say(out, CHECK_REFUSE, new->conf->name,
			AT " also replicates from %s:%" PRIu32 " (connection '%s')", AT_OF(*new), c->host,
			c->port, c->name);
		check_hint(out,
			"on %s: STOP SLAVE '%s'; RESET SLAVE '%s' ALL: after the flip its changes would mix "
			"with the application's",
			new->conf->name, c->name, c->name);
	}
}

static void judge_old_channel(
	const struct checks_side *old, const struct facts_channel *c, bool from_new, struct check_out *out)
{
	bool runs = strcasecmp(c->io, "No") != 0 || strcasecmp(c->sql, "No") != 0;

	if (from_new && c->delay_s >= CHECKS_TRIAL_DELAY_S) {
		check_say(out, CHECK_WARN, old->conf->name,
			AT " still has the trial connection '%s' of an earlier check", AT_OF(*old), c->name);
		check_hint(out,
			"on %s: STOP SLAVE '%s'; RESET SLAVE '%s' ALL (`flipctl check` removes it too)",
			old->conf->name, c->name, c->name);
	} else if (from_new && runs) {
		return; /* the way back is there already */
	} else if (runs) {
		check_say(out, CHECK_REFUSE, old->conf->name,
			AT " itself replicates from %s:%" PRIu32
			   " (connection '%s'): what that applies passes the fence",
			AT_OF(*old), c->host, c->port, c->name);
		check_hint(out, "on %s: STOP SLAVE '%s'; RESET SLAVE '%s' ALL, once it is not needed",
			old->conf->name, c->name, c->name);
	} else {
		check_say(out, CHECK_WARN, old->conf->name,
			AT " has a stopped connection '%s' from %s:%" PRIu32 " that a restart would start",
			AT_OF(*old), c->name, c->host, c->port);
		check_hint(out, "on %s: RESET SLAVE '%s' ALL", old->conf->name, c->name);
	}
}

void judge_channels(const struct check_input *in, struct check_out *out)
{
	const struct checks_side old = checks_old(in), new = checks_new(in);
	const struct facts_channel *back = checks_channel_back(in);

	if (!checks_both_up(in, out))
		return;
	judge_new_channels(&new, checks_channel(in), out);
	for (int i = 0; i < old.facts->nchannels && i < FACTS_CHANNELS_MAX; i++)
		judge_old_channel(&old, &old.facts->channels[i], &old.facts->channels[i] == back, out);
	check_say(out, CHECK_OK, NULL, "%s has %d connections, %s has %d", old.conf->name,
		old.facts->nchannels, new.conf->name, new.facts->nchannels);
}

static bool replica_acknowledges(const struct check_input *in)
{
	for (int i = 0; in->replicas && i < in->nreplicas; i++)
		if (in->replicas[i].up && in->replicas[i].semi_sync_slave)
			return true;
	return false;
}

void judge_semi_sync(const struct check_input *in, struct check_out *out)
{
	const struct checks_side old = checks_old(in), new = checks_new(in);

	if (!checks_both_up(in, out))
		return;
	/* E7: enabled without a replica, the first commit after the opening hangs the whole time-out. */
	if (new.facts->semi_sync_master &&new.facts->semi_sync_clients == 0) {
		check_say(out, CHECK_WARN, new.conf->name,
			AT " is a semi-sync master without a replica: its first commit would wait %" PRId64
			   " ms",
			AT_OF(new), new.facts->semi_sync_timeout_ms);
		check_hint(out,
			"the step events turns rpl_semi_sync_master_enabled off on %s until a replica "
			"follows it",
			new.conf->name);
	}
	/* finish turns it on again, whoever follows by then. */
	if (new.facts->semi_sync_master && !old.facts->semi_sync_slave && !replica_acknowledges(in)) {
		check_say(out, CHECK_WARN, old.conf->name,
			AT " does not acknowledge (rpl_semi_sync_slave_enabled=0), nor does a replica: after "
			   "the flip a commit on %s waits %" PRId64 " ms in vain",
			AT_OF(old), new.conf->name, new.facts->semi_sync_timeout_ms);
		check_hint(out,
			"SET GLOBAL rpl_semi_sync_slave_enabled = 1 on %s and in its my.cnf, or turn "
			"rpl_semi_sync_master_enabled off on %s",
			old.conf->name, new.conf->name);
	}
	/* E16: the fence waits for whatever waits for an acknowledgement. */
	if (old.facts->semi_sync_master && old.facts->semi_sync_clients == 0) {
		check_say(out, CHECK_WARN, old.conf->name,
			AT " is a semi-sync master without a replica: commits, and the fence, wait up to "
			   "%" PRId64 " ms",
			AT_OF(old), old.facts->semi_sync_timeout_ms);
		check_hint(out,
			"SET GLOBAL rpl_semi_sync_slave_enabled = 1 on %s, then STOP SLAVE IO_THREAD; START "
			"SLAVE IO_THREAD; or turn it off on %s",
			new.conf->name, old.conf->name);
	}
	check_say(out, CHECK_OK, NULL, "%s: %s, %d replicas; %s: %s", old.conf->name,
		old.facts->semi_sync_master ? "on" : "off", old.facts->semi_sync_clients, new.conf->name,
		new.facts->semi_sync_master ? "on" : "off");
}
