/*
 * sessions: the flip's own connections. Each is in the journal before anything is sent on it, since a
 * statement outlives its client (experiments E1a, E13, E18): whoever comes after must be able to find it and
 * see it gone.
 */
#include <errno.h>

#include "lib/base/clock.h"
#include "lib/base/str.h"
#include "lib/flip/flip_priv.h"

static struct session **sess_slot(struct flip_side *s, enum session_role role)
{
	return role == SESSION_LOCK ? &s->lock : role == SESSION_REAPER ? &s->reaper : &s->act;
}

/* A server that is not the one this flip began with is never touched: it may be another behind the same
 * address. */
static int sess_recognise(struct flip_side *s, const struct session_mark *m, struct err *err)
{
	if (!s->identity.server_id) {
		s->identity = m->server;
		return 0;
	}
	if (facts_same_server(&s->identity, &m->server))
		return 0;
	err_server(err, s->server->conf->name);
	err_hint(err,
		"find out who answers at " HOST_PORT
		"; the flip goes on when the server it began with is back",
		HOST_PORT_OF(s->server->conf->host, s->server->conf->port));
	return err_set(err, -EXDEV, "another server answers: it says %s, server id %u, not %s, server id %u",
		m->server.hostname, m->server.server_id, s->identity.hostname, s->identity.server_id);
}

static int MAY_WAIT sess_connect(struct flip *f, struct flip_side *s, enum session_role role,
	int64_t deadline_us, struct session **ret, struct err *err)
{
	struct session *x = NULL;
	int rc = cluster_session(s->server, role, deadline_us, &x, err);

	if (rc < 0)
		return rc;
	rc = sess_recognise(s, session_get_mark(x), err);
	if (rc < 0) {
		session_close(x);
		return rc;
	}
	if (s->nmarks == MARKS_MAX) { /* the oldest are long gone: sess_quiet has seen to it */
		for (int i = 1; i < MARKS_MAX; i++)
			s->marks[i - 1] = s->marks[i];
		s->nmarks--;
	}
	s->marks[s->nmarks++] = *session_get_mark(x);
	session_tag(x, f->id, f->ctx.step);
	*ret = x;
	return 0;
}

static int MAY_WAIT sess_journal(
	struct flip *f, struct flip_side *s, struct session *x, bool durable, struct err *err)
{
	struct wire *d = jn_mark(session_get_mark(x));

	wire_set_str(d, "side", conf_side_name(s->side));
	return jn_write(f, "session", "", d, durable, err);
}

int MAY_WAIT sess_open(
	struct flip *f, struct flip_side *s, enum session_role role, int64_t deadline_us, struct err *err)
{
	struct session *x = NULL, **slot = sess_slot(s, role);
	int rc;

	if (*slot && session_alive(*slot))
		return 0;
	session_close(*slot);
	*slot = NULL;
	if (role == SESSION_LOCK) {
		s->locked = false;
		f->cluster->lock_session[s->side] = 0;
	}
	rc = sess_connect(f, s, role, deadline_us, &x, err);
	if (rc == 0 && sess_journal(f, s, x, true, err) < 0) {
		/* The reaper only looks and kills: without it old could not even be opened when the journal
		 * is broken. */
		if (role != SESSION_REAPER)
			rc = -EIO;
		else
			flip_warn(f, "a session could not be noted in the journal: %s", err_text(err));
	}
	if (rc < 0) {
		session_close(x);
		return rc;
	}
	*slot = x;
	return 0;
}

int MAY_WAIT sess_ask(
	struct flip *f, struct flip_side *s, int64_t limit_ms, struct node_proof *ret, struct err *err)
{
	enum act act = ACT_UNKNOWN;

	for (int i = 0; i < 2 && act != ACT_DONE; i++) {
		err_clear(err);
		int rc = sess_open(f, s, SESSION_REAPER, flip_deadline(limit_ms), err);
		if (rc < 0)
			return rc;
		act = node_prove(s->reaper, flip_deadline(limit_ms), ret, err);
	}
	return flip_rc(act, err);
}

struct opener {
	struct flip *f;
	struct flip_side *s;
	enum session_role role;
	int64_t deadline_us;
	struct session *session;
	int rc;
	struct err err;
};

static void opener_fiber(void *arg)
{
	struct opener *o = arg;

	o->rc = sess_connect(o->f, o->s, o->role, o->deadline_us, &o->session, &o->err);
}

/* All roles at once; one durable write for all. Where one fails none is kept: it would be used without being
 * in the journal. */
int MAY_WAIT sess_open_all(struct flip *f, struct flip_side *s, int64_t deadline_us, struct err *err)
{
	static const enum session_role roles[] = {SESSION_LOCK, SESSION_ACT, SESSION_REAPER};
	struct opener o[3];
	struct fiber *fibers[3] = {NULL};
	int rc = 0;

	for (int i = 0; i < 3; i++) {
		o[i] = (struct opener){.f = f, .s = s, .role = roles[i], .deadline_us = deadline_us};
		if (!*sess_slot(s, roles[i]))
			fibers[i] = fiber_spawn("connect", opener_fiber, &o[i]);
	}
	for (int i = 0; i < 3; i++) {
		fiber_join(fibers[i]);
		if (o[i].rc < 0 && rc == 0) {
			rc = o[i].rc;
			*err = o[i].err;
		}
	}
	for (int i = 0; i < 3 && rc == 0; i++)
		if (o[i].session)
			rc = sess_journal(f, s, o[i].session, i == 2, err);
	for (int i = 0; i < 3; i++) {
		if (rc < 0)
			session_close(o[i].session);
		else if (o[i].session)
			*sess_slot(s, roles[i]) = o[i].session;
	}
	return rc;
}

int MAY_WAIT sess_reopen(struct flip *f, struct err *err)
{
	static const enum session_role roles[] = {SESSION_ACT, SESSION_REAPER};
	struct flip_side *sides[] = {&f->old_side, &f->new_side};
	int rc = 0;

	for (int i = 0; i < 4 && rc == 0; i++)
		rc = sess_open(f, sides[i / 2], roles[i % 2], flip_deadline(ROUND_TRIP_MS), err);
	return rc;
}

void sess_tag(struct flip *f, const char *step)
{
	struct flip_side *sides[] = {&f->old_side, &f->new_side};

	f->ctx.step = step;
	for (int i = 0; i < 2; i++) {
		struct session *all[] = {sides[i]->lock, sides[i]->act, sides[i]->reaper};
		for (int k = 0; k < 3; k++)
			if (all[k])
				session_tag(all[k], f->id, step);
	}
}

/* A statement that was cut off has cost its session: over there both may live on, and are found by the mark.
 */
static void drop_dead_lock(struct flip *f, struct flip_side *s)
{
	if (!s->lock || session_alive(s->lock))
		return;
	session_close(s->lock);
	s->lock = NULL;
	s->locked = false;
	f->cluster->lock_session[s->side] = 0;
}

enum act MAY_WAIT sess_quiet(struct flip *f, struct flip_side *s, int64_t deadline_us, struct err *err)
{
	uint64_t kept = 0, own;

	session_close(s->act);
	s->act = NULL;
	if (sess_open(f, s, SESSION_REAPER, deadline_us, err) < 0)
		return ACT_UNKNOWN;
	own = session_get_mark(s->reaper)->id;
	drop_dead_lock(f, s);
	if (s->lock)
		kept = session_get_mark(s->lock)->id;
	for (int i = 0; i < s->nmarks; i++) {
		struct session_mark m = s->marks[i];

		if ((m.id == own || m.id == kept) &&
			facts_same_boot(&m.server, &session_get_mark(s->reaper)->server))
			continue;
		enum act act = node_kill_own(s->reaper, &m, deadline_us, err);
		if (act != ACT_DONE) {
			err_wrap(err, "an earlier session of this flip (id %llu) is not seen gone",
				(unsigned long long)m.id);
			return act == ACT_REFUSED ? ACT_REFUSED : ACT_UNKNOWN;
		}
	}
	/* What was seen gone need not be looked for again. */
	int keep = 0;
	for (int i = 0; i < s->nmarks; i++)
		if (s->marks[i].id == own || (kept && s->marks[i].id == kept))
			s->marks[keep++] = s->marks[i];
	s->nmarks = keep;
	return ACT_DONE;
}
