/*
 * kill: the client sessions of a side. Who is exempt, sweeps until nobody is left, and the accounts that walk
 * through the fence: their sessions are killed too, and one that connects anew however often it is killed
 * ends the flip by name, since nothing could say that its next write comes before the final position. One
 * that is locked out cannot come back: its tries to log in are let be. Who connects behind a proven read_only
 * can change nothing, unless he walks through it: before the opening he is not waited for.
 */
#include <errno.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/base/str.h"
#include "lib/flip/flip_priv.h"

#define COMEBACKS_MAX 3 /* a pool that connects anew will do so again */
#define ABSENCE_MS 100	/* KILL_SILENCE_MS after one has come back */

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
	wire_set_strf(d, "id", "%ju", (uintmax_t)v->id);
	wire_set_str(d, "user", v->user);
	wire_set_str(d, "host", v->host);
	(void)!jn_write(f, "killed", "kill", wire_ref(d), false, NULL);
	flip_emit(f, "killed", d);
}

/* Among the first n. */
static bool is_recorded(const struct flip *f, const struct flip_side *side, uint64_t id, int n)
{
	for (int i = 0; i < n; i++)
		if (f->victims[i].id == id && !strcmp(f->victims[i].server, side->server->conf->name))
			return true;
	return false;
}

const struct facts_account *kill_bypass(const struct flip *f, const char *user)
{
	for (int i = 0; i < f->nbypass; i++)
		if (!strcmp(f->bypass[i].user, user))
			return &f->bypass[i];
	return NULL;
}

/* Notes a session of an account that walks through the fence. Whether it came back: one of its sessions had
 * been killed before this sweep. */
static bool note_walker(
	struct flip *f, const struct flip_side *side, const struct facts_session *s, int nearlier)
{
	const struct facts_account *account = side == &f->old_side ? kill_bypass(f, s->user) : NULL;

	if (!account)
		return false;
	f->walker = account;
	f->walker_us = clock_us();
	for (int i = 0; i < nearlier; i++)
		if (!strcmp(f->victims[i].user, s->user) &&
			!strcmp(f->victims[i].server, side->server->conf->name))
			return true;
	return false;
}

struct sweep {
	struct flip_side *side;
	bool patient; /* behind the fence, before the opening */
	bool closed;  /* who connects now, and does not walk through the fence, can change nothing */
	bool first;
	int nfirst; /* victims after the first sweep of these */
};

/* A try to log in with an account that the flip has locked: refused (4151) as soon as the server gets to it.
 */
static bool is_locked_out(const struct flip *f, const struct flip_side *side, const struct facts_session *s)
{
	return side == &f->old_side && accounts_shut(f, s->user) &&
	       (!strcasecmp(s->command, "Connect") || !strcmp(s->state, "login"));
}

/* Whether the kill waits for that session to be gone. */
static bool is_waited_for(const struct flip *f, const struct sweep *w, const struct facts_session *s)
{
	if (!w->patient || w->first || !w->closed)
		return true;
	return kill_bypass(f, s->user) || is_recorded(f, w->side, s->id, w->nfirst);
}

/* Nobody is killed while a commit waits for disk space: cut off there it would break replication for good.
 * Told once a flip. */
static bool waits_for_space(
	struct flip *f, const struct flip_side *side, const struct facts_session *list, int n)
{
	const struct facts_session *waits = facts_waits_for_space(list, n);
	const char *name = side->server->conf->name;

	f->no_space = waits != NULL;
	if (waits && !f->no_space_told)
		flip_warn(f,
			"%s: session %llu of %s waits for disk space in its commit: nobody is killed, that "
			"would "
			"leave half of it in the binary log; make room on the disk of %s",
			name, (unsigned long long)waits->id, waits->user, name);
	f->no_space_told = f->no_space_told || waits;
	return waits != NULL;
}

/* One sweep: kills everybody not exempt, in one round trip; *ret_left says how many it found. Its statements
 * have their own limit: one that was cut short would cost the reaper's session. */
static int MAY_WAIT kill_sweep(struct flip *f, struct sweep *w, int *ret_left, struct err *err)
{
	struct flip_side *side = w->side;
	struct arena *a CLEANUP(arena_freep) = arena_new();
	struct facts_session *list = NULL;
	int n = 0, nkill = 0, nearlier = f->nvictims;
	bool back = false;
	enum act act = node_sessions(side->reaper, a, flip_deadline(ROUND_TRIP_MS), &list, &n, err);

	if (act != ACT_DONE)
		return flip_rc(act, err);
	bool no_space = waits_for_space(f, side, list, n);
	uint64_t *ids = arena_alloc(a, ((size_t)n + 1) * sizeof(*ids));
	for (int i = 0; i < n; i++)
		if (!kill_exempt(f, side, &list[i]) && !is_locked_out(f, side, &list[i])) {
			list[nkill] = list[i];
			ids[nkill++] = list[i].id;
		}
	*ret_left = nkill;
	if (no_space)
		return 0;
	act = node_kill_many(side->reaper, ids, nkill, flip_deadline(KILLS_MS), err);
	if (act == ACT_UNKNOWN)
		return flip_rc(act, err);
	*ret_left = 0;
	for (int i = 0; i < nkill; i++) {
		*ret_left += is_waited_for(f, w, &list[i]);
		if (is_recorded(f, side, list[i].id, f->nvictims))
			continue;
		back = note_walker(f, side, &list[i], nearlier) || back;
		record_victim(f, side, &list[i]);
	}
	f->comebacks += back;
	w->nfirst = w->first ? f->nvictims : w->nfirst;
	w->first = false;
	return 0;
}

/* With rows in the log a session that the fence stops leaves no trace there (E6: else temporary tables do).
 */
static bool closed_to_the_fenced(const struct flip *f)
{
	const struct conf_server *c = f->old_side.server->conf;
	bool read_only = false;

	for (int i = 0; i < c->nfences; i++)
		read_only = read_only || c->fences[i].kind == CONF_FENCE_READ_ONLY;
	return read_only && f->fence_answered && !strcmp(f->old_facts.binlog_format, "ROW");
}

/* Whether those who walk through the fence have been away for long enough. */
static bool silent(const struct flip *f)
{
	int64_t wanted_ms = f->comebacks ? ABSENCE_MS : KILL_SILENCE_MS;

	return !f->walker || clock_us() - f->walker_us >= wanted_ms * 1000;
}

static int MAY_WAIT sweeps(struct flip *f, struct flip_side *side, int64_t limit_ms, bool patient,
	bool *ret_none_left, struct err *err)
{
	int64_t deadline = flip_deadline(limit_ms), pause_us = 500;
	struct sweep w = {.side = side, .patient = patient, .first = true, .closed = closed_to_the_fenced(f)};

	for (;;) {
		int left = 0, rc = kill_sweep(f, &w, &left, err);
		if (rc < 0)
			return rc;
		*ret_none_left = left == 0 && (!patient || silent(f));
		if (*ret_none_left || clock_us() + pause_us > deadline ||
			(patient && f->comebacks >= COMEBACKS_MAX))
			return 0;
		rc = fiber_sleep_us(pause_us);
		if (rc < 0)
			return rc;
		pause_us = pause_us < 20000 ? pause_us * 2 : pause_us;
	}
}

int MAY_WAIT kill_all(
	struct flip *f, struct flip_side *side, int64_t limit_ms, bool *ret_none_left, struct err *err)
{
	return sweeps(f, side, limit_ms, false, ret_none_left, err);
}

int MAY_WAIT kill_behind_fence(struct flip *f, bool *ret_none_left, struct err *err)
{
	const char *old = f->old_side.server->conf->name;
	bool patient = !f->opened; /* applications are served: nothing would be gained by waiting */
	int rc;

	f->comebacks = 0;
	rc = sweeps(f, &f->old_side, f->policy.kill_timeout_ms, patient, ret_none_left, err);
	if (rc == 0 && patient && f->no_space && !*ret_none_left) {
		err_server(err, old);
		err_hint(err, "make room on the disk of its binary log, and flip again");
		return err_set(err, -ENOSPC,
			"%s: a commit waits for disk space: its sessions cannot be killed without harm to "
			"the "
			"binary log",
			old);
	}
	if (rc < 0 || *ret_none_left || !f->comebacks)
		return rc;
	if (!patient) {
		flip_warn(f, "%s: account %s@%s walks through the fence and keeps coming back", old,
			f->walker->user, f->walker->host);
		return 0;
	}
	err_server(err, old);
	err_hint(err, "take READ ONLY ADMIN and SUPER from it, stop what connects with it, or name it in "
		      "sessions: {lock_accounts: [...]}, and flip again");
	return err_set(err, -EBUSY, "%s: account %s@%s walks through the fence and keeps coming back", old,
		f->walker->user, f->walker->host);
}
