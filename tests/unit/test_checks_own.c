/* test_checks_own: the judge of flipd's own account and of the one that replicates. */
#include "tests/unit/preflight_pair.h"

#define CHANGE(name) static void name(struct pair *p)

CHANGE(account_anonymous)
{
	str_copy(p->new->current_user, sizeof(p->new->current_user), "@localhost");
}

CHANGE(account_other)
{
	str_copy(p->old->current_user, sizeof(p->old->current_user), "flipd2@%");
}

CHANGE(account_hidden)
{
	p->old->current_user[0] = '\0';
}

static struct facts_own *own_account(struct facts *f)
{
	static struct facts_own own[2];

	own[0] = (struct facts_own){.user = "flipd", .host = "%", .expires_s = INT64_MAX};
	own[1] = (struct facts_own){.user = "repl", .host = "10.1.%", .expires_s = INT64_MAX};
	f->own = own;
	f->nown = 2;
	return own;
}

CHANGE(own_good)
{
	own_account(p->new);
}

CHANGE(own_expires)
{
	own_account(p->new)[0].expires_s = 600;
}

CHANGE(own_expires_later)
{
	own_account(p->new)[0].expires_s = 30 * 86400;
}

CHANGE(own_expired)
{
	own_account(p->new)[1].expires_s = 0;
}

CHANGE(own_locked)
{
	own_account(p->old)[1].locked = true;
}

CHANGE(own_limited)
{
	own_account(p->old)[0].max_updates = 3000;
}

CHANGE(own_missing)
{
	own_account(p->new);
	p->new->nown = 1;
}

static const struct pair_case cases[] = {
	{"own_accounts", account_anonymous, CHECK_REFUSE, 'n', "takes it for '@localhost'", "DROP USER"},
	{"own_accounts", account_other, CHECK_REFUSE, 'o', "takes it for 'flipd2@%'", "create 'flipd'"},
	{"own_accounts", account_hidden, CHECK_SKIP, 'o', "did not show", NULL},
	{"own_accounts", own_good, CHECK_OK, '-', "logged in as", NULL},
	{"own_accounts", own_expires, CHECK_WARN, 'n', "'flipd'@'%' expires in 10 min",
		"PASSWORD EXPIRE NEVER"},
	{"own_accounts", own_expires_later, CHECK_OK, '-', "logged in as", NULL},
	{"own_accounts", own_expired, CHECK_WARN, 'n', "'repl'@'10.1.%' has expired", "without a way back"},
	{"own_accounts", own_locked, CHECK_WARN, 'o', "'repl'@'10.1.%' is locked", "ACCOUNT UNLOCK"},
	{"own_accounts", own_limited, CHECK_WARN, 'o', "3000 updates", "MAX_UPDATES_PER_HOUR 0"},
	{"own_accounts", own_missing, CHECK_WARN, 'n', "has no account 'repl'", "flipctl grants"},
};

static void test_own_accounts(void **state)
{
	(void)state;
	pair_run_cases(cases, COUNT_OF(cases));
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_own_accounts)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
