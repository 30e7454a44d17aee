/* The journal when the file is damaged, foreign or locked, and when the disk is full or broken. */
#include "tests/unit/journal_faults.h"
#include "tests/unit/journal_place.h"

/* By somebody else's hand, while no journal is open. */
static void by_hand(const char *sql)
{
	sqlite3 *db;
	char *message = NULL;

	assert_int_equal(sqlite3_open(file, &db), SQLITE_OK);
	if (sqlite3_exec(db, sql, NULL, NULL, &message) != SQLITE_OK)
		fail_msg("%s: %s", sql, message);
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void make_journal(void)
{
	struct journal *j = open_journal();

	begin(j, "f", "c", 1);
	journal_close(j);
}

static void make_dir(void)
{
	assert_int_equal(mkdir(dir, 0700), 0);
}

static void expect_refused(int code, const char *says)
{
	struct err err = {0};

	assert_int_equal(try_open(&err), code);
	if (!strstr(err.message, says))
		fail_msg("\"%s\" does not say \"%s\"", err.message, says);
}

static void put(const char *path, const char *bytes, off_t at)
{
	int fd = open(path, O_RDWR | O_CREAT, 0600);

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, bytes, strlen(bytes), at), (ssize_t)strlen(bytes));
	(void)close(fd);
}

static void garbage_is_kept(void *arg)
{
	static const char garbage[] = "this is no database, however long one looks at it. ";
	char back[sizeof(garbage)] = {0};
	struct err err = {0};

	(void)arg;
	make_dir();
	for (int i = 0; i < 100; i++)
		put(file, garbage, (off_t)(i * (sizeof(garbage) - 1)));
	assert_int_equal(try_open(&err), -EBADMSG);
	assert_non_null(strstr(err.hint, "keep a copy"));
	int fd = open(file, O_RDONLY);
	assert_int_equal(read(fd, back, sizeof(back) - 1), (ssize_t)sizeof(back) - 1);
	(void)close(fd);
	assert_string_equal(back, garbage);
}

static void test_garbage_is_kept(void **state)
{
	(void)state;
	run(garbage_is_kept, NULL);
}

/* Each page in its turn; what was there is put back. The log must not cover it up. */
static void damaged_pages_are_found(void *arg)
{
	char wal[160];
	struct err err = {0};
	struct stat st;
	char was[9] = {0};

	(void)arg;
	make_journal();
	assert_int_equal(stat(file, &st), 0);
	assert_true(st.st_size >= 6 * 4096);
	(void)snprintf(wal, sizeof(wal), "%s-wal", file);
	assert_int_equal(unlink(wal), 0);
	for (off_t at = 4096; at < st.st_size; at += 4096) {
		int fd = open(file, O_RDWR);
		assert_int_equal(pread(fd, was, 8, at), 8);
		assert_int_equal(pwrite(fd, "DAMAGED!", 8, at), 8);
		expect_refused(-EBADMSG, "journal");
		assert_int_equal(pwrite(fd, was, 8, at), 8);
		(void)close(fd);
	}
	assert_int_equal(try_open(&err), 0);
}

static void test_damaged_pages_are_found(void **state)
{
	(void)state;
	run(damaged_pages_are_found, NULL);
}

static void damage_met_later_is_an_error(void *arg)
{
	struct journal *j;
	struct journal_flip *flips;
	struct arena *a = arena_new();
	struct err err = {0};
	int n;

	(void)arg;
	make_journal();
	j = open_journal();
	/* By somebody else's hand, while it is open. */
	by_hand("DROP TABLE flip");
	assert_true(journal_unfinished(j, a, &flips, &n, &err) < 0);
	assert_non_null(strstr(err.message, "flip"));
	err_clear(&err);
	assert_true(journal_save(j, "f", "ended", "done", 1, NULL, &err) < 0);
	assert_false(journal_ok(j));
	journal_close(j);
	arena_free(a);
}

static void test_damage_met_later_is_an_error(void **state)
{
	(void)state;
	run(damage_met_later_is_an_error, NULL);
}

static void other_files_are_refused(void *arg)
{
	(void)arg;
	make_dir();
	by_hand("CREATE TABLE theirs(x)");
	expect_refused(-EINVAL, "not flipd's journal");
	by_hand("PRAGMA application_id = 1718382692");
	expect_refused(-EBADMSG, "no schema version");
	by_hand("PRAGMA user_version = 1000");
	expect_refused(-ENOTSUP, "newer flipd");
	assert_int_equal(unlink(file), 0);
	make_journal();
	by_hand("PRAGMA user_version = -1");
	expect_refused(-EBADMSG, "no schema version");
	by_hand("PRAGMA user_version = 1; DELETE FROM meta");
	expect_refused(-EBADMSG, "no name");
	by_hand("DROP TABLE meta");
	expect_refused(-EIO, "meta");
	by_hand("DROP TABLE record");
	expect_refused(-EIO, "record");
}

static void test_other_files_are_refused(void **state)
{
	(void)state;
	run(other_files_are_refused, NULL);
}

static void places_that_cannot_be(void *arg)
{
	char lock[160], longer[4200];
	struct journal *j = NULL;
	struct err err = {0};

	(void)arg;
	put(dir, "a file", 0);
	expect_refused(-ENOTDIR, "state_dir");
	assert_int_equal(unlink(dir), 0);
	(void)snprintf(lock, sizeof(lock), "%s/lock", dir);
	make_dir();
	assert_int_equal(mkdir(lock, 0700), 0);
	expect_refused(-EISDIR, "lock");
	assert_int_equal(rmdir(lock), 0);
	assert_int_equal(mkdir(file, 0700), 0);
	expect_refused(-EISDIR, "journal.db");
	assert_int_equal(rmdir(file), 0);
	assert_int_equal(rmdir(dir) == 0 || errno == ENOTEMPTY, 1);
	assert_int_equal(journal_open("/nowhere/at/all", &j, &err), -ENOENT);
	assert_null(j);
	assert_true(err.hint[0]);
	/* As long as a path may be, and no room for the file's name behind it. */
	str_copy(longer, sizeof(longer), dir);
	size_t n = strlen(longer);
	memset(longer + n, '/', 4090 - n);
	longer[4090] = '\0';
	err_clear(&err);
	assert_int_equal(journal_open(longer, &j, &err), -ENAMETOOLONG);
}

static void test_places_that_cannot_be(void **state)
{
	(void)state;
	run(places_that_cannot_be, NULL);
}

/* Records that no flipd wrote. */
static void damaged_texts_are_shown(void *arg)
{
	static const char *const expected[] = {"{\"good\":1}", "{\"damaged\":\"no json\"}",
		"{\"damaged\":\"[1]\"}", "{\"damaged\":\"\"}", "{\"damaged\":\"42\"}"};
	struct journal_record *r;
	struct journal_flip flip;
	struct arena *a = arena_new();
	struct journal *j;
	int n;

	(void)arg;
	make_journal();
	by_hand("INSERT INTO record VALUES('f', 1, 0, 'note', 's', '{\"good\":1}'),"
		" ('f', 2, 0, 'note', 's', 'no json'), ('f', 3, 0, 'note', 's', '[1]'),"
		" ('f', 4, 0, 'note', 's', x'00ff'), ('f', 5, 'then', 'note', 's', 42),"
		" ('f', 6, 0, x'6eff', x'80', x'7b22fffe');"
		"UPDATE flip SET state = x'c0c1', document = x'fe', config = x'610a', started_at_ms = 'x'");
	j = open_journal();
	assert_int_equal(journal_load(j, a, "f", &flip, &r, &n, NULL), 0);
	assert_int_equal(n, 6);
	for (size_t i = 0; i < COUNT_OF(expected); i++)
		assert_string_equal(r[i].data, expected[i]);
	assert_string_equal(r[5].kind, "n?");
	assert_string_equal(r[5].step, "?");
	assert_true(str_utf8_valid(r[5].data, strlen(r[5].data)));
	assert_string_equal(flip.state, "??");
	assert_string_equal(flip.document, "?");
	assert_string_equal(flip.config, "a\n");
	assert_int_equal(flip.started_at_ms, 0);
	journal_close(j);
	arena_free(a);
}

static void test_damaged_texts_are_shown(void **state)
{
	(void)state;
	run(damaged_texts_are_shown, NULL);
}

static int write_one(struct journal *j, const char *id, const char *kind, bool durable, struct err *err)
{
	return journal_write(j, id, kind, "", "{}", durable, err);
}

static void locked_by_another_program(void *arg)
{
	struct journal *j = open_journal();
	struct err err = {0};
	sqlite3 *db;

	(void)arg;
	begin(j, "f", "c", 1);
	assert_int_equal(sqlite3_open(file, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(write_one(j, "f", "fence", true, &err), -EBUSY);
	assert_non_null(strstr(err.hint, "another program"));
	assert_false(journal_ok(j));
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
	assert_int_equal(write_one(j, "f", "fence", true, NULL), 0);
	assert_true(journal_ok(j));
	journal_close(j);
}

static void test_locked_by_another_program(void **state)
{
	(void)state;
	run(locked_by_another_program, NULL);
}

static bool there(const char *name)
{
	char path[160];
	struct stat st;

	(void)snprintf(path, sizeof(path), "%s/%s", dir, name);
	return stat(path, &st) == 0 && st.st_blocks * 512 >= 1024 * 1024;
}

static void full_disk_takes_the_ballast(void *arg)
{
	struct journal *j = open_journal();
	struct err err = {0};

	(void)arg;
	begin(j, "f", "c", 1);
	assert_int_equal(journal_reserve(j, &err), 0);
	assert_true(there("ballast"));
	fail_commits(1, SQLITE_FULL);
	assert_int_equal(write_one(j, "f", "fence", true, &err), 0);
	assert_false(there("ballast"));
	assert_true(journal_ok(j));
	/* Nothing is left to give up. */
	fail_commits(1, SQLITE_FULL);
	assert_int_equal(write_one(j, "f", "intent", true, &err), -ENOSPC);
	assert_non_null(strstr(err.hint, "make room"));
	assert_false(journal_ok(j));
	atomic_store(&faults.reserve_errno, ENOSPC);
	err_clear(&err);
	assert_int_equal(journal_reserve(j, &err), -ENOSPC);
	assert_non_null(strstr(err.message, "no room"));
	atomic_store(&faults.reserve_errno, 0);
	assert_int_equal(journal_reserve(j, NULL), 0);
	assert_true(there("ballast"));
	/* The same as an I/O error. */
	atomic_store(&faults.system_errno, ENOSPC);
	fail_commits(2, SQLITE_IOERR_WRITE);
	assert_int_equal(write_one(j, "f", "intent", true, NULL), -ENOSPC);
	atomic_store(&faults.system_errno, 0);
	assert_false(there("ballast"));
	assert_int_equal(write_one(j, "f", "intent", true, NULL), 0);
	journal_close(j);
}

static void test_full_disk_takes_the_ballast(void **state)
{
	(void)state;
	run(full_disk_takes_the_ballast, NULL);
}

static void other_failures_have_names(void *arg)
{
	static const struct {
		int rc, code;
	} rows[] = {{SQLITE_IOERR_WRITE, -EIO}, {SQLITE_CORRUPT, -EBADMSG}, {SQLITE_READONLY, -EROFS},
		{SQLITE_NOMEM, -ENOMEM}, {SQLITE_LOCKED, -EBUSY}, {SQLITE_MISUSE, -EIO},
		{SQLITE_CONSTRAINT_CHECK, -EINVAL}, {SQLITE_TOOBIG, -E2BIG}};
	struct journal *j = open_journal();

	(void)arg;
	begin(j, "f", "c", 1);
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct err err = {0};
		fail_commits(1, rows[i].rc);
		assert_int_equal(write_one(j, "f", "note", true, &err), rows[i].code);
		assert_int_equal(err.code, rows[i].code);
		assert_non_null(strstr(err.message, sqlite3_errstr(rows[i].rc)));
	}
	journal_close(j);
}

static void test_other_failures_have_names(void **state)
{
	(void)state;
	run(other_failures_have_names, NULL);
}

static int record_count(struct journal *j, const char *id)
{
	struct arena *a = arena_new();
	struct journal_flip flip;
	struct journal_record *r;
	int n = -1;

	assert_int_equal(journal_load(j, a, id, &flip, &r, &n, NULL), 0);
	arena_free(a);
	return n;
}

/* A record that was not waited for and got lost fails the flip's next durable write, once, and no other
 * flip's. */
static void losses_are_reported(void *arg)
{
	struct journal *j = open_journal();
	struct err err = {0};

	(void)arg;
	begin(j, "f", "c", 1);
	begin(j, "g", "d", 1);
	fail_commits(1, SQLITE_IOERR);
	assert_int_equal(write_one(j, "f", "begin", false, NULL), 0);
	assert_int_equal(write_one(j, "f", "end", false, NULL), 0);
	assert_int_equal(record_count(j, "f"), 0);
	assert_int_equal(write_one(j, "g", "fence", true, NULL), 0);
	assert_int_equal(write_one(j, "f", "fence", true, &err), -EIO);
	assert_non_null(strstr(err.message, "an earlier record"));
	assert_int_equal(record_count(j, "f"), 0);
	assert_int_equal(write_one(j, "f", "fence", true, NULL), 0);
	assert_int_equal(record_count(j, "f"), 1);

	/* Being lost while the durable one is asked for: that is not written either. */
	fail_commits(1, SQLITE_IOERR);
	assert_int_equal(write_one(j, "f", "begin", false, NULL), 0);
	assert_int_equal(fiber_yield(), 0);
	assert_int_equal(write_one(j, "f", "fence", true, NULL), -EIO);
	assert_int_equal(record_count(j, "f"), 1);
	/* Never asked for: forgotten with the journal. */
	fail_commits(1, SQLITE_IOERR);
	assert_int_equal(write_one(j, "f", "begin", false, NULL), 0);
	assert_int_equal(record_count(j, "g"), 1);
	journal_close(j);
}

static void test_losses_are_reported(void **state)
{
	(void)state;
	run(losses_are_reported, NULL);
}

static void after_a_failed_fsync(void *arg)
{
	struct journal *j = open_journal();
	struct stat st;
	char wal[160];

	(void)arg;
	begin(j, "f", "c", 1);
	(void)snprintf(wal, sizeof(wal), "%s-wal", file);
	assert_int_equal(stat(wal, &st), 0);
	assert_true(st.st_size > 0);
	fail_commits(1, SQLITE_IOERR_FSYNC);
	assert_int_equal(write_one(j, "f", "fence", true, NULL), -EIO);
	/* The log was moved into the database and cut off: the refused record is nowhere. */
	assert_int_equal(stat(wal, &st), 0);
	assert_int_equal(st.st_size, 0);
	assert_int_equal(write_one(j, "f", "fence", true, NULL), 0);
	assert_int_equal(stat(wal, &st), 0);
	assert_in_range(st.st_size, 4096, 4 * 4200);
	assert_int_equal(record_count(j, "f"), 1);
	journal_close(j);
}

static void test_after_a_failed_fsync(void **state)
{
	(void)state;
	run(after_a_failed_fsync, NULL);
}

/* What waits goes with the durable write, in its transaction. */
static void batches(void *arg)
{
	struct journal *j = open_journal();

	(void)arg;
	begin(j, "f", "c", 1);
	int before = atomic_load(&faults.commits);
	for (int i = 0; i < 10; i++)
		assert_int_equal(write_one(j, "f", "note", false, NULL), 0);
	assert_int_equal(write_one(j, "f", "fence", true, NULL), 0);
	assert_int_equal(atomic_load(&faults.commits), before + 1);
	assert_int_equal(record_count(j, "f"), 11);
	journal_close(j);
}

static void test_batches(void **state)
{
	(void)state;
	run(batches, NULL);
}

static void open_needs_the_directory_on_disk(void *arg)
{
	(void)arg;
	atomic_store(&faults.fsync_errno, EIO);
	expect_refused(-EIO, "state_dir");
	/* A full disk at the start: the ballast of the last run is given up, and it is tried again. */
	atomic_store(&faults.fsync_errno, 0);
	make_journal();
	assert_true(there("ballast"));
	atomic_store(&faults.fsync_errno, ENOSPC);
	expect_refused(-ENOSPC, "state_dir");
	atomic_store(&faults.fsync_errno, 0);
	assert_false(there("ballast"));
	struct err err = {0};
	assert_int_equal(try_open(&err), 0);
	assert_true(there("ballast"));
}

static void test_open_needs_the_directory_on_disk(void **state)
{
	(void)state;
	run(open_needs_the_directory_on_disk, NULL);
}

int main(void)
{
#define PLACED(f) cmocka_unit_test_setup_teardown(f, place_make, place_remove)
	const struct CMUnitTest tests[] = {
		PLACED(test_garbage_is_kept),
		PLACED(test_damaged_pages_are_found),
		PLACED(test_damage_met_later_is_an_error),
		PLACED(test_other_files_are_refused),
		PLACED(test_places_that_cannot_be),
		PLACED(test_damaged_texts_are_shown),
		PLACED(test_locked_by_another_program),
		PLACED(test_full_disk_takes_the_ballast),
		PLACED(test_other_failures_have_names),
		PLACED(test_losses_are_reported),
		PLACED(test_after_a_failed_fsync),
		PLACED(test_batches),
		PLACED(test_open_needs_the_directory_on_disk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
