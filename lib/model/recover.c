/*
 * recover: what to do with an unfinished flip. One const table, the rows of the specification's section on
 * recovery in its order, the more particular before the more general; the first row that fits counts. A last
 * row that fits everything opens nothing and closes nothing, so that every input has an answer.
 *
 * old: F closed at the journaled position, F+ closed beyond it, O open, X out of reach.
 * new: F0 F1 closed without / with transactions of its own, O0 O1 open without / with, X out of reach.
 *
 * Once this flip has opened old again, old is the master even while it is out of reach: the journaled final
 * position proves nothing any more, and a new side that shows up open is closed.
 *
 * An operator's word counts where it stands for a proof that cannot be had: on old for opening new, on new
 * (dead, with loss accepted) for opening old. A side on whose word something was done and that answers open
 * again is closed before anything else: old while new has the permission, new once the permission is old's
 * again.
 */
#include "lib/model/recover.h"

enum {
	OLD_F = 1 << 0,
	OLD_F_PLUS = 1 << 1,
	OLD_O = 1 << 2,
	OLD_X = 1 << 3,
	OLD_SHUT = OLD_F | OLD_F_PLUS,
	OLD_ANY = OLD_SHUT | OLD_O | OLD_X
};

enum {
	NEW_F0 = 1 << 0,
	NEW_F1 = 1 << 1,
	NEW_O0 = 1 << 2,
	NEW_O1 = 1 << 3,
	NEW_X = 1 << 4,
	NEW_SHUT = NEW_F0 | NEW_F1,
	NEW_OPEN = NEW_O0 | NEW_O1,
	NEW_UP = NEW_SHUT | NEW_OPEN,
	NEW_ANY = NEW_UP | NEW_X
};

enum {
	PHASE_BEFORE = 1 << RECOVER_BEFORE_FENCE,
	PHASE_FENCED = 1 << RECOVER_FENCED,
	PHASE_INTENT = 1 << RECOVER_INTENT,
	PHASE_OPENED = 1 << RECOVER_OPENED,
	PHASE_ENDED = 1 << RECOVER_ENDED,
	PHASE_UNFINISHED = PHASE_BEFORE | PHASE_FENCED | PHASE_INTENT | PHASE_OPENED,
	PHASE_ANY = PHASE_UNFINISHED | PHASE_ENDED
};

/* What must hold besides the states. */
enum {
	IF_FOREIGN = 1 << 0,
	IF_NO_ROW = 1 << 1,
	IF_RESUME = 1 << 2,
	IF_REACHABLE = 1 << 3,
	IF_REACHED = 1 << 4,
	IF_ELSEWHERE = 1 << 5,
	IF_GUARD = 1 << 6,
	IF_ACCEPT = 1 << 7,
	IF_SETTLED = 1 << 8,
	IF_OLD_WORD = 1 << 9,  /* dead or fenced */
	IF_OLD_SURE = 1 << 10, /* a word, or its fence is proven without it */
	IF_NEW_WORD = 1 << 11,
	IF_NEW_DEAD = 1 << 12,
	IF_REOPENED = 1 << 13
};

struct row {
	struct {
		unsigned phases, olds, news, conditions;
	} when;
	enum recover_action act;
	bool alarm;
	const char *name, *why;
};

/* clang-format off */
static const struct row table[] = {
	/* Somebody else's flip. */
	{.when = {PHASE_BEFORE, OLD_ANY, NEW_ANY, IF_FOREIGN | IF_NO_ROW},
	 .act = RECOVER_DO_LEAVE_ABORTED, .name = "unfinished, foreign, row never written",
	 .why = "another flip holds the lock and this one never wrote its row: nothing is touched"},
	{.when = {PHASE_UNFINISHED, OLD_ANY, NEW_ANY, IF_FOREIGN},
	 .act = RECOVER_DO_STUCK, .name = "unfinished, foreign",
	 .why = "the lock is held by a session not of this flip, or the flip's row is closed or "
	        "another's: nothing is touched"},

	/* Before the fence. */
	{.when = {PHASE_BEFORE, OLD_ANY, NEW_OPEN},
	 .act = RECOVER_DO_LEAVE_ABORTED, .alarm = true, .name = "before the fence, any O0 O1",
	 .why = "the flip had not fenced anything, yet the new side is open: not of its making, nothing "
	        "is touched"},
	{.when = {PHASE_BEFORE, OLD_SHUT, NEW_SHUT | NEW_X},
	 .act = RECOVER_DO_LEAVE_ABORTED, .alarm = true, .name = "before the fence, F F+ not open",
	 .why = "the old side is closed, but not by this flip: nothing is touched; the flip's row is "
	        "closed when it is open again"},
	{.when = {PHASE_BEFORE, OLD_O | OLD_X, NEW_SHUT | NEW_X},
	 .act = RECOVER_DO_CLEAN, .name = "before the fence, any not open",
	 .why = "the flip had not fenced anything: what it prepared is removed"},

	/* Fenced, no intent or revoked. */
	{.when = {PHASE_FENCED, OLD_ANY, NEW_OPEN, IF_NEW_WORD},
	 .act = RECOVER_DO_CLOSE_NEW, .alarm = true, .name = "fenced, any O0 O1, word on new",
	 .why = "the new side was given up by an operator's word and answers again, open: it is closed "
	        "before anything else"},
	{.when = {PHASE_FENCED, OLD_F, NEW_F0, IF_RESUME},
	 .act = RECOVER_DO_RESUME, .name = "fenced F F0, resume",
	 .why = "the old side is still closed at its position, on the same boot and in time: the flip "
	        "goes on"},
	{.when = {PHASE_FENCED, OLD_SHUT | OLD_O, NEW_F0},
	 .act = RECOVER_DO_ROLL_BACK, .name = "fenced F F+ O F0",
	 .why = "the new side is closed and took no write: the old side opens again"},
	{.when = {PHASE_FENCED, OLD_SHUT | OLD_O, NEW_X},
	 .act = RECOVER_DO_ROLL_BACK_BLIND, .name = "fenced F F+ O X",
	 .why = "the new side is out of reach but was never permitted to open: the old side opens now, "
	        "the new one is undone when it answers"},
	{.when = {PHASE_FENCED, OLD_SHUT, NEW_OPEN, IF_ACCEPT},
	 .act = RECOVER_DO_FAILOVER, .name = "fenced F F+ O0 O1, accept-loss",
	 .why = "somebody opened the new side and it serves; by the operator's word it stays so and the "
	        "old side is left out"},
	{.when = {PHASE_FENCED, OLD_SHUT, NEW_F1 | NEW_OPEN},
	 .act = RECOVER_DO_STUCK, .name = "fenced F F+ F1 O0 O1",
	 .why = "somebody opened the new side without this flip: nothing is opened and nothing closed"},
	{.when = {PHASE_FENCED, OLD_O, NEW_O0},
	 .act = RECOVER_DO_CLOSE_NEW, .name = "fenced O O0",
	 .why = "the old side is master; the new one is open without transactions of its own and is "
	        "closed"},
	{.when = {PHASE_FENCED, OLD_O, NEW_O1 | NEW_F1},
	 .act = RECOVER_DO_CLOSE_NEW_STUCK, .alarm = true, .name = "fenced O O1 F1",
	 .why = "the old side is open and the new one took writes that the old lacks: the new one is "
	        "closed, its transactions are listed"},
	{.when = {PHASE_FENCED, OLD_X, NEW_F0, IF_OLD_WORD | IF_REACHED},
	 .act = RECOVER_DO_FORWARD, .name = "fenced X F0, word on old, position reached",
	 .why = "by the operator's word the old side takes no writes, and the new one has its final "
	        "position"},
	{.when = {PHASE_FENCED, OLD_X, NEW_F0, IF_OLD_WORD | IF_ACCEPT},
	 .act = RECOVER_DO_FAILOVER, .name = "fenced X F0, word on old, accept-loss",
	 .why = "by the operator's word the old side takes no writes; what the new one lacks of it is "
	        "given up"},
	{.when = {PHASE_FENCED, OLD_X, NEW_F0 | NEW_X},
	 .act = RECOVER_DO_WAIT, .name = "fenced X F0 X",
	 .why = "the old side is out of reach: neither is opened until it answers or an operator says "
	        "what it is"},
	{.when = {PHASE_FENCED, OLD_X, NEW_OPEN, IF_OLD_WORD | IF_ACCEPT},
	 .act = RECOVER_DO_FAILOVER, .name = "fenced X O0 O1, word on old, accept-loss",
	 .why = "somebody opened the new side and it serves; by the operator's word the old side is "
	        "left out"},
	{.when = {PHASE_FENCED, OLD_X, NEW_OPEN, IF_REOPENED},
	 .act = RECOVER_DO_CLOSE_NEW, .alarm = true, .name = "fenced X O0 O1, old opened again",
	 .why = "the old side, which this flip has opened again, is out of reach for the moment, and the "
	        "new one is open beside it: the new one is closed"},
	{.when = {PHASE_FENCED, OLD_X, NEW_F1 | NEW_OPEN},
	 .act = RECOVER_DO_STUCK, .name = "fenced X other",
	 .why = "the old side is out of reach and somebody opened the new one without this flip: "
	        "nothing is touched"},

	/* Intent, open unconfirmed. */
	{.when = {PHASE_INTENT, OLD_O, NEW_UP, IF_OLD_WORD},
	 .act = RECOVER_DO_CLOSE_OLD, .alarm = true, .name = "intent O any, word on old",
	 .why = "the old side was given up by an operator's word and answers again, open: it is closed "
	        "before anything else"},
	{.when = {PHASE_INTENT, OLD_F, NEW_F0, IF_REACHABLE},
	 .act = RECOVER_DO_FORWARD, .name = "intent F F0, position reachable",
	 .why = "the new side never opened and reaches the final position in time: the flip goes on"},
	{.when = {PHASE_INTENT, OLD_SHUT, NEW_F0},
	 .act = RECOVER_DO_REVOKE, .name = "intent F F+ F0",
	 .why = "the new side never opened and the old one has everything: the intent is revoked, then "
	        "rolled back"},
	{.when = {PHASE_INTENT, OLD_O, NEW_F0},
	 .act = RECOVER_DO_REVOKE, .name = "intent O F0",
	 .why = "the old side is master and the new one never opened: the intent is revoked, the undo "
	        "finished"},
	{.when = {PHASE_INTENT, OLD_O, NEW_O0},
	 .act = RECOVER_DO_CLOSE_OLD, .name = "intent O O0",
	 .why = "both are open: the old side is closed, and its position decides which one goes on"},
	{.when = {PHASE_INTENT, OLD_F, NEW_F1 | NEW_OPEN, IF_ACCEPT},
	 .act = RECOVER_DO_FAILOVER, .name = "intent F F1 O0 O1, accept-loss",
	 .why = "the new side serves; by the operator's word the flip ends here and the old side is "
	        "left out"},
	{.when = {PHASE_INTENT, OLD_F, NEW_OPEN},
	 .act = RECOVER_DO_FORWARD, .name = "intent F O0 O1",
	 .why = "the new side is open and the old one closed at its final position: the flip goes on"},
	{.when = {PHASE_INTENT, OLD_F, NEW_F1},
	 .act = RECOVER_DO_FORWARD, .name = "intent F F1",
	 .why = "the new side had opened and restarted closed: it is opened again and the flip goes on"},
	{.when = {PHASE_INTENT, OLD_F_PLUS, NEW_O0},
	 .act = RECOVER_DO_CLOSE_NEW, .name = "intent F+ O0",
	 .why = "the old side went beyond its final position and the new one took nothing yet: the new "
	        "one is closed"},
	{.when = {PHASE_INTENT, OLD_F_PLUS, NEW_O1 | NEW_F1, IF_ACCEPT},
	 .act = RECOVER_DO_FAILOVER, .name = "intent F+ O1 F1, accept-loss",
	 .why = "the new side serves; by the operator's word what the old one has beyond is given up"},
	{.when = {PHASE_INTENT, OLD_F_PLUS, NEW_O1 | NEW_F1},
	 .act = RECOVER_DO_SERVE_STUCK, .name = "intent F+ O1 F1",
	 .why = "the new side serves; the old one has transactions that it lacks, stays closed and out"},
	{.when = {PHASE_INTENT, OLD_O, NEW_O1 | NEW_F1},
	 .act = RECOVER_DO_CLOSE_OLD, .alarm = true, .name = "intent O O1 F1",
	 .why = "the new side took writes and the old one is open: the old one is closed at once"},
	{.when = {PHASE_INTENT, OLD_X, NEW_SHUT, IF_OLD_WORD | IF_REACHED},
	 .act = RECOVER_DO_FORWARD, .name = "intent X F0 F1, word on old, position reached",
	 .why = "by the operator's word the old side takes no writes, and the new one has its final "
	        "position"},
	{.when = {PHASE_INTENT, OLD_X, NEW_SHUT, IF_OLD_WORD | IF_ACCEPT},
	 .act = RECOVER_DO_FAILOVER, .name = "intent X F0 F1, word on old, accept-loss",
	 .why = "by the operator's word the old side takes no writes; what the new one lacks of it is "
	        "given up"},
	{.when = {PHASE_INTENT, OLD_X, NEW_F0, IF_ELSEWHERE | IF_REACHABLE},
	 .act = RECOVER_DO_FORWARD, .name = "intent X F0, fence proven elsewhere",
	 .why = "the old side is out of reach, but its fence outlives a restart and is proven without "
	        "it"},
	{.when = {PHASE_INTENT, OLD_X, NEW_F1, IF_ELSEWHERE},
	 .act = RECOVER_DO_FORWARD, .name = "intent X F1, fence proven elsewhere",
	 .why = "the new side had opened; the old side's fence outlives a restart and is proven without "
	        "it"},
	{.when = {PHASE_INTENT, OLD_X, NEW_SHUT},
	 .act = RECOVER_DO_WAIT, .name = "intent X F0 F1",
	 .why = "the old side is out of reach and might be open: neither is opened until it answers or "
	        "an operator says what it is"},
	{.when = {PHASE_INTENT | PHASE_OPENED, OLD_X, NEW_OPEN, IF_OLD_SURE | IF_ACCEPT},
	 .act = RECOVER_DO_FAILOVER, .name = "intent or opened, X O, old surely closed, accept-loss",
	 .why = "the new side serves and the old one cannot take writes; by the operator's word it is "
	        "left out"},
	{.when = {PHASE_INTENT | PHASE_OPENED, OLD_X, NEW_OPEN, IF_SETTLED},
	 .act = RECOVER_DO_SERVE_STUCK, .name = "intent or opened, X O, settle_timeout over",
	 .why = "the new side serves; the old one has not answered within settle_timeout and is closed "
	        "when it does"},
	{.when = {PHASE_INTENT | PHASE_OPENED, OLD_X, NEW_OPEN},
	 .act = RECOVER_DO_FORWARD_BLIND, .name = "intent or opened, X O",
	 .why = "the new side serves: the flip goes on with what does not need the old one, which is "
	        "closed the moment it answers"},

	/* New out of reach, after the intent or after the opening. */
	{.when = {PHASE_INTENT | PHASE_OPENED, OLD_O, NEW_X},
	 .act = RECOVER_DO_CLOSE_OLD, .alarm = true, .name = "intent or opened, O X",
	 .why = "the new side may have taken writes and the old one is open: the old one is closed at "
	        "once"},
	{.when = {PHASE_INTENT | PHASE_OPENED, OLD_SHUT, NEW_X, IF_NEW_DEAD | IF_ACCEPT},
	 .act = RECOVER_DO_OPEN_OLD_LOSS, .name = "intent or opened, F F+ X, new dead, accept-loss",
	 .why = "by the operator's word the new side is dead and what it took is given up: the intent "
	        "is revoked and the old side opens"},
	{.when = {PHASE_INTENT | PHASE_OPENED, OLD_SHUT | OLD_X, NEW_X},
	 .act = RECOVER_DO_WAIT, .name = "intent or opened, F F+ X X",
	 .why = "the new side is out of reach and may have taken writes: neither is opened until it "
	        "answers or an operator gives it up"},

	/* Open confirmed. */
	{.when = {PHASE_OPENED, OLD_O, NEW_UP},
	 .act = RECOVER_DO_CLOSE_OLD, .alarm = true, .name = "opened O any",
	 .why = "the new side is master and the old one is open: the old one is closed at once"},
	{.when = {PHASE_OPENED, OLD_SHUT, NEW_UP, IF_ACCEPT},
	 .act = RECOVER_DO_FAILOVER, .name = "opened F F+ any, accept-loss",
	 .why = "the new side is master; by the operator's word the flip ends here and the old side is "
	        "left out"},
	{.when = {PHASE_OPENED, OLD_F, NEW_OPEN},
	 .act = RECOVER_DO_FORWARD, .name = "opened F O",
	 .why = "the new side serves and the old one is closed at its final position: the flip goes on"},
	{.when = {PHASE_OPENED, OLD_F, NEW_SHUT},
	 .act = RECOVER_DO_FORWARD, .name = "opened F F0 F1",
	 .why = "the new side restarted closed: it is opened again and the flip goes on"},
	{.when = {PHASE_OPENED, OLD_F_PLUS, NEW_UP},
	 .act = RECOVER_DO_SERVE_STUCK, .name = "opened F+ any",
	 .why = "the new side is master; the old one has transactions that it lacks, stays closed and "
	        "out"},
	{.when = {PHASE_OPENED, OLD_X, NEW_SHUT, IF_OLD_WORD | IF_REACHED},
	 .act = RECOVER_DO_FORWARD, .name = "opened X F, word on old, position reached",
	 .why = "by the operator's word the old side takes no writes: the new one is opened again"},
	{.when = {PHASE_OPENED, OLD_X, NEW_SHUT, IF_OLD_WORD | IF_ACCEPT},
	 .act = RECOVER_DO_FAILOVER, .name = "opened X F, word on old, accept-loss",
	 .why = "by the operator's word the old side takes no writes; what the new one lacks of it is "
	        "given up"},
	{.when = {PHASE_OPENED, OLD_X, NEW_SHUT},
	 .act = RECOVER_DO_WAIT, .name = "opened X F",
	 .why = "the new side restarted closed and the old one is out of reach and might be open: "
	        "neither is opened"},

	/* Ended. */
	{.when = {PHASE_ENDED, OLD_O, NEW_OPEN, IF_GUARD},
	 .act = RECOVER_DO_CLOSE_LAST, .alarm = true, .name = "ended O O, guard fence",
	 .why = "both sides are open after the flip: the one that it closed last is closed again"},
	{.when = {PHASE_ENDED, OLD_O, NEW_OPEN},
	 .act = RECOVER_DO_ALARM, .alarm = true, .name = "ended O O",
	 .why = "both sides are open after the flip"},
	{.when = {PHASE_ENDED, OLD_ANY, NEW_ANY},
	 .act = RECOVER_DO_NOTHING, .name = "ended",
	 .why = "the flip has ended"},
	{.when = {PHASE_ANY, OLD_ANY, NEW_ANY},
	 .act = RECOVER_DO_STUCK, .alarm = true, .name = "none",
	 .why = "no row of the table fits: nothing is opened and nothing closed"},
};
/* clang-format on */

static unsigned old_state(const struct recover_side *s)
{
	if (!s->up)
		return OLD_X;
	if (s->writable)
		return OLD_O;
	return s->beyond ? OLD_F_PLUS : OLD_F;
}

static unsigned new_state(const struct recover_side *s)
{
	if (!s->up)
		return NEW_X;
	if (s->writable)
		return s->beyond ? NEW_O1 : NEW_O0;
	return s->beyond ? NEW_F1 : NEW_F0;
}

static unsigned conditions_of(const struct recover_input *in)
{
	bool old_word = in->old_side.word != RECOVER_WORD_NONE;

	return (in->foreign ? IF_FOREIGN : 0U) | (in->row_written ? 0U : IF_NO_ROW) |
	       (in->old_reopened ? IF_REOPENED : 0U) | (in->resume && !in->old_reopened ? IF_RESUME : 0U) |
	       (in->position_reachable ? IF_REACHABLE : 0U) |
	       (in->position_reached && !in->old_reopened ? IF_REACHED : 0U) |
	       (in->old_fence_proven_elsewhere ? IF_ELSEWHERE : 0U) | (in->guard_fence ? IF_GUARD : 0U) |
	       (in->accept_loss ? IF_ACCEPT : 0U) | (in->settle_over ? IF_SETTLED : 0U) |
	       (old_word ? IF_OLD_WORD : 0U) |
	       (old_word || in->old_fence_proven_elsewhere ? IF_OLD_SURE : 0U) |
	       (in->new_side.word != RECOVER_WORD_NONE ? IF_NEW_WORD : 0U) |
	       (in->new_side.word == RECOVER_WORD_DEAD ? IF_NEW_DEAD : 0U);
}

void recover_decide(const struct recover_input *in, struct recover_decision *ret)
{
	/* A phase out of range fits the last row alone. */
	unsigned phase = (unsigned)in->phase <= RECOVER_ENDED ? 1U << in->phase : 0U;
	unsigned old_is = old_state(&in->old_side);
	unsigned new_is = new_state(&in->new_side);
	unsigned holds = conditions_of(in);
	const struct row *last = &table[COUNT_OF(table) - 1];
	const struct row *r = table;

	for (; r < last; r++) {
		if ((r->when.phases & phase) && (r->when.olds & old_is) && (r->when.news & new_is) &&
			(r->when.conditions & ~holds) == 0)
			break;
	}
	*ret = (struct recover_decision){.action = r->act, .alarm = r->alarm, .row = r->name, .why = r->why};
}

const char *recover_action_name(enum recover_action a)
{
	static const char *const names[] = {
		[RECOVER_DO_CLEAN] = "clean",
		[RECOVER_DO_LEAVE_ABORTED] = "leave_aborted",
		[RECOVER_DO_ROLL_BACK] = "roll_back",
		[RECOVER_DO_ROLL_BACK_BLIND] = "roll_back_blind",
		[RECOVER_DO_RESUME] = "resume",
		[RECOVER_DO_CLOSE_NEW] = "close_new",
		[RECOVER_DO_CLOSE_NEW_STUCK] = "close_new_stuck",
		[RECOVER_DO_CLOSE_OLD] = "close_old",
		[RECOVER_DO_REVOKE] = "revoke",
		[RECOVER_DO_FORWARD] = "forward",
		[RECOVER_DO_FORWARD_BLIND] = "forward_blind",
		[RECOVER_DO_SERVE_STUCK] = "serve_stuck",
		[RECOVER_DO_FAILOVER] = "failover",
		[RECOVER_DO_OPEN_OLD_LOSS] = "open_old_loss",
		[RECOVER_DO_WAIT] = "wait",
		[RECOVER_DO_STUCK] = "stuck",
		[RECOVER_DO_ALARM] = "alarm",
		[RECOVER_DO_CLOSE_LAST] = "close_last",
		[RECOVER_DO_NOTHING] = "nothing",
	};

	return (unsigned)a < COUNT_OF(names) ? names[a] : "?";
}

const char *recover_phase_name(enum recover_phase p)
{
	static const char *const names[] = {
		[RECOVER_BEFORE_FENCE] = "before_fence",
		[RECOVER_FENCED] = "fenced",
		[RECOVER_INTENT] = "intent",
		[RECOVER_OPENED] = "opened",
		[RECOVER_ENDED] = "ended",
	};

	return (unsigned)p < COUNT_OF(names) ? names[p] : "?";
}

const char *recover_old_name(const struct recover_side *s)
{
	static const char *const names[] = {[OLD_F] = "F", [OLD_F_PLUS] = "F+", [OLD_O] = "O", [OLD_X] = "X"};

	return names[old_state(s)];
}

const char *recover_new_name(const struct recover_side *s)
{
	static const char *const names[] = {
		[NEW_F0] = "F0", [NEW_F1] = "F1", [NEW_O0] = "O0", [NEW_O1] = "O1", [NEW_X] = "X"};

	return names[new_state(s)];
}
