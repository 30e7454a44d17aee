/*
 * server: the daemon as a whole: it owns the configuration, the journal, the clusters and the sockets, and
 * starts and stops them in order.
 *
 *     STARTING --journal open, sockets bound--> SERVING --SIGTERM--> STOPPING (flips end as they may) -->
 * stopped
 */
#ifndef DAEMON_SERVER_H
#define DAEMON_SERVER_H

#include "lib/base/err.h"
#include "lib/io/fiber.h"
#include "lib/model/conf.h"

struct control;
struct httpd;
struct journal;
struct watched;

struct server {
	struct conf *conf; /* the snapshot in force */
	struct journal *journal;
	char start_id[40]; /* this start of flipd: hooks get it as FLIPD_RUN */
	char host[128];	   /* this host's name */
	int nwatched;
	struct watched *
		*watched; /* in the configuration's order, then those that only wait for a flip's end */
	struct control *control;
	struct httpd *httpd;
	struct fiber_mutex reloading;
	struct fiber *reader;	   /* reads what the last flips were */
	struct fiber_cond changed; /* stop was asked for, or a flip's fiber has returned */
	bool serving, stopping;
	bool disk_hangs; /* that the journal's disk does not answer has been told */
	bool clean;	 /* stopped with nothing left that anybody uses */
	int signo;	 /* what asked it to stop */
	int exit_status;
};

/* Runs on the loop until a signal ends it. conf: a reference is taken over. Returns flipd's exit status;
 * *ret_quiet: no thread but the caller's is left. */
int server_main(struct conf *, bool *ret_quiet);
/* By the cluster's name; NULL when there is none. */
struct watched *server_find(const struct server *, const char *name);
/* Takes a cluster in or out of the list; the list owns nothing. */
void server_add(struct server *, struct watched *);
void server_remove(struct server *, struct watched *);

#endif
