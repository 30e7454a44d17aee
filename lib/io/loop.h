/*
 * loop: the event loop (libevent, named in loop.c alone). Everything runs on its thread. The scenario tests
 * link another loop.c whose time is virtual.
 */
#ifndef IO_LOOP_H
#define IO_LOOP_H

#include "lib/base/base.h"

/* LOOP_LAST: asked for with the others: its turn comes when nothing else is ready. For what comes unasked
 * from outside: lookers never hold up a flip, however many they are. */
enum { LOOP_READ = 1, LOOP_WRITE = 2, LOOP_TIMEOUT = 4, LOOP_LAST = 8 };

struct event_base;
struct loop_watch; /* an armed one-shot wait */

int loop_init(void) MUSTCHECK; /* 0 or negative errno */
void loop_free(void);
/* Runs until loop_stop() or nothing is armed. */
void loop_run(void);
void loop_stop(void);
/*
 * Calls back once: when fd (or -1 for time only) is ready for LOOP_READ and/or LOOP_WRITE, or at deadline_us
 * (monotonic; CLOCK_FOREVER = never) with LOOP_TIMEOUT. The watch is gone when the callback begins.
 */
struct loop_watch *loop_watch_once(
	int fd, int events, int64_t deadline_us, void (*cb)(int events, void *arg), void *arg);
void loop_unwatch(struct loop_watch *); /* takes NULL */
/* cb stays armed for fd until loop_unwatch_forever. */
struct loop_watch *loop_watch_always(int fd, int events, void (*cb)(int events, void *arg), void *arg);
void loop_unwatch_always(struct loop_watch *);
/* Runs cb soon on the loop's thread; not from another thread. */
void loop_soon(void (*cb)(void *arg), void *arg);
/* The same from any thread (an eventfd wakes the loop). */
void loop_post(void (*cb)(void *arg), void *arg);
/* signo becomes cb on the loop's thread. */
int loop_signal(int signo, void (*cb)(int signo, void *arg), void *arg) MUSTCHECK;
/* For lib/io rooms that libevent itself serves (listen, httpd); nobody else. */
struct event_base *loop_base(void);

#endif
