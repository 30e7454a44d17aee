/*
 * plan: what a flip would send now, per server, in the order of the steps. The texts come from the code that
 * sends them; which of the two orders, and what is switched off and on, from what the servers showed last.
 */
#include <errno.h>
#include <string.h>

#include "lib/base/str.h"
#include "lib/flip/flip_priv.h"

struct plan {
	struct wire *steps;
	struct cluster *c;
	enum conf_side from, to;
	struct node_follow follow; /* old's way back */
	bool events, semi_sync;
};

static void plan_add(struct plan *p, const char *step, const char *server, const char *kind, const char *text)
{
	struct wire *o = wire_add_object(p->steps);

	wire_set_str(o, "name", step);
	wire_set_str(o, "server", server);
	wire_set_str(o, "kind", kind);
	wire_set_str(o, "text", text);
}

static void plan_sql(
	struct plan *p, const char *step, enum conf_side side, enum node_text what, int64_t limit_ms)
{
	struct strbuf b = {0};

	node_plan_text(p->c->side[side].node, what, &p->follow, limit_ms, &b);
	plan_add(p, step, conf_side_name(side), "sql", strbuf_str(&b));
	strbuf_free(&b);
}

static void plan_endpoints(struct plan *p, const char *step, enum conf_order order)
{
	const struct conf_cluster *conf = p->c->conf;

	for (int i = 0; i < conf->nendpoints; i++) {
		char text[1024];
		const struct endpoint_ops *ops = p->c->endpoint_ops[i];
		if (!ops || conf->endpoints[i].order != order)
			continue;
		ops->plan(p->c->endpoints[i], p->to, text, sizeof(text));
		plan_add(p, step, NULL, ops->plan_kind, text);
	}
}

static void plan_hooks(struct plan *p, const char *step, const struct conf_list *l)
{
	char name[200];

	for (int i = 0; i < l->n; i++)
		plan_add(p, step, NULL, l->v[i][0] == '/' ? "exec" : "http",
			conf_hook_name(l->v[i], name, sizeof(name)));
}

/* Fences outside the server, in the order in which they are closed and opened. */
static void plan_hook_fence(struct plan *p, const char *step, enum conf_side side, const struct conf_fence *f)
{
	char name[200];

	plan_add(p, step, conf_side_name(side), f->hook_path[0] == '/' ? "exec" : "http",
		conf_hook_name(f->hook_path, name, sizeof(name)));
}

static void plan_close(struct plan *p, enum conf_side side)
{
	const struct conf_server *s = &p->c->conf->side[side];

	for (int i = 0; i < s->nfences; i++) {
		if (s->fences[i].kind == CONF_FENCE_HOOK)
			plan_hook_fence(p, "fence", side, &s->fences[i]);
		else
			plan_sql(p, "fence", side, NODE_TEXT_FENCE, p->c->conf->policy.fence_timeout_ms);
	}
}

static void plan_open(struct plan *p, bool guarded)
{
	const struct conf_server *s = &p->c->conf->side[p->to];

	if (guarded)
		plan_sql(p, "open", p->to, NODE_TEXT_OPEN_GUARDED, 1000);
	else
		plan_sql(p, "open", p->to, NODE_TEXT_UNFENCE, 0);
	for (int i = 0; i < s->nfences; i++)
		if (s->fences[i].kind == CONF_FENCE_HOOK)
			plan_hook_fence(p, "open", p->to, &s->fences[i]);
	if (p->events)
		plan_sql(p, "open", p->to, NODE_TEXT_EVENTS_ON, 0);
}

/* Looked up now; where old does not answer, by the names of the configuration. */
static void MAY_WAIT plan_accounts(struct plan *p, const char *step, bool lock)
{
	const struct conf_list *entries = &p->c->conf->policy.lock_accounts;
	struct cluster_server *old = &p->c->side[p->from];
	struct arena *a CLEANUP(arena_freep) = arena_new();
	struct facts_account *list = NULL;
	struct session *s = NULL;
	struct strbuf b = {0};
	struct err ignored = {0};
	int n = 0, open = 0;

	if (!entries->n)
		return;
	if (cluster_session(old, SESSION_ACT, flip_deadline(ROUND_TRIP_MS), &s, &ignored) < 0 ||
		node_list_accounts(s, entries, a, flip_deadline(ROUND_TRIP_MS), &list, &n, &ignored) !=
			ACT_DONE) {
		list = arena_alloc(a, sizeof(*list) * (size_t)entries->n);
		for (n = 0; n < entries->n; n++) {
			str_copy(list[n].user, sizeof(list[n].user), entries->v[n]);
			str_copy(list[n].host, sizeof(list[n].host), "<HOST>");
		}
	}
	session_close(s);
	for (int i = 0; i < n; i++) /* what somebody else has locked stays so */
		if (!list[i].locked)
			list[open++] = list[i];
	if (open) {
		node_accounts_text(old->node, list, open, lock, &b);
		plan_add(p, step, conf_side_name(p->from), "sql", strbuf_str(&b));
	}
	strbuf_free(&b);
}

static void MAY_WAIT plan_before_fence(struct plan *p)
{
	const struct conf_cluster *conf = p->c->conf;

	plan_sql(p, "lock", p->from, NODE_TEXT_LOCK, 0);
	plan_sql(p, "lock", p->to, NODE_TEXT_LOCK, 0);
	plan_sql(p, "lock", p->from, NODE_TEXT_ROW, 0);
	if (conf->policy.flush != CONF_FLUSH_NEVER)
		plan_sql(p, "flush", p->from, NODE_TEXT_FLUSH, 500);
	plan_hooks(p, "drain", &conf->hooks.before_fence);
	if (p->semi_sync)
		plan_sql(p, "drain", p->to, NODE_TEXT_SEMI_SYNC, 0);
	plan_add(p, "drain", conf_side_name(p->from), "wait",
		"low lag, no long statement, no large transaction");
	if (p->events)
		plan_sql(p, "events", p->from, NODE_TEXT_EVENTS, 0);
	plan_accounts(p, "events", true);
}

/* Only in the plain order. Which tables there are to be counted is asked before the fence. */
static void plan_verify(struct plan *p)
{
	static const char *const each[] = {"<DATABASE>.<EACH TABLE>"};
	const struct conf_policy *policy = &p->c->conf->policy;
	bool checksum = policy->verify == CONF_VERIFY_CHECKSUM;
	int n = checksum ? policy->verify_tables.n : policy->verify == CONF_VERIFY_COUNTS;

	for (int i = 0; i < 2 * n; i++) {
		enum conf_side side = i % 2 ? p->to : p->from;
		struct strbuf b = {0};
		node_table_value_text(p->c->side[side].node,
			checksum ? policy->verify_tables.v[i / 2] : each[0], checksum,
			policy->max_blackout_ms, &b);
		plan_add(p, "verify", conf_side_name(side), "sql", strbuf_str(&b));
		strbuf_free(&b);
	}
}

static void plan_blackout(struct plan *p)
{
	bool guarded = !needs_plain_order(p->c->conf, p->to, p->follow.use_gtid);

	plan_close(p, p->from);
	plan_sql(p, "kill", p->from, NODE_TEXT_KILL, 0);
	plan_sql(p, "coordinates", p->from, NODE_TEXT_PROVE, 0);
	plan_endpoints(p, "endpoints", CONF_ORDER_BEFORE_OPEN);
	if (!guarded) {
		plan_sql(p, "sync", p->to, NODE_TEXT_WAIT, 1000);
		plan_verify(p);
	}
	plan_add(p, "intent", NULL, "wait", "the intent is durable in flipd's journal");
	plan_open(p, guarded);
	if (guarded)
		plan_sql(p, "sync", p->to, NODE_TEXT_WAIT, 1000);
}

/* By GTID its own position goes on. */
static void plan_repoint(struct plan *p, const struct cluster_server *replica)
{
	struct node_follow follow = p->follow;
	struct strbuf b = {0};

	follow.has_slave_pos = false;
	node_plan_text(replica->node, NODE_TEXT_FOLLOW, &follow, 0, &b);
	plan_add(p, "repoint", replica->conf->name, "wait", "reaches the final position");
	plan_add(p, "repoint", replica->conf->name, "sql", strbuf_str(&b));
	strbuf_free(&b);
}

static void MAY_WAIT plan_after_open(struct plan *p)
{
	const struct conf_cluster *conf = p->c->conf;

	plan_sql(p, "detach", p->to, NODE_TEXT_FORGET, 0);
	plan_sql(p, "reverse", p->from, NODE_TEXT_FOLLOW, 0);
	if (conf->policy.flush != CONF_FLUSH_NEVER)
		plan_sql(p, "flush_again", p->from, NODE_TEXT_FLUSH, 5000);
	for (int i = 0; i < p->c->nreplicas; i++)
		plan_repoint(p, &p->c->replicas[i]);
	plan_hooks(p, "propagate", &conf->hooks.after_open);
	plan_endpoints(p, "propagate", CONF_ORDER_AFTER_OPEN);
	plan_add(p, "propagate", NULL, "wait",
		"every authoritative server of every zone shows the new master");
	if (p->semi_sync)
		plan_sql(p, "finish", p->to, NODE_TEXT_SEMI_SYNC_ON, 0);
	plan_sql(p, "finish", p->to, NODE_TEXT_ROW_CLOSED, 0);
	plan_accounts(p, "finish", false);
	plan_sql(p, "finish", p->from, NODE_TEXT_RELEASE, 0);
	plan_sql(p, "finish", p->to, NODE_TEXT_RELEASE, 0);
	plan_hooks(p, "finish", &conf->hooks.after_end);
}

int MAY_WAIT flip_plan(struct cluster *c, enum conf_side to, struct wire **ret, struct err *err)
{
	struct wire *doc = wire_object();
	struct plan p = {.c = c, .to = to, .from = to == CONF_TARGET ? CONF_SOURCE : CONF_TARGET};
	const struct facts *old = &c->side[p.from].facts, *new = &c->side[to].facts;
	const struct facts_channel *ch = facts_channel_from(new, old->id.server_id, NULL, 0);
	const struct conf_server *n = &c->conf->side[to];

	(void)err;
	p.follow = (struct node_follow){
		.master = n, .account = &n->replication, .encrypted = node_is_encrypted(c->side[to].node)};
	p.follow.use_gtid = p.follow.has_slave_pos = !ch || channel_uses_gtid(ch);
	p.events = str_ieq(old->event_scheduler, "ON");
	p.semi_sync = new->semi_sync_master;
	wire_set_str(doc, "cluster", c->conf->name);
	wire_set_str(doc, "to", conf_side_name(to));
	p.steps = wire_set_array(doc, "steps");
	plan_before_fence(&p);
	plan_blackout(&p);
	plan_after_open(&p);
	*ret = doc;
	return 0;
}
