/* control: requests, replies, limits and roles of the control socket. */
#include "daemon/control.h"

#include <assert.h>
#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/commands.h"
#include "daemon/server.h"
#include "lib/base/arena.h"
#include "lib/base/clock.h"
#include "lib/io/listen.h"
#include "lib/io/work.h"

#define LINE_MOST 65536
#define COSTLY_MOST 16	 /* such requests at once, of all who may only look */
#define WAITING_MOST 256 /* requests in fibers, of all who may only look */
#define USER_WAIT_MS 2000

struct control {
	struct server *server;
	struct listener *listener;
	gid_t group;
	int running;	     /* handlers that have not returned */
	int waiting, costly; /* of those who may only look */
};

static const struct listen_limits limits = {
	.max_clients = 256,
	.max_per_uid = 64,
	.max_held = 16,
	.max_line = LINE_MOST,
	.max_out = (size_t)32 << 20,
	.line_ms = 60000,
	.idle_ms = 600000,
	.full_text =
		"{\"id\":null,\"ok\":false,\"error\":{\"code\":\"busy\",\"message\":\"too many clients\"}}\n",
};

/* Replies */

static const char *code_name(int code)
{
	static const struct {
		int code;
		const char *name;
	} codes[] = {
		{-EINVAL, "usage"},
		{-ENOENT, "not_found"},
		{-EBADMSG, "config"},
		{-EPERM, "not_allowed"},
		{-EBUSY, "busy"},
		{-EALREADY, "too_late"},
		{-E2BIG, "too_large"},
	};

	for (size_t i = 0; i < COUNT_OF(codes); i++) {
		if (codes[i].code == code)
			return codes[i].name;
	}
	return "internal";
}

static void add_id(struct strbuf *b, const struct wire *id)
{
	char *text = wire_dump(id, 0);

	strbuf_addf(b, "{\"id\":%s,", text);
	free(text);
}

static void send_error(struct listen_client *c, const struct wire *id, int code, const char *message)
{
	struct strbuf b = {0};
	struct wire *error = wire_object();

	wire_set_str(error, "code", code_name(code));
	wire_set_str(error, "message", message);
	char *text = wire_dump(error, 0);
	add_id(&b, id);
	strbuf_addf(&b, "\"ok\":false,\"error\":%s}\n", text);
	listen_send(c, strbuf_str(&b), b.len);
	free(text);
	wire_free(error);
	strbuf_free(&b);
}

static void send_result(struct listen_client *c, const struct wire *id, const struct strbuf *result)
{
	struct strbuf b = {0};

	add_id(&b, id);
	strbuf_addf(&b, "\"ok\":true,\"result\":");
	strbuf_addn(&b, result->data, result->len);
	strbuf_add(&b, "}\n");
	listen_send(c, strbuf_str(&b), b.len);
	strbuf_free(&b);
}

void control_event(struct request *r, const char *type, const char *flip, const struct wire *detail)
{
	struct strbuf b = {0};
	char at[32];

	if (!r->client)
		return;
	struct wire *event = wire_object();
	wire_set_str(event, "type", type);
	wire_set_str(event, "flip", flip);
	wire_set_str(event, "at", clock_format_rfc3339(clock_wall_ms(), at, sizeof(at)));
	for (size_t i = 0; i < wire_len(detail); i++) {
		const char *key = wire_key(detail, i);
		if (key && !wire_get(event, key))
			wire_set(event, key, wire_copy(wire_at(detail, i)));
	}
	char *text = wire_dump(event, 0);
	add_id(&b, r->id);
	strbuf_addf(&b, "\"event\":%s}\n", text);
	listen_send(r->client, strbuf_str(&b), b.len);
	free(text);
	wire_free(event);
	strbuf_free(&b);
}

/* Requests */

static void request_unlink(struct request *r)
{
	struct request *first = listen_client_data(r->client), **p = &first;

	while (*p != r)
		p = &(*p)->next;
	*p = r->next;
	listen_client_set_data(r->client, first);
}

static void request_free(struct request *r)
{
	struct control *control = r->control;

	if (r->client) {
		request_unlink(r);
		listen_client_release(r->client);
	}
	control->running--;
	if (r->counted) {
		control->waiting--;
		control->costly -= r->command->costs;
	}
	wire_free(r->line);
	strbuf_free(&r->message);
	free(r);
}

static void request_handle(void *arg)
{
	struct request *r = arg;
	struct strbuf result = {0};
	struct err err = {0};
	int code = r->command->handler(r, &result, &err);

	r->interruptible = false;
	if (r->client && code == 0)
		send_result(r->client, r->id, &result);
	else if (r->client)
		send_error(r->client, r->id, code, r->message.len ? strbuf_str(&r->message) : err_text(&err));
	strbuf_free(&result);
	request_free(r);
}

/* Those who may only look share a bounded number of places; who may change things is never kept out by them.
 */
static int find_place(struct request *r, struct err *err)
{
	struct control *control = r->control;

	if (!r->command->waits || r->operator_)
		return 0;
	if (control->waiting >= WAITING_MOST || (r->command->costs && control->costly >= COSTLY_MOST))
		return err_set(err, -EBUSY, "too many requests at once");
	control->waiting++;
	control->costly += r->command->costs;
	r->counted = true;
	return 0;
}

static bool may_change(const struct control *control, const struct listen_peer *peer)
{
	if (!peer->known)
		return false;
	if (peer->uid == 0 || peer->uid == geteuid())
		return true;
	if (control->group == (gid_t)-1)
		return false;
	for (int i = 0; i < peer->ngroups; i++) {
		if (peer->groups[i] == control->group)
			return true;
	}
	return peer->gid == control->group;
}

/* What may be asked in which words; *ret_id is the request's as soon as it is known. */
static int read_request(struct control *control, const struct listen_peer *peer, const struct wire *line,
	const struct wire **ret_id, const struct command **ret, struct err *err)
{
	static const char *const keys[] = {"id", "cmd", "args", NULL};
	const struct wire *id = wire_get(line, "id");
	struct wire *name, *args;

	if (wire_type(id) == WIRE_ARRAY || wire_type(id) == WIRE_OBJECT)
		return err_set(err, -EINVAL, "id: a number or a string is wanted");
	*ret_id = id;
	int r = wire_only_keys(line, keys, err);
	if (r == 0)
		r = wire_want(line, "cmd", WIRE_STRING, true, &name, err);
	if (r == 0)
		r = wire_want(line, "args", WIRE_OBJECT, false, &args, err);
	if (r != 0)
		return -EINVAL;
	const struct command *command = command_find(wire_str(name));
	if (!command)
		return err_set(err, -EINVAL, "%.64s: no such command", wire_str(name));
	if (command->role == ROLE_OPERATOR && !may_change(control, peer))
		return err_set(err, -EPERM,
			"%s: only root, flipd's own user and members of control_group may", command->name);
	*ret = command;
	return command_check_args(command, args, err);
}

static void request_begin(struct control *control, struct listen_client *c, struct wire *line)
{
	const struct listen_peer *peer = listen_client_peer(c);
	const struct command *command = NULL;
	const struct wire *id = NULL;
	struct err err = {0};
	int code = read_request(control, peer, line, &id, &command, &err);

	if (code < 0) {
		send_error(c, id, code, err_text(&err));
		wire_free(line);
		return;
	}
	struct request *r = xcalloc(1, sizeof(*r));
	*r = (struct request){
		.control = control,
		.server = control->server,
		.client = c,
		.next = listen_client_data(c),
		.command = command,
		.line = line,
		.id = id,
		.args = wire_get(line, "args"),
		.operator_ = may_change(control, peer),
		.uid = peer->uid,
		.pid = peer->pid,
	};
	listen_client_set_data(c, r);
	listen_client_hold(c);
	control->running++;
	code = find_place(r, &err);
	if (code < 0) {
		send_error(c, id, code, err_text(&err));
		request_free(r);
	} else if (command->waits) {
		r->fiber = fiber_spawn(command->name, request_handle, r);
		fiber_detach(r->fiber);
	} else {
		request_handle(r);
	}
}

static void on_line(struct listen_client *c, char *text, size_t len, void *arg)
{
	struct control *control = arg;
	struct wire *line;
	struct err err = {0};
	int code = wire_parse_line(text, len, LINE_MOST, &line, &err);

	if (code < 0)
		send_error(c, NULL, code == -E2BIG ? -E2BIG : -EINVAL, err_text(&err));
	else
		request_begin(control, c, line);
}

static void on_too_long(struct listen_client *c, void *arg)
{
	(void)arg;
	send_error(c, NULL, -E2BIG, "a line is at most 65536 bytes");
}

static void on_close(struct listen_client *c, void *arg)
{
	struct request *next;
	(void)arg;

	for (struct request *r = listen_client_data(c); r; r = next) {
		next = r->next;
		r->client = NULL;
		if (r->interruptible)
			fiber_cancel(r->fiber);
	}
	listen_client_set_data(c, NULL);
}

static const struct listen_ops ops = {.on_line = on_line, .on_too_long = on_too_long, .on_close = on_close};

/* Life */

int control_start(struct server *server, const char *path, int fd, struct control **ret, struct err *err)
{
	struct control *control = xcalloc(1, sizeof(*control));

	control->server = server;
	control->group = (gid_t)-1;
	int r = fd >= 0 ? listen_fd(fd, &limits, &ops, control, &control->listener, err)
			: listen_unix(path, 0666, &limits, &ops, control, &control->listener, err);
	if (r < 0) {
		free(control);
		return r;
	}
	*ret = control;
	return 0;
}

void control_stop(struct control *control)
{
	if (!control)
		return;
	listener_free(control->listener);
	control->listener = NULL;
	/* Handlers that still run hold it; the process ends with them. */
	if (control->running == 0)
		free(control);
}

void control_set_group(struct control *control, gid_t group)
{
	control->group = group;
}

int control_running(const struct control *control)
{
	return control->running;
}

/* Who asks */

struct user_job {
	uid_t uid;
	char name[64];
};

/* Name services may be slow: on a worker thread. */
static void look_up_user(void *arg)
{
	struct user_job *job = arg;
	struct passwd pw, *found = NULL;
	char buf[4096];

	if (getpwuid_r(job->uid, &pw, buf, sizeof(buf), &found) == 0 && found)
		str_copy(job->name, sizeof(job->name), found->pw_name);
}

void control_user(const struct request *r, char *buf, size_t size)
{
	struct user_job *job = xcalloc(1, sizeof(*job));

	job->uid = r->uid;
	(void)snprintf(buf, size, "uid %ju", (uintmax_t)r->uid);
	int code = work_run(look_up_user, free, job, clock_us() + USER_WAIT_MS * 1000);
	if (code == 0 && job->name[0])
		str_copy(buf, size, job->name);
	/* Abandoned, it is freed when the look-up returns at last. */
	if (code == 0 || code == -EAGAIN)
		free(job);
}
