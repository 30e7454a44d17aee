/*
 * log: events to a sink (stderr or journald, chosen by the daemon). lib/ logs at LOG_DEBUG only; whoever
 * decides logs, once, with the object as context. Never a secret. Call only on the loop's thread.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include "lib/base/base.h"

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_NOTICE, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* Any field may be NULL. */
struct log_ctx {
	const char *cluster, *server, *step, *flip_id;
};

typedef void (*log_sink_fn)(enum log_level, const struct log_ctx *, const char *message);

/* The default sink writes plain lines on stderr. Messages above the level are dropped before formatting. */
void log_init(log_sink_fn sink, enum log_level max_level);
void log_at(enum log_level, const struct log_ctx *ctx, const char *fmt, ...) PRINTF(3, 4);
void log_sink_stderr(enum log_level, const struct log_ctx *, const char *message);
const char *log_level_name(enum log_level);

#endif
