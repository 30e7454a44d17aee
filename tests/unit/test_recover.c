/*
 * What recovery does: the table of the specification written out once more, row by row, and the laws that
 * hold for every input whatever the table says. Both are kept apart from the code's own table.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "lib/model/recover.h"

enum { OLD_COUNT = 5, NEW_COUNT = 5 };

/* "O+" is an open old side whose position is beyond the final one: no row of the table asks, all of O apply.
 */
static const struct {
	const char *name;
	struct recover_side side;
} olds[OLD_COUNT] =
	{
		{"F", {.up = true}},
		{"F+", {.up = true, .beyond = true}},
		{"O", {.up = true, .writable = true}},
		{"O", {.up = true, .writable = true, .beyond = true}},
		{"X", {.up = false}},
},
  news[NEW_COUNT] = {
	  {"F0", {.up = true}},
	  {"F1", {.up = true, .beyond = true}},
	  {"O0", {.up = true, .writable = true}},
	  {"O1", {.up = true, .writable = true, .beyond = true}},
	  {"X", {.up = false}},
};

#define FLAG_COUNT 9

/* flags: one bit for each boolean of the input. */
static struct recover_input make(int phase, int old_i, int new_i, int old_word, int new_word, unsigned flags)
{
	struct recover_input in = {.phase = (enum recover_phase)phase,
		.old_side = olds[old_i].side,
		.new_side = news[new_i].side,
		.foreign = flags & 1,
		.row_written = flags & 2,
		.resume = flags & 4,
		.position_reachable = flags & 8,
		.position_reached = flags & 16,
		.old_fence_proven_elsewhere = flags & 32,
		.guard_fence = flags & 64,
		.accept_loss = flags & 128,
		.settle_over = flags & 256};

	in.old_side.word = (enum recover_word)old_word;
	in.new_side.word = (enum recover_word)new_word;
	return in;
}

static void each_input(void (*fn)(const struct recover_input *, const struct recover_decision *))
{
	for (int i = 0; i < (RECOVER_ENDED + 1) * OLD_COUNT * NEW_COUNT * 3 * 3; i++) {
		for (unsigned flags = 0; flags < 1U << FLAG_COUNT; flags++) {
			int n = i;
			int old_word = n % 3, new_word = (n /= 3) % 3;
			int new_i = (n /= 3) % NEW_COUNT, old_i = (n /= NEW_COUNT) % OLD_COUNT;
			struct recover_input in =
				make(n / OLD_COUNT, old_i, new_i, old_word, new_word, flags);
			struct recover_decision d;
			recover_decide(&in, &d);
			fn(&in, &d);
		}
	}
}

/* A law that does not hold is shown with the whole input. */
static void law_at(
	bool holds, const char *text, const struct recover_input *in, const struct recover_decision *d)
{
	if (holds)
		return;
	fail_msg("%s: phase %s old %s (word %d) new %s (word %d) foreign %d row %d resume %d reachable %d "
		 "reached %d "
		 "elsewhere %d guard %d accept %d settle %d: %s by row \"%s\"",
		text, recover_phase_name(in->phase), recover_old_name(&in->old_side), in->old_side.word,
		recover_new_name(&in->new_side), in->new_side.word, in->foreign, in->row_written, in->resume,
		in->position_reachable, in->position_reached, in->old_fence_proven_elsewhere, in->guard_fence,
		in->accept_loss, in->settle_over, recover_action_name(d->action), d->row);
}
#define LAW(cond) law_at(cond, #cond, in, d)

/* What an action may do, by its description in the header. */
enum { OPENS_OLD = 1, OPENS_NEW = 2, CLOSES_OLD = 4, CLOSES_NEW = 8, NEEDS_OLD = 16, NEEDS_NEW = 32 };

static unsigned effects(enum recover_action a)
{
	static const unsigned table[] = {
		[RECOVER_DO_CLEAN] = 0,
		[RECOVER_DO_LEAVE_ABORTED] = 0,
		[RECOVER_DO_ROLL_BACK] = OPENS_OLD | NEEDS_OLD | NEEDS_NEW,
		[RECOVER_DO_ROLL_BACK_BLIND] = OPENS_OLD | NEEDS_OLD,
		[RECOVER_DO_RESUME] = OPENS_NEW | NEEDS_OLD | NEEDS_NEW,
		[RECOVER_DO_CLOSE_NEW] = CLOSES_NEW | NEEDS_NEW,
		[RECOVER_DO_CLOSE_NEW_STUCK] = CLOSES_NEW | NEEDS_NEW,
		[RECOVER_DO_CLOSE_OLD] = CLOSES_OLD | NEEDS_OLD,
		[RECOVER_DO_REVOKE] = NEEDS_NEW,
		[RECOVER_DO_FORWARD] = OPENS_NEW | NEEDS_NEW,
		[RECOVER_DO_FORWARD_BLIND] = NEEDS_NEW,
		[RECOVER_DO_SERVE_STUCK] = OPENS_NEW | NEEDS_NEW,
		[RECOVER_DO_FAILOVER] = OPENS_NEW | NEEDS_NEW,
		[RECOVER_DO_OPEN_OLD_LOSS] = OPENS_OLD | NEEDS_OLD,
		[RECOVER_DO_WAIT] = 0,
		[RECOVER_DO_STUCK] = 0,
		[RECOVER_DO_ALARM] = 0,
		[RECOVER_DO_CLOSE_LAST] = CLOSES_OLD | CLOSES_NEW,
		[RECOVER_DO_NOTHING] = 0,
	};

	assert_in_range(a, 0, COUNT_OF(table) - 1);
	return table[a];
}

static void check_some_row(const struct recover_input *in, const struct recover_decision *d)
{
	LAW(d->row && d->row[0] && d->why && d->why[0]);
	LAW(strcmp(d->row, "none") != 0);
	LAW(strcmp(recover_action_name(d->action), "?") != 0);
}

static void test_every_input_ends_in_a_row(void **state)
{
	(void)state;
	each_input(check_some_row);
}

/* Law 1: a side opens only when the other is proven closed and, where it might have taken writes, without
 * any. */
static void check_opening(const struct recover_input *in, const struct recover_decision *d)
{
	const struct recover_side *a = &in->old_side, *b = &in->new_side;
	unsigned e = effects(d->action);
	bool given_up = !b->up && b->word == RECOVER_WORD_DEAD && in->accept_loss;
	/* Nobody could have opened new: fenced by this flip, and the permission never went over or came back.
	 */
	bool never_permitted = in->phase == RECOVER_FENCED && !b->up;
	bool proven_unwritten = b->up && !b->writable && !b->beyond;
	bool old_shut = a->up && !a->writable;
	bool vouched = !a->up && a->word != RECOVER_WORD_NONE && (in->position_reached || in->accept_loss);
	bool fenced_without_it = !a->up && in->old_fence_proven_elsewhere && in->phase >= RECOVER_INTENT;

	if (e & OPENS_OLD) {
		LAW(proven_unwritten || never_permitted || given_up);
		LAW(in->phase == RECOVER_FENCED || given_up);
	}
	if ((e & OPENS_NEW) && !b->writable)
		LAW(old_shut || vouched || fenced_without_it);
	/* Where new is open already, going on with it must not leave old open beside it. */
	if (e & OPENS_NEW)
		LAW(!(a->up && a->writable));
	/* Only the intent permits to open new; before it, only going on with the flip or an operator's word.
	 */
	if ((e & OPENS_NEW) && in->phase == RECOVER_FENCED && !b->writable)
		LAW(d->action == RECOVER_DO_RESUME ? in->resume && !a->beyond : vouched);
	LAW(in->phase != RECOVER_BEFORE_FENCE || e == 0);
	LAW(in->phase != RECOVER_ENDED || !(e & (OPENS_OLD | OPENS_NEW)));
	LAW((e & (OPENS_OLD | OPENS_NEW)) != (OPENS_OLD | OPENS_NEW));
}

static void test_never_opens_beside_an_open_or_unproven_side(void **state)
{
	(void)state;
	each_input(check_opening);
}

/* Law 2: what only one side has is given up by an operator's word alone. */
static void check_loss(const struct recover_input *in, const struct recover_decision *d)
{
	bool loses = d->action == RECOVER_DO_FAILOVER || d->action == RECOVER_DO_OPEN_OLD_LOSS;

	LAW(!loses || in->accept_loss);
	/* Old with more than new gets is never replaced by new, old without new's writes never opens. */
	if (in->old_side.up && in->old_side.beyond && !in->old_side.writable)
		LAW(d->action != RECOVER_DO_FORWARD && d->action != RECOVER_DO_RESUME);
	if (in->new_side.up && in->new_side.beyond)
		LAW(!(effects(d->action) & OPENS_OLD) && d->action != RECOVER_DO_REVOKE);
	if (d->action == RECOVER_DO_REVOKE)
		LAW(in->phase == RECOVER_INTENT && in->new_side.up && !in->new_side.writable &&
			!in->new_side.beyond);
	if (d->action == RECOVER_DO_FORWARD && in->phase != RECOVER_OPENED && in->new_side.up &&
		!in->new_side.writable && !in->new_side.beyond)
		LAW(in->position_reachable || in->position_reached);
}

static void test_nothing_is_given_up_without_a_word(void **state)
{
	(void)state;
	each_input(check_loss);
}

/* Nothing is asked of a side out of reach, and nothing closed that is not open (but for "if open"). */
static void check_possible(const struct recover_input *in, const struct recover_decision *d)
{
	unsigned e = effects(d->action);

	LAW(!(e & NEEDS_OLD) || in->old_side.up);
	LAW(!(e & NEEDS_NEW) || in->new_side.up);
	if (d->action == RECOVER_DO_CLOSE_OLD)
		LAW(in->old_side.writable);
	if (d->action == RECOVER_DO_CLOSE_NEW)
		LAW(in->new_side.writable);
	if (d->action == RECOVER_DO_FORWARD_BLIND)
		LAW(in->new_side.writable && !in->old_side.up);
	if (d->action == RECOVER_DO_ALARM || d->action == RECOVER_DO_CLOSE_LAST)
		LAW(in->phase == RECOVER_ENDED && in->old_side.writable && in->new_side.writable && d->alarm);
	LAW((d->action == RECOVER_DO_NOTHING) <= (in->phase == RECOVER_ENDED));
}

static void test_actions_are_possible(void **state)
{
	(void)state;
	each_input(check_possible);
}

/* Both open in an unfinished flip is never left so, unless it is somebody else's or was not of the flip's
 * making. */
static void check_both_open(const struct recover_input *in, const struct recover_decision *d)
{
	bool both = in->old_side.up && in->old_side.writable && in->new_side.up && in->new_side.writable;

	if (in->foreign && in->phase != RECOVER_ENDED) {
		LAW(effects(d->action) == 0 &&
			(d->action == RECOVER_DO_STUCK || d->action == RECOVER_DO_LEAVE_ABORTED));
		LAW(d->action == RECOVER_DO_STUCK || !in->row_written);
		return;
	}
	if (both && in->phase >= RECOVER_FENCED && in->phase <= RECOVER_OPENED)
		LAW(effects(d->action) & (CLOSES_OLD | CLOSES_NEW));
	/* After the intent an open old side is closed, except where new is proven never to have opened. */
	if (in->old_side.up && in->old_side.writable &&
		(in->phase == RECOVER_INTENT || in->phase == RECOVER_OPENED))
		LAW(d->action == RECOVER_DO_CLOSE_OLD || d->action == RECOVER_DO_REVOKE);
}

static void test_both_open_and_foreign(void **state)
{
	(void)state;
	each_input(check_both_open);
}

/* The more an operator has not said, the less is done: without words, loss and proofs nothing differs by
 * them. */
static void check_words_alone(const struct recover_input *in, const struct recover_decision *d)
{
	struct recover_input bare = *in;
	struct recover_decision other;

	bare.accept_loss = false;
	if (in->old_side.word != RECOVER_WORD_NONE || in->new_side.word != RECOVER_WORD_NONE)
		return;
	recover_decide(&bare, &other);
	/* accept_loss alone ends a flip whose new side serves or served; nothing else. */
	if (d->action != other.action)
		LAW(d->action == RECOVER_DO_FAILOVER && (!in->old_side.up || !in->old_side.writable) &&
			(in->new_side.writable || in->new_side.beyond || in->phase == RECOVER_OPENED));
}

static void test_accept_loss_alone_opens_nothing_that_never_served(void **state)
{
	(void)state;
	each_input(check_words_alone);
}

/*
 * The table once more. old and new are lists of states, "*" any. Where the table names no flag, the row holds
 * with none set and no word said; the flags of a row are named in set. unset_varies: also with every other
 * flag that the table does not mention anywhere for this phase.
 */
enum {
	FOREIGN = 1,
	ROW = 2,
	RESUME = 4,
	REACHABLE = 8,
	REACHED = 16,
	ELSEWHERE = 32,
	GUARD = 64,
	ACCEPT = 128,
	SETTLED = 256
};

struct expect {
	int phase;
	const char *old, *new;
	unsigned set;
	int old_word, new_word;
	enum recover_action action;
	bool alarm;
};

#define DEAD RECOVER_WORD_DEAD
#define VOUCHED RECOVER_WORD_FENCED

static const struct expect rows[] = {
	/* before the fence | any | any, not open */
	{RECOVER_BEFORE_FENCE, "O X", "F0 F1 X", ROW, 0, 0, RECOVER_DO_CLEAN, false},
	{RECOVER_BEFORE_FENCE, "F F+", "F0 F1 X", ROW, 0, 0, RECOVER_DO_LEAVE_ABORTED, true},
	/* before the fence | any | O0 O1 */
	{RECOVER_BEFORE_FENCE, "F F+ O X", "O0 O1", ROW, 0, 0, RECOVER_DO_LEAVE_ABORTED, true},
	{RECOVER_BEFORE_FENCE, "F F+ O X", "O0 O1", ROW | ACCEPT, DEAD, DEAD, RECOVER_DO_LEAVE_ABORTED, true},

	/* fenced, no intent or revoked | F F+ O | F0 */
	{RECOVER_FENCED, "F F+ O", "F0", ROW, 0, 0, RECOVER_DO_ROLL_BACK, false},
	{RECOVER_FENCED, "F", "F0", ROW | RESUME, 0, 0, RECOVER_DO_RESUME, false},
	{RECOVER_FENCED, "F+ O", "F0", ROW | RESUME, 0, 0, RECOVER_DO_ROLL_BACK, false},
	/* " | F F+ O | X */
	{RECOVER_FENCED, "F F+ O", "X", ROW, 0, 0, RECOVER_DO_ROLL_BACK_BLIND, false},
	{RECOVER_FENCED, "F F+ O", "X", ROW | RESUME, 0, DEAD, RECOVER_DO_ROLL_BACK_BLIND, false},
	/* " | F F+ | F1 O0 O1 */
	{RECOVER_FENCED, "F F+", "F1 O0 O1", ROW, 0, 0, RECOVER_DO_STUCK, false},
	{RECOVER_FENCED, "F F+", "F1 O0 O1", ROW | RESUME, 0, 0, RECOVER_DO_STUCK, false},
	/* " | O | O0 */
	{RECOVER_FENCED, "O", "O0", ROW, 0, 0, RECOVER_DO_CLOSE_NEW, false},
	/* " | O | O1 F1 */
	{RECOVER_FENCED, "O", "O1 F1", ROW, 0, 0, RECOVER_DO_CLOSE_NEW_STUCK, true},
	/* " | X | F0, and old given up */
	{RECOVER_FENCED, "X", "F0", ROW, 0, 0, RECOVER_DO_WAIT, false},
	{RECOVER_FENCED, "X", "F0", ROW | REACHED | REACHABLE | ACCEPT | ELSEWHERE, 0, 0, RECOVER_DO_WAIT,
		false},
	{RECOVER_FENCED, "X", "F0", ROW | REACHED, DEAD, 0, RECOVER_DO_FORWARD, false},
	{RECOVER_FENCED, "X", "F0", ROW | REACHED, VOUCHED, 0, RECOVER_DO_FORWARD, false},
	{RECOVER_FENCED, "X", "F0", ROW | REACHABLE, DEAD, 0, RECOVER_DO_WAIT, false},
	{RECOVER_FENCED, "X", "F0", ROW | ACCEPT, DEAD, 0, RECOVER_DO_FAILOVER, false},
	{RECOVER_FENCED, "X", "F0", ROW | ACCEPT, VOUCHED, 0, RECOVER_DO_FAILOVER, false},
	/* " | X | other */
	{RECOVER_FENCED, "X", "F1 O0 O1", ROW, 0, 0, RECOVER_DO_STUCK, false},
	{RECOVER_FENCED, "X", "F1 O0 O1", ROW | REACHED, DEAD, 0, RECOVER_DO_STUCK, false},
	{RECOVER_FENCED, "X", "X", ROW, 0, 0, RECOVER_DO_WAIT, false},
	{RECOVER_FENCED, "X", "X", ROW | ACCEPT, DEAD, DEAD, RECOVER_DO_WAIT, false},
	/* a flip whose new serves ends by accept-loss; a side that was given up and answers open is closed
	   first */
	{RECOVER_FENCED, "F F+", "O0 O1", ROW | ACCEPT, 0, 0, RECOVER_DO_FAILOVER, false},
	{RECOVER_FENCED, "X", "O0 O1", ROW | ACCEPT, DEAD, 0, RECOVER_DO_FAILOVER, false},
	{RECOVER_FENCED, "X", "O0 O1", ROW | ACCEPT, 0, 0, RECOVER_DO_STUCK, false},
	{RECOVER_FENCED, "F F+ O X", "O0 O1", ROW | ACCEPT, 0, DEAD, RECOVER_DO_CLOSE_NEW, true},
	{RECOVER_FENCED, "F F+", "F1", ROW | ACCEPT, 0, DEAD, RECOVER_DO_STUCK, false},

	/* intent, open unconfirmed | F | F0 */
	{RECOVER_INTENT, "F", "F0", ROW | REACHABLE, 0, 0, RECOVER_DO_FORWARD, false},
	{RECOVER_INTENT, "F", "F0", ROW, 0, 0, RECOVER_DO_REVOKE, false},
	{RECOVER_INTENT, "F", "F0", ROW | ACCEPT | ELSEWHERE, DEAD, 0, RECOVER_DO_REVOKE, false},
	/* " | F+ | F0 */
	{RECOVER_INTENT, "F+", "F0", ROW, 0, 0, RECOVER_DO_REVOKE, false},
	{RECOVER_INTENT, "F+", "F0", ROW | REACHABLE | REACHED, 0, 0, RECOVER_DO_REVOKE, false},
	/* " | O | F0 */
	{RECOVER_INTENT, "O", "F0", ROW | REACHABLE, 0, 0, RECOVER_DO_REVOKE, false},
	/* " | O | O0 */
	{RECOVER_INTENT, "O", "O0", ROW | REACHABLE, 0, 0, RECOVER_DO_CLOSE_OLD, false},
	/* " | F | O0 O1 */
	{RECOVER_INTENT, "F", "O0 O1", ROW, 0, 0, RECOVER_DO_FORWARD, false},
	/* " | F | F1 */
	{RECOVER_INTENT, "F", "F1", ROW, 0, 0, RECOVER_DO_FORWARD, false},
	/* " | F+ | O0 */
	{RECOVER_INTENT, "F+", "O0", ROW, 0, 0, RECOVER_DO_CLOSE_NEW, false},
	{RECOVER_INTENT, "F+", "O0", ROW | ACCEPT, 0, 0, RECOVER_DO_CLOSE_NEW, false},
	/* " | F+ | O1 F1 */
	{RECOVER_INTENT, "F+", "O1 F1", ROW, 0, 0, RECOVER_DO_SERVE_STUCK, false},
	{RECOVER_INTENT, "F+", "O1 F1", ROW | ACCEPT, 0, 0, RECOVER_DO_FAILOVER, false},
	/* " | O | O1 F1 */
	{RECOVER_INTENT, "O", "O1 F1", ROW, 0, 0, RECOVER_DO_CLOSE_OLD, true},
	/* " | X | F0 F1 */
	{RECOVER_INTENT, "X", "F0 F1", ROW, 0, 0, RECOVER_DO_WAIT, false},
	{RECOVER_INTENT, "X", "F0 F1", ROW | REACHED | REACHABLE | ACCEPT | SETTLED, 0, 0, RECOVER_DO_WAIT,
		false},
	{RECOVER_INTENT, "X", "F0 F1", ROW | ELSEWHERE | REACHABLE, 0, 0, RECOVER_DO_FORWARD, false},
	{RECOVER_INTENT, "X", "F0", ROW | ELSEWHERE, 0, 0, RECOVER_DO_WAIT, false},
	{RECOVER_INTENT, "X", "F0 F1", ROW | REACHED, DEAD, 0, RECOVER_DO_FORWARD, false},
	{RECOVER_INTENT, "X", "F0 F1", ROW | REACHED, VOUCHED, 0, RECOVER_DO_FORWARD, false},
	{RECOVER_INTENT, "X", "F0 F1", ROW, DEAD, 0, RECOVER_DO_WAIT, false},
	{RECOVER_INTENT, "X", "F0 F1", ROW | ACCEPT, DEAD, 0, RECOVER_DO_FAILOVER, false},
	{RECOVER_INTENT, "X", "F0 F1", ROW | ACCEPT, VOUCHED, 0, RECOVER_DO_FAILOVER, false},
	/* " | X | O0 O1 */
	{RECOVER_INTENT, "X", "O0 O1", ROW, 0, 0, RECOVER_DO_FORWARD_BLIND, false},
	{RECOVER_INTENT, "X", "O0 O1", ROW | SETTLED, 0, 0, RECOVER_DO_SERVE_STUCK, false},
	{RECOVER_INTENT, "X", "O0 O1", ROW | SETTLED | ACCEPT, 0, 0, RECOVER_DO_SERVE_STUCK, false},
	{RECOVER_INTENT, "X", "O0 O1", ROW | SETTLED | ACCEPT, DEAD, 0, RECOVER_DO_FAILOVER, false},
	{RECOVER_INTENT, "X", "O0 O1", ROW | SETTLED | ACCEPT | ELSEWHERE, 0, 0, RECOVER_DO_FAILOVER, false},
	/* " | F F+ | X */
	{RECOVER_INTENT, "F F+", "X", ROW, 0, 0, RECOVER_DO_WAIT, false},
	{RECOVER_INTENT, "F F+", "X", ROW | ACCEPT, 0, 0, RECOVER_DO_WAIT, false},
	{RECOVER_INTENT, "F F+", "X", ROW, 0, DEAD, RECOVER_DO_WAIT, false},
	{RECOVER_INTENT, "F F+", "X", ROW | ACCEPT, 0, VOUCHED, RECOVER_DO_WAIT, false},
	{RECOVER_INTENT, "F F+", "X", ROW | ACCEPT, 0, DEAD, RECOVER_DO_OPEN_OLD_LOSS, false},
	/* " | O | X */
	{RECOVER_INTENT, "O", "X", ROW, 0, 0, RECOVER_DO_CLOSE_OLD, true},
	{RECOVER_INTENT, "O", "X", ROW | ACCEPT, 0, DEAD, RECOVER_DO_CLOSE_OLD, true},
	/* " | X | X */
	{RECOVER_INTENT, "X", "X", ROW, 0, 0, RECOVER_DO_WAIT, false},
	{RECOVER_INTENT, "X", "X", ROW | ACCEPT | REACHED | ELSEWHERE, DEAD, DEAD, RECOVER_DO_WAIT, false},
	/* the flip ends by accept-loss where new serves; old was given up and answers open */
	{RECOVER_INTENT, "F", "F1 O0 O1", ROW | ACCEPT, 0, 0, RECOVER_DO_FAILOVER, false},
	{RECOVER_INTENT, "O", "F0 F1 O0 O1", ROW | ACCEPT, DEAD, 0, RECOVER_DO_CLOSE_OLD, true},

	/* open confirmed | any | X */
	{RECOVER_OPENED, "O", "X", ROW, 0, 0, RECOVER_DO_CLOSE_OLD, true},
	{RECOVER_OPENED, "O", "X", ROW | ACCEPT, 0, DEAD, RECOVER_DO_CLOSE_OLD, true},
	{RECOVER_OPENED, "F F+ X", "X", ROW | SETTLED, 0, 0, RECOVER_DO_WAIT, false},
	{RECOVER_OPENED, "F F+", "X", ROW | ACCEPT, 0, DEAD, RECOVER_DO_OPEN_OLD_LOSS, false},
	{RECOVER_OPENED, "X", "X", ROW | ACCEPT, DEAD, DEAD, RECOVER_DO_WAIT, false},
	/* " | F | O */
	{RECOVER_OPENED, "F", "O0 O1", ROW, 0, 0, RECOVER_DO_FORWARD, false},
	/* " | F | F0 F1 */
	{RECOVER_OPENED, "F", "F0 F1", ROW, 0, 0, RECOVER_DO_FORWARD, false},
	/* " | F+ | any */
	{RECOVER_OPENED, "F+", "F0 F1 O0 O1", ROW, 0, 0, RECOVER_DO_SERVE_STUCK, false},
	{RECOVER_OPENED, "F F+", "F0 F1 O0 O1", ROW | ACCEPT, 0, 0, RECOVER_DO_FAILOVER, false},
	/* " | O | any */
	{RECOVER_OPENED, "O", "F0 F1 O0 O1", ROW, 0, 0, RECOVER_DO_CLOSE_OLD, true},
	{RECOVER_OPENED, "O", "F0 F1 O0 O1", ROW | ACCEPT, DEAD, 0, RECOVER_DO_CLOSE_OLD, true},
	/* " | X | O F */
	{RECOVER_OPENED, "X", "O0 O1", ROW, 0, 0, RECOVER_DO_FORWARD_BLIND, false},
	{RECOVER_OPENED, "X", "O0 O1", ROW | SETTLED, 0, 0, RECOVER_DO_SERVE_STUCK, false},
	{RECOVER_OPENED, "X", "O0 O1", ROW | ACCEPT, DEAD, 0, RECOVER_DO_FAILOVER, false},
	{RECOVER_OPENED, "X", "F0 F1", ROW | SETTLED | ELSEWHERE | REACHED, 0, 0, RECOVER_DO_WAIT, false},
	{RECOVER_OPENED, "X", "F0 F1", ROW | REACHED, DEAD, 0, RECOVER_DO_FORWARD, false},
	{RECOVER_OPENED, "X", "F0 F1", ROW, DEAD, 0, RECOVER_DO_WAIT, false},
	{RECOVER_OPENED, "X", "F0 F1", ROW | ACCEPT, VOUCHED, 0, RECOVER_DO_FAILOVER, false},

	/* ended | O | O */
	{RECOVER_ENDED, "O", "O0 O1", ROW, 0, 0, RECOVER_DO_ALARM, true},
	{RECOVER_ENDED, "O", "O0 O1", ROW | GUARD, 0, 0, RECOVER_DO_CLOSE_LAST, true},
	/* its row is closed, as it should be */
	{RECOVER_ENDED, "O", "O0 O1", ROW | GUARD | FOREIGN, 0, 0, RECOVER_DO_CLOSE_LAST, true},
	{RECOVER_ENDED, "F F+ X", "*", ROW | GUARD, 0, 0, RECOVER_DO_NOTHING, false},
	{RECOVER_ENDED, "O", "F0 F1 X", ROW | GUARD, 0, 0, RECOVER_DO_NOTHING, false},

	/* unfinished, foreign */
	{RECOVER_BEFORE_FENCE, "*", "*", FOREIGN | ROW, 0, 0, RECOVER_DO_STUCK, false},
	{RECOVER_BEFORE_FENCE, "*", "*", FOREIGN, 0, 0, RECOVER_DO_LEAVE_ABORTED, false},
	{RECOVER_FENCED, "*", "*", FOREIGN | ROW | RESUME, DEAD, DEAD, RECOVER_DO_STUCK, false},
	{RECOVER_INTENT, "*", "*", FOREIGN | ROW | REACHABLE | ACCEPT, DEAD, DEAD, RECOVER_DO_STUCK, false},
	{RECOVER_OPENED, "*", "*", FOREIGN | ROW | ACCEPT, 0, 0, RECOVER_DO_STUCK, false},
	/* fenced without a row cannot be: nothing is touched, and it is not called aborted */
	{RECOVER_FENCED, "*", "*", FOREIGN, 0, 0, RECOVER_DO_STUCK, false},
};

static bool listed(const char *list, const char *name)
{
	size_t n = strlen(name);

	if (list[0] == '*')
		return true;
	for (const char *p = list; (p = strstr(p, name)); p += n) {
		if ((p == list || p[-1] == ' ') && (p[n] == ' ' || p[n] == '\0'))
			return true;
	}
	return false;
}

static int check_expect(const struct expect *e)
{
	int hits = 0;

	for (int i = 0; i < OLD_COUNT * NEW_COUNT; i++) {
		int old_i = i / NEW_COUNT, new_i = i % NEW_COUNT;
		if (!listed(e->old, olds[old_i].name) || !listed(e->new, news[new_i].name))
			continue;
		struct recover_input in = make(e->phase, old_i, new_i, e->old_word, e->new_word, e->set);
		struct recover_decision got;
		const struct recover_decision *d = &got;
		recover_decide(&in, &got);
		law_at(d->action == e->action && d->alarm == e->alarm, recover_action_name(e->action), &in,
			d);
		hits++;
	}
	return hits;
}

static void test_rows_of_the_specification(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT_OF(rows); i++)
		assert_true(check_expect(&rows[i]) > 0);
}

/* Without flags and words each pair of states of each phase stands in the list above. */
static void test_the_list_is_whole(void **state)
{
	(void)state;
	for (int phase = 0; phase <= RECOVER_ENDED; phase++) {
		for (int i = 0; i < OLD_COUNT * NEW_COUNT; i++) {
			const char *old_name = olds[i / NEW_COUNT].name, *new_name = news[i % NEW_COUNT].name;
			bool found = false;
			for (size_t k = 0; k < COUNT_OF(rows); k++)
				found = found ||
					(rows[k].phase == phase && !(rows[k].set & (FOREIGN | ACCEPT)) &&
						listed(rows[k].old, old_name) &&
						listed(rows[k].new, new_name));
			if (!found)
				fail_msg("%s %s %s is not listed",
					recover_phase_name((enum recover_phase)phase), old_name, new_name);
		}
	}
}

static void test_names(void **state)
{
	(void)state;
	for (int i = 0; i < OLD_COUNT; i++)
		assert_string_equal(recover_old_name(&olds[i].side), olds[i].name);
	for (int i = 0; i < NEW_COUNT; i++)
		assert_string_equal(recover_new_name(&news[i].side), news[i].name);
	assert_string_equal(recover_phase_name(RECOVER_INTENT), "intent");
	assert_string_equal(recover_phase_name((enum recover_phase)99), "?");
	assert_string_equal(recover_action_name(RECOVER_DO_ROLL_BACK_BLIND), "roll_back_blind");
	assert_string_equal(recover_action_name((enum recover_action)99), "?");
}

/* A phase that no journal of this version writes. */
static void test_an_unknown_phase_touches_nothing(void **state)
{
	struct recover_input in = make(RECOVER_ENDED + 1, 0, 0, 0, 0, ROW);
	struct recover_decision d;

	(void)state;
	recover_decide(&in, &d);
	assert_int_equal(d.action, RECOVER_DO_STUCK);
	assert_true(d.alarm);
	assert_string_equal(d.row, "none");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_input_ends_in_a_row),
		cmocka_unit_test(test_never_opens_beside_an_open_or_unproven_side),
		cmocka_unit_test(test_nothing_is_given_up_without_a_word),
		cmocka_unit_test(test_actions_are_possible),
		cmocka_unit_test(test_both_open_and_foreign),
		cmocka_unit_test(test_accept_loss_alone_opens_nothing_that_never_served),
		cmocka_unit_test(test_rows_of_the_specification),
		cmocka_unit_test(test_the_list_is_whole),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_an_unknown_phase_touches_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
