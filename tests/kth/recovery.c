/*
 * recovery: flips that only a later life, or an operator, can bring to an end. A server goes, for good or for
 * a while, and an operator says what it is, at a good moment or a bad one, rightly or wrongly; besides, the
 * k-th call from there on goes wrong. And flipd dies twice: in its next life a call goes wrong too.
 */
#include <stdio.h>

#include "tests/kth/kth.h"
#include "tests/scenario/fake_loop.h"

#define AGAIN_US 3000000 /* an operator who was not heard, or not for long, says it again */

#define BACK_AT_LAST_US 40000000

#define DEAD RECOVER_WORD_DEAD

/* clang-format off */
const struct ordeal ordeals[] = {
	{.name = "old dies behind the fence: dead, then with its loss accepted", .when = WHEN_AFTER_JOURNAL,
	 .word = "fence", .delay_us = 1000, .server = 0,
	 .say = {{4000000, 0, DEAD, false, false}, {8000000, 0, DEAD, true, false}}},
	{.name = "old dies, its position known: dead", .when = WHEN_AFTER_JOURNAL, .word = "position", .server = 0,
	 .say = {{4000000, 0, DEAD, false, false}, {30000000, 0, DEAD, true, false}}},
	{.name = "old dies after the intent: dead", .when = WHEN_AFTER_JOURNAL, .word = "intent", .server = 0,
	 .say = {{4000000, 0, DEAD, false, false}, {30000000, 0, DEAD, true, false}}},
	{.name = "old dies after the opening: dead, loss accepted", .when = WHEN_AFTER_JOURNAL, .word = "opened",
	 .server = 0, .say = {{4000000, 0, DEAD, true, false}}},
	{.name = "new dies after the intent: dead, loss accepted", .when = WHEN_AFTER_JOURNAL, .word = "intent",
	 .server = 1, .say = {{4000000, 1, DEAD, true, false}}},
	{.name = "new dies after the opening: dead, loss accepted", .when = WHEN_AFTER_JOURNAL, .word = "opened",
	 .delay_us = 600, .server = 1, .say = {{4000000, 1, DEAD, true, false}}},
	/* It comes back after the word. */
	{.name = "old dies, dead, it comes back closed", .when = WHEN_AFTER_JOURNAL, .word = "position", .server = 0,
	 .back_us = 4100000, .say = {{4000000, 0, DEAD, false, false}}},
	{.name = "old dies, dead, it comes back open", .when = WHEN_AFTER_JOURNAL, .word = "position", .server = 0,
	 .back_us = 4100000, .open = true, .say = {{4000000, 0, DEAD, false, false}}},
	{.name = "old dies behind the fence, loss accepted, it comes back open", .when = WHEN_AFTER_JOURNAL,
	 .word = "fence", .delay_us = 500, .server = 0, .back_us = 4050000, .open = true,
	 .say = {{4000000, 0, DEAD, true, false}}},
	{.name = "old dies after the intent, dead, it comes back open", .when = WHEN_AFTER_JOURNAL,
	 .word = "intent", .server = 0, .back_us = 4300000, .open = true,
	 .say = {{4000000, 0, DEAD, false, false}}},
	{.name = "old dies after the opening, loss accepted, it comes back closed", .when = WHEN_AFTER_JOURNAL,
	 .word = "opened", .server = 0, .back_us = 4010000, .say = {{4000000, 0, DEAD, true, false}}},
	{.name = "new dies after the intent, loss accepted, it comes back open", .when = WHEN_AFTER_JOURNAL,
	 .word = "intent", .server = 1, .back_us = 4050000, .open = true,
	 .say = {{4000000, 1, DEAD, true, false}}},
	{.name = "new dies after the opening, loss accepted, it comes back closed", .when = WHEN_AFTER_JOURNAL,
	 .word = "opened", .delay_us = 600, .server = 1, .back_us = 4020000,
	 .say = {{4000000, 1, DEAD, true, false}}},
	/* It comes back before the word, and the operator does not know. */
	{.name = "old is back closed, and is called dead", .when = WHEN_AFTER_JOURNAL, .word = "position",
	 .server = 0, .back_us = 3990000, .say = {{4000000, 0, DEAD, true, true}}},
	{.name = "old is back open, and is called dead", .when = WHEN_AFTER_JOURNAL, .word = "intent", .server = 0,
	 .back_us = 3990000, .open = true, .say = {{4000000, 0, DEAD, true, true}}},
	{.name = "new is back open, and is called dead", .when = WHEN_AFTER_JOURNAL, .word = "intent", .server = 1,
	 .back_us = 3990000, .open = true, .say = {{4000000, 1, DEAD, true, true}}},
	{.name = "new is back closed, and is called dead", .when = WHEN_AFTER_JOURNAL, .word = "opened",
	 .delay_us = 600, .server = 1, .back_us = 3990000, .say = {{4000000, 1, DEAD, true, true}}},
	/* Out of flipd's reach alone, and called dead. */
	{.name = "old out of reach is called dead", .when = WHEN_AFTER_JOURNAL, .word = "position", .server = 0,
	 .how = OUT_OF_REACH, .back_us = 6000000, .say = {{4000000, 0, DEAD, false, false}}},
	{.name = "old cut off is called dead", .when = WHEN_AFTER_JOURNAL, .word = "fence", .delay_us = 700,
	 .server = 0, .how = CUT_OFF, .back_us = 6000000, .say = {{4000000, 0, DEAD, true, false}}},
	{.name = "old out of reach in a roll back is called dead", .when = WHEN_STEP, .word = "endpoints",
	 .server = 0, .how = OUT_OF_REACH, .back_us = 6000000, .abort = true,
	 .say = {{4000000, 0, DEAD, false, false}, {4500000, 0, DEAD, true, false}}},
	{.name = "old out of reach as it opens again is called dead", .when = WHEN_AFTER_JOURNAL, .word = "reopened",
	 .server = 0, .how = CUT_OFF, .back_us = 6000000, .abort = true,
	 .say = {{4000000, 0, DEAD, false, false}, {4500000, 0, DEAD, true, false}}},
	{.name = "old out of reach after the intent is called dead", .when = WHEN_AFTER_JOURNAL, .word = "intent",
	 .server = 0, .how = OUT_OF_REACH, .back_us = 4200000, .say = {{4000000, 0, DEAD, false, false}}},
	{.name = "new out of reach after the intent is called dead", .when = WHEN_AFTER_JOURNAL, .word = "intent",
	 .server = 1, .how = OUT_OF_REACH, .back_us = 4200000, .say = {{4000000, 1, DEAD, true, false}}},
	{.name = "new out of reach after the opening is called dead", .when = WHEN_AFTER_JOURNAL, .word = "opened",
	 .server = 1, .how = CUT_OFF, .back_us = 6000000, .say = {{4000000, 1, DEAD, true, false}}},
};
/* clang-format on */

const int nordeals = (int)COUNT_OF(ordeals);

/* --- one --- */

static const struct ordeal *now;
static int now_k, now_back_at, nsaid;
static int64_t went_us;

static bool is_away(int server)
{
	return !w.server[server].up || w.server[server].partitioned;
}

static void comes_back(void *arg)
{
	struct server *s = arg;

	if (s->partitioned)
		net_heal(s);
	else if (!s->up)
		server_boot(s, !now->open);
}

static void comes_back_now(void)
{
	comes_back(&w.server[now->server]);
}

/* Its word is given: what it speaks of may come back right then. */
static void was_heard(int n)
{
	if (!nsaid && now_back_at) {
		w.call_at = w.events + now_back_at;
		w.call_fn = comes_back_now;
	}
	nsaid = n;
}

static void says(void *arg)
{
	const struct saying *s = arg;
	struct flip_word word = {.said = true,
		.side = (enum conf_side)s->server,
		.word = s->word,
		.accept_loss = s->accept_loss,
		.user = "dba"};

	if (w.over || (w.ended && w.state == FLIP_ENDED) || (!is_away(s->server) && !s->wrong))
		return;
	if (s == &now->say[0] && nsaid > 1) /* the second has been said */
		return;
	if (nsaid && !is_away(s->server)) /* it is seen by now that it answers: the flip is to end as it is */
		word.word = RECOVER_WORD_NONE;
	if (operator_says(&word))
		was_heard(s == &now->say[1] ? 2 : 1);
	if (w.judge_from_us < vtime_us() + AGAIN_US + 1000000)
		w.judge_from_us = vtime_us() + AGAIN_US + 1000000;
	vtime_at(vtime_us() + AGAIN_US, says, arg);
}

static void goes(void *arg)
{
	struct server *s = &w.server[now->server];
	int64_t last_us = now->back_us;

	(void)arg;
	went_us = vtime_us();
	w.fault_at = now_k ? w.events + now_k : 0;
	for (int i = 0; i < 2; i++)
		if (now->say[i].at_us) {
			vtime_at(went_us + now->say[i].at_us, says, (void *)&now->say[i]);
			last_us = now->say[i].at_us > last_us ? now->say[i].at_us : last_us;
		}
	w.judge_from_us = went_us + last_us + 1000000;
	if (now->how != GOES_DOWN)
		net_partition(s, now->how == CUT_OFF, -1);
	else
		server_down(s);
	if (now->back_us)
		vtime_at(went_us + (now_back_at ? BACK_AT_LAST_US : now->back_us), comes_back, s);
}

/* From an event of the world's own: the moment may be in the midst of a call. */
static void goes_soon(struct trigger *t)
{
	vtime_at(vtime_us(), goes, t);
}

static void goes_back(struct trigger *t)
{
	(void)t;
	if (w.flip)
		(void)!flip_abort(w.flip, "aborted by the test", NULL);
}

void ordeal_begin(const struct batch *b)
{
	const struct ordeal *o = b->ordeal;

	now = o;
	now_k = b->k;
	now_back_at = b->back_at;
	nsaid = 0;
	went_us = 0;
	w.may_be_stuck = true;
	w.after_life = operator_takes_up;
	trigger_add(o->when, o->word, goes_soon)->delay_us = o->delay_us;
	if (o->abort)
		trigger_add(WHEN_STEP, "coordinates", goes_back);
}

/* What an operator said must have brought it to an end. */
void ordeal_judge(const struct ordeal *o)
{
	if (went_us && (!w.ended || w.outcome == FLIP_OUTCOME_STUCK) && !o->back_us)
		violation("the operator's word did not bring it to an end: %s",
			w.ended ? "stuck" : "recovering");
}

/* --- all of them --- */

#define CALLS 150 /* no flip has many more before it ends, nor a later life */

static uint64_t state;

static int any_of(int n)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (int)(state % (uint64_t)n);
}

static void run_one(struct batch b)
{
	bool end;

	if (run_batch(b, 1, &end) == 0)
		passed++; /* it ended before the fault */
}

static struct batch draw_ordeal(void)
{
	/* Guarded, plain, by file, with locked accounts: what an operator's word meets. */
	static const int on[] = {0, 1, 2, 5};
	struct batch b = {.course = &courses[on[any_of((int)COUNT_OF(on))]],
		.ordeal = &ordeals[any_of(nordeals)],
		.seed = 1 + (uint64_t)any_of(50),
		.mutant = MUTANTS};

	b.fault = (enum fault)any_of(FAULTS);
	b.k = b.fault ? 1 + any_of(CALLS / 2) : 0;
	if (b.ordeal->back_us && any_of(2))
		b.back_at = 1 + any_of(60);
	return b;
}

static struct batch draw_deaths(void)
{
	struct batch b = {
		.course = &courses[any_of(ncourses)], .seed = 1 + (uint64_t)any_of(50), .mutant = MUTANTS};

	b.fault = (enum fault)(FAULT_CRASH_BEFORE + any_of(FAULTS - FAULT_CRASH_BEFORE));
	b.k = 20 + any_of(CALLS - 20);
	b.next.fault = (enum fault)(1 + any_of(FAULTS - 1));
	b.next.at = 1 + any_of(CALLS / 2);
	return b;
}

static void sample(const char *name, struct batch (*draw)(void), int n)
{
	state = UINT64_C(0x9E3779B97F4A7C15);
	for (int i = 0; i < n && failed <= FAILED_MOST; i++)
		run_one(draw());
	printf("sample: %s, %d runs\n", name, n);
}

/* --- and whole --- */

static void every_call(struct batch b)
{
	bool end = false;

	for (b.k = 1; !end && failed <= FAILED_MOST && b.k < 400;)
		b.k += run_batch(b, 24, &end);
}

static void every_ordeal(const struct course *c, const struct ordeal *o)
{
	struct batch b = {.course = c, .ordeal = o, .seed = 1, .mutant = MUTANTS};
	int before = passed;

	for (b.fault = FAULT_REFUSED; b.fault < FAULTS; b.fault++)
		every_call(b);
	b.fault = FAULT_NONE;
	b.k = 0;
	for (b.back_at = 1; o->back_us && b.back_at < 60; b.back_at++)
		run_one(b);
	printf("all: %s: %s, %d runs\n", c->name, o->name, passed - before);
}

/* flipd dies at every call, and at every second of its next life something goes wrong. */
static void every_death(const struct course *c, enum fault first, enum fault next)
{
	struct batch b = {.course = c, .fault = first, .seed = 1, .mutant = MUTANTS};
	int before = passed;

	b.next.fault = next;
	for (b.next.at = 1; b.next.at < CALLS / 2; b.next.at += 2)
		every_call(b);
	printf("all: %s: %s, and in the next life each call: %s, %d runs\n", c->name, fault_name(first),
		fault_name(next), passed - before);
}

void recovery_run(bool all)
{
	static const int on[] = {0, 1, 5};

	sample("a server goes, an operator's word, and a call that goes wrong", draw_ordeal,
		all ? 20000 : 1000);
	sample("flipd dies, and in its next life a call goes wrong", draw_deaths, all ? 40000 : 2000);
	for (int i = 0; all && i < nordeals * (int)COUNT_OF(on); i++)
		every_ordeal(&courses[on[i % (int)COUNT_OF(on)]], &ordeals[i / (int)COUNT_OF(on)]);
	for (int i = 0; all && i < (int)COUNT_OF(on); i++)
		for (enum fault f = FAULT_REFUSED; f < FAULTS; f++) {
			every_death(&courses[on[i]], FAULT_CRASH_SENT, f);
			every_death(&courses[on[i]], FAULT_MACHINE_AFTER, f);
		}
}
