/* wire_read: readers of wire.h that look up by key and say what is wrong with a value. */
#include "lib/model/wire.h"

#include <errno.h>

#include "lib/base/str.h"

const char *wire_type_name(enum wire_type t)
{
	static const char *const names[] = {
		[WIRE_NULL] = "null",
		[WIRE_BOOL] = "true or false",
		[WIRE_INT] = "a whole number",
		[WIRE_REAL] = "a number",
		[WIRE_STRING] = "a string",
		[WIRE_ARRAY] = "an array",
		[WIRE_OBJECT] = "an object",
	};

	return (size_t)t < COUNT_OF(names) ? names[t] : "nothing known";
}

bool wire_is_null(const struct wire *v)
{
	return wire_type(v) == WIRE_NULL;
}

const char *wire_get_str(const struct wire *o, const char *key)
{
	return wire_str(wire_get(o, key));
}

int64_t wire_get_int(const struct wire *o, const char *key, int64_t otherwise)
{
	return wire_int(wire_get(o, key), otherwise);
}

double wire_get_real(const struct wire *o, const char *key, double otherwise)
{
	return wire_real(wire_get(o, key), otherwise);
}

bool wire_get_bool(const struct wire *o, const char *key)
{
	return wire_bool(wire_get(o, key));
}

int wire_want(const struct wire *o, const char *key, enum wire_type t, bool required, struct wire **ret,
	struct err *err)
{
	struct wire *v = wire_get(o, key);
	enum wire_type is = wire_type(v);

	if (is == WIRE_NULL) {
		if (required)
			return err_set(err, -EINVAL, "%s: missing", key);
		*ret = NULL;
		return 0;
	}
	if (is != t && !(t == WIRE_REAL && is == WIRE_INT))
		return err_set(
			err, -EINVAL, "%s: %s is wanted, not %s", key, wire_type_name(t), wire_type_name(is));
	*ret = v;
	return 0;
}

struct known_keys {
	const char *const *known;
	struct err *err;
};

static int check_known(const char *key, struct wire *value, void *arg)
{
	const struct known_keys *keys = arg;

	(void)value;
	for (const char *const *known = keys->known; *known; known++)
		if (str_eq(key, *known))
			return 0;
	return err_set(keys->err, -EINVAL, "%s: no such key", key);
}

int wire_only_keys(const struct wire *o, const char *const *known, struct err *err)
{
	struct known_keys keys = {known, err};

	return wire_each_key(o, check_known, &keys);
}
