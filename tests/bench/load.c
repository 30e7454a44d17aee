/*
 * load: writers that behave as an application does, and remember every answer. Each thread inserts rows
 * (writer, seq) into app.log, finds the master by its name or by trying the hosts in turn, and logs what it
 * was told:
 *
 *     KIND began ended wall writer seq server errno        times in us; began and ended monotonic
 *
 * KIND is A acknowledged, R refused (certainly not written), U unknown (the answer was lost: it may be
 * there), C could not connect. A seq is never used twice. SIGTERM or SIGINT ends it; the summary goes to
 * stdout as JSON.
 */
#include <errno.h>
#include <getopt.h>
#include <mysql.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/bench/tally.h"
#include "tests/bench/writer.h"

struct load_options opt = {.writers = 8,
	.port = 3306,
	.timeout_s = 5,
	.interval_us = 2000,
	.backoff_us = 1000,
	.user = "app",
	.log_dir = "."};

static const struct option options[] = {{"writers", 1, NULL, 'w'}, {"first-writer", 1, NULL, 'f'},
	{"interval-ms", 1, NULL, 'i'}, {"rate", 1, NULL, 'r'}, {"user", 1, NULL, 'u'},
	{"password-file", 1, NULL, 'p'}, {"port", 1, NULL, 'P'}, {"hosts", 1, NULL, 'h'},
	{"dns", 1, NULL, 'd'}, {"name", 1, NULL, 'n'}, {"log-dir", 1, NULL, 'l'}, {"txn", 1, NULL, 't'},
	{"txn-idle-ms", 1, NULL, 'I'}, {"timeout-s", 1, NULL, 'T'}, {"backoff-ms", 1, NULL, 'b'},
	{"first-seq", 1, NULL, 's'}, {"warm", 0, NULL, 'W'}, {NULL, 0, NULL, 0}};

static int usage(void)
{
	fprintf(stderr, "usage: load (--hosts A,B | --dns ADDRESS:PORT --name NAME) [--port N] [--user U] "
			"[--password-file F]\n"
			"            [--writers N] [--first-writer N] [--first-seq N] [--interval-ms F | "
			"--rate F] [--txn N "
			"[--txn-idle-ms F]]\n"
			"            [--timeout-s N] [--backoff-ms F] [--warm] [--log-dir DIR]\n");
	return 1;
}

static void parse_hosts(char *list)
{
	char *save = NULL;

	for (char *h = strtok_r(list, ",", &save); h && opt.nhosts < HOSTS_MAX;
		h = strtok_r(NULL, ",", &save))
		snprintf(opt.hosts[opt.nhosts++], ADDRESS_MAX, "%s", h);
}

static bool parse_one(int c)
{
	switch (c) {
	case 'w':
		opt.writers = atoi(optarg);
		break;
	case 'f':
		opt.first = atoi(optarg);
		break;
	case 'i':
		opt.interval_us = (int64_t)(atof(optarg) * 1000);
		break;
	case 'r':
		opt.interval_us = atof(optarg) > 0 ? (int64_t)(1e6 / atof(optarg)) : 0;
		break;
	case 'u':
		opt.user = optarg;
		break;
	case 'p':
		opt.password_file = optarg;
		break;
	case 'P':
		opt.port = atoi(optarg);
		break;
	case 'h':
		parse_hosts(optarg);
		break;
	case 'd':
		opt.dns = optarg;
		break;
	case 'n':
		opt.name = optarg;
		break;
	case 'l':
		opt.log_dir = optarg;
		break;
	case 't':
		opt.txn = atoi(optarg);
		break;
	case 'I':
		opt.idle_us = (int64_t)(atof(optarg) * 1000);
		break;
	case 'T':
		opt.timeout_s = atoi(optarg);
		break;
	case 'b':
		opt.backoff_us = (int64_t)(atof(optarg) * 1000);
		break;
	case 's':
		opt.first_seq = atoll(optarg);
		break;
	case 'W':
		opt.warm = true;
		break;
	default:
		return false;
	}
	return true;
}

static int read_password(void)
{
	FILE *f = opt.password_file ? fopen(opt.password_file, "r") : NULL;

	if (!opt.password_file)
		return 0;
	if (!f)
		return -errno;
	if (!fgets(opt.password, sizeof(opt.password), f))
		opt.password[0] = 0;
	opt.password[strcspn(opt.password, "\r\n")] = 0;
	fclose(f);
	return 0;
}

/* Says by an empty file that every writer has had an acknowledged write; then waits for the signal to end. */
static void wait_for_signal(struct tally *tally, const sigset_t *signals)
{
	bool said = false;

	for (;;) {
		struct timespec t = {.tv_nsec = 5000000};
		char path[512];
		FILE *f;

		if (sigtimedwait(signals, NULL, said ? NULL : &t) > 0)
			return;
		if (said || tally_begun(tally) < opt.writers)
			continue;
		snprintf(path, sizeof(path), "%s/ready", opt.log_dir);
		f = fopen(path, "w");
		if (f)
			fclose(f);
		said = true;
	}
}

int main(int argc, char **argv)
{
	struct writer *writers[WRITERS_MAX] = {0};
	struct tally *tally;
	sigset_t signals;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1)
		if (!parse_one(c))
			return usage();
	if (opt.writers < 1 || opt.writers > WRITERS_MAX || (!opt.dns && !opt.nhosts) ||
		(opt.dns && !opt.name) || read_password() < 0)
		return usage();
	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	pthread_sigmask(SIG_BLOCK, &signals, NULL);
	signal(SIGPIPE, SIG_IGN);
	mysql_library_init(0, NULL, NULL);
	tally = tally_new(opt.writers);
	for (int i = 0; i < opt.writers; i++)
		if (writer_start(&writers[i], opt.first + i, tally) < 0) {
			fprintf(stderr, "load: writer %d could not be started in %s\n", i, opt.log_dir);
			return 2;
		}
	wait_for_signal(tally, &signals);
	writer_stop_all();
	for (int i = 0; i < opt.writers; i++)
		writer_join(writers[i]);
	tally_print(tally, stdout);
	tally_free(tally);
	mysql_library_end();
	return 0;
}
