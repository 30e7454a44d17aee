/*
 * node_events: events move to the new master. Of those that run on the old one a replica says
 * SLAVESIDE_DISABLED; but it says so of one that was created disabled too, so the old one is asked for its
 * list.
 */
#include <errno.h>
#include <string.h>

#include "lib/base/arena.h"
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
	return is_ascii(e->name) && is_ascii(e->definer) && is_word(e->charset) && is_word(e->collation);
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

enum act node_list_events(struct session *s, struct arena *a, int64_t deadline_us, const char ***ret,
	int *ret_n, struct err *err)
{
	struct db_result *r CLEANUP(db_result_freep) = NULL;
	struct dialect_ctx ctx = session_ctx(s);
	struct strbuf sql = {0};
	const char **list;

	s->node->dialect->events(&ctx, true, &sql);
	enum act act = node_ask(s, &sql, "listing the events", deadline_us, &r, err);
	if (act != ACT_DONE)
		return act;
	list = arena_alloc(a, sizeof(*list) * (size_t)(r->rows + 1));
	for (int i = 0; i < r->rows; i++) {
		struct dialect_event e;
		s->node->dialect->read_event(r, i, &e);
		list[i] = arena_strdup(a, e.name);
	}
	*ret = list;
	*ret_n = r->rows;
	return ACT_DONE;
}

static bool is_wanted(const char *name, const char *const *names, int n)
{
	for (int i = 0; i < n; i++)
		if (str_eq(names[i], name))
			return true;
	return false;
}

/* Goes on past single events that the server refuses, as one whose time has passed. */
enum act node_enable_events(
	struct session *s, const char *const *names, int n, int64_t deadline_us, struct err *err)
{
	struct db_result *r CLEANUP(db_result_freep) = NULL;
	struct dialect_ctx ctx = session_ctx(s);
	struct strbuf sql = {0};
	enum act act, worst = ACT_DONE;

	if (n == 0)
		return ACT_DONE;
	s->node->dialect->events(&ctx, false, &sql);
	act = node_ask(s, &sql, "listing the events", deadline_us, &r, err);
	for (int i = 0; act == ACT_DONE && i < r->rows; i++) {
		struct dialect_event e;
		struct err one = {0};

		s->node->dialect->read_event(r, i, &e);
		if (!is_wanted(e.name, names, n))
			continue;
		act = enable_one(s, &e, deadline_us, &one);
		if (act == ACT_DONE)
			continue;
		err_wrap(&one, "event %s", e.name);
		if (worst == ACT_DONE)
			*err = one;
		worst = act;
		if (act == ACT_REFUSED)
			act = ACT_DONE;
	}
	return act == ACT_DONE ? worst : act;
}
