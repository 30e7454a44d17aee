/* log: one sink, one level. What servers and peers sent cannot forge a line: control bytes become blanks. */
#include <stdarg.h>
#include <stdio.h>

#include "lib/base/log.h"

static log_sink_fn log_sink = log_sink_stderr;
static enum log_level log_max = LOG_LEVEL_INFO;

static const char *const level_names[] = {
	[LOG_LEVEL_ERROR] = "error",
	[LOG_LEVEL_WARNING] = "warning",
	[LOG_LEVEL_NOTICE] = "notice",
	[LOG_LEVEL_INFO] = "info",
	[LOG_LEVEL_DEBUG] = "debug",
};

const char *log_level_name(enum log_level level)
{
	return (size_t)level < COUNT_OF(level_names) ? level_names[level] : "unknown";
}

void log_init(log_sink_fn sink, enum log_level max_level)
{
	log_sink = sink ? sink : log_sink_stderr;
	log_max = max_level;
}

void log_at(enum log_level level, const struct log_ctx *ctx, const char *fmt, ...)
{
	static const struct log_ctx nothing;
	char text[2048];
	va_list ap;

	if (level > log_max)
		return;
	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	for (unsigned char *p = (unsigned char *)text; *p; p++) {
		if (*p < 0x20 || *p == 0x7f)
			*p = ' ';
	}
	log_sink(level, ctx ? ctx : &nothing, text);
}

void log_sink_stderr(enum log_level level, const struct log_ctx *ctx, const char *message)
{
	const struct {
		const char *key, *value;
	} fields[] = {
		{"cluster", ctx ? ctx->cluster : NULL},
		{"server", ctx ? ctx->server : NULL},
		{"step", ctx ? ctx->step : NULL},
		{"flip", ctx ? ctx->flip_id : NULL},
	};
	char line[3072];
	size_t used = (size_t)snprintf(line, sizeof(line), "%s: %s", log_level_name(level), message);

	for (size_t i = 0; i < COUNT_OF(fields) && used < sizeof(line); i++) {
		if (fields[i].value)
			used += (size_t)snprintf(
				line + used, sizeof(line) - used, " %s=%s", fields[i].key, fields[i].value);
	}
	(void)fprintf(stderr, "%s\n", line);
}
