/* kth: what its rooms share: courses of a flip, one run, batches of runs in processes of their own. */
#ifndef TESTS_KTH_KTH_H
#define TESTS_KTH_KTH_H

#include <sys/types.h>

#include "tests/scenario/world.h"

enum { PASSED = 0, FAILED = 1, NO_SUCH_CALL = 2 };

#define FAILED_MOST 20 /* then it is told enough */

struct course {
	const char *name, *defaults, *cluster;
	bool gtid, back;      /* back: from target to source */
	const char *abort_at; /* a step */
	int64_t max_blackout_ms, apply_us;
	bool rehearse;
};

extern const struct course courses[];
extern const int ncourses;

/* A second fault beside the k-th call's: a server restarts. */
struct second {
	int server, at; /* at that call */
	bool closed;
	int64_t down_us;
};

/* What an operator says, so long after a server went; of a side that answers again only if it was the plan.
 */
struct saying {
	int64_t at_us;
	int server;
	enum recover_word word;
	bool accept_loss, wrong;
};

/* A server goes at some moment, and an operator has to say what it is. The k-th call is counted from there.
 */
struct ordeal {
	const char *name;
	enum when when;
	const char *word; /* the step, the kind of record */
	int64_t delay_us;
	int server; /* that goes: 0 old, 1 new */
	enum { GOES_DOWN, OUT_OF_REACH, CUT_OFF } how;
	int64_t back_us; /* 0: never */
	bool open;	 /* as it comes back from a restart */
	bool abort;	 /* the flip is told to go back when it goes */
	struct saying say[2];
};

extern const struct ordeal ordeals[];
extern const int nordeals;

struct batch {
	const struct course *course;
	const struct ordeal *ordeal; /* or NULL */
	int back_at; /* the server comes back at that call after the word; 0: as the ordeal says */
	struct {     /* in flipd's life after the one that the fault ended; at 0: none */
		enum fault fault;
		int at;
	} next;
	enum fault fault;
	int k;
	uint64_t seed;
	struct second second; /* at 0: none */
	enum mutant mutant;   /* MUTANTS: none */
};

extern int passed, failed;
extern bool told_whole, told_nothing;

/* One run in this process. */
int run_here(const struct batch *);
/* Runs k, k + 1, ... in one process; counts what passed and failed; answers how many there were, less than n
 * where there is no further call (*ret_end). */
int run_batch(struct batch, int n, bool *ret_end);

/* The same beside others: each that is begun is ended. */
struct job {
	struct batch batch;
	pid_t pid;
	int fd;
};
void job_begin(struct job *, struct batch, int n);
int job_end(struct job *, bool *ret_end);

/* Each must be noticed by the world's checks. */
void mutants_run(void);
/* Servers that go, and an operator's word. */
void ordeal_begin(const struct batch *);
void ordeal_judge(const struct ordeal *);
/* Both, and flipd that dies twice: a fixed sample, or with all: every one. */
void recovery_run(bool all);
/* Double faults: a fixed sample, or with all: every one. */
void doubles_run(bool all);

#endif
