/*
 * life: flipd's process in the world: a cluster that is watched, the flip that was asked for or what the
 * journal says is unfinished, and after its end a while in which all must settle. A crash ends a life
 * anywhere; another one follows.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/io/loop.h"
#include "lib/model/wire.h"
#include "tests/scenario/fake_loop.h"
#include "tests/scenario/world.h"

#define LOOK_EVERY_US 50000
#define CLIENTS_STAY_US 300000 /* applications go on for so long after the flip */
#define SETTLE_US 10000000     /* and by then everything must be as it should */
#define FIRST_POLLS_US 2000000
#define BETWEEN_US 3000000 /* from a rehearsal to the flip */

struct plan plan;
static int64_t until_us;

static void MAY_WAIT await_polls(struct cluster *c)
{
	int64_t end = clock_us() + FIRST_POLLS_US;

	while ((c->side[0].polls < 1 || c->side[1].polls < 1) && clock_us() < end)
		(void)fiber_cond_wait(&c->polled, end);
}

static void copy_error(const struct wire *error)
{
	const char *step = wire_get_str(error, "step"), *where = wire_get_str(error, "server");
	const char *hint = wire_get_str(error, "hint");

	str_copy(w.step, sizeof(w.step), step ? step : "-");
	str_copy(w.where, sizeof(w.where), where ? where : "-");
	str_copy(w.hint, sizeof(w.hint), hint ? hint : "");
}

/* The document, and what the daemon asks of a flip for its metrics and log, say the same. */
static void judge_document(const struct flip *f)
{
	struct wire *doc = flip_document(f, true);
	const struct wire *list = wire_get(doc, "steps");
	char *text = wire_dump(doc, 0);
	const char *id = wire_get_str(doc, "id");

	w.document = arena_strdup(w.arena, text);
	free(text);
	world_judge_shape(doc);
	if (id && strcmp(id, flip_id(f)) != 0)
		violation("the flip is %s, its document that of %s", flip_id(f), id);
	if (strcmp(wire_get_str(doc, "from"), conf_side_name(flip_from(f))) != 0 ||
		(int)flip_from(f) != w.from)
		violation("the flip is not from %s", w.server[w.from].name);
	for (size_t i = 0; i < wire_len(list); i++) {
		double ms = wire_get_real(wire_at(list, i), "duration_ms", -1);
		if ((flip_step_us(f, (int)i) < 0) != (ms < 0))
			violation("step %s: %f ms are told", wire_get_str(wire_at(list, i), "name"), ms);
	}
	if (w.state == FLIP_ENDED && flip_settling(f))
		violation("it has ended and settles");
	if (w.outcome == FLIP_ROLLED_BACK && !flip_rolling_back(f))
		violation("it was rolled back and never rolling back");
	wire_free(doc);
}

static int nkilled_told;
static bool end_told;

/* Told to whoever waits: nothing comes after the end, and each victim once. */
static void on_event(const struct flip *f, const char *type, const struct wire *detail, void *arg)
{
	(void)arg;
	if (end_told)
		violation("after the end an event comes: %s", type);
	if (str_eq(wire_get_str(detail, "state"), "running") && !flip_step_now(f))
		violation("%s runs, and no step does", wire_get_str(detail, "name"));
	if (fake_journal_has("row") && !flip_past_preflight(f))
		violation("its row is noted, and it is not past preflight");
	nkilled_told += !strcmp(type, "killed");
	end_told = end_told || !strcmp(type, "ended");
}

static void listen_to(struct flip *f)
{
	nkilled_told = 0;
	end_told = false;
	if (f)
		flip_on_event(f, on_event, &w);
}

static void judge_events(struct flip *f)
{
	struct wire *doc = flip_document(f, false);

	if (end_told != (flip_get_outcome(f) != FLIP_NO_OUTCOME))
		violation("an end was told: %d, the outcome is %s", end_told, wire_get_str(doc, "outcome"));
	if (nkilled_told > (int)wire_len(wire_get(doc, "killed")))
		violation("%d kills were told, %zu are in the document", nkilled_told,
			wire_len(wire_get(doc, "killed")));
	wire_free(doc);
	flip_off_event(f, on_event, &w);
}

static void keep_warnings(const char *document)
{
	const char *warnings = strstr(document, "\"warnings\"");

	str_copy(w.warnings, sizeof(w.warnings), warnings ? warnings : document);
}

static void remember(struct flip *f)
{
	struct wire *doc = flip_document(f, false);
	char *text = wire_dump(doc, 0);

	w.state = flip_get_state(f);
	w.outcome = flip_get_outcome(f);
	keep_warnings(text);
	w.blackout_us = flip_blackout_us(f);
	w.predicted_us = (int64_t)(wire_get_real(doc, "predicted_blackout_ms", -0.001) * 1000);
	if (flip_is_rehearsal(f) != w.rehearsal)
		violation("a rehearsal is taken for a flip, or a flip for a rehearsal");
	w.ended = w.state == FLIP_ENDED || w.state == FLIP_STUCK;
	w.ended_us = vtime_us();
	copy_error(wire_get(doc, "error"));
	if (w.state == FLIP_STUCK && !w.hint[0])
		violation("stuck, and nobody is told what to do: %s", text);
	note("the flip is %s, %s", flip_state_name(w.state),
		flip_outcome_name(w.outcome) ? flip_outcome_name(w.outcome) : "no outcome");
	wire_free(doc);
	free(text);
	judge_document(f);
}

static struct flip *MAY_WAIT load_unfinished(struct cluster *c)
{
	struct arena *a CLEANUP(arena_freep) = arena_new();
	struct journal_flip *flips = NULL;
	struct flip *f = NULL;
	struct err err = {0};
	int n = 0;

	if (journal_unfinished(&fake_journal, a, &flips, &n, &err) < 0 || n == 0)
		return NULL;
	if (n > 1)
		violation("%d unfinished flips", n);
	if (flip_load(c, &fake_journal, flips[0].id, "run-2", &f, &err) < 0) {
		violation("the unfinished flip cannot be loaded: %s", err_text(&err));
		return NULL;
	}
	return f;
}

static struct flip *ask_for_flip(struct cluster *c)
{
	struct flip_request rq = {.to = plan.to,
		.max_lag_ms = -1,
		.max_blackout_ms = plan.max_blackout_ms ? plan.max_blackout_ms : -1,
		.user = "dba",
		.group = plan.group,
		.rehearsal = w.rehearsal};

	if (plan.max_lag_ms)
		rq.max_lag_ms = plan.max_lag_ms;
	return flip_new(c, &fake_journal, &rq, "run-1");
}

/* A later life that finds nothing unfinished: the flip had ended, or had never begun. */
static void nothing_left(void)
{
	if (w.ended)
		return;
	w.ended = true;
	w.ended_us = vtime_us();
	w.state = FLIP_ENDED;
	w.outcome = fake_journal_outcome();
	keep_warnings(fake_journal_document()); /* what people are shown from now on */
	note("nothing is unfinished: the flip was %s", flip_outcome_name(w.outcome));
}

static void MAY_WAIT end_life(struct cluster *c, struct flip *f, bool again)
{
	w.flip = NULL;
	flip_free(f);
	cluster_stop(c);
	cluster_free(c);
	w.cluster = NULL;
	w.alive = false;
	w.life++;
	if (again)
		life_begin_at(vtime_us() + w.restart_us);
}

void MAY_WAIT life_recover(struct flip *f)
{
	listen_to(f);
	flip_recover(f);
	judge_events(f);
}

/* As the daemon does after the end: replicas that could not be repointed in time. */
static void MAY_WAIT follow_up(struct flip *f)
{
	const char *name = f && flip_left(f) ? flip_follow_up(f) : NULL;

	if (!name)
		return;
	note("%s follows at last", name);
	if (!strstr(w.warnings, "does not follow") && !strstr(w.warnings, "propagate: "))
		violation("%s is repointed again, and had followed", name);
}

/* The rehearsal's own end is judged here: what is judged later is the flip's. */
static void MAY_WAIT flip_after_rehearsal(struct cluster *c)
{
	char why[200];

	remember(w.flip);
	if (w.outcome != FLIP_DONE || w.predicted_us <= 0)
		violation("the rehearsal: %s, predicted %lld us", flip_outcome_name(w.outcome),
			(long long)w.predicted_us);
	flip_free(w.flip);
	w.flip = NULL;
	w.ended = false;
	(void)fiber_sleep_us(BETWEEN_US);
	if (!world_undone(why, sizeof(why)))
		violation("after the rehearsal: %s", why);
	w.rehearsal = false;
	w.flip = ask_for_flip(c);
	flip_run(w.flip);
}

static void MAY_WAIT live(void *arg)
{
	struct cluster *c = NULL;
	struct err err = {0};
	bool first = w.lives++ == 0;

	(void)arg;
	w.alive = true;
	if (cluster_new(w.conf, &w.conf->clusters[0], &c, &err) < 0)
		abort();
	w.cluster = c;
	cluster_start(c);
	await_polls(c);
	w.life_us = vtime_us();
	w.flip = load_unfinished(c);
	if (w.flip && flip_get_state(w.flip) != FLIP_STUCK)
		life_recover(w.flip);
	else if (!w.flip && first && (w.flip = ask_for_flip(c))) {
		listen_to(w.flip);
		flip_run(w.flip);
		judge_events(w.flip);
	}
	if (w.flip && w.rehearsal && plan.then_flip)
		flip_after_rehearsal(c);
	if (w.flip)
		remember(w.flip);
	else
		nothing_left();
	if (w.flip &&
		(!w.ended || (w.state == FLIP_ENDED && !fake_journal_ended() && fake_journal_flips() > 0))) {
		w.ended = false; /* told to stop, or the end is not in the journal: the next start goes on */
		end_life(c, w.flip, true);
		return;
	}
	while (!w.over) {
		if (w.after_life && w.after_life())
			remember(w.flip);
		follow_up(w.flip);
		(void)fiber_sleep_ms(20);
	}
	end_life(c, w.flip, false);
	loop_stop();
}

static void life_begin(void *arg)
{
	(void)arg;
	fiber_detach(fiber_spawn("life", live, NULL));
}

void life_begin_at(int64_t at_us)
{
	vtime_at(at_us, life_begin, NULL);
}

static void stop_now(void *arg)
{
	(void)arg;
	loop_stop();
}

static void supervise(void *arg)
{
	int64_t now = vtime_us();
	char why[200];
	bool settled;

	(void)arg;
	if (w.ended && now > w.ended_us + CLIENTS_STAY_US)
		w.stop_clients = true;
	settled = w.ended && now > w.judge_from_us && now > w.ended_us + CLIENTS_STAY_US + 100000 &&
		  world_settled(why, sizeof(why));
	if (settled || (w.ended && now > w.judge_from_us && now > w.ended_us + SETTLE_US) || now > until_us ||
		w.violations) {
		world_judge();
		w.over = true; /* the life that runs ends in order, one that hangs is left */
		vtime_at(now + 3000000, stop_now, NULL);
		return;
	}
	vtime_at(now + LOOK_EVERY_US, supervise, NULL);
}

static void livelock(void)
{
	violation("livelock: time stands still");
	world_judge();
	loop_stop();
}

void life_run_all(int64_t until_ms)
{
	until_us = vtime_us() + until_ms * 1000;
	fake_loop_on_livelock(livelock);
	w.before[0][0] = w.server[0].scheduler;
	w.before[0][1] = w.server[0].semi_sync;
	w.before[1][0] = w.server[1].scheduler;
	w.before[1][1] = w.server[1].semi_sync;
	for (int i = 0; i < w.ntriggers; i++)
		if (w.trigger[i].when == WHEN_TIME)
			trigger_at_time(&w.trigger[i]);
	life_begin_at(vtime_us() + 100000); /* applications are there first */
	vtime_at(vtime_us() + 200000, supervise, NULL);
	loop_run();
}
