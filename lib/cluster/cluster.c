/*
 * cluster: polling. One fiber per server opens its watch session, reads its facts, and opens the session
 * again when it died; a server that hangs holds up only its own fiber, for at most POLL_LIMIT_MS.
 */
#include "lib/cluster/cluster.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/cluster/heartbeat.h"

#define STILL_MARGIN_MS 2000 /* a beat on a slow server */
#define POLL_LIMIT_MS 3000   /* a server that has not answered by then is down */

static int server_init(struct cluster *c, struct cluster_server *s, const struct conf_server *conf)
{
	s->cluster = c;
	s->conf = conf;
	s->node = node_new(conf, c->conf->name, c->conf->policy.heartbeat_schema);
	s->heartbeat_lag_ms = -1;
	s->facts.boots_read_only = -1;
	return s->node ? 0 : -ENOMEM;
}

static int endpoints_init(struct cluster *c, struct err *err)
{
	int n = c->conf->nendpoints;

	c->endpoints = xcalloc((size_t)n + 1, sizeof(*c->endpoints));
	c->endpoint_ops = xcalloc((size_t)n + 1, sizeof(*c->endpoint_ops));
	for (int i = 0; i < n; i++) {
		const struct endpoint_ops *ops = registry_endpoint(c->conf->endpoints[i].kind);

		if (!ops)
			continue; /* preflight refuses on it */
		int rc = ops->create(&c->conf->endpoints[i], &c->endpoints[i], err);
		if (rc < 0)
			return rc;
		c->endpoint_ops[i] = ops;
	}
	return 0;
}

int cluster_new(struct conf *snapshot, const struct conf_cluster *conf, struct cluster **ret, struct err *err)
{
	struct cluster *c = xcalloc(1, sizeof(*c));
	int rc = 0;

	c->snapshot = conf_ref(snapshot);
	c->conf = conf;
	c->poll_interval_ms = snapshot->daemon.poll_interval_ms;
	c->heartbeat_home = -1;
	c->nreplicas = conf->nreplicas;
	c->replicas = xcalloc((size_t)conf->nreplicas + 1, sizeof(*c->replicas));
	for (int i = 0; i < 2 && rc == 0; i++)
		rc = server_init(c, &c->side[i], &conf->side[i]);
	for (int i = 0; i < conf->nreplicas && rc == 0; i++)
		rc = server_init(c, &c->replicas[i], &conf->replicas[i]);
	if (rc == 0)
		rc = endpoints_init(c, err);
	if (rc < 0) {
		err_set(err, rc, "cluster %s: cannot be set up", conf->name);
		cluster_free(c);
		return rc;
	}
	*ret = c;
	return 0;
}

static void server_free(struct cluster_server *s)
{
	if (!s)
		return;
	session_close(s->watch);
	node_free(s->node);
	arena_free(s->facts_arena);
}

void cluster_free(struct cluster *c)
{
	if (!c)
		return;
	for (int i = 0; i < cluster_nservers(c); i++)
		server_free(cluster_server_at(c, i));
	for (int i = 0; c->endpoints && i < c->conf->nendpoints; i++)
		if (c->endpoint_ops[i])
			c->endpoint_ops[i]->destroy(c->endpoints[i]);
	session_close(c->heartbeat);
	free(c->endpoints);
	free(c->endpoint_ops);
	free(c->replicas);
	conf_unref(c->snapshot);
	free(c);
}

static void poll_failed(struct cluster_server *s, const struct err *why)
{
	session_close(s->watch);
	s->watch = NULL;
	s->facts.up = false;
	s->error = *why;
	s->heartbeat_lag_ms = -1;
}

/* The master's own row as old as that: nobody beats. The replica's would soon be the same, with any lag. */
static bool stands_still(const struct cluster *c, const struct facts *master)
{
	return master->wall_ms - master->heartbeat_wall_ms >
	       3 * c->conf->policy.heartbeat_interval_ms + STILL_MARGIN_MS;
}

/* How far its heartbeat row is behind the master's own, both as last polled. */
static void poll_heartbeat_lag(struct cluster_server *s)
{
	enum cluster_master m = cluster_master(s->cluster);
	const struct facts *master;

	s->heartbeat_lag_ms = -1;
	if (m > CLUSTER_MASTER_TARGET)
		return;
	master = &s->cluster->side[m].facts;
	if (!master->up || master->heartbeat_wall_ms < 0 || s->facts.heartbeat_wall_ms < 0 ||
		stands_still(s->cluster, master))
		return;
	s->heartbeat_lag_ms = master->heartbeat_wall_ms - s->facts.heartbeat_wall_ms;
	if (s->heartbeat_lag_ms < 0)
		s->heartbeat_lag_ms = 0;
}

static void MAY_WAIT poll_once(struct cluster_server *s)
{
	int64_t begun = clock_us();
	int64_t deadline = begun + POLL_LIMIT_MS * 1000;
	struct err err = {0};
	struct facts *facts;
	struct arena *arena;

	if (s->watch && !session_alive(s->watch)) {
		session_close(s->watch);
		s->watch = NULL;
	}
	if (!s->watch) {
		fiber_doing("connecting to %s", s->conf->name);
		if (session_open(s->node, SESSION_WATCH, NULL, deadline, &s->watch, &err) < 0) {
			s->watch = NULL;
			poll_failed(s, &err);
			return;
		}
	}
	fiber_doing("polling %s", s->conf->name);
	arena = arena_new();
	facts = arena_alloc(arena, sizeof(*facts));
	if (node_facts(s->watch, FACTS_CORE, arena, deadline, facts, &err) != ACT_DONE) {
		arena_free(arena);
		poll_failed(s, &err);
		return;
	}
	arena_free(s->facts_arena);
	s->facts_arena = arena;
	s->facts = *facts;
	err_clear(&s->error);
	s->poll_us = clock_us() - begun;
	poll_heartbeat_lag(s);
}

static void poll_fiber(void *arg)
{
	struct cluster_server *s = arg;
	struct cluster *c = s->cluster;

	while (!c->stopping) {
		poll_once(s);
		s->polls++;
		if (c->stopping)
			return;
		if (c->on_poll)
			c->on_poll(s, c->on_poll_arg);
		fiber_cond_signal(&c->polled);
		fiber_doing("waiting to poll %s", s->conf->name);
		if (fiber_cond_wait(&c->poke, clock_us() + c->poll_interval_ms * 1000) == -ECANCELED)
			return;
	}
}

void cluster_start(struct cluster *c)
{
	for (int i = 0; i < cluster_nservers(c); i++) {
		struct cluster_server *s = cluster_server_at(c, i);
		assert(s);
		s->fiber = fiber_spawn(s->conf->name, poll_fiber, s);
	}
	c->heartbeat_fiber = fiber_spawn("heartbeat", heartbeat_fiber_main, c);
}

void MAY_WAIT cluster_stop(struct cluster *c)
{
	c->stopping = true;
	fiber_cond_signal(&c->poke);
	fiber_cond_signal(&c->heartbeat_wake);
	for (int i = 0; i < cluster_nservers(c); i++) {
		struct cluster_server *s = cluster_server_at(c, i);
		assert(s);
		fiber_stop(s->fiber);
		s->fiber = NULL;
	}
	fiber_stop(c->heartbeat_fiber);
	c->heartbeat_fiber = NULL;
}

enum cluster_master cluster_master(const struct cluster *c)
{
	const struct facts *s = &c->side[CONF_SOURCE].facts, *t = &c->side[CONF_TARGET].facts;
	bool s_open = s->up && !s->read_only, t_open = t->up && !t->read_only;

	if (s_open && t_open)
		return CLUSTER_MASTER_BOTH_WRITABLE;
	/* One side open and the other out of reach: who answers and is open is the master that applications
	 * see. */
	if (s_open)
		return CLUSTER_MASTER_SOURCE;
	if (t_open)
		return CLUSTER_MASTER_TARGET;
	return s->up && t->up ? CLUSTER_MASTER_NONE_WRITABLE : CLUSTER_MASTER_UNKNOWN;
}

const char *cluster_master_why(enum cluster_master m)
{
	static const char *const why[] = {
		[CLUSTER_MASTER_NONE_WRITABLE] = "none_writable",
		[CLUSTER_MASTER_BOTH_WRITABLE] = "both_writable",
		[CLUSTER_MASTER_UNKNOWN] = "unknown",
	};
	return why[m];
}

struct cluster_server *cluster_server_at(struct cluster *c, int i)
{
	if (i < 0)
		return NULL;
	if (i < 2)
		return &c->side[i];
	return i - 2 < c->nreplicas ? &c->replicas[i - 2] : NULL;
}

int cluster_nservers(const struct cluster *c)
{
	return 2 + c->nreplicas;
}

void cluster_poke(struct cluster *c)
{
	fiber_cond_signal(&c->poke);
}

int MAY_WAIT cluster_session(struct cluster_server *s, enum session_role role, int64_t deadline_us,
	struct session **ret, struct err *err)
{
	int rc = session_open(s->node, role, NULL, deadline_us, ret, err);

	if (rc < 0)
		err_server(err, s->conf->name);
	return rc;
}
