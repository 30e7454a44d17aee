/* Tests of conf: defaults, merging, files, secrets, the way through the journal. Bad input:
 * test_conf_errors.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "lib/base/str.h"
#include "lib/model/conf.h"
#include "tests/unit/conf_text.h"

/* Every value as INTERFACES.md section 2 has it. */
static void policy_defaults(void **state)
{
	struct conf *conf = load(ACCOUNTS "clusters: {c: {" SIDES "}}\n");
	const struct conf_policy *p = &conf->clusters[0].policy;

	(void)state;
	assert_int_equal(p->max_lag_ms, 1000);
	assert_int_equal(p->max_transaction_age_ms, 2000);
	assert_int_equal(p->max_transaction_rows, 10000);
	assert_int_equal(p->drain_timeout_ms, 30000);
	assert_int_equal(p->fence_timeout_ms, 500);
	assert_int_equal(p->fence_attempts, 5);
	assert_int_equal(p->blockers, CONF_BLOCKERS_KILL);
	assert_int_equal(p->kill_timeout_ms, 5000);
	assert_int_equal(p->flush, CONF_FLUSH_AUTO);
	assert_int_equal(p->max_blackout_ms, 10000);
	assert_int_equal(p->settle_timeout_ms, 600000);
	assert_int_equal(p->on_restart, CONF_RESTART_ROLL_BACK);
	assert_int_equal(p->recover_within_ms, 3600000);
	assert_int_equal(p->guard, CONF_GUARD_ALARM);
	assert_int_equal(p->verify, CONF_VERIFY_NONE);
	assert_string_equal(p->heartbeat_schema, "flipd");
	assert_int_equal(p->heartbeat_interval_ms, 1000);
	assert_null(p->heartbeat_account.user);
	assert_null(p->fence_probe.user);
	assert_int_equal(p->probe_via, CONF_VIA_SERVERS);
	assert_int_equal(p->probe_interval_us, 10000);
	assert_int_equal(p->exempt_users.n, 0);
	assert_int_equal(p->lock_accounts.n, 0);
	assert_false(p->keep_text);
	assert_int_equal(p->nlower, 0);
	conf_unref(conf);
}

static void other_defaults(void **state)
{
	struct conf *conf = load(ACCOUNTS "clusters: {c: {" SIDES "}}\ngroups: {g: {clusters: [c]}}\n");
	const struct conf_server *s = &conf->clusters[0].side[CONF_TARGET];

	(void)state;
	assert_string_equal(conf->daemon.state_dir, "/var/lib/flipd");
	assert_string_equal(conf->daemon.control_socket, "/run/flipd/control.sock");
	assert_null(conf->daemon.control_group);
	assert_string_equal(conf->daemon.status_host, "127.0.0.1");
	assert_int_equal(conf->daemon.status_port, 9633);
	assert_int_equal(conf->daemon.poll_interval_ms, 1000);
	assert_string_equal(conf->file, "t.yaml");
	assert_string_equal(s->name, "target");
	assert_string_equal(s->host, "b");
	assert_int_equal(s->port, 3306);
	assert_null(s->socket);
	assert_string_equal(s->replication_host, "b");
	assert_int_equal(s->replication_port, 3306);
	assert_int_equal(s->flavor, CONF_FLAVOR_AUTO);
	assert_string_equal(s->account.user, "flipd");
	assert_string_equal(s->account.password, "own");
	assert_string_equal(s->replication.user, "repl");
	assert_int_equal(s->tls.mode, CONF_TLS_PREFERRED);
	assert_int_equal(s->nfences, 1);
	assert_int_equal(s->fences[0].kind, CONF_FENCE_READ_ONLY);
	assert_int_equal(s->boots_fenced, -1);
	assert_false(conf->groups[0].barrier);
	assert_int_equal(conf->groups[0].max_parallel, 8);
	conf_unref(conf);
}

static void empty_is_a_configuration(void **state)
{
	static const char *const texts[] = {
		"", "# nothing\n", "{}", "clusters:\n", "daemon:\ndefaults:\nclusters: {}\n"};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(texts); i++) {
		struct conf *conf = load(texts[i]);

		assert_int_equal(conf->nclusters, 0);
		conf_unref(conf);
	}
}

static void levels_merge(void **state)
{
	struct conf *conf = load("defaults:\n"
				 "  user: d\n"
				 "  password: dp\n"
				 "  port: 3310\n"
				 "  replication: {user: repl, password: rp}\n"
				 "  tls: {mode: required}\n"
				 "  max_lag: 3s\n"
				 "  sessions: {exempt_users: [x, y], keep_text: true}\n"
				 "  preflight: {ddl: skip, locks: warn}\n"
				 "  hooks: {on_stuck: [/bin/page]}\n"
				 "clusters:\n"
				 "  c:\n"
				 "    user: c\n"
				 "    max_lag: 4s\n"
				 "    sessions: {exempt_users: [z]}\n"
				 "    preflight: {locks: skip}\n"
				 "    hooks: {after_end: [/bin/end]}\n"
				 "    replication: {user: other}\n"
				 "    source: {host: a, user: s, tls: {mode: disabled}}\n"
				 "    target: {host: b, port: 3311, password: tp}\n"
				 "    replicas: [{host: r}, {name: two, host: q}]\n"
				 "  d: {" SIDES "}\n");
	const struct conf_cluster *c = conf_find_cluster(conf, "c"), *d = conf_find_cluster(conf, "d");

	(void)state;
	assert_string_equal(c->side[0].account.user, "s");
	assert_string_equal(c->side[0].account.password, "dp");
	assert_int_equal(c->side[0].port, 3310);
	assert_int_equal(c->side[0].tls.mode, CONF_TLS_DISABLED);
	assert_string_equal(c->side[1].account.user, "c");
	assert_string_equal(c->side[1].account.password, "tp");
	assert_int_equal(c->side[1].port, 3311);
	assert_int_equal(c->side[1].tls.mode, CONF_TLS_REQUIRED);
	assert_string_equal(c->side[1].replication.user, "other");
	assert_string_equal(c->side[1].replication.password, "rp");
	assert_int_equal(c->nreplicas, 2);
	assert_string_equal(c->replicas[0].name, "r");
	assert_string_equal(c->replicas[1].name, "two");
	assert_int_equal(c->replicas[1].port, 3310);
	assert_int_equal(c->policy.max_lag_ms, 4000);
	assert_int_equal(c->policy.exempt_users.n, 1);
	assert_string_equal(c->policy.exempt_users.v[0], "z");
	assert_true(c->policy.keep_text);
	assert_int_equal(c->policy.nlower, 2);
	assert_string_equal(c->policy.lower[0].check, "ddl");
	assert_int_equal(c->policy.lower[0].to, CONF_LOWER_SKIP);
	assert_int_equal(c->policy.lower[1].to, CONF_LOWER_SKIP);
	assert_string_equal(c->hooks.on_stuck.v[0], "/bin/page");
	assert_string_equal(c->hooks.after_end.v[0], "/bin/end");
	assert_int_equal(d->policy.max_lag_ms, 3000);
	assert_int_equal(d->policy.exempt_users.n, 2);
	assert_int_equal(d->policy.lower[1].to, CONF_LOWER_WARN);
	assert_null(conf_find_cluster(conf, "e"));
	conf_unref(conf);
}

static void addresses(void **state)
{
	struct conf *conf = load(ACCOUNTS
		"daemon: {status_listen: '[::1]:80'}\n"
		"clusters: {c: {source: {host: '::1', replication_address: '[2001:db8::1]:3307'},\n"
		"  target: {host: b, port: 3400, socket: /run/b.sock, replication_address: c.example}}}\n");
	const struct conf_server *s = conf->clusters[0].side;

	(void)state;
	assert_string_equal(conf->daemon.status_host, "::1");
	assert_int_equal(conf->daemon.status_port, 80);
	assert_string_equal(s[0].replication_host, "2001:db8::1");
	assert_int_equal(s[0].replication_port, 3307);
	assert_string_equal(s[1].replication_host, "c.example");
	assert_int_equal(s[1].replication_port, 3400);
	assert_string_equal(s[1].socket, "/run/b.sock");
	conf_unref(conf);
	conf = load("daemon: {status_listen: none}\n");
	assert_null(conf->daemon.status_host);
	conf_unref(conf);
}

static void words(void **state)
{
	struct conf *conf =
		load(ACCOUNTS "clusters: {c: {" SIDES
			      ", flush: never, blockers: withdraw, on_restart: resume, guard: fence,\n"
			      "  verify: {checksum: [a.b, c.d]}, probe: {via: none, interval: 500us},\n"
			      "  heartbeat: {schema: my_flipd, interval: 250ms, user: hb, password: hp},\n"
			      "  fence_probe: {user: p, password: pp}},\n"
			      " d: {source: {host: a, boots_fenced: no, flavor: rds}, target: {host: b, "
			      "boots_fenced: true}, \n"
			      "  verify: counts}}\n");
	const struct conf_policy *p = &conf->clusters[0].policy;

	(void)state;
	assert_int_equal(p->flush, CONF_FLUSH_NEVER);
	assert_int_equal(p->blockers, CONF_BLOCKERS_WITHDRAW);
	assert_int_equal(p->on_restart, CONF_RESTART_RESUME);
	assert_int_equal(p->guard, CONF_GUARD_FENCE);
	assert_int_equal(p->verify, CONF_VERIFY_CHECKSUM);
	assert_int_equal(p->verify_tables.n, 2);
	assert_string_equal(p->verify_tables.v[1], "c.d");
	assert_int_equal(p->probe_via, CONF_VIA_NONE);
	assert_int_equal(p->probe_interval_us, 500);
	assert_string_equal(p->heartbeat_schema, "my_flipd");
	assert_int_equal(p->heartbeat_interval_ms, 250);
	assert_string_equal(p->heartbeat_account.user, "hb");
	assert_string_equal(p->heartbeat_account.password, "hp");
	assert_string_equal(p->fence_probe.password, "pp");
	assert_int_equal(conf->clusters[1].policy.verify, CONF_VERIFY_COUNTS);
	assert_int_equal(conf->clusters[1].side[0].boots_fenced, 0);
	assert_int_equal(conf->clusters[1].side[1].boots_fenced, 1);
	assert_string_equal(conf_flavor_name(conf->clusters[1].side[0].flavor), "rds");
	conf_unref(conf);
}

static void fences(void **state)
{
	struct conf *conf = load(
		"defaults: {user: u, replication: {user: r}, fence: {hook: {path: /bin/f, timeout: 2s}}}\n"
		"clusters:\n"
		"  c:\n"
		"    source: {host: a, fence: [read_only, {hook: {path: /bin/g}},\n"
		"      {security_group: {region: e, cluster_id: c, open: [o], closed: [x, y]}}]}\n"
		"    target: {host: b, fence: {hook: {timeout: 3s}}}\n"
		"  d: {source: {host: x, fence: read_only}, target: {host: y}}\n");
	const struct conf_server *s = conf->clusters[0].side, *d = conf->clusters[1].side;

	(void)state;
	assert_int_equal(s[0].nfences, 3);
	assert_int_equal(s[0].fences[0].kind, CONF_FENCE_READ_ONLY);
	assert_string_equal(s[0].fences[1].hook_path, "/bin/g");
	assert_int_equal(s[0].fences[1].hook_timeout_ms, 10000);
	assert_int_equal(s[0].fences[2].kind, CONF_FENCE_SECURITY_GROUP);
	assert_int_equal(s[0].fences[2].closed.n, 2);
	assert_string_equal(s[1].fences[0].hook_path, "/bin/f"); /* merged key by key */
	assert_int_equal(s[1].fences[0].hook_timeout_ms, 3000);
	assert_int_equal(d[0].fences[0].kind, CONF_FENCE_READ_ONLY);
	assert_int_equal(d[1].fences[0].kind, CONF_FENCE_HOOK);
	assert_int_equal(conf->nwarnings, 1);
	assert_string_equal(conf->warnings[0],
		"t.yaml:5: clusters.c.source.fence[2].security_group: "
		"comes with a later version; this one does not flip the cluster");
	assert_string_equal(conf_fence_kind_name(CONF_FENCE_HOOK), "hook");
	conf_unref(conf);
}

static void endpoints(void **state)
{
	struct conf *conf = load(
		ACCOUNTS "clusters:\n  c:\n    source: {host: a}\n    target: {host: b}\n    endpoints:\n"
			 "      - dns: {name: db.x.example, zone: X.example., type: a, servers: [10.0.0.1, "
			 "'[::1]:5353'],\n"
			 "              authoritative: ['10.0.0.2:54'], source: [10.0.0.9, 10.0.0.10], "
			 "target: 10.0.1.9}\n"
			 "      - dns: {name: db.x.example., zone: x.example, type: AAAA, ttl: 1m, servers: "
			 "10.0.0.1,\n"
			 "              source: '2001:DB8:0::1', target: '2001:db8::2'}\n"
			 "      - hook: {path: /bin/h, order: after_open}\n"
			 "      - route53: {hosted_zone_id: Z1, name: q.y., type: CNAME, source: a.b, "
			 "target: c.d.}\n");
	const struct conf_endpoint *e = conf->clusters[0].endpoints;

	(void)state;
	assert_int_equal(conf->clusters[0].nendpoints, 4);
	assert_string_equal(e[0].label, "dns db.x.example.");
	assert_string_equal(e[0].rr_name, "db.x.example.");
	assert_string_equal(e[0].type, "A");
	assert_int_equal(e[0].ttl_s, 5);
	assert_string_equal(e[0].servers.v[1], "[::1]:5353");
	assert_string_equal(e[0].authoritative.v[0], "10.0.0.2:54");
	assert_int_equal(e[0].value[CONF_SOURCE].n, 2);
	assert_string_equal(e[0].value[CONF_SOURCE].v[0], "10.0.0.10"); /* sorted */
	assert_null(e[0].tsig_name);
	assert_int_equal(e[0].order, CONF_ORDER_BEFORE_OPEN);
	assert_string_equal(e[1].label, "dns db.x.example. AAAA");
	assert_string_equal(e[1].value[CONF_SOURCE].v[0], "2001:db8::1");
	assert_int_equal(e[1].ttl_s, 60);
	assert_string_equal(e[2].label, "hook /bin/h");
	assert_int_equal(e[2].timeout_ms, 10000);
	assert_int_equal(e[2].order, CONF_ORDER_AFTER_OPEN);
	assert_int_equal(e[3].kind, CONF_ENDPOINT_ROUTE53);
	assert_string_equal(e[3].value[CONF_SOURCE].v[0], "a.b.");
	conf_unref(conf);
}

static void groups(void **state)
{
	struct conf *conf = load(ACCOUNTS "clusters: {b: {" SIDES "}, a: {" SIDES "}}\n"
					  "groups: {all: {clusters: ['*'], barrier: true, max_parallel: 2},\n"
					  "  one: {clusters: [a]}, both: {clusters: [a, '*']}}\n");
	const struct conf_group *all = conf_find_group(conf, "all"), *one = conf_find_group(conf, "one");

	(void)state;
	assert_int_equal(all->clusters.n, 2);
	assert_string_equal(all->clusters.v[0], "b"); /* in the file's order */
	assert_true(all->barrier);
	assert_int_equal(all->max_parallel, 2);
	assert_int_equal(one->clusters.n, 1);
	assert_int_equal(conf_find_group(conf, "both")->clusters.n, 2);
	assert_null(conf_find_group(conf, "a"));
	conf_unref(conf);
}

static void aliases_work(void **state)
{
	struct conf *conf =
		load("defaults: {user: u, replication: {user: r}}\n"
		     "clusters:\n"
		     "  a: {source: &s {host: x, fence: &f [read_only]}, target: {host: y, fence: *f}}\n"
		     "  b: {source: *s, target: {host: z, password: &p pw}, heartbeat: {user: h, password: "
		     "*p}}\n");

	(void)state;
	assert_string_equal(conf->clusters[1].side[0].host, "x");
	assert_string_equal(conf->clusters[1].policy.heartbeat_account.password, "pw");
	conf_unref(conf);
}

/* What comes after a URL's host, or before it, may be a token: labels and messages have the host alone. */
static void hooks_are_named_without_tokens(void **state)
{
	static const struct {
		const char *path, *name;
	} rows[] = {{"/usr/bin/h", "/usr/bin/h"}, {"https://h.example/T0KEN", "https://h.example"},
		{"http://u:T0KEN@h:8080/x?T0KEN@y", "http://h:8080"}, {"http://h?T0KEN", "http://h"},
		{"https://a@T0KEN@h#T0KEN", "https://h"}};
	char buf[64];
	struct conf *conf = load(ACCOUNTS "clusters: {c: {" SIDES
					  ", endpoints: [hook: {path: 'https://h/T0KEN1'}, hook: {path: "
					  "'https://h/T0KEN2'}]}}\n");

	(void)state;
	for (size_t i = 0; i < COUNT_OF(rows); i++)
		assert_string_equal(conf_hook_name(rows[i].path, buf, sizeof(buf)), rows[i].name);
	assert_string_equal(conf->clusters[0].endpoints[0].label, "hook https://h");
	assert_string_equal(conf->clusters[0].endpoints[1].label, "hook https://h #2");
	conf_unref(conf);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(policy_defaults),
		cmocka_unit_test(other_defaults),
		cmocka_unit_test(empty_is_a_configuration),
		cmocka_unit_test(levels_merge),
		cmocka_unit_test(addresses),
		cmocka_unit_test(words),
		cmocka_unit_test(fences),
		cmocka_unit_test(endpoints),
		cmocka_unit_test(hooks_are_named_without_tokens),
		cmocka_unit_test(groups),
		cmocka_unit_test(aliases_work),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
