/* nameserver: see nameserver.h. libldns makes the packet and its signature; the answer's rcode is all that is
 * read. */
#include "tests/bench/nameserver.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ldns/ldns.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ANSWER_MAX = 4096, TIMEOUT_MS = 2000, FUDGE_S = 300 };

/* A name server closes a connection that idles; the end of the stream is then there to be read. */
static int is_alive(int fd)
{
	char c;

	return recv(fd, &c, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
}

int nameserver_warm(struct nameserver *ns)
{
	struct sockaddr_in at = {.sin_family = AF_INET};
	char host[64] = "";
	int port = 53, on = 1;

	if (ns->fd >= 0 && is_alive(ns->fd))
		return 0;
	nameserver_close(ns);
	if (sscanf(ns->address, "%63[^:]:%d", host, &port) < 1 || inet_pton(AF_INET, host, &at.sin_addr) != 1)
		return -EINVAL;
	at.sin_port = htons((uint16_t)port);
	ns->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (ns->fd < 0 || connect(ns->fd, (struct sockaddr *)&at, sizeof(at)) < 0)
		return -errno;
	setsockopt(ns->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	return 0;
}

void nameserver_close(struct nameserver *ns)
{
	if (ns->fd >= 0)
		close(ns->fd);
	ns->fd = -1;
}

/* "Delete the record set" and "add this record" (RFC 2136, 2.5.2 and 2.5.1). */
static ldns_rr_list *make_changes(const struct nameserver *ns, const char *value)
{
	ldns_rr_list *list = ldns_rr_list_new();
	ldns_rr *drop = ldns_rr_new(), *add = NULL;
	char text[600];

	ldns_rr_set_owner(drop, ldns_dname_new_frm_str(ns->name));
	ldns_rr_set_type(drop, LDNS_RR_TYPE_CNAME);
	ldns_rr_set_class(drop, LDNS_RR_CLASS_ANY);
	ldns_rr_set_ttl(drop, 0);
	ldns_rr_list_push_rr(list, drop);
	snprintf(text, sizeof(text), "%s 5 IN CNAME %s", ns->name, value);
	if (ldns_rr_new_frm_str(&add, text, 0, NULL, NULL) == LDNS_STATUS_OK)
		ldns_rr_list_push_rr(list, add);
	return list;
}

static int make_packet(const struct nameserver *ns, const char *value, uint8_t **ret, size_t *ret_len)
{
	ldns_rdf *zone = ldns_dname_new_frm_str(ns->zone);
	ldns_rr_list *changes = make_changes(ns, value);
	ldns_pkt *pkt = ldns_update_pkt_new(zone, LDNS_RR_CLASS_IN, NULL, changes, NULL);
	ldns_status s = pkt ? LDNS_STATUS_OK : LDNS_STATUS_MEM_ERR;

	if (s == LDNS_STATUS_OK) {
		ldns_pkt_set_random_id(pkt);
		s = ldns_pkt_tsig_sign(pkt, ns->key_name, ns->secret, FUDGE_S, "hmac-sha256.", NULL);
	}
	if (s == LDNS_STATUS_OK)
		s = ldns_pkt2wire(ret, pkt, ret_len);
	ldns_pkt_free(pkt);
	ldns_rr_list_deep_free(changes);
	return s == LDNS_STATUS_OK ? 0 : -EINVAL;
}

static int read_all(int fd, uint8_t *buf, size_t len)
{
	for (size_t done = 0; done < len;) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		ssize_t n;

		if (poll(&p, 1, TIMEOUT_MS) <= 0)
			return -ETIMEDOUT;
		n = read(fd, buf + done, len - done);
		if (n <= 0)
			return n < 0 ? -errno : -ECONNRESET;
		done += (size_t)n;
	}
	return 0;
}

static int exchange(int fd, const uint8_t *wire, size_t len)
{
	uint8_t out[2 + ANSWER_MAX], head[2], answer[ANSWER_MAX];
	size_t alen;

	if (len > ANSWER_MAX)
		return -EMSGSIZE;
	out[0] = (uint8_t)(len >> 8);
	out[1] = (uint8_t)len;
	memcpy(out + 2, wire, len);
	if (send(fd, out, len + 2, MSG_NOSIGNAL) != (ssize_t)len + 2)
		return -EIO;
	if (read_all(fd, head, 2) < 0)
		return -EIO;
	alen = (size_t)head[0] << 8 | head[1];
	if (alen < LDNS_HEADER_SIZE || alen > ANSWER_MAX || read_all(fd, answer, alen) < 0)
		return -EBADMSG;
	return LDNS_RCODE_WIRE(answer);
}

int nameserver_update(struct nameserver *ns, const char *value)
{
	uint8_t *wire = NULL;
	size_t len = 0;
	int n = make_packet(ns, value, &wire, &len);

	if (n == 0)
		n = exchange(ns->fd, wire, len);
	free(wire);
	return n;
}
