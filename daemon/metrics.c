/* metrics: Prometheus' text format 0.0.4. Gauges are read off the clusters when asked for; histograms are
 * kept here. */
#include "daemon/metrics.h"

#include <stdio.h>

#include "daemon/run.h"
#include "daemon/server.h"
#include "daemon/status.h"
#include "daemon/watch.h"
#include "lib/base/str.h"
#include "lib/model/escape.h"
#include "lib/store/journal.h"

#define BUCKETS_MOST 16
#define STEPS_MOST 32
#define CLUSTERS_PER_TURN 8

struct histogram {
	const double *bounds; /* seconds, rising, 0 ends them */
	uint64_t counts[BUCKETS_MOST + 1];
	double sum;
	uint64_t count;
};

static const double poll_bounds[] = {.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 0};
static const double step_bounds[] = {
	.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 5, 10, 30, 60, 300, 0};
static const double blackout_bounds[] = {.005, .01, .025, .05, .1, .2, .3, .5, .75, 1, 2, 5, 10, 30, 0};

static struct histogram poll_seconds = {.bounds = poll_bounds};
static struct histogram blackout_seconds = {.bounds = blackout_bounds};
static struct histogram step_seconds[STEPS_MOST];

static void observe(struct histogram *h, int64_t us)
{
	double s = (double)us / 1e6;
	int i = 0;

	while (h->bounds[i] > 0 && s > h->bounds[i])
		i++;
	h->counts[i]++;
	h->sum += s;
	h->count++;
}

void metrics_observe_poll(int64_t us)
{
	observe(&poll_seconds, us);
}

void metrics_observe_flip(const struct flip *flip)
{
	for (int i = 0; i < steps_count && i < STEPS_MOST; i++) {
		int64_t us = flip_step_us(flip, i);

		step_seconds[i].bounds = step_bounds;
		if (us >= 0)
			observe(&step_seconds[i], us);
	}
	if (flip_blackout_us(flip) >= 0)
		observe(&blackout_seconds, flip_blackout_us(flip));
}

/* The format */

/* Labels as a list of name, value, name, value ... NULL. */
static void sample(struct strbuf *b, const char *name, const char *const *labels, double value)
{
	strbuf_add(b, name);
	for (int i = 0; labels[i]; i += 2) {
		strbuf_addf(b, "%s%s=\"", i ? "," : "{", labels[i]);
		escape_label(b, labels[i + 1]);
		strbuf_add(b, "\"");
	}
	strbuf_addf(b, "%s %.15g\n", labels[0] ? "}" : "", value);
}

#define LABELS(...) ((const char *const[]){__VA_ARGS__, NULL})
#define NO_LABELS ((const char *const[]){NULL})

static void family(struct strbuf *b, const char *name, const char *type, const char *help)
{
	strbuf_addf(b, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void print_histogram(struct strbuf *b, const char *name, const char *step, const struct histogram *h)
{
	uint64_t below = 0;
	char full[96], bound[32];

	for (int i = 0; h->bounds; i++) {
		bool last = h->bounds[i] == 0;
		below += h->counts[i];
		(void)snprintf(full, sizeof(full), "%s_bucket", name);
		(void)snprintf(bound, sizeof(bound), last ? "+Inf" : "%g", h->bounds[i]);
		if (step)
			sample(b, full, LABELS("step", step, "le", bound), (double)below);
		else
			sample(b, full, LABELS("le", bound), (double)below);
		if (last)
			break;
	}
	const char *const *labels = step ? LABELS("step", step) : NO_LABELS;
	(void)snprintf(full, sizeof(full), "%s_sum", name);
	sample(b, full, labels, h->sum);
	(void)snprintf(full, sizeof(full), "%s_count", name);
	sample(b, full, labels, (double)h->count);
}

/* Families of gauges, each printed for every cluster */

static void server_up(struct strbuf *b, const char *name, struct watched *w, const struct cluster_server *s)
{
	sample(b, name, LABELS("cluster", w->name, "server", s->conf->name), s->facts.up);
}

static void server_writable(
	struct strbuf *b, const char *name, struct watched *w, const struct cluster_server *s)
{
	if (s->facts.up)
		sample(b, name, LABELS("cluster", w->name, "server", s->conf->name), !s->facts.read_only);
}

static void replication_running(
	struct strbuf *b, const char *name, struct watched *w, const struct cluster_server *s)
{
	bool io = s->facts.up && s->facts.nchannels, sql = io;

	if (!s->facts.up || s->facts.nchannels == 0)
		return;
	for (int i = 0; i < s->facts.nchannels; i++) {
		io = io && str_ieq(s->facts.channels[i].io, "Yes");
		sql = sql && str_ieq(s->facts.channels[i].sql, "Yes");
	}
	sample(b, name, LABELS("cluster", w->name, "server", s->conf->name, "thread", "io"), io);
	sample(b, name, LABELS("cluster", w->name, "server", s->conf->name, "thread", "sql"), sql);
}

static void replication_lag(
	struct strbuf *b, const char *name, struct watched *w, const struct cluster_server *s)
{
	int64_t lag_s = -1;

	for (int i = 0; s->facts.up && i < s->facts.nchannels; i++) {
		if (s->facts.channels[i].lag_s > lag_s)
			lag_s = s->facts.channels[i].lag_s;
	}
	if (lag_s >= 0)
		sample(b, name, LABELS("cluster", w->name, "server", s->conf->name, "by", "status"),
			(double)lag_s);
	if (s->facts.up && s->facts.nchannels && s->heartbeat_lag_ms >= 0)
		sample(b, name, LABELS("cluster", w->name, "server", s->conf->name, "by", "heartbeat"),
			(double)s->heartbeat_lag_ms / 1000);
}

static void cluster_state(struct strbuf *b, const char *name, struct watched *w)
{
	enum watch_state now = watch_get_state(w);

	for (int i = 0; i < WATCH_STATES; i++)
		sample(b, name, LABELS("cluster", w->name, "state", watch_state_name((enum watch_state)i)),
			now == (enum watch_state)i);
}

static void cluster_ready(struct strbuf *b, const char *name, struct watched *w)
{
	sample(b, name, LABELS("cluster", w->name, "to", "source"), watch_ready(w, CONF_SOURCE));
	sample(b, name, LABELS("cluster", w->name, "to", "target"), watch_ready(w, CONF_TARGET));
}

static void split_brain(struct strbuf *b, const char *name, struct watched *w)
{
	sample(b, name, LABELS("cluster", w->name), w->master == CLUSTER_MASTER_BOTH_WRITABLE);
}

static void flips_total(struct strbuf *b, const char *name, struct watched *w)
{
	for (int i = FLIP_NO_OUTCOME + 1; i <= FLIP_OUTCOME_STUCK; i++)
		sample(b, name,
			LABELS("cluster", w->name, "outcome", flip_outcome_name((enum flip_outcome)i)),
			(double)w->flips[i]);
}

static void last_flip(struct strbuf *b, const char *name, struct watched *w)
{
	if (w->last_flip_at_ms)
		sample(b, name, LABELS("cluster", w->name), (double)w->last_flip_at_ms / 1000);
}

static void last_blackout(struct strbuf *b, const char *name, struct watched *w)
{
	if (w->last_blackout_us >= 0)
		sample(b, name, LABELS("cluster", w->name), (double)w->last_blackout_us / 1e6);
}

static const struct {
	const char *name, *type, *help;
	void (*server)(struct strbuf *, const char *name, struct watched *, const struct cluster_server *);
	void (*cluster)(struct strbuf *, const char *name, struct watched *);
} families[] = {
	{"flipd_server_up", "gauge", "1 when the last poll of the server was answered.", .server = server_up},
	{"flipd_server_writable", "gauge", "1 when the server takes writes.", .server = server_writable},
	{"flipd_replication_running", "gauge", "1 when the thread runs in every channel.",
		.server = replication_running},
	{"flipd_replication_lag_seconds", "gauge",
		"How far the server is behind, by its own status or the heartbeat.",
		.server = replication_lag},
	{"flipd_cluster_state", "gauge", "1 for the state that the cluster is in.", .cluster = cluster_state},
	{"flipd_cluster_ready", "gauge",
		"1 when a flip to that side would not be refused by the cheap checks.",
		.cluster = cluster_ready},
	{"flipd_split_brain", "gauge", "1 while both sides take writes.", .cluster = split_brain},
	{"flipd_flips_total", "counter", "Flips ended since flipd started, by outcome.",
		.cluster = flips_total},
	{"flipd_last_flip_timestamp_seconds", "gauge", "When the last flip ended.", .cluster = last_flip},
	{"flipd_last_flip_blackout_seconds", "gauge", "How long writes stood still in the last flip.",
		.cluster = last_blackout},
};

static void MAY_WAIT print_family(struct server *server, size_t f, struct strbuf *b)
{
	family(b, families[f].name, families[f].type, families[f].help);
	for (int i = 0; i < server->nwatched; i++) {
		if (i % CLUSTERS_PER_TURN == 0)
			status_await_turn(server);
		if (i >= server->nwatched)
			break;
		struct watched *w = server->watched[i];
		struct cluster *c = w->live->cluster;

		if (families[f].cluster)
			families[f].cluster(b, families[f].name, w);
		for (int k = 0; families[f].server && k < cluster_nservers(c); k++)
			families[f].server(b, families[f].name, w, cluster_server_at(c, k));
	}
}

void metrics_print(struct server *server, struct strbuf *b)
{
	family(b, "flipd_build_info", "gauge", "Always 1.");
	sample(b, "flipd_build_info", LABELS("version", FLIPD_VERSION), 1);
	for (size_t f = 0; f < COUNT_OF(families); f++)
		print_family(server, f, b);
	status_await_turn(server);
	family(b, "flipd_scheduled_flips", "gauge", "Flips that wait for their time.");
	sample(b, "flipd_scheduled_flips", NO_LABELS, 0);
	family(b, "flipd_poll_seconds", "histogram", "How long polls of servers took.");
	print_histogram(b, "flipd_poll_seconds", NULL, &poll_seconds);
	family(b, "flipd_flip_blackout_seconds", "histogram", "How long writes stood still in flips.");
	print_histogram(b, "flipd_flip_blackout_seconds", NULL, &blackout_seconds);
	family(b, "flipd_flip_step_seconds", "histogram", "How long each step of flips took.");
	for (int i = 0; i < steps_count && i < STEPS_MOST; i++) {
		step_seconds[i].bounds = step_bounds;
		print_histogram(b, "flipd_flip_step_seconds", steps[i].name, &step_seconds[i]);
	}
}
