/* node_kill: ending sessions: anybody's by number, flipd's own by all that they are known by. */
#include <errno.h>
#include <inttypes.h>

#include "lib/base/clock.h"
#include "lib/io/fiber.h"
#include "lib/provider/node_priv.h"

#define GONE_POLL_MS 5
#define AT_ONCE_MOST 200 /* keeps the statement short */

enum act node_kill(struct session *s, uint64_t id, bool query_only, int64_t deadline_us, struct err *err)
{
	struct dialect_ctx ctx = session_ctx(s);
	struct strbuf sql = {0};
	struct err e = {0};

	s->node->dialect->kill(&ctx, id, query_only, &sql);
	enum act act =
		node_tell(s, &sql, query_only ? "killing a statement" : "killing a session", deadline_us, &e);
	if (act == ACT_REFUSED && e.sql_errno == DIALECT_ER_NO_SUCH_THREAD)
		return ACT_DONE;
	if (act != ACT_DONE)
		node_pass_err(err, &e);
	return act;
}

enum act node_kill_many(struct session *s, const uint64_t *ids, int n, int64_t deadline_us, struct err *err)
{
	struct dialect_ctx ctx = session_ctx(s);
	enum act act = ACT_DONE;

	for (int i = 0; i < n && act == ACT_DONE; i += AT_ONCE_MOST) {
		struct strbuf sql = {0};
		s->node->dialect->kill_many(&ctx, ids + i, n - i < AT_ONCE_MOST ? n - i : AT_ONCE_MOST, &sql);
		act = node_tell(s, &sql, "killing sessions", deadline_us, err);
	}
	return act;
}

/* Whether a session with the mark's number and user is in the process list; refused where it must not be
 * killed. */
static enum act MAY_WAIT ask_there(
	struct session *s, const struct session_mark *mark, int64_t deadline_us, bool *ret, struct err *err)
{
	struct db_result *r CLEANUP(db_result_freep) = NULL;
	struct dialect_ctx ctx = session_ctx(s);
	struct strbuf sql = {0};

	s->node->dialect->session_there(&ctx, mark->id, mark->account, &sql);
	enum act act = node_ask(s, &sql, "looking for a session", deadline_us, &r, err);
	if (act == ACT_DONE)
		*ret = db_get_int(r, 0, "there", 1) != 0;
	if (act == ACT_DONE && *ret && db_get_int(r, 0, "committing", 0) != 0)
		return node_refuse(s, -ENOSPC, err,
			"session %" PRIu64
			" is in a commit that waits for disk space: it is not killed, that "
			"would leave half of it in the binary log",
			mark->id);
	return act;
}

static enum act MAY_WAIT await_gone(
	struct session *s, const struct session_mark *mark, int64_t deadline_us, struct err *err)
{
	bool there = true;

	for (;;) {
		enum act act = ask_there(s, mark, deadline_us, &there, err);
		if (act != ACT_DONE || !there)
			return act;
		if (clock_us() + GONE_POLL_MS * 1000 >= deadline_us)
			return node_refuse(s, -ETIMEDOUT, err,
				"session %" PRIu64 " was killed but is still there", mark->id);
		if (fiber_sleep_ms(GONE_POLL_MS) < 0)
			return node_refuse(s, -ECANCELED, err,
				"session %" PRIu64 " was killed, not awaited: cancelled", mark->id);
	}
}

enum act node_kill_own(
	struct session *s, const struct session_mark *mark, int64_t deadline_us, struct err *err)
{
	bool there = false;

	if (!facts_same_server(&s->mark.server, &mark->server))
		return node_refuse(s, -EINVAL, err,
			"session %" PRIu64 " was on %s, server id %" PRIu32 ", which is not this server",
			mark->id, mark->server.hostname, mark->server.server_id);
	if (!facts_same_boot(&s->mark.server, &mark->server))
		return ACT_DONE; /* no session outlives its server */
	if (mark->id == s->mark.id)
		return node_refuse(s, -EINVAL, err, "session %" PRIu64 " cannot kill itself", mark->id);
	enum act act = ask_there(s, mark, deadline_us, &there, err);
	if (act != ACT_DONE || !there)
		return act;
	act = node_kill(s, mark->id, false, deadline_us, err);
	return act == ACT_DONE ? await_gone(s, mark, deadline_us, err) : act;
}
