/* main: flipd's options, what the process is allowed, and its exit status: 0 stopped as asked, 1 usage or
 * configuration, 2 anything else. */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/server.h"
#include "lib/base/log.h"
#include "lib/base/str.h"
#include "lib/flip/flip.h"
#include "lib/flip/preflight.h"
#include "lib/io/sd.h"

#define CONFIG_FILE "/etc/flipd/flipd.yaml"

enum what {
	WHAT_RUN,
	WHAT_CHECK,
	WHAT_PRINT_CONFIG,
	WHAT_STEPS,
	WHAT_STEPS_DOT,
	WHAT_CHECKS,
	WHAT_KEYS,
	WHAT_VERSION,
	WHAT_HELP
};

struct options {
	const char *config;
	enum what what;
};

static const char usage[] = "usage: flipd [OPTION]...\n"
			    "Moves MySQL and MariaDB masters. Runs in the foreground; see flipd(8).\n\n"
			    "  --config FILE        the configuration, " CONFIG_FILE " when not given\n"
			    "  --check-config       read and check it, contact nobody; exit 0 or 1\n"
			    "  --print-config       the effective configuration, secrets as ***\n"
			    "  --print-steps[=dot]  the steps of a flip, as text or as a graph\n"
			    "  --print-checks       the checks of the preflight\n"
			    "  --print-keys         the keys of the configuration\n"
			    "  --version, --help\n";

/* 0, or 1 after having said what is wrong. */
static int read_options(int argc, char **argv, struct options *ret)
{
	enum { OPT_CONFIG = 1, OPT_STEPS, OPT_WHAT };
	static int what;
	static const struct option options[] = {
		{"config", required_argument, NULL, OPT_CONFIG},
		{"check-config", no_argument, &what, WHAT_CHECK},
		{"print-config", no_argument, &what, WHAT_PRINT_CONFIG},
		{"print-steps", optional_argument, NULL, OPT_STEPS},
		{"print-checks", no_argument, &what, WHAT_CHECKS},
		{"print-keys", no_argument, &what, WHAT_KEYS},
		{"version", no_argument, &what, WHAT_VERSION},
		{"help", no_argument, &what, WHAT_HELP},
		{0},
	};
	int c;

	ret->config = CONFIG_FILE;
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == OPT_CONFIG) {
			ret->config = optarg;
		} else if (c == OPT_STEPS && (!optarg || str_eq(optarg, "dot"))) {
			what = optarg ? WHAT_STEPS_DOT : WHAT_STEPS;
		} else if (c != 0) {
			if (c == OPT_STEPS)
				(void)fprintf(stderr, "flipd: --print-steps=%s: only dot is known\n", optarg);
			(void)fputs("Try flipd --help.\n", stderr);
			return 1;
		}
	}
	if (optind < argc) {
		(void)fprintf(stderr, "flipd: %s: no arguments are taken\n%s", argv[optind], usage);
		return 1;
	}
	ret->what = (enum what)what;
	return 0;
}

static int print_text(char *text)
{
	bool bad = !text || fputs(text, stdout) == EOF || fflush(stdout) == EOF;

	free(text);
	return bad ? 2 : 0;
}

static int print_constant(const char *text)
{
	return fputs(text, stdout) == EOF || fflush(stdout) == EOF ? 2 : 0;
}

/* Passwords come into this memory: no core file, no debugger of another process of the same user. */
static void keep_memory_in(void)
{
#ifndef FLIPD_ASAN /* the leak checker looks at the process as a debugger does */
	(void)setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
	(void)prctl(PR_SET_DUMPABLE, 0);
#endif
}

/* Every error goes to stderr, a line each. */
static int read_config(const char *file, struct conf **ret)
{
	struct conf_errors errors = {0};

	keep_memory_in();
	int code = conf_load(file, ret, &errors);

	for (int i = 0; i < errors.n; i++)
		(void)fprintf(stderr, "%s\n", errors.v[i]);
	conf_errors_free(&errors);
	return code < 0 ? 1 : 0;
}

static void print_warnings(const struct conf *conf)
{
	for (int i = 0; i < conf->nwarnings; i++)
		(void)fprintf(stderr, "%s (warning)\n", conf->warnings[i]);
}

static int check_or_print_config(const struct options *options)
{
	struct conf *conf;
	int status = read_config(options->config, &conf);

	if (status)
		return status;
	print_warnings(conf);
	if (options->what == WHAT_PRINT_CONFIG)
		status = print_text(conf_print(conf));
	conf_unref(conf);
	return status;
}

static void prepare_process(void)
{
	struct rlimit files;

	(void)umask(0077);
	(void)signal(SIGPIPE, SIG_IGN);
	/* A thousand clusters are some thousands of connections. */
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &files);
	}
}

static enum log_level wanted_level(void)
{
	return getenv("FLIPD_DEBUG") ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO;
}

static int run(const struct options *options)
{
	struct err err = {0};
	struct conf *conf;

	log_init(sd_stderr_is_journal() ? sd_log_sink : log_sink_stderr, wanted_level());
	if (steps_check(steps, steps_count, &err) < 0) {
		log_at(LOG_LEVEL_ERROR, NULL, "the table of steps is wrong: %s", err_text(&err));
		return 2;
	}
	prepare_process();
	int status = read_config(options->config, &conf);
	if (status)
		return status;
	for (int i = 0; i < conf->nwarnings; i++)
		log_at(LOG_LEVEL_WARNING, NULL, "%s", conf->warnings[i]);
	bool quiet;
	status = server_main(conf, &quiet);
	if (quiet)
		return status;
	/* A worker thread hangs in a connect: the libraries' exit handlers would pull what it uses from under
	 * it. */
	(void)fflush(NULL);
	_exit(status);
}

int main(int argc, char **argv)
{
	struct options options;

	if (read_options(argc, argv, &options))
		return 1;
	switch (options.what) {
	case WHAT_CHECK:
	case WHAT_PRINT_CONFIG:
		return check_or_print_config(&options);
	case WHAT_STEPS:
	case WHAT_STEPS_DOT:
		return print_text(steps_print(options.what == WHAT_STEPS_DOT));
	case WHAT_CHECKS:
		return print_text(preflight_print());
	case WHAT_KEYS:
		return print_text(conf_print_keys());
	case WHAT_VERSION:
		return print_constant("flipd " FLIPD_VERSION " (" FLIPD_COMMIT ")\n");
	case WHAT_HELP:
		return print_constant(usage);
	case WHAT_RUN:
		break;
	}
	return run(&options);
}
