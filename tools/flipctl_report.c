/* flipctl_report: flips in words: a list of them, one whole, and how one ended. */
#include "tools/flipctl.h"

#include <stdlib.h>

#include "lib/base/arena.h"

static const char *outcome_of(const struct wire *flip)
{
	const char *outcome = wire_get_str(flip, "outcome");

	return outcome ? text_clean(outcome) : text_of(flip, "state");
}

static bool is_rehearsal(const struct wire *flip)
{
	return wire_get_bool(flip, "rehearsal");
}

static const char *word_of(const struct wire *flip)
{
	return is_rehearsal(flip) ? "rehearsal" : "flip";
}

/* history */

void show_history(const struct wire *document)
{
	enum { COLUMNS = 7 };
	static const char *const heads[COLUMNS] = {
		"ID", "CLUSTER", "TO", "STARTED", "OUTCOME", "BLACKOUT", "BY"};
	const struct wire *flips = wire_get(document, "flips");
	size_t n = wire_len(flips);

	if (n == 0) {
		(void)printf("no flips yet\n");
		return;
	}
	struct cell *cells = xcalloc((n + 1) * COLUMNS, sizeof(*cells));
	for (int i = 0; i < COLUMNS; i++)
		cells[i].text = heads[i];
	for (size_t i = 0; i < n; i++) {
		const struct wire *flip = wire_at(flips, i);
		struct cell *row = &cells[(i + 1) * COLUMNS];
		row[0].text = text_of(flip, "id");
		row[1].text = text_of(flip, "cluster");
		row[2].text = text_of(flip, "to");
		row[3].text = text_time(flip, "started_at");
		row[4] = (struct cell){outcome_of(flip), text_state_colour(outcome_of(flip))};
		if (is_rehearsal(flip))
			row[4].text = text_printf("%s, rehearsal", outcome_of(flip));
		row[5].text = text_ms(flip, "blackout_ms");
		row[6].text = text_of(wire_get(flip, "requested_by"), "user");
	}
	text_table(stdout, "", cells, (int)n + 1, COLUMNS);
	free(cells);
}

/* Lists of a flip; nothing is printed for an empty one */

struct column {
	const char *head, *key;
	const char *(*text)(const struct wire *, const char *key);
	bool coloured;
};

static const char *clock_of(const struct wire *o, const char *key)
{
	const char *at = text_time(o, key);

	return str_eq(at, "-") ? "" : at + 11; /* the day stands above */
}

static void show_list(const struct wire *list, const char *title, const struct column *columns, int ncolumns)
{
	size_t n = wire_len(list);

	if (n == 0)
		return;
	struct cell *cells = xcalloc((n + 1) * (size_t)ncolumns, sizeof(*cells));
	for (int c = 0; c < ncolumns; c++)
		cells[c].text = columns[c].head;
	for (size_t i = 0; i < n; i++) {
		for (int c = 0; c < ncolumns; c++) {
			struct cell *cell = &cells[(i + 1) * (size_t)ncolumns + (size_t)c];
			cell->text = columns[c].text(wire_at(list, i), columns[c].key);
			cell->colour = columns[c].coloured ? text_state_colour(cell->text) : NULL;
		}
	}
	(void)printf("\n%s\n", title);
	text_table(stdout, "  ", cells, (int)n + 1, ncolumns);
	free(cells);
}

static void show_lists(const struct wire *flip)
{
	static const struct column steps[] = {{"STEP", "name", text_of, false},
		{"STATE", "state", text_of, true}, {"AT", "started_at", clock_of, false},
		{"TOOK", "duration_ms", text_ms, false}, {"", "detail", text_of, false}};
	static const struct column attempts[] = {{"AT", "at", clock_of, false},
		{"STOOD STILL", "blackout_ms", text_ms, false}, {"BLOCKED BY", "blockers", text_of, false}};
	static const struct column killed[] = {{"SERVER", "server", text_of, false},
		{"ID", "id", text_of, false}, {"USER", "user", text_of, false},
		{"HOST", "host", text_of, false}, {"DB", "db", text_of, false},
		{"IDLE OR BUSY FOR", "age_ms", text_ms, false}, {"STATEMENT", "digest", text_of, false}};
	static const struct column endpoints[] = {{"ENDPOINT", "name", text_of, false},
		{"FROM", "from", text_of, false}, {"TO", "to", text_of, false},
		{"STATE", "state", text_of, true}};

	show_list(wire_get(flip, "steps"), "Steps", steps, COUNT_OF(steps));
	show_list(wire_get(flip, "attempts"), "Fence attempts that were withdrawn", attempts,
		COUNT_OF(attempts));
	show_list(wire_get(flip, "endpoints"), "Endpoints", endpoints, COUNT_OF(endpoints));
	show_list(wire_get(flip, "killed"),
		text_printf("Sessions killed: %zu", wire_len(wire_get(flip, "killed"))), killed,
		COUNT_OF(killed));
}

static void show_checks_of(const struct wire *flip)
{
	const struct wire *list = wire_get(flip, "checks");
	bool headed = false;

	for (size_t i = 0; i < wire_len(list); i++) {
		const struct wire *check = wire_at(list, i);
		const char *result = wire_get_str(check, "result"), *hint = wire_get_str(check, "hint");

		if (!str_eq(result, "refuse") && !str_eq(result, "warn"))
			continue;
		if (!headed)
			(void)printf("\nChecks that did not pass\n");
		headed = true;
		(void)printf("  %s%s%s %s: %s\n", text_state_colour(result), result, text_plain(),
			text_of(check, "name"), text_of(check, "seen"));
		if (hint && hint[0])
			(void)printf("      -> %s\n", text_clean(hint));
	}
}

static void show_probe(const struct wire *flip)
{
	const struct wire *probe = wire_get(flip, "probe");

	if (wire_is_null(probe))
		return;
	if (wire_is_null(wire_get(probe, "blackout_ms"))) {
		(void)printf("  probe        %jd writes done and %jd refused, via %s every %s\n",
			(intmax_t)wire_get_int(probe, "writes", 0),
			(intmax_t)wire_get_int(probe, "refused", 0), text_of(probe, "via"),
			text_ms(probe, "interval_ms"));
		return;
	}
	(void)printf(
		"  probe        writes stood still for %s, seen via %s every %s (%jd written, %jd refused)\n",
		text_ms(probe, "blackout_ms"), text_of(probe, "via"), text_ms(probe, "interval_ms"),
		(intmax_t)wire_get_int(probe, "writes", 0), (intmax_t)wire_get_int(probe, "refused", 0));
}

static void show_error(const struct wire *flip)
{
	const struct wire *error = wire_get(flip, "error");
	const char *step = wire_get_str(error, "step"), *hint = wire_get_str(error, "hint");

	if (wire_is_null(error))
		return;
	(void)printf("  %swhy%s          %s%s%s\n", text_bad(), text_plain(), step ? text_clean(step) : "",
		step ? ": " : "", text_of(error, "message"));
	if (hint && hint[0])
		(void)printf("  what to do   %s\n", text_clean(hint));
}

static void show_warnings(const struct wire *flip, const char *indent)
{
	const struct wire *warnings = wire_get(flip, "warnings");

	for (size_t i = 0; i < wire_len(warnings); i++)
		(void)printf("%s%swarning%s      %s\n", indent, text_warn(), text_plain(),
			text_clean(wire_str(wire_at(warnings, i))));
}

void show_flip(const struct wire *flip)
{
	const struct wire *by = wire_get(flip, "requested_by"), *position = wire_get(flip, "position");
	const char *outcome = outcome_of(flip);

	(void)printf("%s %s of %s, %s to %s: %s%s%s\n", word_of(flip), text_of(flip, "id"),
		text_of(flip, "cluster"), text_of(flip, "from"), text_of(flip, "to"),
		text_state_colour(outcome), outcome, text_plain());
	(void)printf("  asked for    by %s (uid %jd, pid %jd)\n", text_of(by, "user"),
		(intmax_t)wire_get_int(by, "uid", -1), (intmax_t)wire_get_int(by, "pid", -1));
	(void)printf("  from, to     %s, %s\n", text_time(flip, "started_at"), text_time(flip, "ended_at"));
	if (is_rehearsal(flip))
		(void)printf("  blackout     none; a flip's is predicted to last %s\n",
			text_ms(flip, "predicted_blackout_ms"));
	else
		(void)printf("  blackout     %s (predicted %s)\n", text_ms(flip, "blackout_ms"),
			text_ms(flip, "predicted_blackout_ms"));
	show_probe(flip);
	if (wire_get_str(position, "final"))
		(void)printf("  position     old's last: %s\n", text_of(position, "final"));
	if (wire_get_str(position, "way_back"))
		(void)printf("  way back     new's before it opened: %s\n", text_of(position, "way_back"));
	show_error(flip);
	show_warnings(flip, "  ");
	show_checks_of(flip);
	show_lists(flip);
}

/* The end */

static const char *end_sentence(const struct wire *flip)
{
	static const struct {
		const char *outcome, *sentence;
	} ends[] = {
		{"nothing_to_do", "it is the master already, nothing was done"},
		{"refused",
			"refused: the preflight found what would lose writes or fail; nothing was changed"},
		{"aborted", "aborted before the fence: everything is as it was"},
		{"rolled_back", "rolled back: the old master takes writes again"},
		{"stuck", "STUCK: an operator is needed"},
	};
	const char *outcome = wire_get_str(flip, "outcome");

	for (size_t i = 0; i < COUNT_OF(ends); i++) {
		if (str_eq(ends[i].outcome, outcome))
			return ends[i].sentence;
	}
	return outcome ? text_clean(outcome) : text_printf("goes on, %s", text_of(flip, "state"));
}

/* What stands for the steps that a rehearsal does not take. */
static void show_rehearsed(const struct wire *flip)
{
	const struct wire *list = wire_get(flip, "steps");

	(void)printf("%s: %srehearsed%s and undone; a flip to %s would stop writes for about %s\n",
		text_of(flip, "cluster"), text_state_colour("done"), text_plain(), text_of(flip, "to"),
		text_ms(flip, "predicted_blackout_ms"));
	for (size_t i = 0; i < wire_len(list); i++) {
		const struct wire *one = wire_at(list, i);

		if (str_eq(wire_get_str(one, "state"), "skipped") && wire_get_str(one, "detail"))
			(void)printf("  %-12s %s\n", text_of(one, "name"), text_of(one, "detail"));
	}
}

/* What resolve answers to of a row that a lost flipd has left; this flipd's journal does not know that flip.
 * What was looked at and done stood on stderr. */
static bool is_foreign_row(const struct wire *flip)
{
	return str_eq(wire_get_str(flip, "outcome"), "nothing_to_do") && wire_get_str(flip, "id");
}

void show_end(const struct wire *flip)
{
	const char *outcome = wire_get_str(flip, "outcome");
	const char *colour = text_state_colour(outcome ? outcome : "running");
	const struct wire *probe = wire_get(flip, "probe");

	if (is_foreign_row(flip)) {
		(void)printf("%s: the row of flip %s was closed; flips may begin again\n",
			text_of(flip, "cluster"), text_of(flip, "id"));
		return;
	}
	if (is_rehearsal(flip) && str_eq(outcome, "done"))
		show_rehearsed(flip);
	else if (str_eq(outcome, "done"))
		(void)printf("%s: %sdone%s: %s is the master; writes stood still for %s%s\n",
			text_of(flip, "cluster"), colour, text_plain(), text_of(flip, "to"),
			text_ms(flip, "blackout_ms"),
			wire_is_null(probe)
				? ""
				: text_printf(" (the probe saw %s)", text_ms(probe, "blackout_ms")));
	else
		(void)printf("%s%s to %s: %s%s%s\n", is_rehearsal(flip) ? "rehearsal of " : "",
			text_of(flip, "cluster"), text_of(flip, "to"), colour, end_sentence(flip),
			text_plain());
	show_error(flip);
	show_warnings(flip, "  ");
	if (str_eq(outcome, "refused"))
		show_checks_of(flip);
	if (str_eq(outcome, "stuck"))
		(void)printf("  what to do   flipctl show %s tells what each server shows; flipctl resolve "
			     "%s goes on\n",
			text_of(flip, "id"), text_of(flip, "cluster"));
	else if (wire_get_str(flip, "id"))
		(void)printf("  more         flipctl show %s\n", text_of(flip, "id"));
}
