/*
 * fake_journal: lib/store/journal.h in memory. It outlives flipd's process; what was only queued goes with
 * its machine. A write is one of flipd's calls: it fails, is on disk although it failed, or flipd dies before
 * or after it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/store/journal.h"
#include "tests/scenario/fake_loop.h"
#include "tests/scenario/world.h"

#define SYNC_US 300
#define RECORDS_MAX 4096
#define FLIPS_MAX 8

struct record {
	char *flip_id, *kind, *step, *data;
	int64_t at_ms;
	bool durable;
};

struct saved {
	char *id, *cluster, *from, *to, *config, *document;
	char state[16], outcome[16];
	int64_t started_at_ms, ended_at_ms;
	bool rehearsal;
};

struct journal {
	int n;
	struct record record[RECORDS_MAX];
	int nflips;
	struct saved flip[FLIPS_MAX];
	char fail_kind[24];
	int fail_times;
	char lost_kind[24];
	bool broken; /* the last write failed */
};

struct journal fake_journal;

void fake_journal_reset(void)
{
	memset(&fake_journal, 0, sizeof(fake_journal));
}

void fake_journal_lose(void)
{
	int keep = 0;

	for (int i = 0; i < fake_journal.n; i++)
		if (fake_journal.record[i].durable)
			keep = i + 1;
	fake_journal.n = keep;
}

void fake_journal_fail(const char *kind, int times)
{
	str_copy(fake_journal.fail_kind, sizeof(fake_journal.fail_kind), kind);
	fake_journal.fail_times = times;
}

void fake_journal_lose_reply(const char *kind)
{
	str_copy(fake_journal.lost_kind, sizeof(fake_journal.lost_kind), kind);
}

static bool last_is(const char *yes, const char *no)
{
	for (int i = fake_journal.n - 1; i >= 0; i--) {
		if (!fake_journal.record[i].durable)
			continue;
		if (!strcmp(fake_journal.record[i].kind, no))
			return false;
		if (!strcmp(fake_journal.record[i].kind, yes))
			return true;
	}
	return false;
}

bool fake_journal_intent_live(void)
{
	return last_is("intent", "revoke");
}

bool fake_journal_has(const char *kind)
{
	for (int i = 0; i < fake_journal.n; i++)
		if (!strcmp(fake_journal.record[i].kind, kind))
			return true;
	return false;
}

bool fake_journal_decided(const char *action)
{
	bool last = false;

	for (int i = 0; i < fake_journal.n; i++)
		if (!strcmp(fake_journal.record[i].kind, "decide") &&
			!strstr(fake_journal.record[i].data, "\"row\":\"ended"))
			last = strstr(fake_journal.record[i].data, action) != NULL;
	return last;
}

bool fake_journal_knows(const struct session_mark *m)
{
	char id[48], host[160];

	(void)snprintf(id, sizeof(id), "\"id\":%llu,", (unsigned long long)m->id);
	(void)snprintf(host, sizeof(host), "\"host\":\"%s\"", m->server.hostname);
	for (int i = fake_journal.n - 1; i >= 0; i--) {
		const struct record *r = &fake_journal.record[i];
		if (r->durable && !strcmp(r->kind, "session") && strstr(r->data, id) && strstr(r->data, host))
			return true;
	}
	return false;
}

int fake_journal_flips(void)
{
	return fake_journal.nflips;
}

enum flip_outcome fake_journal_outcome(void)
{
	for (int o = FLIP_DONE; fake_journal.nflips > 0 && o <= FLIP_OUTCOME_STUCK; o++)
		if (!strcmp(fake_journal.flip[fake_journal.nflips - 1].outcome,
			    flip_outcome_name((enum flip_outcome)o)))
			return (enum flip_outcome)o;
	return FLIP_ABORTED;
}

const char *fake_journal_document(void)
{
	const char *text =
		fake_journal.nflips > 0 ? fake_journal.flip[fake_journal.nflips - 1].document : NULL;

	return text ? text : "";
}

bool fake_journal_ended(void)
{
	return fake_journal.nflips > 0 && !strcmp(fake_journal.flip[fake_journal.nflips - 1].state, "ended");
}

void fake_journal_dump(struct strbuf *b)
{
	for (int i = 0; i < fake_journal.n; i++) {
		const struct record *r = &fake_journal.record[i];
		strbuf_addf(b, "  %10lld %s%-9s %-11s %.150s\n", (long long)(r->at_ms - VTIME_WALL_BASE_MS),
			r->durable ? "" : "~", r->kind, r->step,
			strcmp(r->kind, "fence") && strcmp(r->kind, "intent") ? r->data : "");
	}
}

void fake_journal_kinds(struct strbuf *b)
{
	for (int i = 0; i < fake_journal.n; i++)
		strbuf_addf(b, "%s ", fake_journal.record[i].kind);
}

/* --- the disk --- */

static int disk_error(struct err *err)
{
	fake_journal.broken = true;
	return err_set(err, -EIO, "disk I/O error (a fault)");
}

/* 0: go on; < 0: it fails. *ret_lost: it succeeds on disk but says that it failed. */
static int begin_write(const char *what, const char *kind, enum fault *ret, struct err *err)
{
	*ret = flipd_calls(what, kind);
	trigger_journal(WHEN_JOURNAL, kind);
	w.opening_told = w.opening_told || !strcmp(kind, "opened");
	if (!strcmp(kind, "closing") && !w.closing_us)
		w.closing_us = vtime_us();
	if (!strcmp(fake_journal.fail_kind, kind) && fake_journal.fail_times != 0) {
		fake_journal.fail_times--;
		return disk_error(err);
	}
	if (*ret == FAULT_REFUSED || *ret == FAULT_HANGS)
		return disk_error(err);
	if (!strcmp(fake_journal.lost_kind, kind)) {
		fake_journal.lost_kind[0] = '\0';
		*ret = FAULT_REPLY_LOST;
	}
	return 0;
}

static int end_write(enum fault fault, const char *kind, struct err *err)
{
	trigger_journal(WHEN_AFTER_JOURNAL, kind);
	if (fault == FAULT_CRASH_SENT)
		flipd_crash(false);
	fault_after(fault);
	if (fault == FAULT_REPLY_LOST || fault == FAULT_LATE)
		return disk_error(err);
	fake_journal.broken = false;
	return 0;
}

static void MAY_WAIT sync_disk(const char *kind)
{
	int64_t until = vtime_us() + jitter_us(SYNC_US) + flipd_waits_us("journal", kind);

	fiber_shield();
	while (vtime_us() < until)
		(void)fiber_sleep_us(until - vtime_us());
	fiber_unshield();
	for (int i = 0; i < fake_journal.n; i++)
		fake_journal.record[i].durable = true;
}

/* --- the interface --- */

int journal_open(const char *state_dir, struct journal **ret, struct err *err)
{
	(void)state_dir;
	(void)err;
	*ret = &fake_journal;
	return 0;
}

void journal_close(struct journal *j)
{
	(void)j;
}

const char *journal_id(const struct journal *j)
{
	(void)j;
	return "journal-1";
}

bool journal_ok(const struct journal *j)
{
	return !j->broken;
}

int journal_begin(struct journal *j, const struct journal_flip *f, struct err *err)
{
	struct saved *s = &j->flip[j->nflips];
	enum fault fault;
	int rc = begin_write("journal_begin", "flip", &fault, err);

	if (rc < 0)
		return rc;
	sync_disk("flip");
	if (++j->nflips > FLIPS_MAX)
		abort();
	s->id = arena_strdup(w.arena, f->id);
	s->cluster = arena_strdup(w.arena, f->cluster);
	s->from = arena_strdup(w.arena, f->from);
	s->to = arena_strdup(w.arena, f->to);
	s->config = arena_strdup(w.arena, f->config);
	s->started_at_ms = f->started_at_ms;
	s->rehearsal = f->rehearsal;
	str_copy(s->state, sizeof(s->state), f->state);
	return end_write(fault, "flip", err);
}

int journal_write(struct journal *j, const char *flip_id, const char *kind, const char *step,
	const char *data, bool durable, struct err *err)
{
	enum fault fault;
	int rc;

	if (!strcmp(kind, "begin"))
		trigger_step(step);
	rc = begin_write("journal", kind, &fault, err);
	if (rc < 0)
		return rc;
	if (j->n == RECORDS_MAX) {
		violation("the journal grows without end, last %s %s", kind, step);
		j->n = RECORDS_MAX / 2;
	}
	if ((w.reckless[MUTANT_NO_INTENT] && !strcmp(kind, "intent")) ||
		(w.reckless[MUTANT_NO_REVOCATION] && !strcmp(kind, "revoke")))
		return end_write(fault, kind, err);
	j->record[j->n++] = (struct record){.flip_id = arena_strdup(w.arena, flip_id),
		.kind = arena_strdup(w.arena, kind),
		.step = arena_strdup(w.arena, step),
		.data = arena_strdup(w.arena, data),
		.at_ms = clock_wall_ms()};
	if (durable)
		sync_disk(kind);
	if (strcmp(kind, "end") != 0 && strcmp(kind, "killed") != 0)
		note("journal: %s %s %.100s", kind, step,
			!strcmp(kind, "decide") || !strcmp(kind, "begin") ? data : "");
	return end_write(fault, kind, err);
}

int journal_save(struct journal *j, const char *flip_id, const char *state, const char *outcome,
	int64_t ended_at_ms, const char *document, struct err *err)
{
	enum fault fault;
	int rc = begin_write("journal_save", state, &fault, err);

	if (rc < 0)
		return rc;
	sync_disk(state);
	for (int i = 0; i < j->nflips; i++) {
		struct saved *s = &j->flip[i];
		if (strcmp(s->id, flip_id) != 0)
			continue;
		str_copy(s->state, sizeof(s->state), state);
		str_copy(s->outcome, sizeof(s->outcome), outcome ? outcome : "");
		s->ended_at_ms = ended_at_ms;
		s->document = arena_strdup(w.arena, document);
	}
	return end_write(fault, state, err);
}

int journal_reserve(struct journal *j, struct err *err)
{
	enum fault fault;
	int rc = begin_write("journal_reserve", "reserve", &fault, err);

	(void)j;
	if (rc < 0)
		return rc;
	sync_disk("reserve");
	return end_write(fault, "reserve", err);
}

static void fill_flip(const struct saved *s, struct journal_flip *f)
{
	*f = (struct journal_flip){.id = s->id,
		.cluster = s->cluster,
		.from = s->from,
		.to = s->to,
		.state = s->state,
		.outcome = s->outcome[0] ? s->outcome : NULL,
		.started_at_ms = s->started_at_ms,
		.ended_at_ms = s->ended_at_ms,
		.config = s->config,
		.document = s->document,
		.rehearsal = s->rehearsal};
}

int journal_unfinished(
	struct journal *j, struct arena *a, struct journal_flip **ret, int *ret_n, struct err *err)
{
	struct journal_flip *list = arena_alloc(a, FLIPS_MAX * sizeof(*list));
	int n = 0;

	(void)err;
	for (int i = 0; i < j->nflips; i++)
		if (strcmp(j->flip[i].state, "ended") != 0)
			fill_flip(&j->flip[i], &list[n++]);
	*ret = list;
	*ret_n = n;
	return 0;
}

int journal_history(struct journal *j, struct arena *a, const char *cluster, int limit,
	struct journal_flip **ret, int *ret_n, struct err *err)
{
	(void)cluster;
	(void)limit;
	return journal_unfinished(j, a, ret, ret_n, err);
}

int journal_past(struct journal *j, struct arena *a, const char *cluster, bool rehearsals, int limit,
	struct journal_flip **ret, int *ret_n, struct err *err)
{
	struct journal_flip *list = arena_alloc(a, FLIPS_MAX * sizeof(*list));
	int n = 0;

	(void)cluster;
	(void)limit;
	(void)err;
	for (int i = j->nflips - 1; i >= 0; i--)
		if (!strcmp(j->flip[i].state, "ended") && j->flip[i].rehearsal == rehearsals)
			fill_flip(&j->flip[i], &list[n++]);
	*ret = list;
	*ret_n = n;
	return 0;
}

int journal_load(struct journal *j, struct arena *a, const char *flip_id, struct journal_flip *ret_flip,
	struct journal_record **ret, int *ret_n, struct err *err)
{
	struct journal_record *list = arena_alloc(a, (size_t)(j->n + 1) * sizeof(*list));
	bool found = false;

	for (int i = 0; i < j->nflips; i++)
		if (!strcmp(j->flip[i].id, flip_id)) {
			fill_flip(&j->flip[i], ret_flip);
			found = true;
		}
	if (!found)
		return err_set(err, -ENOENT, "no flip %s", flip_id);
	*ret_n = 0;
	for (int i = 0; i < j->n; i++) {
		const struct record *r = &j->record[i];
		if (strcmp(r->flip_id, flip_id) != 0)
			continue;
		list[(*ret_n)++] = (struct journal_record){.flip_id = r->flip_id,
			.seq = i + 1,
			.at_ms = r->at_ms,
			.kind = r->kind,
			.step = r->step,
			.data = r->data};
	}
	*ret = list;
	return 0;
}
