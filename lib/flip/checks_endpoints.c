/*
 * checks_endpoints: proofs of what applications follow, of hooks, and of fences other than read_only. An
 * endpoint is used by one fiber at a time: each proof holds check_env.endpoints for as long as it asks.
 */
#include "lib/flip/checks.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/str.h"

#define ASK_LIMIT_MS 5000
#define TTL_LONG_S 60

static const char *const kinds[] = {
	[CONF_ENDPOINT_DNS] = "dns",
	[CONF_ENDPOINT_HOOK] = "hook",
	[CONF_ENDPOINT_ROUTE53] = "route53",
};

static int64_t ask_deadline(const struct check_env *env, int64_t limit_ms)
{
	return checks_deadline(limit_ms > 0 ? limit_ms : ASK_LIMIT_MS, env->deadline_us);
}

static const char *label(const struct conf_endpoint *e)
{
	return e->label ? e->label : kinds[e->kind];
}

/* The live endpoint and its adapter; without one in this build it says so. */
static const struct endpoint_ops *adapter(const struct check_env *env, const struct conf_endpoint *e, int i,
	struct endpoint **ret, struct check_out *out)
{
	if (env->cluster->endpoint_ops && env->cluster->endpoint_ops[i]) {
		*ret = env->cluster->endpoints[i];
		return env->cluster->endpoint_ops[i];
	}
	check_say(out, CHECK_REFUSE, label(e), "%s: this build has no adapter for endpoints of kind %s",
		label(e), kinds[e->kind]);
	check_hint(out, "take %s out of the configuration, or switch it with a hook endpoint", label(e));
	return NULL;
}

static void ask_failed(const struct conf_endpoint *e, const char *what, const struct err *err,
	const char *hint, struct check_out *out)
{
	check_say(out, CHECK_REFUSE, label(e), "%s: %s: %s", label(e), what, err_text(err));
	check_hint(out, "%s", err->hint[0] ? err->hint : hint);
}

/* Where the primary says that it points, and whether every authority says the same. */
static void MAY_WAIT look_at(
	const struct check_input *in, struct check_env *env, int i, struct check_out *out)
{
	const struct conf_endpoint *e = &in->conf->endpoints[i];
	struct endpoint *live = NULL;
	const struct endpoint_ops *ops = adapter(env, e, i, &live, out);
	enum endpoint_at at = ENDPOINT_AT_OTHER;
	struct err err = {0}, spread = {0};

	if (!ops)
		return;
	if (ops->look(live, env->ctx, ask_deadline(env, e->timeout_ms), &at, &err) != ACT_DONE) {
		ask_failed(
			e, "its present value could not be asked", &err, "see that its servers answer", out);
		return;
	}
	if (at == ENDPOINT_AT_OTHER) {
		check_say(out, CHECK_REFUSE, label(e), "%s shows neither side's value: %s", label(e),
			err_text(&err));
		check_hint(out,
			"somebody decided that, and flipd never overwrites it: set it to the value of %s, or "
			"mend source and target of the endpoint",
			conf_side_name(in->from));
		return;
	}
	if ((int)at != (int)in->from) {
		check_say(out, CHECK_WARN, label(e), "%s points at %s already, while %s is the master",
			label(e), conf_side_name((enum conf_side)at), conf_side_name(in->from));
		check_hint(out,
			"set it to the value of %s now: applications that follow it find a server that "
			"refuses writes",
			conf_side_name(in->from));
	}
	if (ops->spread && ops->spread(live, env->ctx, (enum conf_side)at, ask_deadline(env, e->timeout_ms),
				   &spread) != ACT_DONE) {
		check_say(out, CHECK_WARN, label(e), "%s: not every authoritative server shows that: %s",
			label(e), err_text(&spread));
		check_hint(out, "mend that server or its zone transfers (NOTIFY, serial); its clients would "
				"follow the flip late");
	}
	check_say(out, CHECK_OK, label(e), "%s points at %s", label(e), conf_side_name((enum conf_side)at));
}

static void MAY_WAIT prove_at(const struct check_input *in, struct check_env *env, int i, const char *what,
	const char *hint, struct check_out *out)
{
	const struct conf_endpoint *e = &in->conf->endpoints[i];
	struct endpoint *live = NULL;
	const struct endpoint_ops *ops = adapter(env, e, i, &live, out);
	struct err err = {0};

	if (!ops)
		return;
	if (ops->prove && ops->prove(live, env->ctx, ask_deadline(env, e->timeout_ms), &err) != ACT_DONE)
		ask_failed(e, what, &err, hint, out);
	else
		check_say(out, CHECK_OK, label(e), "%s can be switched", label(e));
}

/* Holds the endpoints' lock; false when cancelled or too late, and then that is said. */
static bool MAY_WAIT endpoints_lock(struct check_env *env, struct check_out *out)
{
	if (!env->endpoints || fiber_mutex_lock(env->endpoints, env->deadline_us) == 0)
		return true;
	check_say(out, CHECK_REFUSE, NULL, "the time for the checks ran out before the endpoints were asked");
	check_hint(out, "ask again; see which endpoint or hook answers so late");
	return false;
}

static void endpoints_unlock(struct check_env *env)
{
	if (env->endpoints)
		fiber_mutex_unlock(env->endpoints);
}

static int count_kind(const struct conf_cluster *conf, enum conf_endpoint_kind kind)
{
	int n = 0;

	for (int i = 0; i < conf->nendpoints; i++)
		n += conf->endpoints[i].kind == kind;
	return n;
}

static bool begin_kind(const struct check_input *in, struct check_env *env, enum conf_endpoint_kind kind,
	struct check_out *out)
{
	if (count_kind(in->conf, kind))
		return endpoints_lock(env, out);
	check_say(
		out, CHECK_SKIP, NULL, "cluster %s has no endpoint of kind %s", in->conf->name, kinds[kind]);
	return false;
}

void MAY_WAIT prove_dns_current(const struct check_input *in, struct check_env *env, struct check_out *out)
{
	if (!begin_kind(in, env, CONF_ENDPOINT_DNS, out))
		return;
	for (int i = 0; i < in->conf->nendpoints; i++)
		if (in->conf->endpoints[i].kind == CONF_ENDPOINT_DNS)
			look_at(in, env, i, out);
	endpoints_unlock(env);
}

/* Clients and caches keep the old value for the TTL that it has now, not for the one that the flip writes. */
static void MAY_WAIT ttl_at(const struct check_input *in, struct check_env *env, int i, struct check_out *out)
{
	const struct conf_endpoint *e = &in->conf->endpoints[i];
	const struct endpoint_ops *ops = env->cluster->endpoint_ops ? env->cluster->endpoint_ops[i] : NULL;
	struct err err = {0};
	int64_t ttl_s = 0;

	if (!ops || !ops->ttl ||
		ops->ttl(env->cluster->endpoints[i], env->ctx, ask_deadline(env, e->timeout_ms), &ttl_s,
			&err) != ACT_DONE) {
		check_say(
			out, CHECK_SKIP, label(e), "%s: its TTL is not known: %s", label(e), err_text(&err));
	} else if (ttl_s > e->ttl_s) {
		check_say(out, CHECK_WARN, label(e),
			"%s has a TTL of %" PRId64 " s, the configuration says %" PRId64
			" s: clients may go to the old master for that long",
			label(e), ttl_s, e->ttl_s);
		check_hint(out, "set it to %" PRId64 " s in the zone, and wait %" PRId64 " s before the flip",
			e->ttl_s, ttl_s);
	} else if (ttl_s > TTL_LONG_S) {
		check_say(out, CHECK_WARN, label(e),
			"%s has a TTL of %" PRId64 " s: clients may go to the old master for that long",
			label(e), ttl_s);
		check_hint(out, "lower it in the zone and in the configuration: ttl: 5s");
	} else {
		check_say(out, CHECK_OK, label(e), "%s: %" PRId64 " s", label(e), ttl_s);
	}
}

void MAY_WAIT prove_dns_ttl(const struct check_input *in, struct check_env *env, struct check_out *out)
{
	if (!begin_kind(in, env, CONF_ENDPOINT_DNS, out))
		return;
	for (int i = 0; i < in->conf->nendpoints; i++)
		if (in->conf->endpoints[i].kind == CONF_ENDPOINT_DNS)
			ttl_at(in, env, i, out);
	endpoints_unlock(env);
}

void MAY_WAIT prove_dns_update(const struct check_input *in, struct check_env *env, struct check_out *out)
{
	if (!begin_kind(in, env, CONF_ENDPOINT_DNS, out))
		return;
	for (int i = 0; i < in->conf->nendpoints; i++)
		if (in->conf->endpoints[i].kind == CONF_ENDPOINT_DNS)
			prove_at(in, env, i, "an update that changes nothing failed",
				"let the key change that name on the zone's primary (update-policy or "
				"allow-update), and see tsig: {name, algorithm, secret_file}",
				out);
	endpoints_unlock(env);
}

void MAY_WAIT prove_route53(const struct check_input *in, struct check_env *env, struct check_out *out)
{
	if (!begin_kind(in, env, CONF_ENDPOINT_ROUTE53, out))
		return;
	for (int i = 0; i < in->conf->nendpoints; i++) {
		if (in->conf->endpoints[i].kind != CONF_ENDPOINT_ROUTE53)
			continue;
		look_at(in, env, i, out);
		prove_at(in, env, i, "the zone cannot be changed",
			"let flipd's credentials change records of the hosted zone", out);
	}
	endpoints_unlock(env);
}

/* --- hooks
 * --------------------------------------------------------------------------------------------------- */

static bool is_url(const char *path)
{
	return strncmp(path, "http://", 7) == 0 || strncmp(path, "https://", 8) == 0;
}

/* A file that flipd may execute. What a URL answers is known only by calling it, which is not done for a
 * check. */
static void look_at_file(const char *path, const char *where, struct check_out *out)
{
	struct stat st;
	int why = 0;

	if (is_url(path))
		return;
	if (stat(path, &st) < 0)
		why = errno;
	else if (!S_ISREG(st.st_mode) || access(path, X_OK) < 0)
		why = EACCES;
	if (!why)
		return;
	check_say(out, CHECK_REFUSE, NULL, "hook %s (%s) cannot be run: %s", path, where,
		why == EACCES ? "it is no file that flipd's user may execute" : strerror(why));
	check_hint(out, "install it there and chmod 755 %s; its directories must let flipd's user through",
		path);
}

static int look_at_points(const struct conf_hooks *h, struct check_out *out)
{
	const struct {
		const char *name;
		const struct conf_list *list;
	} points[] = {{"before_fence", &h->before_fence}, {"after_open", &h->after_open},
		{"after_rollback", &h->after_rollback}, {"after_end", &h->after_end},
		{"on_stuck", &h->on_stuck}};
	int n = 0;

	for (size_t p = 0; p < COUNT_OF(points); p++) {
		for (int i = 0; i < points[p].list->n; i++)
			look_at_file(points[p].list->v[i], points[p].name, out);
		n += points[p].list->n;
	}
	return n;
}

static void MAY_WAIT ask_fence(
	const struct conf_server *s, const struct conf_fence *f, struct check_env *env, struct check_out *out)
{
	const struct fence_ops *ops = registry_fence(f->kind);
	struct err err = {0};

	if (!ops) {
		check_say(out, CHECK_REFUSE, s->name, "%s: this build has no adapter for fences of kind %s",
			s->name, conf_fence_kind_name(f->kind));
		check_hint(out, "use fence: read_only for %s, or a hook fence", s->name);
	} else if (ops->check &&
		   ops->check(f, env->ctx, ask_deadline(env, f->hook_timeout_ms), &err) != ACT_DONE) {
		check_say(out, CHECK_REFUSE, s->name, "%s: fence %s cannot be used: %s", s->name,
			conf_fence_kind_name(f->kind), err_text(&err));
		check_hint(out, "%s", err.hint[0] ? err.hint : "make its action check succeed (exit 0)");
	}
}

static bool fences_itself(const struct conf_server *s)
{
	for (int i = 0; i < s->nfences; i++)
		if (s->fences[i].kind == CONF_FENCE_READ_ONLY)
			return true;
	return false;
}

/* A hook says what it did; that a server takes no writes only the server can say. */
static void require_read_only(const struct conf_server *s, struct check_out *out)
{
	if (fences_itself(s))
		return;
	check_say(out, CHECK_REFUSE, s->name,
		"%s: its fence is a hook alone: without read_only nothing proves that it takes no writes",
		s->name);
	check_hint(out, "put both into the list for %s: fence: [read_only, {hook: ...}]", s->name);
}

/* Fences of both sides besides read_only: hooks, or all the others. Returns how many there are. */
static int MAY_WAIT ask_fences(
	const struct check_input *in, struct check_env *env, bool hooks, struct check_out *out)
{
	int n = 0;

	for (int side = 0; side < 2; side++) {
		const struct conf_server *s = &in->conf->side[side];

		for (int i = 0; i < s->nfences; i++) {
			const struct conf_fence *f = &s->fences[i];

			if (f->kind == CONF_FENCE_READ_ONLY || (f->kind == CONF_FENCE_HOOK) != hooks)
				continue;
			n++;
			if (hooks && f->hook_path)
				look_at_file(f->hook_path, "fence", out);
			ask_fence(s, f, env, out);
			require_read_only(s, out);
		}
	}
	return n;
}

void MAY_WAIT prove_hooks(const struct check_input *in, struct check_env *env, struct check_out *out)
{
	int n = look_at_points(&in->conf->hooks, out);

	if (!endpoints_lock(env, out))
		return;
	for (int i = 0; i < in->conf->nendpoints; i++) {
		if (in->conf->endpoints[i].kind != CONF_ENDPOINT_HOOK)
			continue;
		n++;
		look_at_file(in->conf->endpoints[i].path ? in->conf->endpoints[i].path : "", "endpoint", out);
		if (out->result != CHECK_REFUSE)
			prove_at(in, env, i, "its action check failed",
				"make the hook exit 0 for FLIPD_ACTION=check", out);
	}
	n += ask_fences(in, env, true, out);
	endpoints_unlock(env);
	if (n == 0)
		check_say(out, CHECK_SKIP, NULL, "cluster %s has no hooks", in->conf->name);
	else
		check_say(out, CHECK_OK, NULL, "all %d hooks of cluster %s can be run", n, in->conf->name);
}

void MAY_WAIT prove_security_groups(
	const struct check_input *in, struct check_env *env, struct check_out *out)
{
	int n = ask_fences(in, env, false, out);

	if (n == 0)
		check_say(out, CHECK_SKIP, NULL, "no side of cluster %s has a fence outside the server",
			in->conf->name);
	else
		check_say(out, CHECK_OK, NULL, "all %d fences outside the servers of cluster %s can be used",
			n, in->conf->name);
}
