/*
 * dns_record: one record set as a dns endpoint sees it: the values of both sides in their one spelling, what
 * the update servers say of it, and what every authoritative server shows.
 */
#ifndef PROVIDER_DNS_RECORD_H
#define PROVIDER_DNS_RECORD_H

#include "lib/base/arena.h"
#include "lib/base/err.h"
#include "lib/io/dns.h"
#include "lib/model/conf.h"
#include "lib/provider/provider.h"

struct dns_values {
	int n;
	const char **v; /* as dns_canonical_value writes them, sorted, each once */
};

struct dns_record {
	const struct conf_endpoint *conf;
	struct arena *arena;
	struct dns_values side[2]; /* by enum conf_side */
	int first;		   /* the update server to begin with: one that fell silent goes to the end */
};

/* conf outlives the record. 0, or -EINVAL: a value that is none, or both sides alike. */
int dns_record_init(struct dns_record *r, const struct conf_endpoint *conf, struct err *err) MUSTCHECK;
void dns_record_free(struct dns_record *r);

/* Which side's values these are, all of them and no other. */
enum endpoint_at dns_record_at(const struct dns_record *r, const struct dns_answer *a);
/* "onprem-db1.example.com.", "10.0.0.1 10.0.0.2", "nothing (no such name)"; returns buf. */
char *dns_record_text(const struct dns_answer *a, char *buf, size_t size);
/* The place, in the configured list, of the i-th update server to be tried. */
int dns_record_place(const struct dns_record *r, int i);

/*
 * Asks the update servers in order until one answers with authority. DONE with *ret and *ret_server; UNKNOWN
 * when none did. ret may be written to on failure.
 */
enum act MAY_WAIT dns_record_ask(const struct dns_record *r, const char *name, const char *type,
	int64_t deadline_us, struct dns_answer *ret, const char **ret_server, struct err *err) MUSTCHECK;
/*
 * Asks every authoritative server side by side. DONE: all show this side. REFUSED: some show another value,
 * UNKNOWN: the rest gave no answer; the message names each of them.
 */
enum act MAY_WAIT dns_record_spread(
	const struct dns_record *r, enum conf_side side, int64_t deadline_us, struct err *err) MUSTCHECK;

/* A share of the time left, so that one silent server leaves some to the others: now + left / parts. */
int64_t dns_record_share(int64_t deadline_us, int parts);
/* Puts one more cause behind those in err: "first; second". The first code stays, but a cancel always shows.
 * err may be NULL. */
void dns_record_also(struct err *err, const struct err *one);

#endif
