/* test_server: a flip is asked for while flipd starts and control_group is still being looked up. The servers
 * take connections and say nothing. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "daemon/server.h"
#include "tests/unit/peer.h"

#define EARLY_MS 500 /* the look-up ends then at the latest */

static char top[64], control[96];
static int gate[2], notify = -1, silent[2] = {-1, -1};
static uint16_t ports[2];
static bool ready, answered;

int __wrap_getgrnam_r(const char *name, struct group *g, char *buf, size_t size, struct group **ret);

int __wrap_getgrnam_r(const char *name, struct group *g, char *buf, size_t size, struct group **ret)
{
	char c;
	(void)name, (void)g, (void)buf, (void)size;

	(void)!read(gate[0], &c, 1);
	*ret = NULL;
	return 0;
}

static int ask(void)
{
	static const char text[] =
		"{\"id\":1,\"cmd\":\"flip\",\"args\":{\"name\":\"a\",\"to\":\"target\"}}\n";
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", control);
	for (int i = 0; i < 5000 && connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0; i++)
		(void)poll(NULL, 0, 1);
	(void)!send(fd, text, sizeof(text) - 1, MSG_NOSIGNAL);
	return fd;
}

static bool comes(int fd, const char *wanted, int ms)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	char buf[4096];

	while (poll(&p, 1, ms) == 1) {
		ssize_t n = recv(fd, buf, sizeof(buf) - 1, 0);
		if (n <= 0)
			return false;
		buf[n] = '\0';
		if (strstr(buf, wanted))
			return true;
	}
	return false;
}

static void *client(void *arg)
{
	int fd = ask();
	(void)arg;

	answered = comes(fd, "accepted", EARLY_MS);
	(void)close(gate[1]);
	ready = comes(notify, "READY=1", 5000);
	answered = answered || comes(fd, "accepted", 5000);
	for (int i = 0; i < 2; i++)
		(void)close(silent[i]);
	(void)comes(fd, "\"ok\":", 5000);
	(void)close(fd);
	(void)kill(getpid(), SIGTERM);
	return NULL;
}

static void places_make(void)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	struct peer p;

	(void)strcpy(top, "/tmp/flipd-server-XXXXXX");
	assert_non_null(mkdtemp(top));
	(void)snprintf(control, sizeof(control), "%s/control", top);
	(void)snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/notify", top);
	notify = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(notify, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(setenv("NOTIFY_SOCKET", addr.sun_path, 1), 0);
	assert_int_equal(pipe2(gate, O_CLOEXEC), 0);
	for (int i = 0; i < 2; i++) {
		peer_start(&p, NULL);
		silent[i] = p.fd;
		ports[i] = p.port;
	}
}

static struct conf *conf_make(void)
{
	struct conf *conf = NULL;
	struct conf_errors errors = {0};
	char path[96];

	(void)snprintf(path, sizeof(path), "%s/flipd.yaml", top);
	FILE *file = fopen(path, "w");
	assert_non_null(file);
	(void)fchmod(fileno(file), 0600);
	(void)fprintf(file,
		"daemon: {state_dir: %s/state, control_socket: %s, control_group: slow, status_listen: "
		"none}\n"
		"defaults: {user: flipd, password: x, replication: {user: repl, password: y}}\n"
		"clusters:\n  a:\n    source: {host: 127.0.0.1, port: %u}\n    target: {host: 127.0.0.1, "
		"port: %u}\n",
		top, control, (unsigned)ports[0], (unsigned)ports[1]);
	(void)fclose(file);
	if (conf_load(path, &conf, &errors) < 0)
		fail_msg("%s", errors.n ? errors.v[0] : "no configuration");
	conf_errors_free(&errors);
	return conf;
}

static void test_asked_while_it_starts(void **state)
{
	pthread_t thread;
	char command[128];
	bool quiet = false;
	(void)state;

	places_make();
	struct conf *conf = conf_make();
	assert_int_equal(pthread_create(&thread, NULL, client, NULL), 0);
	assert_int_equal(server_main(conf, &quiet), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_true(ready);
	assert_true(answered);
	(void)close(notify);
	(void)close(gate[0]);
	(void)snprintf(command, sizeof(command), "rm -r %s", top);
	assert_int_equal(system(command), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_asked_while_it_starts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
