/*
 * journal_sql: the journal's database: schema, transactions. It and journal_rows know SQLite, nothing else
 * does. Everything here runs on the journal's own thread, one connection, statements kept.
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

int journal_sql_fail(struct journal_sql *s, int rc, const char *doing, struct err *err)
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

	return rc == SQLITE_OK ? 0 : journal_sql_fail(s, rc, "set up", err);
}

int journal_sql_prepare(struct journal_sql *s, const char *sql, sqlite3_stmt **ret, struct err *err)
{
	int rc = sqlite3_prepare_v3(s->db, sql, -1, SQLITE_PREPARE_PERSISTENT, ret, NULL);

	return rc == SQLITE_OK ? 0 : journal_sql_fail(s, rc, "prepare", err);
}

int journal_sql_ask(struct journal_sql *s, const char *sql, char *buf, size_t size, struct err *err)
{
	sqlite3_stmt *st = NULL;
	int r = journal_sql_prepare(s, sql, &st, err);

	if (r < 0)
		return r;
	int rc = sqlite3_step(st);
	if (rc == SQLITE_ROW) {
		const char *text = (const char *)sqlite3_column_text(st, 0);
		str_copy(buf, size, text ? text : "");
	} else if (rc == SQLITE_DONE) {
		str_copy(buf, size, "");
	} else {
		r = journal_sql_fail(s, rc, "read", err);
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
	int r = journal_sql_prepare(s, "BEGIN IMMEDIATE", &s->begin, err);

	if (r == 0)
		r = journal_sql_prepare(s, "COMMIT", &s->commit, err);
	if (r == 0)
		r = journal_sql_prepare(s, "ROLLBACK", &s->rollback, err);
	for (size_t i = 0; i < COUNT_OF(verbs) && r == 0; i++)
		r = journal_sql_prepare(s, verbs[i].sql, &s->verb[i], err);
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
		r = journal_sql_fail(s, rc, "open", err);
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
		op->rc = journal_sql_fail(s, rc, "write", &op->err);
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
	int r = journal_sql_fail(s, rc, "write", err);
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
