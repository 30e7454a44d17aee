/* node_repl: who a server follows: set, start, stop, forget; and the proof that old could follow new. */
#include <errno.h>
#include <inttypes.h>

#include "lib/base/clock.h"
#include "lib/io/fiber.h"
#include "lib/provider/node_priv.h"

#define TRY_POLL_MS 5

enum act node_forget_replication(struct session *s, int64_t deadline_us, struct err *err)
{
	struct dialect_ctx ctx = session_ctx(s);
	struct strbuf sql = {0};

	s->node->dialect->forget(&ctx, &sql);
	return node_tell(s, &sql, "forgetting replication", deadline_us, err);
}

enum act node_start_replication(struct session *s, int64_t deadline_us, struct err *err)
{
	struct dialect_ctx ctx = session_ctx(s);
	struct strbuf sql = {0};

	s->node->dialect->start(&ctx, &sql);
	return node_tell(s, &sql, "starting replication", deadline_us, err);
}

enum act node_stop_replication(struct session *s, int64_t deadline_us, struct err *err)
{
	struct dialect_ctx ctx = session_ctx(s);
	struct strbuf sql = {0};

	s->node->dialect->stop(&ctx, &sql);
	return node_tell(s, &sql, "stopping replication", deadline_us, err);
}

/* Without user or password the server would take the statement and fail to log in later, in its own log only.
 */
static enum act check_follow(struct session *s, const struct node_follow *f, struct err *err)
{
	if (!f->master || (!f->master->replication_host && !f->master->host))
		return node_refuse(
			s, -EINVAL, err, "following: the master has no host that other servers reach");
	if (!f->account || !f->account->user || !f->account->password) {
		enum act act =
			node_refuse(s, -EINVAL, err, "following %s: no replication account is configured",
				f->master->name ? f->master->name : "the master");
		err_hint(
			err, "set replication: {user, password_file} in defaults, the cluster or the server");
		return act;
	}
	if (!f->use_gtid && !f->file[0])
		return node_refuse(s, -EINVAL, err, "following %s: neither GTID nor a log position is given",
			f->master->name ? f->master->name : "the master");
	return ACT_DONE;
}

enum act node_follow(struct session *s, const struct node_follow *f, int64_t deadline_us, struct err *err)
{
	struct dialect_ctx ctx = session_ctx(s);
	struct strbuf sql = {0};

	if (check_follow(s, f, err) != ACT_DONE)
		return ACT_REFUSED;
	s->node->dialect->follow(&ctx, f, false, &sql);
	return node_tell(s, &sql, "following another master", deadline_us, err);
}

/* --- the way back, tried --- */

enum act node_try_reverse_remove(struct session *s, int64_t deadline_us, struct err *err)
{
	struct dialect_ctx ctx = session_ctx(s);
	struct strbuf sql = {0};
	struct err e = {0};

	s->node->dialect->try_reverse_remove(&ctx, &sql);
	enum act act = node_tell(s, &sql, "removing the connection that was tried", deadline_us, &e);
	if (act == ACT_REFUSED && e.sql_errno == DIALECT_ER_NO_CHANNEL)
		return ACT_DONE;
	if (act != ACT_DONE)
		node_pass_err(err, &e);
	return act;
}

/* One look: DONE connected, REFUSED it failed in the server's words; *ret_again: neither yet. */
static enum act MAY_WAIT look_at_try(struct session *s, int64_t deadline_us, bool *ret_again, struct err *err)
{
	struct db_result *r CLEANUP(db_result_freep) = NULL;
	struct dialect_ctx ctx = session_ctx(s);
	struct facts_channel c;
	struct strbuf sql = {0};

	*ret_again = false;
	s->node->dialect->try_reverse_state(&ctx, &sql);
	enum act act = node_ask(s, &sql, "looking at the connection that is tried", deadline_us, &r, err);
	if (act != ACT_DONE)
		return act;
	if (s->node->dialect->read_channel(r, &c) < 0)
		return node_refuse(s, -ENOENT, err, "trying the way back: the connection is gone");
	if (c.last_io_errno)
		return node_refuse(s, -ECONNREFUSED, err,
			"trying the way back to %s:%" PRIu32 ": error %" PRId64 ": %s", c.host, c.port,
			c.last_io_errno, c.last_error);
	*ret_again = !str_ieq(c.io, "Yes");
	return ACT_DONE;
}

static enum act MAY_WAIT await_try(struct session *s, int64_t deadline_us, struct err *err)
{
	bool again = true;
	enum act act = ACT_DONE;

	while (act == ACT_DONE && again) {
		act = look_at_try(s, deadline_us, &again, err);
		if (act != ACT_DONE || !again)
			break;
		if (clock_us() + TRY_POLL_MS * 1000 >= deadline_us)
			return node_refuse(s, -ETIMEDOUT, err, "trying the way back: not connected in time");
		if (fiber_sleep_ms(TRY_POLL_MS) < 0)
			return node_refuse(s, -ECANCELED, err, "trying the way back: cancelled");
	}
	return act;
}

/* A tenth of the time is kept for the removal: what was tried must not outlive the trial. */
enum act node_try_reverse(
	struct session *s, const struct node_follow *f, int64_t deadline_us, struct err *err)
{
	struct dialect_ctx ctx = session_ctx(s);
	struct strbuf sql = {0};
	int64_t now = clock_us();
	int64_t until = deadline_us == CLOCK_FOREVER ? deadline_us : deadline_us - (deadline_us - now) / 10;

	if (check_follow(s, f, err) != ACT_DONE)
		return ACT_REFUSED;
	enum act act = node_try_reverse_remove(s, until, err);
	if (act != ACT_DONE)
		return act;
	s->node->dialect->try_reverse(&ctx, f, &sql);
	act = node_tell(s, &sql, "trying the way back", until, err);
	if (act == ACT_DONE)
		act = await_try(s, until, err);
	if (session_alive(s)) {
		/* The caller removes once more, after what it journaled; this one only shortens its life. */
		enum act removed = node_try_reverse_remove(s, deadline_us, act == ACT_DONE ? err : NULL);
		if (act == ACT_DONE)
			act = removed;
	}
	return act;
}
