/*
 * flip: the protocol of a flip as a model that spin searches whole. It is SPEC.md's sections 2 to 4 in small: two
 * servers, flipd, its journal, the statements that flipd has sent, an operator. Every law is an assertion that
 * stands where the deed takes effect (in the server), not where flipd believes something.
 *
 * Who is who
 *   server     up, closed (ro), cut off from flipd; may crash and boot open or closed; old's log is a number of
 *              transactions (oldlog), of which new has applied the first newapp; new's own transactions are newlog
 *   statement  sent on the lock's session (pend), answered later or never (rep). One whose session flipd has lost,
 *              by its own crash or a cut, lives on in the server as an orphan (orph) and holds the named lock
 *   flipd      one program counter (pc): S_ the steps of section 3, D the decision of section 4 (lib/model/recover.c),
 *              W_ waits for an answer. Its crash is a jump to DEAD that loses all but the journal (j...)
 *   prover     proves old's fence between `coordinates` and the answer to `open`
 *   operator   `abort`, and `resolve` with or without the word "dead" and --accept-loss; may be wrong about it
 *   other      (-DOTHER) a second flipd that honours the named locks and, holding both, opens old
 *   world      applications' writes (each acknowledged), replication, faults: at most FAULTS in all
 *
 * What the model takes for granted, and SPEC.md's limits stand for
 *   calm       between the look or proof on which an opening stands and its effect, no boot and no hand opens the
 *              other side: the proof is at most 100 ms old, and a guarded opening waits at most t in the server.
 *              A restart of old while an opening waits is seen by the prover first. Each mutant that takes away a
 *              rule behind this takes away the calm as well.
 *   ghosts     byflipd, newly, oldly, fresh, lacks, accepted, blind are the assertions' memory; no process reads them to act
 *
 * The rows of the step table, and where they are here; run.py holds them against `flipd --print-steps`:
 *   row preflight back: before the model begins
 *   row lock back: both are held at the beginning
 *   row flush back: left out, nothing of it matters here
 *   row drain back: left out
 *   row events back: left out
 *   row fence back: S_BEGIN, S_JFENCE, S_FENCE, W_FENCE
 *   row kill back: S_KILL
 *   row coordinates back: S_COORDINATES
 *   row endpoints back: left out
 *   row intent pivot: S_INTENT
 *   row sync either: S_SYNC, or the server's own wait in GUARD
 *   row verify either: as sync
 *   row open forward: S_OPEN, W_OPEN, S_OPENED
 *   row detach forward: S_DETACH
 *   row reverse forward: S_REVERSE
 *   row flush_again forward: left out
 *   row repoint forward: left out
 *   row propagate forward: left out
 *   row finish forward: ends()
 *
 * -DGUARDED the guarded opening, else the plain order; -DRESUME on_restart: resume; -DMUTANT_x one rule left out.
 */
#define OLD 0
#define NEW 1

#ifndef FAULTS
#define FAULTS 2
#endif
#ifndef RESOLVES
#define RESOLVES 1
#endif
#define OLD_WRITES 3 /* in old's log at most, of applications */
#define NEW_WRITES 1

/* statements */
#define NONE 0
#define FENCE 1 /* SET GLOBAL read_only=1, queued behind what runs */
#define OPEN 2	/* SET GLOBAL read_only=0 */
#define GUARD 3 /* the guarded opening: lock held and position reached, else nothing */

/* answers */
#define SENT 0
#define DONE 1
#define REFUSED 2
#define LOST 3

/* who holds a named lock */
#define FREE 0
#define ME 1
#define ORPHAN 2
#define THEM 3

/* what a look shows */
#define X 0
#define SHUT 1	    /* F, F0 */
#define SHUT_PLUS 2 /* F+, F1 */
#define WIDE 3	    /* O, O0 */
#define WIDE_PLUS 4 /* O1 */

/* flipd */
#define DEAD 0
#define S_BEGIN 1
#define S_JFENCE 2
#define S_FENCE 3
#define W_FENCE 4
#define S_KILL 5
#define S_COORDINATES 6
#define S_SYNC 7
#define S_INTENT 8
#define S_OPEN 9
#define W_OPEN 10
#define S_OPENED 11
#define S_DETACH 12
#define S_REVERSE 13
#define D 14
#define W_OLD 15   /* old is being opened: roll back */
#define W_CLOSE 16 /* a side is being closed again */
#define S_REVOKE 17
#define W_NEW 18 /* new is being opened by a decision */
#define WAITING 19
#define STUCK 20
#define ENDED 21

/* outcomes */
#define RUNNING 0
#define O_DONE 1
#define O_BACK 2
#define O_ABORTED 3
#define O_FAILOVER 4

/* words */
#define OLD_DEAD 1
#define NEW_DEAD 2

/* --- servers --- */
bit up[2] = 1, cut[2], gone[2]; /* gone: will not boot again */
bit ro[2] = {0, 1};
byte lock[2] = ME, pend[2], orph[2], rep[2];
bit sess[2] = 1; /* flipd's session of the lock lives */
byte oldlog = 1, newapp, newlog, wayback;
bit repl = 1;	  /* new replicates from old */
bit walker = 1;  /* a session on old whose account walks through the fence */
bit beat;	  /* a heartbeat of flipd's, sent before the fence, waits in old */
bit rowclosed;	  /* the flip's row has been closed by another flipd */
bit byflipd[2];	  /* ghost: open by flipd's own statement */
bit newly;	  /* ghost: new took a write while open by flipd's own statement */
bit oldly;	  /* ghost: old took one after flipd had opened it again */

/* --- journal: durable --- */
bit jF, jI, jR, jO;
bit jB; /* record `reopened`: old was opened again, and may have more than its final position */
bit hasfin; /* record `position`; not durable of itself, it is within `intent` */
byte fin;

/* --- flipd --- */
byte pc = S_BEGIN;
byte A, B; /* the last look at old, new */
#ifdef GUARDED
bit plain; /* a decision goes on in the plain order: it has seen the position (decide_forward.c, go_on) */
#else
bit plain = 1;
#endif
bit foreign, aborting, recovered, tried;
byte word;
bit loss, answered;
bit fresh; /* ghost: the side that the word speaks of has not answered since it was said */
byte outcome;
bit leaves;  /* new is opened again although old has more: stuck then */
bit lacks, accepted, blind; /* ghosts: that was so; a loss was accepted; old was opened with new out of reach */
byte snap;

byte faults, resolves, other;

#define REACH(s) (up[s] && !cut[s])
#define LIVES (pc != DEAD)
#define OPENING(s) (pend[s] == OPEN || pend[s] == GUARD || orph[s] == OPEN || orph[s] == GUARD)

/* Calm: see above. Old may be opened by boot or hand under a waiting opening of new only where nobody looks. */
#if defined(MUTANT_NO_PROVER)
#define CALM_OLD (!OPENING(NEW) || pend[NEW] == GUARD)
#elif defined(MUTANT_NO_LIMIT)
#define CALM_OLD (!OPENING(NEW) || (orph[NEW] == GUARD && pend[NEW] == NONE))
#else
#define CALM_OLD (!OPENING(NEW))
#endif
#define CALM_NEW (!OPENING(OLD))

#define REVOKED (jI && jR)
#define OPENED (jO && !REVOKED)
#define INTENT (jI && !jR && !jO)
#define FENCED (jF && (!jI || jR) && !OPENED)

#define REACHED (newapp >= fin)

/* What WAITING waits to see changed. */
#define VIEW                                                                                                     \
	(REACH(OLD) + 2 * (REACH(OLD) && ro[OLD]) + 4 * REACH(NEW) + 8 * (REACH(NEW) && ro[NEW]) +                 \
		16 * (REACH(NEW) && REACHED) + 32 * (REACH(NEW) && newlog > 0) + 64 * (lock[OLD] == THEM))

/* --- the laws, where the deed takes effect --- */

/* Law 1 and invariants a, b, c: a durable permission, none for the other side, the other not open.
 * Law 2: new has all that old ever acknowledged. */
inline opens_new()
{
	assert(accepted || (jI && !jR));
	assert(accepted || !(up[OLD] && !ro[OLD]));
	assert(accepted || lacks || newapp == oldlog);
	ro[NEW] = 0;
	byflipd[NEW] = 1;
}

/* A side that boot or hand opened out of flipd's reach counts against the server ("fenced F X": old opens even while
 * new is out of reach). */
inline opens_old()
{
	assert(accepted || !jI || jR);
	assert(accepted || !(up[NEW] && !ro[NEW] && (byflipd[NEW] || !blind)));
	assert(accepted || !newly);
	ro[OLD] = 0;
	byflipd[OLD] = 1;
}

/* No statement of this flip's closes a side after it has ended with that side as master (E13). */
inline closes(s)
{
	assert(s == OLD -> (outcome != O_BACK && outcome != O_ABORTED) : outcome != O_DONE);
	ro[s] = 1;
	byflipd[s] = 0;
}

inline ends(how)
{
	d_step {
		outcome = how;
		if
		:: how == O_BACK -> assert(accepted || !newly)
		:: how == O_DONE -> assert(accepted || (newapp == oldlog && wayback == 0))
		:: else
		fi;
		hang_up(OLD);
		hang_up(NEW);
		pc = ENDED
	}
}

/* --- sessions --- */

/* flipd's session is gone from flipd's view: what runs on it lives on, and holds the lock. */
inline orphaned(s)
{
	if
	:: pend[s] != NONE ->
		orph[s] = pend[s];
		pend[s] = NONE;
		rep[s] = LOST;
		if
		:: lock[s] == ME -> lock[s] = ORPHAN
		:: else
		fi
	:: else ->
		if
		:: lock[s] == ME -> lock[s] = FREE
		:: else
		fi
	fi;
	sess[s] = 0
}

inline hang_up(s)
{
	if
	:: sess[s] -> orphaned(s)
	:: else
	fi;
	rep[s] = SENT
}

inline send(s, what)
{
	pend[s] = what;
	rep[s] = SENT
}

/* --- the proof of the fence: on the session that has held old's lock since before the fence --- */
#ifdef MUTANT_LOCK_LOST_IGNORED
#define HOLDS(s) (REACH(s))
#else
#define HOLDS(s) (sess[s] && lock[s] == ME)
#endif
#ifdef MUTANT_POSITION_UNPROVEN
#define UNMOVED 1
#else
#define UNMOVED (oldlog == fin)
#endif
#define PROVEN (REACH(OLD) && HOLDS(OLD) && ro[OLD] && UNMOVED)

/* --- the look (lib/flip/look.c): this flip's sessions killed and seen gone, the lock, then the state --- */
inline quiet(s)
{
	if
	:: REACH(s) ->
#if defined(MUTANT_ORPHANS_LIVE) || defined(MUTANT_KILLED_NOT_SEEN)
		/* what an earlier life sent goes on (or dies later); its lock is taken for flipd's own */
		if
		:: pend[s] != NONE && orph[s] == NONE -> orph[s] = pend[s]
		:: else
		fi;
		if
		:: lock[s] == ORPHAN -> lock[s] = ME
		:: else
		fi;
#elif defined(MUTANT_UNDO_OVER_PENDING)
		/* what this life's own lock session still runs is not killed */
		if
		:: pend[s] != NONE -> orph[s] = pend[s]
		:: else -> orph[s] = NONE
		fi;
		if
		:: lock[s] == ORPHAN -> lock[s] = FREE
		:: else
		fi;
#else
		orph[s] = NONE;
		if
		:: lock[s] == ORPHAN -> lock[s] = FREE
		:: else
		fi;
#endif
		pend[s] = NONE;
		rep[s] = SENT;
		sess[s] = 1;
		if
		:: lock[s] == FREE -> lock[s] = ME
		:: else
		fi
	:: else
	fi
}

#ifdef MUTANT_CLOSED_IS_UNWRITTEN
#define NEW_SHUT_AS SHUT
#else
#define NEW_SHUT_AS (newlog -> SHUT_PLUS : SHUT)
#endif

inline look()
{
	quiet(OLD);
	quiet(NEW);
	A = (!REACH(OLD) -> X : (!ro[OLD] -> WIDE : (hasfin && oldlog > fin -> SHUT_PLUS : SHUT)));
	B = (!REACH(NEW) -> X : (!ro[NEW] -> (newlog -> WIDE_PLUS : WIDE) : NEW_SHUT_AS));
	foreign = (REACH(OLD) && (lock[OLD] == THEM || rowclosed)) || (REACH(NEW) && lock[NEW] == THEM);
	snap = VIEW;
	/* a word counts only while the side it speaks of has not answered */
	answered = (word == OLD_DEAD && A != X) || (word == NEW_DEAD && B != X);
	if
	:: answered -> fresh = 0
	:: else
	fi
}

#define OLD_WORD (word == OLD_DEAD && A == X)
#define NEW_WORD (word == NEW_DEAD && B == X)
#define ACCEPT (loss && (word == 0 || OLD_WORD || NEW_WORD))
#define GHOST_ACCEPT (fresh || word == 0)
#define A_SHUT (A == SHUT || A == SHUT_PLUS)
#define B_OPEN (B == WIDE || B == WIDE_PLUS)
#define B_SHUT (B == SHUT || B == SHUT_PLUS)
#define B_TOOK (B == SHUT_PLUS || B == WIDE_PLUS)
#define IN_TIME (!aborting && REACHED)
#ifdef MUTANT_REOPENED_FORGOTTEN
#define PAST_FIN (hasfin && REACHED)
#else
#define PAST_FIN (hasfin && REACHED && !jB)
#endif

/* Old opens, on the strength of this very look (decide_act.c). */
inline roll_back()
{
	if
	:: A == WIDE -> rep[OLD] = DONE
	:: else ->
		send(OLD, OPEN);
		jB = 1;
		blind = (B == X)
	fi;
	pc = W_OLD
}

inline close(s)
{
	if
	:: s == OLD -> walker = 0
	:: else
	fi;
	send(s, FENCE);
	pc = W_CLOSE
}

/* Opened again by a decision: old proven closed right before where it answers (decide_forward.c, open_new_now). */
inline open_new_now()
{
	send(NEW, OPEN);
	pc = W_NEW
}

/* Has new all of old, or has it forgotten old already (tail_applied)? */
#define TAIL (REACHED || !repl)

/* old is up and closed */
inline forward()
{
	if
	:: !OPENED && (B_OPEN || B == SHUT_PLUS) && !TAIL ->
		if
		:: B == WIDE -> close(NEW)
		:: else -> pc = WAITING
		fi
	:: B_OPEN && (OPENED || TAIL) -> pc = S_OPENED
	:: B_SHUT && (OPENED || (B == SHUT_PLUS && TAIL)) -> open_new_now()
	:: else ->
		plain = 1;
		pc = S_OPEN
	fi
}

/* New serves, old is out of reach. What is open by a restart or a hand may lack writes that old acknowledged: it is
 * taken for opened only when it has the final position. */
inline forward_blind()
{
	if
#ifndef MUTANT_SERVES_WITHOUT_TAIL
	:: !OPENED && B_OPEN && !(hasfin && REACHED) -> pc = WAITING
#endif
	:: B_SHUT ->
		jI = 1;
		jR = 0;
		open_new_now()
	:: else ->
		jO = 1;
		repl = 0;
		pc = WAITING
	fi
}

inline serve_stuck()
{
	if
	:: B_SHUT ->
		leaves = 1;
		lacks = 1;
		open_new_now()
#ifndef MUTANT_SERVES_WITHOUT_TAIL
	:: !B_SHUT && !OPENED && !TAIL -> pc = STUCK
#endif
	:: else ->
		jO = 1;
		repl = 0;
		pc = STUCK
	fi
}

inline failover()
{
	accepted = accepted || GHOST_ACCEPT;
	jI = 1;
	jR = 0;
	if
	:: B_SHUT -> open_new_now()
	:: else ->
		jO = 1;
		repl = 0;
		outcome = O_FAILOVER
	fi
}

/* The table of section 4, in its order; the first row that fits counts. settled: settle_timeout is over. */
inline decide(settled)
{
	if
	:: foreign && !jF -> outcome = O_ABORTED
	:: foreign && jF -> pc = STUCK
	:: else ->
		if
		:: !jF && !jI -> outcome = O_ABORTED
		:: (FENCED) -> decide_fenced()
		:: (INTENT) -> decide_intent(settled)
		:: (OPENED) -> decide_opened(settled)
		:: else -> pc = STUCK
		fi
	fi
}

inline decide_fenced()
{
	if
#ifdef RESUME
	:: A == SHUT && B == SHUT && recovered && !aborting && !jI && hasfin ->
		hasfin = 0;
		plain = 1;
		pc = S_KILL
#endif
	:: else ->
		if
		:: (A != X) && (B == SHUT || B == X) -> roll_back()
		:: A_SHUT && B_OPEN && ACCEPT -> failover()
		:: A_SHUT && (B == SHUT_PLUS || B_OPEN) && !(B_OPEN && ACCEPT) -> pc = STUCK
		:: A == WIDE && B == WIDE -> close(NEW)
		:: A == WIDE && B == WIDE_PLUS -> close(NEW) /* and stuck at the next look: F1 */
		:: A == WIDE && B == SHUT_PLUS -> pc = STUCK
		:: A == X && B == SHUT ->
			if
			:: OLD_WORD && PAST_FIN ->
				assert(loss || !oldly); /* a word alone gives up no write of old's */
				accepted = accepted || GHOST_ACCEPT;
				forward_blind()
			:: OLD_WORD && !PAST_FIN && ACCEPT -> failover()
			:: else -> pc = WAITING
			fi
		:: A == X && B == X -> pc = WAITING
		:: A == X && B_OPEN && OLD_WORD && ACCEPT -> failover()
		:: A == X && B_OPEN && !(OLD_WORD && ACCEPT) && jB -> close(NEW)
		:: else ->
			assert(!(A == X && B_OPEN && up[OLD] && !ro[OLD] && byflipd[OLD])); /* both open, and left so */
			pc = STUCK
		fi
	fi
}

inline decide_intent(settled)
{
	if
	:: A == SHUT && B == SHUT ->
		if
		:: IN_TIME -> forward()
		:: else -> pc = S_REVOKE
		fi
	:: A == SHUT_PLUS && B == SHUT -> pc = S_REVOKE
	:: A == WIDE && B == SHUT -> pc = S_REVOKE
	:: A == WIDE && B != SHUT -> close(OLD)
	:: A_SHUT && B_TOOK && ACCEPT -> failover()
	:: A == SHUT && B == WIDE && ACCEPT -> failover()
	:: A == SHUT && B == WIDE && !ACCEPT -> forward()
	:: A == SHUT && B_TOOK && !ACCEPT ->
		if
		:: settled && !TAIL -> pc = STUCK
		:: else -> forward()
		fi
	:: A == SHUT_PLUS && B == WIDE -> close(NEW)
	:: A == SHUT_PLUS && B_TOOK && !ACCEPT -> serve_stuck()
	:: A == X && B_SHUT ->
		if
		:: OLD_WORD && IN_TIME ->
			accepted = accepted || GHOST_ACCEPT;
			forward_blind()
		:: OLD_WORD && !IN_TIME && ACCEPT -> failover()
#ifdef MUTANT_OLD_UNSEEN
		:: !OLD_WORD && REACHED -> forward_blind()
#endif
		:: else -> pc = WAITING
		fi
	:: A == X && B_OPEN -> decide_serves(settled)
	:: A_SHUT && B == X -> decide_new_away()
	:: A == X && B == X -> pc = WAITING
	fi
}

inline decide_opened(settled)
{
	if
	:: A == WIDE -> close(OLD)
	:: A_SHUT && B != X && ACCEPT -> failover()
	:: A == SHUT && B != X && !ACCEPT -> forward()
	:: A == SHUT_PLUS && B != X && !ACCEPT -> serve_stuck()
	:: A == X && B_OPEN -> decide_serves(settled)
	:: A == X && B_SHUT ->
		if
		:: OLD_WORD && REACHED ->
			accepted = accepted || GHOST_ACCEPT;
			forward_blind()
		:: OLD_WORD && !REACHED && ACCEPT -> failover()
		:: else -> pc = WAITING
		fi
	:: A_SHUT && B == X -> decide_new_away()
	:: A == X && B == X -> pc = WAITING
	fi
}

inline decide_serves(settled)
{
	if
	:: OLD_WORD && ACCEPT -> failover()
	:: !(OLD_WORD && ACCEPT) && settled -> serve_stuck()
	:: else -> forward_blind()
	fi
}

inline decide_new_away()
{
	if
	:: NEW_WORD && ACCEPT ->
		accepted = accepted || GHOST_ACCEPT;
		jR = 1;
		jO = 0;
		roll_back()
#ifdef MUTANT_REVOKED_UNPROVEN
	:: !(NEW_WORD && ACCEPT) -> pc = S_REVOKE
#else
	:: else -> pc = WAITING
#endif
	fi
}

inline decided(settled)
{
	d_step {
		look();
		decide(settled);
#ifndef MUTANT_WORD_STICKS
		if
		:: answered ->
			word = 0;
			loss = 0
		:: else
		fi;
#endif
		answered = 0;
		foreign = 0;
		if
		:: outcome != RUNNING ->
			hang_up(OLD);
			hang_up(NEW);
			pc = ENDED
		:: pc == STUCK ->
			hang_up(OLD);
			hang_up(NEW)
		:: else
		fi
	}
}

/* --- flipd --- */
active proctype flipd()
{
end:
	do
	/* fence: new proven closed and without transactions of its own (preflight), its own position noted (0: baseline
	 * and way back), the record on disk first */
	:: atomic { pc == S_BEGIN ->
		if
		:: REACH(NEW) && HOLDS(NEW) && ro[NEW] && !newlog -> pc = S_JFENCE
		:: else -> pc = D
		fi }
	:: atomic { pc == S_JFENCE -> jF = 1; jB = 0; pc = S_FENCE }
	:: atomic { pc == S_FENCE ->
		if
		:: REACH(OLD) && HOLDS(OLD) ->
			send(OLD, FENCE);
			beat = 1;
			pc = W_FENCE
		:: else -> pc = D
		fi }
	:: atomic { pc == W_FENCE && rep[OLD] == DONE -> pc = S_KILL }
	:: atomic { pc == W_FENCE && rep[OLD] != SENT && rep[OLD] != DONE -> pc = D }
	/* kill: before the position is taken, where a session could walk through the fence */
#ifdef MUTANT_KILL_AFTER_POSITION
	:: atomic { pc == S_KILL -> pc = S_COORDINATES }
#else
	:: atomic { pc == S_KILL -> walker = 0; pc = S_COORDINATES }
#endif
	:: atomic { pc == S_COORDINATES ->
		if
		:: REACH(OLD) && HOLDS(OLD) && ro[OLD] ->
			fin = oldlog;
			hasfin = 1;
			pc = (plain -> S_SYNC : S_INTENT)
		:: else -> pc = D
		fi }
#ifdef MUTANT_POSITION_NOT_WAITED
	:: atomic { pc == S_SYNC -> pc = S_INTENT }
#else
	:: atomic { pc == S_SYNC && REACH(NEW) && sess[NEW] && REACHED -> pc = S_INTENT }
#endif
	:: atomic { pc == S_SYNC && !(REACH(NEW) && sess[NEW]) -> pc = D }
	/* intent: durable before anything that may open new is sent */
#ifdef MUTANT_INTENT_AFTER_OPEN
	:: atomic { pc == S_INTENT -> pc = S_OPEN }
#else
	:: atomic { pc == S_INTENT -> jI = 1; jR = 0; pc = S_OPEN }
#endif
	/* open: the last proof goes right before it */
	:: atomic { pc == S_OPEN ->
		if
#ifdef MUTANT_NO_LAST_PROOF
		:: sess[NEW] && REACH(NEW) ->
#else
		:: PROVEN && REACH(NEW) && HOLDS(NEW) ->
#endif
			send(NEW, (plain -> OPEN : GUARD));
			pc = W_OPEN
		:: else -> pc = D
		fi }
	:: atomic { pc == W_OPEN && rep[NEW] == DONE ->
#ifdef MUTANT_INTENT_AFTER_OPEN
		jI = 1;
#endif
		pc = S_OPENED }
	:: atomic { pc == W_OPEN && rep[NEW] == REFUSED && !tried -> tried = 1; pc = S_OPEN }
	:: atomic { pc == W_OPEN && rep[NEW] == REFUSED -> pc = D }
#ifdef MUTANT_UNKNOWN_IS_NO
	:: atomic { pc == W_OPEN && rep[NEW] == LOST -> jR = 1; pc = D }
#else
	:: atomic { pc == W_OPEN && rep[NEW] == LOST -> pc = D }
#endif
	:: atomic { pc == S_OPENED -> jO = 1; pc = S_DETACH }
	:: atomic { pc == S_DETACH ->
		if
		:: REACH(NEW) && !ro[NEW] ->
			repl = 0;
#ifdef MUTANT_WAY_BACK_LATE
			wayback = newlog;
#endif
			pc = S_REVERSE
		:: else -> pc = D
		fi }
	/* reverse: old closed, and nothing in its log after the final position; else kept out */
	:: atomic { pc == S_REVERSE ->
		if
#ifdef MUTANT_REVERSE_UNSEEN
		:: REACH(OLD) && ro[OLD] -> ends(O_DONE)
#else
		:: REACH(OLD) && ro[OLD] && oldlog <= fin -> ends(O_DONE)
#endif
		:: REACH(OLD) && ro[OLD] && oldlog > fin && !hasfin -> /* a failover had no position: settle_timeout */
			pc = STUCK;
			hang_up(OLD);
			hang_up(NEW)
		:: else -> pc = D
		fi }

	/* decide: look, ask the table, act on the strength of this very look */
	:: atomic { pc == D -> decided(0) }
	:: atomic { pc == D && jI && !REACH(OLD) && REACH(NEW) && !ro[NEW] -> decided(1) }
	:: atomic { pc == D && jI && newlog > 0 && !TAIL -> decided(1) }
	/* a revocation is durable before old opens; the table has seen new closed and unwritten, or opens nothing */
	:: atomic { pc == S_REVOKE ->
#ifdef MUTANT_REVOKED_AFTER_OPEN
		if
		:: REACH(OLD) && ro[OLD] ->
			send(OLD, OPEN);
			pc = W_OLD
		:: else ->
			jR = 1;
			pc = D
		fi
#else
		jR = 1;
		pc = D
#endif
		}
	:: atomic { pc == W_OLD && rep[OLD] == DONE ->
#ifdef MUTANT_REVOKED_AFTER_OPEN
		jR = 1;
#endif
		if
		:: !REACH(OLD) || ro[OLD] -> pc = D
		:: REACH(NEW) && !ro[NEW] -> pc = D
		:: else -> ends(O_BACK)
		fi }
	:: atomic { pc == W_OLD && rep[OLD] != SENT && rep[OLD] != DONE -> pc = D }
	:: atomic { pc == W_CLOSE && (rep[OLD] != SENT || rep[NEW] != SENT) -> pc = D }
	:: atomic { pc == W_NEW && rep[NEW] == DONE ->
		if
		:: leaves ->
			jO = 1;
			repl = 0;
			pc = STUCK;
			hang_up(OLD);
			hang_up(NEW)
		:: else ->
			jO = 1;
			pc = D
		fi }
	:: atomic { pc == W_NEW && rep[NEW] != SENT && rep[NEW] != DONE -> pc = D }
	:: atomic { pc == WAITING && VIEW != snap -> pc = D }
	od
}

#ifndef MUTANT_NO_PROVER
/* The guard: a missing proof, or a position that moved, withdraws the opening; so does new found open before anything
 * that opens it was sent. */
active proctype prover()
{
end:
	do
	:: atomic { (pc == S_SYNC || pc == S_OPEN || pc == W_OPEN) && !PROVEN -> pc = D }
	:: atomic { (pc == S_SYNC || pc == S_OPEN) && REACH(NEW) && !ro[NEW] -> pc = D }
	od
}
#endif

/* --- the servers carry out what was sent --- */
inline answer(s, what)
{
	pend[s] = NONE;
	rep[s] = what
}

inline orphan_ends(s)
{
	orph[s] = NONE;
	if
	:: lock[s] == ORPHAN -> lock[s] = FREE
	:: else
	fi
}

#ifdef MUTANT_POSITION_NOT_WAITED
#define GUARD_MET 1
#else
#define GUARD_MET (newapp >= fin)
#endif

active proctype servers()
{
end:
	do
	:: atomic { pend[OLD] == FENCE -> closes(OLD); answer(OLD, DONE) }
	:: atomic { pend[NEW] == FENCE -> closes(NEW); answer(NEW, DONE) }
	:: atomic { pend[OLD] == OPEN -> opens_old(); answer(OLD, DONE) }
	:: atomic { pend[NEW] == OPEN -> opens_new(); answer(NEW, DONE) }
	:: atomic { pend[NEW] == GUARD && GUARD_MET ->
#ifdef MUTANT_OFF_THE_LOCK
		opens_new();
		answer(NEW, DONE)
#else
		if
		:: lock[NEW] == ME ->
			opens_new();
			answer(NEW, DONE)
		:: else -> answer(NEW, REFUSED)
		fi
#endif
		}
	:: atomic { orph[OLD] == FENCE -> closes(OLD); orphan_ends(OLD) }
	:: atomic { orph[NEW] == FENCE -> closes(NEW); orphan_ends(NEW) }
	:: atomic { orph[OLD] == OPEN -> opens_old(); orphan_ends(OLD) }
	:: atomic { orph[NEW] == OPEN -> opens_new(); orphan_ends(NEW) }
	:: atomic { orph[NEW] == GUARD && GUARD_MET -> opens_new(); orphan_ends(NEW) }
	/* the server's own limits */
	:: atomic { pend[OLD] == FENCE && faults < FAULTS -> faults++; answer(OLD, REFUSED) }
	:: atomic { pend[NEW] == GUARD -> answer(NEW, REFUSED) }
#ifndef MUTANT_NO_LIMIT
	:: atomic { orph[NEW] == GUARD -> orphan_ends(NEW) }
	:: atomic { orph[OLD] == FENCE -> orphan_ends(OLD) }
#endif
#ifdef MUTANT_KILLED_NOT_SEEN
	:: atomic { orph[NEW] != NONE && LIVES -> orphan_ends(NEW) }
	:: atomic { orph[OLD] != NONE && LIVES -> orphan_ends(OLD) }
#endif
	od
}

/* --- applications and replication --- */
active proctype world()
{
end:
	do
	:: atomic { repl && up[NEW] && up[OLD] && newapp < oldlog -> newapp++ }
	:: atomic { up[OLD] && !ro[OLD] && oldlog < OLD_WRITES -> oldlog++; oldly = oldly || byflipd[OLD] }
	:: atomic { up[OLD] && walker && ro[OLD] -> walker = 0; oldlog++ }
	:: atomic { up[NEW] && !ro[NEW] && newlog < NEW_WRITES ->
		newlog++;
		if
		:: byflipd[NEW] -> newly = 1
		:: else
		fi }
	/* a heartbeat that queued before the fence: its guard, in the statement, finds the server closed */
#ifdef MUTANT_HEARTBEAT_UNGUARDED
	:: atomic { beat && up[OLD] -> beat = 0; oldlog++ }
#endif
	od
}

/* --- faults, at most FAULTS of them --- */
inline crashes(s)
{
	faults++;
	up[s] = 0;
	byflipd[s] = 0;
	orph[s] = NONE;
	if
	:: pend[s] != NONE ->
		pend[s] = NONE;
		rep[s] = LOST
	:: else
	fi;
	sess[s] = 0;
	lock[s] = FREE
}

inline killed(s)
{
#ifdef MUTANT_OFF_THE_LOCK
	/* the opening was sent on another session than the lock's: it does not notice */
	if
	:: s == NEW && pend[s] == GUARD
	:: else ->
		if
		:: pend[s] != NONE ->
			pend[s] = NONE;
			rep[s] = LOST
		:: else
		fi;
		sess[s] = 0
	fi;
#else
	if
	:: pend[s] != NONE ->
		pend[s] = NONE;
		rep[s] = LOST
	:: else
	fi;
	sess[s] = 0;
#endif
	if
	:: lock[s] == ME -> lock[s] = FREE
	:: else
	fi
}

active proctype faulty()
{
end:
	do
	:: atomic { faults < FAULTS && up[OLD] -> crashes(OLD); walker = 0; beat = 0; if :: gone[OLD] = 1 :: skip fi }
	:: atomic { faults < FAULTS && up[NEW] -> crashes(NEW); if :: gone[NEW] = 1 :: skip fi }
	:: atomic { !up[OLD] && !gone[OLD] -> up[OLD] = 1; ro[OLD] = 1 }
	:: atomic { !up[OLD] && !gone[OLD] && CALM_OLD -> up[OLD] = 1; ro[OLD] = 0 }
	:: atomic { !up[NEW] && !gone[NEW] -> up[NEW] = 1; ro[NEW] = 1 }
	:: atomic { !up[NEW] && !gone[NEW] && CALM_NEW -> up[NEW] = 1; ro[NEW] = 0 }
	/* cut off: statements and their sessions live on in the server */
	:: atomic { faults < FAULTS && up[OLD] && !cut[OLD] -> faults++; cut[OLD] = 1; orphaned(OLD) }
	:: atomic { faults < FAULTS && up[NEW] && !cut[NEW] -> faults++; cut[NEW] = 1; orphaned(NEW) }
	:: atomic { cut[OLD] -> cut[OLD] = 0 }
	:: atomic { cut[NEW] -> cut[NEW] = 0 }
	/* somebody's hand */
	:: atomic { faults < FAULTS && up[OLD] && ro[OLD] && CALM_OLD -> faults++; ro[OLD] = 0; byflipd[OLD] = 0 }
	:: atomic { faults < FAULTS && up[OLD] && !ro[OLD] && jF -> faults++; ro[OLD] = 1 }
	:: atomic { faults < FAULTS && up[NEW] && ro[NEW] && CALM_NEW -> faults++; ro[NEW] = 0; byflipd[NEW] = 0 }
	/* flipd is killed; what it sent goes on without it */
	:: atomic { faults < FAULTS && LIVES && pc != STUCK && pc != ENDED ->
		faults++;
		pc = DEAD;
		orphaned(OLD);
		orphaned(NEW);
		rep[OLD] = SENT;
		rep[NEW] = SENT;
		aborting = 0;
		tried = 0;
		word = 0;
		loss = 0;
		fresh = 0;
		leaves = 0;
		A = 0;
		B = 0;
		snap = 0;
#ifdef MUTANT_INTENT_NOT_DURABLE
		jI = 0;
#endif
#ifdef MUTANT_REVOKED_NOT_DURABLE
		jR = 0;
#endif
		if
		:: !jI && hasfin -> hasfin = 0 /* the machine, too: what was not durable is gone */
		:: skip
		fi }
	:: atomic { pc == DEAD -> recovered = 1; pc = D }
#ifdef OTHER
	/* a session of flipd's is killed by a hand: its statement and its lock go with it */
	:: atomic { faults < FAULTS && sess[OLD] -> faults++; killed(OLD) }
	:: atomic { faults < FAULTS && sess[NEW] -> faults++; killed(NEW) }
#endif
	od
}

#ifdef OTHER
/* Another flipd: both locks, a look, then old opens and the row is closed. The locks alone keep it from opening old
 * beside an opening of new. */
active proctype another()
{
end:
	do
	:: atomic { other == 0 && outcome == RUNNING && jF && up[OLD] && up[NEW] && lock[OLD] == FREE && lock[NEW] == FREE ->
		lock[OLD] = THEM;
		lock[NEW] = THEM;
		other = 1 }
	:: atomic { other == 1 && lock[NEW] == THEM ->
		if
		:: ro[NEW] && ro[OLD] && !newlog -> other = 2
		:: else -> other = 3
		fi }
	:: atomic { other == 2 && lock[OLD] == THEM && lock[NEW] == THEM && up[OLD] && CALM_NEW ->
		assert(!(up[NEW] && !ro[NEW] && byflipd[NEW]));
		ro[OLD] = 0;
		rowclosed = 1;
		other = 3 }
	:: atomic { (other == 1 || other == 2) && (lock[OLD] != THEM || lock[NEW] != THEM) -> other = 3 }
	:: atomic { other == 3 ->
		if
		:: lock[OLD] == THEM -> lock[OLD] = FREE
		:: else
		fi;
		if
		:: lock[NEW] == THEM -> lock[NEW] = FREE
		:: else
		fi;
		other = 4 }
	od
}
#endif

/* --- the operator --- */
inline says(which, accepts)
{
	resolves++;
	word = which;
	loss = accepts;
	fresh = (which != 0);
	aborting = 0;
	recovered = 1;
	leaves = 0;
	pc = D
}

active proctype operator()
{
end:
	do
	/* abort, or max_blackout: until new is open */
	:: atomic { !aborting && pc >= S_BEGIN && pc <= W_OPEN && pc != S_INTENT && !jO -> aborting = 1; pc = D }
	:: atomic { (pc == STUCK || pc == WAITING) && resolves < RESOLVES ->
		if
		:: says(0, 0)
		:: says(0, 1)
		:: says(OLD_DEAD, 0)
		:: says(OLD_DEAD, 1)
		:: says(NEW_DEAD, 1)
		fi }
	od
}

/* When nothing moves any more, the flip has ended, or waits for an operator with a side out of reach or a reason. */
active proctype observer()
{
end:
	do
	:: atomic { timeout ->
		assert(pc == ENDED || pc == STUCK || pc == WAITING);
		assert(pc != WAITING || gone[OLD] || gone[NEW] || newlog > 0);
		/* without a fault and without an abort a flip is done */
		assert(faults > 0 || aborting || resolves > 0 || outcome != RUNNING);
		assert(outcome != O_BACK || pend[OLD] == NONE);
		break }
	od
}
