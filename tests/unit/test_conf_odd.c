/* test_conf_odd: what is rarely written into a configuration: odd names, other kinds of values, large lists,
 * accounts that have changed their role since a flip was journaled. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "lib/base/str.h"
#include "lib/model/conf.h"

#define SIDES "source: {host: a}, target: {host: b}"
#define BASE "defaults: {user: u, password_env: PATH, replication: {user: r, password_env: PATH}"

static struct conf *load(const char *text)
{
	struct conf_errors errors = {0};
	struct conf *conf = NULL;

	if (conf_load_text(text, strlen(text), "t", &conf, &errors) < 0)
		fail_msg("%s\n%s", errors.v[0], text);
	conf_errors_free(&errors);
	return conf;
}

/* The first error says so. */
static void refused(const char *text, const char *says)
{
	struct conf_errors errors = {0};
	struct conf *conf = NULL;

	if (conf_load_text(text, strlen(text), "t", &conf, &errors) == 0)
		fail_msg("was taken: %.200s", text);
	if (!strstr(errors.v[0], says))
		fail_msg("%s\nnot %s", errors.v[0], says);
	conf_errors_free(&errors);
}

/* As editors and generators write it: a mark of UTF-8 before the first key, truth in capitals. */
static void other_hands(void **state)
{
	struct conf *conf = load("\xef\xbb\xbf" BASE ", boots_fenced: TRUE, sessions: {keep_text: True}}\n"
				 "clusters: {c: {" SIDES "}}\n");

	(void)state;
	assert_true(conf->clusters[0].policy.keep_text);
	assert_int_equal(conf->clusters[0].side[0].boots_fenced, 1);
	conf_unref(conf);
	conf = load("\xef\xbb\xbf");
	assert_int_equal(conf->nclusters, 0);
	conf_unref(conf);
	refused("\xef\xbb", "yaml");
}

/* A default that is nothing is a default too. */
static void nothing_is_printed(void **state)
{
	struct conf *conf = load(BASE "}\nclusters: {c: {" SIDES "}}\n");
	char *text = conf_print(conf);

	(void)state;
	assert_non_null(strstr(text, "      lock_accounts: []\n"));
	assert_non_null(strstr(text, "    preflight: {}\n"));
	free(text);
	conf_unref(conf);
	conf = load(BASE ", sessions: {lock_accounts: [a]}, preflight: {lag: skip}}\nclusters: {c: {" SIDES
			 "}}\n");
	text = conf_print(conf);
	assert_non_null(strstr(text, "lock_accounts: [a]\n"));
	assert_non_null(strstr(text, "    preflight:\n      lag: skip\n"));
	assert_null(strstr(text, "[]"));
	free(text);
	conf_unref(conf);
}

/* What a URL has before its host is a password; the rest says which of several hooks it is. */
static void a_hooks_password_is_hidden(void **state)
{
	struct conf *conf = load(BASE "}\nclusters: {c: {" SIDES ", endpoints: [hook: {path: "
				      "'http://u:T0KEN@h/a'}, hook: {path: 'http://h/b@c'}],\n"
				      "  hooks: {after_end: [/bin/true, 'https://T0KEN@h:8/x?y']}}}\n");
	char *shown = conf_print(conf), *kept = conf_print_cluster(&conf->clusters[0]);

	(void)state;
	assert_null(strstr(shown, "T0KEN"));
	assert_non_null(strstr(shown, "path: \"http://***@h/a\"\n"));
	assert_non_null(strstr(shown, "path: \"http://h/b@c\"\n"));
	assert_non_null(strstr(shown, "after_end: [/bin/true, \"https://***@h:8/x?y\"]\n"));
	assert_non_null(strstr(kept, "http://u:T0KEN@h/a"));
	assert_non_null(strstr(kept, "https://T0KEN@h:8/x?y"));
	free(shown);
	free(kept);
	conf_unref(conf);
}

#define RECORD(name, type, server, a, b)                                                                     \
	"{dns: {name: " name ", zone: z, type: " type ", servers: [" server "], source: " a ", target: " b   \
	"}}"

/* One record has one place: the same in another type, or in another view, is another. */
static void a_record_stands_once(void **state)
{
#define BEGIN BASE "}\nclusters: {c: {" SIDES ", endpoints: [\n"
	struct conf *conf = load(BEGIN RECORD("n.z", "A", "10.0.0.1", "10.0.1.1", "10.0.1.2") ",\n" RECORD(
		"n.z", "AAAA", "10.0.0.1", "'::1'", "'::2'") ",\n" RECORD("n.z", "A", "10.0.0.2", "10.0.1.1",
		"10.0.1.2") "]}}\n");

	(void)state;
	assert_string_equal(conf->clusters[0].endpoints[2].label, "dns n.z. A");
	conf_unref(conf);
	refused(BEGIN RECORD("n.z", "A", "10.0.0.1", "10.0.1.1", "10.0.1.2") ",\n" RECORD(
			"N.Z.", "A", "10.0.0.1", "10.0.1.3", "10.0.1.2") "]}}\n",
		"t:4: clusters.c.endpoints[1].dns: the same endpoint stands twice in the cluster");
#undef BEGIN
}

static void other_kinds(void **state)
{
	static const struct {
		const char *text, *says;
	} rows[] = {
		{"daemon: {poll_interval: [1s]}\n",
			"t:1: daemon.poll_interval: one value is wanted, not a list"},
		{"daemon: {status_listen: [a]}\n",
			"t:1: daemon.status_listen: one value is wanted, not a list"},
		{"daemon: {state_dir: [/a]}\n", "t:1: daemon.state_dir: one value is wanted, not a list"},
		{"defaults: {max_transaction_rows: [7]}\n",
			"t:1: defaults.max_transaction_rows: one value is wanted, not a list"},
		{"defaults: {sessions: {keep_text: {a: b}}}\n",
			"t:1: defaults.sessions.keep_text: one value is wanted, not a mapping"},
		{"defaults: {replication_address: [a]}\n",
			"t:1: defaults.replication_address: one value is wanted, not a list"},
		{"defaults: {tls: {ca: [/a]}}\n", "t:1: defaults.tls.ca: one value is wanted, not a list"},
		{"defaults: {fence: {hook: /bin/x}}\n", "fence.hook: a mapping is wanted"},
		{"groups: {g: 7}\n", "t:1: groups.g: a mapping is wanted"},
		{"groups: {-g: {clusters: [c]}}\n", "t:1: groups.-g: "},
		{"defaults: {hooks: {after_end: [[/bin/x]]}}\n", "one value is wanted, not a list"},
		{"defaults: {credential: ../x}\n", "t:1: defaults.credential: no name of a credential"},
		{BASE "}\nclusters: {c: {source: {host: -a}, target: {host: b}}}\n",
			"t:2: clusters.c.source.host: "},
	};

	(void)state;
	assert_int_equal(setenv("CREDENTIALS_DIRECTORY", "/nowhere", 1), 0);
	for (size_t i = 0; i < COUNT_OF(rows); i++)
		refused(rows[i].text, rows[i].says);
	unsetenv("CREDENTIALS_DIRECTORY");
}

static void names_in_dns(void **state)
{
	char label[80] = "", text[700];

	(void)state;
	memset(label, 'x', 64);
	(void)snprintf(text, sizeof(text),
		BASE "}\nclusters: {c: {" SIDES
		     ", endpoints: [{dns: {name: %s.example., zone: example., type: A, ttl: "
		     "5s, servers: ['10.0.0.1'], source: 10.1.0.1, target: 10.1.0.2}}]}}\n",
		label);
	refused(text, "clusters.c.endpoints[0].dns.name: ");
	refused(BASE "}\nclusters: {c: {" SIDES
		     ", endpoints: [{dns: {name: ., zone: example., type: A, ttl: 5s, "
		     "servers: ['10.0.0.1'], source: 10.1.0.1, target: 10.1.0.2}}]}}\n",
		"clusters.c.endpoints[0].dns.name: ");
}

/* Bounded: a few lines, and the many that aliases make of them, cannot fill the memory. */
static void bounds(void **state)
{
	struct strbuf b = {0};

	(void)state;
	strbuf_add(&b, "defaults: {sessions: {exempt_users: [");
	for (int i = 0; i < 10001; i++)
		strbuf_add(&b, "u,");
	strbuf_add(&b, "]}}\n");
	refused(strbuf_str(&b), "t:1: defaults.sessions.exempt_users: more than 10000 entries");
	strbuf_free(&b);
	strbuf_add(&b, "x: [");
	for (int i = 0; i < 1001; i++)
		strbuf_addf(&b, "&a%d 1,", i);
	strbuf_add(&b, "]\n");
	refused(strbuf_str(&b), "t:1: yaml: too many anchors in one file");
	strbuf_free(&b);
	for (int i = 0; i < 20001; i++)
		strbuf_addf(&b, "k%d: 1\n", i);
	refused(strbuf_str(&b), "yaml: more than 20000 keys in one mapping");
	strbuf_free(&b);
	refused("a: &a [[[[[[[[[1]]]]]]]]]\nb: [[[[[[[[*a]]]]]]]]\n", "t:2: yaml: nested too deep");
}

static void warnings(void **state)
{
	struct conf *conf =
		load(BASE ", fence_timeout: 10s, max_blackout: 10s, fence_probe: {user: u, password_env: "
			  "PATH}}\nclusters: {c: {" SIDES "}}\n");

	(void)state;
	assert_int_equal(conf->nwarnings, 2);
	assert_string_equal(
		conf->warnings[0], "t:2: clusters.c.fence_timeout: not shorter than max_blackout");
	assert_string_equal(conf->warnings[1], "t:2: clusters.c.fence_probe.user: the same as user, which "
					       "the fence does not stop: the probe proves "
					       "nothing");
	conf_unref(conf);
}

/* "an endpoint list that is there and empty" says the same as none. */
/* A block that was copied: the flips of two clusters know nothing of each other. */
static void servers_in_two_clusters(void **state)
{
	struct conf *conf =
		load(BASE "}\nclusters:\n"
			  "  c1: {source: {host: a}, target: {host: b}}\n"
			  "  c2: {source: {host: A}, target: {host: c}, replicas: [{name: x, host: b}]}\n"
			  "  c3: {source: {host: a, port: 3307}, target: {host: d}}\n");

	(void)state;
	assert_int_equal(conf->nwarnings, 2);
	assert_string_equal(conf->warnings[0],
		"t:4: clusters.c2.source: A:3306 stands in the cluster c1 too: flips of the two would not "
		"know of each other");
	assert_string_equal(conf->warnings[1],
		"t:4: clusters.c2.replicas: b:3306 stands in the cluster c1 too: flips of the two would not "
		"know of each other");
	conf_unref(conf);
}

static void nothing_said(void **state)
{
	struct conf *conf =
		load("daemon: {status_listen: none}\n" BASE "}\nclusters: {c: {" SIDES ", endpoints: }}\n");
	char *text = conf_print(conf);

	(void)state;
	assert_int_equal(conf->clusters[0].nendpoints, 0);
	assert_non_null(strstr(text, "status_listen: none\n"));
	free(text);
	conf_unref(conf);
}

/* The journal keeps a cluster as YAML: no name may come back as something else. */
static void odd_names(void **state)
{
	static const char *const users[] = {"no", "on", "Null", "y", "a b", "x: y", "quo\\\"te",
		"back\\\\slash", "#7", "17", "- a", "{a}", "*a", "\\u00e4"};

	(void)state;
	assert_int_equal(setenv("ODD_PW", "planted", 1), 0);
	for (size_t i = 0; i < COUNT_OF(users); i++) {
		char yaml[400];
		struct conf *now, *back = NULL;
		struct err err = {0};
		char *text;

		(void)snprintf(yaml, sizeof(yaml),
			"defaults: {user: \"%s\", password_env: ODD_PW, replication: {user: r, password_env: "
			"ODD_PW}}\n"
			"clusters: {c: {" SIDES "}}\n",
			users[i]);
		now = load(yaml);
		text = conf_print_cluster(&now->clusters[0]);
		if (conf_with_journaled_cluster(now, text, &back, &err) < 0)
			fail_msg("%s\n%s", err_text(&err), text);
		assert_string_equal(
			back->clusters[0].side[0].account.user, now->clusters[0].side[0].account.user);
		assert_string_equal(back->clusters[0].side[0].account.password, "planted");
		free(text);
		conf_unref(now);
		conf_unref(back);
	}
}

/* An account's password is taken from wherever it stands today: on the same server before all else. */
static void changed_roles(void **state)
{
	struct conf *old =
		load("defaults: {user: one, password: x, replication: {user: two, password: x}, fence_probe: "
		     "{user: three, password: x}, heartbeat: {user: four, password: x}}\n"
		     "clusters: {c: {" SIDES "}}\n");
	struct conf *now =
		load("defaults: {user: two, password: p2, replication: {user: one, password: p1}, "
		     "fence_probe: {user: four, password: p4}, heartbeat: {user: three, password: p3}}\n"
		     "clusters: {c: {source: {host: a}, target: {host: b, replication: {password: p1b}}}}\n");
	char *text = conf_print_cluster(&old->clusters[0]);
	struct conf *back = NULL;
	struct err err = {0};
	const struct conf_cluster *c;

	(void)state;
	assert_int_equal(conf_with_journaled_cluster(now, text, &back, &err), 0);
	c = &back->clusters[0];
	assert_string_equal(c->side[0].account.password, "p1");
	assert_string_equal(c->side[1].account.password, "p1b");
	assert_string_equal(c->side[0].replication.password, "p2");
	assert_string_equal(c->policy.fence_probe.password, "p3");
	assert_string_equal(c->policy.heartbeat_account.password, "p4");
	free(text);
	conf_unref(old);
	conf_unref(now);
	conf_unref(back);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(other_hands),
		cmocka_unit_test(nothing_is_printed),
		cmocka_unit_test(a_hooks_password_is_hidden),
		cmocka_unit_test(a_record_stands_once),
		cmocka_unit_test(other_kinds),
		cmocka_unit_test(names_in_dns),
		cmocka_unit_test(bounds),
		cmocka_unit_test(warnings),
		cmocka_unit_test(servers_in_two_clusters),
		cmocka_unit_test(nothing_said),
		cmocka_unit_test(odd_names),
		cmocka_unit_test(changed_roles),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
