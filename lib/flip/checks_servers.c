/* checks_servers: judges of the servers themselves: that they answer, fit together, and survive a restart
 * closed. */
#include "lib/flip/checks.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "lib/base/str.h"

#define SKEW_WARN_MS                                                                                         \
	1000 /* heartbeats are written once a second: more than that makes lag by heartbeat a guess */

#define ER_CON_COUNT_ERROR 1040

/* By number: the text is in the server's language. With TLS the library has one of its own, before the
 * server's: "... error cannot be verified: 1040 - Too many connections". */
static bool is_full(const struct err *e)
{
	return e->sql_errno == ER_CON_COUNT_ERROR || strstr(e->message, ": 1040 - ");
}

void judge_connect(const struct check_input *in, struct check_out *out)
{
	const struct checks_side side[2] = {checks_old(in), checks_new(in)};

	for (int i = 0; i < 2; i++) {
		const char *name = side[i].conf->name;

		if (side[i].facts->up) {
			check_say(out, CHECK_OK, name, AT " answers, version %s", AT_OF(side[i]),
				side[i].facts->version);
			continue;
		}
		check_say(out, CHECK_REFUSE, name, AT " does not answer: %s", AT_OF(side[i]),
			checks_reason(&side[i], side[i].error));
		if (is_full(side[i].error)) {
			check_hint(out,
				"raise max_connections on %s, or give flipd a way in of its own: "
				"extra_port (see the check spare_connection)",
				name);
			continue;
		}
		check_hint(out,
			"start the server, or mend host, port, socket, tls, user and password of %s in "
			"clusters: {%s}",
			name, in->conf->name);
	}
	for (int i = 0; in->replicas && i < in->nreplicas; i++) {
		const struct conf_server *c = &in->conf->replicas[i];

		if (in->replicas[i].up)
			continue;
		check_say(out, CHECK_WARN, c->name, "replica " AT " does not answer", c->name,
			HOST_PORT_OF(c->host, c->port));
		check_hint(out,
			"the flip goes on without %s; point it at the new master by hand, or start it now",
			c->name);
	}
}

/* What each server's clock said, less the time between the two looks. */
void judge_clock_skew(const struct check_input *in, struct check_out *out)
{
	const struct checks_side old = checks_old(in), new = checks_new(in);
	int64_t skew;

	if (!checks_both_up(in, out))
		return;
	if (!old.facts->wall_ms || !new.facts->wall_ms) {
		check_say(out, CHECK_SKIP, NULL, "the servers did not tell their time");
		return;
	}
	skew = (new.facts->wall_ms - old.facts->wall_ms) - (new.facts->taken_at_ms - old.facts->taken_at_ms);
	if (llabs(skew) <= SKEW_WARN_MS) {
		check_say(out, CHECK_OK, NULL, "clocks of %s and %s are %lld ms apart", old.conf->name,
			new.conf->name, llabs(skew));
		return;
	}
	check_say(out, CHECK_WARN, new.conf->name, "clock of " AT " is %lld ms %s that of " AT, AT_OF(new),
		llabs(skew), skew > 0 ? "ahead of" : "behind", AT_OF(old));
	check_hint(out, "run chrony or ntpd on both hosts: lag by heartbeat and the times in reports are "
			"wrong by as much");
}

static void judge_replica_ids(
	const struct check_input *in, const struct checks_side *side, struct check_out *out)
{
	for (int i = 0; in->replicas && i < in->nreplicas; i++) {
		const struct facts *r = &in->replicas[i];

		if (!r->up || r->id.server_id != side->facts->id.server_id)
			continue;
		check_say(out, CHECK_WARN, in->conf->replicas[i].name,
			"replica %s has the server_id %" PRIu32 " of %s", in->conf->replicas[i].name,
			r->id.server_id, side->conf->name);
		check_hint(out,
			"give replica %s a server_id of its own: SET GLOBAL server_id = N, and in its my.cnf",
			in->conf->replicas[i].name);
	}
}

void judge_server_id(const struct check_input *in, struct check_out *out)
{
	const struct checks_side old = checks_old(in), new = checks_new(in);
	const struct checks_side *side[2] = {&old, &new};

	if (!checks_both_up(in, out))
		return;
	for (int i = 0; i < 2; i++) {
		if (side[i]->facts->id.server_id)
			continue;
		check_say(out, CHECK_REFUSE, side[i]->conf->name, AT " has server_id 0", AT_OF(*side[i]));
		check_hint(out, "SET GLOBAL server_id = N (another on each server), and in its my.cnf");
	}
	if (facts_same_server(&old.facts->id, &new.facts->id)) {
		check_say(out, CHECK_REFUSE, NULL,
			AT " and " AT " are the same server: %s, server_id %" PRIu32, AT_OF(old), AT_OF(new),
			new.facts->id.hostname, new.facts->id.server_id);
		check_hint(out, "give clusters: {%s} two different servers", in->conf->name);
	} else if (old.facts->id.server_id == new.facts->id.server_id) {
		check_say(out, CHECK_REFUSE, NULL,
			AT " and " AT " both have server_id %" PRIu32 ": each drops the other's changes",
			AT_OF(old), AT_OF(new), new.facts->id.server_id);
		check_hint(out, "SET GLOBAL server_id = N on %s (another number), and in its my.cnf",
			new.conf->name);
	}
	judge_replica_ids(in, &old, out);
	judge_replica_ids(in, &new, out);
	check_say(out, CHECK_OK, NULL, "%s %" PRIu32 ", %s %" PRIu32, old.conf->name, old.facts->id.server_id,
		new.conf->name, new.facts->id.server_id);
}

/* A replica should be of its master's version or later; after the flip old is the replica. */
void judge_version_order(const struct check_input *in, struct check_out *out)
{
	const struct checks_side old = checks_old(in), new = checks_new(in);
	int from = old.facts->version_num / 100, to = new.facts->version_num / 100;

	if (!checks_both_up(in, out))
		return;
	if (old.facts->is_mariadb != new.facts->is_mariadb || !from || !to) {
		check_say(out, CHECK_SKIP, NULL, "%s and %s cannot be compared", old.facts->version,
			new.facts->version);
	} else if (from == to) {
		check_say(out, CHECK_OK, NULL, "%s %s, %s %s", old.conf->name, old.facts->version,
			new.conf->name, new.facts->version);
	} else if (from > to) {
		check_say(out, CHECK_WARN, new.conf->name, AT " is %s, older than its master " AT " with %s",
			AT_OF(new), new.facts->version, AT_OF(old), old.facts->version);
		check_hint(out, "upgrade %s first: an older replica may stop at what a newer master logs",
			new.conf->name);
	} else {
		check_say(out, CHECK_WARN, old.conf->name,
			AT " is %s: after the flip it replicates from the newer " AT " with %s", AT_OF(old),
			old.facts->version, AT_OF(new), new.facts->version);
		check_hint(out, "the way back may stop at what the newer %s logs; rehearse it, or upgrade %s",
			new.conf->name, old.conf->name);
	}
}

/* MariaDB releases that read what MySQL 8 logs, by series: least patch level (mariadb.com/kb, replication
 * compatibility); every series from 11.8 on does. */
static bool reads_mysql8(int version)
{
	static const struct {
		int series, patch;
	} least[] = {{1006, 21}, {1011, 11}, {1104, 5}, {1107, 2}};

	for (size_t i = 0; i < COUNT_OF(least); i++)
		if (version / 100 == least[i].series)
			return version % 100 >= least[i].patch;
	return version / 100 >= 1108;
}

/* One direction of replication. */
static void judge_direction(
	const struct checks_side *from, const struct checks_side *to, struct check_out *out)
{
	if (from->facts->is_mariadb == to->facts->is_mariadb)
		return;
	if (!from->facts->is_mariadb && from->facts->version_num >= 80000 &&
		!reads_mysql8(to->facts->version_num)) {
		check_say(out, CHECK_REFUSE, to->conf->name,
			AT " with MariaDB %s cannot replicate from MySQL %s on " AT, AT_OF(*to),
			to->facts->version, from->facts->version, AT_OF(*from));
		check_hint(out,
			"MariaDB 10.6.21, 10.11.11, 11.4.5, 11.7.2 or later of these series can: upgrade %s",
			to->conf->name);
	} else if (from->facts->is_mariadb) {
		check_say(out, CHECK_WARN, to->conf->name,
			"replication from MariaDB %s on " AT " to MySQL %s on " AT
			" is supported by neither vendor",
			from->facts->version, AT_OF(*from), to->facts->version, AT_OF(*to));
		check_hint(out, "ROW format, file and position only, no sequences or system-versioned "
				"tables; rehearse both ways");
	}
}

static bool flavor_fits(enum conf_flavor flavor, bool is_mariadb)
{
	switch (flavor) {
	case CONF_FLAVOR_MARIADB:
		return is_mariadb;
	case CONF_FLAVOR_MYSQL:
	case CONF_FLAVOR_AURORA:
		return !is_mariadb;
	default: /* RDS has both */
		return true;
	}
}

void judge_flavor_pair(const struct check_input *in, struct check_out *out)
{
	const struct checks_side old = checks_old(in), new = checks_new(in);
	const struct checks_side *side[2] = {&old, &new};

	if (!checks_both_up(in, out))
		return;
	for (int i = 0; i < 2; i++) {
		if (flavor_fits(side[i]->conf->flavor, side[i]->facts->is_mariadb))
			continue;
		check_say(out, CHECK_REFUSE, side[i]->conf->name, AT " is configured as %s but is %s",
			AT_OF(*side[i]), conf_flavor_name(side[i]->conf->flavor), side[i]->facts->version);
		check_hint(out, "set flavor: auto, or what it is, for %s", side[i]->conf->name);
	}
	judge_direction(&old, &new, out);
	judge_direction(&new, &old, out);
	check_say(out, CHECK_OK, NULL, "%s %s, %s %s", old.conf->name,
		old.facts->is_mariadb ? "MariaDB" : "MySQL", new.conf->name,
		new.facts->is_mariadb ? "MariaDB" : "MySQL");
}

/* From SHOW GRANTS, by the table that also makes `flipctl grants`; CREATE on flipd's schema is in it. */
void judge_privileges(const struct check_input *in, struct check_out *out)
{
	const struct checks_side old = checks_old(in), new = checks_new(in);
	const struct checks_side *side[2] = {&old, &new};
	/* The step events switches a scheduler that is on off, with or without events; who may not see them
	 * cannot say that there are none. */
	bool events = old.facts->nevents_enabled > 0 || str_ieq(old.facts->event_scheduler, "ON");
	unsigned needs = (events ? NODE_NEEDS_EVENTS : 0u) |
			 (in->conf->policy.lock_accounts.n ? NODE_NEEDS_LOCKS : 0u);

	if (!checks_both_up(in, out))
		return;
	for (int i = 0; i < 2; i++) {
		const char *name = side[i]->conf->name;
		struct err err = {0};

		if (!side[i]->facts->privileges) {
			check_say(out, CHECK_SKIP, name,
				"the grants of flipd's account on " AT " were not shown", AT_OF(*side[i]));
		} else if (node_judge_privileges(side[i]->facts, needs, &err) != ACT_DONE) {
			check_say(out, CHECK_REFUSE, name, AT ": %s", AT_OF(*side[i]), err.message);
			check_hint(out, "%s",
				err.hint[0] ? err.hint
					    : "see `flipctl grants mariadb` for the GRANT statements");
		} else {
			check_say(out, CHECK_OK, name, AT ": %s has all it needs", AT_OF(*side[i]),
				side[i]->facts->current_user);
		}
	}
}

static void judge_binlog_of(const struct checks_side *s, struct check_out *out)
{
	const struct facts *f = s->facts;

	if (!f->log_bin) {
		check_say(out, CHECK_REFUSE, s->conf->name, AT " writes no binary log", AT_OF(*s));
		check_hint(out, "log_bin=ON in the my.cnf of %s, then restart it", s->conf->name);
	}
	if (!f->log_slave_updates) {
		check_say(out, CHECK_REFUSE, s->conf->name,
			AT " has log_slave_updates off: its replicas would miss what it replicates",
			AT_OF(*s));
		check_hint(out, "log_slave_updates=ON in the my.cnf of %s, then restart it", s->conf->name);
	}
	if (strcasecmp(f->binlog_format, "ROW") == 0 || !f->binlog_format[0])
		return;
	check_say(out, strcasecmp(f->binlog_format, "MIXED") == 0 ? CHECK_WARN : CHECK_REFUSE, s->conf->name,
		AT " logs in %s format", AT_OF(*s), f->binlog_format);
	check_hint(out,
		"SET GLOBAL binlog_format = 'ROW' on %s and in its my.cnf; sessions that are open keep the "
		"old format",
		s->conf->name);
}

void judge_binlog(const struct check_input *in, struct check_out *out)
{
	const struct checks_side old = checks_old(in), new = checks_new(in);

	if (!checks_both_up(in, out))
		return;
	judge_binlog_of(&old, out);
	judge_binlog_of(&new, out);
	check_say(out, CHECK_OK, NULL, "on, with log_slave_updates: %s %s, %s %s", old.conf->name,
		old.facts->binlog_format, new.conf->name, new.facts->binlog_format);
}
