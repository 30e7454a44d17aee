/*
 * listen: a listening socket and its clients: who is let in, the limits of time, the end. Plain watches of
 * the loop: no library stands between a client and its bounds. Reading and sending are in listen_client.c.
 */
#include "lib/io/listen.h"

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

#define LINGER_MS 2000	    /* a closing client's input is thrown away at most this long */
#define TICK_MS 1000	    /* how often the limits of time are looked at */
#define ACCEPT_PER_TURN 64  /* a queue that stays full keeps everybody out */
#define ACCEPT_PAUSE_MS 100 /* after an accept that failed for want of descriptors */

/* Life */

static void client_free(struct listen_client *c)
{
	c->next->prev = c->prev;
	c->prev->next = c->next;
	free(c->in);
	free(c->out);
	free(c->peer.groups);
	free(c);
}

/* One whose lines are still to be resumed has a call queued: that one has it reaped. */
static void reap(void *arg)
{
	struct listener *l = arg;

	l->reaping = false;
	for (struct listen_client *c = l->all.next, *next; c != &l->all; c = next) {
		next = c->next;
		if (!c->dead || c->resuming)
			continue;
		if (!l->freed && l->ops->on_close)
			l->ops->on_close(c, l->arg);
		client_free(c);
	}
	if (!l->freed || l->all.next != &l->all)
		return;
	free(l->path);
	free(l);
}

void listener_reap_soon(struct listener *l)
{
	if (l->reaping)
		return;
	l->reaping = true;
	loop_soon(reap, l);
}

/* Limits of time */

static bool overdue(const struct listen_client *c, int64_t now)
{
	const struct listen_limits *limits = c->listener->limits;

	if (c->closing && c->out_len == 0)
		return now - c->active_ms > LINGER_MS;
	if (limits->life_ms && now - c->born_ms > limits->life_ms)
		return true;
	if (c->out_len > 0 && now - c->out_ms > limits->line_ms)
		return true;
	if (c->line_ms && listen_client_may_begin(c) && now - c->line_ms > limits->line_ms)
		return true;
	return c->held == 0 && now - c->active_ms > limits->idle_ms;
}

static void on_tick(int events, void *arg)
{
	struct listener *l = arg;
	int64_t now = clock_ms();
	(void)events;

	for (struct listen_client *c = l->all.next; c != &l->all; c = c->next) {
		if (!c->dead && overdue(c, now))
			listen_client_kill(c);
	}
	l->tick = loop_watch_once(-1, LOOP_TIMEOUT, clock_us() + TICK_MS * 1000, on_tick, l);
}

/* Accepting */

/* root and whoever flipd runs as. */
static bool is_special(const struct listen_peer *peer)
{
	return peer->known && (peer->uid == 0 || peer->uid == geteuid());
}

/* Of those whom others may push out, or of all. */
static struct listen_client *idlest(const struct listener *l, bool of_all)
{
	struct listen_client *best = NULL;

	for (struct listen_client *c = l->all.next; c != &l->all; c = c->next) {
		if (!c->dead && c->held == 0 && (of_all || !is_special(&c->peer)) &&
			(!best || c->active_ms < best->active_ms))
			best = c;
	}
	return best;
}

static int count_uid(const struct listener *l, uid_t uid)
{
	int n = 0;

	for (const struct listen_client *c = l->all.next; c != &l->all; c = c->next)
		n += !c->dead && c->peer.known && c->peer.uid == uid;
	return n;
}

static bool find_place(struct listener *l, const struct listen_peer *peer)
{
	bool special = is_special(peer);

	if (peer->known && !special && l->limits->max_per_uid &&
		count_uid(l, peer->uid) >= l->limits->max_per_uid)
		return false;
	if (l->nclients < l->limits->max_clients)
		return true;
	struct listen_client *c = idlest(l, false);
	if (!c && special)
		c = idlest(l, true);
	if (!c)
		return false;
	listen_client_kill(c);
	return true;
}

static void client_new(struct listener *l, int fd)
{
	struct listen_peer peer;

	listen_peer_read(fd, &peer);
	if (!find_place(l, &peer)) {
		const char *text = l->limits->full_text;

		if (text)
			(void)send(fd, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT);
		free(peer.groups);
		(void)close(fd);
		return;
	}
	struct listen_client *c = xcalloc(1, sizeof(*c));
	c->listener = l;
	c->fd = fd;
	c->peer = peer;
	c->born_ms = c->active_ms = clock_ms();
	c->next = &l->all;
	c->prev = l->all.prev;
	l->all.prev->next = c;
	l->all.prev = c;
	l->nclients++;
	if (l->ops->on_open)
		l->ops->on_open(c, l->arg);
	listen_client_update(c);
	/* What it asks is often there already: answered at once it cannot be pushed out by those behind it.
	 */
	listen_client_try(c);
}

static void on_accept(int events, void *arg);

static void on_pause_over(int events, void *arg)
{
	struct listener *l = arg;
	(void)events;

	l->pause = NULL;
	l->accept_watch = loop_watch_always(l->fd, LOOP_READ | LOOP_LAST, on_accept, l);
}

/* Out of descriptors: the longest idle client gives way, and accepting rests a moment instead of spinning. */
static void accept_failed(struct listener *l)
{
	struct listen_client *c = idlest(l, true);

	log_at(LOG_LEVEL_DEBUG, NULL, "accept: %s", strerror(errno));
	if (c)
		listen_client_kill(c);
	loop_unwatch_always(l->accept_watch);
	l->accept_watch = NULL;
	l->pause = loop_watch_once(-1, LOOP_TIMEOUT, clock_us() + ACCEPT_PAUSE_MS * 1000, on_pause_over, l);
}

static void on_accept(int events, void *arg)
{
	struct listener *l = arg;
	(void)events;

	for (int i = 0; i < ACCEPT_PER_TURN; i++) {
		int fd = accept4(l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd >= 0) {
			client_new(l, fd);
			continue;
		}
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
			accept_failed(l);
		return;
	}
}

/* The listener */

struct listener *listener_new(
	int fd, char *path, const struct listen_limits *limits, const struct listen_ops *ops, void *arg)
{
	struct listener *l = xcalloc(1, sizeof(*l));

	l->all.next = l->all.prev = &l->all;
	l->fd = fd;
	l->path = path;
	l->limits = limits;
	l->ops = ops;
	l->arg = arg;
	l->accept_watch = loop_watch_always(fd, LOOP_READ | LOOP_LAST, on_accept, l);
	l->tick = loop_watch_once(-1, LOOP_TIMEOUT, clock_us() + TICK_MS * 1000, on_tick, l);
	return l;
}

void listener_free(struct listener *l)
{
	if (!l)
		return;
	for (struct listen_client *c = l->all.next; c != &l->all; c = c->next) {
		if (l->ops->on_close)
			l->ops->on_close(c, l->arg);
		listen_client_kill(c);
	}
	loop_unwatch_always(l->accept_watch);
	loop_unwatch(l->pause);
	loop_unwatch(l->tick);
	(void)close(l->fd);
	if (l->path)
		(void)unlink(l->path);
	l->freed = true;
	listener_reap_soon(l);
}

int listener_clients(const struct listener *l)
{
	return l->nclients;
}
