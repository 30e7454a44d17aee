/*
 * load: writers that behave as an application does, and remember every answer. Each thread inserts rows
 * (writer, seq) into app.log, finds the master by its name or by trying the hosts in turn, and logs what it
 * was told:
 *
 *     KIND began ended wall writer seq server errno        times in us; began and ended monotonic
 *
 * KIND is A acknowledged, R refused (certainly not written), U unknown (the answer was lost: it may be
 * there), C could not connect. A seq is never used twice. SIGTERM or SIGINT ends it; the summary goes to
 * stdout as JSON.
 */
#include <errno.h>
#include <getopt.h>
#include <mysql.h>
#include <mysqld_error.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/bench/resolve.h"
#include "tests/bench/tally.h"

enum { WRITERS_MAX = 64, HOSTS_MAX = 4, ADDRESS_MAX = 64, BACKOFF_US = 1000 };

static struct {
	int writers, first, port, txn, timeout_s;
	int64_t interval_us, idle_us;
	const char *user, *password_file, *dns, *name, *log_dir;
	char password[256], hosts[HOSTS_MAX][ADDRESS_MAX];
	int nhosts;
	bool warm;
} opt = {.writers = 8, .port = 3306, .timeout_s = 5, .interval_us = 2000, .user = "app", .log_dir = "."};

struct conn {
	char address[ADDRESS_MAX];
	MYSQL *db; /* NULL: not connected */
	int server;
};

struct writer {
	int id, host; /* host: index into opt.hosts */
	int64_t seq, due_us;
	bool failed; /* look again where the master is before the next write */
	FILE *log;
	struct resolver resolver;
	struct conn conns[HOSTS_MAX], *now;
	pthread_t thread;
};

static atomic_bool stopping;
static struct tally *tally;

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
	tally_unconnected(tally, err);
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
		tally_acked(tally, w->id - opt.first, w->now->server, began, ended, n);
	else if (kind == 'R')
		tally_refused(tally, err, n);
	else
		tally_unknown(tally, err, n);
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
			sleep_us(BACKOFF_US);
			continue;
		}
		if (opt.txn)
			writer_write_transaction(w);
		else
			writer_write(w);
		if (w->failed)
			sleep_us(BACKOFF_US);
	}
	for (int i = 0; i < HOSTS_MAX; i++)
		conn_drop(&w->conns[i]);
	mysql_thread_end();
	return NULL;
}

static int writer_start(struct writer *w, int id)
{
	char path[512];

	w->id = id;
	w->resolver.fd = -1;
	snprintf(path, sizeof(path), "%s/writer-%02d", opt.log_dir, id);
	w->log = fopen(path, "w");
	if (!w->log)
		return -errno;
	setvbuf(w->log, NULL, _IOFBF, 1 << 18);
	if (opt.dns) {
		int n = resolver_open(&w->resolver, opt.dns);

		if (n < 0)
			return n;
	}
	return -pthread_create(&w->thread, NULL, writer_main, w);
}

static void writer_end(struct writer *w)
{
	pthread_join(w->thread, NULL);
	fclose(w->log);
	if (opt.dns)
		resolver_close(&w->resolver);
}

static const struct option options[] = {{"writers", 1, NULL, 'w'}, {"first-writer", 1, NULL, 'f'},
	{"interval-ms", 1, NULL, 'i'}, {"rate", 1, NULL, 'r'}, {"user", 1, NULL, 'u'},
	{"password-file", 1, NULL, 'p'}, {"port", 1, NULL, 'P'}, {"hosts", 1, NULL, 'h'},
	{"dns", 1, NULL, 'd'}, {"name", 1, NULL, 'n'}, {"log-dir", 1, NULL, 'l'}, {"txn", 1, NULL, 't'},
	{"txn-idle-ms", 1, NULL, 'I'}, {"timeout-s", 1, NULL, 'T'}, {"warm", 0, NULL, 'W'},
	{NULL, 0, NULL, 0}};

static int usage(void)
{
	fprintf(stderr, "usage: load (--hosts A,B | --dns ADDRESS:PORT --name NAME) [--port N] [--user U] "
			"[--password-file F]\n"
			"            [--writers N] [--first-writer N] [--interval-ms F | --rate F] [--txn N "
			"[--txn-idle-ms F]]\n"
			"            [--timeout-s N] [--warm] [--log-dir DIR]\n");
	return 1;
}

static void parse_hosts(char *list)
{
	char *save = NULL;

	for (char *h = strtok_r(list, ",", &save); h && opt.nhosts < HOSTS_MAX;
		h = strtok_r(NULL, ",", &save))
		snprintf(opt.hosts[opt.nhosts++], ADDRESS_MAX, "%s", h);
}

static bool parse_one(int c)
{
	switch (c) {
	case 'w':
		opt.writers = atoi(optarg);
		break;
	case 'f':
		opt.first = atoi(optarg);
		break;
	case 'i':
		opt.interval_us = (int64_t)(atof(optarg) * 1000);
		break;
	case 'r':
		opt.interval_us = atof(optarg) > 0 ? (int64_t)(1e6 / atof(optarg)) : 0;
		break;
	case 'u':
		opt.user = optarg;
		break;
	case 'p':
		opt.password_file = optarg;
		break;
	case 'P':
		opt.port = atoi(optarg);
		break;
	case 'h':
		parse_hosts(optarg);
		break;
	case 'd':
		opt.dns = optarg;
		break;
	case 'n':
		opt.name = optarg;
		break;
	case 'l':
		opt.log_dir = optarg;
		break;
	case 't':
		opt.txn = atoi(optarg);
		break;
	case 'I':
		opt.idle_us = (int64_t)(atof(optarg) * 1000);
		break;
	case 'T':
		opt.timeout_s = atoi(optarg);
		break;
	case 'W':
		opt.warm = true;
		break;
	default:
		return false;
	}
	return true;
}

static int read_password(void)
{
	FILE *f = opt.password_file ? fopen(opt.password_file, "r") : NULL;

	if (!opt.password_file)
		return 0;
	if (!f)
		return -errno;
	if (!fgets(opt.password, sizeof(opt.password), f))
		opt.password[0] = 0;
	opt.password[strcspn(opt.password, "\r\n")] = 0;
	fclose(f);
	return 0;
}

/* Says by an empty file that every writer has had an acknowledged write; then waits for the signal to end. */
static void wait_for_signal(const sigset_t *signals)
{
	bool said = false;

	for (;;) {
		struct timespec t = {.tv_nsec = 5000000};
		char path[512];
		FILE *f;

		if (sigtimedwait(signals, NULL, said ? NULL : &t) > 0)
			return;
		if (said || tally_begun(tally) < opt.writers)
			continue;
		snprintf(path, sizeof(path), "%s/ready", opt.log_dir);
		f = fopen(path, "w");
		if (f)
			fclose(f);
		said = true;
	}
}

int main(int argc, char **argv)
{
	static struct writer writers[WRITERS_MAX];
	sigset_t signals;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1)
		if (!parse_one(c))
			return usage();
	if (opt.writers < 1 || opt.writers > WRITERS_MAX || (!opt.dns && !opt.nhosts) ||
		(opt.dns && !opt.name) || read_password() < 0)
		return usage();
	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	pthread_sigmask(SIG_BLOCK, &signals, NULL);
	signal(SIGPIPE, SIG_IGN);
	mysql_library_init(0, NULL, NULL);
	tally = tally_new(opt.writers);
	for (int i = 0; i < opt.writers; i++)
		if (writer_start(&writers[i], opt.first + i) < 0) {
			fprintf(stderr, "load: writer %d: %s\n", i, strerror(errno));
			return 2;
		}
	wait_for_signal(&signals);
	atomic_store(&stopping, true);
	for (int i = 0; i < opt.writers; i++)
		writer_end(&writers[i]);
	tally_print(tally, stdout);
	tally_free(tally);
	mysql_library_end();
	return 0;
}
