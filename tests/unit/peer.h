/*
 * peer: for tests of clients: a TCP server on a free loopback port whose connections are served by fibers of
 * the same loop, and a way to run a test's body in a fiber.
 */
#ifndef TESTS_UNIT_PEER_H
#define TESTS_UNIT_PEER_H

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/io/fiber.h"
#include "lib/io/loop.h"

#define PEER_CONNECTIONS 16

struct peer {
	int fd, nfds, fds[PEER_CONNECTIONS], connections;
	uint16_t port;
	char address[32]; /* 127.0.0.1:PORT */
	/* Serves one connection until the client goes; the socket is closed afterwards. NULL: never answers.
	 */
	void (*serve)(struct peer *, int fd);
	struct fiber *acceptor, *servants[PEER_CONNECTIONS];
};

struct peer_servant {
	struct peer *peer;
	int fd;
};

static inline void peer_servant_run(void *arg)
{
	struct peer_servant *s = arg;

	s->peer->serve(s->peer, s->fd);
	(void)close(s->fd);
	free(s);
}

static inline void peer_accept(void *arg)
{
	struct peer *p = arg;

	while (fiber_wait_fd(p->fd, LOOP_READ, CLOCK_FOREVER) > 0) {
		int fd = accept4(p->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd < 0)
			continue;
		struct peer_servant *s = calloc(1, sizeof(*s));
		s->peer = p;
		s->fd = fd;
		p->servants[p->connections++] = fiber_spawn("servant", peer_servant_run, s);
	}
}

static inline void peer_start(struct peer *p, void (*serve)(struct peer *, int fd))
{
	struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(addr);

	*p = (struct peer){.serve = serve};
	p->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (p->fd < 0 || bind(p->fd, (struct sockaddr *)&addr, len) < 0 || listen(p->fd, 8) < 0 ||
		getsockname(p->fd, (struct sockaddr *)&addr, &len) < 0)
		abort();
	p->port = ntohs(addr.sin_port);
	(void)snprintf(p->address, sizeof(p->address), "127.0.0.1:%u", (unsigned)p->port);
	if (serve)
		p->acceptor = fiber_spawn("acceptor", peer_accept, p);
}

static inline void peer_stop(struct peer *p)
{
	fiber_stop(p->acceptor);
	for (int i = 0; i < p->connections; i++)
		fiber_stop(p->servants[i]);
	(void)close(p->fd);
}

/* Reads at least want bytes; what there is, or -1 when the client is gone. */
static inline ssize_t peer_read(int fd, void *buf, size_t size, size_t want)
{
	size_t len = 0;

	while (len < want) {
		if (fiber_wait_fd(fd, LOOP_READ, CLOCK_FOREVER) < 0)
			return -1;
		ssize_t n = recv(fd, (char *)buf + len, size - len, 0);
		if (n <= 0)
			return -1;
		len += (size_t)n;
	}
	return (ssize_t)len;
}

/* A port nobody listens on: one that was just given back. */
static inline void peer_dead_address(char *buf, size_t size)
{
	struct peer p;

	peer_start(&p, NULL);
	(void)snprintf(buf, size, "%s", p.address);
	(void)close(p.fd);
}

static inline void peer_run(void (*body)(void *))
{
	if (loop_init() < 0)
		abort();
	struct fiber *f = fiber_spawn("test", body, NULL);
	loop_run();
	fiber_join(f);
	loop_free();
}

static inline int64_t peer_deadline_us(int64_t ms)
{
	return clock_us() + ms * 1000;
}

#endif
