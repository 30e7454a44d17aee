/*
 * loop: the event loop over libevent. Timers are exact to the microsecond (EVENT_BASE_FLAG_PRECISE_TIMER;
 * libevent's default clock is coarse by up to 4 ms) and never early. The loop ends by itself when no watch is
 * armed, nothing waits to run soon, and nobody else has events on the base; the eventfd and signals do not
 * keep it alive.
 */
#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "lib/base/arena.h"
#include "lib/base/clock.h"
#include "lib/io/loop.h"

/* Events have the middle one unless told otherwise (libevent). */
enum { PRIORITY_LAST = 2, PRIORITIES = 3 };
#define LAST_AT_ONCE 4 /* callbacks of LOOP_LAST, before what has become ready meanwhile has its turn */

struct loop_watch {
	struct event ev;
	int64_t deadline_us;
	bool evented; /* ev is known to libevent; a wait for time without end is not */
	void (*cb)(int events, void *arg);
	void *arg;
};

struct call {
	struct call *next;
	void (*cb)(void *arg);
	void *arg;
};

struct sig {
	struct sig *next;
	struct event *ev;
	int signo;
	void (*cb)(int signo, void *arg);
	void *arg;
};

static struct {
	struct event_base *base;
	struct event *wake; /* on wake_fd */
	struct sig *sigs;
	struct call *soon, **soon_end;
	int wake_fd;
	int watches; /* armed */
	int hidden;  /* events of our own that do not keep the loop alive */
	bool running, stopped;
} loop = {.wake_fd = -1};

/* Calls from other threads: a stack that they push on and the loop takes whole. */
static _Atomic(struct call *) posted;
static atomic_int post_fd = -1;

static void take_posted(evutil_socket_t fd, short what, void *arg)
{
	uint64_t count;
	(void)what, (void)arg;

	while (read(fd, &count, sizeof(count)) > 0)
		continue;
	struct call *stack = atomic_exchange(&posted, NULL), *in_order = NULL;
	while (stack) {
		struct call *c = stack;
		stack = c->next;
		c->next = in_order;
		in_order = c;
	}
	while (in_order) {
		struct call *c = in_order;
		in_order = c->next;
		loop_soon(c->cb, c->arg);
		free(c);
	}
}

static struct event_base *base_new(void)
{
	struct event_config *conf = event_config_new();

	if (!conf)
		return NULL;
	(void)event_config_set_flag(conf, EVENT_BASE_FLAG_PRECISE_TIMER);
	(void)event_config_set_flag(conf, EVENT_BASE_FLAG_NO_CACHE_TIME);
	(void)event_config_set_max_dispatch_interval(conf, NULL, LAST_AT_ONCE, PRIORITY_LAST);
	struct event_base *base = event_base_new_with_config(conf);
	event_config_free(conf);
	if (base && event_base_priority_init(base, PRIORITIES) < 0) {
		event_base_free(base);
		return NULL;
	}
	return base;
}

int loop_init(void)
{
	assert(!loop.base);
	/* A peer that went away is an error of the write, never the end of the process. */
	(void)signal(SIGPIPE, SIG_IGN);
	loop.soon_end = &loop.soon;
	loop.base = base_new();
	loop.wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (!loop.base || loop.wake_fd < 0)
		goto fail;
	loop.wake = event_new(loop.base, loop.wake_fd, EV_READ | EV_PERSIST, take_posted, NULL);
	if (!loop.wake || event_add(loop.wake, NULL) < 0)
		goto fail;
	loop.hidden = 1;
	atomic_store(&post_fd, loop.wake_fd);
	return 0;
fail:
	loop_free();
	return -ENOMEM;
}

static void calls_free(struct call *c)
{
	while (c) {
		struct call *next = c->next;
		free(c);
		c = next;
	}
}

void loop_free(void)
{
	assert(!loop.running);
	atomic_store(&post_fd, -1);
	while (loop.sigs) {
		struct sig *s = loop.sigs;
		loop.sigs = s->next;
		event_free(s->ev);
		free(s);
	}
	if (loop.wake)
		event_free(loop.wake);
	if (loop.wake_fd >= 0)
		(void)close(loop.wake_fd);
	calls_free(loop.soon);
	calls_free(atomic_exchange(&posted, NULL));
	if (loop.base)
		event_base_free(loop.base);
	loop.base = NULL;
	loop.wake = NULL;
	loop.wake_fd = -1;
	loop.soon = NULL;
	loop.watches = loop.hidden = 0;
	loop.stopped = false;
}

struct event_base *loop_base(void)
{
	return loop.base;
}

static void run_soon(void)
{
	/* Only what is there now: what these calls add comes after the file descriptors had their turn. */
	struct call *c = loop.soon;

	loop.soon = NULL;
	loop.soon_end = &loop.soon;
	while (c) {
		struct call *next = c->next;
		c->cb(c->arg);
		free(c);
		c = next;
	}
}

static bool anything_armed(void)
{
	int foreign = event_base_get_num_events(loop.base, EVENT_BASE_COUNT_ADDED | EVENT_BASE_COUNT_ACTIVE);

	return loop.soon || loop.watches > 0 || foreign > loop.hidden || atomic_load(&posted);
}

void loop_run(void)
{
	assert(loop.base && !loop.running);
	loop.running = true;
	while (!loop.stopped) {
		run_soon();
		if (loop.stopped || !anything_armed())
			break;
		(void)event_base_loop(loop.base, EVLOOP_ONCE | (loop.soon ? EVLOOP_NONBLOCK : 0));
	}
	loop.running = false;
	loop.stopped = false;
}

void loop_stop(void)
{
	loop.stopped = true;
	if (loop.running)
		(void)event_base_loopbreak(loop.base);
}

static void arm(struct loop_watch *w)
{
	struct timeval tv;
	bool timed = w->deadline_us != CLOCK_FOREVER;

	if (timed) {
		int64_t left = w->deadline_us - clock_us();
		if (left < 0)
			left = 0;
		tv = (struct timeval){
			.tv_sec = (time_t)(left / 1000000), .tv_usec = (suseconds_t)(left % 1000000)};
	}
	/* What epoll cannot watch (a plain file) is always ready. */
	if (event_add(&w->ev, timed ? &tv : NULL) < 0)
		event_active(&w->ev, event_get_events(&w->ev) & (EV_READ | EV_WRITE), 0);
}

/* libevent forgets that a descriptor is ready when its time is up in the same round: what has come is not
 * late. */
static int ready_now(const struct loop_watch *w, evutil_socket_t fd)
{
	short wanted = event_get_events(&w->ev);
	struct pollfd p = {.fd = fd,
		.events = (short)((wanted & EV_READ ? POLLIN : 0) | (wanted & EV_WRITE ? POLLOUT : 0))};

	if (fd < 0 || poll(&p, 1, 0) != 1)
		return 0;
	bool broken = p.revents & (POLLERR | POLLHUP | POLLNVAL);
	return ((wanted & EV_READ) && (broken || (p.revents & POLLIN)) ? LOOP_READ : 0) |
	       ((wanted & EV_WRITE) && (broken || (p.revents & POLLOUT)) ? LOOP_WRITE : 0);
}

static void watch_cb(evutil_socket_t fd, short what, void *arg)
{
	struct loop_watch *w = arg;
	int events = (what & EV_READ ? LOOP_READ : 0) | (what & EV_WRITE ? LOOP_WRITE : 0) |
		     (what & EV_TIMEOUT ? LOOP_TIMEOUT : 0);

	if (event_get_events(&w->ev) & EV_PERSIST) {
		w->cb(events, w->arg);
		return;
	}
	if (events == LOOP_TIMEOUT && clock_us() < w->deadline_us) {
		arm(w);
		return;
	}
	if (events == LOOP_TIMEOUT)
		events |= ready_now(w, fd);
	void (*cb)(int, void *) = w->cb;
	void *cb_arg = w->arg;
	loop_unwatch(w);
	cb(events, cb_arg);
}

static struct loop_watch *watch_new(
	int fd, int events, int64_t deadline_us, short flags, void (*cb)(int events, void *arg), void *arg)
{
	struct loop_watch *w = xcalloc(1, sizeof(*w));
	short ev = (short)(flags | (events & LOOP_READ ? EV_READ : 0) | (events & LOOP_WRITE ? EV_WRITE : 0));

	assert(loop.base);
	w->deadline_us = deadline_us;
	w->cb = cb;
	w->arg = arg;
	w->evented = fd >= 0 || deadline_us != CLOCK_FOREVER;
	loop.watches++;
	if (w->evented) {
		int r = event_assign(&w->ev, loop.base, fd, ev, watch_cb, w);
		if (events & LOOP_LAST)
			r |= event_priority_set(&w->ev, PRIORITY_LAST);
		assert(r == 0);
		(void)r;
		arm(w);
	}
	return w;
}

struct loop_watch *loop_watch_once(
	int fd, int events, int64_t deadline_us, void (*cb)(int events, void *arg), void *arg)
{
	if (fd < 0)
		events = 0;
	return watch_new(fd, events, deadline_us, 0, cb, arg);
}

struct loop_watch *loop_watch_always(int fd, int events, void (*cb)(int events, void *arg), void *arg)
{
	return watch_new(fd, events, CLOCK_FOREVER, EV_PERSIST, cb, arg);
}

void loop_unwatch(struct loop_watch *w)
{
	if (!w)
		return;
	if (w->evented)
		(void)event_del(&w->ev);
	loop.watches--;
	free(w);
}

void loop_unwatch_always(struct loop_watch *w)
{
	loop_unwatch(w);
}

void loop_soon(void (*cb)(void *arg), void *arg)
{
	struct call *c = xcalloc(1, sizeof(*c));

	c->cb = cb;
	c->arg = arg;
	*loop.soon_end = c;
	loop.soon_end = &c->next;
}

void loop_post(void (*cb)(void *arg), void *arg)
{
	struct call *c = xcalloc(1, sizeof(*c));
	uint64_t one = 1;

	c->cb = cb;
	c->arg = arg;
	c->next = atomic_load(&posted);
	while (!atomic_compare_exchange_weak(&posted, &c->next, c))
		continue;
	ssize_t n = write(atomic_load(&post_fd), &one, sizeof(one));
	(void)n; /* a full counter wakes the loop just as well */
}

static void signal_cb(evutil_socket_t signo, short what, void *arg)
{
	struct sig *s = arg;
	(void)what;

	s->cb((int)signo, s->arg);
}

int loop_signal(int signo, void (*cb)(int signo, void *arg), void *arg)
{
	struct sig *s = xcalloc(1, sizeof(*s));

	s->signo = signo;
	s->cb = cb;
	s->arg = arg;
	s->ev = evsignal_new(loop.base, signo, signal_cb, s);
	if (!s->ev || event_add(s->ev, NULL) < 0) {
		if (s->ev)
			event_free(s->ev);
		free(s);
		return -EINVAL;
	}
	s->next = loop.sigs;
	loop.sigs = s;
	loop.hidden++;
	return 0;
}
