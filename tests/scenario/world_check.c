/*
 * world_check: what must hold at the end of every run. The laws themselves are judged when it happens
 * (world_server.c); here: no acknowledged write is lost, one side takes writes, what the flip changed on the
 * way is as it should be.
 */
#include <stdio.h>
#include <string.h>

#include "tests/scenario/fake_loop.h"
#include "tests/scenario/world.h"

#define UNSEEN_US 200000

int writable_sides(void)
{
	int n = 0;

	for (int i = 0; i < 2; i++)
		n += w.server[i].up && !w.server[i].read_only;
	return n;
}

static bool goes_back(void)
{
	return w.rehearsal || w.outcome == FLIP_ROLLED_BACK || w.outcome == FLIP_ABORTED ||
	       w.outcome == FLIP_REFUSED;
}

static bool in_reach(const struct server *s)
{
	return s->up && !s->partitioned;
}

static bool all_up(void)
{
	for (int i = 0; i < w.nservers; i++)
		if (!in_reach(&w.server[i]))
			return false;
	return true;
}

#define UNLESS(condition, ...)                                                                               \
	do {                                                                                                 \
		if (!(condition)) {                                                                          \
			(void)snprintf(why, size, __VA_ARGS__);                                              \
			return false;                                                                        \
		}                                                                                            \
	} while (0)

static bool follows(const struct server *s, const struct server *m, char *why, size_t size)
{
	const struct link *l = &s->link;

	UNLESS(l->there && l->master == m->index, "%s does not follow %s", s->name, m->name);
	UNLESS(l->io && l->sql, "%s: replication from %s does not run: %d %s", s->name, m->name, l->error,
		l->last_error);
	UNLESS(l->applied == m->nlog, "%s is behind %s: %d of %d", s->name, m->name, l->applied, m->nlog);
	UNLESS(gtid_equal(&s->state, &m->state), "the logs of %s and %s differ", s->name, m->name);
	UNLESS(!w.nwrites || !memcmp(s->data, m->data, (size_t)w.nwrites), "the data of %s and %s differ",
		s->name, m->name);
	return true;
}

/* By an operator's word the flip has ended without one side: it is left as it is, whatever it is. */
static bool left_out(void)
{
	return fake_journal_decided("\"failover\"") || fake_journal_decided("\"open_old_loss\"") ||
	       strstr(w.warnings, "a failover by the word of") ||
	       strstr(w.warnings, "opens again by the word of");
}

/* What it has received cannot be applied, is nowhere else, and somebody has to look at it. */
static bool kept_for_people(const struct link *l)
{
	return l->error && !l->sql && strstr(w.warnings, "its replication is kept as it is");
}

/* All that concerns the master alone. */
static bool serves(const struct server *master, char *why, size_t size)
{
	const struct node_row *row = master->row >= 0 ? &w.row[master->row] : NULL;

	UNLESS(!master->read_only, "%s is closed", master->name);
	UNLESS(!master->lock_holder || w.foreign_lock, "the lock on %s is still held", master->name);
	UNLESS(!master->link.there || kept_for_people(&master->link),
		"%s, the master, still replicates from somebody", master->name);
	UNLESS(!row || !strcmp(row->state, "closed"), "the flip's row on %s is %s", master->name, row->state);
	UNLESS(w.endpoint == master->index || w.endpoint == 2 || !w.conf->clusters[0].nendpoints,
		"the endpoint points at %d", w.endpoint);
	UNLESS(!master->outer_closed, "the outer fence of %s is closed", master->name);
	UNLESS(master->events_on == (1u << w.nevents) - 1, "events of %s: %x are enabled", master->name,
		master->events_on);
	UNLESS(w.rebooted_us || master->scheduler == w.before[w.from][0],
		"the event scheduler of %s is not as on the old master before", master->name);
	return true;
}

static bool tidy(const struct server *master, char *why, size_t size)
{
	const struct server *other = &w.server[!master->index];

	if (!serves(master, why, size))
		return false;
	UNLESS(!other->lock_holder || w.foreign_lock, "the lock on %s is still held", other->name);
	UNLESS(!other->outer || other->outer_closed, "the outer fence of %s is open", other->name);
	UNLESS(w.server[w.to].semi_sync == w.before[w.to][1], "semi-sync of %s is not as it was",
		w.server[w.to].name);
	return true;
}

/* What a restart leaves open or closed before the fence is not the flip's, after its end it is the watcher's.
 */
static bool restart_excuses(void)
{
	return w.rebooted_us &&
	       (w.rebooted_us > w.ended_us - UNSEEN_US || w.rebooted_late || !fake_journal_has("fence") ||
		       w.outcome == FLIP_ABORTED || w.outcome == FLIP_REFUSED);
}

bool world_undone(char *why, size_t size)
{
	const struct server *old = &w.server[w.from];

	UNLESS(!old->read_only, "%s is closed", old->name);
	UNLESS(w.server[w.to].read_only, "%s is open", w.server[w.to].name);
	return tidy(old, why, size);
}

bool world_settled(char *why, size_t size)
{
	const struct server *old = &w.server[w.from], *new = &w.server[w.to];
	const struct server *master = goes_back() ? old : new, *other = goes_back() ? new : old;

	if (w.outcome == FLIP_OUTCOME_STUCK || w.hands)
		return true;
	if (restart_excuses())
		return true;
	if (!all_up() || left_out())
		return !in_reach(master) || serves(master, why, size);
	UNLESS(other->read_only, "%s is open", other->name);
	if (!tidy(master, why, size) || !follows(other, master, why, size))
		return false;
	for (int i = 2; i < w.nservers; i++)
		if (!follows(&w.server[i], master, why, size))
			return false;
	return true;
}

/*
 * Given up by an operator, and by nobody else: what a side alone has for which a loss was accepted, when the
 * other is the master by that word; of a side that was only said to be dead, what it took when it came up
 * open and flipd could not see it.
 */
static bool may_be_lost(uint8_t acked)
{
	const struct word *word = &w.word[!!(acked & ACKED_BY_TARGET)];

	if (word->given_up || (word->gives_up && w.outcome == FLIP_DONE))
		return true;
	return word->ever_us && (acked & ACKED_UNASKED);
}

static bool is_lost(int i, bool on_new, bool on_old)
{
	const struct server *old = &w.server[w.from], *new = &w.server[w.to];
	bool o = old->data && old->data[i], n = new->data &&new->data[i];
	bool here = on_new ? n : on_old ? o : n || o;

	/* What the master itself has acknowledged is never given up by a word on the other. */
	return w.acked[i] && !here && !(((on_new && o) || (on_old && n)) && may_be_lost(w.acked[i]));
}

/* Law 2. Where an operator is called, what one side alone has must at least be there and be told. */
static void judge_writes(void)
{
	const struct server *old = &w.server[w.from], *new = &w.server[w.to];
	bool on_new = w.outcome == FLIP_DONE && !w.rehearsal, on_old = goes_back();
	int lost = 0, first = -1;

	for (int i = 0; i < w.nwrites; i++)
		if (is_lost(i, on_new, on_old))
			first = lost++ ? first : i;
	if (lost)
		violation("%d acknowledged writes are lost (outcome %s), the first is number %d: old %d, new "
			  "%d",
			lost, flip_outcome_name(w.outcome) ? flip_outcome_name(w.outcome) : "none", first,
			old->data && old->data[first], new->data &&new->data[first]);
}

/* What the flip has locked on old is unlocked, or an operator is told how; what was locked before stays so.
 */
static void judge_accounts(void)
{
	const struct server *old = &w.server[w.from], *new = &w.server[w.to];

	if (!old->account_locked[ACCOUNT_RETIRED])
		violation("an account that an operator had locked is open");
	if (new->account_locked[ACCOUNT_LEGACY])
		violation("an account is locked on new");
	if (!old->account_locked[ACCOUNT_LEGACY] || !w.ended)
		return;
	if (all_up() && w.outcome != FLIP_OUTCOME_STUCK && !w.hands && !left_out())
		violation("an account is still locked on old");
	if (!strstr(w.warnings, "'legacy'@'%' ACCOUNT UNLOCK"))
		violation("an account is still locked on old, and nobody is told");
}

/* A decision for old may not have been carried out: new answered after all. */
static bool ended_by_a_word(void)
{
	return (w.outcome == FLIP_DONE && fake_journal_decided("\"failover\"")) ||
	       (w.outcome == FLIP_ROLLED_BACK && left_out());
}

void world_judge(void)
{
	char why[200] = "";

	if (w.judged)
		return;
	w.judged = true;
	if (!w.ended && all_up() && !w.may_not_end)
		violation("the flip has not ended");
	if (w.ended && w.outcome == FLIP_OUTCOME_STUCK && !w.may_be_stuck)
		violation("the flip is stuck: %s", w.warnings);
	if (ended_by_a_word() && w.warnings[0] && !strstr(w.fault_name, "journal decide") &&
		!strstr(w.warnings, "by the word of"))
		violation("a side is left out by a word, and nobody is told");
	if (w.ended && !world_settled(why, sizeof(why)))
		violation("10 s after the end (%s): %s", flip_outcome_name(w.outcome), why);
	if (w.rehearsal && w.ended && w.outcome == FLIP_ROLLED_BACK)
		violation("a rehearsal has nothing to roll back");
	if (writable_sides() > 1 && !w.hands && !restart_excuses() && !word_excuses_end(&w.server[0]) &&
		!word_excuses_end(&w.server[1]))
		violation("both sides are open at the end");
	judge_writes();
	judge_accounts();
}

void world_dump(void)
{
	struct strbuf b = {0};
	const char *text = strbuf_str(&w.trace);
	size_t len = strlen(text), most = 14000;

	fake_journal_dump(&b);
	if (len > most)
		printf("... (%zu bytes cut)\n", len - most);
	printf("%s--- journal (~ not durable)\n%s", len > most ? text + len - most : text, strbuf_str(&b));
	printf("--- outcome %s, life %d, %d calls, %s\n%.1500s\n",
		flip_outcome_name(w.outcome) ? flip_outcome_name(w.outcome) : "none", w.lives, w.events,
		w.first_violation, w.warnings);
	strbuf_free(&b);
}
