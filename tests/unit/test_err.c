/* err: first cause kept, context in front, texts cut at whole characters. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "lib/base/err.h"
#include "lib/base/log.h"
#include "lib/base/str.h"

static void test_first_cause(void **state)
{
	struct err e = {0};
	(void)state;

	assert_string_equal(err_text(&e), "no error");
	assert_string_equal(err_text(NULL), "no error");
	assert_int_equal(err_set(&e, -EIO, "disk %d", 7), -EIO);
	assert_int_equal(err_set(&e, -ENOMEM, "later"), -EIO);
	assert_int_equal(e.code, -EIO);
	assert_string_equal(err_text(&e), "disk 7");
	assert_int_equal(err_set(NULL, -EPERM, "nobody listens"), -EPERM);
}

static void test_wrap_and_hint(void **state)
{
	struct err e = {0};
	(void)state;

	(void)err_set(&e, -EACCES, "Access denied");
	err_wrap(&e, "%s source %s", "shard1", "10.1.0.5");
	err_wrap(&e, "fence");
	assert_string_equal(e.message, "fence: shard1 source 10.1.0.5: Access denied");
	err_hint(&e, "grant it");
	err_hint(&e, "another");
	assert_string_equal(err_text(&e), "fence: shard1 source 10.1.0.5: Access denied (grant it)");
	err_server(&e, "source");
	err_server(&e, "target");
	assert_string_equal(e.server, "source");
	/* Its own text may be an argument. */
	err_wrap(&e, "%s", e.server);
	assert_memory_equal(e.message, "source: fence", 13);
	err_wrap(NULL, "x");
	err_hint(NULL, "x");
	err_server(NULL, "x");
	err_clear(NULL);
	err_clear(&e);
	assert_int_equal(e.code, 0);
	assert_string_equal(err_text(&e), "no error");
}

static void test_two_texts_at_once(void **state)
{
	struct err a = {0}, b = {0};
	(void)state;

	(void)err_set(&a, -EIO, "a");
	(void)err_set(&b, -EIO, "b");
	err_hint(&a, "1");
	err_hint(&b, "2");
	const char *ta = err_text(&a), *tb = err_text(&b);
	assert_string_equal(ta, "a (1)");
	assert_string_equal(tb, "b (2)");
}

static void test_cut(void **state)
{
	struct err e = {0};
	char text[2000];
	(void)state;

	/* Two-byte characters, one byte out of step with the buffer's end. */
	for (size_t i = 1; i + 1 < sizeof(text); i += 2)
		memcpy(text + i, "\xc3\xa4", 2);
	text[0] = 'x';
	text[sizeof(text) - 1] = '\0';
	(void)err_set(&e, -EIO, "%s", text);
	assert_true(str_utf8_valid(e.message, strlen(e.message)));
	assert_true(strlen(e.message) >= sizeof(e.message) - 2);
	err_wrap(&e, "y%s", text);
	assert_true(str_utf8_valid(e.message, strlen(e.message)));
	assert_true(strlen(e.message) < sizeof(e.message));
}

static char logged[2100];
static enum log_level logged_level;
static int logged_count;

static void sink(enum log_level level, const struct log_ctx *ctx, const char *message)
{
	logged_level = level;
	logged_count++;
	(void)str_copy(logged, sizeof(logged), message);
	assert_non_null(ctx);
}

static void test_log(void **state)
{
	(void)state;

	log_init(sink, LOG_LEVEL_INFO);
	log_at(LOG_LEVEL_DEBUG, NULL, "dropped");
	assert_int_equal(logged_count, 0);
	log_at(LOG_LEVEL_WARNING, &(struct log_ctx){.cluster = "c"}, "a\nerror: forged %d\x1b", 5);
	assert_int_equal(logged_count, 1);
	assert_int_equal(logged_level, LOG_LEVEL_WARNING);
	assert_string_equal(logged, "a error: forged 5 ");
	assert_string_equal(log_level_name(LOG_LEVEL_NOTICE), "notice");
	log_sink_stderr(LOG_LEVEL_INFO, NULL, "a line of the default sink");
	log_init(NULL, LOG_LEVEL_INFO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_first_cause),
		cmocka_unit_test(test_wrap_and_hint),
		cmocka_unit_test(test_two_texts_at_once),
		cmocka_unit_test(test_cut),
		cmocka_unit_test(test_log),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
