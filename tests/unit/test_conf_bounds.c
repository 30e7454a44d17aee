/* Tests of conf: how many errors come and in which order; what is too much to be read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/str.h"
#include "lib/model/conf.h"

/* All errors come, in the order of the text, each once however many servers share its cause. */
static void all_of_them(void **state)
{
	static const char text[] = "defaults:\n"
				   "  user: u\n"
				   "  port: x\n"
				   "  fence_timeout: 1h\n"
				   "  nonsense: 1\n"
				   "clusters:\n"
				   "  c: {source: {host: a}, target: {host: b}}\n"
				   "  d: {source: {}, target: {host: b}}\n";
	static const char *const want[] = {
		"t:3: defaults.port: a whole number is wanted, not 'x'",
		"t:4: defaults.fence_timeout: 1h is outside 10ms to 1m",
		"t:5: defaults.nonsense: unknown key",
		"t:7: clusters.c.source.replication.user: missing; it may stand in defaults, the cluster or "
		"the server",
		"t:7: clusters.c.target.replication.user: missing; it may stand in defaults, the cluster or "
		"the server",
		"t:8: clusters.d.source.host: missing",
		"t:8: clusters.d.source.replication.user: missing; it may stand in defaults, the cluster or "
		"the server",
		"t:8: clusters.d.target.replication.user: missing; it may stand in defaults, the cluster or "
		"the server",
	};
	struct conf_errors errors;
	struct conf *conf = NULL;

	(void)state;
	assert_int_equal(conf_load_text(text, strlen(text), "t", &conf, &errors), -EINVAL);
	assert_int_equal(errors.n, COUNT_OF(want));
	for (size_t i = 0; i < COUNT_OF(want); i++)
		assert_string_equal(errors.v[i], want[i]);
	conf_errors_free(&errors);
}

/* A file that is wrong in every line does not flood the terminal. */
static void errors_are_bounded(void **state)
{
	struct strbuf b = {0};
	struct conf_errors errors;
	struct conf *conf = NULL;

	(void)state;
	strbuf_add(&b, "daemon:\n");
	for (int i = 0; i < 2000; i++)
		strbuf_addf(&b, "  key%d: 1\n", i);
	assert_int_equal(conf_load_text(b.data, b.len, "t", &conf, &errors), -EINVAL);
	assert_int_equal(errors.n, 501);
	assert_string_equal(errors.v[0], "t:2: daemon.key0: unknown key");
	assert_string_equal(errors.v[500], "and more errors");
	conf_errors_free(&errors);
	strbuf_free(&b);
}

/* Nine aliases of nine aliases of ... would be 9^9 values; too large a file is not even read. */
static void size_is_bounded(void **state)
{
	struct strbuf b = {0};
	struct conf_errors errors;
	struct conf *conf = NULL;

	(void)state;
	strbuf_add(&b, "a: &a0 [x, x, x, x, x, x, x, x, x]\n");
	for (int i = 1; i < 9; i++)
		strbuf_addf(&b, "b%d: &a%d [*a%d, *a%d, *a%d, *a%d, *a%d, *a%d, *a%d, *a%d, *a%d]\n", i, i,
			i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1);
	assert_int_equal(conf_load_text(b.data, b.len, "t", &conf, &errors), -EINVAL);
	assert_non_null(strstr(errors.v[0], "too many values in one file"));
	conf_errors_free(&errors);
	strbuf_free(&b);
	b.data = calloc(9, 1 << 20);
	assert_non_null(b.data);
	assert_int_equal(conf_load_text(b.data, 9 << 20, "t", &conf, &errors), -EINVAL);
	assert_string_equal(errors.v[0], "t:1: file: larger than 8388608 bytes");
	conf_errors_free(&errors);
	free(b.data);
	assert_int_equal(conf_load("/does/not/exist.yaml", &conf, &errors), -EINVAL);
	assert_string_equal(
		errors.v[0], "/does/not/exist.yaml:1: file: cannot be read: No such file or directory");
	conf_errors_free(&errors);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_of_them),
		cmocka_unit_test(errors_are_bounded),
		cmocka_unit_test(size_is_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
