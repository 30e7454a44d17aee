/*
 * adopt: taking up what an earlier life of flipd left: flips that the journal shows as unfinished, and what
 * each cluster's last flip was. An unfinished flip is recovered with the configuration that it began with.
 */
#ifndef DAEMON_ADOPT_H
#define DAEMON_ADOPT_H

#include "lib/base/err.h"
#include "lib/io/fiber.h"

struct server;

/* Loads every unfinished flip; before the configured clusters are made. 0, or why the journal cannot be read.
 */
int MAY_WAIT adopt_unfinished(struct server *, struct err *) MUSTCHECK;
/* Begins their recovery, stuck ones apart, and reads the last flips; after the clusters are started. */
void adopt_begin(struct server *);
/* What the journal says of a cluster's last flips: last_flip, what is guarded. For one that a reload brings.
 */
void MAY_WAIT adopt_last(struct server *, const char *name);

#endif
