/* proc: exit status, output, environment, deadline, cancel, the whole group killed, nothing inherited. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "lib/base/clock.h"
#include "lib/base/str.h"
#include "lib/io/fiber.h"
#include "lib/io/loop.h"
#include "lib/io/proc.h"
#include "tests/unit/in_loop.h"

static int setup(void **state)
{
	(void)state;
	assert_int_equal(loop_init(), 0);
	return proc_init();
}

static int teardown(void **state)
{
	(void)state;
	assert_int_equal(fiber_count(), 0);
	loop_free();
	return 0;
}

static const char *const plain_env[] = {"PATH=/usr/bin:/bin", "GREETING=hello there", NULL};

static int MAY_WAIT shell(const char *script, int64_t deadline_us, struct proc_result *ret, struct err *e)
{
	return proc_run((const char *const[]){"/bin/sh", "-c", script, NULL}, plain_env, deadline_us, ret, e);
}

static void status_main(void *arg)
{
	struct proc_result r = {.exit_status = -1};
	struct err e = {0};
	(void)arg;

	assert_int_equal(shell("exit 0", CLOCK_FOREVER, &r, &e), 0);
	assert_int_equal(r.exit_status, 0);
	assert_string_equal(r.output, "");
	assert_int_equal(shell("exit 7", in_ms(5000), &r, &e), 0);
	assert_int_equal(r.exit_status, 7);
	assert_int_equal(shell("kill -TERM $$", in_ms(5000), &r, &e), 0);
	assert_int_equal(r.exit_status, 128 + SIGTERM);
	assert_int_equal(e.code, 0);
	assert_int_equal(
		proc_run((const char *const[]){"/nowhere/hook", NULL}, plain_env, CLOCK_FOREVER, &r, &e),
		-ENOENT);
	assert_non_null(strstr(e.message, "/nowhere/hook"));
	assert_int_equal(
		proc_run((const char *const[]){"sh", NULL}, plain_env, CLOCK_FOREVER, &r, NULL), -EINVAL);
	assert_int_equal(r.exit_status, 128 + SIGTERM);
}

static void test_status(void **state)
{
	(void)state;
	run(status_main, NULL);
}

static void output_main(void *arg)
{
	struct proc_result r;
	(void)arg;

	assert_int_equal(shell("echo \"$GREETING\"; echo oops >&2; echo", in_ms(5000), &r, NULL), 0);
	assert_string_equal(r.output, "hello there\noops");
	assert_int_equal(
		shell("env | cut -d= -f1 | grep -v -e PWD -e SHLVL -e _ | sort", in_ms(5000), &r, NULL), 0);
	assert_string_equal(r.output, "GREETING\nPATH");
	assert_int_equal(shell("printf 'a\\033[1mb\\001\\303\\244\\n'", in_ms(5000), &r, NULL), 0);
	assert_string_equal(r.output, "a?[1mb?\xc3\xa4");
	assert_int_equal(shell("printf 'x\\377y'", in_ms(5000), &r, NULL), 0);
	assert_string_equal(r.output, "x?y");
	/* More than is kept, and more than a pipe holds. */
	assert_int_equal(shell("head -c 300000 /dev/zero | tr '\\0' z; exit 3", in_ms(10000), &r, NULL), 0);
	assert_int_equal(r.exit_status, 3);
	assert_int_equal(strlen(r.output), sizeof(r.output) - 1);
	assert_int_equal(shell("cat; echo end of input", in_ms(5000), &r, NULL), 0);
	assert_string_equal(r.output, "end of input");
}

static void test_output(void **state)
{
	(void)state;
	run(output_main, NULL);
}

static void nothing_inherited_main(void *arg)
{
	struct proc_result r;
	int fd = open("/dev/null", O_RDONLY); /* not close-on-exec, as some library's might be */
	(void)arg;

	assert_true(fd > 2);
	(void)signal(SIGUSR1, SIG_IGN);
	/* ls itself has the directory open as 3. */
	assert_int_equal(shell("exec ls /proc/self/fd", in_ms(5000), &r, NULL), 0);
	assert_string_equal(r.output, "0\n1\n2\n3");
	/* The C library keeps two real-time signals for itself. */
	assert_int_equal(shell("sed -n 's/^Sig[BI][lg][kn]:/0x/p' /proc/self/status | tr -d '\\t'",
				 in_ms(5000), &r, NULL),
		0);
	char *second = NULL;
	assert_true((strtoull(r.output, &second, 16) & 0x7fffffff) == 0 && *second == '\n');
	assert_true((strtoull(second, NULL, 16) & 0x7fffffff) == 0);
	(void)signal(SIGUSR1, SIG_DFL);
	(void)close(fd);
}

static void test_nothing_inherited(void **state)
{
	(void)state;
	run(nothing_inherited_main, NULL);
}

static bool exists(pid_t pid)
{
	char path[64], line[256] = "";

	(void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	FILE *f = fopen(path, "r");
	if (!f)
		return false;
	char *got = fgets(line, sizeof(line), f);
	(void)fclose(f);
	/* A zombie is dead; nobody here reaps a grandchild. */
	return got && !strstr(line, ") Z ");
}

static char pid_file[64];

static pid_t MAY_WAIT read_pid(void)
{
	for (int i = 0; i < 2000; i++) {
		FILE *f = fopen(pid_file, "r");
		int pid = 0;
		if (f) {
			int n = fscanf(f, "%d\n", &pid);
			(void)fclose(f);
			if (n == 1)
				return pid;
		}
		assert_int_equal(fiber_sleep_ms(2), 0);
	}
	fail();
	return 0;
}

static void MAY_WAIT assert_gone(pid_t pid)
{
	for (int i = 0; i < 2000 && exists(pid); i++)
		assert_int_equal(fiber_sleep_ms(2), 0);
	assert_false(exists(pid));
}

static void hang_fn(void *arg)
{
	struct proc_result r = {0};
	struct err e = {0};
	char script[200];

	/* The grandchild ignores what is polite. */
	(void)snprintf(script, sizeof(script), "trap '' TERM; sleep 1000 & echo $! >%s; wait", pid_file);
	*(int *)arg = shell(script, in_ms(60000), &r, &e);
}

static void cancel_main(void *arg)
{
	int r = 0;
	(void)arg;

	struct fiber *f = fiber_spawn("hang", hang_fn, &r);
	pid_t grandchild = read_pid();
	assert_true(exists(grandchild));
	fiber_stop(f);
	assert_int_equal(r, -ECANCELED);
	assert_gone(grandchild);
}

static void test_cancel_kills_the_group(void **state)
{
	(void)state;
	(void)snprintf(pid_file, sizeof(pid_file), "/tmp/test_proc.%d", (int)getpid());
	run(cancel_main, NULL);
	(void)unlink(pid_file);
}

static void deadline_main(void *arg)
{
	struct proc_result r = {.exit_status = -1};
	struct err e = {0};
	(void)arg;

	int64_t begun = clock_us();
	assert_int_equal(shell("exec >&- 2>&-; exec sleep 1000", in_ms(50), &r, &e), -ETIMEDOUT);
	assert_true(clock_us() - begun >= 50000 && clock_us() - begun < 900000);
	assert_int_equal(r.exit_status, -1);
	assert_non_null(strstr(e.message, "killed"));
	/* One that leaves something behind that holds its output: not waited for. */
	begun = clock_us();
	assert_int_equal(shell("sleep 3 & echo left", in_ms(10000), &r, NULL), 0);
	assert_string_equal(r.output, "left");
	assert_true(clock_us() - begun < 2000000);
	fiber_cancel(fiber_self());
	assert_int_equal(shell("exit 0", in_ms(10000), &r, NULL), -ECANCELED);
}

static void test_deadline(void **state)
{
	(void)state;
	run(deadline_main, NULL);
}

static void many_fn(void *arg)
{
	struct proc_result r;
	char script[40];

	(void)snprintf(script, sizeof(script), "exit %d", *(int *)arg);
	assert_int_equal(shell(script, in_ms(20000), &r, NULL), 0);
	assert_int_equal(r.exit_status, *(int *)arg);
}

static void test_many_at_once(void **state)
{
	struct fiber *f[30];
	int n[30];
	(void)state;

	for (int i = 0; i < 30; i++) {
		n[i] = i;
		f[i] = fiber_spawn("many", many_fn, &n[i]);
	}
	loop_run();
	for (int i = 0; i < 30; i++)
		fiber_join(f[i]);
}

static int ended_result;
static bool ended_kept;

static void ended_fiber(void *arg)
{
	struct proc_result r = {.exit_status = -1};
	(void)arg;

	ended_result = shell("exit 3", CLOCK_FOREVER, &r, NULL);
	assert_int_equal(r.exit_status, 3);
	ended_kept = fiber_cancelled();
}

/* The child ends between the cancel and its delivery: what it did is told, and the cancel is not lost. */
static void cancelled_at_the_end_main(void *arg)
{
	struct fiber *f = fiber_spawn("shell", ended_fiber, NULL);
	siginfo_t info;
	(void)arg;

	assert_int_equal(fiber_yield(), 0);
	assert_int_equal(waitid(P_ALL, 0, &info, WEXITED | WNOWAIT), 0);
	fiber_stop(f);
	assert_int_equal(ended_result, 0);
	assert_true(ended_kept);
}

static void test_cancelled_at_the_end(void **state)
{
	(void)state;
	run(cancelled_at_the_end_main, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_status, setup, teardown),
		cmocka_unit_test_setup_teardown(test_output, setup, teardown),
		cmocka_unit_test_setup_teardown(test_nothing_inherited, setup, teardown),
		cmocka_unit_test_setup_teardown(test_cancel_kills_the_group, setup, teardown),
		cmocka_unit_test_setup_teardown(test_cancelled_at_the_end, setup, teardown),
		cmocka_unit_test_setup_teardown(test_deadline, setup, teardown),
		cmocka_unit_test_setup_teardown(test_many_at_once, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
