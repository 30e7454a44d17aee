/*
 * world_server: sessions, the statements that run in them, restarts. Whoever waits (for a fence, for a
 * position, for its own time) is looked at again when something has changed on its server.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/scenario/fake_loop.h"
#include "tests/scenario/world.h"

#define HALF_TRIP_US 150
#define CLEAN_UP_US 300 /* from a kill to the session's end */
#define ER_INTERRUPTED 1317

/* --- sessions --- */

struct wsession *server_connect(struct server *s, const char *user)
{
	struct wsession *x = xcalloc(1, sizeof(*x));

	x->server = s;
	x->id = s->next_id++;
	x->since_us = vtime_us();
	str_copy(x->user, sizeof(x->user), user);
	x->next = s->sessions;
	s->sessions = x;
	return x;
}

struct wsession *server_find(struct server *s, uint64_t id)
{
	for (struct wsession *x = s->sessions; x; x = x->next)
		if (x->id == id)
			return x;
	return NULL;
}

static void stmt_lost(struct stmt *m)
{
	m->session = NULL;
	stmt_answer_later(m, true);
}

void server_drop(struct wsession *x)
{
	struct server *s = x->server;
	struct wsession **p = &s->sessions;
	struct stmt *m = x->running;
	struct client *c = x->client;

	while (*p != x)
		p = &(*p)->next;
	*p = x->next;
	if (s->lock_holder == x->id)
		s->lock_holder = 0;
	if (m) {
		if (m->op == OP_FENCE && m->waiting)
			s->fencing--;
		m->waiting = false;
		stmt_lost(m);
	}
	free(x);
	if (c)
		client_lost(c);
	server_poke(s);
}

void server_client_gone(struct wsession *x)
{
	x->client_gone = true;
	if (!x->running)
		server_drop(x);
}

struct session_ref {
	struct server *s;
	int boots;
	uint64_t id;
};

static void cleaned_up(void *arg)
{
	struct session_ref *r = arg;
	struct wsession *x = r->s->boots == r->boots ? server_find(r->s, r->id) : NULL;

	if (!x)
		return;
	if (x->has_temporary && w.binlog_mixed) { /* through the fence (E6) */
		note("a temporary table is dropped on %s", r->s->name);
		log_write(r->s, ENTRY_HAND, 0);
	}
	server_drop(x);
}

void server_kill(struct server *s, uint64_t id, bool query_only)
{
	struct wsession *x = server_find(s, id);
	struct session_ref *r;

	if (!x)
		return;
	if (query_only) {
		if (x->running)
			x->running->killed = true;
		server_poke(s);
		return;
	}
	if (x->killed)
		return;
	x->killed = true;
	if (x->running)
		x->running->killed = true;
	r = arena_alloc(w.arena, sizeof(*r));
	*r = (struct session_ref){s, s->boots, id};
	vtime_at(vtime_us() + jitter_us(CLEAN_UP_US), cleaned_up, r);
	server_poke(s);
}

/* --- statements --- */

static void answer(void *arg)
{
	struct stmt *m = arg;

	if (m->client) {
		client_wrote(m->client, m);
		return;
	}
	if (m->server->partitioned) {
		net_keep(m->server, answer, m);
		return;
	}
	if (m->life != w.life)
		return;
	if (m->op == OP_PROVE && !m->lost && m->act == ACT_DONE)
		word_seen(m->server);
	m->answered = true;
	fiber_cond_signal(&m->cond);
}

void stmt_answer_later(struct stmt *m, bool lost)
{
	m->lost = lost;
	vtime_at(vtime_us() + jitter_us(HALF_TRIP_US), answer, m);
}

/* It has ended: its session is free, or goes where its client is gone. */
static void stmt_end(struct stmt *m)
{
	struct wsession *x = m->session;
	struct server *s = x->server;
	bool mute = m->fault == FAULT_REPLY_LOST || m->fault == FAULT_LATE;

	x->running = NULL;
	x->since_us = vtime_us();
	m->session = NULL;
	if (m->op != OP_WRITE && m->op != OP_HEARTBEAT && m->op != OP_FACTS)
		note("%s: %s %s%s%s", s->name, op_name(m->op), m->act == ACT_DONE ? "done" : "refused",
			m->err.message[0] ? ": " : "", m->err.message);
	if (x->client_gone && !x->killed)
		server_drop(x);
	else if (!mute)
		stmt_answer_later(m, false);
	if (m->op != OP_WRITE)
		trigger_op(WHEN_AFTER_OP, m->op, s->index);
	if (m->life == w.life && w.alive)
		fault_after(m->fault);
}

/* True when it has ended. */
static bool stmt_step(struct stmt *m)
{
	struct wsession *x = m->session;
	bool was_fence = m->op == OP_FENCE && m->waiting;

	if (m->killed) {
		m->act = ACT_REFUSED;
		m->err.sql_errno = ER_INTERRUPTED;
		err_set(&m->err, -EINTR, "interrupted");
	} else if (vtime_us() < m->not_before_us || op_step(m) == STEP_WAIT) {
		if (m->op == OP_FENCE && !was_fence && vtime_us() >= m->not_before_us) {
			m->waiting = true;
			x->server->fencing++;
		}
		return false;
	}
	if (was_fence) {
		m->waiting = false;
		x->server->fencing--;
	}
	if (x->killed) /* the connection goes with it: there is no answer */
		return false;
	stmt_end(m);
	return true;
}

void server_poke(struct server *s)
{
	static int depth;
	bool again = true;

	if (depth > 0) /* the loop that runs already will look again */
		return;
	depth++;
	while (again) {
		again = false;
		for (struct wsession *x = s->sessions; x; x = x->next) {
			if (!x->running ||
				(x->killed && x->running->killed && x->running->act == ACT_REFUSED))
				continue;
			if (stmt_step(x->running)) {
				again = true;
				break;
			}
		}
	}
	depth--;
}

static void poke(void *arg)
{
	server_poke(arg);
}

void server_poke_at(struct server *s, int64_t at_us)
{
	vtime_at(at_us, poke, s);
}

/* Whoever else answers at a server's address is looked at, and never touched. */
static void judge_impostor(const struct wsession *x, const struct stmt *m)
{
	static const bool looks[OPS] = {[OP_HELLO] = true,
		[OP_FACTS] = true,
		[OP_PROVE] = true,
		[OP_SESSIONS] = true,
		[OP_LOCK_HOLDER] = true,
		[OP_ROW_READ] = true,
		[OP_THERE] = true};

	if (x->server->impostor && x->flipd && !looks[m->op])
		violation("flipd sends %s to another server than %s", op_name(m->op), x->server->name);
}

void stmt_begin(struct wsession *x, struct stmt *m)
{
	struct server *s = x->server;

	m->session = x;
	m->begun_us = vtime_us();
	x->running = m;
	x->since_us = vtime_us();
	if (m->not_before_us > vtime_us())
		server_poke_at(x->server, m->not_before_us);
	judge_impostor(x, m);
	if (m->op != OP_WRITE)
		trigger_op(WHEN_OP, m->op, s->index); /* which may end the session */
	server_poke(s);
}

/* --- the server as a whole --- */

/* How long it has been so without a break, and at most so far. */
static void note_stretch(bool is_so, int64_t *since_us, int64_t *most_us)
{
	int64_t us = *since_us ? vtime_us() - *since_us : 0;

	*most_us = us > *most_us ? us : *most_us;
	if (!is_so)
		*since_us = 0;
	else if (!*since_us)
		*since_us = vtime_us();
}

static bool is_astray(const struct server *s)
{
	return s->up && !s->read_only && s->opened_by_other;
}

void note_sides(void)
{
	note_stretch(writable_sides() == 0, &w.dark_since_us, &w.dark_most_us);
	note_stretch(is_astray(&w.server[w.from]) || is_astray(&w.server[w.to]), &w.astray_since_us,
		&w.astray_most_us);
}

void server_down(struct server *s)
{
	note("%s goes down", s->name);
	s->up = false;
	while (s->sessions)
		server_drop(s->sessions);
	s->fencing = 0;
	s->lock_holder = 0;
	s->link.generation++;
	s->link.applying = s->link.io = false;
	s->link.fetched = s->link.applied;
	note_sides();
}

/* Its end may be on the servers alone, where the journal could not take it. */
static bool row_is_closed(void)
{
	for (int i = 0; i < 2; i++)
		if (w.server[i].row >= 0 && !strcmp(w.row[w.server[i].row].state, "closed"))
			return true;
	return false;
}

void server_boot(struct server *s, bool closed)
{
	bool replicates = s->link.there;

	note("%s is up again, %s", s->name, closed ? "closed" : "open");
	s->up = true;
	s->in_reach_since_us = vtime_us();
	w.rebooted_us = vtime_us();
	w.rebooted_late = fake_journal_has("closing") || row_is_closed();
	s->boots++;
	s->boot_wall_s += 5000 + vtime_us() / 1000000;
	s->next_id = 5;
	s->semi_sync = w.before[s->index > 0][1] && s->index < 2;
	s->scheduler = w.before[s->index > 0][0] && s->index < 2;
	s->link.sql = false;
	if (replicates)
		link_start(s); /* both threads of what it remembers (E5) */
	server_set_read_only(s, closed, false, "restart");
	link_wake_all();
}

struct reboot {
	struct server *s;
	bool closed;
};

static void reboot(void *arg)
{
	struct reboot *r = arg;

	if (!r->s->up)
		server_boot(r->s, r->closed);
}

void server_restart(struct server *s, bool closed, int64_t down_us)
{
	struct reboot *r = arena_alloc(w.arena, sizeof(*r));

	*r = (struct reboot){s, closed};
	server_down(s);
	vtime_at(vtime_us() + down_us, reboot, r);
}

/* The laws are judged at the moment at which a side opens. */
#define NOTICE_US 250000 /* a proof every 100 ms, its round trip, a kill: by then an open side is noticed */

#define LOOK_US 2500000 /* a look at a server that does not answer */

#define SENT_US                                                                                              \
	1250000 /* flipd's limit for a first unfence, and for its effect to come when that is over           \
		 */

static int64_t later(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

/* Nothing can call back what is on its way: it was sent while the other side was closed, a moment ago, or by
 * a life that has died since, and the next has to find it first. */
static bool on_its_way(const struct server *other)
{
	return w.unfence_sent_us && w.unfence_sent_us < other->writable_since_us &&
	       (!w.alive || vtime_us() - later(w.unfence_sent_us, w.life_us) <= SENT_US);
}

/* It was sent before an operator said that its server takes no writes, and has arrived all the same. */
static bool told_otherwise(const struct server *s)
{
	return w.unfence_sent_us && w.unfence_sent_us < w.word[s->index].ever_us;
}

/* It was sent when an operator had said that the other side takes no writes, and flipd could not see better.
 */
static bool sent_on_a_word(const struct server *other)
{
	int64_t said_us = w.word[other->index].ever_us;

	return said_us && said_us < w.unfence_sent_us &&
	       (out_of_sight(other) || w.unfence_sent_us < other->in_reach_since_us + LAST_TRY_US);
}

/* Open, and flipd can have known that. */
static bool is_known_open(const struct server *s, int64_t notice_us)
{
	int64_t since_us = later(s->writable_since_us, s->in_reach_since_us);

	if (!s->up || s->read_only || word_excuses(s) || sent_on_a_word(s))
		return false;
	return !s->opened_by_other || (vtime_us() - since_us > notice_us && !on_its_way(s));
}

static void judge_opening(struct server *s, const char *how)
{
	struct server *other = &w.server[!s->index];
	bool new = s->index == w.to;
	/* Before an intent old opens even while new is out of reach, whatever a restart has made of it
	 * meanwhile. */
	bool blind = !new && !fake_journal_has("intent");

	word_used(other);
	if (told_otherwise(s))
		return;
	if (is_known_open(other, blind ? LOOK_US : NOTICE_US) &&
		!(blind && other->opened_by_other && out_of_sight(other)))
		violation("flipd opens %s (%s) while %s is open", s->name, how, other->name);
	if (new && !fake_journal_intent_live())
		violation("flipd opens %s (%s) without a live, durable intent", s->name, how);
	if (!new &&fake_journal_intent_live())
		violation("flipd opens %s (%s) while the intent for %s lives", s->name, how, other->name);
}

void server_set_read_only(struct server *s, bool on, bool by_flipd, const char *how)
{
	if (s->read_only == on && s->up && strcmp(how, "restart") != 0)
		return;
	if (!on && by_flipd && s->index < 2)
		judge_opening(s, how);
	note("%s is %s (%s)", s->name, on ? "CLOSED" : "OPEN", how);
	s->read_only = on;
	s->nlog_at_fence = s->nlog;
	s->state_at_fence = s->state;
	if (!on) {
		s->writable_since_us = vtime_us();
		s->opened_by_other = !by_flipd;
	}
	note_sides();
	server_poke(s);
}
