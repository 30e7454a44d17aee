/*
 * node_survey: what a server holds. Two packets, the cheap one first, within one limit that the server keeps
 * too: a statement that outlived its client would end by itself.
 */
#include <errno.h>
#include <stdio.h>

#include "lib/base/clock.h"
#include "lib/provider/node_priv.h"

#define GRACE_MS 100 /* for the answer of a server that has just kept the limit */

static struct survey_half half(enum survey_state state, const char *fmt, ...) PRINTF(2, 3);

static struct survey_half half(enum survey_state state, const char *fmt, ...)
{
	struct survey_half h = {.state = state};
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(h.why, sizeof(h.why), fmt, ap);
	va_end(ap);
	return h;
}

static struct survey_half MAY_WAIT ask_half(struct session *s, unsigned what, int64_t limit_ms,
	int64_t until_us, struct arena *arena, struct survey *ret)
{
	struct db_result *r CLEANUP(db_result_freep) = NULL;
	struct dialect_ctx ctx = session_ctx(s);
	int64_t left_ms = (until_us - clock_us()) / 1000;
	struct strbuf sql = {0};
	struct err err = {0};

	if (!session_alive(s) || left_ms < 1)
		return half(SURVEY_LATE, "more than the %lld ms that it may take", (long long)limit_ms);
	s->node->dialect->survey(&ctx, what, left_ms, &sql);
	enum act act = node_ask(s, &sql, "surveying the server", until_us + GRACE_MS * 1000, &r, &err);
	if (act == ACT_UNKNOWN || err.sql_errno == DIALECT_ER_STATEMENT_TIME)
		return half(SURVEY_LATE, "more than the %lld ms that it may take", (long long)limit_ms);
	if (act != ACT_DONE)
		return half(SURVEY_REFUSED, "%s", err_text(&err));
	if (s->node->dialect->read_survey(r, arena, ret) < 0)
		return half(SURVEY_LATE, "too many tables to compare them");
	return half(SURVEY_DONE, "%s", "");
}

void node_survey(struct session *s, unsigned what, int64_t limit_ms, struct arena *arena, struct survey *ret)
{
	int64_t until_us = clock_us() + limit_ms * 1000;

	*ret = (struct survey){0};
	if (what & SURVEY_ACCOUNTS)
		ret->accounts = ask_half(s, SURVEY_ACCOUNTS, limit_ms, until_us, arena, ret);
	if (what & SURVEY_SCHEMA)
		ret->schema = ask_half(s, what & ~(unsigned)SURVEY_ACCOUNTS, limit_ms, until_us, arena, ret);
	survey_sort(ret);
}
