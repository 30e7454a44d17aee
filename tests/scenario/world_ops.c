/* world_ops: what each statement does in its server: at once, or when what it waits for has come. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/scenario/fake_loop.h"
#include "tests/scenario/world.h"

#define ER_READ_ONLY 1290
#define ER_LIMIT 1969
#define ER_LOCK_WAIT 1205
#define LOCK_WAIT_US 1000000 /* lock_wait_timeout of flipd's sessions */
#define LISTED_US 5000	     /* who began to wait before shows in the list from which is killed */
#define COMMIT_US 200

static int refuse(struct stmt *m, unsigned sql_errno, int code, const char *why)
{
	m->act = ACT_REFUSED;
	err_set(&m->err, code, "%s", why);
	m->err.sql_errno = sql_errno;
	return STEP_END;
}

static int done(struct stmt *m)
{
	m->act = ACT_DONE;
	return STEP_END;
}

static struct server *at(const struct stmt *m)
{
	return m->session->server;
}

static bool over_limit(const struct stmt *m)
{
	return m->limit_at_us && vtime_us() >= m->limit_at_us;
}

/* --- lock, row, heartbeat --- */

static int op_lock_take(struct stmt *m)
{
	struct server *s = at(m);

	if (!s->lock_holder)
		s->lock_holder = m->session->id;
	m->out->number = s->lock_holder;
	return s->lock_holder == m->session->id ? done(m)
						: refuse(m, 0, -EBUSY, "another session holds the lock");
}

static int op_lock_holder(struct stmt *m)
{
	m->out->number = at(m)->lock_holder;
	return done(m);
}

static int op_lock_release(struct stmt *m)
{
	struct server *s = at(m);

	if (s->lock_holder && s->lock_holder != m->session->id)
		return refuse(m, 0, -EPERM, "another session holds the lock");
	s->lock_holder = 0;
	return done(m);
}

/* Behind a fence that waits, or a backup's lock, every write queues; true when this one has to. */
static bool queue_behind_fence(struct stmt *m)
{
	m->queued = at(m)->fencing > 0 || at(m)->backup;
	return m->queued;
}

/* What flipd itself logs on a side that it has closed is what the next replication breaks on (E4). */
static void judge_own_write(const struct server *s, const char *what)
{
	if (s->index < 2 && s->read_only)
		violation("flipd writes on closed %s: %s", s->name, what);
}

static int op_row_write(struct stmt *m)
{
	struct server *s = at(m);

	if (queue_behind_fence(m)) {
		if (vtime_us() - m->begun_us >= LOCK_WAIT_US)
			return refuse(m, ER_LOCK_WAIT, -ETIMEDOUT, "Lock wait timeout exceeded");
		server_poke_at(s, m->begun_us + LOCK_WAIT_US);
		return STEP_WAIT;
	}
	if (s->read_only)
		return refuse(m, 0, -EROFS, "the server is closed (read_only), nothing was written");
	if (w.nrows == (int)COUNT_OF(w.row))
		abort();
	w.row[w.nrows] = m->in->row;
	judge_own_write(s, "its row");
	log_write(s, ENTRY_ROW, w.nrows++);
	return done(m);
}

static int op_row_read(struct stmt *m)
{
	const struct server *s = at(m);
	const struct node_row *r = s->row >= 0 ? &w.row[s->row] : NULL;

	if (!r || (m->in->user[0] && strcmp(r->id, m->in->user) != 0))
		return refuse(m, 0, -ENOENT, "there is none");
	m->out->row = *r;
	return done(m);
}

static int op_heartbeat(struct stmt *m)
{
	struct server *s = at(m);

	if (queue_behind_fence(m))
		return STEP_WAIT;
	if (w.no_heartbeat)
		return refuse(m, 1146, -ENOENT, "Table 'flipd.heartbeat' doesn't exist");
	m->out->yes = (!s->read_only || w.reckless[MUTANT_NO_GUARD]) &&
		      (s->lock_holder == 0 || s->lock_holder == m->in->number);
	if (m->out->yes) {
		judge_own_write(s, "a heartbeat");
		if (s->opened_by_other && s->index == w.to && !w.opening_told)
			violation("a heartbeat on %s, which flipd did not open", s->name);
		log_write(s, ENTRY_BEAT, vtime_wall_ms());
	}
	return done(m);
}

static int op_probe(struct stmt *m)
{
	struct server *s = at(m);

	if (queue_behind_fence(m))
		return STEP_WAIT;
	if (s->read_only && !(w.probe_walks && s->index == w.from))
		return refuse(m, ER_READ_ONLY, -EACCES, "the server runs with read_only");
	if (m->op == OP_PROBE_TRY)
		return done(m);
	if (s->opened_by_other && (s->index == w.to || fake_journal_has("fence")))
		violation("the probe writes on %s, which flipd did not open", s->name);
	log_write(s, ENTRY_PROBE, 0);
	return done(m);
}

/* An application's: queues behind a fence, is refused by a closed server, or runs its time and commits. */
static int op_write(struct stmt *m)
{
	struct server *s = at(m);
	bool bypass = client_walks(m->client);

	if (!m->writing) {
		if (queue_behind_fence(m))
			return STEP_WAIT;
		if (s->read_only && !bypass)
			return refuse(m, ER_READ_ONLY, -EACCES, "the server runs with read_only");
		m->writing = true;
		m->busy_until_us = vtime_us() + (m->busy_until_us ? m->busy_until_us : jitter_us(COMMIT_US));
		server_poke_at(s, m->busy_until_us);
	}
	if (vtime_us() < m->busy_until_us)
		return STEP_WAIT;
	m->session->trx_rows = 0;
	if (m->client->kind == CLIENT_BLOCKER) {
		w.slow_write = m->limit_at_us;
		w.slow_us = m->client->busy_us;
	}
	log_write(s, ENTRY_APP, m->limit_at_us);
	return done(m);
}

/* --- fence and opening --- */

/* Running writes and table locks hold a fence up; readers and idle transactions do not (E11). */
static bool held_up(const struct server *s)
{
	for (const struct wsession *x = s->sessions; x; x = x->next)
		if (x->locks_tables || (x->running && x->running->writing))
			return true;
	return false;
}

static int op_fence(struct stmt *m)
{
	struct server *s = at(m);

	if (held_up(s)) {
		if (over_limit(m))
			return refuse(m, ER_LIMIT, -ETIMEDOUT, "max_statement_time");
		return STEP_WAIT;
	}
	server_set_read_only(s, true, true, "fence");
	return done(m);
}

static int op_unfence(struct stmt *m)
{
	w.unfence_sent_us = m->sent_us;
	server_set_read_only(at(m), false, true, "unfence");
	w.unfence_sent_us = 0;
	return done(m);
}

static int op_wait(struct stmt *m)
{
	bool never;

	if (goal_reached(at(m), &m->in->goal, &never))
		return done(m);
	if (never || over_limit(m))
		return refuse(m, 0, -ETIMEDOUT, "the position was not reached");
	return STEP_WAIT;
}

/* The lock is looked at when the statement begins, then the position is waited for, then it opens (E1d). */
static int op_open_guarded(struct stmt *m)
{
	bool never;

	if (!m->queued && at(m)->lock_holder != m->session->id)
		return refuse(m, 0, -EPERM, "guarded opening: this session does not hold the lock");
	m->queued = true;
	if (!goal_reached(at(m), &m->in->goal, &never)) {
		if (never || over_limit(m))
			return refuse(m, 0, -ETIMEDOUT, "guarded opening: the position was not reached");
		return STEP_WAIT;
	}
	w.unfence_sent_us = m->sent_us;
	server_set_read_only(at(m), false, true, "guarded opening");
	w.unfence_sent_us = 0;
	return done(m);
}

static int op_flush(struct stmt *m)
{
	if (held_up(at(m)) && !over_limit(m))
		return STEP_WAIT;
	return held_up(at(m)) ? refuse(m, ER_LIMIT, -ETIMEDOUT, "max_statement_time") : done(m);
}

static int op_events(struct stmt *m)
{
	m->out->number = at(m)->events_on;
	return done(m);
}

static int op_events_on(struct stmt *m)
{
	at(m)->events_on |= (unsigned)m->in->number;
	return done(m);
}

static int op_scheduler(struct stmt *m)
{
	at(m)->scheduler = m->in->on;
	if (!w.server[0].scheduler && !w.server[1].scheduler) {
		w.rest_since_us = w.rest_since_us ? w.rest_since_us : vtime_us();
	} else if (w.rest_since_us) {
		int64_t us = vtime_us() - w.rest_since_us;
		w.rest_most_us = us > w.rest_most_us ? us : w.rest_most_us;
		w.rest_since_us = 0;
	}
	return done(m);
}

static int op_semi_sync(struct stmt *m)
{
	at(m)->semi_sync = m->in->on && !w.reckless[MUTANT_NO_UNDO];
	return done(m);
}

/* --- accounts --- */

const char *account_user(int i)
{
	static const char *const names[] = {[ACCOUNT_LEGACY] = "legacy", [ACCOUNT_RETIRED] = "retired"};

	return names[i];
}

static int op_accounts(struct stmt *m)
{
	m->out->accounts = arena_alloc(w.arena, ACCOUNTS * sizeof(*m->out->accounts));
	for (int i = 0; i < ACCOUNTS; i++) {
		struct facts_account *a = &m->out->accounts[m->out->n++];
		str_copy(a->user, sizeof(a->user), account_user(i));
		str_copy(a->host, sizeof(a->host), "%");
		a->locked =
			at(m)->account_locked[i] && !(at(m)->unlock_asked && w.reckless[MUTANT_NO_UNLOCK]);
	}
	return done(m);
}

static int op_lock_accounts(struct stmt *m)
{
	bool lock = m->op == OP_LOCK_ACCOUNTS;

	if (lock && !fake_journal_has("accounts"))
		violation("accounts are locked that the journal does not know");
	at(m)->unlock_asked = !lock;
	for (int i = 0; i < m->in->naccounts; i++)
		for (int k = 0; k < ACCOUNTS; k++)
			if (!strcmp(account_user(k), m->in->accounts[i].user))
				at(m)->account_locked[k] =
					lock || (w.reckless[MUTANT_NO_UNLOCK] && at(m)->account_locked[k]);
	return done(m);
}

/* --- replication, kills --- */

static int op_forget(struct stmt *m)
{
	link_forget(at(m));
	return done(m);
}

static int op_follow(struct stmt *m)
{
	struct server *s = at(m);
	const struct node_follow *f = &m->in->follow;
	int master = f->master == &w.conf->clusters[0].side[0] || !strcmp(f->master->name, "source") ? 0 : 1;
	const struct gtid *own = gtid_find(&s->state, 0, s->server_id);

	if (s->link.broken)
		return refuse(m, 1201, -EIO, "could not initialize master info structure");
	link_stop(s);
	if (f->use_gtid && f->has_slave_pos) {
		/* Strict mode refuses a position before the server's own last transaction (E21). */
		if (s->strict && own && f->gtid_slave_pos.n && f->gtid_slave_pos.v[0].seq < own->seq)
			return refuse(m, 1947, -EINVAL, "gtid_slave_pos conflicts with the binary log");
		s->slave_pos = f->gtid_slave_pos;
	}
	link_set(s, master, f->use_gtid, f->use_gtid ? 0 : entry_at(f->pos));
	link_start(s);
	return done(m);
}

static int op_start(struct stmt *m)
{
	if (at(m)->link.broken)
		return refuse(m, 1201, -EIO, "could not initialize master info structure");
	link_start(at(m));
	return done(m);
}

static int op_stop(struct stmt *m)
{
	link_stop(at(m));
	return done(m);
}

static int op_kill(struct stmt *m)
{
	const struct wsession *x = server_find(at(m), m->in->number);

	if (x && session_waits_for_space(x) && vtime_us() - x->since_us > LISTED_US)
		violation("flipd leaves half a commit in the binlog of %s", at(m)->name);
	server_kill(at(m), m->in->number, m->op == OP_KILL_QUERY);
	return done(m);
}

static int op_there(struct stmt *m)
{
	const struct wsession *x = server_find(at(m), m->in->number);

	m->out->yes = x && !strcmp(x->user, m->in->user);
	return done(m);
}

static int op_try(struct stmt *m)
{
	at(m)->trial = m->op == OP_TRY;
	return done(m);
}

/* The rows of the applications' one table. */
static int op_table(struct stmt *m)
{
	const struct server *s = at(m);

	m->out->number = s->differs;
	for (int i = 0; s->data && i < w.nwrites; i++)
		m->out->number += s->data[i];
	return done(m);
}

int op_step(struct stmt *m)
{
	static int (*const ops[OPS])(struct stmt *) = {[OP_HELLO] = done,
		[OP_FACTS] = op_facts,
		[OP_PROVE] = op_prove,
		[OP_SESSIONS] = op_sessions,
		[OP_LOCK_TAKE] = op_lock_take,
		[OP_LOCK_HOLDER] = op_lock_holder,
		[OP_LOCK_RELEASE] = op_lock_release,
		[OP_ROW_WRITE] = op_row_write,
		[OP_ROW_READ] = op_row_read,
		[OP_FLUSH] = op_flush,
		[OP_SCHEDULER] = op_scheduler,
		[OP_SEMI_SYNC] = op_semi_sync,
		[OP_FENCE] = op_fence,
		[OP_UNFENCE] = op_unfence,
		[OP_PROBE] = op_probe,
		[OP_PROBE_TRY] = op_probe,
		[OP_WAIT] = op_wait,
		[OP_OPEN_GUARDED] = op_open_guarded,
		[OP_FORGET] = op_forget,
		[OP_FOLLOW] = op_follow,
		[OP_START] = op_start,
		[OP_STOP] = op_stop,
		[OP_KILL] = op_kill,
		[OP_KILL_QUERY] = op_kill,
		[OP_THERE] = op_there,
		[OP_HEARTBEAT] = op_heartbeat,
		[OP_PREPARE] = done,
		[OP_TRY] = op_try,
		[OP_TRY_REMOVE] = op_try,
		[OP_TABLES] = done,
		[OP_TABLE] = op_table,
		[OP_EVENTS] = op_events,
		[OP_EVENTS_ON] = op_events_on,
		[OP_ACCOUNTS] = op_accounts,
		[OP_LOCK_ACCOUNTS] = op_lock_accounts,
		[OP_UNLOCK_ACCOUNTS] = op_lock_accounts,
		[OP_WRITE] = op_write};

	if (w.lies > 0 && m->op == w.lying && !m->client) {
		w.lies--;
		note("%s: %s is not done, whatever it says", at(m)->name, op_name(m->op));
		return done(m);
	}
	return ops[m->op](m);
}
