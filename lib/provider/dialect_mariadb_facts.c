/*
 * dialect_mariadb_facts: the packets that ask what a server is. A result set is known by the name of its
 * first column, so that parts which a server or an account does not give may be absent.
 * dialect_mariadb_read.c reads the answers.
 */
#include "lib/base/str.h"
#include "lib/io/db.h"
#include "lib/provider/dialect.h"

/* System variables alone: no scan of anything. The file position is asked first, so that it is never the
 * later one. */
static void add_core(const struct dialect_ctx *ctx, struct strbuf *out)
{
	/* binlog_expire_logs_seconds came with 10.6.1 */
	const char *expire = ctx->version >= 100601 ? "@@global.binlog_expire_logs_seconds"
						    : "@@global.expire_logs_days * 86400";

	strbuf_addf(out,
		"SHOW MASTER STATUS; SELECT CAST(UNIX_TIMESTAMP(NOW(6)) * 1000 AS SIGNED) AS wall_ms, "
		"CURRENT_USER() AS account, @@version AS version, @@hostname AS hostname, @@port AS port, "
		"@@global.server_id AS server_id, @@global.read_only AS read_only, @@log_bin AS log_bin, "
		"@@log_slave_updates AS log_slave_updates, @@global.gtid_strict_mode AS gtid_strict_mode, "
		"@@global.binlog_format AS binlog_format, @@global.binlog_row_image AS binlog_row_image, "
		"@@global.gtid_domain_id AS gtid_domain_id, CAST(%s AS SIGNED) AS expire_s, "
		"@@global.sync_binlog AS sync_binlog, @@global.innodb_flush_log_at_trx_commit AS flush_log, "
		"@@global.gtid_binlog_pos AS binlog_pos, @@global.gtid_binlog_state AS binlog_state, "
		"@@global.gtid_slave_pos AS slave_pos, @@global.gtid_current_pos AS current_pos, "
		"@@global.rpl_semi_sync_master_enabled AS semi_master, "
		"@@global.rpl_semi_sync_slave_enabled AS semi_slave, "
		"@@global.rpl_semi_sync_master_timeout AS semi_timeout_ms, "
		"@@global.event_scheduler AS event_scheduler; "
		"SHOW ALL SLAVES STATUS; SHOW GLOBAL STATUS WHERE Variable_name IN "
		"('Uptime', 'Slaves_connected', 'Rpl_semi_sync_master_clients')",
		expire);
}

static void add_schema_look(const struct dialect_ctx *ctx, struct strbuf *out)
{
	strbuf_add(
		out, "; SELECT COUNT(*) AS schema_tables FROM information_schema.TABLES WHERE TABLE_SCHEMA=");
	db_quote(out, ctx->schema);
	strbuf_add(out, " AND TABLE_NAME IN ('heartbeat', 'flips', 'probe')");
}

static void add_own_tables(const struct dialect_ctx *ctx, struct strbuf *out)
{
	strbuf_add(out, "; SELECT CAST(UNIX_TIMESTAMP(ts) * 1000 AS SIGNED) AS heartbeat_ms FROM ");
	db_quote_name(out, ctx->schema);
	strbuf_add(out, ".heartbeat WHERE cluster=");
	db_quote(out, ctx->cluster);
	strbuf_add(out, "; SELECT id AS flip_id, host, journal, direction, state FROM ");
	db_quote_name(out, ctx->schema);
	strbuf_add(out, ".flips WHERE cluster=");
	db_quote(out, ctx->cluster);
	strbuf_add(out, " AND state <> 'closed' ORDER BY changed_at DESC, id DESC LIMIT 1");
}

void mariadb_sessions(const struct dialect_ctx *ctx, struct strbuf *out)
{
	(void)ctx;
	strbuf_add(out, "SELECT p.ID AS process_id, p.USER AS user, p.HOST AS host, p.DB AS db, p.COMMAND AS "
			"command, "
			"p.STATE AS state, LEFT(p.INFO, 255) AS info, CAST(p.TIME_MS AS SIGNED) AS time_ms, "
			"COALESCE(t.trx_rows_modified, 0) AS trx_rows, COALESCE(TIMESTAMPDIFF(MICROSECOND, "
			"t.trx_started, "
			"NOW(6)) DIV 1000, -1) AS trx_age_ms, COALESCE(p.INFO LIKE 'LOCK TABLE%' OR "
			"p.INFO LIKE 'FLUSH TABLE%' OR p.INFO LIKE 'ALTER %', 0) AS holds_tables "
			"FROM information_schema.PROCESSLIST p LEFT JOIN information_schema.INNODB_TRX t "
			"ON t.trx_mysql_thread_id = p.ID AND p.ID <> 0");
}

/*
 * Bits of mysql.global_priv: SUPER 1<<15, READ_ONLY ADMIN 1<<33. From 10.11 on SUPER alone no longer walks
 * through read_only, but an account last granted by an older version has it from SUPER (measured on 10.11.19:
 * version_id below 101100, or none, shows READ_ONLY ADMIN in USER_PRIVILEGES).
 */
static void add_bypass_condition(const struct dialect_ctx *ctx, struct strbuf *out)
{
	const char *access = "COALESCE(CAST(JSON_VALUE(g.Priv, '$.access') AS UNSIGNED), 0)";

	strbuf_addf(out, "(%s & (1 << 33) OR (%s & (1 << 15)", access, access);
	if (ctx->version >= 101100)
		strbuf_add(out, " AND COALESCE(JSON_VALUE(g.Priv, '$.version_id'), 0) < 101100");
	strbuf_add(out, "))");
}

/* What may be refused to the account stands in a block of its own: refused, its result set is absent. */
static void begin_optional(struct strbuf *out)
{
	strbuf_add(out, "; BEGIN NOT ATOMIC DECLARE CONTINUE HANDLER FOR SQLEXCEPTION BEGIN END; ");
}

/* Roles count for whoever was granted them, roles within roles too. flipd's own account is left out: its
 * writes are guarded one by one. A locked account stays in: its events and routines still run. */
static void add_accounts(const struct dialect_ctx *ctx, struct strbuf *out)
{
	begin_optional(out);
	strbuf_add(out, "WITH RECURSIVE r AS (SELECT g.User AS name FROM mysql.global_priv g WHERE "
			"JSON_VALUE(g.Priv, '$.is_role') = 1 AND ");
	add_bypass_condition(ctx, out);
	strbuf_add(out, " UNION SELECT m.User FROM mysql.roles_mapping m JOIN r ON m.Role = r.name WHERE "
			"m.Host = '') "
			"SELECT g.User AS bypass_user, g.Host AS bypass_host FROM mysql.global_priv g WHERE "
			"COALESCE(JSON_VALUE(g.Priv, '$.is_role'), 0) <> 1 AND g.User <> 'mariadb.sys' AND "
			"CONCAT(g.User, '@', g.Host) <> CURRENT_USER() AND (");
	add_bypass_condition(ctx, out);
	strbuf_add(out, " OR EXISTS (SELECT 1 FROM mysql.roles_mapping m JOIN r ON m.Role = r.name "
			"WHERE m.User = g.User AND m.Host = g.Host)) ORDER BY 1, 2; END");
	begin_optional(out);
	strbuf_add(out, "SELECT COUNT(*) AS events_enabled FROM mysql.event WHERE status = 'ENABLED'; END"
			"; XA RECOVER; SHOW GLOBAL VARIABLES LIKE 'wsrep_on'");
}

void mariadb_facts(const struct dialect_ctx *ctx, unsigned what, struct strbuf *out)
{
	add_core(ctx, out);
	if (ctx->schema_seen)
		add_own_tables(ctx, out);
	else
		add_schema_look(ctx, out);
	if (ctx->origin_wanted)
		strbuf_add(out, "; SELECT GLOBAL_VALUE_ORIGIN AS origin, GLOBAL_VALUE AS value FROM "
				"information_schema.SYSTEM_VARIABLES WHERE VARIABLE_NAME='READ_ONLY'");
	if (what & FACTS_SESSIONS) {
		strbuf_add(out, "; ");
		mariadb_sessions(ctx, out);
	}
	if (what & FACTS_ACCOUNTS)
		add_accounts(ctx, out);
	if (what & FACTS_GRANTS)
		strbuf_add(out, "; SHOW GRANTS");
}

void mariadb_prove(const struct dialect_ctx *ctx, struct strbuf *out)
{
	strbuf_add(out, "SELECT @@global.read_only AS read_only, IS_USED_LOCK(");
	db_quote(out, ctx->lock);
	strbuf_add(out, ") <=> CONNECTION_ID() AS holds_lock, @@global.gtid_binlog_pos AS binlog_pos, "
			"@@global.gtid_binlog_state AS binlog_state, @@global.gtid_slave_pos AS slave_pos, "
			"@@global.gtid_current_pos AS current_pos; SHOW MASTER STATUS");
}
