/*
 * gtid: MariaDB's global transaction ids. Lists stay sorted by domain, then server, with one entry for each
 * pair; everything below relies on it.
 */
#include "lib/model/gtid.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define ENTRY_TEXT_MAX (10 + 1 + 10 + 1 + 20 + 1 + 1) /* "D-S-N," and the end */
#define CUT_MARK "..."

static const char *skip_blanks(const char *s)
{
	while (isspace((unsigned char)*s))
		s++;
	return s;
}

/* A decimal number of at most max; *s moves past it. */
static int take_number(const char **s, uint64_t max, uint64_t *ret)
{
	uint64_t value = 0;

	if (!isdigit((unsigned char)**s))
		return -EINVAL;
	for (; isdigit((unsigned char)**s); (*s)++) {
		if (__builtin_mul_overflow(value, 10, &value) ||
			__builtin_add_overflow(value, (uint64_t)(**s - '0'), &value) || value > max)
			return -EINVAL;
	}
	*ret = value;
	return 0;
}

static int take_entry(const char **s, struct gtid *ret)
{
	uint64_t domain, server, seq;

	if (take_number(s, UINT32_MAX, &domain) < 0 || *(*s)++ != '-')
		return -EINVAL;
	if (take_number(s, UINT32_MAX, &server) < 0 || *(*s)++ != '-')
		return -EINVAL;
	if (take_number(s, UINT64_MAX, &seq) < 0)
		return -EINVAL;
	*ret = (struct gtid){.domain = (uint32_t)domain, .server = (uint32_t)server, .seq = seq};
	return 0;
}

static int compare(const struct gtid *a, const struct gtid *b)
{
	if (a->domain != b->domain)
		return a->domain < b->domain ? -1 : 1;
	if (a->server != b->server)
		return a->server < b->server ? -1 : 1;
	return 0;
}

/* Keeps the order. -EINVAL for a pair that is there, -E2BIG when full. */
static int insert(struct gtid_list *l, const struct gtid *g)
{
	int at = l->n;

	while (at > 0 && compare(&l->v[at - 1], g) > 0)
		at--;
	if (at > 0 && compare(&l->v[at - 1], g) == 0)
		return -EINVAL;
	if (l->n == GTID_MAX)
		return -E2BIG;
	memmove(&l->v[at + 1], &l->v[at], (size_t)(l->n - at) * sizeof(l->v[0]));
	l->v[at] = *g;
	l->n++;
	return 0;
}

int gtid_parse(const char *s, struct gtid_list *ret)
{
	struct gtid_list list = {0};
	struct gtid g;
	int r;

	if (!s)
		return -EINVAL;
	s = skip_blanks(s);
	while (*s || list.n > 0) {
		r = take_entry(&s, &g);
		if (r == 0)
			r = insert(&list, &g);
		if (r < 0)
			return r;
		s = skip_blanks(s);
		if (!*s)
			break;
		if (*s++ != ',')
			return -EINVAL;
		s = skip_blanks(s);
	}
	*ret = list;
	return 0;
}

char *gtid_format(const struct gtid_list *l, char *buf, size_t size)
{
	size_t used = 0;

	if (size == 0)
		return buf;
	buf[0] = '\0';
	for (int i = 0; i < l->n; i++) {
		char entry[ENTRY_TEXT_MAX];
		int n = snprintf(entry, sizeof(entry), "%s%" PRIu32 "-%" PRIu32 "-%" PRIu64, i ? "," : "",
			l->v[i].domain, l->v[i].server, l->v[i].seq);

		if (used + (size_t)n >= size) {
			/* A shorter position would read as one that is reached sooner: make it no position.
			 */
			size_t mark = size > sizeof(CUT_MARK) ? sizeof(CUT_MARK) : size;

			if (used + mark > size)
				used = size - mark;
			(void)snprintf(buf + used, size - used, CUT_MARK);
			break;
		}
		memcpy(buf + used, entry, (size_t)n + 1);
		used += (size_t)n;
	}
	return buf;
}

bool gtid_equal(const struct gtid_list *a, const struct gtid_list *b)
{
	if (a->n != b->n)
		return false;
	for (int i = 0; i < a->n; i++)
		if (compare(&a->v[i], &b->v[i]) != 0 || a->v[i].seq != b->v[i].seq)
			return false;
	return true;
}

const struct gtid *gtid_find_domain(const struct gtid_list *l, uint32_t domain)
{
	const struct gtid *best = NULL;

	for (int i = 0; i < l->n; i++)
		if (l->v[i].domain == domain && (!best || l->v[i].seq > best->seq))
			best = &l->v[i];
	return best;
}

const struct gtid *gtid_find(const struct gtid_list *l, uint32_t domain, uint32_t server)
{
	for (int i = 0; i < l->n; i++)
		if (l->v[i].domain == domain && l->v[i].server == server)
			return &l->v[i];
	return NULL;
}

static int entries_of_domain(const struct gtid_list *l, uint32_t domain)
{
	int n = 0;

	for (int i = 0; i < l->n; i++)
		n += l->v[i].domain == domain;
	return n;
}

/*
 * The same server's number decides where it is known. A position shows only the last server of a domain: a
 * later number of another server then counts, an equal one is another transaction. A state shows every
 * server: one that is missing was never heard of.
 */
static bool reached_one(const struct gtid_list *have, const struct gtid *want)
{
	const struct gtid *same = gtid_find(have, want->domain, want->server);

	if (same)
		return same->seq >= want->seq;
	if (entries_of_domain(have, want->domain) != 1)
		return false;
	return gtid_find_domain(have, want->domain)->seq > want->seq;
}

bool gtid_reached(const struct gtid_list *have, const struct gtid_list *want)
{
	for (int i = 0; i < want->n; i++)
		if (!reached_one(have, &want->v[i]))
			return false;
	return true;
}

/*
 * The number after which own's server wrote: base's of the same server, or a later one of the domain that
 * lies below own (base's last, or what other servers wrote since), because numbers rise within a domain.
 */
static uint64_t own_since(const struct gtid_list *state, const struct gtid_list *base, const struct gtid *own)
{
	const struct gtid *same = gtid_find(base, own->domain, own->server);
	const struct gtid *last = gtid_find_domain(base, own->domain);
	uint64_t since = same ? same->seq : 0;

	if (last && last->seq < own->seq && last->seq > since)
		since = last->seq;
	for (int i = 0; i < state->n; i++) {
		const struct gtid *g = &state->v[i];

		if (g->domain == own->domain && g->seq < own->seq && g->seq > since)
			since = g->seq;
	}
	return since;
}

uint64_t gtid_own_beyond(
	const struct gtid_list *state, const struct gtid_list *base, uint32_t server, struct gtid *ret_first)
{
	uint64_t total = 0;

	for (int i = 0; i < state->n; i++) {
		const struct gtid *own = &state->v[i];
		const struct gtid *known = gtid_find(base, own->domain, own->server);
		uint64_t since;

		if (own->server != server || (known && known->seq >= own->seq))
			continue;
		/* Number 0 is one that no transaction has. */
		since = own->seq ? own_since(state, base, own) : 0;
		if (own->seq == since)
			continue;
		if (total == 0 && ret_first)
			*ret_first = (struct gtid){own->domain, own->server, since + 1};
		if (__builtin_add_overflow(total, own->seq - since, &total))
			total = UINT64_MAX;
	}
	return total;
}

/* Puts the last entry of each domain of from into l, unless l has a later one. */
static void take_later(struct gtid_list *l, const struct gtid_list *from)
{
	for (int i = 0; i < from->n; i++) {
		const struct gtid *g = gtid_find_domain(from, from->v[i].domain);
		struct gtid *have = NULL;

		assert(g);
		for (int j = 0; j < l->n; j++)
			if (l->v[j].domain == g->domain)
				have = &l->v[j];
		if (!have)
			(void)insert(
				l, g); /* past GTID_MAX only with more domains than either list can hold */
		else if (g->seq > have->seq)
			*have = *g;
	}
}

void gtid_later(const struct gtid_list *a, const struct gtid_list *b, struct gtid_list *ret)
{
	struct gtid_list later = {0};

	take_later(&later, a);
	take_later(&later, b);
	*ret = later;
}
