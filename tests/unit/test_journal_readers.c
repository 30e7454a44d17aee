/* The journal among many who read it: they hold no write up but by the one reading that is under way. */
#include <errno.h>
#include <unistd.h>

#include "lib/store/journal_priv.h"
#include "tests/unit/journal_place.h"

#define READERS 6

static int gate[2]; /* a reading lasts until a byte for it is there */
static int readings;

static int read_until_let_go(struct journal *j, void *arg, struct err *err)
{
	char byte;

	(void)j, (void)arg, (void)err;
	return read(gate[0], &byte, 1) == 1 ? 0 : -EIO;
}

static void reader(void *arg)
{
	struct err err = {0};

	assert_int_equal(journal_call(arg, read_until_let_go, NULL, &err), 0);
	readings++;
}

static void writer(void *arg)
{
	struct err err = {0};

	assert_int_equal(write_one(arg, "f", "intent", true, &err), 0);
}

static void write_among_readers(void *arg)
{
	struct journal *j = open_journal();
	struct fiber *readers[READERS];
	(void)arg;

	begin(j, "f", "c", 1);
	for (int i = 0; i < READERS; i++)
		readers[i] = fiber_spawn("reader", reader, j);
	struct fiber *f = fiber_spawn("writer", writer, j);
	(void)fiber_yield();
	assert_int_equal(write(gate[1], "1", 1), 1);
	for (int i = 0; i < 10000 && !fiber_done(f); i++)
		(void)fiber_sleep_ms(1);
	assert_true(fiber_done(f));
	assert_int_equal(readings, 1);
	fiber_join(f);
	assert_int_equal(write(gate[1], "23456", READERS - 1), READERS - 1);
	for (int i = 0; i < READERS; i++)
		fiber_join(readers[i]);
	assert_int_equal(readings, READERS);
	journal_close(j);
}

static void test_write_among_readers(void **state)
{
	(void)state;
	assert_int_equal(pipe(gate), 0);
	run(write_among_readers, NULL);
	(void)close(gate[0]);
	(void)close(gate[1]);
}

#define DOCUMENTS 40

/* Past flips are read up to a few megabytes, the newest first; what is unfinished is read whole. */
static void reads_no_more_than_it_may(void *arg)
{
	struct arena *a CLEANUP(arena_freep) = arena_new();
	struct journal *j = open_journal();
	struct journal_flip *flips;
	struct err err = {0};
	size_t size = JOURNAL_MOST_BYTES / 8;
	char *document = xcalloc(1, size + 1), id[16];
	int n;
	(void)arg;

	memset(document, 'x', size);
	for (int i = 0; i < DOCUMENTS; i++) {
		(void)snprintf(id, sizeof(id), "f%d", i);
		begin(j, id, "c", 1);
		assert_int_equal(journal_save(j, id, i < 12 ? "running" : "ended", i < 12 ? NULL : "done", 1,
					 document, &err),
			0);
	}
	free(document);
	assert_int_equal(journal_past(j, a, "c", false, DOCUMENTS, &flips, &n, &err), 0);
	assert_in_range(n, 8, 9);
	assert_string_equal(flips[0].id, "f39");
	assert_int_equal(journal_unfinished(j, a, &flips, &n, &err), 0);
	assert_int_equal(n, 12);
	journal_close(j);
}

static void test_reads_no_more_than_it_may(void **state)
{
	(void)state;
	run(reads_no_more_than_it_may, NULL);
}

int main(void)
{
#define PLACED(f) cmocka_unit_test_setup_teardown(f, place_make, place_remove)
	const struct CMUnitTest tests[] = {
		PLACED(test_write_among_readers),
		PLACED(test_reads_no_more_than_it_may),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
