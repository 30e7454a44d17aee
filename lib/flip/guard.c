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

static int judge_proof(struct flip *f, const struct node_proof *p, struct err *err)
{
	const char *name = f->old_side.server->conf->name;

	if (!p->holds_lock)
		return err_set(
			err, -ENOLCK, "%s: the flip's lock is not held by its own session any more", name);
	if (!p->read_only)
		return err_set(err, -EPERM, "%s: somebody has opened it (read_only is 0)", name);
	if (!f->has_final || !position_moved(f, &p->position))
		return 0;
	err_set(err, -ESTALE, "%s: its position moved after the final one: %s:%llu, not %s:%llu", name,
		p->position.file, (unsigned long long)p->position.pos, f->final.file,
		(unsigned long long)f->final.pos);
	if (f->walker)
		err_wrap(err, "account %s@%s walks through the fence and has come back", f->walker->user,
			f->walker->host);
	return err->code;
}

int guard_judge(struct flip *f, const struct node_proof *p, struct err *err)
{
	int rc = judge_proof(f, p, err);

	if (rc < 0)
		err_server(err, f->old_side.server->conf->name);
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
	enum act act = node_prove(f->old_side.lock, flip_deadline(PROOF_LIMIT_MS), &p, &why);
	fiber_mutex_unlock(&f->proof_mutex);
	if (act != ACT_DONE) {
		*err = why;
		err_wrap(err, "%s: its fence is not proven", f->old_side.server->conf->name);
		return flip_rc(act, &why);
	}
	rc = guard_judge(f, &p, &why);
	if (rc < 0)
		*err = why;
	else
		f->proved_us = clock_us();
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

/* After the opening: old found open is closed again at once, with kill. True where it was proven closed. */
static bool MAY_WAIT close_old_again(struct flip *f)
{
	int64_t limit_ms = f->policy.fence_timeout_ms;
	struct node_proof p;
	struct err err = {0};
	bool none = false;

	if (fiber_mutex_lock(&f->proof_mutex, flip_deadline(PROOF_LIMIT_MS)) < 0)
		return false;
	bool seen = old_sessions(f) &&
		    node_prove(f->old_side.lock, flip_deadline(PROOF_LIMIT_MS), &p, &err) == ACT_DONE;
	bool open = seen && !p.read_only;
	if (open) {
		flip_warn(f,
			"%s was open after the flip had closed it, by a restart or somebody's hand: closed "
			"again",
			f->old_side.server->conf->name);
		(void)!node_fence(f->old_side.lock, limit_ms, flip_deadline(limit_ms + 500), &err);
	}
	fiber_mutex_unlock(&f->proof_mutex);
	if (open && f->old_side.reaper && !f->st[step_index("kill")].spawned)
		(void)!kill_all(f, &f->old_side, f->policy.kill_timeout_ms, &none, &err);
	return seen && !open;
}

int MAY_WAIT guard_end(struct flip *f, struct err *err)
{
	const char *old = f->old_side.server->conf->name;

	guard_stop(f);
	while (!close_old_again(f)) {
		if (settle_over(f)) {
			err_server(err, old);
			return err_set(err, -EHOSTUNREACH,
				"%s could not be proven closed at the flip's end: see that it is", old);
		}
		if (fiber_sleep_ms(PROOF_EVERY_MS) < 0)
			return -ECANCELED;
	}
	return 0;
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
