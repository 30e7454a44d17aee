/*
 * work: threads for what blocks. 4 of them are kept; while jobs hang (a dead resolver, a stopped server) more
 * are started, up to 32, and end again when they are idle: one dead server does not take the pool from the
 * others.
 *
 *     QUEUED -> RUNNING -> FINISHED (posted to the loop) -> freed
 *     QUEUED, RUNNING -> abandoned -> its thread calls drop and frees it
 *
 * A job belongs to its thread once abandoned, to the waiting fiber otherwise; state and abandoned are read
 * and written under the pool's lock only.
 */
#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/base/arena.h"
#include "lib/base/clock.h"
#include "lib/io/fiber.h"
#include "lib/io/loop.h"
#include "lib/io/work.h"

#define THREADS_KEPT 4
#define THREADS_MOST 32
#define QUEUE_MOST 64
#define STACK_BYTES ((size_t)1024 * 1024)
#define FREE_WAIT_S                                                                                          \
	1 /* work_free waits that long for jobs that hang, then leaves them to the end of the process */

enum state { QUEUED, RUNNING, FINISHED };

struct job {
	struct job *next;
	void (*fn)(void *arg);
	void (*drop)(void *arg);
	void *arg;
	enum state state;
	bool abandoned;
	/* On the loop's thread only: */
	bool done, orphan;
	struct fiber_cond cond;
};

static struct {
	pthread_mutex_t lock;
	pthread_cond_t more, less; /* a job or the end came; a thread went */
	struct job *head, **tail;
	int threads, busy;
	int waiting;   /* queued and not abandoned */
	int abandoned; /* and running */
	unsigned generation;
	bool open;
	bool has_ended;
	pthread_t ended; /* the last thread that has ended; it joins the one before it */
} pool = {.lock = PTHREAD_MUTEX_INITIALIZER,
	.more = PTHREAD_COND_INITIALIZER,
	.less = PTHREAD_COND_INITIALIZER};

static void lock(void)
{
	(void)pthread_mutex_lock(&pool.lock);
}

static void unlock(void)
{
	(void)pthread_mutex_unlock(&pool.lock);
}

/* Signals are the loop's: threads take none. */
static int thread_start(pthread_t *ret, void *(*fn)(void *arg), void *arg)
{
	sigset_t all, before;
	pthread_attr_t attr;

	(void)sigfillset(&all);
	(void)pthread_attr_init(&attr);
	(void)pthread_attr_setstacksize(&attr, STACK_BYTES);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	int r = pthread_create(ret, &attr, fn, arg);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	(void)pthread_attr_destroy(&attr);
	return -r;
}

/* On the loop's thread. */
static void job_done(void *arg)
{
	struct job *job = arg;

	if (job->orphan) {
		free(job);
		return;
	}
	job->done = true;
	fiber_cond_signal(&job->cond);
}

/* Called and returns locked. */
static struct job *take_job(void)
{
	struct job *job = pool.head;

	pool.head = job->next;
	if (!pool.head)
		pool.tail = &pool.head;
	job->next = NULL;
	if (!job->abandoned)
		pool.waiting--;
	return job;
}

/* Called and returns locked. The pool may be freed, and be a new one, while fn runs. */
static void run_job(struct job *job, unsigned generation)
{
	if (!job->abandoned) {
		job->state = RUNNING;
		pool.busy++;
		unlock();
		job->fn(job->arg);
		lock();
		if (generation == pool.generation) {
			pool.busy--;
			pool.abandoned -= job->abandoned;
		}
	}
	if (!job->abandoned) {
		job->state = FINISHED;
		if (generation == pool.generation)
			loop_post(job_done, job);
		return;
	}
	unlock();
	job->drop(job->arg);
	free(job);
	lock();
}

static void *pool_thread(void *arg)
{
	unsigned generation = (unsigned)(uintptr_t)arg;

	lock();
	while (generation == pool.generation) {
		if (pool.head) {
			run_job(take_job(), generation);
			continue;
		}
		if (!pool.open || pool.threads > THREADS_KEPT)
			break;
		(void)pthread_cond_wait(&pool.more, &pool.lock);
	}
	bool counted = generation == pool.generation, has_before = counted && pool.has_ended;
	pthread_t before = pool.ended;
	if (counted) {
		pool.threads--;
		pool.ended = pthread_self();
		pool.has_ended = true;
		(void)pthread_cond_signal(&pool.less);
	} else {
		(void)pthread_detach(pthread_self());
	}
	unlock();
	if (has_before)
		(void)pthread_join(before, NULL);
	return NULL;
}

/* Called locked. */
static int add_thread(void)
{
	pthread_t t;
	int r = thread_start(&t, pool_thread, (void *)(uintptr_t)pool.generation);

	if (r < 0)
		return r;
	pool.threads++;
	return 0;
}

int work_init(void)
{
	int r = 0;

	lock();
	assert(!pool.open);
	pool.head = NULL;
	pool.tail = &pool.head;
	pool.threads = pool.busy = pool.waiting = pool.abandoned = 0;
	pool.open = true;
	for (int i = 0; i < THREADS_KEPT && r == 0; i++)
		r = add_thread();
	unlock();
	if (r < 0)
		(void)work_free();
	return r;
}

int work_free(void)
{
	struct timespec until;

	lock();
	if (!pool.open) {
		unlock();
		return 0;
	}
	pool.open = false;
	(void)pthread_cond_broadcast(&pool.more);
	(void)clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += FREE_WAIT_S;
	while (pool.threads > 0 && pthread_cond_timedwait(&pool.less, &pool.lock, &until) == 0)
		continue;
	/* Threads that still hang find another generation when they return, and end without touching
	 * anything. */
	pool.generation++;
	int left = pool.threads;
	bool has_ended = pool.has_ended;
	pthread_t ended = pool.ended;
	pool.has_ended = false;
	unlock();
	/* Gone altogether, with what libraries keep for each thread: exit handlers may run. */
	if (has_ended)
		(void)pthread_join(ended, NULL);
	return left;
}

/* Called locked. -EAGAIN when all threads and the queue are full. */
static int submit(struct job *job)
{
	if (!pool.open || pool.busy + pool.waiting >= THREADS_MOST + QUEUE_MOST)
		return -EAGAIN;
	/* If none can be started, one of those there are will take it. */
	if (pool.threads - pool.busy <= pool.waiting && pool.threads < THREADS_MOST)
		(void)add_thread();
	*pool.tail = job;
	pool.tail = &job->next;
	pool.waiting++;
	(void)pthread_cond_signal(&pool.more);
	return 0;
}

/* Only drop is left to be done, on a pool thread. */
static void submit_drop(const struct job *like)
{
	struct job *job = xcalloc(1, sizeof(*job));

	job->drop = like->drop;
	job->arg = like->arg;
	job->abandoned = true;
	*pool.tail = job;
	pool.tail = &job->next;
	(void)pthread_cond_signal(&pool.more);
}

/* why: -ETIMEDOUT or -ECANCELED. Returns what work_run returns; the job is no longer the caller's. */
static int abandon(struct job *job, int why)
{
	lock();
	if (job->state == FINISHED) {
		/* It ran just now, and the loop has heard of it or will. In time enough; but a cancel must
		 * not be lost. */
		job->orphan = true;
		if (why == -ECANCELED)
			submit_drop(job);
		unlock();
		if (job->done)
			free(job);
		return why == -ECANCELED ? why : 0;
	}
	job->abandoned = true;
	if (job->state == QUEUED)
		pool.waiting--;
	else
		pool.abandoned++;
	unlock();
	return why;
}

static void never(int events, void *arg)
{
	(void)events, (void)arg;
}

int work_run(void (*fn)(void *arg), void (*drop)(void *arg), void *arg, int64_t deadline_us)
{
	struct job *job = xcalloc(1, sizeof(*job));
	int r;

	job->fn = fn;
	job->drop = drop;
	job->arg = arg;
	lock();
	r = submit(job);
	unlock();
	if (r < 0) {
		free(job);
		return r;
	}
	/* Keeps the loop alive: what will wake it is not a thing that it can see. */
	struct loop_watch *hold = loop_watch_once(-1, 0, CLOCK_FOREVER, never, NULL);
	while (!job->done && r == 0)
		r = fiber_cond_wait(&job->cond, deadline_us);
	loop_unwatch(hold);
	if (!job->done || r < 0)
		return abandon(job, r);
	free(job);
	return 0;
}

int work_abandoned(void)
{
	lock();
	int n = pool.abandoned;
	unlock();
	return n;
}

/* Lanes */

struct lane_job {
	struct lane_job *next;			/* in the thread's queue */
	struct lane_job *next_open, *prev_open; /* not done yet; on the loop's thread only */
	void (*fn)(void *arg);
	void (*done)(void *arg);
	void *arg;
	struct loop_watch *hold; /* NULL once done was called */
};

struct work_lane {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t more;
	struct lane_job *head, **tail;
	bool closing;
	struct lane_job open; /* ring */
};

static void lane_job_finish(struct lane_job *job)
{
	job->next_open->prev_open = job->prev_open;
	job->prev_open->next_open = job->next_open;
	loop_unwatch(job->hold);
	job->hold = NULL;
	if (job->done)
		job->done(job->arg);
}

static void lane_job_done(void *arg)
{
	struct lane_job *job = arg;

	if (job->hold)
		lane_job_finish(job);
	free(job);
}

static void *lane_thread(void *arg)
{
	struct work_lane *lane = arg;

	(void)pthread_mutex_lock(&lane->lock);
	for (;;) {
		while (!lane->head && !lane->closing)
			(void)pthread_cond_wait(&lane->more, &lane->lock);
		struct lane_job *job = lane->head;
		if (!job)
			break;
		lane->head = job->next;
		if (!lane->head)
			lane->tail = &lane->head;
		(void)pthread_mutex_unlock(&lane->lock);
		job->fn(job->arg);
		loop_post(lane_job_done, job);
		(void)pthread_mutex_lock(&lane->lock);
	}
	(void)pthread_mutex_unlock(&lane->lock);
	return NULL;
}

struct work_lane *work_lane_new(const char *name)
{
	struct work_lane *lane = xcalloc(1, sizeof(*lane));
	char short_name[16]; /* the kernel's limit */

	lane->tail = &lane->head;
	lane->open.next_open = lane->open.prev_open = &lane->open;
	(void)pthread_mutex_init(&lane->lock, NULL);
	(void)pthread_cond_init(&lane->more, NULL);
	if (thread_start(&lane->thread, lane_thread, lane) < 0)
		abort(); /* at start only, and nothing works without */
	size_t n = strnlen(name, sizeof(short_name) - 1);
	memcpy(short_name, name, n);
	short_name[n] = '\0';
	(void)pthread_setname_np(lane->thread, short_name);
	return lane;
}

void work_lane_free(struct work_lane *lane)
{
	if (!lane)
		return;
	(void)pthread_mutex_lock(&lane->lock);
	lane->closing = true;
	(void)pthread_cond_signal(&lane->more);
	(void)pthread_mutex_unlock(&lane->lock);
	(void)pthread_join(lane->thread, NULL);
	/* All have run; those the loop has not heard of yet are done now, and freed when it does. */
	while (lane->open.next_open != &lane->open)
		lane_job_finish(lane->open.next_open);
	(void)pthread_mutex_destroy(&lane->lock);
	(void)pthread_cond_destroy(&lane->more);
	free(lane);
}

void work_lane_post(struct work_lane *lane, void (*fn)(void *arg), void (*done)(void *arg), void *arg)
{
	struct lane_job *job = xcalloc(1, sizeof(*job));

	job->fn = fn;
	job->done = done;
	job->arg = arg;
	job->hold = loop_watch_once(-1, 0, CLOCK_FOREVER, never, NULL);
	job->prev_open = lane->open.prev_open;
	job->next_open = &lane->open;
	lane->open.prev_open->next_open = job;
	lane->open.prev_open = job;
	(void)pthread_mutex_lock(&lane->lock);
	*lane->tail = job;
	lane->tail = &job->next;
	(void)pthread_cond_signal(&lane->more);
	(void)pthread_mutex_unlock(&lane->lock);
}
