/*
 * Fuzz target: the control socket, from the bytes to the handler: listen's buffers, JSON, the table of
 * commands, roles, arguments. The first byte says who asks and how the stream is cut, the rest is what the
 * client sends. Whatever it is: each line has exactly one answer, JSON of the documented shape; the cuts
 * change nothing; a handler runs only for who may ask, with arguments that are those of the table.
 */
#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/commands.h"
#include "daemon/reload.h"
#include "daemon/server.h"
#include "daemon/status.h"
#include "lib/base/arena.h"
#include "lib/base/clock.h"
#include "lib/io/listen_priv.h"
#include "lib/io/loop.h"

#define LINE_MOST 65536
#define ANSWERS_MAX 8192
#define PATIENCE_MS 8000

enum { OPERATOR = 1, LONG = 2, CUT = 4 }; /* of the first byte; above them the size of a piece */

struct client {
	const char *data;
	size_t len, piece;
	struct strbuf got;
};

static struct server server;
static char path[100];
static bool operator_asks;

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* --- who asks --- */

void __wrap_listen_peer_read(int fd, struct listen_peer *ret);
void __wrap_listen_peer_read(int fd, struct listen_peer *ret)
{
	(void)fd;
	*ret = (struct listen_peer){.known = true, .uid = operator_asks ? geteuid() : 4711, .gid = 4711};
}

/* --- handlers: they stand for the real ones, and check what they are given --- */

static int handle(struct request *r, struct strbuf *ret, struct err *err)
{
	struct err e = {0};
	const char *name = wire_get_str(r->args, "name");

	assert(r->operator_ == operator_asks);
	assert(r->command->role == ROLE_ANYBODY || operator_asks);
	assert(command_check_args(r->command, r->args, &e) == 0);
	for (const struct argument *a = r->command->args; a->name; a++) {
		const struct wire *v = wire_get(r->args, a->name);
		assert(wire_is_null(v) ? !a->required : wire_type(v) == a->type);
	}
	control_event(r, "step", "20260101-000000", r->args);
	if (r->command->waits)
		(void)fiber_yield();
	if (name && strlen(name) % 2)
		return err_set(err, -ENOENT, "%s: no such thing", name);
	strbuf_add(ret, "{}");
	return 0;
}

#define STAND_IN(fn)                                                                                         \
	int fn(struct request *r, struct strbuf *ret, struct err *err)                                       \
	{                                                                                                    \
		return handle(r, ret, err);                                                                  \
	}
STAND_IN(command_flip)
STAND_IN(command_abort)
STAND_IN(command_rehearse)
STAND_IN(command_resolve)
STAND_IN(command_check)
STAND_IN(command_plan)
STAND_IN(command_prepare)
STAND_IN(command_history)
STAND_IN(command_show)

int reload(struct server *s, struct wire **ret_changed, struct strbuf *errors, struct err *err)
{
	(void)s, (void)ret_changed;
	assert(operator_asks);
	strbuf_add(errors, "flipd.yaml:1: x: no such key\n");
	return err_set(err, -EBADMSG, "flipd.yaml is wrong");
}

void status_print(struct server *s, const char *const *names, int n, struct strbuf *ret)
{
	(void)s, (void)names, (void)n;
	strbuf_add(ret, "{\"clusters\":[]}");
}

struct watched *server_find(const struct server *s, const char *name)
{
	(void)s, (void)name;
	return NULL;
}

/* --- the client --- */

static bool take_answers(struct client *c, int fd)
{
	char buf[65536];
	ssize_t n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);

	if (n > 0)
		strbuf_addn(&c->got, buf, (size_t)n);
	return n > 0 || (n < 0 && errno == EAGAIN);
}

static void client_main(void *arg)
{
	struct client *c = arg;
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int64_t until = clock_us() + PATIENCE_MS * 1000;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	size_t sent = 0;
	bool open = true;

	str_copy(addr.sun_path, sizeof(addr.sun_path), path);
	if (fd < 0 || connect(fd, (const struct sockaddr *)&addr, sizeof(addr)) < 0)
		abort();
	while (open && sent < c->len) {
		size_t n = c->len - sent < c->piece ? c->len - sent : c->piece;
		ssize_t r = send(fd, c->data + sent, n, MSG_NOSIGNAL);
		if (r > 0)
			sent += (size_t)r;
		else if (errno != EAGAIN)
			break; /* told that a line is too long, and closed */
		/* Two turns: one for it to be read, one for what it asked. */
		(void)fiber_yield();
		(void)fiber_wait_fd(fd, r > 0 ? LOOP_READ : LOOP_READ | LOOP_WRITE,
			r > 0 ? clock_us() : clock_us() + 1000000);
		open = take_answers(c, fd);
	}
	(void)shutdown(fd, SHUT_WR);
	while (open) {
		if (fiber_wait_fd(fd, LOOP_READ, until) < 0)
			abort(); /* the answers never end */
		open = take_answers(c, fd);
	}
	(void)close(fd);
	loop_stop();
}

/* --- the answers --- */

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void check_error(const struct wire *e)
{
	static const char *const codes[] = {
		"usage", "not_found", "config", "not_allowed", "busy", "too_late", "too_large", "internal"};
	const char *code = wire_get_str(e, "code"), *message = wire_get_str(e, "message");
	bool known = false;

	for (size_t i = 0; i < COUNT_OF(codes); i++)
		known = known || str_eq(code, codes[i]);
	assert(known && message && *message && wire_len(e) == 2);
	assert(operator_asks || !str_eq(code, "config"));
}

/* Each line is a document; final ones into v, sorted; the number of them. */
static int read_answers(struct strbuf *got, char **v)
{
	char *save = NULL;
	int n = 0;

	assert(got->len == 0 || got->data[got->len - 1] == '\n');
	assert(got->len == 0 || strlen(got->data) == got->len);
	for (char *l = got->len ? strtok_r(got->data, "\n", &save) : NULL; l;
		l = strtok_r(NULL, "\n", &save)) {
		struct wire *a = NULL;
		if (wire_parse(l, strlen(l), &a, NULL) < 0)
			abort();
		enum wire_type id = wire_type(wire_get(a, "id"));
		assert(id != WIRE_ARRAY && id != WIRE_OBJECT);
		if (wire_get(a, "event")) {
			assert(wire_len(a) == 2 && wire_get_str(wire_get(a, "event"), "at"));
		} else {
			assert(wire_len(a) == 3 && wire_type(wire_get(a, "ok")) == WIRE_BOOL);
			if (wire_get_bool(a, "ok"))
				assert(wire_get(a, "result"));
			else
				check_error(wire_get(a, "error"));
			assert(n < ANSWERS_MAX);
			v[n++] = l;
		}
		wire_free(a);
	}
	qsort(v, (size_t)n, sizeof(*v), by_text);
	return n;
}

/* How many answers are due; *ret_too_long: then the connection is closed after one that says so. */
static int due(const char *data, size_t len, bool *ret_too_long)
{
	int n = 0;

	*ret_too_long = false;
	while (len > 0) {
		const char *end = memchr(data, '\n', len);
		size_t line = end ? (size_t)(end - data) : len;
		if (line > LINE_MOST) {
			*ret_too_long = true;
			return n + 1;
		}
		if (!end)
			break;
		n++;
		len -= line + 1;
		data = end + 1;
	}
	return n;
}

static void ask(struct client *c)
{
	fiber_detach(fiber_spawn("client", client_main, c));
	loop_run();
	/* The server's own end of it is still to go. */
	assert(c->got.len <= (size_t)64 << 20);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	static struct control *control;
	struct conf_errors errors;
	struct err err = {0};
	(void)argc, (void)argv;

	(void)snprintf(path, sizeof(path), "/tmp/fuzz-control-%d.sock", (int)getpid());
	if (loop_init() < 0 || conf_load_text("{}", 2, "fuzz", &server.conf, &errors) < 0 ||
		control_start(&server, path, -1, &control, &err) < 0)
		abort();
	return 0;
}

static void run_both(const char *data, size_t len, size_t piece)
{
	static char *cut[ANSWERS_MAX], *whole[ANSWERS_MAX];
	struct client a = {.data = data, .len = len, .piece = piece};
	struct client b = {.data = data, .len = len, .piece = len + 1};
	bool too_long;
	int want = due(data, len, &too_long);

	ask(&a);
	ask(&b);
	int n = read_answers(&a.got, cut), m = read_answers(&b.got, whole);
	/* After a line that is too long those who still wait are not answered any more. */
	assert(too_long ? n <= want && m <= want : n == want && m == want);
	for (int i = 0; !too_long && i < n; i++)
		assert(strstr(cut[i], "\"at\":") || strcmp(cut[i], whole[i]) == 0);
	strbuf_free(&a.got);
	strbuf_free(&b.got);
}

/* One more line, about as long as a line may be, and what would come after it. */
static void add_long(struct strbuf *text, const uint8_t *data, size_t size)
{
	size_t most = LINE_MOST - 8 + (data[0] & 15);

	if (text->len && text->data[text->len - 1] != '\n')
		strbuf_add(text, "\n");
	for (size_t i = 0; i < most; i++) {
		char c = (char)data[i % size];
		strbuf_addn(text, c == '\n' ? " " : &c, 1);
	}
	strbuf_add(text, "\n");
	strbuf_addn(text, (const char *)data, size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct strbuf text = {0};
	size_t piece;

	if (size < 2 || size > ANSWERS_MAX / 4)
		return 0;
	operator_asks = data[0] & OPERATOR;
	strbuf_addn(&text, (const char *)data + 1, size - 1);
	piece = data[0] & CUT ? (size_t)(data[0] >> 3) * 7 + 1 : size;
	if (data[0] & LONG) {
		add_long(&text, data + 1, size - 1);
		piece = piece * 64 + 4096;
	}
	run_both(strbuf_str(&text), text.len, piece);
	strbuf_free(&text);
	return 0;
}
