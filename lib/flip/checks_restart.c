/*
 * checks_restart: judges of what a server does by itself, after a crash, in a cluster of its own, or by a
 * name that moves, and of flips that were left unfinished.
 */
#include "lib/flip/checks.h"

#include <string.h>
#include <strings.h>

#include "lib/base/str.h"

void judge_durability(const struct check_input *in, struct check_out *out)
{
	const struct checks_side side[2] = {checks_old(in), checks_new(in)};

	if (!checks_both_up(in, out))
		return;
	for (int i = 0; i < 2; i++) {
		const struct facts *f = side[i].facts;

		if (f->sync_binlog_full && f->flush_log_full) {
			check_say(out, CHECK_OK, side[i].conf->name, AT " syncs each commit", AT_OF(side[i]));
			continue;
		}
		check_say(out, CHECK_WARN, side[i].conf->name,
			AT " can lose acknowledged commits in a crash:%s%s", AT_OF(side[i]),
			f->sync_binlog_full ? "" : " sync_binlog is not 1",
			f->flush_log_full ? "" : " innodb_flush_log_at_trx_commit is not 1");
		check_hint(out,
			"SET GLOBAL sync_binlog = 1, innodb_flush_log_at_trx_commit = 1 on %s and in its "
			"my.cnf",
			side[i].conf->name);
	}
}

/* A fence that is kept outside the server is there after its restart. */
static bool has_outer_fence(const struct conf_server *s)
{
	for (int i = 0; i < s->nfences; i++)
		if (s->fences[i].kind != CONF_FENCE_READ_ONLY &&
			s->fences[i].kind != CONF_FENCE_RDS_READ_ONLY)
			return true;
	return false;
}

/*
 * What a restart leaves: as the configuration says, else as the variable's origin showed when the server was
 * first seen after a start (the first SET hides it: E0). An old master that restarts open in a flip takes
 * writes (E2).
 */
static void judge_boot_of(const struct checks_side *s, struct check_out *out)
{
	int said = s->conf->boots_fenced, shown = s->facts->boots_read_only;

	if (has_outer_fence(s->conf)) {
		check_say(out, CHECK_OK, s->conf->name, AT " has a fence that outlives a restart", AT_OF(*s));
	} else if (said == 1 && shown == 0) {
		check_say(out, CHECK_WARN, s->conf->name,
			AT " is configured with boots_fenced: true but its last start left it open",
			AT_OF(*s));
		check_hint(out, "set read_only=1 in the my.cnf of %s", s->conf->name);
	} else if (said == 1 || (said < 0 && shown == 1)) {
		check_say(out, CHECK_OK, s->conf->name, AT " boots read-only", AT_OF(*s));
	} else if (said == 0 || shown == 0) {
		check_say(out, CHECK_WARN, s->conf->name,
			AT " boots open: after a restart it takes writes until flipd closes it", AT_OF(*s));
		check_hint(out, "set read_only=1 in the my.cnf of %s", s->conf->name);
	} else {
		check_say(out, CHECK_WARN, s->conf->name,
			"it is not known whether a restart of " AT " leaves it open", AT_OF(*s));
		check_hint(out, "set read_only=1 in the my.cnf of %s and say boots_fenced: true for it",
			s->conf->name);
	}
}

void judge_boot_fence(const struct check_input *in, struct check_out *out)
{
	const struct checks_side old = checks_old(in), new = checks_new(in);

	if (!checks_both_up(in, out))
		return;
	judge_boot_of(&old, out);
	judge_boot_of(&new, out);
}

void judge_galera(const struct check_input *in, struct check_out *out)
{
	const struct checks_side side[2] = {checks_old(in), checks_new(in)};

	if (!checks_both_up(in, out))
		return;
	for (int i = 0; i < 2; i++) {
		if (side[i].facts->wsrep_on == 'Y') {
			check_say(out, CHECK_REFUSE, side[i].conf->name,
				AT " is a Galera node: read_only on one node does not stop writes through "
				   "the others",
				AT_OF(side[i]));
			check_hint(out,
				"flipd does not flip Galera clusters: take %s out of it (wsrep_on=OFF), or "
				"name another server",
				side[i].conf->name);
		} else if (side[i].facts->wsrep_on != 'N') {
			check_say(out, CHECK_SKIP, side[i].conf->name,
				AT " did not show whether it is a Galera node", AT_OF(side[i]));
		} else {
			check_say(out, CHECK_OK, side[i].conf->name, AT " is not a Galera node",
				AT_OF(side[i]));
		}
	}
}

/* DNS names are equal whatever their case, with or without the last dot. */
static bool same_name(const char *a, const char *b)
{
	size_t na = a ? strlen(a) : 0, nb = b ? strlen(b) : 0;

	if (na && a[na - 1] == '.')
		na--;
	if (nb && b[nb - 1] == '.')
		nb--;
	return na && na == nb && strncasecmp(a, b, na) == 0;
}

static void self_reference_refuse(
	struct check_out *out, const char *server, const char *who, const char *name)
{
	check_say(out, CHECK_REFUSE, server, "%s uses %s, the very name that the flip switches", who, name);
	check_hint(out, "give %s the address or another name that always means that one server", who);
}

static void self_reference_server(const struct conf_server *s, const char *name, struct check_out *out)
{
	struct strbuf who = {0};

	strbuf_addf(&who, "host of %s", s->name);
	if (same_name(s->host, name))
		self_reference_refuse(out, s->name, strbuf_str(&who), name);
	strbuf_free(&who);
	strbuf_addf(&who, "replication_address of %s", s->name);
	if (!same_name(s->host, name) && same_name(s->replication_host, name))
		self_reference_refuse(out, s->name, strbuf_str(&who), name);
	strbuf_free(&who);
}

static void self_reference_channels(
	const struct conf_server *s, const struct facts *f, const char *name, struct check_out *out)
{
	struct strbuf who = {0};

	strbuf_addf(&who, "replication on %s (CHANGE MASTER ... MASTER_HOST)", s->name);
	for (int i = 0; f && i < f->nchannels && i < FACTS_CHANNELS_MAX; i++)
		if (same_name(f->channels[i].host, name))
			self_reference_refuse(out, s->name, strbuf_str(&who), name);
	strbuf_free(&who);
}

static void self_reference_endpoint(
	const struct check_input *in, const struct conf_endpoint *e, struct check_out *out)
{
	for (int side = 0; side < 2; side++) {
		self_reference_server(&in->conf->side[side], e->rr_name, out);
		for (int i = 0; i < e->value[side].n; i++)
			if (same_name(e->value[side].v[i], e->rr_name))
				self_reference_refuse(
					out, "", e->label ? e->label : "the endpoint's value", e->rr_name);
	}
	self_reference_channels(checks_old(in).conf, checks_old(in).facts, e->rr_name, out);
	self_reference_channels(checks_new(in).conf, checks_new(in).facts, e->rr_name, out);
	for (int i = 0; i < in->conf->nreplicas; i++) {
		self_reference_server(&in->conf->replicas[i], e->rr_name, out);
		if (in->replicas && i < in->nreplicas)
			self_reference_channels(&in->conf->replicas[i], &in->replicas[i], e->rr_name, out);
	}
}

void judge_self_reference(const struct check_input *in, struct check_out *out)
{
	int names = 0;

	for (int i = 0; i < in->conf->nendpoints; i++) {
		if (!in->conf->endpoints[i].rr_name)
			continue;
		names++;
		self_reference_endpoint(in, &in->conf->endpoints[i], out);
	}
	check_say(out, CHECK_OK, NULL,
		"neither flipd nor replication uses any of the %d names that the flip switches", names);
}

void judge_unfinished_flip(const struct check_input *in, struct check_out *out)
{
	const struct checks_side side[2] = {checks_old(in), checks_new(in)};
	const char *seen_id = "";

	if (!checks_both_up(in, out))
		return;
	for (int i = 0; i < 2; i++) {
		const struct facts *f = side[i].facts;
		bool here = str_eq(f->flip_row_journal, in->journal_id);

		if (!f->flip_row_id[0] || str_eq(f->flip_row_id, in->flip_id) ||
			str_eq(f->flip_row_id, seen_id))
			continue;
		seen_id = f->flip_row_id;
		check_say(out, CHECK_REFUSE, side[i].conf->name,
			"flip %s (%s, %s) is unfinished on " AT ": begun on host %s, journal %s%s",
			f->flip_row_id, f->flip_row_direction, f->flip_row_state, AT_OF(side[i]),
			f->flip_row_host, f->flip_row_journal, here ? " (this flipd's)" : "");
		if (here)
			check_hint(out, "`flipctl resolve %s` takes it up or closes it", in->conf->name);
		else
			check_hint(out,
				"finish it with `flipctl resolve %s` on host %s; if that journal is lost, "
				"the same command here adopts or closes it",
				in->conf->name, f->flip_row_host);
	}
	check_say(out, CHECK_OK, NULL, "no unfinished flip on %s or %s", side[0].conf->name,
		side[1].conf->name);
}
