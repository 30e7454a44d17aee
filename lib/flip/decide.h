/*
 * decide: one engine for roll back, withdrawal and recovery: look at both servers, ask the table
 * (lib/model/recover), act, look again, until the flip has ended or is stuck.
 */
#ifndef FLIP_DECIDE_H
#define FLIP_DECIDE_H

#include "lib/flip/flip_priv.h"

struct look_side {
	struct flip *flip;
	struct flip_side *side;
	struct recover_side seen;
	struct node_proof proof; /* when seen.up */
	int64_t seen_us;	 /* when it was given */
	uint64_t beyond;	 /* how many transactions of its own beyond the journaled position */
	struct gtid first;	 /* the first of them */
	bool answered;		 /* it was looked through, up or not */
	bool foreign;
	bool row_closed; /* by this flip, the last that it did */
	struct err err;	 /* why it is out of reach */
};

struct look {
	struct look_side old_view, new_view;
};

void MAY_WAIT look_both(struct flip *, struct look *ret);
/* False: what nobody could look at answers now, so nothing opens on a word about it. */
bool MAY_WAIT look_word_holds(struct flip *, const struct look_side *, struct err *);
void MAY_WAIT look_input(struct flip *, struct look *, struct recover_input *ret);

/* What an action led to. */
enum decide_next { DECIDE_LOOK_AGAIN, DECIDE_LATER, DECIDE_ENDED };
enum decide_next MAY_WAIT decide_act(struct flip *, const struct recover_decision *, struct look *);
void MAY_WAIT decide_end(struct flip *, enum flip_outcome);
/* Steps that have not begun will not. */
void decide_skip_rest(struct flip *);
/* Warns, and has it in the journal as well: a crash right after it must not hush it up. */
void MAY_WAIT decide_warn(struct flip *, const char *fmt, ...) PRINTF(2, 3);
/* Warns, and tries again after the next look. */
enum decide_next decide_failed(struct flip *, const char *what, const struct err *);

/* The actions; each is idempotent. decide_act.c has those towards old, decide_forward.c those towards new. */
enum decide_next MAY_WAIT decide_close(
	struct flip *, struct flip_side *); /* closes and kills, then looks again */
enum decide_next MAY_WAIT decide_stuck(struct flip *, const struct recover_decision *, struct look *);
enum decide_next MAY_WAIT decide_resume(struct flip *, const struct recover_decision *, struct look *);
enum decide_next MAY_WAIT decide_forward(struct flip *, const struct recover_decision *, struct look *);
enum decide_next MAY_WAIT decide_forward_blind(struct flip *, const struct recover_decision *, struct look *);
enum decide_next MAY_WAIT decide_serve_stuck(struct flip *, const struct recover_decision *, struct look *);
enum decide_next MAY_WAIT decide_failover(struct flip *, const struct recover_decision *, struct look *);

/* decide_undo.c: each may be asked again; what is undone is not undone twice. */
/* Old, which may follow new by now, does so no more: it is to be the master. */
int MAY_WAIT decide_unfollow(struct flip *, struct err *);
/* Where new is found open meanwhile it comes back early, and nothing more is undone. */
void MAY_WAIT decide_undo_endpoints(struct flip *);
/* Scheduler, events, semi-sync, accounts: as they were. */
bool MAY_WAIT decide_undo_events(struct flip *);
/* Old is open; the rest of the undo follows, each row on its own. True when all is undone; what is not is
 * tried again until settle_timeout, with applications served meanwhile. */
bool MAY_WAIT decide_undo_settings(struct flip *);
/* The same and the lock, which is kept while something is not undone, but not for ever. */
bool MAY_WAIT decide_undo_rest(struct flip *);
/* It answers, and is open: a restart's doing, or a hand's. */
bool MAY_WAIT decide_new_is_open(struct flip *);
/* It answers, and is closed, by a restart while the rest was undone: its row cannot be written then, and
 * nobody opens it once the flip has ended. */
bool MAY_WAIT decide_old_is_closed(struct flip *);

#endif
