/* The journal as flips use it: what is written is there again, in order, after a close or without one. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "tests/unit/journal_place.h"

static int mode_of(const char *path)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	return st.st_mode & 07777;
}

static void opens_and_keeps_its_name(void *arg)
{
	char id[64], path[160], pid[16] = {0};
	struct journal *j = open_journal();

	(void)arg;
	str_copy(id, sizeof(id), journal_id(j));
	assert_true(strlen(id) >= 16);
	assert_true(journal_ok(j));
	assert_int_equal(mode_of(dir), 0700);
	assert_int_equal(mode_of(file), 0600);
	(void)snprintf(path, sizeof(path), "%s/journal.db-wal", dir);
	assert_int_equal(mode_of(path), 0600);
	(void)snprintf(path, sizeof(path), "%s/lock", dir);
	int fd = open(path, O_RDONLY);
	assert_true(read(fd, pid, sizeof(pid) - 1) > 0);
	assert_int_equal(atol(pid), getpid());
	(void)close(fd);
	journal_close(j);

	j = open_journal();
	assert_string_equal(journal_id(j), id);
	journal_close(j);
	journal_close(NULL);
}

static void test_opens_and_keeps_its_name(void **state)
{
	(void)state;
	run(opens_and_keeps_its_name, NULL);
}

static void second_opener_is_refused(void *arg)
{
	struct journal *j = open_journal();
	struct err err;
	char pid[16];

	(void)arg;
	assert_int_equal(try_open(&err), -EBUSY);
	(void)snprintf(pid, sizeof(pid), "pid %ld", (long)getpid());
	assert_non_null(strstr(err.message, pid));
	assert_true(err.hint[0]);
	journal_close(j);
	assert_int_equal(try_open(&err), 0);
}

static void test_second_opener_is_refused(void **state)
{
	(void)state;
	run(second_opener_is_refused, NULL);
}

static void add(struct journal *j, const char *id, const char *kind, const char *data, bool durable)
{
	struct err err = {0};

	if (journal_write(j, id, kind, "fence", data, durable, &err) < 0)
		fail_msg("%s", err_text(&err));
}

static void expect_kinds(struct journal *j, const char *id, const char *kinds)
{
	struct arena *a = arena_new();
	struct journal_flip flip;
	struct journal_record *records;
	struct strbuf b = {0};
	int n = 0;

	assert_int_equal(journal_load(j, a, id, &flip, &records, &n, NULL), 0);
	for (int i = 0; i < n; i++) {
		assert_int_equal(records[i].seq, i + 1);
		assert_string_equal(records[i].flip_id, id);
		strbuf_addf(&b, "%s%s", i ? " " : "", records[i].kind);
	}
	assert_string_equal(strbuf_str(&b), kinds);
	strbuf_free(&b);
	arena_free(a);
}

static void records_come_back_in_order(void *arg)
{
	struct journal *j = open_journal();
	struct arena *a = arena_new();
	struct journal_flip flip;
	struct journal_record *r;
	int64_t before = clock_wall_ms();
	int n = 0;

	(void)arg;
	begin(j, "f1", "c1", 1000);
	begin(j, "f2", "c2", 1001);
	add(j, "f1", "begin", NULL, false);
	add(j, "f2", "begin", "{\"n\":2}", false);
	add(j, "f1", "fence", "{\"position\":\"0-1-\\u00e9\"}", true);
	add(j, "f1", "end", "{}", false);
	/* Reading sees what is only queued. */
	assert_int_equal(journal_load(j, a, "f1", &flip, &r, &n, NULL), 0);
	assert_int_equal(n, 3);
	assert_string_equal(flip.id, "f1");
	assert_string_equal(flip.cluster, "c1");
	assert_null(flip.group);
	assert_string_equal(flip.from, "source");
	assert_string_equal(flip.to, "target");
	assert_string_equal(flip.state, "running");
	assert_null(flip.outcome);
	assert_string_equal(flip.config, "a: 1\n");
	assert_null(flip.document);
	assert_int_equal(flip.started_at_ms, 1000);
	assert_int_equal(flip.ended_at_ms, 0);
	assert_string_equal(r[0].data, "{}");
	assert_string_equal(r[1].step, "fence");
	assert_string_equal(r[1].data, "{\"position\":\"0-1-\\u00e9\"}");
	assert_in_range(r[1].at_ms, before, clock_wall_ms());
	arena_free(a);
	add(j, "f2", "end", "{}", false);
	journal_close(j);

	j = open_journal();
	expect_kinds(j, "f1", "begin fence end");
	expect_kinds(j, "f2", "begin end");
	add(j, "f1", "intent", "{}", true);
	expect_kinds(j, "f1", "begin fence end intent");
	journal_close(j);
}

static void test_records_come_back_in_order(void **state)
{
	(void)state;
	run(records_come_back_in_order, NULL);
}

static void refusals_harm_nothing_else(void *arg)
{
	struct journal *j = open_journal();
	struct journal_flip f = flip_of("f1", "c1", 1);
	struct arena *a = arena_new();
	struct journal_record *r;
	struct err err = {0};
	int n = 7;

	(void)arg;
	begin(j, "f1", "c1", 1);
	add(j, "f1", "note", "{}", false);
	assert_int_equal(journal_begin(j, &f, &err), -EEXIST);
	assert_true(err.message[0]);
	err_clear(&err);
	assert_int_equal(journal_save(j, "nobody", "ended", "done", 5, "{}", &err), -ENOENT);
	assert_non_null(strstr(err.message, "nobody"));
	err_clear(&err);
	assert_int_equal(journal_load(j, a, "nobody", &f, &r, &n, &err), -ENOENT);
	assert_int_equal(n, 7);
	/* Only the disk counts. */
	assert_true(journal_ok(j));
	expect_kinds(j, "f1", "note");
	f = (struct journal_flip){.id = "empty"};
	assert_int_equal(journal_begin(j, &f, NULL), 0);
	assert_int_equal(journal_load(j, a, "empty", &f, &r, &n, NULL), 0);
	assert_string_equal(f.cluster, "");
	assert_string_equal(f.state, "");
	assert_int_equal(n, 0);
	arena_free(a);
	journal_close(j);
}

static void test_refusals_harm_nothing_else(void **state)
{
	(void)state;
	run(refusals_harm_nothing_else, NULL);
}

static void expect_flips(struct journal_flip *flips, int n, const char *ids)
{
	struct strbuf b = {0};

	for (int i = 0; i < n; i++)
		strbuf_addf(&b, "%s%s", i ? " " : "", flips[i].id);
	assert_string_equal(strbuf_str(&b), ids);
	strbuf_free(&b);
}

static void lists_unfinished_and_history(void *arg)
{
	struct journal *j = open_journal();
	struct journal_flip f = flip_of("f3", "c1", 3000), *flips;
	struct arena *a = arena_new();
	int n;

	(void)arg;
	begin(j, "f1", "c1", 1000);
	begin(j, "f2", "c2", 2000);
	f.group = "g";
	f.state = "scheduled";
	f.document = "{\"id\":\"f3\"}";
	assert_int_equal(journal_begin(j, &f, NULL), 0);
	assert_int_equal(journal_save(j, "f1", "ended", "done", 1500, "{\"id\":\"f1\"}", NULL), 0);
	assert_int_equal(journal_save(j, "f3", "stuck", "stuck", 0, NULL, NULL), 0);

	assert_int_equal(journal_unfinished(j, a, &flips, &n, NULL), 0);
	expect_flips(flips, n, "f2 f3");
	assert_string_equal(flips[1].state, "stuck");
	assert_string_equal(flips[1].group, "g");
	assert_string_equal(flips[1].document, "{\"id\":\"f3\"}"); /* kept: none was given */
	assert_int_equal(journal_history(j, a, NULL, 0, &flips, &n, NULL), 0);
	expect_flips(flips, n, "f3 f2 f1");
	assert_string_equal(flips[2].outcome, "done");
	assert_string_equal(flips[2].document, "{\"id\":\"f1\"}");
	assert_int_equal(flips[2].ended_at_ms, 1500);
	assert_int_equal(journal_history(j, a, NULL, 2, &flips, &n, NULL), 0);
	expect_flips(flips, n, "f3 f2");
	assert_int_equal(journal_history(j, a, "c1", 10, &flips, &n, NULL), 0);
	expect_flips(flips, n, "f3 f1");
	assert_int_equal(journal_history(j, a, "g", 10, &flips, &n, NULL), 0);
	expect_flips(flips, n, "f3");
	assert_int_equal(journal_history(j, a, "none", 10, &flips, &n, NULL), 0);
	assert_int_equal(n, 0);
	begin(j, "f4", "c1", 500); /* the clock was set back */
	assert_int_equal(journal_history(j, a, "c1", 10, &flips, &n, NULL), 0);
	expect_flips(flips, n, "f4 f3 f1");
	assert_int_equal(journal_unfinished(j, a, &flips, &n, NULL), 0);
	expect_flips(flips, n, "f2 f3 f4");
	arena_free(a);
	journal_close(j);
}

static void test_lists_unfinished_and_history(void **state)
{
	(void)state;
	run(lists_unfinished_and_history, NULL);
}

/* A rehearsal is in the history; what asks for the last flip does not find it, however many there were. */
static void tells_rehearsals_from_flips(void *arg)
{
	struct journal *j = open_journal();
	struct journal_flip f = flip_of("r1", "c1", 2000), *flips, flip;
	struct arena *a = arena_new();
	struct journal_record *r;
	int n;

	(void)arg;
	begin(j, "f1", "c1", 1000);
	f.rehearsal = true;
	assert_int_equal(journal_begin(j, &f, NULL), 0);
	f.id = "r2";
	f.started_at_ms = 3000;
	assert_int_equal(journal_begin(j, &f, NULL), 0);
	assert_int_equal(journal_past(j, a, "c1", true, 0, &flips, &n, NULL), 0);
	assert_int_equal(n, 0); /* none has ended */
	assert_int_equal(journal_save(j, "f1", "ended", "done", 1500, NULL, NULL), 0);
	assert_int_equal(journal_save(j, "r1", "ended", "done", 2500, NULL, NULL), 0);
	assert_int_equal(journal_save(j, "r2", "ended", "aborted", 3500, NULL, NULL), 0);
	assert_int_equal(journal_past(j, a, "c1", true, 0, &flips, &n, NULL), 0);
	expect_flips(flips, n, "r2 r1");
	assert_true(flips[0].rehearsal);
	assert_int_equal(journal_past(j, a, "c1", true, 1, &flips, &n, NULL), 0);
	expect_flips(flips, n, "r2");
	assert_int_equal(journal_past(j, a, "c1", false, 1, &flips, &n, NULL), 0);
	expect_flips(flips, n, "f1");
	assert_int_equal(journal_past(j, a, "c2", false, 1, &flips, &n, NULL), 0);
	assert_int_equal(n, 0);
	assert_int_equal(journal_history(j, a, "c1", 0, &flips, &n, NULL), 0);
	expect_flips(flips, n, "r2 r1 f1");
	assert_true(flips[1].rehearsal && !flips[2].rehearsal);
	assert_int_equal(journal_load(j, a, "r1", &flip, &r, &n, NULL), 0);
	assert_true(flip.rehearsal);
	arena_free(a);
	journal_close(j);
}

static void test_tells_rehearsals_from_flips(void **state)
{
	(void)state;
	run(tells_rehearsals_from_flips, NULL);
}

static void many_records(void *arg)
{
	struct journal *j = open_journal();
	struct arena *a = arena_new();
	struct journal_flip flip;
	struct journal_record *r;
	int n;

	(void)arg;
	begin(j, "f", "c", 1);
	for (int i = 0; i < 500; i++) {
		char data[32];
		(void)snprintf(data, sizeof(data), "{\"i\":%d}", i);
		add(j, "f", "note", data, i % 100 == 99);
	}
	assert_int_equal(journal_load(j, a, "f", &flip, &r, &n, NULL), 0);
	assert_int_equal(n, 500);
	for (int i = 0; i < n; i++) {
		char data[32];
		(void)snprintf(data, sizeof(data), "{\"i\":%d}", i);
		assert_string_equal(r[i].data, data);
	}
	arena_free(a);
	journal_close(j);
}

static void test_many_records(void **state)
{
	(void)state;
	run(many_records, NULL);
}

/* Fibers side by side */

struct writer {
	struct journal *journal;
	char id[8];
	int left;
};

static void writer_run(void *arg)
{
	struct writer *w = arg;

	begin(w->journal, w->id, "c", 1);
	while (w->left-- > 0) {
		add(w->journal, w->id, "begin", "{}", false);
		add(w->journal, w->id, "end", "{}", true);
	}
	assert_int_equal(journal_save(w->journal, w->id, "ended", "done", 2, NULL, NULL), 0);
}

static void writers_share_the_disk(void *arg)
{
	struct writer writers[8];
	struct fiber *fibers[COUNT_OF(writers)];
	struct journal *j = open_journal();
	struct journal_flip *flips;
	struct arena *a = arena_new();
	int n;

	(void)arg;
	for (size_t i = 0; i < COUNT_OF(writers); i++) {
		writers[i] = (struct writer){.journal = j, .left = 3};
		(void)snprintf(writers[i].id, sizeof(writers[i].id), "w%zu", i);
		fibers[i] = fiber_spawn("writer", writer_run, &writers[i]);
	}
	for (size_t i = 0; i < COUNT_OF(writers); i++)
		fiber_join(fibers[i]);
	for (size_t i = 0; i < COUNT_OF(writers); i++)
		expect_kinds(j, writers[i].id, "begin end begin end begin end");
	assert_int_equal(journal_unfinished(j, a, &flips, &n, NULL), 0);
	assert_int_equal(n, 0);
	arena_free(a);
	journal_close(j);
}

static void test_writers_share_the_disk(void **state)
{
	(void)state;
	run(writers_share_the_disk, NULL);
}

static void cancelled_writer(void *arg)
{
	struct journal *j = arg;

	add(j, "f", "intent", "{}", true);
	/* Kept by the shield, delivered after it. */
	assert_true(fiber_cancelled());
	assert_int_equal(fiber_yield(), -ECANCELED);
}

static void cancel_leaves_no_write_unknown(void *arg)
{
	struct journal *j = open_journal();
	struct fiber *f;

	(void)arg;
	begin(j, "f", "c", 1);
	f = fiber_spawn("cancelled", cancelled_writer, j);
	assert_int_equal(fiber_yield(), 0);
	fiber_stop(f);
	expect_kinds(j, "f", "intent");
	journal_close(j);
}

static void test_cancel_leaves_no_write_unknown(void **state)
{
	(void)state;
	run(cancel_leaves_no_write_unknown, NULL);
}

static void queued_writes_go_by_themselves(void *arg)
{
	struct journal *j = open_journal();

	(void)arg;
	begin(j, "f", "c", 1);
	add(j, "f", "begin", "{}", false);
	assert_int_equal(fiber_sleep_ms(1), 0);
	add(j, "f", "note", "{}", false);
	add(j, "f", "end", "{}", false);
	/* The nudge for these two finds the journal gone. */
	journal_close(j);
	assert_int_equal(fiber_sleep_ms(1), 0);
	j = open_journal();
	expect_kinds(j, "f", "begin note end");
	journal_close(j);
}

static void test_queued_writes_go_by_themselves(void **state)
{
	(void)state;
	run(queued_writes_go_by_themselves, NULL);
}

int main(void)
{
#define PLACED(f) cmocka_unit_test_setup_teardown(f, place_make, place_remove)
	const struct CMUnitTest tests[] = {
		PLACED(test_opens_and_keeps_its_name),
		PLACED(test_second_opener_is_refused),
		PLACED(test_records_come_back_in_order),
		PLACED(test_refusals_harm_nothing_else),
		PLACED(test_lists_unfinished_and_history),
		PLACED(test_tells_rehearsals_from_flips),
		PLACED(test_many_records),
		PLACED(test_writers_share_the_disk),
		PLACED(test_cancel_leaves_no_write_unknown),
		PLACED(test_queued_writes_go_by_themselves),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
