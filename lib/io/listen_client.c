/*
 * listen_client: one client of listen.c: reading its lines while there is room for what they ask, sending
 * what it is owed, closing. A client that is done with is marked dead and freed on the loop's next turn, so
 * that callbacks never find it gone under their feet.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/base/arena.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/io/listen_priv.h"
#include "lib/io/loop.h"

#define READ_CHUNK 16384
#define LINES_PER_TURN 64 /* of all clients together, but burst of each; then others have their turn */
#define OUT_PAUSE 65536	  /* a client with more than this unread gets no further request begun */

void listen_client_kill(struct listen_client *c)
{
	if (c->dead)
		return;
	c->dead = true;
	loop_unwatch_always(c->read_watch);
	loop_unwatch(c->write_watch);
	c->read_watch = c->write_watch = NULL;
	(void)close(c->fd);
	c->fd = -1;
	c->listener->nclients--;
	listener_reap_soon(c->listener);
}

/* Sending */

static void on_writable(int events, void *arg);

static void out_flush(struct listen_client *c)
{
	while (c->out_len > 0) {
		ssize_t n = send(c->fd, c->out + c->out_start, c->out_len, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			break;
		if (n <= 0) {
			listen_client_kill(c);
			return;
		}
		c->out_start += (size_t)n;
		c->out_len -= (size_t)n;
		c->out_ms = c->active_ms = clock_ms();
	}
	if (c->out_len > 0) {
		if (!c->write_watch)
			c->write_watch = loop_watch_once(c->fd, LOOP_WRITE, CLOCK_FOREVER, on_writable, c);
		return;
	}
	free(c->out);
	c->out = NULL;
	c->out_start = c->out_cap = 0;
	/* Everything was said: the peer may read it in peace while what it still sends is thrown away. */
	if (c->closing)
		(void)shutdown(c->fd, SHUT_WR);
}

static void on_writable(int events, void *arg)
{
	struct listen_client *c = arg;
	(void)events;

	c->write_watch = NULL;
	out_flush(c);
	listen_client_update(c);
}

static void out_reserve(struct listen_client *c, size_t more)
{
	if (c->out_start + c->out_len + more <= c->out_cap)
		return;
	if (c->out_start) {
		memmove(c->out, c->out + c->out_start, c->out_len);
		c->out_start = 0;
	}
	size_t cap = c->out_cap ? c->out_cap : 4096;
	while (cap < c->out_len + more)
		cap *= 2;
	c->out = xrealloc(c->out, cap);
	c->out_cap = cap;
}

void listen_send(struct listen_client *c, const char *data, size_t len)
{
	if (c->dead || c->closing || len == 0)
		return;
	if (c->out_len + len > c->listener->limits->max_out) {
		log_at(LOG_LEVEL_DEBUG, NULL, "a client that does not read was dropped");
		listen_client_kill(c);
		return;
	}
	bool idle = c->out_len == 0;
	out_reserve(c, len);
	memcpy(c->out + c->out_start + c->out_len, data, len);
	c->out_len += len;
	if (!idle)
		return;
	c->out_ms = clock_ms();
	out_flush(c);
}

void listen_client_close(struct listen_client *c)
{
	if (c->dead || c->closing)
		return;
	c->closing = true;
	c->in_len = 0;
	c->line_ms = 0;
	c->active_ms = clock_ms();
	out_flush(c);
	listen_client_update(c);
}

/* Reading */

bool listen_client_may_begin(const struct listen_client *c)
{
	return !c->dead && !c->closing && c->held < c->listener->limits->max_held && c->out_len < OUT_PAUSE;
}

/* The first line of the buffer goes to the owner; false when there is none. */
static bool take_line(struct listen_client *c)
{
	const struct listener *l = c->listener;
	char *end = c->in_len ? memchr(c->in, '\n', c->in_len) : NULL;
	size_t len = end ? (size_t)(end - c->in) : c->in_len;

	if (len > l->limits->max_line) {
		if (!c->told_too_long && l->ops->on_too_long)
			l->ops->on_too_long(c, l->arg);
		c->told_too_long = true;
		listen_client_close(c);
		return false;
	}
	if (!end)
		return false;
	*end = '\0';
	c->active_ms = clock_ms();
	l->ops->on_line(c, c->in, len, l->arg);
	if (c->dead || c->closing)
		return false;
	c->in_len -= len + 1;
	memmove(c->in, end + 1, c->in_len);
	c->line_ms = c->in_len ? clock_ms() : 0;
	return true;
}

static void resume_lines(void *arg);

static void take_lines(struct listen_client *c)
{
	int taken = 0, most = LINES_PER_TURN / (c->listener->nclients + 1);

	if (most < c->listener->limits->burst)
		most = c->listener->limits->burst;
	while (listen_client_may_begin(c) && take_line(c)) {
		if (++taken < most)
			continue;
		if (!c->resuming) {
			c->resuming = true;
			loop_soon(resume_lines, c);
		}
		break;
	}
	listen_client_update(c);
}

static void resume_lines(void *arg)
{
	struct listen_client *c = arg;

	c->resuming = false;
	if (c->dead)
		listener_reap_soon(c->listener);
	else
		take_lines(c);
}

static void on_readable(int events, void *arg)
{
	struct listen_client *c = arg;
	bool first = c->in_len == 0;
	(void)events;

	if (c->in_cap - c->in_len < READ_CHUNK) {
		c->in_cap = c->in_len + READ_CHUNK;
		c->in = xrealloc(c->in, c->in_cap);
	}
	ssize_t n = recv(c->fd, c->in + c->in_len, READ_CHUNK, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0 || (n == 0 && c->closing)) {
		listen_client_kill(c);
		return;
	}
	if (c->closing)
		return;
	/* Half closed or gone: what it asked is still answered, and a send will tell. */
	c->eof = n == 0;
	c->in_len += (size_t)n;
	if (first)
		c->line_ms = clock_ms();
	take_lines(c);
}

void listen_client_try(struct listen_client *c)
{
	if (c->read_watch)
		on_readable(LOOP_READ, c);
}

static bool line_waits(const struct listen_client *c)
{
	return c->in_len && memchr(c->in, '\n', c->in_len);
}

void listen_client_update(struct listen_client *c)
{
	bool room = listen_client_may_begin(c) && !c->resuming;
	bool want = !c->dead && !c->eof && (c->closing || room);

	if (want && !c->read_watch)
		c->read_watch = loop_watch_always(c->fd, LOOP_READ | LOOP_LAST, on_readable, c);
	if (!want && c->read_watch) {
		loop_unwatch_always(c->read_watch);
		c->read_watch = NULL;
	}
	if (room && line_waits(c)) {
		c->resuming = true;
		loop_soon(resume_lines, c);
	} else if (c->eof && !c->resuming && c->held == 0 && c->out_len == 0) {
		listen_client_kill(c);
	}
}

void listen_client_hold(struct listen_client *c)
{
	c->held++;
}

void listen_client_release(struct listen_client *c)
{
	assert(c->held > 0);
	c->held--;
	c->active_ms = clock_ms();
	if (c->line_ms)
		c->line_ms = c->active_ms;
	listen_client_update(c);
}

const struct listen_peer *listen_client_peer(const struct listen_client *c)
{
	return &c->peer;
}

void listen_client_set_data(struct listen_client *c, void *data)
{
	c->data = data;
}

void *listen_client_data(const struct listen_client *c)
{
	return c->data;
}
