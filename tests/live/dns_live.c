/*
 * dns_live: drives the dns endpoint and its updates against real name servers, for test_dns.py. Each VERB
 * prints one line of tab-separated key=value pairs; ticks counts how often the loop's other fiber ran
 * meanwhile (every 10 ms).
 *
 *     dns_live --servers A,B --name N --zone Z --type T --source V,V --target V,V [--authoritative A,B]
 * [--ttl S]
 *              [--key NAME --secret FILE [--algorithm A]] [--deadline MS] VERB...
 *
 * VERB: warm look prove switch:SIDE spread:SIDE update:SIDE (one raw update at the first server) ask:NAME
 * resolve:HOST sleep:MS cancel:MS (the next verb is cancelled after that time) plan:SIDE
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/arena.h"
#include "lib/base/clock.h"
#include "lib/base/str.h"
#include "lib/io/dns.h"
#include "lib/io/dns_update.h"
#include "lib/io/fiber.h"
#include "lib/io/loop.h"
#include "lib/provider/provider.h"

static struct {
	struct conf_endpoint conf;
	const struct endpoint_ops *ops;
	struct endpoint *endpoint;
	struct arena *arena;
	int64_t deadline_ms, cancel_ms;
	char **verbs;
	struct fiber *worker;
	long ticks;
} live = {.deadline_ms = 5000};

static const char *const act_names[] = {
	[ACT_DONE] = "DONE", [ACT_REFUSED] = "REFUSED", [ACT_UNKNOWN] = "UNKNOWN"};
static const char *const at_names[] = {
	[ENDPOINT_AT_SOURCE] = "source", [ENDPOINT_AT_TARGET] = "target", [ENDPOINT_AT_OTHER] = "other"};
static const struct provider_ctx ctx = {.cluster = "live",
	.run = "1",
	.flip_id = "",
	.step = "endpoints",
	.from = CONF_SOURCE,
	.to = CONF_TARGET};

/* What a verb had to say, beside what became of it. */
struct outcome {
	enum act act;
	char more[400];
	struct err err;
};

static enum conf_side side_of(const char *arg)
{
	return strcmp(arg, "source") ? CONF_TARGET : CONF_SOURCE;
}

static void run_warm(const char *arg, int64_t deadline_us, struct outcome *o)
{
	(void)arg;
	o->act = live.ops->warm(live.endpoint, &ctx, deadline_us, &o->err);
}

static void run_look(const char *arg, int64_t deadline_us, struct outcome *o)
{
	enum endpoint_at at = ENDPOINT_AT_OTHER;
	(void)arg;

	o->act = live.ops->look(live.endpoint, &ctx, deadline_us, &at, &o->err);
	if (o->act == ACT_DONE)
		(void)snprintf(o->more, sizeof(o->more), "\tat=%s", at_names[at]);
}

static void run_prove(const char *arg, int64_t deadline_us, struct outcome *o)
{
	(void)arg;
	o->act = live.ops->prove(live.endpoint, &ctx, deadline_us, &o->err);
}

static void run_switch(const char *arg, int64_t deadline_us, struct outcome *o)
{
	o->act = live.ops->switch_to(live.endpoint, &ctx, side_of(arg), deadline_us, &o->err);
}

static void run_spread(const char *arg, int64_t deadline_us, struct outcome *o)
{
	o->act = live.ops->spread(live.endpoint, &ctx, side_of(arg), deadline_us, &o->err);
}

static void run_plan(const char *arg, int64_t deadline_us, struct outcome *o)
{
	char text[300];
	(void)deadline_us;

	live.ops->plan(live.endpoint, side_of(arg), text, sizeof(text));
	(void)snprintf(o->more, sizeof(o->more), "\ttext=%s", text);
}

static void run_update(const char *arg, int64_t deadline_us, struct outcome *o)
{
	const struct conf_endpoint *c = &live.conf;
	const struct conf_list *new = &c->value[side_of(arg)], *old = &c->value[1 - side_of(arg)];
	struct dns_update u = {.zone = c->zone,
		.name = c->rr_name,
		.type = c->type,
		.ttl_s = c->ttl_s,
		.old_values = old->v,
		.nold = old->n,
		.new_values = new->v,
		.nnew = new->n,
		.tsig_name = c->tsig_name,
		.tsig_algorithm = c->tsig_algorithm,
		.tsig_secret = c->tsig_secret};
	struct dns_conn *conn = NULL;
	int rcode = -1;

	o->act = ACT_REFUSED;
	if (dns_conn_open(c->servers.v[0], deadline_us, &conn, &o->err) == 0)
		o->act = dns_update_send(conn, &u, deadline_us, &rcode, &o->err);
	(void)snprintf(o->more, sizeof(o->more), "\trcode=%d\talive=%d", rcode, conn && dns_conn_alive(conn));
	dns_conn_close(conn);
}

static void show_answer(const struct dns_answer *a, struct outcome *o)
{
	size_t used = (size_t)snprintf(o->more, sizeof(o->more),
		"\trcode=%d\taa=%d\tttl=%lld\tvalues=", a->rcode, a->authoritative, (long long)a->ttl_s);

	for (int i = 0; i < a->nvalues && used < sizeof(o->more); i++)
		used += (size_t)snprintf(
			o->more + used, sizeof(o->more) - used, i ? " %s" : "%s", a->values[i]);
}

static void run_ask(const char *arg, int64_t deadline_us, struct outcome *o)
{
	struct dns_answer a;
	int r = dns_ask(live.conf.servers.v[0], arg, live.conf.type, deadline_us, &a, &o->err);

	o->act = r < 0 ? ACT_UNKNOWN : ACT_DONE;
	if (!r)
		show_answer(&a, o);
}

static void run_resolve(const char *arg, int64_t deadline_us, struct outcome *o)
{
	struct dns_answer a;
	int r = dns_resolve(arg, deadline_us, &a, &o->err);

	o->act = r < 0 ? ACT_UNKNOWN : ACT_DONE;
	if (!r)
		show_answer(&a, o);
}

static void run_sleep(const char *arg, int64_t deadline_us, struct outcome *o)
{
	(void)deadline_us, (void)o;
	(void)fiber_sleep_ms(atoi(arg));
}

static void run_cancel(const char *arg, int64_t deadline_us, struct outcome *o)
{
	(void)deadline_us, (void)o;
	live.cancel_ms = atoi(arg);
}

static const struct verb {
	const char *name;
	void (*run)(const char *arg, int64_t deadline_us, struct outcome *);
} verbs[] = {
	{"warm", run_warm},
	{"look", run_look},
	{"prove", run_prove},
	{"switch", run_switch},
	{"spread", run_spread},
	{"plan", run_plan},
	{"update", run_update},
	{"ask", run_ask},
	{"resolve", run_resolve},
	{"sleep", run_sleep},
	{"cancel", run_cancel},
};

static void cancel_worker(int events, void *arg)
{
	(void)events;
	fiber_cancel(arg);
}

static void run_verb(const struct verb *verb, const char *arg)
{
	struct outcome o = {.act = ACT_DONE};
	int64_t begin_us = clock_us(), cancel_us = clock_us() + live.cancel_ms * 1000;
	long ticks = live.ticks;
	struct loop_watch *w = NULL;

	if (live.cancel_ms)
		w = loop_watch_once(-1, LOOP_TIMEOUT, cancel_us, cancel_worker, live.worker);
	live.cancel_ms = 0;
	verb->run(arg, clock_us() + live.deadline_ms * 1000, &o);
	if (clock_us() < cancel_us)
		loop_unwatch(w);
	printf("verb=%s\tact=%s\tms=%lld\tticks=%ld%s\tcode=%d\tlabel=%s\tmessage=%s\n", verb->name,
		act_names[o.act], (long long)(clock_us() - begin_us) / 1000, live.ticks - ticks, o.more,
		o.err.code, o.err.server, o.err.message);
	(void)fflush(stdout);
}

static void worker(void *arg)
{
	(void)arg;
	for (char **v = live.verbs; *v; v++) {
		char *colon = strchr(*v, ':');
		if (colon)
			*colon = '\0';
		for (size_t i = 0; i < COUNT_OF(verbs); i++) {
			if (!strcmp(verbs[i].name, *v))
				run_verb(&verbs[i], colon ? colon + 1 : "");
		}
	}
	loop_stop();
}

static void ticker(void *arg)
{
	(void)arg;
	while (fiber_sleep_ms(10) == 0)
		live.ticks++;
}

static void list_fill(struct conf_list *list, char *text)
{
	char *save = NULL;

	list->v = arena_alloc(live.arena, 64 * sizeof(*list->v));
	for (char *word = strtok_r(text, ",", &save); word && list->n < 64; word = strtok_r(NULL, ",", &save))
		list->v[list->n++] = word;
}

static const char *read_line(const char *path)
{
	char text[256] = "";
	FILE *f = fopen(path, "re");

	if (!f || !fgets(text, sizeof(text), f))
		perror(path);
	if (f)
		(void)fclose(f);
	text[strcspn(text, "\n")] = '\0';
	return arena_strdup(live.arena, text);
}

static const struct option options[] = {
	{"servers", required_argument, NULL, 's'},
	{"authoritative", required_argument, NULL, 'a'},
	{"name", required_argument, NULL, 'n'},
	{"zone", required_argument, NULL, 'z'},
	{"type", required_argument, NULL, 't'},
	{"source", required_argument, NULL, 'o'},
	{"target", required_argument, NULL, 'g'},
	{"ttl", required_argument, NULL, 'l'},
	{"key", required_argument, NULL, 'k'},
	{"secret", required_argument, NULL, 'f'},
	{"algorithm", required_argument, NULL, 'm'},
	{"deadline", required_argument, NULL, 'd'},
	{0},
};

static bool option_take(int c, char *value)
{
	struct conf_endpoint *conf = &live.conf;

	switch (c) {
	case 's':
		list_fill(&conf->servers, value);
		break;
	case 'a':
		list_fill(&conf->authoritative, value);
		break;
	case 'o':
		list_fill(&conf->value[CONF_SOURCE], value);
		break;
	case 'g':
		list_fill(&conf->value[CONF_TARGET], value);
		break;
	case 'n':
		conf->rr_name = value;
		break;
	case 'z':
		conf->zone = value;
		break;
	case 't':
		conf->type = value;
		break;
	case 'l':
		conf->ttl_s = atoi(value);
		break;
	case 'k':
		conf->tsig_name = value;
		break;
	case 'f':
		conf->tsig_secret = read_line(value);
		break;
	case 'm':
		conf->tsig_algorithm = value;
		break;
	case 'd':
		live.deadline_ms = atoi(value);
		break;
	default:
		return false;
	}
	return true;
}

static int live_run(void)
{
	struct err err = {0};

	live.ops = registry_endpoint(CONF_ENDPOINT_DNS);
	if (live.ops->create(&live.conf, &live.endpoint, &err) < 0) {
		printf("verb=create\tact=REFUSED\tcode=%d\tmessage=%s\n", err.code, err_text(&err));
		return 1;
	}
	if (loop_init() < 0)
		return 1;
	struct fiber *tick = fiber_spawn("ticker", ticker, NULL);
	live.worker = fiber_spawn("worker", worker, NULL);
	loop_run();
	fiber_cancel(tick);
	loop_run();
	fiber_join(tick);
	fiber_join(live.worker);
	live.ops->destroy(live.endpoint);
	loop_free();
	return 0;
}

int main(int argc, char **argv)
{
	live.arena = arena_new();
	live.conf = (struct conf_endpoint){.kind = CONF_ENDPOINT_DNS,
		.label = "dns live",
		.type = "CNAME",
		.ttl_s = 5,
		.tsig_algorithm = "hmac-sha256"};
	for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
		if (!option_take(c, optarg))
			return 2;
	}
	live.verbs = argv + optind;
	int status = live_run();
	arena_free(live.arena);
	return status;
}
