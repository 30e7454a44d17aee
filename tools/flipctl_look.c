/* flipctl_look: the commands that change nothing, and reload. */
#include "tools/flipctl.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lib/model/grants.h"

/* Asks once; the exit code, with the result in *ret when it is EXIT_DONE. */
static int ask_once(const struct ctl *ctl, const char *cmd, struct wire *args, struct wire **ret)
{
	struct conn *c = conn_open(ctl);

	if (!c) {
		wire_free(args);
		return EXIT_UNREACHABLE;
	}
	int code = conn_ask_plain(c, cmd, args, ret);
	conn_close(c);
	return code;
}

static struct wire *args_with(const char *key, const char *value)
{
	struct wire *args = wire_object();

	if (value)
		wire_set_str(args, key, value);
	return args;
}

/* status */

static int status_once(const struct ctl *ctl, struct conn *c, bool redraw)
{
	const char *name = ctl->nargs ? ctl->args[0] : NULL;
	struct wire *result;
	int code = conn_ask_plain(c, "status", args_with("name", name), &result);

	if (code != EXIT_DONE)
		return code;
	if (redraw)
		(void)fputs("\033[H\033[2J", stdout);
	if (ctl->json)
		code = text_json(result);
	else
		show_status(result, name != NULL);
	wire_free(result);
	return code == EXIT_DONE ? text_flush() : code;
}

int do_status(const struct ctl *ctl)
{
	struct conn *c = conn_open(ctl);

	if (!c)
		return EXIT_UNREACHABLE;
	if (ctl->watch)
		conn_catch_interrupt();
	int code = status_once(ctl, c, ctl->watch && !ctl->json && isatty(STDOUT_FILENO));
	while (ctl->watch && code == EXIT_DONE && !conn_interrupted()) {
		(void)nanosleep(&(struct timespec){.tv_sec = 1}, NULL);
		text_forget();
		if (!conn_interrupted())
			code = status_once(ctl, c, !ctl->json && isatty(STDOUT_FILENO));
	}
	conn_close(c);
	return conn_interrupted() ? EXIT_INTERRUPTED : code;
}

/* check, plan, history, show */

static int show_result(
	const struct ctl *ctl, const char *cmd, struct wire *args, void (*show)(const struct wire *))
{
	struct wire *result;
	int code = ask_once(ctl, cmd, args, &result);

	if (code != EXIT_DONE)
		return code;
	if (ctl->json)
		code = text_json(result);
	else
		show(result);
	wire_free(result);
	return code;
}

static struct wire *name_and_to(const struct ctl *ctl)
{
	struct wire *args = args_with("name", ctl->args[0]);

	wire_set_str(args, "to", ctl->to);
	return args;
}

int do_check(const struct ctl *ctl)
{
	struct wire *result;
	int code = ask_once(ctl, "check", name_and_to(ctl), &result);

	if (code != EXIT_DONE)
		return code;
	if (ctl->json)
		code = text_json(result);
	else
		show_check(result);
	if (code == EXIT_DONE && !wire_get_bool(result, "ready"))
		code = EXIT_REFUSED;
	wire_free(result);
	return code;
}

int do_plan(const struct ctl *ctl)
{
	return show_result(ctl, "plan", name_and_to(ctl), show_plan);
}

int do_history(const struct ctl *ctl)
{
	struct wire *args = args_with("name", ctl->nargs ? ctl->args[0] : NULL);

	if (ctl->limit)
		wire_set_int(args, "limit", ctl->limit);
	return show_result(ctl, "history", args, show_history);
}

int do_show(const struct ctl *ctl)
{
	struct wire *result;

	if (ctl->html) {
		(void)fprintf(stderr, "flipctl: show: --html comes with a later version\n");
		return EXIT_USAGE;
	}
	int code = ask_once(ctl, "show", args_with("id", ctl->args[0]), &result);
	if (code != EXIT_DONE)
		return code;
	if (ctl->json)
		code = text_json(result);
	else
		show_flip(result);
	const char *state = wire_get_str(result, "state");
	if (code == EXIT_DONE && (str_eq(state, "running") || str_eq(state, "recovering")))
		code = EXIT_BUSY;
	wire_free(result);
	return code;
}

/* schedule */

static void show_schedule(const struct wire *document)
{
	const struct wire *list = wire_get(document, "scheduled");

	if (wire_len(list) == 0)
		(void)printf("nothing is scheduled\n");
	for (size_t i = 0; i < wire_len(list); i++) {
		const struct wire *flip = wire_at(list, i);
		(void)printf("%s  %s to %s  %s  %s\n", text_of(flip, "id"), text_of(flip, "name"),
			text_of(flip, "to"), text_time(flip, "at"), text_of(flip, "window"));
	}
}

static void show_nothing(const struct wire *document)
{
	(void)document;
}

int do_schedule_list(const struct ctl *ctl)
{
	return show_result(ctl, "schedule-list", NULL, show_schedule);
}

int do_schedule_cancel(const struct ctl *ctl)
{
	return show_result(ctl, "schedule-cancel", args_with("id", ctl->args[0]), show_nothing);
}

/* grants */

static int grants_json(const char *text)
{
	struct wire *document = wire_object(), *list = wire_set_array(document, "grants");

	while (*text) {
		size_t len = strcspn(text, "\n");
		if (len)
			wire_add_strf(list, "%.*s", (int)len, text);
		text += len + (text[len] == '\n');
	}
	int code = text_json(document);
	wire_free(document);
	return code;
}

static const char *why_no_grants(const char *flavor)
{
	static const char *const later[] = {"mysql", "rds", "aurora"};

	for (size_t i = 0; i < COUNT_OF(later); i++) {
		if (str_eq(flavor, later[i]))
			return "comes with a later version; this one knows mariadb";
	}
	return "no such flavor; there is mariadb";
}

int do_grants(const struct ctl *ctl)
{
	struct strbuf b = {0};
	int code = EXIT_DONE;

	if (grants_text(ctl->args[0], &b) < 0) {
		(void)fprintf(stderr, "flipctl: grants: %s: %s\n", ctl->args[0], why_no_grants(ctl->args[0]));
		code = EXIT_USAGE;
	} else if (ctl->json) {
		code = grants_json(strbuf_str(&b));
	} else {
		(void)fputs(strbuf_str(&b), stdout);
	}
	strbuf_free(&b);
	return code;
}

/* reload, ping, version */

static void show_reload(const struct wire *document)
{
	const struct wire *changed = wire_get(document, "changed");

	(void)printf(wire_len(changed) ? "reloaded; changed:" : "reloaded; nothing changed");
	for (size_t i = 0; i < wire_len(changed); i++)
		(void)printf(" %s", text_clean(wire_str(wire_at(changed, i))));
	(void)printf("\n");
}

static void show_ping(const struct wire *document)
{
	(void)document;
	(void)printf("flipd answers\n");
}

static void show_version(const struct wire *document)
{
	(void)printf("flipctl %s (%s)\nflipd   %s (%s)\n", FLIPD_VERSION, FLIPD_COMMIT,
		text_of(document, "version"), text_of(document, "commit"));
}

int do_reload(const struct ctl *ctl)
{
	return show_result(ctl, "reload", NULL, show_reload);
}

int do_ping(const struct ctl *ctl)
{
	return show_result(ctl, "ping", NULL, show_ping);
}

int do_version(const struct ctl *ctl)
{
	return show_result(ctl, "version", NULL, show_version);
}
