/* checks_writers: judges of who may write where, and of what stands in the way of a fence. */
#include "lib/flip/checks.h"

#include <inttypes.h>
#include <string.h>
#include <strings.h>

#include "lib/base/str.h"

#define ER_READ_ONLY 1290 /* ER_OPTION_PREVENTS_STATEMENT: what read_only answers */
#define PROBE_LIMIT_MS 3000

void judge_standby_fenced(const struct check_input *in, struct check_out *out)
{
	const struct checks_side new = checks_new(in);

	if (!new.facts->up) {
		check_say(out, CHECK_SKIP, new.conf->name, AT " does not answer", AT_OF(new));
	} else if (new.facts->read_only) {
		check_say(out, CHECK_OK, new.conf->name, AT " has read_only=1", AT_OF(new));
	} else {
		check_say(out, CHECK_REFUSE, new.conf->name,
			AT " has read_only=0: it takes writes beside the master", AT_OF(new));
		check_hint(out,
			"on %s: SET GLOBAL read_only = 1, and read_only=1 in its my.cnf; then see what was "
			"written there",
			new.conf->name);
	}
}

static void judge_writable_replicas(const struct check_input *in, struct check_out *out)
{
	for (int i = 0; in->replicas && i < in->nreplicas; i++) {
		const struct conf_server *c = &in->conf->replicas[i];

		if (!in->replicas[i].up || in->replicas[i].read_only)
			continue;
		check_say(out, CHECK_WARN, c->name, "replica " AT " is writable", c->name,
			HOST_PORT_OF(c->host, c->port));
		check_hint(out, "on %s: SET GLOBAL read_only = 1", c->name);
	}
}

void judge_single_master(const struct check_input *in, struct check_out *out)
{
	const struct checks_side old = checks_old(in), new = checks_new(in);

	if (!checks_both_up(in, out))
		return;
	if (old.facts->read_only && !new.facts->read_only) {
		check_say(out, CHECK_REFUSE, new.conf->name, AT " is the master already, " AT " is closed",
			AT_OF(new), AT_OF(old));
		check_hint(out,
			"there is nothing to flip to %s; `flipctl flip %s --to %s` goes the other way",
			new.conf->name, in->conf->name, old.conf->name);
	} else if (old.facts->read_only) {
		check_say(out, CHECK_REFUSE, old.conf->name,
			"no side takes writes: " AT " and " AT " both have read_only=1", AT_OF(old),
			AT_OF(new));
		check_hint(out, "find out who closed it; then on the side that is to be master: SET GLOBAL "
				"read_only = 0");
	} else if (!new.facts->read_only) {
		check_say(out, CHECK_REFUSE, NULL,
			"both sides take writes: " AT " and " AT " have read_only=0", AT_OF(old), AT_OF(new));
		check_hint(out, "on the side that is not the master: SET GLOBAL read_only = 1; then compare "
				"the data");
	}
	judge_writable_replicas(in, out);
	check_say(out, CHECK_OK, old.conf->name, "only " AT " takes writes", AT_OF(old));
}

static bool sessions_gathered(const struct checks_side *s, struct check_out *out)
{
	if (s->facts->up && s->facts->nsessions > 0)
		return true;
	check_say(out, CHECK_SKIP, s->conf->name, "the sessions of " AT " were not looked at", AT_OF(*s));
	return false;
}

void judge_stray_writers(const struct check_input *in, struct check_out *out)
{
	const struct checks_side new = checks_new(in);
	struct checks_list writers = {0}, others = {0};

	if (!sessions_gathered(&new, out))
		return;
	for (int i = 0; i < new.facts->nsessions; i++) {
		const struct facts_session *s = &new.facts->sessions[i];

		if (checks_session_who(in->conf, new.conf, s) == CHECKS_WHO_CLIENT && s->trx_rows > 0)
			checks_list_add(&writers, "#%" PRIu64 " %s@%s (%" PRIu64 " rows)", s->id, s->user,
				s->host, s->trx_rows);
	}
	if (writers.n) {
		check_say(out, CHECK_REFUSE, new.conf->name, "sessions write on the standby " AT ": %s",
			AT_OF(new), checks_list_text(&writers));
		check_hint(out,
			"on %s: KILL them by their number, find out who they are, and point them at the "
			"master",
			new.conf->name);
	} else if (checks_clients(in, &new, &others)) {
		check_say(out, CHECK_WARN, new.conf->name, "sessions are connected to the standby " AT ": %s",
			AT_OF(new), checks_list_text(&others));
		check_hint(out, "harmless if they only read; name monitoring accounts in sessions: "
				"{exempt_users: [...]}");
	} else {
		check_say(out, CHECK_OK, new.conf->name, "no application is connected to " AT, AT_OF(new));
	}
}

/* Long by age or by size; an idle one holds its rows just the same. Readers do not count. */
static bool is_long(const struct conf_policy *p, const struct facts_session *s)
{
	if (s->trx_age_ms < 0 || s->trx_rows == 0)
		return false;
	return s->trx_age_ms > p->max_transaction_age_ms || (int64_t)s->trx_rows > p->max_transaction_rows;
}

void judge_long_transactions(const struct check_input *in, struct check_out *out)
{
	const struct checks_side old = checks_old(in);
	const struct conf_policy *p = &in->conf->policy;
	struct checks_list found = {0};
	uint64_t first = 0;

	if (!sessions_gathered(&old, out))
		return;
	for (int i = 0; i < old.facts->nsessions; i++) {
		const struct facts_session *s = &old.facts->sessions[i];

		if (!is_long(p, s) || checks_session_who(in->conf, old.conf, s) == CHECKS_WHO_FLIPD)
			continue;
		first = found.n ? first : s->id;
		checks_list_add(&found, "#%" PRIu64 " %s@%s open %" PRId64 " ms, %" PRIu64 " rows, %s", s->id,
			s->user, s->host, s->trx_age_ms, s->trx_rows,
			strcasecmp(s->command, "Sleep") == 0 ? "idle" : "busy");
	}
	if (!found.n) {
		check_say(out, CHECK_OK, old.conf->name,
			"no transaction on " AT " is older than %" PRId64 " ms or larger than %" PRId64
			" rows",
			AT_OF(old), p->max_transaction_age_ms, p->max_transaction_rows);
		return;
	}
	check_say(out, CHECK_WARN, old.conf->name, "%d long transactions on " AT ": %s", found.n, AT_OF(old),
		checks_list_text(&found));
	check_hint(out,
		"the flip waits for them in drain, at most %" PRId64
		" s; let them end, or on %s: KILL %" PRIu64,
		p->drain_timeout_ms / 1000, old.conf->name, first);
}

/* "Waiting for table metadata lock", "Waiting for backup lock" ...: somebody else holds it. */
static bool waits_for_lock(const struct facts_session *s)
{
	return strncasecmp(s->state, "Waiting for", 11) == 0 && strstr(s->state, "lock");
}

void judge_locks(const struct check_input *in, struct check_out *out)
{
	const struct checks_side old = checks_old(in);
	struct checks_list found = {0};

	if (!sessions_gathered(&old, out))
		return;
	for (int i = 0; i < old.facts->nsessions; i++) {
		const struct facts_session *s = &old.facts->sessions[i];

		if (s->waits_for_space) {
			check_say(out, CHECK_REFUSE, old.conf->name,
				"a commit waits for disk space on " AT " (session %" PRIu64
				" of %s, for %.1f s): the fence would wait with it",
				AT_OF(old), s->id, s->user, (double)s->time_ms / 1000);
			check_hint(out, "make room on the disk of its binary log; do not KILL that session: "
					"half of its "
					"transaction would stay in the log, and no replica could read on");
			return;
		}
		if (checks_session_who(in->conf, old.conf, s) == CHECKS_WHO_FLIPD)
			continue;
		if (s->holds_tables)
			checks_list_add(&found, "#%" PRIu64 " %s@%s locks tables (%.40s)", s->id, s->user,
				s->host, s->info);
		else if (waits_for_lock(s))
			checks_list_add(&found, "#%" PRIu64 " %s@%s: %s", s->id, s->user, s->host, s->state);
	}
	if (found.n) {
		check_say(out, CHECK_WARN, old.conf->name, "table locks on " AT ": %s", AT_OF(old),
			checks_list_text(&found));
		check_hint(out,
			"the fence waits behind LOCK TABLES and DDL: let them end, or KILL their sessions on "
			"%s",
			old.conf->name);
	}
	if (old.facts->nxa > 0) {
		check_say(out, CHECK_WARN, old.conf->name, "%d prepared XA transactions on " AT,
			old.facts->nxa, AT_OF(old));
		check_hint(out,
			"on %s: XA RECOVER shows them; XA COMMIT or XA ROLLBACK each one: the fence does not "
			"end them",
			old.conf->name);
	}
	check_say(out, CHECK_OK, old.conf->name, "no table locks and no prepared XA transactions on " AT,
		AT_OF(old));
}

/* E6: with ROW a killed session's temporary tables leave no trace; else their DROP is logged through the
 * fence. */
void judge_temporary_tables(const struct check_input *in, struct check_out *out)
{
	const struct checks_side old = checks_old(in);
	const char *format = old.facts->binlog_format;

	if (!old.facts->up || !format[0]) {
		check_say(out, CHECK_SKIP, old.conf->name, "the binlog format of " AT " is not known",
			AT_OF(old));
	} else if (strcasecmp(format, "ROW") == 0) {
		check_say(out, CHECK_OK, old.conf->name,
			AT " logs in ROW format: temporary tables leave no trace", AT_OF(old));
	} else {
		check_say(out, strcasecmp(format, "MIXED") == 0 ? CHECK_WARN : CHECK_REFUSE, old.conf->name,
			AT " logs in %s format: killing a session with temporary tables writes their DROP "
			   "through the fence",
			AT_OF(old), format);
		check_hint(out,
			"SET GLOBAL binlog_format = 'ROW' on %s and in its my.cnf, and let applications "
			"connect anew",
			old.conf->name);
	}
}

void judge_events(const struct check_input *in, struct check_out *out)
{
	const struct checks_side old = checks_old(in), new = checks_new(in);
	bool runs = strcasecmp(old.facts->event_scheduler, "ON") == 0;

	if (!checks_both_up(in, out))
		return;
	if (old.facts->nevents_enabled < 0) {
		check_say(out, CHECK_SKIP, old.conf->name,
			"flipd's account may not see the events of " AT " (GRANT SELECT ON mysql.event)",
			AT_OF(old));
		return;
	}
	if (runs && strcasecmp(new.facts->event_scheduler, "DISABLED") == 0) {
		check_say(out, CHECK_WARN, new.conf->name,
			AT " has event_scheduler=DISABLED: the %d events of " AT " would not run there",
			AT_OF(new), old.facts->nevents_enabled, AT_OF(old));
		check_hint(out,
			"event_scheduler=OFF in the my.cnf of %s, then restart it: DISABLED cannot be "
			"changed at run time",
			new.conf->name);
	}
	if (new.facts->nevents_enabled > 0 && strcasecmp(new.facts->event_scheduler, "ON") == 0) {
		check_say(out, CHECK_WARN, new.conf->name, "%d events are enabled and run on the standby " AT,
			new.facts->nevents_enabled, AT_OF(new));
		check_hint(out,
			"on %s: ALTER EVENT ... DISABLE ON SLAVE for each, or SET GLOBAL event_scheduler = "
			"OFF",
			new.conf->name);
	}
	check_say(out, CHECK_OK, old.conf->name, "event scheduler of " AT " is %s, %d events enabled",
		AT_OF(old), old.facts->event_scheduler, old.facts->nevents_enabled);
}

void judge_sessions(const struct check_input *in, struct check_out *out)
{
	const struct checks_side old = checks_old(in);
	struct checks_list who = {0};
	int n;

	if (!sessions_gathered(&old, out))
		return;
	n = checks_clients(in, &old, &who);
	check_say(out, CHECK_OK, old.conf->name, "%d sessions on " AT " will be killed%s%s", n, AT_OF(old),
		n ? ": " : "", checks_list_text(&who));
}

/* --- the fence, tried
 * ---------------------------------------------------------------------------------------- */

/* One write of the probe account, over no row. */
static enum act MAY_WAIT probe_one(
	const struct check_input *in, struct check_env *env, enum conf_side side, struct err *err)
{
	int64_t deadline = checks_deadline(PROBE_LIMIT_MS, env->deadline_us);
	struct session *s = NULL;
	enum act done;

	if (session_open(env->cluster->side[side].node, SESSION_PROBE, &in->conf->policy.fence_probe,
		    deadline, &s, err) < 0)
		return ACT_UNKNOWN;
	done = node_probe_try(s, deadline, err);
	session_close(s);
	return done;
}

/* An account that the fence does not stop is known without a try. */
static bool probe_walks_through(const struct check_input *in, const struct checks_side *s, const char *user)
{
	if (checks_user_is_flipd(in->conf, s->conf, user))
		return true;
	for (int i = 0; i < s->facts->nbypass; i++)
		if (str_eq(s->facts->bypass[i].user, user))
			return true;
	return false;
}

static void MAY_WAIT prove_probe_on_new(
	const struct check_input *in, struct check_env *env, struct check_out *out)
{
	const struct checks_side new = checks_new(in);
	const char *user = in->conf->policy.fence_probe.user;
	struct err err = {0};
	enum act done;

	if (!new.facts->read_only) {
		check_say(out, CHECK_SKIP, new.conf->name, AT " is open (see standby_fenced)", AT_OF(new));
		return;
	}
	done = probe_one(in, env, in->to, &err);
	if (done == ACT_REFUSED && err.sql_errno == ER_READ_ONLY)
		return;
	if (done == ACT_DONE) {
		check_say(out, CHECK_REFUSE, new.conf->name, "a write of '%s' goes through the fence of " AT,
			user, AT_OF(new));
		check_hint(out,
			"on %s: REVOKE READ ONLY ADMIN, SUPER ON *.* FROM '%s'; or it was opened meanwhile: "
			"SELECT @@read_only",
			new.conf->name, user);
		return;
	}
	check_say(out, CHECK_WARN, new.conf->name, "the fence of " AT " could not be tried as '%s': %s",
		AT_OF(new), user, checks_reason(&new, &err));
	check_hint(out, "create the account as `flipctl grants mariadb` shows; it comes to %s by replication",
		new.conf->name);
}

static void MAY_WAIT prove_probe_on_old(
	const struct check_input *in, struct check_env *env, struct check_out *out)
{
	const struct checks_side old = checks_old(in);
	const char *user = in->conf->policy.fence_probe.user;
	struct err err = {0};
	enum act done = probe_one(in, env, in->from, &err);

	if (done == ACT_DONE)
		return;
	check_say(out, CHECK_WARN, old.conf->name, "'%s' cannot write on " AT ": %s", user, AT_OF(old),
		checks_reason(&old, &err));
	if (err.sql_errno == ER_READ_ONLY)
		check_hint(out, "%s is closed: see the check single_master", old.conf->name);
	else
		check_hint(out,
			"create the account as `flipctl grants mariadb` shows: GRANT INSERT, UPDATE ON "
			"`%s`.probe TO '%s'",
			in->conf->policy.heartbeat_schema ? in->conf->policy.heartbeat_schema : "flipd",
			user);
}

void MAY_WAIT prove_fence_probe(const struct check_input *in, struct check_env *env, struct check_out *out)
{
	const struct checks_side old = checks_old(in), new = checks_new(in);
	const struct checks_side *side[2] = {&old, &new};
	const char *user = in->conf->policy.fence_probe.user;

	if (!user) {
		check_say(out, CHECK_WARN, NULL,
			"no fence_probe is configured for %s and %s: the fence is not proven by a write, and "
			"the blackout is not measured from outside",
			old.conf->name, new.conf->name);
		check_hint(out, "create the account as `flipctl grants mariadb` shows and set fence_probe: "
				"{user: ..., password_file: ...}");
		return;
	}
	if (!checks_both_up(in, out))
		return;
	for (int i = 0; i < 2; i++) {
		if (!probe_walks_through(in, side[i], user))
			continue;
		check_say(out, CHECK_REFUSE, side[i]->conf->name,
			"fence_probe '%s' is an account that the fence of " AT " does not stop", user,
			AT_OF(*side[i]));
		check_hint(out, "give fence_probe an account of its own, without READ ONLY ADMIN and SUPER "
				"(`flipctl grants mariadb`)");
	}
	if (out->result == CHECK_REFUSE)
		return;
	prove_probe_on_old(in, env, out);
	prove_probe_on_new(in, env, out);
	check_say(out, CHECK_OK, NULL, "'%s' writes on " AT " and is refused by " AT, user, AT_OF(old),
		AT_OF(new));
}
