/* sd: the one place that knows libsystemd. */
#include "lib/io/sd.h"

#define SD_JOURNAL_SUPPRESS_LOCATION
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <systemd/sd-daemon.h>
#include <systemd/sd-journal.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/base/str.h"
#include "lib/io/loop.h"

static struct loop_watch *watchdog;
static int64_t watchdog_us;

void sd_tell_ready(void)
{
	(void)sd_notify(0, "READY=1");
}

void sd_tell_reloading(void)
{
	/* The time stamp is what Type=notify-reload asks for; Type=notify takes no notice of it. */
	(void)sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%" PRId64, clock_us());
}

void sd_tell_stopping(int64_t limit_ms)
{
	(void)sd_notifyf(0, "STOPPING=1\nEXTEND_TIMEOUT_USEC=%" PRId64, limit_ms * 1000);
}

void sd_tell_status(const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	(void)sd_notifyf(0, "STATUS=%s", text);
}

static void on_watchdog(int events, void *arg)
{
	(void)events, (void)arg;

	(void)sd_notify(0, "WATCHDOG=1");
	watchdog = loop_watch_once(-1, LOOP_TIMEOUT, clock_us() + watchdog_us, on_watchdog, NULL);
}

void sd_watchdog_start(void)
{
	uint64_t usec;

	if (watchdog || sd_watchdog_enabled(0, &usec) <= 0)
		return;
	watchdog_us = (int64_t)(usec / 3);
	on_watchdog(LOOP_TIMEOUT, NULL);
}

void sd_watchdog_stop(void)
{
	loop_unwatch(watchdog);
	watchdog = NULL;
}

void sd_take_sockets(int *ret_unix, int *ret_inet)
{
	int n = sd_listen_fds(1);

	*ret_unix = *ret_inet = -1;
	for (int fd = SD_LISTEN_FDS_START; fd < SD_LISTEN_FDS_START + n; fd++) {
		if (*ret_unix < 0 && sd_is_socket_unix(fd, SOCK_STREAM, 1, NULL, 0) > 0)
			*ret_unix = fd;
		else if (*ret_inet < 0 && sd_is_socket_inet(fd, 0, SOCK_STREAM, 1, 0) > 0)
			*ret_inet = fd;
		else
			(void)close(fd);
	}
}

bool sd_stderr_is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	uint64_t dev, ino;
	struct stat st;

	if (!stream || sscanf(stream, "%" SCNu64 ":%" SCNu64, &dev, &ino) != 2 ||
		fstat(STDERR_FILENO, &st) < 0)
		return false;
	return st.st_dev == dev && st.st_ino == ino;
}

void sd_log_sink(enum log_level level, const struct log_ctx *ctx, const char *message)
{
	static const int priorities[] = {
		[LOG_LEVEL_ERROR] = 3,
		[LOG_LEVEL_WARNING] = 4,
		[LOG_LEVEL_NOTICE] = 5,
		[LOG_LEVEL_INFO] = 6,
		[LOG_LEVEL_DEBUG] = 7,
	};
	const struct {
		const char *name, *value;
	} fields[] = {
		{"MESSAGE", message},
		{"FLIP_ID", ctx->flip_id},
		{"CLUSTER", ctx->cluster},
		{"STEP", ctx->step},
		{"SERVER", ctx->server},
	};
	struct strbuf texts[COUNT_OF(fields) + 1] = {0};
	struct iovec iov[COUNT_OF(fields) + 1];
	int n = 0;

	strbuf_addf(&texts[n++], "PRIORITY=%d", priorities[level]);
	for (size_t i = 0; i < COUNT_OF(fields); i++) {
		if (fields[i].value)
			strbuf_addf(&texts[n++], "%s=%s", fields[i].name, fields[i].value);
	}
	for (int i = 0; i < n; i++)
		iov[i] = (struct iovec){.iov_base = texts[i].data, .iov_len = texts[i].len};
	(void)sd_journal_sendv(iov, n);
	for (int i = 0; i < n; i++)
		strbuf_free(&texts[i]);
}
