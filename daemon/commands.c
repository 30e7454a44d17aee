/* commands: the table, the checking of arguments, and the commands that wait for nothing but the journal. */
#include "daemon/commands.h"

#include <errno.h>
#include <stdlib.h>

#include "daemon/reload.h"
#include "daemon/server.h"
#include "daemon/status.h"
#include "daemon/watch.h"
#include "lib/base/str.h"

static int command_ping(struct request *r, struct strbuf *ret, struct err *err)
{
	(void)r, (void)err;
	strbuf_add(ret, "{\"pong\":true}");
	return 0;
}

static int command_version(struct request *r, struct strbuf *ret, struct err *err)
{
	struct wire *o = wire_object();
	(void)r, (void)err;

	wire_set_str(o, "version", FLIPD_VERSION);
	wire_set_str(o, "commit", FLIPD_COMMIT);
	command_answer(ret, o);
	return 0;
}

static int MAY_WAIT command_status(struct request *r, struct strbuf *ret, struct err *err)
{
	const char *name = wire_get_str(r->args, "name");
	const struct conf_group *group = name ? conf_find_group(r->server->conf, name) : NULL;

	if (!name) {
		status_print(r->server, NULL, 0, ret);
	} else if (server_find(r->server, name)) {
		status_print(r->server, &name, 1, ret);
	} else if (group) {
		struct conf *held = conf_ref(r->server->conf);
		status_print(r->server, group->clusters.v, group->clusters.n, ret);
		conf_unref(held);
	} else {
		return err_set(err, -ENOENT, "%.64s: no cluster or group of that name", name);
	}
	return 0;
}

static int MAY_WAIT command_reload(struct request *r, struct strbuf *ret, struct err *err)
{
	struct wire *changed = NULL;
	int code = reload(r->server, &changed, &r->message, err);

	if (code < 0)
		return code;
	struct wire *o = wire_object();
	wire_set(o, "changed", changed);
	command_answer(ret, o);
	return 0;
}

static int command_schedule_list(struct request *r, struct strbuf *ret, struct err *err)
{
	(void)r, (void)err;
	strbuf_add(ret, "{\"scheduled\":[]}");
	return 0;
}

static int command_schedule_cancel(struct request *r, struct strbuf *ret, struct err *err)
{
	(void)ret;
	return err_set(err, -ENOENT, "%.64s: nothing of that id is scheduled", wire_get_str(r->args, "id"));
}

#define ARGS(...) ((const struct argument[]){__VA_ARGS__, {0}})
#define NO_ARGS ((const struct argument[]){{0}})
#define NAME                                                                                                 \
	{                                                                                                    \
		.name = "name", .type = WIRE_STRING, .required = true                                        \
	}
#define MAYBE_NAME                                                                                           \
	{                                                                                                    \
		.name = "name", .type = WIRE_STRING                                                          \
	}
#define TO                                                                                                   \
	{                                                                                                    \
		.name = "to", .type = WIRE_STRING, .required = true                                          \
	}
#define YES                                                                                                  \
	{                                                                                                    \
		.name = "yes", .type = WIRE_BOOL                                                             \
	}

const struct command commands[] = {
	{.name = "status",
		.help = "the clusters as they are",
		.args = ARGS(MAYBE_NAME),
		.waits = true,
		.handler = command_status},
	{.name = "check",
		.help = "the preflight",
		.args = ARGS(NAME, TO),
		.waits = true,
		.costs = true,
		.handler = command_check},
	{.name = "plan",
		.help = "the exact statements and calls of a flip",
		.args = ARGS(NAME, TO),
		.waits = true,
		.costs = true,
		.handler = command_plan},
	{.name = "rehearse",
		.role = ROLE_OPERATOR,
		.help = "all that stops no write, timed",
		.args = ARGS(NAME, TO),
		.waits = true,
		.handler = command_rehearse},
	{.name = "flip",
		.role = ROLE_OPERATOR,
		.help = "flips a cluster",
		.args = ARGS(NAME, TO, YES, {.name = "no_wait", .type = WIRE_BOOL},
			{.name = "at", .type = WIRE_STRING}, {.name = "window", .type = WIRE_STRING},
			{.name = "max_lag", .type = WIRE_STRING},
			{.name = "max_blackout", .type = WIRE_STRING}),
		.waits = true,
		.handler = command_flip},
	{.name = "abort",
		.role = ROLE_OPERATOR,
		.help = "rolls back, while it can",
		.args = ARGS(NAME),
		.waits = true,
		.handler = command_abort},
	{.name = "resolve",
		.role = ROLE_OPERATOR,
		.help = "looks again and goes on from where the flip stuck",
		.args = ARGS(NAME, YES, {.name = "side", .type = WIRE_STRING},
			{.name = "as", .type = WIRE_STRING}, {.name = "accept_loss", .type = WIRE_BOOL},
			{.name = "explain", .type = WIRE_BOOL}),
		.waits = true,
		.handler = command_resolve},
	{.name = "prepare",
		.role = ROLE_OPERATOR,
		.help = "creates what a flip needs and is missing",
		.args = ARGS(NAME, YES, {.name = "dry_run", .type = WIRE_BOOL}),
		.waits = true,
		.handler = command_prepare},
	{.name = "history",
		.help = "past flips, newest first",
		.args = ARGS(MAYBE_NAME, {.name = "limit", .type = WIRE_INT}),
		.waits = true,
		.costs = true,
		.handler = command_history},
	{.name = "show",
		.help = "one flip whole",
		.args = ARGS({.name = "id", .type = WIRE_STRING, .required = true}),
		.waits = true,
		.costs = true,
		.handler = command_show},
	{.name = "schedule-list",
		.alias = "schedule_list",
		.help = "what is due",
		.args = NO_ARGS,
		.handler = command_schedule_list},
	{.name = "schedule-cancel",
		.alias = "schedule_cancel",
		.role = ROLE_OPERATOR,
		.help = "takes it back",
		.args = ARGS({.name = "id", .type = WIRE_STRING, .required = true}),
		.handler = command_schedule_cancel},
	{.name = "reload",
		.role = ROLE_OPERATOR,
		.help = "reads the configuration anew, whole or not at all",
		.args = NO_ARGS,
		.waits = true,
		.handler = command_reload},
	{.name = "ping", .help = "is flipd there", .args = NO_ARGS, .handler = command_ping},
	{.name = "version", .help = "flipd's version", .args = NO_ARGS, .handler = command_version},
};
const int commands_count = (int)COUNT_OF(commands);

const struct command *command_find(const char *name)
{
	for (int i = 0; i < commands_count; i++) {
		if (str_eq(commands[i].name, name) || (commands[i].alias && str_eq(commands[i].alias, name)))
			return &commands[i];
	}
	return NULL;
}

struct known_args {
	const struct command *command;
	struct err *err;
};

static int check_known(const char *key, struct wire *value, void *arg)
{
	const struct known_args *known = arg;
	(void)value;

	for (const struct argument *a = known->command->args; a->name; a++) {
		if (str_eq(a->name, key))
			return 0;
	}
	return err_set(known->err, -EINVAL, "%s: %.64s: no such argument", known->command->name, key);
}

int command_check_args(const struct command *command, const struct wire *args, struct err *err)
{
	struct known_args known = {command, err};
	struct wire *value;

	if (wire_each_key(args, check_known, &known) < 0)
		return -EINVAL;
	for (const struct argument *a = command->args; a->name; a++) {
		if (wire_want(args, a->name, a->type, a->required, &value, err) < 0) {
			err_wrap(err, "%s", command->name);
			return -EINVAL;
		}
	}
	return 0;
}

/* Shared by handlers */

int command_cluster(const struct request *r, struct watched **ret, struct err *err)
{
	const char *name = wire_get_str(r->args, "name");
	struct watched *w = server_find(r->server, name);

	if (!w && conf_find_group(r->server->conf, name))
		return err_set(err, -EINVAL, "%.64s is a group: %s of groups comes with a later version",
			name, r->command->name);
	if (!w)
		return err_set(err, -ENOENT, "%.64s: no cluster of that name", name);
	*ret = w;
	return 0;
}

int command_side(const struct request *r, const char *key, int *ret_side, struct err *err)
{
	const char *word = wire_get_str(r->args, key);

	for (int side = CONF_SOURCE; side <= CONF_TARGET; side++) {
		if (str_eq(word, conf_side_name((enum conf_side)side))) {
			*ret_side = side;
			return 0;
		}
	}
	return err_set(
		err, -EINVAL, "%s: source or target is wanted, not %.64s", key, word ? word : "nothing");
}

void command_answer(struct strbuf *ret, struct wire *value)
{
	char *text = wire_dump(value, 0);

	strbuf_add(ret, text);
	free(text);
	wire_free(value);
}

int command_failed(struct err *err)
{
	return err->code ? -EIO : err_set(err, -EIO, "failed");
}
