/*
 * dns_conn: messages over a warm TCP connection to one name server, each with two bytes of length before it
 * (RFC 1035 section 4.2.2), and the address words of the configuration. No codec: bytes in, bytes out.
 * Opening, closing and asking whether it lives are declared in dns_update.h.
 */
#ifndef IO_DNS_CONN_H
#define IO_DNS_CONN_H

#include <sys/socket.h>

#include "lib/base/base.h"
#include "lib/base/err.h"

struct dns_conn;

/* ADDRESS, ADDRESS:PORT, V6 or [V6]:PORT as a socket address; port 53 where none is given. 0 or -EINVAL. */
int dns_server_parse(
	const char *server, struct sockaddr_storage *ret, socklen_t *ret_len, struct err *err) MUSTCHECK;

/*
 * Sends one message and reads the one that comes back; *ret_answer is the caller's to free. On failure the
 * connection is dead, and *ret_sent tells whether any byte had left: false means that the server has seen
 * nothing.
 */
int MAY_WAIT dns_conn_exchange(struct dns_conn *c, const uint8_t *message, size_t len, int64_t deadline_us,
	uint8_t **ret_answer, size_t *ret_len, bool *ret_sent, struct err *err) MUSTCHECK;
/* No further message goes over it; the handle stays until dns_conn_close. */
void dns_conn_kill(struct dns_conn *c);

#endif
