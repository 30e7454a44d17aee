/*
 * test_hook: hooks that are real programs and a web server of our own: the environment to the letter, exit
 * statuses, time-outs, URLs; and the endpoint and the fence that stand on them.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/base/arena.h"
#include "lib/base/str.h"
#include "lib/io/http.h"
#include "lib/io/proc.h"
#include "lib/model/wire.h"
#include "lib/provider/provider.h"
#include "tests/unit/peer.h"

static char dir[] = "/tmp/test_hook.XXXXXX";
static const struct conf_server source = {.name = "source", .host = "10.1.0.5", .port = 3306};
static const struct conf_server target = {.name = "target", .host = "b.example.test", .port = 3307};
static const struct provider_ctx forth = {.cluster = "shard1",
	.run = "run-7",
	.flip_id = "20261121-1",
	.step = "endpoints",
	.from = CONF_SOURCE,
	.to = CONF_TARGET,
	.old_server = &source,
	.new_server = &target};

static char *path_of(const char *name)
{
	static char paths[4][200];
	static int next;
	char *p = paths[next++ % 4];

	(void)snprintf(p, sizeof(paths[0]), "%s/%s", dir, name);
	return p;
}

/* A program of shell text; $D is the test's directory. */
static char *script(const char *name, const char *text)
{
	char *path = path_of(name);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0700);

	assert_true(fd >= 0);
	assert_true(dprintf(fd, "#!/bin/sh\nD=%s\n%s\n", dir, text) > 0);
	assert_int_equal(close(fd), 0);
	return path;
}

static char *read_file(const char *name)
{
	static char text[4096];
	FILE *f = fopen(path_of(name), "re");

	text[0] = '\0';
	if (f) {
		text[fread(text, 1, sizeof(text) - 1, f)] = '\0';
		(void)fclose(f);
	}
	return text;
}

static enum act run(
	const char *path, const char *action, const struct provider_ctx *ctx, int64_t ms, struct err *err)
{
	err_clear(err);
	return hook_run(path, action, ctx, peer_deadline_us(ms), err);
}

static void environment(void *arg)
{
	struct provider_ctx end = forth;
	struct err err = {0};
	/* cat shows what the kernel was given; a shell would add names of its own. */
	char *path = script("env", "cat /proc/$$/environ | tr '\\0' '\\n' >$D/env.out; echo $# >$D/args.out");
	(void)arg;

	(void)setenv("FLIPD_SECRET", "inherited", 1);
	assert_int_equal(run(path, "switch", &forth, 5000, &err), ACT_DONE);
	assert_string_equal(read_file("env.out"),
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\nFLIPD_ACTION=switch\n"
		"FLIPD_RUN=run-7\nFLIPD_CLUSTER=shard1\nFLIPD_ID=20261121-1\nFLIPD_STEP=endpoints\nFLIPD_"
		"FROM=source\n"
		"FLIPD_TO=target\nFLIPD_OLD_HOST=10.1.0.5\nFLIPD_OLD_PORT=3306\nFLIPD_NEW_HOST=b.example."
		"test\n"
		"FLIPD_NEW_PORT=3307\n");
	assert_string_equal(read_file("args.out"), "0\n");
	end.outcome = "rolled_back";
	end.flip_id = NULL;
	end.old_server = NULL;
	assert_int_equal(run(path, "", &end, 5000, &err), ACT_DONE);
	assert_non_null(strstr(read_file("env.out"), "\nFLIPD_OUTCOME=rolled_back\n"));
	assert_non_null(strstr(read_file("env.out"), "\nFLIPD_ID=\n"));
	assert_non_null(strstr(read_file("env.out"), "\nFLIPD_OLD_PORT=\n"));
}

static void statuses(void *arg)
{
	struct err err = {0};
	(void)arg;

	char *no = script("no", "echo 'no   such\tpool:' >&2; printf 'db1\\n\\n'; exit 3");
	assert_int_equal(run(no, "check", &forth, 5000, &err), ACT_REFUSED);
	assert_non_null(strstr(err.message, "no check: exit status 3: no such pool: db1"));
	assert_int_equal(run(script("killed", "kill -9 $$"), "check", &forth, 5000, &err), ACT_REFUSED);
	assert_non_null(strstr(err.message, "137"));
	assert_int_equal(run(path_of("missing"), "check", &forth, 5000, &err), ACT_REFUSED);
	assert_true(err.code < 0);
	char *loud = script("loud", "head -c 100000 /dev/zero | tr '\\0' 'y'; exit 1");
	assert_int_equal(run(loud, "check", &forth, 5000, &err), ACT_REFUSED);
	assert_true(strlen(err.message) < 500);
}

static void timeouts(void *arg)
{
	struct err err = {0};
	int64_t begin_us = clock_us();
	(void)arg;

	/* A child of the hook dies with it. */
	char *slow = script("slow", "sleep 60 & echo $! >$D/pid.out; wait");
	assert_int_equal(run(slow, "switch", &forth, 400, &err), ACT_UNKNOWN);
	assert_in_range(clock_us() - begin_us, 400000, 1500000);
	assert_int_equal(err.code, -ETIMEDOUT);
	int pid = atoi(read_file("pid.out"));
	assert_true(pid > 1);
	/* A zombie that init has not reaped yet is dead enough. */
	char status[64];
	(void)snprintf(status, sizeof(status), "/proc/%d/stat", pid);
	for (int i = 0; i < 200; i++) {
		char line[300] = "";
		FILE *f = fopen(status, "re");
		if (!f || !fgets(line, sizeof(line), f) || strstr(line, ") Z"))
			pid = 0;
		if (f)
			(void)fclose(f);
		if (!pid)
			break;
		assert_int_equal(fiber_sleep_ms(5), 0);
	}
	assert_int_equal(pid, 0);
}

/* --- URLs --- */

static char posted[4096];
static const char *reply;

static void serve(struct peer *p, int fd)
{
	char buf[4096] = "";
	size_t len = 0;
	(void)p;

	while (!strstr(buf, "\r\n\r\n{") || buf[len - 1] != '}') {
		ssize_t n = peer_read(fd, buf + len, sizeof(buf) - 1 - len, 1);
		if (n < 0)
			return;
		len += (size_t)n;
	}
	(void)str_copy(posted, sizeof(posted), buf);
	if (reply)
		(void)send(fd, reply, strlen(reply), MSG_NOSIGNAL);
	else
		(void)fiber_wait_fd(fd, LOOP_READ, CLOCK_FOREVER);
}

static void check_posted(void)
{
	struct err err = {0};
	struct wire *o = NULL;
	const char *body = strstr(posted, "\r\n\r\n") + 4;

	assert_non_null(strstr(posted, "POST /hook/T0KEN HTTP/1.1\r\n"));
	assert_non_null(strstr(posted, "\r\nContent-Type: application/json\r\n"));
	assert_int_equal(wire_parse(body, strlen(body), &o, &err), 0);
	assert_string_equal(wire_get_str(o, "FLIPD_ACTION"), "after_open");
	assert_string_equal(wire_get_str(o, "FLIPD_TO"), "target");
	assert_string_equal(wire_get_str(o, "FLIPD_OLD_PORT"), "3306");
	assert_null(wire_get(o, "FLIPD_OUTCOME"));
	assert_int_equal(wire_len(o), 11);
	wire_free(o);
}

static void urls(void *arg)
{
	struct peer p;
	struct err err = {0};
	char url[100], dead[32];
	(void)arg;

	peer_start(&p, serve);
	(void)snprintf(url, sizeof(url), "http://%s/hook/T0KEN", p.address);
	reply = "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n";
	assert_int_equal(run(url, "after_open", &forth, 2000, &err), ACT_DONE);
	check_posted();
	reply = "HTTP/1.1 500 Oops\r\nConnection: close\r\nContent-Length: 12\r\n\r\nout of\001 beer";
	assert_int_equal(run(url, "after_open", &forth, 2000, &err), ACT_REFUSED);
	assert_non_null(strstr(err.message, "HTTP status 500: out of beer"));
	assert_non_null(strstr(err.message, p.address));
	assert_null(strstr(err.message, "T0KEN"));
	reply = NULL;
	assert_int_equal(run(url, "after_open", &forth, 200, &err), ACT_UNKNOWN);
	assert_null(strstr(err.message, "T0KEN"));
	peer_dead_address(dead, sizeof(dead));
	(void)snprintf(url, sizeof(url), "http://user:T0KEN@%s", dead);
	assert_int_equal(run(url, "after_open", &forth, 2000, &err), ACT_REFUSED);
	assert_null(strstr(err.message, "T0KEN"));
	http_free();
	peer_stop(&p);
}

/* --- endpoint and fence --- */

/* A proxy whose state is a file with the new master's host in it. */
#define PROXY                                                                                                \
	"echo $FLIPD_ACTION $FLIPD_FROM $FLIPD_TO $FLIPD_OLD_HOST $FLIPD_NEW_HOST >>$D/calls\n"              \
	"case $FLIPD_ACTION in\n"                                                                            \
	"check) test -e $D/ok ;;\n"                                                                          \
	"switch) echo $FLIPD_NEW_HOST >$D/state ;;\n"                                                        \
	"revert) echo $FLIPD_OLD_HOST >$D/state ;;\n"                                                        \
	"verify) test \"$(cat $D/state)\" = $FLIPD_NEW_HOST ;;\n"                                            \
	"esac"

static void endpoint(void *arg)
{
	const struct endpoint_ops *ops = registry_endpoint(CONF_ENDPOINT_HOOK);
	struct conf_endpoint conf = {.kind = CONF_ENDPOINT_HOOK,
		.label = "hook proxy",
		.path = script("proxy", PROXY),
		.timeout_ms = 5000};
	struct endpoint *ep = NULL;
	struct err err = {0};
	enum endpoint_at at;
	char text[300];
	int64_t until = peer_deadline_us(20000);
	(void)arg;

	assert_string_equal(ops->type, "hook");
	assert_int_equal(ops->create(&conf, &ep, &err), 0);
	assert_int_equal(ops->warm(ep, &forth, until, &err), ACT_DONE);
	assert_int_equal(ops->prove(ep, &forth, until, &err), ACT_REFUSED);
	assert_string_equal(err.server, "hook proxy");
	err_clear(&err);
	script("ok", "");
	assert_int_equal(ops->prove(ep, &forth, until, &err), ACT_DONE);
	assert_int_equal(ops->look(ep, &forth, until, &at, &err), ACT_DONE);
	assert_int_equal(at, ENDPOINT_AT_OTHER);
	assert_non_null(strstr(err.message, "neither"));
	err_clear(&err);
	assert_int_equal(ops->switch_to(ep, &forth, CONF_TARGET, until, &err), ACT_DONE);
	assert_int_equal(ops->look(ep, &forth, until, &at, &err), ACT_DONE);
	assert_int_equal(at, ENDPOINT_AT_TARGET);
	assert_int_equal(ops->spread(ep, &forth, CONF_TARGET, until, &err), ACT_DONE);
	assert_int_equal(ops->spread(ep, &forth, CONF_SOURCE, until, &err), ACT_REFUSED);
	assert_int_equal(ops->switch_to(ep, &forth, CONF_SOURCE, until, &err), ACT_DONE);
	assert_non_null(strstr(read_file("calls"), "revert source target 10.1.0.5 b.example.test\n"));
	assert_int_equal(ops->look(ep, &forth, until, &at, &err), ACT_DONE);
	assert_int_equal(at, ENDPOINT_AT_SOURCE);
	assert_non_null(strstr(read_file("calls"), "verify target source b.example.test 10.1.0.5\n"));
	ops->plan(ep, CONF_TARGET, text, sizeof(text));
	assert_non_null(strstr(text, conf.path));
	ops->destroy(ep);
	ops->destroy(NULL);
}

static void slow_endpoint(void *arg)
{
	const struct endpoint_ops *ops = registry_endpoint(CONF_ENDPOINT_HOOK);
	struct conf_endpoint conf = {.kind = CONF_ENDPOINT_HOOK,
		.label = "hook slow",
		.path = script("slow", "sleep 60"),
		.timeout_ms = 150};
	struct endpoint *ep = NULL;
	struct err err = {0};
	enum endpoint_at at = ENDPOINT_AT_SOURCE;
	int64_t begin_us = clock_us();
	(void)arg;

	assert_int_equal(ops->create(&conf, &ep, &err), 0);
	assert_int_equal(ops->switch_to(ep, &forth, CONF_TARGET, peer_deadline_us(20000), &err), ACT_UNKNOWN);
	assert_int_equal(ops->look(ep, &forth, peer_deadline_us(20000), &at, &err), ACT_UNKNOWN);
	assert_int_equal(at, ENDPOINT_AT_SOURCE);
	assert_true(clock_us() - begin_us < 3000000);
	ops->destroy(ep);
}

static void fence(void *arg)
{
	const struct fence_ops *ops = registry_fence(CONF_FENCE_HOOK);
	struct conf_fence conf = {.kind = CONF_FENCE_HOOK,
		.hook_path =
			script("fence", "case $FLIPD_ACTION in close) touch $D/shut ;; open) rm -f $D/shut ;;"
					" verify) test -e $D/shut ;; esac"),
		.hook_timeout_ms = 5000};
	struct err err = {0};
	int64_t until = peer_deadline_us(20000);
	(void)arg;

	assert_int_equal(ops->check(&conf, &forth, until, &err), ACT_DONE);
	assert_int_equal(ops->verify(&conf, &forth, until, &err), ACT_REFUSED);
	assert_int_equal(ops->close(&conf, &forth, until, &err), ACT_DONE);
	assert_int_equal(ops->verify(&conf, &forth, until, &err), ACT_DONE);
	assert_int_equal(ops->open(&conf, &forth, until, &err), ACT_DONE);
	assert_int_equal(ops->verify(&conf, &forth, until, &err), ACT_REFUSED);
}

static void with_proc(void *arg)
{
	void (*body)(void *) = *(void (**)(void *))arg;

	body(NULL);
	loop_stop();
}

static void in_fiber(void (*body)(void *))
{
	assert_int_equal(loop_init(), 0);
	assert_int_equal(proc_init(), 0);
	struct fiber *f = fiber_spawn("test", with_proc, &body);
	loop_run();
	fiber_join(f);
	loop_free();
}

#define TEST(name)                                                                                           \
	static void test_##name(void **state)                                                                \
	{                                                                                                    \
		(void)state;                                                                                 \
		in_fiber(name);                                                                              \
	}

TEST(environment)
TEST(statuses)
TEST(timeouts)
TEST(urls)
TEST(endpoint)
TEST(slow_endpoint)
TEST(fence)

static void test_registry(void **state)
{
	(void)state;
	assert_string_equal(registry_endpoint(CONF_ENDPOINT_DNS)->type, "dns");
	assert_null(registry_endpoint(CONF_ENDPOINT_ROUTE53));
	assert_null(registry_fence(CONF_FENCE_READ_ONLY));
	assert_null(registry_fence(CONF_FENCE_SECURITY_GROUP));
}

static int make_dir(void **state)
{
	(void)state;
	return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
	static const char *const names[] = {"env", "env.out", "args.out", "no", "killed", "loud", "slow",
		"pid.out", "proxy", "ok", "state", "calls", "fence", "shut"};
	(void)state;

	for (size_t i = 0; i < COUNT_OF(names); i++)
		(void)unlink(path_of(names[i]));
	return rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_environment),
		cmocka_unit_test(test_statuses),
		cmocka_unit_test(test_timeouts),
		cmocka_unit_test(test_urls),
		cmocka_unit_test(test_endpoint),
		cmocka_unit_test(test_slow_endpoint),
		cmocka_unit_test(test_fence),
		cmocka_unit_test(test_registry),
	};
	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
