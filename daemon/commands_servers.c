/* commands_servers: check and plan ask the servers; history and show ask the journal. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/commands.h"
#include "daemon/run.h"
#include "daemon/server.h"
#include "daemon/watch.h"
#include "lib/base/arena.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"

#define CHECK_LIMIT_MS 60000
#define HISTORY_LIMIT 50
#define HISTORY_MOST 1000
#define HISTORY_TURN ((size_t)256 << 10) /* then others have their turn */
#define HISTORY_BYTES ((size_t)8 << 20)	 /* older flips are left out past this */

int command_not_in_flip(const struct request *r, const struct watched *w, struct err *err)
{
	if (w->run && w->run->active)
		return err_set(err, -EBUSY, "%s: %s %s is under way: %s again when it has ended", w->name,
			run_word(w->run), flip_id(w->run->flip), r->command->name);
	return 0;
}

static struct provider_ctx context(const struct request *r, const struct cluster *c, enum conf_side to)
{
	return (struct provider_ctx){
		.cluster = c->conf->name,
		.run = r->server->start_id,
		.flip_id = "",
		.step = "preflight",
		.from = !to,
		.to = to,
		.old_server = &c->conf->side[!to],
		.new_server = &c->conf->side[to],
	};
}

int command_check(struct request *r, struct strbuf *ret, struct err *err)
{
	struct arena *arena CLEANUP(arena_freep) = arena_new();
	struct preflight preflight;
	struct watched *w;
	int to;
	int code = command_cluster(r, &w, err);

	if (code == 0)
		code = command_side(r, "to", &to, err);
	if (code == 0)
		code = command_not_in_flip(r, w, err);
	if (code != 0)
		return code;
	struct live *live = live_use(w);
	struct provider_ctx ctx = context(r, live->cluster, (enum conf_side)to);
	code = preflight_run(live->cluster, (enum conf_side)to, &ctx, journal_id(r->server->journal), "",
		clock_us() + CHECK_LIMIT_MS * 1000, arena, &preflight, err);
	if (code == 0) {
		struct wire *o = wire_object();
		wire_set_str(o, "cluster", live->cluster->conf->name);
		wire_set_str(o, "to", conf_side_name((enum conf_side)to));
		wire_set_bool(o, "ready", preflight.ready);
		wire_set(o, "checks", preflight_wire(&preflight));
		command_answer(ret, o);
	}
	live_done(live);
	return code < 0 ? command_failed(err) : 0;
}

int command_plan(struct request *r, struct strbuf *ret, struct err *err)
{
	struct watched *w;
	struct wire *plan;
	int to;
	int code = command_cluster(r, &w, err);

	if (code == 0)
		code = command_side(r, "to", &to, err);
	if (code != 0)
		return code;
	struct live *live = live_use(w);
	code = flip_plan(live->cluster, (enum conf_side)to, &plan, err);
	live_done(live);
	if (code != 0)
		return command_failed(err);
	command_answer(ret, plan);
	return 0;
}

/* history, show */

static struct run *run_of(const struct server *server, const char *id)
{
	for (int i = 0; i < server->nwatched; i++) {
		struct run *run = server->watched[i]->run;
		if (run && str_eq(flip_id(run->flip), id))
			return run;
	}
	return NULL;
}

static void set_time(struct wire *o, const char *key, int64_t wall_ms)
{
	char text[32];

	wire_set_str(o, key, wall_ms ? clock_format_rfc3339(wall_ms, text, sizeof(text)) : NULL);
}

struct wire *command_bare_flip(const struct journal_flip *f)
{
	static const char *const arrays[] = {
		"warnings", "steps", "checks", "killed", "attempts", "endpoints"};
	struct wire *o = wire_object();

	wire_set_str(o, "id", f->id);
	wire_set_str(o, "cluster", f->cluster);
	wire_set_str(o, "group", f->group && f->group[0] ? f->group : NULL);
	wire_set_bool(o, "rehearsal", f->rehearsal);
	wire_set_str(o, "from", f->from);
	wire_set_str(o, "to", f->to);
	wire_set_str(o, "state", f->state);
	wire_set_str(o, "outcome", f->outcome);
	set_time(o, "started_at", f->started_at_ms);
	set_time(o, "ended_at", f->ended_at_ms);
	wire_set_null(o, "blackout_ms");
	wire_set_null(o, "predicted_blackout_ms");
	struct wire *by = wire_set_object(o, "requested_by");
	wire_set_null(by, "user");
	wire_set_null(by, "uid");
	wire_set_null(by, "pid");
	for (size_t i = 0; i < COUNT_OF(arrays); i++)
		(void)wire_set_array(o, arrays[i]);
	struct wire *position = wire_set_object(o, "position");
	wire_set_null(position, "final");
	wire_set_null(position, "way_back");
	wire_set_null(o, "probe");
	wire_set_null(o, "error");
	return o;
}

/* What runs tells of itself; what has ended is in the journal as it was saved, and goes out unparsed. */
static void add_flip(const struct server *server, const struct journal_flip *f, struct strbuf *ret)
{
	struct run *run = run_of(server, f->id);

	if (run)
		command_answer(ret, flip_document(run->flip, true));
	else if (f->document && f->document[0])
		strbuf_add(ret, f->document);
	else
		command_answer(ret, command_bare_flip(f));
}

int command_history(struct request *r, struct strbuf *ret, struct err *err)
{
	struct arena *arena CLEANUP(arena_freep) = arena_new();
	const char *name = wire_get_str(r->args, "name");
	int64_t limit = wire_get_int(r->args, "limit", HISTORY_LIMIT);
	struct journal_flip *flips;
	int n;

	if (limit < 1 || limit > HISTORY_MOST)
		return err_set(err, -EINVAL, "limit: 1 to %d is wanted", HISTORY_MOST);
	if (journal_history(r->server->journal, arena, name, (int)limit, &flips, &n, err) < 0)
		return command_failed(err);
	/* A cluster that is not configured any more keeps its history. */
	if (name && n == 0 && !server_find(r->server, name) && !conf_find_group(r->server->conf, name))
		return err_set(err, -ENOENT, "%.64s: no cluster of that name", name);
	strbuf_add(ret, "{\"flips\":[");
	for (int i = 0, turn = 1; i < n && ret->len < HISTORY_BYTES; i++) {
		if (i)
			strbuf_add(ret, ",");
		add_flip(r->server, &flips[i], ret);
		if (ret->len < turn * HISTORY_TURN)
			continue;
		turn = (int)(ret->len / HISTORY_TURN) + 1;
		(void)fiber_yield();
	}
	strbuf_add(ret, "]}");
	return 0;
}

int command_show(struct request *r, struct strbuf *ret, struct err *err)
{
	struct arena *arena CLEANUP(arena_freep) = arena_new();
	const char *id = wire_get_str(r->args, "id");
	struct journal_flip flip;
	const struct run *run = run_of(r->server, id);
	if (run) {
		command_answer(ret, flip_document(run->flip, true));
		return 0;
	}
	int code = journal_load(r->server->journal, arena, id, &flip, NULL, NULL, err);
	if (code == -ENOENT) {
		err_clear(err);
		return err_set(err, -ENOENT, "%.64s: no flip of that id", id);
	}
	if (code < 0)
		return command_failed(err);
	add_flip(r->server, &flip, ret);
	return 0;
}
