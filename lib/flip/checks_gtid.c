/*
 * checks_gtid: the judge of MariaDB's transaction ids. MariaDB itself compares sequence numbers only (E1e),
 * and plays a domain that the other side does not know from its beginning (E10): both are looked for here.
 */
#include "lib/flip/checks.h"

#include <inttypes.h>
#include <strings.h>

#include "lib/base/str.h"

/* What old has executed: its log's state, and what flips to it proved beyond that. */
static void executed(const struct check_input *in, struct gtid_list *ret)
{
	const struct gtid_list *more = in->old_reached;

	*ret = in->old_facts->position.binlog_state;
	for (int i = 0; more && i < more->n; i++)
		for (int k = 0; k < ret->n; k++)
			if (ret->v[k].domain == more->v[i].domain && ret->v[k].server == more->v[i].server &&
				ret->v[k].seq < more->v[i].seq)
				ret->v[k].seq = more->v[i].seq;
}

/* Transactions that new wrote itself and old never saw. */
static void judge_errant(const struct check_input *in, bool by_file, struct check_out *out)
{
	const struct checks_side old = checks_old(in), new = checks_new(in);
	struct gtid_list known;
	struct gtid first = {0};

	executed(in, &known);
	uint64_t n =
		gtid_own_beyond(&new.facts->position.binlog_state, &known, new.facts->id.server_id, &first);

	if (!n)
		return;
	/* By file and position they are never sent to old: the way back begins after them. */
	check_say(out, by_file ? CHECK_WARN : CHECK_REFUSE, new.conf->name,
		AT " has %" PRIu64 " transactions of its own that " AT " lacks, the first " GTID_FMT,
		AT_OF(new), n, AT_OF(old), GTID_OF(&first));
	check_hint(out,
		"look at them with mysqlbinlog --start-position=%" PRIu32 "-%" PRIu32 "-%" PRIu64
		" on %s: repeat on %s what is wanted, then seed %s anew; if they mean nothing, lower the "
		"check with preflight: {gtid: warn}",
		first.domain, first.server, first.seq ? first.seq - 1 : 0, new.conf->name, old.conf->name,
		new.conf->name);
}

/*
 * Old was asked after new had answered: else it may just have gone on writing. That its answer came later is
 * not enough: polled at the same time, new may show what old wrote after it had looked.
 */
static bool old_seen_last(const struct checks_side *old, const struct checks_side *new)
{
	return new->facts->answered_at_us <= old->facts->asked_at_us;
}

/*
 * Transactions in new's log by a third server (another master once, a mysqlbinlog by hand) that did not come
 * through old: numbered above all that old has of that server, or, where it has none, of the whole domain.
 * Lower ones that old lacks may have been in the backup from which it was made.
 */
static void judge_foreign(const struct check_input *in, bool by_file, struct check_out *out)
{
	const struct checks_side old = checks_old(in), new = checks_new(in);
	const struct gtid_list *state = &new.facts->position.binlog_state;
	struct checks_list found = {0};
	struct gtid_list known;

	executed(in, &known);
	if (!old_seen_last(&old, &new))
		return;
	for (int i = 0; i < state->n; i++) {
		const struct gtid *g = &state->v[i], *same = gtid_find(&known, g->domain, g->server);
		const struct gtid *last = same ? same : gtid_find_domain(&known, g->domain);

		if (g->server == new.facts->id.server_id || g->server == old.facts->id.server_id)
			continue; /* judge_errant, judge_entry */
		if (last && g->seq > last->seq)
			checks_list_add(&found, GTID_FMT, GTID_OF(g));
	}
	if (!found.n)
		return;
	check_say(out, by_file ? CHECK_WARN : CHECK_REFUSE, new.conf->name,
		"the log of " AT " has transactions of another server that " AT " lacks, up to %s",
		AT_OF(new), AT_OF(old), checks_list_text(&found));
	check_hint(out,
		"find them with mysqlbinlog on %s: repeat on %s what is wanted, then seed %s anew; if they "
		"mean nothing, lower the check with preflight: {gtid: warn}",
		new.conf->name, old.conf->name, new.conf->name);
}

/* One entry of new's position against all that old ever logged. */
static void judge_entry(const struct checks_side *old, const struct checks_side *new, const struct gtid *g,
	struct check_out *out)
{
	const struct gtid_list *state = &old->facts->position.binlog_state;
	const struct gtid *same = gtid_find(state, g->domain, g->server),
			  *last = gtid_find_domain(state, g->domain);

	if (!same && (last || g->server == old->facts->id.server_id)) {
		check_say(out, CHECK_REFUSE, new->conf->name,
			AT " stands at " GTID_FMT ", but " AT " never logged anything of server %" PRIu32
			   " in domain %" PRIu32,
			AT_OF(*new), GTID_OF(g), AT_OF(*old), g->server, g->domain);
		check_hint(out,
			"the histories differ (RESET MASTER on %s, or another master once): seed %s anew "
			"from %s",
			old->conf->name, new->conf->name, old->conf->name);
	} else if (!same) {
		check_say(out, CHECK_WARN, new->conf->name,
			AT " has a position in domain %" PRIu32 " (" GTID_FMT ") that " AT " does not know",
			AT_OF(*new), g->domain, GTID_OF(g), AT_OF(*old));
		check_hint(out,
			"on %s, if the domain is no longer used: STOP SLAVE; SET GLOBAL gtid_slave_pos "
			"without it; START SLAVE",
			new->conf->name);
	} else if (same->seq < g->seq && old_seen_last(old, new)) {
		check_say(out, CHECK_REFUSE, new->conf->name,
			AT " stands at " GTID_FMT ", above " GTID_FMT " on " AT, AT_OF(*new), GTID_OF(g),
			GTID_OF(same), AT_OF(*old));
		check_hint(out,
			"%s has lost transactions or was reset: compare the data, then seed one side anew "
			"from the right one",
			old->conf->name);
	}
}

/* Domains in new's log, by other servers, that old does not know: old would be sent them from their
 * beginning. */
static void judge_domains(const struct checks_side *old, const struct checks_side *new, struct check_out *out)
{
	const struct gtid_list *state = &new->facts->position.binlog_state;
	struct checks_list domains = {0};
	uint32_t first = 0;

	for (int i = 0; i < state->n; i++) {
		const struct gtid *g = &state->v[i];

		if (g->server == new->facts->id.server_id ||
			gtid_find_domain(&old->facts->position.binlog_state, g->domain))
			continue;
		if (!domains.n)
			first = g->domain;
		checks_list_add(&domains, GTID_FMT, GTID_OF(g));
	}
	if (!domains.n)
		return;
	check_say(out, CHECK_WARN, new->conf->name,
		"the log of " AT " has domains that " AT " does not know: %s", AT_OF(*new), AT_OF(*old),
		checks_list_text(&domains));
	check_hint(out,
		"on %s, once its old logs are purged: FLUSH BINARY LOGS DELETE_DOMAIN_ID=(%" PRIu32 ")",
		new->conf->name, first);
}

void judge_gtid(const struct check_input *in, struct check_out *out)
{
	const struct checks_side old = checks_old(in), new = checks_new(in);
	const struct facts_channel *c = checks_channel(in);
	const struct gtid_list *pos = &new.facts->position.slave_pos;
	char text[200];

	if (!checks_both_up(in, out))
		return;
	if (!c) {
		check_say(out, CHECK_SKIP, new.conf->name, AT " does not replicate from " AT, AT_OF(new),
			AT_OF(old));
		return;
	}
	if (!c->using_gtid[0] || strcasecmp(c->using_gtid, "No") == 0) {
		judge_errant(in, true, out);
		judge_foreign(in, true, out);
		check_say(out, CHECK_SKIP, new.conf->name,
			AT " replicates by file and position (Using_Gtid: No)", AT_OF(new));
		return;
	}
	judge_errant(in, false, out);
	judge_foreign(in, false, out);
	for (int i = 0; i < pos->n; i++)
		judge_entry(&old, &new, &pos->v[i], out);
	judge_domains(&old, &new, out);
	check_say(out, CHECK_OK, new.conf->name, AT " stands at '%s', within what " AT " has logged",
		AT_OF(new), gtid_format(pos, text, sizeof(text)), AT_OF(old));
}
