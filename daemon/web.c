/* web: the routes of the status endpoint. Documents of many clusters are made in a fiber that lets others
 * run. */
#include "daemon/web.h"

#include <stdlib.h>

#include "daemon/metrics.h"
#include "daemon/page.h"
#include "daemon/server.h"
#include "daemon/status.h"
#include "lib/base/arena.h"
#include "lib/base/str.h"
#include "lib/io/httpd.h"
#include "lib/store/journal.h"

static void MAY_WAIT show_metrics(struct server *server, struct strbuf *b)
{
	metrics_print(server, b);
}

static void MAY_WAIT show_status(struct server *server, struct strbuf *b)
{
	status_print(server, NULL, 0, b);
	strbuf_add(b, "\n");
}

static const struct route {
	const char *path, *type;
	void MAY_WAIT (*show)(struct server *, struct strbuf *);
} routes[] = {
	{"/", "text/html; charset=utf-8", page_print},
	{"/metrics", "text/plain; version=0.0.4; charset=utf-8", show_metrics},
	{"/status", "application/json", show_status},
};

struct visit {
	struct server *server;
	struct httpd_request *request;
	const struct route *route;
};

static void visit_main(void *arg)
{
	struct visit *visit = arg;
	struct strbuf b = {0};

	visit->route->show(visit->server, &b);
	httpd_reply(visit->request, 200, visit->route->type, strbuf_str(&b), b.len);
	strbuf_free(&b);
	free(visit);
}

static void show_ready(const struct server *server, struct httpd_request *request)
{
	if (server->serving && !server->stopping && server->conf && journal_ok(server->journal) &&
		!server->disk_hangs)
		httpd_reply_text(request, 200, "ready");
	else
		httpd_reply_text(request, 503, server->stopping ? "stopping" : "not ready");
}

void web_request(struct httpd_request *request, const char *path, void *arg)
{
	struct server *server = arg;

	if (str_eq(path, "/healthz")) {
		httpd_reply_text(request, 200, "ok");
		return;
	}
	if (str_eq(path, "/readyz")) {
		show_ready(server, request);
		return;
	}
	for (size_t i = 0; i < COUNT_OF(routes); i++) {
		if (!str_eq(path, routes[i].path))
			continue;
		struct visit *visit = xcalloc(1, sizeof(*visit));
		*visit = (struct visit){server, request, &routes[i]};
		fiber_detach(fiber_spawn(path, visit_main, visit));
		return;
	}
	httpd_reply_text(request, 404, "nothing here: / /status /metrics /healthz /readyz");
}
