/*
 * flip: THE PROCEDURE, as a table of steps, and one flip that runs it.
 *
 *     running --> ended (done, nothing_to_do, refused, aborted, rolled_back)
 *        |  \---> stuck --(resolve)--> recovering --> ended | stuck
 *        \-- crash --> recovering --> ended | stuck
 */
#ifndef FLIP_FLIP_H
#define FLIP_FLIP_H

#include "lib/base/err.h"
#include "lib/cluster/cluster.h"
#include "lib/flip/preflight.h"
#include "lib/model/recover.h"
#include "lib/store/journal.h"

struct flip;
struct wire;

enum step_kind { BACK, PIVOT, FORWARD }; /* before, at, after the intent */

struct step {
	const char *name; /* the word in journal, log, status, metric and man page */
	const char *side; /* "old", "new", "both", "replicas", "" */
	const char *does; /* one sentence for the operator */
	int MAY_WAIT (*run)(struct flip *, struct err *); /* acts; idempotent */
	int MAY_WAIT (*verify)(
		struct flip *, struct err *); /* asks the world, never memory; NULL: run proves itself */
	int MAY_WAIT (*undo)(struct flip *, struct err *);   /* idempotent; safe if run never acted */
	int MAY_WAIT (*undone)(struct flip *, struct err *); /* proof of the undo */
	int64_t limit_ms;
	const char *early; /* may start when this row starts; joined, verified, journaled at its own place */
	bool late;	   /* joined before finish */
	bool changes;	   /* changes the world: then undo and undone are needed before the pivot */
	bool either;	   /* changes nothing: before or after the PIVOT, as the chosen order says */
	enum step_kind kind;
};

extern const struct step steps[];
extern const int steps_count;
/* 0, or -EINVAL naming the row and what is wrong with the table; checked at start. */
int steps_check(const struct step *table, int n, struct err *) MUSTCHECK;
/* --print-steps and --print-steps=dot; freed by the caller. */
char *steps_print(bool dot);

enum flip_state { FLIP_SCHEDULED, FLIP_RUNNING, FLIP_RECOVERING, FLIP_STUCK, FLIP_ENDED };
enum flip_outcome {
	FLIP_NO_OUTCOME,
	FLIP_DONE,
	FLIP_NOTHING_TO_DO,
	FLIP_REFUSED,
	FLIP_ABORTED,
	FLIP_ROLLED_BACK,
	FLIP_OUTCOME_STUCK
};
const char *flip_state_name(enum flip_state);
const char *flip_outcome_name(enum flip_outcome); /* NULL for none */

struct flip_request {
	enum conf_side to;
	int64_t max_lag_ms, max_blackout_ms; /* -1: as configured */
	char user[64];			     /* who asked */
	int64_t uid, pid;
	const char *group; /* or NULL */
	bool rehearsal;	   /* it ends before the fence, and is undone */
};

/* Told after every change; on the flip's fiber; must not wait. type: accepted, step, killed, ended. */
typedef void (*flip_event_fn)(const struct flip *, const char *type, const struct wire *detail, void *arg);

/* A new flip with a new id. The cluster is borrowed and outlives it; it keeps its own reference to the
 * snapshot. */
struct flip *flip_new(struct cluster *, struct journal *, const struct flip_request *, const char *run);
/* A flip found unfinished in the journal, to be recovered. 0 or negative errno. */
int MAY_WAIT flip_load(struct cluster *, struct journal *, const char *flip_id, const char *run,
	struct flip **ret, struct err *) MUSTCHECK;
void flip_free(struct flip *);				     /* after its fiber has returned; takes NULL */
void flip_on_event(struct flip *, flip_event_fn, void *arg); /* any number of times; fn, arg identify it */
void flip_off_event(struct flip *, flip_event_fn, void *arg);

/* Runs the whole flip in the calling fiber; returns when it has ended or is stuck (see flip_state,
 * flip_outcome). */
void MAY_WAIT flip_run(struct flip *);
/* Recovery of a loaded or stuck flip, in the calling fiber; the same end. */
void MAY_WAIT flip_recover(struct flip *);
/* What an operator says of a side out of reach, before flip_recover. side NULL fields: nothing said. */
struct flip_word {
	bool said;
	enum conf_side side;
	enum recover_word word;
	bool accept_loss;
	char user[64];
	int64_t uid;
};
int MAY_WAIT flip_set_word(struct flip *, const struct flip_word *, struct err *) MUSTCHECK;
/*
 * What resolve would do now, with this word (NULL: none), and what may be lost: plain text lines for the
 * operator; freed by the caller.
 */
int MAY_WAIT flip_explain(
	struct flip *, const struct flip_word *, char **ret_text, bool *ret_may_lose, struct err *) MUSTCHECK;
/*
 * An open row of a flip that no journal here knows. Closes it (act), or only says what it would do. 0:
 * *ret_text is the caller's, ret_id (64 bytes) the flip's. -ENOENT: there is none; -EBUSY: that flip still
 * runs; -EPERM: not exactly one side takes writes; or a server cannot be reached.
 */
int MAY_WAIT flip_foreign(
	struct cluster *, bool act, char **ret_text, char *ret_id, size_t size, struct err *) MUSTCHECK;
/* Another flip is wanted: what is left of this one and needs no proof (name servers, replicas) is left to the
 * watcher, with a warning. True if it is that far: it then ends within seconds. */
bool flip_hasten(struct flip *);
/* Asks it to roll back. 0: it will (watch for its end); -EALREADY: too late, new is or may be open. */
int flip_abort(struct flip *, const char *why, struct err *) MUSTCHECK;
/* SIGTERM: before the fence aborts; within goes on; settling is left to the next start. */
void flip_terminate(struct flip *);
int64_t flip_max_blackout_ms(const struct flip *); /* as asked for, else as configured */

const char *flip_id(const struct flip *);
enum flip_state flip_get_state(const struct flip *);
enum flip_outcome flip_get_outcome(const struct flip *);
bool flip_past_preflight(const struct flip *); /* preflight has ended, well or not */
bool flip_is_rehearsal(const struct flip *);
bool flip_rolling_back(const struct flip *); /* it goes back to how it was */
/* Done, but replicas could not be repointed, or endpoints of after_open not be switched, in time. */
bool flip_left(const struct flip *);
/* One more try at those; the name of one that follows, or is switched, now (there may be more), or NULL. A
 * cancel is kept for the caller's next wait. Not beside another flip. */
const char *MAY_WAIT flip_follow_up(struct flip *);
bool flip_settling(const struct flip *);	/* open is confirmed, what follows is late work */
enum conf_side flip_from(const struct flip *);	/* old */
const char *flip_step_now(const struct flip *); /* name of the step that runs, or NULL */
/* The flip's JSON document; steps, checks, killed when whole. A new value. */
struct wire *flip_document(const struct flip *, bool whole);
/* What a flip would send, for `plan`; a new value {"cluster","to","steps":[...]}. */
int MAY_WAIT flip_plan(struct cluster *, enum conf_side to, struct wire **ret, struct err *) MUSTCHECK;
/* The guard after a flip: closes that side again at once and kills its sessions, on sessions of its own. */
int MAY_WAIT flip_guard_close(struct cluster *, enum conf_side, struct err *) MUSTCHECK;
/* For metrics: per step duration in us (-1 not run), blackout in us (-1 none). */
int64_t flip_step_us(const struct flip *, int step_index);
int64_t flip_blackout_us(const struct flip *);

/* The guard after a flip (policy guard: fence): closes a side that was found open beside the master. */
int MAY_WAIT flip_guard_close(struct cluster *, enum conf_side, struct err *) MUSTCHECK;

#endif
