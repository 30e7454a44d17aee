/*
 * dialect: the SQL of one family of servers, and how its answers are spelled. Every statement that flipd
 * sends is rendered here, for the verbs of node.h and for `plan` alike; no SQL text and no column name stands
 * anywhere else in lib/provider. Renderers append to a strbuf and cannot fail; readers take what the server
 * answered.
 */
#ifndef PROVIDER_DIALECT_H
#define PROVIDER_DIALECT_H

#include "lib/provider/node.h"

struct db_result;
struct strbuf;

/* What the texts are about. Strings are borrowed. */
struct dialect_ctx {
	const char *schema, *cluster;
	const char *node;	      /* "source", "target": the probe's row */
	const char *lock;	      /* the name of the cluster's named lock */
	int version;		      /* 101119; 0 not known yet: the oldest that is spoken */
	uint32_t server_id;	      /* of the server that gets the statement; 0 not known */
	const char *replication_user; /* whom others log in as to replicate; NULL not known */
	bool schema_seen;	      /* the tables were there when last looked: they may be named */
	bool trx_wanted;	      /* with the list of sessions, their open transactions */
	bool origin_wanted;	      /* what a restart does to read_only is not known for this boot */
};

/* What a server says of itself on a new session. */
struct dialect_hello {
	struct session_mark mark;
	char version[64];
};

/* What node_facts() learns besides the facts. */
struct dialect_extra {
	int boots; /* -1 the origin does not tell, 0, 1: see facts.boots_read_only */
	bool origin_read;
	int error; /* negative errno: a position that could not be read */
};

struct dialect_event {
	char name[600]; /* quoted, with its schema: it goes into statements as it is */
	char definer[384], charset[64], collation[64];
};

struct dialect_guard { /* the answer to a guarded opening, or to a wait */
	bool read_only, holds_lock, answered;
	bool reached, null;  /* of a wait; null: the applier does not run, or the limit came */
	char position[1024]; /* what had been applied */
};

enum dialect_value { DIALECT_COUNT, DIALECT_CHECKSUM, DIALECT_READABLE };

struct dialect {
	const char *name;

	/* one packet: settings, then who and where we are */
	void (*hello)(const struct dialect_ctx *, enum session_role, struct strbuf *);
	int (*read_hello)(const struct db_result *, struct dialect_hello *ret);

	void (*facts)(const struct dialect_ctx *, unsigned what, struct strbuf *);
	void (*read_facts)(const struct db_result *, struct arena *, struct facts *, struct dialect_extra *);
	void (*prove)(const struct dialect_ctx *, struct strbuf *);
	int (*read_prove)(const struct db_result *, struct node_proof *ret);
	void (*sessions)(const struct dialect_ctx *, struct strbuf *);
	void (*survey)(const struct dialect_ctx *, unsigned what, int64_t limit_ms, struct strbuf *);
	/* adds to *ret; -E2BIG */
	int (*read_survey)(const struct db_result *, struct arena *, struct survey *ret);

	void (*lock_take)(const struct dialect_ctx *, struct strbuf *);	   /* columns taken, holder */
	void (*lock_holder)(const struct dialect_ctx *, struct strbuf *);  /* holder */
	void (*lock_release)(const struct dialect_ctx *, struct strbuf *); /* released */
	void (*row_write)(const struct dialect_ctx *, const struct node_row *, struct strbuf *);
	void (*row_read)(const struct dialect_ctx *, const char *id, struct strbuf *);
	int (*read_row)(const struct db_result *, struct node_row *ret); /* -ENOENT */

	void (*flush)(const struct dialect_ctx *, int64_t limit_ms, struct strbuf *);
	void (*event_scheduler)(const struct dialect_ctx *, bool on, struct strbuf *);
	/* enabled: those that run here; else all: event, definer, charset, collation */
	void (*events)(const struct dialect_ctx *, bool enabled, struct strbuf *);
	void (*read_event)(const struct db_result *, int row, struct dialect_event *ret);
	void (*event_enable)(const struct dialect_ctx *, const struct dialect_event *, struct strbuf *);
	/* NULL: the one with which every session begins */
	void (*session_charset)(
		const struct dialect_ctx *, const char *charset, const char *collation, struct strbuf *);
	/* the bytes of a text in another character set, in hexadecimal, as `recoded`; NULL where it has no
	 * such letters */
	void (*recode)(const struct dialect_ctx *, const char *text, const char *charset, struct strbuf *);
	void (*semi_sync_master)(const struct dialect_ctx *, bool on, struct strbuf *);
	/* of the users named by the entries, at every host; not the session's own */
	void (*accounts)(const struct dialect_ctx *, const struct conf_list *entries, struct strbuf *);
	void (*read_account)(const struct db_result *, int row, struct facts_account *ret);
	void (*accounts_lock)(
		const struct dialect_ctx *, const struct facts_account *, int n, bool lock, struct strbuf *);
	void (*fence)(const struct dialect_ctx *, int64_t limit_ms, struct strbuf *);
	void (*unfence)(const struct dialect_ctx *, struct strbuf *);
	void (*probe_write)(const struct dialect_ctx *, uint64_t seq, struct strbuf *);
	void (*probe_try)(const struct dialect_ctx *, struct strbuf *);
	/* goal NULL: a text with placeholders, use_gtid says which form */
	void (*wait)(const struct dialect_ctx *, const struct node_goal *, bool use_gtid, int64_t limit_ms,
		struct strbuf *);
	void (*open_guarded)(const struct dialect_ctx *, const struct node_goal *, bool use_gtid,
		int64_t limit_ms, struct strbuf *);
	void (*open_state)(const struct dialect_ctx *, struct strbuf *);
	int (*read_guard)(const struct db_result *, struct dialect_guard *ret);

	void (*forget)(const struct dialect_ctx *, struct strbuf *);
	/* mask: the password is written ***, unknown positions as placeholders (for plan) */
	void (*follow)(const struct dialect_ctx *, const struct node_follow *, bool mask, struct strbuf *);
	void (*start)(const struct dialect_ctx *, struct strbuf *);
	void (*stop)(const struct dialect_ctx *, struct strbuf *);
	void (*try_reverse)(const struct dialect_ctx *, const struct node_follow *, struct strbuf *);
	void (*try_reverse_state)(const struct dialect_ctx *, struct strbuf *);
	int (*read_channel)(const struct db_result *, struct facts_channel *ret); /* -ENOENT */
	void (*try_reverse_remove)(const struct dialect_ctx *, struct strbuf *);

	void (*tables)(const struct dialect_ctx *, struct strbuf *); /* name */
	void (*table_value)(const struct dialect_ctx *, const char *table, enum dialect_value,
		int64_t limit_ms, struct strbuf *); /* value */
	void (*kill)(const struct dialect_ctx *, uint64_t id, bool query_only, struct strbuf *);
	void (*kill_many)(const struct dialect_ctx *, const uint64_t *ids, int n, struct strbuf *);
	/* there; committing: it is in a commit that waits for disk space, or is queued behind one */
	void (*session_there)(const struct dialect_ctx *, uint64_t id, const char *account, struct strbuf *);

	void (*heartbeat)(const struct dialect_ctx *, uint64_t lock_session, struct strbuf *);
	void (*prepare_look)(const struct dialect_ctx *, struct strbuf *); /* found, writable */
	void (*prepare)(const struct dialect_ctx *, const char *separator, struct strbuf *);
	/* mask: the password is written *** */
	void (*create_account)(const struct dialect_ctx *, enum grants_use, const struct conf_account *,
		bool mask, const char *separator, struct strbuf *);
};

extern const struct dialect dialect_mariadb;

/* Error numbers that a verb decides by (MySQL and MariaDB agree on them). */
enum {
	DIALECT_ER_DB_ACCESS = 1044,
	DIALECT_ER_ACCESS = 1045,
	DIALECT_ER_BAD_DB = 1049,
	DIALECT_ER_NO_SUCH_THREAD = 1094,
	DIALECT_ER_TABLE_ACCESS = 1142,
	DIALECT_ER_NO_SUCH_TABLE = 1146,
	DIALECT_ER_LOCK_WAIT = 1205,
	DIALECT_ER_PRIVILEGE = 1227,
	DIALECT_ER_READ_ONLY = 1290,
	DIALECT_ER_STATEMENT_TIME = 1969,
	DIALECT_ER_NO_CHANNEL = 1617, /* "There is no master connection '...'" */
};

/* The result set of the chain whose first column has this name, or NULL. */
const struct db_result *dialect_find(const struct db_result *, const char *first_column);
/* A text cell into a fixed buffer; empty for NULL. */
void dialect_copy(char *buf, size_t size, const struct db_result *, int row, const char *column);

/* Shared by the files of the MariaDB dialect. */
void mariadb_tables(const struct dialect_ctx *, struct strbuf *);
void mariadb_table_value(
	const struct dialect_ctx *, const char *table, enum dialect_value, int64_t limit_ms, struct strbuf *);
void mariadb_facts(const struct dialect_ctx *, unsigned what, struct strbuf *);
void mariadb_read_facts(const struct db_result *, struct arena *, struct facts *, struct dialect_extra *);
void mariadb_prove(const struct dialect_ctx *, struct strbuf *);
int mariadb_read_prove(const struct db_result *, struct node_proof *ret);
void mariadb_survey(const struct dialect_ctx *, unsigned what, int64_t limit_ms, struct strbuf *);
int mariadb_read_survey(const struct db_result *, struct arena *, struct survey *ret);
void mariadb_sessions(const struct dialect_ctx *, struct strbuf *);
bool mariadb_waits_for_space(const char *state);
void mariadb_kill(const struct dialect_ctx *, uint64_t id, bool query_only, struct strbuf *);
void mariadb_kill_many(const struct dialect_ctx *, const uint64_t *ids, int n, struct strbuf *);
void mariadb_session_there(const struct dialect_ctx *, uint64_t id, const char *account, struct strbuf *);
void mariadb_accounts(const struct dialect_ctx *, const struct conf_list *entries, struct strbuf *);
void mariadb_read_account(const struct db_result *, int row, struct facts_account *ret);
void mariadb_create_account(const struct dialect_ctx *, enum grants_use, const struct conf_account *,
	bool mask, const char *separator, struct strbuf *);
void mariadb_accounts_lock(
	const struct dialect_ctx *, const struct facts_account *, int n, bool lock, struct strbuf *);
int mariadb_read_channel(const struct db_result *, struct facts_channel *ret);
void mariadb_wait(const struct dialect_ctx *, const struct node_goal *, bool use_gtid, int64_t limit_ms,
	struct strbuf *);
void mariadb_open_guarded(const struct dialect_ctx *, const struct node_goal *, bool use_gtid,
	int64_t limit_ms, struct strbuf *);
void mariadb_open_state(const struct dialect_ctx *, struct strbuf *);
bool mariadb_read_only(const struct db_result *, const char *column); /* of row 0: closed */
int mariadb_read_guard(const struct db_result *, struct dialect_guard *ret);
void mariadb_forget(const struct dialect_ctx *, struct strbuf *);
void mariadb_follow(const struct dialect_ctx *, const struct node_follow *, bool mask, struct strbuf *);
void mariadb_start(const struct dialect_ctx *, struct strbuf *);
void mariadb_stop(const struct dialect_ctx *, struct strbuf *);
void mariadb_try_reverse(const struct dialect_ctx *, const struct node_follow *, struct strbuf *);
void mariadb_try_reverse_state(const struct dialect_ctx *, struct strbuf *);
void mariadb_try_reverse_remove(const struct dialect_ctx *, struct strbuf *);

#endif
