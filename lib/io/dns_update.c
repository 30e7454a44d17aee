/*
 * dns_update: the ldns codec: reads answers, writes updates, signs them and proves the signature of what
 * comes back. Only the codec of ldns is used, since its resolver blocks (facts: flip-experiments, Libraries).
 *
 * ldns 1.8.3 against BIND 9.18: hmac-sha256 and hmac-sha512 work, sha384 and sha224 do not;
 * ldns_pkt_tsig_verify takes whatever algorithm the answer names and never looks at the time, so both are
 * checked here.
 */
#include <errno.h>
#include <ldns/ldns.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/arena.h"
#include "lib/base/clock.h"
#include "lib/base/str.h"
#include "lib/io/dns.h"
#include "lib/io/dns_conn.h"
#include "lib/io/dns_update.h"

#define TSIG_FUDGE_S 300 /* RFC 8945 section 10 */
#define VALUE_SIZE sizeof(((struct dns_answer *)0)->values[0])

enum { TSIG_BADSIG = 16, TSIG_BADKEY = 17, TSIG_BADTIME = 18 };
/* Places in the data of a TSIG record. */
enum { TSIG_ALGORITHM, TSIG_TIME, TSIG_FUDGE, TSIG_MAC, TSIG_ID, TSIG_ERROR, TSIG_OTHER, TSIG_NRDF };

/* --- names and values --- */

static void rdf_freep(ldns_rdf **r)
{
	ldns_rdf_deep_free(*r);
}

static void pkt_freep(ldns_pkt **p)
{
	ldns_pkt_free(*p);
}

static void rr_list_freep(ldns_rr_list **l)
{
	ldns_rr_list_deep_free(*l);
}

static ldns_rdf *name_new(const char *name)
{
	ldns_rdf *r = name[0] ? ldns_dname_new_frm_str(name) : NULL;

	if (r)
		ldns_dname2canonical(r);
	return r;
}

/* The kind of a type's one value, or LDNS_RDF_TYPE_NONE for types that this file does not write. */
static ldns_rdf_type value_kind(ldns_rr_type type)
{
	bool named = type == LDNS_RR_TYPE_CNAME || type == LDNS_RR_TYPE_NS || type == LDNS_RR_TYPE_PTR;

	if (type == LDNS_RR_TYPE_A || type == LDNS_RR_TYPE_AAAA)
		return type == LDNS_RR_TYPE_A ? LDNS_RDF_TYPE_A : LDNS_RDF_TYPE_AAAA;
	return named ? LDNS_RDF_TYPE_DNAME : LDNS_RDF_TYPE_NONE;
}

static ldns_rdf *value_new(ldns_rr_type type, const char *value)
{
	ldns_rdf_type kind = value_kind(type);

	if (kind == LDNS_RDF_TYPE_DNAME)
		return name_new(value);
	return kind == LDNS_RDF_TYPE_NONE ? NULL : ldns_rdf_new_frm_str(kind, value);
}

/* 0, or -EBADMSG when the text does not fit. */
static int value_text(const ldns_rdf *rdf, char *buf, size_t size)
{
	char *text = rdf ? ldns_rdf2str(rdf) : NULL;
	int r = text && strlen(text) < size ? 0 : -EBADMSG;

	if (!r)
		(void)str_copy(buf, size, text);
	free(text);
	return r;
}

int dns_canonical_value(const char *type, const char *value, char *buf, size_t size, struct err *err)
{
	CLEANUP(rdf_freep) ldns_rdf *rdf = value_new(ldns_get_rr_type_by_name(type), value);

	if (!rdf || value_text(rdf, buf, size) < 0)
		return err_set(err, -EINVAL, "%s is no value for a record of type %s", value, type);
	return 0;
}

/* --- answers --- */

static int value_compare(const void *a, const void *b)
{
	return strcmp(a, b);
}

/* Adds one record's value if it is of the asked name and type. */
static int answer_add(struct dns_answer *a, const ldns_rr *rr, const ldns_rdf *name, ldns_rr_type type)
{
	if (ldns_rr_get_type(rr) != type || ldns_rr_get_class(rr) != LDNS_RR_CLASS_IN ||
		ldns_dname_compare(ldns_rr_owner(rr), name) != 0)
		return 0;
	if (a->nvalues == DNS_VALUES_MAX || ldns_rr_rd_count(rr) < 1)
		return -EBADMSG;
	ldns_rdf *value = ldns_rr_rdf(rr, 0);
	if (ldns_rdf_get_type(value) == LDNS_RDF_TYPE_DNAME)
		ldns_dname2canonical(value);
	int r = value_text(value, a->values[a->nvalues], VALUE_SIZE);
	if (r < 0)
		return r;
	if (!a->nvalues || a->ttl_s > (int64_t)ldns_rr_ttl(rr))
		a->ttl_s = ldns_rr_ttl(rr);
	a->nvalues++;
	return 0;
}

static void answer_sort(struct dns_answer *a)
{
	int n = 0;

	qsort(a->values, (size_t)a->nvalues, VALUE_SIZE, value_compare);
	for (int i = 0; i < a->nvalues; i++) {
		if (n && !strcmp(a->values[n - 1], a->values[i]))
			continue;
		if (n != i)
			memcpy(a->values[n], a->values[i], VALUE_SIZE);
		n++;
	}
	a->nvalues = n;
}

/* Whether the packet answers exactly this question. A server that refuses may leave the question out. */
static bool answers_question(const ldns_pkt *p, const ldns_rdf *name, ldns_rr_type type)
{
	const ldns_rr_list *questions = ldns_pkt_question(p);
	size_t n = ldns_rr_list_rr_count(questions);

	if (!ldns_pkt_qr(p) || ldns_pkt_get_opcode(p) != LDNS_PACKET_QUERY || ldns_pkt_tc(p))
		return false;
	if (n != 1)
		return n == 0 && ldns_pkt_get_rcode(p) != LDNS_RCODE_NOERROR;
	const ldns_rr *q = ldns_rr_list_rr(questions, 0);
	return ldns_rr_get_type(q) == type && ldns_rr_get_class(q) == LDNS_RR_CLASS_IN &&
	       ldns_dname_compare(ldns_rr_owner(q), name) == 0;
}

static int answer_read(const ldns_pkt *p, const ldns_rdf *name, ldns_rr_type type, struct dns_answer *a)
{
	const ldns_rr_list *rrs = ldns_pkt_answer(p);

	a->rcode = (int)ldns_pkt_get_rcode(p);
	a->authoritative = ldns_pkt_aa(p);
	for (size_t i = 0; i < ldns_rr_list_rr_count(rrs); i++) {
		int r = answer_add(a, ldns_rr_list_rr(rrs, i), name, type);
		if (r < 0)
			return r;
	}
	answer_sort(a);
	return 0;
}

int dns_parse_answer(const uint8_t *wire, size_t len, const char *name, const char *type,
	struct dns_answer *ret, struct err *err)
{
	CLEANUP(pkt_freep) ldns_pkt *p = NULL;
	CLEANUP(rdf_freep) ldns_rdf *owner = name_new(name);
	ldns_rr_type rr_type = ldns_get_rr_type_by_name(type);

	if (!owner || value_kind(rr_type) == LDNS_RDF_TYPE_NONE)
		return err_set(err, -EINVAL, "%s %s: no question that can be asked", name, type);
	if (ldns_wire2pkt(&p, wire, len) != LDNS_STATUS_OK)
		return err_set(err, -EBADMSG, "%s %s: the answer is no DNS message", name, type);
	if (!answers_question(p, owner, rr_type))
		return err_set(err, -EBADMSG, "%s %s: the answer is to another question or cut", name, type);
	struct dns_answer *a = xcalloc(1, sizeof(*a));
	int r = answer_read(p, owner, rr_type, a);
	if (!r)
		*ret = *a;
	free(a);
	return r ? err_set(err, r, "%s %s: more or longer values than can be held", name, type) : 0;
}

/* --- writing an update --- */

/* A record of the set that is replaced; value NULL: one without data. */
static int push_record(ldns_rr_list *list, const struct dns_update *u, ldns_rr_class class, uint32_t ttl,
	const char *value, struct err *err)
{
	ldns_rr_type type = ldns_get_rr_type_by_name(u->type);
	ldns_rdf *owner = name_new(u->name), *data = value ? value_new(type, value) : NULL;
	ldns_rr *rr = owner && (data || !value) ? ldns_rr_new() : NULL;

	if (!rr) {
		ldns_rdf_deep_free(owner);
		ldns_rdf_deep_free(data);
		return err_set(
			err, -EINVAL, "%s %s %s: no such record", u->name, u->type, value ? value : "");
	}
	ldns_rr_set_owner(rr, owner);
	ldns_rr_set_type(rr, type);
	ldns_rr_set_class(rr, class);
	ldns_rr_set_ttl(rr, ttl);
	if (data)
		(void)ldns_rr_push_rdf(rr, data);
	(void)ldns_rr_list_push_rr(list, rr);
	return 0;
}

static int push_values(ldns_rr_list *list, const struct dns_update *u, const char *const *values, int n,
	uint32_t ttl, struct err *err)
{
	for (int i = 0; i < n; i++) {
		int r = push_record(list, u, LDNS_RR_CLASS_IN, ttl, values[i], err);
		if (r < 0)
			return r;
	}
	return 0;
}

/*
 * RFC 2136: prerequisite 2.4.2, the set exists with exactly these values (2.4.3, no such set, when there are
 * none); update 2.5.2, delete the set, and 2.5.1, add to it.
 */
static int update_packet(const struct dns_update *u, ldns_pkt **ret, struct err *err)
{
	CLEANUP(rr_list_freep) ldns_rr_list *need = ldns_rr_list_new();
	CLEANUP(rr_list_freep) ldns_rr_list *change = ldns_rr_list_new();
	ldns_rdf *zone = name_new(u->zone);
	int r = zone ? push_values(need, u, u->old_values, u->nold, 0, err)
		     : err_set(err, -EINVAL, "%s: no name of a zone", u->zone);

	if (!r && !u->nold)
		r = push_record(need, u, LDNS_RR_CLASS_NONE, 0, NULL, err);
	if (!r)
		r = push_record(change, u, LDNS_RR_CLASS_ANY, 0, NULL, err);
	if (!r)
		r = push_values(change, u, u->new_values, u->nnew, (uint32_t)u->ttl_s, err);
	/* It takes over the zone's name, and copies the lists. */
	ldns_pkt *p = r ? NULL : ldns_update_pkt_new(zone, LDNS_RR_CLASS_IN, need, change, NULL);
	if (r)
		ldns_rdf_deep_free(zone);
	if (!p)
		return err_set(err, r ? r : -ENOMEM, "%s: out of memory", u->name);
	ldns_pkt_set_rd(p, false);
	ldns_pkt_set_random_id(p);
	*ret = p;
	return 0;
}

/* "hmac-sha256." in lower case for any way to write it, or NULL for what cannot be signed with. */
static const char *algorithm_name(const char *algorithm)
{
	static const char *const known[] = {"hmac-sha256.", "hmac-sha512."};
	size_t len = algorithm ? strlen(algorithm) : 0;

	for (size_t i = 0; i < COUNT_OF(known); i++) {
		size_t full = strlen(known[i]);
		if ((len == full || len == full - 1) && !strncasecmp(known[i], algorithm, len))
			return known[i];
	}
	return NULL;
}

/* Key names are signed in lower case (RFC 8945 section 4.3.3); ldns signs what it is given. */
static int key_name(const struct dns_update *u, char *buf, size_t size, struct err *err)
{
	CLEANUP(rdf_freep) ldns_rdf *name = name_new(u->tsig_name);

	if (!name || value_text(name, buf, size) < 0)
		return err_set(err, -EINVAL, "%s: no name of a key", u->tsig_name);
	return 0;
}

/* Checked here, since ldns 1.8.3 loses memory over a bad secret. */
static bool secret_valid(const char *secret)
{
	size_t n = strspn(secret, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/");
	size_t pad = strspn(secret + n, "=");

	return n > 0 && pad < 3 && !secret[n + pad] && (n + pad) % 4 == 0;
}

static int update_sign(const struct dns_update *u, ldns_pkt *p, struct err *err)
{
	const char *algorithm = algorithm_name(u->tsig_algorithm);
	char key[VALUE_SIZE];

	if (!algorithm)
		return err_set(err, -EINVAL, "key %s: algorithm %s: use hmac-sha256 or hmac-sha512",
			u->tsig_name, u->tsig_algorithm ? u->tsig_algorithm : "is missing");
	int r = key_name(u, key, sizeof(key), err);
	if (r < 0)
		return r;
	if (!u->tsig_secret || !secret_valid(u->tsig_secret) ||
		ldns_pkt_tsig_sign(p, key, u->tsig_secret, TSIG_FUDGE_S, algorithm, NULL) != LDNS_STATUS_OK)
		return err_set(err, -EINVAL, "key %s: the secret is not base64", u->tsig_name);
	return 0;
}

/* --- judging the answer --- */

static const struct {
	int code;
	const char *text;
} rcodes[] = {
	[LDNS_RCODE_FORMERR] = {-EPROTO, "FORMERR: it does not understand the update"},
	[LDNS_RCODE_SERVFAIL] = {-EREMOTEIO, "SERVFAIL: it could not carry out the update"},
	[LDNS_RCODE_NXDOMAIN] = {-ESTALE, "NXDOMAIN: the name does not exist"},
	[LDNS_RCODE_NOTIMPL] = {-EOPNOTSUPP, "NOTIMP: it takes no updates"},
	[LDNS_RCODE_REFUSED] = {-EACCES, "REFUSED: it does not allow this update"},
	[LDNS_RCODE_YXDOMAIN] = {-ESTALE, "YXDOMAIN: the name exists"},
	[LDNS_RCODE_YXRRSET] = {-ESTALE, "YXRRSET: the record exists"},
	[LDNS_RCODE_NXRRSET] = {-ESTALE, "NXRRSET: the record does not have the expected value"},
	[LDNS_RCODE_NOTAUTH] = {-EACCES, "NOTAUTH: it is not the zone's server, or does not accept the key"},
	[LDNS_RCODE_NOTZONE] = {-EINVAL, "NOTZONE: the name is outside the zone"},
};

/* Seconds by which the signature's time is off ours. */
static int64_t tsig_age(const ldns_rr *tsig)
{
	const ldns_rdf *rdf = ldns_rr_rdf(tsig, TSIG_TIME);
	int64_t signed_at = 0;

	for (size_t i = 0; i < ldns_rdf_size(rdf); i++)
		signed_at = signed_at << 8 | ldns_rdf_data(rdf)[i];
	return llabs(clock_wall_ms() / 1000 - signed_at);
}

static bool signature_holds(
	const struct dns_update *u, ldns_pkt *query, ldns_pkt *answer, const uint8_t *wire, size_t len)
{
	const ldns_rr *tsig = ldns_pkt_tsig(answer), *sent = ldns_pkt_tsig(query);
	char key[VALUE_SIZE];

	if (!tsig || ldns_rr_rd_count(tsig) != TSIG_NRDF || key_name(u, key, sizeof(key), NULL) < 0)
		return false;
	if (ldns_dname_compare(ldns_rr_rdf(tsig, TSIG_ALGORITHM), ldns_rr_rdf(sent, TSIG_ALGORITHM)) != 0)
		return false;
	return ldns_pkt_tsig_verify(answer, wire, len, key, u->tsig_secret, ldns_rr_rdf(sent, TSIG_MAC)) &&
	       tsig_age(tsig) <= TSIG_FUDGE_S;
}

/*
 * A server that does not accept our key cannot sign its answer (RFC 8945 section 5.2): NOTAUTH with the
 * reason in the TSIG record is taken at its word, since it has changed nothing. Whoever forges it could as
 * well cut the line.
 */
static const char *key_trouble(const ldns_pkt *answer)
{
	const ldns_rr *tsig = ldns_pkt_tsig(answer);

	if (ldns_pkt_get_rcode(answer) != LDNS_RCODE_NOTAUTH || !tsig || ldns_rr_rd_count(tsig) != TSIG_NRDF)
		return NULL;
	switch (ldns_rdf2native_int16(ldns_rr_rdf(tsig, TSIG_ERROR))) {
	case TSIG_BADSIG:
		return "BADSIG: it has another secret for this key";
	case TSIG_BADKEY:
		return "BADKEY: it does not know this key or algorithm";
	case TSIG_BADTIME:
		return "BADTIME: its clock and ours differ by more than 5 minutes";
	default:
		return NULL;
	}
}

static enum act judge_rcode(int rcode, int *ret_rcode, const char *trouble, struct err *err)
{
	bool known = rcode > 0 && (size_t)rcode < COUNT_OF(rcodes) && rcodes[rcode].text;

	*ret_rcode = rcode;
	if (rcode == LDNS_RCODE_NOERROR)
		return ACT_DONE;
	if (trouble)
		(void)err_set(err, -EACCES, "NOTAUTH, %s", trouble);
	else if (known)
		(void)err_set(err, rcodes[rcode].code, "%s", rcodes[rcode].text);
	else
		(void)err_set(err, -EREMOTEIO, "rcode %d", rcode);
	return ACT_REFUSED;
}

static enum act judge(const struct dns_update *u, ldns_pkt *query, const uint8_t *wire, size_t len,
	int *ret_rcode, struct err *err)
{
	CLEANUP(pkt_freep) ldns_pkt *answer = NULL;

	if (ldns_wire2pkt(&answer, wire, len) != LDNS_STATUS_OK) {
		(void)err_set(err, -EBADMSG, "its answer is no DNS message");
		return ACT_UNKNOWN;
	}
	if (!ldns_pkt_qr(answer) || ldns_pkt_get_opcode(answer) != LDNS_PACKET_UPDATE ||
		ldns_pkt_id(answer) != ldns_pkt_id(query)) {
		(void)err_set(err, -EBADMSG, "its answer is to another message");
		return ACT_UNKNOWN;
	}
	int rcode = (int)ldns_pkt_get_rcode(answer);
	const char *trouble = u->tsig_name ? key_trouble(answer) : NULL;
	if (u->tsig_name && !trouble && !signature_holds(u, query, answer, wire, len)) {
		(void)err_set(err, -EBADMSG, "its answer (rcode %d) is %s", rcode,
			ldns_pkt_tsig(answer) ? "signed wrong" : "not signed");
		return ACT_UNKNOWN;
	}
	return judge_rcode(rcode, ret_rcode, trouble, err);
}

static enum act MAY_WAIT exchange(struct dns_conn *c, const struct dns_update *u, ldns_pkt *query,
	int64_t deadline_us, int *ret_rcode, struct err *err)
{
	uint8_t *wire = NULL, *answer = NULL;
	size_t len = 0, answer_len = 0;
	bool sent = false;

	if (ldns_pkt2wire(&wire, query, &len) != LDNS_STATUS_OK) {
		(void)err_set(err, -EINVAL, "the update does not fit a message");
		return ACT_REFUSED;
	}
	int r = dns_conn_exchange(c, wire, len, deadline_us, &answer, &answer_len, &sent, err);
	free(wire);
	if (r < 0)
		return sent ? ACT_UNKNOWN : ACT_REFUSED;
	enum act act = judge(u, query, answer, answer_len, ret_rcode, err);
	free(answer);
	if (act == ACT_UNKNOWN)
		dns_conn_kill(c);
	if (act != ACT_DONE)
		err_wrap(err, "%s", dns_conn_server(c));
	return act;
}

enum act dns_update_send(
	struct dns_conn *c, const struct dns_update *u, int64_t deadline_us, int *ret_rcode, struct err *err)
{
	CLEANUP(pkt_freep) ldns_pkt *query = NULL;

	*ret_rcode = -1;
	if (update_packet(u, &query, err) < 0 || (u->tsig_name && update_sign(u, query, err) < 0))
		return ACT_REFUSED;
	enum act act = exchange(c, u, query, deadline_us, ret_rcode, err);
	if (act != ACT_DONE)
		err_wrap(err, "update of %s %s", u->name, u->type);
	return act;
}
