/* plan: what a flip would send now, per server, in order. The texts come from the code that sends them. */
#include <errno.h>
#include <string.h>

#include "lib/base/str.h"
#include "lib/flip/flip_priv.h"

struct plan {
	struct wire *steps;
	struct cluster *c;
	enum conf_side from, to;
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
	const struct conf_policy *policy = &p->c->conf->policy;
	const struct conf_server *n = &p->c->conf->side[p->to];
	struct node_follow follow = {
		.master = n, .account = &n->replication, .use_gtid = true, .has_slave_pos = true};
	const struct facts_channel *ch = &p->c->side[p->to].facts.channels[0];

	(void)policy;
	if (p->c->side[p->to].facts.nchannels > 0)
		follow.use_gtid = follow.has_slave_pos = strcmp(ch->using_gtid, "No") != 0;
	node_plan_text(p->c->side[side].node, what, &follow, limit_ms, &b);
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

static void plan_fence(struct plan *p, const char *step, enum conf_side side, bool close)
{
	const struct conf_server *s = &p->c->conf->side[side];
	char name[200];

	for (int i = 0; i < s->nfences; i++) {
		if (s->fences[i].kind == CONF_FENCE_HOOK)
			plan_add(p, step, conf_side_name(side), "exec",
				conf_hook_name(s->fences[i].hook_path, name, sizeof(name)));
		else if (close)
			plan_sql(p, step, side, NODE_TEXT_FENCE, p->c->conf->policy.fence_timeout_ms);
	}
}

static void plan_before(struct plan *p)
{
	const struct conf_cluster *conf = p->c->conf;

	plan_sql(p, "lock", p->from, NODE_TEXT_LOCK, 0);
	plan_sql(p, "lock", p->to, NODE_TEXT_LOCK, 0);
	plan_sql(p, "lock", p->from, NODE_TEXT_ROW, 0);
	if (conf->policy.flush != CONF_FLUSH_NEVER)
		plan_sql(p, "flush", p->from, NODE_TEXT_FLUSH, 500);
	plan_hooks(p, "drain", &conf->hooks.before_fence);
	plan_add(p, "drain", conf_side_name(p->from), "wait",
		"low lag, no long statement, no large transaction");
	if (!strcmp(p->c->side[p->from].facts.event_scheduler, "ON"))
		plan_sql(p, "events", p->from, NODE_TEXT_EVENTS, 0);
	plan_fence(p, "fence", p->from, true);
	plan_sql(p, "kill", p->from, NODE_TEXT_KILL, 0);
	plan_sql(p, "coordinates", p->from, NODE_TEXT_PROVE, 0);
	plan_endpoints(p, "endpoints", CONF_ORDER_BEFORE_OPEN);
	plan_add(p, "intent", NULL, "wait", "the intent is durable in flipd's journal");
}

int MAY_WAIT flip_plan(struct cluster *c, enum conf_side to, struct wire **ret, struct err *err)
{
	struct wire *doc = wire_object();
	struct plan p = {.c = c, .to = to, .from = to == CONF_TARGET ? CONF_SOURCE : CONF_TARGET};

	(void)err;
	wire_set_str(doc, "cluster", c->conf->name);
	wire_set_str(doc, "to", conf_side_name(to));
	p.steps = wire_set_array(doc, "steps");
	plan_before(&p);
	plan_sql(&p, "open", p.to, NODE_TEXT_OPEN_GUARDED, 1000);
	plan_fence(&p, "open", p.to, false);
	plan_hooks(&p, "open", &c->conf->hooks.after_open);
	plan_endpoints(&p, "propagate", CONF_ORDER_AFTER_OPEN);
	plan_sql(&p, "detach", p.to, NODE_TEXT_FORGET, 0);
	plan_sql(&p, "reverse", p.from, NODE_TEXT_FOLLOW, 0);
	for (int i = 0; i < c->nreplicas; i++)
		plan_add(&p, "repoint", c->replicas[i].conf->name, "wait",
			"reaches the final position, then follows new");
	plan_add(&p, "propagate", NULL, "wait",
		"every authoritative server of every zone shows the new master");
	plan_sql(&p, "finish", p.from, NODE_TEXT_RELEASE, 0);
	plan_sql(&p, "finish", p.to, NODE_TEXT_RELEASE, 0);
	*ret = doc;
	return 0;
}
