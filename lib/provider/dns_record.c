/*
 * dns_record: values, comparison, and the questions to update servers and authorities. A value counts only
 * when the server that gives it has authority for the zone; a cache's word is no proof of anything.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/base/str.h"
#include "lib/io/dns_update.h"
#include "lib/io/fiber.h"
#include "lib/provider/dns_record.h"

enum { RCODE_NOERROR = 0, RCODE_NXDOMAIN = 3 };

/* --- values --- */

static int value_compare(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int values_init(struct dns_record *r, enum conf_side side, struct err *err)
{
	const struct conf_list *from = &r->conf->value[side];
	struct dns_values *to = &r->side[side];
	char text[256];

	if (from->n < 1 || from->n > DNS_VALUES_MAX)
		return err_set(err, -EINVAL, "%s: between 1 and %d values are wanted", conf_side_name(side),
			DNS_VALUES_MAX);
	to->v = arena_alloc(r->arena, (size_t)from->n * sizeof(*to->v));
	for (int i = 0; i < from->n; i++) {
		int code = dns_canonical_value(r->conf->type, from->v[i], text, sizeof(text), err);
		if (code < 0) {
			err_wrap(err, "%s", conf_side_name(side));
			return code;
		}
		to->v[i] = arena_strdup(r->arena, text);
	}
	qsort(to->v, (size_t)from->n, sizeof(*to->v), value_compare);
	for (int i = 0; i < from->n; i++) {
		if (!to->n || strcmp(to->v[to->n - 1], to->v[i]) != 0)
			to->v[to->n++] = to->v[i];
	}
	return 0;
}

static bool values_alike(const struct dns_values *a, const struct dns_values *b)
{
	bool alike = a->n == b->n;

	for (int i = 0; alike && i < a->n; i++)
		alike = !strcmp(a->v[i], b->v[i]);
	return alike;
}

int dns_record_init(struct dns_record *r, const struct conf_endpoint *conf, struct err *err)
{
	*r = (struct dns_record){.conf = conf, .arena = arena_new()};
	int code = values_init(r, CONF_SOURCE, err);

	if (!code)
		code = values_init(r, CONF_TARGET, err);
	if (!code && values_alike(&r->side[CONF_SOURCE], &r->side[CONF_TARGET]))
		code = err_set(err, -EINVAL, "source and target have the same value");
	if (!code && conf->servers.n < 1)
		code = err_set(err, -EINVAL, "no server that takes updates");
	if (code < 0)
		dns_record_free(r);
	return code;
}

void dns_record_free(struct dns_record *r)
{
	arena_free(r->arena);
	r->arena = NULL;
}

enum endpoint_at dns_record_at(const struct dns_record *r, const struct dns_answer *a)
{
	static const enum endpoint_at at[] = {
		[CONF_SOURCE] = ENDPOINT_AT_SOURCE, [CONF_TARGET] = ENDPOINT_AT_TARGET};

	for (size_t side = 0; side < COUNT_OF(at); side++) {
		const struct dns_values *v = &r->side[side];
		bool alike = v->n == a->nvalues && a->rcode == RCODE_NOERROR;
		for (int i = 0; alike && i < v->n; i++)
			alike = !strcmp(v->v[i], a->values[i]);
		if (alike)
			return at[side];
	}
	return ENDPOINT_AT_OTHER;
}

static const char *rcode_name(int rcode)
{
	static const char *const names[] = {
		"NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED"};

	return rcode >= 0 && (size_t)rcode < COUNT_OF(names) ? names[rcode] : "an unknown error";
}

char *dns_record_text(const struct dns_answer *a, char *buf, size_t size)
{
	size_t used = 0;

	if (!a->nvalues)
		(void)snprintf(buf, size, "nothing (%s)",
			a->rcode == RCODE_NOERROR ? "no record of this type" : rcode_name(a->rcode));
	for (int i = 0; i < a->nvalues && used < size; i++)
		used += (size_t)snprintf(buf + used, size - used, i ? " %s" : "%s", a->values[i]);
	return buf;
}

void dns_record_also(struct err *err, const struct err *one)
{
	if (!err || !one->code)
		return;
	if (!err->code) {
		(void)err_set(err, one->code, "%s", one->message);
		return;
	}
	if (one->code == -ECANCELED)
		err->code = one->code;
	size_t used = strlen(err->message);
	(void)snprintf(err->message + used, sizeof(err->message) - used, "; %s", one->message);
}

int64_t dns_record_share(int64_t deadline_us, int parts)
{
	int64_t now = clock_us();

	if (deadline_us == CLOCK_FOREVER || deadline_us <= now || parts < 2)
		return deadline_us;
	return now + (deadline_us - now) / parts;
}

/* --- update servers --- */

int dns_record_place(const struct dns_record *r, int i)
{
	return (r->first + i) % r->conf->servers.n;
}

/* One question, where only an answer with authority counts. */
static int MAY_WAIT ask(const char *server, const char *name, const char *type, int64_t deadline_us,
	struct dns_answer *ret, struct err *err)
{
	int r = dns_ask(server, name, type, deadline_us, ret, err);

	if (r < 0)
		return r;
	if (ret->rcode != RCODE_NOERROR && ret->rcode != RCODE_NXDOMAIN)
		return err_set(
			err, -EREMOTEIO, "%s: %s %s: it says %s", server, name, type, rcode_name(ret->rcode));
	if (!ret->authoritative)
		return err_set(
			err, -EREMOTEIO, "%s: %s %s: it has no authority for this name", server, name, type);
	return 0;
}

enum act dns_record_ask(const struct dns_record *r, const char *name, const char *type, int64_t deadline_us,
	struct dns_answer *ret, const char **ret_server, struct err *err)
{
	int n = r->conf->servers.n;
	struct err all = {0};

	for (int i = 0; i < n; i++) {
		const char *server = r->conf->servers.v[dns_record_place(r, i)];
		struct err one = {0};
		int code = ask(server, name, type, dns_record_share(deadline_us, n - i), ret, &one);
		if (!code) {
			*ret_server = server;
			return ACT_DONE;
		}
		dns_record_also(&all, &one);
		if (code == -ECANCELED)
			break;
	}
	dns_record_also(err, &all);
	return ACT_UNKNOWN;
}

/* --- authorities --- */

struct authority {
	struct survey *survey;
	struct fiber *fiber;
	const char *name; /* an address word of the configuration, or a host's name from the NS set */
	bool resolve;
	enum act act; /* DONE: shows the side; REFUSED: another value; UNKNOWN: no answer */
	struct err err;
	struct dns_answer answer, addresses;
};

struct survey {
	const struct dns_record *record;
	enum conf_side side;
	int64_t deadline_us;
	int n, pending;
	struct authority *v;
	struct fiber_cond ended;
};

/* At one address. 0 when that settles it. */
static int MAY_WAIT authority_ask(struct authority *a, const char *server, int64_t deadline_us)
{
	const struct survey *s = a->survey;
	const struct conf_endpoint *conf = s->record->conf;
	struct err one = {0};
	char text[256];

	int code = ask(server, conf->rr_name, conf->type, deadline_us, &a->answer, &one);
	if (code < 0) {
		dns_record_also(&a->err, &one);
		return code;
	}
	err_clear(&a->err);
	a->act = (int)dns_record_at(s->record, &a->answer) == (int)s->side ? ACT_DONE : ACT_REFUSED;
	if (a->act == ACT_REFUSED)
		(void)err_set(&a->err, -ESTALE, "%s: %s %s is %s there (ttl %lld s)", server, conf->rr_name,
			conf->type, dns_record_text(&a->answer, text, sizeof(text)),
			(long long)a->answer.ttl_s);
	return 0;
}

static void MAY_WAIT authority_resolve_and_ask(struct authority *a)
{
	int64_t deadline_us = a->survey->deadline_us;

	if (dns_resolve(a->name, dns_record_share(deadline_us, 3), &a->addresses, &a->err) < 0)
		return;
	for (int i = 0; i < a->addresses.nvalues; i++) {
		const char *address = a->addresses.values[i];
		int64_t until_us = dns_record_share(deadline_us, a->addresses.nvalues - i);
		int code = authority_ask(a, address, until_us);
		if (!code || code == -ECANCELED)
			return;
	}
}

static void authority_run(void *arg)
{
	struct authority *a = arg;
	struct survey *s = a->survey;

	fiber_doing("asks %s for %s", a->name, s->record->conf->rr_name);
	if (a->resolve)
		authority_resolve_and_ask(a);
	else
		(void)authority_ask(a, a->name, s->deadline_us);
	if (a->resolve)
		err_wrap(&a->err, "%s", a->name);
	s->pending--;
	fiber_cond_signal(&s->ended);
}

static enum act survey_sum(const struct survey *s, struct err *err)
{
	enum act act = ACT_DONE;

	for (int i = 0; i < s->n; i++) {
		const struct authority *a = &s->v[i];
		dns_record_also(err, &a->err);
		if (a->act == ACT_REFUSED || act == ACT_DONE)
			act = a->act;
	}
	return act;
}

/* All side by side: a dead one costs its own time only. A cancel ends them all. */
static enum act MAY_WAIT survey_run(struct survey *s, struct err *err)
{
	bool cancelled = false;

	s->pending = s->n;
	for (int i = 0; i < s->n; i++)
		s->v[i].fiber = fiber_spawn("authority", authority_run, &s->v[i]);
	while (s->pending && !cancelled)
		cancelled = fiber_cond_wait(&s->ended, CLOCK_FOREVER) < 0;
	for (int i = 0; i < s->n; i++)
		fiber_cancel(s->v[i].fiber);
	for (int i = 0; i < s->n; i++)
		fiber_join(s->v[i].fiber);
	if (!cancelled)
		return survey_sum(s, err);
	(void)err_set(err, -ECANCELED, "%s: cancelled", s->record->conf->rr_name);
	return ACT_UNKNOWN;
}

static void survey_add(struct survey *s, const char *name, bool resolve)
{
	s->v[s->n++] = (struct authority){.survey = s, .name = name, .resolve = resolve, .act = ACT_UNKNOWN};
}

static enum act MAY_WAIT survey_of_zone(struct survey *s, struct dns_answer *ns, struct err *err)
{
	const struct conf_endpoint *conf = s->record->conf;
	const char *server;
	int64_t until_us = dns_record_share(s->deadline_us, 3);
	enum act act = dns_record_ask(s->record, conf->zone, "NS", until_us, ns, &server, err);

	if (act != ACT_DONE)
		return act;
	if (!ns->nvalues) {
		(void)err_set(err, -ENOENT, "%s: zone %s has no name servers", server, conf->zone);
		return ACT_REFUSED;
	}
	s->v = xcalloc((size_t)ns->nvalues, sizeof(*s->v));
	for (int i = 0; i < ns->nvalues; i++)
		survey_add(s, ns->values[i], true);
	return survey_run(s, err);
}

static enum act MAY_WAIT survey_of_list(struct survey *s, struct err *err)
{
	const struct conf_list *list = &s->record->conf->authoritative;

	s->v = xcalloc((size_t)list->n, sizeof(*s->v));
	for (int i = 0; i < list->n; i++)
		survey_add(s, list->v[i], false);
	return survey_run(s, err);
}

enum act dns_record_spread(
	const struct dns_record *r, enum conf_side side, int64_t deadline_us, struct err *err)
{
	struct survey s = {.record = r, .side = side, .deadline_us = deadline_us};
	struct dns_answer *ns = xcalloc(1, sizeof(*ns));
	enum act act = r->conf->authoritative.n ? survey_of_list(&s, err) : survey_of_zone(&s, ns, err);

	free(s.v);
	free(ns);
	return act;
}
