/*
 * predict: two chains run side by side from the fence on. Statements follow one another, each taking what
 * its round trip was measured to take; and old's last write travels to new. They meet in the statement that
 * waits in new: the opening itself, or `sync` in the plain order.
 */
#include "lib/flip/predict.h"

static int64_t later(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

/* The statement that waits on new, sent at_us after the fence was issued. */
static int64_t wait_us(const struct predict_parts *p, int64_t fence_us, int64_t at_us)
{
	return later(at_us + p->new_us, fence_us + p->apply_us) - at_us;
}

void predict(const struct predict_parts *p, struct prediction *ret)
{
	struct prediction r = {0};

	r.fence_us = later(p->old_us, p->write_us) + p->blocked_us + p->old_fences_us;
	if (!p->kill_late) /* a proof with the fence, the kill, and the position after the last victim */
		r.kill_us = p->old_us + p->kill_us + p->old_us;
	r.endpoints_us = p->endpoints_us;
	r.intent_us = later(p->journal_us, p->old_us); /* old's last proof goes beside the record */
	if (p->guarded) {
		r.open_us = wait_us(p, r.fence_us, r.fence_us + r.kill_us + r.endpoints_us + r.intent_us);
	} else {
		r.sync_us = wait_us(p, r.fence_us, r.fence_us + r.kill_us + r.endpoints_us);
		r.sync_us += p->gtid ? 0 : p->new_us; /* where replicas go on from */
		r.verify_us = p->new_us + p->verify_us;
		r.open_us = p->old_us + p->new_us; /* the proof again, right before */
	}
	r.open_us += p->new_fences_us;
	r.total_us =
		r.fence_us + r.kill_us + r.endpoints_us + r.sync_us + r.verify_us + r.intent_us + r.open_us;
	*ret = r;
}

void predict_text(const struct prediction *p, struct strbuf *b)
{
	const struct {
		const char *step;
		int64_t us;
	} parts[] = {{"fence", p->fence_us}, {"kill", p->kill_us}, {"endpoints", p->endpoints_us},
		{"sync", p->sync_us}, {"verify", p->verify_us}, {"intent", p->intent_us},
		{"open", p->open_us}};
	const char *between = ": ";

	strbuf_addf(b, "%.1f ms", (double)p->total_us / 1000);
	for (size_t i = 0; i < COUNT_OF(parts); i++) {
		if (parts[i].us == 0)
			continue;
		strbuf_addf(b, "%s%s %.1f", between, parts[i].step, (double)parts[i].us / 1000);
		between = ", ";
	}
}
