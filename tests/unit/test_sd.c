/* test_sd: what journald is sent for a line of the log. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/uio.h>
#include <cmocka.h>

#include "lib/base/str.h"
#include "lib/io/sd.h"

static struct strbuf sent; /* a field a line */

/* In libsystemd's place. */
int sd_journal_sendv(const struct iovec *iov, int n);
int sd_journal_sendv_with_location(
	const char *file, const char *line, const char *function, const struct iovec *iov, int n);

int sd_journal_sendv(const struct iovec *iov, int n)
{
	strbuf_free(&sent);
	for (int i = 0; i < n; i++) {
		strbuf_addn(&sent, iov[i].iov_base, iov[i].iov_len);
		strbuf_add(&sent, "\n");
	}
	return 0;
}

int sd_journal_sendv_with_location(
	const char *file, const char *line, const char *function, const struct iovec *iov, int n)
{
	(void)file, (void)line, (void)function;
	return sd_journal_sendv(iov, n);
}

static void test_fields(void **state)
{
	const struct log_ctx all = {
		.cluster = "shard1", .flip_id = "20260101-000000", .step = "fence", .server = "source"};
	(void)state;

	sd_log_sink(LOG_LEVEL_WARNING, &all, "100 %s closed");
	assert_string_equal(strbuf_str(&sent),
		"PRIORITY=4\nMESSAGE=100 %s closed\nFLIP_ID=20260101-000000\nCLUSTER=shard1\n"
		"STEP=fence\nSERVER=source\n");
	sd_log_sink(LOG_LEVEL_ERROR, &(struct log_ctx){.cluster = "shard1"}, "stuck");
	assert_string_equal(strbuf_str(&sent), "PRIORITY=3\nMESSAGE=stuck\nCLUSTER=shard1\n");
	strbuf_free(&sent);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fields),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
