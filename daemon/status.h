/* status: the status document, a cluster at a time, and the short line for `systemctl status`. */
#ifndef DAEMON_STATUS_H
#define DAEMON_STATUS_H

#include "lib/base/base.h"

struct server;
struct strbuf;
struct watched;
struct wire;

/* For what prints all clusters to whoever only looks, before each part of it: of all of them one goes on at a
 * time, and others have their turn in between. Where clusters are few a whole document costs no more than a
 * part, and waits for nobody. */
void MAY_WAIT status_await_turn(const struct server *);
/* One element of the document's clusters; a new value. */
struct wire *status_cluster(struct watched *);
/* {"clusters":[...]} as text: all, or those named. names NULL: all. Lets others run between clusters. */
void MAY_WAIT status_print(struct server *, const char *const *names, int nnames, struct strbuf *);
/* What to do about a flip in the journal that cannot be taken up; the caller frees it. */
char *status_way_out(const struct watched *);
/* STATUS= for systemd, when it has changed. */
void status_tell(struct server *);

#endif
