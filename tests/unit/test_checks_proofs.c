/* The proving checks: the way back, the fence as a plain account meets it, endpoints, hooks. */
#include "tests/unit/preflight_world.h"

#include <sys/stat.h>
#include <unistd.h>

static int calls_of(const char *what)
{
	int n = 0;

	for (const char *s = w.calls; (s = strstr(s, what)); s++)
		n++;
	return n;
}

/* --- reverse_path
 * --------------------------------------------------------------------------------------------- */

static void test_reverse(void **state)
{
	(void)state;
	for (int to = 0; to < 2; to++) {
		world_new((enum conf_side)to);
		world_run();
		world_expect("reverse_path", CHECK_OK, "logs in as repl", NULL);
		assert_int_equal(calls_of("remove "), 1);
		world_free();

		world_new((enum conf_side)to);
		w.reverse = ACT_REFUSED;
		world_run();
		world_expect("reverse_path", CHECK_WARN, "error 2003", "GRANT REPLICATION SLAVE");
		assert_int_equal(calls_of("remove "), 1);
		world_free();
	}
}

static void test_reverse_there_already(void **state)
{
	(void)state;
	world_new(CONF_TARGET);
	pair_channel(w.pair->old, w.pair->new, w.pair->new_conf);
	world_run();
	world_expect("reverse_path", CHECK_OK, "already", NULL);
	assert_int_equal(calls_of("try"), 0);
	world_free();
}

static void test_reverse_no_log(void **state)
{
	(void)state;
	world_new(CONF_TARGET);
	w.pair->new->position.file[0] = '\0';
	world_run();
	world_expect("reverse_path", CHECK_SKIP, "no binary log", NULL);
	assert_int_equal(calls_of("try"), 0);
	world_free();
}

/* Its own thread would wait for the backup to end, and could not be stopped. */
static void test_reverse_behind_a_backup(void **state)
{
	(void)state;
	world_new(CONF_TARGET);
	str_copy(pair_session(w.pair->old, "app", "Query")->state, sizeof(w.pair->old->sessions->state),
		"Waiting for backup lock");
	world_run();
	world_expect("reverse_path", CHECK_SKIP, "wait for a backup's lock", NULL);
	assert_int_equal(calls_of("try"), 0);
	world_free();
}

/* The session died in mid-trial: its statement is killed on a fresh one before the removal. */
static void test_reverse_session_dies(void **state)
{
	(void)state;
	world_new(CONF_TARGET);
	w.reverse = ACT_UNKNOWN;
	w.reverse_kills_session = true;
	world_run();
	world_expect("reverse_path", CHECK_WARN, "cannot replicate", NULL);
	assert_true(strstr(w.calls, "kill:4242 ") && strstr(strstr(w.calls, "kill:4242 "), "remove "));
	world_free();
}

static void test_reverse_not_removed(void **state)
{
	(void)state;
	world_new(CONF_SOURCE);
	w.removals_lost = 3;
	world_run();
	world_expect("reverse_path", CHECK_WARN, "could not be removed", "RESET SLAVE 'flipd_reverse' ALL");
	assert_int_equal(calls_of("remove "), 3);
	world_free();
}

/* On a bad line: what gets lost is sent again, on a fresh session. */
static void test_reverse_removal_lost(void **state)
{
	(void)state;
	world_new(CONF_SOURCE);
	w.removals_lost = 2;
	world_run();
	world_expect("reverse_path", CHECK_OK, "logs in as repl", NULL);
	assert_int_equal(calls_of("remove "), 3);
	world_free();
}

/* Cancelled while the trial hangs: it is cut off at its own limit, and removed. */
static void test_reverse_cancelled(void **state)
{
	(void)state;
	world_new(CONF_TARGET);
	w.reverse_hangs = true;
	w.reverse = ACT_UNKNOWN;
	w.reverse_kills_session = true;
	w.cancel_after_ms = 60;
	world_run();
	assert_int_equal(w.rc, -ECANCELED);
	assert_int_equal(calls_of("try "), 1);
	assert_int_equal(calls_of("remove "), 1);
	world_free();
}

/* --- fence_probe
 * ---------------------------------------------------------------------------------------------- */

static void probe_case(enum act on_old, unsigned old_errno, enum act on_new, unsigned new_errno,
	enum check_result result, const char *seen, const char *hint)
{
	for (int to = 0; to < 2; to++) {
		world_new((enum conf_side)to);
		w.probe[w.pair->in.from] = on_old;
		w.probe_errno[w.pair->in.from] = old_errno;
		w.probe[to] = on_new;
		w.probe_errno[to] = new_errno;
		world_run();
		world_expect("fence_probe", result, seen, hint);
		world_free();
	}
}

static void test_probe(void **state)
{
	(void)state;
	probe_case(ACT_DONE, 0, ACT_REFUSED, 1290, CHECK_OK, "is refused by", NULL);
	probe_case(
		ACT_DONE, 0, ACT_DONE, 0, CHECK_REFUSE, "goes through the fence", "REVOKE READ ONLY ADMIN");
	probe_case(ACT_DONE, 0, ACT_REFUSED, 1142, CHECK_WARN, "could not be tried", "flipctl grants");
	probe_case(ACT_DONE, 0, ACT_UNKNOWN, 2013, CHECK_WARN, "could not be tried", "flipctl grants");
	probe_case(ACT_REFUSED, 1142, ACT_REFUSED, 1290, CHECK_WARN, "cannot write on", "GRANT INSERT");
	probe_case(ACT_REFUSED, 1290, ACT_REFUSED, 1290, CHECK_WARN, "cannot write on", "single_master");
}

static void test_probe_not_configured(void **state)
{
	(void)state;
	world_new(CONF_TARGET);
	w.pair->conf.policy.fence_probe.user = NULL;
	world_run();
	world_expect("fence_probe", CHECK_WARN, "no fence_probe is configured", "flipctl grants");
	assert_int_equal(calls_of("probe:"), 0);
	assert_true(w.result.ready);
	world_free();
}

/* An account that the fence does not stop is known without a try. */
static void test_probe_walks_through(void **state)
{
	(void)state;
	world_new(CONF_TARGET);
	w.pair->conf.policy.fence_probe.user = "flipd";
	world_run();
	world_expect("fence_probe", CHECK_REFUSE, "does not stop", "an account of its own");
	assert_int_equal(calls_of("probe:"), 0);
	world_free();

	world_new(CONF_TARGET);
	pair_bypass(w.pair->new, "flipd_probe");
	world_run();
	world_expect("fence_probe", CHECK_REFUSE, "does not stop", "an account of its own");
	assert_int_equal(calls_of("probe:"), 0);
	world_free();
}

static void test_probe_new_open(void **state)
{
	(void)state;
	world_new(CONF_TARGET);
	w.pair->new->read_only = false;
	world_run();
	world_expect("fence_probe", CHECK_SKIP, "is open", NULL);
	assert_int_equal(calls_of("probe:1"), 0);
	world_free();
}

/* --- endpoints
 * ------------------------------------------------------------------------------------------------ */

static void test_dns_current(void **state)
{
	(void)state;
	for (int to = 0; to < 2; to++) {
		world_new((enum conf_side)to);
		world_endpoint(CONF_ENDPOINT_DNS, "dns a");
		w.ep_at[0] = ENDPOINT_AT_OTHER;
		world_run();
		world_expect("dns_current", CHECK_REFUSE, "A 192.0.2.9", "never overwrites");
		assert_string_equal(world_result("dns_current")->server, "dns a");
		world_free();

		world_new((enum conf_side)to);
		world_endpoint(CONF_ENDPOINT_DNS, "dns a");
		w.ep_at[0] = (enum endpoint_at)to;
		world_run();
		world_expect("dns_current", CHECK_WARN, "already, while", "refuses writes");
		world_free();
	}
}

static void test_dns_faults(void **state)
{
	(void)state;
	world_new(CONF_TARGET);
	world_endpoint(CONF_ENDPOINT_DNS, "dns a");
	world_endpoint(CONF_ENDPOINT_DNS, "dns b");
	w.ep_look[0] = ACT_UNKNOWN;
	w.ep_prove[1] = ACT_REFUSED;
	world_run();
	world_expect("dns_current", CHECK_REFUSE, "dns a: its present value could not be asked: no answer",
		"servers answer");
	world_expect(
		"dns_update", CHECK_REFUSE, "dns b: an update that changes nothing failed: BADKEY", "tsig");
	world_free();

	world_new(CONF_TARGET);
	world_endpoint(CONF_ENDPOINT_DNS, "dns a");
	w.ep_spread[0] = ACT_REFUSED;
	world_run();
	world_expect("dns_current", CHECK_WARN, "ns2 shows the other side", "zone transfers");
	world_expect("dns_update", CHECK_OK, "can be switched", NULL);
	world_free();

	world_new(CONF_TARGET);
	world_run();
	world_expect("dns_current", CHECK_SKIP, "no endpoint of kind dns", NULL);
	world_expect("dns_update", CHECK_SKIP, "no endpoint of kind dns", NULL);
	world_free();
}

static void test_dns_ttl(void **state)
{
	static const struct {
		int64_t there, configured;
		enum check_result result;
		const char *seen, *hint;
	} cases[] = {
		{5, 5, CHECK_OK, "dns a: 5 s", NULL},
		{3600, 5, CHECK_WARN, "a TTL of 3600 s, the configuration says 5 s", "wait 3600 s"},
		{300, 300, CHECK_WARN, "a TTL of 300 s:", "lower it"},
		{1, 60, CHECK_OK, "1 s", NULL},
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		world_new(CONF_TARGET);
		world_endpoint(CONF_ENDPOINT_DNS, "dns a")->ttl_s = cases[i].configured;
		w.ep_ttl_s[0] = cases[i].there;
		world_run();
		world_expect("dns_ttl", cases[i].result, cases[i].seen, cases[i].hint);
		world_free();
	}
	world_new(CONF_TARGET);
	world_endpoint(CONF_ENDPOINT_DNS, "dns a");
	w.ep_look[0] = ACT_UNKNOWN;
	world_run();
	world_expect("dns_ttl", CHECK_SKIP, "not known: no answer", NULL);
	world_free();
}

static void test_no_adapter(void **state)
{
	(void)state;
	world_new(CONF_TARGET);
	world_endpoint(CONF_ENDPOINT_ROUTE53, "route53 a");
	world_endpoint(CONF_ENDPOINT_DNS, "dns a");
	w.ops[0] = w.ops[1] = NULL;
	w.pair->fence[0].kind = CONF_FENCE_SECURITY_GROUP;
	world_run();
	world_expect("route53", CHECK_REFUSE, "this build has no adapter", "hook endpoint");
	world_expect("dns_current", CHECK_REFUSE, "this build has no adapter", "hook endpoint");
	world_expect("dns_update", CHECK_REFUSE, "this build has no adapter", "hook endpoint");
	world_expect("security_groups", CHECK_REFUSE, "fences of kind security_group", "hook fence");
	world_free();

	world_new(CONF_TARGET);
	world_endpoint(CONF_ENDPOINT_ROUTE53, "route53 a");
	world_run();
	world_expect("route53", CHECK_OK, "route53 a", NULL);
	world_free();
}

/* --- hooks
 * ---------------------------------------------------------------------------------------------------- */

static void test_hook_files(void **state)
{
	static const char *url[] = {"https://chat.example.com/webhook"}, *missing[] = {"/nonexistent/hook"},
			  *fine[] = {"/bin/true"};
	char plain[] = "/tmp/flipd-hook-XXXXXX";
	const char *plain_list[] = {plain};
	int fd = mkstemp(plain);

	(void)state;
	assert_true(fd >= 0);
	close(fd);
	world_new(CONF_TARGET);
	w.pair->conf.hooks.after_open = (struct conf_list){.n = 1, .v = url};
	w.pair->conf.hooks.before_fence = (struct conf_list){.n = 1, .v = fine};
	world_run();
	world_expect("hooks", CHECK_OK, "all 2 hooks", NULL);
	world_free();

	world_new(CONF_TARGET);
	w.pair->conf.hooks.on_stuck = (struct conf_list){.n = 1, .v = missing};
	world_run();
	world_expect("hooks", CHECK_REFUSE, "/nonexistent/hook (on_stuck) cannot be run: No such file",
		"chmod 755");
	world_free();

	world_new(CONF_TARGET);
	w.pair->conf.hooks.after_end = (struct conf_list){.n = 1, .v = plain_list};
	world_run();
	world_expect("hooks", CHECK_REFUSE, "(after_end) cannot be run: it is no file", "chmod 755");
	world_free();
	unlink(plain);

	world_new(CONF_TARGET);
	world_run();
	world_expect("hooks", CHECK_SKIP, "has no hooks", NULL);
	world_free();
}

/* read_only and a hook, as target's fence. */
static void hook_fence(bool alone)
{
	static struct conf_fence both[] = {
		{.kind = CONF_FENCE_READ_ONLY}, {.kind = CONF_FENCE_HOOK, .hook_path = "/bin/true"}};
	struct conf_server *s = &w.pair->conf.side[CONF_TARGET];

	s->fences = alone ? &both[1] : both;
	s->nfences = alone ? 1 : 2;
}

static void test_hook_checks(void **state)
{
	(void)state;
	world_new(CONF_TARGET);
	world_endpoint(CONF_ENDPOINT_HOOK, "hook /bin/true")->path = "/bin/true";
	w.ep_prove[0] = ACT_REFUSED;
	world_run();
	world_expect("hooks", CHECK_REFUSE, "its action check failed: BADKEY", "FLIPD_ACTION=check");
	world_free();

	world_new(CONF_TARGET);
	hook_fence(false);
	w.fence_check = ACT_REFUSED;
	world_run();
	world_expect("hooks", CHECK_REFUSE, "fence hook cannot be used: exit 3", "exit 0");
	assert_string_equal(world_result("hooks")->server, "target");
	world_free();

	world_new(CONF_TARGET);
	hook_fence(false);
	world_run();
	world_expect("hooks", CHECK_OK, "all 1 hooks", NULL);
	world_expect("security_groups", CHECK_SKIP, "no side", NULL);
	world_free();

	world_new(CONF_TARGET);
	hook_fence(true);
	world_run();
	world_expect("hooks", CHECK_REFUSE, "target: its fence is a hook alone",
		"fence: [read_only, {hook: ...}]");
	world_free();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reverse),
		cmocka_unit_test(test_reverse_there_already),
		cmocka_unit_test(test_reverse_no_log),
		cmocka_unit_test(test_reverse_behind_a_backup),
		cmocka_unit_test(test_reverse_session_dies),
		cmocka_unit_test(test_reverse_not_removed),
		cmocka_unit_test(test_reverse_removal_lost),
		cmocka_unit_test(test_reverse_cancelled),
		cmocka_unit_test(test_probe),
		cmocka_unit_test(test_probe_not_configured),
		cmocka_unit_test(test_probe_walks_through),
		cmocka_unit_test(test_probe_new_open),
		cmocka_unit_test(test_dns_current),
		cmocka_unit_test(test_dns_faults),
		cmocka_unit_test(test_dns_ttl),
		cmocka_unit_test(test_no_adapter),
		cmocka_unit_test(test_hook_files),
		cmocka_unit_test(test_hook_checks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
