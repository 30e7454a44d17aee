/* The preflight as a whole: order, faults, cancel, lowered checks, and what is printed of it. */
#include "tests/unit/preflight_world.h"

#include "lib/model/wire.h"

static void test_healthy(void **state)
{
	(void)state;
	for (int to = 0; to < 2; to++) {
		world_new((enum conf_side)to);
		world_endpoint(CONF_ENDPOINT_DNS, "dns db.example.com.");
		world_endpoint(CONF_ENDPOINT_HOOK, "hook /bin/true")->path = "/bin/true";
		world_run();
		assert_int_equal(w.rc, 0);
		assert_true(w.result.ready);
		assert_int_equal(w.result.n, checks_count);
		for (int i = 0; i < checks_count; i++) {
			const struct check_out *out = &w.result.results[i];
			bool absent = str_eq(out->name, "route53") || str_eq(out->name, "security_groups");

			assert_string_equal(out->name, checks[i].name);
			if (out->result != (absent ? CHECK_SKIP : CHECK_OK))
				fail_msg("%s: %s: %s", out->name, check_result_name(out->result), out->seen);
		}
		world_expect("lag", CHECK_OK, "3 ms behind by the heartbeat", NULL);
		world_free();
	}
}

/* new's position may be held against old's log only if old was looked at later. */
static void test_old_is_last(void **state)
{
	(void)state;
	for (int to = 0; to < 2; to++) {
		const char *old_look, *new_look;

		world_new((enum conf_side)to);
		world_run();
		old_look = strstr(w.calls, to == CONF_TARGET ? "facts:0" : "facts:1");
		new_look = strstr(w.calls, to == CONF_TARGET ? "facts:1" : "facts:0");
		assert_non_null(old_look);
		assert_true(new_look && new_look < old_look);
		assert_non_null(strstr(w.calls, "facts:2"));
		world_free();
	}
}

static void test_side_down(void **state)
{
	(void)state;
	for (int seat = 0; seat < 3; seat++) {
		world_new(CONF_TARGET);
		w.down[seat] = true;
		world_run();
		assert_int_equal(w.rc, 0);
		assert_int_equal(w.result.ready, seat == 2);
		world_expect("connect", seat == 2 ? CHECK_WARN : CHECK_REFUSE, "does not answer", NULL);
		if (seat < 2) {
			world_expect("replicating", CHECK_SKIP, NULL, NULL);
			world_expect("reverse_path", CHECK_SKIP, NULL, NULL);
			world_expect("fence_probe", CHECK_SKIP, NULL, NULL);
			assert_null(strstr(w.calls, "try"));
		}
		world_free();
	}
}

static void test_lowered(void **state)
{
	(void)state;
	world_new(CONF_TARGET);
	w.pair->new->read_only = false;
	w.pair->lower[0] = (struct conf_lowered){"standby_fenced", CONF_LOWER_WARN};
	w.pair->conf.policy.lower = w.pair->lower;
	w.pair->conf.policy.nlower = 1;
	world_run();
	world_expect("standby_fenced", CHECK_WARN, "lowered from refuse", "SET GLOBAL read_only = 1");
	world_expect("single_master", CHECK_REFUSE, NULL, NULL);
	assert_false(w.result.ready);
	world_free();

	world_new(CONF_TARGET);
	w.reverse = ACT_REFUSED;
	w.pair->lower[0] = (struct conf_lowered){"reverse_path", CONF_LOWER_SKIP};
	w.pair->conf.policy.lower = w.pair->lower;
	w.pair->conf.policy.nlower = 1;
	world_run();
	world_expect("reverse_path", CHECK_SKIP, "preflight: {reverse_path: skip}", NULL);
	assert_null(strstr(w.calls, "try"));
	world_free();
}

/* A cancel at any moment ends it soon, with everything closed, and the trial connection removed. */
static void test_cancel(void **state)
{
	(void)state;
	for (int ms = 0; ms < 14; ms++) {
		const char *tried, *removed;

		world_new(CONF_TARGET);
		world_endpoint(CONF_ENDPOINT_DNS, "dns db.example.com.");
		w.cancel_after_ms = ms;
		world_run();
		assert_true(w.rc == 0 || w.rc == -ECANCELED);
		tried = strstr(w.calls, "try ");
		removed = strstr(w.calls, "remove ");
		assert_int_equal(tried != NULL, removed != NULL);
		assert_null(strstr(w.calls, "try-cancelled"));
		world_free();
	}
	world_new(CONF_TARGET);
	w.hang[1] = true;
	w.cancel_after_ms = 5;
	world_run();
	assert_int_equal(w.rc, -ECANCELED);
	assert_non_null(strstr(w.err.message, "preflight of shard1"));
	world_free();
}

/* A side that hangs: the time given is kept, and the rest is judged. */
static void test_hang(void **state)
{
	int64_t begun = clock_ms();

	(void)state;
	world_new(CONF_TARGET);
	w.hang[1] = true;
	world_run();
	assert_int_equal(w.rc, 0);
	assert_true(clock_ms() - begun < 4000);
	world_expect("connect", CHECK_REFUSE, "timed out", NULL);
	world_free();
}

static void test_row_arrives(void **state)
{
	(void)state;
	world_new(CONF_TARGET);
	str_copy(w.pair->new->flip_row_id, sizeof(w.pair->new->flip_row_id), "flip-9");
	w.row_looks = 3;
	world_run();
	world_expect("unfinished_flip", CHECK_OK, NULL, NULL);
	world_free();

	world_new(CONF_TARGET);
	str_copy(w.pair->old->flip_row_id, sizeof(w.pair->old->flip_row_id), "flip-9");
	world_run();
	world_expect("unfinished_flip", CHECK_REFUSE, "flip-9", "flipctl resolve shard1");
	assert_false(w.result.ready);
	world_free();
}

static void test_judge_background(void **state)
{
	struct arena *arena = arena_new();
	struct pair *p = pair_new(CONF_TARGET);
	struct preflight all, background;

	(void)state;
	p->old->nsessions = p->new->nsessions = 0;
	preflight_judge(&p->in, true, arena, &background);
	preflight_judge(&p->in, false, arena, &all);
	assert_true(background.ready && all.ready);
	assert_true(background.n > 15 && background.n < all.n && all.n < checks_count);
	for (int i = 0; i < background.n; i++) {
		assert_true(pair_check(background.results[i].name)->background);
		assert_int_equal(background.results[i].result, CHECK_OK);
	}
	p->new->read_only = false;
	preflight_judge(&p->in, true, arena, &background);
	assert_false(background.ready);
	free(p);
	arena_free(arena);
}

static void test_say(void **state)
{
	struct check_out out = {0};

	(void)state;
	check_say(&out, CHECK_OK, "source", "fine");
	check_say(&out, CHECK_SKIP, "target", "not seen");
	assert_int_equal(out.result, CHECK_SKIP);
	check_say(&out, CHECK_WARN, "source", "odd");
	check_hint(&out, "look");
	check_say(&out, CHECK_SKIP, "target", "not seen either");
	assert_string_equal(out.seen, "odd");
	check_say(&out, CHECK_REFUSE, "target", "bad");
	assert_string_equal(out.seen, "bad; odd");
	assert_string_equal(out.server, "target");
	assert_string_equal(out.hint, "");
	check_hint(&out, "mend %d", 1);
	check_hint(&out, "mend %d", 1);
	check_say(&out, CHECK_REFUSE, "source", "worse");
	check_hint(&out, "mend %d", 2);
	check_say(&out, CHECK_OK, "source", "fine");
	assert_string_equal(out.seen, "bad; odd; worse");
	assert_string_equal(out.hint, "mend 1; mend 2");
	assert_string_equal(out.server, "");
	assert_int_equal(out.result, CHECK_REFUSE);
}

static void test_say_long(void **state)
{
	struct check_out out = {0};
	char text[600];

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	check_say(&out, CHECK_WARN, text, "%s", text);
	check_hint(&out, "%s", text);
	check_say(&out, CHECK_WARN, "target", "more");
	assert_int_equal(strlen(out.seen), sizeof(out.seen) - 1);
	assert_int_equal(strlen(out.hint), sizeof(out.hint) - 1);
	assert_null(strstr(out.seen, "more"));
}

static void test_table(void **state)
{
	char *text = preflight_print();

	(void)state;
	for (int i = 0; i < checks_count; i++) {
		assert_true(checks[i].name && checks[i].question);
		assert_true((checks[i].judge != NULL) != (checks[i].prove != NULL));
		assert_false(checks[i].background && checks[i].prove);
		assert_non_null(strstr(text, checks[i].name));
		assert_non_null(strstr(text, checks[i].question));
		for (int j = 0; j < i; j++)
			assert_string_not_equal(checks[i].name, checks[j].name);
	}
	free(text);
	assert_string_equal(check_result_name(CHECK_REFUSE), "refuse");
	assert_string_equal(check_result_name(CHECK_OK), "ok");
	assert_string_equal(check_result_name(CHECK_WARN), "warn");
	assert_string_equal(check_result_name(CHECK_SKIP), "skip");
}

static void test_wire(void **state)
{
	struct check_out results[2] = {{.name = "connect"}, {.name = "lag"}};
	const struct preflight p = {.n = 2, .results = results, .ready = true};
	struct wire *list;
	char *text;

	(void)state;
	check_say(&results[0], CHECK_OK, NULL, "fine");
	check_say(&results[1], CHECK_WARN, "target", "\"7 s\"");
	check_hint(&results[1], "wait");
	list = preflight_wire(&p);
	text = wire_dump(list, 0);
	assert_string_equal(text,
		"[{\"name\":\"connect\",\"server\":null,\"result\":\"ok\",\"seen\":\"fine\",\"hint\":null},"
		"{\"name\":\"lag\",\"server\":\"target\",\"result\":\"warn\",\"seen\":\"\\\"7 s\\\"\","
		"\"hint\":\"wait\"}]");
	free(text);
	wire_free(list);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_say),
		cmocka_unit_test(test_say_long),
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_wire),
		cmocka_unit_test(test_judge_background),
		cmocka_unit_test(test_healthy),
		cmocka_unit_test(test_old_is_last),
		cmocka_unit_test(test_side_down),
		cmocka_unit_test(test_lowered),
		cmocka_unit_test(test_row_arrives),
		cmocka_unit_test(test_cancel),
		cmocka_unit_test(test_hang),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
