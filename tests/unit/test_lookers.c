/* test_lookers: however many look at all clusters at once, one of them goes on at each turn of the loop. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>
#include <sys/stat.h>

#include "daemon/metrics.h"
#include "daemon/page.h"
#include "daemon/server.h"
#include "daemon/status.h"
#include "daemon/watch.h"
#include "lib/base/arena.h"
#include "lib/base/str.h"
#include "lib/store/journal_priv.h"
#include "tests/unit/peer.h"

#define CLUSTERS 40
#define LOOKERS 30

static struct server server;

struct looker {
	void (*print)(struct server *, struct strbuf *);
	struct strbuf text;
	size_t seen;
};

static void print_status(struct server *s, struct strbuf *b)
{
	status_print(s, NULL, 0, b);
}

static void look(void *arg)
{
	struct looker *l = arg;

	l->print(&server, &l->text);
}

static struct conf *conf_make(void)
{
	char path[] = "/tmp/flipd-lookers-XXXXXX";
	struct conf *conf = NULL;
	struct conf_errors errors = {0};
	int fd = mkstemp(path);
	FILE *file = fdopen(fd, "w");

	assert_non_null(file);
	(void)fchmod(fd, 0600);
	(void)fprintf(file, "defaults: {user: flipd, password: x, replication: {user: repl, password: y}}\n"
			    "clusters:\n");
	for (int i = 0; i < CLUSTERS; i++)
		(void)fprintf(file,
			"  a%d:\n    source: {host: 10.1.0.%d, port: 1}\n    target: {host: 10.2.0.%d, port: "
			"1}\n",
			i, i + 1, i + 1);
	(void)fclose(file);
	if (conf_load(path, &conf, &errors) < 0)
		fail_msg("%s", errors.n ? errors.v[0] : "no configuration");
	conf_errors_free(&errors);
	(void)unlink(path);
	return conf;
}

/* How many of them have written something since. */
static int went_on(struct looker *l)
{
	int n = 0;

	for (int i = 0; i < LOOKERS; i++) {
		n += l[i].text.len > l[i].seen;
		l[i].seen = l[i].text.len;
	}
	return n;
}

static void look_all(void (*print)(struct server *, struct strbuf *))
{
	struct looker *l = xcalloc(LOOKERS, sizeof(*l));
	struct fiber *f[LOOKERS];
	struct strbuf alone = {0};

	print(&server, &alone);
	for (int i = 0; i < LOOKERS; i++) {
		l[i].print = print;
		f[i] = fiber_spawn("looker", look, &l[i]);
	}
	(void)fiber_yield(); /* each writes how it begins */
	(void)went_on(l);
	while (fiber_count() > 1) {
		(void)fiber_yield();
		assert_true(went_on(l) <= 1);
	}
	for (int i = 0; i < LOOKERS; i++) {
		fiber_join(f[i]);
		assert_string_equal(strbuf_str(&l[i].text), strbuf_str(&alone));
		strbuf_free(&l[i].text);
	}
	strbuf_free(&alone);
	free(l);
}

static void body_one_at_a_time(void *arg)
{
	struct conf *conf = conf_make();
	struct err err = {0};
	(void)arg;

	server.journal = xcalloc(1, sizeof(*server.journal));
	for (int i = 0; i < CLUSTERS; i++) {
		struct watched *w;
		assert_int_equal(watch_new(&server, conf, &conf->clusters[i], &w, &err), 0);
		server_add(&server, w);
	}
	look_all(print_status);
	look_all(metrics_print);
	look_all(page_print);
	while (server.nwatched > 0) {
		struct watched *w = server.watched[0];
		server_remove(&server, w);
		watch_free(w);
	}
	free(server.watched);
	free(server.journal);
	conf_unref(conf);
}

static void test_one_at_a_time(void **state)
{
	(void)state;
	peer_run(body_one_at_a_time);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_at_a_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
