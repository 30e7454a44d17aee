/*
 * writer: one thread that writes as an application does, and its log. See load.c for what is logged.
 */
#ifndef BENCH_WRITER_H
#define BENCH_WRITER_H

#include <stdbool.h>
#include <stdint.h>

enum { WRITERS_MAX = 64, HOSTS_MAX = 4, ADDRESS_MAX = 64 };

/* The same for every writer; set before the first is started, never changed after. */
struct load_options {
	int writers, first, port, txn,
		timeout_s;  /* first: number of the first writer; txn: rows in each, 0 = none */
	int64_t backoff_us; /* between an error and the next attempt */
	int64_t first_seq;
	int64_t interval_us, idle_us; /* 0 = as fast as it goes; idle_us: how long each transaction idles */
	const char *user, *password_file, *dns, *name,
		*log_dir; /* dns: ADDRESS:PORT asked for name; else hosts */
	char password[256], hosts[HOSTS_MAX][ADDRESS_MAX];
	int nhosts;
	bool warm; /* keep a connection to every address once used */
};
extern struct load_options opt;

struct tally;
struct writer;
/* Starts a thread that writes until writer_stop_all; 0 or negative errno. */
int writer_start(struct writer **ret, int id, struct tally *tally);
void writer_stop_all(void);
/* Waits for its end and closes its log; takes NULL. */
void writer_join(struct writer *w);

#endif
