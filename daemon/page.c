/* page: HTML written out by hand; every text from outside goes through escape_html. */
#include "daemon/page.h"

#include "daemon/run.h"
#include "daemon/server.h"
#include "daemon/status.h"
#include "daemon/watch.h"
#include "lib/base/str.h"
#include "lib/model/escape.h"
#include "lib/model/wire.h"

#define CLUSTERS_PER_TURN 16

static void cell(struct strbuf *b, const char *text)
{
	strbuf_add(b, "<td>");
	escape_html(b, text);
	strbuf_add(b, "</td>");
}

static void add_servers(struct strbuf *b, struct cluster *c)
{
	strbuf_add(b, "<td>");
	for (int i = 0; i < cluster_nservers(c); i++) {
		const struct cluster_server *s = cluster_server_at(c, i);
		if (i)
			strbuf_add(b, "<br>");
		escape_html(b, s->conf->name);
		strbuf_add(b, " ");
		strbuf_add(b, str_if_v6(s->conf->host, "["));
		escape_html(b, s->conf->host);
		strbuf_addf(b, "%s:%u %s", str_if_v6(s->conf->host, "]"), (unsigned)s->conf->port,
			!s->facts.up	     ? "does not answer"
			: s->facts.read_only ? "closed"
					     : "<b>open</b>");
	}
	strbuf_add(b, "</td>");
}

static const char *ready_text(const struct watched *w)
{
	if (watch_ready(w, CONF_TARGET))
		return "to target";
	return watch_ready(w, CONF_SOURCE) ? "to source" : "no";
}

static void add_flip(struct strbuf *b, const struct watched *w)
{
	const char *step = w->run ? flip_step_now(w->run->flip) : NULL;

	strbuf_add(b, "<td>");
	if (w->run) {
		escape_html(b, flip_id(w->run->flip));
		strbuf_add(b, " ");
		escape_html(b, step ? step : flip_state_name(flip_get_state(w->run->flip)));
	} else if (w->last_flip) {
		const char *outcome = wire_get_str(w->last_flip, "outcome"),
			   *at = wire_get_str(w->last_flip, "ended_at");
		escape_html(b, outcome ? outcome : "");
		strbuf_add(b, " ");
		escape_html(b, at ? at : "");
	}
	strbuf_add(b, "</td>");
}

static void add_cluster(struct strbuf *b, const struct watched *w)
{
	enum cluster_master m = w->master;
	const char *state = watch_state_name(watch_get_state(w));

	strbuf_addf(b, "<tr class=%s>", state);
	cell(b, w->name);
	cell(b, state);
	cell(b, m <= CLUSTER_MASTER_TARGET ? conf_side_name((enum conf_side)m) : cluster_master_why(m));
	cell(b, ready_text(w));
	add_servers(b, w->live->cluster);
	add_flip(b, w);
	strbuf_add(b, "</tr>\n");
}

void page_print(struct server *server, struct strbuf *b)
{
	strbuf_add(b,
		"<!doctype html><html lang=en><meta charset=utf-8><meta http-equiv=refresh content=5>"
		"<title>flipd</title><style>body{font:14px "
		"sans-serif;margin:2em}table{border-collapse:collapse}"
		"td,th{padding:.3em .8em;border-bottom:1px solid #ccc;text-align:left;vertical-align:top}"
		".ok td:nth-child(2){color:#070}.stuck,.split_brain,.no_master{background:#fdd}"
		".degraded,.unreachable,.recovering{background:#ffd}</style><h1>flipd on ");
	escape_html(b, server->host);
	strbuf_add(b,
		"</h1><table><tr><th>cluster<th>state<th>master<th>ready to flip<th>servers<th>flip</tr>\n");
	for (int i = 0; i < server->nwatched; i++) {
		if (i % CLUSTERS_PER_TURN == 0)
			status_await_turn(server);
		if (i < server->nwatched)
			add_cluster(b, server->watched[i]);
	}
	strbuf_add(b, "</table></html>\n");
}
