/*
 * checks_own: the judge of flipd's own account and of the one by which servers replicate: that they are those
 * of the configuration, and can still log in, as often as a flip needs it, when it comes to that.
 */
#include "lib/flip/checks.h"

#include <inttypes.h>
#include <string.h>

#include "lib/base/str.h"

#define SOON_S 86400

static const char *mend(bool replication)
{
	return replication ? "else no server can follow this one any more, and a flip ends without a way back"
			   : "else flipd's next session is refused, in the middle of a flip perhaps";
}

static void judge_expiry(
	const struct checks_side *s, const struct facts_own *a, bool replication, struct check_out *out)
{
	if (a->locked) {
		check_say(out, CHECK_WARN, s->conf->name, AT ": account '%s'@'%s' is locked", AT_OF(*s),
			a->user, a->host);
		check_hint(out, "on %s: ALTER USER '%s'@'%s' ACCOUNT UNLOCK; %s", s->conf->name, a->user,
			a->host, mend(replication));
	}
	if (a->expires_s >= SOON_S)
		return;
	if (a->expires_s <= 0) {
		check_say(out, CHECK_WARN, s->conf->name, AT ": the password of '%s'@'%s' has expired",
			AT_OF(*s), a->user, a->host);
		check_hint(out, "on %s: ALTER USER '%s'@'%s' IDENTIFIED BY ...; %s", s->conf->name, a->user,
			a->host, mend(replication));
		return;
	}
	check_say(out, CHECK_WARN, s->conf->name, AT ": the password of '%s'@'%s' expires in %" PRId64 " min",
		AT_OF(*s), a->user, a->host, a->expires_s / 60);
	check_hint(out, "on %s: ALTER USER '%s'@'%s' PASSWORD EXPIRE NEVER, or a new password; %s",
		s->conf->name, a->user, a->host, mend(replication));
}

static void judge_limits(
	const struct checks_side *s, const struct facts_own *a, bool replication, struct check_out *out)
{
	if (!a->max_queries && !a->max_updates && !a->max_connections)
		return;
	check_say(out, CHECK_WARN, s->conf->name,
		AT ": '%s'@'%s' may have but %" PRId64 " queries, %" PRId64 " updates, %" PRId64
		   " connections an hour (0: any number)",
		AT_OF(*s), a->user, a->host, a->max_queries, a->max_updates, a->max_connections);
	check_hint(out,
		"on %s: ALTER USER '%s'@'%s' WITH MAX_QUERIES_PER_HOUR 0 MAX_UPDATES_PER_HOUR 0 "
		"MAX_CONNECTIONS_PER_HOUR 0; %s",
		s->conf->name, a->user, a->host, mend(replication));
}

static void judge_own_of(const struct checks_side *s, struct check_out *out)
{
	bool replicator = false;

	for (int i = 0; i < s->facts->nown; i++) {
		const struct facts_own *a = &s->facts->own[i];
		bool replication = str_eq(a->user, s->conf->replication.user);

		replicator = replicator || replication;
		judge_expiry(s, a, replication, out);
		judge_limits(s, a, replication, out);
	}
	if (!s->facts->nown || replicator || !s->conf->replication.user)
		return;
	check_say(out, CHECK_WARN, s->conf->name, AT " has no account '%s' to replicate with", AT_OF(*s),
		s->conf->replication.user);
	check_hint(out, "create it as `flipctl grants mariadb` shows; %s", mend(true));
}

/* The account that the server matched: an anonymous one or another than configured shadows flipd's. */
void judge_own_accounts(const struct check_input *in, struct check_out *out)
{
	const struct checks_side side[2] = {checks_old(in), checks_new(in)};

	if (!checks_both_up(in, out))
		return;
	for (int i = 0; i < 2; i++) {
		const char *seen = side[i].facts->current_user, *want = side[i].conf->account.user;
		const char *at = strrchr(seen, '@');
		size_t len = at ? (size_t)(at - seen) : strlen(seen);

		if (!seen[0]) {
			check_say(out, CHECK_SKIP, side[i].conf->name,
				AT " did not show which account flipd has", AT_OF(side[i]));
		} else if (want && (strlen(want) != len || strncmp(want, seen, len) != 0)) {
			check_say(out, CHECK_REFUSE, side[i].conf->name,
				AT ": flipd logs in as '%s' but the server takes it for '%s'", AT_OF(side[i]),
				want, seen);
			check_hint(out,
				"drop the account that shadows it on %s (DROP USER ''@'localhost'), or "
				"create '%s' for flipd's host",
				side[i].conf->name, want);
		} else {
			check_say(out, CHECK_OK, side[i].conf->name, AT ": logged in as %s", AT_OF(side[i]),
				seen);
		}
		judge_own_of(&side[i], out);
	}
}
