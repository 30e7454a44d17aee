/* settings: what `events` switched off comes on again, on new once it serves. Tried again: a setting that is
 * forgotten shows weeks later, when an event has not run or a master has crashed. */
#include "lib/base/clock.h"
#include "lib/flip/flip_priv.h"

#define TRIES 4
#define TRY_AGAIN_MS 100

typedef enum act (*setter)(struct flip *, struct session *, int64_t deadline_us, struct err *);

static void MAY_WAIT switch_on(struct flip *f, setter set, const char *what)
{
	const char *name = f->new_side.server->conf->name;
	struct err err = {0};

	for (int i = 0; i < TRIES; i++) {
		err_clear(&err);
		if (sess_open(f, &f->new_side, SESSION_ACT, flip_deadline(ROUND_TRIP_MS), &err) == 0 &&
			set(f, f->new_side.act, flip_deadline(ROUND_TRIP_MS), &err) == ACT_DONE)
			return;
		if (fiber_sleep_ms(TRY_AGAIN_MS) < 0)
			break;
	}
	flip_warn(f, "%s of %s could not be switched on: %s", what, name, err_text(&err));
}

static enum act MAY_WAIT events_on(struct flip *f, struct session *s, int64_t deadline_us, struct err *err)
{
	return node_enable_events(s, f->events, f->nevents, deadline_us, err);
}

static enum act MAY_WAIT scheduler_on(struct flip *f, struct session *s, int64_t deadline_us, struct err *err)
{
	(void)f;
	return node_set_event_scheduler(s, true, deadline_us, err);
}

static enum act MAY_WAIT semi_sync_on(struct flip *f, struct session *s, int64_t deadline_us, struct err *err)
{
	(void)f;
	return node_set_semi_sync_master(s, true, deadline_us, err);
}

/* Events first: a scheduler that starts without them would pass them over. */
void MAY_WAIT settings_scheduler_on(struct flip *f)
{
	if (f->nevents)
		switch_on(f, events_on, "the events");
	if (f->scheduler_changed)
		switch_on(f, scheduler_on, "the event scheduler");
}

void MAY_WAIT settings_semi_sync_on(struct flip *f)
{
	if (f->semi_sync_changed)
		switch_on(f, semi_sync_on, "semi-sync");
}
