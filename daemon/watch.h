/*
 * watch: one cluster as the daemon sees it: the live cluster that is polled, what its state is in one word,
 * whether it is ready to flip, the flip that runs on it, and the guard over what the last flip closed.
 */
#ifndef DAEMON_WATCH_H
#define DAEMON_WATCH_H

#include "lib/cluster/cluster.h"
#include "lib/flip/flip.h"
#include "lib/flip/preflight.h"

struct run;
struct server;
struct wire;

/* The first that holds. */
enum watch_state {
	WATCH_STUCK,
	WATCH_RECOVERING,
	WATCH_ROLLING_BACK,
	WATCH_FLIPPING,
	WATCH_SPLIT_BRAIN,
	WATCH_NO_MASTER,
	WATCH_UNREACHABLE,
	WATCH_SETTLING,
	WATCH_DEGRADED,
	WATCH_OK,
	WATCH_STATES
};
const char *watch_state_name(enum watch_state);

/* A side as the last polls saw it. */
struct watch_seen {
	bool up, open;
	int64_t since_ms, last_ms; /* monotonic; it was like that at every poll in between */
};

/* A live cluster that requests and flips may hold across waits while a reload puts another in its place. */
struct live {
	struct cluster *cluster;
	int users;
	struct fiber_cond idle; /* signalled when users falls to 0 */
};

struct watched {
	struct server *server;
	const char *name; /* owned */
	struct live *live;
	struct cluster *next; /* takes live's place when the flip has ended: a reload came meanwhile */
	bool configured;      /* false: goes when its flip has ended */
	struct run *run;      /* running, recovering or stuck; NULL: none */
	int preparing;	  /* `prepare`s under way: what they write is logged, and no flip runs beside it */
	char *unreadable; /* why an unfinished flip in the journal could not be taken up; else NULL */
	struct wire *last_flip;		       /* document without steps; NULL: none */
	int64_t last_flip_at_ms;	       /* wall; 0 none */
	int64_t last_blackout_us;	       /* -1 none */
	bool heartbeat_fails;		       /* as last logged */
	bool moved;			       /* a flip of this life went through, or back */
	int guarded;			       /* the side that the last flip left closed; -1 not known */
	int64_t flips[FLIP_OUTCOME_STUCK + 1]; /* ended since the start, by outcome */
	enum cluster_master master;	       /* as far as the polls fit together */
	enum cluster_master told_master;       /* as last logged */
	enum watch_state state;		       /* as last logged */
	struct watch_seen seen[2];	       /* by side */
	int64_t changed_ms; /* a flip changed who takes writes then; what was seen before counts no more */
	int64_t changed_polls[2];
	bool *server_up;
	bool alarmed;		 /* the guard has called out this opening */
	struct fiber *guard;	 /* closes it again; NULL none */
	struct fiber *follow_up; /* does what the last flip left; NULL none */
	struct run *left;	 /* of that flip; NULL none */
	/* background readiness for the direction away from the master */
	int64_t judged_polls[2];
	enum conf_side judged_to;
	struct preflight judged;
	struct arena *judged_arena; /* NULL: not judged yet */
};

/* Nothing is contacted until watch_start. The snapshot holds the cluster's configuration. 0 or negative
 * errno. */
int watch_new(struct server *, struct conf *snapshot, const struct conf_cluster *, struct watched **ret,
	struct err *) MUSTCHECK;
void watch_start(struct watched *);
/* Stops what is live and frees it; no run may be left. */
void MAY_WAIT watch_free(struct watched *);
/* Puts another live cluster in the place of the present one, now or, while a flip runs, when it has ended. */
void watch_replace(struct watched *, struct cluster *);
/* The flip's run is over: what waited for that is done. Removes the watched where it is not configured any
 * more. */
void watch_run_over(struct watched *);

struct live *live_use(struct watched *);
void live_done(struct live *);

enum watch_state watch_get_state(const struct watched *);
/* Ready to flip to that side: false towards the master, and while anything refuses. */
bool watch_ready(const struct watched *, enum conf_side to);
/* Remembers a flip's end: last_flip, what is to be guarded. The document is copied without its steps. */
void watch_remember(struct watched *, const struct wire *document);

#endif
