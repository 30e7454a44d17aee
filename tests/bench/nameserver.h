/* nameserver: the floor's DNS UPDATE: one record set replaced, signed, over a TCP connection that is kept
 * warm. */
#ifndef BENCH_NAMESERVER_H
#define BENCH_NAMESERVER_H

struct nameserver {
	const char *address; /* ADDRESS:PORT, IPv4 */
	const char *zone, *name, *key_name;
	char secret[256]; /* base64, hmac-sha256 */
	int fd;		  /* -1: not connected */
};

/* Connects if it is not; to be called outside of what is measured. 0 or negative errno. */
int nameserver_warm(struct nameserver *ns);
void nameserver_close(struct nameserver *ns);
/* Makes name a CNAME of value. 0, negative errno, or the rcode. */
int nameserver_update(struct nameserver *ns, const char *value);

#endif
