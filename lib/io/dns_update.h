/*
 * dns_update: RFC 2136 updates with TSIG (libldns as a codec, named in dns_update.c alone), over TCP.
 */
#ifndef IO_DNS_UPDATE_H
#define IO_DNS_UPDATE_H

#include "lib/base/base.h"
#include "lib/base/err.h"

struct dns_update { /* replaces a whole record set under a value-dependent prerequisite */
	const char *zone, *name, *type;
	int64_t ttl_s;
	const char *const *old_values; /* what must stand there now, all of it */
	int nold;
	const char *const *new_values; /* equal to old_values: an update that changes nothing */
	int nnew;
	const char *tsig_name, *tsig_algorithm, *tsig_secret; /* NULL name: unsigned */
};

/* A TCP connection to one server, kept warm. */
struct dns_conn;
int MAY_WAIT dns_conn_open(
	const char *server, int64_t deadline_us, struct dns_conn **ret, struct err *) MUSTCHECK;
void dns_conn_close(struct dns_conn *);		      /* takes NULL */
bool dns_conn_alive(const struct dns_conn *);	      /* false when the server has closed it */
const char *dns_conn_server(const struct dns_conn *); /* as given to dns_conn_open */

/*
 * DONE: NOERROR, signed right. REFUSED: any other rcode; *ret_rcode tells (NXRRSET 8: the old value is not
 * there). UNKNOWN: sent, but no valid answer came: read the record before doing anything else. *ret_rcode is
 * -1 when the server said nothing: REFUSED with -1 means that no byte left (err->code tells why), so that
 * another server may be tried.
 */
enum act MAY_WAIT dns_update_send(struct dns_conn *, const struct dns_update *, int64_t deadline_us,
	int *ret_rcode, struct err *) MUSTCHECK;

/* Reads a wire answer for (name, type) into *ret; -EBADMSG when it is not one. Pure; fuzzed. */
struct dns_answer;
int dns_parse_answer(const uint8_t *wire, size_t len, const char *name, const char *type,
	struct dns_answer *ret, struct err *) MUSTCHECK;

/* The one spelling of a value by which values are compared: addresses as inet_ntop writes them, names in
 * lower case with the final dot. type: A, AAAA, CNAME, NS, PTR. 0 or -EINVAL. */
int dns_canonical_value(const char *type, const char *value, char *buf, size_t size, struct err *) MUSTCHECK;

#endif
