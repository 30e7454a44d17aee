/*
 * journal_driver: a journal and nothing else, led by lines on stdin, for the tests that kill it or fill its
 * disk.
 *
 *     journal_driver STATE_DIR
 *     begin ID | note ID KIND [BYTES] | write ID KIND [BYTES] | save ID STATE | reserve | load ID | ok
 *
 * Each is answered by a line: "ok [what]" or "error ERRNO message". note is not durable, write is; BYTES pads
 * data.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/base/str.h"
#include "lib/io/fiber.h"
#include "lib/io/loop.h"
#include "lib/store/journal.h"

struct line {
	char verb[16], id[64], word[64];
	int bytes;
};

static struct journal *journal;

static int do_begin(const struct line *l, struct strbuf *out, struct err *err)
{
	struct journal_flip f = {.id = l->id,
		.cluster = "shard1",
		.from = "source",
		.to = "target",
		.state = "running",
		.config = "",
		.started_at_ms = clock_wall_ms()};

	(void)out;
	return journal_begin(journal, &f, err);
}

static int add(const struct line *l, bool durable, struct err *err)
{
	struct strbuf data = {0};

	strbuf_addf(&data, "{\"pad\":\"%*s\"}", l->bytes, "");
	int r = journal_write(journal, l->id, l->word, "step", strbuf_str(&data), durable, err);
	strbuf_free(&data);
	return r;
}

static int do_note(const struct line *l, struct strbuf *out, struct err *err)
{
	(void)out;
	return add(l, false, err);
}

static int do_write(const struct line *l, struct strbuf *out, struct err *err)
{
	(void)out;
	return add(l, true, err);
}

static int do_save(const struct line *l, struct strbuf *out, struct err *err)
{
	(void)out;
	return journal_save(journal, l->id, l->word, NULL, clock_wall_ms(), "{}", err);
}

static int do_reserve(const struct line *l, struct strbuf *out, struct err *err)
{
	(void)l, (void)out;
	return journal_reserve(journal, err);
}

/* The state, then the kinds in order. */
static int do_load(const struct line *l, struct strbuf *out, struct err *err)
{
	struct arena *a = arena_new();
	struct journal_flip flip;
	struct journal_record *records;
	int n = 0, r = journal_load(journal, a, l->id, &flip, &records, &n, err);

	if (r == 0)
		strbuf_add(out, flip.state);
	for (int i = 0; i < n; i++)
		strbuf_addf(out, " %s", records[i].kind);
	arena_free(a);
	return r;
}

static int do_ok(const struct line *l, struct strbuf *out, struct err *err)
{
	(void)l, (void)err;
	strbuf_add(out, journal_ok(journal) ? "yes" : "no");
	return 0;
}

static const struct {
	const char *verb;
	int (*fn)(const struct line *, struct strbuf *out, struct err *);
} verbs[] = {
	{"begin", do_begin},
	{"note", do_note},
	{"write", do_write},
	{"save", do_save},
	{"reserve", do_reserve},
	{"load", do_load},
	{"ok", do_ok},
};

static void obey(const char *text)
{
	struct line l = {0};
	struct strbuf out = {0};
	struct err err = {0};
	int r = err_set(&err, -EINVAL, "no such verb");

	(void)sscanf(text, "%15s %63s %63s %d", l.verb, l.id, l.word, &l.bytes);
	for (size_t i = 0; i < COUNT_OF(verbs); i++) {
		if (strcmp(verbs[i].verb, l.verb) != 0)
			continue;
		err_clear(&err);
		r = verbs[i].fn(&l, &out, &err);
	}
	if (r < 0)
		(void)printf("error %d %s\n", -r, err_text(&err));
	else
		(void)printf("ok %s\n", strbuf_str(&out));
	(void)fflush(stdout);
	strbuf_free(&out);
}

static void drive(void *arg)
{
	struct err err = {0};
	char text[256];

	if (journal_open(arg, &journal, &err) < 0) {
		(void)printf("error %d %s\n", -err.code, err_text(&err));
		return;
	}
	(void)printf("ok %s\n", journal_id(journal));
	(void)fflush(stdout);
	while (fgets(text, sizeof(text), stdin)) {
		obey(text);
		(void)fiber_yield(); /* so that what is not waited for is sent */
	}
	journal_close(journal);
}

int main(int argc, char **argv)
{
	if (argc != 2 || loop_init() < 0) {
		(void)fprintf(stderr, "usage: journal_driver STATE_DIR\n");
		return 1;
	}
	fiber_detach(fiber_spawn("drive", drive, argv[1]));
	loop_run();
	loop_free();
	return 0;
}
