/*
 * doubles: two faults in one run: a server restarts, open or closed, at some call of flipd's, and flipd dies
 * or a call goes wrong at another. Their product is too large for every day: a sample fixed by its seeds, and
 * the whole on demand.
 */
#include <stdio.h>

#include "tests/kth/kth.h"

#define SAMPLE 260 /* runs per course */
#define CALLS 150  /* no course has many more before it ends */

static uint64_t mix(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static struct batch draw(const struct course *c, uint64_t *state)
{
	struct batch b = {.course = c, .seed = 1 + mix(state) % 50, .mutant = MUTANTS};

	b.fault = (enum fault)(mix(state) % FAULTS);
	b.k = 20 + (int)(mix(state) % CALLS);
	b.second = (struct second){.server = (int)(mix(state) % 2),
		.at = 20 + (int)(mix(state) % CALLS),
		.closed = mix(state) % 2,
		.down_us = (int64_t)(1 + mix(state) % 400) * 1000};
	if (mix(state) % 2) /* close to one another */
		b.second.at = b.k + (int)(mix(state) % 9) - 4;
	return b;
}

static void sample(const struct course *c, int n, uint64_t seed)
{
	uint64_t state = seed * UINT64_C(0x9E3779B97F4A7C15) + 7;
	bool end;

	for (int i = 0; i < n && failed <= FAILED_MOST; i++) {
		struct batch b = draw(c, &state);
		if (run_batch(b, 1, &end) == 0)
			passed++; /* it ended before the first of the two */
	}
	printf("sample: %s, %d double faults, seed %llu\n", c->name, n, (unsigned long long)seed);
}

#define JOBS 2 /* at once */

static void every(const struct course *c, int server, bool closed)
{
	struct job jobs[JOBS];
	int begun = 0, ended = 0;
	bool end;

	for (enum fault f = FAULT_NONE; f < FAULTS && failed <= FAILED_MOST; f++)
		for (int at = 20; at < CALLS; at++) {
			struct batch b = {.course = c,
				.fault = f,
				.k = at > 26 ? at - 6 : 20,
				.seed = 1,
				.mutant = MUTANTS,
				.second = {.server = server, .at = at, .closed = closed, .down_us = 30000}};
			if (begun - ended == JOBS)
				(void)job_end(&jobs[ended++ % JOBS], &end);
			job_begin(&jobs[begun++ % JOBS], b, 12);
		}
	while (ended < begun)
		(void)job_end(&jobs[ended++ % JOBS], &end);
	printf("all: %s, server %d restarts %s at each call, a fault at each call near\n", c->name, server,
		closed ? "closed" : "open");
}

void doubles_run(bool all)
{
	for (int i = 0; i < ncourses; i++)
		sample(&courses[i], all ? SAMPLE * 20 : SAMPLE, 1);
	for (int i = 0; all && i < ncourses * 4; i++)
		every(&courses[i / 4], i % 2, i / 2 % 2);
}
