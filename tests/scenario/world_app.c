/*
 * world_app: applications. A writer follows the endpoint, writes while it may, and remembers what was
 * acknowledged; it is killed, refused, cut off, and comes again. A blocker runs one long UPDATE, a locker
 * holds LOCK TABLES, a bypass account writes through the fence, legacy too, but it moves along once new is
 * open, a holder leaves its transaction open, a straggler knows nothing of the endpoint, a reader runs one
 * long SELECT, one has a temporary table, one commits on a full disk.
 */
#include <stdlib.h>

#include "lib/base/clock.h"
#include "tests/scenario/fake_loop.h"
#include "tests/scenario/world.h"

#define QUICK_US 4000 /* between two writes, while the flip is young */
#define SLOW_US 60000
#define LOGIN_US 2000
#define AGAIN_US 3000 /* from a lost connection to the next try */

static void client_tick(void *arg);

struct beat {
	struct client *c;
	uint64_t generation;
};

static void tick_at(struct client *c, int64_t in_us)
{
	struct beat *b = arena_alloc(w.arena, sizeof(*b));

	*b = (struct beat){c, ++c->generation};
	vtime_at(vtime_us() + in_us, client_tick, b);
}

static int64_t pause_us(void)
{
	return jitter_us(vtime_us() < w.quick_until_us ? QUICK_US : SLOW_US);
}

struct client *client_add(enum client_kind kind, int server, int64_t busy_us)
{
	struct client *c = &w.client[w.nclients];

	if (w.nclients == CLIENTS_MAX)
		abort();
	*c = (struct client){.kind = kind, .n = w.nclients++, .server = server, .busy_us = busy_us};
	if (kind == CLIENT_WRITER)
		c->server = -1;
	tick_at(c, 1 + c->n * 137);
	return c;
}

void client_lost(struct client *c)
{
	if (c->kind == CLIENT_BLOCKER || c->kind == CLIENT_LOCKER || c->kind == CLIENT_HOLDER ||
		c->kind >= CLIENT_READER)
		return; /* nobody starts that again */
	if (c->kind == CLIENT_WRITER)
		c->server = -1;
	c->id = 0;
	tick_at(c, jitter_us(c->again_us ? c->again_us : AGAIN_US));
}

static struct wsession *client_session(struct client *c)
{
	return c->id && c->server >= 0 && w.server[c->server].up && w.server[c->server].boots == c->boots
		       ? server_find(&w.server[c->server], c->id)
		       : NULL;
}

struct login {
	struct server *server;
	int boots;
	uint64_t id;
};

static void login_refused(void *arg)
{
	struct login *l = arg;
	struct wsession *x = l->server->boots == l->boots ? server_find(l->server, l->id) : NULL;

	if (x)
		server_drop(x);
}

/* With a locked account: it shows in the process list until the server has come to refuse it. */
static void client_is_refused(struct server *s, const char *user)
{
	struct login *l = arena_alloc(w.arena, sizeof(*l));
	struct wsession *x = server_connect(s, user);

	x->login = true;
	*l = (struct login){s, s->boots, x->id};
	vtime_at(vtime_us() + jitter_us(LOGIN_US), login_refused, l);
}

bool client_walks(const struct client *c)
{
	return c->kind == CLIENT_BYPASS || c->kind == CLIENT_LEGACY || c->kind == CLIENT_WALKER_NO_SPACE;
}

static bool is_locked_out(const struct client *c)
{
	return client_walks(c) && c->server >= 0 && w.server[c->server].up &&
	       w.server[c->server].account_locked[ACCOUNT_LEGACY];
}

static bool client_connect(struct client *c)
{
	static const char *const users[] = {"app", "app", "app", "legacy", "legacy", "batch", "old-app",
		"report", "batch", "app", "legacy"};
	struct server *s;
	struct wsession *x;

	if (c->kind == CLIENT_WRITER)
		c->server = w.endpoint < 2 ? w.endpoint : w.from;
	if (c->kind == CLIENT_LEGACY)
		c->server = w.server[w.to].read_only ? w.from : w.to;
	s = &w.server[c->server];
	if (!s->up || s->impostor || s->outer_closed)
		return false;
	if (is_locked_out(c)) {
		client_is_refused(s, users[c->kind]);
		return false;
	}
	x = server_connect(s, users[c->kind]);
	x->client = c;
	x->locks_tables = c->kind == CLIENT_LOCKER;
	x->reads = c->kind == CLIENT_READER;
	x->has_temporary = c->kind == CLIENT_TEMPORARY;
	x->trx_rows = c->kind == CLIENT_HOLDER ? (uint64_t)c->busy_us : 0;
	c->id = x->id;
	c->boots = s->boots;
	return true;
}

static void client_write(struct client *c, struct wsession *x)
{
	struct stmt *m;

	if (w.nwrites >= WRITES_MOST) {
		w.stop_clients = true;
		return;
	}
	m = arena_alloc(w.arena, sizeof(*m));

	m->op = OP_WRITE;
	m->client = c;
	m->server = x->server;
	m->busy_until_us = c->busy_us;
	m->limit_at_us = write_number(); /* the write's number; an application's statement has no limit */
	if (c->kind == CLIENT_BLOCKER)
		x->trx_rows = 100;
	stmt_begin(x, m);
}

static void client_tick(void *arg)
{
	struct beat *b = arg;
	struct client *c = b->c;
	struct wsession *x;

	if (b->generation != c->generation || w.stop_clients)
		return;
	x = client_session(c);
	if (!x && c->kind == CLIENT_WALKER_NO_SPACE &&
		client_connect(c)) /* quick enough not to be killed before */
		x = client_session(c);
	if (!x) {
		tick_at(c,
			client_connect(c) ? jitter_us(400) : jitter_us(is_locked_out(c) ? AGAIN_US : 20000));
		return;
	}
	if (!x->running &&
		(c->kind >= CLIENT_NO_SPACE || (c->kind != CLIENT_LOCKER && c->kind < CLIENT_HOLDER)))
		client_write(c, x);
}

void client_wrote(struct client *c, struct stmt *m)
{
	struct wsession *x = client_session(c);

	if (m->lost)
		return; /* client_lost has seen to it */
	if (m->act == ACT_DONE) {
		const struct server *s = m->server; /* it may be down by now */
		w.acked[m->limit_at_us] = (uint8_t)(ACKED | (s->index == 1 ? ACKED_BY_TARGET : 0) |
						    (s->opened_by_other ? ACKED_UNASKED : 0));
		if (c->kind != CLIENT_BLOCKER && c->kind < CLIENT_NO_SPACE)
			tick_at(c, pause_us());
		return;
	}
	if (x && !x->running) {
		x->client = NULL;
		server_drop(x);
	}
	c->id = 0;
	if (client_walks(c) || c->kind == CLIENT_WRITER)
		tick_at(c, jitter_us(AGAIN_US));
}
