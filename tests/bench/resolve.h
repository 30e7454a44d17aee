/*
 * resolve: a small DNS client for the writers: one name server over UDP, CNAMEs followed, TTLs ignored,
 * nothing cached, so that each call shows what the name server says now. One struct per thread.
 */
#ifndef BENCH_RESOLVE_H
#define BENCH_RESOLVE_H

#include <stddef.h>
#include <stdint.h>
#include <resolv.h>

struct resolver {
	int fd; /* connected UDP socket */
	struct __res_state state;
};

/* server is ADDRESS:PORT (IPv4). 0 or negative errno. */
int resolver_open(struct resolver *r, const char *server);
void resolver_close(struct resolver *r);
/* The first A record under name, as text, into buf (at least 16 bytes). 0, or negative errno; -ENOENT: none.
 * Waits at most three times 300 ms. */
int resolver_ask(struct resolver *r, const char *name, char *buf, size_t size);

#endif
