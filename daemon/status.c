/* status: what is known of each cluster, as the JSON of the interface. */
#include "daemon/status.h"

#include <stdio.h>
#include <stdlib.h>

#include "daemon/run.h"
#include "daemon/server.h"
#include "daemon/watch.h"
#include "lib/base/clock.h"
#include "lib/base/str.h"
#include "lib/io/sd.h"
#include "lib/model/gtid.h"
#include "lib/model/wire.h"

#define CLUSTERS_PER_TURN 8 /* then others have their turn */

/* The channel that matters: from the master, else the first. */
static const struct facts_channel *main_channel(struct cluster *c, const struct cluster_server *s)
{
	enum cluster_master m = cluster_master(c);
	const struct facts_channel *channel = NULL;

	if (m <= CLUSTER_MASTER_TARGET && &c->side[m] != s) {
		const struct cluster_server *master = &c->side[m];
		channel = facts_channel_from(&s->facts, master->facts.id.server_id,
			master->conf->replication_host, master->conf->replication_port);
	}
	return channel || s->facts.nchannels == 0 ? channel : &s->facts.channels[0];
}

static void set_from(struct wire *o, struct cluster *c, const struct facts_channel *channel)
{
	for (int i = 0; i < cluster_nservers(c); i++) {
		const struct cluster_server *s = cluster_server_at(c, i);
		bool same_id = channel->master_server_id && s->facts.up &&
			       s->facts.id.server_id == channel->master_server_id;
		bool same_address = str_ieq(s->conf->replication_host, channel->host) &&
				    s->conf->replication_port == channel->port;

		if (same_id || same_address) {
			wire_set_str(o, "from", s->conf->name);
			return;
		}
	}
	wire_set_strf(o, "from", HOST_PORT, HOST_PORT_OF(channel->host, channel->port));
}

static void set_position(struct wire *o, const struct cluster_server *s, const struct facts_channel *channel)
{
	char text[GTID_MAX * 44];

	if (str_ieq(channel->using_gtid, "No") || !channel->using_gtid[0])
		wire_set_strf(
			o, "position", "%s:%ju", channel->exec_log_file, (uintmax_t)channel->exec_log_pos);
	else
		wire_set_str(o, "position", gtid_format(&s->facts.position.slave_pos, text, sizeof(text)));
}

static struct wire *replication(struct cluster *c, const struct cluster_server *s)
{
	const struct facts_channel *channel = s->facts.up ? main_channel(c, s) : NULL;

	if (!channel)
		return NULL;
	struct wire *o = wire_object();
	set_from(o, c, channel);
	wire_set_str(o, "io", channel->io);
	wire_set_str(o, "sql", channel->sql);
	wire_set_int_or_null(o, "lag_seconds", channel->lag_s);
	if (s->heartbeat_lag_ms < 0)
		wire_set_null(o, "heartbeat_lag_seconds");
	else
		wire_set_real(o, "heartbeat_lag_seconds", (double)s->heartbeat_lag_ms / 1000);
	set_position(o, s, channel);
	wire_set_str(o, "error", channel->last_error[0] ? channel->last_error : NULL);
	return o;
}

static const char *flavor(const struct cluster_server *s)
{
	if (s->conf->flavor != CONF_FLAVOR_AUTO)
		return conf_flavor_name(s->conf->flavor);
	return s->facts.up ? conf_flavor_name(s->facts.is_mariadb ? CONF_FLAVOR_MARIADB : CONF_FLAVOR_MYSQL)
			   : NULL;
}

static void add_server(struct wire *servers, struct cluster *c, const struct cluster_server *s)
{
	struct wire *o = wire_add_object(servers);
	bool up = s->facts.up;

	wire_set_str(o, "name", s->conf->name);
	wire_set_str(o, "host", s->conf->host);
	wire_set_int(o, "port", s->conf->port);
	wire_set_str(o, "flavor", flavor(s));
	wire_set_str(o, "version", up ? s->facts.version : NULL);
	wire_set_bool(o, "up", up);
	if (up) {
		wire_set_bool(o, "writable", !s->facts.read_only);
		wire_set_bool(o, "fenced", s->facts.read_only);
		wire_set_int(o, "uptime_seconds", s->facts.uptime_s);
	} else {
		wire_set_null(o, "writable");
		wire_set_null(o, "fenced");
		wire_set_null(o, "uptime_seconds");
	}
	wire_set(o, "replication", replication(c, s));
}

/* Flips of others that the journal is needed for; up to three are named. */
static void add_unfinished(const struct watched *w, struct strbuf *b)
{
	const struct server *server = w->server;
	int n = 0;

	for (int i = 0; i < server->nwatched; i++) {
		const struct watched *other = server->watched[i];
		if (other == w || !other->run)
			continue;
		if (n++ < 3)
			strbuf_addf(b, "%s%s", n == 1 ? "first see the flips of " : ", ", other->name);
	}
	if (n)
		strbuf_addf(b, "%s end, their journal goes too; ", n > 3 ? " and others" : "");
}

/* What is left then is the flip's row on the servers, like that of a flipd on another host. */
char *status_way_out(const struct watched *w)
{
	struct strbuf b = {0};

	add_unfinished(w, &b);
	strbuf_addf(&b,
		"see that exactly one side takes writes; then stop flipd, move %s/journal.db away, start it, "
		"and say: flipctl resolve %s",
		w->server->conf->daemon.state_dir, w->name);
	return b.data;
}

static void add_unreadable(const struct watched *w, struct preflight *to)
{
	struct check_out *out = &to->results[to->n++];
	char *hint = status_way_out(w);

	*out = (struct check_out){.name = "unfinished_flip", .result = CHECK_REFUSE};
	(void)snprintf(
		out->seen, sizeof(out->seen), "an unfinished flip could not be taken up: %s", w->unreadable);
	str_copy(out->hint, sizeof(out->hint), hint);
	free(hint);
}

/* Only what refuses; warnings are `check`'s. */
static struct wire *blockers(const struct watched *w)
{
	struct arena *arena = arena_new();
	struct preflight refusing = {0};

	refusing.results = arena_alloc(arena, sizeof(*refusing.results) * (size_t)(w->judged.n + 2));
	if (w->unreadable)
		add_unreadable(w, &refusing);
	for (int i = 0; w->judged_arena && i < w->judged.n; i++) {
		const struct check_out *one = &w->judged.results[i];
		if (w->unreadable && str_eq(one->name, "unfinished_flip")) /* by its row: said above */
			continue;
		if (one->result == CHECK_REFUSE)
			refusing.results[refusing.n++] = w->judged.results[i];
	}
	struct wire *array = preflight_wire(&refusing);
	arena_free(arena);
	return array;
}

struct wire *status_cluster(struct watched *w)
{
	struct cluster *c = w->live->cluster;
	enum cluster_master master = w->master;
	struct wire *o = wire_object();

	wire_set_str(o, "name", w->name);
	wire_set_str(o, "state", watch_state_name(watch_get_state(w)));
	wire_set_str(
		o, "master", master <= CLUSTER_MASTER_TARGET ? conf_side_name((enum conf_side)master) : NULL);
	wire_set_str(o, "why", cluster_master_why(master));
	struct wire *ready = wire_set_object(o, "ready");
	wire_set_bool(ready, "source", watch_ready(w, CONF_SOURCE));
	wire_set_bool(ready, "target", watch_ready(w, CONF_TARGET));
	wire_set(o, "blockers", blockers(w));
	struct wire *servers = wire_set_array(o, "servers");
	for (int i = 0; i < cluster_nservers(c); i++)
		add_server(servers, c, cluster_server_at(c, i));
	wire_set(o, "flip", w->run ? flip_document(w->run->flip, true) : NULL);
	wire_set(o, "last_flip", w->last_flip ? wire_ref(w->last_flip) : NULL);
	return o;
}

static bool wanted(const struct watched *w, const char *const *names, int nnames)
{
	for (int i = 0; i < nnames; i++) {
		if (str_eq(w->name, names[i]))
			return true;
	}
	return !names;
}

void status_await_turn(const struct server *server)
{
	static struct fiber_mutex turn;

	if (server->nwatched <= CLUSTERS_PER_TURN || fiber_mutex_lock(&turn, CLOCK_FOREVER) < 0)
		return;
	(void)fiber_yield();
	fiber_mutex_unlock(&turn);
}

void status_print(struct server *server, const char *const *names, int nnames, struct strbuf *b)
{
	bool due = nnames != 1; /* one alone goes out at once */
	int shown = 0;

	strbuf_add(b, "{\"clusters\":[");
	/* A reload may change the list meanwhile: it is read anew each time. */
	for (int i = 0; i < server->nwatched; i++) {
		if (due)
			status_await_turn(server);
		due = false;
		if (i >= server->nwatched)
			break;
		if (!wanted(server->watched[i], names, nnames))
			continue;
		struct wire *o = status_cluster(server->watched[i]);
		char *text = wire_dump(o, 0);
		if (shown++)
			strbuf_add(b, ",");
		strbuf_add(b, text);
		free(text);
		wire_free(o);
		due = shown % CLUSTERS_PER_TURN == 0;
	}
	strbuf_add(b, "]}");
}

void status_tell(struct server *server)
{
	static char last[160];
	struct strbuf b = {0};
	int by_state[WATCH_STATES] = {0};

	for (int i = 0; i < server->nwatched; i++)
		by_state[watch_get_state(server->watched[i])]++;
	strbuf_addf(&b, "%d cluster%s", server->nwatched, server->nwatched == 1 ? "" : "s");
	for (int i = 0; i < WATCH_STATES; i++) {
		if (by_state[i])
			strbuf_addf(&b, ", %d %s", by_state[i], watch_state_name((enum watch_state)i));
	}
	if (!str_eq(last, strbuf_str(&b))) {
		str_copy(last, sizeof(last), strbuf_str(&b));
		sd_tell_status("%s", last);
	}
	strbuf_free(&b);
}
