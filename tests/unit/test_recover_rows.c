/*
 * What recovery does: the table of the specification written out once more, row by row. A row holds with the
 * flags in set and no others; old and new are lists of states, "*" any. Where the specification says "or",
 * both stand here.
 */
#include "tests/unit/recover_inputs.h"

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

/* clang-format off */
static const struct expect rows[] = {
	/* before the fence | any | any, not open */
	{RECOVER_BEFORE_FENCE, "O X", "F0 F1 X", ROW, 0, 0, RECOVER_DO_CLEAN, false},
	{RECOVER_BEFORE_FENCE, "F F+", "F0 F1 X", ROW, 0, 0, RECOVER_DO_LEAVE_ABORTED, true},
	{RECOVER_BEFORE_FENCE, "O X", "F0 F1 X", 0, 0, 0, RECOVER_DO_CLEAN, false},
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
	{RECOVER_FENCED, "X", "F0", ROW | REACHED | REACHABLE | ACCEPT | ELSEWHERE, 0, 0, RECOVER_DO_WAIT, false},
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
	{RECOVER_INTENT, "X", "F0 F1", ROW | REACHED | REACHABLE | ACCEPT | SETTLED, 0, 0, RECOVER_DO_WAIT, false},
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
/* clang-format on */

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows_of_the_specification),
		cmocka_unit_test(test_the_list_is_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
