/*
 * kth: for k = 1, 2, ... until a run has no k-th call: the k-th call of flipd's (a statement, a connection, an endpoint, a
 * hook, the journal) goes wrong in each possible way, or flipd dies at it. The laws and the invariants of the
 * specification's section 2 must hold every time. Each run is a process of its own.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/scenario/fake_loop.h"
#include "tests/scenario/world.h"

enum { PASSED = 0, FAILED = 1, NO_SUCH_CALL = 2 };

#define FAILED_MOST 20 /* then it is told enough */

static int passed, failed;
static bool told_whole;

#define CONF_HEAD                                                                                                            \
	"defaults: {user: flipd, password: x, replication: {user: repl, password: y}, drain_timeout: 3s, kill_timeout: 1s, " \
	"settle_timeout: 20s%s}\n"                                                                                           \
	"clusters: {c: {source: {host: 10.1.0.5}, target: {host: 10.2.0.5}%s, endpoints: [{dns: {name: db.example.com., "    \
	"zone: example.com., type: CNAME, ttl: 5s, servers: ['10.0.0.53'], source: a.example.com., target: b.example.com.}}]}}\n"

static const struct course {
	const char *name, *defaults, *cluster;
	bool gtid;
	const char *abort_at; /* a step */
	int64_t max_blackout_ms, apply_us;
} courses[] = {
	{.name = "guarded, done", .defaults = "", .cluster = "", .gtid = true},
	{.name = "plain, done", .defaults = ", verify: counts", .cluster = "", .gtid = true},
	{.name = "guarded, aborted at endpoints", .defaults = "", .cluster = "", .gtid = true, .abort_at = "endpoints"},
	{.name = "guarded, max_blackout", .defaults = "", .cluster = "", .gtid = true, .max_blackout_ms = 300, .apply_us = 500000},
	{.name = "plain, max_blackout", .defaults = ", verify: counts", .cluster = "", .gtid = true, .max_blackout_ms = 300, .apply_us = 500000},
	{.name = "file, guarded, done", .defaults = "", .cluster = "", .gtid = false},
	{.name = "a replica, probe, done", .defaults = ", fence_probe: {user: flipd_probe, password: z}, probe: {via: none}",
		.cluster = ", replicas: [{name: r1, host: 10.1.0.6}]", .gtid = true},
};

static void abort_flip(struct trigger *t)
{
	(void)t;
	if (w.flip)
		(void)!flip_abort(w.flip, "aborted by the test", NULL);
}

static void fast_again(void *arg)
{
	(void)arg;
	w.server[1].apply_us = 300;
}

static void slow_down(struct trigger *t)
{
	w.server[1].apply_us = t->arg_us;
	vtime_at(vtime_us() + 1500000, fast_again, NULL);
}

static void set_up(const struct course *c, uint64_t seed)
{
	char yaml[2048];

	(void)snprintf(yaml, sizeof(yaml), CONF_HEAD, c->defaults, c->cluster);
	world_new(yaml, seed, c->gtid);
	plan.to = CONF_TARGET;
	plan.max_blackout_ms = c->max_blackout_ms;
	w.server[0].scheduler = true;
	w.server[1].semi_sync = true;
	for (int i = 0; i < 3; i++)
		client_add(CLIENT_WRITER, 0, 0);
	if (c->abort_at)
		trigger_add(WHEN_STEP, c->abort_at, abort_flip);
	if (c->apply_us)
		trigger_add(WHEN_STEP, "fence", slow_down)->arg_us = c->apply_us;
}

/* A second fault beside the k-th call's: a server restarts. */
struct second {
	int server, at; /* at that call */
	bool closed;
	int64_t down_us;
};

static int run(const struct course *c, enum fault fault, int k, uint64_t seed, const struct second *second)
{
	int rc;

	set_up(c, seed);
	if (second) {
		w.second_at = second->at;
		w.second_server = second->server;
		w.second_closed = second->closed;
		w.second_down_us = second->down_us;
	}
	w.fault = fault;
	w.fault_at = k;
	life_run_all(120000);
	if (w.violations) {
		printf("FAILED: %s, k=%d, seed %llu: %s\n  %s\n", c->name, k, (unsigned long long)seed, w.fault_name, w.first_violation);
		world_dump();
	}
	(void)fflush(stdout);
	rc = w.violations ? FAILED : k && w.events < k ? NO_SUCH_CALL : PASSED;
	if (!told_whole)
		world_free();
	return rc;
}

/* So many runs share a process: starting one costs more than a run. What a crash of flipd leaves behind stays there. */
#define BATCH 24

struct batch {
	const struct course *course;
	enum fault fault;
	int k;
	uint64_t seed;
	const struct second *second;
};

static pid_t begin_batch(const struct batch *b, int n, int *ret_fd)
{
	int fds[2];
	pid_t pid;

	(void)fflush(stdout);
	if (pipe(fds) < 0 || (pid = fork()) < 0)
		exit(2);
	if (pid > 0) {
		(void)close(fds[1]);
		*ret_fd = fds[0];
		return pid;
	}
	(void)alarm(60);
	for (int i = 0; i < n; i++) {
		char rc = (char)run(b->course, b->fault, b->k + i, b->seed, b->second);
		if (write(fds[1], &rc, 1) != 1 || rc == NO_SUCH_CALL)
			break;
	}
	_exit(0);
}

/* Runs k, k + 1, ... in one process; answers how many of them there were, less than n where there is no further call. */
static int run_batch(struct batch b, int n, bool *ret_end)
{
	int fd, status, got = 0;
	pid_t pid = begin_batch(&b, n, &fd);
	char rc;

	*ret_end = false;
	while (read(fd, &rc, 1) == 1) {
		if (rc == NO_SUCH_CALL) {
			*ret_end = true;
			break;
		}
		got++;
		passed += rc == PASSED;
		failed += rc == FAILED;
	}
	(void)close(fd);
	if (waitpid(pid, &status, 0) < 0)
		exit(2);
	if (!WIFEXITED(status)) {
		printf("FAILED: %s, k=%d, %s: the process ended with status %x\n", b.course->name, b.k + got, fault_name(b.fault),
			(unsigned)status);
		failed++;
		got++;
	}
	return got;
}



static void course_run(const struct course *c)
{
	int most = 0;

	for (enum fault f = FAULT_REFUSED; f < FAULTS; f++) {
		int k = 1;

		for (bool end = false; !end && failed <= FAILED_MOST;)
			k += run_batch((struct batch){c, f, k, 1, NULL}, BATCH, &end);
		most = k - 1 > most ? k - 1 : most;
	}
	printf("%s: %d calls, each in %d ways\n", c->name, most, FAULTS - 1);
}

/* kth COURSE FAULT K [SEED]: one run, told whole. */
static int run_one(char **argv)
{
	int rc;

	told_whole = true;
	rc = run(&courses[atoi(argv[0])], (enum fault)atoi(argv[1]), atoi(argv[2]), argv[3] ? strtoull(argv[3], NULL, 10) : 1, NULL);

	if (rc != FAILED)
		world_dump();
	return rc;
}

int main(int argc, char **argv)
{
	if (argc > 3)
		return run_one(argv + 1);
	for (size_t i = argc > 1 ? strtoull(argv[1], NULL, 10) : 0; i < COUNT_OF(courses) && failed <= FAILED_MOST; i++)
		course_run(&courses[i]);
	printf("%d passed, %d failed\n", passed, failed);
	return failed ? 1 : 0;
}
