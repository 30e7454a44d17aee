/*
 * cluster: one live cluster: its servers with their warm watch sessions and last facts, its endpoints, the
 * heartbeat. One fiber per server polls; a dead or hung server holds up only its own fiber. Who is master is
 * found by looking.
 */
#ifndef CLUSTER_CLUSTER_H
#define CLUSTER_CLUSTER_H

#include "lib/base/arena.h"
#include "lib/io/fiber.h"
#include "lib/model/conf.h"
#include "lib/model/facts.h"
#include "lib/provider/node.h"
#include "lib/provider/provider.h"

enum cluster_master {
	CLUSTER_MASTER_SOURCE = 0,
	CLUSTER_MASTER_TARGET = 1,
	CLUSTER_MASTER_NONE_WRITABLE,
	CLUSTER_MASTER_BOTH_WRITABLE,
	CLUSTER_MASTER_UNKNOWN
};

struct cluster;

struct cluster_server {
	struct cluster *cluster;
	const struct conf_server *conf;
	struct node *node;
	struct session *watch; /* NULL while it does not answer */
	struct facts facts;    /* as last polled; facts.up false when the last poll failed */
	struct arena *facts_arena;
	struct err error;	  /* why the last poll failed; code 0 when it did not */
	int64_t polls;		  /* polls that ended, well or not */
	int64_t poll_us;	  /* how long the last one took */
	int64_t heartbeat_lag_ms; /* behind the master by heartbeat; -1 not known */
	struct fiber *fiber;
};

struct cluster {
	struct conf *snapshot; /* holds conf below */
	const struct conf_cluster *conf;
	struct cluster_server side[2]; /* by enum conf_side */
	int nreplicas;
	struct cluster_server *replicas;
	struct endpoint **endpoints; /* conf->nendpoints, in order */
	const struct endpoint_ops **endpoint_ops;
	int64_t poll_interval_ms; /* daemon's; drain polls faster by itself */
	uint64_t lock_session[2]; /* connection ids of a running flip's lock sessions; 0 none */
	/* By side: the final position that the last flip to it proved executed there. What leaves no mark in
	 * a replica's own log (the DROP of a temporary table that it never had: E6) shows nowhere else. */
	struct gtid_list reached[2];
	struct session *heartbeat; /* on the master, SESSION_HEARTBEAT */
	enum conf_side heartbeat_side;
	int heartbeat_home; /* the side that took a beat last, or that a flip has opened since; -1: none */
	struct fiber *heartbeat_fiber;
	int64_t heartbeat_fast_ms; /* a running flip's drain: interval instead of the configured one; 0 none
				    */
	bool heartbeat_paused, heartbeat_busy;
	int heartbeat_failures;	    /* beats in a row that could not be written, though there is a master */
	struct err heartbeat_error; /* why not */
	bool heartbeat_lost;	    /* a beat got no answer: its statement may still run there */
	struct session_mark heartbeat_lost_mark;
	enum conf_side heartbeat_lost_side;
	struct fiber_cond heartbeat_wake;
	struct fiber_mutex trial; /* held while the way back is tried: its connection has one name */
	struct fiber_cond polled; /* signalled after every poll */
	struct fiber_cond poke;	  /* wakes the pollers */
	bool stopping;
	/* called after each poll of a server, on its fiber; may be NULL; must not wait */
	void (*on_poll)(struct cluster_server *, void *arg);
	void *on_poll_arg;
};

/* Takes a reference to the snapshot. Nothing is contacted until cluster_start. */
int cluster_new(
	struct conf *snapshot, const struct conf_cluster *, struct cluster **ret, struct err *) MUSTCHECK;
void cluster_start(struct cluster *);	      /* spawns the polling and heartbeat fibers */
void MAY_WAIT cluster_stop(struct cluster *); /* cancels and joins them */
void cluster_free(struct cluster *);	      /* after cluster_stop; takes NULL */

/* From the last facts of both sides. */
enum cluster_master cluster_master(const struct cluster *);
const char *cluster_master_why(enum cluster_master); /* "none_writable" ...; NULL for a side */
/* All servers: 0 source, 1 target, 2.. replicas; NULL past the end. */
struct cluster_server *cluster_server_at(struct cluster *, int i);
int cluster_nservers(const struct cluster *);
/* Wakes the pollers now instead of at the next interval. */
void cluster_poke(struct cluster *);
/*
 * From a flip's fence to its opening nothing of ours writes: the variable shows 1 a moment after the fence
 * has let go of its locks, and a beat of a privileged account that queued behind it can still read 0
 * (measured on 10.11.19: 42 of 400). 0 when none is under way on side, with one that got no answer killed by
 * reaper and seen gone; or why not.
 */
int MAY_WAIT cluster_heartbeat_pause(struct cluster *, enum conf_side, struct session *reaper,
	int64_t deadline_us, struct err *) MUSTCHECK;
/* A beat every interval_ms until resume; 0: as configured. */
void cluster_heartbeat_fast(struct cluster *, int64_t interval_ms);
/* master: the side that a flip has opened; -1 where it has opened none. */
void cluster_heartbeat_resume(struct cluster *, int master);
/* A session of one's own on a server; caller closes. role as in node.h. */
int MAY_WAIT cluster_session(struct cluster_server *, enum session_role, int64_t deadline_us,
	struct session **ret, struct err *) MUSTCHECK;

/* The probe: writes from outside the procedure as the fence_probe account, to find the blackout that clients
 * see. */
struct probe;
struct probe_result {
	const char *via; /* "servers", "endpoint" */
	double interval_ms;
	int64_t writes, refused;
	int64_t last_old_at_ms, first_new_at_ms; /* wall; 0 never */
	int64_t last_old_us, first_new_us;	 /* monotonic; 0 never */
};
/* Starts writing on old, on new when it is allowed. NULL with err when no probe account is configured or via:
 * none. */
int MAY_WAIT probe_start(
	struct cluster *, enum conf_side old_side, struct probe **ret, struct err *) MUSTCHECK;
void MAY_WAIT probe_stop(struct probe *, struct probe_result *ret); /* frees */
/* Whether that side may be open by flipd's word: nowhere else does the probe write. probe may be NULL. */
void probe_allow(struct probe *, enum conf_side, bool may_write);
/* It is opened just now: the probe writes for one interval, and on when it is allowed. */
void probe_expect(struct probe *, enum conf_side);
/* True once a write was accepted by new. */
bool probe_seen_new(const struct probe *);
/* The connection ids of its sessions by side (0 none): a flip's kill leaves them alone. probe may be NULL. */
void probe_session_ids(const struct probe *, uint64_t ret_ids[2]);
/* Waits until new has accepted a write, or the deadline. */
void MAY_WAIT probe_await_new(struct probe *, int64_t deadline_us);

#endif
