/*
 * fiber: straight-line code that waits. A fiber runs on the loop's thread until it waits; then others run.
 * Functions that may wait are marked MAY_WAIT and work only inside a fiber (fiber_self() != NULL).
 *
 *     spawn -> READY -> RUNNING <-> WAITING -> DONE -> joined (freed)
 *
 * Whoever spawns joins. A cancel is delivered once: the wait under way, or the next one, returns -ECANCELED;
 * later waits are ordinary again, so that code can clean up. Under a shield it is kept until the shield ends.
 */
#ifndef IO_FIBER_H
#define IO_FIBER_H

#include "lib/base/base.h"

struct fiber;

/* name is copied. fn runs soon, on its own stack (256 KiB, guard page). */
struct fiber *fiber_spawn(const char *name, void (*fn)(void *arg), void *arg);
/* Waits until f has returned, then frees it; takes NULL. Itself not ended by a cancel (that is kept). */
void MAY_WAIT fiber_join(struct fiber *f);
/* fiber_join that a cancel of the caller hands on: f is cancelled, joined, and -ECANCELED returned; else 0.
 */
int MAY_WAIT fiber_join_or_cancel(struct fiber *f);
/* fiber_cancel + fiber_join. */
void MAY_WAIT fiber_stop(struct fiber *f);
/* For a fiber nobody will join: it frees itself when it returns. */
void fiber_detach(struct fiber *f);
bool fiber_done(const struct fiber *f);
void fiber_cancel(struct fiber *f);
struct fiber *fiber_self(void);
/* True when a cancel is due to the calling fiber: the next wait would deliver it. Not under a shield. */
bool fiber_cancelled(void);
/* Never waits: delivers a cancel that is due (not under a shield) as -ECANCELED, else 0. Before acts not to
 * begin. */
int fiber_check(void) MUSTCHECK;
void fiber_shield(void);
void fiber_unshield(void);

/* 0 after the time, or -ECANCELED. */
int MAY_WAIT fiber_sleep_us(int64_t us);
int MAY_WAIT fiber_sleep_ms(int64_t ms);
/* Lets others run; 0 or -ECANCELED. */
int MAY_WAIT fiber_yield(void);
/* The ready events (LOOP_READ | LOOP_WRITE), -ETIMEDOUT, or -ECANCELED. deadline_us monotonic or
 * CLOCK_FOREVER. */
int MAY_WAIT fiber_wait_fd(int fd, int events, int64_t deadline_us);

/* Something to wait for. Zero-initialised is ready for use. */
struct fiber_cond {
	struct fiber_waiter *head;
};
/* 0 when signalled, -ETIMEDOUT, -ECANCELED. Check the state again: others may have run in between. */
int MAY_WAIT fiber_cond_wait(struct fiber_cond *, int64_t deadline_us);
void fiber_cond_signal(struct fiber_cond *); /* wakes all */

/* A lock between fibers; 0, -ETIMEDOUT or -ECANCELED. Held across waits. */
struct fiber_mutex {
	bool held;
	struct fiber_cond cond;
};
int MAY_WAIT fiber_mutex_lock(struct fiber_mutex *, int64_t deadline_us) MUSTCHECK;
void fiber_mutex_unlock(struct fiber_mutex *);

/* What this fiber does now (step, statement): for status, log and core files. Truncated to 160 bytes. */
void fiber_doing(const char *fmt, ...) PRINTF(1, 2);
const char *fiber_get_doing(const struct fiber *f);
const char *fiber_name(const struct fiber *f);
/* Calls fn for each live fiber. */
void fiber_each(void (*fn)(const struct fiber *, void *arg), void *arg);
int fiber_count(void);

#endif
