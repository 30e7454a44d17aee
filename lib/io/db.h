/*
 * db: one connection to a MySQL-family server (libmariadb, named in db.c alone). Connecting happens on a
 * worker thread (it resolves names and must know the name for verify_identity); queries are asynchronous on
 * the loop. Only our own deadlines count: libmariadb has none over TLS in async mode (facts: c-style section
 * 3).
 */
#ifndef IO_DB_H
#define IO_DB_H

#include "lib/base/base.h"
#include "lib/base/err.h"

enum db_tls_mode {
	DB_TLS_DISABLED,
	DB_TLS_PREFERRED,
	DB_TLS_REQUIRED,
	DB_TLS_VERIFY_CA,
	DB_TLS_VERIFY_IDENTITY
};

/* All strings are copied by db_open. */
struct db_opts {
	const char *host, *socket, *user, *password; /* socket wins over host where set */
	uint16_t port;
	enum db_tls_mode tls_mode;
	const char *tls_ca, *tls_cert, *tls_key;
	const char *program; /* connection attribute program_name */
};

struct db;

/* One result set, materialised; freed with db_result_free (the whole chain). */
struct db_result {
	int rows, cols;
	uint64_t affected;	/* rows changed, for statements without a result set */
	char **names;		/* cols */
	char **cells;		/* rows * cols; NULL is SQL NULL */
	struct db_result *next; /* further results of the same packet */
};

/* 0, or negative errno with the reason: -ETIMEDOUT, -ECANCELED, -ECONNREFUSED, -EACCES (server refused the
 * log-in). */
int MAY_WAIT db_open(const struct db_opts *, int64_t deadline_us, struct db **ret, struct err *) MUSTCHECK;
/* Closes at once, never blocks, takes NULL. */
void db_close(struct db *);
/*
 * Sends sql (one statement, or several with ';') and reads all results. DONE: *ret_result (if asked) holds
 * them. REFUSED: the server answered with an error (err->sql_errno); of several statements the earlier ones
 * have run. UNKNOWN: no answer (deadline, cancel, connection lost): the connection is dead and the statement
 * may still run in the server; only db_close is left to do. One query at a time per connection.
 */
enum act MAY_WAIT db_query(struct db *, const char *sql, int64_t deadline_us, struct db_result **ret_result,
	struct err *) MUSTCHECK;
bool db_alive(const struct db *);
uint64_t db_connection_id(const struct db *);
const char *db_server_version(const struct db *);
bool db_is_tls(const struct db *);

void db_result_free(struct db_result *); /* takes NULL */
/* The cell of the first result row by column name (case-insensitive), or NULL. */
const char *db_get(const struct db_result *, int row, const char *column);
int64_t db_get_int(const struct db_result *, int row, const char *column, int64_t otherwise);

/* The one place where a string becomes SQL: 'it''s' with quotes; safe in every sql_mode (backslash too). */
struct strbuf;
void db_quote(struct strbuf *, const char *s);
void db_quote_name(struct strbuf *, const char *s); /* `a``b` */
/*
 * For grammar that takes a quoted string and nothing else (CHANGE MASTER, IDENTIFIED BY: MariaDB 10.11
 * answers 1064 to a hexadecimal literal). Never ends early in any sql_mode, but a backslash is read as itself
 * only where the session's sql_mode lacks NO_BACKSLASH_ESCAPES: set it before.
 */
void db_quote_text(struct strbuf *, const char *s);

#endif
