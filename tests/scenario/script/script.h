/*
 * script: a flip told as a small script: the cluster, what goes wrong and when, and what must come of it.
 *
 *     for STEP lock flush ...            the script once for each word, put in for $STEP
 *     cluster gtid|file [replicas N]     set KEY VALUE     hook POINT     max_blackout DURATION
 *     fence SERVER outer|only-outer|security-group    outside the server; the last has no adapter
 *     writers N    apply DURATION    seed N    scheduler    semi_sync    events N    group NAME
 *     endpoint none|after_open    to source    max_lag DURATION    restart DURATION (of flipd)
 *     until DURATION (no end before)    last DURATION (of the world)    no-tables    no-heartbeat
 *     account bypass|probe-walks    differs SERVER N    foreign-row ID
 *     restarts SERVER open|closed    rehearse [first] (instead of a flip, or before it)
 *     WHEN: ACTION
 *     expect outcome A|B   expect writable SERVER|none   expect journal KIND ...   expect no journal KIND
 *     expect warning TEXT  expect error TEXT  expect failed STEP SERVER|-  expect hint TEXT
 *     expect blackout below DURATION  expect dark below DURATION (no side takes writes)
 *     expect lives N  expect hooks N  expect document TEXT  expect answer TEXT (to an operator)
 *     expect probe VIA  expect row STATE  expect fault  expect predicted yes|no
 *     expect events rest DURATION
 *     allow stuck|unended|hands|foreign
 *
 * WHEN: at step NAME | at|after op NAME [SERVER] | at|after journal KIND | at DURATION, each with [+DURATION]
 * [skip N] ACTION: see act.c. Servers: old new source target r1 r2 r3.
 */
#ifndef TESTS_SCENARIO_SCRIPT_H
#define TESTS_SCENARIO_SCRIPT_H

#include "tests/scenario/world.h"

#define WORDS_MAX 24
#define EXPECTS_MAX 24

struct words;
struct action { /* what a trigger does */
	const char *name;
	void (*parse)(struct trigger *, const struct words *, int i);
	void (*fn)(struct trigger *);
};

struct words {
	int n;
	char *v[WORDS_MAX];
	char buf[400];
};

/* Splits at blanks; a word in "quotes" may hold them. */
void words_split(struct words *, const char *line);
/* The rest of the words from the i-th on, with blanks between; in w.arena. */
const char *words_rest(const struct words *, int i);
const char *words_at(const struct words *, int i); /* "" beyond the last */
int64_t words_us(const char *duration);
int words_server(const char *name);
enum op words_op(const char *name);

void PRINTF(1, 2) scenario_bad(const char *fmt, ...); /* the script is wrong: ends the process */

/* begin.c: what there is at first; false: no line of that kind. */
bool begin_parse(const struct words *);
/* ask.c: what operators and the daemon ask of a flip. */
extern const struct action asks[];
extern const int nasks;
/* act.c: "kill old open 200ms" becomes what the trigger does; words from the i-th on. */
void act_parse(struct trigger *, const struct words *, int i);
/* expect.c */
void expect_add(const struct words *);
/* Each that does not hold becomes a violation. */
void expect_judge(void);

#endif
