/*
 * fakes: what the world has in place of the journal, the registry of adapters and the daemon that keeps a
 * flip alive. Comes with world.h.
 */
#ifndef TESTS_SCENARIO_FAKES_H
#define TESTS_SCENARIO_FAKES_H

#include "lib/base/str.h"
#include "lib/flip/flip.h"

/* fake_journal.c */
struct journal;
extern struct journal fake_journal;
void fake_journal_reset(void);
void fake_journal_lose(void);	     /* what was not durable is gone */
bool fake_journal_intent_live(void); /* by what is on disk */
bool fake_journal_has(const char *kind);
/* A later life finds that session. */
bool fake_journal_knows(const struct session_mark *);
bool fake_journal_decided(const char *action); /* last, of a flip that had not ended */
bool fake_journal_ended(void);		       /* the flip's end is on disk */
int fake_journal_flips(void);
enum flip_outcome fake_journal_outcome(void); /* aborted where there is no flip: it never began */
const char *fake_journal_document(void);      /* as the last flip was saved; "" where there is none */
void fake_journal_dump(struct strbuf *);
void fake_journal_kinds(struct strbuf *);
void fake_journal_fail(const char *kind, int times); /* writes of that kind fail; times -1: for ever */
void fake_journal_lose_reply(const char *kind); /* the next of that kind is on disk, and says it is not */

/* fake_registry.c */
struct hook_fail {
	const char *action; /* NULL none */
};
extern struct hook_fail hook_fail;
extern int endpoint_silent; /* so many updates never arrive */
extern int endpoint_lost;   /* so many replies of the name server get lost */
extern int hooks_ran;
#define FENCE_HOOK_SOURCE "/bin/true"
#define FENCE_HOOK_TARGET "/bin/false"

/* life.c */
struct plan {
	enum conf_side to;
	int64_t max_blackout_ms, max_lag_ms;
	const char *group;
	int64_t last_ms;	  /* how long the world lasts; 0: as its program says */
	bool rehearse, then_flip; /* a rehearsal; after it, a while later, the flip */
};
extern struct plan plan;
/* Runs the whole until it has settled or time is up. */
void life_run_all(int64_t until_ms);
void life_begin_at(int64_t at_us);
/* An unfinished or stuck flip is taken up again; what it tells is judged. */
void life_recover(struct flip *);

#endif
