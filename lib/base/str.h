/* str: growing string buffers, parsing of durations and sizes, small text helpers. */
#ifndef BASE_STR_H
#define BASE_STR_H

#include <stdarg.h>
#include "lib/base/base.h"

/* Zero-initialised is an empty buffer; data is NUL-terminated once anything was added. */
struct strbuf {
	char *data;
	size_t len, cap;
};

void strbuf_add(struct strbuf *, const char *s);
void strbuf_addn(struct strbuf *, const char *s, size_t n);
void strbuf_addf(struct strbuf *, const char *fmt, ...) PRINTF(2, 3);
void strbuf_free(struct strbuf *);
const char *strbuf_str(const struct strbuf *); /* "" when empty */

/* "500ms", "10s", "1h", "250us": a whole number and a unit (us ms s m h). 0 or -EINVAL. */
int str_parse_duration_us(const char *s, int64_t *ret_us) MUSTCHECK;
/* The shortest exact form: 1500ms, 2s, 10m. buf of at least 24 bytes; returns buf. */
char *str_format_duration(int64_t us, char *buf, size_t size);
/* A host and its port as people write them, an IPv6 address in brackets: printf("at " HOST_PORT,
 * HOST_PORT_OF(h, p)). */
#define HOST_PORT "%s%s%s:%u"
#define HOST_PORT_OF(host, port) str_if_v6(host, "["), host, str_if_v6(host, "]"), (unsigned)(port)
const char *str_if_v6(const char *host, const char *bracket); /* bracket, or "" */
/* "4096", "10K", "2M", "1G" (1024s). 0 or -EINVAL. */
int str_parse_size(const char *s, int64_t *ret) MUSTCHECK;
/* A whole decimal number, the whole string, within [min, max]. 0, -EINVAL or -ERANGE. */
int str_parse_int(const char *s, int64_t min, int64_t max, int64_t *ret) MUSTCHECK;
bool str_utf8_valid(const char *s, size_t n);
bool str_eq(const char *a, const char *b); /* NULL equals NULL only */
bool str_ieq(const char *a, const char *b);
/* snprintf that always terminates and never complains of truncation; returns buf. */
char *str_copy(char *buf, size_t size, const char *s);
/* Overwrites memory that held a secret, then frees it; takes NULL. */
void str_free_secret(char *s);

#endif
