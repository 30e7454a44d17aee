/* run: the fiber of a flip, what the log says of it, and its end. */
#include "daemon/run.h"

#include <assert.h>
#include <stdlib.h>

#include "daemon/metrics.h"
#include "daemon/server.h"
#include "daemon/state.h"
#include "daemon/watch.h"
#include "lib/base/arena.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/base/str.h"
#include "lib/model/wire.h"

#define FOLLOW_UP_MS 1000
#define LOOK_LIMIT_MS 500

struct run_listener {
	struct run_listener *next;
	run_event_fn fn;
	void *arg;
};

static void log_step(const struct log_ctx *ctx, const struct wire *detail)
{
	const char *state = wire_get_str(detail, "state");
	const char *what = wire_get_str(detail, "detail");
	bool bad = str_eq(state, "failed") || str_eq(state, "unknown");
	enum log_level level = bad			  ? LOG_LEVEL_WARNING
			       : str_eq(state, "running") ? LOG_LEVEL_DEBUG
							  : LOG_LEVEL_INFO;
	struct wire *took = wire_get(detail, "duration_ms");

	if (wire_is_null(took))
		log_at(level, ctx, "step %s%s%s", state ? state : "", what ? ": " : "", what ? what : "");
	else
		log_at(level, ctx, "step %s after %.1f ms%s%s", state ? state : "", wire_real(took, 0),
			what ? ": " : "", what ? what : "");
}

/* Steps that change who takes writes: what the pollers saw before says nothing any more. */
static void note_change(struct run *run, const struct wire *detail)
{
	const char *step = wire_get_str(detail, "name"), *state = wire_get_str(detail, "state");
	bool over = !str_eq(state, "running");

	if (flip_is_rehearsal(run->flip))
		return; /* it only tells of them */
	if (str_eq(step, "fence") || str_eq(step, "open"))
		state_changed(run->watched, over && (str_eq(step, "open") || str_eq(state, "undone")));
}

static void on_event(const struct flip *flip, const char *type, const struct wire *detail, void *arg)
{
	struct run *run = arg;
	struct log_ctx ctx = {.cluster = run->watched->name, .flip_id = flip_id(flip)};

	if (str_eq(type, "step")) {
		ctx.step = wire_get_str(detail, "name");
		log_step(&ctx, detail);
		note_change(run, detail);
	} else if (str_eq(type, "accepted")) {
		log_at(LOG_LEVEL_NOTICE, &ctx, "%s begins", run_word(run));
	} else if (str_eq(type, "killed")) {
		const char *user = wire_get_str(detail, "user"), *id = wire_get_str(detail, "id");
		ctx.server = wire_get_str(detail, "server");
		log_at(LOG_LEVEL_INFO, &ctx, "session %s of %s killed", id ? id : "?",
			user ? user : "somebody");
	}
	for (struct run_listener *l = run->listeners, *next; l; l = next) {
		next = l->next;
		l->fn(run, type, detail, l->arg);
	}
	fiber_cond_signal(&run->changed);
}

static void log_end(const struct run *run, const struct wire *document)
{
	struct log_ctx ctx = {.cluster = run->watched->name, .flip_id = flip_id(run->flip)};
	const struct wire *error = wire_get(document, "error");
	const char *outcome = wire_get_str(document, "outcome");
	const char *message = wire_get_str(error, "message");
	const char *hint = wire_get_str(error, "hint"), *what = run_word(run);
	bool well = str_eq(outcome, "done") || str_eq(outcome, "nothing_to_do");
	enum log_level level = well			  ? LOG_LEVEL_NOTICE
			       : str_eq(outcome, "stuck") ? LOG_LEVEL_ERROR
							  : LOG_LEVEL_WARNING;

	ctx.server = wire_get_str(error, "server");
	ctx.step = wire_get_str(error, "step");
	if (!outcome)
		log_at(LOG_LEVEL_NOTICE, &ctx, "%s left as it is: the next start goes on with it", what);
	else if (str_eq(outcome, "done") && flip_is_rehearsal(run->flip))
		log_at(level, &ctx, "rehearsal ended: done, a flip would stop writes for %.1f ms",
			wire_get_real(document, "predicted_blackout_ms", 0));
	else if (well && !wire_is_null(wire_get(document, "blackout_ms")))
		log_at(level, &ctx, "flip ended: %s, writes stood still for %.1f ms", outcome,
			wire_get_real(document, "blackout_ms", 0));
	else
		log_at(level, &ctx, "%s ended: %s%s%s%s%s", what, outcome, message ? ": " : "",
			message ? message : "", hint ? "; " : "", hint ? hint : "");
}

struct follow_up {
	struct run *run;
	char *cluster;
};

/* Replicas that could not be repointed in time, and endpoints of after_open that were not switched, until all
 * are, or another flip begins. */
static void follow_up_main(void *arg)
{
	struct follow_up *left = arg;
	struct log_ctx ctx = {.cluster = left->cluster, .flip_id = flip_id(left->run->flip)};

	while (flip_left(left->run->flip) && fiber_sleep_ms(FOLLOW_UP_MS) == 0) {
		ctx.server = flip_follow_up(left->run->flip);
		if (ctx.server)
			log_at(LOG_LEVEL_NOTICE, &ctx, "shows or follows the new master at last");
	}
	run_unref(left->run);
	free(left->cluster);
	free(left);
}

static void follow_up(struct watched *w, struct run *run)
{
	struct follow_up *left = xcalloc(1, sizeof(*left));

	left->run = run_ref(run);
	left->cluster = xstrdup(w->name);
	w->left = run_ref(run);
	w->follow_up = fiber_spawn("follow up", follow_up_main, left);
}

/* Answers the run whose flip left something, for the caller to drop; NULL where there is none. */
static struct run *MAY_WAIT follow_up_stop(struct watched *w)
{
	struct fiber *fiber = w->follow_up;
	struct run *left = w->left;

	w->follow_up = NULL;
	w->left = NULL;
	fiber_stop(fiber);
	return left;
}

/* The master is still the one to which the flip before it went, which may have left something undone. */
static bool leaves_the_master(const struct run *run)
{
	enum flip_outcome o = flip_get_outcome(run->flip);

	return o == FLIP_REFUSED || o == FLIP_NOTHING_TO_DO || o == FLIP_ABORTED || o == FLIP_ROLLED_BACK;
}

/* The end of a run's fiber: the flip has ended, is stuck, or was left to the next start. before: whose flip
 * had left something when this one began, or NULL. */
static void run_returned(struct run *run, struct run *before)
{
	struct watched *w = run->watched;
	struct server *server = w->server;
	enum flip_outcome outcome = flip_get_outcome(run->flip);
	bool rehearsal = flip_is_rehearsal(run->flip); /* it is no flip: nothing has changed */
	struct wire *document = flip_document(run->flip, true);

	run->active = false;
	log_end(run, document);
	if (outcome != FLIP_NO_OUTCOME && !rehearsal && !(outcome == FLIP_OUTCOME_STUCK && run->was_stuck))
		w->flips[outcome]++;
	run->was_stuck |= outcome == FLIP_OUTCOME_STUCK;
	if (flip_get_state(run->flip) == FLIP_ENDED) {
		if (!rehearsal)
			metrics_observe_flip(run->flip);
		if (outcome != FLIP_NOTHING_TO_DO && !rehearsal)
			watch_remember(w, document);
		w->moved |= !rehearsal && (outcome == FLIP_DONE || outcome == FLIP_ROLLED_BACK);
		w->run = NULL;
		run->watched = NULL;
		flip_off_event(run->flip, on_event, run);
		if (before && leaves_the_master(run) && flip_left(before->flip) && !server->stopping)
			follow_up(w, before);
		if (flip_left(run->flip) && !server->stopping)
			follow_up(w, run);
	}
	wire_free(document);
	fiber_cond_signal(&run->changed);
	fiber_cond_signal(&server->changed);
	if (!run->watched) {
		run_unref(run);
		watch_run_over(w);
	}
}

/* Who asks right after the answer is told what the flip left, not what the pollers saw before it. */
static void MAY_WAIT look_again(struct run *run)
{
	int64_t deadline = clock_us() + LOOK_LIMIT_MS * 1000;
	struct watched *w = run->watched;
	enum flip_outcome outcome = flip_get_outcome(run->flip);

	if (w->server->stopping || outcome == FLIP_REFUSED || outcome == FLIP_NOTHING_TO_DO ||
		flip_is_rehearsal(run->flip))
		return;
	state_changed(w, true);
	while (!state_looked_since(w)) {
		if (fiber_cond_wait(&run->live->cluster->polled, deadline) < 0)
			return;
	}
}

static void run_main(void *arg)
{
	struct run *run = arg, *before = NULL;

	if (!flip_is_rehearsal(run->flip)) /* what the last flip left goes on beside a rehearsal */
		before = follow_up_stop(run->watched);
	if (run->recover)
		flip_recover(run->flip);
	else
		flip_run(run->flip);
	look_again(run);
	run_returned(run, before);
	run_unref(before);
}

static struct run *run_wrap(struct watched *w, struct live *live, struct flip *flip)
{
	struct run *run = xcalloc(1, sizeof(*run));

	assert(!w->run);
	run->watched = w;
	run->live = live;
	run->flip = flip;
	run->refs = 1;
	w->run = run;
	flip_on_event(flip, on_event, run);
	return run;
}

struct run *run_new(struct watched *w, const struct flip_request *request)
{
	struct live *live = live_use(w);
	struct flip *flip = flip_new(live->cluster, w->server->journal, request, w->server->start_id);

	return run_ref(run_wrap(w, live, flip));
}

int run_load(struct watched *w, const char *id, struct err *err)
{
	struct live *live = live_use(w);
	struct flip *flip;
	int r = flip_load(live->cluster, w->server->journal, id, w->server->start_id, &flip, err);

	if (r < 0) {
		live_done(live);
		return r;
	}
	run_wrap(w, live, flip)->was_stuck = flip_get_state(flip) == FLIP_STUCK;
	return 0;
}

void run_begin(struct run *run, bool recover)
{
	char name[128];
	struct strbuf b = {0};

	assert(!run->active && run->watched);
	run->active = true;
	run->recover = recover;
	strbuf_addf(&b, "flip %s", run->watched->name);
	str_copy(name, sizeof(name), strbuf_str(&b));
	strbuf_free(&b);
	/* Nobody joins it: run->active and run->changed tell when it has returned. */
	fiber_detach(fiber_spawn(name, run_main, run));
}

void run_listen(struct run *run, run_event_fn fn, void *arg)
{
	struct run_listener *l = xcalloc(1, sizeof(*l));

	*l = (struct run_listener){.next = run->listeners, .fn = fn, .arg = arg};
	run->listeners = l;
}

void run_unlisten(struct run *run, void *arg)
{
	for (struct run_listener **p = &run->listeners; *p; p = &(*p)->next) {
		struct run_listener *l = *p;
		if (l->arg != arg)
			continue;
		*p = l->next;
		free(l);
		return;
	}
}

struct run *run_ref(struct run *run)
{
	run->refs++;
	return run;
}

void run_unref(struct run *run)
{
	if (!run || --run->refs > 0)
		return;
	assert(!run->active && !run->listeners);
	flip_free(run->flip);
	live_done(run->live);
	free(run);
}

bool run_over(const struct run *run)
{
	return !run->active && flip_get_state(run->flip) == FLIP_ENDED;
}

const char *run_word(const struct run *run)
{
	return flip_is_rehearsal(run->flip) ? "rehearsal" : "flip";
}

int run_wait(struct run *run, int64_t deadline_us)
{
	return fiber_cond_wait(&run->changed, deadline_us);
}
