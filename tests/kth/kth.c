/*
 * kth: for k = 1, 2, ... until a run has no k-th call: the k-th call of flipd's (a statement, a connection,
 * an endpoint, a hook, the journal) goes wrong in each possible way, or flipd dies at it. The laws and the
 * invariants of the specification's section 2 must hold every time. Each run is a process of its own.
 */
#include "tests/kth/kth.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/scenario/fake_loop.h"

int passed, failed;
bool told_whole, told_nothing;

#define CONF_HEAD                                                                                            \
	"defaults: {user: flipd, password: x, replication: {user: repl, password: y}, drain_timeout: 3s, "   \
	"kill_timeout: 1s, "                                                                                 \
	"settle_timeout: 20s%s}\n"                                                                           \
	"clusters: {c: {source: {host: 10.1.0.5}, target: {host: 10.2.0.5}%s, endpoints: [{dns: {name: "     \
	"db.example.com., "                                                                                  \
	"zone: example.com., type: CNAME, ttl: 5s, servers: ['10.0.0.53'], source: a.example.com., target: " \
	"b.example.com.}}]}}\n"

const struct course courses[] = {
	{.name = "guarded, done", .defaults = "", .cluster = "", .gtid = true},
	{.name = "plain, done", .defaults = ", verify: counts", .cluster = "", .gtid = true},
	{.name = "guarded, aborted at endpoints, accounts locked",
		.defaults = ", sessions: {lock_accounts: [legacy, retired]}",
		.cluster = "",
		.gtid = true,
		.abort_at = "endpoints"},
	{.name = "guarded, max_blackout",
		.defaults = "",
		.cluster = "",
		.gtid = true,
		.max_blackout_ms = 300,
		.apply_us = 500000},
	{.name = "plain, max_blackout",
		.defaults = ", verify: counts",
		.cluster = "",
		.gtid = true,
		.max_blackout_ms = 300,
		.apply_us = 500000},
	{.name = "file, guarded, done", .defaults = "", .cluster = "", .gtid = false},
	{.name = "a replica, probe, accounts locked, done",
		.defaults = ", sessions: {lock_accounts: [\"legacy@%\", retired]}, fence_probe: {user: "
			    "flipd_probe, password: z}, probe: {via: none}",
		.cluster = ", replicas: [{name: r1, host: 10.1.0.6}]",
		.gtid = true},
	{.name = "rehearsal", .defaults = "", .cluster = "", .gtid = true, .rehearse = true},
	{.name = "file, plain, rehearsal",
		.defaults = ", verify: counts",
		.cluster = "",
		.gtid = false,
		.rehearse = true},
	{.name = "file, plain, back, done",
		.defaults = ", verify: counts",
		.cluster = "",
		.gtid = false,
		.back = true},
};

const int ncourses = (int)COUNT_OF(courses);

static void abort_flip(struct trigger *t)
{
	(void)t;
	if (w.flip)
		(void)!flip_abort(w.flip, "aborted by the test", NULL);
}

static void fast_again(void *arg)
{
	(void)arg;
	w.server[w.to].apply_us = 300;
}

static void slow_down(struct trigger *t)
{
	w.server[w.to].apply_us = t->arg_us;
	vtime_at(vtime_us() + 1500000, fast_again, NULL);
}

static void set_up(const struct course *c, uint64_t seed)
{
	char yaml[2048];

	(void)snprintf(yaml, sizeof(yaml), CONF_HEAD, c->defaults, c->cluster);
	world_new(yaml, seed, c->gtid, c->back ? CONF_TARGET : CONF_SOURCE);
	plan.to = (enum conf_side)w.to;
	plan.max_blackout_ms = c->max_blackout_ms;
	w.rehearsal = plan.rehearse = c->rehearse;
	w.server[w.from].scheduler = true;
	w.server[w.to].semi_sync = true;
	for (int i = 0; i < 3; i++)
		client_add(CLIENT_WRITER, 0, 0);
	if (c->abort_at)
		trigger_add(WHEN_STEP, c->abort_at, abort_flip);
	if (c->apply_us)
		trigger_add(WHEN_STEP, "fence", slow_down)->arg_us = c->apply_us;
}

static void bad_fiber(void *arg)
{
	struct session *s = NULL;
	struct err err = {0};
	bool written = false;

	(void)arg;
	if (session_open(w.cluster->side[0].node, SESSION_ACT, NULL, vtime_us() + 1000000, &s, &err) < 0)
		return;
	if (w.reckless[MUTANT_FENCE_IN_VAIN])
		(void)!node_fence(s, 100, vtime_us() + 1000000, &err);
	else if (w.reckless[MUTANT_OPEN_OLD])
		(void)!node_unfence(s, vtime_us() + 1000000, &err);
	else
		(void)!node_heartbeat(s, w.server[0].lock_holder, vtime_us() + 1000000, &written, &err);
	session_close(s);
}

static void do_bad(struct trigger *t)
{
	(void)t;
	fiber_detach(fiber_spawn("mutant", bad_fiber, NULL));
}

static void set_faults(const struct batch *b)
{
	w.fault = b->fault;
	if (b->ordeal)
		ordeal_begin(b);
	else
		w.fault_at = b->k;
	if (b->next.at) {
		w.next_fault = b->next.fault;
		w.next_at = b->next.at;
	}
	if (b->second.at) {
		w.second_at = b->second.at;
		w.second_server = b->second.server;
		w.second_closed = b->second.closed;
		w.second_down_us = b->second.down_us;
		w.may_be_stuck = true;
	}
	if (b->mutant < MUTANTS)
		w.reckless[b->mutant] = true;
	if (b->mutant == MUTANT_OPEN_OLD || b->mutant == MUTANT_NO_GUARD)
		trigger_add(WHEN_AFTER_JOURNAL, "intent", do_bad);
	if (b->mutant == MUTANT_FENCE_IN_VAIN)
		trigger_add(WHEN_JOURNAL, "trial", do_bad);
	if (b->mutant == MUTANT_LEAKY_FENCE)
		client_add(CLIENT_BYPASS, 0, 0);
}

int run_here(const struct batch *b)
{
	int rc;

	set_up(b->course, b->seed);
	set_faults(b);
	life_run_all(120000);
	if (b->ordeal)
		ordeal_judge(b->ordeal);
	if (w.violations && !told_nothing) {
		printf("FAILED: %s, k=%d, seed %llu: %s\n  %s\n", b->course->name, b->k,
			(unsigned long long)b->seed, w.fault_name, w.first_violation);
		if (b->second.at)
			printf("  and at call %d %s restarts %s, down for %lld ms\n", b->second.at,
				w.server[b->second.server].name, b->second.closed ? "closed" : "open",
				(long long)b->second.down_us / 1000);
		if (b->ordeal)
			printf("  and: %s\n", b->ordeal->name);
		if (b->next.at)
			printf("  and in the next life, call %d: %s\n", b->next.at,
				fault_name(b->next.fault));
		printf("  again: build/tests/kth/kth %d %d %d %llu %d %d %d %lld %d %d %d %d\n",
			(int)(b->course - courses), (int)b->fault, b->k, (unsigned long long)b->seed,
			b->second.server, b->second.at, b->second.closed, (long long)b->second.down_us,
			b->ordeal ? (int)(b->ordeal - ordeals) : -1, (int)b->next.fault, b->next.at,
			b->back_at);
		world_dump();
	}
	if (told_nothing && w.violations && b->mutant < MUTANTS)
		printf("mutant %d is noticed: %s\n", (int)b->mutant, w.first_violation);
	(void)fflush(stdout);
	rc = w.violations ? FAILED : b->k && !w.fault_name[0] ? NO_SUCH_CALL : PASSED;
	if (!told_whole)
		world_free();
	return rc;
}

/* So many runs share a process: starting one costs more than a run. What a crash of flipd leaves behind stays
 * there. */
#define BATCH 24

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
		struct batch one = *b;
		one.k = b->k ? b->k + i : 0;
		char rc = (char)run_here(&one);
		if (write(fds[1], &rc, 1) != 1 || rc == NO_SUCH_CALL)
			break;
	}
	world_leave(0);
}

void job_begin(struct job *j, struct batch b, int n)
{
	j->batch = b;
	j->pid = begin_batch(&b, n, &j->fd);
}

int job_end(struct job *j, bool *ret_end)
{
	const struct batch *b = &j->batch;
	int status, got = 0;
	char rc;

	*ret_end = false;
	while (read(j->fd, &rc, 1) == 1) {
		if (rc == NO_SUCH_CALL) {
			*ret_end = true;
			break;
		}
		got++;
		passed += rc == PASSED;
		failed += rc == FAILED;
	}
	(void)close(j->fd);
	if (waitpid(j->pid, &status, 0) < 0)
		exit(2);
	if (!WIFEXITED(status)) {
		printf("FAILED: %s, k=%d, seed %llu, %s: the process ended with status %x (%d %d %d %lld %d "
		       "%d "
		       "%d)\n",
			b->course->name, b->k + got, (unsigned long long)b->seed, fault_name(b->fault),
			(unsigned)status, b->second.server, b->second.at, b->second.closed,
			(long long)b->second.down_us, b->ordeal ? (int)(b->ordeal - ordeals) : -1,
			(int)b->next.fault, b->next.at);
		failed++;
		got++;
	}
	return got;
}

int run_batch(struct batch b, int n, bool *ret_end)
{
	struct job j;

	job_begin(&j, b, n);
	return job_end(&j, ret_end);
}

static void course_run(const struct course *c)
{
	int most = 0;

	for (enum fault f = FAULT_REFUSED; f < FAULTS; f++) {
		int k = 1;

		for (bool end = false; !end && failed <= FAILED_MOST;)
			k += run_batch(
				(struct batch){.course = c, .fault = f, .k = k, .seed = 1, .mutant = MUTANTS},
				BATCH, &end);
		most = k - 1 > most ? k - 1 : most;
	}
	printf("%s: %d calls, each in %d ways\n", c->name, most, FAULTS - 1);
}

/* kth COURSE FAULT K [SEED [SERVER AT CLOSED DOWN_US [ORDEAL [FAULT AT [BACK_AT]]]]]: one run, told whole. */
static int run_one(int n, char **v)
{
	struct batch b = {.course = &courses[atoi(v[0])],
		.fault = (enum fault)atoi(v[1]),
		.k = atoi(v[2]),
		.seed = 1,
		.mutant = MUTANTS};
	int rc;

	if (n > 3)
		b.seed = strtoull(v[3], NULL, 10);
	if (n > 7)
		b.second = (struct second){atoi(v[4]), atoi(v[5]), atoi(v[6]), atoll(v[7])};
	if (n > 8 && atoi(v[8]) >= 0)
		b.ordeal = &ordeals[atoi(v[8])];
	if (n > 10) {
		b.next.fault = (enum fault)atoi(v[9]);
		b.next.at = atoi(v[10]);
	}
	if (n > 11)
		b.back_at = atoi(v[11]);
	told_whole = true;
	rc = run_here(&b);
	if (rc != FAILED)
		world_dump();
	return rc;
}

int main(int argc, char **argv)
{
	const char *asked = getenv("FLIPD_CHECK_ALL");
	bool all = asked && asked[0];

	if (argc > 3)
		return run_one(argc - 1, argv + 1);
	mutants_run();
	for (int i = 0; i < ncourses && failed <= FAILED_MOST; i++)
		course_run(&courses[i]);
	doubles_run(all);
	recovery_run(all);
	printf("%d passed, %d failed\n", passed, failed);
	return failed ? 1 : 0;
}
