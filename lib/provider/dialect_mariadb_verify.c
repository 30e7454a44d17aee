/* dialect_mariadb_verify: the statements that compare what both sides hold. */
#include <inttypes.h>
#include <string.h>

#include "lib/base/str.h"
#include "lib/io/db.h"
#include "lib/provider/dialect.h"

static void add_not_system(const struct dialect_ctx *ctx, struct strbuf *out)
{
	strbuf_add(out, " TABLE_SCHEMA NOT IN ('mysql', 'sys', 'information_schema', 'performance_schema', ");
	db_quote(out, ctx->schema);
	strbuf_add(out, ")");
}

/* The tables that the account may read; with REFERENCES or SHOW VIEW it sees more. PRIVILEGES of COLUMNS
 * counts its roles in. */
void mariadb_tables(const struct dialect_ctx *ctx, struct strbuf *out)
{
	strbuf_add(out, "SELECT CONCAT(TABLE_SCHEMA, '.', TABLE_NAME) AS name FROM information_schema.TABLES "
			"WHERE TABLE_TYPE = 'BASE TABLE' AND");
	add_not_system(ctx, out);
	strbuf_add(out, " AND CONCAT(TABLE_SCHEMA, '.', TABLE_NAME) IN (SELECT CONCAT(TABLE_SCHEMA, '.', "
			"TABLE_NAME) FROM information_schema.COLUMNS WHERE FIND_IN_SET('select', PRIVILEGES) "
			"AND");
	add_not_system(ctx, out);
	strbuf_add(out, ") ORDER BY 1");
}

/* "db.table": the first dot parts them, as in the configuration. */
static void quote_table(struct strbuf *out, const char *table)
{
	const char *dot = strchr(table, '.');
	struct strbuf db = {0};

	if (dot) {
		strbuf_addn(&db, table, (size_t)(dot - table));
		db_quote_name(out, strbuf_str(&db));
		strbuf_add(out, ".");
		strbuf_free(&db);
	}
	db_quote_name(out, dot ? dot + 1 : table);
}

void mariadb_table_value(const struct dialect_ctx *ctx, const char *table, enum dialect_value what,
	int64_t limit_ms, struct strbuf *out)
{
	(void)ctx;
	if (limit_ms > 0)
		strbuf_addf(out, "SET STATEMENT max_statement_time=%" PRId64 ".%03d FOR ", limit_ms / 1000,
			(int)(limit_ms % 1000));
	if (what == DIALECT_CHECKSUM)
		strbuf_add(out, "CHECKSUM TABLE ");
	else
		strbuf_add(out,
			what == DIALECT_COUNT ? "SELECT COUNT(*) AS value FROM " : "SELECT 1 AS value FROM ");
	quote_table(out, table);
	if (what == DIALECT_CHECKSUM)
		strbuf_add(out, " EXTENDED");
	if (what == DIALECT_READABLE)
		strbuf_add(out, " LIMIT 1");
}
