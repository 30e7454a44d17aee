/* test_watch: the end of a watched cluster while others still use it. Nobody listens where its servers are.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>
#include <sys/stat.h>

#include "daemon/adopt.h"
#include "daemon/control.h"
#include "daemon/guard.h"
#include "daemon/reload.h"
#include "daemon/server.h"
#include "daemon/watch.h"
#include "lib/base/arena.h"
#include "lib/io/work.h"
#include "lib/model/wire.h"
#include "lib/store/journal_priv.h"
#include "tests/unit/peer.h"

static struct server server;
static char path[64];
static int closes;

/* The guard's closing, in place of the real one. */
int MAY_WAIT flip_guard_close(struct cluster *c, enum conf_side side, struct err *err)
{
	(void)c, (void)err;
	closes++;
	assert_true(side == CONF_SOURCE || side == CONF_TARGET);
	return fiber_sleep_ms(60000);
}

static void write_conf(const char *cluster, const char *host)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	(void)fchmod(fileno(file), 0600);
	(void)fprintf(file,
		"daemon: {poll_interval: 100ms, control_group: root}\n"
		"defaults: {user: flipd, password: x, replication: {user: repl, password: y}, guard: fence}\n"
		"clusters:\n  %s:\n    source: {host: %s, port: 1}\n    target: {host: 127.0.0.2, port: 1}\n",
		cluster, host);
	(void)fclose(file);
}

static struct conf *conf_of(const char *host)
{
	struct conf *conf = NULL;
	struct conf_errors errors = {0};

	write_conf("a", host);
	if (conf_load(path, &conf, &errors) < 0)
		fail_msg("%s", errors.n ? errors.v[0] : "no configuration");
	conf_errors_free(&errors);
	return conf;
}

static struct watched *begin(const char *host)
{
	struct conf *conf = conf_of(host);
	struct watched *w = NULL;
	struct err err = {0};

	assert_int_equal(watch_new(&server, conf, &conf->clusters[0], &w, &err), 0);
	conf_unref(conf);
	watch_start(w);
	return w;
}

static void MAY_WAIT await_polls(struct cluster *c, int n)
{
	int64_t until[2] = {c->side[0].polls + n, c->side[1].polls + n};

	while (c->side[0].polls < until[0] || c->side[1].polls < until[1])
		assert_int_equal(fiber_cond_wait(&c->polled, peer_deadline_us(5000)), 0);
}

static void nothing(void *arg)
{
	(void)arg;
}

static void forget(void *arg)
{
	watch_free(arg);
}

/* The polls that come while a request still uses the cluster find nothing of what has been freed. */
static void body_used_as_it_goes(void *arg)
{
	struct watched *w = begin("127.0.0.1");
	struct live *live = live_use(w);
	(void)arg;

	await_polls(live->cluster, 1);
	w->guard = fiber_spawn("guard", nothing, NULL);
	struct fiber *end = fiber_spawn("forget", forget, w);
	await_polls(live->cluster, 3);
	assert_false(fiber_done(end));
	live_done(live);
	fiber_join(end);
}

static struct cluster *cluster_of(const char *host)
{
	struct conf *conf = conf_of(host);
	struct cluster *c = NULL;
	struct err err = {0};

	assert_int_equal(cluster_new(conf, &conf->clusters[0], &c, &err), 0);
	conf_unref(conf);
	return c;
}

/* A flip that cannot be read keeps the replacement waiting; a reload puts another in place, and that is that.
 */
static void body_replaced_while_another_waits(void *arg)
{
	struct watched *w = begin("127.0.0.1");
	struct cluster *newest = cluster_of("127.0.0.3");
	(void)arg;

	w->next = cluster_of("127.0.0.1");
	watch_replace(w, newest);
	assert_ptr_equal(w->live->cluster, newest);
	assert_null(w->next);
	watch_free(w);
}

/* A damaged journal may have any JSON in the place of a document. */
static void body_remembers_documents_only(void *arg)
{
	struct watched *w = begin("127.0.0.1");
	struct wire *list = wire_array(), *document = wire_object();
	(void)arg;

	wire_set_str(document, "outcome", "done");
	wire_set_str(document, "from", "target");
	watch_remember(w, document);
	watch_remember(w, list);
	assert_string_equal(wire_get_str(w->last_flip, "outcome"), "done");
	assert_int_equal(w->guarded, CONF_TARGET);
	wire_free(list);
	wire_free(document);
	watch_free(w);
}

static void reload_fiber(void *arg)
{
	struct strbuf errors = {0};
	struct err err = {0};

	assert_int_equal(reload(&server, arg, &errors, &err), 0);
}

static void forget_all(void)
{
	while (server.nwatched) {
		struct watched *w = server.watched[0];
		server_remove(&server, w);
		watch_free(w);
	}
	free(server.watched);
	server.watched = NULL;
	conf_unref(server.conf);
	server.conf = NULL;
}

/* The control socket goes while the group is looked up. */
static void body_stops_while_it_reloads(void *arg)
{
	char sock[96];
	struct wire *changed = NULL;
	struct err err = {0};
	(void)arg;

	(void)snprintf(sock, sizeof(sock), "%s.sock", path);
	server.conf = conf_of("127.0.0.1");
	assert_int_equal(control_start(&server, sock, -1, &server.control, &err), 0);
	struct fiber *f = fiber_spawn("reload", reload_fiber, &changed);
	(void)fiber_yield();
	assert_false(fiber_done(f));
	control_stop(server.control);
	server.control = NULL;
	fiber_join(f);
	assert_int_equal(wire_len(changed), 1);
	wire_free(changed);
	forget_all();
}

/* Between the look and the closing somebody changed masters. */
static void body_overtaken(void *arg)
{
	struct watched *w = begin("127.0.0.1");
	(void)arg;

	closes = 0;
	w->master = CLUSTER_MASTER_BOTH_WRITABLE;
	w->guarded = CONF_SOURCE;
	guard_look(w);
	assert_non_null(w->guard);
	w->master = CLUSTER_MASTER_SOURCE;
	w->guarded = -1;
	for (int i = 0; i < 5; i++)
		(void)fiber_yield();
	assert_int_equal(closes, 0);
	watch_free(w);
}

static void past_flip(const char *id, const char *outcome)
{
	struct wire *document = wire_object();
	struct err err = {0};
	char *text;

	wire_set_str(document, "id", id);
	wire_set_str(document, "from", "source");
	wire_set_str(document, "to", "target");
	wire_set_str(document, "outcome", outcome);
	text = wire_dump(document, 0);
	assert_int_equal(journal_begin(server.journal,
				 &(struct journal_flip){.id = id,
					 .cluster = "a",
					 .from = "source",
					 .to = "target",
					 .state = "running",
					 .config = "x"},
				 &err),
		0);
	assert_int_equal(journal_save(server.journal, id, "ended", outcome, 1, text, &err), 0);
	free(text);
	wire_free(document);
}

/* A reload brings a cluster back that was taken out: what its last flip closed is guarded, however many flips
 * were refused since. */
static void body_comes_back(void *arg)
{
	struct wire *changed = NULL;
	char id[16];
	(void)arg;

	past_flip("done", "done");
	for (int i = 0; i < 12; i++) {
		(void)snprintf(id, sizeof(id), "refused %d", i);
		past_flip(id, "refused");
	}
	server.conf = conf_of("127.0.0.1");
	reload_fiber(&changed);
	wire_free(changed);
	struct watched *w = server_find(&server, "a");
	assert_non_null(w->last_flip);
	assert_string_equal(wire_get_str(w->last_flip, "id"), "refused 11");
	assert_int_equal(w->guarded, CONF_SOURCE);
	forget_all();
}

/* One that was refused, in this life, before the past ones were read. */
static void body_refused_before_they_are_read(void *arg)
{
	struct wire *refused = wire_object();
	(void)arg;

	past_flip("done before", "done");
	server.conf = conf_of("127.0.0.1");
	struct watched *w = NULL;
	assert_int_equal(watch_new(&server, server.conf, &server.conf->clusters[0], &w, NULL), 0);
	server_add(&server, w);
	wire_set_str(refused, "id", "of this life");
	wire_set_str(refused, "from", "target");
	wire_set_str(refused, "to", "source");
	wire_set_str(refused, "outcome", "refused");
	watch_remember(w, refused);
	wire_free(refused);
	assert_int_equal(w->guarded, -1);
	adopt_last(&server, "a");
	assert_string_equal(wire_get_str(w->last_flip, "id"), "of this life");
	assert_int_equal(w->guarded, CONF_SOURCE);
	w->moved = true; /* and one that went through has the last word */
	w->guarded = CONF_TARGET;
	adopt_last(&server, "a");
	assert_int_equal(w->guarded, CONF_TARGET);
	forget_all();
}

/* A flip that cannot be taken up is in the way of others until somebody has looked, whatever is configured.
 */
static void body_unreadable(void *arg)
{
	struct err err = {0};
	(void)arg;

	server.conf = conf_of("127.0.0.1");
	assert_int_equal(
		journal_begin(server.journal,
			&(struct journal_flip){.id = "f",
				.cluster = "a",
				.from = "source",
				.to = "target",
				.state = "running",
				.config = "clusters: {other: {user: u, password: p, replication: {user: r, "
					  "password: "
					  "p}, source: {host: 10.0.0.1}, target: {host: 10.0.0.2}}}\n"},
			&err),
		0);
	assert_int_equal(adopt_unfinished(&server, &err), 0);
	for (int i = 0; i < 3; i++) {
		struct wire *changed = NULL;
		struct watched *w = server_find(&server, "a");
		assert_non_null(w);
		assert_non_null(strstr(w->unreadable, "it was a flip of other"));
		assert_int_equal(w->configured, i > 0 && i % 2 == 0);
		write_conf(i == 0 ? "b" : "a", "127.0.0.1");
		reload_fiber(&changed);
		wire_free(changed);
	}
	forget_all();
}

static void in_daemon(void *arg)
{
	void (*body)(void *) = *(void (**)(void *))arg;

	char dir[] = "/tmp/flipd-watch-XXXXXX", files[96];
	struct err err = {0};

	assert_int_equal(work_init(), 0);
	assert_non_null(mkdtemp(dir));
	assert_int_equal(journal_open(dir, &server.journal, &err), 0);
	body(NULL);
	journal_close(server.journal);
	(void)snprintf(files, sizeof(files), "rm -rf %s", dir);
	assert_int_equal(system(files), 0);
	for (int i = 0; i < 5000 && fiber_count() > 1; i++) /* what is retired stops by itself */
		(void)fiber_sleep_ms(1);
	assert_int_equal(fiber_count(), 1);
	assert_int_equal(work_free(), 0);
}

static void run_body(void (*body)(void *))
{
	if (loop_init() < 0)
		abort();
	struct fiber *f = fiber_spawn("test", in_daemon, &body);
	loop_run();
	fiber_join(f);
	loop_free();
}

static void test_used_as_it_goes(void **state)
{
	(void)state;
	run_body(body_used_as_it_goes);
}

static void test_replaced_while_another_waits(void **state)
{
	(void)state;
	run_body(body_replaced_while_another_waits);
}

static void test_remembers_documents_only(void **state)
{
	(void)state;
	run_body(body_remembers_documents_only);
}

static void test_stops_while_it_reloads(void **state)
{
	(void)state;
	run_body(body_stops_while_it_reloads);
}

static void test_comes_back(void **state)
{
	(void)state;
	run_body(body_comes_back);
}

static void test_refused_before_they_are_read(void **state)
{
	(void)state;
	run_body(body_refused_before_they_are_read);
}

static void test_overtaken(void **state)
{
	(void)state;
	run_body(body_overtaken);
}

static void test_unreadable(void **state)
{
	(void)state;
	run_body(body_unreadable);
}

static int file_make(void **state)
{
	(void)state;
	(void)strcpy(path, "/tmp/flipd-watch-XXXXXX");
	int fd = mkstemp(path);
	return fd < 0 ? -1 : close(fd);
}

static int file_remove(void **state)
{
	(void)state;
	return unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_used_as_it_goes),
		cmocka_unit_test(test_replaced_while_another_waits),
		cmocka_unit_test(test_remembers_documents_only),
		cmocka_unit_test(test_stops_while_it_reloads),
		cmocka_unit_test(test_comes_back),
		cmocka_unit_test(test_refused_before_they_are_read),
		cmocka_unit_test(test_unreadable),
		cmocka_unit_test(test_overtaken),
	};

	return cmocka_run_group_tests(tests, file_make, file_remove);
}
