/*
 * state: who is master, the state in one word and the readiness of a cluster, from polls that were taken at
 * different times. Two sides seen open count as open together only when what was seen overlaps in time, and
 * what was seen before a flip changed something counts for nothing: else every change of masters would look
 * like a split brain for a moment.
 */
#include "daemon/state.h"

#include "daemon/run.h"
#include "daemon/server.h"
#include "daemon/watch.h"
#include "lib/base/clock.h"
#include "lib/base/str.h"

static const char *const names[] = {
	[WATCH_STUCK] = "stuck",
	[WATCH_RECOVERING] = "recovering",
	[WATCH_ROLLING_BACK] = "rolling_back",
	[WATCH_FLIPPING] = "flipping",
	[WATCH_SPLIT_BRAIN] = "split_brain",
	[WATCH_NO_MASTER] = "no_master",
	[WATCH_UNREACHABLE] = "unreachable",
	[WATCH_SETTLING] = "settling",
	[WATCH_DEGRADED] = "degraded",
	[WATCH_OK] = "ok",
};

const char *watch_state_name(enum watch_state state)
{
	return (size_t)state < COUNT_OF(names) ? names[state] : "unknown";
}

/* Master */

/* A side has been seen as it is now from since_ms to its last poll. */
void state_note_poll(struct watched *w, const struct cluster_server *s)
{
	struct cluster *c = w->live->cluster;

	for (int side = 0; side < 2; side++) {
		struct watch_seen *seen = &w->seen[side];

		if (s != &c->side[side])
			continue;
		if (!s->facts.up) {
			seen->up = false;
			continue;
		}
		if (!seen->up || seen->open != !s->facts.read_only)
			seen->since_ms = s->facts.taken_at_ms;
		seen->up = true;
		seen->open = !s->facts.read_only;
		seen->last_ms = s->facts.taken_at_ms;
	}
}

static bool seen_together(const struct watched *w)
{
	const struct watch_seen *a = &w->seen[0], *b = &w->seen[1];
	int64_t since = a->since_ms > b->since_ms ? a->since_ms : b->since_ms;
	int64_t last = a->last_ms < b->last_ms ? a->last_ms : b->last_ms;

	return a->up && b->up && since <= last && last >= w->changed_ms;
}

enum cluster_master state_find_master(const struct watched *w)
{
	enum cluster_master m = cluster_master(w->live->cluster);

	if (m == CLUSTER_MASTER_BOTH_WRITABLE || m == CLUSTER_MASTER_NONE_WRITABLE)
		return seen_together(w) ? m : w->master;
	return m;
}

void state_changed(struct watched *w, bool look_now)
{
	w->changed_ms = clock_ms();
	for (int side = 0; side < 2; side++)
		w->changed_polls[side] = w->live->cluster->side[side].polls;
	if (look_now)
		cluster_poke(w->live->cluster);
}

bool state_looked_since(const struct watched *w)
{
	for (int side = 0; side < 2; side++) {
		const struct cluster_server *s = &w->live->cluster->side[side];
		bool anew = s->facts.up ? s->facts.taken_at_ms >= w->changed_ms
					: s->polls > w->changed_polls[side];

		if (!anew)
			return false;
	}
	return true;
}

/* State */

static bool running(const struct facts_channel *c)
{
	return c && str_ieq(c->io, "Yes") && str_ieq(c->sql, "Yes");
}

static bool replica_well(const struct cluster_server *s)
{
	if (!s->facts.up || !s->facts.read_only)
		return false;
	for (int i = 0; i < s->facts.nchannels; i++) {
		if (running(&s->facts.channels[i]))
			return true;
	}
	return false;
}

/* Everything that a flip would leave behind: the standby follows the master, the replicas follow somebody. */
static bool degraded(const struct cluster *c, enum cluster_master master)
{
	if (master > CLUSTER_MASTER_TARGET)
		return true;
	const struct cluster_server *m = &c->side[master], *standby = &c->side[!master];

	if (!running(facts_channel_from(&standby->facts, m->facts.id.server_id, m->conf->replication_host,
		    m->conf->replication_port)))
		return true;
	for (int i = 0; i < c->nreplicas; i++) {
		if (!replica_well(&c->replicas[i]))
			return true;
	}
	return false;
}

static enum watch_state flip_part(const struct watched *w)
{
	if (w->unreadable)
		return WATCH_STUCK;
	if (!w->run)
		return WATCH_OK;
	switch (flip_get_state(w->run->flip)) {
	case FLIP_STUCK:
		return WATCH_STUCK;
	case FLIP_RECOVERING:
		return WATCH_RECOVERING;
	case FLIP_RUNNING:
		if (flip_is_rehearsal(w->run->flip))
			return WATCH_OK; /* nothing that anybody would notice */
		if (flip_rolling_back(w->run->flip))
			return WATCH_ROLLING_BACK;
		return flip_settling(w->run->flip) ? WATCH_SETTLING : WATCH_FLIPPING;
	default:
		return WATCH_OK;
	}
}

static enum watch_state servers_part(const struct watched *w)
{
	const struct cluster *c = w->live->cluster;
	enum cluster_master master = w->master;

	if (master == CLUSTER_MASTER_BOTH_WRITABLE)
		return WATCH_SPLIT_BRAIN;
	if (master == CLUSTER_MASTER_NONE_WRITABLE)
		return WATCH_NO_MASTER;
	if (!c->side[CONF_SOURCE].facts.up || !c->side[CONF_TARGET].facts.up)
		return WATCH_UNREACHABLE;
	/* A flip has just ended: it is not known yet what it left. */
	if (!state_looked_since(w))
		return WATCH_SETTLING;
	return degraded(c, master) ? WATCH_DEGRADED : WATCH_OK;
}

enum watch_state watch_get_state(const struct watched *w)
{
	enum watch_state flip = flip_part(w), servers = servers_part(w);

	return flip < servers ? flip : servers;
}

/* Readiness */

static const struct facts *replica_facts(const struct cluster *c, struct arena *arena)
{
	struct facts *all = arena_alloc(arena, sizeof(*all) * (size_t)(c->nreplicas + 1));

	for (int i = 0; i < c->nreplicas; i++)
		all[i] = c->replicas[i].facts;
	return all;
}

/* Once for each pair of polls, for the direction away from the master: the other one is never ready. */
void state_judge(struct watched *w)
{
	struct cluster *c = w->live->cluster;
	enum cluster_master master = w->master;
	enum conf_side from = master <= CLUSTER_MASTER_TARGET ? (enum conf_side)master : !w->judged_to;
	struct cluster_server *old = &c->side[from], *new = &c->side[!from];

	if (old->polls == w->judged_polls[from] || new->polls == w->judged_polls[!from])
		return;
	struct arena *arena = arena_new();
	struct check_input input = {
		.conf = c->conf,
		.from = from,
		.to = !from,
		.old_facts = &old->facts,
		.new_facts = &new->facts,
		.old_error = old->error.code ? &old->error : NULL,
		.new_error = new->error.code ? &new->error : NULL,
		.nreplicas = c->nreplicas,
		.replicas = replica_facts(c, arena),
		.journal_id = journal_id(w->server->journal),
		.flip_id = "",
		.wall_ms = clock_wall_ms(),
		.new_heartbeat_lag_ms = new->heartbeat_lag_ms,
		.old_reached = &c->reached[from],
		.own_host = w->server->host,
	};
	preflight_judge(&input, true, arena, &w->judged);
	arena_free(w->judged_arena);
	w->judged_arena = arena;
	w->judged_to = !from;
	w->judged_polls[from] = old->polls;
	w->judged_polls[!from] = new->polls;
}

bool watch_ready(const struct watched *w, enum conf_side to)
{
	return w->judged_arena && w->judged_to == to && w->judged.ready && !w->run && !w->unreadable &&
	       w->master == (enum cluster_master) !to && state_looked_since(w);
}
