/*
 * accounts: sessions.lock_accounts. In `events`, right before the fence, each account named is locked on old,
 * so that one that walks through the fence cannot come back once it is killed. It is in the journal before it
 * is done, and undone as soon as old is open again, or at the end of a good flip: by whoever gets there, this
 * life or a later one. New never hears of it: the statement is not logged, and there these accounts go on.
 */
#include <errno.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/base/str.h"
#include "lib/flip/flip_priv.h"

#define PATIENCE_MS 5000 /* a restart of old is waited out */
#define TRY_AGAIN_MS 100
#define TOLD_MOST 380 /* of one warning's text */

static bool is_noted(const struct flip *f, const struct facts_account *a)
{
	for (int i = 0; i < f->nlocked; i++)
		if (!strcmp(f->locked[i].user, a->user) && !strcmp(f->locked[i].host, a->host))
			return true;
	return false;
}

static int MAY_WAIT look(struct flip *f, const struct conf_list *entries, struct facts_account **ret,
	int *ret_n, struct err *err)
{
	enum act act = node_list_accounts(
		f->old_side.act, entries, f->arena, flip_deadline(ROUND_TRIP_MS), ret, ret_n, err);

	return flip_rc(act, err);
}

/* One that somebody else had locked before is not the flip's to unlock. */
static int MAY_WAIT note(struct flip *f, const struct facts_account *list, int n, struct err *err)
{
	struct facts_account *all = arena_alloc(f->arena, sizeof(*all) * (size_t)(f->nlocked + n + 1));
	struct wire *d = wire_object(), *names = wire_set_array(d, "locked");
	int kept = f->unlocked ? 0 : f->nlocked, nall = kept, rc;

	for (int i = 0; i < kept; i++)
		all[i] = f->locked[i];
	for (int i = 0; i < n; i++)
		if (!list[i].locked && !(kept && is_noted(f, &list[i])))
			all[nall++] = list[i];
	for (int i = 0; i < nall; i++) {
		struct wire *o = wire_add_object(names);
		wire_set_str(o, "user", all[i].user);
		wire_set_str(o, "host", all[i].host);
	}
	rc = jn_write(f, "accounts", "events", d, true, err);
	if (rc < 0)
		return rc;
	f->locked = all;
	f->nlocked = nall;
	f->unlocked = false;
	return 0;
}

void accounts_replay(struct flip *f, const struct wire *d)
{
	const struct wire *names = wire_get(d, "locked");

	f->unlocked = false;
	f->nlocked = 0;
	f->locked = arena_alloc(f->arena, sizeof(*f->locked) * (wire_len(names) + 1));
	for (size_t i = 0; i < wire_len(names); i++) {
		struct facts_account *a = &f->locked[f->nlocked];
		const char *user = wire_get_str(wire_at(names, i), "user");
		const char *host = wire_get_str(wire_at(names, i), "host");

		if (!user || !host)
			continue;
		*a = (struct facts_account){0};
		str_copy(a->user, sizeof(a->user), user);
		str_copy(a->host, sizeof(a->host), host);
		f->nlocked++;
	}
}

/* Those noted, as entries: the configuration may be another by now. */
static void noted_names(struct flip *f, struct conf_list *ret)
{
	const char **names = arena_alloc(f->arena, sizeof(*names) * (size_t)(f->nlocked + 1));

	for (int i = 0; i < f->nlocked; i++) {
		struct strbuf b = {0};
		strbuf_addf(&b, "%s@%s", f->locked[i].user, f->locked[i].host);
		names[i] = arena_strdup(f->arena, strbuf_str(&b));
		strbuf_free(&b);
	}
	*ret = (struct conf_list){.n = f->nlocked, .v = names};
}

/* Whether those that the flip has noted are all as they should be by now; one that is gone is. */
static int MAY_WAIT prove(struct flip *f, bool locked, struct err *err)
{
	struct facts_account *list = NULL;
	struct conf_list names;
	int n = 0, rc;

	noted_names(f, &names);
	rc = look(f, &names, &list, &n, err);
	for (int i = 0; rc == 0 && i < n; i++)
		if (list[i].locked != locked)
			return err_set(err, -EIO, "%s: account %s@%s is %s", f->old_side.server->conf->name,
				list[i].user, list[i].host, locked ? "not locked" : "still locked");
	return rc;
}

int MAY_WAIT accounts_lock(struct flip *f, struct err *err)
{
	struct facts_account *list = NULL;
	bool fresh = false;
	int n = 0, rc = 0;

	if (!f->policy.lock_accounts.n)
		return 0;
	rc = look(f, &f->policy.lock_accounts, &list, &n, err);
	f->shut = list;
	f->nshut = n;
	for (int i = 0; rc == 0 && i < n; i++)
		fresh = fresh || !list[i].locked;
	if (rc < 0 || !fresh)
		return rc;
	rc = note(f, list, n, err);
	if (rc == 0)
		rc = flip_rc(node_lock_accounts(f->old_side.act, f->locked, f->nlocked, true,
				     flip_deadline(ROUND_TRIP_MS), err),
			err);
	return rc < 0 ? rc : prove(f, true, err);
}

bool accounts_shut(const struct flip *f, const char *user)
{
	bool any = false;

	for (int i = 0; i < f->nbypass; i++) {
		bool shut = false;

		if (strcmp(f->bypass[i].user, user) != 0)
			continue;
		for (int k = 0; k < f->nshut && !shut; k++)
			shut = !strcmp(f->shut[k].user, user) && !strcmp(f->shut[k].host, f->bypass[i].host);
		if (!shut)
			return false;
		any = true;
	}
	return any;
}

int MAY_WAIT accounts_unlock(struct flip *f, struct err *err)
{
	int rc;

	if (!f->nlocked || f->unlocked)
		return 0;
	rc = sess_open(f, &f->old_side, SESSION_ACT, flip_deadline(ROUND_TRIP_MS), err);
	if (rc == 0)
		rc = flip_rc(node_lock_accounts(f->old_side.act, f->locked, f->nlocked, false,
				     flip_deadline(ROUND_TRIP_MS), err),
			err);
	if (rc == 0)
		rc = prove(f, false, err);
	if (rc < 0)
		return rc;
	f->unlocked = true;
	f->nshut = 0;
	(void)!jn_write(f, "unlocked", "", NULL, false, NULL);
	return 0;
}

void MAY_WAIT accounts_unlock_patiently(struct flip *f)
{
	int64_t end = flip_deadline(PATIENCE_MS);
	struct err err = {0};

	while (accounts_unlock(f, &err) < 0) {
		if (clock_us() > end || f->hasty || fiber_sleep_ms(TRY_AGAIN_MS) < 0) {
			flip_warn(f, "accounts of %s could not be unlocked: %s",
				f->old_side.server->conf->name, err_text(&err));
			return;
		}
		err_clear(&err);
	}
}

/* As many to a warning as it holds, with the statement that unlocks them. */
void accounts_tell_left(struct flip *f)
{
	for (int i = 0, n; !f->unlocked && i < f->nlocked; i += n) {
		struct strbuf text = {0};

		for (n = 0; n == 0 || (i + n < f->nlocked && text.len < TOLD_MOST); n++) {
			strbuf_free(&text);
			node_accounts_text(f->old_side.server->node, &f->locked[i], n + 1, false, &text);
		}
		if (text.len >= TOLD_MOST && n > 1) {
			strbuf_free(&text);
			node_accounts_text(f->old_side.server->node, &f->locked[i], --n, false, &text);
		}
		flip_warn(f, "%d accounts may still be locked on %s; there: %s", n,
			f->old_side.server->conf->name, strbuf_str(&text));
		strbuf_free(&text);
	}
}
