/*
 * What recovery does: the laws that hold for every input whatever the table says. All inputs are gone
 * through.
 */
#include "tests/unit/recover_inputs.h"

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

/* Old, opened again by this flip, has writes that nobody but old can tell of: new never takes over without a
 * word that gives them up, and never stays open beside it. */
static void check_reopened(const struct recover_input *in, const struct recover_decision *d)
{
	bool beside =
		in->new_side.up && in->new_side.writable && !(in->old_side.up && !in->old_side.writable);

	if (!in->old_reopened || in->foreign || in->phase != RECOVER_FENCED)
		return;
	LAW(!(effects(d->action) & OPENS_NEW) || in->accept_loss);
	LAW(!beside || (effects(d->action) & CLOSES_NEW) || in->accept_loss);
}

static void test_old_opened_again_is_master_even_out_of_reach(void **state)
{
	(void)state;
	each_input(check_reopened);
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
		cmocka_unit_test(test_old_opened_again_is_master_even_out_of_reach),
		cmocka_unit_test(test_actions_are_possible),
		cmocka_unit_test(test_both_open_and_foreign),
		cmocka_unit_test(test_accept_loss_alone_opens_nothing_that_never_served),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_an_unknown_phase_touches_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
