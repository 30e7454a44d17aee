/* listen_priv: what listen.c (accepting), listen_client.c (one client) and listen_socket.c (sockets, peers)
 * share. */
#ifndef IO_LISTEN_PRIV_H
#define IO_LISTEN_PRIV_H

#include "lib/io/listen.h"

struct listen_client {
	struct listen_client *next, *prev;
	struct listener *listener;
	int fd;
	bool dead, closing, told_too_long, resuming;
	bool eof; /* the peer sends no more; it may still read */
	int held;
	int64_t born_ms, active_ms; /* active: a line ended, an answer was given, bytes were taken */
	int64_t line_ms;	    /* the line being read began then; 0 none */
	int64_t out_ms;		    /* the peer took bytes last, or output began to wait */
	char *in;
	size_t in_len, in_cap;
	char *out;
	size_t out_start, out_len, out_cap;
	struct loop_watch *read_watch, *write_watch;
	struct listen_peer peer;
	void *data;
};

struct listener {
	struct listen_client all; /* ring */
	int fd, nclients;
	bool freed, reaping;
	char *path; /* to be removed */
	const struct listen_limits *limits;
	const struct listen_ops *ops;
	void *arg;
	struct loop_watch *accept_watch, *pause, *tick;
};

/* Takes over fd, which listens and does not block, and path (to be removed at the end; NULL: nothing). */
struct listener *listener_new(
	int fd, char *path, const struct listen_limits *, const struct listen_ops *, void *arg);
/* Dead clients, and the listener once it is freed, go on the loop's next turn. */
void listener_reap_soon(struct listener *);
/* Fills *ret; its groups are freed by the caller. */
void listen_peer_read(int fd, struct listen_peer *ret);

void listen_client_kill(struct listen_client *);
/* Reads exactly while there is room for what comes; otherwise it waits in the socket. */
void listen_client_update(struct listen_client *);
/* Reads what is there now. */
void listen_client_try(struct listen_client *);
/* There is room for one more request. */
bool listen_client_may_begin(const struct listen_client *);

#endif
