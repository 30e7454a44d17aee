/*
 * The whole preflight without servers: the verbs of node and cluster answer from a healthy pair, with faults
 * on request, and note what they were asked.
 */
#ifndef TESTS_UNIT_PREFLIGHT_WORLD_H
#define TESTS_UNIT_PREFLIGHT_WORLD_H

#include "tests/unit/preflight_pair.h"

#include "lib/base/arena.h"
#include "lib/base/clock.h"
#include "lib/io/loop.h"

struct node {
	int seat; /* 0 source, 1 target, 2 the replica */
};

struct session {
	int seat;
	bool alive;
	struct session_mark mark;
};

struct endpoint {
	int i;
};

static struct world {
	struct pair *pair;
	struct cluster cluster;
	struct node nodes[3];
	struct cluster_server replica;
	struct endpoint endpoints[3], *live[3];
	const struct endpoint_ops *ops[3];
	struct conf_server *server[3];
	int sessions_open;
	char calls[1024];      /* "open:0 facts:1 ..." in the order in which they ended */
	bool down[3], hang[3]; /* connecting is refused; never answers */
	int row_looks;	       /* so many looks show new's flip row, then it is gone */
	int removals_lost;     /* so many tries to remove the trial have no answer */
	enum act reverse, fence_check, ep_look[3], ep_spread[3], ep_prove[3];
	enum endpoint_at ep_at[3];
	int64_t ep_ttl_s[3];
	bool reverse_kills_session, reverse_hangs;
	enum act probe[2];
	unsigned probe_errno[2];
	int cancel_after_ms; /* -1: not */
	struct fiber *runner;
	struct arena *arena;
	struct preflight result;
	struct err err;
	int rc;
} w;

static void PRINTF(1, 2) world_note(const char *fmt, ...)
{
	size_t used = strlen(w.calls);
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(w.calls + used, sizeof(w.calls) - used, fmt, ap);
	va_end(ap);
}

/* --- the verbs
 * ------------------------------------------------------------------------------------------------ */

static int world_open(int seat, int64_t deadline_us, struct session **ret, struct err *err)
{
	struct session *s;
	int rc = w.hang[seat] ? fiber_sleep_us(deadline_us - clock_us()) : fiber_sleep_ms(1);

	if (rc < 0)
		return err_set(err, rc, "connect: cancelled");
	if (w.hang[seat])
		return err_set(err, -ETIMEDOUT, "connect: timed out");
	if (w.down[seat])
		return err_set(err, -ECONNREFUSED, "connect: Connection refused");
	s = xcalloc(1, sizeof(*s));
	s->seat = seat;
	s->alive = true;
	s->mark.id = 4242;
	w.sessions_open++;
	*ret = s;
	return 0;
}

int cluster_session(struct cluster_server *server, enum session_role role, int64_t deadline_us,
	struct session **ret, struct err *err)
{
	assert_int_equal(role, SESSION_ACT);
	world_note("open:%d ", server->node->seat);
	return world_open(server->node->seat, deadline_us, ret, err);
}

bool node_is_encrypted(const struct node *n)
{
	(void)n;
	return false;
}

int session_open(struct node *node, enum session_role role, const struct conf_account *as,
	int64_t deadline_us, struct session **ret, struct err *err)
{
	assert_int_equal(role, SESSION_PROBE);
	assert_string_equal(as->user, "flipd_probe");
	return world_open(node->seat, deadline_us, ret, err);
}

void session_close(struct session *s)
{
	w.sessions_open -= s != NULL;
	free(s);
}

bool session_alive(const struct session *s)
{
	return s->alive;
}

const struct session_mark *session_get_mark(const struct session *s)
{
	return &s->mark;
}

enum act node_facts(struct session *s, unsigned what, struct arena *arena, int64_t deadline_us,
	struct facts *ret, struct err *err)
{
	(void)arena;
	(void)deadline_us;
	if (fiber_sleep_ms(2) < 0) {
		err_set(err, -ECANCELED, "facts: cancelled");
		return ACT_UNKNOWN;
	}
	if (s->seat < 2)
		*ret = w.pair->side[s->seat];
	else
		*ret = w.pair->replica[0];
	ret->taken_at_ms = clock_ms();
	ret->asked_at_us = ret->answered_at_us = clock_us();
	if (s->seat == (int)w.pair->in.to && w.row_looks-- <= 0)
		ret->flip_row_id[0] = '\0';
	if (what == FACTS_CORE)
		ret->nsessions = 0;
	world_note("facts:%d ", s->seat);
	return ACT_DONE;
}

/* No account of that name. */
enum act node_list_accounts(struct session *s, const struct conf_list *entries, struct arena *arena,
	int64_t deadline_us, struct facts_account **ret, int *ret_n, struct err *err)
{
	(void)entries;
	(void)deadline_us;
	(void)err;
	world_note("accounts:%d ", s->seat);
	*ret = arena_alloc(arena, sizeof(**ret));
	*ret_n = 0;
	return ACT_DONE;
}

void node_survey(struct session *s, unsigned what, int64_t limit_ms, struct arena *arena, struct survey *ret)
{
	(void)arena;
	world_note("survey:%d ", s->seat);
	assert_int_equal(what, SURVEY_ACCOUNTS | SURVEY_SCHEMA | SURVEY_TRIGGERS);
	assert_int_equal(limit_ms, w.pair->in.flip_id[0] ? 300 : 20000);
	*ret = *w.pair->survey[s->seat];
}

enum act node_try_reverse(
	struct session *s, const struct node_follow *f, int64_t deadline_us, struct err *err)
{
	assert_int_equal(s->seat, w.pair->in.from);
	assert_false(f->use_gtid);
	assert_string_equal(f->file, "binlog.000007");
	assert_string_equal(f->account->user, "repl");
	world_note("try ");
	if (fiber_sleep_us(w.reverse_hangs ? deadline_us - clock_us() : 1000) < 0)
		world_note("try-cancelled ");
	if (w.reverse_kills_session)
		s->alive = false;
	if (w.reverse != ACT_DONE)
		err_set(err, -ECONNREFUSED, "trying the way back: error 2003");
	return w.reverse;
}

enum act node_try_reverse_remove(struct session *s, int64_t deadline_us, struct err *err)
{
	(void)deadline_us;
	assert_true(s->alive);
	assert_int_equal(fiber_sleep_ms(1), 0);
	world_note("remove ");
	if (w.removals_lost > 0) {
		w.removals_lost--;
		s->alive = false;
		err_set(err, -EIO, "RESET SLAVE: no answer");
		return ACT_UNKNOWN;
	}
	return ACT_DONE;
}

enum act node_kill_own(
	struct session *s, const struct session_mark *mark, int64_t deadline_us, struct err *err)
{
	(void)s;
	(void)deadline_us;
	(void)err;
	world_note("kill:%d ", (int)mark->id);
	return ACT_DONE;
}

enum act node_probe_try(struct session *s, int64_t deadline_us, struct err *err)
{
	(void)deadline_us;
	world_note("probe:%d ", s->seat);
	if (w.probe[s->seat] != ACT_DONE) {
		err_set(err, -EACCES, "writing the probe's row: error %u", w.probe_errno[s->seat]);
		err->sql_errno = w.probe_errno[s->seat];
	}
	return w.probe[s->seat];
}

/* --- endpoints and fences
 * ------------------------------------------------------------------------------------- */

static bool world_endpoint_busy;

/* An endpoint must never be asked by two fibers at once. */
static enum act world_ask(enum act answer, const char *message, struct err *err)
{
	assert_false(world_endpoint_busy);
	world_endpoint_busy = true;
	(void)fiber_sleep_ms(1);
	world_endpoint_busy = false;
	if (answer != ACT_DONE)
		err_set(err, -EIO, "%s", message);
	return answer;
}

static enum act world_look(struct endpoint *e, const struct provider_ctx *ctx, int64_t deadline_us,
	enum endpoint_at *ret, struct err *err)
{
	(void)ctx;
	(void)deadline_us;
	*ret = w.ep_at[e->i];
	if (*ret == ENDPOINT_AT_OTHER)
		err_set(err, -ESTALE, "A 192.0.2.9");
	return world_ask(w.ep_look[e->i], "no answer from 127.0.0.1", err);
}

static enum act world_prove(
	struct endpoint *e, const struct provider_ctx *ctx, int64_t deadline_us, struct err *err)
{
	(void)ctx;
	(void)deadline_us;
	return world_ask(w.ep_prove[e->i], "BADKEY", err);
}

static enum act world_ttl(struct endpoint *e, const struct provider_ctx *ctx, int64_t deadline_us,
	int64_t *ret_s, struct err *err)
{
	(void)ctx;
	(void)deadline_us;
	*ret_s = w.ep_ttl_s[e->i];
	return world_ask(w.ep_look[e->i], "no answer from 127.0.0.1", err);
}

static enum act world_spread(struct endpoint *e, const struct provider_ctx *ctx, enum conf_side to,
	int64_t deadline_us, struct err *err)
{
	(void)ctx;
	(void)deadline_us;
	assert_int_equal(to, (int)w.ep_at[e->i]);
	return world_ask(w.ep_spread[e->i], "ns2 shows the other side", err);
}

static enum act world_fence_check(
	const struct conf_fence *f, const struct provider_ctx *ctx, int64_t deadline_us, struct err *err)
{
	(void)f;
	(void)ctx;
	(void)deadline_us;
	return world_ask(w.fence_check, "exit 3", err);
}

static const struct endpoint_ops world_endpoint_ops = {
	.look = world_look, .prove = world_prove, .ttl = world_ttl, .spread = world_spread};
static const struct fence_ops world_fence_ops = {.kind = CONF_FENCE_HOOK, .check = world_fence_check};

const struct fence_ops *registry_fence(enum conf_fence_kind kind)
{
	return kind == CONF_FENCE_HOOK ? &world_fence_ops : NULL;
}

/* --- set up, run, look
 * ---------------------------------------------------------------------------------------- */

static void world_new(enum conf_side to)
{
	enum conf_side from = to == CONF_SOURCE ? CONF_TARGET : CONF_SOURCE;

	w = (struct world){.pair = pair_new(to), .cancel_after_ms = -1, .row_looks = 1000};
	w.cluster.conf = &w.pair->conf;
	w.cluster.replicas = &w.replica;
	w.cluster.nreplicas = 1;
	w.cluster.endpoints = w.live;
	w.cluster.endpoint_ops = w.ops;
	for (int i = 0; i < 3; i++) {
		struct cluster_server *s = i < 2 ? &w.cluster.side[i] : &w.replica;

		w.nodes[i].seat = i;
		s->node = &w.nodes[i];
		s->conf = i < 2 ? &w.pair->conf.side[i] : &w.pair->replica_conf[0];
		s->heartbeat_lag_ms = 3;
		w.endpoints[i].i = i;
		w.live[i] = &w.endpoints[i];
		w.ops[i] = &world_endpoint_ops;
		w.ep_at[i] = (enum endpoint_at)from;
	}
	w.probe[to] = ACT_REFUSED;
	w.probe_errno[to] = 1290;
	w.pair->conf.endpoints = w.pair->endpoints;
}

static inline struct conf_endpoint *world_endpoint(enum conf_endpoint_kind kind, const char *label)
{
	struct conf_endpoint *e = &w.pair->endpoints[w.pair->conf.nendpoints++];

	*e = (struct conf_endpoint){.kind = kind, .label = label, .timeout_ms = 1000};
	if (kind == CONF_ENDPOINT_DNS)
		e->rr_name = "db.example.com.";
	return e;
}

static void world_fiber(void *arg)
{
	const struct provider_ctx ctx = {.cluster = "shard1",
		.run = "run",
		.flip_id = "",
		.from = w.pair->in.from,
		.to = w.pair->in.to};

	(void)arg;
	w.rc = preflight_run(&w.cluster, w.pair->in.to, &ctx, "journal-1", w.pair->in.flip_id,
		clock_us() + 2000000, w.arena, &w.result, &w.err);
}

static void world_driver(void *arg)
{
	(void)arg;
	w.runner = fiber_spawn("preflight", world_fiber, NULL);
	if (w.cancel_after_ms >= 0) {
		assert_int_equal(fiber_sleep_ms(w.cancel_after_ms), 0);
		fiber_cancel(w.runner);
	}
	fiber_join(w.runner);
}

/* Runs the preflight; every session is closed and every fiber gone afterwards, however it ends. */
static void world_run(void)
{
	w.arena = arena_new();
	assert_int_equal(loop_init(), 0);
	fiber_detach(fiber_spawn("driver", world_driver, NULL));
	loop_run();
	assert_int_equal(fiber_count(), 0);
	assert_int_equal(w.sessions_open, 0);
	loop_free();
}

static void world_free(void)
{
	arena_free(w.arena);
	free(w.pair);
}

static inline const struct check_out *world_result(const char *name)
{
	for (int i = 0; i < w.result.n; i++)
		if (strcmp(w.result.results[i].name, name) == 0)
			return &w.result.results[i];
	fail_msg("no result of %s", name);
	return NULL;
}

static inline void world_expect(
	const char *name, enum check_result result, const char *seen, const char *hint)
{
	const struct check_out *out = world_result(name);

	if (out->result != result)
		fail_msg("%s: %s, not %s: %s", name, check_result_name(out->result),
			check_result_name(result), out->seen);
	if (seen && !strstr(out->seen, seen))
		fail_msg("%s: no '%s' in: %s", name, seen, out->seen);
	if (hint && !strstr(out->hint, hint))
		fail_msg("%s: no '%s' in the hint: %s", name, hint, out->hint);
	if ((result == CHECK_WARN || result == CHECK_REFUSE) && !out->hint[0])
		fail_msg("%s gives no hint", name);
}

#endif
