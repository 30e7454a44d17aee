/*
 * node_events: events move to the new master. Of those that run on the old one a replica says
 * SLAVESIDE_DISABLED; but it says so of one that was created disabled too, so the old one is asked for its
 * list.
 */
#include <errno.h>
#include <string.h>

#include "lib/base/arena.h"
#include "lib/provider/node_priv.h"

/* A name with other letters is not the same bytes in every character set. */
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

static int unhex(char c)
{
	return c <= '9' ? c - '0' : c - 'A' + 10;
}

/* The statement in the bytes of the event's own character set; left alone where that is not possible. */
static enum act MAY_WAIT recode(struct session *s, const char *charset, struct strbuf *sql,
	int64_t deadline_us, bool *ret_done, struct err *err)
{
	struct db_result *r CLEANUP(db_result_freep) = NULL;
	struct dialect_ctx ctx = session_ctx(s);
	struct strbuf question = {0};
	const char *hex;

	s->node->dialect->recode(&ctx, strbuf_str(sql), charset, &question);
	enum act act = node_ask(s, &question, "recoding an event's name", deadline_us, &r, err);
	hex = act == ACT_DONE && r->rows ? db_get(r, 0, "recoded") : NULL;
	*ret_done = hex != NULL;
	if (!hex)
		return act;
	strbuf_free(sql);
	for (; hex[0] && hex[1]; hex += 2)
		strbuf_addn(sql, &(char){(char)(unhex(hex[0]) << 4 | unhex(hex[1]))}, 1);
	return act;
}

/* Whether the event's own character set and collation can be said before the statement that enables it. */
static enum act MAY_WAIT keeps_charset(struct session *s, const struct dialect_event *e, struct strbuf *sql,
	int64_t deadline_us, bool *ret, struct err *err)
{
	*ret = is_word(e->charset) && is_word(e->collation);
	if (!*ret || (is_ascii(e->name) && is_ascii(e->definer)))
		return ACT_DONE;
	return recode(s, e->charset, sql, deadline_us, ret, err);
}

/* ALTER EVENT takes the character set of the session that says it (measured on 10.11.19), and the bytes of
 * the body would be read in that from then on: the event's own, for as long as it is said. */
static enum act MAY_WAIT enable_one(
	struct session *s, const struct dialect_event *e, int64_t deadline_us, struct err *err)
{
	const struct dialect *d = s->node->dialect;
	struct dialect_ctx ctx = session_ctx(s);
	struct strbuf sql = {0}, charset = {0}, back = {0};
	struct err restoring = {0};
	bool kept;
	enum act act;

	d->event_enable(&ctx, e, &sql);
	act = keeps_charset(s, e, &sql, deadline_us, &kept, err);
	if (act == ACT_DONE && kept) {
		d->session_charset(&ctx, e->charset, e->collation, &charset);
		act = node_tell(s, &charset, "taking an event's character set", deadline_us, err);
	}
	if (act == ACT_DONE)
		act = node_tell(s, &sql, "enabling an event", deadline_us, err);
	strbuf_free(&sql);
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

/* The place of a name that is still to be done; -1 when it is not. */
static int place_of(const char *name, const char *const *names, int n)
{
	for (int i = 0; i < n; i++)
		if (names[i] && str_eq(names[i], name))
			return i;
	return -1;
}

static void keep_first(enum act act, const struct err *why, enum act *worst, struct err *err)
{
	if (*worst == ACT_DONE)
		*err = *why;
	*worst = act;
}

/* In the order of the server's list. Goes on past single events that the server refuses, as one whose time
 * has passed. */
static enum act MAY_WAIT enable_listed(struct session *s, const struct db_result *r, const char **names,
	int n, int64_t deadline_us, struct err *err)
{
	enum act worst = ACT_DONE;

	for (int i = 0; i < r->rows && worst != ACT_UNKNOWN; i++) {
		struct dialect_event e;
		struct err one = {0};

		s->node->dialect->read_event(r, i, &e);
		int at = place_of(e.name, names, n);
		if (at < 0)
			continue;
		enum act act = enable_one(s, &e, deadline_us, &one);
		if (act == ACT_DONE) {
			names[at] = NULL;
			continue;
		}
		err_wrap(&one, "event %s", e.name);
		keep_first(act, &one, &worst, err);
	}
	return worst;
}

/*
 * Those that are disabled otherwise than by replication (a seed by mariadb-dump, somebody's ALTER on this
 * server alone) ran on the old master and are to run here. One that is enabled already is told so too: by
 * replication that disables it on the old master, which would run it again after a restart.
 */
enum act node_enable_events(
	struct session *s, const char **names, int n, int64_t deadline_us, struct err *err)
{
	struct db_result *r CLEANUP(db_result_freep) = NULL;
	struct dialect_ctx ctx = session_ctx(s);
	struct strbuf sql = {0};
	enum act act;

	if (n == 0)
		return ACT_DONE;
	s->node->dialect->events(&ctx, false, &sql);
	act = node_ask(s, &sql, "listing the events", deadline_us, &r, err);
	if (act == ACT_DONE)
		act = enable_listed(s, r, names, n, deadline_us, err);
	for (int i = 0; act == ACT_DONE && i < n; i++) {
		if (!names[i])
			continue;
		err_set(err, -ENOENT, "event %s is not there", names[i]);
		act = ACT_REFUSED;
	}
	return act;
}
