/*
 * grants: who may do what: the one table of privileges, from which the GRANT statements are made and by which
 * an account is judged; and flipd's own tables, without which a privilege on one of them could not be
 * granted.
 *
 * Measured on MariaDB 10.11.19, one statement and one privilege at a time.
 */
#include <errno.h>
#include <string.h>

#include "lib/base/str.h"
#include "lib/model/grants.h"

static const struct grants_need needs[] = {
	{.privilege = "READ ONLY ADMIN",
		.on = "*.*",
		.super_until = 101100,
		.why = "SET GLOBAL read_only (error 1227 READ_ONLY ADMIN without it; SUPER did before "
		       "10.11)"},
	{.privilege = "CONNECTION ADMIN",
		.on = "*.*",
		.super_does = true,
		.why = "KILL of other users' sessions (1095 without it), the spare connection"},
	{.privilege = "PROCESS", .on = "*.*", .why = "the sessions of others, INNODB_TRX"},
	{.privilege = "RELOAD", .on = "*.*", .why = "FLUSH LOCAL TABLES, RESET SLAVE"},
	{.privilege = "REPLICATION SLAVE ADMIN",
		.on = "*.*",
		.super_does = true,
		.why = "CHANGE MASTER, START and STOP SLAVE, SET GLOBAL gtid_slave_pos"},
	{.privilege = "REPLICATION MASTER ADMIN",
		.on = "*.*",
		.super_does = true,
		.why = "SET GLOBAL rpl_semi_sync_master_enabled"},
	{.privilege = "BINLOG MONITOR", .on = "*.*", .super_does = true, .why = "SHOW MASTER STATUS"},
	{.privilege = "SLAVE MONITOR", .on = "*.*", .super_does = true, .why = "SHOW ALL SLAVES STATUS"},
	{.privilege = "BINLOG ADMIN", .on = "*.*", .super_does = true, .why = "SET SESSION sql_log_bin=0"},
	{.privilege = "SUPER",
		.on = "*.*",
		.when = GRANTS_EVENTS,
		.why = "SET GLOBAL event_scheduler takes nothing less (1227 SUPER)"},
	{.privilege = "EVENT", .on = "*.*", .when = GRANTS_EVENTS, .why = "ALTER EVENT"},
	{.privilege = "SET USER",
		.on = "*.*",
		.when = GRANTS_EVENTS,
		.super_does = true,
		.why = "ALTER DEFINER=... EVENT keeps the definer (E9)"},
	{.privilege = "CREATE", .why = "the schema and its tables where they are missing"},
	{.privilege = "SELECT", .why = "heartbeat and the flip's row"},
	{.privilege = "INSERT", .why = "heartbeat and the flip's row"},
	{.privilege = "UPDATE", .why = "heartbeat and the flip's row"},
	{.privilege = "DELETE", .why = "rows of past flips"},
	{.privilege = "SELECT",
		.on = "mysql.global_priv",
		.when = GRANTS_LOOK,
		.for_locks = true,
		.why = "which accounts bypass read_only, and which are locked"},
	{.privilege = "SELECT", .on = "mysql.roles_mapping", .when = GRANTS_LOOK, .why = "the same by roles"},
	{.privilege = "SELECT",
		.on = "mysql.event",
		.when = GRANTS_LOOK,
		.why = "which events are enabled, and are the same on both sides"},
	/* The least that makes columns visible. What it allows besides: a foreign key of flipd's own schema
	 * to any table (1142 without it). No data can be read with either. */
	{.privilege = "REFERENCES",
		.on = "*.*",
		.when = GRANTS_LOOK,
		.why = "whether both sides have the same tables; shows names and types, no data"},
	{.privilege = "SHOW VIEW", .on = "*.*", .when = GRANTS_LOOK, .why = "the same of views"},
	{.privilege = "SELECT", .on = "mysql.proc", .when = GRANTS_LOOK, .why = "the same of routines"},
	{.privilege = "SELECT", .on = "mysql.db", .when = GRANTS_LOOK, .why = "the same of grants"},
	{.privilege = "SELECT", .on = "mysql.tables_priv", .when = GRANTS_LOOK, .why = "the same of grants"},
	{.privilege = "SELECT", .on = "mysql.columns_priv", .when = GRANTS_LOOK, .why = "the same of grants"},
	{.privilege = "SELECT", .on = "mysql.procs_priv", .when = GRANTS_LOOK, .why = "the same of grants"},
	/* Nothing less does it but UPDATE on mysql.global_priv, which is more (1227 CREATE USER without). */
	{.privilege = "CREATE USER",
		.on = "*.*",
		.when = GRANTS_LOCKS,
		.for_locks = true,
		.why = "ALTER USER ... ACCOUNT LOCK; it could change any account's password, root's too"},
};

const struct grants_need *grants_needs(int *ret_n)
{
	*ret_n = (int)COUNT_OF(needs);
	return needs;
}

/* --- tables --- */

static const char *const tables[] = {
	"heartbeat (cluster VARCHAR(64) NOT NULL PRIMARY KEY, ts DATETIME(6) NOT NULL, "
	"server_id INT UNSIGNED NOT NULL)",
	"flips (id VARCHAR(64) NOT NULL PRIMARY KEY, cluster VARCHAR(64) NOT NULL, host VARCHAR(128) NOT "
	"NULL, "
	"journal VARCHAR(64) NOT NULL, direction VARCHAR(16) NOT NULL, state VARCHAR(24) NOT NULL, "
	"marker BIGINT UNSIGNED NOT NULL, changed_at DATETIME(6) NOT NULL, KEY cluster_state (cluster, "
	"state))",
	"probe (cluster VARCHAR(64) NOT NULL, slot VARCHAR(64) NOT NULL, seq BIGINT UNSIGNED NOT NULL, "
	"at DATETIME(6) NOT NULL, PRIMARY KEY (cluster, slot))",
};

static void add_name(struct strbuf *out, const char *name)
{
	strbuf_add(out, "`");
	for (; *name; name++)
		strbuf_addn(out, *name == '`' ? "``" : name, *name == '`' ? 2 : 1);
	strbuf_add(out, "`");
}

void grants_schema_text(const char *schema, const char *separator, struct strbuf *out)
{
	strbuf_add(out, "CREATE DATABASE IF NOT EXISTS ");
	add_name(out, schema);
	strbuf_add(out, separator);
	for (size_t i = 0; i < COUNT_OF(tables); i++) {
		strbuf_add(out, "CREATE TABLE IF NOT EXISTS ");
		add_name(out, schema);
		strbuf_addf(out, ".%s ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin", tables[i]);
		/* The last statement of a packet takes no separator; a line of text takes its end. */
		if (i + 1 < COUNT_OF(tables) || strchr(separator, '\n'))
			strbuf_add(out, separator);
	}
}

/* --- accounts --- */

#define OWN_SCHEMA "flipd"

const struct grants_least *grants_least(enum grants_use use)
{
	static const struct grants_least least[] = {
		[GRANTS_FOR_PROBE] = {"SELECT, INSERT, UPDATE", "probe"},
		[GRANTS_FOR_HEARTBEAT] = {"SELECT, INSERT, UPDATE", "heartbeat"},
		[GRANTS_FOR_REPLICATION] = {"REPLICATION SLAVE", NULL},
	};

	return &least[use];
}

static void add_user(struct strbuf *out, const char *user)
{
	strbuf_addf(out, "CREATE USER IF NOT EXISTS '%s'@'%%' IDENTIFIED BY 'PASSWORD_OF_%s';\n", user, user);
}

static bool same_grant(const struct grants_need *a, const struct grants_need *b)
{
	return str_eq(a->on ? a->on : "", b->on ? b->on : "") && a->when == b->when;
}

/* Neighbours in the table with the same object and purpose become one GRANT. */
static void add_own_grants(struct strbuf *out)
{
	for (size_t i = 0; i < COUNT_OF(needs);) {
		const struct grants_need *first = &needs[i];
		if (first->when ==
			GRANTS_LOCKS) { /* asked for by the check `privileges` where it is needed */
			i++;
			continue;
		}
		strbuf_addf(out, "GRANT %s", first->privilege);
		for (i++; i < COUNT_OF(needs) && same_grant(first, &needs[i]); i++)
			strbuf_addf(out, ", %s", needs[i].privilege);
		strbuf_addf(out, " ON %s TO 'flipd'@'%%';\n", first->on ? first->on : "`" OWN_SCHEMA "`.*");
	}
}

static void mariadb_text(struct strbuf *out)
{
	add_user(out, "flipd");
	add_own_grants(out);
	/* The server grants nothing on a table that is not there (1146). */
	grants_schema_text(OWN_SCHEMA, ";\n", out);
	const struct grants_least *probe = grants_least(GRANTS_FOR_PROBE);
	add_user(out, "flipd_probe");
	strbuf_addf(out, "GRANT %s ON `" OWN_SCHEMA "`.`%s` TO 'flipd_probe'@'%%';\n", probe->privileges,
		probe->table);
	add_user(out, "repl");
	strbuf_addf(
		out, "GRANT %s ON *.* TO 'repl'@'%%';\n", grants_least(GRANTS_FOR_REPLICATION)->privileges);
}

static const struct {
	const char *flavor;
	void (*text)(struct strbuf *);
} flavors[] = {
	{"mariadb", mariadb_text},
};

int grants_text(const char *flavor, struct strbuf *ret)
{
	for (size_t i = 0; i < COUNT_OF(flavors); i++) {
		if (!str_eq(flavor, flavors[i].flavor))
			continue;
		flavors[i].text(ret);
		return 0;
	}
	return -EINVAL;
}
