/* node_row: what keeps a second flip away (the named lock, the flip's row), and what flipd writes: heartbeat,
 * probe. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "lib/provider/node_priv.h"

/* --- the named lock --- */

enum act node_lock_take(struct session *s, int64_t deadline_us, uint64_t *ret_holder, struct err *err)
{
	struct db_result *r CLEANUP(db_result_freep) = NULL;
	struct dialect_ctx ctx = session_ctx(s);
	struct strbuf sql = {0};

	s->node->dialect->lock_take(&ctx, &sql);
	enum act act = node_ask(s, &sql, "taking the cluster's lock", deadline_us, &r, err);
	if (act != ACT_DONE)
		return act;
	uint64_t holder = (uint64_t)db_get_int(r, 0, "holder", 0);
	if (ret_holder)
		*ret_holder = holder;
	if (db_get_int(r, 0, "taken", 0) == 1 && holder == s->mark.id)
		return ACT_DONE;
	return node_refuse(s, -EBUSY, err, "taking the cluster's lock %s: session %" PRIu64 " holds it",
		ctx.lock, holder);
}

enum act node_lock_holder(struct session *s, int64_t deadline_us, uint64_t *ret_holder, struct err *err)
{
	struct db_result *r CLEANUP(db_result_freep) = NULL;
	struct dialect_ctx ctx = session_ctx(s);
	struct strbuf sql = {0};

	s->node->dialect->lock_holder(&ctx, &sql);
	enum act act = node_ask(s, &sql, "asking who holds the cluster's lock", deadline_us, &r, err);
	if (act == ACT_DONE)
		*ret_holder = (uint64_t)db_get_int(r, 0, "holder", 0);
	return act;
}

/* NULL: nobody had it; 0: another has it, which is nothing that we could release. */
enum act node_lock_release(struct session *s, int64_t deadline_us, struct err *err)
{
	struct db_result *r CLEANUP(db_result_freep) = NULL;
	struct dialect_ctx ctx = session_ctx(s);
	struct strbuf sql = {0};

	s->node->dialect->lock_release(&ctx, &sql);
	enum act act = node_ask(s, &sql, "releasing the cluster's lock", deadline_us, &r, err);
	if (act != ACT_DONE)
		return act;
	const char *released = db_get(r, 0, "released");
	if (released && str_eq(released, "0"))
		return node_refuse(s, -EPERM, err,
			"releasing the cluster's lock %s: another session holds it", ctx.lock);
	return ACT_DONE;
}

/* --- the flip's row --- */

/* Rows that a guarded statement changed: the guard held it back where there are none. */
static uint64_t rows_changed(const struct db_result *r)
{
	return r ? r->affected : 0;
}

enum act node_row_write(struct session *s, const struct node_row *row, int64_t deadline_us, struct err *err)
{
	struct db_result *r CLEANUP(db_result_freep) = NULL;
	struct dialect_ctx ctx = session_ctx(s);
	struct strbuf sql = {0};

	s->node->dialect->row_write(&ctx, row, &sql);
	enum act act = node_ask(s, &sql, "writing the flip's row", deadline_us, &r, err);
	if (act != ACT_DONE || rows_changed(r) > 0)
		return act;
	return node_refuse(s, -EROFS, err,
		"writing the flip's row: the server is closed (read_only), nothing was written");
}

enum act node_row_read(
	struct session *s, const char *id, int64_t deadline_us, struct node_row *ret, struct err *err)
{
	struct db_result *r CLEANUP(db_result_freep) = NULL;
	struct dialect_ctx ctx = session_ctx(s);
	struct strbuf sql = {0};

	s->node->dialect->row_read(&ctx, id, &sql);
	enum act act = node_ask(s, &sql, "reading the flip's row", deadline_us, &r, err);
	if (act != ACT_DONE)
		return act;
	if (s->node->dialect->read_row(r, ret) < 0)
		return node_refuse(s, -ENOENT, err, "reading the flip's row: there is none%s%s",
			id ? " with id " : "", id ? id : "");
	return ACT_DONE;
}

/* --- heartbeat, probe --- */

enum act node_heartbeat(
	struct session *s, uint64_t lock_session, int64_t deadline_us, bool *ret_written, struct err *err)
{
	struct db_result *r CLEANUP(db_result_freep) = NULL;
	struct dialect_ctx ctx = session_ctx(s);
	struct strbuf sql = {0};

	s->node->dialect->heartbeat(&ctx, lock_session, &sql);
	enum act act = node_ask(s, &sql, "writing the heartbeat", deadline_us, &r, err);
	if (act == ACT_DONE && ret_written)
		*ret_written = rows_changed(r) > 0;
	return act;
}

enum act node_probe_write(struct session *s, uint64_t seq, int64_t deadline_us, struct err *err)
{
	struct dialect_ctx ctx = session_ctx(s);
	struct strbuf sql = {0};

	s->node->dialect->probe_write(&ctx, seq, &sql);
	return node_tell(s, &sql, "writing the probe's row", deadline_us, err);
}

enum act node_probe_try(struct session *s, int64_t deadline_us, struct err *err)
{
	struct dialect_ctx ctx = session_ctx(s);
	struct strbuf sql = {0};

	s->node->dialect->probe_try(&ctx, &sql);
	return node_tell(s, &sql, "trying to write the probe's row", deadline_us, err);
}

/* --- schema --- */

/* Looks first: CREATE ... IF NOT EXISTS goes to the binlog also where it changes nothing. */
enum act node_prepare(struct session *s, int64_t deadline_us, struct err *err)
{
	struct db_result *r CLEANUP(db_result_freep) = NULL;
	struct dialect_ctx ctx = session_ctx(s);
	struct strbuf sql = {0};

	s->node->dialect->prepare_look(&ctx, &sql);
	enum act act = node_ask(s, &sql, "looking for flipd's tables", deadline_us, &r, err);
	if (act != ACT_DONE)
		return act;
	if (db_get_int(r, 0, "found", 0) == 3)
		return ACT_DONE;
	if (db_get_int(r, 0, "writable", 0) != 1)
		return node_refuse(
			s, -EROFS, err, "creating schema %s: the server is closed (read_only)", ctx.schema);
	s->node->dialect->prepare(&ctx, "; ", &sql);
	return node_tell(s, &sql, "creating flipd's schema and tables", deadline_us, err);
}

void node_prepare_text(const struct node *n, struct strbuf *out)
{
	struct dialect_ctx ctx = node_ctx(n);

	n->dialect->prepare(&ctx, ";\n", out);
}
