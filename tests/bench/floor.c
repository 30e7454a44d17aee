/*
 * floor: the least that a flip can take, to measure flipd against: warm connections, one round trip per
 * server, what is in the way cut after 10 ms, one DNS UPDATE where asked; no journal, no checks, no proof. It
 * is not safe.
 *
 *     floor --side ID,HOST,PORT,REPL_HOST,REPL_PORT --side ... --user U --password-file F
 * --repl-password-file F
 *           [--dns ADDRESS:PORT --zone Z --name N --key-name K --key-file F --value A --value B]
 *
 * The first side given is master. Each line "flip" on stdin flips to the other side and answers with one JSON
 * line; the way back (replication from new to old) is made before it answers, but is not part of what is
 * measured.
 */
#include <errno.h>
#include <getopt.h>
#include <mysql.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/bench/nameserver.h"

enum { CUT_AFTER_MS = 10, POSITION_MAX = 512, WAIT_S = 10 };

struct side {
	char host[64], repl_host[64];
	int id, port, repl_port;
	const char *value; /* what the name says when this side is master */
	MYSQL *act, *cut;  /* the flip's own session; the one that cuts what is in its way */
};

static struct side sides[2];
static int nsides, nvalues;
static struct nameserver dns = {.fd = -1};
static const char *user = "admin";
static char password[256], repl_password[256];

/* The cutter's orders: which side to keep clear, or none. */
static struct {
	pthread_mutex_t mutex;
	pthread_cond_t wake;
	struct side *side;
	int64_t since_us;
	int cut;
} cutter = {.mutex = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER};

static int64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void sleep_us(int64_t us)
{
	struct timespec t = {.tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000};

	if (us > 0)
		nanosleep(&t, NULL);
}

static void die(const char *what, MYSQL *db)
{
	fprintf(stderr, "floor: %s: %s\n", what, db ? mysql_error(db) : "failed");
	exit(2);
}

static MYSQL *connect_to(const struct side *s)
{
	MYSQL *db = mysql_init(NULL);

	if (!mysql_real_connect(
		    db, s->host, user, password, NULL, (unsigned)s->port, NULL, CLIENT_MULTI_STATEMENTS))
		die(s->host, db);
	return db;
}

/* Sends text, reads every result; the first value of the last row seen is copied to buf, when it is given. */
static int query(MYSQL *db, const char *text, char *buf, size_t size)
{
	int n = mysql_query(db, text);

	while (n == 0) {
		MYSQL_RES *res = mysql_store_result(db);
		MYSQL_ROW row;

		while (res && (row = mysql_fetch_row(res)))
			if (buf)
				snprintf(buf, size, "%s", row[0] ? row[0] : "");
		mysql_free_result(res);
		n = mysql_next_result(db);
	}
	return n > 0 ? -EIO : 0;
}

/*
 * Kills every application session that is not itself waiting behind the fence: the one in the way is among
 * them. A session that holds LOCK TABLES is idle in the process list, so idle ones go too.
 */
static int cut_blockers(struct side *s)
{
	MYSQL_RES *res;
	MYSQL_ROW row;
	int n = 0;

	if (mysql_query(s->cut,
		    "SELECT id FROM information_schema.processlist WHERE user IN ('app', 'batch') AND "
		    "COALESCE(state, '') NOT LIKE 'Waiting for%'") ||
		!(res = mysql_store_result(s->cut)))
		die("process list", s->cut);
	while ((row = mysql_fetch_row(res))) {
		char text[64];

		snprintf(text, sizeof(text), "KILL %s", row[0]);
		n += mysql_query(s->cut, text) == 0;
	}
	mysql_free_result(res);
	return n;
}

static void *cutter_main(void *arg)
{
	(void)arg;
	mysql_thread_init();
	pthread_mutex_lock(&cutter.mutex);
	for (;;) {
		struct side *s;
		int64_t since;

		while (!cutter.side)
			pthread_cond_wait(&cutter.wake, &cutter.mutex);
		s = cutter.side;
		since = cutter.since_us;
		pthread_mutex_unlock(&cutter.mutex);
		sleep_us(since + CUT_AFTER_MS * 1000 - now_us());
		pthread_mutex_lock(&cutter.mutex);
		if (cutter.side != s || cutter.since_us != since)
			continue;
		cutter.cut += cut_blockers(s);
		cutter.since_us = now_us();
	}
	return NULL;
}

static void cutter_set(struct side *s)
{
	pthread_mutex_lock(&cutter.mutex);
	cutter.side = s;
	cutter.since_us = now_us();
	if (s)
		cutter.cut = 0;
	pthread_cond_signal(&cutter.wake);
	pthread_mutex_unlock(&cutter.mutex);
}

/* Closes old and reads its position, in one packet. */
static void fence(struct side *old, char *position)
{
	cutter_set(old);
	if (query(old->act, "SET GLOBAL read_only=1; SELECT @@global.gtid_binlog_pos", position,
		    POSITION_MAX) < 0)
		die("fence", old->act);
	cutter_set(NULL);
}

/* Opens new in one statement, if it has reached the position; true when it is open. */
static bool open_guarded(struct side *new, const char *position)
{
	char text[POSITION_MAX + 200], closed[16] = "";

	snprintf(text, sizeof(text),
		"SET GLOBAL read_only = IF(MASTER_GTID_WAIT('%s', %d) = 0, 0, 1); SELECT @@global.read_only",
		position, WAIT_S);
	if (query(new->act, text, closed, sizeof(closed)) < 0)
		die("open", new->act);
	return strcmp(closed, "0") == 0;
}

static void make_way_back(struct side *old, struct side *new, const char *position)
{
	char text[2 * POSITION_MAX + 600];

	if (query(new->act, "STOP SLAVE; RESET SLAVE ALL", NULL, 0) < 0)
		die("detach", new->act);
	snprintf(text, sizeof(text),
		"SET GLOBAL gtid_slave_pos='%s'; CHANGE MASTER TO MASTER_HOST='%s', MASTER_PORT=%d, "
		"MASTER_USER='repl', "
		"MASTER_PASSWORD='%s', MASTER_CONNECT_RETRY=1, MASTER_USE_GTID=slave_pos; START SLAVE",
		position, new->repl_host, new->repl_port, repl_password);
	if (query(old->act, text, NULL, 0) < 0)
		die("reverse", old->act);
}

static void flip(struct side *old, struct side *new)
{
	char position[POSITION_MAX] = "";
	int64_t began, fenced, named, opened;
	int rcode = 0;

	if (dns.address && nameserver_warm(&dns) < 0)
		die("name server", NULL);
	began = now_us();
	fence(old, position);
	fenced = now_us();
	if (dns.address)
		rcode = nameserver_update(&dns, new->value);
	named = now_us();
	if (rcode)
		die("update", NULL);
	if (!open_guarded(new, position))
		die("position not reached", NULL);
	opened = now_us();
	make_way_back(old, new, position);
	printf("{\"from\":%d,\"to\":%d,\"began_us\":%lld,\"opened_us\":%lld,\"fence_ms\":%.3f,\"dns_ms\":%."
	       "3f,"
	       "\"open_ms\":%.3f,\"cut\":%d}\n",
		old->id, new->id, (long long)began, (long long)opened, (double)(fenced - began) / 1000,
		(double)(named - fenced) / 1000, (double)(opened - named) / 1000, cutter.cut);
	fflush(stdout);
}

static int read_secret(const char *path, char *buf, int size)
{
	FILE *f = fopen(path, "r");

	if (!f)
		return -errno;
	if (!fgets(buf, size, f))
		buf[0] = 0;
	buf[strcspn(buf, "\r\n")] = 0;
	fclose(f);
	return 0;
}

static int parse_side(const char *text)
{
	struct side *s = &sides[nsides];

	if (nsides == 2 || sscanf(text, "%d,%63[^,],%d,%63[^,],%d", &s->id, s->host, &s->port, s->repl_host,
				   &s->repl_port) != 5)
		return -EINVAL;
	nsides++;
	return 0;
}

static int parse_value(const char *text)
{
	if (nvalues == 2)
		return -EINVAL;
	sides[nvalues++].value = text;
	return 0;
}

static const struct option options[] = {{"side", 1, NULL, 's'}, {"user", 1, NULL, 'u'},
	{"password-file", 1, NULL, 'p'}, {"repl-password-file", 1, NULL, 'r'}, {"dns", 1, NULL, 'd'},
	{"zone", 1, NULL, 'z'}, {"name", 1, NULL, 'n'}, {"key-name", 1, NULL, 'k'},
	{"key-file", 1, NULL, 'f'}, {"value", 1, NULL, 'v'}, {NULL, 0, NULL, 0}};

static int parse_one(int c)
{
	const char **where[] = {['u'] = &user,
		['d'] = &dns.address,
		['z'] = &dns.zone,
		['n'] = &dns.name,
		['k'] = &dns.key_name};

	switch (c) {
	case 's':
		return parse_side(optarg);
	case 'v':
		return parse_value(optarg);
	case 'p':
		return read_secret(optarg, password, sizeof(password));
	case 'r':
		return read_secret(optarg, repl_password, sizeof(repl_password));
	case 'f':
		return read_secret(optarg, dns.secret, sizeof(dns.secret));
	default:
		if (c < 0 || (size_t)c >= sizeof(where) / sizeof(*where) || !where[c])
			return -EINVAL;
		*where[c] = optarg;
		return 0;
	}
}

int main(int argc, char **argv)
{
	pthread_t thread;
	char line[64];
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1)
		if (parse_one(c) < 0) {
			fprintf(stderr, "floor: bad option or value; see floor.c\n");
			return 1;
		}
	if (nsides != 2 || (dns.address && (nvalues != 2 || !dns.zone || !dns.name || !dns.key_name))) {
		fprintf(stderr, "floor: two sides are needed, and with --dns all of its options\n");
		return 1;
	}
	mysql_library_init(0, NULL, NULL);
	for (int i = 0; i < 2; i++) {
		sides[i].act = connect_to(&sides[i]);
		sides[i].cut = connect_to(&sides[i]);
	}
	pthread_create(&thread, NULL, cutter_main, NULL);
	while (fgets(line, sizeof(line), stdin)) {
		bool second = line[0] == '1';

		flip(&sides[second], &sides[!second]);
	}
	return 0;
}
