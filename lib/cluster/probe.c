/*
 * probe: an outside view of a flip. It writes as an account that the fence stops, the way applications go: to
 * both servers ("servers"), or to whatever the first DNS endpoint names at that moment ("endpoint"). Its last
 * write accepted by old and its first accepted by new are the blackout that clients saw.
 *
 * It writes only on a side that may be open by flipd's own word: old until the fence is answered; new right
 * after its opening was sent, which is before the write on any way, and again when the opening is confirmed.
 * A side that a hand or a restart opened would take the write too, and that would be a transaction of its
 * own.
 */
#include <errno.h>
#include <stdlib.h>

#include "lib/base/clock.h"
#include "lib/cluster/cluster.h"

#define PROBE_LIMIT_US                                                                                       \
	2000000 /* one write may hang that long behind a fence before the session is given up */

#define PROBE_FIRST_US 500000  /* how long a start waits for the first write on old */
#define PROBE_AGAIN_US 100000  /* between two tries to log in: a full server needs its connections itself */
#define PROBE_AFTER_US 1000000 /* what it is for is known; a flip may settle for minutes */

struct probe_lane { /* the writes to one side */
	struct probe *probe;
	enum conf_side side;
	struct session *session;
	int64_t again_us; /* no try to log in before that */
	struct fiber *fiber;
};

struct probe {
	struct cluster *cluster;
	enum conf_side old_side;
	int64_t interval_us;
	bool by_endpoint, stop;
	int64_t until_us[2]; /* writes on that side are sent until then */
	uint64_t seq;
	struct probe_lane lane[2];
	struct probe_result result;
	struct fiber_cond seen;
};

static void probe_note(struct probe *p, enum conf_side side, enum act act)
{
	struct probe_result *r = &p->result;

	if (act != ACT_DONE) {
		r->refused++;
		return;
	}
	r->writes++;
	if (side == p->old_side) {
		if (!r->last_old_us)
			fiber_cond_signal(&p->seen);
		r->last_old_us = clock_us();
		r->last_old_at_ms = clock_wall_ms();
	} else if (!r->first_new_us) {
		r->first_new_us = clock_us();
		r->first_new_at_ms = clock_wall_ms();
		fiber_cond_signal(&p->seen);
	}
}

static int MAY_WAIT lane_open(struct probe_lane *l, struct err *err)
{
	struct cluster *c = l->probe->cluster;

	return session_open(c->side[l->side].node, SESSION_PROBE, &c->conf->policy.fence_probe,
		clock_us() + PROBE_LIMIT_US, &l->session, err);
}

static bool may_write(const struct probe *p, enum conf_side side)
{
	int64_t first_us = p->result.first_new_us;

	return clock_us() < p->until_us[side] && (!first_us || clock_us() < first_us + PROBE_AFTER_US);
}

static void MAY_WAIT lane_write(struct probe_lane *l)
{
	struct err err = {0};
	enum act act = ACT_UNKNOWN;

	if (!may_write(l->probe, l->side))
		return;
	if (l->session && !session_alive(l->session)) {
		session_close(l->session);
		l->session = NULL;
	}
	if (!l->session) {
		if (clock_us() < l->again_us)
			return;
		if (lane_open(l, &err) < 0)
			l->session = NULL;
		l->again_us = clock_us() + PROBE_AGAIN_US;
	}
	if (!may_write(l->probe, l->side))
		return;
	if (l->session)
		act = node_probe_write(l->session, ++l->probe->seq, clock_us() + PROBE_LIMIT_US, &err);
	probe_note(l->probe, l->side, act);
}

static void lane_fiber(void *arg)
{
	struct probe_lane *l = arg;

	while (!l->probe->stop) {
		int64_t next = clock_us() + l->probe->interval_us;

		lane_write(l);
		int64_t left = next - clock_us();
		if (l->probe->stop || fiber_sleep_us(left > 0 ? left : 0) == -ECANCELED)
			return;
	}
}

/* Which side the first DNS endpoint names now; the old side when it cannot be asked. */
static enum conf_side MAY_WAIT endpoint_side(struct probe *p)
{
	struct cluster *c = p->cluster;
	struct provider_ctx ctx = {.cluster = c->conf->name,
		.run = "",
		.flip_id = "",
		.step = "probe",
		.from = p->old_side,
		.to = !p->old_side,
		.old_server = &c->conf->side[p->old_side],
		.new_server = &c->conf->side[!p->old_side]};
	enum endpoint_at at = ENDPOINT_AT_OTHER;
	struct err err = {0};

	for (int i = 0; i < c->conf->nendpoints; i++) {
		if (c->conf->endpoints[i].kind != CONF_ENDPOINT_DNS || !c->endpoint_ops[i])
			continue;
		if (c->endpoint_ops[i]->look(c->endpoints[i], &ctx, clock_us() + PROBE_LIMIT_US, &at, &err) ==
				ACT_DONE &&
			at != ENDPOINT_AT_OTHER)
			return (enum conf_side)at;
		break;
	}
	return p->old_side;
}

static void endpoint_fiber(void *arg)
{
	struct probe *p = arg;

	while (!p->stop) {
		int64_t next = clock_us() + p->interval_us;

		lane_write(&p->lane[endpoint_side(p)]);
		int64_t left = next - clock_us();
		if (p->stop || fiber_sleep_us(left > 0 ? left : 0) == -ECANCELED)
			return;
	}
}

static bool has_dns(const struct cluster *c)
{
	for (int i = 0; i < c->conf->nendpoints; i++)
		if (c->conf->endpoints[i].kind == CONF_ENDPOINT_DNS)
			return true;
	return false;
}

int MAY_WAIT probe_start(struct cluster *c, enum conf_side old_side, struct probe **ret, struct err *err)
{
	const struct conf_policy *policy = &c->conf->policy;
	struct probe *p;

	if (policy->probe_via == CONF_VIA_NONE || !policy->fence_probe.user)
		return err_set(err, -ENOENT, "no probe: %s",
			policy->fence_probe.user ? "probe.via is none"
						 : "no fence_probe account is configured");
	p = xcalloc(1, sizeof(*p));
	p->cluster = c;
	p->old_side = old_side;
	p->until_us[old_side] = CLOCK_FOREVER;
	p->interval_us = policy->probe_interval_us;
	p->by_endpoint = policy->probe_via == CONF_VIA_ENDPOINT && has_dns(c);
	p->result.via = p->by_endpoint ? "endpoint" : "servers";
	p->result.interval_ms = (double)p->interval_us / 1000.0;
	for (int i = 0; i < 2; i++)
		p->lane[i] = (struct probe_lane){.probe = p, .side = (enum conf_side)i};
	if (lane_open(&p->lane[old_side], err) < 0 || lane_open(&p->lane[!old_side], err) < 0) {
		err_wrap(err, "the probe cannot log in");
		probe_stop(p, NULL);
		return -EACCES;
	}
	if (p->by_endpoint)
		p->lane[old_side].fiber = fiber_spawn("probe", endpoint_fiber, p);
	for (int i = 0; i < 2 && !p->by_endpoint; i++)
		p->lane[i].fiber = fiber_spawn("probe", lane_fiber, &p->lane[i]);
	*ret = p;
	/* A flip that follows at once shall find a write on old before its fence. */
	int64_t until = clock_us() + PROBE_FIRST_US;
	while (!p->result.last_old_us && fiber_cond_wait(&p->seen, until) == 0)
		;
	return 0;
}

void MAY_WAIT probe_stop(struct probe *p, struct probe_result *ret)
{
	if (!p)
		return;
	p->stop = true;
	/* By endpoint one fiber writes on both: no session goes before it has. */
	for (int i = 0; i < 2; i++)
		fiber_stop(p->lane[i].fiber);
	for (int i = 0; i < 2; i++)
		session_close(p->lane[i].session);
	if (ret)
		*ret = p->result;
	free(p);
}

void probe_allow(struct probe *p, enum conf_side side, bool may_write)
{
	if (p)
		p->until_us[side] = may_write ? CLOCK_FOREVER : 0;
}

void probe_expect(struct probe *p, enum conf_side side)
{
	if (p)
		p->until_us[side] = clock_us() + p->interval_us;
}

bool probe_seen_new(const struct probe *p)
{
	return p->result.first_new_us != 0;
}

void MAY_WAIT probe_await_new(struct probe *p, int64_t deadline_us)
{
	while (!p->result.first_new_us)
		if (fiber_cond_wait(&p->seen, deadline_us) < 0)
			return;
}

void probe_session_ids(const struct probe *p, uint64_t ret_ids[2])
{
	for (int i = 0; i < 2; i++)
		ret_ids[i] = p && p->lane[i].session ? session_get_mark(p->lane[i].session)->id : 0;
}
