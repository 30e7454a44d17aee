/* err: the first cause of a failure, with context wrapped around it. Texts are cut at whole UTF-8 characters.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/err.h"
#include "lib/base/str.h"

#undef err_set /* an analyser's */
int err_set(struct err *e, int code, const char *fmt, ...)
{
	if (!e)
		return code;
	if (e->code)
		return e->code;

	char text[2 * sizeof(e->message)];
	va_list ap;
	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	str_copy(e->message, sizeof(e->message), text);
	e->code = code;
	return code;
}

void err_wrap(struct err *e, const char *fmt, ...)
{
	if (!e)
		return;
	/* The arguments may point into e: everything is put together aside. */
	char context[2 * sizeof(e->message)], text[2 * sizeof(e->message)];
	va_list ap;
	va_start(ap, fmt);
	(void)vsnprintf(context, sizeof(context), fmt, ap);
	va_end(ap);
	str_copy(text, sizeof(e->message), context);
	size_t used = strlen(text);
	(void)snprintf(text + used, sizeof(text) - used, ": %s", e->message);
	str_copy(e->message, sizeof(e->message), text);
}

void err_hint(struct err *e, const char *fmt, ...)
{
	if (!e || e->hint[0])
		return;
	char text[2 * sizeof(e->hint)];
	va_list ap;
	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	str_copy(e->hint, sizeof(e->hint), text);
}

void err_server(struct err *e, const char *name)
{
	if (e && !e->server[0])
		str_copy(e->server, sizeof(e->server), name);
}

void err_clear(struct err *e)
{
	if (e)
		*e = (struct err){0};
}

const char *err_text(const struct err *e)
{
	/* A few at a time, so that two may stand in one format. */
	static _Thread_local char ring[4][sizeof(e->message) + sizeof(e->hint) + 4];
	static _Thread_local unsigned turn;

	if (!e || !e->code)
		return "no error";
	if (!e->hint[0])
		return e->message;
	char *buf = ring[turn++ % COUNT_OF(ring)];
	(void)snprintf(buf, sizeof(ring[0]), "%s (%s)", e->message, e->hint);
	return buf;
}
