/*
 * journal_queue: the queue between the fibers and the journal's thread. Writes gather here and go to the
 * thread as one transaction: all that waits, in order, with at most one fsync. A durable write takes along
 * what was queued before it; others that come while it is under way share the next one.
 *
 *     op: queued (pending) -> in a batch on the lane -> done (its fiber woken) | freed
 *
 * What was queued without waiting and could not be written is kept as the flip's loss, and fails its next
 * durable write: nothing durable stands in the journal behind a gap that nobody was told of.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/base/str.h"
#include "lib/io/fiber.h"
#include "lib/io/loop.h"
#include "lib/io/work.h"
#include "lib/store/journal_priv.h"

/* A durable batch may queue behind one that runs, which saves the way over the loop; further ones gather. */
#define BATCHES_MOST 2

struct journal_loss {
	struct journal_loss *next;
	char *flip_id;
	struct err err;
};

struct batch {
	struct journal *journal;
	struct journal_op *head;
	bool durable;
	int rc;
	struct err err;
};

struct call {
	struct journal *journal;
	int (*fn)(struct journal *, void *arg, struct err *);
	void *arg;
	int rc;
	struct err err;
	bool done;
	struct fiber_cond cond;
};

/* Entries */

static struct journal_entry *entry_of(struct journal_op *op)
{
	return container_of(op, struct journal_entry, op);
}

struct journal_entry *journal_entry_new(enum journal_verb verb, bool durable)
{
	struct journal_entry *e = xcalloc(1, sizeof(*e));

	e->op.verb = verb;
	e->op.durable = e->waited = durable;
	return e;
}

static void entry_free(struct journal_entry *e)
{
	for (size_t i = 0; i < COUNT_OF(e->op.text); i++)
		free(e->op.text[i]);
	free(e);
}

/* Losses */

static struct journal_loss **loss_find(struct journal *j, const char *flip_id)
{
	struct journal_loss **p = &j->losses;

	while (*p && strcmp((*p)->flip_id, flip_id) != 0)
		p = &(*p)->next;
	return p;
}

static void loss_add(struct journal *j, const struct journal_op *op)
{
	struct journal_loss **p = loss_find(j, op->text[0]);

	if (*p)
		return;
	*p = xcalloc(1, sizeof(**p));
	(*p)->flip_id = xstrdup(op->text[0]);
	(*p)->err = op->err;
}

static void loss_free(struct journal_loss *l)
{
	free(l->flip_id);
	free(l);
}

/* Moves the flip's loss into the op's result; false when there is none. */
static bool loss_take(struct journal *j, struct journal_op *op)
{
	struct journal_loss **p = loss_find(j, op->text[0]);
	struct journal_loss *l = *p;

	if (!l)
		return false;
	*p = l->next;
	op->err = l->err;
	err_wrap(&op->err, "an earlier record of this flip was not written");
	op->rc = l->err.code;
	loss_free(l);
	return true;
}

/* Batches */

static void finish(struct journal *j, struct journal_op *op)
{
	struct journal_entry *e = entry_of(op);

	if (e->waited) {
		e->done = true;
		fiber_cond_signal(&e->cond);
		return;
	}
	if (op->rc < 0)
		loss_add(j, op);
	entry_free(e);
}

/* On the lane. */
static void batch_run(void *arg)
{
	struct batch *b = arg;
	struct journal *j = b->journal;

	b->rc = journal_sql_write(j->sql, b->head, b->durable, &b->err);
	if (b->rc == -ENOSPC && journal_dir_release(j->dir)) {
		err_clear(&b->err);
		b->rc = journal_sql_write(j->sql, b->head, b->durable, &b->err);
	}
}

/* On the lane. */
static void tidy_run(void *arg)
{
	struct journal *j = arg;

	journal_sql_tidy(j->sql);
}

/* Keeps count of this process's flips; true when the last one has ended. */
static bool count_running(struct journal *j, const struct journal_op *op)
{
	if (op->rc < 0)
		return false;
	if (op->verb == JOURNAL_BEGIN)
		j->running++;
	if (op->verb != JOURNAL_SAVE || !str_eq(op->text[1], "ended"))
		return false;
	if (j->running > 0)
		j->running--;
	return j->running == 0;
}

static void batch_done(void *arg)
{
	struct batch *b = arg;
	struct journal *j = b->journal;
	bool idle = false;

	j->batches--;
	j->failing = b->rc < 0;
	for (struct journal_op *op = b->head, *next; op; op = next) {
		next = op->next;
		idle = count_running(j, op) || idle;
		finish(j, op);
	}
	free(b);
	if (j->head)
		journal_flush(j);
	else if (idle && j->lane)
		work_lane_post(j->lane, tidy_run, NULL, j);
}

/* Takes what is pending; a durable write behind a loss is answered with it. NULL when nothing is left. */
static struct batch *batch_take(struct journal *j)
{
	struct batch *b = xcalloc(1, sizeof(*b));
	struct journal_op **tail = &b->head;

	for (struct journal_op *op = j->head, *next; op; op = next) {
		next = op->next;
		op->next = NULL;
		if (op->durable && loss_take(j, op)) {
			finish(j, op);
			continue;
		}
		*tail = op;
		tail = &op->next;
		b->durable = b->durable || op->durable;
	}
	j->head = NULL;
	j->tail = &j->head;
	if (b->head)
		return b;
	free(b);
	return NULL;
}

void journal_flush(struct journal *j)
{
	struct batch *b = batch_take(j);

	if (!b)
		return;
	b->journal = j;
	j->batches++;
	work_lane_post(j->lane, batch_run, batch_done, b);
}

static void nudged(void *arg)
{
	struct journal_nudge *n = arg;
	struct journal *j = n->journal;

	free(n);
	if (!j)
		return;
	j->nudge = NULL;
	if (j->batches == 0)
		journal_flush(j);
}

void journal_add(struct journal *j, struct journal_entry *e)
{
	*j->tail = &e->op;
	j->tail = &e->op.next;
	if (e->op.durable) {
		if (j->batches < BATCHES_MOST)
			journal_flush(j);
	} else if (!j->nudge && j->batches == 0) {
		/* Not at once: a durable write often follows within the same turn. */
		j->nudge = xcalloc(1, sizeof(*j->nudge));
		j->nudge->journal = j;
		loop_soon(nudged, j->nudge);
	}
}

/* Adds it, waits until it is on disk, frees it. */
int journal_add_durable(struct journal *j, struct journal_entry *e, struct err *err)
{
	journal_add(j, e);
	fiber_shield();
	while (!e->done)
		(void)fiber_cond_wait(&e->cond, CLOCK_FOREVER);
	fiber_unshield();
	if (e->op.rc == 0)
		(void)loss_take(j, &e->op);
	int r = e->op.rc;
	if (r < 0) {
		(void)err_set(err, r, "%s", e->op.err.message);
		err_hint(err, "%s", e->op.err.hint);
	}
	entry_free(e);
	return r;
}

/* Calls */

/* On the lane. */
static void call_run(void *arg)
{
	struct call *c = arg;

	c->rc = c->fn(c->journal, c->arg, &c->err);
}

static void call_done(void *arg)
{
	struct call *c = arg;

	c->done = true;
	fiber_cond_signal(&c->cond);
}

int journal_call(
	struct journal *j, int (*fn)(struct journal *, void *arg, struct err *), void *arg, struct err *err)
{
	struct call c = {.journal = j, .fn = fn, .arg = arg};

	journal_flush(j);
	work_lane_post(j->lane, call_run, call_done, &c);
	fiber_shield();
	while (!c.done)
		(void)fiber_cond_wait(&c.cond, CLOCK_FOREVER);
	fiber_unshield();
	if (c.rc < 0) {
		(void)err_set(err, c.rc, "%s", c.err.message);
		err_hint(err, "%s", c.err.hint);
	}
	return c.rc;
}

void journal_queue_end(struct journal *j)
{
	assert(!j->head && j->batches == 0);
	if (j->nudge)
		j->nudge->journal = NULL;
	while (j->losses) {
		struct journal_loss *l = j->losses;
		j->losses = l->next;
		loss_free(l);
	}
}
