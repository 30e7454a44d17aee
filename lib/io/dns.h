/*
 * dns: questions to one name server (c-ares, named in dns.c alone), answers read by the ldns codec of
 * dns_update.c.
 */
#ifndef IO_DNS_H
#define IO_DNS_H

#include "lib/base/base.h"
#include "lib/base/err.h"

#define DNS_VALUES_MAX 32

struct dns_answer {
	int rcode; /* 0 NOERROR, 3 NXDOMAIN ... */
	bool authoritative;
	int64_t ttl_s;
	int nvalues;
	char values[DNS_VALUES_MAX][256]; /* A, AAAA as text; CNAME, NS with the final dot; sorted; only of
					     the asked name and type */
};

/*
 * Asks one server (ADDRESS[:PORT] or [v6]:PORT; port 53) without recursion over UDP, TCP when truncated.
 * 0 when it answered, whatever the rcode; -ETIMEDOUT, -ECANCELED, -ECONNREFUSED.
 */
int MAY_WAIT dns_ask(const char *server, const char *name, const char *type, int64_t deadline_us,
	struct dns_answer *ret, struct err *) MUSTCHECK;
/* Addresses of a host name from the system's resolvers (/etc/resolv.conf, /etc/hosts), never blocking the
 * loop. */
int MAY_WAIT dns_resolve(
	const char *host, int64_t deadline_us, struct dns_answer *ret, struct err *) MUSTCHECK;

#endif
