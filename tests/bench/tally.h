/*
 * tally: what all writers saw together: who acknowledged last, when the master changed, the gaps and the
 * errors. Called from every writer's thread; times are monotonic microseconds of one host.
 */
#ifndef BENCH_TALLY_H
#define BENCH_TALLY_H

#include <stdint.h>
#include <stdio.h>

struct tally;
struct tally *tally_new(int writers);
void tally_free(struct tally *); /* takes NULL */

/* n writes acknowledged together. */
void tally_acked(struct tally *, int writer, int server, int64_t began_us, int64_t ended_us, int n);
void tally_refused(struct tally *, unsigned err, int n); /* the server said no: not written */
void tally_unknown(struct tally *, unsigned err, int n); /* the answer was lost: may be written */
void tally_unconnected(struct tally *, unsigned err);
/* How many writers have had an acknowledged write. */
int tally_begun(struct tally *);
/* One JSON document. */
void tally_print(struct tally *, FILE *out);

#endif
