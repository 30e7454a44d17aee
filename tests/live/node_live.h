/* node_live: what the parts of the exercise share. */
#ifndef TESTS_NODE_LIVE_H
#define TESTS_NODE_LIVE_H

#include <stdio.h>
#include <stdlib.h>

#include "lib/base/arena.h"
#include "lib/base/clock.h"
#include "lib/base/str.h"
#include "lib/io/db.h"
#include "lib/io/fiber.h"
#include "lib/provider/node.h"

enum { A, B };

/* One server, as the exercise uses it. */
struct side {
	struct conf_server conf;
	struct node *node;
	struct db *admin;
	struct session *watch, *act, *lock, *reaper, *heartbeat, *probe;
};

extern struct side sides[2];
extern struct arena *arena;
extern struct err err;
extern int checks;

#define IN(ms) (clock_us() + (int64_t)(ms)*1000)

/* Ends the program at the first thing that is not so; err says why the last verb failed. */
#define CHECK(cond)                                                                                          \
	do {                                                                                                 \
		checks++;                                                                                    \
		if (!(cond)) {                                                                               \
			printf("%s:%d: not so: %s\n\terr: %s (sql %u)\n", __FILE__, __LINE__, #cond,         \
				err_text(&err), err.sql_errno);                                              \
			exit(1);                                                                             \
		}                                                                                            \
	} while (0)
/* The verb with a fresh err. */
#define DONE(call) CHECK((err_clear(&err), (call)) == ACT_DONE)
#define REFUSED(call) CHECK((err_clear(&err), (call)) == ACT_REFUSED && err.code < 0 && err.message[0])

/* Runs sql on the administrator's connection; the results are the caller's. */
struct db_result *admin_ask(struct side *, const char *sql);
void admin(struct side *, const char *fmt, ...) PRINTF(2, 3);
struct session *open_as(struct side *, enum session_role, const struct conf_account *as);
/* Facts of a side, valid until the next call for that side. */
struct facts *look(struct side *, unsigned what);
/* Waits until both threads of b's default channel run and it has a's position. */
void await_replica(struct side *b, struct side *a);
struct node_follow follow_of(struct side *master);

void exercise_looking(void);
void exercise_lock_and_row(void);
void exercise_fence(void);
void exercise_opening(void);
void exercise_reverse(void);
void exercise_kill(void);
void exercise_full_disk(void);

#endif
