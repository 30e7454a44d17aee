/* state: what watch.c asks after each poll; see state.c. */
#ifndef DAEMON_STATE_H
#define DAEMON_STATE_H

#include "lib/cluster/cluster.h"

struct watched;

void state_note_poll(struct watched *, const struct cluster_server *);
/* Who is master by all polls; watched.master as it was where they do not fit together. */
enum cluster_master state_find_master(const struct watched *);
/* A flip has changed who takes writes: what was seen before counts no more. look_now: the pollers look at
 * once. */
void state_changed(struct watched *, bool look_now);
/* Both sides have been looked at since then. */
bool state_looked_since(const struct watched *);
/* Background readiness, once for each pair of polls. */
void state_judge(struct watched *);

#endif
