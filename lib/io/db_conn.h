/*
 * db_conn: what opening a connection needs besides the library: copies of the options, how many may connect
 * at a time, and knocking at servers that did not answer before. For db.c alone.
 */
#ifndef IO_DB_CONN_H
#define IO_DB_CONN_H

#include "lib/base/base.h"
#include "lib/base/err.h"
#include "lib/io/db.h"
#include "lib/io/fiber.h"

enum db_conn_failure { DB_CONN_OTHER, DB_CONN_REFUSED, DB_CONN_TLS, DB_CONN_UNKNOWN_HOST };

/* Owned by the waiting fiber, or by the worker thread once abandoned. */
struct db_conn_job {
	struct db_opts opts; /* its strings are the job's own */
	char where[256];     /* host:port, or the socket's path */
	unsigned timeout_s;  /* for each stage inside the library; at least 1 */
	int64_t deadline_us;
	void (*connect)(
		struct db_conn_job *); /* on the worker thread: sets handle, or failure, code and text */
	void (*discard)(void *handle); /* closes a handle that nobody took; never blocks */
	void *handle;
	enum db_conn_failure failure;
	unsigned code; /* the server's, or the library's */
	char text[512];
};

struct db_conn_job *db_conn_job_new(const struct db_opts *, int64_t deadline_us);
/* Takes the handle with it. */
void db_conn_job_free(struct db_conn_job *);
/*
 * Runs job->connect on a worker thread. 0: connected, job->handle is set. Else the reason as db_open gives
 * it. The job is freed on failure, and the caller's on success.
 */
int MAY_WAIT db_conn_run(struct db_conn_job *, struct err *) MUSTCHECK;
/* Non-blocking, close-on-exec, TCP_NODELAY, and keepalive that notices a dead peer within 11 s. */
void db_conn_set_socket(int fd);

#endif
