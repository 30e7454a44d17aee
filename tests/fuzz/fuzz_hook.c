/*
 * Fuzz target: what a hook says. The first byte is how it ends, the second how its output is cut on the way
 * through the pipe; then the name of a host, ended by a NUL, and the output. Whatever it is, the message is
 * one line of whole characters, bounded, names the hook and its status, and has nothing of a URL but the
 * host.
 */
#include "lib/io/proc.c" /* its reading of a child's output, without the child */

#include <stdio.h>

#include "lib/model/wire.h"
#include "lib/provider/provider.h"

#define PROGRAM "/usr/local/lib/flipd/hook"
#define SAID_MOST 300

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *said; /* ended by a NUL */
static size_t said_len, piece;
static int status;
static const char *host;

int __wrap_proc_run(const char *const argv[], const char *const env[], int64_t deadline_us,
	struct proc_result *ret, struct err *e);
int __wrap_http_do(const char *method, const char *url, const char *body, const char *const headers[],
	int64_t deadline_us, int *ret_status, char **ret_body, struct err *err);

int __wrap_proc_run(const char *const argv[], const char *const env[], int64_t deadline_us,
	struct proc_result *ret, struct err *e)
{
	struct child *c = xcalloc(1, sizeof(*c));
	int fds[2];
	bool told = false;
	(void)deadline_us, (void)e;

	assert(str_eq(argv[0], PROGRAM) && !argv[1]);
	for (int i = 0; env[i]; i++)
		told = told || (!strncmp(env[i], "FLIPD_NEW_HOST=", 15) && str_eq(env[i] + 15, host));
	assert(told);
	if (pipe2(fds, O_NONBLOCK) < 0)
		abort();
	c->fd = fds[0];
	for (size_t at = 0; at < said_len; at += piece) {
		size_t n = said_len - at < piece ? said_len - at : piece;
		if (write(fds[1], said + at, n) != (ssize_t)n)
			abort();
		assert(output_read(c));
	}
	(void)close(fds[1]);
	output_drain(c);
	assert(c->len < sizeof(c->output) && (c->len == said_len || c->len == sizeof(c->output) - 1));
	output_give(c, ret->output, sizeof(ret->output));
	ret->exit_status = status;
	(void)close(c->fd);
	free(c);
	return 0;
}

int __wrap_http_do(const char *method, const char *url, const char *body, const char *const headers[],
	int64_t deadline_us, int *ret_status, char **ret_body, struct err *err)
{
	struct wire *told = NULL;
	(void)method, (void)url, (void)headers, (void)deadline_us, (void)err;

	if (wire_parse(body, strlen(body), &told, NULL) < 0)
		abort();
	assert(!str_utf8_valid(host, strlen(host)) || str_eq(wire_get_str(told, "FLIPD_NEW_HOST"), host));
	wire_free(told);
	*ret_status = 200 + status;
	*ret_body = xstrdup(said);
	return 0;
}

static void check(enum act act, const struct err *err, const char *hook, const char *what, int code)
{
	const char *text = err_text(err);
	char begin[120];

	if (act == ACT_DONE) {
		assert(err->code == 0);
		return;
	}
	assert(act == ACT_REFUSED && err->code == -EREMOTEIO);
	(void)snprintf(begin, sizeof(begin), "hook %s switch: %s %d", hook, what, code);
	assert(!strncmp(text, begin, strlen(begin)) && strlen(text) < strlen(begin) + SAID_MOST + 4);
	assert(str_utf8_valid(text, strlen(text)));
	for (const unsigned char *p = (const unsigned char *)text; *p; p++)
		assert(*p >= 0x20 && *p != 0x7f);
	assert(strstr(said, "S3CRET") || !strstr(text, "S3CRET"));
}

static void run(void)
{
	struct conf_server server = {.host = (char *)(uintptr_t)host, .port = 3306};
	const struct provider_ctx ctx = {.cluster = "c",
		.run = "r",
		.flip_id = "i",
		.step = "endpoints",
		.old_server = &server,
		.new_server = &server};
	struct err err = {0};

	check(hook_run(PROGRAM, "switch", &ctx, CLOCK_FOREVER, &err), &err, PROGRAM, "exit status", status);
	err = (struct err){0};
	check(hook_run(
		      "https://u:S3CRET@h.example:8443/S3CRET?t=S3CRET", "switch", &ctx, CLOCK_FOREVER, &err),
		&err, "https://h.example:8443", "HTTP status", 200 + status);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char text[8192];

	if (size < 3 || size >= sizeof(text))
		return 0;
	memcpy(text, data + 2, size - 2);
	text[size - 2] = '\0';
	status = data[0];
	piece = (size_t)data[1] * 16 + 1;
	host = text;
	said = host + strlen(host);
	said_len = 0;
	if (said < text + size - 2) {
		said++;
		said_len = (size_t)(text + size - 2 - said);
	}
	run();
	return 0;
}
