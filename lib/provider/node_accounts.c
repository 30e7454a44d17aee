/* node_accounts: accounts of a server: locked for a flip and unlocked after it; created where they are
 * missing. */
#include <errno.h>
#include <stdio.h>

#include "lib/base/arena.h"
#include "lib/model/accounts.h"
#include "lib/provider/node_priv.h"

static bool is_named(const struct conf_list *entries, const struct facts_account *a)
{
	for (int i = 0; i < entries->n; i++)
		if (account_name_matches(entries->v[i], a->user, a->host))
			return true;
	return false;
}

enum act node_list_accounts(struct session *s, const struct conf_list *entries, struct arena *arena,
	int64_t deadline_us, struct facts_account **ret, int *ret_n, struct err *err)
{
	struct db_result *r CLEANUP(db_result_freep) = NULL;
	struct dialect_ctx ctx = session_ctx(s);
	struct strbuf sql = {0};
	struct facts_account *list;
	int n = 0;

	s->node->dialect->accounts(&ctx, entries, &sql);
	enum act act = node_ask(s, &sql, "looking at the accounts", deadline_us, &r, err);
	if (act != ACT_DONE)
		return act;
	list = arena_alloc(arena, sizeof(*list) * (size_t)(r->rows + 1));
	for (int i = 0; i < r->rows; i++) {
		s->node->dialect->read_account(r, i, &list[n]);
		n += is_named(entries, &list[n]);
	}
	*ret = list;
	*ret_n = n;
	return ACT_DONE;
}

enum act node_lock_accounts(struct session *s, const struct facts_account *accounts, int n, bool lock,
	int64_t deadline_us, struct err *err)
{
	struct dialect_ctx ctx = session_ctx(s);
	struct strbuf sql = {0};

	if (n == 0)
		return ACT_DONE;
	s->node->dialect->accounts_lock(&ctx, accounts, n, lock, &sql);
	return node_tell(s, &sql, lock ? "locking accounts" : "unlocking accounts", deadline_us, err);
}

void node_accounts_text(
	const struct node *n, const struct facts_account *accounts, int count, bool lock, struct strbuf *out)
{
	struct dialect_ctx ctx = node_ctx(n);

	n->dialect->accounts_lock(&ctx, accounts, count, lock, out);
}

/* Looks first: who was master when it was polled may be closed by now, and flipd's account walks through. */
enum act node_create_account(struct session *s, enum grants_use use, const struct conf_account *a,
	int64_t deadline_us, struct err *err)
{
	struct db_result *r CLEANUP(db_result_freep) = NULL;
	struct dialect_ctx ctx = session_ctx(s);
	struct strbuf sql = {0};

	s->node->dialect->prepare_look(&ctx, &sql);
	enum act act = node_ask(s, &sql, "looking whether it takes writes", deadline_us, &r, err);
	if (act != ACT_DONE)
		return act;
	if (db_get_int(r, 0, "writable", 0) != 1)
		return node_refuse(
			s, -EROFS, err, "creating the account %s: the server is closed (read_only)", a->user);
	s->node->dialect->create_account(&ctx, use, a, false, "; ", &sql);
	char what[160];

	(void)snprintf(what, sizeof(what), "creating the account %s", a->user);
	return node_tell(s, &sql, what, deadline_us, err);
}

void node_create_account_text(
	const struct node *n, enum grants_use use, const struct conf_account *a, struct strbuf *out)
{
	struct dialect_ctx ctx = node_ctx(n);

	n->dialect->create_account(&ctx, use, a, true, ";\n", out);
}
