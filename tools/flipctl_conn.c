/* flipctl_conn: the control socket: lines out, lines in, Ctrl-C in between. */
#include "tools/flipctl.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/base/arena.h"

#define READ_CHUNK 65536
#define ANSWER_MOST ((size_t)256 << 20)

struct conn {
	char *path;
	int fd;
	bool asked; /* the last request went out whole: it may have been taken */
	int64_t next_id;
	char *in;
	size_t in_len, in_cap;
};

static volatile sig_atomic_t interrupted;

static void on_interrupt(int signo)
{
	(void)signo;
	interrupted = 1;
}

void conn_catch_interrupt(void)
{
	struct sigaction action = {.sa_handler = on_interrupt};

	(void)sigaction(SIGINT, &action, NULL);
}

bool conn_interrupted(void)
{
	return interrupted;
}

/* A connection to the socket, or -1: it has said why. */
static int connect_to(const char *path)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	const char *why = NULL;
	int fd = -1;

	if (strlen(path) >= sizeof(addr.sun_path)) {
		why = "the path is too long";
	} else {
		str_copy(addr.sun_path, sizeof(addr.sun_path), path);
		fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (fd < 0 || connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
			why = strerror(errno);
	}
	if (why) {
		(void)fprintf(stderr,
			"flipctl: flipd does not answer at %s: %s\n"
			"Does flipd run? Another socket is named with --socket or FLIPD_SOCKET.\n",
			path, why);
		if (fd >= 0)
			(void)close(fd);
		return -1;
	}
	return fd;
}

struct conn *conn_open(const struct ctl *ctl)
{
	(void)signal(SIGPIPE, SIG_IGN);
	int fd = connect_to(ctl->socket);
	if (fd < 0)
		return NULL;
	struct conn *c = xcalloc(1, sizeof(*c));
	c->path = xstrdup(ctl->socket);
	c->fd = fd;
	return c;
}

/* Between two requests flipd may have closed it: it lets nobody idle for ever, and may have been restarted
 * while a question was thought over. */
static bool open_again_where_closed(struct conn *c)
{
	char byte;
	ssize_t n = recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);

	if (n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR)))
		return true;
	int fd = connect_to(c->path);
	if (fd < 0)
		return false;
	(void)close(c->fd);
	c->fd = fd;
	c->in_len = 0;
	return true;
}

void conn_close(struct conn *c)
{
	if (!c)
		return;
	(void)close(c->fd);
	free(c->path);
	free(c->in);
	free(c);
}

bool conn_asked(const struct conn *c)
{
	return c->asked;
}

static bool send_all(struct conn *c, const char *data, size_t len)
{
	while (len > 0) {
		ssize_t n = send(c->fd, data, len, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR && !interrupted)
			continue;
		if (n <= 0)
			return false;
		data += n;
		len -= (size_t)n;
	}
	return true;
}

static int64_t ask(struct conn *c, const char *cmd, struct wire *args)
{
	struct wire *request = wire_object();
	int64_t id = ++c->next_id;

	wire_set_int(request, "id", id);
	wire_set_str(request, "cmd", cmd);
	wire_set(request, "args", args ? args : wire_object());
	char *text = wire_dump(request, 0);
	c->asked = open_again_where_closed(c) && send_all(c, text, strlen(text)) && send_all(c, "\n", 1);
	free(text);
	wire_free(request);
	return c->asked ? id : -1;
}

/* 1: something came; 0: the time is over; -1: lost; -2: interrupted. */
static int read_more(struct conn *c, int timeout_ms)
{
	struct pollfd p = {.fd = c->fd, .events = POLLIN};
	int ready = poll(&p, 1, timeout_ms > 0 ? timeout_ms : -1);

	if (interrupted)
		return -2;
	if (ready <= 0)
		return ready == 0 || errno == EINTR ? 0 : -1;
	if (c->in_cap - c->in_len < READ_CHUNK) {
		c->in_cap = (c->in_cap + READ_CHUNK) * 2;
		c->in = xrealloc(c->in, c->in_cap);
	}
	ssize_t n = recv(c->fd, c->in + c->in_len, READ_CHUNK, 0);
	if (n < 0 && errno == EINTR)
		return 0;
	if (n <= 0 || c->in_len + (size_t)n > ANSWER_MOST)
		return -1;
	c->in_len += (size_t)n;
	return 1;
}

/* The next whole line as a value; NULL: none yet, or not understood. *ret_any: a line was there. */
static struct wire *take_line(struct conn *c, bool *ret_any)
{
	char *end = c->in_len ? memchr(c->in, '\n', c->in_len) : NULL;
	struct wire *line = NULL;

	*ret_any = end != NULL;
	if (!end)
		return NULL;
	size_t len = (size_t)(end - c->in);
	if (wire_parse(c->in, len, &line, &(struct err){0}) < 0)
		line = NULL;
	c->in_len -= len + 1;
	memmove(c->in, end + 1, c->in_len);
	return line;
}

static int error_exit(const struct wire *error)
{
	static const struct {
		const char *code;
		int exit_code;
	} codes[] = {
		{"not_allowed", EXIT_NOT_ALLOWED},
		{"busy", EXIT_BUSY},
		{"too_late", EXIT_ROLLED_BACK},
	};
	const char *code = wire_get_str(error, "code");
	const char *message = wire_get_str(error, "message");

	(void)fprintf(
		stderr, "flipctl: %s\n", message ? text_clean(message) : "flipd refused without saying why");
	for (size_t i = 0; i < COUNT_OF(codes); i++) {
		if (str_eq(codes[i].code, code))
			return codes[i].exit_code;
	}
	return EXIT_USAGE;
}

/* True when line is the answer that was waited for: *ret_code says what it was. */
static bool take_answer(const struct wire *line, int64_t id, struct wire **ret, int *ret_code)
{
	const struct wire *line_id = wire_get(line, "id");

	/* An error about what could not be read at all has no id: it is ours, nobody else asks here. */
	if (wire_int(line_id, -1) != id && !(wire_is_null(line_id) && wire_get(line, "error")))
		return false;
	if (wire_bool(wire_get(line, "ok"))) {
		*ret = wire_ref(wire_get(line, "result"));
		*ret_code = EXIT_DONE;
		return true;
	}
	*ret_code = error_exit(wire_get(line, "error"));
	return true;
}

int conn_ask(struct conn *c, const char *cmd, struct wire *args, conn_event_fn fn, int tick_ms, void *arg,
	struct wire **ret)
{
	int64_t id = ask(c, cmd, args);
	int code = EXIT_UNREACHABLE;

	if (id < 0) {
		(void)fprintf(stderr, "flipctl: flipd was not asked, nothing was done\n");
		return interrupted ? EXIT_INTERRUPTED : EXIT_UNREACHABLE;
	}
	for (;;) {
		bool any, answered = false;
		struct wire *line = take_line(c, &any);

		if (line && wire_get(line, "event") && fn)
			fn(wire_get(line, "event"), arg);
		else if (line)
			answered = take_answer(line, id, ret, &code);
		wire_free(line);
		if (answered)
			return code;
		if (any)
			continue;
		int r = read_more(c, tick_ms);
		if (r == -1)
			return EXIT_UNREACHABLE;
		if (r == -2)
			return EXIT_INTERRUPTED;
		if (r == 0 && fn)
			fn(NULL, arg);
	}
}

int conn_ask_plain(struct conn *c, const char *cmd, struct wire *args, struct wire **ret)
{
	int code = conn_ask(c, cmd, args, NULL, 0, NULL, ret);

	if (code == EXIT_UNREACHABLE && c->asked)
		(void)fprintf(
			stderr, "flipctl: flipd went away before it answered; ask again when it runs\n");
	return code;
}
