/*
 * conf_journal: a cluster as the journal keeps it becomes a configuration of its own again. The journal has
 * no secrets: those of accounts and keys that are still configured for the cluster are taken from today's
 * configuration.
 */
#include "lib/model/conf_priv.h"

#include <errno.h>
#include <string.h>

#define FILE_NAME "journal"

static const struct conf_server *server_at(const struct conf_cluster *c, int i)
{
	return i < 2 ? &c->side[i] : &c->replicas[i - 2];
}

static bool fits(const struct conf_account *a, const char *user)
{
	return a->password && str_eq(a->user, user);
}

/* The account of one server, in either of its roles. */
static const char *on_server(const struct conf_server *s, const char *user)
{
	if (fits(&s->account, user))
		return s->account.password;
	return fits(&s->replication, user) ? s->replication.password : NULL;
}

/* The password of a user: best on the server of that name, else anywhere in the cluster. */
static const char *find_password(const struct conf_cluster *now, const char *server, const char *user)
{
	const struct conf_policy *p = &now->policy;
	const char *found = NULL;

	for (int i = 0; i < now->nreplicas + 2; i++) {
		const char *here = on_server(server_at(now, i), user);

		if (here && str_eq(server_at(now, i)->name, server))
			return here;
		if (!found)
			found = here;
	}
	if (!found && fits(&p->fence_probe, user))
		found = p->fence_probe.password;
	if (!found && fits(&p->heartbeat_account, user))
		found = p->heartbeat_account.password;
	return found;
}

static const char *keep(struct conf_box *box, const char *secret)
{
	return secret ? conf_keep_secret(box, secret, strlen(secret)) : NULL;
}

/* same is the account in the same role today. */
static void adopt_account(struct conf_box *box, const struct conf_cluster *now, const char *server,
	const struct conf_account *same, struct conf_account *a)
{
	if (!a->user)
		return;
	if (same && fits(same, a->user))
		a->password = keep(box, same->password);
	else
		a->password = keep(box, find_password(now, server, a->user));
}

static void adopt_server(struct conf_box *box, const struct conf_cluster *now, struct conf_server *s)
{
	const struct conf_server *same = NULL;

	for (int i = 0; i < now->nreplicas + 2; i++)
		if (str_eq(server_at(now, i)->name, s->name))
			same = server_at(now, i);
	adopt_account(box, now, s->name, same ? &same->account : NULL, &s->account);
	adopt_account(box, now, s->name, same ? &same->replication : NULL, &s->replication);
}

static void adopt_tsig(struct conf_box *box, const struct conf_cluster *now, struct conf_endpoint *e)
{
	for (int i = 0; i < now->nendpoints && e->tsig_name; i++)
		if (str_ieq(now->endpoints[i].tsig_name, e->tsig_name)) {
			e->tsig_secret = keep(box, now->endpoints[i].tsig_secret);
			return;
		}
}

static void adopt_secrets(struct conf_box *box, const struct conf_cluster *now, struct conf_cluster *c)
{
	adopt_server(box, now, &c->side[CONF_SOURCE]);
	adopt_server(box, now, &c->side[CONF_TARGET]);
	for (int i = 0; i < c->nreplicas; i++)
		adopt_server(box, now, &c->replicas[i]);
	for (int i = 0; i < c->nendpoints; i++)
		adopt_tsig(box, now, &c->endpoints[i]);
	adopt_account(box, now, NULL, &now->policy.fence_probe, &c->policy.fence_probe);
	adopt_account(box, now, NULL, &now->policy.heartbeat_account, &c->policy.heartbeat_account);
}

static void adopt_daemon(struct conf_box *box, const struct conf_daemon *now)
{
	box->conf.daemon = (struct conf_daemon){
		.state_dir = arena_strdup(box->arena, now->state_dir),
		.control_socket = arena_strdup(box->arena, now->control_socket),
		.control_group = arena_strdup(box->arena, now->control_group),
		.status_host = arena_strdup(box->arena, now->status_host),
		.status_port = now->status_port,
		.poll_interval_ms = now->poll_interval_ms,
	};
}

/* The text alone, as a configuration with one cluster. */
static int read_text(const char *file, const char *yaml, struct conf **ret, struct err *err)
{
	struct conf_errors errors = {0};
	struct conf_reader rd = {.box = conf_box_new(file), .errors = &errors, .journaled = true};
	int r;

	rd.arena = rd.box->arena;
	rd.scratch = arena_new();
	conf_yaml_read(&rd, FILE_NAME, yaml, strlen(yaml));
	r = conf_finish(&rd, ret);
	if (r < 0)
		(void)err_set(err, r, "the journaled configuration: %s", errors.v[0]);
	conf_errors_free(&errors);
	return r;
}

int conf_with_journaled_cluster(const struct conf *now, const char *yaml, struct conf **ret, struct err *err)
{
	const struct conf_cluster *today;
	struct conf *conf = NULL;
	struct conf_box *box;
	int r;

	r = read_text(now ? now->file : FILE_NAME, yaml, &conf, err);
	if (r < 0)
		return r;
	if (conf->nclusters != 1) {
		r = err_set(err, -EINVAL, "the journaled configuration has %d clusters, not one",
			conf->nclusters);
		conf_unref(conf);
		return r;
	}
	box = container_of(conf, struct conf_box, conf);
	today = now ? conf_find_cluster(now, conf->clusters[0].name) : NULL;
	if (today)
		adopt_secrets(box, today, &conf->clusters[0]);
	if (now)
		adopt_daemon(box, &now->daemon);
	*ret = conf;
	return 0;
}
