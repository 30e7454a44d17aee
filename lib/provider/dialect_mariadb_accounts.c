/*
 * dialect_mariadb_accounts: accounts that cannot log in while a flip lasts. ACCOUNT LOCK came with 10.4.2.
 * Measured on 10.11.19: it takes CREATE USER and nothing less; goes through read_only; stops new connections
 * (4151) and leaves those that there are; SET STATEMENT sql_log_bin=0 keeps it out of the binlog and the GTID
 * state; behind FLUSH TABLES WITH READ LOCK it runs out of its time (1969).
 */
#include <string.h>

#include "lib/base/str.h"
#include "lib/io/db.h"
#include "lib/model/accounts.h"
#include "lib/model/grants.h"
#include "lib/provider/dialect.h"

/* Letter case counts in users, whatever the collation of the session. */
void mariadb_accounts(const struct dialect_ctx *ctx, const struct conf_list *entries, struct strbuf *out)
{
	(void)ctx;
	strbuf_add(out,
		"SELECT User AS account_user, Host AS account_host, "
		"COALESCE(JSON_VALUE(Priv, '$.account_locked'), 0) AS locked FROM mysql.global_priv WHERE "
		"COALESCE(JSON_VALUE(Priv, '$.is_role'), 0) <> 1 AND CONCAT(User, '@', Host) <> "
		"CURRENT_USER() AND BINARY User IN (''");
	for (int i = 0; i < entries->n; i++) {
		struct account_name name;
		if (account_name_parse(entries->v[i], &name) < 0)
			continue;
		strbuf_add(out, ", ");
		db_quote(out, name.user);
	}
	strbuf_add(out, ") ORDER BY 1, 2");
}

void mariadb_read_account(const struct db_result *r, int row, struct facts_account *ret)
{
	dialect_copy(ret->user, sizeof(ret->user), r, row, "account_user");
	dialect_copy(ret->host, sizeof(ret->host), r, row, "account_host");
	ret->locked = db_get_int(r, row, "locked", 0) == 1;
}

/*
 * One that is not there any more is a warning, not an error that would keep the next from its turn. Names,
 * not strings: the grammar takes no hexadecimal literal here, which is how a string with a backslash is
 * quoted (1064); and an operator may copy the statement into a session of any sql_mode.
 */
void mariadb_accounts_lock(const struct dialect_ctx *ctx, const struct facts_account *accounts, int n,
	bool lock, struct strbuf *out)
{
	(void)ctx;
	strbuf_add(out, "SET STATEMENT max_statement_time=1.000, lock_wait_timeout=1, sql_log_bin=0 FOR "
			"ALTER USER IF EXISTS ");
	for (int i = 0; i < n; i++) {
		strbuf_add(out, i ? ", " : "");
		db_quote_name(out, accounts[i].user);
		strbuf_add(out, "@");
		db_quote_name(out, accounts[i].host);
	}
	strbuf_addf(out, " ACCOUNT %s", lock ? "LOCK" : "UNLOCK");
}

/* IDENTIFIED BY takes nothing but a quoted string; flipd's sessions read a backslash as an escape. */
void mariadb_create_account(const struct dialect_ctx *ctx, enum grants_use use, const struct conf_account *a,
	bool mask, const char *separator, struct strbuf *out)
{
	const struct grants_least *least = grants_least(use);

	strbuf_add(out, "CREATE USER IF NOT EXISTS ");
	db_quote_name(out, a->user);
	strbuf_add(out, "@'%' IDENTIFIED BY ");
	db_quote_text(out, mask ? "***" : a->password);
	strbuf_addf(out, "%sGRANT %s ON ", separator, least->privileges);
	if (least->table) {
		db_quote_name(out, ctx->schema);
		strbuf_addf(out, ".`%s`", least->table);
	} else {
		strbuf_add(out, "*.*");
	}
	strbuf_add(out, " TO ");
	db_quote_name(out, a->user);
	strbuf_add(out, "@'%'");
	if (strchr(separator, '\n'))
		strbuf_add(out, separator);
}
