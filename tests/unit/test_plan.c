/* test_plan: what `flipctl plan` prints, line by line: nothing that a flip sends is missing, in its order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "lib/base/str.h"
#include "lib/flip/flip.h"
#include "lib/model/wire.h"

#define ACCOUNTS "defaults: {user: flipd, password: x, replication: {user: repl, password: sesame}%s}\n"
#define DNS                                                                                                  \
	"{dns: {name: db.example.com., zone: example.com., type: CNAME, ttl: 5s, servers: ['10.0.0.53'], "   \
	"source: a.example.com., target: b.example.com.}}"

static struct conf *conf;
static struct cluster *cluster;

static void begin(const char *policy, const char *target, const char *rest)
{
	struct conf_errors errors = {0};
	struct strbuf b = {0};
	struct err err = {0};

	strbuf_addf(&b, ACCOUNTS "clusters: {c: {source: {host: 10.1.0.5}, target: {host: 10.2.0.5%s}%s}}\n",
		policy, target, rest);
	if (conf_load_text(b.data, b.len, "plan.yaml", &conf, &errors) < 0)
		fail_msg("%s", errors.v[0]);
	conf_errors_free(&errors);
	strbuf_free(&b);
	assert_int_equal(cluster_new(conf, &conf->clusters[0], &cluster, &err), 0);
	for (int i = 0; i < 2; i++) {
		struct facts *f = &cluster->side[i].facts;
		f->up = true;
		f->id.server_id = (uint32_t)i + 1;
	}
}

static void end(void)
{
	cluster_free(cluster);
	conf_unref(conf);
}

/* New replicates from old; from elsewhere, too, on a connection that comes first. */
static void replicates(const char *using_gtid)
{
	struct facts *f = &cluster->side[1].facts;

	f->nchannels = 2;
	f->channels[0].master_server_id = 77;
	str_copy(f->channels[0].using_gtid, sizeof(f->channels[0].using_gtid), "No");
	f->channels[1].master_server_id = 1;
	str_copy(f->channels[1].using_gtid, sizeof(f->channels[1].using_gtid), using_gtid);
}

static struct wire *plan_to(enum conf_side to)
{
	struct wire *doc = NULL;
	struct err err = {0};

	assert_int_equal(flip_plan(cluster, to, &doc, &err), 0);
	assert_string_equal(wire_get_str(doc, "cluster"), "c");
	assert_string_equal(wire_get_str(doc, "to"), conf_side_name(to));
	return doc;
}

/* Each as "step server kind"; a part of its text behind a "|". */
static void expect(const struct wire *doc, const char *const *lines)
{
	const struct wire *list = wire_get(doc, "steps");
	size_t i = 0;

	for (; lines[i]; i++) {
		const struct wire *s = wire_at(list, i);
		const char *server = wire_get_str(s, "server"), *bar = strchr(lines[i], '|');
		char head[100];

		if (!s)
			fail_msg("no %zu. line: %s", i + 1, lines[i]);
		(void)snprintf(head, sizeof(head), "%s %s %s", wire_get_str(s, "name"), server ? server : "-",
			wire_get_str(s, "kind"));
		if (strncmp(head, lines[i], strlen(head)) != 0 ||
			(bar && (size_t)(bar - lines[i]) != strlen(head)))
			fail_msg("line %zu is %s, not %s", i + 1, head, lines[i]);
		if (bar && !strstr(wire_get_str(s, "text"), bar + 1))
			fail_msg("%s: no %s in: %s", head, bar + 1, wire_get_str(s, "text"));
		if (strstr(wire_get_str(s, "text"), "sesame"))
			fail_msg("%s shows a password", head);
	}
	assert_int_equal(wire_len(list), i);
}

static void test_guarded(void **state)
{
	static const char *const lines[] = {"lock source sql|GET_LOCK('flipd.c'", "lock target sql|GET_LOCK",
		"lock source sql|'running'", "flush source sql|FLUSH LOCAL TABLES",
		"drain target sql|rpl_semi_sync", "drain source wait|low lag",
		"events source sql|event_scheduler=OFF", "fence source sql|SET GLOBAL read_only=1",
		"kill source sql|KILL HARD CONNECTION <ID>; ", "coordinates source sql|read_only",
		"endpoints - dns|b.example.com.", "intent - wait|durable",
		"open target sql|MASTER_GTID_WAIT('<POSITION>'", "open target sql|event_scheduler=ON",
		"sync target sql|MASTER_GTID_WAIT", "detach target sql|RESET SLAVE",
		"reverse source sql|SET GLOBAL gtid_slave_pos='<POSITION>'; CHANGE MASTER TO",
		"flush_again source sql|FLUSH LOCAL TABLES", "propagate - wait|every authoritative server",
		"finish target sql|rpl_semi_sync", "finish target sql|'closed'",
		"finish source sql|RELEASE_LOCK", "finish target sql|RELEASE_LOCK", NULL};
	struct wire *doc;

	(void)state;
	begin("", "", ", endpoints: [" DNS "]");
	replicates("Slave_Pos");
	str_copy(
		cluster->side[0].facts.event_scheduler, sizeof(cluster->side[0].facts.event_scheduler), "ON");
	cluster->side[1].facts.semi_sync_master = true;
	doc = plan_to(CONF_TARGET);
	expect(doc, lines);
	wire_free(doc);
	end();
}

/* The plain order: what is proven comes before the intent, and the opening is a plain statement. */
static void test_plain(void **state)
{
	static const char *const lines[] = {"lock source sql", "lock target sql", "lock source sql",
		"drain - exec|/bin/quiet", "drain source wait", "fence source sql", "kill source sql",
		"coordinates source sql", "sync target sql|MASTER_POS_WAIT('<FILE>', <POSITION>, 1)",
		"verify source sql|SELECT COUNT(*) AS value FROM `<DATABASE>`.`<EACH TABLE>`",
		"verify target sql|", "intent - wait", "open target sql|SET GLOBAL read_only=0",
		"open target exec|/bin/gate", "detach target sql",
		"reverse source sql|MASTER_LOG_FILE='<FILE>'", "repoint r1 wait|reaches the final position",
		"repoint r1 sql|MASTER_HOST=", "propagate - http|https://tell.example.com",
		"propagate - dns|b.example.com.", "propagate - wait", "finish target sql",
		"finish source sql", "finish target sql", "finish - exec|/bin/told", NULL};
	struct wire *doc;

	(void)state;
	begin(", flush: never, verify: counts", ", fence: [read_only, {hook: {path: /bin/gate}}]",
		", replicas: [{name: r1, host: 10.1.0.6}], hooks: {before_fence: [/bin/quiet], after_open: "
		"['https://tell.example.com/'], after_end: [/bin/told]}, endpoints: [{dns: {name: "
		"db.example.com., zone: "
		"example.com., "
		"type: CNAME, ttl: 5s, servers: ['10.0.0.53'], source: a.example.com., target: "
		"b.example.com., "
		"order: after_open}}]");
	replicates("No");
	doc = plan_to(CONF_TARGET);
	expect(doc, lines);
	wire_free(doc);
	end();
}

/* By file and with further replicas the plain order is needed; without them it is not. */
static void test_file(void **state)
{
	struct wire *doc;
	char *text;

	(void)state;
	for (int replicas = 0; replicas < 2; replicas++) {
		begin("", "", replicas ? ", replicas: [{name: r1, host: 10.1.0.6}]" : "");
		replicates("No");
		doc = plan_to(CONF_TARGET);
		text = wire_dump(doc, 0);
		assert_int_equal(!strstr(text, "SET GLOBAL read_only=0"), !replicas);
		assert_non_null(strstr(text, "MASTER_POS_WAIT"));
		assert_null(strstr(text, "GTID_WAIT"));
		free(text);
		wire_free(doc);
		end();
	}
}

/* A fence outside old is closed with it, and is not opened by the flip; nothing is known of servers that are
 * down. */
static void test_way_back(void **state)
{
	static const char *const lines[] = {"lock target sql", "lock source sql", "lock target sql",
		"flush target sql", "drain target wait", "fence target sql|read_only=1",
		"fence target exec|/bin/gate", "kill target sql", "coordinates target sql", "intent - wait",
		"open source sql|MASTER_GTID_WAIT", "sync source sql", "detach source sql",
		"reverse target sql|MASTER_HOST='10.1.0.5'", "flush_again target sql", "propagate - wait",
		"finish source sql", "finish target sql", "finish source sql", NULL};
	struct wire *doc;

	(void)state;
	begin("", ", fence: [read_only, {hook: {path: /bin/gate}}]", "");
	memset(&cluster->side[1].facts, 0, sizeof(cluster->side[1].facts));
	doc = plan_to(CONF_SOURCE);
	expect(doc, lines);
	wire_free(doc);
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_guarded),
		cmocka_unit_test(test_plain),
		cmocka_unit_test(test_file),
		cmocka_unit_test(test_way_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
