/* The journal when its file is damaged or not its own, and where it cannot be. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/journal_place.h"

static void make_dir(void)
{
	assert_int_equal(mkdir(dir, 0700), 0);
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

#define PAGES_USED 7 /* behind them is room that was never anything */

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
	assert_true(st.st_size > PAGES_USED * 4096);
	(void)snprintf(wal, sizeof(wal), "%s-wal", file);
	assert_int_equal(unlink(wal), 0);
	for (off_t at = 4096; at < PAGES_USED * 4096; at += 4096) {
		int fd = open(file, O_RDWR);
		assert_int_equal(pread(fd, was, 8, at), 8);
		assert_int_equal(pwrite(fd, "DAMAGED!", 8, at), 8);
		expect_refused(-EBADMSG, "journal");
		assert_int_equal(pwrite(fd, was, 8, at), 8);
		(void)close(fd);
	}
	assert_int_equal(try_open(&err), 0);
}

#define SCHEMA_SWAP(from, to)                                                                                \
	"PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = replace(sql, '" from "', '" to "')"

/* Whole pages, but what stands in them cannot be: a NULL where the table forbids it. */
static void impossible_rows_are_found(void *arg)
{
	(void)arg;
	make_journal();
	by_hand(SCHEMA_SWAP("cluster TEXT NOT NULL", "cluster TEXT"));
	by_hand("UPDATE flip SET cluster = NULL");
	by_hand(SCHEMA_SWAP("cluster TEXT", "cluster TEXT NOT NULL"));
	expect_refused(-EBADMSG, "NULL value in flip.cluster");
}

static void test_impossible_rows_are_found(void **state)
{
	(void)state;
	run(impossible_rows_are_found, NULL);
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
	by_hand("PRAGMA user_version = 2; DELETE FROM meta");
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

/* As the first version made it: it is brought up to date, and what it knew is there. */
static void an_older_file_is_brought_up(void *arg)
{
	struct journal_flip *flips;
	struct arena *a = arena_new();
	struct journal *j;
	int n;

	(void)arg;
	make_journal();
	j = open_journal();
	begin(j, "f1", "c1", 1000);
	assert_int_equal(journal_save(j, "f1", "ended", "done", 1500, NULL, NULL), 0);
	journal_close(j);
	by_hand("ALTER TABLE flip DROP COLUMN rehearsal; PRAGMA user_version = 1");
	for (int times = 0; times < 2; times++) {
		j = open_journal();
		assert_int_equal(journal_past(j, a, "c1", false, 10, &flips, &n, NULL), 0);
		assert_int_equal(n, 1);
		assert_string_equal(flips[0].id, "f1");
		assert_false(flips[0].rehearsal);
		journal_close(j);
	}
	arena_free(a);
}

static void test_an_older_file_is_brought_up(void **state)
{
	(void)state;
	run(an_older_file_is_brought_up, NULL);
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

int main(void)
{
#define PLACED(f) cmocka_unit_test_setup_teardown(f, place_make, place_remove)
	const struct CMUnitTest tests[] = {
		PLACED(test_garbage_is_kept),
		PLACED(test_damaged_pages_are_found),
		PLACED(test_impossible_rows_are_found),
		PLACED(test_damage_met_later_is_an_error),
		PLACED(test_other_files_are_refused),
		PLACED(test_an_older_file_is_brought_up),
		PLACED(test_places_that_cannot_be),
		PLACED(test_damaged_texts_are_shown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
