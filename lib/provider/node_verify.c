/* node_verify: what a server holds, to be compared with the other side. */
#include <errno.h>
#include <stdlib.h>

#include "lib/provider/node_priv.h"

enum act node_list_tables(struct session *s, struct arena *a, int64_t deadline_us, const char ***ret,
	int *ret_n, struct err *err)
{
	struct db_result *r CLEANUP(db_result_freep) = NULL;
	struct dialect_ctx ctx = session_ctx(s);
	struct strbuf sql = {0};
	const char **list;

	s->node->dialect->tables(&ctx, &sql);
	enum act act = node_ask(s, &sql, "listing the tables", deadline_us, &r, err);
	if (act != ACT_DONE)
		return act;
	list = arena_alloc(a, sizeof(*list) * (size_t)(r->rows + 1));
	for (int i = 0; i < r->rows; i++)
		list[i] = arena_strdup(a, db_get(r, i, "name"));
	*ret = list;
	*ret_n = r->rows;
	return ACT_DONE;
}

static enum act MAY_WAIT ask_table(struct session *s, const char *table, enum dialect_value what,
	int64_t limit_ms, int64_t deadline_us, struct db_result **ret, struct err *err)
{
	struct dialect_ctx ctx = session_ctx(s);
	struct strbuf sql = {0};
	struct err e = {0};

	s->node->dialect->table_value(&ctx, table, what, limit_ms, &sql);
	enum act act = node_ask(s, &sql, "reading a table", deadline_us, ret, &e);
	if (act != ACT_DONE) {
		err_wrap(&e, "table %s", table);
		node_pass_err(err, &e);
	}
	return act;
}

void node_table_value_text(
	const struct node *n, const char *table, bool checksum, int64_t limit_ms, struct strbuf *out)
{
	struct dialect_ctx ctx = node_ctx(n);

	n->dialect->table_value(&ctx, table, checksum ? DIALECT_CHECKSUM : DIALECT_COUNT, limit_ms, out);
}

enum act node_table_value(struct session *s, const char *table, bool checksum, int64_t limit_ms,
	int64_t deadline_us, uint64_t *ret, struct err *err)
{
	struct db_result *r CLEANUP(db_result_freep) = NULL;
	enum act act = ask_table(
		s, table, checksum ? DIALECT_CHECKSUM : DIALECT_COUNT, limit_ms, deadline_us, &r, err);
	const char *value;

	if (act != ACT_DONE)
		return act;
	value = db_get(r, 0, checksum ? "Checksum" : "value");
	if (!value) /* CHECKSUM TABLE answers NULL for a table that is not there */
		return node_refuse(s, -ENOENT, err, "table %s: it is not there", table);
	*ret = strtoull(value, NULL, 10);
	return ACT_DONE;
}

enum act node_table_readable(struct session *s, const char *table, int64_t deadline_us, struct err *err)
{
	return ask_table(s, table, DIALECT_READABLE, 0, deadline_us, NULL, err);
}
