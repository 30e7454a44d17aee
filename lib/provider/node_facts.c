/* node_facts: looking at a server: all that is known of it in one round trip, the proof of a fence, the
 * sessions. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/arena.h"
#include "lib/base/clock.h"
#include "lib/provider/node_priv.h"

#define BOOT_SLACK_S 2

static bool boot_noted(const struct node *n, int64_t boot_s)
{
	return n->boots_noted && llabs(n->boots_boot_s - boot_s) <= BOOT_SLACK_S;
}

/* What the configuration says beats what was seen; what was seen first beats what is seen after a SET. */
static int note_boot(struct node *n, int64_t boot_s, const struct dialect_extra *x)
{
	if (x->origin_read && !boot_noted(n, boot_s)) {
		n->boots_noted = true;
		n->boots_boot_s = boot_s;
		n->boots_read_only = x->boots;
	}
	if (n->conf->boots_fenced >= 0)
		return n->conf->boots_fenced;
	return boot_noted(n, boot_s) ? n->boots_read_only : -1;
}

/* What the session knows for as long as it lives: a living session proves that the server has not restarted.
 */
static void fill_from_session(const struct session *s, struct facts *f)
{
	f->up = true;
	f->taken_at_ms = clock_ms();
	f->answered_at_us = clock_us();
	f->id.boot_s = s->mark.server.boot_s;
	str_copy(f->id.uuid, sizeof(f->id.uuid), s->mark.server.uuid);
	str_copy(f->schema, sizeof(f->schema), s->node->schema);
}

static enum act MAY_WAIT gather(struct session *s, unsigned what, struct arena *arena, bool seen,
	int64_t deadline_us, struct facts *ret, struct err *err)
{
	struct db_result *r CLEANUP(db_result_freep) = NULL;
	struct dialect_ctx ctx = session_ctx(s);
	struct dialect_extra extra;
	struct strbuf sql = {0};
	int64_t asked_at_us = clock_us();

	*ret = (struct facts){0};
	ctx.schema_seen = seen;
	ctx.origin_wanted = !boot_noted(s->node, s->mark.server.boot_s);
	ctx.trx_wanted = (what & FACTS_SESSIONS) && node_trx_due(s->node);
	s->node->dialect->facts(&ctx, what, &sql);
	enum act act = node_ask(s, &sql, "looking at the server", deadline_us, &r, err);
	if (act != ACT_DONE)
		return act;
	ret->schema_present = seen;
	s->node->dialect->read_facts(r, arena, ret, &extra);
	if (extra.error < 0)
		return node_refuse(
			s, extra.error, err, "looking at the server: a GTID position that flipd cannot read");
	if (!ret->id.hostname[0])
		return node_refuse(s, -EPROTO, err, "looking at the server: the answer is incomplete");
	if (ctx.trx_wanted)
		node_trx_keep(s->node, ret->sessions, ret->nsessions);
	else
		node_trx_recall(s->node, ret->sessions, ret->nsessions);
	fill_from_session(s, ret);
	ret->asked_at_us = asked_at_us;
	ret->boots_read_only = note_boot(s->node, s->mark.server.boot_s, &extra);
	return ACT_DONE;
}

/* flipd's tables went away, or may not be read: that is a finding, not a failure. */
static bool tables_refused(const struct err *e)
{
	return e->sql_errno == DIALECT_ER_NO_SUCH_TABLE || e->sql_errno == DIALECT_ER_BAD_DB ||
	       e->sql_errno == DIALECT_ER_TABLE_ACCESS;
}

/*
 * One round trip in the long run. Where flipd's tables were not there before, one look finds them and a
 * second reads them: an open row must not go unseen at the first look.
 */
enum act node_facts(struct session *s, unsigned what, struct arena *arena, int64_t deadline_us,
	struct facts *ret, struct err *err)
{
	struct node *n = s->node;
	struct facts *f = xcalloc(1, sizeof(*f)); /* too large for a fiber's stack */
	bool seen = n->schema_seen, refused = false;
	struct err e;
	enum act act;

	for (;;) {
		e = (struct err){0};
		act = gather(s, what, arena, seen, deadline_us, f, &e);
		if (act == ACT_REFUSED && seen && tables_refused(&e)) {
			seen = false;
			refused = true;
		} else if (act == ACT_DONE && !seen && f->schema_present && !refused) {
			seen = true;
		} else {
			break;
		}
	}
	n->schema_seen = seen;
	if (act == ACT_DONE)
		*ret = *f;
	else
		node_pass_err(err, &e);
	free(f);
	return act;
}

enum act node_prove(struct session *s, int64_t deadline_us, struct node_proof *ret, struct err *err)
{
	struct db_result *r CLEANUP(db_result_freep) = NULL;
	struct dialect_ctx ctx = session_ctx(s);
	struct node_proof proof;
	struct strbuf sql = {0};

	s->node->dialect->prove(&ctx, &sql);
	enum act act = node_ask(s, &sql, "proving the fence", deadline_us, &r, err);
	if (act != ACT_DONE)
		return act;
	if (s->node->dialect->read_prove(r, &proof) < 0)
		return node_refuse(s, -EPROTO, err, "proving the fence: an answer that flipd cannot read");
	*ret = proof;
	return ACT_DONE;
}

enum act node_sessions(struct session *s, struct arena *arena, int64_t deadline_us,
	struct facts_session **ret, int *ret_n, struct err *err)
{
	struct db_result *r CLEANUP(db_result_freep) = NULL;
	struct dialect_ctx ctx = session_ctx(s);
	struct dialect_extra extra;
	struct strbuf sql = {0};

	ctx.trx_wanted = node_trx_due(s->node);
	s->node->dialect->sessions(&ctx, &sql);
	enum act act = node_ask(s, &sql, "listing the sessions", deadline_us, &r, err);
	if (act != ACT_DONE)
		return act;
	struct facts *f = xcalloc(1, sizeof(*f));
	s->node->dialect->read_facts(r, arena, f, &extra);
	if (ctx.trx_wanted)
		node_trx_keep(s->node, f->sessions, f->nsessions);
	else
		node_trx_recall(s->node, f->sessions, f->nsessions);
	*ret = f->sessions;
	*ret_n = f->nsessions;
	free(f);
	return ACT_DONE;
}
