/*
 * foreign: a flip's row that another flipd left open on the servers, its journal being out of reach or lost.
 * What that flip had done nobody here can know, so nothing is opened or closed: while exactly one side takes
 * writes and nobody holds the cluster's locks, the row is closed there, and flips are possible again.
 */
#include <errno.h>
#include <inttypes.h>

#include "lib/base/clock.h"
#include "lib/base/str.h"
#include "lib/flip/flip_priv.h"

#define LIMIT_MS 5000

struct foreign {
	struct cluster *cluster;
	struct arena *arena;
	struct session *session[2];
	struct facts *facts[2];
	const char *name[2];
	const struct facts *row; /* of the side that shows it */
};

static int MAY_WAIT look_at(struct foreign *x, int i, struct err *err)
{
	struct cluster_server *s = cluster_server_at(x->cluster, i);

	x->name[i] = s->conf->name;
	x->facts[i] = arena_alloc(x->arena, sizeof(*x->facts[i]));
	int rc = cluster_session(s, SESSION_LOCK, flip_deadline(LIMIT_MS), &x->session[i], err);
	if (rc == 0)
		rc = flip_rc(node_facts(x->session[i], FACTS_CORE, x->arena, flip_deadline(LIMIT_MS),
				     x->facts[i], err),
			err);
	if (rc == 0 && !x->row && x->facts[i]->flip_row_id[0])
		x->row = x->facts[i];
	return rc;
}

static void describe(const struct foreign *x, struct strbuf *b)
{
	for (int i = 0; i < 2; i++)
		strbuf_addf(b, "%s: %s\n", x->name[i], x->facts[i]->read_only ? "closed" : "open to writes");
	strbuf_addf(b,
		"flip %s (%s, %s) was begun on host %s, journal %s, and is not unfinished in this flipd's "
		"journal: what it had done is not known here\n",
		x->row->flip_row_id, x->row->flip_row_direction, x->row->flip_row_state,
		x->row->flip_row_host, x->row->flip_row_journal);
}

/* The side that takes writes, 0 or 1; or why nothing may be done. */
static int only_open(const struct foreign *x, struct err *err)
{
	bool open[2] = {!x->facts[0]->read_only, !x->facts[1]->read_only};

	if (open[0] != open[1])
		return open[1];
	if (open[0]) {
		err_hint(err,
			"find out which one applications use, close the other, bring over what only it has; "
			"then resolve again");
		return err_set(err, -EPERM, "both %s and %s are open to writes", x->name[0], x->name[1]);
	}
	err_hint(err,
		"open the one that has everything (README: \"flipd's host died in mid-flip\"), then resolve "
		"again");
	return err_set(err, -EPERM, "neither %s nor %s is open to writes", x->name[0], x->name[1]);
}

/* Held by its own session a flip still runs, or a statement of it does. */
static int MAY_WAIT take_locks(struct foreign *x, struct err *err)
{
	for (int i = 0; i < 2; i++) {
		uint64_t holder = 0;
		enum act act = node_lock_take(x->session[i], flip_deadline(LIMIT_MS), &holder, err);

		if (act == ACT_DONE)
			continue;
		if (err->code == -EBUSY)
			err_hint(err,
				"the flip still runs on host %s, or a statement of it does: see to it there",
				x->row->flip_row_host);
		return flip_rc(act, err);
	}
	return 0;
}

/* On a session of its own, whose writes are logged: the other side must see it closed too. */
static int MAY_WAIT close_row(struct foreign *x, int open, struct err *err)
{
	struct session *s = NULL;
	struct node_row row;
	int rc = cluster_session(
		cluster_server_at(x->cluster, open), SESSION_ACT, flip_deadline(LIMIT_MS), &s, err);

	if (rc < 0)
		return rc;
	enum act act = node_row_read(s, x->row->flip_row_id, flip_deadline(LIMIT_MS), &row, err);
	if (act == ACT_DONE) {
		str_copy(row.state, sizeof(row.state), "closed");
		act = node_row_write(s, &row, flip_deadline(LIMIT_MS), err);
	}
	session_close(s);
	return flip_rc(act, err);
}

static int MAY_WAIT deal(struct foreign *x, bool act, struct strbuf *text, struct err *err)
{
	int rc = 0, open;

	for (int i = 0; i < 2 && rc == 0; i++)
		rc = look_at(x, i, err);
	if (rc < 0)
		return rc;
	if (!x->row)
		return err_set(err, -ENOENT,
			"no unfinished flip of %s, neither in this flipd's journal nor on its "
			"servers",
			x->cluster->conf->name);
	describe(x, text);
	rc = take_locks(x, err);
	if (rc < 0)
		return rc;
	open = only_open(x, err);
	if (open < 0)
		return open;
	strbuf_addf(text, "what follows: its row is closed on %s; nothing else is touched\n", x->name[open]);
	return act ? close_row(x, open, err) : 0;
}

int MAY_WAIT flip_foreign(
	struct cluster *c, bool act, char **ret_text, char *ret_id, size_t size, struct err *err)
{
	struct arena *a CLEANUP(arena_freep) = arena_new();
	struct foreign x = {.cluster = c, .arena = a};
	struct strbuf text = {0};
	int rc = deal(&x, act, &text, err);

	for (int i = 0; i < 2; i++)
		session_close(x.session[i]); /* and with it the lock */
	str_copy(ret_id, size, rc == 0 ? x.row->flip_row_id : "");
	*ret_text = rc == 0 ? xstrdup(strbuf_str(&text)) : NULL;
	strbuf_free(&text);
	return rc;
}
