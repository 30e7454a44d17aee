/*
 * endpoint_dns: a record set that applications follow, switched by a compare-and-swap in the zone's primary:
 * an update (RFC 2136) whose prerequisite is the whole old set. A third value is somebody's decision and
 * never overwritten.
 *
 * switch_to:  update -> DONE
 *                    -> refused (not allowed, no zone, key): the next server, else REFUSED
 *                    -> NXRRSET or no answer: look -> there already: DONE | third value: REFUSED
 *                                                  -> still old: update and look once more, then UNKNOWN
 *
 * A lost reply stays ambiguous only as long as the record shows the old value: the second update is harmless,
 * since its prerequisite fails if the first one arrives late. On the way back it is not: the first one's
 * prerequisite holds again. What this process has not sent yet goes with its connection (dns_conn); what a
 * server has that stood still meanwhile is carried out when it goes on, perhaps after it has answered us. So
 * the way back looks once more a while later.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/arena.h"
#include "lib/base/clock.h"
#include "lib/base/str.h"
#include "lib/io/dns.h"
#include "lib/io/dns_update.h"
#include "lib/io/fiber.h"
#include "lib/provider/dns_record.h"

#define ATTEMPTS 2
#define LATE_MS 1000 /* how long after its first answer a server that stood still may have older updates */

enum { RCODE_SERVFAIL = 2, RCODE_NOTZONE = 10, RCODE_NXRRSET = 8 };

/* A connection and the place of its server in the configured list. */
struct lane {
	struct dns_conn *conn; /* or NULL */
	int server;
};

struct endpoint {
	struct dns_record record;
	struct lane
		warm; /* taken out by whoever uses it, so that a check and a flip never share a connection */
	bool may_come[2]; /* by side: an update to it may be carried out yet; so may an earlier life's */
};

static enum conf_side other_side(enum conf_side side)
{
	return side == CONF_SOURCE ? CONF_TARGET : CONF_SOURCE;
}

static int dns_create(const struct conf_endpoint *conf, struct endpoint **ret, struct err *err)
{
	struct endpoint *ep = xcalloc(1, sizeof(*ep));
	ep->may_come[CONF_SOURCE] = ep->may_come[CONF_TARGET] = true;
	int r = dns_record_init(&ep->record, conf, err);

	if (r < 0) {
		err_wrap(err, "%s", conf->label);
		free(ep);
		return r;
	}
	*ret = ep;
	return 0;
}

static void dns_destroy(struct endpoint *ep)
{
	if (!ep)
		return;
	dns_conn_close(ep->warm.conn);
	dns_record_free(&ep->record);
	free(ep);
}

/* --- looking --- */

static enum act MAY_WAIT look_whole(struct endpoint *ep, int64_t deadline_us, struct dns_answer *ret_answer,
	enum endpoint_at *ret, struct err *err)
{
	const struct conf_endpoint *conf = ep->record.conf;
	const char *server = NULL;
	char text[256];
	enum act act =
		dns_record_ask(&ep->record, conf->rr_name, conf->type, deadline_us, ret_answer, &server, err);

	if (act != ACT_DONE)
		return act;
	*ret = dns_record_at(&ep->record, ret_answer);
	if (*ret == ENDPOINT_AT_OTHER)
		(void)err_set(err, -ESTALE, "%s: %s %s is %s, neither source's nor target's value", server,
			conf->rr_name, conf->type, dns_record_text(ret_answer, text, sizeof(text)));
	return ACT_DONE;
}

static enum act MAY_WAIT dns_look(struct endpoint *ep, const struct provider_ctx *ctx, int64_t deadline_us,
	enum endpoint_at *ret, struct err *err)
{
	struct dns_answer *answer = xcalloc(1, sizeof(*answer));
	enum act act = look_whole(ep, deadline_us, answer, ret, err);
	(void)ctx;

	free(answer);
	if (act != ACT_DONE || *ret == ENDPOINT_AT_OTHER)
		err_server(err, ep->record.conf->label);
	return act;
}

/* --- updates --- */

static int MAY_WAIT lane_open(
	struct endpoint *ep, struct lane *lane, int server, int64_t deadline_us, struct err *err)
{
	dns_conn_close(lane->conn);
	*lane = (struct lane){.server = server};
	return dns_conn_open(ep->record.conf->servers.v[server], deadline_us, &lane->conn, err);
}

/* The warm connection becomes the caller's; conn is NULL when there is none that lives. */
static struct lane lane_take(struct endpoint *ep)
{
	struct lane lane = ep->warm;

	ep->warm = (struct lane){0};
	if (lane.conn && !dns_conn_alive(lane.conn)) {
		dns_conn_close(lane.conn);
		lane.conn = NULL;
	}
	return lane;
}

static void lane_give(struct endpoint *ep, struct lane lane)
{
	if (lane.conn && !ep->warm.conn && dns_conn_alive(lane.conn))
		ep->warm = lane;
	else
		dns_conn_close(lane.conn);
}

static enum act MAY_WAIT dns_warm(
	struct endpoint *ep, const struct provider_ctx *ctx, int64_t deadline_us, struct err *err)
{
	int n = ep->record.conf->servers.n, code = 0;
	struct lane lane = lane_take(ep);
	struct err all = {0};
	(void)ctx;

	for (int i = 0; i < n && !lane.conn && code != -ECANCELED; i++) {
		struct err one = {0};
		int64_t until_us = dns_record_share(deadline_us, n - i);
		code = lane_open(ep, &lane, dns_record_place(&ep->record, i), until_us, &one);
		dns_record_also(&all, &one);
	}
	bool open = lane.conn != NULL;
	lane_give(ep, lane);
	if (open)
		return ACT_DONE;
	dns_record_also(err, &all);
	err_server(err, ep->record.conf->label);
	return code == -ETIMEDOUT || code == -ECANCELED ? ACT_UNKNOWN : ACT_REFUSED;
}

/* Whether another server may be tried: this one has certainly changed nothing, and not because of the value.
 */
static bool try_next(enum act act, int rcode, const struct err *err)
{
	if (act != ACT_REFUSED || err->code == -ECANCELED || err->code == -EINVAL)
		return false;
	return rcode < RCODE_SERVFAIL || (rcode != RCODE_NXRRSET && rcode < RCODE_NOTZONE);
}

/* On the open connection. A server that does not answer goes to the end of the order. */
static enum act MAY_WAIT send_update(struct endpoint *ep, const struct lane *lane, const struct dns_update *u,
	int64_t deadline_us, int *ret_rcode, struct err *err)
{
	enum act act = dns_update_send(lane->conn, u, deadline_us, ret_rcode, err);

	if (act == ACT_UNKNOWN)
		ep->record.first = (lane->server + 1) % ep->record.conf->servers.n;
	return act;
}

/* On the warm connection first, then at the servers in order. What all of them said is in err. A SERVFAIL
 * that one of them said stays, whatever those after it said: it may have passed the update on. */
static enum act MAY_WAIT update_with(struct endpoint *ep, struct lane *lane, const struct dns_update *u,
	int64_t deadline_us, int *ret_rcode, struct err *err)
{
	int n = ep->record.conf->servers.n, asked = -1;
	enum act act = ACT_REFUSED;
	bool failed = false;

	for (int i = lane->conn ? -1 : 0; i < n; i++) {
		int server = i < 0 ? lane->server : dns_record_place(&ep->record, i);
		int64_t until_us = dns_record_share(deadline_us, n - i + 1);
		struct err one = {0};
		if (server == asked)
			continue;
		act = ACT_REFUSED;
		*ret_rcode = -1;
		if (i < 0 || lane_open(ep, lane, server, until_us, &one) == 0)
			act = send_update(ep, lane, u, deadline_us, ret_rcode, &one);
		dns_record_also(err, &one);
		failed = failed || *ret_rcode == RCODE_SERVFAIL;
		if (!try_next(act, *ret_rcode, &one))
			break;
		/* A warm connection that turned out dead says nothing about its server. */
		if (*ret_rcode >= 0)
			asked = server;
	}
	if (failed && *ret_rcode != RCODE_NXRRSET)
		*ret_rcode = RCODE_SERVFAIL;
	return act;
}

static enum act MAY_WAIT update_any(
	struct endpoint *ep, const struct dns_update *u, int64_t deadline_us, int *ret_rcode, struct err *err)
{
	struct lane lane = lane_take(ep);
	struct err all = {0};
	enum act act = update_with(ep, &lane, u, deadline_us, ret_rcode, &all);

	lane_give(ep, lane);
	if (act != ACT_DONE)
		dns_record_also(err, &all);
	return act;
}

/* Compare and swap between the values of two sides, which may be the same. */
static enum act MAY_WAIT swap(struct endpoint *ep, enum conf_side from, enum conf_side to, int64_t ttl_s,
	int64_t deadline_us, int *ret_rcode, struct err *err)
{
	const struct conf_endpoint *conf = ep->record.conf;
	const struct dns_values *old = &ep->record.side[from], *new = &ep->record.side[to];
	struct dns_update u = {
		.zone = conf->zone,
		.name = conf->rr_name,
		.type = conf->type,
		.ttl_s = ttl_s,
		.old_values = old->v,
		.nold = old->n,
		.new_values = new->v,
		.nnew = new->n,
		.tsig_name = conf->tsig_name,
		.tsig_algorithm = conf->tsig_algorithm,
		.tsig_secret = conf->tsig_secret,
	};

	return update_any(ep, &u, deadline_us, ret_rcode, err);
}

/* What an update became that did not say DONE; *ret_settled false: the record still has the old value. */
static enum act MAY_WAIT settle(
	struct endpoint *ep, enum conf_side to, int64_t deadline_us, bool *ret_settled, struct err *err)
{
	struct err seen = {0};
	enum endpoint_at at = ENDPOINT_AT_OTHER;
	enum act act = dns_look(ep, NULL, deadline_us, &at, &seen);

	*ret_settled = act != ACT_DONE || at == ENDPOINT_AT_OTHER || (int)at == (int)to;
	if (act == ACT_DONE && (int)at == (int)to)
		return ACT_DONE;
	dns_record_also(err, &seen);
	return act == ACT_DONE && at == ENDPOINT_AT_OTHER ? ACT_REFUSED : ACT_UNKNOWN;
}

/* Half of the time for the update, half of the rest to ask what became of it. SERVFAIL is a refusal, but also
 * what a server says that passes updates on and had no answer from the primary. */
static enum act MAY_WAIT attempt(
	struct endpoint *ep, enum conf_side to, int64_t deadline_us, bool *ret_settled, struct err *err)
{
	int rcode = -1;
	int64_t until_us = dns_record_share(deadline_us, 2);
	enum act act = swap(ep, other_side(to), to, ep->record.conf->ttl_s, until_us, &rcode, err);
	bool failed = act == ACT_REFUSED && rcode == RCODE_SERVFAIL;

	ep->may_come[to] = ep->may_come[to] || act == ACT_UNKNOWN || rcode == RCODE_SERVFAIL;
	*ret_settled = true;
	if (act == ACT_DONE || err->code == -ECANCELED ||
		(act == ACT_REFUSED && rcode != RCODE_NXRRSET && !failed))
		return act;
	act = settle(ep, to, dns_record_share(deadline_us, 2), ret_settled, err);
	return failed && !*ret_settled ? ACT_REFUSED : act;
}

/* It points back: does it still when what the server may have read before has been carried out? The update is
 * sent once more: who takes updates knows, a secondary may not yet. Looked at only where nothing comes back.
 */
static enum act MAY_WAIT outlast(struct endpoint *ep, enum conf_side to, int64_t deadline_us, struct err *err)
{
	bool in_time = clock_us() + LATE_MS * 1000 < deadline_us;
	int r = in_time ? fiber_sleep_ms(LATE_MS) : -ETIMEDOUT, rcode = -1;
	struct err again = {0};
	bool settled;

	if (r < 0) {
		(void)err_set(err, r, "%s points back, but an update that had no answer may still come",
			ep->record.conf->rr_name);
		return ACT_UNKNOWN;
	}
	enum act act = swap(ep, other_side(to), to, ep->record.conf->ttl_s, dns_record_share(deadline_us, 2),
		&rcode, &again);
	if (act == ACT_REFUSED && rcode == RCODE_NXRRSET)
		act = ACT_DONE;
	if (act != ACT_DONE && again.code != -ECANCELED)
		act = settle(ep, to, deadline_us, &settled, &again);
	if (act == ACT_DONE)
		ep->may_come[other_side(to)] = false;
	else
		dns_record_also(err, &again);
	return act == ACT_DONE ? act : ACT_UNKNOWN;
}

static enum act MAY_WAIT dns_switch_to(struct endpoint *ep, const struct provider_ctx *ctx, enum conf_side to,
	int64_t deadline_us, struct err *err)
{
	bool back = ctx && to == ctx->from, settled = false;
	enum act act = ACT_UNKNOWN;
	struct err why = {0};

	if (!back) /* of this flip none is under way */
		ep->may_come[to] = false;
	for (int i = 0; i < ATTEMPTS && !settled; i++) {
		err_clear(&why);
		act = attempt(ep, to, deadline_us, &settled, &why);
		if (act == ACT_DONE && back && ep->may_come[other_side(to)])
			act = outlast(ep, to, deadline_us, &why);
	}
	if (act == ACT_DONE)
		return act;
	if (!settled) {
		struct err old = {0};
		(void)err_set(&old, -ESTALE, "%s still shows the old value", ep->record.conf->rr_name);
		dns_record_also(&why, &old);
	}
	dns_record_also(err, &why);
	err_server(err, ep->record.conf->label);
	return act;
}

/* --- proofs --- */

/* An update that changes nothing, with the TTL that is there: BIND leaves even the serial number as it is. */
static enum act MAY_WAIT prove_update(
	struct endpoint *ep, enum conf_side at, int64_t ttl_s, int64_t deadline_us, struct err *err)
{
	int rcode = -1;

	return swap(ep, at, at, ttl_s, deadline_us, &rcode, err);
}

static enum act MAY_WAIT dns_prove(
	struct endpoint *ep, const struct provider_ctx *ctx, int64_t deadline_us, struct err *err)
{
	struct dns_answer *answer = xcalloc(1, sizeof(*answer));
	enum endpoint_at at = ENDPOINT_AT_OTHER;
	enum act act = look_whole(ep, dns_record_share(deadline_us, 2), answer, &at, err);
	int64_t ttl_s = answer->ttl_s;
	(void)ctx;

	free(answer);
	if (act == ACT_DONE && at == ENDPOINT_AT_OTHER)
		act = ACT_REFUSED;
	enum conf_side side = at == ENDPOINT_AT_TARGET ? CONF_TARGET : CONF_SOURCE;
	if (act == ACT_DONE)
		act = prove_update(ep, side, ttl_s, deadline_us, err);
	if (act != ACT_DONE)
		err_server(err, ep->record.conf->label);
	return act;
}

static enum act MAY_WAIT dns_ttl(struct endpoint *ep, const struct provider_ctx *ctx, int64_t deadline_us,
	int64_t *ret_s, struct err *err)
{
	struct dns_answer *answer = xcalloc(1, sizeof(*answer));
	enum endpoint_at at;
	struct err other = {0};
	enum act act = look_whole(ep, deadline_us, answer, &at, &other);
	(void)ctx;

	if (act == ACT_DONE)
		*ret_s = answer->ttl_s;
	else if (err)
		*err = other;
	free(answer);
	return act;
}

static enum act MAY_WAIT dns_spread(struct endpoint *ep, const struct provider_ctx *ctx, enum conf_side to,
	int64_t deadline_us, struct err *err)
{
	enum act act = dns_record_spread(&ep->record, to, deadline_us, err);
	(void)ctx;

	if (act != ACT_DONE)
		err_server(err, ep->record.conf->label);
	return act;
}

static void values_list(const struct dns_values *v, struct strbuf *to)
{
	for (int i = 0; i < v->n; i++)
		strbuf_addf(to, i ? " %s" : "%s", v->v[i]);
}

static void dns_plan(const struct endpoint *ep, enum conf_side to, char *buf, size_t size)
{
	const struct conf_endpoint *conf = ep->record.conf;
	struct strbuf text = {0};

	strbuf_addf(&text, "update zone %s at %s: if %s %s is exactly {", conf->zone, conf->servers.v[0],
		conf->rr_name, conf->type);
	values_list(&ep->record.side[other_side(to)], &text);
	strbuf_add(&text, "}, replace it by {");
	values_list(&ep->record.side[to], &text);
	strbuf_addf(&text, "} with ttl %lld%s%s", (long long)conf->ttl_s,
		conf->tsig_name ? ", signed by " : ", unsigned", conf->tsig_name ? conf->tsig_name : "");
	(void)str_copy(buf, size, strbuf_str(&text));
	strbuf_free(&text);
}

extern const struct endpoint_ops endpoint_dns; /* for registry.c */
const struct endpoint_ops endpoint_dns = {
	.kind = CONF_ENDPOINT_DNS,
	.type = "dns",
	.create = dns_create,
	.destroy = dns_destroy,
	.warm = dns_warm,
	.look = dns_look,
	.prove = dns_prove,
	.ttl = dns_ttl,
	.switch_to = dns_switch_to,
	.spread = dns_spread,
	.plan_kind = "dns",
	.plan = dns_plan,
};
