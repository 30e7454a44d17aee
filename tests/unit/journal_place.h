/* journal_place: an empty directory for each test of the journal, and a fiber to run it in. */
#ifndef TESTS_JOURNAL_PLACE_H
#define TESTS_JOURNAL_PLACE_H

#include <ftw.h>
#include <setjmp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <cmocka.h>

#include "lib/base/str.h"
#include "lib/io/fiber.h"
#include "lib/io/loop.h"
#include "lib/store/journal.h"

static char top[64];   /* the test's own */
static char dir[96];   /* state_dir: top/state, not there yet */
static char file[128]; /* dir/journal.db */

static bool in_fiber;

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st, (void)flag, (void)ftw;
	return remove(path);
}

static int place_make(void **state)
{
	(void)state;
	(void)snprintf(top, sizeof(top), "%s/journal-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
	if (!mkdtemp(top))
		return -1;
	(void)snprintf(dir, sizeof(dir), "%s/state", top);
	(void)snprintf(file, sizeof(file), "%s/journal.db", dir);
	return loop_init();
}

static int place_remove(void **state)
{
	(void)state;
	/* A test that failed left its fiber by a jump: the loop is lost, but what failed is still printed. */
	if (!in_fiber)
		loop_free();
	return nftw(top, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* Runs the loop until fn has returned. */
static void run(void (*fn)(void *arg), void *arg)
{
	struct fiber *f = fiber_spawn("test", fn, arg);

	fiber_detach(f);
	in_fiber = true;
	loop_run();
	in_fiber = false;
	assert_int_equal(fiber_count(), 0);
}

/* By somebody else's hand, while no journal is open. */
static inline void by_hand(const char *sql)
{
	sqlite3 *db;
	char *message = NULL;

	assert_int_equal(sqlite3_open(file, &db), SQLITE_OK);
	if (sqlite3_exec(db, sql, NULL, NULL, &message) != SQLITE_OK)
		fail_msg("%s: %s", sql, message);
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static inline struct journal *open_journal(void)
{
	struct journal *j = NULL;
	struct err err = {0};

	if (journal_open(dir, &j, &err) < 0)
		fail_msg("%s", err_text(&err));
	return j;
}

/* What opening says; the message into err. */
static inline int try_open(struct err *err)
{
	struct journal *j = NULL;

	err_clear(err);
	int r = journal_open(dir, &j, err);
	assert_true((r == 0) == (j != NULL));
	journal_close(j);
	return r;
}

static inline struct journal_flip flip_of(const char *id, const char *cluster, int64_t at)
{
	return (struct journal_flip){.id = id,
		.cluster = cluster,
		.from = "source",
		.to = "target",
		.state = "running",
		.config = "a: 1\n",
		.started_at_ms = at};
}

static inline void begin(struct journal *j, const char *id, const char *cluster, int64_t at)
{
	struct journal_flip f = flip_of(id, cluster, at);
	struct err err = {0};

	if (journal_begin(j, &f, &err) < 0)
		fail_msg("%s", err_text(&err));
}

static inline void expect_refused(int code, const char *says)
{
	struct err err = {0};

	assert_int_equal(try_open(&err), code);
	if (!strstr(err.message, says))
		fail_msg("\"%s\" does not say \"%s\"", err.message, says);
}

static inline void make_journal(void)
{
	struct journal *j = open_journal();

	begin(j, "f", "c", 1);
	journal_close(j);
}

static inline int write_one(
	struct journal *j, const char *id, const char *kind, bool durable, struct err *err)
{
	return journal_write(j, id, kind, "", "{}", durable, err);
}

static inline int record_count(struct journal *j, const char *id)
{
	struct arena *a = arena_new();
	struct journal_flip flip;
	struct journal_record *r;
	int n = -1;

	assert_int_equal(journal_load(j, a, id, &flip, &r, &n, NULL), 0);
	arena_free(a);
	return n;
}

static inline bool there(const char *name)
{
	char path[160];
	struct stat st;

	(void)snprintf(path, sizeof(path), "%s/%s", dir, name);
	return stat(path, &st) == 0 && st.st_blocks * 512 >= 1024 * 1024;
}

#endif
