/*
 * work: a pool of 4 threads for what blocks (libmariadb's connect, SQLite, getaddrinfo). The only pthread
 * code. While all of them are busy more are started, up to 32: a hung server does not take the pool from the
 * others. A job owns copies of all it needs; it may call libc, libmariadb's connect or SQLite, never log,
 * fiber or model.
 */
#ifndef IO_WORK_H
#define IO_WORK_H

#include "lib/base/base.h"

int work_init(void) MUSTCHECK;
/* Ends and joins the threads; how many still hang in a job: those go with the process, which must not run
 * exit handlers under them. */
int work_free(void);
/*
 * Runs fn(arg) on a pool thread and waits for it. 0 when it has run; -ETIMEDOUT or -ECANCELED when it was
 * abandoned: then drop(arg) is called on the pool thread when fn returns at last (drop frees what arg owns);
 * -EAGAIN when all threads and the queue of 64 are full (nothing ran, arg is still the caller's).
 */
int MAY_WAIT work_run(
	void (*fn)(void *arg), void (*drop)(void *arg), void *arg, int64_t deadline_us) MUSTCHECK;
/* Jobs abandoned and still running; for status. */
int work_abandoned(void);

/* A thread of one's own whose jobs run in order (the journal's). */
struct work_lane;
struct work_lane *work_lane_new(const char *name);
void work_lane_free(struct work_lane *); /* finishes what is queued; takes NULL */
/* Queues fn(arg); done(arg) is called afterwards on the loop's thread. */
void work_lane_post(struct work_lane *, void (*fn)(void *arg), void (*done)(void *arg), void *arg);

#endif
