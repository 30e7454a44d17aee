/* node_flip: what a flip does to one server: flush, events, fence, wait, open. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "lib/base/clock.h"
#include "lib/provider/node_priv.h"

enum act node_flush(struct session *s, int64_t limit_ms, int64_t deadline_us, struct err *err)
{
	struct dialect_ctx ctx = session_ctx(s);
	struct strbuf sql = {0};

	s->node->dialect->flush(&ctx, limit_ms, &sql);
	return node_tell(s, &sql, "flushing tables", deadline_us, err);
}

enum act node_set_event_scheduler(struct session *s, bool on, int64_t deadline_us, struct err *err)
{
	struct dialect_ctx ctx = session_ctx(s);
	struct strbuf sql = {0};

	s->node->dialect->event_scheduler(&ctx, on, &sql);
	return node_tell(s, &sql, on ? "starting the event scheduler" : "stopping the event scheduler",
		deadline_us, err);
}

enum act node_set_semi_sync_master(struct session *s, bool on, int64_t deadline_us, struct err *err)
{
	struct dialect_ctx ctx = session_ctx(s);
	struct strbuf sql = {0};

	s->node->dialect->semi_sync_master(&ctx, on, &sql);
	return node_tell(s, &sql, on ? "enabling the semi-sync master" : "disabling the semi-sync master",
		deadline_us, err);
}

enum act node_fence(struct session *s, int64_t limit_ms, int64_t deadline_us, struct err *err)
{
	struct dialect_ctx ctx = session_ctx(s);
	struct strbuf sql = {0};

	s->node->dialect->fence(&ctx, limit_ms, &sql);
	return node_tell(s, &sql, "closing for writes (read_only=1)", deadline_us, err);
}

enum act node_fence_proven(
	struct session *s, int64_t limit_ms, int64_t deadline_us, struct node_proof *ret, struct err *err)
{
	struct db_result *r CLEANUP(db_result_freep) = NULL;
	struct dialect_ctx ctx = session_ctx(s);
	struct node_proof proof;
	struct strbuf sql = {0};

	s->node->dialect->fence(&ctx, limit_ms, &sql);
	strbuf_add(&sql, "; ");
	s->node->dialect->prove(&ctx, &sql);
	enum act act = node_ask(s, &sql, "closing for writes (read_only=1)", deadline_us, &r, err);
	if (act != ACT_DONE)
		return act;
	if (s->node->dialect->read_prove(r, &proof) < 0)
		return node_prove(s, deadline_us, ret, err);
	*ret = proof;
	return ACT_DONE;
}

enum act node_unfence(struct session *s, int64_t deadline_us, struct err *err)
{
	struct dialect_ctx ctx = session_ctx(s);
	struct strbuf sql = {0};

	s->node->dialect->unfence(&ctx, &sql);
	return node_tell(s, &sql, "opening for writes (read_only=0)", deadline_us, err);
}

/* --- positions --- */

/* An empty position is reached at once and proves nothing: never sent. */
static bool goal_empty(const struct node_goal *g)
{
	return g->use_gtid ? g->gtid.n == 0 : !g->file[0];
}

static const char *goal_text(const struct node_goal *g, char *buf, size_t size)
{
	if (g->use_gtid)
		return gtid_format(&g->gtid, buf, size);
	(void)snprintf(buf, size, "%s:%" PRIu64, g->file, g->pos);
	return buf;
}

static enum act refuse_not_reached(struct session *s, const struct node_goal *g,
	const struct dialect_guard *seen, int64_t limit_ms, struct err *err)
{
	char goal[256];

	goal_text(g, goal, sizeof(goal));
	if (g->use_gtid)
		return node_refuse(s, -ETIMEDOUT, err,
			"position %s was not reached within %" PRId64 " ms: it has applied %s", goal,
			limit_ms, seen->position[0] ? seen->position : "nothing");
	return node_refuse(s, -ETIMEDOUT, err,
		"position %s was not reached within %" PRId64 " ms, or the applier does not run", goal,
		limit_ms);
}

enum act node_wait_position(
	struct session *s, const struct node_goal *g, int64_t limit_ms, int64_t deadline_us, struct err *err)
{
	struct db_result *r CLEANUP(db_result_freep) = NULL;
	struct dialect_ctx ctx = session_ctx(s);
	struct dialect_guard seen;
	struct strbuf sql = {0};

	if (goal_empty(g))
		return node_refuse(s, -EINVAL, err, "waiting for a position: none was given");
	s->node->dialect->wait(&ctx, g, g->use_gtid, limit_ms, &sql);
	enum act act = node_ask(s, &sql, "waiting for a position", deadline_us, &r, err);
	if (act != ACT_DONE)
		return act;
	if (s->node->dialect->read_guard(r, &seen) < 0)
		return node_refuse(
			s, -EPROTO, err, "waiting for a position: an answer that flipd cannot read");
	return seen.reached ? ACT_DONE : refuse_not_reached(s, g, &seen, limit_ms, err);
}

/* --- the guarded opening --- */

static enum act judge_opening(struct session *s, const struct node_goal *g, const struct dialect_guard *seen,
	int64_t limit_ms, struct err *err)
{
	if (!seen->read_only)
		return ACT_DONE;
	if (!seen->holds_lock)
		return node_refuse(s, -EPERM, err,
			"guarded opening: this session does not hold the lock %s, it stays closed",
			s->node->lock);
	enum act act = refuse_not_reached(s, g, seen, limit_ms, err);
	err_wrap(err, "guarded opening, it stays closed");
	return act;
}

/*
 * The server refused one of the packet's statements. It may have been the second (a KILL QUERY that came
 * late), when the first had opened: what holds is asked, and where that gets no answer the outcome is not
 * known.
 */
static enum act MAY_WAIT look_after_refusal(
	struct session *s, int64_t deadline_us, const struct err *refusal, struct err *err)
{
	struct db_result *r CLEANUP(db_result_freep) = NULL;
	struct dialect_ctx ctx = session_ctx(s);
	struct dialect_guard seen;
	struct strbuf sql = {0};

	s->node->dialect->open_state(&ctx, &sql);
	enum act act = node_ask(s, &sql, "reading back the opening", deadline_us, &r, err);
	if (act != ACT_DONE || s->node->dialect->read_guard(r, &seen) < 0)
		return ACT_UNKNOWN;
	if (!seen.read_only)
		return ACT_DONE;
	node_pass_err(err, refusal);
	return ACT_REFUSED;
}

enum act node_open_guarded(
	struct session *s, const struct node_goal *g, int64_t limit_ms, int64_t deadline_us, struct err *err)
{
	struct db_result *r CLEANUP(db_result_freep) = NULL;
	struct dialect_ctx ctx = session_ctx(s);
	struct dialect_guard seen;
	struct strbuf sql = {0};
	struct err e = {0};

	if (goal_empty(g))
		return node_refuse(s, -EINVAL, err, "guarded opening: no position was given");
	s->node->dialect->open_guarded(&ctx, g, g->use_gtid, limit_ms, &sql);
	enum act act = node_ask(s, &sql, "guarded opening", deadline_us, &r, &e);
	if (act == ACT_DONE && s->node->dialect->read_guard(r, &seen) < 0)
		return node_refuse(s, -EPROTO, err, "guarded opening: incomplete"), ACT_UNKNOWN;
	if (act == ACT_REFUSED)
		return look_after_refusal(s, deadline_us, &e, err);
	if (act == ACT_DONE)
		act = judge_opening(s, g, &seen, limit_ms, &e);
	if (act != ACT_DONE)
		node_pass_err(err, &e);
	return act;
}
