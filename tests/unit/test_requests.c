/* test_resolve: an operator's word while another asks what would follow from one. The flip is the test's own.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

#include "daemon/commands.h"
#include "daemon/run.h"
#include "daemon/server.h"
#include "daemon/watch.h"
#include "lib/base/arena.h"
#include "lib/io/work.h"
#include "tests/unit/peer.h"

static struct server server;
static struct run *stuck;
static struct fiber_cond looked;
static bool looking;
static struct flip_word word; /* the flip's */
static int said, begun;

int __wrap_flip_explain(
	struct flip *f, const struct flip_word *, char **ret_text, bool *ret_may_lose, struct err *);
int __wrap_flip_set_word(struct flip *, const struct flip_word *, struct err *);
enum flip_state __wrap_flip_get_state(const struct flip *);
const char *__wrap_flip_id(const struct flip *);
struct wire *__wrap_flip_document(const struct flip *, bool whole);
void __wrap_run_begin(struct run *, bool recover);

/* The servers are looked at with that word, and then the flip has its own back. */
int __wrap_flip_explain(
	struct flip *f, const struct flip_word *w, char **ret_text, bool *ret_may_lose, struct err *err)
{
	const struct flip_word before = word;
	(void)f, (void)err;

	looking = true;
	word = *w;
	(void)fiber_cond_wait(&looked, CLOCK_FOREVER);
	word = before;
	looking = false;
	*ret_text = xstrdup("");
	*ret_may_lose = false;
	return 0;
}

int __wrap_flip_set_word(struct flip *f, const struct flip_word *w, struct err *err)
{
	(void)f, (void)err;
	word = *w;
	said++;
	return 0;
}

enum flip_state __wrap_flip_get_state(const struct flip *f)
{
	(void)f;
	return FLIP_STUCK;
}

const char *__wrap_flip_id(const struct flip *f)
{
	(void)f;
	return "20260101-000000";
}

struct wire *__wrap_flip_document(const struct flip *f, bool whole)
{
	(void)f, (void)whole;
	return wire_object();
}

void __wrap_run_begin(struct run *run, bool recover)
{
	(void)run;
	assert_true(recover);
	assert_true(word.said);
	assert_int_equal(word.side, CONF_SOURCE);
	begun++;
}

static void ask(void *arg)
{
	bool explain = arg != NULL;
	struct wire *args = wire_object();
	struct request r = {.server = &server, .command = command_find("resolve"), .args = args};
	struct strbuf answer = {0};
	struct err err = {0};

	wire_set_str(args, "name", "a");
	wire_set_str(args, "side", explain ? "target" : "source");
	wire_set_str(args, "as", "dead");
	wire_set_bool(args, "explain", explain);
	assert_int_equal(command_resolve(&r, &answer, &err), 0);
	strbuf_free(&answer);
	wire_free(args);
}

static void body_said_while_explained(void *arg)
{
	struct cluster *c = xcalloc(1, sizeof(*c));
	struct live live = {.cluster = c};
	struct watched w = {.server = &server, .name = "a", .live = &live, .configured = true};
	struct watched *list[] = {&w};
	static int explain;
	(void)arg;

	assert_int_equal(work_init(), 0);
	stuck = w.run = xcalloc(1, sizeof(*stuck));
	*stuck = (struct run){.watched = &w, .live = &live, .refs = 1};
	server.watched = list;
	server.nwatched = 1;
	struct fiber *asks = fiber_spawn("explain", ask, &explain);
	for (int i = 0; i < 1000 && !looking; i++)
		(void)fiber_sleep_ms(1);
	assert_true(looking);
	struct fiber *tells = fiber_spawn("resolve", ask, NULL);
	for (int i = 0; i < 100 && !said; i++)
		(void)fiber_sleep_ms(1);
	fiber_cond_signal(&looked);
	fiber_join(asks);
	fiber_join(tells);
	assert_int_equal(said, 1);
	assert_int_equal(begun, 1);
	assert_true(word.said);
	free(stuck);
	free(c);
	assert_int_equal(work_free(), 0);
}

/* Told to stop, flipd begins no recovery that it would cut off at once. */
static void body_resolve_as_it_stops(void *arg)
{
	struct live live = {.cluster = NULL};
	struct watched w = {.server = &server, .name = "a", .live = &live, .configured = true};
	struct watched *list[] = {&w};
	struct wire *args = wire_object();
	struct request r = {.server = &server, .command = command_find("resolve"), .args = args};
	struct strbuf answer = {0};
	struct err err = {0};
	(void)arg;

	assert_int_equal(work_init(), 0);
	stuck = w.run = xcalloc(1, sizeof(*stuck));
	*stuck = (struct run){.watched = &w, .live = &live, .refs = 1};
	server.watched = list;
	server.nwatched = 1;
	server.stopping = true;
	begun = said = 0;
	wire_set_str(args, "name", "a");
	wire_set_str(args, "side", "source");
	wire_set_str(args, "as", "dead");
	assert_int_equal(command_resolve(&r, &answer, &err), -EBUSY);
	assert_int_equal(said, 0);
	assert_int_equal(begun, 0);
	server.stopping = false;
	wire_free(args);
	strbuf_free(&answer);
	free(stuck);
	assert_int_equal(work_free(), 0);
}

static void test_resolve_as_it_stops(void **state)
{
	(void)state;
	peer_run(body_resolve_as_it_stops);
}

/* What a configuration may not say a request may not either. */
static void body_flip_with_limits_out_of_bounds(void *arg)
{
	static const struct {
		const char *key, *value;
	} limits[] = {
		{"max_lag", "9223372036854775807us"},
		{"max_lag", "2h"},
		{"max_blackout", "9223372036854775807us"},
		{"max_blackout", "11m"},
		{"max_blackout", "0s"},
	};
	struct watched w = {.server = &server, .name = "a", .configured = true};
	struct watched *list[] = {&w};
	(void)arg;

	assert_int_equal(work_init(), 0);
	server.watched = list;
	server.nwatched = 1;
	for (size_t i = 0; i < COUNT_OF(limits); i++) {
		struct wire *args = wire_object();
		struct request r = {.server = &server, .command = command_find("flip"), .args = args};
		struct strbuf answer = {0};
		struct err err = {0};

		wire_set_str(args, "name", "a");
		wire_set_str(args, "to", "target");
		wire_set_str(args, limits[i].key, limits[i].value);
		assert_int_equal(command_flip(&r, &answer, &err), -EINVAL);
		assert_non_null(strstr(err.message, limits[i].key));
		wire_free(args);
	}
	assert_null(w.run);
	assert_int_equal(work_free(), 0);
}

static void test_flip_with_limits_out_of_bounds(void **state)
{
	(void)state;
	peer_run(body_flip_with_limits_out_of_bounds);
}

/* What prepare writes is logged: no flip runs beside it. */
static void body_flip_beside_prepare(void *arg)
{
	struct live live = {0};
	struct watched w = {
		.server = &server, .name = "a", .live = &live, .configured = true, .preparing = 1};
	struct watched *list[] = {&w};
	struct wire *args = wire_object();
	struct request r = {.server = &server, .command = command_find("flip"), .args = args};
	struct strbuf answer = {0};
	struct err err = {0};
	(void)arg;

	assert_int_equal(work_init(), 0);
	server.stopping = false;
	server.watched = list;
	server.nwatched = 1;
	wire_set_str(args, "name", "a");
	wire_set_str(args, "to", "target");
	assert_int_equal(command_flip(&r, &answer, &err), -EBUSY);
	assert_non_null(strstr(err.message, "prepare"));
	assert_null(w.run);
	wire_free(args);
	assert_int_equal(work_free(), 0);
}

static void test_flip_beside_prepare(void **state)
{
	(void)state;
	peer_run(body_flip_beside_prepare);
}

static void test_said_while_explained(void **state)
{
	(void)state;
	peer_run(body_said_while_explained);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_said_while_explained),
		cmocka_unit_test(test_resolve_as_it_stops),
		cmocka_unit_test(test_flip_with_limits_out_of_bounds),
		cmocka_unit_test(test_flip_beside_prepare),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
