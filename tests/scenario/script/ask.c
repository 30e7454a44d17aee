/*
 * ask: what operators ask of a flip, and the daemon for them: abort, resolve and what it would do, a foreign
 * row, the guard after a flip, haste. The answer is kept for `expect answer`.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/scenario/script/script.h"

static void answer(const struct err *err, const char *well)
{
	if (err->code)
		(void)snprintf(w.answer, sizeof(w.answer), "%s: %s", err_text(err), err->hint);
	else
		str_copy(w.answer, sizeof(w.answer), well);
	note("answered: %s", w.answer);
}

static void do_abort(struct trigger *t)
{
	struct err err = {0};

	(void)t;
	if (!w.flip)
		return;
	(void)!flip_abort(w.flip, "aborted by the script", &err);
	answer(&err, "it rolls back");
}

static void do_hasten(struct trigger *t)
{
	struct err none = {0};

	(void)t;
	if (w.flip)
		answer(&none, flip_hasten(w.flip) ? "it ends soon" : "it is not that far");
}

/* --- resolve --- */

static struct flip_word word_of(const struct trigger *t)
{
	return (struct flip_word){.said = true,
		.side = (enum conf_side)t->arg_server,
		.word = t->arg & 1   ? RECOVER_WORD_DEAD
			: t->arg & 4 ? RECOVER_WORD_FENCED
				     : RECOVER_WORD_NONE,
		.accept_loss = t->arg & 2,
		.user = "dba"};
}

/* While it still looks by itself it is told; one that is stuck is taken up again by its life. */
static void do_resolve(struct trigger *t)
{
	struct flip_word word = word_of(t);

	note("an operator resolves");
	(void)operator_says(&word);
}

static void parse_resolve(struct trigger *t, const struct words *l, int i)
{
	if (i < l->n && strcmp(words_at(l, i), "as-it-is") != 0)
		t->arg_server = words_server(words_at(l, i));
	for (; i < l->n; i++)
		t->arg |= !strcmp(words_at(l, i), "dead")	   ? 1
			  : !strcmp(words_at(l, i), "accept-loss") ? 2
			  : !strcmp(words_at(l, i), "fenced")	   ? 4
								   : 0;
}

static void explain_fiber(void *arg)
{
	const struct trigger *t = arg;
	struct flip_word word = word_of(t);
	struct err err = {0};
	char *text = NULL;
	bool may_lose = false;

	word.said = t->arg != 0;
	(void)!flip_explain(w.flip, &word, &text, &may_lose, &err);
	answer(&err, text);
	if (may_lose)
		strncat(w.answer, "writes may be lost", sizeof(w.answer) - strlen(w.answer) - 1);
	free(text);
}

/* What resolve would do; of a flip that has come to rest, as the daemon asks it. */
static void do_explain(struct trigger *t)
{
	if (!w.flip || flip_get_state(w.flip) != FLIP_STUCK)
		violation("nothing is stuck that could be explained");
	else
		fiber_detach(fiber_spawn("explain", explain_fiber, t));
}

/* --- without a flip of this flipd's --- */

static void foreign_fiber(void *arg)
{
	const struct trigger *t = arg;
	struct strbuf b = {0};
	struct err err = {0};
	char *text = NULL, id[64];

	(void)!flip_foreign(w.cluster, t->arg, &text, id, sizeof(id), &err);
	strbuf_addf(&b, "%s: %s", id, text ? text : "");
	answer(&err, strbuf_str(&b));
	strbuf_free(&b);
	free(text);
}

static void do_foreign(struct trigger *t)
{
	fiber_detach(fiber_spawn("foreign", foreign_fiber, t));
}

static void parse_foreign(struct trigger *t, const struct words *l, int i)
{
	t->arg = !strcmp(words_at(l, i), "close");
}

static void guard_fiber(void *arg)
{
	const struct trigger *t = arg;
	struct err err = {0};

	(void)!flip_guard_close(w.cluster, (enum conf_side)t->arg_server, &err);
	answer(&err, "closed again");
}

static void do_guard(struct trigger *t)
{
	fiber_detach(fiber_spawn("guard", guard_fiber, t));
}

static void parse_guard(struct trigger *t, const struct words *l, int i)
{
	t->arg_server = words_server(words_at(l, i));
}

static void parse_nothing(struct trigger *t, const struct words *l, int i)
{
	(void)t;
	(void)l;
	(void)i;
}

const struct action asks[] = {
	{"abort", parse_nothing, do_abort},
	{"hasten", parse_nothing, do_hasten},	/* another flip of this cluster is wanted */
	{"resolve", parse_resolve, do_resolve}, /* SERVER dead|fenced [accept-loss] | as-it-is */
	{"explain", parse_resolve, do_explain}, /* the same, and only says what would follow */
	{"foreign", parse_foreign, do_foreign}, /* explain | close: the row of another flipd */
	{"guard", parse_guard, do_guard},	/* SERVER: found open after the flip (guard: fence) */
};

const int nasks = (int)COUNT_OF(asks);
