/*
 * journal: opening, closing and writing. Files and database belong to a thread of their own (journal_dir.c,
 * journal_sql.c); what is to be written goes there through journal_queue.c.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/io/work.h"
#include "lib/store/journal_priv.h"

static int open_database(struct journal *j, struct err *err)
{
	char file[4096];
	int r = journal_dir_file(j->dir, "journal.db", file, sizeof(file), err);

	if (r == 0)
		r = journal_sql_open(file, &j->sql, err);
	if (r == 0)
		r = journal_sql_id(j->sql, j->id, err);
	return r == 0 ? journal_dir_sync(j->dir, err) : r;
}

/* On the lane. A full disk must not keep a flip from being recovered: the ballast may be what is missing. */
static int open_on_lane(struct journal *j, void *arg, struct err *err)
{
	int r = journal_dir_open(arg, &j->dir, err);

	if (r < 0)
		return r;
	r = open_database(j, err);
	if (r == -ENOSPC && journal_dir_release(j->dir)) {
		err_clear(err);
		journal_sql_close(j->sql);
		j->sql = NULL;
		return open_database(j, err);
	}
	if (r == 0)
		(void)journal_dir_reserve(j->dir, NULL); /* journal_reserve() says whether it is there */
	return r;
}

/* On the lane. */
static void close_run(void *arg)
{
	struct journal *j = arg;

	journal_sql_close(j->sql);
	journal_dir_close(j->dir);
}

int journal_open(const char *state_dir, struct journal **ret, struct err *err)
{
	struct journal *j = xcalloc(1, sizeof(*j));
	char *path = xstrdup(state_dir);

	j->tail = &j->head;
	j->lane = work_lane_new("journal");
	int r = journal_call(j, open_on_lane, path, err);
	free(path);
	if (r < 0) {
		journal_close(j);
		return r;
	}
	*ret = j;
	return 0;
}

void journal_close(struct journal *j)
{
	if (!j)
		return;
	journal_flush(j);
	work_lane_post(j->lane, close_run, NULL, j);
	struct work_lane *lane = j->lane;
	j->lane = NULL;
	work_lane_free(lane); /* all has run and been answered */
	journal_queue_end(j);
	free(j);
}

const char *journal_id(const struct journal *j)
{
	return j->id;
}

bool journal_ok(const struct journal *j)
{
	return !j->failing;
}

int64_t journal_waits_us(const struct journal *j)
{
	return j->batches > 0 ? clock_us() - j->sent_us : 0;
}

/* Writing */

static char *dup_or_empty(const char *s)
{
	return xstrdup(s ? s : "");
}

int journal_begin(struct journal *j, const struct journal_flip *f, struct err *err)
{
	struct journal_entry *e = journal_entry_new(JOURNAL_BEGIN, true);
	char *const text[JOURNAL_TEXTS] = {dup_or_empty(f->id), dup_or_empty(f->cluster), xstrdup(f->group),
		dup_or_empty(f->from), dup_or_empty(f->to), dup_or_empty(f->state), xstrdup(f->outcome),
		dup_or_empty(f->config), xstrdup(f->document)};

	memcpy(e->op.text, text, sizeof(text));
	e->op.number[0] = f->started_at_ms;
	e->op.number[1] = f->ended_at_ms;
	e->op.number[2] = f->rehearsal;
	return journal_add_durable(j, e, err);
}

int journal_write(struct journal *j, const char *flip_id, const char *kind, const char *step,
	const char *data, bool durable, struct err *err)
{
	struct journal_entry *e = journal_entry_new(JOURNAL_RECORD, durable);

	e->op.text[0] = dup_or_empty(flip_id);
	e->op.text[1] = dup_or_empty(kind);
	e->op.text[2] = dup_or_empty(step);
	e->op.text[3] = xstrdup(data ? data : "{}");
	e->op.number[0] = clock_wall_ms();
	if (durable)
		return journal_add_durable(j, e, err);
	journal_add(j, e);
	return 0;
}

int journal_save(struct journal *j, const char *flip_id, const char *state, const char *outcome,
	int64_t ended_at_ms, const char *document, struct err *err)
{
	struct journal_entry *e = journal_entry_new(JOURNAL_SAVE, true);

	e->op.text[0] = dup_or_empty(flip_id);
	e->op.text[1] = dup_or_empty(state);
	e->op.text[2] = xstrdup(outcome);
	e->op.text[3] = xstrdup(document);
	e->op.number[0] = ended_at_ms;
	return journal_add_durable(j, e, err);
}

/* On the lane. */
static int reserve_on_lane(struct journal *j, void *arg, struct err *err)
{
	(void)arg;
	return journal_dir_reserve(j->dir, err);
}

int journal_reserve(struct journal *j, struct err *err)
{
	return journal_call(j, reserve_on_lane, NULL, err);
}
