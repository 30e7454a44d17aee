/* conf_cluster: puts daemon, clusters and groups together from the files' top mappings. */
#include "lib/model/conf_priv.h"

#include <string.h>

#define REPLICAS_MAX 64
#define REPLICA_NAME_MAX 63

static void read_server(struct conf_reader *rd, const struct conf_layers *above, const struct conf_node *n,
	unsigned where, struct conf_server *s)
{
	struct conf_layers layers;

	if (!conf_node_want_map(rd, n))
		return;
	conf_check_keys(rd, conf_keys_server, NULL, where, n);
	layers = conf_layers_add(rd, above, n);
	s->boots_fenced = -1;
	conf_read_keys(rd, conf_keys_server, &layers, s);
	if (!s->replication_host)
		s->replication_host = s->host;
	if (!s->replication_port)
		s->replication_port = s->port;
	conf_check_server(rd, n, s);
}

static void read_replica_name(struct conf_reader *rd, const struct conf_node *n, struct conf_server *s)
{
	const struct conf_node *name = conf_node_get(n, "name");

	s->name = name ? conf_read_text(rd, name, REPLICA_NAME_MAX) : s->host;
	if (!s->name)
		s->name = "replica";
}

static void read_replicas(struct conf_reader *rd, const struct conf_layers *above,
	const struct conf_node *list, struct conf_cluster *c)
{
	if (!list || list->kind == CONF_NODE_NULL)
		return;
	if (list->kind != CONF_NODE_LIST || list->n > REPLICAS_MAX) {
		conf_error(rd, list, NULL, "a list of at most %d servers is wanted", REPLICAS_MAX);
		return;
	}
	c->nreplicas = list->n;
	c->replicas = arena_alloc(rd->arena, (size_t)list->n * sizeof(*c->replicas));
	for (int i = 0; i < list->n; i++) {
		read_server(rd, above, list->v[i], CONF_IN_SERVER | CONF_IN_REPLICA, &c->replicas[i]);
		read_replica_name(rd, list->v[i], &c->replicas[i]);
	}
}

static void read_sides(struct conf_reader *rd, const struct conf_layers *layers, const struct conf_node *n,
	struct conf_cluster *c)
{
	static const char *const hosts[] = {[CONF_SOURCE] = "source.host", [CONF_TARGET] = "target.host"};

	for (int side = CONF_SOURCE; side <= CONF_TARGET; side++) {
		const char *name = conf_side_name((enum conf_side)side);
		const struct conf_node *in = conf_node_get(n, name);

		c->side[side].name = name;
		if (in)
			read_server(rd, layers, in, CONF_IN_SERVER, &c->side[side]);
		else
			conf_need(rd, n, hosts[side], false);
	}
}

static void read_cluster(struct conf_reader *rd, const struct conf_layers *defaults,
	const struct conf_node *n, struct conf_cluster *c)
{
	struct conf_layers layers;
	const struct conf_node *endpoints;

	c->name = arena_strdup(rd->arena, n->key);
	if (!conf_check_name(rd, n) || !conf_node_want_map(rd, n))
		return;
	conf_check_keys(rd, conf_keys_cluster, conf_keys_server, CONF_IN_CLUSTER, n);
	layers = conf_layers_add(rd, defaults, n);
	conf_read_keys(rd, conf_keys_cluster, &layers, c);
	read_sides(rd, &layers, n, c);
	read_replicas(rd, &layers, conf_node_get(n, "replicas"), c);
	endpoints = conf_node_get(n, "endpoints");
	if (endpoints)
		conf_read_endpoints(rd, endpoints, c);
	conf_check_cluster(rd, n, c);
}

/* The values of a top key, those that are mappings. */
static struct conf_layers top_layers(struct conf_reader *rd, const char *key)
{
	struct conf_layers tops = {.n = rd->ndocs, .v = rd->docs}, all = conf_layers_get(rd, &tops, key),
			   maps = {0};

	for (int i = 0; i < all.n; i++)
		if (conf_node_want_map(rd, all.v[i]))
			maps = conf_layers_add(rd, &maps, all.v[i]);
	return maps;
}

/* Where a name stands among the first values of a top key: in the layers before `layers`, or all with -1. */
static const struct conf_node *find_name(const struct conf_layers *layers, int before, const char *name)
{
	for (int i = 0; i < (before < 0 ? layers->n : before); i++) {
		const struct conf_node *n = conf_node_get(layers->v[i], name);

		if (n)
			return n;
	}
	return NULL;
}

static int count_entries(const struct conf_layers *layers)
{
	int n = 0;

	for (int i = 0; i < layers->n; i++)
		n += layers->v[i]->n;
	return n;
}

static void read_clusters(struct conf_reader *rd, const struct conf_layers *defaults)
{
	struct conf *conf = &rd->box->conf;
	struct conf_layers maps = top_layers(rd, "clusters");
	size_t entries = (size_t)count_entries(&maps);
	const struct conf_node **nodes = arena_alloc(rd->scratch, entries * sizeof(*nodes));

	conf->clusters = arena_alloc(rd->arena, entries * sizeof(*conf->clusters));
	for (int i = 0; i < maps.n; i++) {
		for (int j = 0; j < maps.v[i]->n; j++) {
			const struct conf_node *n = maps.v[i]->v[j], *first = find_name(&maps, i, n->key);

			if (first)
				conf_error(rd, n, NULL, "defined twice, first at %s:%d", first->file,
					first->line);
			nodes[conf->nclusters] = n;
			read_cluster(rd, defaults, n, &conf->clusters[conf->nclusters++]);
		}
	}
	conf_check_shared(rd, nodes);
}

/* Names become names: "*" is every cluster. */
static void expand(struct conf_reader *rd, const struct conf_node *n, struct conf_group *g)
{
	const struct conf *conf = &rd->box->conf;
	struct conf_list given = g->clusters, names = {0};
	bool all = false;

	for (int i = 0; i < given.n; i++) {
		all = all || str_eq(given.v[i], "*");
		if (!str_eq(given.v[i], "*") && !conf_find_cluster(conf, given.v[i]) && !rd->partial)
			conf_error(rd, n, "clusters", "there is no cluster %.80s", given.v[i]);
	}
	if (!all)
		return;
	names.v = arena_alloc(rd->arena, (size_t)conf->nclusters * sizeof(*names.v));
	for (int i = 0; i < conf->nclusters; i++)
		names.v[names.n++] = conf->clusters[i].name;
	g->clusters = names;
}

static void read_group(struct conf_reader *rd, const struct conf_node *n, struct conf_group *g)
{
	g->name = arena_strdup(rd->arena, n->key);
	if (!conf_check_name(rd, n))
		return;
	conf_read_map(rd, conf_keys_group, n, g);
	if (conf_need(rd, n, "clusters", g->clusters.n))
		expand(rd, n, g);
}

void conf_read_groups(struct conf_reader *rd)
{
	struct conf *conf = &rd->box->conf;
	struct conf_layers maps = top_layers(rd, "groups"), clusters = top_layers(rd, "clusters");

	conf->groups = arena_alloc(rd->arena, (size_t)count_entries(&maps) * sizeof(*conf->groups));
	for (int i = 0; i < maps.n; i++) {
		for (int j = 0; j < maps.v[i]->n; j++) {
			const struct conf_node *n = maps.v[i]->v[j], *first = find_name(&maps, i, n->key);

			if (!first)
				first = find_name(&clusters, -1, n->key);
			if (first)
				conf_error(rd, n, NULL, "defined twice, first at %s:%d", first->file,
					first->line);
			read_group(rd, n, &conf->groups[conf->ngroups++]);
		}
	}
}

static void read_daemon(struct conf_reader *rd)
{
	struct conf_layers maps = top_layers(rd, "daemon");

	for (int i = 0; i < maps.n; i++)
		conf_check_keys(rd, conf_keys_daemon, NULL, CONF_IN_OTHER, maps.v[i]);
	conf_read_keys(rd, conf_keys_daemon, &maps, &rd->box->conf.daemon);
}

/* Read once for themselves, so that what is wrong in them shows even where no cluster uses it. */
static void check_defaults(struct conf_reader *rd, const struct conf_layers *maps)
{
	struct conf_cluster *c = arena_alloc(rd->scratch, sizeof(*c));
	struct conf_server *s = arena_alloc(rd->scratch, sizeof(*s));

	for (int i = 0; i < maps->n; i++)
		conf_check_keys(rd, conf_keys_cluster, conf_keys_server, CONF_IN_DEFAULTS, maps->v[i]);
	conf_read_keys(rd, conf_keys_cluster, maps, c);
	conf_read_keys(rd, conf_keys_server, maps, s);
}

void conf_read_all(struct conf_reader *rd)
{
	struct conf_layers defaults = top_layers(rd, "defaults");

	for (int i = 0; i < rd->ndocs; i++)
		conf_check_keys(rd, conf_keys_top, NULL, CONF_IN_OTHER, rd->docs[i]);
	read_daemon(rd);
	check_defaults(rd, &defaults);
	read_clusters(rd, &defaults);
	conf_read_groups(rd);
}
