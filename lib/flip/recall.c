/*
 * recall: what the last rehearsal predicted, for the flip that follows. It is read from the journal, so that
 * it outlives flipd. It counts for a week, while the cluster is configured as it was and both servers run
 * since before.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/base/str.h"
#include "lib/flip/flip_priv.h"

#define LOOK_BACK 20 /* rehearsals, either way, whatever their end */
#define COUNTS_MS (7 * 24 * 3600 * INT64_C(1000))

/* The newest in this direction that went through. */
static const struct journal_flip *newest(const struct flip *f, const struct journal_flip *list, int n)
{
	for (int i = 0; i < n; i++)
		if (str_eq(list[i].to, conf_side_name(f->to)) && str_eq(list[i].outcome, "done"))
			return &list[i];
	return NULL;
}

static bool as_configured(const struct flip *f, const struct journal_flip *r)
{
	char *config = conf_print_cluster(f->conf);
	bool same = str_eq(config, r->config);

	free(config);
	return same && f->started_wall_ms - r->ended_at_ms < COUNTS_MS;
}

static bool same_boot(const struct flip_side *s, const struct wire *mark)
{
	struct session_mark m;

	return jn_read_mark(mark, &m) == 0 && facts_same_boot(&m.server, &session_get_mark(s->lock)->server);
}

/* -1: no prediction that counts. */
static int64_t prediction_of(const struct flip *f, const struct journal_record *records, int n)
{
	int64_t us = -1;

	for (int i = 0; i < n; i++) {
		struct wire *d = NULL;

		if (!str_eq(records[i].kind, "predicted") ||
			wire_parse(records[i].data, strlen(records[i].data), &d, NULL) < 0)
			continue;
		if (same_boot(&f->old_side, wire_get(d, "old")) &&
			same_boot(&f->new_side, wire_get(d, "new")))
			us = wire_get_int(d, "us", -1);
		wire_free(d);
	}
	return us;
}

static void MAY_WAIT look_up(struct flip *f)
{
	struct arena *a CLEANUP(arena_freep) = arena_new();
	struct journal_flip *list = NULL, one;
	struct journal_record *records = NULL;
	const struct journal_flip *r;
	struct err ignored = {0};
	int n = 0;

	if (journal_past(f->journal, a, f->conf->name, true, LOOK_BACK, &list, &n, &ignored) < 0)
		return;
	r = newest(f, list, n);
	if (!r || !as_configured(f, r) ||
		journal_load(f->journal, a, r->id, &one, &records, &n, &ignored) < 0)
		return;
	f->predicted_us = prediction_of(f, records, n);
	if (f->predicted_us >= 0)
		flip_step_detail(f, "lock", "rehearsal %s predicted a blackout of %.1f ms", r->id,
			(double)f->predicted_us / 1000);
}

/* That nothing can be read is no reason to end a flip; a cancel is kept for what follows. */
void MAY_WAIT recall_prediction(struct flip *f)
{
	struct wire *d;

	fiber_shield();
	look_up(f);
	fiber_unshield();
	if (f->predicted_us < 0)
		return;
	d = wire_object();
	wire_set_int(d, "us", f->predicted_us);
	(void)!jn_write(f, "predicted", "", d, false, NULL);
}
