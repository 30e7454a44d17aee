/* Tests of facts: which server, which run of it, which channel. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "lib/model/facts.h"

static const struct facts_identity db1 = {"db1", 3306, 11, "", 1000};

static void same_server(void **state)
{
	struct facts_identity b = db1, moved;

	(void)state;
	b.boot_s = 5000;
	assert_true(facts_same_server(&db1, &b));
	b.server_id = 12;
	assert_false(facts_same_server(&db1, &b));
	b = db1;
	strcpy(b.hostname, "db2");
	assert_false(facts_same_server(&db1, &b));
	b = db1;
	b.port = 3307;
	assert_false(facts_same_server(&db1, &b));
	b = db1;
	strcpy(b.hostname, "DB1");
	assert_true(facts_same_server(&db1, &b));

	/* A uuid outweighs the host it runs on, where both have one. */
	b = db1;
	strcpy(b.uuid, "aa-bb");
	assert_true(facts_same_server(&db1, &b));
	moved = b;
	strcpy(moved.hostname, "ip-10-0-0-9");
	assert_true(facts_same_server(&b, &moved));
	strcpy(moved.uuid, "cc-dd");
	assert_false(facts_same_server(&b, &moved));
}

static void same_boot(void **state)
{
	struct facts_identity b = db1;

	(void)state;
	for (int off = -2; off <= 2; off++) {
		b.boot_s = db1.boot_s + off;
		assert_true(facts_same_boot(&db1, &b));
	}
	b.boot_s = db1.boot_s + 3;
	assert_false(facts_same_boot(&db1, &b));
	b.boot_s = db1.boot_s - 3;
	assert_false(facts_same_boot(&db1, &b));
	b = db1;
	b.server_id = 12;
	assert_false(facts_same_boot(&db1, &b));
}

static void another_host_is_another_boot(void **state)
{
	struct facts_identity a = db1, b;

	(void)state;
	strcpy(a.uuid, "aa-bb");
	b = a;
	strcpy(b.hostname, "ip-10-0-0-9");
	assert_true(facts_same_server(&a, &b));
	assert_false(facts_same_boot(&a, &b));
}

static void add_channel(
	struct facts *f, const char *name, const char *host, uint32_t port, uint32_t server_id)
{
	struct facts_channel *c = &f->channels[f->nchannels++];

	strcpy(c->name, name);
	strcpy(c->host, host);
	c->port = port;
	c->master_server_id = server_id;
}

static void finds_channel(void **state)
{
	static struct facts f;

	(void)state;
	assert_null(facts_channel_from(&f, 11, "db1", 3306));
	add_channel(&f, "other", "db9", 3306, 99);
	add_channel(&f, "new", "db1", 3306, 0); /* never connected */
	assert_string_equal(facts_channel_from(&f, 11, "db1", 3306)->name, "new");
	assert_string_equal(facts_channel_from(&f, 99, "db8", 3306)->name, "other");
	assert_string_equal(facts_channel_from(&f, 11, "DB1", 3306)->name, "new");
	assert_null(facts_channel_from(&f, 11, "db1", 3307));
	assert_null(facts_channel_from(&f, 0, NULL, 0));
	add_channel(&f, "id", "10.0.0.1", 3306, 11);
	assert_string_equal(facts_channel_from(&f, 11, "db1", 3306)->name, "id");
	add_channel(&f, "both", "db1", 3306, 11);
	assert_string_equal(facts_channel_from(&f, 11, "db1", 3306)->name, "both");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(same_server),
		cmocka_unit_test(same_boot),
		cmocka_unit_test(another_host_is_another_boot),
		cmocka_unit_test(finds_channel),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
