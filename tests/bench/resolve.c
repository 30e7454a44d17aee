/* resolve: the writers' DNS client, over libresolv's codec. */
#include "tests/bench/resolve.h"

#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { TRIES = 3, TRY_MS = 300, CNAMES_MAX = 5 };

static int address_parse(const char *text, struct sockaddr_in *ret)
{
	char host[64];
	const char *colon = strrchr(text, ':');
	size_t len = colon ? (size_t)(colon - text) : strlen(text);

	if (len >= sizeof(host))
		return -EINVAL;
	memcpy(host, text, len);
	host[len] = 0;
	*ret = (struct sockaddr_in){.sin_family = AF_INET};
	ret->sin_port = htons((uint16_t)(colon ? atoi(colon + 1) : 53));
	return inet_pton(AF_INET, host, &ret->sin_addr) == 1 ? 0 : -EINVAL;
}

int resolver_open(struct resolver *r, const char *server)
{
	struct sockaddr_in at;
	int n = address_parse(server, &at);

	*r = (struct resolver){.fd = -1};
	if (n < 0)
		return n;
	if (res_ninit(&r->state) < 0)
		return -EIO;
	r->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (r->fd < 0 || connect(r->fd, (struct sockaddr *)&at, sizeof(at)) < 0)
		return -errno;
	return 0;
}

void resolver_close(struct resolver *r)
{
	if (r->fd >= 0)
		close(r->fd);
	r->fd = -1;
	res_nclose(&r->state);
}

/* One query sent, and its own answer awaited; strangers and late answers to earlier queries are passed over.
 */
static int exchange(struct resolver *r, const uint8_t *query, int qlen, uint8_t *answer, int size)
{
	if (send(r->fd, query, (size_t)qlen, 0) != qlen)
		return -errno;
	for (;;) {
		struct pollfd p = {.fd = r->fd, .events = POLLIN};
		ssize_t n;

		if (poll(&p, 1, TRY_MS) <= 0)
			return -ETIMEDOUT;
		n = recv(r->fd, answer, (size_t)size, 0);
		if (n < 0)
			return -errno;
		if (n >= NS_HFIXEDSZ && memcmp(query, answer, 2) == 0)
			return (int)n;
	}
}

/* 0 with an address, 1 with a CNAME to go on with, or negative. */
static int read_answer(const uint8_t *wire, int len, char *addr, size_t size, char *cname, size_t csize)
{
	ns_msg msg;
	int result = -ENOENT;

	if (ns_initparse(wire, len, &msg) < 0)
		return -EBADMSG;
	for (int i = 0; i < ns_msg_count(msg, ns_s_an); i++) {
		ns_rr rr;

		if (ns_parserr(&msg, ns_s_an, i, &rr) < 0)
			return -EBADMSG;
		if (ns_rr_type(rr) == ns_t_a && ns_rr_rdlen(rr) == 4)
			return inet_ntop(AF_INET, ns_rr_rdata(rr), addr, (socklen_t)size) ? 0 : -EINVAL;
		if (ns_rr_type(rr) == ns_t_cname && ns_name_uncompress(ns_msg_base(msg), ns_msg_end(msg),
							    ns_rr_rdata(rr), cname, csize) >= 0)
			result = 1;
	}
	return result;
}

static int ask_once(struct resolver *r, const char *name, char *buf, size_t size, char *cname, size_t csize)
{
	uint8_t query[512], answer[2048];
	int qlen = res_nmkquery(
		&r->state, ns_o_query, name, ns_c_in, ns_t_a, NULL, 0, NULL, query, sizeof(query));
	int n = -ETIMEDOUT;

	if (qlen < 0)
		return -EINVAL;
	for (int i = 0; i < TRIES && n < 0; i++)
		n = exchange(r, query, qlen, answer, sizeof(answer));
	return n < 0 ? n : read_answer(answer, n, buf, size, cname, csize);
}

int resolver_ask(struct resolver *r, const char *name, char *buf, size_t size)
{
	char asked[NS_MAXDNAME], cname[NS_MAXDNAME];

	snprintf(asked, sizeof(asked), "%s", name);
	for (int i = 0; i < CNAMES_MAX; i++) {
		int n = ask_once(r, asked, buf, size, cname, sizeof(cname));

		if (n <= 0)
			return n;
		memcpy(asked, cname, sizeof(asked));
	}
	return -ELOOP;
}
