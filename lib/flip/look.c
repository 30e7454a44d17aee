/*
 * look: what both servers show, for a decision. In this order, per side: recognise the server, kill this
 * flip's own earlier sessions and see them gone, take the lock, match the flip's row, read the state. A side
 * where that could not be done is out of reach. Only then is what a server shows believed.
 */
#include <errno.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/base/str.h"
#include "lib/flip/decide.h"

#define LOOK_LIMIT_MS 2000
/* For new to show that it has the position, when max_blackout ran out while flipd was dead. */
#define REACH_LEAST_MS 1000
/* For a side that is dead by a word to show once more that it is not. */
#define WORD_LAST_MS 500
#define WORD_TRIES 4
#define WORD_AGAIN_MS 40
#define WORD_DOUBTS_MOST 3
/* How much longer than old's the look at new may take while old is closed and no intent lives; in a later
 * life it has to connect first. */
#define NEW_PATIENCE_MS 200
#define NEW_PATIENCE_LATER_MS 1000
#define OLD_EVERY_MS 100

static int MAY_WAIT look_lock(struct flip *f, struct flip_side *s, struct look_side *v)
{
	uint64_t holder = 0;
	enum act act;
	int rc = sess_open(f, s, SESSION_LOCK, flip_deadline(LOOK_LIMIT_MS), &v->err);

	if (rc < 0)
		return rc;
	if (s->locked)
		return 0;
	act = node_lock_take(s->lock, flip_deadline(LOOK_LIMIT_MS), &holder, &v->err);
	if (act == ACT_REFUSED && holder) {
		v->foreign = true; /* this flip's own sessions are gone by now: it is somebody else's */
		return 0;
	}
	if (act != ACT_DONE)
		return flip_rc(act, &v->err);
	s->locked = true;
	f->cluster->lock_session[s->side] = session_get_mark(s->lock)->id;
	return 0;
}

/* A row that says closed although this flip has not closed it was closed by an operator or another flipd. */
static int MAY_WAIT look_row(struct flip *f, struct flip_side *s, struct look_side *v)
{
	struct node_row row;
	struct err err = {0};
	enum act act = node_row_read(s->reaper, f->id, flip_deadline(LOOK_LIMIT_MS), &row, &err);

	if (act == ACT_UNKNOWN) {
		v->err = err;
		return flip_rc(act, &err);
	}
	v->row_closed = act == ACT_DONE && str_eq(row.state, "closed") && f->closing;
	if (act == ACT_DONE && str_eq(row.state, "closed") && !f->closing)
		v->foreign = true;
	if (act == ACT_DONE && !str_eq(row.journal, journal_id(f->journal)))
		v->foreign = true;
	return 0;
}

static void hint_short(struct flip *f, struct look_side *v)
{
	err_hint(&v->err,
		"it was restored, or lost the end of its log in a crash; if the other side has everything, "
		"say: flipctl resolve %s --side %s --as dead",
		f->conf->name, conf_side_name(v->side->side));
}

/*
 * A server that was restored, or has lost the end of its log in a crash, lacks what it had acknowledged:
 * closed, it is not the one that this flip closed, and is out of reach until an operator has seen to it. Once
 * new serves nothing depends on it, and old may be a server that was seeded anew.
 */
static bool log_is_short(struct flip *f, struct look_side *v, const struct facts_position *base)
{
	const struct facts_position *now = &v->proof.position;
	char text[256];

	if (!v->proof.read_only || jn_phase(f) == RECOVER_OPENED ||
		gtid_reached(&now->binlog_state, &base->binlog_state))
		return false;
	err_set(&v->err, -ESTALE, "%s: its log does not hold the journaled position %s",
		v->side->server->conf->name, gtid_format(&base->binlog_state, text, sizeof(text)));
	hint_short(f, v);
	return true;
}

static void judge_side(struct flip *f, struct look_side *v)
{
	const struct facts_position *now = &v->proof.position;
	bool old = v->side == &f->old_side, has_base = old ? f->has_final : f->has_baseline;
	const struct facts_position *base = old ? &f->final : &f->baseline;
	/* Before the final position is known it holds at least what it had right before the fence. */
	const struct facts_position *least = old && !f->has_final ? &f->before : base;

	if ((has_base || (old && f->fence_journaled)) && log_is_short(f, v, least))
		return;

	v->seen.up = true;
	v->seen_us = clock_us();
	v->seen.writable = !v->proof.read_only;
	if (has_base)
		v->beyond = gtid_own_beyond(
			&now->binlog_state, &base->binlog_state, v->side->identity.server_id, &v->first);
	v->seen.beyond = v->beyond > 0;
}

static bool MAY_WAIT look_once(struct flip *f, struct flip_side *s, struct look_side *v)
{
	enum act act = sess_quiet(f, s, flip_deadline(LOOK_LIMIT_MS), &v->err);
	struct session *on;

	if (act != ACT_DONE || look_lock(f, s, v) < 0 || look_row(f, s, v) < 0)
		return false;
	on = v->foreign ? s->reaper : s->lock;
	return node_prove(on, flip_deadline(LOOK_LIMIT_MS), &v->proof, &v->err) == ACT_DONE;
}

/* A session that has gone with a restart of its server shows that only when it is used. */
static bool lost_session(const struct flip_side *s)
{
	return (s->reaper && !session_alive(s->reaper)) || (s->lock && !session_alive(s->lock));
}

/* After a restart of the server the first look only finds the sessions gone: that is not out of reach. */
static void look_fiber(void *arg)
{
	struct look_side *v = arg;
	struct flip *f = v->flip;
	struct flip_side *s = v->side;
	bool seen = look_once(f, s, v);

	for (int i = 0; i < 2 && !seen && v->err.code == -ECONNRESET && lost_session(s); i++) {
		err_clear(&v->err);
		seen = look_once(f, s, v);
	}
	v->answered = seen;
	if (seen)
		judge_side(f, v);
	s->out_of_reach = !v->seen.up;
	if (!v->seen.up)
		err_server(&v->err, s->server->conf->name);
}

/* False while it still runs after that time. */
static bool MAY_WAIT over_within(const struct fiber *fiber, int64_t ms)
{
	int64_t until = flip_deadline(ms);

	while (!fiber_done(fiber) && clock_us() < until)
		if (fiber_sleep_ms(2) < 0)
			break;
	return fiber_done(fiber);
}

static bool lacks(const struct gtid_list *l, const struct gtid *g)
{
	const struct gtid *have = gtid_find(l, g->domain, g->server);

	return !have || have->seq < g->seq;
}

/* What new has received of old's since the fence was prepared, and old itself lacks; or NULL. What new had
 * before says nothing: old may have been seeded anew since. */
static const struct gtid *lost_by_old(const struct flip *f, const struct look *l)
{
	const struct gtid_list *on_new = &l->new_view.proof.position.binlog_state;

	for (int i = 0; i < on_new->n; i++) {
		const struct gtid *g = &on_new->v[i];
		if (g->server == f->old_side.identity.server_id && lacks(&f->baseline.binlog_state, g) &&
			lacks(&l->old_view.proof.position.binlog_state, g))
			return g;
	}
	return NULL;
}

/* The end that old has lost of its log shows on new, too, whatever is in the journal. */
static void compare_logs(struct flip *f, struct look *l)
{
	struct look_side *o = &l->old_view, *n = &l->new_view;
	const struct gtid *lost;

	if (!o->seen.up || o->seen.writable || !n->seen.up || !f->fence_journaled ||
		jn_phase(f) == RECOVER_OPENED || !(lost = lost_by_old(f, l)))
		return;
	err_set(&o->err, -ESTALE, "%s: its log lacks " GTID_FMT " of its own, which %s has",
		o->side->server->conf->name, GTID_OF(lost), n->side->server->conf->name);
	hint_short(f, o);
	o->seen = (struct recover_side){0};
	o->side->out_of_reach = true;
}

/* An operator's word stands for a side that does not answer. One that answers is closed first, where it is
 * open against the word (this look still says so); out of reach once more, it may be anything, and needs a
 * new word. */
static void hold_word(struct flip *f, struct look_side *v)
{
	if (!f->word.said || f->word.side != v->side->side)
		return;
	v->seen.word = f->word.word;
	if (v->seen.up && f->word.word != RECOVER_WORD_NONE)
		f->word.said = f->word.accept_loss = false;
}

/* Without an intent nothing of this flip can have opened new: it must not hold old up, which is closed. A
 * flip that resumes needs both. */
static bool holds_old_up(const struct flip *f, const struct look_side *old_view)
{
	bool resumes = f->recovered && f->policy.on_restart == CONF_RESTART_RESUME;

	return old_view->seen.up && !old_view->seen.writable && f->fence_issued &&
	       jn_phase(f) < RECOVER_INTENT && !resumes;
}

/* In a later life new that lets flipd log in is there: it may have restarted open, and is waited for longer.
 */
static bool MAY_WAIT new_in_time(const struct flip *f, const struct fiber *new_look)
{
	const struct session *s = f->new_side.reaper;

	if (!f->recovered)
		return over_within(new_look, NEW_PATIENCE_MS);
	return over_within(new_look, NEW_PATIENCE_LATER_MS) ||
	       (s && session_alive(s) && over_within(new_look, LOOK_LIMIT_MS));
}

/* The look at new may take seconds, and meanwhile old, which must not be open now, may boot so: it is looked
 * at again and again. Once it is open new counts as out of reach for this look, so that old is closed at
 * once. */
static void MAY_WAIT watch_old(struct flip *f, struct look_side *old_view, struct fiber *new_look)
{
	while (!over_within(new_look, OLD_EVERY_MS) && !fiber_cancelled()) {
		if (old_view->seen.up && old_view->seen.writable) {
			const struct session *s = f->new_side.reaper;
			if (!f->recovered || !s || !session_alive(s) ||
				!over_within(new_look, NEW_PATIENCE_LATER_MS))
				fiber_cancel(new_look);
			return;
		}
		*old_view = (struct look_side){.flip = f, .side = old_view->side};
		look_fiber(old_view);
	}
}

void MAY_WAIT look_both(struct flip *f, struct look *ret)
{
	struct look_side *v[] = {&ret->old_view, &ret->new_view};
	struct fiber *fibers[2];

	memset(ret, 0, sizeof(*ret));
	ret->old_view.side = &f->old_side;
	ret->new_view.side = &f->new_side;
	for (int i = 0; i < 2; i++) {
		v[i]->flip = f;
		fibers[i] = fiber_spawn("look", look_fiber, v[i]);
	}
	fiber_join(fibers[0]);
	if (jn_phase(f) == RECOVER_INTENT || jn_phase(f) == RECOVER_OPENED)
		watch_old(f, &ret->old_view, fibers[1]);
	else if (holds_old_up(f, &ret->old_view) && !new_in_time(f, fibers[1]))
		fiber_cancel(fibers[1]);
	fiber_join(fibers[1]);
	compare_logs(f, ret);
	for (int i = 0; i < 2; i++)
		hold_word(f, v[i]);
}

/* Whether it answers at this very moment. The session may have gone with a restart, which shows only now.
 * *ret_came: it let flipd log in, so it is there, whatever became of the question. *ret_refused: it has
 * answered that with an error, in err. */
static bool MAY_WAIT answers_now(struct flip *f, struct flip_side *s, struct node_proof *ret, bool *ret_came,
	bool *ret_refused, struct err *err)
{
	int64_t end = flip_deadline(WORD_LAST_MS);

	for (int i = 0; i < WORD_TRIES && (i < 2 || clock_us() < end); i++) {
		bool there = s->reaper && session_alive(s->reaper);
		enum act act;

		err_clear(err);
		if (sess_open(f, s, SESSION_REAPER, end, err) < 0) { /* refused, perhaps by chance */
			(void)fiber_sleep_ms(WORD_AGAIN_MS);
			continue;
		}
		*ret_came = *ret_came || !there;
		act = node_prove(s->reaper, flip_deadline(WORD_LAST_MS), ret, err);
		*ret_refused = act == ACT_REFUSED;
		if (act == ACT_DONE)
			return true;
	}
	return false;
}

/*
 * A word stands for a proof that cannot be had. Right before something opens on its strength it is tried once
 * more: the side may have come back while the look at it waited, or while new applied what it had, and one
 * look may fail by chance. A side that answers, closed, and still cannot be looked through does not hold the
 * word up for ever. One that is there and answers the question with an error may be open: it does.
 */
bool MAY_WAIT look_word_holds(struct flip *f, const struct look_side *v, struct err *err)
{
	struct node_proof p;
	bool came = false, refused = false;
	struct err said = {0};
	bool seen = !v->seen.up && answers_now(f, v->side, &p, &came, &refused, &said);

	if (!seen && !came && !refused)
		return true;
	if (!seen && refused) {
		err_server(err, v->side->server->conf->name);
		err_hint(err, "it is not dead: mend what it says, or stop it");
		err_set(err, -EAGAIN, "%s answers, but not whether it is closed: %s",
			v->side->server->conf->name, err_text(&said));
		return false;
	}
	bool closed = seen && p.read_only;
	if ((closed && v->answered) || ((closed || !seen) && f->word_doubts++ >= WORD_DOUBTS_MOST))
		return true;
	err_set(err, -EAGAIN, "%s answers again, %s", v->side->server->conf->name,
		closed ? "closed"
		: seen ? "open to writes"
		       : "but not whether it is closed");
	err_server(err, v->side->server->conf->name);
	return false;
}

/* When waiting for new must end: max_blackout from the fence. */
static int64_t budget_end(const struct flip *f)
{
	int64_t whole = f->policy.max_blackout_ms * 1000, left;

	if (!f->recovered)
		return f->fence_us + whole;
	/* Applications have waited while flipd was dead, too. What new has by now is seen in any case. */
	left = whole - (clock_wall_ms() - f->fence_wall_ms) * 1000 + (clock_us() - f->look_since_us);
	if (left > whole) /* the clock was set back: nobody knows how long they have waited */
		left = 0;
	return f->look_since_us + (left > REACH_LEAST_MS * 1000 ? left : REACH_LEAST_MS * 1000);
}

/* New can get there: its applier runs, and reaches old's final position within max_blackout. */
static bool MAY_WAIT look_reachable(struct flip *f, struct look *l)
{
	int64_t end = budget_end(f);
	struct node_goal goal;

	if (!l->new_view.seen.up || !f->has_final)
		return false;
	goal_of(f, &goal);
	do {
		struct err err = {0};
		enum act act = node_wait_position(f->new_side.reaper, &goal, 1000, flip_deadline(2500), &err);
		if (act == ACT_DONE)
			return true;
		if (act == ACT_UNKNOWN || fiber_sleep_ms(10) < 0)
			return false;
	} while (clock_us() < end);
	return false;
}

/* max_blackout is not over, counted by the clock: one that was set back does not tell. */
static bool in_time(const struct flip *f)
{
	int64_t gone_ms = clock_wall_ms() - f->fence_wall_ms;

	return gone_ms >= 0 && gone_ms < f->policy.max_blackout_ms;
}

/* Whatever a server went through that has restarted since the fence, its position does not tell. */
static bool same_boot(const struct flip *f)
{
	return f->old_side.lock &&
	       facts_same_boot(&f->fenced_boot, &session_get_mark(f->old_side.lock)->server);
}

void MAY_WAIT look_input(struct flip *f, struct look *l, struct recover_input *ret)
{
	memset(ret, 0, sizeof(*ret));
	/* Its row closed by itself it was over, and only its outcome is not in the journal. Masters may have
	 * changed since. */
	ret->phase = l->old_view.row_closed || l->new_view.row_closed ? RECOVER_ENDED : jn_phase(f);
	ret->old_side = l->old_view.seen;
	ret->new_side = l->new_view.seen;
	ret->foreign = l->old_view.foreign || l->new_view.foreign;
	ret->row_written = f->row_written;
	ret->guard_fence = f->policy.guard == CONF_GUARD_FENCE;
	/* A loss accepted for a side that is dead is not accepted once it answers. */
	ret->accept_loss = f->word.said && f->word.accept_loss &&
			   (f->word.word == RECOVER_WORD_NONE ||
				   !(f->word.side == f->from ? l->old_view : l->new_view).seen.up);
	ret->settle_over = settle_over(f);
	ret->old_reopened = f->old_reopened;
	/* An abort or a budget that ran out does not wait for a position: back is where it was told to go. */
	bool closed = l->new_view.seen.up && !l->new_view.seen.writable && !l->new_view.seen.beyond;
	/* Only of an old side at its final position is it asked whether new gets there: any other is not kept
	 * waiting. */
	const struct recover_side *o = &l->old_view.seen;
	bool old_final = o->up ? !o->writable && !o->beyond : o->word != RECOVER_WORD_NONE;
	/* An intent that may not be on disk permits nothing: it is revoked. */
	if (ret->phase == RECOVER_INTENT && closed && old_final && f->intent_durable && !f->aborting &&
		!f->out_of_time && clock_us() < budget_end(f))
		ret->position_reachable = look_reachable(f, l);
	ret->position_reached = ret->position_reachable;
	/* An operator's word comes when it comes: what new has by then counts, whatever time is over. */
	if (!ret->position_reached && !l->old_view.seen.up && l->old_view.seen.word && l->new_view.seen.up &&
		!l->new_view.seen.writable)
		ret->position_reached = f->opened || look_reachable(f, l);
	ret->resume = f->policy.on_restart == CONF_RESTART_RESUME && f->recovered &&
		      ret->phase == RECOVER_FENCED && !f->aborting && !f->intent && l->old_view.seen.up &&
		      !l->old_view.seen.writable && !l->old_view.seen.beyond && closed && f->has_final &&
		      same_boot(f) && in_time(f);
}
