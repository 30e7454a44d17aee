/*
 * fake_node: lib/provider/node.h over simulated servers: the client's end of it. Every call travels to its
 * server and its answer back; a client that gives up has a dead connection, and its statement goes on over
 * there.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/clock.h"
#include "tests/scenario/fake_loop.h"
#include "tests/scenario/fake_node.h"

#define HALF_TRIP_US 150
#define LATE_US 40000	   /* a late effect comes so long after its client gave up */
#define SENT_LATE_US 90000 /* and so long after a crash */

struct node *node_new(const struct conf_server *conf, const char *cluster, const char *schema)
{
	struct node *n = xcalloc(1, sizeof(*n));

	(void)cluster;
	(void)schema;
	n->conf = conf;
	for (int i = 0; i < w.nservers; i++)
		if (!strcmp(w.server[i].name, conf->name))
			n->server = &w.server[i];
	return n;
}

void node_free(struct node *n)
{
	free(n);
}

const struct conf_server *node_conf(const struct node *n)
{
	return n->conf;
}

bool node_is_encrypted(const struct node *n)
{
	(void)n;
	return false;
}

const char *node_name(const struct node *n)
{
	return n->conf->name;
}

void node_table_value_text(
	const struct node *n, const char *table, bool checksum, int64_t limit_ms, struct strbuf *b)
{
	(void)n;
	strbuf_addf(b, "%s %s, limit %lld ms", checksum ? "checksum" : "count", table, (long long)limit_ms);
}

void node_plan_text(const struct node *n, enum node_text t, const struct node_follow *f, int64_t limit_ms,
	struct strbuf *b)
{
	(void)n;
	(void)f;
	strbuf_addf(b, "statement %d, limit %lld ms", (int)t, (long long)limit_ms);
}

void node_prepare_text(const struct node *n, struct strbuf *b)
{
	(void)n;
	strbuf_add(b, "CREATE ...");
}

/* --- one call --- */

static struct wsession *remote(const struct session *s)
{
	struct server *v = s->server;

	return v->up && v->boots == s->boots ? server_find(v, s->mark.id) : NULL;
}

/* The connection is closed; what still runs over there goes on, and the session with it. */
static void hang_up(struct session *s)
{
	struct wsession *x = remote(s);

	s->alive = false;
	if (x && s->server->partitioned)
		net_keep_end(x);
	else if (x)
		server_client_gone(x);
}

struct delivery {
	struct stmt *m;
	struct server *server;
	int boots;
	uint64_t id;
};

static void deliver(void *arg)
{
	struct delivery *d = arg;
	struct wsession *x;

	if (d->server->partitioned) {
		net_keep(d->server, deliver, d);
		return;
	}
	x = d->server->up && d->server->boots == d->boots ? server_find(d->server, d->id) : NULL;
	if (!x || x->killed || x->running)
		stmt_answer_later(d->m, true);
	else
		stmt_begin(x, d->m);
}

static void send_stmt(struct session *s, struct stmt *m)
{
	struct delivery *d = arena_alloc(w.arena, sizeof(*d));

	m->sent_us = vtime_us();
	m->server = s->node->server;
	*d = (struct delivery){m, s->node->server, s->boots, s->mark.id};
	vtime_at(vtime_us() + jitter_us(HALF_TRIP_US), deliver, d);
}

static void no_answer(struct session *s, struct err *err, int code, const char *what)
{
	hang_up(s);
	err_set(err, code, "%s: %s: %s", s->node->conf->name, what,
		code == -ETIMEDOUT   ? "no answer from the server"
		: code == -ECANCELED ? "cancelled"
				     : "the connection is lost");
	err_server(err, s->node->conf->name);
}

struct stmt *stmt_new(enum op op)
{
	struct stmt *m = arena_alloc(w.arena, sizeof(*m));

	m->op = op;
	m->in = arena_alloc(w.arena, sizeof(*m->in));
	m->out = arena_alloc(w.arena, sizeof(*m->out));
	m->life = w.life;
	return m;
}

static enum act MAY_WAIT await(struct session *s, struct stmt *m, int64_t deadline_us, struct err *err)
{
	int rc = 0;

	while (!m->answered && rc == 0)
		rc = fiber_cond_wait(&m->cond, deadline_us);
	if (!m->answered) {
		m->life = -1; /* nobody waits for it any more */
		if (m->fault == FAULT_LATE && m->session)
			server_poke_at(s->node->server, m->not_before_us = vtime_us() + LATE_US);
		no_answer(s, err, rc, op_name(m->op));
		return ACT_UNKNOWN;
	}
	if (m->lost) {
		no_answer(s, err, -ECONNRESET, op_name(m->op));
		return ACT_UNKNOWN;
	}
	if (m->act == ACT_REFUSED && err && !err->code) {
		*err = m->err;
		err_wrap(err, "%s: %s", s->node->conf->name, op_name(m->op));
		err_server(err, s->node->conf->name);
	}
	return m->act;
}

/* A rehearsal stops no write: it opens, closes and kills nothing but its own sessions. */
static void judge_rehearsal(const struct session *s, const struct stmt *m)
{
	static const bool forbidden[OPS] = {[OP_FENCE] = true,
		[OP_UNFENCE] = true,
		[OP_OPEN_GUARDED] = true,
		[OP_FORGET] = true,
		[OP_FOLLOW] = true,
		[OP_START] = true,
		[OP_STOP] = true};
	const struct wsession *victim = NULL;

	if (m->op == OP_KILL || m->op == OP_KILL_QUERY)
		victim = server_find(s->node->server, m->in->number);
	if (forbidden[m->op] || (victim && !victim->flipd))
		violation("a rehearsal sends %s to %s", op_name(m->op), s->node->conf->name);
}

/* What outlives its client and could hold, open or close something must be found by a later life. */
static void judge_mark(const struct session *s, const struct stmt *m)
{
	static const bool counts[OPS] = {[OP_LOCK_TAKE] = true,
		[OP_ROW_WRITE] = true,
		[OP_FENCE] = true,
		[OP_UNFENCE] = true,
		[OP_OPEN_GUARDED] = true};

	if (counts[m->op] && w.flip && !w.ended && !fake_journal_knows(&s->mark))
		violation("%s is sent to %s on session %llu, which is not in the journal", op_name(m->op),
			s->node->conf->name, (unsigned long long)s->mark.id);
}

/* Sends it and waits; limit_ms is the server's own, 0 none. The statement lives as long as the world. */
enum act MAY_WAIT ask(
	struct session *s, struct stmt *m, int64_t limit_ms, int64_t deadline_us, struct err *err)
{
	enum act act;

	if (w.rehearsal)
		judge_rehearsal(s, m);
	judge_mark(s, m);
	m->fault = flipd_calls(op_name(m->op), s->node->conf->name);
	if (s->busy) /* db_query() asserts that it is not */
		violation("%s on %s: two at once on session %llu", op_name(m->op), s->node->conf->name,
			(unsigned long long)s->mark.id);
	if (!s->alive) {
		no_answer(s, err, -ENOTCONN, op_name(m->op));
		return ACT_UNKNOWN;
	}
	if (m->fault == FAULT_REFUSED) {
		err_set(err, -EIO, "%s: %s: refused (a fault)", s->node->conf->name, op_name(m->op));
		err_server(err, s->node->conf->name);
		return ACT_REFUSED;
	}
	if (flipd_waits_us(op_name(m->op), s->node->conf->name))
		m->not_before_us = vtime_us() + flipd_waits_us(op_name(m->op), s->node->conf->name);
	m->limit_at_us = limit_ms ? vtime_us() + limit_ms * 1000 : 0;
	if (m->fault == FAULT_LATE)
		m->not_before_us = CLOCK_FOREVER;
	if (m->fault == FAULT_CRASH_SENT)
		m->not_before_us = vtime_us() + SENT_LATE_US;
	if (!m->fault && s->node->server->slow_until_us > vtime_us())
		m->not_before_us = s->node->server->slow_until_us;
	if (m->not_before_us && m->limit_at_us)
		m->limit_at_us = CLOCK_FOREVER; /* its time runs from its beginning */
	if (m->fault != FAULT_HANGS)
		send_stmt(s, m);
	if (m->limit_at_us && m->limit_at_us != CLOCK_FOREVER)
		server_poke_at(s->node->server, m->limit_at_us + 500);
	if (m->fault == FAULT_CRASH_SENT) {
		(void)fiber_sleep_us(HALF_TRIP_US * 2);
		flipd_crash(false);
	}
	s->busy = true;
	act = await(s, m, deadline_us, err);
	s->busy = false;
	return act;
}

/* --- sessions --- */

static int open_failed(struct node *n, struct err *err, int code, const char *why)
{
	err_server(err, n->conf->name);
	return err_set(err, code, "%s: connecting: %s", n->conf->name, why);
}

static void make_mark(struct node *n, const struct wsession *x, struct session_mark *mark)
{
	*mark = (struct session_mark){.id = x->id};
	(void)snprintf(mark->account, sizeof(mark->account), "%s@%%", x->user);
	server_identify(n->server, &mark->server);
}

int MAY_WAIT session_open(struct node *n, enum session_role role, const struct conf_account *as,
	int64_t deadline_us, struct session **ret, struct err *err)
{
	enum fault fault = flipd_calls("connect", n->conf->name);
	struct session *s;
	struct wsession *x;

	(void)role;
	if (fault == FAULT_REFUSED)
		return open_failed(n, err, -ECONNREFUSED, "refused (a fault)");
	if (fault == FAULT_HANGS || n->server->partitioned) {
		int rc = fiber_sleep_us(deadline_us - clock_us());
		return open_failed(n, err, rc < 0 ? rc : -ETIMEDOUT, "no answer");
	}
	if (fiber_sleep_us(jitter_us(2 * HALF_TRIP_US)) < 0)
		return open_failed(n, err, -ECANCELED, "cancelled");
	if (!n->server->up)
		return open_failed(n, err, -ECONNREFUSED, "Connection refused");
	x = server_connect(n->server, as && as->user ? as->user : n->conf->account.user);
	x->flipd = true;
	if (fault == FAULT_REPLY_LOST || fault == FAULT_LATE || fault == FAULT_CRASH_SENT) {
		x->client_gone = true;
		server_drop(x);
		if (fault == FAULT_CRASH_SENT)
			flipd_crash(false);
		return open_failed(n, err, -ETIMEDOUT, "no answer");
	}
	s = xcalloc(1, sizeof(*s));
	s->node = n;
	s->server = n->server;
	s->alive = true;
	s->boots = n->server->boots;
	make_mark(n, x, &s->mark);
	fault_after(fault);
	*ret = s;
	return 0;
}

void session_close(struct session *s)
{
	if (!s)
		return;
	if (s->busy)
		violation("session %llu on %s is closed while it is used", (unsigned long long)s->mark.id,
			s->node->conf->name);
	if (s->alive)
		hang_up(s);
	free(s);
}

bool session_alive(const struct session *s)
{
	return s && s->alive;
}

struct node *session_node(const struct session *s)
{
	return s->node;
}

const struct session_mark *session_get_mark(const struct session *s)
{
	return &s->mark;
}

void session_tag(struct session *s, const char *flip_id, const char *step)
{
	(void)s;
	(void)flip_id;
	(void)step;
}
