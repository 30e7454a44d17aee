/* wire: the JSON values of wire.h over jansson, whose json_t is what a struct wire really is. */
#include "lib/model/wire.h"

#include <assert.h>
#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/arena.h"
#include "lib/base/str.h"

/* Digits that any double with three decimals below 10^12 is exact in. */
#define REAL_DIGITS 15
#define REAL_ROUNDED_BELOW 1e12

static json_t *in(const struct wire *v)
{
	return (json_t *)(void *)(uintptr_t)v;
}

/* The library returns NULL only when memory is out: sizes are bounded by what is read. */
static struct wire *out(json_t *j)
{
	if (!j)
		abort(); /* GCOVR_EXCL_LINE: out of memory */
	return (struct wire *)(void *)j;
}

/* How many bytes the UTF-8 sequence at s has; 0 when it is not one. */
static size_t utf8_sequence(const char *s, size_t left)
{
	unsigned char c = (unsigned char)*s;
	size_t n = c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;

	return n <= left && str_utf8_valid(s, n) ? n : 0;
}

static char *sanitise(const char *s)
{
	size_t left = strlen(s), at = 0;
	char *clean = xcalloc(left * 3 + 1, 1);

	while (left) {
		size_t n = utf8_sequence(s, left);

		if (n)
			memcpy(clean + at, s, n);
		else
			/* NOLINTNEXTLINE(bugprone-not-null-terminated-result): the buffer ends with zeros */
			memcpy(clean + at, "\xef\xbf\xbd", 3);
		at += n ? n : 3;
		s += n ? n : 1;
		left -= n ? n : 1;
	}
	return clean;
}

struct wire *wire_string(const char *s)
{
	struct wire *v;
	char *clean;

	if (!s)
		return wire_null();
	if (str_utf8_valid(s, strlen(s)))
		return out(json_string(s));
	clean = sanitise(s);
	v = out(json_string(clean));
	free(clean);
	return v;
}

static struct wire *string_v(const char *fmt, va_list ap)
{
	struct wire *v;
	char *text;

	if (vasprintf(&text, fmt, ap) < 0)
		abort(); /* GCOVR_EXCL_LINE: out of memory */
	v = wire_string(text);
	free(text);
	return v;
}

static struct wire *real_new(double v)
{
	if (!isfinite(v))
		return wire_null();
	if (fabs(v) < REAL_ROUNDED_BELOW)
		v = (double)(int64_t)(v * 1000 + (v < 0 ? -0.5 : 0.5)) / 1000;
	return out(json_real(v));
}

struct wire *wire_object(void)
{
	return out(json_object());
}

struct wire *wire_array(void)
{
	return out(json_array());
}

struct wire *wire_number(int64_t v)
{
	return out(json_integer(v));
}

struct wire *wire_null(void)
{
	return out(json_null());
}

struct wire *wire_copy(const struct wire *v)
{
	return v ? out(json_deep_copy(in(v))) : NULL;
}

struct wire *wire_ref(struct wire *v)
{
	if (v)
		json_incref(in(v));
	return v;
}

void wire_free(struct wire *v)
{
	json_decref(in(v));
}

void wire_freep(struct wire **v)
{
	wire_free(*v);
	*v = NULL;
}

void wire_set(struct wire *o, const char *key, struct wire *child)
{
	char *clean = str_utf8_valid(key, strlen(key)) ? NULL : sanitise(key);

	assert(json_is_object(in(o)));
	if (json_object_set_new(in(o), clean ? clean : key, in(child ? child : wire_null())))
		abort(); /* GCOVR_EXCL_LINE: out of memory */
	free(clean);
}

void wire_set_str(struct wire *o, const char *key, const char *s)
{
	wire_set(o, key, wire_string(s));
}

void wire_set_strf(struct wire *o, const char *key, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	wire_set(o, key, string_v(fmt, ap));
	va_end(ap);
}

void wire_set_int(struct wire *o, const char *key, int64_t v)
{
	wire_set(o, key, wire_number(v));
}

void wire_set_int_or_null(struct wire *o, const char *key, int64_t v)
{
	wire_set(o, key, v < 0 ? wire_null() : wire_number(v));
}

void wire_set_real(struct wire *o, const char *key, double v)
{
	wire_set(o, key, real_new(v));
}

void wire_set_bool(struct wire *o, const char *key, bool v)
{
	wire_set(o, key, out(json_boolean(v)));
}

void wire_set_null(struct wire *o, const char *key)
{
	wire_set(o, key, wire_null());
}

struct wire *wire_set_object(struct wire *o, const char *key)
{
	struct wire *child = wire_object();

	wire_set(o, key, child);
	return child;
}

struct wire *wire_set_array(struct wire *o, const char *key)
{
	struct wire *child = wire_array();

	wire_set(o, key, child);
	return child;
}

void wire_remove(struct wire *o, const char *key)
{
	(void)json_object_del(in(o), key);
}

void wire_add(struct wire *a, struct wire *child)
{
	assert(json_is_array(in(a)));
	if (json_array_append_new(in(a), in(child ? child : wire_null())))
		abort(); /* GCOVR_EXCL_LINE: out of memory */
}

void wire_add_str(struct wire *a, const char *s)
{
	wire_add(a, wire_string(s));
}

void wire_add_strf(struct wire *a, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	wire_add(a, string_v(fmt, ap));
	va_end(ap);
}

void wire_add_int(struct wire *a, int64_t v)
{
	wire_add(a, wire_number(v));
}

void wire_add_real(struct wire *a, double v)
{
	wire_add(a, real_new(v));
}

void wire_add_bool(struct wire *a, bool v)
{
	wire_add(a, out(json_boolean(v)));
}

void wire_add_null(struct wire *a)
{
	wire_add(a, wire_null());
}

struct wire *wire_add_object(struct wire *a)
{
	struct wire *child = wire_object();

	wire_add(a, child);
	return child;
}

struct wire *wire_add_array(struct wire *a)
{
	struct wire *child = wire_array();

	wire_add(a, child);
	return child;
}

char *wire_dump(const struct wire *v, int indent)
{
	size_t flags = JSON_ENCODE_ANY | JSON_REAL_PRECISION(REAL_DIGITS);
	char *text;

	if (!v)
		return xstrdup("null");
	text = json_dumps(in(v), flags | (indent > 0 ? (size_t)JSON_INDENT(indent) : JSON_COMPACT));
	if (!text)
		abort(); /* GCOVR_EXCL_LINE: out of memory */
	return text;
}

/* Bounds the parser's recursion. Bad texts may count wrong here; the parser refuses them anyway. */
static bool too_deep(const char *text, size_t len)
{
	bool quoted = false;
	int depth = 0;

	for (size_t i = 0; i < len; i++) {
		char c = text[i];

		if (quoted && c == '\\')
			i++;
		else if (c == '"')
			quoted = !quoted;
		else if (!quoted && (c == '[' || c == '{') && ++depth > WIRE_DEPTH_MAX)
			return true;
		else if (!quoted && (c == ']' || c == '}'))
			depth--;
	}
	return false;
}

int wire_parse(const char *text, size_t len, struct wire **ret, struct err *err)
{
	json_error_t why;
	json_t *j;

	if (len > WIRE_TEXT_MAX)
		return err_set(err, -E2BIG, "%zu bytes of JSON, at most %d are read", len, WIRE_TEXT_MAX);
	/* The library passes over zero bytes between values. */
	if (memchr(text, '\0', len))
		return err_set(err, -EINVAL, "bad JSON: a zero byte");
	if (too_deep(text, len))
		return err_set(
			err, -EINVAL, "bad JSON: more than %d nested arrays and objects", WIRE_DEPTH_MAX);
	j = json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &why);
	if (!j)
		return err_set(err, -EINVAL, "bad JSON at byte %d: %s", why.position, why.text);
	*ret = out(j);
	return 0;
}

int wire_parse_line(const char *line, size_t len, size_t max, struct wire **ret, struct err *err)
{
	struct wire *v = NULL;
	int r;

	if (len > max)
		return err_set(err, -E2BIG, "the line has more than %zu bytes", max);
	r = wire_parse(line, len, &v, err);
	if (r < 0)
		return r;
	if (wire_type(v) != WIRE_OBJECT) {
		wire_free(v);
		return err_set(err, -EINVAL, "an object is wanted");
	}
	*ret = v;
	return 0;
}

enum wire_type wire_type(const struct wire *v)
{
	static const enum wire_type types[] = {
		[JSON_OBJECT] = WIRE_OBJECT,
		[JSON_ARRAY] = WIRE_ARRAY,
		[JSON_STRING] = WIRE_STRING,
		[JSON_INTEGER] = WIRE_INT,
		[JSON_REAL] = WIRE_REAL,
		[JSON_TRUE] = WIRE_BOOL,
		[JSON_FALSE] = WIRE_BOOL,
		[JSON_NULL] = WIRE_NULL,
	};

	return v ? types[json_typeof(in(v))] : WIRE_NULL;
}

struct wire *wire_get(const struct wire *o, const char *key)
{
	return (struct wire *)(void *)json_object_get(in(o), key);
}

const char *wire_str(const struct wire *v)
{
	return json_string_value(in(v));
}

int64_t wire_int(const struct wire *v, int64_t otherwise)
{
	return json_is_integer(in(v)) ? json_integer_value(in(v)) : otherwise;
}

double wire_real(const struct wire *v, double otherwise)
{
	return json_is_number(in(v)) ? json_number_value(in(v)) : otherwise;
}

bool wire_bool(const struct wire *v)
{
	return json_is_true(in(v));
}

size_t wire_len(const struct wire *v)
{
	return json_is_array(in(v)) ? json_array_size(in(v)) : json_object_size(in(v));
}

/* The iterator of the i-th key; NULL past the end or for anything but an object. */
static void *key_at(const struct wire *o, size_t i)
{
	void *iter = json_object_iter(in(o));

	while (iter && i--)
		iter = json_object_iter_next(in(o), iter);
	return iter;
}

struct wire *wire_at(const struct wire *a, size_t i)
{
	if (json_is_object(in(a))) {
		void *iter = key_at(a, i);

		return iter ? out(json_object_iter_value(iter)) : NULL;
	}
	return (struct wire *)(void *)json_array_get(in(a), i);
}

const char *wire_key(const struct wire *o, size_t i)
{
	void *iter = key_at(o, i);

	return iter ? json_object_iter_key(iter) : NULL;
}

bool wire_equal(const struct wire *a, const struct wire *b)
{
	if (wire_is_null(a) || wire_is_null(b))
		return wire_is_null(a) && wire_is_null(b);
	return json_equal(in(a), in(b));
}

int wire_each_key(const struct wire *o, int (*fn)(const char *key, struct wire *value, void *arg), void *arg)
{
	void *iter = json_object_iter(in(o));

	for (; iter; iter = json_object_iter_next(in(o), iter)) {
		int r = fn(json_object_iter_key(iter), out(json_object_iter_value(iter)), arg);

		if (r)
			return r;
	}
	return 0;
}
