/*
 * dns_conn: a warm TCP connection to one name server on nonblocking sockets. One exchange at a time.
 *
 *     open -> idle <-> exchange (send, then receive) -> dead (closed by the server, failed, or timed out)
 *
 * A connection on which an answer did not arrive is dead for good: a late answer must never be taken for the
 * answer to the next question. Nor is a message that was given up delivered later: closing throws away what
 * the kernel has not sent (else it goes on trying for minutes after we, or this process, have gone, and an
 * update would arrive when the line is back, long after it was undone). BIND 9.18 closes idle connections
 * after 30 s (tcp-initial-timeout, tcp-idle-timeout).
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/arena.h"
#include "lib/base/str.h"
#include "lib/io/dns_conn.h"
#include "lib/io/dns_update.h"
#include "lib/io/fiber.h"
#include "lib/io/loop.h"

#define DNS_PORT 53
#define MESSAGE_MAX 65535

struct dns_conn {
	int fd;
	bool dead;
	char server[80];
};

/* Splits host and port in place; *ret_port keeps its value when none is given. */
static int split_port(char *text, char **ret_host, int64_t *ret_port)
{
	char *colon = strchr(text, ':'), *bracket = strchr(text, ']');

	*ret_host = text;
	if (text[0] == '[') {
		if (!bracket || (bracket[1] && bracket[1] != ':'))
			return -EINVAL;
		*ret_host = text + 1;
		*bracket = '\0';
		colon = bracket[1] ? bracket + 1 : NULL;
	} else if (colon && strchr(colon + 1, ':')) {
		colon = NULL; /* a bare IPv6 address */
	}
	if (!colon)
		return 0;
	*colon = '\0';
	return str_parse_int(colon + 1, 1, 65535, ret_port) < 0 ? -EINVAL : 0;
}

int dns_server_parse(const char *server, struct sockaddr_storage *ret, socklen_t *ret_len, struct err *err)
{
	struct sockaddr_in v4 = {.sin_family = AF_INET};
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
	char text[80], *host;
	int64_t port = DNS_PORT;

	if (strlen(server) >= sizeof(text) ||
		split_port(str_copy(text, sizeof(text), server), &host, &port) < 0)
		return err_set(err, -EINVAL, "%s: not ADDRESS[:PORT] or [V6]:PORT", server);
	memset(ret, 0, sizeof(*ret));
	if (inet_pton(AF_INET, host, &v4.sin_addr) == 1) {
		v4.sin_port = htons((uint16_t)port);
		memcpy(ret, &v4, sizeof(v4));
		*ret_len = sizeof(v4);
	} else if (inet_pton(AF_INET6, host, &v6.sin6_addr) == 1) {
		v6.sin6_port = htons((uint16_t)port);
		memcpy(ret, &v6, sizeof(v6));
		*ret_len = sizeof(v6);
	} else {
		return err_set(
			err, -EINVAL, "%s: a name server is given by its address, not by a name", server);
	}
	return 0;
}

static int fail(struct dns_conn *c, int code, const char *what, struct err *err)
{
	c->dead = true;
	if (code == -ETIMEDOUT)
		return err_set(err, code, "%s: %s: no answer in time", c->server, what);
	if (code == -ECANCELED)
		return err_set(err, code, "%s: %s: cancelled", c->server, what);
	return err_set(err, code, "%s: %s: %s", c->server, what, strerror(-code));
}

static int MAY_WAIT connect_to(
	struct dns_conn *c, const struct sockaddr *addr, socklen_t len, int64_t deadline_us)
{
	static const struct linger none = {.l_onoff = 1, .l_linger = 0};
	int one = 1, failed = 0;
	socklen_t size = sizeof(failed);

	c->fd = socket(addr->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (c->fd < 0)
		return -errno;
	(void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &none, sizeof(none)) < 0)
		return -errno;
	if (connect(c->fd, addr, len) == 0)
		return 0;
	if (errno != EINPROGRESS)
		return -errno;
	int r = fiber_wait_fd(c->fd, LOOP_WRITE, deadline_us);
	if (r < 0)
		return r;
	if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &failed, &size) < 0)
		return -errno;
	return -failed;
}

int dns_conn_open(const char *server, int64_t deadline_us, struct dns_conn **ret, struct err *err)
{
	struct sockaddr_storage addr;
	socklen_t len = 0;
	int r = dns_server_parse(server, &addr, &len, err);

	if (r < 0)
		return r;
	struct dns_conn *c = xcalloc(1, sizeof(*c));
	(void)str_copy(c->server, sizeof(c->server), server);
	r = connect_to(c, (const struct sockaddr *)&addr, len, deadline_us);
	if (r < 0) {
		r = fail(c, r, "connect", err);
		dns_conn_close(c);
		return r;
	}
	*ret = c;
	return 0;
}

void dns_conn_close(struct dns_conn *c)
{
	if (!c)
		return;
	if (c->fd >= 0)
		(void)close(c->fd);
	free(c);
}

void dns_conn_kill(struct dns_conn *c)
{
	c->dead = true;
}

const char *dns_conn_server(const struct dns_conn *c)
{
	return c->server;
}

bool dns_conn_alive(const struct dns_conn *c)
{
	char byte;

	/* Between exchanges nothing may arrive: bytes are as bad as an end. */
	return !c->dead && recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 &&
	       (errno == EAGAIN || errno == EWOULDBLOCK);
}

static int MAY_WAIT send_all(
	struct dns_conn *c, const uint8_t *data, size_t len, int64_t deadline_us, bool *ret_sent)
{
	while (len > 0) {
		ssize_t n = send(c->fd, data, len, MSG_NOSIGNAL);
		if (n > 0) {
			*ret_sent = true;
			data += n;
			len -= (size_t)n;
		} else if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
			int r = fiber_wait_fd(c->fd, LOOP_WRITE, deadline_us);
			if (r < 0)
				return r;
		} else {
			return n < 0 ? -errno : -EPIPE;
		}
	}
	return 0;
}

static int MAY_WAIT receive_all(struct dns_conn *c, uint8_t *data, size_t len, int64_t deadline_us)
{
	while (len > 0) {
		ssize_t n = recv(c->fd, data, len, 0);
		if (n > 0) {
			data += n;
			len -= (size_t)n;
		} else if (n == 0) {
			return -ECONNRESET;
		} else if (errno == EAGAIN || errno == EINTR) {
			int r = fiber_wait_fd(c->fd, LOOP_READ, deadline_us);
			if (r < 0)
				return r;
		} else {
			return -errno;
		}
	}
	return 0;
}

static int MAY_WAIT receive_message(
	struct dns_conn *c, int64_t deadline_us, uint8_t **ret_answer, size_t *ret_len, struct err *err)
{
	uint8_t prefix[2];
	int r = receive_all(c, prefix, sizeof(prefix), deadline_us);

	if (r < 0)
		return fail(c, r, "receive", err);
	size_t len = (size_t)prefix[0] << 8 | prefix[1];
	uint8_t *answer = xcalloc(1, len + 1);
	r = receive_all(c, answer, len, deadline_us);
	if (r < 0) {
		free(answer);
		return fail(c, r, "receive", err);
	}
	*ret_answer = answer;
	*ret_len = len;
	return 0;
}

int dns_conn_exchange(struct dns_conn *c, const uint8_t *message, size_t len, int64_t deadline_us,
	uint8_t **ret_answer, size_t *ret_len, bool *ret_sent, struct err *err)
{
	*ret_sent = false;
	if (len > MESSAGE_MAX)
		return err_set(err, -EMSGSIZE, "%s: the message is too long", c->server);
	if (!dns_conn_alive(c))
		return fail(c, -ENOTCONN, "send", err);
	/* Length and message leave together: some servers take a lone length for the end. */
	uint8_t *framed = xcalloc(1, len + 2);
	framed[0] = (uint8_t)(len >> 8);
	framed[1] = (uint8_t)len;
	memcpy(framed + 2, message, len);
	int r = send_all(c, framed, len + 2, deadline_us, ret_sent);
	free(framed);
	if (r < 0)
		return fail(c, r, "send", err);
	return receive_message(c, deadline_us, ret_answer, ret_len, err);
}
