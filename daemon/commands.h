/*
 * commands: what can be asked over the control socket, as a table. A handler adds its result as JSON text to
 * *ret and returns 0, or a negative errno that control.c turns into the protocol's code:
 *
 *     -EINVAL usage | -ENOENT not_found | -EBADMSG config | -EPERM not_allowed | -EBUSY busy | -EALREADY
 * too_late | -E2BIG too_large | anything else internal
 */
#ifndef DAEMON_COMMANDS_H
#define DAEMON_COMMANDS_H

#include "daemon/control.h"
#include "lib/model/wire.h"

enum role { ROLE_ANYBODY, ROLE_OPERATOR };

struct argument {
	const char *name; /* NULL ends the list */
	enum wire_type type;
	bool required;
};

struct command {
	const char *name, *alias; /* alias: another spelling, or NULL */
	enum role role;
	const char *help;
	const struct argument *args;
	bool waits; /* the handler may wait: it gets a fiber */
	bool costs; /* it opens sessions on servers, or stands in the journal's queue: bounded for those who
		       may only look */
	int MAY_WAIT (*handler)(struct request *, struct strbuf *ret, struct err *);
};

extern const struct command commands[];
extern const int commands_count;
const struct command *command_find(const char *name);
/* The arguments are those of the table, with the right types. */
int command_check_args(const struct command *, const struct wire *args, struct err *) MUSTCHECK;

/* Handlers that concern one flip or the servers; commands_flip.c, commands_servers.c. */
int MAY_WAIT command_flip(struct request *, struct strbuf *, struct err *);
int MAY_WAIT command_rehearse(struct request *, struct strbuf *, struct err *);
int MAY_WAIT command_abort(struct request *, struct strbuf *, struct err *);
int MAY_WAIT command_resolve(struct request *, struct strbuf *, struct err *);
int MAY_WAIT command_check(struct request *, struct strbuf *, struct err *);
int MAY_WAIT command_plan(struct request *, struct strbuf *, struct err *);
int MAY_WAIT command_prepare(struct request *, struct strbuf *, struct err *);
int MAY_WAIT command_history(struct request *, struct strbuf *, struct err *);
int MAY_WAIT command_show(struct request *, struct strbuf *, struct err *);

/* Shared by handlers. */
struct watched;
/* args.name as a cluster; -ENOENT, or -EINVAL for a group (flips of groups are not there yet). */
int command_cluster(const struct request *, struct watched **ret, struct err *) MUSTCHECK;
int command_side(const struct request *, const char *key, int *ret_side, struct err *) MUSTCHECK;
/* What opens sessions and tries things does not while a flip does so too: -EBUSY. */
int command_not_in_flip(const struct request *, const struct watched *, struct err *) MUSTCHECK;
/* Adds a value's text to *ret and frees it. */
void command_answer(struct strbuf *ret, struct wire *);
/* A flip of which no more is known than a row says: everything else is empty or null. */
struct journal_flip;
struct wire *command_bare_flip(const struct journal_flip *);
/* A failure that is nobody's fault but the world's: internal, with the reason kept. */
int command_failed(struct err *);

#endif
