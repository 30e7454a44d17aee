/* A flip's records that somebody's hand or a bad disk has changed: nothing is done before an operator has
 * looked. */
#include <errno.h>
#include <string.h>

#include "lib/flip/flip_priv.h"
#include "tests/unit/journal_place.h"

#define ID "20260101-000000.000-1"
#define POSITION                                                                                             \
	"{\"file\":\"b.1\",\"pos\":4,\"binlog_pos\":\"0-1-5\",\"binlog_state\":\"0-1-5\",\"slave_pos\":"     \
	"\"\","                                                                                              \
	"\"current_pos\":\"0-1-5\"}"

static const char yaml[] =
	"clusters: {c: {user: u, password: p, replication: {user: r, password: p}, source: {host: 10.0.0.1}, "
	"target: {host: 10.0.0.2}}}\n";

/* Rows 1 to 7 of a flip that had opened new. */
static const struct {
	const char *kind, *data;
} whole[] = {
	{"requested", "{}"},
	{"begin", "{}"},
	{"session", "{\"side\":\"source\",\"id\":10,\"server_id\":1}"},
	{"fence", "{\"attempt\":1,\"gtid\":true,\"baseline\":" POSITION "}"},
	{"position", "{\"final\":" POSITION "}"},
	{"intent", "{\"final\":" POSITION ",\"repoint\":" POSITION "}"},
	{"opened", "{}"},
};

static const struct row {
	const char *sql;	  /* what was done to it; NULL: nothing */
	const char *message;	  /* what is said */
	enum recover_phase phase; /* what still counts */
	int rc;
} rows[] = {
	{NULL, NULL, RECOVER_OPENED, 0},
	{"DELETE FROM record WHERE seq > 4", NULL, RECOVER_FENCED, 0},
	{"DELETE FROM record WHERE seq = 6", "record 7 (opened) does not follow", RECOVER_FENCED, 0},
	{"UPDATE record SET kind = 'in' WHERE seq = 6", "record 6 (in) is of a kind", RECOVER_FENCED, 0},
	{"UPDATE record SET data = 'x' WHERE seq = 6", "record 6 (intent) cannot be read", RECOVER_OPENED, 0},
	{"UPDATE record SET data = '{}' WHERE seq = 6", "record 6 (intent) has lost its position",
		RECOVER_OPENED, 0},
	{"UPDATE record SET data = x'ff00' WHERE seq = 2", "record 2 (begin) cannot be read", RECOVER_OPENED,
		0},
	{"UPDATE record SET data = replace(data, '0-1-5', '0-1') WHERE seq = 4",
		"record 4 (fence) has lost its position", RECOVER_OPENED, 0},
	{"UPDATE record SET data = '{}' WHERE seq = 3", "record 3 (session) has lost", RECOVER_OPENED, 0},
	{"UPDATE record SET kind = 'begin' WHERE seq = 6", "record 7 (opened) has no intent", RECOVER_FENCED,
		0},
	{"UPDATE record SET kind = 'begin' WHERE seq = 4", "record 6 (intent) has no fence", RECOVER_OPENED,
		0},
	{"UPDATE flip SET to_side = 'source'", "went from \"source\" to \"source\"", 0, -EBADMSG},
	{"UPDATE flip SET to_side = 'tar'", "went from \"source\" to \"tar\"", 0, -EBADMSG},
};

static void write_all(const char *config)
{
	struct journal *j = open_journal();
	struct err err = {0};
	const struct journal_flip f = {.id = ID,
		.cluster = "c",
		.from = "source",
		.to = "target",
		.state = "running",
		.started_at_ms = INT64_MAX / 4,
		.config = config};

	assert_int_equal(journal_begin(j, &f, &err), 0);
	for (size_t i = 0; i < COUNT_OF(whole); i++)
		assert_int_equal(journal_write(j, ID, whole[i].kind, "", whole[i].data, true, &err), 0);
	journal_close(j);
}

static struct cluster *make_cluster(void)
{
	struct conf_errors errors;
	struct cluster *c;
	struct conf *conf;
	struct err err = {0};

	assert_int_equal(conf_load_text(yaml, sizeof(yaml) - 1, "test", &conf, &errors), 0);
	conf_errors_free(&errors);
	assert_int_equal(cluster_new(conf, &conf->clusters[0], &c, &err), 0);
	conf_unref(conf);
	return c;
}

static void load(const struct row *row, struct cluster *c)
{
	struct journal *j = open_journal();
	struct err err = {0};
	struct flip *f = NULL;
	int rc = flip_load(c, j, ID, "run", &f, &err);

	assert_int_equal(rc, row->rc);
	if (rc == 0) {
		assert_int_equal(jn_phase(f), row->phase);
		assert_int_equal(flip_get_state(f), row->message ? FLIP_STUCK : FLIP_RECOVERING);
		err = f->error;
	}
	assert_int_equal(err.code, row->message ? -EBADMSG : 0);
	if (row->message && !strstr(err.message, row->message))
		fail_msg("%s: %s", row->sql, err.message);
	if (rc == 0 && row->message)
		assert_non_null(strstr(err.hint, "flipctl resolve c"));
	flip_free(f);
	journal_close(j);
}

static void one_row(void *arg)
{
	struct cluster *c = make_cluster();
	const struct row *row = arg;

	write_all(yaml);
	if (row->sql)
		by_hand(row->sql);
	load(row, c);
	cluster_free(c);
}

static void test_row(void **state)
{
	static size_t i;
	(void)state;

	run(one_row, (void *)(uintptr_t)&rows[i++]);
}

int main(void)
{
	struct CMUnitTest tests[COUNT_OF(rows)];

	for (size_t i = 0; i < COUNT_OF(rows); i++)
		tests[i] = (struct CMUnitTest)cmocka_unit_test_setup_teardown(
			test_row, place_make, place_remove);
	for (size_t i = 0; i < COUNT_OF(rows); i++)
		tests[i].name = rows[i].sql ? rows[i].sql : "whole";
	return cmocka_run_group_tests_name("journal_damage", tests, NULL, NULL);
}
