/*
 * sd: flipd as a systemd service (libsystemd, named in sd.c alone): readiness, watchdog, sockets handed over,
 * journald. Outside systemd each call does nothing.
 */
#ifndef IO_SD_H
#define IO_SD_H

#include "lib/base/base.h"
#include "lib/base/log.h"

void sd_tell_ready(void);
void sd_tell_reloading(void);
/* limit_ms: at most so long. Where TimeoutStopSec is shorter the service manager waits until then all the
 * same (sd_notify(3), EXTEND_TIMEOUT_USEC; it never shortens). */
void sd_tell_stopping(int64_t limit_ms);
/* One line for `systemctl status`. */
void sd_tell_status(const char *fmt, ...) PRINTF(1, 2);
/* Sends WATCHDOG=1 from the loop, three times in the interval that the unit asks for; a loop that hangs sends
 * none. */
void sd_watchdog_start(void);
void sd_watchdog_stop(void);
/* Sockets handed over: a listening unix stream socket and a listening TCP socket; -1 where there is none.
 * Once only. */
void sd_take_sockets(int *ret_unix, int *ret_inet);
/* True when stderr is the journal's own stream ($JOURNAL_STREAM); then log with sd_log_sink. */
bool sd_stderr_is_journal(void);
/* Fields FLIP_ID=, CLUSTER=, STEP=, SERVER=. */
void sd_log_sink(enum log_level, const struct log_ctx *, const char *message);

#endif
