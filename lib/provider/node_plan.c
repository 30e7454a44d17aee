/* node_plan: what a verb would send, as text for `plan`: rendered by the very functions that the verbs use.
 */
#include <string.h>

#include "lib/provider/node_priv.h"

/* What is not known before the flip stands as a word in angle brackets. */
struct plan {
	const struct dialect *d;
	struct dialect_ctx ctx;
	const struct node_follow *follow; /* may be NULL */
	int64_t limit_ms;
};

static bool by_gtid(const struct plan *p)
{
	return !p->follow || p->follow->use_gtid;
}

static void text_lock(const struct plan *p, struct strbuf *out)
{
	p->d->lock_take(&p->ctx, out);
}

static void text_row_in(const struct plan *p, const char *state, struct strbuf *out)
{
	struct node_row row = {.id = "<ID>",
		.host = "<HOST>",
		.journal = "<JOURNAL>",
		.direction = "<DIRECTION>",
		.marker = 1};

	str_copy(row.cluster, sizeof(row.cluster), p->ctx.cluster);
	str_copy(row.state, sizeof(row.state), state);
	p->d->row_write(&p->ctx, &row, out);
}

static void text_row(const struct plan *p, struct strbuf *out)
{
	text_row_in(p, "running", out);
}

static void text_row_closed(const struct plan *p, struct strbuf *out)
{
	text_row_in(p, "closed", out);
}

static void text_flush(const struct plan *p, struct strbuf *out)
{
	p->d->flush(&p->ctx, p->limit_ms, out);
}

static void text_events(const struct plan *p, struct strbuf *out)
{
	p->d->event_scheduler(&p->ctx, false, out);
}

static void text_events_on(const struct plan *p, struct strbuf *out)
{
	p->d->event_scheduler(&p->ctx, true, out);
}

static void text_semi_sync(const struct plan *p, struct strbuf *out)
{
	p->d->semi_sync_master(&p->ctx, false, out);
}

static void text_semi_sync_on(const struct plan *p, struct strbuf *out)
{
	p->d->semi_sync_master(&p->ctx, true, out);
}

static void text_fence(const struct plan *p, struct strbuf *out)
{
	p->d->fence(&p->ctx, p->limit_ms, out);
}

static void text_prove(const struct plan *p, struct strbuf *out)
{
	p->d->prove(&p->ctx, out);
}

static void text_open_guarded(const struct plan *p, struct strbuf *out)
{
	p->d->open_guarded(&p->ctx, NULL, by_gtid(p), p->limit_ms, out);
}

static void text_unfence(const struct plan *p, struct strbuf *out)
{
	p->d->unfence(&p->ctx, out);
}

static void text_wait(const struct plan *p, struct strbuf *out)
{
	p->d->wait(&p->ctx, NULL, by_gtid(p), p->limit_ms, out);
}

static void text_forget(const struct plan *p, struct strbuf *out)
{
	p->d->forget(&p->ctx, out);
}

static void text_follow(const struct plan *p, struct strbuf *out)
{
	static const struct conf_server nobody = {.host = "<MASTER>", .port = 3306};
	static const struct conf_account unknown = {.user = "<USER>"};
	struct node_follow f =
		p->follow ? *p->follow : (struct node_follow){.use_gtid = true, .has_slave_pos = true};

	f.master = f.master ? f.master : &nobody;
	f.account = f.account ? f.account : &unknown;
	p->d->follow(&p->ctx, &f, true, out);
}

/* The number is known when the session is. */
static void text_kill(const struct plan *p, struct strbuf *out)
{
	const uint64_t nobody = 0;
	struct strbuf b = {0};

	p->d->kill_many(&p->ctx, &nobody, 1, &b);
	const char *text = strbuf_str(&b), *id = strstr(text, " 0; ");
	if (id)
		strbuf_addf(out, "%.*s <ID>%s", (int)(id - text), text, id + 2);
	strbuf_free(&b);
}

static void text_release(const struct plan *p, struct strbuf *out)
{
	p->d->lock_release(&p->ctx, out);
}

static void (*const texts[])(const struct plan *, struct strbuf *) = {
	[NODE_TEXT_LOCK] = text_lock,
	[NODE_TEXT_ROW] = text_row,
	[NODE_TEXT_ROW_CLOSED] = text_row_closed,
	[NODE_TEXT_FLUSH] = text_flush,
	[NODE_TEXT_EVENTS] = text_events,
	[NODE_TEXT_EVENTS_ON] = text_events_on,
	[NODE_TEXT_SEMI_SYNC] = text_semi_sync,
	[NODE_TEXT_SEMI_SYNC_ON] = text_semi_sync_on,
	[NODE_TEXT_FENCE] = text_fence,
	[NODE_TEXT_PROVE] = text_prove,
	[NODE_TEXT_OPEN_GUARDED] = text_open_guarded,
	[NODE_TEXT_UNFENCE] = text_unfence,
	[NODE_TEXT_WAIT] = text_wait,
	[NODE_TEXT_FORGET] = text_forget,
	[NODE_TEXT_FOLLOW] = text_follow,
	[NODE_TEXT_KILL] = text_kill,
	[NODE_TEXT_RELEASE] = text_release,
};

void node_plan_text(const struct node *n, enum node_text what, const struct node_follow *follow,
	int64_t limit_ms, struct strbuf *out)
{
	const struct plan p = {.d = n->dialect, .ctx = node_ctx(n), .follow = follow, .limit_ms = limit_ms};

	texts[what](&p, out);
}
