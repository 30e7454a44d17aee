/* expect: what a script says must come of it, judged besides the laws. */
#include "tests/scenario/script/script.h"

#include <stdlib.h>
#include <string.h>

#include "lib/model/wire.h"

static struct words expected[EXPECTS_MAX];
static int nexpected;

void expect_add(const struct words *l)
{
	struct words *e = &expected[nexpected++];

	if (nexpected > EXPECTS_MAX)
		scenario_bad("too many expectations");
	e->n = l->n;
	for (int i = 0; i < l->n; i++)
		e->v[i] = arena_strdup(w.arena, l->v[i]);
}

static const char *outcome_now(void)
{
	const char *name = w.ended ? flip_outcome_name(w.outcome) : NULL;

	return name ? name : "recovering";
}

static void judge_outcome(const struct words *e)
{
	char list[120], *save = NULL;

	str_copy(list, sizeof(list), e->v[2]);
	for (char *one = strtok_r(list, "|", &save); one; one = strtok_r(NULL, "|", &save))
		if (!strcmp(one, outcome_now()))
			return;
	violation("the outcome is %s, not %s", outcome_now(), e->v[2]);
}

static void judge_writable(const struct words *e)
{
	int want = strcmp(e->v[2], "none") ? words_server(e->v[2]) : -1;

	for (int i = 0; i < 2; i++)
		if ((w.server[i].up && !w.server[i].read_only) != (i == want))
			violation("%s is %s", w.server[i].name,
				!w.server[i].up		? "down"
				: w.server[i].read_only ? "closed"
							: "open");
}

/* The kinds one after another, others in between. */
static void judge_journal(const struct words *e)
{
	struct strbuf b = {0};
	const char *at;

	fake_journal_kinds(&b);
	at = strbuf_str(&b);
	for (int i = 2; i < e->n && at; i++) {
		const char *found = at;
		size_t len = strlen(e->v[i]);

		while ((found = strstr(found, e->v[i])) &&
			(found[len] != ' ' || (found > b.data && found[-1] != ' ')))
			found++;
		if (!found)
			violation("the journal lacks %s (in its place): %s", e->v[i], strbuf_str(&b));
		at = found ? found + len : NULL;
	}
	strbuf_free(&b);
}

/* no journal KIND | no warning TEXT */
static void judge_no(const struct words *e)
{
	if (!strcmp(e->v[2], "warning")) {
		if (strstr(w.warnings, words_rest(e, 3)))
			violation("it is told: %s", words_rest(e, 3));
		return;
	}
	if (fake_journal_has(e->v[3]))
		violation("the journal has %s", e->v[3]);
}

static void judge_warning(const struct words *e)
{
	if (!strstr(w.warnings, words_rest(e, 2)))
		violation("nobody is told: %s", words_rest(e, 2));
}

static void judge_failed(const struct words *e)
{
	if (strcmp(w.step, e->v[2]) != 0 || strcmp(w.where, words_at(e, 3)) != 0)
		violation("it failed in %s at %s, not in %s at %s", w.step, w.where, e->v[2], words_at(e, 3));
}

static void judge_hint(const struct words *e)
{
	if (!strstr(w.hint, words_rest(e, 2)))
		violation("the hint is: %s", w.hint);
}

static void judge_document(const struct words *e)
{
	if (!w.document || !strstr(w.document, words_rest(e, 2)))
		violation("the document lacks %s", words_rest(e, 2));
}

static void judge_answer(const struct words *e)
{
	if (!strstr(w.answer, words_rest(e, 2)))
		violation("the answer is: %s", w.answer);
}

/* The blackout that the probe saw is flipd's own, but for its interval and a round trip. */
static void judge_probe(const struct words *e)
{
	struct wire *doc = NULL;
	const struct wire *p;
	double ms, most;

	if (!w.document || wire_parse(w.document, strlen(w.document), &doc, NULL) < 0)
		return violation("there is no document");
	p = wire_get(doc, "probe");
	ms = wire_get_real(p, "blackout_ms", -1);
	most = 2 * wire_get_real(p, "interval_ms", 0) + 2;
	if (!p || strcmp(e->v[2], wire_get_str(p, "via") ? wire_get_str(p, "via") : "") != 0)
		violation("the probe did not write via %s", e->v[2]);
	else if (w.outcome == FLIP_DONE && (ms < 0 || ms > (double)w.blackout_us / 1000 + most ||
						   ms < (double)w.blackout_us / 1000 - most))
		violation("the probe saw %f ms, the flip says %lld us", ms, (long long)w.blackout_us);
	else if (wire_get_int(p, "writes", 0) < 1)
		violation("the probe never wrote");
	wire_free(doc);
}

/* As the side that takes writes shows it. */
static void judge_row(const struct words *e)
{
	const struct server *s = &w.server[w.server[0].read_only];

	if (s->row < 0 || strcmp(w.row[s->row].state, e->v[2]) != 0)
		violation("the row on %s is %s", s->name, s->row < 0 ? "not there" : w.row[s->row].state);
}

static void judge_blackout(const struct words *e)
{
	if (w.blackout_us < 0 || w.blackout_us > words_us(e->v[3]))
		violation("the blackout is %lld us", (long long)w.blackout_us);
}

static void judge_rest(const struct words *e)
{
	if (w.rest_since_us || w.rest_most_us > words_us(e->v[3]))
		violation("events rested for %lld us", (long long)w.rest_most_us);
}

static void judge_dark(const struct words *e)
{
	note_sides();
	if (w.dark_most_us > words_us(e->v[3]))
		violation("no side took writes for %lld us", (long long)w.dark_most_us);
}

static void judge_astray(const struct words *e)
{
	note_sides();
	if (w.astray_most_us > words_us(e->v[3]))
		violation("a side was open for %lld us by a restart or a hand", (long long)w.astray_most_us);
}

static void judge_fence(const struct words *e)
{
	const struct server *s = &w.server[words_server(e->v[2])];

	if (s->outer_closed != !strcmp(e->v[3], "closed"))
		violation("the outer fence of %s is %s", s->name, s->outer_closed ? "closed" : "open");
}

static void judge_lives(const struct words *e)
{
	if (w.lives != atoi(e->v[2]))
		violation("flipd lived %d times", w.lives);
}

static void judge_hooks(const struct words *e)
{
	if (hooks_ran != atoi(e->v[2]))
		violation("%d hooks ran", hooks_ran);
}

static void judge_predicted(const struct words *e)
{
	if ((w.predicted_us > 0) != !strcmp(e->v[2], "yes"))
		violation("the predicted blackout is %lld us", (long long)w.predicted_us);
}

static const struct {
	const char *word;
	int least;
	void (*fn)(const struct words *);
} kinds[] = {
	{"outcome", 3, judge_outcome},
	{"writable", 3, judge_writable},
	{"journal", 3, judge_journal},
	{"no", 4, judge_no},
	{"warning", 3, judge_warning},
	{"error", 3, judge_warning},
	{"failed", 4, judge_failed},
	{"hint", 3, judge_hint},
	{"document", 3, judge_document},
	{"answer", 3, judge_answer},
	{"probe", 3, judge_probe},
	{"row", 3, judge_row},
	{"blackout", 4, judge_blackout},
	{"events", 4, judge_rest},   /* rest DURATION, at most */
	{"dark", 4, judge_dark},     /* below DURATION, no side writable */
	{"astray", 4, judge_astray}, /* below DURATION, a side open by a restart or a hand */
	{"fence", 4, judge_fence},   /* SERVER open|closed: the outer one */
	{"lives", 3, judge_lives},
	{"hooks", 3, judge_hooks},
	{"predicted", 3, judge_predicted},
};

void expect_judge(void)
{
	for (int i = 0; i < nexpected; i++) {
		bool known = false;

		for (size_t k = 0; k < COUNT_OF(kinds); k++)
			if (expected[i].n >= kinds[k].least && !strcmp(expected[i].v[1], kinds[k].word)) {
				kinds[k].fn(&expected[i]);
				known = true;
			}
		if (!known)
			scenario_bad("no such expectation: %s", words_rest(&expected[i], 0));
	}
	for (int i = 0; i < w.ntriggers && !w.may_be_missed; i++)
		if (!w.trigger[i].fired)
			violation("trigger %d (%s) never came", i + 1, w.trigger[i].word);
}
