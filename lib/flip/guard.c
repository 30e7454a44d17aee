/*
 * guard: the proofs that hold a flip together while it matters. From `coordinates` until `open` is answered,
 * old's fence, lock and position are proven every 100 ms on the very session that has held the lock since
 * before the fence (a live session proves that the server did not restart). A missing proof or a position
 * that moved cancels the flip's fiber: the opening is withdrawn and decided as in recovery. After the opening
 * the same fiber closes old again at once if somebody opens it.
 */
#include <errno.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/base/str.h"
#include "lib/flip/flip_priv.h"

#define PROOF_EVERY_MS 100
#define PROOF_LIMIT_MS 400 /* a proof that takes longer is missing */

/* Compared by the binlog's GTID state where there is one: file and position move with a mere rotation too. */
static bool position_moved(const struct flip *f, const struct facts_position *now)
{
	if (now->binlog_state.n || f->final.binlog_state.n)
		return !gtid_equal(&now->binlog_state, &f->final.binlog_state);
	return now->pos != f->final.pos || strcmp(now->file, f->final.file) != 0;
}

static bool fences_read_only(const struct conf_server *c)
{
	for (int i = 0; i < c->nfences; i++)
		if (c->fences[i].kind == CONF_FENCE_READ_ONLY)
			return true;
	return false;
}

static int judge_proof(struct flip *f, const struct node_proof *p, struct err *err)
{
	const char *name = f->old_side.server->conf->name;

	err_server(err, name);
	if (!p->holds_lock)
		return err_set(
			err, -ENOLCK, "%s: the flip's lock is not held by its own session any more", name);
	if (!p->read_only && fences_read_only(f->old_side.server->conf))
		return err_set(err, -EPERM, "%s: somebody has opened it (read_only is 0)", name);
	if (f->has_final && position_moved(f, &p->position))
		return err_set(err, -ESTALE,
			"%s: its position moved after the final one: %s:%llu, not %s:%llu", name,
			p->position.file, (unsigned long long)p->position.pos, f->final.file,
			(unsigned long long)f->final.pos);
	return 0;
}

int guard_judge(struct flip *f, const struct node_proof *p, struct err *err)
{
	int rc = judge_proof(f, p, err);

	if (rc == 0 && !f->has_final) {
		f->final = p->position;
		f->has_final = true;
	}
	return rc;
}

int MAY_WAIT guard_prove(struct flip *f, struct err *err)
{
	struct node_proof p;
	struct err why = {0};
	int rc = fiber_mutex_lock(&f->proof_mutex, flip_deadline(PROOF_LIMIT_MS));

	if (rc < 0)
		return err_set(err, rc, "the proof of the fence could not be asked for in time");
	if (!f->old_side.lock || !session_alive(f->old_side.lock)) {
		fiber_mutex_unlock(&f->proof_mutex);
		return err_set(err, -ENOTCONN, "%s: the session that holds the flip's lock is gone",
			f->old_side.server->conf->name);
	}
	f->old_side.busy = true;
	enum act act = node_prove(f->old_side.lock, flip_deadline(PROOF_LIMIT_MS), &p, &why);
	f->old_side.busy = false;
	fiber_mutex_unlock(&f->proof_mutex);
	if (act != ACT_DONE) {
		*err = why;
		err_wrap(err, "%s: its fence is not proven", f->old_side.server->conf->name);
		return flip_rc(act, &why);
	}
	rc = guard_judge(f, &p, &why);
	if (rc < 0)
		*err = why;
	return rc;
}

/* Before anything that may open new has been sent, new found open is somebody's hand. */
static int MAY_WAIT prove_new_closed(struct flip *f, struct err *err)
{
	struct node_proof p;
	struct session *s = f->new_side.reaper;

	if (f->open_sent || f->opened || !s || !session_alive(s))
		return 0;
	if (node_prove(s, flip_deadline(PROOF_LIMIT_MS), &p, err) != ACT_DONE) {
		err_clear(err);
		return 0; /* out of reach: the opening itself will show it */
	}
	if (p.read_only || f->open_sent)
		return 0;
	err_server(err, f->new_side.server->conf->name);
	return err_set(err, -EPERM, "%s: somebody has opened it before the flip did",
		f->new_side.server->conf->name);
}

/* A restart of old takes the sessions with it: they are opened again, since a server that boots open must be
 * seen. */
static bool MAY_WAIT old_sessions(struct flip *f)
{
	struct err err = {0};

	if (f->old_side.lock && session_alive(f->old_side.lock) && f->old_side.reaper &&
		session_alive(f->old_side.reaper))
		return true;
	if (f->st[step_index("kill")].spawned) /* the reaper is in its hands */
		return f->old_side.lock && session_alive(f->old_side.lock);
	return sess_open(f, &f->old_side, SESSION_LOCK, flip_deadline(PROOF_LIMIT_MS), &err) == 0 &&
	       sess_open(f, &f->old_side, SESSION_REAPER, flip_deadline(PROOF_LIMIT_MS), &err) == 0;
}

/* After the opening: old found open is closed again at once, with kill. */
static void MAY_WAIT close_old_again(struct flip *f)
{
	int64_t limit_ms = f->policy.fence_timeout_ms;
	struct node_proof p;
	struct err err = {0};
	bool none = false;

	if (fiber_mutex_lock(&f->proof_mutex, flip_deadline(PROOF_LIMIT_MS)) < 0)
		return;
	f->old_side.busy = true;
	bool open = old_sessions(f) &&
		    node_prove(f->old_side.lock, flip_deadline(PROOF_LIMIT_MS), &p, &err) == ACT_DONE &&
		    !p.read_only && fences_read_only(f->old_side.server->conf);
	if (open) {
		flip_warn(f,
			"%s was open after the flip had closed it, by a restart or somebody's hand: closed "
			"again",
			f->old_side.server->conf->name);
		(void)!node_fence(f->old_side.lock, limit_ms, flip_deadline(limit_ms + 500), &err);
	}
	f->old_side.busy = false;
	fiber_mutex_unlock(&f->proof_mutex);
	if (open && f->old_side.reaper && !f->st[step_index("kill")].spawned)
		(void)!kill_all(f, &f->old_side, f->policy.kill_timeout_ms, &none, &err);
}

static void prover_fiber(void *arg)
{
	struct flip *f = arg;

	for (;;) {
		struct err err = {0};
		int rc = 0;

		if (fiber_cond_wait(&f->prover_cond, flip_deadline(PROOF_EVERY_MS)) == -ECANCELED ||
			f->prover_stop)
			return;
		if (f->opened)
			close_old_again(f);
		else {
			rc = guard_prove(f, &err);
			if (rc == 0)
				rc = prove_new_closed(f, &err);
		}
		if (rc < 0 && !f->opened && !f->prover_stop) {
			f->proof_failed = true;
			f->proof_err = err;
			str_copy(f->stop_why, sizeof(f->stop_why), err_text(&err));
			fiber_cancel(f->fiber);
			return;
		}
	}
}

void guard_start(struct flip *f)
{
	if (f->prover)
		return;
	f->prover_stop = f->proof_failed = false;
	f->prover = fiber_spawn("guard", prover_fiber, f);
}

/* A proof under way is waited for, not cut off: cutting it would lose the lock's session. */
void MAY_WAIT guard_stop(struct flip *f)
{
	f->prover_stop = true;
	fiber_cond_signal(&f->prover_cond);
	fiber_join(f->prover);
	f->prover = NULL;
}

static bool starts_with(const char *s, const char *prefix)
{
	return strncmp(s, prefix, strlen(prefix)) == 0;
}

static bool is_listed(const struct conf_list *l, const char *user)
{
	for (int i = 0; i < l->n; i++)
		if (!strcmp(l->v[i], user))
			return true;
	return false;
}

bool kill_exempt_user(
	const struct conf_policy *policy, const struct conf_server *server, const struct facts_session *s)
{
	static const char *const server_own[] = {
		"system user", "event_scheduler", "unauthenticated user", "rdsadmin", "rdsrepladmin"};

	for (size_t i = 0; i < COUNT_OF(server_own); i++)
		if (!strcmp(s->user, server_own[i]))
			return true;
	if (starts_with(s->command, "Binlog Dump") || starts_with(s->command, "Slave") ||
		!strcmp(s->command, "Daemon"))
		return true;
	return str_eq(s->user, server->account.user) || is_listed(&policy->exempt_users, s->user) ||
	       (policy->heartbeat_account.user && str_eq(s->user, policy->heartbeat_account.user));
}

bool kill_exempt(const struct flip *f, const struct flip_side *side, const struct facts_session *s)
{
	uint64_t probe[2];

	if (kill_exempt_user(&f->policy, side->server->conf, s))
		return true;
	if (f->fence_probe && side == &f->old_side && s->id == session_get_mark(f->fence_probe)->id)
		return true;
	probe_session_ids(f->probe, probe);
	return s->id == probe[side->side];
}

/* The first word of a statement says enough of it; its text is kept only where the configuration asks for it.
 */
static void victim_digest(const struct flip *f, const struct facts_session *s, char *buf, size_t size)
{
	size_t n = f->policy.keep_text ? strlen(s->info) : strcspn(s->info, " \t\n(");

	if (n >= size)
		n = size - 1;
	memcpy(buf, s->info, n);
	buf[n] = '\0';
}

static void record_victim(struct flip *f, struct flip_side *side, const struct facts_session *s)
{
	struct victim *v;
	struct wire *d = wire_object();

	if (f->nvictims == f->victims_cap) {
		f->victims_cap = f->victims_cap ? f->victims_cap * 2 : 64;
		f->victims = xrealloc(f->victims, (size_t)f->victims_cap * sizeof(*f->victims));
	}
	v = &f->victims[f->nvictims++];
	memset(v, 0, sizeof(*v));
	str_copy(v->server, sizeof(v->server), side->server->conf->name);
	str_copy(v->user, sizeof(v->user), s->user);
	str_copy(v->host, sizeof(v->host), s->host);
	str_copy(v->db, sizeof(v->db), s->db);
	victim_digest(f, s, v->digest, sizeof(v->digest));
	v->id = s->id;
	v->age_ms = s->time_ms;
	wire_set_str(d, "server", v->server);
	wire_set_int(d, "id", (int64_t)v->id);
	wire_set_str(d, "user", v->user);
	wire_set_str(d, "host", v->host);
	(void)!jn_write(f, "killed", "kill", wire_ref(d), false, NULL);
	flip_emit(f, "killed", d);
}

static bool is_recorded(const struct flip *f, const struct flip_side *side, uint64_t id)
{
	for (int i = 0; i < f->nvictims; i++)
		if (f->victims[i].id == id && !strcmp(f->victims[i].server, side->server->conf->name))
			return true;
	return false;
}

/* One sweep: kills everybody not exempt; *ret_left says how many it found. Goes on past single errors (E15).
 * Its statements have their own limit: one that was cut short would cost the reaper's session. */
static int MAY_WAIT kill_sweep(struct flip *f, struct flip_side *side, int *ret_left, struct err *err)
{
	struct arena *a CLEANUP(arena_freep) = arena_new();
	struct facts_session *list = NULL;
	int n = 0, left = 0;
	enum act act = node_sessions(side->reaper, a, flip_deadline(ROUND_TRIP_MS), &list, &n, err);

	if (act != ACT_DONE)
		return flip_rc(act, err);
	for (int i = 0; i < n; i++) {
		struct err one = {0};

		if (kill_exempt(f, side, &list[i]))
			continue;
		left++;
		act = node_kill(side->reaper, list[i].id, false, flip_deadline(ROUND_TRIP_MS), &one);
		if (act == ACT_UNKNOWN) {
			*err = one;
			return flip_rc(act, &one);
		}
		if (!is_recorded(f, side, list[i].id))
			record_victim(f, side, &list[i]);
	}
	*ret_left = left;
	return 0;
}

int MAY_WAIT kill_all(
	struct flip *f, struct flip_side *side, int64_t limit_ms, bool *ret_none_left, struct err *err)
{
	int64_t deadline = flip_deadline(limit_ms);
	int64_t pause_us = 500;
	int left = 1;

	while (left > 0) {
		int rc = kill_sweep(f, side, &left, err);
		if (rc < 0)
			return rc;
		if (left == 0 || clock_us() + pause_us > deadline)
			break;
		rc = fiber_sleep_us(pause_us);
		if (rc < 0)
			return rc;
		pause_us = pause_us < 20000 ? pause_us * 2 : pause_us;
	}
	*ret_none_left = left == 0;
	return 0;
}
