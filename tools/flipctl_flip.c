/* flipctl_flip: the commands that change something: flip, rehearse, abort, resolve, prepare. */
#include "tools/flipctl.h"

#include <string.h>
#include <unistd.h>

#define TICK_MS 100 /* how often a running step's time is redrawn */

/* Asking first */

static bool on_terminal(void)
{
	return isatty(STDIN_FILENO) && isatty(STDERR_FILENO);
}

/* What is shown before a question is not the answer: with --json it goes to stderr. */
static int aside_begin(const struct ctl *ctl)
{
	int kept = -1;

	if (ctl->json && fflush(stdout) == 0 && (kept = dup(STDOUT_FILENO)) >= 0)
		(void)dup2(STDERR_FILENO, STDOUT_FILENO);
	return kept;
}

static void aside_end(int kept)
{
	if (kept < 0)
		return;
	(void)fflush(stdout);
	(void)dup2(kept, STDOUT_FILENO);
	(void)close(kept);
}

static bool ask_yes(const char *question)
{
	char line[64];

	(void)fflush(stdout);
	(void)fprintf(stderr, "%s [yes/no] ", question);
	if (!fgets(line, sizeof(line), stdin))
		return false;
	line[strcspn(line, "\n")] = '\0';
	return str_ieq(line, "yes") || str_ieq(line, "y");
}

static int not_done(const char *why)
{
	(void)fprintf(stderr, "flipctl: %s: nothing was done\n", why);
	return EXIT_USAGE;
}

/* A flip is waited for */

static int exit_of(const struct wire *flip)
{
	static const struct {
		const char *outcome;
		int code;
	} codes[] = {
		{"done", EXIT_DONE},
		{"nothing_to_do", EXIT_DONE},
		{"refused", EXIT_REFUSED},
		{"aborted", EXIT_ROLLED_BACK},
		{"rolled_back", EXIT_ROLLED_BACK},
		{"stuck", EXIT_STUCK},
	};
	const char *outcome = wire_get_str(flip, "outcome");

	for (size_t i = 0; i < COUNT_OF(codes); i++) {
		if (str_eq(codes[i].outcome, outcome))
			return codes[i].code;
	}
	return EXIT_UNREACHABLE; /* flipd stopped and left it to its next start */
}

static void explain_lost(const char *name, const char *id)
{
	(void)fprintf(stderr,
		"flipctl: flipd went away meanwhile; when it runs again it goes on by itself. Ask again:\n");
	(void)fprintf(stderr, id[0] ? "  flipctl show %s\n" : "  flipctl history %s\n", id[0] ? id : name);
}

static void explain_interrupted(const char *name, const char *id)
{
	(void)fprintf(stderr,
		"\nflipctl: interrupted; the flip goes on. See it: flipctl %s %s; stop it: flipctl abort "
		"%s\n",
		id[0] ? "show" : "status", id[0] ? id : name, name);
}

/* Asks for what answers with a flip, showing its steps meanwhile. */
static int ask_and_watch(
	const struct ctl *ctl, struct conn *c, const char *cmd, struct wire *args, struct wire **ret)
{
	struct live_view *view = live_new(!ctl->json);

	conn_catch_interrupt();
	int code = conn_ask(c, cmd, args, live_event, TICK_MS, view, ret);
	char id[64];
	str_copy(id, sizeof(id), live_flip_id(view));
	live_free(view);
	if (code == EXIT_UNREACHABLE && conn_asked(c))
		explain_lost(ctl->args[0], id);
	else if (code == EXIT_INTERRUPTED && conn_asked(c))
		explain_interrupted(ctl->args[0], id);
	return code;
}

static int tell_end(const struct ctl *ctl, struct wire *flip)
{
	int code = EXIT_DONE;

	if (ctl->json)
		code = text_json(flip);
	else
		show_end(flip);
	if (code == EXIT_DONE)
		code = exit_of(flip);
	if (code == EXIT_UNREACHABLE)
		explain_lost(ctl->args[0], wire_get_str(flip, "id") ? text_of(flip, "id") : "");
	return code;
}

/* flip */

static const struct wire *cluster_in(const struct wire *status)
{
	return wire_at(wire_get(status, "clusters"), 0);
}

static int show_before_flip(const struct ctl *ctl, struct conn *c)
{
	struct wire *args = wire_object(), *status;

	wire_set_str(args, "name", ctl->args[0]);
	int code = conn_ask_plain(c, "status", args, &status);
	if (code != EXIT_DONE)
		return code;
	int kept = aside_begin(ctl);
	show_status(status, true);
	const struct wire *server =
		wire_at(wire_get(cluster_in(status), "servers"), str_eq(ctl->to, "target"));
	const char *host = text_of(server, "host");
	(void)printf("The master would become %s, " HOST_PORT ".\n", ctl->to,
		HOST_PORT_OF(host, wire_get_int(server, "port", 0)));
	aside_end(kept);
	wire_free(status);
	return EXIT_DONE;
}

static struct wire *flip_args(const struct ctl *ctl)
{
	const struct {
		const char *key, *value;
	} texts[] = {
		{"name", ctl->args[0]},
		{"to", ctl->to},
		{"at", ctl->at},
		{"window", ctl->window},
		{"max_lag", ctl->max_lag},
		{"max_blackout", ctl->max_blackout},
	};
	struct wire *args = wire_object();

	for (size_t i = 0; i < COUNT_OF(texts); i++) {
		if (texts[i].value)
			wire_set_str(args, texts[i].key, texts[i].value);
	}
	wire_set_bool(args, "yes", true);
	wire_set_bool(args, "no_wait", ctl->no_wait);
	return args;
}

static int tell_begun(const struct ctl *ctl, const struct wire *flip)
{
	const char *outcome = wire_get_str(flip, "outcome");

	if (ctl->json) {
		if (text_json(flip))
			return EXIT_USAGE;
	} else if (outcome) {
		show_end(flip);
	} else {
		(void)printf("%s\n", text_of(flip, "id"));
	}
	return str_eq(outcome, "refused") ? EXIT_REFUSED : EXIT_DONE;
}

static int flip_now(const struct ctl *ctl, struct conn *c)
{
	struct wire *flip;
	int code = ask_and_watch(ctl, c, "flip", flip_args(ctl), &flip);

	if (code != EXIT_DONE)
		return code;
	code = ctl->no_wait ? tell_begun(ctl, flip) : tell_end(ctl, flip);
	wire_free(flip);
	return code;
}

int do_flip(const struct ctl *ctl)
{
	if (!ctl->yes && !on_terminal())
		return not_done("flip: not on a terminal and no --yes");
	struct conn *c = conn_open(ctl);
	if (!c)
		return EXIT_UNREACHABLE;
	int code = ctl->yes ? EXIT_DONE : show_before_flip(ctl, c);
	if (code == EXIT_DONE)
		code = ctl->yes || ask_yes("Flip now?") ? flip_now(ctl, c) : not_done("flip");
	conn_close(c);
	return code;
}

/* rehearse: it stops no write, so nothing is asked first */

int do_rehearse(const struct ctl *ctl)
{
	struct conn *c = conn_open(ctl);
	struct wire *args = wire_object(), *flip;

	wire_set_str(args, "name", ctl->args[0]);
	wire_set_str(args, "to", ctl->to);
	if (!c) {
		wire_free(args);
		return EXIT_UNREACHABLE;
	}
	int code = ask_and_watch(ctl, c, "rehearse", args, &flip);
	conn_close(c);
	if (code != EXIT_DONE)
		return code;
	code = tell_end(ctl, flip);
	wire_free(flip);
	return code;
}

/* abort */

int do_abort(const struct ctl *ctl)
{
	struct conn *c = conn_open(ctl);
	struct wire *args = wire_object(), *flip;

	wire_set_str(args, "name", ctl->args[0]);
	if (!c) {
		wire_free(args);
		return EXIT_UNREACHABLE;
	}
	int code = ask_and_watch(ctl, c, "abort", args, &flip);
	conn_close(c);
	if (code != EXIT_DONE)
		return code;
	code = tell_end(ctl, flip);
	wire_free(flip);
	if (code == EXIT_ROLLED_BACK)
		return EXIT_DONE; /* as was asked */
	return code == EXIT_DONE ? EXIT_ROLLED_BACK : code;
}

/* resolve */

static struct wire *resolve_args(const struct ctl *ctl, bool explain)
{
	struct wire *args = wire_object();

	wire_set_str(args, "name", ctl->args[0]);
	if (explain)
		wire_set_bool(args, "explain", true);
	if (ctl->side) {
		wire_set_str(args, "side", ctl->side);
		wire_set_str(args, "as", ctl->as);
	}
	wire_set_bool(args, "accept_loss", ctl->accept_loss);
	wire_set_bool(args, "yes", true);
	return args;
}

/* What each server shows, what would follow, what may be lost: on stderr where stdout is for the answer
 * alone. */
static int explain_resolve(const struct ctl *ctl, struct conn *c)
{
	FILE *f = ctl->json ? stderr : stdout;
	struct wire *result;
	int code = conn_ask_plain(c, "resolve", resolve_args(ctl, true), &result);

	if (code != EXIT_DONE)
		return code;
	(void)fprintf(f, "flip %s is %s\n", text_of(result, "flip"), text_of(result, "state"));
	const char *text = wire_get_str(result, "text");
	while (text && *text) {
		size_t len = strcspn(text, "\n");
		(void)fprintf(f, "  %s\n", text_clean(text_printf("%.*s", (int)len, text)));
		text += len + (text[len] == '\n');
	}
	if (wire_get_bool(result, "may_lose"))
		(void)fprintf(f, "  %sWrites may be lost on this way%s%s\n", text_bad(), text_plain(),
			ctl->accept_loss ? "; --accept-loss is given"
					 : "; what would lose any needs --accept-loss");
	wire_free(result);
	return EXIT_DONE;
}

static int resolve_now(const struct ctl *ctl, struct conn *c)
{
	struct wire *flip;
	int code = ask_and_watch(ctl, c, "resolve", resolve_args(ctl, false), &flip);

	if (code != EXIT_DONE)
		return code;
	bool recovering = str_eq(wire_get_str(flip, "state"), "recovering");
	if (!recovering) {
		code = tell_end(ctl, flip);
	} else {
		code = ctl->json ? text_json(flip) : EXIT_DONE;
		(void)fprintf(stderr,
			"flipctl: still recovering; it looks again by itself. See it: flipctl show %s\n",
			text_of(flip, "id"));
		code = code ? code : EXIT_STUCK;
	}
	wire_free(flip);
	return code;
}

int do_resolve(const struct ctl *ctl)
{
	if (!ctl->yes && !on_terminal())
		return not_done("resolve: not on a terminal and no --yes");
	struct conn *c = conn_open(ctl);
	if (!c)
		return EXIT_UNREACHABLE;
	int code = explain_resolve(ctl, c);
	if (code == EXIT_DONE)
		code = ctl->yes || ask_yes("Go on?") ? resolve_now(ctl, c) : not_done("resolve");
	conn_close(c);
	return code;
}

/* prepare */

static int ask_prepare(const struct ctl *ctl, struct conn *c, bool dry_run, struct wire **ret)
{
	struct wire *args = wire_object();

	wire_set_str(args, "name", ctl->args[0]);
	wire_set_bool(args, "dry_run", dry_run);
	return conn_ask_plain(c, "prepare", args, ret);
}

static void show_statements(const struct wire *result)
{
	const struct wire *list = wire_get(result, "statements");

	if (!wire_get_bool(result, "missing")) {
		(void)printf("%s: nothing is missing on %s, the master\n", text_of(result, "cluster"),
			text_of(result, "server"));
		return;
	}
	(void)printf(
		"%s: missing on %s, the master:\n", text_of(result, "cluster"), text_of(result, "server"));
	for (size_t i = 0; i < wire_len(list); i++)
		(void)printf("  %s\n", text_clean(wire_str(wire_at(list, i))));
}

static int prepare_now(const struct ctl *ctl, struct conn *c)
{
	struct wire *result;
	int code = ask_prepare(ctl, c, false, &result);

	if (code != EXIT_DONE)
		return code;
	if (ctl->json)
		code = text_json(result);
	else
		(void)printf("done\n");
	wire_free(result);
	return code;
}

static int prepare(const struct ctl *ctl, struct conn *c)
{
	struct wire *result;
	int code = ask_prepare(ctl, c, true, &result);

	if (code != EXIT_DONE)
		return code;
	bool missing = wire_get_bool(result, "missing");
	bool over = ctl->dry_run || !missing;
	bool asks = !over && !ctl->yes && on_terminal();
	if (ctl->json && over) {
		code = text_json(result);
	} else if (!ctl->json || asks) {
		int kept = aside_begin(ctl);
		show_statements(result);
		aside_end(kept);
	}
	wire_free(result);
	if (over || code != EXIT_DONE)
		return code;
	if (asks && !ask_yes("Create it?"))
		return not_done("prepare");
	return prepare_now(ctl, c);
}

int do_prepare(const struct ctl *ctl)
{
	struct conn *c = conn_open(ctl);

	if (!c)
		return EXIT_UNREACHABLE;
	int code = prepare(ctl, c);
	conn_close(c);
	return code;
}
