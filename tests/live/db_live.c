/*
 * db_live: lib/io/db.c against a real server. Started by a live test:
 *
 *     db_live HOST PORT USER PASSWORD CA OTHER_CA SERVER_PID
 *
 * CA signed the server's certificate for the name "localhost" only, OTHER_CA signed nothing; "-" for CA says
 * that the server offers no TLS. SERVER_PID is stopped and continued. Prints a line for each check; exit 0
 * when all hold.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/base/str.h"
#include "lib/io/db.h"
#include "lib/io/fiber.h"
#include "lib/io/loop.h"
#include "lib/io/work.h"

#define GAP_MOST_MS 60 /* the loop must never be away for longer */

static struct {
	struct db_opts opts;
	const char *ca, *other_ca;
	pid_t server;
	bool tls;
	int failed;
	int64_t gap_us;
	struct fiber *ticker;
} live;

static void check(bool ok, const char *what, const char *seen)
{
	(void)printf("%s %s%s%s\n", ok ? "ok  " : "FAIL", what, seen && *seen ? ": " : "", seen ? seen : "");
	(void)fflush(stdout);
	live.failed += !ok;
}

/* Measures how long the loop was away. */
static void ticker_fn(void *arg)
{
	(void)arg;

	for (;;) {
		int64_t before = clock_us();
		if (fiber_sleep_ms(2) < 0)
			return;
		int64_t gap = clock_us() - before;
		if (gap > live.gap_us)
			live.gap_us = gap;
	}
}

static void check_gap(const char *what)
{
	char text[64];

	(void)snprintf(text, sizeof(text), "%lld ms", (long long)live.gap_us / 1000);
	check(live.gap_us < GAP_MOST_MS * 1000, what, text);
	live.gap_us = 0;
}

static int64_t in_ms(int64_t ms)
{
	return clock_us() + ms * 1000;
}

static struct db *MAY_WAIT open_or_fail(enum db_tls_mode mode)
{
	struct db_opts o = live.opts;
	struct err e = {0};
	struct db *db = NULL;

	o.tls_mode = mode;
	o.tls_ca = live.ca;
	if (db_open(&o, in_ms(5000), &db, &e) < 0)
		check(false, "open", err_text(&e));
	return db;
}

static void MAY_WAIT check_queries(enum db_tls_mode mode)
{
	struct db *db = open_or_fail(mode);
	struct db_result *r = NULL;
	struct err e = {0};

	if (!db)
		return;
	check(db_alive(db) && db_connection_id(db) > 0, "alive, with a number", db_server_version(db));
	check(db_is_tls(db) == (live.tls && mode != DB_TLS_DISABLED), "encrypted as asked", NULL);
	enum act a = db_query(db, "SELECT CONNECTION_ID() AS id, NULL AS n, 'x' AS X", in_ms(2000), &r, &e);
	check(a == ACT_DONE && r->rows == 1 && r->cols == 3 &&
			db_get_int(r, 0, "ID", -1) == (int64_t)db_connection_id(db) && !db_get(r, 0, "n") &&
			str_eq(db_get(r, 0, "x"), "x") && !db_get(r, 1, "x") && !db_get(r, 0, "y"),
		"query", err_text(&e));
	db_result_free(r);

	r = NULL;
	a = db_query(db, "SET @a = 7; SELECT @a AS a UNION SELECT 8; DO 1; SELECT REPEAT('z', 3000000) AS z",
		in_ms(5000), &r, &e);
	check(a == ACT_DONE && r->cols == 0 && r->next && r->next->rows == 2 &&
			db_get_int(r->next, 1, "a", 0) == 8 && r->next->next && r->next->next->next &&
			!r->next->next->next->next && strlen(db_get(r->next->next->next, 0, "z")) == 3000000,
		"several statements, a large row", err_text(&e));
	db_result_free(r);

	r = NULL;
	a = db_query(db, "DO 1; SELECT * FROM nowhere.nothing; DO 1", in_ms(2000), &r, &e);
	check(a == ACT_REFUSED && (e.sql_errno == 1146 || e.sql_errno == 1049) && !r && db_alive(db),
		"refused", err_text(&e));
	err_clear(&e);
	a = db_query(db, "DO 1", in_ms(2000), NULL, &e);
	check(a == ACT_DONE, "and goes on", err_text(&e));
	db_close(db);
}

static void MAY_WAIT check_deadline(enum db_tls_mode mode)
{
	struct db *db = open_or_fail(mode);
	struct err e = {0};

	if (!db)
		return;
	live.gap_us = 0;
	int64_t begun = clock_ms();
	enum act a = db_query(db, "SELECT SLEEP(3)", in_ms(200), NULL, &e);
	int64_t took = clock_ms() - begun;
	check(a == ACT_UNKNOWN && e.code == -ETIMEDOUT && took >= 200 && took < 300 && !db_alive(db),
		"no answer within the deadline", err_text(&e));
	err_clear(&e);
	check(db_query(db, "DO 1", in_ms(200), NULL, &e) == ACT_UNKNOWN, "nothing after that", err_text(&e));
	begun = clock_ms();
	db_close(db);
	check(clock_ms() - begun < 50, "closed at once", NULL);
	(void)fiber_sleep_ms(10);
	check_gap("the loop went on");
}

static void query_sleep(void *arg)
{
	struct err e = {0};
	enum act a = db_query(arg, "SELECT SLEEP(3)", CLOCK_FOREVER, NULL, &e);

	check(a == ACT_UNKNOWN && e.code == -ECANCELED, "cancelled", err_text(&e));
	db_close(arg);
}

static void MAY_WAIT check_cancel_and_kill(enum db_tls_mode mode)
{
	struct db *db = open_or_fail(mode), *other = open_or_fail(mode);
	struct err e = {0};
	char sql[64];

	if (!db || !other)
		return;
	struct fiber *f = fiber_spawn("query", query_sleep, db);
	(void)fiber_sleep_ms(100);
	fiber_stop(f);

	db = open_or_fail(mode);
	if (!db)
		return;
	(void)snprintf(sql, sizeof(sql), "KILL %llu", (unsigned long long)db_connection_id(db));
	check(db_query(other, sql, in_ms(2000), NULL, &e) == ACT_DONE, "kill", err_text(&e));
	for (int i = 0; i < 200 && db_alive(db); i++)
		(void)fiber_sleep_ms(5);
	check(!db_alive(db), "a killed session shows", NULL);
	check(db_query(db, "DO 1", in_ms(2000), NULL, &e) != ACT_DONE && !db_alive(db), "and answers nothing",
		err_text(&e));
	db_close(db);
	db_close(other);
}

static void MAY_WAIT check_refusals(void)
{
	struct db_opts o = live.opts;
	struct err e = {0};
	struct db *db = NULL;

	o.password = "not the password";
	int r = db_open(&o, in_ms(2000), &db, &e);
	check(r == -EACCES && e.sql_errno == 1045 && !db && strstr(e.message, o.user) &&
			!strstr(e.message, o.password),
		"log-in refused", err_text(&e));
	err_clear(&e);
	o = live.opts;
	o.port = 1;
	r = db_open(&o, in_ms(2000), &db, &e);
	check(r == -ECONNREFUSED && !db, "connection refused", err_text(&e));
	err_clear(&e);
	o.host = "no-such-host.invalid";
	live.gap_us = 0;
	r = db_open(&o, in_ms(500), &db, &e);
	check((r == -EHOSTUNREACH || r == -ETIMEDOUT) && !db, "unknown host", err_text(&e));
	check_gap("the loop went on");
	err_clear(&e);
	o.host = "";
	r = db_open(&o, in_ms(500), &db, &e);
	check(r == -EINVAL, "no host", err_text(&e));
}

/* The password is wrong throughout: what fails before the log-in does not say 1045. */
static void MAY_WAIT check_tls(const char *host, enum db_tls_mode mode, const char *ca, bool passes)
{
	struct db_opts o = live.opts;
	struct err e = {0};
	struct db *db = NULL;
	char what[96];

	o.host = host;
	o.tls_mode = mode;
	o.tls_ca = ca;
	o.password = "not the password";
	int r = db_open(&o, in_ms(5000), &db, &e);
	(void)snprintf(what, sizeof(what), "TLS mode %d to %s, %s CA: %s", mode, host,
		!ca		? "no"
		: ca == live.ca ? "its"
				: "another",
		passes ? "passes" : "fails before the log-in");
	check(passes ? r == -EACCES : r == -EPROTO, what, err_text(&e));
	if (db)
		db_close(db);
}

static void MAY_WAIT check_tls_modes(void)
{
	const char *ip = live.opts.host, *ca = live.ca, *other = live.other_ca;

	check_tls(ip, DB_TLS_PREFERRED, NULL, true);
	check_tls(ip, DB_TLS_REQUIRED, NULL, live.tls);
	check_tls(ip, DB_TLS_REQUIRED, other, live.tls);
	check_tls(ip, DB_TLS_VERIFY_CA, other, false);
	check_tls(ip, DB_TLS_VERIFY_IDENTITY, other, false);
	check_tls(ip, DB_TLS_VERIFY_CA, NULL, false);
	check_tls(ip, DB_TLS_VERIFY_IDENTITY, NULL, false);
	if (!live.tls) {
		check_tls(ip, DB_TLS_VERIFY_CA, ca, false);
		check_tls(ip, DB_TLS_VERIFY_IDENTITY, ca, false);
		return;
	}
	check_tls(ip, DB_TLS_VERIFY_CA, ca, true);
	check_tls(ip, DB_TLS_VERIFY_IDENTITY, ca, false);
	check_tls("localhost", DB_TLS_VERIFY_IDENTITY, ca, true);
	check_tls("localhost", DB_TLS_VERIFY_IDENTITY, other, false);
}

/* A server that is stopped: accepts connections by its kernel, and says nothing. */
static void MAY_WAIT check_stopped(enum db_tls_mode mode)
{
	struct db *busy = open_or_fail(mode), *idle = open_or_fail(mode), *none = NULL;
	struct err e = {0};
	static char big[4 * 1024 * 1024];

	if (!busy || !idle)
		return;
	(void)kill(live.server, SIGSTOP);
	live.gap_us = 0;
	for (int i = 0; i < 2; i++) { /* the second time it is knocked at */
		int64_t begun = clock_ms();
		int r = db_open(&live.opts, in_ms(300), &none, &e);
		check(r == -ETIMEDOUT && clock_ms() - begun < 400, "stopped server: connect deadline",
			err_text(&e));
		err_clear(&e);
	}
	(void)memset(big, 'x', sizeof(big) - 1);
	(void)memcpy(big, "DO '", 4);
	big[sizeof(big) - 2] = '\'';
	int64_t begun = clock_ms();
	enum act a = db_query(busy, big, in_ms(300), NULL, &e); /* larger than what the kernel buffers */
	check(a == ACT_UNKNOWN && clock_ms() - begun < 400, "stopped server: query deadline", err_text(&e));
	begun = clock_ms();
	db_close(busy);
	db_close(idle);
	check(clock_ms() - begun < 50, "stopped server: closed at once", NULL);
	(void)fiber_sleep_ms(10);
	check_gap("the loop went on");
	(void)kill(live.server, SIGCONT);
	db_close(open_or_fail(mode));
}

static void live_fn(void *arg)
{
	(void)arg;

	check_refusals();
	for (int mode = DB_TLS_DISABLED; mode <= (live.tls ? DB_TLS_VERIFY_CA : DB_TLS_PREFERRED); mode++) {
		(void)printf("--- TLS mode %d\n", mode);
		check_queries((enum db_tls_mode)mode);
		check_deadline((enum db_tls_mode)mode);
		check_cancel_and_kill((enum db_tls_mode)mode);
		check_stopped((enum db_tls_mode)mode);
	}
	check_tls_modes();
	fiber_stop(live.ticker);
}

int main(int argc, char **argv)
{
	int64_t port;

	if (argc != 8 || str_parse_int(argv[2], 1, 65535, &port) < 0) {
		(void)fprintf(stderr, "usage: db_live HOST PORT USER PASSWORD CA OTHER_CA SERVER_PID\n");
		return 2;
	}
	live.opts = (struct db_opts){.host = argv[1],
		.port = (uint16_t)port,
		.user = argv[3],
		.password = argv[4],
		.program = "db_live"};
	live.tls = !str_eq(argv[5], "-");
	live.ca = live.tls ? argv[5] : argv[6];
	live.other_ca = argv[6];
	live.server = (pid_t)atoi(argv[7]);
	if (live.server <= 1 || loop_init() < 0 || work_init() < 0)
		return 2;
	live.ticker = fiber_spawn("ticker", ticker_fn, NULL);
	struct fiber *f = fiber_spawn("live", live_fn, NULL);
	loop_run();
	fiber_join(f);
	work_free();
	loop_free();
	(void)printf("%d failed\n", live.failed);
	return live.failed ? 1 : 0;
}
