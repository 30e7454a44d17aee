/* checks_bypass: the judge of accounts that the fence does not stop, and of those that are to be locked for
 * the flip. */
#include "lib/flip/checks.h"

#include "lib/base/str.h"
#include "lib/model/accounts.h"

static bool will_be_locked(
	const struct check_input *in, const struct checks_side *s, const char *user, const char *host)
{
	const struct conf_list *l = &in->conf->policy.lock_accounts;

	for (int i = 0; i < l->n; i++)
		if (s->conf == &in->conf->side[in->from] && account_name_matches(l->v[i], user, host))
			return true;
	return false;
}

static void judge_bypass_of(const struct check_input *in, const struct checks_side *s, struct check_out *out)
{
	struct checks_list names = {0}, locked = {0};
	const char *first_user = "", *first_host = "";

	if (s->facts->nbypass < 0) {
		check_say(out, CHECK_SKIP, s->conf->name,
			"flipd's account may not see the accounts of " AT " (GRANT SELECT ON "
			"mysql.global_priv, and ON mysql.roles_mapping)",
			AT_OF(*s));
		return;
	}
	for (int i = 0; i < s->facts->nbypass; i++) {
		const struct facts_account *a = &s->facts->bypass[i];

		if (checks_user_is_flipd(in->conf, s->conf, a->user))
			continue;
		if (will_be_locked(in, s, a->user, a->host)) {
			checks_list_add(&locked, "'%s'@'%s'", a->user, a->host);
			continue;
		}
		first_user = names.n ? first_user : a->user;
		first_host = names.n ? first_host : a->host;
		checks_list_add(&names, "'%s'@'%s'", a->user, a->host);
	}
	if (!names.n && !locked.n) {
		check_say(
			out, CHECK_OK, s->conf->name, "no account walks through the fence of " AT, AT_OF(*s));
		return;
	}
	check_say(out, names.n ? CHECK_WARN : CHECK_OK, s->conf->name,
		"accounts that read_only does not stop on " AT ": %s%s%s%s", AT_OF(*s),
		checks_list_text(&names), names.n && locked.n ? "; " : "",
		locked.n ? "will be locked there for the flip: " : "", checks_list_text(&locked));
	if (!names.n)
		return;
	check_hint(out,
		"keep them from writing during the flip (their sessions are killed, one that comes back ends "
		"the "
		"flip), or REVOKE READ ONLY ADMIN, SUPER ON *.* FROM '%s'@'%s'",
		first_user, first_host);
}

static bool is_an_account(const struct check_input *in, const char *entry)
{
	for (int i = 0; i < in->nlock; i++)
		if (account_name_matches(entry, in->lock[i].user, in->lock[i].host))
			return true;
	return false;
}

/* Of lock_accounts: who is not there, and who stays locked. */
static void judge_lock_accounts(const struct check_input *in, struct check_out *out)
{
	const struct conf_list *l = &in->conf->policy.lock_accounts;
	const struct checks_side old = checks_old(in);
	struct checks_list unknown = {0}, before = {0};

	if (l->n && in->nlock < 0) {
		check_say(out, CHECK_WARN, old.conf->name, "the accounts of " AT " could not be looked at",
			AT_OF(old));
		check_hint(out, "lock_accounts needs them: see the check privileges");
		return;
	}
	for (int i = 0; i < l->n; i++)
		if (!is_an_account(in, l->v[i]))
			checks_list_add(&unknown, "'%s'", l->v[i]);
	for (int i = 0; i < in->nlock; i++)
		if (in->lock[i].locked)
			checks_list_add(&before, "'%s'@'%s'", in->lock[i].user, in->lock[i].host);
	if (unknown.n) {
		check_say(out, CHECK_WARN, old.conf->name,
			"lock_accounts names what is no account of " AT ": %s", AT_OF(old),
			checks_list_text(&unknown));
		check_hint(out, "SELECT User, Host FROM mysql.global_priv on %s shows them", old.conf->name);
	}
	if (before.n)
		check_say(out, CHECK_OK, old.conf->name, "locked already, and left so: %s",
			checks_list_text(&before));
}

void judge_bypass(const struct check_input *in, struct check_out *out)
{
	const struct checks_side old = checks_old(in), new = checks_new(in);

	if (!checks_both_up(in, out))
		return;
	judge_bypass_of(in, &old, out);
	judge_bypass_of(in, &new, out);
	judge_lock_accounts(in, out);
}
