/*
 * run: one flip under way on a cluster, in a fiber of its own. Requests that wait for it hold a reference;
 * the flip is freed with the last one. While it is stuck the run stays, without a fiber, until resolve goes
 * on from there.
 */
#ifndef DAEMON_RUN_H
#define DAEMON_RUN_H

#include "lib/flip/flip.h"

struct live;
struct run;
struct watched;
struct wire;

/* Told after every event of the flip, on its fiber; must not wait. */
typedef void (*run_event_fn)(struct run *, const char *type, const struct wire *detail, void *arg);

struct run {
	struct watched *watched; /* NULL once it is over */
	struct live *live;
	struct flip *flip;
	int refs;
	bool active; /* its fiber has not returned */
	struct fiber_mutex
		looking; /* held while a request looks at the servers through a flip that does not run */
	bool was_stuck;	 /* counted as such, now or in an earlier life: not again each time it is looked at */
	bool recover;	 /* the fiber recovers instead of running from the start */
	struct run_listener *listeners;
	struct fiber_cond changed; /* signalled after every event, and when the fiber has returned */
};

/* A new flip on a cluster that has none; not begun yet. A reference for the caller. */
struct run *run_new(struct watched *, const struct flip_request *);
/* A flip of the journal. 0 or negative errno. */
int MAY_WAIT run_load(struct watched *, const char *flip_id, struct err *) MUSTCHECK;
/* Spawns the fiber: flip_run, or flip_recover. */
void run_begin(struct run *, bool recover);
struct run *run_ref(struct run *);
void run_unref(struct run *); /* takes NULL */
void run_listen(struct run *, run_event_fn, void *arg);
void run_unlisten(struct run *, void *arg); /* nothing when arg does not listen */
/* Its fiber has returned and it is not stuck. */
bool run_over(const struct run *);
/* "flip" or "rehearsal". */
const char *run_word(const struct run *);
/* Waits for the next change; 0, or -ECANCELED, -ETIMEDOUT. */
int MAY_WAIT run_wait(struct run *, int64_t deadline_us);

#endif
