/*
 * hook: one call of a hook: a program, executed directly with an environment of its own, or a URL that is
 * sent the same names as JSON. The URL is not put into messages: it may carry a token.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/arena.h"
#include "lib/base/str.h"
#include "lib/io/fiber.h"
#include "lib/io/http.h"
#include "lib/io/proc.h"
#include "lib/model/wire.h"
#include "lib/provider/provider.h"

#define HOOK_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#define SAID_MAX 300 /* bytes of what a hook said that go into the message */

enum {
	VAR_ACTION,
	VAR_RUN,
	VAR_CLUSTER,
	VAR_ID,
	VAR_STEP,
	VAR_FROM,
	VAR_TO,
	VAR_OLD_HOST,
	VAR_OLD_PORT,
	VAR_NEW_HOST,
	VAR_NEW_PORT,
	VAR_OUTCOME, /* after_end only */
	VAR_COUNT
};

static const char *const var_names[VAR_COUNT] = {
	[VAR_ACTION] = "FLIPD_ACTION",
	[VAR_RUN] = "FLIPD_RUN",
	[VAR_CLUSTER] = "FLIPD_CLUSTER",
	[VAR_ID] = "FLIPD_ID",
	[VAR_STEP] = "FLIPD_STEP",
	[VAR_FROM] = "FLIPD_FROM",
	[VAR_TO] = "FLIPD_TO",
	[VAR_OLD_HOST] = "FLIPD_OLD_HOST",
	[VAR_OLD_PORT] = "FLIPD_OLD_PORT",
	[VAR_NEW_HOST] = "FLIPD_NEW_HOST",
	[VAR_NEW_PORT] = "FLIPD_NEW_PORT",
	[VAR_OUTCOME] = "FLIPD_OUTCOME",
};

struct vars {
	const char *value[VAR_COUNT]; /* NULL: not told */
	char old_port[8], new_port[8];
};

static const char *or_empty(const char *s)
{
	return s ? s : "";
}

static void set_server(const struct conf_server *server, const char **ret_host, const char **ret_port,
	char *port, size_t size)
{
	*ret_host = *ret_port = "";
	if (!server)
		return;
	*ret_host = or_empty(server->host);
	(void)snprintf(port, size, "%u", (unsigned)server->port);
	*ret_port = port;
}

static void vars_fill(struct vars *v, const char *action, const struct provider_ctx *ctx)
{
	*v = (struct vars){
		.value =
			{
				[VAR_ACTION] = action,
				[VAR_RUN] = or_empty(ctx->run),
				[VAR_CLUSTER] = or_empty(ctx->cluster),
				[VAR_ID] = or_empty(ctx->flip_id),
				[VAR_STEP] = or_empty(ctx->step),
				[VAR_FROM] = conf_side_name(ctx->from),
				[VAR_TO] = conf_side_name(ctx->to),
				[VAR_OUTCOME] = ctx->outcome,
			},
	};
	set_server(ctx->old_server, &v->value[VAR_OLD_HOST], &v->value[VAR_OLD_PORT], v->old_port,
		sizeof(v->old_port));
	set_server(ctx->new_server, &v->value[VAR_NEW_HOST], &v->value[VAR_NEW_PORT], v->new_port,
		sizeof(v->new_port));
}

/* Text of others for a message: one line, printable, without blanks at its ends, cut. */
static char *printable(const char *from, char *buf, size_t size)
{
	size_t n = 0;

	for (; *from && n + 1 < size; from++) {
		unsigned char c = (unsigned char)*from;
		if (c < 0x20 || c == 0x7f)
			c = ' ';
		if (c == ' ' && (n == 0 || buf[n - 1] == ' '))
			continue;
		buf[n++] = (char)c;
	}
	while (n > 0 && buf[n - 1] == ' ')
		n--;
	buf[n] = '\0';
	for (size_t i = 0; i < n && !str_utf8_valid(buf, n); i++) {
		if ((unsigned char)buf[i] >= 0x80)
			buf[i] = '?';
	}
	return buf;
}

static enum act refuse(struct err *err, const char *what, int code, const char *output)
{
	char said[SAID_MAX];

	(void)printable(output, said, sizeof(said));
	(void)err_set(err, -EREMOTEIO, said[0] ? "%s %d: %s" : "%s %d", what, code, said);
	return ACT_REFUSED;
}

/* --- programs --- */

static enum act MAY_WAIT run_program(
	const char *path, const struct vars *v, int64_t deadline_us, struct err *err)
{
	CLEANUP(arena_freep) struct arena *arena = arena_new();
	const char *const argv[] = {path, NULL};
	const char *env[VAR_COUNT + 2] = {"PATH=" HOOK_PATH};
	struct proc_result *result = arena_alloc(arena, sizeof(*result));
	int n = 1;

	for (int i = 0; i < VAR_COUNT; i++) {
		if (v->value[i])
			env[n++] = arena_printf(arena, "%s=%s", var_names[i], v->value[i]);
	}
	int r = proc_run(argv, env, deadline_us, result, err);
	if (r == -ETIMEDOUT || r == -ECANCELED)
		return ACT_UNKNOWN;
	if (r < 0)
		return ACT_REFUSED; /* it never ran */
	return result->exit_status ? refuse(err, "exit status", result->exit_status, result->output)
				   : ACT_DONE;
}

/* --- URLs --- */

static char *vars_json(const struct vars *v)
{
	struct wire *o = wire_object();

	for (int i = 0; i < VAR_COUNT; i++) {
		if (v->value[i])
			wire_set_str(o, var_names[i], v->value[i]);
	}
	char *text = wire_dump(o, 0);
	wire_free(o);
	return text;
}

static enum act MAY_WAIT post(const char *url, const struct vars *v, int64_t deadline_us, struct err *err)
{
	static const char *const headers[] = {"Content-Type: application/json", NULL};
	char *json = vars_json(v), *answer = NULL;
	int status = 0;
	enum act act = ACT_DONE;
	int r = http_do("POST", url, json, headers, deadline_us, &status, &answer, err);

	free(json);
	if (r < 0)
		act = http_not_sent(r) ? ACT_REFUSED : ACT_UNKNOWN;
	else if (status < 200 || status > 299)
		act = refuse(err, "HTTP status", status, answer);
	free(answer);
	return act;
}

enum act hook_run(const char *path, const char *action, const struct provider_ctx *ctx, int64_t deadline_us,
	struct err *err)
{
	bool is_url = !strncmp(path, "http://", 7) || !strncmp(path, "https://", 8);
	struct vars v;
	char name[200];

	(void)conf_hook_name(path, name, sizeof(name));
	vars_fill(&v, action, ctx);
	fiber_doing("hook %s %s", name, action);
	enum act act = is_url ? post(path, &v, deadline_us, err) : run_program(path, &v, deadline_us, err);
	if (act != ACT_DONE)
		err_wrap(err, "hook %s %s", name, action);
	return act;
}
