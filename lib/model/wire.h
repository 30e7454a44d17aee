/*
 * wire: JSON values for documents, control lines and the journal's details. The one place that knows the JSON
 * library. Values are counted: a builder owns what wire_object() gave it and frees it once; wire_set and
 * wire_add take the child over; what wire_get, wire_at and the wire_*_object/array builders return belongs to
 * its parent. Keys keep the order in which they were set. Every reader takes NULL and answers as for an
 * absent value, so that lookups can be nested. Memory exhaustion aborts. Not for use on two threads at once.
 */
#ifndef MODEL_WIRE_H
#define MODEL_WIRE_H

#include "lib/base/base.h"
#include "lib/base/err.h"

struct wire;

enum wire_type { WIRE_NULL, WIRE_BOOL, WIRE_INT, WIRE_REAL, WIRE_STRING, WIRE_ARRAY, WIRE_OBJECT };

#define WIRE_TEXT_MAX (64 << 20) /* bytes that wire_parse takes */
#define WIRE_DEPTH_MAX 64	 /* nested arrays and objects that it takes */

/* New values, owned by the caller. Strings that are not valid UTF-8 get U+FFFD for each bad byte. */
struct wire *wire_object(void);
struct wire *wire_array(void);
struct wire *wire_string(const char *s); /* NULL gives null */
struct wire *wire_number(int64_t v);
struct wire *wire_null(void);
struct wire *wire_copy(const struct wire *v); /* deep; NULL gives NULL */
struct wire *wire_ref(struct wire *v);	      /* takes NULL */
void wire_free(struct wire *v);		      /* drops one reference; takes NULL */
void wire_freep(struct wire **v);	      /* for CLEANUP() */

/* Into an object; a key that is there is replaced at its old place. */
void wire_set(struct wire *o, const char *key, struct wire *child); /* steals child; NULL gives null */
void wire_set_str(struct wire *o, const char *key, const char *s);  /* NULL gives null */
void wire_set_strf(struct wire *o, const char *key, const char *fmt, ...) PRINTF(3, 4);
void wire_set_int(struct wire *o, const char *key, int64_t v);
void wire_set_int_or_null(struct wire *o, const char *key, int64_t v); /* negative gives null */
void wire_set_real(struct wire *o, const char *key, double v);	       /* 3 decimals; NaN, infinite: null */
void wire_set_bool(struct wire *o, const char *key, bool v);
void wire_set_null(struct wire *o, const char *key);
struct wire *wire_set_object(struct wire *o, const char *key); /* a new child, borrowed */
struct wire *wire_set_array(struct wire *o, const char *key);
void wire_remove(struct wire *o, const char *key);

/* At the end of an array. */
void wire_add(struct wire *a, struct wire *child); /* steals child; NULL gives null */
void wire_add_str(struct wire *a, const char *s);
void wire_add_strf(struct wire *a, const char *fmt, ...) PRINTF(2, 3);
void wire_add_int(struct wire *a, int64_t v);
void wire_add_real(struct wire *a, double v);
void wire_add_bool(struct wire *a, bool v);
void wire_add_null(struct wire *a);
struct wire *wire_add_object(struct wire *a); /* a new child, borrowed */
struct wire *wire_add_array(struct wire *a);

/* Readers; what they return is borrowed. NULL is an absent value, of type WIRE_NULL. */
enum wire_type wire_type(const struct wire *v);
const char *wire_type_name(enum wire_type t);
bool wire_is_null(const struct wire *v);
struct wire *wire_get(const struct wire *o, const char *key); /* NULL: no such key, or no object */
const char *wire_str(const struct wire *v);		      /* NULL: no string */
int64_t wire_int(const struct wire *v, int64_t otherwise);    /* otherwise: no whole number */
double wire_real(const struct wire *v, double otherwise);     /* takes whole numbers too */
bool wire_bool(const struct wire *v);			      /* true only for true */
const char *wire_get_str(const struct wire *o, const char *key);
int64_t wire_get_int(const struct wire *o, const char *key, int64_t otherwise);
double wire_get_real(const struct wire *o, const char *key, double otherwise);
bool wire_get_bool(const struct wire *o, const char *key);
size_t wire_len(const struct wire *v); /* elements or keys; 0 for anything else */
struct wire *wire_at(
	const struct wire *a, size_t i); /* element i, or value of the i-th key; NULL past the end */
const char *wire_key(const struct wire *o, size_t i);	     /* the i-th key, in order; walks i keys */
bool wire_equal(const struct wire *a, const struct wire *b); /* NULL equals null */
/* Calls fn for each key in order until it returns other than 0; returns that. */
int wire_each_key(const struct wire *o, int (*fn)(const char *key, struct wire *value, void *arg), void *arg);

/*
 * The value of key with its type checked: 0 with *ret (NULL when the key is absent or null and not required),
 * or -EINVAL with "KEY: missing" or "KEY: a string is wanted, not a number". WIRE_REAL takes whole numbers
 * too.
 */
int wire_want(const struct wire *o, const char *key, enum wire_type t, bool required, struct wire **ret,
	struct err *err) MUSTCHECK;
/* -EINVAL naming the first key of o that is not in known (ended by NULL). */
int wire_only_keys(const struct wire *o, const char *const *known, struct err *err) MUSTCHECK;

/* Text on one line (indent 0) or indented by that many blanks; freed by the caller. NULL gives "null". */
char *wire_dump(const struct wire *v, int indent);
/*
 * One JSON value and nothing after it but blanks. 0, -E2BIG past WIRE_TEXT_MAX, or -EINVAL: bad JSON, bad
 * UTF-8, duplicate keys, U+0000 in a string, whole numbers past 64 bits, deeper than WIRE_DEPTH_MAX.
 */
int wire_parse(const char *text, size_t len, struct wire **ret, struct err *err) MUSTCHECK;
/* The same for one line of the control protocol: an object of at most max bytes (else -E2BIG). */
int wire_parse_line(const char *line, size_t len, size_t max, struct wire **ret, struct err *err) MUSTCHECK;

#endif
