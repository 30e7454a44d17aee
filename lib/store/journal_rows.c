/* journal_rows: reading the journal's database, on the journal's own thread. */
#include <sqlite3.h>
#include <string.h>

#include "lib/base/arena.h"
#include "lib/base/str.h"
#include "lib/store/journal_priv.h"

#define FLIPS                                                                                                \
	"SELECT id, cluster, grp, from_side, to_side, state, outcome, config, document, started_at_ms,"      \
	" ended_at_ms, rehearsal FROM flip "
#define NEWEST_FIRST " ORDER BY rowid DESC LIMIT ?2" /* as begun: times may go back with the clock */

static const char *const queries[] = {
	[JOURNAL_UNFINISHED] = FLIPS "WHERE state IS NOT 'ended' ORDER BY rowid LIMIT ?2",
	[JOURNAL_HISTORY] = FLIPS NEWEST_FIRST,
	[JOURNAL_HISTORY_OF] = FLIPS "WHERE cluster = ?1 OR grp = ?1" NEWEST_FIRST,
	[JOURNAL_FLIPS] = FLIPS "WHERE cluster = ?1 AND state = 'ended' AND rehearsal = 0" NEWEST_FIRST,
	[JOURNAL_MOVED] =
		FLIPS "WHERE cluster = ?1 AND state = 'ended' AND rehearsal = 0 AND outcome IN ('done', "
		      "'rolled_back')" NEWEST_FIRST,
	[JOURNAL_REHEARSALS] = FLIPS "WHERE cluster = ?1 AND state = 'ended' AND rehearsal = 1" NEWEST_FIRST,
	[JOURNAL_ONE] = FLIPS "WHERE id = ?1 LIMIT ?2",
};

/* The bytes up to the first NUL, whatever type the cell has; NULL for NULL. */
static const char *cell(sqlite3_stmt *st, int i, struct arena *a)
{
	return arena_strdup(a, (const char *)sqlite3_column_text(st, i));
}

static void read_flip(sqlite3_stmt *st, struct arena *a, void *row)
{
	*(struct journal_flip *)row = (struct journal_flip){.id = cell(st, 0, a),
		.cluster = cell(st, 1, a),
		.group = cell(st, 2, a),
		.from = cell(st, 3, a),
		.to = cell(st, 4, a),
		.state = cell(st, 5, a),
		.outcome = cell(st, 6, a),
		.config = cell(st, 7, a),
		.document = cell(st, 8, a),
		.started_at_ms = sqlite3_column_int64(st, 9),
		.ended_at_ms = sqlite3_column_int64(st, 10),
		.rehearsal = sqlite3_column_int(st, 11) != 0};
}

static void read_record(sqlite3_stmt *st, struct arena *a, void *row)
{
	*(struct journal_record *)row = (struct journal_record){.flip_id = cell(st, 0, a),
		.seq = sqlite3_column_int64(st, 1),
		.at_ms = sqlite3_column_int64(st, 2),
		.kind = cell(st, 3, a),
		.step = cell(st, 4, a),
		.data = cell(st, 5, a)};
}

struct rows {
	size_t size; /* of one */
	void (*read)(sqlite3_stmt *, struct arena *, void *row);
	char *data;
	size_t n, room;
};

static void rows_add(struct rows *rows, sqlite3_stmt *st, struct arena *a)
{
	if (rows->n == rows->room) {
		size_t room = rows->room ? 2 * rows->room : 16;
		rows->data = arena_grow(a, rows->data, rows->n * rows->size, room * rows->size);
		rows->room = room;
	}
	rows->read(st, a, rows->data + rows->n++ * rows->size);
}

static size_t row_bytes(sqlite3_stmt *st)
{
	size_t n = 0;

	for (int i = 0; i < sqlite3_column_count(st); i++)
		n += sqlite3_column_type(st, i) == SQLITE_TEXT ? (size_t)sqlite3_column_bytes(st, i) : 0;
	return n;
}

/* most_bytes: rows are left out once there is so much; 0: never. */
static int select_rows(struct journal_sql *s, const char *sql, const char *name, int limit, size_t most_bytes,
	struct arena *a, struct rows *rows, struct err *err)
{
	sqlite3_stmt *st = NULL;
	size_t bytes = 0;
	int r = journal_sql_prepare(s, sql, &st, err);

	if (r < 0)
		return r;
	int rc = sqlite3_bind_text(st, 1, name, -1, SQLITE_STATIC);
	if (rc == SQLITE_OK)
		rc = sqlite3_bind_int(st, 2, limit < 1 ? -1 : limit);
	if (rc == SQLITE_OK) {
		while ((rc = sqlite3_step(st)) == SQLITE_ROW && (!most_bytes || bytes < most_bytes)) {
			bytes += row_bytes(st);
			rows_add(rows, st, a);
		}
		rc = rc == SQLITE_ROW ? SQLITE_DONE : rc;
	}
	if (rc != SQLITE_DONE)
		r = journal_sql_fail(s, rc, "read", err);
	(void)sqlite3_finalize(st);
	return r;
}

int journal_sql_flips(struct journal_sql *s, enum journal_query query, const char *name, int limit,
	struct arena *a, struct journal_flip **ret, int *ret_n, struct err *err)
{
	struct rows rows = {.size = sizeof(struct journal_flip), .read = read_flip};
	bool all = query == JOURNAL_UNFINISHED || query == JOURNAL_ONE;
	int r = select_rows(s, queries[query], name, limit, all ? 0 : JOURNAL_MOST_BYTES, a, &rows, err);

	if (r < 0)
		return r;
	*ret = (struct journal_flip *)(void *)rows.data;
	*ret_n = (int)rows.n;
	return 0;
}

int journal_sql_records(struct journal_sql *s, const char *flip_id, struct arena *a,
	struct journal_record **ret, int *ret_n, struct err *err)
{
	struct rows rows = {.size = sizeof(struct journal_record), .read = read_record};
	int r = select_rows(s,
		"SELECT flip_id, seq, at_ms, kind, step, data FROM record WHERE flip_id = ?1 ORDER BY seq"
		" LIMIT ?2",
		flip_id, 0, 0, a, &rows, err);

	if (r < 0)
		return r;
	*ret = (struct journal_record *)(void *)rows.data;
	*ret_n = (int)rows.n;
	return 0;
}
