/* conf_check: what no single key can say: what is required, what contradicts what. */
#include "lib/model/conf_priv.h"

#include <ctype.h>
#include <string.h>

#include "lib/model/accounts.h"

#define NAME_LONGEST 48 /* names go into lock names, of which servers take 64 bytes */

bool conf_need(struct conf_reader *rd, const struct conf_node *n, const char *key, bool is_there)
{
	const struct conf_node *in = conf_node_get(n, key);

	if (is_there || rd->partial)
		return is_there;
	/* A wrong value has been spoken of; an empty list was none so far. */
	if (!in)
		conf_error(rd, n, key, "missing");
	else if (in->kind == CONF_NODE_NULL || (in->kind == CONF_NODE_LIST && !in->n))
		conf_error(rd, in, NULL, "a value is missing");
	return false;
}

bool conf_check_name(struct conf_reader *rd, const struct conf_node *n)
{
	const char *s = n->key;
	bool ok = isalnum((unsigned char)*s) && strlen(s) <= NAME_LONGEST;

	for (; *s && ok; s++)
		ok = isalnum((unsigned char)*s) || strchr("_.-", *s);
	if (!ok)
		conf_error(rd, n, NULL,
			"a name has at most %d letters, digits, '_', '-' and '.', and begins with a letter "
			"or digit",
			NAME_LONGEST);
	return ok;
}

static void need_text(struct conf_reader *rd, const struct conf_node *n, const char *key, const char *s)
{
	conf_need(rd, n, key, s);
}

void conf_check_fence(struct conf_reader *rd, const struct conf_node *n, const struct conf_fence *f)
{
	if (f->kind == CONF_FENCE_HOOK) {
		need_text(rd, n, "path", f->hook_path);
	} else if (f->kind != CONF_FENCE_READ_ONLY) {
		need_text(rd, n, "region", f->region);
		conf_warn(rd, n, NULL, "comes with a later version; this one does not flip the cluster");
	}
	if (f->kind == CONF_FENCE_SECURITY_GROUP) {
		if (!conf_node_get(n, "cluster_id") == !conf_node_get(n, "instance_id"))
			conf_error(rd, n, NULL, "cluster_id or instance_id is wanted, one of them");
		conf_need(rd, n, "open", f->open.n);
		conf_need(rd, n, "closed", f->closed.n);
	}
	if (f->kind == CONF_FENCE_RDS_READ_ONLY)
		need_text(rd, n, "cluster_id", f->cluster_id);
	if (f->kind == CONF_FENCE_PARAMETER_GROUP) {
		need_text(rd, n, "instance_id", f->instance_id);
		need_text(rd, n, "group", f->group);
	}
}

static void need_somewhere(struct conf_reader *rd, const struct conf_node *n, const char *key, const char *s)
{
	if (!s && !rd->partial)
		conf_error(rd, n, key, "missing; it may stand in defaults, the cluster or the server");
}

void conf_check_server(struct conf_reader *rd, const struct conf_node *n, const struct conf_server *s)
{
	conf_need(rd, n, "host", s->host);
	need_somewhere(rd, n, "user", s->account.user);
	need_somewhere(rd, n, "replication.user", s->replication.user);
	if (!s->tls.cert != !s->tls.key)
		conf_error(
			rd, n, s->tls.cert ? "tls.key" : "tls.cert", "missing: cert and key belong together");
}

/* The name of a server is its key or, for a replica, its place in the list. */
static const struct conf_node *server_node(
	const struct conf_node *cluster, const struct conf_cluster *c, int i)
{
	const struct conf_node *replicas = conf_node_get(cluster, "replicas");

	if (i < 2)
		return conf_node_get(cluster, c->side[i].name);
	return replicas && i - 2 < replicas->n ? replicas->v[i - 2] : NULL;
}

static const struct conf_server *server_at(const struct conf_cluster *c, int i)
{
	return i < 2 ? &c->side[i] : &c->replicas[i - 2];
}

static void check_pair(struct conf_reader *rd, const struct conf_node *n, const struct conf_server *a,
	const struct conf_server *b)
{
	if (!a->host || !b->host)
		return;
	if (str_ieq(a->host, b->host) && a->port == b->port)
		conf_error(
			rd, n, "host", "%s and %s are the same, %s:%d", a->name, b->name, b->host, b->port);
	else if (str_ieq(a->replication_host, b->replication_host) &&
		 a->replication_port == b->replication_port)
		conf_error(rd, n, "replication_address", "%s and %s have the same, %s:%d", a->name, b->name,
			b->replication_host, b->replication_port);
	if (str_eq(a->name, b->name))
		conf_error(rd, n, "name", "the name %s stands twice in the cluster", b->name);
}

static void check_servers(struct conf_reader *rd, const struct conf_node *n, const struct conf_cluster *c)
{
	for (int i = 1; i < c->nreplicas + 2; i++) {
		const struct conf_node *at = server_node(n, c, i);

		for (int j = 0; j < i && at; j++)
			check_pair(rd, at, server_at(c, j), server_at(c, i));
	}
}

static void check_account(
	struct conf_reader *rd, const struct conf_node *n, const char *key, const struct conf_account *a)
{
	if (!a->user && a->password)
		conf_error(rd, n, key, "missing beside the password");
}

/* What a flip itself needs, and what it is told to leave alone, may never be locked. */
static const char *locked_by_mistake(const struct conf_cluster *c, const char *user)
{
	const struct conf_policy *p = &c->policy;

	for (int i = 0; i < c->nreplicas + 2; i++) {
		if (str_eq(user, server_at(c, i)->account.user))
			return "flipd's own account";
		if (str_eq(user, server_at(c, i)->replication.user))
			return "the account of replication";
	}
	if (str_eq(user, p->heartbeat_account.user))
		return "the account of the heartbeat";
	if (str_eq(user, p->fence_probe.user))
		return "the account of fence_probe";
	for (int i = 0; i < p->exempt_users.n; i++)
		if (str_eq(user, p->exempt_users.v[i]))
			return "in exempt_users";
	return NULL;
}

static void check_lock_accounts(
	struct conf_reader *rd, const struct conf_node *n, const struct conf_cluster *c)
{
	static const char key[] = "sessions.lock_accounts";
	const struct conf_list *l = &c->policy.lock_accounts;

	for (int i = 0; i < l->n; i++) {
		struct account_name name;
		const char *why;

		if (account_name_parse(l->v[i], &name) < 0) {
			conf_error(rd, n, key, "'%s' names no account: USER or USER@HOST is wanted", l->v[i]);
			continue;
		}
		why = locked_by_mistake(c, name.user);
		if (why)
			conf_error(rd, n, key, "'%s' is %s: it is never locked", name.user, why);
	}
}

void conf_check_cluster(struct conf_reader *rd, const struct conf_node *n, const struct conf_cluster *c)
{
	const struct conf_policy *p = &c->policy;

	check_servers(rd, n, c);
	check_account(rd, n, "fence_probe.user", &p->fence_probe);
	check_account(rd, n, "heartbeat.user", &p->heartbeat_account);
	if (p->fence_timeout_ms >= p->max_blackout_ms)
		conf_warn(rd, n, "fence_timeout", "not shorter than max_blackout");
	check_lock_accounts(rd, n, c);
	for (int i = 0; i < 2; i++)
		if (p->fence_probe.user && str_eq(p->fence_probe.user, c->side[i].account.user)) {
			conf_warn(rd, n, "fence_probe.user",
				"the same as user, which the fence does not stop: the probe proves nothing");
			break;
		}
}
