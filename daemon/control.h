/*
 * control: the control socket: one JSON object a line each way. It checks who asks, what is asked and how
 * much at once; commands.c knows what each command does.
 *
 *     line --parse, command, role, arguments--> request --handler, in a fiber where it may wait--> reply
 *
 * A client that goes away loses its replies, nothing else: requests under way go on without it.
 */
#ifndef DAEMON_CONTROL_H
#define DAEMON_CONTROL_H

#include <sys/types.h>

#include "lib/base/err.h"
#include "lib/base/str.h"
#include "lib/io/fiber.h"

struct command;
struct control;
struct listen_client;
struct server;
struct wire;

struct request {
	struct control *control;
	struct server *server;
	struct listen_client *client; /* NULL: gone */
	struct request *next;	      /* of the same client */
	const struct command *command;
	struct wire *line;	      /* the whole request, owned */
	const struct wire *id, *args; /* in it; args may be NULL */
	bool operator_;		      /* may change things */
	uid_t uid;
	pid_t pid;
	struct fiber *fiber;   /* NULL: handled at once */
	bool interruptible;    /* only waits for something that goes on without it */
	bool counted;	       /* takes one of the places for requests that cost */
	struct strbuf message; /* of an error longer than a struct err holds */
};

/* The socket at path, or the one handed over as fd (-1: none). group: who may change things beside root and
 * our own user; NULL: nobody. 0 or negative errno. */
int control_start(struct server *, const char *path, int fd, struct control **ret, struct err *) MUSTCHECK;
void control_stop(struct control *); /* takes NULL */
/* gid of control_group; (gid_t)-1: none. */
void control_set_group(struct control *, gid_t);
/* Requests whose handlers have not returned. */
int control_running(const struct control *);

/* {"type","flip","at",...detail} to whoever asked; detail may be NULL. */
void control_event(struct request *, const char *type, const char *flip, const struct wire *detail);
/* The name of the user who asks, or "uid 1000". */
void MAY_WAIT control_user(const struct request *, char *buf, size_t size);

#endif
