/*
 * proc: child processes (hooks). Executed directly, no shell; own process group, killed whole on time-out or
 * cancel; stdin is /dev/null; stdout and stderr together are kept up to a limit, the rest is read and thrown
 * away.
 */
#ifndef IO_PROC_H
#define IO_PROC_H

#include "lib/base/base.h"
#include "lib/base/err.h"

struct proc_result {
	int exit_status;   /* 0..255, or 128 + signal */
	char output[2048]; /* what it said, printable, cut */
};

int proc_init(void) MUSTCHECK; /* SIGCHLD by loop_signal */
/*
 * Runs argv[0] (absolute) with exactly this environment (NULL-terminated "A=b"). 0 when it ended by itself
 * (see exit_status); -ETIMEDOUT or -ECANCELED when its process group was killed; else could not be started.
 * deadline_us is monotonic.
 */
int MAY_WAIT proc_run(const char *const argv[], const char *const env[], int64_t deadline_us,
	struct proc_result *ret, struct err *) MUSTCHECK;

#endif
