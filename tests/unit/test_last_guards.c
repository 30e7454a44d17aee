/*
 * test_last_guards: what stands right before an act that could break a law, and what is read back from a
 * journal that is damaged. In a flip that goes its way none of it is reached: here it is asked directly.
 */
#include <errno.h>

#include "lib/flip/flip_priv.h"
#include "tests/unit/journal_place.h"

#define YAML                                                                                                 \
	"defaults: {user: flipd, password: x, replication: {user: repl, password: y}, sessions: "            \
	"{exempt_users: [backup]}, heartbeat: {user: beat, password: z}}\n"                                  \
	"clusters: {c: {source: {host: 10.1.0.5}, target: {host: 10.2.0.5}, endpoints: [{dns: {name: "       \
	"db.example.com., zone: example.com., type: CNAME, ttl: 5s, servers: ['10.0.0.53'], source: "        \
	"a.example.com., target: b.example.com.}}]}}\n"

static struct conf *conf;
static struct cluster *cluster;
static struct flip *flip;

static int set_up(void **state)
{
	struct conf_errors errors = {0};
	struct flip_request rq = {.to = CONF_TARGET, .max_lag_ms = -1, .max_blackout_ms = -1};
	struct err err = {0};

	if (place_make(state) < 0 || conf_load_text(YAML, strlen(YAML), "x.yaml", &conf, &errors) < 0)
		return -1;
	conf_errors_free(&errors);
	if (cluster_new(conf, &conf->clusters[0], &cluster, &err) < 0)
		return -1;
	flip = flip_new(cluster, NULL, &rq, "run-1");
	return 0;
}

static int tear_down(void **state)
{
	flip_free(flip);
	cluster_free(cluster);
	conf_unref(conf);
	return place_remove(state);
}

static void refused(int rc, int code, const struct err *err, const char *message)
{
	assert_int_equal(rc, code);
	assert_string_equal(err->message, message);
}

/* --- the laws' last lines --- */

static void test_open_needs_intent(void **state)
{
	const struct {
		bool intent, revoked, durable;
	} never[] = {{false, false, false}, {true, true, true}, {true, false, false}};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(never); i++) {
		struct err err = {0};
		flip->intent = never[i].intent;
		flip->revoked = never[i].revoked;
		flip->intent_durable = never[i].durable;
		refused(step_open(flip, &err), -EPERM, &err, "target is not opened without an intent");
		assert_false(flip->open_sent);
	}
}

static void test_old_stays_closed(void **state)
{
	struct err live = {0}, lost = {0}, out = {0};

	(void)state;
	flip->intent = true;
	refused(step_fence_undo(flip, &live), -EPERM, &live,
		"source is not opened: the intent to open target is not revoked");
	flip->revoked = true;
	refused(step_fence_undo(flip, &lost), -ENOLCK, &lost, "source: the flip's lock is not held");
	flip->old_out = true;
	refused(step_reverse(flip, &out), -ESTALE, &out, "source is kept out of replication");
}

static void test_revocation_once(void **state)
{
	struct err err = {0};

	(void)state;
	assert_int_equal(step_intent_undo(flip, &err), 0); /* without an intent: nothing to write */
	flip->intent = flip->revoked = true;
	assert_int_equal(step_intent_undo(flip, &err), 0);
}

static void test_endpoint_not_switched(void **state)
{
	struct err err = {0};

	(void)state;
	refused(step_endpoints_verify(flip, &err), -EIO, &err,
		"dns db.example.com. has not accepted the switch");
	flip->ends[0].state = EP_SWITCHED;
	err_clear(&err);
	assert_int_equal(step_endpoints_verify(flip, &err), 0);
}

/* --- the proof of old --- */

static void proof_at(struct node_proof *p, uint64_t pos)
{
	memset(p, 0, sizeof(*p));
	p->read_only = p->holds_lock = true;
	str_copy(p->position.file, sizeof(p->position.file), "binlog.000007");
	p->position.pos = pos;
}

static void test_proof(void **state)
{
	static struct facts_account legacy = {.user = "legacy", .host = "%"};
	static struct node_proof p;
	struct err err = {0};

	(void)state;
	proof_at(&p, 100);
	assert_int_equal(guard_judge(flip, &p, &err), 0); /* the first good one is the final position */
	assert_true(flip->has_final);
	assert_int_equal(flip->final.pos, 100);

	p.holds_lock = false;
	refused(guard_judge(flip, &p, &err), -ENOLCK, &err,
		"source: the flip's lock is not held by its own session any more");
	assert_string_equal(err.server, "source");
	p.holds_lock = true;
	p.read_only = false;
	err_clear(&err);
	refused(guard_judge(flip, &p, &err), -EPERM, &err, "source: somebody has opened it (read_only is 0)");

	/* A server without GTID state: file and position alone say whether it moved. */
	proof_at(&p, 101);
	err_clear(&err);
	refused(guard_judge(flip, &p, &err), -ESTALE, &err,
		"source: its position moved after the final one: binlog.000007:101, not binlog.000007:100");
	flip->walker = &legacy;
	err_clear(&err);
	assert_int_equal(guard_judge(flip, &p, &err), -ESTALE);
	assert_non_null(strstr(err.message, "account legacy@% walks through the fence and has come back: "));
	assert_int_equal(flip->final.pos, 100);
}

/* --- who is never killed --- */

static void test_exempt(void **state)
{
	static const struct {
		const char *user, *command;
		bool exempt;
	} sessions[] = {{"app", "Query", false}, {"app", "Sleep", false}, {"root", "Query", false},
		{"system user", "Slave_SQL", true}, {"event_scheduler", "Daemon", true},
		{"unauthenticated user", "Connect", true}, {"rdsadmin", "Sleep", true},
		{"replica-of-any-name", "Binlog Dump", true},
		{"replica-of-any-name", "Binlog Dump GTID", true}, {"x", "Slave_IO", true},
		{"x", "Daemon", true}, {"flipd", "Query", true}, {"backup", "Query", true},
		{"backup2", "Query", false}, {"beat", "Query", true}};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(sessions); i++) {
		struct facts_session s = {.id = 7};
		str_copy(s.user, sizeof(s.user), sessions[i].user);
		str_copy(s.command, sizeof(s.command), sessions[i].command);
		if (kill_exempt(flip, &flip->old_side, &s) != sessions[i].exempt)
			fail_msg("%s (%s): exempt %d", s.user, s.command, !sessions[i].exempt);
	}
}

/* --- a journal that is damaged, or very long --- */

static struct journal_record record(const char *kind, const char *data)
{
	return (struct journal_record){.kind = kind, .step = "", .data = data, .at_ms = 1000};
}

static void test_damaged(void **state)
{
	struct journal_record records[] = {
		record("session", "{\"side\":\"target\"}"), /* without a number there is nobody to kill */
		record("session", "{\"side\":\"target\",\"id\":"),
		record("endpoint", "{\"index\":7,\"switched\":true}"),
		record("endpoint", "{\"index\":-1,\"switched\":true}"),
		record("fence",
			"{\"baseline\":{\"file\":\"b.1\",\"pos\":4,\"binlog_state\":\"0-1-nonsense\"}}"),
		record("nobody knows", "{}"),
	};

	struct err err = {0};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(records); i++)
		records[i].seq = (int64_t)i + 1;
	assert_int_equal(jn_replay(flip, records, (int)COUNT_OF(records), &err), -EBADMSG);
	assert_string_equal(
		err_text(&err), "the journal is damaged: record 1 (session) has lost the session's number");
	assert_int_equal(flip->new_side.nmarks, 0);
	assert_int_equal(flip->old_side.nmarks, 0);
	assert_false(flip->ends[0].begun);
	/* That the fence was issued is never lost with what else stood there. */
	assert_true(flip->fence_journaled);
	assert_int_equal(jn_phase(flip), RECOVER_FENCED);
	assert_string_equal(flip->baseline.file, "b.1");
	assert_int_equal(flip->baseline.binlog_state.n, 0);
}

static void test_many_sessions(void **state)
{
	static char data[MARKS_MAX + 8][80];
	struct journal_record records[MARKS_MAX + 8];

	(void)state;
	for (int i = 0; i < MARKS_MAX + 8; i++) {
		(void)snprintf(
			data[i], sizeof(data[i]), "{\"side\":\"target\",\"id\":%d,\"server_id\":2}", 100 + i);
		records[i] = record("session", data[i]);
		records[i].seq = i + 1;
	}
	assert_int_equal(jn_replay(flip, records, MARKS_MAX + 8, NULL), 0);
	assert_int_equal(flip->new_side.nmarks, MARKS_MAX); /* the newest: they may still live */
	assert_int_equal(flip->new_side.marks[0].id, 108);
	assert_int_equal(flip->new_side.marks[MARKS_MAX - 1].id, 100 + MARKS_MAX + 7);
	assert_int_equal(flip->new_side.identity.server_id, 2);
	assert_int_equal(flip->old_side.nmarks, 0);
}

/* --- a flip that the journal does not have --- */

static void load_main(void *arg)
{
	struct journal *j = NULL;
	struct flip *f = NULL;
	struct err err = {0};

	(void)arg;
	assert_int_equal(journal_open(dir, &j, &err), 0);
	assert_int_equal(flip_load(cluster, j, "20261121-1", "run-2", &f, &err), -ENOENT);
	assert_null(f);
	assert_non_null(strstr(err.message, "20261121-1"));
	journal_close(j);
}

static void test_no_such_flip(void **state)
{
	(void)state;
	run(load_main, NULL);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_open_needs_intent),
		TEST(test_old_stays_closed),
		TEST(test_revocation_once),
		TEST(test_endpoint_not_switched),
		TEST(test_proof),
		TEST(test_exempt),
		TEST(test_damaged),
		TEST(test_many_sessions),
		TEST(test_no_such_flip),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
