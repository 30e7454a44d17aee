/*
 * recover: what to do with an unfinished flip, as a pure function of what the journal says and what the two
 * servers show. The table of SPEC.md section 4, row by row; the first row that fits counts. Used after a
 * restart, by resolve, and live when an opening had to be withdrawn. The caller carries the action out, looks
 * again and asks again.
 */
#ifndef MODEL_RECOVER_H
#define MODEL_RECOVER_H

#include "lib/base/base.h"

enum recover_phase {
	RECOVER_BEFORE_FENCE, /* the fence record is not in the journal */
	RECOVER_FENCED,	      /* fence record, no intent, or the intent is revoked */
	RECOVER_INTENT,	      /* intent, opening unconfirmed */
	RECOVER_OPENED,	      /* opening confirmed */
	RECOVER_ENDED
};

enum recover_word { RECOVER_WORD_NONE, RECOVER_WORD_FENCED, RECOVER_WORD_DEAD };

struct recover_side {
	bool up; /* recognised, this flip's sessions gone, lock taken, state read; else out of reach (X) */
	bool writable;
	bool beyond; /* old: closed or open beyond the journaled final position (false while none is
			journaled); new: own transactions since the noted position (F1, O1) */
	enum recover_word word; /* an operator's word on a side out of reach */
};

struct recover_input {
	enum recover_phase phase;
	struct recover_side old_side, new_side;
	bool foreign;	  /* a lock held by a session not of this flip, or the row closed or another's */
	bool row_written; /* this flip's row was ever written */
	bool resume; /* on_restart: resume, and old closed at the position, same boot, in time, locks retaken
		      */
	bool position_reachable;	 /* new has applied, or can in time apply, the final position */
	bool position_reached;		 /* new has the final position (for resolve old dead) */
	bool old_fence_proven_elsewhere; /* outlives a restart and is proven without the server (hook,
					    security group) */
	bool guard_fence;		 /* guard: fence (for a flip that ended) */
	bool accept_loss;
	bool settle_over;  /* settle_timeout has run out */
	bool old_reopened; /* this flip has opened old again since its last fence: old may have taken writes
			      after the journaled final position, whatever it is now */
};

enum recover_action {
	RECOVER_DO_CLEAN,	    /* remove leftovers of lock..events; aborted */
	RECOVER_DO_LEAVE_ABORTED,   /* touch nothing; aborted (alarm) */
	RECOVER_DO_ROLL_BACK,	    /* open old if closed, finish the undo; rolled_back */
	RECOVER_DO_ROLL_BACK_BLIND, /* open old now; new's undo when it answers, closing it first; rolled_back
				       + warning */
	RECOVER_DO_RESUME,	    /* go on from where it stopped */
	RECOVER_DO_CLOSE_NEW,	    /* close new and kill, look again */
	RECOVER_DO_CLOSE_NEW_STUCK, /* close new (if open), alarm; stuck, its own transactions listed */
	RECOVER_DO_CLOSE_OLD,	    /* close old and kill at once, look again */
	RECOVER_DO_REVOKE,  /* prove new F0, write the revocation, look again (phase becomes FENCED) */
	RECOVER_DO_FORWARD, /* on from open: wait for the position, open new if closed, then detach ... */
	RECOVER_DO_FORWARD_BLIND, /* new serves: on with what does not need old; close old the moment it
				     answers */
	RECOVER_DO_SERVE_STUCK,	  /* new serves (opened again if closed after a confirmed opening); old closed
				     and out; stuck */
	RECOVER_DO_FAILOVER, /* resolve --accept-loss: new opened (or left open), old left out; done + warning
			      */
	RECOVER_DO_OPEN_OLD_LOSS, /* resolve new dead --accept-loss: revoke, open old; rolled_back + warning
				   */
	RECOVER_DO_WAIT,	  /* recovering: look again later, open neither */
	RECOVER_DO_STUCK,	  /* open nothing, close nothing; stuck */
	RECOVER_DO_ALARM,	  /* ended flip, both open: alarm only */
	RECOVER_DO_CLOSE_LAST, /* ended flip, both open, guard: fence: close the side this flip closed last */
	RECOVER_DO_NOTHING
};

struct recover_decision {
	enum recover_action action;
	bool alarm;
	const char *row; /* which row of the table fitted, e.g. "intent F+ F0"; static */
	const char *why; /* one sentence for the operator; static */
};

void recover_decide(const struct recover_input *, struct recover_decision *ret);
const char *recover_action_name(enum recover_action);
const char *recover_phase_name(enum recover_phase);
/* "F", "F+", "O", "X" of old; "F0", "F1", "O0", "O1", "X" of new. */
const char *recover_old_name(const struct recover_side *);
const char *recover_new_name(const struct recover_side *);

#endif
