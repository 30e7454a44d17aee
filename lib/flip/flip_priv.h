/*
 * flip_priv: one flip's own state, shared by the rooms of lib/flip: flip.c (table, life), runner.c (runs the
 * table), steps_*.c (the rows), decide.c (roll back and recovery, one engine), guard.c (proofs while it
 * matters), journaling.c, document.c (JSON), plan.c.
 */
#ifndef FLIP_FLIP_PRIV_H
#define FLIP_FLIP_PRIV_H

#include "lib/base/arena.h"
#include "lib/flip/flip.h"
#include "lib/io/fiber.h"
#include "lib/model/wire.h"

#define STEPS_MAX 24
#define MARKS_MAX 64   /* sessions a flip opens on one side, over restarts too */
#define STEP_SKIPPED 1 /* a run answered: nothing to do here */
/* Kills in one statement: a KILL takes 2 s now and then where its session is about to wait (10.11.19, 5 of
 * 1980 in SLEEP()). Cut off it would go on in the server; what may not last so long is cut by its own budget.
 */
#define KILLS_MS 10000
#define ROUND_TRIP_MS 3000	/* a server that takes longer for a plain statement counts as not answering */
#define REPLICATION_UP_MS 10000 /* the same for one that starts, stops or forgets its replication */
#define BLOCKER_GRACE_MS 10	/* statements that end by themselves by then are let go by the fence */
#define KILL_SILENCE_MS 20	/* without those who walk through the fence, after one of them was killed */

enum step_status {
	STEP_PENDING,
	STEP_RUNNING,
	STEP_DONE,
	STEP_WAS_SKIPPED,
	STEP_FAILED,
	STEP_UNKNOWN,
	STEP_UNDONE
};

struct step_state {
	enum step_status status;
	int64_t started_wall_ms, started_us, duration_us; /* duration -1 while none */
	char detail[256];
	struct fiber *fiber; /* early and late rows */
	bool spawned, finished, unsaid;
	int result; /* of the fiber, once done */
	struct err err;
	bool begun; /* ever run, in this life or (by the journal) an earlier one: its undo is due */
};

struct flip_side {
	enum conf_side side;
	struct cluster_server *server;
	struct session *lock, *act, *reaper;
	bool locked;			/* lock holds the cluster's named lock */
	struct facts_identity identity; /* as first seen by this flip; server_id 0: not yet */
	int nmarks;
	struct session_mark marks[MARKS_MAX];
	bool out_of_reach; /* as last looked at */
};

struct victim {
	char server[64], user[128], host[128], db[64], digest[64];
	uint64_t id;
	int64_t age_ms;
};

struct attempt {
	int64_t at_wall_ms, blackout_us;
	char blockers[256];
};

struct flip_end_state { /* an endpoint's part */
	enum { EP_PENDING, EP_SWITCHED, EP_REVERTED, EP_FAILED } state;
	bool begun;
};

#define HEARTBEAT_FAST_MS 20 /* of a flip, from lock to the fence */
#define LISTENERS_MAX 16

struct flip {
	struct cluster *cluster;
	struct conf *snapshot;
	const struct conf_cluster *conf;
	struct conf_policy policy; /* with the request's overrides */
	struct journal *journal;
	struct arena *arena;
	char id[64], run[64], host[128];
	struct flip_request request;
	enum conf_side from, to;
	enum flip_state state;
	enum flip_outcome outcome;
	bool rolling_back;
	bool hasty; /* another flip waits for the end of this one */
	int64_t started_wall_ms, ended_wall_ms;

	struct flip_side old_side, new_side;
	struct step_state st[STEPS_MAX];
	struct fiber_cond row_cond; /* an early or late row has returned */
	int order[STEPS_MAX];	    /* rows in the order they run or are joined */
	int norder;
	bool guarded, kill_late, use_gtid;
	bool journal_begun; /* the flip has its row in the journal */
	bool row_written;   /* the flip's row was written on old */
	bool closing;	    /* its row is being closed by ourselves */

	struct preflight preflight;
	int nbypass;			    /* accounts that walk through old's fence */
	struct facts_account *bypass;	    /* in the arena */
	const struct facts_account *walker; /* the last of them that had a session killed; NULL: none */
	int64_t walker_us;		    /* when */
	int comebacks;			    /* sweeps that found one again that had been killed before */
	bool no_space, no_space_told;	    /* the last sweep killed nobody: a commit waits for disk space */
	struct session *fence_probe;	    /* as the probe account, on old; warm before the fence */
	struct facts old_facts, new_facts;  /* as preflight or drain last saw them */
	struct provider_ctx ctx;

	int64_t beat_before_ms; /* of old, before this flip made it beat fast */
	int64_t drained_us;	/* when drain last found nothing in the way */

	/* what is noted for the undo */
	char noted_scheduler[16];
	bool noted_semi_sync, semi_sync_changed, scheduler_changed, hooks_begun;
	bool *follows; /* conf->nreplicas, in the arena: follows new; NULL until repoint has begun */
	int nevents;   /* enabled on old; in the arena */
	const char **events;
	int nlocked; /* accounts that the flip has locked on old, or was about to; in the arena */
	struct facts_account *locked;
	bool unlocked; /* all of them, proven */
	int nshut;     /* accounts that cannot log in to old, whoever has locked them */
	const struct facts_account *shut;

	/* the fence */
	int attempt;
	bool fence_journaled, fence_issued, fence_answered, fence_refused;
	struct fence_write { /* the write of the probe account that the fence must refuse */
		struct session *session;
		struct fiber *fiber;
		enum act act;
		struct err err;
	} fence_write;
	int64_t fence_us, fence_wall_ms; /* when it was issued: the blackout begins */
	struct fiber_cond fence_cond;
	struct facts_position
		baseline; /* new's own log before the fence: F0 is measured from it; the way back */
	bool has_baseline;
	struct facts_identity fenced_boot; /* old's, in an earlier life: of its newest session at the fence */
	struct facts_position before;	   /* old's, right before its fence */
	struct facts_position final;	   /* old's */
	bool has_final;
	struct facts_position
		repoint; /* new's, between its last applied and its first own write (file mode) */
	char blockers_seen[256];
	int64_t blocker_since_us; /* when the statement began that the fence has waited for longest, or that
				     drain last saw writing; 0: none */

	/* the intent and the opening */
	bool new_fences_open; /* those beside read_only may be: a roll back closes them again */
	bool intent_durable;  /* known to be on disk: only then may new be opened */
	bool intent, revoked, open_sent, open_unknown, opened;
	int64_t opened_us, opened_wall_ms;
	struct fiber_cond opened_cond;
	struct fiber *prover;
	bool prover_stop, proof_failed;
	struct err proof_err;
	int64_t proved_us;		/* when the last good one was answered */
	struct fiber_mutex proof_mutex; /* proofs and the opening share lock sessions */
	struct fiber_cond prover_cond;
	bool old_out;  /* old is kept out: not made a replica */
	bool mismatch; /* new serves and lacks what verify looked for: an operator decides */

	/* budget and cancel */
	struct fiber *fiber;  /* that runs flip_run or flip_recover */
	struct fiber *budget; /* cancels at max_blackout */
	bool hush;	      /* in the first moments of the blackout: steps are told afterwards */
	char stop_why[256];   /* why it was asked to stop; empty: it was not */
	bool aborting, terminating, out_of_time;
	struct flip_word word;
	int word_doubts;       /* how often its side has answered right before something was opened on it */
	bool recovered;	       /* came from the journal */
	int64_t look_since_us; /* recovery: when it first looked */
	int64_t undo_since_us; /* old was opened again in this life: the rest of the undo has settle_timeout
				  from here */
	bool old_reopened;     /* since its last fence; it may have taken writes */
	int unfence_tries;
	int64_t blind_since_us; /* old was opened while new was out of reach */

	struct probe *probe;
	struct probe_result probe_result;
	bool has_probe_result;
	int64_t predicted_us; /* the blackout, by a rehearsal; -1 */
	bool rehearsed;	      /* a rehearsal went through; what it did is to be undone */
	int nvictims, victims_cap;
	struct victim *victims;
	int nattempts;
	struct attempt attempts[16];
	struct flip_end_state *ends; /* conf->nendpoints */
	struct fiber *told;	     /* runs the hooks after_open, once in each life */
	bool told_over;
	int nwarnings, warnings_cap;
	char **warnings;
	struct err error; /* why it did not end as asked */
	char error_step[32];
	struct {
		flip_event_fn fn;
		void *arg;
	} listeners[LISTENERS_MAX];
	int nlisteners;
	struct wire *past; /* a loaded flip: its document as last saved, for what is not in the records */
};

/* flip.c */
int step_index(const char *name); /* asserts that it is there */
void flip_set_state(struct flip *, enum flip_state);
void flip_warn(struct flip *, const char *fmt, ...) PRINTF(2, 3);
void flip_fail(struct flip *, const char *step, const struct err *);  /* keeps the first */
void flip_emit(struct flip *, const char *type, struct wire *detail); /* frees detail */
void flip_emit_step(struct flip *, int row);
void flip_emit_kept(struct flip *); /* what was kept back in the blackout */
struct flip_side *flip_side_by(struct flip *, enum conf_side);
int64_t flip_deadline(int64_t ms);
void flip_step_detail(struct flip *, const char *step, const char *fmt, ...) PRINTF(3, 4);
/* An act's answer as an error code: 0, -EREMOTEIO refused (or err's own code), -EUNATCH unknown. */
int flip_rc(enum act, const struct err *);
void flip_end(struct flip *, enum flip_outcome); /* MAY_WAIT: saves, then state */
/* Closes every session of the flip. */
void flip_close_sessions(struct flip *);

/* document.c */
void flip_read_past(struct flip *); /* of a loaded flip: what its past document says went wrong */

/* journaling.c */
int MAY_WAIT jn_write(
	struct flip *, const char *kind, const char *step, struct wire *data, bool durable, struct err *);
struct wire *jn_position(const struct facts_position *);
void jn_read_position(const struct wire *, struct facts_position *ret);
struct wire *jn_mark(const struct session_mark *);
int jn_read_mark(const struct wire *, struct session_mark *ret);
enum recover_phase jn_phase(const struct flip *);
/* Replays the records into a loaded flip; -EBADMSG: they are damaged, the reason in err. */
int jn_replay(struct flip *, const struct journal_record *, int n, struct err *) MUSTCHECK;

/* runner.c */
void runner_order(struct flip *);
/* Runs the rows of the order from the row named (NULL: the first) to the end. 0, or the error of the failing
 * row (its name in f->error_step). */
int MAY_WAIT runner_run(struct flip *, const char *from_row, struct err *);
/* Cancels and joins whatever early and late rows are under way. */
void MAY_WAIT runner_stop_all(struct flip *);
bool MAY_WAIT runner_undo(struct flip *, const char *row); /* false: not undone, warned of */
/* One fence, from its issue to now, and who stood in its way: withdrawn, rolled back or followed by the
 * opening. */
void runner_note_attempt(struct flip *);

/* sessions.c */
int MAY_WAIT sess_open(
	struct flip *, struct flip_side *, enum session_role, int64_t deadline_us, struct err *);
/* What the side shows at this moment, on its reaper, which is opened where it is not: limit_ms for each of
 * both. Asked twice, since a session that has gone with a restart of its server shows that only when it is
 * used. Negative when there is no answer; *err says why. */
int MAY_WAIT sess_ask(
	struct flip *, struct flip_side *, int64_t limit_ms, struct node_proof *ret, struct err *);
int MAY_WAIT sess_open_all(struct flip *, struct flip_side *, int64_t deadline_us, struct err *);
/* Opens again whatever session but the locks' a withdrawn fence or a server has cost: before the fence
 * nothing is lost with them. */
int MAY_WAIT sess_reopen(struct flip *, struct err *);
void sess_tag(struct flip *, const char *step);
/* Every statement of this flip on that side is known to be gone (SPEC.md, a statement outlives its client).
 */
enum act MAY_WAIT sess_quiet(struct flip *, struct flip_side *, int64_t deadline_us, struct err *);

/* steps_before.c */
int MAY_WAIT side_take_lock(struct flip *, struct flip_side *, struct err *);
int MAY_WAIT row_write(struct flip *, struct session *act, const char *state, struct err *);

/* steps_drain.c */
int64_t drain_lag_ms(
	const struct facts *old_facts, const struct facts *new_facts); /* by heartbeat; 0 not known */
/* Right before the fence: -EAGAIN when the moment that drain saw has passed. */
int MAY_WAIT drain_still(struct flip *, struct err *);
int drain_give_way(struct flip *, struct err *); /* the fence is had: -EAGAIN, new has yet to catch up */

bool drain_is_writing(const struct facts_session *); /* its statement changes something */

/* steps_fence.c */
int64_t outer_deadline(const struct conf_fence *); /* of one try at a fence beside read_only */
int MAY_WAIT fence_write_end(struct flip *, struct err *);
void MAY_WAIT fence_write_drop(struct flip *);

/* steps_events.c */
void MAY_WAIT fence_probe_warm(struct flip *); /* its session, where one is configured and none lives */
int MAY_WAIT events_semi_sync_off(struct flip *, struct err *);
/* 0, or -ENOSYS naming a fence or endpoint that this build cannot work. */
int have_adapters(const struct flip *, struct err *);
bool channel_uses_gtid(const struct facts_channel *); /* takes NULL */
/* Whether the configuration asks for sync and verify before the intent; a group's members do besides. */
bool needs_plain_order(const struct conf_cluster *, enum conf_side to, bool use_gtid);
int MAY_WAIT events_back(struct flip *, struct err *); /* the scheduler only */

/* accounts.c */
int MAY_WAIT accounts_lock(struct flip *, struct err *);   /* of sessions.lock_accounts, on old; proven */
int MAY_WAIT accounts_unlock(struct flip *, struct err *); /* those that it has locked; idempotent, proven */
void MAY_WAIT accounts_unlock_patiently(struct flip *);	   /* tries again; at last a warning */
void accounts_tell_left(struct flip *); /* a warning for those not proven unlocked: what an operator says */
void accounts_replay(struct flip *, const struct wire *);
/* Whoever walks through old's fence by that name is locked out by now. */
bool accounts_shut(const struct flip *, const char *user);

/* steps_endpoints.c */
int MAY_WAIT endpoints_after_open(struct flip *, struct err *);
bool endpoints_left(const struct flip *); /* some of order after_open are not switched */
/* One more try at those, while new is the master; the label of one that is switched now, or NULL. A cancel is
 * kept for the caller. */
const char *MAY_WAIT endpoints_follow_up(struct flip *);
/* Connections opened, so that the switch finds them; 0, or why an endpoint before_open is out of reach. */
int MAY_WAIT endpoints_warm(struct flip *, struct err *);

/* steps_open.c */
int64_t budget_left_ms(const struct flip *);		  /* of max_blackout; at least 1 */
void goal_of(const struct flip *, struct node_goal *ret); /* the final position */
void goal_at(const struct flip *, const struct facts_position *of_old, struct node_goal *ret);
/* The row as old wrote it last (its marker is f->attempt) has come out on new. */
int MAY_WAIT verify_marker(struct flip *, struct err *);
int MAY_WAIT open_other_fences(struct flip *, struct err *); /* of new: all but read_only; idempotent */
int MAY_WAIT open_confirmed(
	struct flip *, struct err *); /* new answered that it is open: noted, then made durable */

/* steps_after.c */
void tell_opened(struct flip *); /* the hooks after_open, once in each life; awaited at the flip's end */
int MAY_WAIT side_facts(struct session *, struct arena *, struct facts **ret, struct err *);
const struct facts_channel *channel_from_new(const struct flip *, const struct facts *);
/* Starts what is set up; what a crash has broken is forgotten (*ret_broken) where its position is not needed.
 */
int MAY_WAIT side_restart(struct session *, bool may_forget, bool *ret_broken, struct err *);
int MAY_WAIT side_follow(struct session *, const struct node_follow *, struct err *);
int MAY_WAIT await_replication(struct flip *, struct session *, const char *name, struct err *);
void way_back(const struct flip *, struct node_follow *ret);
int64_t settle_deadline(const struct flip *);
bool settle_over(const struct flip *);

/* settings.c: on new, once it serves; tried again, at last a warning */
void MAY_WAIT settings_scheduler_on(struct flip *);
void MAY_WAIT settings_semi_sync_on(struct flip *);

/* guard.c */
void guard_start(struct flip *);
void MAY_WAIT guard_stop(struct flip *);
/* Stops it with a last proof that old is closed, for which it waits until settle_timeout. */
int MAY_WAIT guard_end(struct flip *, struct err *err);
/* Judges a proof of old; the first good one becomes the final position. 0, or why the opening must be
 * withdrawn. */
int guard_judge(struct flip *, const struct node_proof *, struct err *);
/* One proof now, on the lock's own session. 0, or why the opening must be withdrawn. */
int MAY_WAIT guard_prove(struct flip *, struct err *);

/* kill.c */
/* Kills all client sessions on a side until none is left or limit_ms; 0: one sweep. */
int MAY_WAIT kill_all(struct flip *, struct flip_side *, int64_t limit_ms, bool *ret_none_left, struct err *);
/*
 * The same on old, behind its fence, until kill_timeout. -EBUSY, by name, if an account that walks through
 * the fence connects again however often it is killed; once new is open that is a warning.
 */
int MAY_WAIT kill_behind_fence(struct flip *, bool *ret_none_left, struct err *);
/* The account of that name that walks through old's fence, or NULL. */
const struct facts_account *kill_bypass(const struct flip *, const char *user);
/* By account and kind of session alone: the server's own, replication, flipd's, configured users. */
bool kill_exempt_user(const struct conf_policy *, const struct conf_server *, const struct facts_session *);
bool kill_exempt(const struct flip *, const struct flip_side *, const struct facts_session *);

/* decide.c */
void MAY_WAIT decide_run(
	struct flip *); /* roll back, forward or recovery: until the flip has ended or is stuck */

/* verify.c */
int MAY_WAIT verify_prepare(struct flip *, struct err *);
int MAY_WAIT verify_compare(struct flip *, struct err *);
/* Reads on new what verify_compare would read on both sides, and judges nothing. 0 tables: verify is none. */
int MAY_WAIT verify_time(struct flip *, int *ret_tables, int64_t *ret_us, struct err *);

/* rehearse.c */
/* After the rows before the fence: what the further ones wait for, measured without stopping a write. */
int MAY_WAIT rehearse(struct flip *, struct err *);

/* recall.c */
/* Once both locks' sessions are there: predicted_us, if the last rehearsal still counts. */
void MAY_WAIT recall_prediction(struct flip *);

/* hooks.c */
int MAY_WAIT hooks_run(struct flip *, const struct conf_list *, const char *action, bool must, struct err *);

/* The rows, in table order; steps_before.c, steps_drain.c, steps_fence.c, ... */
#define STEP_FN(name) int MAY_WAIT name(struct flip *, struct err *)
STEP_FN(step_preflight);
STEP_FN(step_lock);
STEP_FN(step_lock_undo);
STEP_FN(step_lock_undone);
STEP_FN(step_flush);
STEP_FN(step_drain);
STEP_FN(step_events);
STEP_FN(step_events_undo);
STEP_FN(step_events_undone);
STEP_FN(step_fence);
STEP_FN(step_fence_verify);
STEP_FN(step_fence_undo);
STEP_FN(step_fence_undone);
STEP_FN(step_kill);
STEP_FN(step_coordinates);
STEP_FN(step_endpoints);
STEP_FN(step_endpoints_verify);
STEP_FN(step_endpoints_undo);
STEP_FN(step_endpoints_undone);
STEP_FN(step_intent);
STEP_FN(step_intent_undo);
STEP_FN(step_sync);
STEP_FN(step_verify);
STEP_FN(step_open);
STEP_FN(step_open_verify);
STEP_FN(step_detach);
STEP_FN(step_detach_verify);
STEP_FN(step_reverse);
STEP_FN(step_reverse_verify);
STEP_FN(step_flush_again);
STEP_FN(step_repoint);
STEP_FN(step_propagate);
STEP_FN(step_finish);
#undef STEP_FN

#endif
