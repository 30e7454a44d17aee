/*
 * proc: one child process per proc_run. posix_spawn (a vfork inside glibc: nothing is copied, whatever the
 * daemon's size), no descriptor but 0, 1, 2, default signals, a process group of its own. SIGCHLD reaps by
 * pid, so that other children of this process are left alone.
 *
 *     RUNNING -> exited (reaped by SIGCHLD) -> freed by the waiting fiber
 *     RUNNING -> killed -> reaped; freed by SIGCHLD if the fiber could not wait for it (a process stuck in
 * the kernel)
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/base/arena.h"
#include "lib/base/clock.h"
#include "lib/base/str.h"
#include "lib/io/fiber.h"
#include "lib/io/loop.h"
#include "lib/io/proc.h"

#define KILL_WAIT_MS 1000

struct child {
	struct child *next;
	pid_t pid;
	bool exited, orphan;
	int status;
	struct fiber_cond cond;
	int fd; /* its output; -1 after the end */
	struct loop_watch *output_watch, *hold;
	size_t len;
	char output[sizeof(((struct proc_result *)NULL)->output)];
};

static struct child *children;

static void child_unlink(struct child *c)
{
	struct child **p = &children;

	while (*p && *p != c)
		p = &(*p)->next;
	assert(*p);
	*p = c->next;
}

static void output_close(struct child *c)
{
	loop_unwatch_always(c->output_watch);
	c->output_watch = NULL;
	if (c->fd >= 0)
		(void)close(c->fd);
	c->fd = -1;
}

static void child_free(struct child *c)
{
	output_close(c);
	loop_unwatch(c->hold);
	child_unlink(c);
	free(c);
}

static void sigchld(int signo, void *arg)
{
	(void)signo, (void)arg;

	for (struct child *c = children, *next; c; c = next) {
		next = c->next;
		if (c->exited || waitpid(c->pid, &c->status, WNOHANG) != c->pid)
			continue;
		c->exited = true;
		if (c->orphan)
			child_free(c);
		else
			fiber_cond_signal(&c->cond);
	}
}

int proc_init(void)
{
	return loop_signal(SIGCHLD, sigchld, NULL);
}

/* Keeps the first bytes, throws the rest away. False at the end of the output. */
static bool output_read(struct child *c)
{
	char buf[4096];
	ssize_t n = read(c->fd, buf, sizeof(buf));

	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	size_t room = sizeof(c->output) - 1 - c->len;
	size_t keep = (size_t)n < room ? (size_t)n : room;
	memcpy(c->output + c->len, buf, keep);
	c->len += keep;
	return n > 0;
}

static void output_ready(int events, void *arg)
{
	struct child *c = arg;
	(void)events;

	if (!output_read(c))
		output_close(c);
}

/* What is in the pipe when the child has ended; a grandchild may hold it open and write on. */
static void output_drain(struct child *c)
{
	size_t before;

	do {
		before = c->len;
	} while (c->fd >= 0 && output_read(c) && c->len > before);
}

/* Printable, whole characters, no line end at the end. */
static void output_give(const struct child *c, char *ret, size_t size)
{
	(void)str_copy(ret, size, c->output);
	bool utf8 = str_utf8_valid(ret, strlen(ret));
	for (char *p = ret; *p; p++) {
		unsigned char ch = (unsigned char)*p;
		if ((ch < 0x20 && ch != '\n' && ch != '\t') || ch == 0x7f || (ch >= 0x80 && !utf8))
			*p = '?';
	}
	size_t n = strlen(ret);
	while (n > 0 && strchr("\n\t ", ret[n - 1]))
		ret[--n] = '\0';
}

static int spawn_with(const char *const argv[], const char *const env[], int out_fd, pid_t *ret)
{
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attr;
	sigset_t all, none;

	(void)sigfillset(&all);
	(void)sigemptyset(&none);
	(void)posix_spawn_file_actions_init(&files);
	(void)posix_spawnattr_init(&attr);
	(void)posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	(void)posix_spawn_file_actions_adddup2(&files, out_fd, STDOUT_FILENO);
	(void)posix_spawn_file_actions_adddup2(&files, out_fd, STDERR_FILENO);
	(void)posix_spawn_file_actions_addclosefrom_np(&files, STDERR_FILENO + 1);
	(void)posix_spawnattr_setpgroup(&attr, 0);
	(void)posix_spawnattr_setsigdefault(&attr, &all);
	(void)posix_spawnattr_setsigmask(&attr, &none);
	(void)posix_spawnattr_setflags(
		&attr, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
	int r = posix_spawn(
		ret, argv[0], &files, &attr, (char *const *)(uintptr_t)argv, (char *const *)(uintptr_t)env);
	(void)posix_spawnattr_destroy(&attr);
	(void)posix_spawn_file_actions_destroy(&files);
	return -r;
}

static void never(int events, void *arg)
{
	(void)events, (void)arg;
}

static int child_new(const char *const argv[], const char *const env[], struct child **ret)
{
	int fds[2];
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	int r = spawn_with(argv, env, fds[1], &pid);
	(void)close(fds[1]);
	if (r < 0) {
		(void)close(fds[0]);
		return r;
	}
	struct child *c = xcalloc(1, sizeof(*c));
	c->pid = pid;
	c->fd = fds[0];
	/* Ours alone: the child's end stays blocking, as programs expect. */
	(void)fcntl(c->fd, F_SETFL, O_NONBLOCK);
	c->output_watch = loop_watch_always(c->fd, LOOP_READ, output_ready, c);
	c->hold = loop_watch_once(-1, 0, CLOCK_FOREVER, never, NULL);
	c->next = children;
	children = c;
	*ret = c;
	return 0;
}

/* Gone when it returns, unless it is stuck in the kernel; then SIGCHLD frees it one day. */
static void MAY_WAIT child_kill(struct child *c)
{
	int64_t until = clock_deadline_ms(KILL_WAIT_MS) * 1000;
	int r = 0;

	(void)kill(-c->pid, SIGKILL);
	fiber_shield();
	while (!c->exited && r == 0)
		r = fiber_cond_wait(&c->cond, until);
	fiber_unshield();
	if (c->exited) {
		child_free(c);
		return;
	}
	c->orphan = true;
	output_close(c);
	loop_unwatch(c->hold);
	c->hold = NULL;
}

int proc_run(const char *const argv[], const char *const env[], int64_t deadline_us, struct proc_result *ret,
	struct err *e)
{
	int64_t begun = clock_us();
	struct child *c = NULL;

	if (!argv[0] || argv[0][0] != '/')
		return err_set(e, -EINVAL, "%s: not an absolute path", argv[0] ? argv[0] : "");
	int r = fiber_check();
	if (r < 0)
		return err_set(e, r, "%s: cancelled before it began", argv[0]);
	r = child_new(argv, env, &c);
	if (r < 0)
		return err_set(e, r, "cannot run %s: %s", argv[0], strerror(-r));
	assert(c);

	while (!c->exited && r == 0)
		r = fiber_cond_wait(&c->cond, deadline_us);
	if (!c->exited) {
		child_kill(c);
		return err_set(e, r, "%s: %s after %lld ms, killed", argv[0],
			r == -ETIMEDOUT ? "not done" : "cancelled", (long long)(clock_us() - begun) / 1000);
	}
	/* It ended before the cancel came through: told, and cancelled at the next wait. */
	if (r == -ECANCELED)
		fiber_cancel(fiber_self());
	output_drain(c);
	output_give(c, ret->output, sizeof(ret->output));
	ret->exit_status = WIFSIGNALED(c->status) ? 128 + WTERMSIG(c->status) : WEXITSTATUS(c->status);
	child_free(c);
	return 0;
}
