/*
 * gtid: MariaDB's global transaction ids as lists "0-1-10,1-5-7". Pure, fuzzed. One entry per (domain) in a
 * position, per (domain, server) in a binlog state. MariaDB itself compares sequence numbers only (experiment
 * E1e); we compare domain and server too.
 */
#ifndef MODEL_GTID_H
#define MODEL_GTID_H

#include <inttypes.h>

#include "lib/base/base.h"

struct gtid {
	uint32_t domain, server;
	uint64_t seq;
};

/* One as people write it: printf("from " GTID_FMT, GTID_OF(&g)). */
#define GTID_FMT "%" PRIu32 "-%" PRIu32 "-%" PRIu64
#define GTID_OF(g) (g)->domain, (g)->server, (g)->seq

#define GTID_MAX 64
struct gtid_list {
	int n;
	struct gtid v[GTID_MAX]; /* sorted by domain, then server */
};

/* Parses "" or "D-S-N,..."; blanks and newlines around commas are allowed. 0, -EINVAL, or -E2BIG past
 * GTID_MAX. */
int gtid_parse(const char *s, struct gtid_list *ret) MUSTCHECK;
/* Writes the list; returns buf. */
char *gtid_format(const struct gtid_list *, char *buf, size_t size);
bool gtid_equal(const struct gtid_list *a, const struct gtid_list *b);
/* The entry of a domain with the highest sequence number, or NULL. */
const struct gtid *gtid_find_domain(const struct gtid_list *, uint32_t domain);
/* The entry of (domain, server), or NULL. */
const struct gtid *gtid_find(const struct gtid_list *, uint32_t domain, uint32_t server);
/* True when have has reached want in every domain of want. */
bool gtid_reached(const struct gtid_list *have, const struct gtid_list *want);
/* Of a binlog state: how many transactions of its own (server id) it has beyond base, a binlog state too; the
 * first such in *ret_first (may be NULL). Counts by sequence distance per domain. */
uint64_t gtid_own_beyond(
	const struct gtid_list *state, const struct gtid_list *base, uint32_t server, struct gtid *ret_first);
/* Per domain the later of a and b (MariaDB file/strict-mode rule for the way back). */
void gtid_later(const struct gtid_list *a, const struct gtid_list *b, struct gtid_list *ret);

#endif
