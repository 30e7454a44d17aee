/*
 * survey: what a server holds, as far as it can be told by names and digests: tables, routines, accounts. Two
 * servers are the same where their lists are. Filled by node_survey() in two round trips, only for a
 * preflight; plain data in an arena.
 */
#ifndef MODEL_SURVEY_H
#define MODEL_SURVEY_H

#include "lib/base/base.h"

enum survey_kind {
	SURVEY_TABLE,	/* columns of a table, sequence or view; n: how many belong to a primary key */
	SURVEY_INDEXES, /* all of a table's */
	SURVEY_ENGINE,	/* of a table; digest: the engine's name */
	SURVEY_VIEW,
	SURVEY_TRIGGER,
	SURVEY_ROUTINE,
	SURVEY_EVENT,
	SURVEY_ACCOUNT, /* plugin, password, limits, global privileges; of roles too */
	SURVEY_GRANTS,	/* all other grants of an account */
	SURVEY_DEFINER, /* an account in whose name something runs */
	SURVEY_PLUGIN,	/* an active one; digest: its type */
	SURVEY_KINDS
};

struct survey_thing {
	enum survey_kind kind;
	const char *name;   /* "db.table", "user@host" */
	const char *digest; /* the same on both servers when the things are the same */
	int64_t n;
};

enum survey_state { SURVEY_NOT_ASKED, SURVEY_DONE, SURVEY_LATE, SURVEY_REFUSED };

/* One half of it: done in one packet, or not at all. */
struct survey_half {
	enum survey_state state;
	char why[160]; /* LATE, REFUSED */
};

struct survey {
	struct survey_half accounts, schema;
	bool seen[SURVEY_KINDS]; /* the server answered to it, be it with nothing */
	int n, cap;
	struct survey_thing *things; /* sorted by kind and name after survey_sort() */
};

void survey_sort(struct survey *);
/* Needs a sorted survey; NULL when it is not there. */
const struct survey_thing *survey_find(const struct survey *, enum survey_kind, const char *name);
/* The things of a kind, as a slice of the sorted list; returns how many. */
int survey_slice(const struct survey *, enum survey_kind, const struct survey_thing **ret);

enum survey_side { SURVEY_ONLY_A, SURVEY_ONLY_B, SURVEY_BOTH };
/* What of a kind is not the same: each is told, in the order of names. Both sorted. Returns how many. */
int survey_compare(const struct survey *a, const struct survey *b, enum survey_kind,
	void (*tell)(void *arg, enum survey_side, const struct survey_thing *), void *arg);
const char *survey_kind_name(enum survey_kind); /* "table", "indexes of" ... */

#endif
