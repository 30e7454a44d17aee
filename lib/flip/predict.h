/*
 * predict: how long writes would stand still in a flip, from parts that were measured without stopping one.
 * Pure. Times in us.
 */
#ifndef FLIP_PREDICT_H
#define FLIP_PREDICT_H

#include "lib/base/base.h"
#include "lib/base/str.h"

/* What a rehearsal measured, and in which order the flip would go. */
struct predict_parts {
	bool guarded;	      /* the guarded opening; else the plain order */
	bool kill_late;	      /* sessions are killed once new serves */
	bool gtid;	      /* else by file and position */
	int64_t old_us;	      /* a round trip to old */
	int64_t new_us;	      /* a round trip to new */
	int64_t write_us;     /* a logged write on old: the fence waits for those that are under way */
	int64_t apply_us;     /* from such a write's acknowledgement until new says that it has it */
	int64_t blocked_us;   /* what stands in the way of the fence now */
	int64_t kill_us;      /* killing the sessions that are there now, until none is left */
	int64_t endpoints_us; /* the slowest endpoint that must accept before new opens */
	int64_t journal_us;   /* a durable record */
	int64_t verify_us;    /* what `verify` reads on new */
	int64_t old_fences_us, new_fences_us; /* fences other than read_only */
};

/* By the steps on the way; 0 where one costs nothing. */
struct prediction {
	int64_t fence_us, kill_us, endpoints_us, sync_us, verify_us, intent_us, open_us;
	int64_t total_us; /* their sum: from the issue of the fence to the answer that new is open */
};

void predict(const struct predict_parts *, struct prediction *ret);
/* "3.1 ms: fence 1.2, intent 0.4, open 1.5". */
void predict_text(const struct prediction *, struct strbuf *);

#endif
