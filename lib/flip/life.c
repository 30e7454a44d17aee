/*
 * life: one flip from its making to its end, and who is told of it. The only place that changes its state.
 *
 *     RUNNING --> ENDED          RUNNING --> RECOVERING (a roll back that cannot finish, a restart)
 *     RUNNING --> STUCK          STUCK --> RECOVERING --> ENDED | STUCK
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/base/str.h"
#include "lib/flip/flip_priv.h"

static const char *const state_names[] = {[FLIP_SCHEDULED] = "scheduled",
	[FLIP_RUNNING] = "running",
	[FLIP_RECOVERING] = "recovering",
	[FLIP_STUCK] = "stuck",
	[FLIP_ENDED] = "ended"};
static const char *const outcome_names[] = {[FLIP_DONE] = "done",
	[FLIP_NOTHING_TO_DO] = "nothing_to_do",
	[FLIP_REFUSED] = "refused",
	[FLIP_ABORTED] = "aborted",
	[FLIP_ROLLED_BACK] = "rolled_back",
	[FLIP_OUTCOME_STUCK] = "stuck"};

const char *flip_state_name(enum flip_state s)
{
	return state_names[s];
}

const char *flip_outcome_name(enum flip_outcome o)
{
	return outcome_names[o];
}

/* Sortable by time, unique by pid and a counter: "20261121-064512-3f2a-1". */
static void flip_make_id(char *buf, size_t size)
{
	static unsigned counter;
	char t[32];

	clock_format_rfc3339(clock_wall_ms(), t, sizeof(t));
	(void)snprintf(buf, size, "%.4s%.2s%.2s-%.2s%.2s%.2s-%.3s-%x%02x", t, t + 5, t + 8, t + 11, t + 14,
		t + 17, t + 20, (unsigned)getpid() & 0xffff, ++counter & 0xff);
}

static void flip_init_sides(struct flip *f)
{
	struct cluster *c = f->cluster;

	f->old_side = (struct flip_side){.side = f->from, .server = &c->side[f->from]};
	f->new_side = (struct flip_side){.side = f->to, .server = &c->side[f->to]};
	f->ctx = (struct provider_ctx){.cluster = f->conf->name,
		.run = f->run,
		.flip_id = f->id,
		.step = "",
		.from = f->from,
		.to = f->to,
		.old_server = &f->conf->side[f->from],
		.new_server = &f->conf->side[f->to]};
}

static struct flip *flip_alloc(struct cluster *c, struct journal *j, const char *run)
{
	struct flip *f = xcalloc(1, sizeof(*f));

	f->cluster = c;
	f->snapshot = conf_ref(c->snapshot);
	f->conf = c->conf;
	f->policy = c->conf->policy;
	f->journal = j;
	f->arena = arena_new();
	f->predicted_us = -1;
	str_copy(f->run, sizeof(f->run), run);
	if (gethostname(f->host, sizeof(f->host) - 1) < 0)
		str_copy(f->host, sizeof(f->host), "unknown"); /* GCOVR_EXCL_LINE: no host has such a name */
	f->ends = xcalloc((size_t)c->conf->nendpoints + 1, sizeof(*f->ends));
	for (int i = 0; i < STEPS_MAX; i++)
		f->st[i].duration_us = -1;
	return f;
}

struct flip *flip_new(struct cluster *c, struct journal *j, const struct flip_request *rq, const char *run)
{
	struct flip *f = flip_alloc(c, j, run);

	f->request = *rq;
	if (rq->group)
		f->request.group = arena_strdup(f->arena, rq->group);
	f->to = rq->to;
	f->from = rq->to == CONF_TARGET ? CONF_SOURCE : CONF_TARGET;
	if (rq->max_lag_ms >= 0)
		f->policy.max_lag_ms = rq->max_lag_ms;
	if (rq->max_blackout_ms >= 0)
		f->policy.max_blackout_ms = rq->max_blackout_ms;
	flip_make_id(f->id, sizeof(f->id));
	f->started_wall_ms = clock_wall_ms();
	f->state = FLIP_RUNNING;
	flip_init_sides(f);
	return f;
}

/* While a flip is stuck before its opening, what is open may be a hand's doing: a beat there would be a
 * transaction of its own, and in the way of whatever the operator decides. */
static void heartbeat_settle(struct flip *f)
{
	if (f->state == FLIP_STUCK && !f->opened)
		f->cluster->heartbeat_paused = true;
	else
		cluster_heartbeat_resume(f->cluster, f->opened ? (int)f->to : -1);
}

/* Nothing is done before an operator has looked. */
static void wait_for_resolve(struct flip *f, struct err *why)
{
	f->state = FLIP_STUCK;
	f->outcome = FLIP_OUTCOME_STUCK;
	err_hint(why, "see what both servers show, then: flipctl resolve %s", f->conf->name);
	flip_fail(f, "", why);
	accounts_tell_left(f);
}

/* After so long the servers may have been in somebody's hands. */
static int check_age(const struct flip *f, struct err *err)
{
	if (f->state == FLIP_STUCK || clock_wall_ms() - f->started_wall_ms <= f->policy.recover_within_ms)
		return 0;
	return err_set(err, -ETIME,
		"the flip was left unfinished for longer than recover_within; nothing has been touched "
		"since");
}

/* Which side is old decides everything: it is not guessed. */
static int read_sides(struct flip *f, const struct journal_flip *jf, struct err *err)
{
	bool to_target = str_eq(jf->to, "target") && str_eq(jf->from, "source");

	if (!to_target && !(str_eq(jf->to, "source") && str_eq(jf->from, "target")))
		return err_set(err, -EBADMSG,
			"the journal is damaged: flip %s went from \"%.32s\" to \"%.32s\"", f->id, jf->from,
			jf->to);
	f->to = f->request.to = to_target ? CONF_TARGET : CONF_SOURCE;
	f->from = to_target ? CONF_SOURCE : CONF_TARGET;
	return 0;
}

int MAY_WAIT flip_load(struct cluster *c, struct journal *j, const char *id, const char *run,
	struct flip **ret, struct err *err)
{
	struct flip *f = flip_alloc(c, j, run);
	struct journal_flip jf = {0};
	struct journal_record *records = NULL;
	struct err why = {0};
	int n = 0, rc = journal_load(j, f->arena, id, &jf, &records, &n, err);

	str_copy(f->id, sizeof(f->id), id);
	if (rc == 0)
		rc = read_sides(f, &jf, err);
	if (rc < 0) {
		flip_free(f);
		return rc;
	}
	f->recovered = f->journal_begun = true;
	f->request.group = jf.group;
	f->request.rehearsal = jf.rehearsal;
	f->started_wall_ms = jf.started_at_ms;
	f->state = str_eq(jf.state, flip_state_name(FLIP_STUCK)) ? FLIP_STUCK : FLIP_RECOVERING;
	if (f->state == FLIP_STUCK)
		f->outcome = FLIP_OUTCOME_STUCK;
	flip_init_sides(f);
	if (jf.document && wire_parse(jf.document, strlen(jf.document), &f->past, NULL) == 0)
		flip_read_past(f);
	if (jn_replay(f, records, n, &why) < 0 || check_age(f, &why) < 0)
		wait_for_resolve(f, &why);
	if (f->state == FLIP_STUCK)
		heartbeat_settle(f);
	*ret = f;
	return 0;
}

void flip_close_sessions(struct flip *f)
{
	struct flip_side *sides[] = {&f->old_side, &f->new_side};

	for (int i = 0; i < 2; i++) {
		session_close(sides[i]->lock);
		session_close(sides[i]->act);
		session_close(sides[i]->reaper);
		sides[i]->lock = sides[i]->act = sides[i]->reaper = NULL;
		sides[i]->locked = false;
		f->cluster->lock_session[sides[i]->side] = 0;
	}
}

void flip_free(struct flip *f)
{
	if (!f)
		return;
	flip_close_sessions(f);
	session_close(f->fence_probe);
	for (int i = 0; i < f->nwarnings; i++)
		free(f->warnings[i]);
	free(f->warnings);
	free(f->victims);
	free(f->ends);
	wire_free(f->past);
	arena_free(f->arena);
	conf_unref(f->snapshot);
	free(f);
}

void flip_on_event(struct flip *f, flip_event_fn fn, void *arg)
{
	if (f->nlisteners < LISTENERS_MAX) {
		f->listeners[f->nlisteners].fn = fn;
		f->listeners[f->nlisteners++].arg = arg;
	}
}

void flip_off_event(struct flip *f, flip_event_fn fn, void *arg)
{
	for (int i = 0; i < f->nlisteners; i++)
		if (f->listeners[i].fn == fn && f->listeners[i].arg == arg) {
			f->listeners[i] = f->listeners[--f->nlisteners];
			return;
		}
}

void flip_emit(struct flip *f, const char *type, struct wire *detail)
{
	for (int i = f->nlisteners - 1; i >= 0; i--)
		f->listeners[i].fn(f, type, detail, f->listeners[i].arg);
	wire_free(detail);
}

void flip_set_state(struct flip *f, enum flip_state state)
{
	assert(!(f->state == FLIP_ENDED && state != FLIP_ENDED));
	f->state = state;
	if (state == FLIP_ENDED || state == FLIP_STUCK) {
		flip_close_sessions(f);
		heartbeat_settle(f);
	}
}

/* The outcome is on disk before anybody is told; where it cannot be, the flip stays unfinished in the journal
 * and the next start decides again from what the servers show: harmless, since every end is reached by
 * looking. */
void MAY_WAIT flip_end(struct flip *f, enum flip_outcome outcome)
{
	bool stuck = outcome == FLIP_OUTCOME_STUCK;
	struct err err = {0};
	struct wire *doc;
	char *text;

	fiber_shield();
	f->outcome = outcome;
	f->ended_wall_ms = stuck ? 0 : clock_wall_ms();
	if (stuck) /* nobody looks from here on: whatever resolves it needs a new word */
		f->word = (struct flip_word){0};
	flip_set_state(f, stuck ? FLIP_STUCK : FLIP_ENDED);
	doc = flip_document(f, true);
	text = wire_dump(doc, 0);
	if (f->journal_begun && journal_save(f->journal, f->id, flip_state_name(f->state),
					flip_outcome_name(outcome), f->ended_wall_ms, text, &err) < 0)
		flip_warn(f, "the outcome could not be written to the journal: %s", err_text(&err));
	free(text);
	wire_free(doc);
	flip_emit(f, "ended", flip_document(f, false));
	fiber_unshield();
}

#define WARNINGS_MAX 1000 /* what has gone on for so long says nothing new; an alarm is kept even then */

void flip_warn(struct flip *f, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	for (int i = 0; i < f->nwarnings; i++)
		if (!strcmp(f->warnings[i], text))
			return;
	if (f->nwarnings >= WARNINGS_MAX && strncmp(text, "ALARM", 5) != 0)
		return;
	if (f->nwarnings == f->warnings_cap) {
		f->warnings_cap = f->warnings_cap ? f->warnings_cap * 2 : 16;
		f->warnings = xrealloc(f->warnings, (size_t)f->warnings_cap * sizeof(*f->warnings));
	}
	f->warnings[f->nwarnings++] = xstrdup(text);
}

void flip_fail(struct flip *f, const char *step, const struct err *err)
{
	if (f->error.code)
		return;
	f->error = *err;
	str_copy(f->error_step, sizeof(f->error_step), step);
}

void flip_step_detail(struct flip *f, const char *step, const char *fmt, ...)
{
	struct step_state *st = &f->st[step_index(step)];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(st->detail, sizeof(st->detail), fmt, ap);
	va_end(ap);
}

struct flip_side *flip_side_by(struct flip *f, enum conf_side side)
{
	return f->old_side.side == side ? &f->old_side : &f->new_side;
}

int64_t flip_deadline(int64_t ms)
{
	return clock_us() + ms * 1000;
}

int flip_rc(enum act act, const struct err *err)
{
	if (act == ACT_DONE)
		return 0;
	if (err && err->code == -ECANCELED)
		return -ECANCELED;
	if (act == ACT_UNKNOWN)
		return -EUNATCH;
	return -EREMOTEIO;
}

int flip_abort(struct flip *f, const char *why, struct err *err)
{
	/* An opening under way can still be withdrawn: killed, seen gone, and new asked whether it had
	 * opened. */
	bool presumed_open =
		f->intent && !f->revoked && f->open_unknown && (f->state != FLIP_RUNNING || f->rolling_back);

	if (f->opened || presumed_open)
		return err_set(err, -EALREADY, "too late: %s is open, or must be taken for open",
			f->new_side.server->conf->name);
	if (f->state != FLIP_RUNNING && f->state != FLIP_RECOVERING)
		return err_set(err, -ESRCH, "nothing runs");
	f->aborting = true; /* and does not go forward after all */
	if (f->rolling_back)
		return 0;
	if (!f->stop_why[0])
		str_copy(f->stop_why, sizeof(f->stop_why), why);
	if (f->fiber)
		fiber_cancel(f->fiber);
	return 0;
}

void flip_terminate(struct flip *f)
{
	f->terminating = true;
	if (f->state == FLIP_RUNNING && !f->fence_issued)
		(void)!flip_abort(f, "flipd was told to stop", NULL);
	else if (f->fiber && (f->state != FLIP_RUNNING || f->opened))
		fiber_cancel(f->fiber);
}

int64_t flip_max_blackout_ms(const struct flip *f)
{
	return f->policy.max_blackout_ms;
}

const char *flip_id(const struct flip *f)
{
	return f->id;
}

enum flip_state flip_get_state(const struct flip *f)
{
	return f->state;
}

enum flip_outcome flip_get_outcome(const struct flip *f)
{
	return f->outcome;
}

bool flip_past_preflight(const struct flip *f)
{
	enum step_status s = f->st[0].status;

	return f->recovered || (s != STEP_PENDING && s != STEP_RUNNING);
}

bool flip_is_rehearsal(const struct flip *f)
{
	return f->request.rehearsal;
}

bool flip_hasten(struct flip *f)
{
	if (f->outcome != FLIP_NO_OUTCOME || f->st[step_index("reverse")].status != STEP_DONE)
		return false;
	f->hasty = true;
	return true;
}

bool flip_settling(const struct flip *f)
{
	return f->opened && f->state != FLIP_ENDED;
}

enum conf_side flip_from(const struct flip *f)
{
	return f->from;
}

const char *flip_step_now(const struct flip *f)
{
	for (int i = steps_count - 1; i >= 0; i--)
		if (f->st[i].status == STEP_RUNNING)
			return steps[i].name;
	return NULL;
}

int64_t flip_step_us(const struct flip *f, int i)
{
	return f->st[i].duration_us;
}

bool flip_rolling_back(const struct flip *f)
{
	return f->rolling_back;
}
