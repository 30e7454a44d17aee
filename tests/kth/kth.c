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

static int run(const struct course *c, enum fault fault, int k, uint64_t seed)
{
	set_up(c, seed);
	w.fault = fault;
	w.fault_at = k;
	life_run_all(120000);
	if (w.violations) {
		printf("FAILED: %s, k=%d, seed %llu: %s\n  %s\n", c->name, k, (unsigned long long)seed, w.fault_name, w.first_violation);
		world_dump();
	}
	(void)fflush(stdout);
	if (w.violations)
		return FAILED;
	return k && w.events < k ? NO_SUCH_CALL : PASSED;
}

static int run_apart(const struct course *c, enum fault fault, int k, uint64_t seed)
{
	int status;
	pid_t pid;

	(void)fflush(stdout);
	pid = fork();
	if (pid < 0)
		exit(2);
	if (pid == 0) {
		(void)alarm(20);
		_exit(run(c, fault, k, seed));
	}
	if (waitpid(pid, &status, 0) < 0)
		exit(2);
	if (WIFEXITED(status) && WEXITSTATUS(status) <= NO_SUCH_CALL)
		return WEXITSTATUS(status);
	printf("FAILED: %s, k=%d, %s: the process ended with status %x\n", c->name, k, fault_name(fault), (unsigned)status);
	return FAILED;
}

static int passed, failed;

static void course_run(const struct course *c)
{
	int most = 0;

	for (enum fault f = FAULT_REFUSED; f < FAULTS; f++) {
		for (int k = 1;; k++) {
			int rc = run_apart(c, f, k, 1);
			if (rc == NO_SUCH_CALL)
				break;
			most = k > most ? k : most;
			passed += rc == PASSED;
			failed += rc == FAILED;
			if (failed > 20)
				return;
		}
	}
	printf("%s: %d calls, each in %d ways\n", c->name, most, FAULTS - 1);
}

/* kth COURSE FAULT K [SEED]: one run, told whole. */
static int run_one(char **argv)
{
	int rc = run(&courses[atoi(argv[0])], (enum fault)atoi(argv[1]), atoi(argv[2]), argv[3] ? strtoull(argv[3], NULL, 10) : 1);

	if (rc != FAILED)
		world_dump();
	return rc;
}

int main(int argc, char **argv)
{
	if (argc > 3)
		return run_one(argv + 1);
	for (size_t i = argc > 1 ? strtoull(argv[1], NULL, 10) : 0; i < COUNT_OF(courses) && failed <= 20; i++)
		course_run(&courses[i]);
	printf("%d passed, %d failed\n", passed, failed);
	return failed ? 1 : 0;
}
