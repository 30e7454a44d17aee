/* str: string buffers and small parsers. Buffers are wiped when they grow or go: SQL may carry a password. */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "lib/base/arena.h"
#include "lib/base/str.h"

static void strbuf_reserve(struct strbuf *b, size_t more)
{
	if (b->data && b->cap - b->len > more)
		return;
	if (more > SIZE_MAX / 4 || b->len > SIZE_MAX / 4)
		abort();
	size_t cap = b->cap ? b->cap : 64;
	while (cap - b->len <= more)
		cap *= 2;
	char *data = xcalloc(1, cap);
	if (b->data)
		memcpy(data, b->data, b->len);
	strbuf_free(&(struct strbuf){.data = b->data, .cap = b->cap});
	b->data = data;
	b->cap = cap;
}

void strbuf_addn(struct strbuf *b, const char *s, size_t n)
{
	strbuf_reserve(b, n);
	if (n)
		memcpy(b->data + b->len, s, n);
	b->len += n;
	b->data[b->len] = '\0';
}

void strbuf_add(struct strbuf *b, const char *s)
{
	strbuf_addn(b, s, strlen(s));
}

void strbuf_addf(struct strbuf *b, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	int n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n < 0)
		return;
	strbuf_reserve(b, (size_t)n);
	va_start(ap, fmt);
	(void)vsnprintf(b->data + b->len, (size_t)n + 1, fmt, ap);
	va_end(ap);
	b->len += (size_t)n;
}

void strbuf_free(struct strbuf *b)
{
	if (b->data)
		explicit_bzero(b->data, b->cap);
	free(b->data);
	*b = (struct strbuf){0};
}

const char *strbuf_str(const struct strbuf *b)
{
	return b->data ? b->data : "";
}

/* A whole number at the start of *s, moved past. */
static int take_number(const char **s, int64_t *ret)
{
	int64_t value = 0;

	if (!*s || !isdigit((unsigned char)**s))
		return -EINVAL;
	for (; isdigit((unsigned char)**s); (*s)++) {
		if (__builtin_mul_overflow(value, 10, &value) ||
			__builtin_add_overflow(value, **s - '0', &value))
			return -ERANGE;
	}
	*ret = value;
	return 0;
}

struct unit {
	const char *name;
	int64_t factor;
};

static const struct unit duration_units[] = {
	{"h", INT64_C(3600000000)},
	{"m", 60000000},
	{"s", 1000000},
	{"ms", 1000},
	{"us", 1},
};

static const struct unit size_units[] = {
	{"", 1},
	{"K", 1 << 10},
	{"M", 1 << 20},
	{"G", 1 << 30},
};

static int parse_with_unit(const char *s, const struct unit *units, size_t n, int64_t *ret)
{
	int64_t value;

	if (take_number(&s, &value) < 0)
		return -EINVAL;
	for (size_t i = 0; i < n; i++) {
		if (strcmp(s, units[i].name) != 0)
			continue;
		if (__builtin_mul_overflow(value, units[i].factor, &value))
			return -EINVAL;
		*ret = value;
		return 0;
	}
	return -EINVAL;
}

int str_parse_duration_us(const char *s, int64_t *ret_us)
{
	return parse_with_unit(s, duration_units, COUNT_OF(duration_units), ret_us);
}

int str_parse_size(const char *s, int64_t *ret)
{
	return parse_with_unit(s, size_units, COUNT_OF(size_units), ret);
}

char *str_format_duration(int64_t us, char *buf, size_t size)
{
	if (us == 0)
		return str_copy(buf, size, "0s");
	for (size_t i = 0; i < COUNT_OF(duration_units); i++) {
		const struct unit *u = &duration_units[i];
		if (us % u->factor == 0) {
			(void)snprintf(buf, size, "%" PRId64 "%s", us / u->factor, u->name);
			break;
		}
	}
	return buf;
}

int str_parse_int(const char *s, int64_t min, int64_t max, int64_t *ret)
{
	int64_t value;
	bool negative = s && *s == '-';

	if (negative)
		s++;
	int r = take_number(&s, &value);
	if (r == -ERANGE) {
		while (isdigit((unsigned char)*s))
			s++;
		return *s ? -EINVAL : -ERANGE;
	}
	if (r < 0 || *s)
		return -EINVAL;
	if (negative)
		value = -value;
	if (value < min || value > max)
		return -ERANGE;
	*ret = value;
	return 0;
}

/* Length of the well-formed character at p (RFC 3629: no overlong forms, no surrogates), or 0. */
static size_t utf8_char(const unsigned char *p, size_t n)
{
	if (p[0] < 0x80)
		return 1;
	size_t len = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
	if (p[0] < 0xc2 || p[0] > 0xf4 || n < len)
		return 0;
	for (size_t i = 1; i < len; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	}
	bool bad = (p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
		   (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f);
	return bad ? 0 : len;
}

bool str_utf8_valid(const char *s, size_t n)
{
	const unsigned char *p = (const unsigned char *)s;

	while (n > 0) {
		size_t len = utf8_char(p, n);
		if (len == 0)
			return false;
		p += len;
		n -= len;
	}
	return true;
}

bool str_eq(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

bool str_ieq(const char *a, const char *b)
{
	return a && b ? strcasecmp(a, b) == 0 : a == b;
}

const char *str_if_v6(const char *host, const char *bracket)
{
	return strchr(host, ':') ? bracket : "";
}

char *str_copy(char *buf, size_t size, const char *s)
{
	if (size == 0)
		return buf;
	size_t n = s ? strnlen(s, size) : 0;
	if (n == size) {
		n--;
		/* Not in the middle of a character: JSON and the journal take whole ones only. */
		while (n > 0 && ((unsigned char)s[n] & 0xc0) == 0x80)
			n--;
	}
	if (n)
		memmove(buf, s, n);
	buf[n] = '\0';
	return buf;
}

void str_free_secret(char *s)
{
	if (!s)
		return;
	explicit_bzero(s, strlen(s));
	free(s);
}
