/*
 * crashpoint: kills flipd at the k-th write of its journal, or makes that write fail. For LD_PRELOAD:
 *
 *     gcc -shared -fPIC -O2 -o build/tests/fault/crashpoint.so tests/fault/crashpoint.c
 *
 *     FLIPD_CRASH_AT=k             SIGKILL at commit k (k = 1, 2, ...)
 *     FLIPD_CRASH_HOLDS=word       SIGKILL at the first commit that holds it, a word as in the log
 *     FLIPD_CRASH_WHEN=before|after   before it is begun (default), or when it has returned
 *     FLIPD_JOURNAL_FAIL_AT=k      commit k fails as on a full disk, its repetitions too
 *     FLIPD_CRASH_FROM=start       count every commit of the process, for crashes in recovery; else see below
 *     FLIPD_CRASH_LOG=file         a line for each commit: "k full|normal verb:kind/step,..."
 *     FLIPD_GATE_HOLDS=word        when the first commit that holds it has returned, FLIPD_GATE is made, and
 *     FLIPD_GATE=file              the journal waits until somebody takes it away; once in a process, or
 *     FLIPD_GATE_ARMED=file        each time that this file is there: it is taken away then
 *     FLIPD_CLOCK=file             the wall clock is set off by so many seconds as the file says now
 *
 * The journal (lib/store/journal_sql.c) commits by sqlite3_step() of a kept statement whose text is "COMMIT";
 * that call is what counts. Commits are counted from the first that holds the begin of a flip, "INSERT INTO
 * flip(...)": it is number 1. What a commit holds is read from the statements stepped since the last "BEGIN
 * IMMEDIATE":
 *
 *     "INSERT INTO flip(id, ...)"                   begin
 *     "INSERT INTO record(flip_id, kind, step, ...)"  record:kind/step
 *     "UPDATE flip SET state = ?2 ..."              save:state
 *
 * and its durability from the last "PRAGMA synchronous = FULL|NORMAL" given to sqlite3_exec(). When the
 * journal repeats a commit that was made to fail (it empties its log, gives up its ballast, and tries again),
 * that is not a new one: it holds the same, and fails the same.
 *
 * Which commit is which: run once without FLIPD_CRASH_AT and read the log. Records that need not be on disk
 * go along with whatever comes next, so numbers may differ between runs by what happened to be queued; the
 * words do not.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define HOLDS_MOST 4000
/* As often as the journal repeats a commit: what holds the same after that is another one. */
#define REPEATS_MOST 2

/* All on the journal's own thread, and on the thread that opens the journal before that. */
static struct {
	bool read, after;
	long crash_at, fail_at;
	const char *log, *crash_holds, *gate_holds, *gate, *armed;

	bool full, counting, failed;
	long commit;
	int repeats;		       /* of the commit that was made to fail */
	char holds[HOLDS_MOST];	       /* of the transaction under way */
	char failed_holds[HOLDS_MOST]; /* of the one that was made to fail */
} point = {.full = true};

static long number_of(const char *name)
{
	const char *text = getenv(name);

	return text ? strtol(text, NULL, 10) : 0;
}

static void read_environment(void)
{
	const char *when = getenv("FLIPD_CRASH_WHEN"), *from = getenv("FLIPD_CRASH_FROM");

	if (point.read)
		return;
	point.crash_at = number_of("FLIPD_CRASH_AT");
	point.crash_holds = getenv("FLIPD_CRASH_HOLDS");
	point.fail_at = number_of("FLIPD_JOURNAL_FAIL_AT");
	point.counting = from && strcmp(from, "start") == 0;
	point.after = when && strcmp(when, "after") == 0;
	point.log = getenv("FLIPD_CRASH_LOG");
	point.gate_holds = getenv("FLIPD_GATE_HOLDS");
	point.gate = getenv("FLIPD_GATE");
	point.armed = getenv("FLIPD_GATE_ARMED");
	point.read = true;
}

/* Copies the n-th (from 0) quoted text of an expanded statement; "" when there is none. */
static void quoted(const char *sql, int n, char *buf, size_t size)
{
	size_t len = 0;
	bool inside = false;

	for (; *sql && n >= 0; sql++) {
		if (*sql == '\'') {
			n -= inside;
			inside = !inside;
		} else if (inside && n == 0 && len + 1 < size) {
			buf[len++] = *sql;
		}
	}
	buf[len] = '\0';
}

static void hold(const char *text)
{
	size_t used = strlen(point.holds);

	(void)snprintf(point.holds + used, sizeof(point.holds) - used, "%s%s", used ? "," : "", text);
}

static void note_statement(sqlite3_stmt *st, const char *sql)
{
	char kind[64], step[64], text[160];
	char *expanded = sqlite3_expanded_sql(st);

	if (!expanded)
		return;
	if (strncmp(sql, "INSERT INTO flip(", 17) == 0) {
		point.counting = true;
		hold("begin");
	} else if (strncmp(sql, "INSERT INTO record(", 19) == 0) {
		quoted(expanded, 1, kind, sizeof(kind));
		quoted(expanded, 2, step, sizeof(step));
		(void)snprintf(text, sizeof(text), "record:%s/%s", kind, step);
		hold(text);
	} else if (strncmp(sql, "UPDATE flip SET state", 21) == 0) {
		quoted(expanded, 0, kind, sizeof(kind));
		(void)snprintf(text, sizeof(text), "save:%s", kind);
		hold(text);
	}
	sqlite3_free(expanded);
}

/* One write() on a file opened for appending: whole, and there even though the process dies next. */
static void log_commit(const char *what)
{
	char line[HOLDS_MOST + 64];
	int n, fd;

	if (!point.log || (fd = open(point.log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644)) < 0)
		return;
	n = snprintf(line, sizeof(line), "%ld %s %s%s\n", point.commit, point.full ? "full" : "normal",
		point.holds, what);
	if (write(fd, line, (size_t)n) < 0)
		perror("crashpoint: log");
	(void)close(fd);
}

static void die(const char *when)
{
	log_commit(when);
	(void)kill(getpid(), SIGKILL);
	for (;;)
		(void)pause();
}

/* Among the words of the transaction under way, which commas part. */
static bool holds_word(const char *word)
{
	size_t len = strlen(word);

	for (const char *p = point.holds; (p = strstr(p, word)); p += len)
		if ((p == point.holds || p[-1] == ',') && (p[len] == ',' || p[len] == '\0'))
			return true;
	return false;
}

static bool crashes_here(void)
{
	return point.commit == point.crash_at || (point.crash_holds && holds_word(point.crash_holds));
}

/* A test that has gone away does not hold it for ever. */
static void pass_gate(void)
{
	int fd;

	if (!point.gate || !point.gate_holds || !holds_word(point.gate_holds))
		return;
	if (!point.armed)
		point.gate_holds = NULL;
	else if (unlink(point.armed) < 0)
		return;
	if ((fd = open(point.gate, O_WRONLY | O_CREAT | O_CLOEXEC, 0644)) < 0)
		return;
	(void)close(fd);
	for (int i = 0; i < 100000 && access(point.gate, F_OK) == 0; i++)
		(void)usleep(200);
}

static int commit(sqlite3_stmt *st, int (*real)(sqlite3_stmt *))
{
	bool again =
		point.failed && point.repeats < REPEATS_MOST && strcmp(point.holds, point.failed_holds) == 0;

	point.failed = again;
	if (!point.counting)
		return real(st);
	if (again) {
		point.repeats++;
		log_commit(" FAILED again");
		return SQLITE_FULL;
	}
	point.commit++;
	if (point.commit == point.fail_at) {
		memcpy(point.failed_holds, point.holds, sizeof(point.holds));
		point.failed = true;
		point.repeats = 0;
		log_commit(" FAILED");
		return SQLITE_FULL;
	}
	if (crashes_here() && !point.after)
		die(" KILLED before");
	int rc = real(st);
	if (crashes_here())
		die(" KILLED after");
	log_commit("");
	pass_gate();
	return rc;
}

int sqlite3_step(sqlite3_stmt *st)
{
	static int (*real)(sqlite3_stmt *);
	const char *sql = sqlite3_sql(st);

	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "sqlite3_step");
	read_environment();
	if (!sql)
		return real(st);
	if (strcmp(sql, "COMMIT") == 0)
		return commit(st, real);
	if (strcmp(sql, "BEGIN IMMEDIATE") == 0)
		point.holds[0] = '\0';
	else if (strncmp(sql, "SELECT", 6) != 0)
		note_statement(st, sql);
	return real(st);
}

int sqlite3_exec(
	sqlite3 *db, const char *sql, int (*fn)(void *, int, char **, char **), void *arg, char **message)
{
	static int (*real)(sqlite3 *, const char *, int (*)(void *, int, char **, char **), void *, char **);

	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "sqlite3_exec");
	if (strncmp(sql, "PRAGMA synchronous = ", 21) == 0)
		point.full = strncmp(sql + 21, "FULL", 4) == 0;
	return real(db, sql, fn, arg, message);
}

/* Looked at anew each time: the clock is set while flipd runs. */
static time_t set_off(void)
{
	const char *file = getenv("FLIPD_CLOCK");
	char text[32] = "";
	int fd = file ? open(file, O_RDONLY | O_CLOEXEC) : -1;

	if (fd < 0)
		return 0;
	if (read(fd, text, sizeof(text) - 1) < 0)
		text[0] = '\0';
	(void)close(fd);
	return (time_t)strtol(text, NULL, 10);
}

int clock_gettime(clockid_t id, struct timespec *ret)
{
	static int (*real)(clockid_t, struct timespec *);
	int rc;

	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "clock_gettime");
	rc = real(id, ret);
	if (rc == 0 && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE))
		ret->tv_sec += set_off();
	return rc;
}

time_t time(time_t *ret)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_REALTIME, &t);
	if (ret)
		*ret = t.tv_sec;
	return t.tv_sec;
}

int gettimeofday(struct timeval *ret, void *zone)
{
	struct timespec t;

	(void)zone;
	(void)clock_gettime(CLOCK_REALTIME, &t);
	*ret = (struct timeval){.tv_sec = t.tv_sec, .tv_usec = t.tv_nsec / 1000};
	return 0;
}
