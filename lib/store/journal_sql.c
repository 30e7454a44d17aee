/*
 * journal_sql: the journal's database: schema, transactions, queries. The one place that knows SQLite. Everything
 * here runs on the journal's own thread, one connection, statements kept.
 *
 * The log is a WAL: a commit is one append, on disk with one fdatasync under synchronous=FULL and with none under
 * NORMAL (0.30 and 0.014 ms), where the next FULL commit takes it along. The log is moved into the database only when
 * no flip runs, never within somebody's blackout.
 */
#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/str.h"
#include "lib/store/journal_priv.h"

#define APPLICATION_ID 0x666c7064 /* "flpd" */
#define BUSY_MS 1000		  /* for somebody's shell that writes */
#define WAL_PAGES_MOST 16384	  /* 64 MiB: then it is moved even while flips run */

static const struct verb {
	const char *sql;
	int texts, numbers;
} verbs[] = {
	[JOURNAL_BEGIN] = {"INSERT INTO flip(id, cluster, grp, from_side, to_side, state, outcome, config, document,"
			   " started_at_ms, ended_at_ms) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
		9, 2},
	[JOURNAL_RECORD] = {"INSERT INTO record(flip_id, kind, step, data, at_ms, seq) VALUES(?1, ?2, ?3, ?4, ?5,"
			    " (SELECT coalesce(max(seq), 0) + 1 FROM record WHERE flip_id = ?1))",
		4, 1},
	[JOURNAL_SAVE] = {"UPDATE flip SET state = ?2, outcome = ?3, document = coalesce(?4, document),"
			  " ended_at_ms = ?5 WHERE id = ?1",
		4, 1},
};

#define FLIP_COLUMNS                                                                                         \
	"id, cluster, grp, from_side, to_side, state, outcome, config, document, started_at_ms, ended_at_ms"

static const char *const queries[] = {
	[JOURNAL_UNFINISHED] = "SELECT " FLIP_COLUMNS " FROM flip WHERE state IS NOT 'ended'"
			       " ORDER BY started_at_ms, id LIMIT ?2",
	[JOURNAL_HISTORY] = "SELECT " FLIP_COLUMNS " FROM flip ORDER BY started_at_ms DESC, id DESC LIMIT ?2",
	[JOURNAL_HISTORY_OF] = "SELECT " FLIP_COLUMNS " FROM flip WHERE cluster = ?1 OR grp = ?1"
			       " ORDER BY started_at_ms DESC, id DESC LIMIT ?2",
	[JOURNAL_ONE] = "SELECT " FLIP_COLUMNS " FROM flip WHERE id = ?1 LIMIT ?2",
};

/* Row i makes version i + 1 out of version i. Rows are only ever added. */
static const char *const migrations[] = {
	"CREATE TABLE meta(name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;"
	"INSERT INTO meta VALUES('journal_id', lower(hex(randomblob(8))));"
	"CREATE TABLE flip(id TEXT PRIMARY KEY NOT NULL, cluster TEXT NOT NULL, grp TEXT, from_side TEXT NOT NULL,"
	" to_side TEXT NOT NULL, state TEXT NOT NULL, outcome TEXT, started_at_ms INTEGER NOT NULL,"
	" ended_at_ms INTEGER NOT NULL, config TEXT NOT NULL, document TEXT);"
	"CREATE INDEX flip_started ON flip(started_at_ms);"
	"CREATE INDEX flip_unfinished ON flip(started_at_ms, id) WHERE state IS NOT 'ended';"
	"CREATE TABLE record(flip_id TEXT NOT NULL, seq INTEGER NOT NULL, at_ms INTEGER NOT NULL, kind TEXT NOT NULL,"
	" step TEXT NOT NULL, data TEXT NOT NULL, PRIMARY KEY(flip_id, seq)) WITHOUT ROWID;",
};

struct journal_sql {
	sqlite3 *db;
	char *file;
	sqlite3_stmt *verb[COUNT_OF(verbs)], *begin, *commit, *rollback;
	bool full;    /* synchronous is FULL */
	bool suspect; /* an fsync failed: what the kernel says of the log is no longer believed */
};

/* Errors */

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
		return -EEXIST;
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

static void add_hint(struct journal_sql *s, int code, struct err *err)
{
	if (code == -EBADMSG)
		err_hint(err,
			"stop flipd, keep a copy of the directory, then try `sqlite3 %s .recover`, or move the "
			"file away: flips it knew of as unfinished must then be resolved by hand",
			s->file);
	else if (code == -ENOSPC)
		err_hint(err, "make room on the file system of %s", s->file);
	else if (code == -EBUSY)
		err_hint(err, "another program holds a lock on %s", s->file);
}

/* rc is SQLite's; returns the errno. */
static int fail(struct journal_sql *s, int rc, const char *doing, struct err *err)
{
	int code = errno_of(s, rc);
	const char *text = sqlite3_extended_errcode(s->db) == rc ? sqlite3_errmsg(s->db) : sqlite3_errstr(rc);

	if (rc == SQLITE_IOERR_FSYNC || rc == SQLITE_IOERR_DIR_FSYNC)
		s->suspect = true;
	(void)err_set(err, code, "journal %s: %s: %s", s->file, doing, text);
	add_hint(s, code, err);
	return code;
}

static int exec(struct journal_sql *s, const char *sql, const char *doing, struct err *err)
{
	int rc = sqlite3_exec(s->db, sql, NULL, NULL, NULL);

	return rc == SQLITE_OK ? 0 : fail(s, rc, doing, err);
}

static int prepare(struct journal_sql *s, const char *sql, sqlite3_stmt **ret, struct err *err)
{
	int rc = sqlite3_prepare_v3(s->db, sql, -1, SQLITE_PREPARE_PERSISTENT, ret, NULL);

	return rc == SQLITE_OK ? 0 : fail(s, rc, "prepare", err);
}

/* The first column of the first row; "" when there is none. */
static int ask(struct journal_sql *s, const char *sql, char *buf, size_t size, struct err *err)
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

static int damaged(struct journal_sql *s, const char *what, struct err *err)
{
	(void)err_set(err, -EBADMSG, "journal %s is damaged: %s", s->file, what);
	add_hint(s, -EBADMSG, err);
	return -EBADMSG;
}

/* 0 with the schema's version, 0 for a file without anything in it. */
static int check_version(struct journal_sql *s, int64_t *ret_version, struct err *err)
{
	char application[32], version[32], objects[32];
	int64_t app = 0, ver = 0;
	int r = ask(s, "PRAGMA application_id", application, sizeof(application), err);

	if (r == 0)
		r = ask(s, "PRAGMA user_version", version, sizeof(version), err);
	if (r == 0)
		r = ask(s, "SELECT count(*) FROM sqlite_schema", objects, sizeof(objects), err);
	if (r < 0)
		return r;
	if (str_parse_int(application, INT32_MIN, INT32_MAX, &app) < 0 ||
		str_parse_int(version, INT32_MIN, INT32_MAX, &ver) < 0)
		return damaged(s, "no version", err);
	bool empty = app == 0 && ver == 0 && strcmp(objects, "0") == 0;
	if (!empty && app != APPLICATION_ID) {
		(void)err_set(err, -EINVAL, "%s is a database, but not flipd's journal", s->file);
		err_hint(err, "give flipd a state_dir of its own");
		return -EINVAL;
	}
	if (ver > (int64_t)COUNT_OF(migrations)) {
		(void)err_set(err, -ENOTSUP, "journal %s is of a newer flipd: its schema is %lld, this one knows %zu",
			s->file, (long long)ver, COUNT_OF(migrations));
		err_hint(err, "install that version again, or a newer one");
		return -ENOTSUP;
	}
	if (ver < 0 || (ver == 0 && !empty))
		return damaged(s, "no schema version", err);
	*ret_version = ver;
	return 0;
}

static int check_whole(struct journal_sql *s, struct err *err)
{
	char answer[256];
	int r = ask(s, "PRAGMA quick_check(1)", answer, sizeof(answer), err);

	if (r < 0)
		return r;
	return strcmp(answer, "ok") == 0 ? 0 : damaged(s, answer, err);
}

static int use_wal(struct journal_sql *s, struct err *err)
{
	char mode[32];
	int r = ask(s, "PRAGMA journal_mode = WAL", mode, sizeof(mode), err);

	if (r < 0)
		return r;
	if (strcmp(mode, "wal") != 0)
		return err_set(err, -ENOTSUP, "journal %s: no WAL on this file system", s->file);
	(void)sqlite3_wal_autocheckpoint(s->db, WAL_PAGES_MOST);
	/* The log's blocks are kept when it is closed: rewriting them needs no room and no metadata. */
	int keep = 1;
	(void)sqlite3_file_control(s->db, "main", SQLITE_FCNTL_PERSIST_WAL, &keep);
	s->full = true;
	return exec(s, "PRAGMA synchronous = FULL; PRAGMA trusted_schema = OFF", "set up", err);
}

static int migrate(struct journal_sql *s, int64_t version, struct err *err)
{
	for (size_t i = (size_t)version; i < COUNT_OF(migrations); i++) {
		char *sql = sqlite3_mprintf("BEGIN IMMEDIATE; %s; PRAGMA application_id = %d; PRAGMA user_version = %d;"
					    " COMMIT",
			migrations[i], APPLICATION_ID, (int)i + 1);
		if (!sql)
			return err_set(err, -ENOMEM, "out of memory");
		int r = exec(s, sql, "set up its tables", err);
		sqlite3_free(sql);
		if (r < 0)
			return r;
	}
	return 0;
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

static int set_up(struct journal_sql *s, struct err *err)
{
	int64_t version = 0;
	int r = check_version(s, &version, err);

	if (r == 0)
		r = use_wal(s, err);
	if (r == 0)
		r = check_whole(s, err);
	if (r == 0)
		r = migrate(s, version, err);
	return r == 0 ? prepare_all(s, err) : r;
}

int journal_sql_open(const char *file, struct journal_sql **ret, struct err *err)
{
	struct journal_sql *s = xcalloc(1, sizeof(*s));
	int r;

	s->file = xstrdup(file);
	int rc = sqlite3_open_v2(file, &s->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE,
		NULL);
	if (rc != SQLITE_OK) {
		r = fail(s, rc, "open", err);
	} else {
		(void)sqlite3_busy_timeout(s->db, BUSY_MS);
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
	char id[JOURNAL_ID_SIZE];
	int r = ask(s, "SELECT value FROM meta WHERE name = 'journal_id'", id, sizeof(id), err);

	if (r < 0)
		return r;
	if (!id[0])
		return damaged(s, "it has no name", err);
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
	if ((rc & 0xff) == SQLITE_CONSTRAINT || (rc & 0xff) == SQLITE_TOOBIG) {
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

static int transact(struct journal_sql *s, struct journal_op *list, bool durable)
{
	int rc = set_level(s, durable);

	/* After a failed fsync the kernel may take unwritten pages for written: what the log still shows is copied
	 * into the database and synced there before anything builds on it. */
	if (rc == SQLITE_OK && s->suspect) {
		rc = sqlite3_wal_checkpoint_v2(s->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
		s->suspect = rc != SQLITE_OK;
	}
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
