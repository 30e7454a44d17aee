/* fake_loop: a heap of moments and a queue of calls; nothing waits for real and no descriptor is ever ready.
 */
#include "tests/scenario/fake_loop.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/arena.h"
#include "lib/base/clock.h"
#include "lib/io/loop.h"

#define STEPS_MOST 6000000 /* of one run; the longest honest one needs a tenth */

struct loop_watch {
	int64_t at_us;
	uint64_t seq;
	void (*cb)(int events, void *arg); /* flipd's */
	void (*fn)(void *arg);		   /* the world's */
	void *arg;
	bool armed, dead;
};

struct call {
	struct call *next;
	void (*cb)(void *arg);
	void *arg;
};

static struct {
	int64_t now_us;
	uint64_t seq, steps;
	struct loop_watch **heap;
	int n, cap;
	struct call *soon, **soon_end;
	bool stopped;
	void (*livelock)(void);
} loop;

int64_t vtime_us(void)
{
	return loop.now_us;
}

int64_t vtime_wall_ms(void)
{
	return VTIME_WALL_BASE_MS + loop.now_us / 1000;
}

void fake_loop_on_livelock(void (*fn)(void))
{
	loop.livelock = fn;
}

/* --- the heap --- */

static bool before(const struct loop_watch *a, const struct loop_watch *b)
{
	return a->at_us != b->at_us ? a->at_us < b->at_us : a->seq < b->seq;
}

static void heap_swap(int i, int j)
{
	struct loop_watch *w = loop.heap[i];

	loop.heap[i] = loop.heap[j];
	loop.heap[j] = w;
}

static void heap_push(struct loop_watch *w)
{
	int i = loop.n;

	if (loop.n == loop.cap) {
		loop.cap = loop.cap ? loop.cap * 2 : 1024;
		loop.heap = xrealloc(loop.heap, (size_t)loop.cap * sizeof(*loop.heap));
	}
	w->seq = ++loop.seq;
	loop.heap[loop.n++] = w;
	for (; i > 0 && before(loop.heap[i], loop.heap[(i - 1) / 2]); i = (i - 1) / 2)
		heap_swap(i, (i - 1) / 2);
}

static struct loop_watch *heap_pop(void)
{
	struct loop_watch *w = loop.heap[0];

	loop.heap[0] = loop.heap[--loop.n];
	for (int i = 0;;) {
		int least = i;

		for (int k = 2 * i + 1; k <= 2 * i + 2 && k < loop.n; k++)
			if (before(loop.heap[k], loop.heap[least]))
				least = k;
		if (least == i)
			return w;
		heap_swap(i, least);
		i = least;
	}
}

/* --- for the world --- */

void vtime_at(int64_t at_us, void (*fn)(void *arg), void *arg)
{
	struct loop_watch *w = xcalloc(1, sizeof(*w));

	w->at_us = at_us > loop.now_us ? at_us : loop.now_us;
	w->fn = fn;
	w->arg = arg;
	heap_push(w);
}

void fake_loop_forget(void)
{
	for (int i = 0; i < loop.n; i++)
		if (loop.heap[i]->cb)
			loop.heap[i]->dead = true;
	while (loop.soon) {
		struct call *c = loop.soon;
		loop.soon = c->next;
		free(c);
	}
	loop.soon_end = &loop.soon;
}

/* --- for flipd --- */

int loop_init(void)
{
	memset(&loop, 0, sizeof(loop));
	loop.soon_end = &loop.soon;
	loop.now_us = 1000000000; /* a machine that has been up for a while */
	clock_replace(vtime_us, vtime_wall_ms);
	return 0;
}

void loop_free(void)
{
	fake_loop_forget();
	for (int i = 0; i < loop.n; i++)
		free(loop.heap[i]);
	free(loop.heap);
	memset(&loop, 0, sizeof(loop));
	clock_replace(NULL, NULL);
}

static bool run_soon(void)
{
	struct call *c = loop.soon;

	if (!c)
		return false;
	loop.soon = c->next;
	if (!loop.soon)
		loop.soon_end = &loop.soon;
	c->cb(c->arg);
	free(c);
	return true;
}

static bool run_next(void)
{
	struct loop_watch *w;

	if (loop.n == 0)
		return false;
	w = heap_pop();
	if (!w->dead) {
		loop.now_us = w->at_us;
		if (w->fn)
			w->fn(w->arg);
		else
			w->cb(LOOP_TIMEOUT, w->arg);
	}
	free(w);
	return true;
}

void loop_run(void)
{
	while (!loop.stopped && (run_soon() || run_next()))
		if (++loop.steps > STEPS_MOST && loop.livelock)
			loop.livelock();
}

void loop_stop(void)
{
	loop.stopped = true;
}

struct loop_watch *loop_watch_once(
	int fd, int events, int64_t deadline_us, void (*cb)(int events, void *arg), void *arg)
{
	struct loop_watch *w = xcalloc(1, sizeof(*w));

	(void)fd;
	(void)events;
	w->at_us = deadline_us > loop.now_us ? deadline_us : loop.now_us;
	w->cb = cb;
	w->arg = arg;
	if (deadline_us != CLOCK_FOREVER) {
		w->armed = true;
		heap_push(w);
	}
	return w;
}

void loop_unwatch(struct loop_watch *w)
{
	if (!w)
		return;
	w->dead = true; /* one that is armed is freed when its moment comes */
	if (!w->armed)
		free(w);
}

struct loop_watch *loop_watch_always(int fd, int events, void (*cb)(int events, void *arg), void *arg)
{
	return loop_watch_once(fd, events, CLOCK_FOREVER, cb, arg);
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
	loop_soon(cb, arg);
}

int loop_signal(int signo, void (*cb)(int signo, void *arg), void *arg)
{
	(void)signo;
	(void)cb;
	(void)arg;
	return 0;
}

struct event_base *loop_base(void)
{
	return NULL;
}
