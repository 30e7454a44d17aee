/* watch: a cluster's life in the daemon, its state in one word, and what is done after each poll. */
#include "daemon/watch.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/guard.h"
#include "daemon/metrics.h"
#include "daemon/run.h"
#include "daemon/server.h"
#include "daemon/state.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/base/str.h"
#include "lib/model/wire.h"

/* After each poll */

static int server_index(struct cluster *c, const struct cluster_server *s)
{
	for (int i = 0; i < cluster_nservers(c); i++) {
		if (cluster_server_at(c, i) == s)
			return i;
	}
	return 0;
}

#define BEATS_FAILED_MOST 3 /* a restart of the master costs one or two */

static void note_server(struct watched *w, const struct cluster_server *s)
{
	struct log_ctx ctx = {.cluster = w->name, .server = s->conf->name};
	bool *was_up = &w->server_up[server_index(s->cluster, s)];

	if (*was_up != s->facts.up && s->facts.up)
		log_at(LOG_LEVEL_INFO, &ctx, "answers: %s, %s", s->facts.version,
			s->facts.read_only ? "closed" : "open");
	else if (!s->facts.up && (*was_up || s->polls == 1))
		log_at(LOG_LEVEL_WARNING, &ctx, "does not answer: %s", err_text(&s->error));
	*was_up = s->facts.up;
}

/* Nobody misses it at once; without it lag below a second is not seen. Where the master is out of reach that
 * is said already. */
static void note_heartbeat(struct watched *w, const struct cluster *c)
{
	struct log_ctx ctx = {.cluster = w->name};
	enum cluster_master m = cluster_master(c);
	bool fails = c->heartbeat_failures >= BEATS_FAILED_MOST;

	if (fails == w->heartbeat_fails || m > CLUSTER_MASTER_TARGET || !c->side[m].facts.up)
		return;
	w->heartbeat_fails = fails;
	if (fails)
		log_at(LOG_LEVEL_WARNING, &ctx, "the heartbeat is not written: %s",
			err_text(&c->heartbeat_error));
	else
		log_at(LOG_LEVEL_INFO, &ctx, "the heartbeat is written again");
}

static bool all_polled(struct cluster *c)
{
	for (int i = 0; i < cluster_nservers(c); i++) {
		if (cluster_server_at(c, i)->polls == 0)
			return false;
	}
	return true;
}

/* Changes of master and state are logged once. In a flip the steps tell the same. */
static void note_state(struct watched *w)
{
	static const enum log_level levels[WATCH_STATES] = {
		[WATCH_STUCK] = LOG_LEVEL_ERROR,
		[WATCH_RECOVERING] = LOG_LEVEL_WARNING,
		[WATCH_ROLLING_BACK] = LOG_LEVEL_NOTICE,
		[WATCH_FLIPPING] = LOG_LEVEL_NOTICE,
		[WATCH_SPLIT_BRAIN] = LOG_LEVEL_ERROR,
		[WATCH_NO_MASTER] = LOG_LEVEL_ERROR,
		[WATCH_UNREACHABLE] = LOG_LEVEL_WARNING,
		[WATCH_SETTLING] = LOG_LEVEL_NOTICE,
		[WATCH_DEGRADED] = LOG_LEVEL_WARNING,
		[WATCH_OK] = LOG_LEVEL_NOTICE,
	};
	struct log_ctx ctx = {.cluster = w->name};

	w->master = state_find_master(w);
	if (!all_polled(w->live->cluster))
		return;
	if (w->master != w->told_master && w->master <= CLUSTER_MASTER_TARGET) {
		log_at(LOG_LEVEL_NOTICE, &ctx, "the master is %s", conf_side_name((enum conf_side)w->master));
		w->told_master = w->master;
	}
	enum watch_state state = watch_get_state(w);
	if (state == w->state)
		return;
	log_at(levels[state], &ctx, "state %s%s%s", watch_state_name(state),
		w->state < WATCH_STATES ? ", was " : "",
		w->state < WATCH_STATES ? watch_state_name(w->state) : "");
	w->state = state;
}

static void on_poll(struct cluster_server *s, void *arg)
{
	struct watched *w = arg;

	if (s->cluster != w->live->cluster)
		return;
	if (s->facts.up)
		metrics_observe_poll(s->poll_us);
	note_server(w, s);
	note_heartbeat(w, s->cluster);
	state_note_poll(w, s);
	note_state(w);
	state_judge(w);
	guard_look(w);
	/* Both seen open or closed, but not at the same time: the next look tells. */
	if (!w->run && w->master != cluster_master(s->cluster))
		cluster_poke(s->cluster);
}

/* Life */

static struct live *live_new(struct watched *w, struct cluster *c)
{
	struct live *live = xcalloc(1, sizeof(*live));

	live->cluster = c;
	c->on_poll = on_poll;
	c->on_poll_arg = w;
	return live;
}

struct live *live_use(struct watched *w)
{
	w->live->users++;
	return w->live;
}

void live_done(struct live *live)
{
	assert(live->users > 0);
	if (--live->users == 0)
		fiber_cond_signal(&live->idle);
}

static void MAY_WAIT live_end(struct live *live)
{
	while (live->users > 0)
		(void)fiber_cond_wait(&live->idle, CLOCK_FOREVER);
	cluster_stop(live->cluster);
	cluster_free(live->cluster);
	free(live);
}

static void retire_main(void *arg)
{
	live_end(arg);
}

/* Nobody waits for what has been replaced. */
static void live_retire(struct live *live)
{
	live->cluster->on_poll = NULL;
	fiber_detach(fiber_spawn("retire", retire_main, live));
}

static void reset_view(struct watched *w, const struct cluster *c)
{
	free(w->server_up);
	w->server_up = xcalloc((size_t)cluster_nservers(c), sizeof(*w->server_up));
	arena_free(w->judged_arena);
	w->judged_arena = NULL;
	w->judged = (struct preflight){0};
	w->judged_to = CONF_TARGET;
	w->judged_polls[0] = w->judged_polls[1] = 0;
	w->seen[0] = w->seen[1] = (struct watch_seen){0};
	w->changed_ms = w->changed_polls[0] = w->changed_polls[1] = 0;
	w->heartbeat_fails = false;
}

int watch_new(struct server *server, struct conf *snapshot, const struct conf_cluster *conf,
	struct watched **ret, struct err *err)
{
	struct cluster *c;
	int r = cluster_new(snapshot, conf, &c, err);

	if (r < 0)
		return r;
	struct watched *w = xcalloc(1, sizeof(*w));
	w->server = server;
	w->name = xstrdup(conf->name);
	w->live = live_new(w, c);
	w->configured = true;
	w->last_blackout_us = -1;
	w->guarded = -1;
	w->state = WATCH_STATES;
	w->master = w->told_master = CLUSTER_MASTER_UNKNOWN;
	reset_view(w, c);
	*ret = w;
	return 0;
}

void watch_start(struct watched *w)
{
	cluster_start(w->live->cluster);
}

void watch_free(struct watched *w)
{
	assert(!w->run);
	/* Requests may hold the cluster for long yet, and it is polled until they let go. */
	w->live->cluster->on_poll = NULL;
	fiber_stop(w->guard);
	fiber_stop(w->follow_up);
	run_unref(w->left);
	cluster_free(w->next);
	live_end(w->live);
	wire_free(w->last_flip);
	arena_free(w->judged_arena);
	free(w->server_up);
	free(w->unreadable);
	free((char *)w->name);
	free(w);
}

void watch_replace(struct watched *w, struct cluster *c)
{
	cluster_free(w->next); /* it waits without a run where a flip cannot be read */
	w->next = w->run ? c : NULL;
	if (w->run)
		return;
	if (w->left && flip_left(w->left->flip))
		log_at(LOG_LEVEL_WARNING,
			&(struct log_ctx){.cluster = w->name, .flip_id = flip_id(w->left->flip)},
			"what this flip left is not tried any more, the configuration has changed: see its "
			"warnings");
	if (w->follow_up)
		fiber_cancel(w->follow_up);
	run_unref(w->left);
	w->left = NULL;
	memcpy(c->reached, w->live->cluster->reached, sizeof(c->reached));
	live_retire(w->live);
	w->live = live_new(w, c);
	reset_view(w, c);
	cluster_start(c);
}

static void gone_main(void *arg)
{
	watch_free(arg);
}

void watch_run_over(struct watched *w)
{
	if (!w->configured) {
		log_at(LOG_LEVEL_NOTICE, &(struct log_ctx){.cluster = w->name},
			"is not configured any more and has no flip left: no longer watched");
		server_remove(w->server, w);
		fiber_detach(fiber_spawn("forget", gone_main, w));
		return;
	}
	struct cluster *next = w->next;
	w->next = NULL;
	if (next && !w->server->stopping)
		watch_replace(w, next);
	else
		cluster_free(next);
}

/* The last flip */

#define KILLED_KEPT 20

/* Without steps, and small: a status shows it for every cluster. `show` has the whole. */
static struct wire *shorten(const struct wire *document)
{
	struct wire *doc = wire_copy(document), *notable = wire_array(), *killed = wire_array();
	const struct wire *all = wire_get(document, "checks");

	for (size_t i = 0; i < wire_len(all); i++) {
		const char *result = wire_get_str(wire_at(all, i), "result");
		if (!str_eq(result, "ok") && !str_eq(result, "skip"))
			wire_add(notable, wire_copy(wire_at(all, i)));
	}
	all = wire_get(document, "killed");
	for (size_t i = 0; i < wire_len(all) && i < KILLED_KEPT; i++)
		wire_add(killed, wire_copy(wire_at(all, i)));
	wire_remove(doc, "steps");
	wire_set(doc, "checks", notable);
	wire_set(doc, "killed", killed);
	return doc;
}

/* Only a position that the server was seen to have: a flip that ended by an operator's word has no such step.
 */
static void remember_reached(struct watched *w, const struct wire *document)
{
	const struct wire *all = wire_get(document, "steps");
	const char *to = wire_get_str(document, "to");
	const char *final = wire_get_str(wire_get(document, "position"), "final");
	const char *gtid = final ? strchr(final, ' ') : NULL;
	struct gtid_list list;
	bool synced = false;

	for (size_t i = 0; i < wire_len(all); i++)
		synced |= str_eq(wire_get_str(wire_at(all, i), "name"), "sync") &&
			  str_eq(wire_get_str(wire_at(all, i), "state"), "done");
	if (synced && to && gtid && gtid_parse(gtid, &list) == 0)
		w->live->cluster->reached[str_eq(to, "target") ? CONF_TARGET : CONF_SOURCE] = list;
}

void watch_remember(struct watched *w, const struct wire *document)
{
	const char *outcome = wire_get_str(document, "outcome");
	const char *ended = wire_get_str(document, "ended_at");
	double blackout = wire_get_real(document, "blackout_ms", -1);
	bool done = str_eq(outcome, "done");

	if (wire_type(document) != WIRE_OBJECT) /* a damaged journal's */
		return;
	if (done)
		remember_reached(w, document);
	wire_free(w->last_flip);
	w->last_flip = shorten(document);
	if (!ended || clock_parse_time(ended, &w->last_flip_at_ms) < 0)
		w->last_flip_at_ms = 0;
	w->last_blackout_us = blackout < 0 ? -1 : (int64_t)(blackout * 1000);
	guard_set(w, done, str_eq(outcome, "rolled_back"), wire_get_str(document, done ? "from" : "to"));
}
