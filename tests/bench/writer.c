/* writer: see writer.h. Finds the master, writes, classifies what it was told, and logs it. */
#include "tests/bench/writer.h"

#include <errno.h>
#include <mysql.h>
#include <mysqld_error.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/bench/resolve.h"
#include "tests/bench/tally.h"

enum { FLUSH_US = 100000 };

struct conn {
	char address[ADDRESS_MAX];
	MYSQL *db; /* NULL: not connected */
	int server;
};

struct writer {
	int id, host; /* host: index into opt.hosts */
	int64_t seq, due_us, flushed_us;
	bool failed; /* look again where the master is before the next write */
	FILE *log;
	struct tally *tally;
	struct resolver resolver;
	struct conn conns[HOSTS_MAX], *now;
	pthread_t thread;
};

static atomic_bool stopping;

static int64_t now_us(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void sleep_us(int64_t us)
{
	struct timespec t = {.tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000};

	nanosleep(&t, NULL);
}

static void log_line(struct writer *w, char kind, int64_t began, int64_t ended, int64_t seq, unsigned err)
{
	int64_t wall = now_us(CLOCK_REALTIME) - (now_us(CLOCK_MONOTONIC) - ended);

	fprintf(w->log, "%c %lld %lld %lld %d %lld %d %u\n", kind, (long long)began, (long long)ended,
		(long long)wall, w->id, (long long)seq, w->now ? w->now->server : 0, err);
}

/* Server errors after which nobody can say whether an autocommitted statement was written. */
static bool error_is_unknown(unsigned err)
{
	static const unsigned unknown[] = {ER_CONNECTION_KILLED, ER_QUERY_INTERRUPTED, ER_SERVER_SHUTDOWN,
		ER_STATEMENT_TIMEOUT, ER_ERROR_DURING_COMMIT, ER_NET_READ_ERROR, ER_NET_WRITE_INTERRUPTED,
		ER_NET_ERROR_ON_WRITE, ER_NET_READ_INTERRUPTED};

	for (size_t i = 0; i < sizeof(unknown) / sizeof(*unknown); i++)
		if (err == unknown[i])
			return true;
	return err >= 2000 && err < 3000; /* the client's own: the connection was lost */
}

static void conn_drop(struct conn *c)
{
	if (c->db)
		mysql_close(c->db);
	c->db = NULL;
}

static int conn_ask_server(struct conn *c)
{
	MYSQL_RES *res;
	MYSQL_ROW row;

	if (mysql_query(c->db, "SELECT @@server_id") || !(res = mysql_store_result(c->db)))
		return -EIO;
	row = mysql_fetch_row(res);
	c->server = row && row[0] ? atoi(row[0]) : 0;
	mysql_free_result(res);
	return c->server ? 0 : -EIO;
}

static int conn_open(struct conn *c, struct writer *w)
{
	unsigned timeout = (unsigned)opt.timeout_s, err;
	int64_t began = now_us(CLOCK_MONOTONIC);

	c->db = mysql_init(NULL);
	mysql_options(c->db, MYSQL_OPT_CONNECT_TIMEOUT, &timeout);
	mysql_options(c->db, MYSQL_OPT_READ_TIMEOUT, &timeout);
	mysql_options(c->db, MYSQL_OPT_WRITE_TIMEOUT, &timeout);
	if (mysql_real_connect(
		    c->db, c->address, opt.user, opt.password, NULL, (unsigned)opt.port, NULL, 0) &&
		conn_ask_server(c) == 0)
		return 0;
	err = mysql_errno(c->db);
	conn_drop(c);
	w->now = NULL;
	log_line(w, 'C', began, now_us(CLOCK_MONOTONIC), 0, err);
	tally_unconnected(w->tally, err);
	return -ECONNREFUSED;
}

/* Where the master is said to be now. */
static int writer_locate(struct writer *w, char *ret)
{
	if (opt.dns)
		return resolver_ask(&w->resolver, opt.name, ret, ADDRESS_MAX);
	if (w->failed)
		w->host = (w->host + 1) % opt.nhosts;
	memcpy(ret, opt.hosts[w->host], ADDRESS_MAX);
	return 0;
}

/* The slot that is kept for address; without --warm, or when all are taken, the first one, given up for it.
 */
static struct conn *writer_slot(struct writer *w, const char *address)
{
	struct conn *slot = &w->conns[0];

	for (int i = 0; i < HOSTS_MAX; i++) {
		if (strcmp(w->conns[i].address, address) == 0)
			return &w->conns[i];
		if (opt.warm && !w->conns[i].address[0]) {
			slot = &w->conns[i];
			break;
		}
	}
	conn_drop(slot);
	memcpy(slot->address, address, ADDRESS_MAX);
	return slot;
}

static int writer_connect(struct writer *w)
{
	char address[ADDRESS_MAX] = "";
	struct conn *c;
	int n;

	if (w->now && w->now->db && !w->failed)
		return 0;
	n = writer_locate(w, address);
	if (n < 0)
		return n;
	c = writer_slot(w, address);
	if (!c->db) {
		n = conn_open(c, w);
		if (n < 0)
			return n;
	}
	w->now = c;
	w->failed = false;
	return 0;
}

/* n writes from first on were answered with err; 0: acknowledged. */
static void writer_note(struct writer *w, char kind, int64_t began, int64_t first, int n, unsigned err)
{
	int64_t ended = now_us(CLOCK_MONOTONIC);

	if (kind == 'A')
		tally_acked(w->tally, w->id - opt.first, w->now->server, began, ended, n);
	else if (kind == 'R')
		tally_refused(w->tally, err, n);
	else
		tally_unknown(w->tally, err, n);
	for (int i = 0; i < n; i++)
		log_line(w, kind, began, ended, first + i, err);
}

/* After an error: the next write asks anew where the master is, on a new connection if this one is lost. */
static void writer_fail(struct writer *w, unsigned err)
{
	if (err != ER_OPTION_PREVENTS_STATEMENT || (!opt.warm && !opt.dns))
		conn_drop(w->now);
	w->failed = true;
}

static unsigned writer_insert(struct writer *w, int64_t seq)
{
	char text[200];

	snprintf(text, sizeof(text),
		"INSERT INTO app.log (writer, seq, payload) VALUES (%d, %lld, 'w%d-%lld')", w->id,
		(long long)seq, w->id, (long long)seq);
	return mysql_query(w->now->db, text) ? mysql_errno(w->now->db) : 0;
}

static void writer_write(struct writer *w)
{
	int64_t seq = w->seq++, began = now_us(CLOCK_MONOTONIC);
	unsigned err = writer_insert(w, seq);

	writer_note(w, !err ? 'A' : error_is_unknown(err) ? 'U' : 'R', began, seq, 1, err);
	if (err)
		writer_fail(w, err);
}

static unsigned transaction_fill(struct writer *w, int64_t first)
{
	char text[100];

	if (mysql_query(w->now->db, "START TRANSACTION"))
		return mysql_errno(w->now->db);
	for (int i = 0; i < opt.txn; i++) {
		unsigned err = writer_insert(w, first + i);

		if (err)
			return err;
	}
	sleep_us(opt.idle_us);
	snprintf(text, sizeof(text), "UPDATE app.total SET n = n + %d WHERE writer = %d", opt.txn, w->id);
	return mysql_query(w->now->db, text) ? mysql_errno(w->now->db) : 0;
}

/* Until COMMIT is sent any failure means that nothing was written. A refused COMMIT is never sent again: the
 * server has rolled back, and would acknowledge a second one (MariaDB 10.11). */
static void writer_write_transaction(struct writer *w)
{
	int64_t first = w->seq, began;
	unsigned err;

	w->seq += opt.txn;
	began = now_us(CLOCK_MONOTONIC);
	err = transaction_fill(w, first);
	if (err) {
		writer_note(w, 'R', began, first, opt.txn, err);
		conn_drop(w->now);
		w->failed = true;
		return;
	}
	began = now_us(CLOCK_MONOTONIC);
	err = mysql_query(w->now->db, "COMMIT") ? mysql_errno(w->now->db) : 0;
	writer_note(w, !err ? 'A' : error_is_unknown(err) ? 'U' : 'R', began, first, opt.txn, err);
	if (err) {
		conn_drop(w->now);
		w->failed = true;
	}
}

/* Waits for the writer's next turn; turns that were missed are not made up for. */
static void writer_pace(struct writer *w)
{
	int64_t now = now_us(CLOCK_MONOTONIC);

	if (opt.interval_us <= 0 || w->failed)
		return;
	if (w->due_us > now)
		sleep_us(w->due_us - now);
	w->due_us = (w->due_us > now ? w->due_us : now) + opt.interval_us;
}

static void *writer_main(void *arg)
{
	struct writer *w = arg;

	mysql_thread_init();
	w->due_us = now_us(CLOCK_MONOTONIC) + opt.interval_us * w->id / opt.writers;
	while (!atomic_load(&stopping)) {
		writer_pace(w);
		if (writer_connect(w) < 0) {
			w->failed = true;
			sleep_us(opt.backoff_us);
			continue;
		}
		if (opt.txn)
			writer_write_transaction(w);
		else
			writer_write(w);
		if (w->failed)
			sleep_us(opt.backoff_us);
	}
	for (int i = 0; i < HOSTS_MAX; i++)
		conn_drop(&w->conns[i]);
	mysql_thread_end();
	return NULL;
}

int writer_start(struct writer **ret, int id, struct tally *tally)
{
	struct writer *w = calloc(1, sizeof(*w));
	char path[512];
	int n = 0;

	if (!w)
		return -ENOMEM;
	w->id = id;
	w->seq = opt.first_seq;
	w->tally = tally;
	w->resolver.fd = -1;
	snprintf(path, sizeof(path), "%s/writer-%02d", opt.log_dir, id);
	w->log = fopen(path, "w");
	if (!w->log)
		n = -errno;
	else if (opt.dns)
		n = resolver_open(&w->resolver, opt.dns);
	if (n == 0)
		n = -pthread_create(&w->thread, NULL, writer_main, w);
	if (n == 0)
		*ret = w;
	return n;
}

void writer_stop_all(void)
{
	atomic_store(&stopping, true);
}

void writer_join(struct writer *w)
{
	if (!w)
		return;
	pthread_join(w->thread, NULL);
	fclose(w->log);
	if (opt.dns)
		resolver_close(&w->resolver);
	free(w);
}
