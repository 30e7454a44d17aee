/* survey: finding and comparing what two servers hold. */
#include "lib/model/survey.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/str.h"

static int by_place(const struct survey_thing *a, enum survey_kind kind, const char *name)
{
	return a->kind != kind ? (int)a->kind - (int)kind : strcmp(a->name, name);
}

static int by_kind_and_name(const void *x, const void *y)
{
	const struct survey_thing *b = y;

	return by_place(x, b->kind, b->name);
}

void survey_sort(struct survey *s)
{
	if (s->n)
		qsort(s->things, (size_t)s->n, sizeof(*s->things), by_kind_and_name);
}

/* The first that is not before (kind, name). */
static int lower_bound(const struct survey *s, enum survey_kind kind, const char *name)
{
	int low = 0, high = s->n;

	while (low < high) {
		int middle = low + (high - low) / 2;

		if (by_place(&s->things[middle], kind, name) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

const struct survey_thing *survey_find(const struct survey *s, enum survey_kind kind, const char *name)
{
	int i = lower_bound(s, kind, name);

	return i < s->n && by_place(&s->things[i], kind, name) == 0 ? &s->things[i] : NULL;
}

int survey_slice(const struct survey *s, enum survey_kind kind, const struct survey_thing **ret)
{
	*ret = NULL;
	if (!s->n)
		return 0;
	int from = lower_bound(s, kind, "");
	*ret = &s->things[from];
	return lower_bound(s, kind + 1, "") - from;
}

int survey_compare(const struct survey *a, const struct survey *b, enum survey_kind kind,
	void (*tell)(void *arg, enum survey_side, const struct survey_thing *), void *arg)
{
	const struct survey_thing *x, *y;
	int nx = survey_slice(a, kind, &x), ny = survey_slice(b, kind, &y), differ = 0;

	while (nx || ny) {
		int order = !nx ? 1 : !ny ? -1 : strcmp(x->name, y->name);

		if (order != 0 || !str_eq(x->digest, y->digest)) {
			tell(arg,
				order < 0   ? SURVEY_ONLY_A
				: order > 0 ? SURVEY_ONLY_B
					    : SURVEY_BOTH,
				order <= 0 ? x : y);
			differ++;
		}
		if (order <= 0)
			x++, nx--;
		if (order >= 0)
			y++, ny--;
	}
	return differ;
}

const char *survey_kind_name(enum survey_kind kind)
{
	static const char *const names[SURVEY_KINDS] = {
		[SURVEY_TABLE] = "table",
		[SURVEY_INDEXES] = "indexes of",
		[SURVEY_ENGINE] = "engine of",
		[SURVEY_VIEW] = "view",
		[SURVEY_TRIGGER] = "trigger",
		[SURVEY_ROUTINE] = "routine",
		[SURVEY_EVENT] = "event",
		[SURVEY_ACCOUNT] = "account",
		[SURVEY_GRANTS] = "grants of",
		[SURVEY_DEFINER] = "definer",
		[SURVEY_PLUGIN] = "plugin",
	};

	return (size_t)kind < COUNT_OF(names) ? names[kind] : "";
}
