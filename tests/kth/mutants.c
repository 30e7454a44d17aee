/* mutants: a harness that cannot fail proves nothing: each rule is broken on purpose once, and must be
 * noticed. */
#include <stdio.h>

#include "tests/kth/kth.h"

static const struct {
	enum mutant mutant;
	const char *name;
	int course;
	enum fault fault; /* over every k; FAULT_NONE: one run */
} mutants[] = {
	{MUTANT_NO_INTENT, "the intent is not on disk", 0, FAULT_NONE},
	{MUTANT_NO_REVOCATION, "the revocation is not on disk", 3, FAULT_NONE},
	{MUTANT_NO_WAIT, "new opens without old's last writes", 3, FAULT_NONE},
	{MUTANT_NO_KILL, "sessions of an earlier life are left alone", 3, FAULT_CRASH_SENT},
	{MUTANT_NO_GUARD, "a heartbeat goes through the fence", 0, FAULT_NONE},
	{MUTANT_LEAKY_FENCE, "an account writes through the fence unseen", 0, FAULT_NONE},
	{MUTANT_OPEN_OLD, "old is opened while the intent lives", 0, FAULT_NONE},
	{MUTANT_NO_UNDO, "a setting is not switched on again", 2, FAULT_NONE},
	{MUTANT_FENCE_IN_VAIN, "a rehearsal closes old", 7, FAULT_NONE},
	{MUTANT_NO_UNLOCK, "an account is not unlocked again", 6, FAULT_NONE},
};

/* True when one of its runs was found wrong. */
static bool noticed(int i)
{
	struct batch b = {.course = &courses[mutants[i].course],
		.fault = mutants[i].fault,
		.seed = 1,
		.mutant = mutants[i].mutant};
	int before = failed, good = passed;
	bool end = false, found;

	for (b.k = mutants[i].fault != FAULT_NONE; !end;) {
		int n = run_batch(b, b.k ? 8 : 1, &end);
		b.k += n;
		end = end || mutants[i].fault == FAULT_NONE || failed > before || b.k > 400;
	}
	/* A leak shows only where a write is under way at the fence: chance decides, seed by seed. */
	for (b.seed = 2; failed == before && mutants[i].fault == FAULT_NONE && b.seed < 40; b.seed++) {
		b.k = 0;
		(void)run_batch(b, 1, &end);
	}
	found = failed > before;
	failed = before;
	passed = good;
	return found;
}

void mutants_run(void)
{
	told_nothing = true;
	for (size_t i = 0; i < COUNT_OF(mutants); i++) {
		if (noticed((int)i)) {
			passed++;
			continue;
		}
		printf("FAILED: mutant: %s: nothing was noticed\n", mutants[i].name);
		failed++;
	}
	told_nothing = false;
}
