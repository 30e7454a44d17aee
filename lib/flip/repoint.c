/*
 * repoint: further replicas follow the new master, each once it has all of old. Late work: writes go on
 * without it. A replica that is out of reach is tried again until settle_timeout, and after the flip's end
 * for as long as the daemon likes (flip_follow_up).
 */
#include <errno.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/base/str.h"
#include "lib/flip/flip_priv.h"

#define TRY_AGAIN_MS 500
#define FOLLOW_UP_MS 1000 /* how long a replica that answers is waited for in one follow-up */

/*
 * True once the replica has all of old. Its position may be past the final one already: old is new's replica
 * by now and passes new's writes on; old itself is proven unmoved, so a later number can only be new's.
 */
static bool has_all_of_old(const struct flip *f, const struct facts *facts)
{
	return gtid_reached(&facts->position.slave_pos, &f->final.binlog_pos);
}

static int MAY_WAIT await_all_of_old(struct flip *f, struct session *s, struct arena *a, int64_t deadline_us,
	struct facts **ret, struct err *err)
{
	for (;;) {
		int rc = side_facts(s, a, ret, err);

		if (rc < 0 || has_all_of_old(f, *ret))
			return rc;
		if (clock_us() > deadline_us)
			return err_set(
				err, -ETIME, "it has not all of %s yet", f->old_side.server->conf->name);
		rc = fiber_sleep_ms(50);
		if (rc < 0)
			return rc;
	}
}

static const struct facts_channel *channel_from_old(const struct flip *f, const struct facts *facts)
{
	const struct conf_server *o = f->old_side.server->conf;

	return facts_channel_from(
		facts, f->old_side.identity.server_id, o->replication_host, o->replication_port);
}

/*
 * By GTID its own position goes on. By file it goes on from where new stood between its last applied and its
 * first own write, which is right only for a replica that stands exactly at old's final position; one that is
 * past it goes on by GTID, which MariaDB keeps in either mode. So does each where new was opened by an
 * operator's word: that place was not noted.
 */
static void follow_of_replica(
	struct flip *f, const struct facts *facts, const char *name, struct node_follow *ret)
{
	const struct facts_channel *ch = channel_from_old(f, facts);
	bool exact = ch && !strcmp(ch->exec_log_file, f->final.file) && ch->exec_log_pos == f->final.pos;

	way_back(f, ret);
	ret->has_slave_pos = false;
	if (!f->use_gtid && (!exact || !f->repoint.file[0])) {
		ret->use_gtid = true;
		flip_warn(f, "replica %s follows %s by GTID from now on: %s", name,
			f->new_side.server->conf->name,
			exact ? "where that one stood when it opened is not known by file"
			      : "it had gone past the final position");
	}
	str_copy(ret->file, sizeof(ret->file), f->repoint.file);
	ret->pos = f->repoint.pos;
}

/* What it knew of files is gone with its relay log. */
static void follow_of_broken(struct flip *f, const char *name, struct node_follow *ret)
{
	way_back(f, ret);
	ret->has_slave_pos = false;
	ret->use_gtid = true;
	flip_warn(f,
		"the relay log of replica %s had not survived a crash: it follows %s by GTID, from its own "
		"position",
		name, f->new_side.server->conf->name);
}

static bool is_stopped(const struct facts_channel *ch)
{
	return ch && str_ieq(ch->io, "No") && str_ieq(ch->sql, "No");
}

static int MAY_WAIT repoint_on(
	struct flip *f, struct session *s, const char *name, int64_t deadline_us, struct err *err)
{
	struct arena *a CLEANUP(arena_freep) = arena_new();
	struct facts *facts = NULL;
	struct node_follow follow;
	bool broken = false;
	int rc = side_facts(s, a, &facts, err);

	if (rc < 0)
		return rc;
	bool begun = channel_from_new(f, facts); /* by an earlier try, which perhaps has not started it */
	if (begun || is_stopped(channel_from_old(f, facts)))
		rc = side_restart(s, true, &broken, err);
	if (rc < 0 || (begun && !broken))
		return rc < 0 ? rc : await_replication(f, s, name, err);
	if (!broken) /* by GTID new gives it what it lacks of old, too */
		rc = await_all_of_old(f, s, a, deadline_us, &facts, err);
	if (rc == 0 && !f->use_gtid && !broken) {
		rc = flip_rc(node_stop_replication(s, flip_deadline(REPLICATION_UP_MS), err), err);
		if (rc == 0)
			rc = side_facts(s, a, &facts, err);
	}
	if (rc < 0)
		return rc;
	if (broken)
		follow_of_broken(f, name, &follow);
	else
		follow_of_replica(f, facts, name, &follow);
	rc = side_follow(s, &follow, err);
	return rc < 0 ? rc : await_replication(f, s, name, err);
}

static int MAY_WAIT repoint_one(
	struct flip *f, struct cluster_server *r, int64_t deadline_us, struct err *err)
{
	struct session *s = NULL;
	int rc = session_open(r->node, SESSION_ACT, NULL, flip_deadline(ROUND_TRIP_MS), &s, err);

	if (rc < 0)
		return rc;
	session_tag(s, f->id, "repoint");
	rc = repoint_on(f, s, r->conf->name, deadline_us, err);
	session_close(s);
	return rc;
}

struct repointer {
	struct flip *f;
	int i;
	int64_t deadline_us;
};

/* Tried again until settle_timeout: a replica that is down now may be back in a minute. */
static void repoint_fiber(void *arg)
{
	struct repointer *w = arg;
	struct cluster_server *r = &w->f->cluster->replicas[w->i];

	for (;;) {
		struct err err = {0};
		int rc = repoint_one(w->f, r, w->deadline_us, &err);
		if (rc == 0)
			w->f->follows[w->i] = true;
		if (rc == 0 || rc == -ECANCELED)
			return;
		if (clock_us() > w->deadline_us) {
			flip_warn(w->f, "replica %s does not follow %s: %s", r->conf->name,
				w->f->new_side.server->conf->name, err_text(&err));
			return;
		}
		if (fiber_sleep_ms(TRY_AGAIN_MS) < 0)
			return;
	}
}

int MAY_WAIT step_repoint(struct flip *f, struct err *err)
{
	int n = f->conf->nreplicas, rc = 0;
	struct repointer *w = arena_alloc(f->arena, sizeof(*w) * (size_t)(n + 1));
	struct fiber **fibers = arena_alloc(f->arena, sizeof(*fibers) * (size_t)(n + 1));

	(void)err;
	if (n == 0)
		return STEP_SKIPPED;
	f->follows = arena_alloc(f->arena, sizeof(*f->follows) * (size_t)n);
	for (int i = 0; i < n; i++) {
		w[i] = (struct repointer){f, i, settle_deadline(f)};
		fibers[i] = fiber_spawn("repoint", repoint_fiber, &w[i]);
	}
	for (int i = 0; i < n; i++) {
		while (!fiber_done(fibers[i]) && rc != -ECANCELED && !f->hasty)
			rc = fiber_sleep_ms(5);
		fiber_stop(fibers[i]);
		if (f->hasty && !f->follows[i])
			flip_warn(f, "replica %s does not follow %s yet", f->cluster->replicas[i].conf->name,
				f->new_side.server->conf->name);
	}
	return rc;
}

bool flip_left(const struct flip *f)
{
	if (endpoints_left(f))
		return f->outcome == FLIP_DONE;
	for (int i = 0; f->follows && i < f->conf->nreplicas; i++)
		if (!f->follows[i])
			return f->outcome == FLIP_DONE;
	return false;
}

const char *MAY_WAIT flip_follow_up(struct flip *f)
{
	const char *label = endpoints_follow_up(f);

	if (label || fiber_cancelled())
		return label;
	for (int i = 0; f->follows && i < f->conf->nreplicas; i++) {
		struct err err = {0};
		if (f->follows[i])
			continue;
		int rc = repoint_one(f, &f->cluster->replicas[i], flip_deadline(FOLLOW_UP_MS), &err);
		if (rc == -ECANCELED) {
			fiber_cancel(fiber_self());
			return NULL;
		}
		if (rc < 0)
			continue;
		f->follows[i] = true;
		return f->cluster->replicas[i].conf->name;
	}
	return NULL;
}
