/* commands_prepare: what a flip needs on the master and is missing: flipd's schema, the accounts beside its
 * own. */
#include <errno.h>
#include <string.h>

#include "daemon/commands.h"
#include "daemon/run.h"
#include "daemon/server.h"
#include "daemon/watch.h"
#include "lib/base/arena.h"
#include "lib/base/clock.h"
#include "lib/base/str.h"

#define PREPARE_LIMIT_MS 30000
#define FIRST_LOOK_MS 5000
#define ACCOUNTS_MOST 4

struct need {
	enum grants_use use;
	const struct conf_account *account;
};

struct prepare {
	struct cluster *cluster;
	struct cluster_server *master;
	struct session *session;
	int64_t deadline_us;
	bool schema;			     /* is missing */
	struct need accounts[ACCOUNTS_MOST]; /* those that are missing */
	int naccounts;
};

/* Right after a start nobody has looked yet. */
static void MAY_WAIT await_polls(struct cluster *c)
{
	int64_t deadline = clock_us() + FIRST_LOOK_MS * 1000;

	while (c->side[CONF_SOURCE].polls == 0 || c->side[CONF_TARGET].polls == 0) {
		if (fiber_cond_wait(&c->polled, deadline) < 0)
			return;
	}
}

/* --- what is missing */

static bool same_user(const struct conf_account *a, const struct conf_account *b)
{
	return str_eq(a->user, b->user);
}

/* An account that is looked for already, flipd's own, or one whose password nobody knows is left out. */
static void want(
	struct prepare *p, struct need *list, int *n, enum grants_use use, const struct conf_account *a)
{
	if (!a->user || !a->password || same_user(a, &p->master->conf->account))
		return;
	for (int i = 0; i < *n; i++)
		if (same_user(a, list[i].account) && list[i].use == use)
			return;
	list[(*n)++] = (struct need){use, a};
}

/* REFUSED: who is there cannot be seen; then nobody is said to be missing, and `privileges` says why. */
static int MAY_WAIT look_for(struct prepare *p, const struct need *need, struct err *err)
{
	struct arena *arena = arena_new();
	const char *user = need->account->user;
	struct facts_account *found;
	struct err why = {0};
	int n = 0;
	enum act act = node_list_accounts(
		p->session, &(struct conf_list){.n = 1, .v = &user}, arena, p->deadline_us, &found, &n, &why);

	arena_free(arena);
	if (act == ACT_DONE && n == 0)
		p->accounts[p->naccounts++] = *need;
	if (act != ACT_UNKNOWN)
		return 0;
	*err = why;
	return command_failed(err);
}

static int MAY_WAIT find_missing(struct prepare *p, struct err *err)
{
	const struct conf_cluster *conf = p->cluster->conf;
	struct need list[ACCOUNTS_MOST];
	int n = 0, code = 0;

	p->schema = !p->master->facts.schema_present;
	want(p, list, &n, GRANTS_FOR_PROBE, &conf->policy.fence_probe);
	want(p, list, &n, GRANTS_FOR_HEARTBEAT, &conf->policy.heartbeat_account);
	want(p, list, &n, GRANTS_FOR_REPLICATION, &conf->side[CONF_SOURCE].replication);
	want(p, list, &n, GRANTS_FOR_REPLICATION, &conf->side[CONF_TARGET].replication);
	for (int i = 0; i < n && code == 0; i++)
		code = look_for(p, &list[i], err);
	return code;
}

/* --- and made */

/* What flipd's own account lacks for this no flip needs: `flipctl grants` does not give it. */
static void say_who_may(const struct prepare *p, struct err *err)
{
	err->hint[0] = '\0';
	err_hint(err,
		"flipd's account need not be able to: an administrator runs what flipctl prepare %s "
		"--dry-run shows, with the password",
		p->cluster->conf->name);
}

static int MAY_WAIT create(struct prepare *p, struct err *err)
{
	enum act act = p->schema ? node_prepare(p->session, p->deadline_us, err) : ACT_DONE;

	for (int i = 0; i < p->naccounts && act == ACT_DONE; i++) {
		act = node_create_account(
			p->session, p->accounts[i].use, p->accounts[i].account, p->deadline_us, err);
		if (act == ACT_REFUSED && err->code != -EROFS)
			say_who_may(p, err);
	}
	return act == ACT_DONE ? 0 : command_failed(err);
}

static void set_lines(struct wire *o, const char *key, const char *text)
{
	struct wire *lines = wire_set_array(o, key);

	while (*text) {
		size_t len = strcspn(text, "\n");
		if (len)
			wire_add_strf(lines, "%.*s", (int)len, text);
		text += len + (text[len] == '\n');
	}
}

static struct wire *describe(const struct prepare *p, bool done)
{
	struct wire *o = wire_object();
	struct strbuf text = {0};

	if (p->schema)
		node_prepare_text(p->master->node, &text);
	for (int i = 0; i < p->naccounts; i++)
		node_create_account_text(p->master->node, p->accounts[i].use, p->accounts[i].account, &text);
	wire_set_str(o, "cluster", p->cluster->conf->name);
	wire_set_str(o, "server", p->master->conf->name);
	wire_set_bool(o, "missing", p->schema || p->naccounts > 0);
	wire_set_bool(o, "done", done);
	set_lines(o, "statements", strbuf_str(&text));
	strbuf_free(&text);
	return o;
}

static int MAY_WAIT prepare_cluster(struct cluster *c, bool dry_run, struct strbuf *ret, struct err *err)
{
	struct prepare p = {.cluster = c, .deadline_us = clock_us() + PREPARE_LIMIT_MS * 1000};
	enum cluster_master m = cluster_master(c);

	if (m > CLUSTER_MASTER_TARGET)
		return err_set(err, -EIO, "%s: no single side takes writes (%s): nothing can be created",
			c->conf->name, cluster_master_why(m));
	p.master = &c->side[m];
	if (cluster_session(p.master, SESSION_ACT, p.deadline_us, &p.session, err) < 0)
		return command_failed(err);
	int code = find_missing(&p, err);
	if (code == 0 && !dry_run)
		code = create(&p, err);
	session_close(p.session);
	if (code == 0)
		command_answer(ret, describe(&p, !dry_run));
	return code;
}

int command_prepare(struct request *r, struct strbuf *ret, struct err *err)
{
	struct watched *w;
	bool dry_run = wire_get_bool(r->args, "dry_run"); /* only looks: a flip may begin beside it */
	int code = command_cluster(r, &w, err);

	if (code == 0)
		code = command_not_in_flip(r, w, err);
	if (code == 0 && w->unreadable && !dry_run)
		code = err_set(err, -EBUSY, "%s: an unfinished flip could not be taken up: %s", w->name,
			w->unreadable);
	if (code == 0 && w->run && !dry_run)
		code = err_set(err, -EBUSY, "%s: flip %s is stuck: prepare again when `resolve` has ended it",
			w->name, flip_id(w->run->flip));
	if (code < 0)
		return code;
	struct live *live = live_use(w);
	w->preparing += !dry_run;
	await_polls(live->cluster);
	code = prepare_cluster(live->cluster, dry_run, ret, err);
	cluster_poke(live->cluster);
	w = server_find(r->server, wire_get_str(r->args, "name")); /* reloads may have come meanwhile */
	if (w && w->preparing > 0)
		w->preparing -= !dry_run;
	live_done(live);
	return code;
}
