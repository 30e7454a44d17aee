/* heartbeat: keeps SCHEMA.heartbeat on the master fresh, so that lag is measured by what new shows, not by
 * guesses. */
#ifndef CLUSTER_HEARTBEAT_H
#define CLUSTER_HEARTBEAT_H

/* The fiber's body; arg is the struct cluster. */
void heartbeat_fiber_main(void *arg);

#endif
