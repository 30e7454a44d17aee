/* recover_inputs: every state that a side can show, and inputs made of them; for the tests of recover. */
#ifndef TESTS_RECOVER_INPUTS_H
#define TESTS_RECOVER_INPUTS_H

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
struct named_side {
	const char *name;
	struct recover_side side;
};

static const struct named_side olds[OLD_COUNT] = {
	{"F", {.up = true}},
	{"F+", {.up = true, .beyond = true}},
	{"O", {.up = true, .writable = true}},
	{"O", {.up = true, .writable = true, .beyond = true}},
	{"X", {.up = false}},
};

static const struct named_side news[NEW_COUNT] = {
	{"F0", {.up = true}},
	{"F1", {.up = true, .beyond = true}},
	{"O0", {.up = true, .writable = true}},
	{"O1", {.up = true, .writable = true, .beyond = true}},
	{"X", {.up = false}},
};

/* The booleans of the input. */
enum {
	FOREIGN = 1,
	ROW = 2,
	RESUME = 4,
	REACHABLE = 8,
	REACHED = 16,
	ELSEWHERE = 32,
	GUARD = 64,
	ACCEPT = 128,
	SETTLED = 256,
	REOPENED = 512
};

#define FLAG_COUNT 10

static inline struct recover_input make(
	int phase, int old_i, int new_i, int old_word, int new_word, unsigned flags)
{
	struct recover_input in = {.phase = (enum recover_phase)phase,
		.old_side = olds[old_i].side,
		.new_side = news[new_i].side,
		.foreign = flags & FOREIGN,
		.row_written = flags & ROW,
		.resume = flags & RESUME,
		.position_reachable = flags & REACHABLE,
		.position_reached = flags & REACHED,
		.old_fence_proven_elsewhere = flags & ELSEWHERE,
		.guard_fence = flags & GUARD,
		.accept_loss = flags & ACCEPT,
		.settle_over = flags & SETTLED,
		.old_reopened = flags & REOPENED};

	in.old_side.word = (enum recover_word)old_word;
	in.new_side.word = (enum recover_word)new_word;
	return in;
}

/* A law that does not hold is shown with the whole input. */
static inline void law_at(
	bool holds, const char *text, const struct recover_input *in, const struct recover_decision *d)
{
	if (holds)
		return;
	fail_msg("%s: phase %s old %s (word %d) new %s (word %d) foreign %d row %d resume %d reachable %d "
		 "reached %d "
		 "elsewhere %d guard %d accept %d settle %d reopened %d: %s by row \"%s\"",
		text, recover_phase_name(in->phase), recover_old_name(&in->old_side), in->old_side.word,
		recover_new_name(&in->new_side), in->new_side.word, in->foreign, in->row_written, in->resume,
		in->position_reachable, in->position_reached, in->old_fence_proven_elsewhere, in->guard_fence,
		in->accept_loss, in->settle_over, in->old_reopened, recover_action_name(d->action), d->row);
}
#define LAW(cond) law_at(cond, #cond, in, d)

#endif
