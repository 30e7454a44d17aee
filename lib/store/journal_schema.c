/*
 * journal_schema: the journal's tables and how they came to be: a file is recognised, checked and brought to
 * the version that this flipd knows before anything is read from it. It is never deleted or made anew.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/str.h"
#include "lib/store/journal_priv.h"

#define APPLICATION_ID "1718382692" /* "flpd" */

/* Row i makes version i + 1 out of version i. Rows are only ever added. */
static const char *const migrations[] = {
	"CREATE TABLE meta(name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;"
	"INSERT INTO meta VALUES('journal_id', lower(hex(randomblob(8))));"
	"CREATE TABLE flip(id TEXT PRIMARY KEY NOT NULL, cluster TEXT NOT NULL, grp TEXT,"
	" from_side TEXT NOT NULL, to_side TEXT NOT NULL, state TEXT NOT NULL, outcome TEXT,"
	" started_at_ms INTEGER NOT NULL, ended_at_ms INTEGER NOT NULL, config TEXT NOT NULL, document TEXT);"
	"CREATE INDEX flip_started ON flip(started_at_ms);"
	"CREATE INDEX flip_unfinished ON flip(started_at_ms, id) WHERE state IS NOT 'ended';"
	"CREATE TABLE record(flip_id TEXT NOT NULL, seq INTEGER NOT NULL, at_ms INTEGER NOT NULL,"
	" kind TEXT NOT NULL, step TEXT NOT NULL, data TEXT NOT NULL, PRIMARY KEY(flip_id, seq))"
	" WITHOUT ROWID;",
	"ALTER TABLE flip ADD COLUMN rehearsal INTEGER NOT NULL DEFAULT 0;",
};

void journal_schema_hint(const struct journal_sql *s, int code, struct err *err)
{
	const char *file = journal_sql_file(s);

	if (code == -EBADMSG)
		err_hint(err,
			"stop flipd, keep a copy of the directory, then try `sqlite3 %s .recover`, or move "
			"the "
			"file away: flips it knew of as unfinished must then be resolved by hand",
			file);
	else if (code == -ENOSPC)
		err_hint(err, "make room on the file system of %s", file);
	else if (code == -EBUSY)
		err_hint(err, "another program holds a lock on %s", file);
}

int journal_schema_damaged(const struct journal_sql *s, const char *what, struct err *err)
{
	(void)err_set(err, -EBADMSG, "journal %s is damaged: %s", journal_sql_file(s), what);
	journal_schema_hint(s, -EBADMSG, err);
	return -EBADMSG;
}

/* What a file says of itself. */
struct label {
	char application[32], version[32], objects[32];
};

static int read_label(struct journal_sql *s, struct label *l, struct err *err)
{
	int r = journal_sql_ask(s, "PRAGMA application_id", l->application, sizeof(l->application), err);

	if (r == 0)
		r = journal_sql_ask(s, "PRAGMA user_version", l->version, sizeof(l->version), err);
	if (r == 0)
		r = journal_sql_ask(
			s, "SELECT count(*) FROM sqlite_schema", l->objects, sizeof(l->objects), err);
	return r;
}

/* The schema's version; 0 for a file with nothing in it. */
static int check_version(struct journal_sql *s, int64_t *ret_version, struct err *err)
{
	struct label l;
	int64_t version = 0;
	int r = read_label(s, &l, err);

	if (r < 0)
		return r;
	bool empty =
		strcmp(l.application, "0") == 0 && strcmp(l.version, "0") == 0 && strcmp(l.objects, "0") == 0;
	if (!empty && strcmp(l.application, APPLICATION_ID) != 0) {
		(void)err_set(err, -EINVAL, "%s is a database, but not flipd's journal", journal_sql_file(s));
		err_hint(err, "give flipd a state_dir of its own");
		return -EINVAL;
	}
	if (str_parse_int(l.version, empty ? 0 : 1, INT32_MAX, &version) < 0)
		return journal_schema_damaged(s, "it has no schema version", err);
	if (version > (int64_t)COUNT_OF(migrations)) {
		(void)err_set(err, -ENOTSUP,
			"journal %s is of a newer flipd: its schema is %lld, this one knows %zu",
			journal_sql_file(s), (long long)version, COUNT_OF(migrations));
		err_hint(err, "install that version again, or a newer one");
		return -ENOTSUP;
	}
	*ret_version = version;
	return 0;
}

static int check_whole(struct journal_sql *s, struct err *err)
{
	char answer[256];
	int r = journal_sql_ask(s, "PRAGMA quick_check(1)", answer, sizeof(answer), err);

	if (r < 0)
		return r;
	return strcmp(answer, "ok") == 0 ? 0 : journal_schema_damaged(s, answer, err);
}

static int migrate(struct journal_sql *s, int64_t version, struct err *err)
{
	int r = 0;

	for (size_t i = (size_t)version; i < COUNT_OF(migrations) && r == 0; i++) {
		struct strbuf sql = {0};
		strbuf_addf(&sql,
			"BEGIN IMMEDIATE; %s PRAGMA application_id = %s; PRAGMA user_version = %zu; COMMIT",
			migrations[i], APPLICATION_ID, i + 1);
		r = journal_sql_exec(s, strbuf_str(&sql), err);
		strbuf_free(&sql);
	}
	return r;
}

int journal_schema_check(struct journal_sql *s, int64_t *ret_version, struct err *err)
{
	int64_t version = 0;
	int r = check_version(s, &version, err);

	if (r == 0)
		r = check_whole(s, err);
	if (r == 0)
		*ret_version = version;
	return r;
}

int journal_schema_migrate(struct journal_sql *s, int64_t version, struct err *err)
{
	int r = migrate(s, version, err);

	/*
	 * A new log and database get their blocks now, by something large that comes and goes: to write over
	 * blocks takes half the time that it takes to append new ones (0.2 ms and 0.45).
	 */
	if (r == 0 && version == 0)
		r = journal_sql_exec(s,
			"CREATE TABLE room(x); INSERT INTO room VALUES(zeroblob(524288)); DROP TABLE room",
			err);
	return r;
}
