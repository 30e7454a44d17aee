/* The journal when the disk is full or broken, or another program is in the way. */
#include "tests/unit/journal_faults.h"
#include "tests/unit/journal_place.h"

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

static void full_disk_takes_the_ballast(void *arg)
{
	struct journal *j = open_journal();
	struct err err = {0};

	(void)arg;
	begin(j, "f", "c", 1);
	assert_int_equal(journal_reserve(j, &err), 0);
	assert_true(there("ballast"));
	/* Emptying the log may be enough. */
	fail_commits(1, SQLITE_FULL);
	assert_int_equal(write_one(j, "f", "lock", true, &err), 0);
	assert_true(there("ballast"));
	fail_commits(2, SQLITE_FULL);
	assert_int_equal(write_one(j, "f", "fence", true, &err), 0);
	assert_false(there("ballast"));
	assert_true(journal_ok(j));
	/* Nothing is left to give up. */
	fail_commits(2, SQLITE_FULL);
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
	fail_commits(3, SQLITE_IOERR_WRITE);
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
	/* Lost together with a durable one, which said so: not told again. */
	fail_commits(1, SQLITE_IOERR);
	assert_int_equal(write_one(j, "f", "begin", false, NULL), 0);
	assert_int_equal(write_one(j, "f", "fence", true, NULL), -EIO);
	assert_int_equal(write_one(j, "f", "outcome", true, NULL), 0);
	assert_int_equal(record_count(j, "f"), 2);
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
