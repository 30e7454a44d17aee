/* flipctl_show: the documents of clusters, checks and plans in words. Flips are in flipctl_report.c. */
#include "tools/flipctl.h"

#include <stdlib.h>

#include "lib/base/arena.h"

/* status */

static const char *master_text(const struct wire *c)
{
	const char *why = wire_get_str(c, "why");

	if (wire_get_str(c, "master"))
		return text_of(c, "master");
	if (str_eq(why, "none_writable"))
		return "none: both closed";
	return str_eq(why, "both_writable") ? "BOTH OPEN" : "not known";
}

static const struct wire *standby_of(const struct wire *c)
{
	const char *master = wire_get_str(c, "master");
	const struct wire *servers = wire_get(c, "servers");

	return wire_at(servers, str_eq(master, "source") ? 1 : 0);
}

static const char *lag_text(const struct wire *replication)
{
	double lag = wire_get_real(replication, "heartbeat_lag_seconds", -1);
	double by_status = wire_get_real(replication, "lag_seconds", -1);

	/* Whole seconds, rounded up: within one of them the heartbeat knows better. */
	if (lag < 0 || by_status > lag + 1)
		lag = by_status;
	return lag < 0 ? "-" : text_printf("%.1f s", lag);
}

static const char *ready_text(const struct wire *c)
{
	const struct wire *ready = wire_get(c, "ready");

	if (wire_get_bool(ready, "target"))
		return "to target";
	if (wire_get_bool(ready, "source"))
		return "to source";
	size_t n = wire_len(wire_get(c, "blockers"));
	return n ? text_printf("no: %s%s", text_of(wire_at(wire_get(c, "blockers"), 0), "name"),
			   n > 1 ? text_printf(" and %zu more", n - 1) : "")
		 : "no";
}

static const char *running_step(const struct wire *flip)
{
	const struct wire *steps = wire_get(flip, "steps");

	for (size_t i = 0; i < wire_len(steps); i++) {
		if (str_eq(wire_get_str(wire_at(steps, i), "state"), "running"))
			return text_printf(", at step %s", text_of(wire_at(steps, i), "name"));
	}
	return "";
}

static const char *flip_text(const struct wire *c)
{
	const struct wire *flip = wire_get(c, "flip"), *last = wire_get(c, "last_flip");

	if (!wire_is_null(flip))
		return text_printf("to %s: %s%s (%s)", text_of(flip, "to"), text_of(flip, "state"),
			running_step(flip), text_of(flip, "id"));
	if (wire_is_null(last))
		return "-";
	return text_printf("to %s: %s, %s, blackout %s", text_of(last, "to"), text_of(last, "outcome"),
		text_time(last, "ended_at"), text_ms(last, "blackout_ms"));
}

static const char *writes_text(const struct wire *s)
{
	if (!wire_get_bool(s, "up"))
		return "does not answer";
	return wire_get_bool(s, "writable") ? "open" : "closed";
}

static const char *replication_text(const struct wire *s)
{
	const struct wire *r = wire_get(s, "replication");
	const char *io = wire_get_str(r, "io"), *sql = wire_get_str(r, "sql");

	if (wire_is_null(r))
		return wire_get_bool(s, "up") ? "none" : "-";
	if (str_ieq(io, "Yes") && str_ieq(sql, "Yes"))
		return text_printf("from %s, %s behind", text_of(r, "from"), lag_text(r));
	return text_printf("from %s, STOPPED (io %s, sql %s) %s", text_of(r, "from"), text_of(r, "io"),
		text_of(r, "sql"), text_of(r, "error"));
}

static void show_servers(const struct wire *servers)
{
	enum { COLUMNS = 5 };
	size_t n = wire_len(servers);
	struct cell *cells = xcalloc((n + 1) * COLUMNS, sizeof(*cells));
	static const char *const heads[COLUMNS] = {"SERVER", "ADDRESS", "VERSION", "WRITES", "REPLICATION"};

	for (int i = 0; i < COLUMNS; i++)
		cells[i].text = heads[i];
	for (size_t i = 0; i < n; i++) {
		const struct wire *s = wire_at(servers, i);
		struct cell *row = &cells[(i + 1) * COLUMNS];
		row[0].text = text_of(s, "name");
		const char *host = text_of(s, "host");
		row[1].text = text_printf(HOST_PORT, HOST_PORT_OF(host, wire_get_int(s, "port", 0)));
		row[2].text = wire_get_str(s, "version") ? text_of(s, "version") : "-";
		row[3] = (struct cell){writes_text(s), wire_get_bool(s, "up") ? NULL : text_bad()};
		row[4].text = replication_text(s);
	}
	text_table(stdout, "  ", cells, (int)n + 1, COLUMNS);
	free(cells);
}

static void show_check_line(const struct wire *check, const char *indent)
{
	const char *server = wire_get_str(check, "server"), *hint = wire_get_str(check, "hint");

	(void)printf("%s%s%s%s%s%s: %s\n", indent, text_state_colour(wire_get_str(check, "result")),
		text_of(check, "name"), text_plain(), server ? " on " : "", server ? text_clean(server) : "",
		text_of(check, "seen"));
	if (hint && hint[0])
		(void)printf("%s    -> %s\n", indent, text_clean(hint));
}

static void show_blockers(const struct wire *c)
{
	const struct wire *blockers = wire_get(c, "blockers");

	if (wire_len(blockers) == 0)
		return;
	(void)printf("  in the way of a flip:\n");
	for (size_t i = 0; i < wire_len(blockers); i++)
		show_check_line(wire_at(blockers, i), "    ");
}

static void show_cluster(const struct wire *c)
{
	const char *state = wire_get_str(c, "state");

	(void)printf("%s: %s%s%s, master %s, ready to flip: %s\n", text_of(c, "name"),
		text_state_colour(state), text_clean(state), text_plain(), master_text(c), ready_text(c));
	show_servers(wire_get(c, "servers"));
	(void)printf("  %s: %s\n", wire_is_null(wire_get(c, "flip")) ? "last flip" : "flip", flip_text(c));
	show_blockers(c);
	if (str_eq(state, "stuck") && !wire_is_null(wire_get(c, "flip")))
		(void)printf("  %san operator is needed%s: flipctl show %s, then flipctl resolve %s\n",
			text_bad(), text_plain(), text_of(wire_get(c, "flip"), "id"), text_of(c, "name"));
	if (str_eq(state, "split_brain"))
		(void)printf(
			"  %sboth sides take writes%s: close the wrong one at once: SET GLOBAL read_only=1, "
			"then kill its sessions\n",
			text_bad(), text_plain());
}

static void show_clusters_table(const struct wire *clusters)
{
	enum { COLUMNS = 6 };
	size_t n = wire_len(clusters);
	struct cell *cells = xcalloc((n + 1) * COLUMNS, sizeof(*cells));
	static const char *const heads[COLUMNS] = {"CLUSTER", "STATE", "MASTER", "LAG", "READY", "FLIP"};

	for (int i = 0; i < COLUMNS; i++)
		cells[i].text = heads[i];
	for (size_t i = 0; i < n; i++) {
		const struct wire *c = wire_at(clusters, i);
		struct cell *row = &cells[(i + 1) * COLUMNS];
		row[0].text = text_of(c, "name");
		row[1] = (struct cell){text_of(c, "state"), text_state_colour(wire_get_str(c, "state"))};
		row[2].text = master_text(c);
		row[3].text = lag_text(wire_get(standby_of(c), "replication"));
		row[4].text = ready_text(c);
		row[5].text = flip_text(c);
	}
	text_table(stdout, "", cells, (int)n + 1, COLUMNS);
	free(cells);
}

void show_status(const struct wire *document, bool details)
{
	const struct wire *clusters = wire_get(document, "clusters");

	if (wire_len(clusters) == 0) {
		(void)printf("no clusters are configured\n");
		return;
	}
	if (!details) {
		show_clusters_table(clusters);
		return;
	}
	for (size_t i = 0; i < wire_len(clusters); i++)
		show_cluster(wire_at(clusters, i));
}

/* check */

static size_t count_results(const struct wire *checks, const char *result)
{
	size_t n = 0;

	for (size_t i = 0; i < wire_len(checks); i++)
		n += str_eq(wire_get_str(wire_at(checks, i), "result"), result);
	return n;
}

static void show_results(const struct wire *checks, const char *result, const char *heading)
{
	if (count_results(checks, result) == 0)
		return;
	(void)printf("\n%s\n", heading);
	for (size_t i = 0; i < wire_len(checks); i++) {
		if (str_eq(wire_get_str(wire_at(checks, i), "result"), result))
			show_check_line(wire_at(checks, i), "  ");
	}
}

void show_check(const struct wire *document)
{
	const struct wire *checks = wire_get(document, "checks");
	bool ready = wire_get_bool(document, "ready");

	(void)printf("%s to %s: %s%s%s: %zu refuse, %zu warn, %zu ok, %zu skipped\n",
		text_of(document, "cluster"), text_of(document, "to"), ready ? text_good() : text_bad(),
		ready ? "ready to flip" : "a flip would be refused", text_plain(),
		count_results(checks, "refuse"), count_results(checks, "warn"), count_results(checks, "ok"),
		count_results(checks, "skip"));
	show_results(checks, "refuse", "In the way:");
	show_results(checks, "warn", "Worth knowing:");
	show_results(checks, "skip", "Not looked at:");
	show_results(checks, "ok", "In order:");
}

/* plan */

void show_plan(const struct wire *document)
{
	const struct wire *list = wire_get(document, "steps");
	const char *last = "";

	(void)printf("What a flip of %s to %s would do now:\n", text_of(document, "cluster"),
		text_of(document, "to"));
	for (size_t i = 0; i < wire_len(list); i++) {
		const struct wire *step = wire_at(list, i);
		const char *name = text_of(step, "name"), *server = wire_get_str(step, "server");

		if (!str_eq(name, last))
			(void)printf("\n%s\n", name);
		last = name;
		(void)printf("  %-8s %-4s %s\n", server ? text_clean(server) : "", text_of(step, "kind"),
			text_of(step, "text"));
	}
}
