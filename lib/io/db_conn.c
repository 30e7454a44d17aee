/*
 * db_conn: connecting takes one of the few worker threads for as long as the server lets it. So that dead or
 * stopped servers do not take them all from the living, at most CONNECTS_MOST connect at a time, first come
 * first served, and a server is knocked at first, without a thread, when it did not answer the last time or
 * when all places are taken: a bare connection on the loop, closed once the server's greeting shows. A server
 * never sees one while all is well (it counts them as aborted connects).
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/base/arena.h"
#include "lib/base/clock.h"
#include "lib/base/str.h"
#include "lib/io/db_conn.h"
#include "lib/io/dns.h"
#include "lib/io/fiber.h"
#include "lib/io/loop.h"
#include "lib/io/work.h"

#define CONNECTS_MOST 24 /* below the pool's 32 threads: some are left for others' jobs */
#define KNOCK_FROM 12
#define TIMEOUT_MOST_S 60

/* The job */

static unsigned timeout_s(int64_t deadline_us)
{
	int64_t left_us = deadline_us == CLOCK_FOREVER ? INT64_MAX / 2 : deadline_us - clock_us();
	int64_t s = (left_us + 999999) / 1000000;

	return s < 1 ? 1 : s > TIMEOUT_MOST_S ? TIMEOUT_MOST_S : (unsigned)s;
}

struct db_conn_job *db_conn_job_new(const struct db_opts *o, int64_t deadline_us)
{
	struct db_conn_job *job = xcalloc(1, sizeof(*job));
	unsigned port = o->port ? o->port : 3306;

	job->deadline_us = deadline_us;
	job->opts = (struct db_opts){
		.host = xstrdup(o->host),
		.socket = xstrdup(o->socket),
		.user = xstrdup(o->user ? o->user : ""),
		.password = xstrdup(o->password ? o->password : ""),
		.port = (uint16_t)port,
		.tls_mode = o->tls_mode,
		.tls_ca = xstrdup(o->tls_ca),
		.tls_cert = xstrdup(o->tls_cert),
		.tls_key = xstrdup(o->tls_key),
		.program = xstrdup(o->program),
	};
	if (o->socket)
		(void)str_copy(job->where, sizeof(job->where), o->socket);
	else
		(void)snprintf(job->where, sizeof(job->where),
			o->host && strchr(o->host, ':') ? "[%.200s]:%u" : "%.200s:%u", o->host ? o->host : "",
			port);
	return job;
}

void db_conn_job_free(struct db_conn_job *job)
{
	const struct db_opts *o = &job->opts;
	const char *const strings[] = {
		o->host, o->socket, o->user, o->tls_ca, o->tls_cert, o->tls_key, o->program};

	if (job->handle)
		job->discard(job->handle);
	str_free_secret((char *)(uintptr_t)o->password);
	for (size_t i = 0; i < COUNT_OF(strings); i++)
		free((char *)(uintptr_t)strings[i]);
	free(job);
}

static void job_run(void *arg)
{
	struct db_conn_job *job = arg;

	job->connect(job);
}

static void job_drop(void *arg)
{
	db_conn_job_free(arg);
}

/* Places */

struct waiter {
	struct waiter *next;
	struct fiber_cond cond;
	bool granted;
};

static struct {
	int taken;
	struct waiter *first;
} places;

static void place_give(void)
{
	struct waiter *w = places.first;

	if (!w) {
		places.taken--;
		return;
	}
	places.first = w->next;
	w->granted = true;
	fiber_cond_signal(&w->cond);
}

static int MAY_WAIT place_take(int64_t deadline_us)
{
	struct waiter me = {0}, **end = &places.first;
	int r = 0;

	if (places.taken < CONNECTS_MOST) {
		places.taken++;
		return 0;
	}
	while (*end)
		end = &(*end)->next;
	*end = &me;
	while (!me.granted && r == 0)
		r = fiber_cond_wait(&me.cond, deadline_us);
	if (me.granted && r < 0) /* cancelled, and then granted */
		place_give();
	if (me.granted)
		return r;
	for (end = &places.first; *end != &me; end = &(*end)->next)
		continue;
	*end = me.next;
	return r;
}

/* Suspects: who did not answer the last time */

struct suspect {
	struct suspect *next;
	char where[256];
};

static struct suspect *suspects;

static struct suspect **suspect_find(const char *where)
{
	struct suspect **s = &suspects;

	while (*s && !str_eq((*s)->where, where))
		s = &(*s)->next;
	return s;
}

static void suspect_set(const char *where, bool suspected)
{
	struct suspect **found = suspect_find(where), *s = *found;

	if (suspected && !s) {
		s = xcalloc(1, sizeof(*s));
		(void)str_copy(s->where, sizeof(s->where), where);
		*found = s;
	} else if (!suspected && s) {
		*found = s->next;
		free(s);
	}
}

/* Knocking */

union address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
	struct sockaddr_un path;
};

static socklen_t address_parse(const char *host, uint16_t port, union address *a)
{
	*a = (union address){0};
	if (inet_pton(AF_INET, host, &a->v4.sin_addr) == 1) {
		a->v4.sin_family = AF_INET;
		a->v4.sin_port = htons(port);
		return sizeof(a->v4);
	}
	if (inet_pton(AF_INET6, host, &a->v6.sin6_addr) == 1) {
		a->v6.sin6_family = AF_INET6;
		a->v6.sin6_port = htons(port);
		return sizeof(a->v6);
	}
	return 0;
}

static int MAY_WAIT connect_fd(int fd, const union address *a, socklen_t len, int64_t deadline_us)
{
	int failed = 0;
	socklen_t size = sizeof(failed);

	if (connect(fd, &a->any, len) < 0) {
		if (errno != EINPROGRESS)
			return -errno;
		int r = fiber_wait_fd(fd, LOOP_WRITE, deadline_us);
		if (r < 0)
			return r;
		if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &failed, &size) < 0)
			return -errno;
	}
	return -failed;
}

/* 0 once the server sent a first byte: it is there, and it is not stopped. */
static int MAY_WAIT knock_address(const union address *a, socklen_t len, int64_t deadline_us)
{
	int fd = socket(a->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	int r = connect_fd(fd, a, len, deadline_us);
	if (r == 0)
		r = fiber_wait_fd(fd, LOOP_READ, deadline_us);
	(void)close(fd);
	return r < 0 ? r : 0;
}

static int MAY_WAIT knock_name(const struct db_conn_job *job)
{
	struct dns_answer *answer = xcalloc(1, sizeof(*answer));
	union address a;
	int r = dns_resolve(job->opts.host, job->deadline_us, answer, NULL);

	if (r < 0 || answer->nvalues == 0) {
		free(answer);
		/* The system may know names that the DNS does not: then it is the thread's turn. */
		return r == -ETIMEDOUT || r == -ECANCELED ? r : 0;
	}
	r = -EHOSTUNREACH;
	for (int i = 0; i < answer->nvalues && r < 0 && r != -ECANCELED && r != -ETIMEDOUT; i++) {
		socklen_t len = address_parse(answer->values[i], job->opts.port, &a);
		if (len)
			r = knock_address(&a, len, job->deadline_us);
	}
	free(answer);
	return r;
}

static int MAY_WAIT knock(const struct db_conn_job *job)
{
	union address a = {0};
	socklen_t len;

	if (job->opts.socket) {
		a.path.sun_family = AF_UNIX;
		(void)str_copy(a.path.sun_path, sizeof(a.path.sun_path), job->opts.socket);
		return knock_address(&a, sizeof(a.path), job->deadline_us);
	}
	len = address_parse(job->opts.host, job->opts.port, &a);
	return len ? knock_address(&a, len, job->deadline_us) : knock_name(job);
}

/* Running */

/* libmariadb's texts for failed system calls end in the errno: "... (111)", "... system error: 110". */
static int errno_in(const char *text)
{
	size_t end = strlen(text);

	while (end > 0 && strchr(").\"", text[end - 1]))
		end--;
	size_t start = end;
	while (start > 0 && text[start - 1] >= '0' && text[start - 1] <= '9')
		start--;
	int n = end > start && end - start < 4 ? atoi(text + start) : 0;
	return n == EAGAIN ? ETIMEDOUT : n;
}

static int failure_error(const struct db_conn_job *job, struct err *e)
{
	static const int codes[] = {
		[DB_CONN_TLS] = -EPROTO,
		[DB_CONN_UNKNOWN_HOST] = -EHOSTUNREACH,
	};
	bool first = e && !e->code;

	if (job->failure == DB_CONN_REFUSED) {
		int r = err_set(
			e, -EACCES, "%s refused user '%s': %s", job->where, job->opts.user, job->text);
		if (first)
			e->sql_errno = job->code;
		return r;
	}
	int code = job->failure == DB_CONN_OTHER ? -errno_in(job->text) : codes[job->failure];
	return err_set(e, code ? code : -EIO, "cannot connect to %s as '%s': %s", job->where, job->opts.user,
		job->text);
}

/* The job may be gone: only what was copied is used. */
static int wait_error(const char *where, int code, int64_t begun, struct err *e)
{
	const char *why = code == -ETIMEDOUT   ? "no answer"
			  : code == -ECANCELED ? "cancelled"
					       : strerror(-code);

	if (code == -EAGAIN)
		why = "too many connections are being opened";
	return err_set(e, code, "cannot connect to %s: %s (after %lld ms)", where, why,
		(long long)(clock_us() - begun) / 1000);
}

int db_conn_run(struct db_conn_job *job, struct err *e)
{
	int64_t begun = clock_us();
	char where[sizeof(job->where)];
	int r = 0;

	(void)str_copy(where, sizeof(where), job->where);
	if (*suspect_find(where) || places.taken >= KNOCK_FROM) {
		r = knock(job);
		if (r == -ETIMEDOUT)
			suspect_set(where, true);
	}
	if (r == 0)
		r = place_take(job->deadline_us);
	if (r < 0) {
		db_conn_job_free(job);
		return wait_error(where, r, begun, e);
	}
	job->timeout_s = timeout_s(job->deadline_us);
	r = work_run(job_run, job_drop, job, job->deadline_us);
	place_give();
	if (r < 0) {
		if (r == -ETIMEDOUT)
			suspect_set(where, true);
		if (r == -EAGAIN)
			db_conn_job_free(job);
		return wait_error(where, r, begun, e);
	}
	/* Of a connect that failed at once libmariadb says "in progress", whatever the reason: it is asked
	 * for here. */
	if (!job->handle && job->failure == DB_CONN_OTHER && errno_in(job->text) == EINPROGRESS) {
		r = knock(job);
		r = wait_error(where, r < 0 ? r : -ECONNREFUSED, begun, e);
	} else if (!job->handle) {
		r = failure_error(job, e);
	}
	suspect_set(where, r == -ETIMEDOUT);
	if (r < 0)
		db_conn_job_free(job);
	return r;
}

void db_conn_set_socket(int fd)
{
	const struct {
		int level, name, value;
	} options[] = {
		{IPPROTO_TCP, TCP_NODELAY, 1},
		{SOL_SOCKET, SO_KEEPALIVE, 1},
		{IPPROTO_TCP, TCP_KEEPIDLE, 5},
		{IPPROTO_TCP, TCP_KEEPINTVL, 2},
		{IPPROTO_TCP, TCP_KEEPCNT, 3},
	};

	(void)fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	(void)fcntl(fd, F_SETFD, FD_CLOEXEC);
	/* On a socket file the TCP ones fail, which does no harm. */
	for (size_t i = 0; i < COUNT_OF(options); i++)
		(void)setsockopt(
			fd, options[i].level, options[i].name, &options[i].value, sizeof(options[i].value));
}
