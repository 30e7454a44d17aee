/*
 * listen: a bounded server of lines over stream sockets, unix or TCP: the control socket and the status
 * endpoint stand on it. Each client sends lines and is sent bytes; nothing that a client does, or leaves
 * undone, holds up another.
 *
 *     accepted --line--> owner --listen_send--> client          on_line says what arrives; the owner answers
 * when it can OPEN --listen_client_close--> CLOSING (sends what is left, throws away what comes) --> gone
 * (on_close)
 *
 * Bounds: clients in all and per user, bytes per line, bytes waiting to be read by the client, requests at
 * once (listen_client_hold), time for a line to arrive, time without anything, time of a whole connection.
 * When all places are taken, the client that has been idle longest gives way.
 */
#ifndef IO_LISTEN_H
#define IO_LISTEN_H

#include <sys/types.h>

#include "lib/base/base.h"
#include "lib/base/err.h"

struct listener;
struct listen_client;

/* Who is at the other end of a unix socket (SO_PEERCRED, SO_PEERGROUPS: as they were at connect). TCP: known
 * false. */
struct listen_peer {
	bool known;
	uid_t uid;
	gid_t gid;
	pid_t pid;
	int ngroups;
	gid_t *groups; /* supplementary */
};

struct listen_limits {
	int max_clients;
	int max_per_uid;       /* for others than root and our own user; 0: no limit of its own */
	int max_held;	       /* requests at once of one client; further lines wait in the socket */
	int burst;	       /* lines of one client taken in a row however many others there are; 0: 1 */
	size_t max_line;       /* bytes without the newline */
	size_t max_out;	       /* bytes waiting for a client; past it the client is dropped */
	int64_t line_ms;       /* for a begun line to be ended, and for output to be read on */
	int64_t idle_ms;       /* without a request under way */
	int64_t life_ms;       /* the whole connection; 0: no limit */
	const char *full_text; /* sent to whom no place was found; or NULL */
};

struct listen_ops {
	/* A new client. May be NULL. */
	void (*on_open)(struct listen_client *, void *arg);
	/* One line without its newline, NUL-terminated (NULs inside are possible). The owner may change it.
	 */
	void (*on_line)(struct listen_client *, char *line, size_t len, void *arg);
	/* A line longer than max_line: the owner may still send something; then the client is closed. */
	void (*on_too_long)(struct listen_client *, void *arg);
	/* The last call about this client. May be NULL. */
	void (*on_close)(struct listen_client *, void *arg);
};

/*
 * A unix stream socket at path with the mode given; a stale socket there is replaced, one that answers is
 * -EADDRINUSE. limits, ops and arg are borrowed. 0 or negative errno.
 */
int listen_unix(const char *path, unsigned mode, const struct listen_limits *, const struct listen_ops *,
	void *arg, struct listener **ret, struct err *) MUSTCHECK;
/* host: a numeric address, or "localhost". */
int listen_tcp(const char *host, uint16_t port, const struct listen_limits *, const struct listen_ops *,
	void *arg, struct listener **ret, struct err *) MUSTCHECK;
/* A socket that listens already (socket activation); taken over. */
int listen_fd(int fd, const struct listen_limits *, const struct listen_ops *, void *arg,
	struct listener **ret, struct err *) MUSTCHECK;
/* Drops every client (on_close is called for each, now) and removes the socket file that listen_unix made. */
void listener_free(struct listener *); /* takes NULL */
int listener_clients(const struct listener *);

/* Queues bytes; they are sent as the client reads. Nothing happens on a client that is gone. */
void listen_send(struct listen_client *, const char *data, size_t len);
/* Closes once all has been sent. */
void listen_client_close(struct listen_client *);
/* A request of this client is under way, or has ended. */
void listen_client_hold(struct listen_client *);
void listen_client_release(struct listen_client *);
const struct listen_peer *listen_client_peer(const struct listen_client *);
/* The owner's own pointer. */
void listen_client_set_data(struct listen_client *, void *data);
void *listen_client_data(const struct listen_client *);

#endif
