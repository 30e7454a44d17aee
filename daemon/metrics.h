/* metrics: histograms that the daemon keeps, and everything in Prometheus' text format. */
#ifndef DAEMON_METRICS_H
#define DAEMON_METRICS_H

#include "lib/base/base.h"

struct flip;
struct server;
struct strbuf;

void metrics_observe_poll(int64_t us);
/* A flip that has ended: its steps and its blackout. */
void metrics_observe_flip(const struct flip *);
/* The whole exposition. Lets others run between clusters. */
void MAY_WAIT metrics_print(struct server *, struct strbuf *);

#endif
