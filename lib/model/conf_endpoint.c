/* conf_endpoint: the endpoints of a cluster: read by kind, made canonical, checked, named. */
#include "lib/model/conf_priv.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define VALUES_MAX 32	  /* what an answer can hold */
#define ENDPOINTS_MAX 100 /* in one cluster: they switch together */

/* The canonical text of one value; NULL when it is none of the type. */
static const char *canonical(struct conf_reader *rd, const char *type, const char *s)
{
	int family = str_eq(type, "A") ? AF_INET : AF_INET6;
	char text[INET6_ADDRSTRLEN];
	struct in6_addr a;

	if (str_eq(type, "CNAME"))
		return conf_is_ip(s) ? NULL : conf_dns_name(rd->arena, s);
	if (inet_pton(family, s, &a) != 1 || !inet_ntop(family, &a, text, sizeof(text)))
		return NULL;
	return arena_strdup(rd->arena, text);
}

static int compare(const void *a, const void *b)
{
	return strcasecmp(*(const char *const *)a, *(const char *const *)b);
}

/* Sorted, so that sets compare as lists. */
static bool check_values(struct conf_reader *rd, const struct conf_node *n, const char *key, const char *type,
	struct conf_list *l)
{
	bool one_only = str_eq(type, "CNAME");

	if (l->n > (one_only ? 1 : VALUES_MAX)) {
		conf_error(
			rd, n, key, "more than %d value%s", one_only ? 1 : VALUES_MAX, one_only ? "" : "s");
		return false;
	}
	for (int i = 0; i < l->n; i++) {
		const char *s = canonical(rd, type, l->v[i]);

		if (!s) {
			conf_error(rd, n, key, "'%.80s' is no value of type %s", l->v[i], type);
			return false;
		}
		l->v[i] = s;
	}
	if (l->n)
		qsort(l->v, (size_t)l->n, sizeof(*l->v), compare);
	for (int i = 1; i < l->n; i++)
		if (compare(&l->v[i - 1], &l->v[i]) == 0) {
			conf_error(rd, n, key, "%s stands twice in the list", l->v[i]);
			return false;
		}
	return true;
}

static bool same_values(const struct conf_list *a, const struct conf_list *b)
{
	for (int i = 0; i < a->n && i < b->n; i++)
		if (!str_ieq(a->v[i], b->v[i]))
			return false;
	return a->n == b->n;
}

static void check_record(struct conf_reader *rd, const struct conf_node *n, struct conf_endpoint *e)
{
	struct conf_list *source = &e->value[CONF_SOURCE], *target = &e->value[CONF_TARGET];
	bool whole = conf_need(rd, n, "name", e->rr_name);

	whole = conf_need(rd, n, "type", e->type) && whole;
	whole = conf_need(rd, n, "source", source->n) && whole;
	whole = conf_need(rd, n, "target", target->n) && whole;
	if (!whole || !check_values(rd, n, "source", e->type, source) ||
		!check_values(rd, n, "target", e->type, target))
		return;
	if (same_values(source, target))
		conf_error(rd, n, "target", "the same as source: nothing would switch");
}

static bool is_within(const char *name, const char *zone)
{
	size_t n = strlen(name), z = strlen(zone);

	return n >= z && str_ieq(name + n - z, zone) && (n == z || name[n - z - 1] == '.');
}

static void check_dns(struct conf_reader *rd, const struct conf_node *n, struct conf_endpoint *e)
{
	const struct conf_node *tsig = conf_node_get(n, "tsig");

	check_record(rd, n, e);
	if (conf_need(rd, n, "zone", e->zone) && e->rr_name) {
		if (!is_within(e->rr_name, e->zone))
			conf_error(rd, n, "name", "%s is not in the zone %s", e->rr_name, e->zone);
		else if (str_eq(e->type, "CNAME") && strlen(e->rr_name) == strlen(e->zone))
			conf_error(rd, n, "type", "the top of a zone cannot be a CNAME");
	}
	conf_need(rd, n, "servers", e->servers.n);
	if (tsig && conf_node_want_map(rd, tsig))
		conf_check_tsig(rd, tsig, e);
}

static void check_route53(struct conf_reader *rd, const struct conf_node *n, struct conf_endpoint *e)
{
	conf_need(rd, n, "hosted_zone_id", e->hosted_zone_id);
	check_record(rd, n, e);
}

static void check_hook(struct conf_reader *rd, const struct conf_node *n, struct conf_endpoint *e)
{
	conf_need(rd, n, "path", e->path);
}

void conf_check_endpoint(struct conf_reader *rd, const struct conf_node *n, struct conf_endpoint *e)
{
	static void (*const checks[CONF_ENDPOINT_KINDS])(
		struct conf_reader *, const struct conf_node *, struct conf_endpoint *) = {
		[CONF_ENDPOINT_DNS] = check_dns,
		[CONF_ENDPOINT_HOOK] = check_hook,
		[CONF_ENDPOINT_ROUTE53] = check_route53,
	};

	checks[e->kind](rd, n, e);
	if (conf_endpoint_kinds[e->kind].later)
		conf_warn(rd, n, NULL, "comes with a later version; this one does not flip the cluster");
}

/* The length of a URL's scheme, ":" and slashes; 0 for a path. *ret_host: what comes after a user and
 * password, *ret_rest what comes after the host. */
static size_t split_url(const char *path, const char **ret_host, const char **ret_rest)
{
	const char *scheme = path[0] == '/' ? NULL : strstr(path, "://");

	if (!scheme)
		return 0;
	const char *user = scheme + 3;
	size_t len = strcspn(user, "/?#");
	const char *at = memrchr(user, '@', len);

	*ret_host = at ? at + 1 : user;
	*ret_rest = user + len;
	return (size_t)(user - path);
}

const char *conf_hook_name(const char *path, char *buf, size_t size)
{
	const char *host, *rest;
	size_t scheme = split_url(path, &host, &rest);

	if (!scheme)
		return str_copy(buf, size, path);
	(void)snprintf(buf, size, "%.*s%.*s", (int)scheme, path, (int)(rest - host), host);
	return buf;
}

void conf_print_hook(struct strbuf *out, const char *path)
{
	const char *host, *rest;
	size_t scheme = split_url(path, &host, &rest);

	if (!scheme || host == path + scheme)
		strbuf_add(out, path);
	else
		strbuf_addf(out, "%.*s***@%s", (int)scheme, path, host);
}

/* Who is asked to switch it; NULL for a hook. */
static const char *where_is(const struct conf_endpoint *e)
{
	return e->kind == CONF_ENDPOINT_DNS && e->servers.n ? e->servers.v[0] : e->hosted_zone_id;
}

static bool is_same(const struct conf_endpoint *a, const struct conf_endpoint *b)
{
	if (a->kind != b->kind)
		return false;
	if (a->kind == CONF_ENDPOINT_HOOK)
		return str_eq(a->path, b->path);
	return str_ieq(a->rr_name, b->rr_name) && str_eq(a->type, b->type) &&
	       str_ieq(where_is(a), where_is(b));
}

/* The first that no other endpoint of the cluster has: one name may stand in two types, or in two views.
 * NULL: so does another, or the same stands there already. */
static const char *find_label(
	struct conf_reader *rd, const struct conf_cluster *c, const struct conf_endpoint *e)
{
	const char *word = conf_endpoint_kinds[e->kind].word;
	bool hook = e->kind == CONF_ENDPOINT_HOOK && e->path;
	char host[200];
	const char *name = hook ? conf_hook_name(e->path, host, sizeof(host)) : e->rr_name;
	const char *where = where_is(e);
	const char *labels[3] = {arena_printf(rd->arena, "%s %s", word, name ? name : "")};

	if (e->type)
		labels[1] = arena_printf(rd->arena, "%s %s", labels[0], e->type);
	if (hook && e->path[0] != '/') /* several may be on one host */
		labels[1] = arena_printf(rd->arena, "%s #%d", labels[0], c->nendpoints + 1);
	for (int j = 0; j < c->nendpoints; j++)
		if (is_same(&c->endpoints[j], e))
			return NULL;
	if (e->type && where)
		labels[2] = arena_printf(rd->arena, "%s @%s", labels[1], where);
	for (size_t i = 0; i < COUNT_OF(labels) && labels[i]; i++) {
		bool taken = false;

		for (int j = 0; j < c->nendpoints; j++)
			taken = taken || str_ieq(c->endpoints[j].label, labels[i]);
		if (!taken)
			return labels[i];
	}
	return NULL;
}

static void read_endpoint(struct conf_reader *rd, const struct conf_node *n, struct conf_cluster *c)
{
	struct conf_endpoint *e = &c->endpoints[c->nendpoints];
	const struct conf_node *in;

	if (n->kind != CONF_NODE_MAP || n->n != 1) {
		conf_error(rd, n, NULL, "an endpoint is a mapping with one key: dns, route53 or hook");
		return;
	}
	in = n->v[0];
	for (int kind = 0; kind < CONF_ENDPOINT_KINDS; kind++) {
		if (!str_eq(in->key, conf_endpoint_kinds[kind].word))
			continue;
		e->kind = (enum conf_endpoint_kind)kind;
		conf_read_map(rd, conf_endpoint_kinds[kind].keys, in, e);
		conf_check_endpoint(rd, in, e);
		e->label = find_label(rd, c, e);
		if (!e->label)
			conf_error(rd, in, NULL, "the same endpoint stands twice in the cluster");
		else
			c->nendpoints++;
		return;
	}
	conf_error(rd, in, NULL, "no such endpoint; there are dns, route53 and hook");
}

void conf_read_endpoints(struct conf_reader *rd, const struct conf_node *list, struct conf_cluster *c)
{
	if (list->kind == CONF_NODE_NULL)
		return;
	if (list->kind != CONF_NODE_LIST || list->n > ENDPOINTS_MAX) {
		conf_error(rd, list, NULL, "a list of at most %d endpoints is wanted", ENDPOINTS_MAX);
		return;
	}
	c->endpoints = arena_alloc(rd->arena, (size_t)list->n * sizeof(*c->endpoints));
	for (int i = 0; i < list->n; i++)
		read_endpoint(rd, list->v[i], c);
}
