/*
 * journal_queue: the queue between the fibers and the journal's thread. Writes gather here and go to the
 * thread as one transaction: all that waits, in order, with at most one fsync. A durable write takes along
 * what was queued before it; others that come while it is under way share the next one. One batch at a time:
 * what became of it decides whether a durable write behind it may be made at all.
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

struct journal_loss {
	struct journal_loss *next;
	char *flip_id;
	struct err err;
};

/* What goes to the lane at once: some writes, then perhaps a call. */
struct batch {
	struct journal *journal;
	struct journal_op *head;
	struct journal_entry *call;
	bool durable;
	int rc;
	struct err err;
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
	e->op.durable = durable;
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

static void loss_drop(struct journal *j, const char *flip_id)
{
	struct journal_loss **p = flip_id ? loss_find(j, flip_id) : NULL;
	struct journal_loss *l = p ? *p : NULL;

	if (!l)
		return;
	*p = l->next;
	loss_free(l);
}

/* The flip's loss becomes the op's result; false when there is none. */
static bool loss_tell(struct journal *j, struct journal_op *op)
{
	struct journal_loss *l = *loss_find(j, op->text[0]);

	if (!l)
		return false;
	op->err = l->err;
	err_wrap(&op->err, "an earlier record of this flip was not written");
	op->rc = l->err.code;
	return true;
}

/* Batches */

static void finish(struct journal *j, struct journal_op *op)
{
	struct journal_entry *e = entry_of(op);

	if (e->op.durable || e->fn) {
		/* Told by this one: what got lost with it is not told once more. */
		if (op->rc < 0)
			loss_drop(j, op->text[0]);
		e->done = true;
		fiber_cond_signal(&e->cond);
		return;
	}
	if (op->rc < 0)
		loss_add(j, op);
	entry_free(e);
}

/* On the lane. When the disk is full the log is emptied and begins again in its own blocks; then the ballast
 * goes. */
static void write_all(struct batch *b)
{
	struct journal *j = b->journal;

	b->rc = journal_sql_write(j->sql, b->head, b->durable, &b->err);
	for (int more = 0; b->rc == -ENOSPC && more < 2; more++) {
		if (more == 1 && !journal_dir_release(j->dir))
			return;
		journal_sql_tidy(j->sql);
		err_clear(&b->err);
		b->rc = journal_sql_write(j->sql, b->head, b->durable, &b->err);
	}
}

/* On the lane. */
static void batch_run(void *arg)
{
	struct batch *b = arg;
	struct journal_entry *call = b->call;

	if (b->head)
		write_all(b);
	if (call)
		call->op.rc = call->fn(b->journal, call->arg, &call->op.err);
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
	if (b->head)
		j->failing = b->rc < 0;
	for (struct journal_op *op = b->head, *next; op; op = next) {
		next = op->next;
		idle = count_running(j, op) || idle;
		finish(j, op);
	}
	if (b->call)
		finish(j, &b->call->op);
	free(b);
	if (j->head)
		journal_flush(j);
	else if (idle && j->lane)
		work_lane_post(j->lane, tidy_run, NULL, j);
}

/* The first that is pending. */
static struct journal_op *take(struct journal *j)
{
	struct journal_op *op = j->head;

	j->head = op->next;
	if (!j->head)
		j->tail = &j->head;
	op->next = NULL;
	return op;
}

/*
 * All writes that are pending, or where there are none the first call: a write never waits for more than the
 * call that is under way, however many read. A call still runs after all that was written before it. A
 * durable write behind a loss is answered with it. NULL: nothing is left.
 */
static struct batch *batch_take(struct journal *j)
{
	struct batch *b = xcalloc(1, sizeof(*b));
	struct journal_op **tail = &b->head, *calls = NULL, **last = &calls;

	b->journal = j;
	while (j->head) {
		struct journal_op *op = take(j);
		if (entry_of(op)->fn) {
			*last = op;
			last = &op->next;
		} else if (op->durable && loss_tell(j, op)) {
			finish(j, op);
		} else {
			*tail = op;
			tail = &op->next;
			b->durable = b->durable || op->durable;
		}
	}
	j->head = calls;
	j->tail = calls ? last : &j->head;
	if (!b->head && j->head)
		b->call = entry_of(take(j));
	if (b->head || b->call)
		return b;
	free(b);
	return NULL;
}

void journal_flush(struct journal *j)
{
	struct batch *b = batch_take(j);

	if (!b)
		return;
	j->batches++;
	j->sent_us = clock_us();
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

static void append(struct journal *j, struct journal_entry *e)
{
	*j->tail = &e->op;
	j->tail = &e->op.next;
}

void journal_add(struct journal *j, struct journal_entry *e)
{
	append(j, e);
	/* Not at once: a durable write often follows within the same turn. */
	if (!j->nudge && j->batches == 0) {
		j->nudge = xcalloc(1, sizeof(*j->nudge));
		j->nudge->journal = j;
		loop_soon(nudged, j->nudge);
	}
}

/* Waits for it shielded, frees it, returns what came of it. */
static int MAY_WAIT add_and_wait(struct journal *j, struct journal_entry *e, struct err *err)
{
	append(j, e);
	if (j->batches == 0)
		journal_flush(j);
	fiber_shield();
	while (!e->done)
		(void)fiber_cond_wait(&e->cond, CLOCK_FOREVER);
	fiber_unshield();
	int r = e->op.rc;
	if (r < 0) {
		(void)err_set(err, r, "%s", e->op.err.message);
		err_hint(err, "%s", e->op.err.hint);
	}
	entry_free(e);
	return r;
}

int journal_add_durable(struct journal *j, struct journal_entry *e, struct err *err)
{
	return add_and_wait(j, e, err);
}

int journal_call(
	struct journal *j, int (*fn)(struct journal *, void *arg, struct err *), void *arg, struct err *err)
{
	struct journal_entry *e = journal_entry_new(JOURNAL_RECORD, false);

	e->fn = fn;
	e->arg = arg;
	return add_and_wait(j, e, err);
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
