/* adopt: the journal's unfinished flips become runs, each on a cluster as it was configured for that flip. */
#include "daemon/adopt.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/run.h"
#include "daemon/server.h"
#include "daemon/watch.h"
#include "lib/base/arena.h"
#include "lib/base/log.h"
#include "lib/base/str.h"
#include "lib/model/wire.h"

#define LAST_LOOK 10 /* moved flips: the newest of them, or what it reached, may be damaged */

/* The cluster as the flip knew it; where that cannot be read any more, as it is configured now. */
static int make_watched(
	struct server *server, const struct journal_flip *f, struct watched **ret, struct err *err)
{
	const struct conf_cluster *conf = NULL;
	struct conf *snapshot = NULL;
	int code = -EINVAL;

	if (f->config)
		code = conf_with_journaled_cluster(server->conf, f->config, &snapshot, err);
	if (code == 0 && !(conf = conf_find_cluster(snapshot, f->cluster))) {
		code = err_set(err, -EBADMSG, "the journal is damaged: it was a flip of %s",
			snapshot->clusters[0].name);
		conf_unref(snapshot);
		return code;
	}
	if (!conf) {
		conf_unref(snapshot);
		snapshot = conf_ref(server->conf);
		conf = conf_find_cluster(snapshot, f->cluster);
	}
	if (conf) {
		err_clear(err);
		code = watch_new(server, snapshot, conf, ret, err);
	} else {
		code = err_set(err, -ENOENT, "nothing says how to reach its servers");
	}
	conf_unref(snapshot);
	return code;
}

/* It cannot be taken up: its cluster, if it is still configured, takes no other before somebody has looked.
 */
static void keep_unreadable(struct server *server, const struct journal_flip *f, const struct err *why)
{
	const struct conf_cluster *conf = conf_find_cluster(server->conf, f->cluster);
	struct watched *w;
	struct err err = {0};

	if (!conf || watch_new(server, server->conf, conf, &w, &err) < 0)
		return;
	w->configured = false;
	w->unreadable = xstrdup(err_text(why));
	server_add(server, w);
}

static void adopt_flip(struct server *server, const struct journal_flip *f)
{
	struct log_ctx ctx = {.cluster = f->cluster, .flip_id = f->id};
	struct err err = {0};
	struct watched *w = server_find(server, f->cluster);

	if (w && (w->run || w->unreadable)) {
		log_at(LOG_LEVEL_ERROR, &ctx, "a second unfinished flip of this cluster is left as it is");
		return;
	}
	if (make_watched(server, f, &w, &err) < 0) {
		log_at(LOG_LEVEL_ERROR, &ctx, "an unfinished flip is kept in the journal: %s",
			err_text(&err));
		keep_unreadable(server, f, &err);
		return;
	}
	/* Whoever reads the configuration afterwards says that it is in there. */
	w->configured = false;
	server_add(server, w);
	if (run_load(w, f->id, &err) < 0) {
		w->unreadable = xstrdup(err_text(&err));
		log_at(LOG_LEVEL_ERROR, &ctx, "unfinished flip cannot be taken up: %s", w->unreadable);
		return;
	}
	log_at(LOG_LEVEL_WARNING, &ctx, "unfinished flip to %s found, %s", f->to, f->state);
}

/* It may have closed a side; one that cannot be read may, too. */
static bool MAY_WAIT has_fenced(struct server *server, const char *id)
{
	struct arena *arena CLEANUP(arena_freep) = arena_new();
	struct journal_flip flip;
	struct journal_record *records;
	struct err ignored = {0};
	int n;

	if (journal_load(server->journal, arena, id, &flip, &records, &n, &ignored) < 0)
		return true;
	for (int i = 0; i < n; i++)
		if (str_eq(records[i].kind, "fence"))
			return true;
	return false;
}

/*
 * There can be two of a cluster: the outcome of one that was over could not be written, or flipd died while
 * it refused one because of the other. The newest that has fenced is what the servers show; another has
 * nothing left to do, and finds that out at a later start.
 */
int adopt_unfinished(struct server *server, struct err *err)
{
	struct arena *arena CLEANUP(arena_freep) = arena_new();
	struct journal_flip *flips;
	int n;
	int code = journal_unfinished(server->journal, arena, &flips, &n, err);
	bool *fenced;

	if (code < 0)
		return code;
	fenced = arena_alloc(arena, (size_t)(n + 1) * sizeof(*fenced));
	for (int i = 0; i < n; i++)
		fenced[i] = has_fenced(server, flips[i].id);
	for (int pass = 0; pass < 2; pass++)
		for (int i = n - 1; i >= 0; i--)
			if (fenced[i] == (pass == 0) && !str_eq(flips[i].state, "scheduled"))
				adopt_flip(server, &flips[i]);
	return 0;
}

static void remember_all(struct watched *w, const struct journal_flip *flips, int n)
{
	for (int i = n - 1; i >= 0; i--) {
		struct wire *document;

		if (!flips[i].document ||
			wire_parse(flips[i].document, strlen(flips[i].document), &document, NULL) < 0)
			continue;
		watch_remember(w, document);
		wire_free(document);
	}
}

/* The newest flip that ended, and before it those that say which side was left closed: any number may have
 * been refused since. */
void adopt_last(struct server *server, const char *name)
{
	struct arena *arena CLEANUP(arena_freep) = arena_new();
	struct journal_flip *moved, *newest;
	struct err err = {0};
	int nmoved, nnewest;

	if (journal_moved(server->journal, arena, name, LAST_LOOK, &moved, &nmoved, &err) < 0 ||
		journal_past(server->journal, arena, name, false, 1, &newest, &nnewest, &err) < 0) {
		log_at(LOG_LEVEL_WARNING, &(struct log_ctx){.cluster = name},
			"its past flips cannot be read: %s", err_text(&err));
		return;
	}
	/* From the oldest on, so that the newest has the last word; one that ended in this life is newer
	 * still, but where it was refused or aborted another has left a side closed. By the order in which
	 * they were begun: their times go back where the clock was set back. */
	struct watched *w = server_find(server, name);
	if (!w || w->moved)
		return;
	struct wire *of_this_life = w->last_flip ? wire_ref(w->last_flip) : NULL;
	remember_all(w, moved, nmoved);
	if (of_this_life)
		watch_remember(w, of_this_life);
	else
		remember_all(w, newest, nnewest);
	wire_free(of_this_life);
}

static void last_main(void *arg)
{
	struct server *server = arg;

	for (int i = 0; i < server->nwatched && !server->stopping; i++) {
		char *name = xstrdup(server->watched[i]->name);
		adopt_last(server, name);
		free(name);
	}
}

void adopt_begin(struct server *server)
{
	for (int i = 0; i < server->nwatched; i++) {
		struct run *run = server->watched[i]->run;
		if (run && flip_get_state(run->flip) != FLIP_STUCK)
			run_begin(run, true);
	}
	server->reader = fiber_spawn("last flips", last_main, server);
}
