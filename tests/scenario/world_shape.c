/* world_shape: every document of a flip has the shape that INTERFACES.md promises: each field there, of its
 * kind, the words those that scripts know. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/str.h"
#include "lib/model/wire.h"
#include "tests/scenario/world.h"

enum kind { TEXT, WORD, NUMBER, WHOLE, TRUTH, TIME, TEXTS, ONE, MANY };

struct field {
	const char *key;
	enum kind kind;
	bool maybe;		   /* null when not known */
	const char *words;	   /* WORD: " one two " */
	const struct field *shape; /* ONE, MANY */
};

#define SIDES " source target "

static const struct field requested_by[] = {
	{.key = "user", .kind = TEXT, .maybe = true},
	{.key = "uid", .kind = WHOLE},
	{.key = "pid", .kind = WHOLE},
	{0},
};

static const struct field step[] = {
	{.key = "name", .kind = TEXT},
	{.key = "state", .kind = WORD, .words = " pending running done skipped failed unknown undone "},
	{.key = "started_at", .kind = TIME, .maybe = true},
	{.key = "duration_ms", .kind = NUMBER, .maybe = true},
	{.key = "detail", .kind = TEXT, .maybe = true},
	{0},
};

static const struct field check[] = {
	{.key = "name", .kind = TEXT},
	{.key = "server", .kind = TEXT, .maybe = true},
	{.key = "result", .kind = WORD, .words = " ok warn refuse skip "},
	{.key = "seen", .kind = TEXT},
	{.key = "hint", .kind = TEXT, .maybe = true},
	{0},
};

static const struct field killed[] = {
	{.key = "server", .kind = TEXT},
	{.key = "id", .kind = TEXT},
	{.key = "user", .kind = TEXT},
	{.key = "host", .kind = TEXT},
	{.key = "db", .kind = TEXT, .maybe = true},
	{.key = "age_ms", .kind = NUMBER},
	{.key = "digest", .kind = TEXT, .maybe = true},
	{0},
};

static const struct field attempt[] = {
	{.key = "at", .kind = TIME},
	{.key = "blackout_ms", .kind = NUMBER, .maybe = true},
	{.key = "blockers", .kind = TEXT, .maybe = true},
	{0},
};

static const struct field endpoint[] = {
	{.key = "name", .kind = TEXT},
	{.key = "type", .kind = TEXT},
	{.key = "from", .kind = TEXT},
	{.key = "to", .kind = TEXT},
	{.key = "state", .kind = WORD, .words = " pending switched reverted failed "},
	{0},
};

static const struct field position[] = {
	{.key = "final", .kind = TEXT, .maybe = true},
	{.key = "way_back", .kind = TEXT, .maybe = true},
	{0},
};

static const struct field probe[] = {
	{.key = "via", .kind = WORD, .words = " servers endpoint "},
	{.key = "interval_ms", .kind = NUMBER},
	{.key = "writes", .kind = WHOLE},
	{.key = "refused", .kind = WHOLE},
	{.key = "last_old_at", .kind = TIME, .maybe = true},
	{.key = "first_new_at", .kind = TIME, .maybe = true},
	{.key = "blackout_ms", .kind = NUMBER, .maybe = true},
	{0},
};

static const struct field error[] = {
	{.key = "step", .kind = TEXT, .maybe = true},
	{.key = "server", .kind = TEXT, .maybe = true},
	{.key = "message", .kind = TEXT},
	{.key = "hint", .kind = TEXT, .maybe = true},
	{0},
};

static const struct field flip[] = {
	{.key = "id", .kind = TEXT, .maybe = true},
	{.key = "cluster", .kind = TEXT},
	{.key = "group", .kind = TEXT, .maybe = true},
	{.key = "rehearsal", .kind = TRUTH},
	{.key = "from", .kind = WORD, .words = SIDES},
	{.key = "to", .kind = WORD, .words = SIDES},
	{.key = "state", .kind = WORD, .words = " scheduled running recovering stuck ended "},
	{.key = "outcome",
		.kind = WORD,
		.maybe = true,
		.words = " done nothing_to_do refused aborted rolled_back stuck "},
	{.key = "started_at", .kind = TIME, .maybe = true},
	{.key = "ended_at", .kind = TIME, .maybe = true},
	{.key = "blackout_ms", .kind = NUMBER, .maybe = true},
	{.key = "predicted_blackout_ms", .kind = NUMBER, .maybe = true},
	{.key = "requested_by", .kind = ONE, .shape = requested_by},
	{.key = "warnings", .kind = TEXTS},
	{.key = "steps", .kind = MANY, .shape = step},
	{.key = "checks", .kind = MANY, .shape = check},
	{.key = "killed", .kind = MANY, .shape = killed},
	{.key = "attempts", .kind = MANY, .shape = attempt},
	{.key = "endpoints", .kind = MANY, .shape = endpoint},
	{.key = "position", .kind = ONE, .shape = position},
	{.key = "probe", .kind = ONE, .maybe = true, .shape = probe},
	{.key = "error", .kind = ONE, .maybe = true, .shape = error},
	{0},
};

/* RFC 3339, UTC, milliseconds. */
static bool is_time(const char *s)
{
	static const char like[] = "dddd-dd-ddTdd:dd:dd.dddZ";

	if (strlen(s) != strlen(like))
		return false;
	for (size_t i = 0; like[i]; i++)
		if (like[i] == 'd' ? s[i] < '0' || s[i] > '9' : s[i] != like[i])
			return false;
	return true;
}

static bool is_word(const char *words, const char *s)
{
	char padded[64];

	(void)snprintf(padded, sizeof(padded), " %s ", s);
	return strstr(words, padded) != NULL;
}

static bool all_texts(const struct wire *v)
{
	for (size_t i = 0; i < wire_len(v); i++)
		if (!wire_str(wire_at(v, i)))
			return false;
	return wire_type(v) == WIRE_ARRAY;
}

static void judge(const char *where, const struct field *shape, const struct wire *o);

static void judge_all(const char *where, const struct field *shape, const struct wire *list)
{
	for (size_t i = 0; i < wire_len(list); i++)
		judge(where, shape, wire_at(list, i));
}

static bool fits(const struct field *f, const struct wire *v)
{
	const char *text = wire_str(v);
	enum wire_type type = wire_type(v);

	switch (f->kind) {
	case TEXT:
		return text != NULL;
	case WORD:
		return text && is_word(f->words, text);
	case NUMBER:
		return type == WIRE_REAL || type == WIRE_INT;
	case WHOLE:
		return type == WIRE_INT;
	case TRUTH:
		return type == WIRE_BOOL;
	case TIME:
		return text && is_time(text);
	case TEXTS:
		return all_texts(v);
	case ONE:
		judge(f->key, f->shape, v);
		return type == WIRE_OBJECT;
	case MANY:
		judge_all(f->key, f->shape, v);
		return type == WIRE_ARRAY;
	}
	abort();
}

/* Fields come in one order; those that a later version adds go into the table above. */
static void judge(const char *where, const struct field *shape, const struct wire *o)
{
	size_t n = 0;

	for (const struct field *f = shape; f->key; f++, n++) {
		const char *key = wire_key(o, n);
		const struct wire *v = wire_at(o, n);

		if (!str_eq(key, f->key)) {
			violation("%s: %s where %s has to be", where, key ? key : "nothing", f->key);
			return;
		}
		if (!(f->maybe && wire_is_null(v)) && !fits(f, v)) {
			char *text = wire_dump(v, 0);

			violation("%s.%s: %s", where, f->key, text);
			free(text);
		}
	}
	if (wire_len(o) != n)
		violation("%s: %s is not promised", where, wire_key(o, n));
}

/* A step that went wrong says how, also when it is tried again and the flip's error is another. */
static void judge_reasons(const struct wire *list)
{
	for (size_t i = 0; i < wire_len(list); i++) {
		const struct wire *one = wire_at(list, i);
		const char *state = wire_get_str(one, "state");

		if (str_eq(state, "failed") && !wire_get_str(one, "detail"))
			violation("%s: %s, and nothing says why", wire_get_str(one, "name"), state);
	}
}

void world_judge_shape(const struct wire *document)
{
	judge("flip", flip, document);
	judge_reasons(wire_get(document, "steps"));
}
