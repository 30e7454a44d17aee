/*
 * decide: the loop, and the ends. Shielded from the cancel that caused it; between looks a second cancel
 * (flipd is told to stop) leaves the flip unfinished in the journal, for the next start.
 */
#include "lib/flip/decide.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/base/str.h"

#define LOOK_AGAIN_MS 200
#define OLD_EVERY_MS 100

void decide_skip_rest(struct flip *f)
{
	for (int i = 1; i < steps_count; i++)
		if (f->st[i].status == STEP_PENDING)
			f->st[i].status = STEP_WAS_SKIPPED;
}

void MAY_WAIT decide_end(struct flip *f, enum flip_outcome outcome)
{
	struct err err = {0};

	f->outcome = outcome;
	if (f->probe) {
		if (f->opened)
			probe_await_new(f->probe, flip_deadline(ROUND_TRIP_MS));
		probe_stop(f->probe, &f->probe_result);
		f->probe = NULL;
		f->has_probe_result = true;
	}
	session_close(f->fence_probe);
	f->fence_probe = NULL;
	accounts_tell_left(f);
	fiber_join(f->told); /* what follows an opening is told before its end */
	f->told = NULL;
	if (f->hooks_begun &&
		(outcome == FLIP_ROLLED_BACK || outcome == FLIP_ABORTED || outcome == FLIP_REFUSED))
		(void)hooks_run(f, &f->conf->hooks.after_rollback, "after_rollback", false, &err);
	if (outcome == FLIP_OUTCOME_STUCK)
		(void)hooks_run(f, &f->conf->hooks.on_stuck, "on_stuck", false, &err);
	else if (f->journal_begun && !f->request.rehearsal) /* they would take it for a flip */
		(void)hooks_run(f, &f->conf->hooks.after_end, "after_end", false, &err);
	flip_end(f, outcome);
}

static void journal_decision(struct flip *f, const struct recover_decision *d)
{
	struct wire *w = wire_object();
	struct log_ctx ctx = {.cluster = f->conf->name, .flip_id = f->id};

	wire_set_str(w, "row", d->row);
	wire_set_str(w, "action", recover_action_name(d->action));
	wire_set_str(w, "why", d->why);
	log_at(LOG_LEVEL_DEBUG, &ctx, "decided: %s: %s: %s", d->row, recover_action_name(d->action), d->why);
	(void)!jn_write(f, "decide", "", w, false, NULL);
}

void MAY_WAIT decide_warn(struct flip *f, const char *fmt, ...)
{
	int before = f->nwarnings;
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	flip_warn(f, "%s", text);
	if (f->nwarnings == before)
		return;
	struct wire *w = wire_object();
	wire_set_str(w, "text", f->warnings[before]);
	(void)!jn_write(f, "warning", "", w, false, NULL);
}

/* What a decision needs of the way it came: nothing of the flip's still runs in this process. */
static void MAY_WAIT decide_begin(struct flip *f)
{
	while (fiber_cancelled())
		(void)fiber_yield();
	fiber_shield();
	flip_emit_kept(f);
	runner_stop_all(f);
	guard_stop(f);
	fiber_stop(f->budget);
	f->budget = NULL;
	fence_write_drop(f);
	if (!f->look_since_us)
		f->look_since_us = clock_us();
	if (!f->opened)
		f->rolling_back = true;
	probe_allow(f->probe, f->from, false);
	probe_allow(f->probe, f->to, f->opened);
	f->cluster->heartbeat_paused = true; /* until a side is open for certain */
}

/* Told to stop, flipd leaves a flip only where that leaves no side closed that could be open: applications
 * are served, or nothing was fenced, or all the time that max_blackout gives is over. */
static bool may_leave(const struct flip *f)
{
	int64_t from = f->recovered ? f->look_since_us : f->fence_us;

	return f->opened || jn_phase(f) == RECOVER_BEFORE_FENCE ||
	       clock_us() > from + f->policy.max_blackout_ms * 1000;
}

/* False when flipd was told to stop meanwhile: the next start goes on. */
static bool MAY_WAIT decide_wait(struct flip *f, int64_t ms)
{
	int rc;

	flip_set_state(f, FLIP_RECOVERING);
	fiber_unshield();
	rc = fiber_sleep_ms(f->terminating && may_leave(f) ? 0 : ms);
	fiber_shield();
	(void)rc; /* a cancel only ends the wait */
	return !(f->terminating && may_leave(f));
}

void MAY_WAIT decide_run(struct flip *f)
{
	const char *last_row = NULL;
	int64_t pause_ms = LOOK_AGAIN_MS;

	decide_begin(f);
	for (;;) {
		struct look look;
		struct recover_input in;
		struct recover_decision d;
		enum decide_next next;

		guard_stop(f); /* it works with the very sessions that are looked through */
		fiber_doing("looking at both servers");
		look_both(f, &look);
		look_input(f, &look, &in);
		recover_decide(&in, &d);
		if (d.row != last_row)
			journal_decision(f, &d);
		pause_ms = d.row == last_row && pause_ms < 2000 ? pause_ms * 2 : LOOK_AGAIN_MS;
		if ((d.action == RECOVER_DO_WAIT && in.phase != RECOVER_FENCED) ||
			(in.phase == RECOVER_INTENT && in.new_side.up && in.new_side.writable))
			pause_ms = OLD_EVERY_MS; /* old must not be open now, and may boot so */
		last_row = d.row;
		if (d.alarm)
			decide_warn(f, "ALARM: %s", d.why);
		fiber_doing("%s: %s", recover_action_name(d.action), d.why);
		next = decide_act(f, &d, &look);
		if (next == DECIDE_ENDED)
			break;
		if (next != DECIDE_LATER)
			continue;
		if (f->opened) /* the same */
			guard_start(f);
		if (!decide_wait(f, pause_ms))
			break;
	}
	guard_stop(f);
	if (f->state != FLIP_STUCK) /* flip_set_state() has seen to that */
		cluster_heartbeat_resume(f->cluster, f->opened ? (int)f->to : -1);
	fiber_unshield();
}

/* --- the two ways in
 * ----------------------------------------------------------------------------------------- */

static int MAY_WAIT begin_journal(struct flip *f, struct err *err)
{
	char *config = conf_print_cluster(f->conf);
	struct journal_flip jf = {.id = f->id,
		.cluster = f->conf->name,
		.group = f->request.group,
		.from = conf_side_name(f->from),
		.to = conf_side_name(f->to),
		.state = "running",
		.started_at_ms = f->started_wall_ms,
		.config = config,
		.rehearsal = f->request.rehearsal};
	struct wire *d = wire_object();
	int rc = journal_begin(f->journal, &jf, err);

	free(config);
	wire_set_str(d, "user", f->request.user);
	wire_set_int(d, "uid", f->request.uid);
	wire_set_int(d, "pid", f->request.pid);
	wire_set_int(d, "max_blackout_ms", f->policy.max_blackout_ms);
	if (rc < 0) {
		wire_free(d);
		return rc;
	}
	f->journal_begun = true;
	return jn_write(f, "requested", "", d, false, err);
}

/* `to` is master already: all as after a flip is nothing_to_do, anything else is refused by preflight. */
static bool already_there(const struct flip *f)
{
	const struct facts *to = &f->new_side.server->facts, *from = &f->old_side.server->facts;
	const struct facts_channel *ch;

	if (!to->up || !from->up || to->read_only || !from->read_only)
		return false;
	ch = facts_channel_from(from, to->id.server_id, NULL, 0);
	return ch && str_ieq(ch->io, "Yes") && str_ieq(ch->sql, "Yes") &&
	       !facts_channel_from(to, from->id.server_id, NULL, 0);
}

static void MAY_WAIT run_failed(struct flip *f, int rc)
{
	bool in_preflight = !f->st[1].begun;

	if (in_preflight && rc != -ECANCELED) {
		decide_skip_rest(f);
		decide_end(f, FLIP_REFUSED);
		return;
	}
	if (in_preflight) {
		decide_begin(f);
		decide_end(f, FLIP_ABORTED);
		fiber_unshield();
		return;
	}
	if (f->terminating && f->opened)
		return; /* settling: the next start goes on */
	decide_run(f);
}

/* Nothing of this flip runs on once its own fiber returns. */
static void MAY_WAIT stop_fibers(struct flip *f)
{
	fiber_shield();
	runner_stop_all(f);
	guard_stop(f);
	fiber_stop(f->budget);
	fiber_stop(f->told);
	f->budget = f->told = NULL;
	fence_write_drop(f);
	probe_stop(f->probe, NULL);
	f->probe = NULL;
	fiber_unshield();
	f->fiber = NULL;
}

void MAY_WAIT flip_run(struct flip *f)
{
	struct err err = {0};
	int rc;

	f->fiber = fiber_self();
	if (already_there(f)) {
		f->id[0] = '\0';
		decide_end(f, FLIP_NOTHING_TO_DO);
		stop_fibers(f);
		return;
	}
	rc = begin_journal(f, &err);
	if (rc < 0) {
		flip_fail(f, "preflight", &err);
		decide_end(f, FLIP_REFUSED);
	} else {
		flip_emit(f, "accepted", NULL);
		rc = runner_run(f, NULL, &err);
		if (rc == 0 && f->request.rehearsal)
			rc = rehearse(f, &err);
		if (rc < 0)
			run_failed(f, rc);
		else if (f->request.rehearsal)
			decide_run(f); /* back, as from any flip that ends before its fence */
		else
			decide_end(f, FLIP_DONE);
	}
	stop_fibers(f);
}

void MAY_WAIT flip_recover(struct flip *f)
{
	f->fiber = fiber_self();
	f->recovered = true;
	f->error = (struct err){0};
	f->error_step[0] = '\0';
	f->look_since_us = clock_us();
	f->fence_us = clock_us(); /* of this life: what is still to be waited for counts from here */
	f->opened_us = f->undo_since_us = 0;
	f->old_out = f->mismatch = f->aborting = f->out_of_time = false;
	f->stop_why[0] = '\0';
	f->outcome = FLIP_NO_OUTCOME;
	flip_set_state(f, FLIP_RECOVERING);
	decide_run(f);
	stop_fibers(f);
}

int MAY_WAIT flip_set_word(struct flip *f, const struct flip_word *word, struct err *err)
{
	struct wire *d = wire_object();
	int rc;

	wire_set_str(d, "side", conf_side_name(word->side));
	wire_set_str(d, "as",
		word->word == RECOVER_WORD_DEAD	    ? "dead"
		: word->word == RECOVER_WORD_FENCED ? "fenced"
						    : NULL);
	wire_set_bool(d, "accept_loss", word->accept_loss);
	wire_set_str(d, "user", word->user);
	wire_set_int(d, "uid", word->uid);
	rc = jn_write(f, "word", "", d, true, err);
	if (rc == 0) {
		f->word = *word;
		f->word.said = true;
		f->word_doubts = 0;
	}
	return rc;
}

int MAY_WAIT flip_explain(
	struct flip *f, const struct flip_word *word, char **ret_text, bool *ret_may_lose, struct err *err)
{
	const struct flip_word before = f->word;
	struct strbuf b = {0};
	struct look look;
	struct recover_input in;
	struct recover_decision d;
	struct look_side *v[2];

	(void)err;
	f->look_since_us = clock_us();
	if (word && (word->said || word->accept_loss)) {
		f->word = *word;
		f->word.said = true;
	}
	look_both(f, &look);
	look_input(f, &look, &in);
	f->word = before;
	recover_decide(&in, &d);
	v[0] = &look.old_view;
	v[1] = &look.new_view;
	for (int i = 0; i < 2; i++) {
		const char *name = v[i]->side->server->conf->name;
		if (!v[i]->seen.up)
			strbuf_addf(&b, "%s: out of reach: %s\n", name, err_text(&v[i]->err));
		else
			strbuf_addf(&b,
				"%s: %s, at %s:%llu, %llu transactions of its own after the journaled "
				"position\n",
				name, v[i]->seen.writable ? "open to writes" : "closed",
				v[i]->proof.position.file, (unsigned long long)v[i]->proof.position.pos,
				(unsigned long long)v[i]->beyond);
	}
	strbuf_addf(&b, "journal: %s\nwhat follows: %s (%s)\n", recover_phase_name(in.phase),
		recover_action_name(d.action), d.why);
	*ret_may_lose = d.action == RECOVER_DO_FAILOVER || d.action == RECOVER_DO_OPEN_OLD_LOSS ||
			d.action == RECOVER_DO_STUCK;
	*ret_text = xstrdup(strbuf_str(&b));
	strbuf_free(&b);
	flip_close_sessions(f);
	return 0;
}
