/*
 * world_net: a server that flipd cannot reach, though its clients can. What flipd sends there meanwhile is
 * sent again and again by its host, whether flipd still waits for an answer or not: it arrives when the way
 * is open again. Only with flipd's machine it is gone.
 */
#include "tests/scenario/fake_loop.h"
#include "tests/scenario/world.h"

#define AGAIN_US 200000 /* from the way open again to the next try of what was not delivered, at most */

struct parcel {
	struct parcel *next;
	struct server *server;
	void (*deliver)(void *);
	void *arg;
	int machine;
};

static struct parcel *parcels, **parcels_end; /* in the world's arena */

void net_reset(void)
{
	parcels = NULL;
	parcels_end = &parcels;
}

static void keep(struct server *s, void (*deliver)(void *), void *arg, int machine)
{
	struct parcel *p = arena_alloc(w.arena, sizeof(*p));

	*p = (struct parcel){NULL, s, deliver, arg, machine};
	*parcels_end = p;
	parcels_end = &p->next;
}

void net_keep(struct server *s, void (*deliver)(void *), void *arg)
{
	keep(s, deliver, arg, w.machines);
}

struct ending {
	struct server *s;
	int boots;
	uint64_t id;
};

static void has_gone(void *arg)
{
	struct ending *e = arg;
	struct wsession *x = e->s->up && e->s->boots == e->boots ? server_find(e->s, e->id) : NULL;

	if (x)
		server_client_gone(x);
}

void net_keep_end(const struct wsession *x)
{
	struct ending *e = arena_alloc(w.arena, sizeof(*e));

	*e = (struct ending){x->server, x->server->boots, x->id};
	net_keep(x->server, has_gone, e);
}

/* In the order in which it was sent. */
static void deliver_late(struct server *s)
{
	int64_t at_us = vtime_us() + jitter_us(AGAIN_US * 3 / 4);
	struct parcel *p = parcels;

	net_reset();
	for (; p; p = p->next) {
		if (p->server != s)
			keep(p->server, p->deliver, p->arg, p->machine);
		else if (p->machine == w.machines)
			vtime_at(at_us++, p->deliver, p->arg);
	}
}

void net_heal(struct server *s)
{
	bool again = true;

	note("%s can be reached again", s->name);
	s->partitioned = s->cut = false;
	s->in_reach_since_us = vtime_us();
	while (again) { /* clients that went away meanwhile are noticed now */
		again = false;
		for (struct wsession *x = s->sessions; x && !again; x = x->next) {
			if (!x->flipd || x->running || (x->id && !x->client_gone))
				continue;
			server_drop(x);
			again = true;
		}
	}
	deliver_late(s);
	link_wake_all();
}

static void heal(void *arg)
{
	net_heal(arg);
}

void net_partition(struct server *s, bool cut, int64_t us)
{
	note("%s cannot be reached by flipd%s", s->name, cut ? ", nor by what replicates" : "");
	s->partitioned = true;
	s->cut = cut;
	if (us >= 0)
		vtime_at(vtime_us() + us, heal, s);
}
