/*
 * conf_shared: a server that stands in two clusters, mostly a block that was copied. A flip's lock and row
 * are its cluster's: the flips of two clusters do not keep out of each other's way.
 */
#include "lib/model/conf_priv.h"

#include <stdlib.h>
#include <strings.h>

struct place {
	const struct conf_server *server;
	const char *key; /* where in its cluster */
	int cluster;
};

static int compare_addresses(const struct conf_server *a, const struct conf_server *b)
{
	int order = strcasecmp(a->host, b->host);

	return order ? order : (int)a->port - (int)b->port;
}

static int compare_places(const void *a, const void *b)
{
	const struct place *x = a, *y = b;
	int order = compare_addresses(x->server, y->server);

	return order ? order : x->cluster - y->cluster;
}

static int add_place(struct place *places, int n, const struct conf_server *s, const char *key, int cluster)
{
	if (!s->host)
		return n;
	places[n] = (struct place){s, key, cluster};
	return n + 1;
}

static int list_places(const struct conf *conf, struct place *places)
{
	int n = 0;

	for (int i = 0; i < conf->nclusters; i++) {
		const struct conf_cluster *c = &conf->clusters[i];

		for (int side = CONF_SOURCE; side <= CONF_TARGET; side++)
			n = add_place(places, n, &c->side[side], c->side[side].name, i);
		for (int j = 0; j < c->nreplicas; j++)
			n = add_place(places, n, &c->replicas[j], "replicas", i);
	}
	return n;
}

static int count_servers(const struct conf *conf)
{
	int n = 0;

	for (int i = 0; i < conf->nclusters; i++)
		n += 2 + conf->clusters[i].nreplicas;
	return n;
}

void conf_check_shared(struct conf_reader *rd, const struct conf_node *const *nodes)
{
	const struct conf *conf = &rd->box->conf;
	struct place *places = arena_alloc(rd->scratch, (size_t)count_servers(conf) * sizeof(*places));
	int n = list_places(conf, places);

	qsort(places, (size_t)n, sizeof(*places), compare_places);
	for (int i = 1; i < n; i++) {
		const struct place *first = &places[i - 1], *p = &places[i];

		if (p->cluster == first->cluster || compare_addresses(p->server, first->server) != 0)
			continue;
		conf_warn(rd, nodes[p->cluster], p->key,
			HOST_PORT
			" stands in the cluster %s too: flips of the two would not know of each other",
			HOST_PORT_OF(p->server->host, p->server->port), conf->clusters[first->cluster].name);
	}
}
