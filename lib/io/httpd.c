/*
 * httpd: requests are read line by line over listen.c.
 *
 *     START --request line--> HEADERS --empty line--> owner --httpd_reply--> sent, closed
 */
#include "lib/io/httpd.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/arena.h"
#include "lib/base/str.h"
#include "lib/io/listen.h"

#define HEADERS_MOST 100
#define PATH_MOST 512

struct httpd {
	struct listener *listener;
	httpd_fn fn;
	void *arg;
};

struct httpd_request {
	struct listen_client *client; /* NULL: gone */
	int headers;		      /* lines seen; 0 before the request line */
	bool asked;		      /* the owner has it and will answer */
	bool head_only, method_known, malformed;
	char path[PATH_MOST];
};

static const struct listen_limits limits = {
	.max_clients = 256,
	.burst = 64, /* a request is a dozen lines, and costs at its last */
	.max_held = 1,
	.max_line = 8192,
	.max_out = (size_t)64 << 20,
	.line_ms = 10000,
	.idle_ms = 10000,
	.life_ms = 60000,
	.full_text = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
};

static const char *status_text(int status)
{
	static const struct {
		int status;
		const char *text;
	} texts[] = {
		{200, "OK"},
		{400, "Bad Request"},
		{404, "Not Found"},
		{405, "Method Not Allowed"},
		{431, "Request Header Fields Too Large"},
		{500, "Internal Server Error"},
		{503, "Service Unavailable"},
	};

	for (size_t i = 0; i < COUNT_OF(texts); i++) {
		if (texts[i].status == status)
			return texts[i].text;
	}
	return "Unknown";
}

void httpd_reply(struct httpd_request *r, int status, const char *type, const char *body, size_t len)
{
	struct listen_client *c = r->client;

	if (c) {
		struct strbuf head = {0};
		strbuf_addf(&head, "HTTP/1.1 %d %s\r\n", status, status_text(status));
		strbuf_addf(&head, "Content-Type: %s\r\nContent-Length: %zu\r\n", type, len);
		strbuf_add(&head, "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n");
		strbuf_add(&head, "Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; "
				  "script-src 'unsafe-inline'; connect-src 'self'\r\n");
		if (status == 405)
			strbuf_add(&head, "Allow: GET, HEAD\r\n");
		strbuf_add(&head, "Connection: close\r\n\r\n");
		listen_client_set_data(c, NULL);
		listen_send(c, strbuf_str(&head), head.len);
		strbuf_free(&head);
		if (!r->head_only)
			listen_send(c, body, len);
		if (r->asked)
			listen_client_release(c);
		listen_client_close(c);
	}
	free(r);
}

void httpd_reply_text(struct httpd_request *r, int status, const char *text)
{
	struct strbuf b = {0};

	strbuf_addf(&b, "%s\n", text);
	httpd_reply(r, status, "text/plain; charset=utf-8", strbuf_str(&b), b.len);
	strbuf_free(&b);
}

/* "GET /path?query HTTP/1.1" */
static void read_request_line(struct httpd_request *r, char *line)
{
	char *save = NULL;
	const char *method = strtok_r(line, " ", &save);
	char *path = strtok_r(NULL, " ", &save);
	const char *version = strtok_r(NULL, " ", &save);

	if (!method || !path || path[0] != '/' || !version || strncmp(version, "HTTP/1.", 7) != 0) {
		r->malformed = true;
		return;
	}
	r->head_only = str_eq(method, "HEAD");
	r->method_known = r->head_only || str_eq(method, "GET");
	path[strcspn(path, "?#")] = '\0';
	if (strlen(path) >= sizeof(r->path)) {
		r->malformed = true;
		return;
	}
	str_copy(r->path, sizeof(r->path), path);
}

static void on_line(struct listen_client *c, char *line, size_t len, void *arg)
{
	struct httpd *h = arg;
	struct httpd_request *r = listen_client_data(c);

	if (len && line[len - 1] == '\r')
		line[--len] = '\0';
	if (!r) {
		r = xcalloc(1, sizeof(*r));
		r->client = c;
		listen_client_set_data(c, r);
	}
	if (r->headers++ == 0) {
		read_request_line(r, line);
		if (!r->malformed)
			return;
	} else if (len > 0 && r->headers <= HEADERS_MOST) {
		return;
	}
	if (len > 0 && !r->malformed) {
		httpd_reply_text(r, 431, "too many headers");
	} else if (r->malformed) {
		httpd_reply_text(r, 400, "not understood");
	} else if (!r->method_known) {
		httpd_reply_text(r, 405, "only GET and HEAD");
	} else {
		r->asked = true;
		listen_client_hold(c);
		h->fn(r, r->path, h->arg);
	}
}

static void on_too_long(struct listen_client *c, void *arg)
{
	struct httpd_request *r = listen_client_data(c);
	(void)arg;

	if (!r) {
		r = xcalloc(1, sizeof(*r));
		r->client = c;
	}
	httpd_reply_text(r, 431, "too long");
}

static void on_close(struct listen_client *c, void *arg)
{
	struct httpd_request *r = listen_client_data(c);
	(void)arg;

	if (!r)
		return;
	r->client = NULL;
	listen_client_set_data(c, NULL);
	if (!r->asked)
		free(r);
}

static const struct listen_ops ops = {.on_line = on_line, .on_too_long = on_too_long, .on_close = on_close};

int httpd_start(
	const char *host, uint16_t port, int fd, httpd_fn fn, void *arg, struct httpd **ret, struct err *err)
{
	struct httpd *h = xcalloc(1, sizeof(*h));

	h->fn = fn;
	h->arg = arg;
	int r = fd >= 0 ? listen_fd(fd, &limits, &ops, h, &h->listener, err)
			: listen_tcp(host, port, &limits, &ops, h, &h->listener, err);
	if (r < 0) {
		free(h);
		return r;
	}
	*ret = h;
	return 0;
}

void httpd_stop(struct httpd *h)
{
	if (!h)
		return;
	listener_free(h->listener);
	free(h);
}
