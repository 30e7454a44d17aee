/*
 * journal_sql: the journal's database: schema, transactions, queries. The one place that knows SQLite.
 * Everything here runs on the journal's own thread, one connection, statements kept.
 *
 * The log is a WAL: a commit is one append, on disk with one fdatasync under synchronous=FULL and with none
 * under NORMAL (0.30 and 0.014 ms), where the next FULL commit takes it along. The log is moved into the
 * database only when no flip runs, never within somebody's blackout.
 */
#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/str.h"
#include "lib/store/journal_priv.h"

#define BUSY_MS 1000	     /* for somebody's shell that writes */
#define WAL_PAGES_MOST 16384 /* 64 MiB: then it is moved even while flips run */

static const struct verb {
	const char *sql;
	int texts, numbers;
} verbs[] = {
	[JOURNAL_BEGIN] =
		{"INSERT INTO flip(id, cluster, grp, from_side, to_side, state, outcome, config, document,"
		 " started_at_ms, ended_at_ms, rehearsal)"
		 " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
			9, 3},
	[JOURNAL_RECORD] =
		{"INSERT INTO record(flip_id, kind, step, data, at_ms, seq) VALUES(?1, ?2, ?3, ?4, ?5,"
		 " (SELECT coalesce(max(seq), 0) + 1 FROM record WHERE flip_id = ?1))",
			4, 1},
	[JOURNAL_SAVE] = {"UPDATE flip SET state = ?2, outcome = ?3, document = coalesce(?4, document),"
			  " ended_at_ms = ?5 WHERE id = ?1",
		4, 1},
};

#define FLIPS                                                                                                \
	"SELECT id, cluster, grp, from_side, to_side, state, outcome, config, document, started_at_ms,"      \
	" ended_at_ms, rehearsal FROM flip "
#define NEWEST_FIRST " ORDER BY rowid DESC LIMIT ?2" /* as begun: times may go back with the clock */

static const char *const queries[] = {
	[JOURNAL_UNFINISHED] = FLIPS "WHERE state IS NOT 'ended' ORDER BY rowid LIMIT ?2",
	[JOURNAL_HISTORY] = FLIPS NEWEST_FIRST,
	[JOURNAL_HISTORY_OF] = FLIPS "WHERE cluster = ?1 OR grp = ?1" NEWEST_FIRST,
	[JOURNAL_FLIPS] = FLIPS "WHERE cluster = ?1 AND state = 'ended' AND rehearsal = 0" NEWEST_FIRST,
	[JOURNAL_REHEARSALS] = FLIPS "WHERE cluster = ?1 AND state = 'ended' AND rehearsal = 1" NEWEST_FIRST,
	[JOURNAL_ONE] = FLIPS "WHERE id = ?1 LIMIT ?2",
};

struct journal_sql {
	sqlite3 *db;
	char *file;
	sqlite3_stmt *verb[COUNT_OF(verbs)], *begin, *commit, *rollback;
	bool full;    /* synchronous is FULL */
	bool suspect; /* an fsync failed: what the kernel says of the log is no longer believed */
};

/* Errors */

const char *journal_sql_file(const struct journal_sql *s)
{
	return s->file;
}

static int errno_of(struct journal_sql *s, int rc)
{
	int e;

	switch (rc & 0xff) {
	case SQLITE_FULL:
		return -ENOSPC;
	case SQLITE_IOERR:
	case SQLITE_CANTOPEN:
		e = sqlite3_system_errno(s->db);
		return e == ENOSPC || e == EDQUOT ? -ENOSPC : -EIO;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		return -EBADMSG;
	case SQLITE_CONSTRAINT:
		return rc == SQLITE_CONSTRAINT_PRIMARYKEY ? -EEXIST : -EINVAL;
	case SQLITE_TOOBIG:
		return -E2BIG;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return -EBUSY;
	case SQLITE_READONLY:
		return -EROFS;
	case SQLITE_NOMEM:
		return -ENOMEM;
	default:
		return -EIO;
	}
}

/* rc is SQLite's; returns the errno. */
static int fail(struct journal_sql *s, int rc, const char *doing, struct err *err)
{
	int code = errno_of(s, rc);
	const char *text = sqlite3_extended_errcode(s->db) == rc ? sqlite3_errmsg(s->db) : sqlite3_errstr(rc);

	if (rc == SQLITE_IOERR_FSYNC || rc == SQLITE_IOERR_DIR_FSYNC)
		s->suspect = true;
	(void)err_set(err, code, "journal %s: %s: %s", s->file, doing, text);
	journal_schema_hint(s, code, err);
	return code;
}

int journal_sql_exec(struct journal_sql *s, const char *sql, struct err *err)
{
	int rc = sqlite3_exec(s->db, sql, NULL, NULL, NULL);

	return rc == SQLITE_OK ? 0 : fail(s, rc, "set up", err);
}

static int prepare(struct journal_sql *s, const char *sql, sqlite3_stmt **ret, struct err *err)
{
	int rc = sqlite3_prepare_v3(s->db, sql, -1, SQLITE_PREPARE_PERSISTENT, ret, NULL);

	return rc == SQLITE_OK ? 0 : fail(s, rc, "prepare", err);
}

int journal_sql_ask(struct journal_sql *s, const char *sql, char *buf, size_t size, struct err *err)
{
	sqlite3_stmt *st = NULL;
	int r = prepare(s, sql, &st, err);

	if (r < 0)
		return r;
	int rc = sqlite3_step(st);
	if (rc == SQLITE_ROW) {
		const char *text = (const char *)sqlite3_column_text(st, 0);
		str_copy(buf, size, text ? text : "");
	} else if (rc == SQLITE_DONE) {
		str_copy(buf, size, "");
	} else {
		r = fail(s, rc, "read", err);
	}
	(void)sqlite3_finalize(st);
	return r;
}

/* Opening */

static int use_wal(struct journal_sql *s, struct err *err)
{
	char mode[32];
	int r = journal_sql_ask(s, "PRAGMA journal_mode = WAL", mode, sizeof(mode), err);

	if (r < 0)
		return r;
	if (strcmp(mode, "wal") != 0)
		return err_set(err, -ENOTSUP, "journal %s: no WAL on this file system", s->file);
	(void)sqlite3_wal_autocheckpoint(s->db, WAL_PAGES_MOST);
	s->full = true;
	return journal_sql_exec(s, "PRAGMA synchronous = FULL; PRAGMA trusted_schema = OFF", err);
}

static int prepare_all(struct journal_sql *s, struct err *err)
{
	int r = prepare(s, "BEGIN IMMEDIATE", &s->begin, err);

	if (r == 0)
		r = prepare(s, "COMMIT", &s->commit, err);
	if (r == 0)
		r = prepare(s, "ROLLBACK", &s->rollback, err);
	for (size_t i = 0; i < COUNT_OF(verbs) && r == 0; i++)
		r = prepare(s, verbs[i].sql, &s->verb[i], err);
	return r;
}

/* What closing does to the log: nothing to that of a damaged file, else it goes into the database. */
static void tidy_at_close(struct journal_sql *s, bool on)
{
	(void)sqlite3_db_config(s->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, on ? 0 : 1, NULL);
}

static int set_up(struct journal_sql *s, struct err *err)
{
	/* The log's blocks are kept when it is closed: rewriting them needs no room and no metadata. */
	int keep = 1;
	int64_t version = 0;
	int r;

	(void)sqlite3_file_control(s->db, "main", SQLITE_FCNTL_PERSIST_WAL, &keep);
	(void)sqlite3_busy_timeout(s->db, BUSY_MS);
	tidy_at_close(s, false);
	r = journal_schema_check(s, &version, err);
	if (r == 0)
		r = use_wal(s, err);
	if (r == 0)
		r = journal_schema_migrate(s, version, err);
	if (r == 0)
		r = prepare_all(s, err);
	if (r == 0) {
		tidy_at_close(s, true);
		journal_sql_tidy(s); /* the next write begins at the log's start again */
	}
	return r;
}

int journal_sql_open(const char *file, struct journal_sql **ret, struct err *err)
{
	struct journal_sql *s = xcalloc(1, sizeof(*s));
	int r;

	s->file = xstrdup(file);
	int rc = sqlite3_open_v2(
		file, &s->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, NULL);
	if (rc != SQLITE_OK) {
		r = fail(s, rc, "open", err);
	} else {
		r = set_up(s, err);
	}
	if (r < 0) {
		journal_sql_close(s);
		return r;
	}
	*ret = s;
	return 0;
}

void journal_sql_close(struct journal_sql *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < COUNT_OF(verbs); i++)
		(void)sqlite3_finalize(s->verb[i]);
	(void)sqlite3_finalize(s->begin);
	(void)sqlite3_finalize(s->commit);
	(void)sqlite3_finalize(s->rollback);
	(void)sqlite3_close(s->db);
	free(s->file);
	free(s);
}

int journal_sql_id(struct journal_sql *s, char ret_id[JOURNAL_ID_SIZE], struct err *err)
{
	char id[JOURNAL_ID_SIZE] = "";
	int r = journal_sql_ask(s, "SELECT value FROM meta WHERE name = 'journal_id'", id, sizeof(id), err);

	if (r < 0)
		return r;
	if (!id[0])
		return journal_schema_damaged(s, "it has no name", err);
	memcpy(ret_id, id, sizeof(id));
	return 0;
}

/* Writing */

static int step_kept(sqlite3_stmt *st)
{
	int rc = sqlite3_step(st);

	(void)sqlite3_reset(st);
	return rc == SQLITE_DONE || rc == SQLITE_ROW ? SQLITE_OK : rc;
}

/* SQLITE_OK, or what the whole transaction fails with. */
static int run_op(struct journal_sql *s, struct journal_op *op)
{
	const struct verb *v = &verbs[op->verb];
	sqlite3_stmt *st = s->verb[op->verb];
	int rc = SQLITE_OK;

	for (int i = 0; i < v->texts && rc == SQLITE_OK; i++)
		rc = sqlite3_bind_text(st, i + 1, op->text[i], -1, SQLITE_STATIC);
	for (int i = 0; i < v->numbers && rc == SQLITE_OK; i++)
		rc = sqlite3_bind_int64(st, v->texts + i + 1, op->number[i]);
	if (rc == SQLITE_OK)
		rc = step_kept(st);
	if (op->durable && ((rc & 0xff) == SQLITE_CONSTRAINT || (rc & 0xff) == SQLITE_TOOBIG)) {
		op->rc = fail(s, rc, "write", &op->err);
		rc = SQLITE_OK;
	} else if (rc == SQLITE_OK && op->verb == JOURNAL_SAVE && sqlite3_changes(s->db) == 0) {
		op->rc = err_set(&op->err, -ENOENT, "journal %s knows no flip %s", s->file, op->text[0]);
	}
	(void)sqlite3_clear_bindings(st);
	return rc;
}

/* synchronous cannot be changed within a transaction; it takes effect while the statement is prepared. */
static int set_level(struct journal_sql *s, bool full)
{
	if (s->full == full)
		return SQLITE_OK;
	int rc = sqlite3_exec(
		s->db, full ? "PRAGMA synchronous = FULL" : "PRAGMA synchronous = NORMAL", NULL, NULL, NULL);
	if (rc == SQLITE_OK)
		s->full = full;
	return rc;
}

/*
 * After a failed fsync the kernel may take unwritten pages for written, and the refused transaction may be in
 * the log all the same: what counts is copied into the database and synced there, and the log cut off, before
 * anything builds on it.
 */
static int trust_again(struct journal_sql *s)
{
	int rc = SQLITE_OK;

	if (s->suspect)
		rc = sqlite3_wal_checkpoint_v2(s->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
	s->suspect = rc != SQLITE_OK;
	return rc;
}

static int transact(struct journal_sql *s, struct journal_op *list, bool durable)
{
	int rc = set_level(s, durable);

	if (rc == SQLITE_OK)
		rc = trust_again(s);
	if (rc == SQLITE_OK)
		rc = step_kept(s->begin);
	for (struct journal_op *op = list; op && rc == SQLITE_OK; op = op->next)
		rc = run_op(s, op);
	return rc == SQLITE_OK ? step_kept(s->commit) : rc;
}

int journal_sql_write(struct journal_sql *s, struct journal_op *list, bool durable, struct err *err)
{
	for (struct journal_op *op = list; op; op = op->next) {
		op->rc = 0;
		err_clear(&op->err);
	}
	int rc = transact(s, list, durable);
	if (rc == SQLITE_OK)
		return 0;
	int r = fail(s, rc, "write", err);
	if (!sqlite3_get_autocommit(s->db))
		(void)step_kept(s->rollback);
	(void)trust_again(s);
	for (struct journal_op *op = list; op; op = op->next) {
		op->rc = r;
		if (err)
			op->err = *err;
	}
	return r;
}

void journal_sql_tidy(struct journal_sql *s)
{
	(void)sqlite3_wal_checkpoint_v2(s->db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
}

/* Reading */

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

static int select_rows(struct journal_sql *s, const char *sql, const char *name, int limit, struct arena *a,
	struct rows *rows, struct err *err)
{
	sqlite3_stmt *st = NULL;
	int r = prepare(s, sql, &st, err);

	if (r < 0)
		return r;
	int rc = sqlite3_bind_text(st, 1, name, -1, SQLITE_STATIC);
	if (rc == SQLITE_OK)
		rc = sqlite3_bind_int(st, 2, limit < 1 ? -1 : limit);
	if (rc == SQLITE_OK) {
		while ((rc = sqlite3_step(st)) == SQLITE_ROW)
			rows_add(rows, st, a);
	}
	if (rc != SQLITE_DONE)
		r = fail(s, rc, "read", err);
	(void)sqlite3_finalize(st);
	return r;
}

int journal_sql_flips(struct journal_sql *s, enum journal_query query, const char *name, int limit,
	struct arena *a, struct journal_flip **ret, int *ret_n, struct err *err)
{
	struct rows rows = {.size = sizeof(struct journal_flip), .read = read_flip};
	int r = select_rows(s, queries[query], name, limit, a, &rows, err);

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
		flip_id, 0, a, &rows, err);

	if (r < 0)
		return r;
	*ret = (struct journal_record *)(void *)rows.data;
	*ret_n = (int)rows.n;
	return 0;
}
