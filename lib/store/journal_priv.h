/*
 * journal_priv: what the journal's files share. journal.c queues on the loop's thread; what is declared under
 * "On the lane" runs on the journal's own thread only, where nothing but libc, SQLite and lib/base is called.
 */
#ifndef STORE_JOURNAL_PRIV_H
#define STORE_JOURNAL_PRIV_H

#include "lib/io/fiber.h"
#include "lib/store/journal.h"

#define JOURNAL_TEXTS 9
#define JOURNAL_NUMBERS 3
#define JOURNAL_ID_SIZE 33

enum journal_verb { JOURNAL_BEGIN, JOURNAL_RECORD, JOURNAL_SAVE };

/* One statement to be: its parameters in the order of the statement, and what came of it. */
struct journal_op {
	struct journal_op *next;
	enum journal_verb verb;
	bool durable;
	char *text[JOURNAL_TEXTS]; /* [0] is the flip's id */
	int64_t number[JOURNAL_NUMBERS];
	int rc;
	struct err err;
};

/* A write or a call in the queue. A fiber waits for it, unless it is a write that is not durable. */
struct journal_entry {
	struct journal_op op;				      /* of a call: what came of it alone */
	int (*fn)(struct journal *, void *arg, struct err *); /* of a call; runs on the lane */
	void *arg;
	bool done;
	struct fiber_cond cond;
};

struct journal_loss;

/* Sent to the loop to flush; outlives the journal. */
struct journal_nudge {
	struct journal *journal;
};

struct journal {
	struct work_lane *lane;
	struct journal_dir *dir; /* this and sql: the lane's once open */
	struct journal_sql *sql;
	char id[JOURNAL_ID_SIZE];
	struct journal_op *head, **tail; /* pending */
	int batches;			 /* on the lane: 1 at most, but for the last */
	int64_t sent_us;		 /* when the last of them was sent there */
	int running;			 /* flips begun and not ended by this process */
	bool failing;
	struct journal_loss *losses;
	struct journal_nudge *nudge; /* NULL when none is under way */
};

/* journal_queue.c, on the loop's thread. */
struct journal_entry *journal_entry_new(enum journal_verb, bool durable);
/* Queues it; it is the queue's from here on. Only for what is not durable. */
void journal_add(struct journal *, struct journal_entry *);
/* Queues it, waits until it is on disk, frees it. */
int MAY_WAIT journal_add_durable(struct journal *, struct journal_entry *, struct err *) MUSTCHECK;
/* Sends what is queued to the lane. */
void journal_flush(struct journal *);
/* Runs fn(journal, arg, err) on the lane, after all that was written before, and waits for it. */
int MAY_WAIT journal_call(struct journal *, int (*fn)(struct journal *, void *arg, struct err *), void *arg,
	struct err *) MUSTCHECK;
/* Drops what is left, after the lane has gone. */
void journal_queue_end(struct journal *);

/* On the lane: journal_dir.c, the directory, its lock, the reserve. */
struct journal_dir;
/* Makes the directory (0700) when missing and locks it: -EBUSY with the holder's pid. */
int journal_dir_open(const char *path, struct journal_dir **ret, struct err *) MUSTCHECK;
void journal_dir_close(struct journal_dir *); /* takes NULL */
/* Makes the ballast unless it is there. 0, -ENOSPC, or what else was wrong. */
int journal_dir_reserve(struct journal_dir *, struct err *);
/* Gives the ballast up; false when there was none. */
bool journal_dir_release(struct journal_dir *);
/* Makes NAME (0600) when missing; its path into buf. */
int journal_dir_file(struct journal_dir *, const char *name, char *buf, size_t size, struct err *) MUSTCHECK;
/* Puts the names in the directory on disk. */
int journal_dir_sync(struct journal_dir *, struct err *) MUSTCHECK;

/* On the lane: journal_sql.c, the database. */
struct journal_sql;
int journal_sql_open(const char *file, struct journal_sql **ret, struct err *) MUSTCHECK;
void journal_sql_close(struct journal_sql *); /* takes NULL */
const char *journal_sql_file(const struct journal_sql *);
int journal_sql_exec(struct journal_sql *, const char *sql, struct err *) MUSTCHECK;
/* The first column of the first row; "" when there is none. */
int journal_sql_ask(struct journal_sql *, const char *sql, char *buf, size_t size, struct err *) MUSTCHECK;
/* journal_schema.c: recognises the file and checks it; its version. */
int journal_schema_check(struct journal_sql *, int64_t *ret_version, struct err *) MUSTCHECK;
/* Brings it from that version to this flipd's. */
int journal_schema_migrate(struct journal_sql *, int64_t version, struct err *) MUSTCHECK;
/* Says that the file is damaged and what to do; -EBADMSG. */
int journal_schema_damaged(const struct journal_sql *, const char *what, struct err *);
/* What to do about a failure. */
void journal_schema_hint(const struct journal_sql *, int code, struct err *);
int journal_sql_id(struct journal_sql *, char ret_id[JOURNAL_ID_SIZE], struct err *) MUSTCHECK;
/*
 * All of the list in one transaction, on disk at its end when durable. 0 when it was committed; then rc of
 * each op says whether its own statement was refused (-EEXIST, -ENOENT, -E2BIG; durable ones only). Else
 * nothing was written, and every rc is what is returned: -ENOSPC, -EIO, ...
 */
int journal_sql_write(struct journal_sql *, struct journal_op *list, bool durable, struct err *) MUSTCHECK;
/* SQLite's statement of that text; freed by sqlite3_finalize(). */
struct sqlite3_stmt;
int journal_sql_prepare(
	struct journal_sql *, const char *sql, struct sqlite3_stmt **ret, struct err *) MUSTCHECK;
/* rc is SQLite's; says what failed and what to do; returns the errno. */
int journal_sql_fail(struct journal_sql *, int rc, const char *doing, struct err *);
/* Moves what the log holds into the database proper. */
void journal_sql_tidy(struct journal_sql *);

/* On the lane: journal_rows.c, reading it. */
#define JOURNAL_MOST_BYTES ((size_t)8 << 20) /* of past flips at once: older ones are left out */

enum journal_query {
	JOURNAL_UNFINISHED,
	JOURNAL_HISTORY,
	JOURNAL_HISTORY_OF,
	JOURNAL_FLIPS,
	JOURNAL_MOVED,
	JOURNAL_REHEARSALS,
	JOURNAL_ONE
};
/* name: of the cluster or group, or the id; limit below 1: no limit. Texts are as found: any bytes, or NULL.
 */
int journal_sql_flips(struct journal_sql *, enum journal_query, const char *name, int limit, struct arena *,
	struct journal_flip **ret, int *ret_n, struct err *) MUSTCHECK;
int journal_sql_records(struct journal_sql *, const char *flip_id, struct arena *,
	struct journal_record **ret, int *ret_n, struct err *) MUSTCHECK;

#endif
