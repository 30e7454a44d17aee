/*
 * db: connections by libmariadb 3.3. A blocking connect on a worker thread, then queries by its _start/_cont
 * calls on the loop's thread. What libmariadb does and does not do, from its source and by trial, and what
 * follows:
 *
 *  - Its connect time-out counts whole seconds, anew for each stage; over TLS its asynchronous calls have
 * none. Only our deadlines count: a connect past its deadline is left to its thread, a query past it costs
 * the connection.
 *  - It leaves the socket blocking; plain reads pass MSG_DONTWAIT, but SSL_read would block the loop. So the
 * socket is made non-blocking behind its back.
 *  - A suspended call cannot be ended, only its socket shut down before mysql_close. COM_QUIT goes out only
 * where the socket takes it at once.
 *  - MYSQL_OPT_SSL_ENFORCE means "if the server offers it". That the server must offer it is enforced, before
 * any secret is sent, by an option that demands TLS: VERIFY_SERVER_CERT, or an empty TLS_PEER_FP, which
 * checks nothing else. A CA given verifies the chain alone; VERIFY_SERVER_CERT adds the host name. That is
 * verify_ca and verify_identity exactly, and both fail within the handshake, before the log-in.
 *  - It never empties OpenSSL's queue of errors, one per thread: what one connection (or libcurl) left there
 * makes the next call on another look failed. It is emptied before every call.
 *  - A server may ask for the password in clear text (mysql_clear_password, dialog): allowed only once
 * verified.
 *
 *     OPEN -> DEAD (no answer, connection lost, or the server said good-bye) -> closed
 */
#include <assert.h>
#include <errno.h>
#include <mysql.h>
#include <errmsg.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/arena.h"
#include "lib/base/clock.h"
#include "lib/base/str.h"
#include "lib/io/db.h"
#include "lib/io/db_conn.h"
#include "lib/io/fiber.h"
#include "lib/io/loop.h"

#define ASYNC_STACK_BYTES ((size_t)256 * 1024) /* as the facts measured; the library's default is 60 KiB */
#define SYSTEM_CA_DIR "/etc/ssl/certs"

/* OpenSSL's; its headers belong to hash.c. */
void ERR_clear_error(void);

struct db {
	MYSQL *mysql;
	bool dead;
	bool busy;
};

/* Connecting */

/* The library keeps the password for reconnects, which never happen here. */
static void forget_password(MYSQL *m)
{
	if (m->passwd)
		explicit_bzero(m->passwd, strlen(m->passwd));
}

/* Shuts the socket down first where writing to it might wait: mysql_close sends COM_QUIT. */
static void mysql_close_at_once(MYSQL *m, bool dead)
{
	int fd = (int)mysql_get_socket(m);
	struct pollfd p = {.fd = fd, .events = POLLOUT};

	ERR_clear_error();
	if (fd >= 0 &&
		(dead || poll(&p, 1, 0) != 1 || (p.revents & (POLLERR | POLLHUP)) || !(p.revents & POLLOUT)))
		(void)mariadb_cancel(m);
	mysql_close(m);
}

static void discard(void *handle)
{
	mysql_close_at_once(handle, false);
}

static bool tls_verified(enum db_tls_mode mode)
{
	return mode == DB_TLS_VERIFY_CA || mode == DB_TLS_VERIFY_IDENTITY;
}

static void set_tls(MYSQL *m, const struct db_opts *o, enum db_tls_mode mode)
{
	my_bool yes = 1;

	if (mode == DB_TLS_DISABLED)
		return;
	(void)mysql_optionsv(m, MYSQL_OPT_SSL_ENFORCE, &yes);
	if (o->tls_cert)
		(void)mysql_optionsv(m, MYSQL_OPT_SSL_CERT, o->tls_cert);
	if (o->tls_key)
		(void)mysql_optionsv(m, MYSQL_OPT_SSL_KEY, o->tls_key);
	if (mode == DB_TLS_PREFERRED)
		return;
	(void)mysql_optionsv(m, MARIADB_OPT_TLS_PEER_FP, "");
	if (!tls_verified(mode))
		return;
	if (o->tls_ca)
		(void)mysql_optionsv(m, MYSQL_OPT_SSL_CA, o->tls_ca);
	else
		(void)mysql_optionsv(m, MYSQL_OPT_SSL_CAPATH, SYSTEM_CA_DIR);
	/* A socket file has no name that a certificate could bear. */
	if (mode == DB_TLS_VERIFY_IDENTITY && !o->socket)
		(void)mysql_optionsv(m, MYSQL_OPT_SSL_VERIFY_SERVER_CERT, &yes);
}

static MYSQL *handle_new(const struct db_conn_job *job, enum db_tls_mode mode)
{
	const struct db_opts *o = &job->opts;
	MYSQL *m = mysql_init(NULL);
	size_t stack = ASYNC_STACK_BYTES;
	unsigned none = 0, protocol = o->socket ? MYSQL_PROTOCOL_SOCKET : MYSQL_PROTOCOL_TCP;
	my_bool no = 0;

	if (!m)
		return NULL;
	(void)mysql_optionsv(m, MYSQL_OPT_NONBLOCK, &stack);
	(void)mysql_optionsv(m, MYSQL_OPT_CONNECT_TIMEOUT, &job->timeout_s);
	(void)mysql_optionsv(m, MYSQL_OPT_LOCAL_INFILE, &none);
	(void)mysql_optionsv(m, MYSQL_OPT_RECONNECT, &no);
	(void)mysql_optionsv(m, MYSQL_OPT_PROTOCOL, &protocol);
	(void)mysql_optionsv(m, MYSQL_SET_CHARSET_NAME, "utf8mb4");
	(void)mysql_optionsv(m, MARIADB_OPT_RESTRICTED_AUTH,
		tls_verified(mode)
			? "mysql_native_password,caching_sha2_password,sha256_password,client_ed25519,"
			  "auth_gssapi_client,mysql_clear_password,dialog"
			: "mysql_native_password,caching_sha2_password,sha256_password,client_ed25519,"
			  "auth_gssapi_client");
	if (o->program)
		(void)mysql_optionsv(m, MYSQL_OPT_CONNECT_ATTR_ADD, "program_name", o->program);
	set_tls(m, o, mode);
	return m;
}

/* Client errors are 2000-2999 and 5000-5999; everything else is a server's. */
static bool from_server(unsigned code)
{
	return code != 0 && !(code >= CR_MIN_ERROR && code <= CR_MAX_ERROR) &&
	       !(code >= 5000 && code <= 5999);
}

static void connect_failed(struct db_conn_job *job, unsigned code, const char *text)
{
	job->code = code;
	(void)str_copy(job->text, sizeof(job->text), text);
	job->failure = from_server(code)		 ? DB_CONN_REFUSED
		       : code == CR_SSL_CONNECTION_ERROR ? DB_CONN_TLS
		       : code == CR_UNKNOWN_HOST	 ? DB_CONN_UNKNOWN_HOST
							 : DB_CONN_OTHER;
}

static void connect_as(struct db_conn_job *job, enum db_tls_mode mode)
{
	const struct db_opts *o = &job->opts;
	MYSQL *m = handle_new(job, mode);

	if (!m) {
		connect_failed(job, CR_OUT_OF_MEMORY, "out of memory");
		return;
	}
	ERR_clear_error();
	if (!mysql_real_connect(m, o->socket ? NULL : o->host, o->user, o->password, NULL, o->port, o->socket,
		    CLIENT_MULTI_STATEMENTS | CLIENT_MULTI_RESULTS)) {
		connect_failed(job, mysql_errno(m), mysql_error(m));
		mysql_close_at_once(m, true);
		return;
	}
	forget_password(m);
	/* Not to be reached: where encryption is demanded the log-in does not begin without. */
	if (mode >= DB_TLS_REQUIRED && !mysql_get_ssl_cipher(m)) {
		connect_failed(job, CR_SSL_CONNECTION_ERROR, "the connection is not encrypted");
		mysql_close_at_once(m, true);
		return;
	}
	job->handle = m;
}

/* On the worker thread. */
static void connect_fn(struct db_conn_job *job)
{
	enum db_tls_mode mode = job->opts.tls_mode;

	/* A socket file needs no encryption; preferred means as good as it gets. */
	if (mode == DB_TLS_PREFERRED && job->opts.socket)
		mode = DB_TLS_DISABLED;
	connect_as(job, mode);
	/* Two threads loaded a plugin at once: the later gets 1045 with this text of the library (3.3.20). */
	if (!job->handle && strstr(job->text, "it is already loaded") && clock_us() < job->deadline_us)
		connect_as(job, mode);
	if (!job->handle && job->failure == DB_CONN_TLS && mode == DB_TLS_PREFERRED &&
		clock_us() < job->deadline_us)
		connect_as(job, DB_TLS_DISABLED);
}

int db_open(const struct db_opts *o, int64_t deadline_us, struct db **ret, struct err *e)
{
	struct db_conn_job *job = db_conn_job_new(o, deadline_us);
	/* libmariadb takes a list of hosts; here it is one. */
	bool bad_host = !o->socket && (!o->host || !o->host[0] || strchr(o->host, ','));
	int r = bad_host ? -EINVAL : fiber_check();

	if (r < 0) {
		(void)err_set(
			e, r, "cannot connect to %s: %s", job->where, bad_host ? "not a host" : "cancelled");
		db_conn_job_free(job);
		return r;
	}
	job->connect = connect_fn;
	job->discard = discard;
	r = db_conn_run(job, e);
	if (r < 0)
		return r;
	struct db *db = xcalloc(1, sizeof(*db));
	db->mysql = job->handle;
	job->handle = NULL;
	db_conn_job_free(job);
	db_conn_set_socket((int)mysql_get_socket(db->mysql));
	*ret = db;
	return 0;
}

void db_close(struct db *db)
{
	if (!db)
		return;
	assert(!db->busy);
	mysql_close_at_once(db->mysql, db->dead);
	free(db);
}

/* Queries */

/* Waits for what the suspended call wants. 0 and *ret_status for _cont, or -ETIMEDOUT, -ECANCELED. */
static int wait_status(struct db *db, int wanted, int64_t deadline_us, int *ret_status)
{
	int events =
		(wanted & MYSQL_WAIT_READ ? LOOP_READ : 0) | (wanted & MYSQL_WAIT_WRITE ? LOOP_WRITE : 0);
	int r = fiber_wait_fd((int)mysql_get_socket(db->mysql), events, deadline_us);

	if (r < 0)
		return r;
	/* Other fibers ran meanwhile. */
	ERR_clear_error();
	*ret_status = (r & LOOP_READ ? MYSQL_WAIT_READ : 0) | (r & LOOP_WRITE ? MYSQL_WAIT_WRITE : 0);
	return 0;
}

static int wait_query(struct db *db, const char *sql, int64_t deadline_us, int *ret)
{
	ERR_clear_error();
	int wanted = mysql_real_query_start(ret, db->mysql, sql, (unsigned long)strlen(sql));

	while (wanted) {
		int status, r = wait_status(db, wanted, deadline_us, &status);
		if (r < 0)
			return r;
		wanted = mysql_real_query_cont(ret, db->mysql, status);
	}
	return 0;
}

static int wait_store(struct db *db, int64_t deadline_us, MYSQL_RES **ret)
{
	ERR_clear_error();
	int wanted = mysql_store_result_start(ret, db->mysql);

	while (wanted) {
		int status, r = wait_status(db, wanted, deadline_us, &status);
		if (r < 0)
			return r;
		wanted = mysql_store_result_cont(ret, db->mysql, status);
	}
	return 0;
}

static int wait_next(struct db *db, int64_t deadline_us, int *ret)
{
	ERR_clear_error();
	int wanted = mysql_next_result_start(ret, db->mysql);

	while (wanted) {
		int status, r = wait_status(db, wanted, deadline_us, &status);
		if (r < 0)
			return r;
		wanted = mysql_next_result_cont(ret, db->mysql, status);
	}
	return 0;
}

static char *cell_dup(const char *s, unsigned long len)
{
	char *copy = xcalloc(1, len + 1);

	memcpy(copy, s, len);
	return copy;
}

static void result_fill(struct db_result *r, MYSQL_RES *res)
{
	const MYSQL_FIELD *fields = mysql_fetch_fields(res);

	r->cols = (int)mysql_num_fields(res);
	r->rows = (int)mysql_num_rows(res);
	r->names = xcalloc((size_t)r->cols, sizeof(*r->names));
	r->cells = xcalloc((size_t)r->rows * (size_t)r->cols, sizeof(*r->cells));
	for (int c = 0; c < r->cols; c++)
		r->names[c] = xstrdup(fields[c].name);
	for (int row = 0; row < r->rows; row++) {
		MYSQL_ROW cells = mysql_fetch_row(res);
		const unsigned long *lengths = mysql_fetch_lengths(res);
		for (int c = 0; c < r->cols; c++) {
			if (cells[c])
				r->cells[(size_t)row * (size_t)r->cols + (size_t)c] =
					cell_dup(cells[c], lengths[c]);
		}
	}
}

/*
 * All results of the packet into *head. 0: read to the end, or the server refused (*ret_failed); negative: no
 * answer. The chain so far is in *head in any case.
 */
static int read_results(struct db *db, int64_t deadline_us, struct db_result **head, bool *ret_failed)
{
	struct db_result **tail = head;
	int more = 0, r;

	do {
		MYSQL_RES *res = NULL;
		r = wait_store(db, deadline_us, &res);
		if (r < 0)
			return r;
		if (!res && mysql_errno(db->mysql)) {
			*ret_failed = true;
			return 0;
		}
		struct db_result *one = *tail = xcalloc(1, sizeof(*one));
		tail = &one->next;
		if (res) {
			result_fill(one, res);
			mysql_free_result(res);
		} else {
			one->affected = mysql_affected_rows(db->mysql);
		}
		r = wait_next(db, deadline_us, &more);
		if (r < 0)
			return r;
	} while (more == 0);
	*ret_failed = more > 0;
	return 0;
}

/*
 * After these the server closes the connection: ER_SERVER_SHUTDOWN, ER_CONNECTION_KILLED (MariaDB),
 * ER_CLIENT_INTERACTION_TIMEOUT (MySQL).
 */
static bool says_goodbye(unsigned code)
{
	return code == 1053 || code == 1927 || code == 4031;
}

/* What libmariadb's error means. */
static enum act judge_error(struct db *db, struct err *e)
{
	unsigned code = mysql_errno(db->mysql);
	bool first = e && !e->code;

	if (!from_server(code)) {
		db->dead = true;
		(void)err_set(e, -ECONNRESET, "the connection was lost: %s", mysql_error(db->mysql));
		return ACT_UNKNOWN;
	}
	if (says_goodbye(code))
		db->dead = true;
	(void)err_set(e, -EREMOTEIO, "%s", mysql_error(db->mysql));
	if (first)
		e->sql_errno = code;
	return ACT_REFUSED;
}

static enum act no_answer(struct db *db, int r, int64_t begun, struct err *e)
{
	db->dead = true;
	(void)err_set(e, r, "%s after %lld ms", r == -ETIMEDOUT ? "no answer from the server" : "cancelled",
		(long long)(clock_us() - begun) / 1000);
	return ACT_UNKNOWN;
}

enum act db_query(
	struct db *db, const char *sql, int64_t deadline_us, struct db_result **ret_result, struct err *e)
{
	int64_t begun = clock_us();
	struct db_result *head = NULL;
	bool failed = false;
	int status = 0;

	assert(!db->busy);
	if (db->dead) {
		(void)err_set(e, -ENOTCONN, "the connection was lost before");
		return ACT_UNKNOWN;
	}
	/* What should not begin is not sent at all. */
	int r = fiber_check();
	if (r == 0 && begun >= deadline_us)
		r = -ETIMEDOUT;
	if (r < 0)
		return no_answer(db, r, begun, e);

	db->busy = true;
	r = wait_query(db, sql, deadline_us, &status);
	if (r == 0 && status == 0)
		r = read_results(db, deadline_us, &head, &failed);
	db->busy = false;
	if (r == 0 && status == 0 && !failed) {
		if (ret_result)
			*ret_result = head;
		else
			db_result_free(head);
		return ACT_DONE;
	}
	db_result_free(head);
	return r < 0 ? no_answer(db, r, begun, e) : judge_error(db, e);
}

bool db_alive(const struct db *db)
{
	/* Readable alone proves nothing: over TLS 1.3 session tickets may lie there unread. */
	struct pollfd p = {.fd = db->dead ? -1 : (int)mysql_get_socket(db->mysql), .events = POLLRDHUP};

	if (p.fd < 0)
		return false;
	return poll(&p, 1, 0) == 0;
}

uint64_t db_connection_id(const struct db *db)
{
	return mysql_thread_id(db->mysql);
}

const char *db_server_version(const struct db *db)
{
	return mysql_get_server_info(db->mysql);
}

bool db_is_tls(const struct db *db)
{
	return mysql_get_ssl_cipher(db->mysql) != NULL;
}
