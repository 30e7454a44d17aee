/* reload: reading on a worker thread, comparing, and putting the new in place of the old. */
#include "daemon/reload.h"

#include <errno.h>
#include <grp.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/adopt.h"
#include "daemon/control.h"
#include "daemon/server.h"
#include "daemon/watch.h"
#include "lib/base/arena.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/base/str.h"
#include "lib/io/sd.h"
#include "lib/io/work.h"
#include "lib/model/wire.h"

#define LOAD_LIMIT_MS 30000
#define GROUP_LIMIT_MS 3000

/* Reading */

struct load_job {
	char *file;
	struct conf *conf;
	struct conf_errors errors;
	int result;
};

static void load_run(void *arg)
{
	struct load_job *job = arg;

	job->result = conf_load(job->file, &job->conf, &job->errors);
}

static void load_drop(void *arg)
{
	struct load_job *job = arg;

	conf_unref(job->conf);
	conf_errors_free(&job->errors);
	free(job->file);
	free(job);
}

static int MAY_WAIT load(const char *file, struct conf **ret, struct strbuf *errors, struct err *err)
{
	struct load_job *job = xcalloc(1, sizeof(*job));

	job->file = xstrdup(file);
	int code = work_run(load_run, load_drop, job, clock_us() + LOAD_LIMIT_MS * 1000);
	if (code == -EAGAIN)
		load_drop(job);
	if (code < 0)
		return err_set(err, -EIO, "%s: could not be read: %s", file, strerror(-code));
	for (int i = 0; i < job->errors.n; i++)
		strbuf_addf(errors, "%s%s", i ? "\n" : "", job->errors.v[i]);
	if (job->result == 0) {
		*ret = job->conf;
		job->conf = NULL;
	} else {
		code = err_set(err, -EBADMSG, "%s: not taken", file);
	}
	load_drop(job);
	return code;
}

/* Comparing */

static int keep_daemon_keys(
	const struct conf_daemon *old, const struct conf_daemon *new, struct strbuf *errors)
{
	const struct {
		const char *key;
		bool same;
	} keys[] = {
		{"state_dir", str_eq(old->state_dir, new->state_dir)},
		{"control_socket", str_eq(old->control_socket, new->control_socket)},
		{"status_listen", str_eq(old->status_host, new->status_host) &&
					  (!old->status_host || old->status_port == new->status_port)},
	};

	for (size_t i = 0; i < COUNT_OF(keys); i++) {
		if (!keys[i].same)
			strbuf_addf(errors, "%sdaemon.%s: a reload cannot change this: restart flipd",
				errors->len ? "\n" : "", keys[i].key);
	}
	return errors->len ? -EBADMSG : 0;
}

static bool account_same(const struct conf_account *a, const struct conf_account *b)
{
	return str_eq(a->user, b->user) && str_eq(a->password, b->password);
}

static bool server_same(const struct conf_server *a, const struct conf_server *b)
{
	return account_same(&a->account, &b->account) && account_same(&a->replication, &b->replication);
}

/* The printed form has everything but the secrets. */
static bool cluster_same(const struct conf_cluster *a, const struct conf_cluster *b)
{
	char *text_a = conf_print_cluster(a), *text_b = conf_print_cluster(b);
	bool same = str_eq(text_a, text_b);

	free(text_a);
	free(text_b);
	if (!same || a->nreplicas != b->nreplicas || a->nendpoints != b->nendpoints)
		return false;
	for (int i = 0; i < 2; i++)
		same = same && server_same(&a->side[i], &b->side[i]);
	for (int i = 0; i < a->nreplicas; i++)
		same = same && server_same(&a->replicas[i], &b->replicas[i]);
	for (int i = 0; i < a->nendpoints; i++)
		same = same && str_eq(a->endpoints[i].tsig_secret, b->endpoints[i].tsig_secret);
	return same && account_same(&a->policy.heartbeat_account, &b->policy.heartbeat_account) &&
	       account_same(&a->policy.fence_probe, &b->policy.fence_probe);
}

static bool group_same(const struct conf_group *a, const struct conf_group *b)
{
	if (!a || !b || a->barrier != b->barrier || a->max_parallel != b->max_parallel ||
		a->clusters.n != b->clusters.n)
		return false;
	for (int i = 0; i < a->clusters.n; i++) {
		if (!str_eq(a->clusters.v[i], b->clusters.v[i]))
			return false;
	}
	return true;
}

static void add_changed_groups(struct wire *changed, const struct conf *old, const struct conf *new)
{
	for (int i = 0; i < new->ngroups; i++) {
		if (!group_same(&new->groups[i], conf_find_group(old, new->groups[i].name)))
			wire_add_str(changed, new->groups[i].name);
	}
	for (int i = 0; i < old->ngroups; i++) {
		if (!conf_find_group(new, old->groups[i].name))
			wire_add_str(changed, old->groups[i].name);
	}
}

/* Keys of the process that a reload can change; those that it cannot have stopped it before. */
static void add_changed_daemon(
	struct wire *changed, const struct conf_daemon *old, const struct conf_daemon *new)
{
	if (old->poll_interval_ms != new->poll_interval_ms)
		wire_add_str(changed, "daemon.poll_interval");
	if (!str_eq(old->control_group, new->control_group))
		wire_add_str(changed, "daemon.control_group");
}

/* What the cluster will run with: the configuration of the replacement that waits, else of the live one. */
static const struct conf_cluster *conf_of(const struct watched *w)
{
	return w->next ? w->next->conf : w->live->cluster->conf;
}

/* Taking */

/* Everything that can fail is made first. */
struct change {
	struct watched *watched; /* there already; NULL: new */
	struct cluster *cluster; /* takes its place */
	struct watched *fresh;
	const char *name; /* the new configuration's */
};

static void changes_free(struct change *changes, int n)
{
	for (int i = 0; i < n; i++) {
		cluster_free(changes[i].cluster);
		if (changes[i].fresh)
			watch_free(changes[i].fresh);
	}
	free(changes);
}

static int changes_make(
	struct server *server, struct conf *new, struct change **ret, int *ret_n, struct err *err)
{
	struct change *changes = xcalloc((size_t) new->nclusters + 1, sizeof(*changes));
	int n = 0, code = 0;

	for (int i = 0; i < new->nclusters &&code == 0; i++) {
		const struct conf_cluster *conf = &new->clusters[i];
		struct watched *w = server_find(server, conf->name);

		if (w && w->configured && cluster_same(conf_of(w), conf))
			continue;
		struct change *change = &changes[n++];
		change->watched = w;
		change->name = conf->name;
		code = w ? cluster_new(new, conf, &change->cluster, err)
			 : watch_new(server, new, conf, &change->fresh, err);
	}
	if (code < 0) {
		changes_free(changes, n);
		return code;
	}
	*ret = changes;
	*ret_n = n;
	return 0;
}

static void changes_take(struct server *server, struct change *changes, int n, struct wire *changed)
{
	for (int i = 0; i < n; i++) {
		struct change *change = &changes[i];

		wire_add_str(changed, change->fresh ? change->fresh->name : change->watched->name);
		if (change->fresh) {
			server_add(server, change->fresh);
			watch_start(change->fresh);
		} else {
			change->watched->configured = true;
			watch_replace(change->watched, change->cluster);
		}
	}
}

/* One that was taken out and comes back has flipped before: what its last flip closed is guarded again. */
static void MAY_WAIT changes_read_past(struct server *server, const struct change *changes, int n)
{
	for (int i = 0; i < n; i++)
		if (changes[i].fresh)
			adopt_last(server, changes[i].name);
}

static void MAY_WAIT drop_gone(struct server *server, const struct conf *new, struct wire *changed)
{
	for (int i = server->nwatched - 1; i >= 0; i--) {
		struct watched *w = server->watched[i];

		if (!w->configured || conf_find_cluster(new, w->name))
			continue;
		wire_add_str(changed, w->name);
		w->configured = false;
		if (!w->run && !w->unreadable) /* one that cannot be read has not ended */
			watch_run_over(w);
	}
}

static void set_poll_interval(struct server *server, int64_t ms)
{
	for (int i = 0; i < server->nwatched; i++) {
		server->watched[i]->live->cluster->poll_interval_ms = ms;
		if (server->watched[i]->next)
			server->watched[i]->next->poll_interval_ms = ms;
	}
}

static int MAY_WAIT take(struct server *server, struct conf *new, struct wire *changed, struct err *err)
{
	struct conf *old = server->conf;
	struct change *changes;
	int n;
	int code = changes_make(server, new, &changes, &n, err);

	if (code < 0)
		return -EBADMSG;
	server->conf = conf_ref(new);
	changes_take(server, changes, n, changed);
	drop_gone(server, new, changed);
	add_changed_groups(changed, old, new);
	add_changed_daemon(changed, &old->daemon, &new->daemon);
	set_poll_interval(server, new->daemon.poll_interval_ms);
	conf_unref(old);
	for (int i = 0; i < new->nwarnings; i++)
		log_at(LOG_LEVEL_WARNING, NULL, "%s", new->warnings[i]);
	gid_t group = reload_find_group(server);
	if (server->control) /* flipd may have stopped meanwhile */
		control_set_group(server->control, group);
	changes_read_past(server, changes, n);
	free(changes);
	return 0;
}

int reload(struct server *server, struct wire **ret_changed, struct strbuf *errors, struct err *err)
{
	struct conf *new = NULL;

	if (server->stopping)
		return err_set(err, -EBUSY, "flipd is about to stop");
	int code = fiber_mutex_lock(&server->reloading, CLOCK_FOREVER);
	if (code < 0)
		return err_set(err, -EBUSY, "interrupted");
	if (server->stopping) {
		fiber_mutex_unlock(&server->reloading);
		return err_set(err, -EBUSY, "flipd is about to stop");
	}
	sd_tell_reloading();
	code = load(server->conf->file, &new, errors, err);
	if (code == 0) {
		code = keep_daemon_keys(&server->conf->daemon, &new->daemon, errors);
		if (code < 0)
			(void)err_set(err, code, "not taken");
	}
	struct wire *changed = wire_array();
	if (code == 0)
		code = take(server, new, changed, err);
	conf_unref(new);
	sd_tell_ready();
	fiber_mutex_unlock(&server->reloading);
	if (code < 0) {
		wire_free(changed);
		log_at(LOG_LEVEL_ERROR, NULL, "reload: nothing taken: %s",
			errors->len ? strbuf_str(errors) : err_text(err));
		return code;
	}
	log_at(LOG_LEVEL_NOTICE, NULL, "configuration reloaded, %zu changed", wire_len(changed));
	*ret_changed = changed;
	return 0;
}

static void signal_main(void *arg)
{
	struct wire *changed = NULL;
	struct strbuf errors = {0};
	struct err err = {0};

	(void)!reload(arg, &changed, &errors, &err); /* it has logged */
	wire_free(changed);
	strbuf_free(&errors);
}

void reload_from_signal(struct server *server)
{
	fiber_detach(fiber_spawn("reload", signal_main, server));
}

/* control_group */

struct group_job {
	char name[256];
	bool found;
	gid_t gid;
};

static void group_run(void *arg)
{
	struct group_job *job = arg;
	size_t size = 65536;
	char *buf = xcalloc(1, size);
	struct group g, *found = NULL;

	if (getgrnam_r(job->name, &g, buf, size, &found) == 0 && found) {
		job->found = true;
		job->gid = g.gr_gid;
	}
	free(buf);
}

gid_t reload_find_group(const struct server *server)
{
	const char *name = server->conf->daemon.control_group;

	if (!name)
		return (gid_t)-1;
	struct group_job *job = xcalloc(1, sizeof(*job));
	str_copy(job->name, sizeof(job->name), name);
	int code = work_run(group_run, free, job, clock_us() + GROUP_LIMIT_MS * 1000);
	gid_t gid = code == 0 && job->found ? job->gid : (gid_t)-1;
	if (gid == (gid_t)-1)
		log_at(LOG_LEVEL_WARNING, NULL,
			"control_group: no group %s: only root and flipd's own user may "
			"change things",
			name);
	if (code == 0 || code == -EAGAIN)
		free(job);
	return gid;
}
