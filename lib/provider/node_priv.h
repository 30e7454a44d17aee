/* node_priv: what the rooms of node share. Nobody outside lib/provider/node*.c includes it. */
#ifndef PROVIDER_NODE_PRIV_H
#define PROVIDER_NODE_PRIV_H

#include "lib/base/str.h"
#include "lib/io/db.h"
#include "lib/provider/dialect.h"
#include "lib/provider/node.h"

struct node_trx {	 /* the open transactions as they were last read */
	int64_t read_us; /* 0 never */
	struct node_trx_open {
		uint64_t session, rows;
		int64_t age_ms;
	} * open;
	int nopen, cap;
};

struct node {
	const struct conf_server *conf; /* borrowed */
	char *cluster, *schema;
	char lock[72]; /* the named lock */
	const struct dialect *dialect;
	int version; /* of the server when a session was last opened; 0 never */
	bool schema_seen;
	bool encrypted; /* a session opened last was */
	/* how a restart leaves read_only, noted when a boot was first seen (E0: the first SET hides it) */
	bool boots_noted;
	int64_t boots_boot_s;
	int boots_read_only;
	struct node_trx trx;
};

struct session {
	struct node *node;
	struct db *db;
	enum session_role role;
	struct session_mark mark;
	char tag[160]; /* the comment with its blank, or empty */
};

struct dialect_ctx node_ctx(const struct node *);
struct dialect_ctx session_ctx(const struct session *);
/* "source 10.1.0.5:3306" */
const char *node_label(const struct node *, char *buf, size_t size);

/*
 * Sends sql under the session's tag and frees the text (it may hold a password). what says in the error what
 * was asked. DONE: *ret (may be NULL) is the caller's to free.
 */
enum act MAY_WAIT node_ask(struct session *, struct strbuf *sql, const char *what, int64_t deadline_us,
	struct db_result **ret, struct err *) MUSTCHECK;
/* The same where nothing comes back. */
enum act MAY_WAIT node_tell(
	struct session *, struct strbuf *sql, const char *what, int64_t deadline_us, struct err *) MUSTCHECK;
/* REFUSED with what, named after the node: for what the server's answer means. */
enum act node_refuse(struct session *, int code, struct err *, const char *fmt, ...) PRINTF(4, 5);
/* node_trx.c: whether the open transactions are to be read now; true counts as a reading. */
bool node_trx_due(struct node *);
void node_trx_keep(struct node *, const struct facts_session *, int nlist);
void node_trx_recall(const struct node *, struct facts_session *, int nlist);
void node_trx_free(struct node *);
/* Hands a verb's own error on, unless the caller has an earlier one. */
void node_pass_err(struct err *to, const struct err *from);
void db_result_freep(struct db_result **);

#endif
