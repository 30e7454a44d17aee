/*
 * reload: the configuration read anew, whole or not at all. Clusters whose configuration is the same are left
 * alone; one in flip keeps what it started with and is replaced when the flip has ended.
 */
#ifndef DAEMON_RELOAD_H
#define DAEMON_RELOAD_H

#include <sys/types.h>

#include "lib/base/err.h"

struct server;
struct strbuf;
struct wire;

/*
 * *ret_changed: the names of clusters and groups that are new, gone or different; a new array. -EBADMSG:
 * every error in *errors, one a line, and nothing is taken.
 */
int MAY_WAIT reload(
	struct server *, struct wire **ret_changed, struct strbuf *errors, struct err *) MUSTCHECK;
/* The same, asked for by a signal: the log tells. Spawns a fiber. */
void reload_from_signal(struct server *);
/* control_group's gid, looked up where that may take its time; (gid_t)-1: none. Logs what is wrong with it.
 */
gid_t MAY_WAIT reload_find_group(const struct server *);

#endif
