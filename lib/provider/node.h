/*
 * node: a MySQL-family server and what flipd does to it. All SQL is behind these verbs, and its texts stand
 * in the dialects. Each verb answers DONE, REFUSED (the server said no, or what was asked is not so: err says
 * which) or UNKNOWN (no answer: the session is dead, the statement may still run in the server).
 *
 * Sessions are warm connections by role. A session is used by one fiber at a time. Deadlines are monotonic
 * us.
 */
#ifndef PROVIDER_NODE_H
#define PROVIDER_NODE_H

#include "lib/base/arena.h"
#include "lib/base/err.h"
#include "lib/model/conf.h"
#include "lib/model/facts.h"
#include "lib/model/grants.h"
#include "lib/model/survey.h"

struct node;
struct session;
struct strbuf;

/* conf_server and policy are borrowed and outlive the node. schema is where heartbeat, flips and probe tables
 * live. */
struct node *node_new(const struct conf_server *, const char *cluster, const char *schema);
void node_free(struct node *); /* takes NULL */
const struct conf_server *node_conf(const struct node *);
const char *node_name(const struct node *);
/* Whether the session that was opened there last is encrypted: under `preferred`, what the server offers. */
bool node_is_encrypted(const struct node *);

enum session_role {
	SESSION_WATCH,
	SESSION_ACT,
	SESSION_LOCK,
	SESSION_REAPER,
	SESSION_HEARTBEAT,
	SESSION_PROBE
};

/* What makes a session findable after a crash: all must match before it is killed by id. */
struct session_mark {
	uint64_t id;		      /* CONNECTION_ID() */
	char account[192];	      /* USER(): who logged in, as the process list has it */
	struct facts_identity server; /* the server and its boot */
};

/*
 * Opens a session, in two round trips with its settings (bounded lock waits, UTC, wait_timeout; LOCK and
 * REAPER with sql_log_bin=0). as: NULL = flipd's own account. 0 or negative errno.
 */
int MAY_WAIT session_open(struct node *, enum session_role, const struct conf_account *as,
	int64_t deadline_us, struct session **ret, struct err *) MUSTCHECK;
void session_close(struct session *); /* never blocks; takes NULL */
bool session_alive(const struct session *);
struct node *session_node(const struct session *);
const struct session_mark *session_get_mark(const struct session *);
/* Every following statement carries the comment "flipd FLIP_ID STEP"; NULL flip_id: none. Both copied. */
void session_tag(struct session *, const char *flip_id, const char *step);

/* --- looking
 * ------------------------------------------------------------------------------------------------- */

enum { FACTS_CORE = 0, FACTS_SESSIONS = 1, FACTS_ACCOUNTS = 2, FACTS_GRANTS = 4, FACTS_SETTINGS = 8 };
/* Fills *ret (zeroed first) in one round trip; lists go to the arena. */
enum act MAY_WAIT node_facts(struct session *, unsigned what, struct arena *, int64_t deadline_us,
	struct facts *ret, struct err *) MUSTCHECK;

/* The proof of fence, lock and position in one round trip on the session that holds the lock. */
struct node_proof {
	bool read_only;	 /* @@global.read_only */
	bool holds_lock; /* the named lock is this very session's */
	struct facts_position position;
};
enum act MAY_WAIT node_prove(
	struct session *lock, int64_t deadline_us, struct node_proof *ret, struct err *) MUSTCHECK;

/* All sessions of the server; list in the arena. */
enum act MAY_WAIT node_sessions(struct session *, struct arena *, int64_t deadline_us,
	struct facts_session **ret, int *ret_n, struct err *) MUSTCHECK;

enum { SURVEY_ACCOUNTS = 1, SURVEY_SCHEMA = 2, SURVEY_TRIGGERS = 4 }; /* TRIGGERS: with SCHEMA */
/*
 * Fills *ret (zeroed first), sorted, in two round trips of at most limit_ms together; each half says what
 * became of it. It may keep the server busy for that long: never while a flip waits. Things go to the arena.
 */
void MAY_WAIT node_survey(
	struct session *, unsigned what, int64_t limit_ms, struct arena *, struct survey *ret);

/* --- lock and row
 * -------------------------------------------------------------------------------------------- */

/* GET_LOCK(name, 0) on this session. REFUSED: held by another; *ret_holder its connection id. */
enum act MAY_WAIT node_lock_take(
	struct session *, int64_t deadline_us, uint64_t *ret_holder, struct err *) MUSTCHECK;
/* Who holds it now: 0 nobody. */
enum act MAY_WAIT node_lock_holder(
	struct session *, int64_t deadline_us, uint64_t *ret_holder, struct err *) MUSTCHECK;
enum act MAY_WAIT node_lock_release(struct session *, int64_t deadline_us, struct err *) MUSTCHECK;

struct node_row { /* a flip's row in SCHEMA.flips, replicated */
	char id[64], cluster[64], host[128], journal[64], direction[16], state[24];
	uint64_t marker; /* counts up at each fence attempt: proves that new has applied up to the fence */
};
/* Insert or update, only while the server is open (guarded in the statement): else REFUSED. Logged. */
enum act MAY_WAIT node_row_write(
	struct session *act, const struct node_row *, int64_t deadline_us, struct err *) MUSTCHECK;
/* REFUSED with err->code -ENOENT when there is none. id NULL: the newest open row of the cluster. */
enum act MAY_WAIT node_row_read(
	struct session *, const char *id, int64_t deadline_us, struct node_row *ret, struct err *) MUSTCHECK;

/* --- the flip
 * ------------------------------------------------------------------------------------------------ */

/* FLUSH LOCAL TABLES, limited in the server by limit_ms. REFUSED with sql_errno 1969/1205 when it ran out. */
enum act MAY_WAIT node_flush(struct session *, int64_t limit_ms, int64_t deadline_us, struct err *) MUSTCHECK;
enum act MAY_WAIT node_set_event_scheduler(
	struct session *, bool on, int64_t deadline_us, struct err *) MUSTCHECK;
/* The names of the events that are enabled here, quoted and with their schema; in the arena. */
enum act MAY_WAIT node_list_events(struct session *, struct arena *, int64_t deadline_us, const char ***ret,
	int *ret_n, struct err *) MUSTCHECK;
/* Enables these, whatever they are here; definer and character set are kept. Logged. Each that is done is
 * NULL in the list from then on. REFUSED by the name of one that is not here, too. */
enum act MAY_WAIT node_enable_events(
	struct session *act, const char **names, int n, int64_t deadline_us, struct err *) MUSTCHECK;
enum act MAY_WAIT node_set_semi_sync_master(
	struct session *, bool on, int64_t deadline_us, struct err *) MUSTCHECK;
/* The accounts that the entries name (lib/model/accounts.h), flipd's own left out, with whether each is
 * locked; in the arena. */
enum act MAY_WAIT node_list_accounts(struct session *, const struct conf_list *entries, struct arena *,
	int64_t deadline_us, struct facts_account **ret, int *ret_n, struct err *) MUSTCHECK;
/*
 * ACCOUNT LOCK, or UNLOCK, of all of them in one statement that is bounded in the server and stays out of its
 * binlog: a replica never hears of it. Those that are gone are passed over. Live sessions stay.
 */
enum act MAY_WAIT node_lock_accounts(struct session *, const struct facts_account *, int n, bool lock,
	int64_t deadline_us, struct err *) MUSTCHECK;
/* That statement, for `plan` and for an operator. */
void node_accounts_text(
	const struct node *, const struct facts_account *, int count, bool lock, struct strbuf *ret);
/* read_only=1, limited in the server by limit_ms; on the lock's session. REFUSED 1969/1205: it ran out, still
 * open. */
enum act MAY_WAIT node_fence(
	struct session *lock, int64_t limit_ms, int64_t deadline_us, struct err *) MUSTCHECK;
/*
 * The same with the proof in the same packet: closed, and what the position was right then. One round trip;
 * the server runs the statements one after the other, so the position is that of a server closed to everyone
 * the fence stops.
 */
enum act MAY_WAIT node_fence_proven(struct session *lock, int64_t limit_ms, int64_t deadline_us,
	struct node_proof *ret, struct err *) MUSTCHECK;
/* read_only=0 at once; on the lock's session where there is one. */
enum act MAY_WAIT node_unfence(struct session *lock, int64_t deadline_us, struct err *) MUSTCHECK;
/* A write by the probe account into SCHEMA.probe. DONE: accepted. REFUSED with sql_errno 1290: fenced. */
enum act MAY_WAIT node_probe_write(
	struct session *probe, uint64_t seq, int64_t deadline_us, struct err *) MUSTCHECK;
/* The same statement over no row: judged alike by privileges and read_only, and it leaves nothing behind,
 * even where the server has been opened meanwhile. */
enum act MAY_WAIT node_probe_try(struct session *probe, int64_t deadline_us, struct err *) MUSTCHECK;

/* A position of old, as new waits for it. */
struct node_goal {
	bool use_gtid;
	struct gtid_list gtid; /* use_gtid */
	char file[128];	       /* else old's own file and position */
	uint64_t pos;
};
/* Waits in the server, at most limit_ms. DONE reached; REFUSED not reached in time or the applier does not
 * run. */
enum act MAY_WAIT node_wait_position(struct session *, const struct node_goal *, int64_t limit_ms,
	int64_t deadline_us, struct err *) MUSTCHECK;
/*
 * One statement guarded by the server itself: opens only if this session holds the lock and the position is
 * reached within limit_ms; reads back. DONE: open. REFUSED: answered, stays closed.
 */
enum act MAY_WAIT node_open_guarded(struct session *lock, const struct node_goal *, int64_t limit_ms,
	int64_t deadline_us, struct err *) MUSTCHECK;

/* STOP SLAVE, RESET SLAVE ALL for the default channel; DONE also when there is none. */
enum act MAY_WAIT node_forget_replication(struct session *, int64_t deadline_us, struct err *) MUSTCHECK;

struct node_follow {
	const struct conf_server *master;   /* its replication address */
	const struct conf_account *account; /* the replication account */
	bool use_gtid;
	struct gtid_list gtid_slave_pos; /* set first, when has_slave_pos */
	bool has_slave_pos;
	bool encrypted; /* where tls is preferred: the master offers it (node_is_encrypted) */
	char file[128];
	uint64_t pos;
};
/* CHANGE MASTER and START SLAVE (after STOP SLAVE). DONE once accepted; whether it runs is asked with
 * node_facts. */
enum act MAY_WAIT node_follow(
	struct session *, const struct node_follow *, int64_t deadline_us, struct err *) MUSTCHECK;
enum act MAY_WAIT node_start_replication(struct session *, int64_t deadline_us, struct err *) MUSTCHECK;
enum act MAY_WAIT node_stop_replication(struct session *, int64_t deadline_us, struct err *) MUSTCHECK;

/* KILL; DONE also when the session was gone (1094). query_only: KILL QUERY. */
enum act MAY_WAIT node_kill(
	struct session *reaper, uint64_t id, bool query_only, int64_t deadline_us, struct err *) MUSTCHECK;
/* Many in one round trip. DONE: each was asked for; which are gone the next list shows. Not where the last
 * list has one that waits for disk space (facts_waits_for_space). */
enum act MAY_WAIT node_kill_many(
	struct session *reaper, const uint64_t *ids, int n, int64_t deadline_us, struct err *) MUSTCHECK;
/*
 * A session of flipd's own, perhaps of an earlier life: killed if id, account and boot all match, and awaited
 * until it is gone. DONE: it is gone (or the server has booted since, or the id belongs to somebody else).
 * REFUSED, with -ENOSPC: it was not killed, since it is in a commit that waits for disk space.
 */
enum act MAY_WAIT node_kill_own(
	struct session *reaper, const struct session_mark *, int64_t deadline_us, struct err *) MUSTCHECK;

/* --- verify
 * -------------------------------------------------------------------------------------------------- */

/* The application's base tables as "db.table", sorted; list in the arena. */
enum act MAY_WAIT node_list_tables(struct session *, struct arena *, int64_t deadline_us, const char ***ret,
	int *ret_n, struct err *) MUSTCHECK;
/* Its rows counted, or its checksum (CHECKSUM TABLE EXTENDED); limit_ms bounds the statement in the server.
 */
enum act MAY_WAIT node_table_value(struct session *, const char *table, bool checksum, int64_t limit_ms,
	int64_t deadline_us, uint64_t *ret, struct err *) MUSTCHECK;
/* That statement, for `plan`. */
void node_table_value_text(
	const struct node *, const char *table, bool checksum, int64_t limit_ms, struct strbuf *out);
/* DONE: the account may read the table. */
enum act MAY_WAIT node_table_readable(
	struct session *, const char *table, int64_t deadline_us, struct err *) MUSTCHECK;

/* --- heartbeat, schema
 * --------------------------------------------------------------------------------------- */

/* Guarded: only while the server is open and the lock is free or lock_session's (0: none). DONE also when
 * the guard held it back; *ret_written says. */
enum act MAY_WAIT node_heartbeat(struct session *, uint64_t lock_session, int64_t deadline_us,
	bool *ret_written, struct err *) MUSTCHECK;
/* Creates schema and tables where missing (only while writable). */
enum act MAY_WAIT node_prepare(struct session *act, int64_t deadline_us, struct err *) MUSTCHECK;
/* The statements node_prepare would run, one a line. */
void node_prepare_text(const struct node *, struct strbuf *);
/* Creates it at every host with the least that its use takes. REFUSED 1227 and the like: flipd may not. */
enum act MAY_WAIT node_create_account(struct session *act, enum grants_use, const struct conf_account *,
	int64_t deadline_us, struct err *) MUSTCHECK;
/* The statements for that, one a line, without the password. */
void node_create_account_text(
	const struct node *, enum grants_use, const struct conf_account *, struct strbuf *);

/* The way old gets to new, tried on demand (experiment E5c): a named connection at new's present end, delayed
 * by the maximum, IO thread only; removed after. DONE: old can reach new and log in. */
enum act MAY_WAIT node_try_reverse(
	struct session *old_act, const struct node_follow *, int64_t deadline_us, struct err *) MUSTCHECK;
enum act MAY_WAIT node_try_reverse_remove(
	struct session *old_act, int64_t deadline_us, struct err *) MUSTCHECK;
enum { NODE_NEEDS_EVENTS = 1, NODE_NEEDS_LOCKS = 2 }; /* the flip moves events; locks accounts */
/* A check that lacking privileges for the flip: DONE, or REFUSED with the missing ones and the GRANT that
 * mends it. */
enum act node_judge_privileges(const struct facts *, unsigned needs, struct err *) MUSTCHECK;
/* The account has the privilege on everything (*.*), as far as SHOW GRANTS says; pure. */
bool node_judge_granted(const struct facts *, const char *privilege);

/* --- plan and grants
 * ----------------------------------------------------------------------------------------- */

/* The text of what a verb would send, for `plan`; the same code makes both. */
enum node_text {
	NODE_TEXT_LOCK,
	NODE_TEXT_ROW,
	NODE_TEXT_ROW_CLOSED,
	NODE_TEXT_FLUSH,
	NODE_TEXT_EVENTS, /* the scheduler off */
	NODE_TEXT_EVENTS_ON,
	NODE_TEXT_SEMI_SYNC, /* off */
	NODE_TEXT_SEMI_SYNC_ON,
	NODE_TEXT_FENCE,
	NODE_TEXT_PROVE,
	NODE_TEXT_OPEN_GUARDED,
	NODE_TEXT_UNFENCE,
	NODE_TEXT_WAIT,
	NODE_TEXT_FORGET,
	NODE_TEXT_FOLLOW,
	NODE_TEXT_KILL,
	NODE_TEXT_RELEASE
};
/* Positions and passwords that are not known yet read <POSITION>, ***; limit_ms where the verb has one. */
void node_plan_text(
	const struct node *, enum node_text, const struct node_follow *, int64_t limit_ms, struct strbuf *);

#endif
