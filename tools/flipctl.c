/* flipctl: the command line: options and commands are tables; the commands are in flipctl_look.c and
 * flipctl_flip.c. */
#include "tools/flipctl.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#define SOCKET_PATH "/run/flipd/control.sock"

enum option_id {
	OPT_SOCKET,
	OPT_JSON,
	OPT_HELP,
	OPT_VERSION,
	OPT_TO,
	OPT_YES,
	OPT_NO_WAIT,
	OPT_AT,
	OPT_WINDOW,
	OPT_MAX_LAG,
	OPT_MAX_BLACKOUT,
	OPT_SIDE,
	OPT_AS,
	OPT_ACCEPT_LOSS,
	OPT_WATCH,
	OPT_HTML,
	OPT_LIMIT,
	OPT_DRY_RUN,
	OPTIONS
};
#define BIT(id) (1u << (id))
#define EVERYWHERE (BIT(OPT_SOCKET) | BIT(OPT_JSON) | BIT(OPT_HELP) | BIT(OPT_VERSION))

static const struct option options[] = {
	[OPT_SOCKET] = {"socket", required_argument, NULL, OPT_SOCKET},
	[OPT_JSON] = {"json", no_argument, NULL, OPT_JSON},
	[OPT_HELP] = {"help", no_argument, NULL, OPT_HELP},
	[OPT_VERSION] = {"version", no_argument, NULL, OPT_VERSION},
	[OPT_TO] = {"to", required_argument, NULL, OPT_TO},
	[OPT_YES] = {"yes", no_argument, NULL, OPT_YES},
	[OPT_NO_WAIT] = {"no-wait", no_argument, NULL, OPT_NO_WAIT},
	[OPT_AT] = {"at", required_argument, NULL, OPT_AT},
	[OPT_WINDOW] = {"window", required_argument, NULL, OPT_WINDOW},
	[OPT_MAX_LAG] = {"max-lag", required_argument, NULL, OPT_MAX_LAG},
	[OPT_MAX_BLACKOUT] = {"max-blackout", required_argument, NULL, OPT_MAX_BLACKOUT},
	[OPT_SIDE] = {"side", required_argument, NULL, OPT_SIDE},
	[OPT_AS] = {"as", required_argument, NULL, OPT_AS},
	[OPT_ACCEPT_LOSS] = {"accept-loss", no_argument, NULL, OPT_ACCEPT_LOSS},
	[OPT_WATCH] = {"watch", no_argument, NULL, OPT_WATCH},
	[OPT_HTML] = {"html", required_argument, NULL, OPT_HTML},
	[OPT_LIMIT] = {"limit", required_argument, NULL, OPT_LIMIT},
	[OPT_DRY_RUN] = {"dry-run", no_argument, NULL, OPT_DRY_RUN},
	[OPTIONS] = {0},
};

#define WITH_TO " NAME --to SIDE"

static const struct command {
	const char *name, *usage, *help;
	int least, most; /* arguments after the name */
	unsigned options;
	bool needs_to;
	int (*run)(const struct ctl *);
} commands[] = {
	{"status", " [NAME] [--watch]", "the clusters: master, state, ready to flip or why not, last flip", 0,
		1, BIT(OPT_WATCH), .run = do_status},
	{"check", WITH_TO, "every check of the preflight", 1, 1, BIT(OPT_TO), .needs_to = true,
		.run = do_check},
	{"plan", WITH_TO, "the exact statements and calls of a flip, in order", 1, 1, BIT(OPT_TO),
		.needs_to = true, .run = do_plan},
	{"rehearse", WITH_TO, "all that stops no write, timed", 1, 1, BIT(OPT_TO), .needs_to = true,
		.run = do_rehearse},
	{"flip",
		WITH_TO " [--yes] [--no-wait] [--at TIME] [--window HH:MM-HH:MM]\n"
			"              [--max-lag D] [--max-blackout D]",
		"moves the master to that side", 1, 1,
		BIT(OPT_TO) | BIT(OPT_YES) | BIT(OPT_NO_WAIT) | BIT(OPT_AT) | BIT(OPT_WINDOW) |
			BIT(OPT_MAX_LAG) | BIT(OPT_MAX_BLACKOUT),
		.needs_to = true, .run = do_flip},
	{"abort", " NAME", "rolls a flip back, while it can", 1, 1, 0, .run = do_abort},
	{"resolve", " NAME [--side SIDE --as fenced|dead] [--accept-loss] [--yes]",
		"goes on from where a flip stuck", 1, 1,
		BIT(OPT_SIDE) | BIT(OPT_AS) | BIT(OPT_ACCEPT_LOSS) | BIT(OPT_YES), .run = do_resolve},
	{"prepare", " NAME [--dry-run] [--yes]", "creates what a flip needs and is missing", 1, 1,
		BIT(OPT_YES) | BIT(OPT_DRY_RUN), .run = do_prepare},
	{"history", " [NAME] [--limit N]", "past flips, newest first", 0, 1, BIT(OPT_LIMIT),
		.run = do_history},
	{"show", " ID [--html FILE]", "one flip whole", 1, 1, BIT(OPT_HTML), .run = do_show},
	{"schedule list", "", "what is due", 0, 0, 0, .run = do_schedule_list},
	{"schedule cancel", " ID", "takes it back", 1, 1, 0, .run = do_schedule_cancel},
	{"grants", " FLAVOR", "the SQL that creates flipd's accounts; needs no daemon", 1, 1, 0,
		.run = do_grants},
	{"reload", "", "reads the configuration anew, whole or not at all", 0, 0, 0, .run = do_reload},
	{"ping", "", "is flipd there", 0, 0, 0, .run = do_ping},
	{"version", "", "flipctl's and flipd's version", 0, 0, 0, .run = do_version},
};

static int print_help(void)
{
	(void)printf("usage: flipctl [--socket PATH] [--json] COMMAND\n\n");
	for (size_t i = 0; i < COUNT_OF(commands); i++)
		(void)printf("  %s%s\n      %s\n", commands[i].name, commands[i].usage, commands[i].help);
	(void)printf(
		"\nThe socket is --socket, else $FLIPD_SOCKET, else " SOCKET_PATH ".\n"
		"Exit: 0 done, 1 usage, 2 refused, 3 rolled back or aborted, 4 stuck, 5 flipd out of reach,\n"
		"6 not allowed, 7 busy, 130 interrupted. See flipctl(1).\n");
	return EXIT_DONE;
}

static int set_limit(struct ctl *ctl, const char *text)
{
	if (str_parse_int(text, 1, 1000, &ctl->limit) == 0)
		return EXIT_DONE;
	(void)fprintf(stderr, "flipctl: --limit: 1 to 1000 is wanted, not %s\n", text);
	return EXIT_USAGE;
}

/* Options may stand anywhere. *ret_seen: which there were. */
static int read_options(int argc, char **argv, struct ctl *ctl, unsigned *ret_seen)
{
	const char **const texts[OPTIONS] = {
		[OPT_SOCKET] = &ctl->socket,
		[OPT_TO] = &ctl->to,
		[OPT_AT] = &ctl->at,
		[OPT_WINDOW] = &ctl->window,
		[OPT_MAX_LAG] = &ctl->max_lag,
		[OPT_MAX_BLACKOUT] = &ctl->max_blackout,
		[OPT_SIDE] = &ctl->side,
		[OPT_AS] = &ctl->as,
		[OPT_HTML] = &ctl->html,
	};
	bool *const flags[OPTIONS] = {
		[OPT_JSON] = &ctl->json,
		[OPT_YES] = &ctl->yes,
		[OPT_NO_WAIT] = &ctl->no_wait,
		[OPT_WATCH] = &ctl->watch,
		[OPT_ACCEPT_LOSS] = &ctl->accept_loss,
		[OPT_DRY_RUN] = &ctl->dry_run,
	};
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c < 0 || c >= OPTIONS) {
			(void)fputs("Try flipctl --help.\n", stderr);
			return EXIT_USAGE;
		}
		*ret_seen |= BIT((unsigned)c);
		if (texts[c])
			*texts[c] = optarg;
		else if (flags[c])
			*flags[c] = true;
		else if (c == OPT_LIMIT && set_limit(ctl, optarg))
			return EXIT_USAGE;
	}
	return EXIT_DONE;
}

/* "schedule list" is two words of the command line. Moves past what it took. */
static const struct command *find_command(int *argc, char ***argv)
{
	for (size_t i = 0; i < COUNT_OF(commands); i++) {
		const char *blank = strchr(commands[i].name, ' ');
		size_t first = blank ? (size_t)(blank - commands[i].name) : strlen(commands[i].name);
		int words = blank ? 2 : 1;

		if (*argc < words || strlen((*argv)[0]) != first ||
			strncmp((*argv)[0], commands[i].name, first) != 0)
			continue;
		if (blank && !str_eq((*argv)[1], blank + 1))
			continue;
		*argc -= words;
		*argv += words;
		return &commands[i];
	}
	return NULL;
}

static int usage_of(const struct command *command, const char *why)
{
	(void)fprintf(stderr, "flipctl: %s: %s\nusage: flipctl %s%s\n", command->name, why, command->name,
		command->usage);
	return EXIT_USAGE;
}

static int check_usage(const struct command *command, const struct ctl *ctl, unsigned seen)
{
	unsigned foreign = seen & ~(command->options | EVERYWHERE);

	for (unsigned i = 0; i < OPTIONS; i++) {
		if (foreign & BIT(i))
			return usage_of(command, text_printf("does not take --%s", options[i].name));
	}
	if (ctl->nargs < command->least)
		return usage_of(command, "an argument is missing");
	if (ctl->nargs > command->most)
		return usage_of(command, text_printf("%s: too much", ctl->args[command->most]));
	if (command->needs_to && !ctl->to)
		return usage_of(command, "--to is missing");
	if (ctl->to && !str_eq(ctl->to, "source") && !str_eq(ctl->to, "target"))
		return usage_of(command, "--to is source or target");
	if (!ctl->side != !ctl->as)
		return usage_of(command, "--side and --as go together");
	return EXIT_DONE;
}

int main(int argc, char **argv)
{
	const char *from_env = getenv("FLIPD_SOCKET");
	struct ctl ctl = {.socket = from_env && from_env[0] ? from_env : SOCKET_PATH};
	unsigned seen = 0;

	if (read_options(argc, argv, &ctl, &seen))
		return EXIT_USAGE;
	if (seen & BIT(OPT_HELP))
		return print_help();
	ctl.nargs = argc - optind;
	ctl.args = argv + optind;
	if (ctl.nargs == 0 && (seen & BIT(OPT_VERSION))) {
		(void)printf("flipctl %s (%s)\n", FLIPD_VERSION, FLIPD_COMMIT);
		return EXIT_DONE;
	}
	const struct command *command = find_command(&ctl.nargs, &ctl.args);
	if (!command) {
		(void)fprintf(stderr, "flipctl: %s\nTry flipctl --help.\n",
			ctl.nargs ? text_printf("%s: no such command", ctl.args[0]) : "a command is wanted");
		return EXIT_USAGE;
	}
	ctl.name = command->name;
	int code = check_usage(command, &ctl, seen);
	if (code == EXIT_DONE)
		code = command->run(&ctl);
	return code == EXIT_DONE ? text_flush() : code;
}
