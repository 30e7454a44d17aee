/* server: start and stop in order. Everything that may wait runs in the fiber of server_start. */
#include "daemon/server.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "daemon/adopt.h"
#include "daemon/control.h"
#include "daemon/reload.h"
#include "daemon/run.h"
#include "daemon/status.h"
#include "daemon/watch.h"
#include "daemon/web.h"
#include "lib/base/arena.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/base/str.h"
#include "lib/io/http.h"
#include "lib/io/httpd.h"
#include "lib/io/loop.h"
#include "lib/io/proc.h"
#include "lib/io/sd.h"
#include "lib/io/work.h"
#include "lib/store/journal.h"

#define STOP_MARGIN_MS 3000  /* beyond max_blackout, for what a flip does at its end */
#define ANSWER_LIMIT_MS 1000 /* for clients to get the answers of what has ended */
#define CLEAN_LIMIT_MS 5000  /* for all that comes after the flips' ends */
#define STATUS_EVERY_MS 1000
#define DISK_SLOW_MS 1000 /* a write that takes longer is told of */
#define RELOAD_LIMIT_MS 5000

/* The list of clusters */

struct watched *server_find(const struct server *server, const char *name)
{
	for (int i = 0; name && i < server->nwatched; i++) {
		if (str_eq(server->watched[i]->name, name))
			return server->watched[i];
	}
	return NULL;
}

void server_add(struct server *server, struct watched *w)
{
	server->watched =
		xrealloc(server->watched, sizeof(*server->watched) * (size_t)(server->nwatched + 1));
	server->watched[server->nwatched++] = w;
}

void server_remove(struct server *server, struct watched *w)
{
	for (int i = 0; i < server->nwatched; i++) {
		if (server->watched[i] != w)
			continue;
		memmove(&server->watched[i], &server->watched[i + 1],
			sizeof(*server->watched) * (size_t)(server->nwatched - i - 1));
		server->nwatched--;
		return;
	}
}

/* Start */

/* A cluster with an unfinished flip is there already, as the flip knew it: what is configured now takes its
 * place when the flip has ended. */
static int make_cluster(struct server *server, const struct conf_cluster *conf, struct err *err)
{
	struct watched *w = server_find(server, conf->name);
	int code;

	if (w) {
		w->configured = true;
		code = cluster_new(server->conf, conf, &w->next, err);
		server_remove(server, w);
	} else {
		code = watch_new(server, server->conf, conf, &w, err);
	}
	if (code == 0)
		server_add(server, w);
	return code;
}

static int make_clusters(struct server *server, struct err *err)
{
	int code = 0;

	for (int i = 0; i < server->conf->nclusters && code == 0; i++)
		code = make_cluster(server, &server->conf->clusters[i], err);
	return code;
}

static int MAY_WAIT open_sockets(struct server *server, struct err *err)
{
	const struct conf_daemon *daemon = &server->conf->daemon;
	int fd_unix, fd_inet;
	/* First: from here to SERVING nothing waits, so that no request is taken up before the flips of the
	 * journal are. */
	gid_t group = reload_find_group(server);

	sd_take_sockets(&fd_unix, &fd_inet);
	int code = control_start(server, daemon->control_socket, fd_unix, &server->control, err);
	if (code < 0) {
		err_wrap(err, "control_socket");
		err_hint(err, "make its directory, writable for flipd's user, or set daemon.control_socket");
		return code;
	}
	control_set_group(server->control, group);
	if (!daemon->status_host && fd_inet < 0)
		return 0;
	code = httpd_start(
		daemon->status_host, daemon->status_port, fd_inet, web_request, server, &server->httpd, err);
	if (code < 0) {
		err_wrap(err, "status_listen");
		err_hint(err,
			"set daemon.status_listen to an address and port that are free here, or to none");
	}
	return code;
}

static int MAY_WAIT begin(struct server *server, struct err *err)
{
	int code = journal_open(server->conf->daemon.state_dir, &server->journal, err);

	if (code < 0) {
		err_wrap(err, "state_dir");
		return code;
	}
	code = adopt_unfinished(server, err);
	if (code == 0)
		code = make_clusters(server, err);
	if (code == 0)
		code = open_sockets(server, err);
	if (code < 0)
		return code;
	for (int i = 0; i < server->nwatched; i++)
		watch_start(server->watched[i]);
	adopt_begin(server);
	server->serving = true;
	sd_tell_ready();
	sd_watchdog_start();
	log_at(LOG_LEVEL_NOTICE, NULL, "flipd %s (%s) watches %d clusters", FLIPD_VERSION, FLIPD_COMMIT,
		server->nwatched);
	return 0;
}

/* Stop */

static int64_t longest_blackout_ms(const struct server *server)
{
	int64_t longest = 0;

	for (int i = 0; i < server->nwatched; i++) {
		const struct run *run = server->watched[i]->run;
		if (!run || !run->active)
			continue;
		int64_t ms = flip_max_blackout_ms(run->flip);
		longest = ms > longest ? ms : longest;
	}
	return longest;
}

static int active_runs(const struct server *server)
{
	int n = 0;

	for (int i = 0; i < server->nwatched; i++)
		n += server->watched[i]->run && server->watched[i]->run->active;
	return n;
}

/* Flips before the fence abort, within it they end or roll back, settling ones are left to the next start. */
static void MAY_WAIT end_flips(struct server *server)
{
	int64_t deadline = clock_us() + (longest_blackout_ms(server) + STOP_MARGIN_MS) * 1000;

	for (int i = 0; i < server->nwatched; i++) {
		struct run *run = server->watched[i]->run;
		if (run && run->active)
			flip_terminate(run->flip);
	}
	while (active_runs(server) > 0) {
		if (fiber_cond_wait(&server->changed, deadline) == -ETIMEDOUT)
			break;
	}
	if (active_runs(server) > 0)
		log_at(LOG_LEVEL_WARNING, NULL,
			"%d flips did not end in time: the next start goes on with them",
			active_runs(server));
}

static void MAY_WAIT let_answer(struct server *server)
{
	int64_t deadline = clock_us() + ANSWER_LIMIT_MS * 1000;

	while (control_running(server->control) > 0 && clock_us() < deadline)
		(void)fiber_sleep_ms(10);
}

/* What was freed or finished just now is cleared away on the loop's next turns: clients, answers of other
 * threads. */
static void MAY_WAIT settle_loop(void)
{
	for (int i = 0; i < 4; i++)
		(void)fiber_yield();
}

/* Clearing away is not worth waiting for: what matters is on disk. */
static void give_up(int events, void *arg)
{
	(void)events, (void)arg;
	log_at(LOG_LEVEL_WARNING, NULL, "not everything could be cleared away in time");
	loop_stop();
}

/*
 * Whether this also frees everything depends on nobody being left who uses it: a flip that did not end in
 * time keeps its cluster and the journal, and goes with the process.
 */
static void MAY_WAIT end(struct server *server)
{
	server->stopping = true;
	sd_tell_stopping(RELOAD_LIMIT_MS + longest_blackout_ms(server) + STOP_MARGIN_MS + ANSWER_LIMIT_MS +
			 CLEAN_LIMIT_MS);
	fiber_stop(server->reader);
	/* A reload under way ends first, none begins any more. */
	bool quiet = fiber_mutex_lock(&server->reloading, clock_us() + RELOAD_LIMIT_MS * 1000) == 0;
	if (quiet)
		fiber_mutex_unlock(&server->reloading);
	end_flips(server);
	if (server->control)
		let_answer(server);
	struct loop_watch *limit =
		loop_watch_once(-1, LOOP_TIMEOUT, clock_us() + CLEAN_LIMIT_MS * 1000, give_up, server);
	bool clean = quiet && active_runs(server) == 0 &&
		     (!server->control || control_running(server->control) == 0);
	control_stop(server->control);
	server->control = NULL;
	httpd_stop(server->httpd);
	sd_watchdog_stop();
	settle_loop();
	if (!clean)
		return;
	while (server->nwatched > 0) {
		struct watched *w = server->watched[server->nwatched - 1];
		server_remove(server, w);
		run_unref(w->run);
		w->run = NULL;
		watch_free(w);
	}
	journal_close(server->journal);
	settle_loop();
	free(server->watched);
	server->watched = NULL;
	conf_unref(server->conf);
	server->conf = NULL;
	loop_unwatch(limit);
	server->clean = true;
}

/* Running */

/* A flip waits for the disk as long as it takes: what must be on disk before a deed is not done without. */
static void watch_disk(struct server *server)
{
	int64_t waits_us = server->journal ? journal_waits_us(server->journal) : 0;
	bool hangs = waits_us >= DISK_SLOW_MS * 1000;

	if (hangs && !server->disk_hangs)
		log_at(LOG_LEVEL_ERROR, NULL,
			"the disk of state_dir %s has not taken a write for %.1f s: flips wait for it, and "
			"where one has fenced, writes stand still; see what holds it up (the kernel's log, "
			"iostat, a full or lost volume)",
			server->conf->daemon.state_dir, (double)waits_us / 1e6);
	if (!hangs && server->disk_hangs)
		log_at(LOG_LEVEL_NOTICE, NULL, "the disk of state_dir %s takes writes again",
			server->conf->daemon.state_dir);
	server->disk_hangs = hangs;
}

static void server_start(void *arg)
{
	struct server *server = arg;
	struct err err = {0};

	if (begin(server, &err) < 0) {
		log_at(LOG_LEVEL_ERROR, NULL, "cannot start: %s", err_text(&err));
		server->exit_status = 2;
		server->signo = SIGTERM;
	}
	while (!server->signo) {
		status_tell(server);
		watch_disk(server);
		(void)fiber_cond_wait(&server->changed, clock_us() + STATUS_EVERY_MS * 1000);
	}
	if (server->exit_status == 0)
		log_at(LOG_LEVEL_NOTICE, NULL, "told to stop by %s", strsignal(server->signo));
	end(server);
	loop_stop();
}

static void on_stop(int signo, void *arg)
{
	struct server *server = arg;

	server->signo = signo;
	fiber_cond_signal(&server->changed);
}

static void on_reload(int signo, void *arg)
{
	struct server *server = arg;
	(void)signo;

	if (server->serving && !server->stopping)
		reload_from_signal(server);
}

static int catch_signals(struct server *server)
{
	int code = loop_signal(SIGTERM, on_stop, server);

	if (code == 0)
		code = loop_signal(SIGINT, on_stop, server);
	if (code == 0)
		code = loop_signal(SIGHUP, on_reload, server);
	return code;
}

static void name_start(struct server *server)
{
	uint64_t word = 0;

	if (getrandom(&word, sizeof(word), 0) != sizeof(word))
		word = (uint64_t)clock_wall_ms() << 20 | (uint64_t)getpid();
	(void)snprintf(server->start_id, sizeof(server->start_id), "%016" PRIx64, word);
	if (gethostname(server->host, sizeof(server->host) - 1) < 0)
		str_copy(server->host, sizeof(server->host), "unknown");
}

int server_main(struct conf *conf, bool *ret_quiet)
{
	static struct server server;

	*ret_quiet = false;
	server = (struct server){.conf = conf};
	name_start(&server);
	if (loop_init() < 0 || work_init() < 0 || proc_init() < 0 || catch_signals(&server) < 0) {
		log_at(LOG_LEVEL_ERROR, NULL, "the event loop cannot be set up");
		return 2;
	}
	fiber_detach(fiber_spawn("server", server_start, &server));
	loop_run();
	if (server.clean) {
		http_free();
		*ret_quiet = work_free() == 0;
		loop_free();
	}
	return server.exit_status;
}
