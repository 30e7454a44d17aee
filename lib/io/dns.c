/*
 * dns: questions through c-ares, one channel for each. The channel's sockets and timer are watched on the
 * loop; the fiber that asks waits on a condition that c-ares' callback signals. A channel is destroyed by
 * that fiber only, since c-ares may not be torn down within its own callbacks.
 *
 *     asked -> answered (callback) -> destroyed
 *           \-> deadline or cancel -> destroyed (the callback comes from within ares_destroy)
 *
 * c-ares 1.18: without ARES_FLAG_NOCHECKRESP a server that says SERVFAIL, NOTIMP or REFUSED counts as silent;
 * a truncated answer is asked for again over TCP by itself; there is no cache.
 */
#include <ares.h>
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "lib/base/arena.h"
#include "lib/base/clock.h"
#include "lib/base/str.h"
#include "lib/io/dns.h"
#include "lib/io/dns_conn.h"
#include "lib/io/dns_update.h"
#include "lib/io/fiber.h"
#include "lib/io/loop.h"

#define RETRY_MS 500 /* doubled with each try; a lost datagram costs no more than this */
#define RETRIES 10   /* far past any deadline: ours decides */
#define CLASS_IN 1

struct sock {
	struct sock *next;
	struct question *question;
	struct loop_watch *watch;
	ares_socket_t fd;
};

struct question {
	ares_channel channel;
	struct sock *socks;
	struct loop_watch *timer;
	struct fiber_cond answered;
	bool done;
	int status; /* ARES_, once done */
	uint8_t *wire;
	size_t len;
	struct ares_addrinfo *addresses;
};

/* --- the channel on the loop --- */

static void timer_arm(struct question *q);

static void on_timer(int events, void *arg)
{
	struct question *q = arg;
	(void)events;

	q->timer = NULL;
	ares_process_fd(q->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
	timer_arm(q);
}

static void timer_arm(struct question *q)
{
	struct timeval tv;

	loop_unwatch(q->timer);
	q->timer = NULL;
	if (!ares_timeout(q->channel, NULL, &tv))
		return;
	int64_t wait_us = (int64_t)tv.tv_sec * 1000000 + tv.tv_usec;
	q->timer = loop_watch_once(-1, LOOP_TIMEOUT, clock_us() + wait_us, on_timer, q);
}

static void on_socket(int events, void *arg)
{
	struct sock *s = arg; /* gone after ares_process_fd, perhaps */
	struct question *q = s->question;
	ares_socket_t fd = s->fd;

	ares_process_fd(q->channel, events & LOOP_READ ? fd : ARES_SOCKET_BAD,
		events & LOOP_WRITE ? fd : ARES_SOCKET_BAD);
	timer_arm(q);
}

static void sock_remove(struct question *q, ares_socket_t fd)
{
	for (struct sock **at = &q->socks; *at; at = &(*at)->next) {
		struct sock *s = *at;
		if (s->fd != fd)
			continue;
		*at = s->next;
		loop_unwatch_always(s->watch);
		free(s);
		return;
	}
}

/* c-ares opened or closed a socket, or wants to know other things of it. */
static void on_sock_state(void *arg, ares_socket_t fd, int readable, int writable)
{
	struct question *q = arg;

	sock_remove(q, fd);
	if (!readable && !writable)
		return;
	struct sock *s = xcalloc(1, sizeof(*s));
	s->question = q;
	s->fd = fd;
	s->next = q->socks;
	q->socks = s;
	s->watch =
		loop_watch_always(fd, (readable ? LOOP_READ : 0) | (writable ? LOOP_WRITE : 0), on_socket, s);
}

/* --- life of a question --- */

static int ares_errno(int status)
{
	static const int codes[] = {
		[ARES_ENODATA] = -ENOENT,
		[ARES_ENOTFOUND] = -ENOENT,
		[ARES_EBADNAME] = -EINVAL,
		[ARES_ECONNREFUSED] = -ECONNREFUSED,
		[ARES_ETIMEOUT] = -ETIMEDOUT,
		[ARES_ENOMEM] = -ENOMEM,
		[ARES_EBADRESP] = -EBADMSG,
	};

	if (status > 0 && (size_t)status < COUNT_OF(codes) && codes[status])
		return codes[status];
	return -EIO;
}

static int question_init(struct question *q, struct ares_options *options, int mask)
{
	static bool ready;

	if (!ready && ares_library_init(ARES_LIB_INIT_ALL) != ARES_SUCCESS)
		return -ENOMEM;
	ready = true;
	options->sock_state_cb = on_sock_state;
	options->sock_state_cb_data = q;
	int status = ares_init_options(&q->channel, options, mask | ARES_OPT_SOCK_STATE_CB);
	return status == ARES_SUCCESS ? 0 : ares_errno(status);
}

static void question_freep(struct question **at)
{
	struct question *q = *at;

	if (q->channel)
		ares_destroy(q->channel);
	while (q->socks)
		sock_remove(q, q->socks->fd);
	loop_unwatch(q->timer);
	if (q->addresses)
		ares_freeaddrinfo(q->addresses);
	free(q->wire);
	free(q);
}

/* 0 once the callback has come. */
static int MAY_WAIT question_wait(struct question *q, int64_t deadline_us)
{
	timer_arm(q);
	while (!q->done) {
		int r = fiber_cond_wait(&q->answered, deadline_us);
		if (r < 0)
			return r;
	}
	return 0;
}

static int say(int code, const char *who, const char *what, struct err *err)
{
	static const struct {
		int code;
		const char *text;
	} texts[] = {
		{-ETIMEDOUT, "no answer in time"},
		{-ECANCELED, "cancelled"},
		{-ECONNREFUSED, "nobody answers there (connection refused)"},
		{-ENOENT, "no such host"},
	};

	for (size_t i = 0; i < COUNT_OF(texts); i++) {
		if (texts[i].code == code)
			return err_set(err, code, "%s: %s: %s", who, what, texts[i].text);
	}
	return err_set(err, code, "%s: %s: %s", who, what, strerror(-code));
}

/* --- one server --- */

static void on_answer(void *arg, int status, int timeouts, unsigned char *wire, int len)
{
	struct question *q = arg;
	(void)timeouts;

	q->done = true;
	q->status = status;
	if (wire && len > 0) {
		q->wire = xcalloc(1, (size_t)len);
		q->len = (size_t)len;
		memcpy(q->wire, wire, q->len);
	}
	fiber_cond_signal(&q->answered);
}

static void server_fill(struct ares_addr_port_node *node, const struct sockaddr_storage *addr)
{
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;

	node->family = addr->ss_family;
	if (addr->ss_family == AF_INET) {
		memcpy(&v4, addr, sizeof(v4));
		node->addr.addr4 = v4.sin_addr;
		node->udp_port = node->tcp_port = ntohs(v4.sin_port);
	} else {
		memcpy(&v6, addr, sizeof(v6));
		memcpy(&node->addr.addr6, &v6.sin6_addr, sizeof(v6.sin6_addr));
		node->udp_port = node->tcp_port = ntohs(v6.sin6_port);
	}
}

/* Everything that /etc/resolv.conf would say is given, so that it is not read. */
static int question_to(struct question *q, const char *server, struct err *err)
{
	char files[] = "f";
	struct ares_options options = {
		.flags = ARES_FLAG_NORECURSE | ARES_FLAG_NOCHECKRESP | ARES_FLAG_NOSEARCH |
			 ARES_FLAG_NOALIASES,
		.timeout = RETRY_MS,
		.tries = RETRIES,
		.ndots = 1,
		.lookups = files,
	};
	int mask = ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_NDOTS | ARES_OPT_LOOKUPS |
		   ARES_OPT_SERVERS | ARES_OPT_DOMAINS | ARES_OPT_SORTLIST;
	struct ares_addr_port_node node = {0};
	struct sockaddr_storage addr;
	socklen_t len = 0;
	int r = dns_server_parse(server, &addr, &len, err);

	if (r < 0)
		return r;
	r = question_init(q, &options, mask);
	if (r < 0)
		return say(r, server, "ask", err);
	server_fill(&node, &addr);
	if (ares_set_servers_ports(q->channel, &node) != ARES_SUCCESS)
		return say(-ENOMEM, server, "ask", err);
	return 0;
}

static int type_number(const char *type)
{
	static const struct {
		const char *name;
		int number;
	} types[] = {{"A", 1}, {"NS", 2}, {"CNAME", 5}, {"PTR", 12}, {"AAAA", 28}};

	for (size_t i = 0; i < COUNT_OF(types); i++) {
		if (!strcasecmp(types[i].name, type))
			return types[i].number;
	}
	return 0;
}

int dns_ask(const char *server, const char *name, const char *type, int64_t deadline_us,
	struct dns_answer *ret, struct err *err)
{
	CLEANUP(question_freep) struct question *q = xcalloc(1, sizeof(*q));
	int number = type_number(type);

	if (!number)
		return err_set(err, -EINVAL, "%s %s: a type that is not asked for here", name, type);
	int r = question_to(q, server, err);
	if (r < 0)
		return r;
	ares_query(q->channel, name, CLASS_IN, number, on_answer, q);
	r = question_wait(q, deadline_us);
	if (!r && !q->wire)
		r = ares_errno(q->status);
	if (r < 0)
		return say(r, server, name, err);
	r = dns_parse_answer(q->wire, q->len, name, type, ret, err);
	if (r < 0)
		err_wrap(err, "%s", server);
	return r;
}

/* --- the resolvers of the system --- */

static void on_addresses(void *arg, int status, int timeouts, struct ares_addrinfo *addresses)
{
	struct question *q = arg;
	(void)timeouts;

	q->done = true;
	q->status = status;
	q->addresses = addresses;
	fiber_cond_signal(&q->answered);
}

static int value_compare(const void *a, const void *b)
{
	return strcmp(a, b);
}

static bool address_text(const struct sockaddr *addr, char *buf, size_t size)
{
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;

	if (addr->sa_family == AF_INET) {
		memcpy(&v4, addr, sizeof(v4));
		return inet_ntop(AF_INET, &v4.sin_addr, buf, (socklen_t)size) != NULL;
	}
	if (addr->sa_family != AF_INET6)
		return false;
	memcpy(&v6, addr, sizeof(v6));
	return inet_ntop(AF_INET6, &v6.sin6_addr, buf, (socklen_t)size) != NULL;
}

static void addresses_read(const struct ares_addrinfo *from, struct dns_answer *a)
{
	const struct ares_addrinfo_node *node = from->nodes;

	for (; node && a->nvalues < DNS_VALUES_MAX; node = node->ai_next) {
		if (!address_text(node->ai_addr, a->values[a->nvalues], sizeof(a->values[0])))
			continue;
		if (!a->nvalues || a->ttl_s > node->ai_ttl)
			a->ttl_s = node->ai_ttl;
		a->nvalues++;
	}
	qsort(a->values, (size_t)a->nvalues, sizeof(a->values[0]), value_compare);
}

static int addresses_give(struct question *q, const char *host, struct dns_answer *ret, struct err *err)
{
	if (q->status != ARES_SUCCESS || !q->addresses || !q->addresses->nodes)
		return say(q->status == ARES_SUCCESS ? -ENOENT : ares_errno(q->status), host, "look-up", err);
	struct dns_answer *a = xcalloc(1, sizeof(*a));
	addresses_read(q->addresses, a);
	*ret = *a;
	free(a);
	return 0;
}

int dns_resolve(const char *host, int64_t deadline_us, struct dns_answer *ret, struct err *err)
{
	CLEANUP(question_freep) struct question *q = xcalloc(1, sizeof(*q));
	struct ares_addrinfo_hints hints = {
		.ai_family = AF_UNSPEC, .ai_flags = ARES_AI_NOSORT, .ai_socktype = SOCK_STREAM};
	struct ares_options options = {0};
	char name[256];
	size_t len = strlen(host);

	if (!len || len >= sizeof(name))
		return err_set(err, -EINVAL, "%s: no name of a host", host);
	(void)str_copy(name, sizeof(name), host);
	/* /etc/hosts and c-ares do not know the final dot; it says that no search domain is to be added. */
	bool absolute = name[len - 1] == '.';
	if (absolute)
		name[len - 1] = '\0';
	options.flags = absolute ? ARES_FLAG_NOSEARCH : 0;
	int r = question_init(q, &options, ARES_OPT_FLAGS);
	if (r < 0)
		return say(r, host, "look-up", err);
	ares_getaddrinfo(q->channel, name, NULL, &hints, on_addresses, q);
	r = question_wait(q, deadline_us);
	return r < 0 ? say(r, host, "look-up", err) : addresses_give(q, host, ret, err);
}
