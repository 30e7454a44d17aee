/*
 * fiber: spawn, wait, wake, cancel, join over ucontext. A fiber has one wait at a time: an armed watch, a
 * place in a cond's queue, or both (whichever comes first wins). Fibers are resumed by the loop only, never
 * by one another.
 *
 *     READY: its resume is queued | RUNNING: current | WAITING: watch or queue armed | DONE: fn returned
 *
 * swapcontext throughout: siglongjmp aborts under _FORTIFY_SOURCE when it leaves a stack. AddressSanitizer
 * and valgrind are told of every stack.
 */
#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <ucontext.h>

#include "lib/base/arena.h"
#include "lib/base/clock.h"
#include "lib/base/str.h"
#include "lib/io/fiber.h"
#include "lib/io/fiber_stack.h"
#include "lib/io/loop.h"

#ifdef FIBER_WITH_ASAN
#include <sanitizer/common_interface_defs.h>
#endif

enum state { READY, RUNNING, WAITING, DONE };

/* A place in a cond's queue: a ring in order of arrival, cond->head the first. */
struct fiber_waiter {
	struct fiber_waiter *next, *prev;
	struct fiber_cond *cond; /* NULL when in none */
	struct fiber *fiber;
};

struct fiber {
	ucontext_t context;
	struct fiber_stack *stack; /* NULL once DONE */
	void *asan_fake_stack;
	struct fiber *next, *prev; /* among all */
	void (*fn)(void *arg);
	void *arg;
	enum state state;
	int shield;
	bool cancel;   /* asked for, not delivered */
	bool heedless; /* this wait is not ended by a cancel */
	bool detached, joining;
	struct loop_watch *watch;
	struct fiber_waiter waiter;
	int wake_result;
	struct fiber_cond done;
	char name[64];
	char doing[160];
};

static struct fiber *current;
static struct fiber all = {.next = &all, .prev = &all, .name = "list"};
static ucontext_t loop_context;
#ifdef FIBER_WITH_ASAN
static const void *loop_stack;
static size_t loop_stack_size;
#endif

/* Switching */

static void switch_to_loop(struct fiber *f)
{
#ifdef FIBER_WITH_ASAN
	/* NULL: this stack's fake frames are not needed again. */
	__sanitizer_start_switch_fiber(
		f->state == DONE ? NULL : &f->asan_fake_stack, loop_stack, loop_stack_size);
#endif
	(void)swapcontext(&f->context, &loop_context);
#ifdef FIBER_WITH_ASAN
	__sanitizer_finish_switch_fiber(f->asan_fake_stack, &loop_stack, &loop_stack_size);
#endif
}

static void fiber_main(void)
{
	struct fiber *f = current;

#ifdef FIBER_WITH_ASAN
	__sanitizer_finish_switch_fiber(NULL, &loop_stack, &loop_stack_size);
#endif
	f->fn(f->arg);
	assert(!f->shield);
	f->state = DONE;
	fiber_cond_signal(&f->done);
	switch_to_loop(f);
	abort(); /* nobody resumes a fiber that is done */
}

static void fiber_free(struct fiber *f)
{
	assert(f->state == DONE && !f->done.head);
	f->next->prev = f->prev;
	f->prev->next = f->next;
	free(f);
}

/* On the loop's stack. */
static void resume(void *arg)
{
	struct fiber *f = arg;

	assert(!current && f->state == READY);
	f->state = RUNNING;
	current = f;
#ifdef FIBER_WITH_ASAN
	void *fake_stack;
	__sanitizer_start_switch_fiber(&fake_stack, f->stack->base, FIBER_STACK_BYTES);
#endif
	(void)swapcontext(&loop_context, &f->context);
#ifdef FIBER_WITH_ASAN
	__sanitizer_finish_switch_fiber(fake_stack, NULL, NULL);
#endif
	current = NULL;
	if (f->state != DONE)
		return;
	fiber_stack_give(f->stack);
	f->stack = NULL;
	if (f->detached)
		fiber_free(f);
}

/* Waiting */

static void waiter_remove(struct fiber_waiter *w)
{
	if (!w->cond)
		return;
	if (w->cond->head == w)
		w->cond->head = w->next == w ? NULL : w->next;
	w->next->prev = w->prev;
	w->prev->next = w->next;
	w->cond = NULL;
}

static void waiter_add(struct fiber_waiter *w, struct fiber_cond *cond)
{
	struct fiber_waiter *first = cond->head;

	w->cond = cond;
	if (!first) {
		cond->head = w->next = w->prev = w;
		return;
	}
	w->next = first;
	w->prev = first->prev;
	first->prev->next = w;
	first->prev = w;
}

/* The one way out of WAITING. */
static void end_wait(struct fiber *f, int result)
{
	assert(f->state == WAITING);
	loop_unwatch(f->watch);
	f->watch = NULL;
	waiter_remove(&f->waiter);
	f->heedless = false;
	f->wake_result = result;
	f->state = READY;
}

static void wake(struct fiber *f, int result)
{
	end_wait(f, result);
	loop_soon(resume, f);
}

static void watch_cb(int events, void *arg)
{
	struct fiber *f = arg;
	int ready = events & (LOOP_READ | LOOP_WRITE);

	f->watch = NULL;
	end_wait(f, ready ? ready : -ETIMEDOUT);
	resume(f);
}

static void take_cancel_into(struct fiber *f, bool *ret)
{
	*ret = f->cancel && !f->shield;
	if (*ret)
		f->cancel = false;
}

/* Every wait goes through here. cond may be NULL, fd -1. Returns events, 0 (signalled), -ETIMEDOUT,
 * -ECANCELED. */
static int wait_for(struct fiber_cond *cond, int fd, int events, int64_t deadline_us, bool heedless)
{
	struct fiber *f = current;
	bool cancelled = false;

	assert(f && f->state == RUNNING);
	if (!heedless)
		take_cancel_into(f, &cancelled);
	if (cancelled)
		return -ECANCELED;
	f->heedless = heedless;
	if (cond)
		waiter_add(&f->waiter, cond);
	if (fd >= 0 || deadline_us != CLOCK_FOREVER)
		f->watch = loop_watch_once(fd, events, deadline_us, watch_cb, f);
	f->state = WAITING;
	switch_to_loop(f);
	return f->wake_result;
}

int fiber_sleep_us(int64_t us)
{
	int64_t now = clock_us();
	int64_t deadline = us > 0 && now > CLOCK_FOREVER - us ? CLOCK_FOREVER : now + us;
	int r = wait_for(NULL, -1, LOOP_TIMEOUT, deadline, false);

	return r == -ETIMEDOUT ? 0 : r;
}

int fiber_sleep_ms(int64_t ms)
{
	return fiber_sleep_us(ms > INT64_MAX / 1000 ? INT64_MAX : ms * 1000);
}

int fiber_yield(void)
{
	struct fiber *f = current;
	bool cancelled;

	assert(f);
	take_cancel_into(f, &cancelled);
	if (cancelled)
		return -ECANCELED;
	f->state = READY;
	loop_soon(resume, f);
	switch_to_loop(f);
	return 0;
}

int fiber_wait_fd(int fd, int events, int64_t deadline_us)
{
	return wait_for(NULL, fd, events, deadline_us, false);
}

int fiber_cond_wait(struct fiber_cond *cond, int64_t deadline_us)
{
	return wait_for(cond, -1, LOOP_TIMEOUT, deadline_us, false);
}

void fiber_cond_signal(struct fiber_cond *cond)
{
	while (cond->head)
		wake(cond->head->fiber, 0);
}

int fiber_mutex_lock(struct fiber_mutex *m, int64_t deadline_us)
{
	if (!m->held) {
		m->held = true;
		return 0;
	}
	/* The holder hands it over: whoever comes first gets it first. */
	return wait_for(&m->cond, -1, LOOP_TIMEOUT, deadline_us, false);
}

void fiber_mutex_unlock(struct fiber_mutex *m)
{
	assert(m->held);
	if (m->cond.head)
		wake(m->cond.head->fiber, 0);
	else
		m->held = false;
}

/* Life */

struct fiber *fiber_spawn(const char *name, void (*fn)(void *arg), void *arg)
{
	struct fiber *f = xcalloc(1, sizeof(*f));

	(void)str_copy(f->name, sizeof(f->name), name);
	f->fn = fn;
	f->arg = arg;
	f->waiter.fiber = f;
	f->stack = fiber_stack_take();
	(void)getcontext(&f->context);
	f->context.uc_stack.ss_sp = f->stack->base;
	f->context.uc_stack.ss_size = FIBER_STACK_BYTES;
	f->context.uc_link = NULL;
	makecontext(&f->context, fiber_main, 0);
	f->next = &all;
	f->prev = all.prev;
	all.prev->next = f;
	all.prev = f;
	f->state = READY;
	loop_soon(resume, f);
	return f;
}

void fiber_join(struct fiber *f)
{
	if (!f)
		return;
	assert(f != current && !f->detached && !f->joining);
	f->joining = true;
	while (f->state != DONE)
		(void)wait_for(&f->done, -1, LOOP_TIMEOUT, CLOCK_FOREVER, true);
	fiber_free(f);
}

int fiber_join_or_cancel(struct fiber *f)
{
	int rc = 0;

	if (!f)
		return 0;
	while (f->state != DONE && rc != -ECANCELED)
		rc = wait_for(&f->done, -1, LOOP_TIMEOUT, CLOCK_FOREVER, false);
	if (rc == -ECANCELED)
		fiber_cancel(f);
	fiber_join(f);
	return rc == -ECANCELED ? rc : 0;
}

void fiber_stop(struct fiber *f)
{
	if (!f)
		return;
	fiber_cancel(f);
	fiber_join(f);
}

void fiber_detach(struct fiber *f)
{
	assert(!f->detached && !f->joining);
	f->detached = true;
	if (f->state == DONE)
		fiber_free(f);
}

bool fiber_done(const struct fiber *f)
{
	return f->state == DONE;
}

void fiber_cancel(struct fiber *f)
{
	if (f->state == DONE)
		return;
	f->cancel = true;
	if (f->state != WAITING || f->heedless || f->shield)
		return;
	f->cancel = false;
	wake(f, -ECANCELED);
}

struct fiber *fiber_self(void)
{
	return current;
}

bool fiber_cancelled(void)
{
	return current && current->cancel && !current->shield;
}

int fiber_check(void)
{
	bool cancelled = false;

	if (current)
		take_cancel_into(current, &cancelled);
	return cancelled ? -ECANCELED : 0;
}

void fiber_shield(void)
{
	assert(current);
	current->shield++;
}

void fiber_unshield(void)
{
	assert(current && current->shield > 0);
	current->shield--;
}

void fiber_doing(const char *fmt, ...)
{
	char text[2 * sizeof(current->doing)];
	va_list ap;

	if (!current)
		return;
	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	(void)str_copy(current->doing, sizeof(current->doing), text);
}

const char *fiber_get_doing(const struct fiber *f)
{
	return f->doing;
}

const char *fiber_name(const struct fiber *f)
{
	return f->name;
}

void fiber_each(void (*fn)(const struct fiber *, void *arg), void *arg)
{
	for (struct fiber *f = all.next, *next; f != &all; f = next) {
		next = f->next;
		if (f->state != DONE)
			fn(f, arg);
	}
}

int fiber_count(void)
{
	int n = 0;

	for (const struct fiber *f = all.next; f != &all; f = f->next)
		n += f->state != DONE;
	return n;
}
