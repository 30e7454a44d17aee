/* node_events: events move to the new master. On a replica the server has marked them SLAVESIDE_DISABLED. */
#include <errno.h>
#include <string.h>

#include "lib/provider/node_priv.h"

/* A name with other than ASCII letters is read right only in the session's own character set. */
static bool is_ascii(const char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s >= 0x80)
			return false;
	return true;
}

static bool is_word(const char *s)
{
	return s[0] && strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789_") == strlen(s);
}

static bool keeps_charset(const struct dialect_event *e)
{
	return is_ascii(e->schema) && is_ascii(e->name) && is_ascii(e->definer) && is_word(e->charset) &&
	       is_word(e->collation);
}

/* ALTER EVENT takes the character set of the session that says it (measured on 10.11.19): the event's own,
 * for as long as it is said. */
static enum act MAY_WAIT enable_one(
	struct session *s, const struct dialect_event *e, int64_t deadline_us, struct err *err)
{
	const struct dialect *d = s->node->dialect;
	struct dialect_ctx ctx = session_ctx(s);
	struct strbuf sql = {0}, back = {0};
	struct err restoring = {0};
	enum act act;

	if (keeps_charset(e)) {
		d->session_charset(&ctx, e->charset, e->collation, &sql);
		act = node_tell(s, &sql, "taking an event's character set", deadline_us, err);
		if (act == ACT_UNKNOWN)
			return act;
	}
	d->event_enable(&ctx, e, &sql);
	act = node_tell(s, &sql, "enabling an event", deadline_us, err);
	if (act == ACT_UNKNOWN)
		return act;
	d->session_charset(&ctx, NULL, NULL, &back);
	if (node_tell(s, &back, "going back to the session's character set", deadline_us, &restoring) !=
		ACT_DONE) {
		*err = restoring;
		return ACT_UNKNOWN;
	}
	return act;
}

/* Goes on past single events that the server refuses, as one whose time has passed. */
enum act node_enable_events(struct session *s, int64_t deadline_us, struct err *err)
{
	struct db_result *r CLEANUP(db_result_freep) = NULL;
	struct dialect_ctx ctx = session_ctx(s);
	struct strbuf sql = {0};
	enum act act, worst = ACT_DONE;

	s->node->dialect->events_disabled(&ctx, &sql);
	act = node_ask(s, &sql, "listing the events", deadline_us, &r, err);
	for (int i = 0; act == ACT_DONE && r && i < r->rows; i++) {
		struct dialect_event e;
		struct err one = {0};

		s->node->dialect->read_event(r, i, &e);
		act = enable_one(s, &e, deadline_us, &one);
		if (act == ACT_DONE)
			continue;
		err_wrap(&one, "event %s.%s", e.schema, e.name);
		if (worst == ACT_DONE)
			*err = one;
		worst = act;
		if (act == ACT_REFUSED)
			act = ACT_DONE;
	}
	return act == ACT_DONE ? worst : act;
}
