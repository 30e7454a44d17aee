/*
 * journal: what a flip is about to do and what came of it, on disk before the deed (SQLite in state_dir, on a
 * thread of its own so that writes stay in order). A record that cannot be made durable forbids the deed: the
 * caller gets the error and does not act. Room is kept in reserve so that a full disk cannot stop a flip
 * between fence and end.
 */
#ifndef STORE_JOURNAL_H
#define STORE_JOURNAL_H

#include "lib/base/arena.h"
#include "lib/base/err.h"

struct journal;
struct wire;

/*
 * Opens state_dir/journal.db (made with mode 0600 when missing) and locks state_dir against a second daemon:
 * -EBUSY. journal_id names this journal for ever (a random word made at its creation).
 */
int MAY_WAIT journal_open(const char *state_dir, struct journal **ret, struct err *) MUSTCHECK;
void journal_close(struct journal *); /* finishes what is queued; takes NULL */
const char *journal_id(const struct journal *);
bool journal_ok(const struct journal *); /* false once a write has failed and none has succeeded since */
int64_t journal_waits_us(const struct journal *); /* for the disk, since when; 0 when for nothing */

struct journal_flip { /* what is known when a flip begins, and its end */
	const char *id, *cluster, *group, *from, *to;
	const char *state;		    /* scheduled running recovering stuck ended */
	const char *outcome;		    /* NULL while it runs */
	int64_t started_at_ms, ended_at_ms; /* wall; ended 0 */
	const char *config;		    /* conf_print_cluster(): no secrets */
	const char *document;		    /* the flip's JSON as last saved; NULL */
	bool rehearsal;			    /* it was to end before the fence */
};

struct journal_record {
	const char *flip_id;
	int64_t seq, at_ms; /* wall */
	const char *kind;   /* begin, end, fence, intent, revoke, session, note, opened, outcome ... */
	const char *step;   /* the step's name, or "" */
	const char *data;   /* compact JSON object, "{}" when nothing */
};

/* Durable. -EEXIST when the id is there. */
int MAY_WAIT journal_begin(struct journal *, const struct journal_flip *, struct err *) MUSTCHECK;
/*
 * Adds a record. durable: waits until it is on disk (fsync), with everything written before it; 0, or why
 * not. Not durable: queued in order, returns at once; a failure shows in the next durable write, which then
 * fails. Waits shielded: a cancel does not leave a durable write unknown. Strings are copied.
 */
int MAY_WAIT journal_write(struct journal *, const char *flip_id, const char *kind, const char *step,
	const char *data, bool durable, struct err *) MUSTCHECK;
/* Sets state, outcome (NULL: none yet), end and document of the flip, durable. */
int MAY_WAIT journal_save(struct journal *, const char *flip_id, const char *state, const char *outcome,
	int64_t ended_at_ms, const char *document, struct err *) MUSTCHECK;
/* Makes sure that room for a whole flip is there (a ballast file that is given up when the disk is full);
 * called before the fence. 0 or -ENOSPC. */
int MAY_WAIT journal_reserve(struct journal *, struct err *) MUSTCHECK;

/* Reading; results live in the arena. */
int MAY_WAIT journal_unfinished(
	struct journal *, struct arena *, struct journal_flip **ret, int *ret_n, struct err *) MUSTCHECK;
/* cluster NULL: all. Newest first, rehearsals too. */
int MAY_WAIT journal_history(struct journal *, struct arena *, const char *cluster, int limit,
	struct journal_flip **ret, int *ret_n, struct err *) MUSTCHECK;
/* Those of one cluster that have ended, newest first: its flips, or its rehearsals. */
int MAY_WAIT journal_past(struct journal *, struct arena *, const char *cluster, bool rehearsals, int limit,
	struct journal_flip **ret, int *ret_n, struct err *) MUSTCHECK;
/* Of those the ones that closed a side for good: done, or rolled back. */
int MAY_WAIT journal_moved(struct journal *, struct arena *, const char *cluster, int limit,
	struct journal_flip **ret, int *ret_n, struct err *) MUSTCHECK;
/* ret NULL: the flip alone. */
int MAY_WAIT journal_load(struct journal *, struct arena *, const char *flip_id,
	struct journal_flip *ret_flip, struct journal_record **ret, int *ret_n,
	struct err *) MUSTCHECK; /* -ENOENT */

#endif
