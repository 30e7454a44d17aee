/*
 * preflight_run: the whole preflight: sessions, facts, judges, proofs. Everything is side by side but for one
 * thing: old is looked at after new, so that new's position can be held against what old had logged by then.
 * What the sides hold is surveyed beside the proofs, on sessions of its own, within a limit that keeps a flip
 * from waiting for it.
 */
#include "lib/flip/preflight.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/base/str.h"
#include "lib/flip/checks.h"

#define GATHER_LIMIT_MS 5000 /* for a server to answer; one that does not holds up nothing longer */
#define SURVEY_LIMIT_MS 20000
#define SURVEY_FLIP_LIMIT_MS 300 /* in a flip */
#define ROW_LOOKS 40		 /* how often new is asked again whether a closed flip's row has arrived */
#define ROW_PAUSE_MS 50

/* Fibers that are begun together and waited for together. */
struct crowd {
	int running;
	struct fiber_cond ended;
};

struct task {
	struct crowd *crowd;
	const char *name;
	void MAY_WAIT (*fn)(void *arg);
	void *arg;
	struct fiber *fiber;
};

static void task_main(void *arg)
{
	struct task *t = arg;

	t->fn(t->arg);
	t->crowd->running--;
	fiber_cond_signal(&t->crowd->ended);
}

/* 0, or -ECANCELED: then the cancel was passed on to all. They have all ended in either case. */
static int MAY_WAIT crowd_run(struct task *tasks, int n)
{
	struct crowd crowd = {.running = n};
	int r = 0;

	for (int i = 0; i < n; i++) {
		tasks[i].crowd = &crowd;
		tasks[i].fiber = fiber_spawn(tasks[i].name, task_main, &tasks[i]);
	}
	while (crowd.running > 0) {
		if (fiber_cond_wait(&crowd.ended, CLOCK_FOREVER) != -ECANCELED)
			continue;
		r = -ECANCELED;
		for (int i = 0; i < n; i++)
			if (!fiber_done(tasks[i].fiber))
				fiber_cancel(tasks[i].fiber);
	}
	for (int i = 0; i < n; i++)
		fiber_join(tasks[i].fiber);
	return r;
}

/* One server as this preflight sees it. */
struct seat {
	struct run *run;
	struct cluster_server *server;
	struct session *session;
	struct facts *facts;
	struct err error;
	unsigned what;
	struct survey survey;
};

struct proof {
	struct run *run;
	const struct check *check;
	struct check_out *out;
};

struct run {
	struct cluster *cluster;
	int64_t deadline_us;
	struct arena *arena;
	int nseats;
	struct seat *seats; /* old, new, then the replicas */
	struct check_input in;
	struct check_env env;
	struct fiber_mutex endpoints;
	struct check_out *results;
	char own_host[128];
};

static int64_t gather_deadline(const struct run *r)
{
	return checks_deadline(GATHER_LIMIT_MS, r->deadline_us);
}

static void MAY_WAIT seat_open(struct seat *s)
{
	fiber_doing("preflight: connecting to %s", s->server->conf->name);
	if (cluster_session(s->server, SESSION_ACT, gather_deadline(s->run), &s->session, &s->error) < 0)
		s->session = NULL;
}

static void MAY_WAIT seat_look(struct seat *s)
{
	enum act done;

	if (!s->session)
		return;
	fiber_doing("preflight: looking at %s", s->server->conf->name);
	done = node_facts(s->session, s->what, s->run->arena, gather_deadline(s->run), s->facts, &s->error);
	s->facts->up = done == ACT_DONE;
}

/* Replicas and new are looked at as soon as they are there; old only after new. */
static void MAY_WAIT task_open(void *arg)
{
	struct seat *s = arg;

	seat_open(s);
	if (s != &s->run->seats[0])
		seat_look(s);
}

static void MAY_WAIT task_look(void *arg)
{
	seat_look(arg);
}

static struct cluster_server *server_of(struct run *r, int seat)
{
	if (seat >= 2)
		return &r->cluster->replicas[seat - 2];
	return &r->cluster->side[seat == 0 ? r->in.from : r->in.to];
}

static void run_seat_all(struct run *r)
{
	struct facts *facts;

	r->nseats = 2 + r->cluster->nreplicas;
	r->seats = arena_alloc(r->arena, (size_t)r->nseats * sizeof(*r->seats));
	facts = arena_alloc(r->arena, (size_t)r->nseats * sizeof(*facts));
	for (int i = 0; i < r->nseats; i++) {
		r->seats[i].run = r;
		r->seats[i].server = server_of(r, i);
		r->seats[i].facts = &facts[i];
		r->seats[i].what =
			i < 2 ? FACTS_SESSIONS | FACTS_ACCOUNTS | FACTS_SETTINGS | FACTS_GRANTS : FACTS_CORE;
	}
}

static int MAY_WAIT run_gather(struct run *r)
{
	struct task *tasks = arena_alloc(r->arena, (size_t)r->nseats * sizeof(*tasks));
	struct task look = {.name = "preflight-old", .fn = task_look, .arg = &r->seats[0]};
	int rc;

	for (int i = 0; i < r->nseats; i++)
		tasks[i] = (struct task){
			.name = r->seats[i].server->conf->name, .fn = task_open, .arg = &r->seats[i]};
	rc = crowd_run(tasks, r->nseats);
	return rc < 0 ? rc : crowd_run(&look, 1);
}

/*
 * A flip's row that old shows closed may still look open on new, which is behind: it is given a moment. Right
 * after a flip in the other direction this is the ordinary case.
 */
static int MAY_WAIT run_await_row(struct run *r)
{
	struct facts *old = r->seats[0].facts, *new = r->seats[1].facts;
	int rc = 0;

	if (!old->up || !new->up || old->flip_row_id[0])
		return 0;
	for (int i = 0; i < ROW_LOOKS && rc == 0 && new->up &&new->flip_row_id[0]; i++) {
		struct facts *again = arena_alloc(r->arena, sizeof(*again));

		if (str_eq(new->flip_row_id, r->in.flip_id))
			return 0;
		rc = fiber_sleep_ms(ROW_PAUSE_MS);
		if (rc < 0 || node_facts(r->seats[1].session, FACTS_CORE, r->arena, gather_deadline(r), again,
				      &r->seats[1].error) != ACT_DONE)
			break;
		str_copy(new->flip_row_id, sizeof(new->flip_row_id), again->flip_row_id);
	}
	return rc;
}

static void run_fill_input(struct run *r, const char *journal_id, const char *flip_id)
{
	if (gethostname(r->own_host, sizeof(r->own_host) - 1) < 0)
		r->own_host[0] = '\0'; /* GCOVR_EXCL_LINE: no host has such a name */
	r->in.old_facts = r->seats[0].facts;
	r->in.new_facts = r->seats[1].facts;
	r->in.old_error = &r->seats[0].error;
	r->in.new_error = &r->seats[1].error;
	r->in.nreplicas = r->nseats - 2;
	r->in.replicas = r->seats[0].facts + 2;
	r->in.journal_id = journal_id ? journal_id : "";
	r->in.flip_id = flip_id ? flip_id : "";
	r->in.own_host = r->own_host;
}

static bool survey_wanted(const struct run *r)
{
	for (int i = 0; i < checks_count; i++)
		if (checks[i].survey && checks_lowered(r->in.conf, checks[i].name) != CONF_LOWER_SKIP)
			return r->seats[0].facts->up && r->seats[1].facts->up;
	return false;
}

/* Triggers cost a look at each table, and show only to those who may write them. */
static unsigned survey_what(const struct facts *f)
{
	return SURVEY_ACCOUNTS | SURVEY_SCHEMA |
	       (node_judge_granted(f, "TRIGGER") ? (unsigned)SURVEY_TRIGGERS : 0);
}

static void MAY_WAIT task_survey(void *arg)
{
	struct seat *s = arg;
	int64_t limit_ms = s->run->in.flip_id[0] ? SURVEY_FLIP_LIMIT_MS : SURVEY_LIMIT_MS;
	struct session *session = NULL;
	struct err err = {0};

	if (cluster_session(s->server, SESSION_ACT, gather_deadline(s->run), &session, &err) < 0)
		return;
	fiber_doing("preflight: surveying %s", s->server->conf->name);
	node_survey(session, survey_what(s->facts), limit_ms, s->run->arena, &s->survey);
	session_close(session);
}

static void MAY_WAIT task_prove(void *arg)
{
	struct proof *p = arg;

	fiber_doing("preflight: proving %s", p->check->name);
	p->check->prove(&p->run->in, &p->run->env, p->out);
}

static int MAY_WAIT run_prove_all(struct run *r, const bool *skipped)
{
	struct task *tasks = arena_alloc(r->arena, ((size_t)checks_count + 2) * sizeof(*tasks));
	struct proof *proofs = arena_alloc(r->arena, (size_t)checks_count * sizeof(*proofs));
	int n = 0;

	for (int i = 0; i < checks_count; i++) {
		if (skipped[i] || !checks[i].prove)
			continue;
		proofs[n] = (struct proof){.run = r, .check = &checks[i], .out = &r->results[i]};
		tasks[n] = (struct task){.name = checks[i].name, .fn = task_prove, .arg = &proofs[n]};
		n++;
	}
	for (int i = 0; i < 2 && survey_wanted(r); i++)
		tasks[n++] =
			(struct task){.name = "preflight-survey", .fn = task_survey, .arg = &r->seats[i]};
	return crowd_run(tasks, n);
}

/* Judges at once, proofs and surveys side by side, then the judges of surveys; each result in its row's
 * place. */
static int MAY_WAIT run_check_all(struct run *r)
{
	bool *skipped = arena_alloc(r->arena, (size_t)checks_count * sizeof(*skipped));
	int rc;

	r->results = arena_alloc(r->arena, (size_t)checks_count * sizeof(*r->results));
	for (int i = 0; i < checks_count; i++) {
		skipped[i] = checks_begin(r->in.conf, &checks[i], &r->results[i]);
		if (!skipped[i] && checks[i].judge && !checks[i].survey)
			checks[i].judge(&r->in, &r->results[i]);
	}
	rc = run_prove_all(r, skipped);
	r->in.old_survey = &r->seats[0].survey;
	r->in.new_survey = &r->seats[1].survey;
	for (int i = 0; rc == 0 && i < checks_count; i++)
		if (!skipped[i] && checks[i].survey)
			checks[i].judge(&r->in, &r->results[i]);
	return rc;
}

static void run_finish(struct run *r, struct preflight *ret)
{
	for (int i = 0; i < checks_count; i++)
		checks_end(r->in.conf, &r->results[i]);
	*ret = (struct preflight){
		.n = checks_count,
		.results = r->results,
		.ready = checks_ready(r->results, checks_count),
		.new_semi_sync = r->seats[1].facts->semi_sync_master,
	};
}

/* All that may wait and can be cancelled. */
static void MAY_WAIT run_look_at_locks(struct run *r)
{
	const struct conf_list *entries = &r->in.conf->policy.lock_accounts;
	struct facts_account *list = NULL;
	struct err ignored = {0};

	r->in.nlock = -1;
	if (entries->n && r->seats[0].facts->up &&
		node_list_accounts(r->seats[0].session, entries, r->arena, gather_deadline(r), &list,
			&r->in.nlock, &ignored) != ACT_DONE)
		r->in.nlock = -1;
	r->in.lock = list;
}

static int MAY_WAIT run_whole(struct run *r)
{
	int rc = run_gather(r);

	if (rc == 0)
		rc = run_await_row(r);
	if (rc == 0)
		run_look_at_locks(r);
	if (rc < 0)
		return rc;
	r->in.wall_ms = clock_wall_ms();
	r->in.old_reached = &r->cluster->reached[r->in.from];
	r->in.new_heartbeat_lag_ms = r->seats[1].server->heartbeat_lag_ms;
	for (int i = 0; i < 2; i++)
		r->env.act[i == 0 ? r->in.from : r->in.to] = r->seats[i].session;
	return run_check_all(r);
}

int MAY_WAIT preflight_run(struct cluster *cluster, enum conf_side to, const struct provider_ctx *ctx,
	const char *journal_id, const char *flip_id, int64_t deadline_us, struct arena *arena,
	struct preflight *ret, struct err *err)
{
	struct run *r = arena_alloc(arena, sizeof(*r));
	int rc;

	r->cluster = cluster;
	r->deadline_us = deadline_us;
	r->arena = arena;
	r->in.conf = cluster->conf;
	r->in.to = to;
	r->in.from = to == CONF_SOURCE ? CONF_TARGET : CONF_SOURCE;
	r->env = (struct check_env){
		.cluster = cluster, .ctx = ctx, .deadline_us = deadline_us, .endpoints = &r->endpoints};
	run_seat_all(r);
	run_fill_input(r, journal_id, flip_id);
	rc = run_whole(r);
	for (int i = 0; i < r->nseats; i++)
		session_close(r->seats[i].session);
	if (rc < 0)
		return err_set(err, rc, "preflight of %s: cancelled", cluster->conf->name);
	run_finish(r, ret);
	return 0;
}
