/*
 * world: a cluster of simulated servers, its applications, the endpoint, the journal's disk; and one flipd
 * process at a time in it. Everything happens in virtual time, the same again for the same seed.
 *
 * world.c: time, crash, trace, triggers. world_server.c: sessions and statements. world_ops.c, world_look.c:
 * what each statement does. world_repl.c: logs and replication. world_app.c: applications. world_check.c:
 * what must hold at the end.
 *
 * A statement lives in the server: it goes on when its client is gone, and its session and named lock with
 * it, until it ends, is killed, or the server restarts (experiments E1a, E13, E18).
 */
#ifndef TESTS_SCENARIO_WORLD_H
#define TESTS_SCENARIO_WORLD_H

#include "lib/base/arena.h"
#include "lib/base/str.h"
#include "lib/flip/flip.h"
#include "lib/io/fiber.h"
#include "lib/provider/node.h"

#define SERVERS_MAX 5 /* source, target, three replicas */
#define CLIENTS_MAX 16
#define TRIGGERS_MAX 16
#define ROWS_MAX 8
#define SPOILS_MAX 8
#define WRITES_MOST 60000 /* of applications in one run; then they stop */

/* --- faults of flipd's own calls --- */

enum fault {
	FAULT_NONE,
	FAULT_REFUSED,	      /* answered with an error, no effect */
	FAULT_HANGS,	      /* never answered, no effect */
	FAULT_REPLY_LOST,     /* effect, no answer */
	FAULT_LATE,	      /* effect only after the client gave up, unless it is killed before */
	FAULT_CRASH_BEFORE,   /* flipd is killed right before it */
	FAULT_CRASH_AFTER,    /* and right after its effect */
	FAULT_CRASH_SENT,     /* flipd is killed when it is sent; the effect comes late, unless it is killed
				 before */
	FAULT_MACHINE_BEFORE, /* flipd's machine dies: what was not yet durable is lost, sessions hang on in
				 the servers */
	FAULT_MACHINE_AFTER,
	FAULTS
};
const char *fault_name(enum fault);

/* Ways in which the world or flipd is made to break a rule, to see that it is noticed. */
enum mutant {
	MUTANT_NO_INTENT,     /* the intent is never on disk */
	MUTANT_NO_REVOCATION, /* nor its revocation */
	MUTANT_NO_WAIT,	      /* new opens without old's last writes */
	MUTANT_NO_KILL,	      /* sessions of an earlier life are left alone */
	MUTANT_NO_GUARD,      /* a heartbeat is sent to closed old, and goes through the fence */
	MUTANT_LEAKY_FENCE,   /* an account writes through the fence, and flipd is not shown it */
	MUTANT_OPEN_OLD,      /* somebody in flipd opens old while the intent lives */
	MUTANT_NO_UNDO,	      /* settings are not switched on again */
	MUTANT_FENCE_IN_VAIN, /* a rehearsal closes old */
	MUTANT_NO_UNLOCK,     /* accounts that the flip has locked stay so, and nobody is told */
	MUTANTS
};

/* --- servers --- */

enum op {
	OP_HELLO,
	OP_FACTS,
	OP_PROVE,
	OP_SESSIONS,
	OP_LOCK_TAKE,
	OP_LOCK_HOLDER,
	OP_LOCK_RELEASE,
	OP_ROW_WRITE,
	OP_ROW_READ,
	OP_FLUSH,
	OP_SCHEDULER,
	OP_SEMI_SYNC,
	OP_FENCE,
	OP_UNFENCE,
	OP_PROBE,
	OP_PROBE_TRY,
	OP_WAIT,
	OP_OPEN_GUARDED,
	OP_FORGET,
	OP_FOLLOW,
	OP_START,
	OP_STOP,
	OP_KILL,
	OP_KILL_QUERY,
	OP_THERE,
	OP_HEARTBEAT,
	OP_PREPARE,
	OP_TRY,
	OP_TRY_REMOVE,
	OP_TABLES,
	OP_TABLE,
	OP_EVENTS,
	OP_EVENTS_ON,
	OP_ACCOUNTS,
	OP_LOCK_ACCOUNTS,
	OP_UNLOCK_ACCOUNTS,
	OP_WRITE,
	OPS
};
const char *op_name(enum op);

struct entry { /* of a binary log */
	struct gtid gtid;
	enum { ENTRY_APP, ENTRY_ROW, ENTRY_BEAT, ENTRY_PROBE, ENTRY_HAND } kind;
	int64_t value; /* the write's number, the row's index in the world, the beat's time */
};

struct server;
struct client;

struct args { /* of flipd's statements */
	bool on;
	uint64_t number;
	struct node_goal goal;
	struct node_follow follow;
	struct node_row row;
	char user[64];
	unsigned what;
	const struct facts_account *accounts;
	int naccounts;
};

struct answer {
	struct node_proof proof;
	struct node_row row;
	uint64_t number;
	bool yes;
	struct facts *facts;
	struct facts_session *list;
	struct facts_account *accounts;
	int n;
};

struct stmt {
	enum op op;
	struct wsession *session; /* NULL once it has ended or its session is gone */
	struct server *server;	  /* whose answer it is */
	enum fault fault;
	int64_t not_before_us; /* it stalls until then */
	int64_t limit_at_us;   /* set in the server; 0 none */
	int64_t begun_us, busy_until_us;
	int64_t sent_us; /* by flipd; it may arrive a good while later */
	bool waiting, queued, writing, killed;
	struct args *in;
	struct answer *out;
	/* the client's end of it */
	enum act act;
	struct err err;
	bool answered, lost; /* lost: the connection went, or the time ran out */
	int life;
	struct fiber_cond cond;
	struct client *client; /* an application's */
};

struct wsession {
	struct wsession *next;
	struct server *server;
	uint64_t id;
	char user[32];
	bool client_gone, killed, locks_tables, flipd, foreign, login, reads, has_temporary;
	int64_t since_us;
	uint64_t trx_rows;
	struct stmt *running;
	struct client *client;
};

/* An account that the fence does not stop, and one that an operator has locked long ago. */
enum { ACCOUNT_LEGACY, ACCOUNT_RETIRED, ACCOUNTS };
const char *account_user(int);

struct link { /* what a server replicates from */
	bool there, use_gtid, io, sql, applying;
	int master;	      /* a server's index */
	int fetched, applied; /* how many entries of the master's log */
	int generation;	      /* events of an earlier one are void */
	int error;
	bool broken;
	char last_error[128];
};

struct server {
	const char *name;
	int index;
	uint32_t server_id;
	bool up, partitioned, read_only, boots_closed, scheduler, semi_sync, trial, strict;
	bool impostor;		       /* another server answers at its address */
	bool cut;		       /* partitioned from what replicates, too */
	int64_t in_reach_since_us;     /* of flipd: since its last start, or the end of a partition */
	bool outer, outer_closed;      /* a fence outside the server, and what it is */
	unsigned events_on;	       /* its events, a bit each */
	int64_t lag_s;		       /* as SHOW SLAVE STATUS says */
	uint64_t differs;	       /* rows that another put there before the flip */
	bool account_locked[ACCOUNTS]; /* a restart does not change that */
	bool backup;		       /* holds every write and commit up */
	bool unlock_asked;	       /* of MUTANT_NO_UNLOCK: it says that it has done so */
	int boots;
	int64_t boot_wall_s;
	uint64_t next_id, lock_holder;
	struct wsession *sessions;
	int fencing; /* fences that wait: new writes queue behind them */
	struct entry *log;
	int nlog, cap;
	struct gtid_list state, slave_pos;
	uint64_t seq;
	uint8_t *data; /* by write number */
	int row;       /* the newest flip row that it shows, in the world; -1 none */
	int64_t heartbeat_wall_ms;
	struct link link;
	int64_t apply_us;
	int64_t slow_until_us;	   /* what flipd asks before that it answers then */
	int64_t writable_since_us; /* when it last became so */
	bool opened_by_other;	   /* and that was not flipd's doing */
	int nlog_at_fence;
	struct gtid_list state_at_fence;
};

/* --- applications --- */

enum { /* of a write that was acknowledged */
	ACKED = 1,
	ACKED_BY_TARGET = 2,
	ACKED_UNASKED = 4 /* by a server that was open and not by flipd's doing */
};

enum client_kind {
	CLIENT_WRITER,
	CLIENT_BLOCKER,
	CLIENT_LOCKER,
	CLIENT_BYPASS,
	CLIENT_LEGACY,	  /* walks through the fence too, and moves along once new is open */
	CLIENT_HOLDER,	  /* an idle transaction with changed rows */
	CLIENT_STRAGGLER, /* comes to the same server again and again, and writes nothing */
	CLIENT_READER,	  /* one long SELECT */
	CLIENT_TEMPORARY, /* idle, with a temporary table: its end may be a DROP in the binlog (E6) */
	CLIENT_NO_SPACE,  /* its commit waits for disk space; killed it leaves half of itself in the binlog */
	CLIENT_WALKER_NO_SPACE /* one that walks through the fence */
};

struct client {
	enum client_kind kind;
	int n;
	int server; /* -1: not connected */
	int boots;
	uint64_t id;
	int64_t busy_us, again_us;
	uint64_t generation;
};

/* --- what an operator has said of a side --- */

struct word {
	int64_t said_us, ever_us; /* that it is dead or fenced; 0: not, or it does not hold any more */
	bool gives_up;		  /* what that side alone has may be lost */
	bool holds_though_seen;
	bool given_up; /* and the other was opened by it */
};

/* --- what is to happen when --- */

/* A call that goes wrong every time, for a while. */
struct spoil {
	char what[24], where[24]; /* where "any": everywhere */
	enum fault fault;
	int64_t until_us, slow_us;
};

enum when { WHEN_STEP, WHEN_OP, WHEN_AFTER_OP, WHEN_JOURNAL, WHEN_AFTER_JOURNAL, WHEN_TIME, WHEN_END };

struct trigger {
	enum when when;
	char word[24]; /* the step, the kind of record */
	enum op op;
	int server; /* -1: any */
	int skip;   /* so many times more it passes */
	int64_t delay_us;
	bool fired;
	void (*fn)(struct trigger *);
	int arg_server, arg;
	int64_t arg_us, arg2_us;
	struct spoil spoil;
	char fault_op[24];
};

struct world {
	struct arena *arena;
	struct conf *conf;
	uint64_t rng;
	int nservers;
	struct server server[SERVERS_MAX];
	int nclients;
	struct client client[CLIENTS_MAX];
	bool stop_clients;
	bool slow_applies;	     /* what a blocker wrote takes a replica as long as it took it */
	int64_t slow_write, slow_us; /* the last of those */
	int64_t rebooted_us;	     /* when a server last came up again */
	bool rebooted_late;	     /* and the flip was closing its row */
	int64_t quick_until_us;	     /* applications write fast until then */
	int nrows;
	struct node_row row[ROWS_MAX * 8];
	/* acknowledged writes */
	int nwrites, cap_writes;
	uint8_t *acked; /* how: ACKED_... */
	/* the endpoint, an in-memory name */
	int endpoint;	     /* a side, or 2: a third value */
	int endpoint_spread; /* what the slowest authority shows */
	int64_t spread_us;
	/* flipd */
	int life;
	bool alive;
	struct flip *flip;
	struct cluster *cluster;
	int lives;
	int64_t life_us;      /* when this one began to act */
	int64_t clock_off_ms; /* flipd's host's clock was set by so much */
	int64_t restart_us;   /* a new life so long after a crash; 0 none */
	/* the k-th call */
	int events, fault_at;
	enum fault fault;
	char fault_name[96];
	char fault_op[24]; /* flipd's next call of that name has op_fault */
	enum fault op_fault;
	int nspoils;
	struct spoil spoil[SPOILS_MAX];
	enum fault next_fault; /* once flipd has died: in its next life, at that call of it */
	int next_at;
	int machines; /* so many of flipd's have died */
	int call_at;  /* at that call: */
	void (*call_fn)(void);
	int second_at, second_server; /* at that call a server restarts */
	bool second_closed;
	int64_t second_down_us;
	bool reckless[MUTANTS];
	/* triggers */
	int ntriggers;
	struct trigger trigger[TRIGGERS_MAX];
	/* what came of it */
	char first_violation[256];
	int violations;
	struct strbuf trace;
	bool quiet;
	int nevents;	/* on source when it all begins */
	bool no_tables; /* that flipd's account sees */
	enum op lying;	/* the next `lies` of that statement say done, and do nothing */
	int lies;
	bool no_heartbeat; /* its table is missing */
	bool binlog_mixed;
	bool bypass_account; /* there is one that walks through the fence */
	bool probe_walks;    /* so does the probe's account */
	bool hands;	     /* somebody else opens and writes: fewer promises */
	struct word word[2]; /* on each side */
	int from, to;
	bool before[2][2]; /* scheduler and semi-sync of source, target before the flip */
	enum flip_state state;
	enum flip_outcome outcome;
	int64_t ended_us, begun_us, judge_from_us;
	int64_t unfence_sent_us;	   /* of the one that opens a side right now; else 0 */
	int64_t blackout_us, predicted_us; /* as flipd says; -1 none */
	bool rehearsal;			   /* what was begun is no flip: it may stop no write */
	int64_t rest_since_us,
		rest_most_us; /* no side's event scheduler runs: since when (0: one does), at most */
	int64_t dark_since_us, dark_most_us;	 /* no side takes writes: the same */
	int64_t astray_since_us, astray_most_us; /* a side is open, and not by flipd: the same */
	bool ended;
	char warnings[4096];
	char *document;			     /* of the flip's end, whole; in the arena */
	char step[32], where[24], hint[512]; /* of its error */
	char answer[1024];		     /* to what an operator asked last */
	/* told to the journal, whether it took it or not */
	bool opening_told;
	int64_t closing_us; /* of its row, first */
	bool over, judged, may_be_stuck, may_not_end, foreign_lock, may_be_missed;
	bool (*after_life)(void); /* acts on the flip that ended; true when it did (an operator's resolve) */
};

extern struct world w;

/* Begins a world for that configuration; servers as they are before a flip from that master to the other
 * side. */
void world_new(const char *yaml, uint64_t seed, bool use_gtid, enum conf_side master);
void world_free(void);
/* Ends this process at once, its buffers and exit handlers left alone; what it covered is counted. */
_Noreturn void world_leave(int status);
int64_t jitter_us(int64_t about);
void note(const char *fmt, ...) PRINTF(1, 2);
void violation(const char *fmt, ...) PRINTF(1, 2);
/* INTERFACES.md, section 3: a whole document of a flip. */
struct wire;
void world_judge_shape(const struct wire *document);

/* The next call of flipd's: what is to go wrong with it. May not return: then flipd has crashed. */
enum fault flipd_calls(const char *what, const char *where);
int64_t flipd_waits_us(const char *what, const char *where); /* so much later such a call is answered */
/* flipd's process is gone. Does not return in one of its fibers. */
void flipd_crash(bool machine);
void fault_after(enum fault); /* a crash that is due at the end of a call */
void trigger_at_time(struct trigger *);
void trigger_step(const char *step);
void trigger_op(enum when, enum op, int server);
void trigger_journal(enum when, const char *kind);
struct trigger *trigger_add(enum when, const char *word, void (*fn)(struct trigger *));

/* world_server.c */
struct wsession *server_connect(struct server *, const char *user);
struct wsession *server_find(struct server *, uint64_t id);
void server_client_gone(struct wsession *);
void server_drop(struct wsession *); /* the session ends: lock, statement and all */
void server_kill(struct server *, uint64_t id, bool query_only);
void server_poke(struct server *); /* something has changed: whoever waits looks again */
void server_poke_at(struct server *, int64_t at_us);
void server_down(struct server *);
void server_boot(struct server *, bool closed);
void server_restart(struct server *, bool closed, int64_t down_us);
void note_sides(void); /* what takes writes may have changed */
void server_set_read_only(struct server *, bool on, bool by_flipd, const char *how);
/* Gives a statement to the session's server; it begins now. */
void stmt_begin(struct wsession *, struct stmt *);
void stmt_answer_later(struct stmt *, bool lost);

/* world_ops.c */
enum { STEP_WAIT, STEP_END };
int op_step(struct stmt *);
/* world_look.c */
void server_identify(const struct server *, struct facts_identity *); /* who it says it is */
bool session_waits_for_space(const struct wsession *);
int op_sessions(struct stmt *);
int op_facts(struct stmt *);
int op_prove(struct stmt *);

/* world_app.c */
bool client_walks(const struct client *); /* through the fence */
struct client *client_add(enum client_kind, int server, int64_t busy_us);
void client_lost(struct client *); /* its session is gone */
void client_wrote(struct client *, struct stmt *);
int write_number(void);

/* world_check.c */
bool world_settled(char *why, size_t size);
bool world_undone(char *why, size_t size); /* nothing of a rehearsal is left, while clients still write */
void world_judge(void);
int writable_sides(void);
void world_dump(void);

#include "tests/scenario/fakes.h"
#include "tests/scenario/world_between.h"

#endif
