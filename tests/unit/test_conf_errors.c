/* Tests of conf: every kind of bad input has a line here, and its whole message. Bounds: test_conf_bounds.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/str.h"
#include "lib/model/conf.h"

struct bad {
	const char *text, *says;
};

static void check(const char *text, const char *says)
{
	struct conf_errors errors;
	struct conf *conf = NULL;

	if (conf_load_text(text, strlen(text), "t", &conf, &errors) != -EINVAL)
		fail_msg("was taken: %s", text);
	if (errors.n != 1 || strcmp(errors.v[0], says) != 0)
		fail_msg("%s\n%d: %s\nnot %s", text, errors.n, errors.v[0], says);
	assert_null(conf);
	conf_errors_free(&errors);
}

static void yaml(void **state)
{
	static const struct bad rows[] = {
		{"a: [1", "t:2: yaml: did not find expected ',' or ']' while parsing a flow sequence"},
		{"clusters: {}\n\tx: 1\n", "t:2: yaml: found character that cannot start any token while "
					   "scanning for the next token"},
		{"- a\n", "t:1: yaml: a mapping is wanted"},
		{"just a word", "t:1: yaml: a mapping is wanted"},
		{"{}\n---\n{}\n", "t:2: yaml: a second document in one file"},
		{"daemon: {[a]: 1}\n", "t:1: yaml: a key has to be a plain word"},
		{"daemon: !!map {}\n", "t:1: yaml: tags are not taken"},
		{"daemon: {state_dir: !x /a}\n", "t:1: yaml: tags are not taken"},
		{"daemon: *a\n", "t:1: yaml: an alias of what is not there, or holds it"},
		{"daemon: &a {x: *a}\n", "t:1: yaml: an alias of what is not there, or holds it"},
		{"daemon: {control_group: \"a\\0b\"}\n", "t:1: yaml: a zero byte is not taken"},
		{"a: [[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]\n", "t:1: yaml: nested too deep"},
		{"clusters:\ngroups:\ndaemon:\n  poll_interval: 1s\n  poll_interval: 2s\n",
			"t:5: daemon.poll_interval: defined twice, first at t:4"},
		{"daemon: {}\n\ndaemon: {}\n", "t:3: daemon: defined twice, first at t:1"},
		{"server: {}\n", "t:1: server: unknown key"},
		{"daemon: 7\n", "t:1: daemon: a mapping is wanted"},
		{"clusters: [a]\n", "t:1: clusters: a mapping is wanted"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(rows); i++)
		check(rows[i].text, rows[i].says);
}

static void daemon_keys(void **state)
{
	static const struct bad rows[] = {
		{"state_dir: lib", "state_dir: an absolute path is wanted, not 'lib'"},
		{"state_dir: ''", "state_dir: empty"},
		{"state_dir:", "state_dir: a value is missing"},
		{"state_dir: [/a]", "state_dir: one value is wanted, not a list"},
		{"state_dir: {a: b}", "state_dir: one value is wanted, not a mapping"},
		{"control_socket: \"/a\\nb\"", "control_socket: has a control character"},
		{"control_socket: /0123456789012345678901234567890123456789012345678901234567890123456789"
		 "01234567890123456789012345678901234567",
			"control_socket: longer than 107 bytes"},
		{"status_listen: 9633", "status_listen: ADDRESS:PORT or none is wanted, not '9633'"},
		{"status_listen: 127.0.0.1",
			"status_listen: ADDRESS:PORT or none is wanted, not '127.0.0.1'"},
		{"status_listen: 127.0.0.1:0",
			"status_listen: ADDRESS:PORT or none is wanted, not '127.0.0.1:0'"},
		{"status_listen: x.example:80",
			"status_listen: ADDRESS:PORT or none is wanted, not 'x.example:80'"},
		{"poll_interval: 1",
			"poll_interval: a duration such as 500ms (us ms s m h) is wanted, not '1'"},
		{"poll_interval: 1.5s",
			"poll_interval: a duration such as 500ms (us ms s m h) is wanted, not '1.5s'"},
		{"poll_interval: -1s",
			"poll_interval: a duration such as 500ms (us ms s m h) is wanted, not '-1s'"},
		{"poll_interval: 1d",
			"poll_interval: a duration such as 500ms (us ms s m h) is wanted, not '1d'"},
		{"poll_interval: 9999999999999h", "poll_interval: a duration such as 500ms (us ms s m h) is "
						  "wanted, not '9999999999999h'"},
		{"poll_interval: 49ms", "poll_interval: 49ms is outside 50ms to 1h"},
		{"poll_interval: 2h", "poll_interval: 2h is outside 50ms to 1h"},
		{"poll_interval: 50500us", "poll_interval: 50500us is finer than 1ms"},
		{"user: x", "user: unknown key"},
		{"Poll_interval: 1s", "Poll_interval: unknown key"},
	};
	char text[512], says[512];

	(void)state;
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		(void)snprintf(text, sizeof(text), "daemon:\n  %s\n", rows[i].text);
		(void)snprintf(says, sizeof(says), "t:2: daemon.%s", rows[i].says);
		check(text, says);
	}
}

/* Each in defaults, without a cluster that uses it. */
static void check_defaults(const struct bad *rows, size_t n)
{
	char text[512], says[512];

	for (size_t i = 0; i < n; i++) {
		(void)snprintf(text, sizeof(text), "defaults:\n  %s\n", rows[i].text);
		(void)snprintf(says, sizeof(says), "t:2: defaults.%s", rows[i].says);
		check(text, says);
	}
}

static void policy_keys(void **state)
{
	static const struct bad rows[] = {
		{"max_lag: 0s", "max_lag: 0s is outside 1ms to 1h"},
		{"max_transaction_age: 2h", "max_transaction_age: 2h is outside 1ms to 1h"},
		{"max_transaction_rows: 0", "max_transaction_rows: 0 is outside 1 to 1000000000"},
		{"max_transaction_rows: 10k", "max_transaction_rows: a whole number is wanted, not '10k'"},
		{"drain_timeout: 25h", "drain_timeout: 25h is outside 10ms to 24h"},
		{"fence_timeout: 9ms", "fence_timeout: 9ms is outside 10ms to 1m"},
		{"fence_timeout: 61s", "fence_timeout: 61s is outside 10ms to 1m"},
		{"fence_attempts: 101", "fence_attempts: 101 is outside 1 to 100"},
		{"kill_timeout: 11m", "kill_timeout: 11m is outside 10ms to 10m"},
		{"max_blackout: 99ms", "max_blackout: 99ms is outside 100ms to 10m"},
		{"max_blackout: 11m", "max_blackout: 11m is outside 100ms to 10m"},
		{"settle_timeout: 1ms", "settle_timeout: 1ms is outside 1s to 24h"},
		{"recover_within: 1000h", "recover_within: 1000h is outside 1s to 720h"},
		{"blockers: maim", "blockers: kill, wait or withdraw is wanted, not 'maim'"},
		{"flush: true", "flush: auto, always or never is wanted, not 'true'"},
		{"on_restart: rollback", "on_restart: roll_back or resume is wanted, not 'rollback'"},
		{"guard: [fence]", "guard: one value is wanted, not a list"},
		{"verify: all", "verify: none, counts or {checksum: [DATABASE.TABLE, ...]} is wanted"},
		{"verify: {checksums: [a.b]}",
			"verify: none, counts or {checksum: [DATABASE.TABLE, ...]} is wanted"},
		{"verify: {checksum: []}", "verify.checksum: the list is empty"},
		{"verify: {checksum: [a]}", "verify.checksum[0]: DATABASE.TABLE is wanted, not 'a'"},
		{"verify: {checksum: [a.b.c]}", "verify.checksum[0]: DATABASE.TABLE is wanted, not 'a.b.c'"},
		{"verify: {checksum: a.b}", "verify.checksum: a list is wanted"},
		{"heartbeat: {schema: a b}",
			"heartbeat.schema: a name of letters, digits, '_', '$' and '-' is wanted, not 'a b'"},
		{"sessions: {lock_accounts: legacy}", "sessions.lock_accounts: a list is wanted"},
		{"heartbeat: {interval: 1ms}", "heartbeat.interval: 1ms is outside 10ms to 1h"},
		{"heartbeat: flipd", "heartbeat: a mapping is wanted"},
		{"heartbeat: {table: x}", "heartbeat.table: unknown key"},
		{"probe: {via: proxy}", "probe.via: servers, endpoint or none is wanted, not 'proxy'"},
		{"probe: {interval: 1us}", "probe.interval: 1us is outside 100us to 10s"},
		{"sessions: {exempt_users: x}", "sessions.exempt_users: a list is wanted"},
		{"sessions: {exempt_users: [x, [y]]}",
			"sessions.exempt_users[1]: one value is wanted, not a list"},
		{"sessions: {exempt_users: [x, x]}", "sessions.exempt_users[1]: stands twice in the list"},
		{"sessions: {keep_text: maybe}", "sessions.keep_text: true or false is wanted, not 'maybe'"},
		{"preflight: {ddl: refuse}", "preflight.ddl: warn or skip is wanted, not 'refuse'"},
		{"preflight: {dll: warn}", "preflight.dll: no such check"},
		{"preflight: [ddl]", "preflight: a mapping is wanted"},
		{"hooks: {after_open: [run]}",
			"hooks.after_open[0]: an absolute path or an http(s) URL is wanted, not 'run'"},
		{"hooks: {after_open: [ftp://x]}",
			"hooks.after_open[0]: an absolute path or an http(s) URL is wanted, not 'ftp://x'"},
		{"hooks: {after_open: ['htps://bot:s3cret@chat.example.com/x']}",
			"hooks.after_open[0]: an absolute path or an http(s) URL is wanted, not "
			"'htps://chat.example.com'"},
		{"hooks: {before_flip: [/x]}", "hooks.before_flip: unknown key"},
		{"source: {host: a}", "source: may not stand here, only in a cluster"},
		{"endpoints: []", "endpoints: may not stand here, only in a cluster"},
		{"host: a", "host: may not stand here, only in a server"},
		{"name: a", "name: may not stand here, only in a replica"},
	};

	(void)state;
	check_defaults(rows, COUNT_OF(rows));
}

static void connection_keys(void **state)
{
	static const struct bad rows[] = {
		{"port: 0", "port: 0 is outside 1 to 65535"},
		{"port: 65536", "port: 65536 is outside 1 to 65535"},
		{"port: mysql", "port: a whole number is wanted, not 'mysql'"},
		{"flavor: percona", "flavor: auto, mariadb, mysql, rds or aurora is wanted, not 'percona'"},
		{"tls: {mode: on}", "tls.mode: disabled, preferred, required, verify_ca or verify_identity "
				    "is wanted, not 'on'"},
		{"tls: {ca: /does/not/exist}",
			"tls.ca: /does/not/exist cannot be read: No such file or directory"},
		{"tls: required", "tls: a mapping is wanted"},
		{"boots_fenced: 2", "boots_fenced: true or false is wanted, not '2'"},
		{"replication: {host: x}", "replication.host: unknown key"},
		{"replication_address: 'a:b'", "replication_address: HOST:PORT is wanted, not 'a:b'"},
		{"replication_address: 'a:'", "replication_address: HOST:PORT is wanted, not 'a:'"},
		{"replication_address: '[::1'", "replication_address: HOST:PORT is wanted, not '[::1'"},
		{"replication_address: '[a]:1'", "replication_address: HOST:PORT is wanted, not '[a]:1'"},
		{"replication_address: '::1:'", "replication_address: HOST:PORT is wanted, not '::1:'"},
		{"fence: readonly", "fence: no such fence"},
		{"fence: []", "fence: the list is empty"},
		{"fence: [[read_only]]", "fence[0]: a fence is a word or a mapping with one key"},
		{"fence: {}", "fence: a fence is a word or a mapping with one key"},
		{"fence: {read_only: {}, hook: {path: /x}}",
			"fence: a fence is a word or a mapping with one key"},
		{"fence: {read_only: {x: 1}}", "fence.read_only.x: unknown key"},
		{"fence: [read_only, read_only]", "fence[1]: stands twice in the list"},
		{"fence: hook", "fence.path: missing"},
		{"fence: {hook: {}}", "fence.hook.path: missing"},
		{"fence: {hook: {path: x}}",
			"fence.hook.path: an absolute path or an http(s) URL is wanted, not 'x'"},
		{"fence: {rds_read_only: {region: r}}", "fence.rds_read_only.cluster_id: missing"},
		{"fence: {parameter_group: {region: r, instance_id: i}}",
			"fence.parameter_group.group: missing"},
		{"fence: {security_group: {region: r, open: [a], closed: [b]}}",
			"fence.security_group: cluster_id or instance_id is wanted, one of them"},
		{"fence: {security_group: {region: r, cluster_id: c, open: [], closed: [b]}}",
			"fence.security_group.open: a value is missing"},
		{"password_file: db.password",
			"password_file: an absolute path is wanted, not 'db.password'"},
		{"password_file: /does/not/exist",
			"password_file: /does/not/exist cannot be read: No such file or directory"},
		{"password_file: /dev/null", "password_file: /dev/null is not a regular file"},
		{"password_file: /tmp", "password_file: /tmp is not a regular file"},
		{"password_env: FLIPD_TEST_NO_SUCH",
			"password_env: the environment has no FLIPD_TEST_NO_SUCH"},
		{"credential: db", "credential: no credentials: CREDENTIALS_DIRECTORY is not set"},
		{"password: ''", "password: leads to an empty text"},
		{"password:", "password: a value is missing"},
		{"password: [x]", "password: a value is missing"},
		{"max_lagg: 1s", "max_lagg: unknown key"},
	};

	(void)state;
	check_defaults(rows, COUNT_OF(rows));
}

#define DEFAULTS "defaults: {user: u, replication: {user: r}}\n"

/* What a flip needs, and what is exempt, may never be locked. */
static void lock_accounts(void **state)
{
	static const struct bad rows[] = {
		{"[u]}", "'u' is flipd's own account: it is never locked"},
		{"[x], exempt_users: [u, x]}", "'x' is in exempt_users: it is never locked"},
		{"[\"'r'@'%'\"]}", "'r' is the account of replication: it is never locked"},
		{"[p]}, fence_probe: {user: p}", "'p' is the account of fence_probe: it is never locked"},
		{"[h]}, heartbeat: {user: h}", "'h' is the account of the heartbeat: it is never locked"},
		{"[y]}, replicas: [{host: c, user: y}]", "'y' is flipd's own account: it is never locked"},
		{"['@%']}", "'@%' names no account: USER or USER@HOST is wanted"},
	};
	char text[512], says[512];

	(void)state;
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		(void)snprintf(text, sizeof(text),
			DEFAULTS "clusters:\n c: {source: {host: a}, target: {host: b}, sessions: "
				 "{lock_accounts: %s}\n",
			rows[i].text);
		(void)snprintf(
			says, sizeof(says), "t:3: clusters.c.sessions.lock_accounts: %s", rows[i].says);
		check(text, says);
	}
}

static void clusters(void **state)
{
	static const struct bad rows[] = {
		{"c: {source: {host: a}}", "c.target.host: missing"},
		{"c: {source: {port: 1}, target: {host: b}}", "c.source.host: missing"},
		{"c: {source: a, target: {host: b}}", "c.source: a mapping is wanted"},
		{"c: {source: {host: a, max_lag: 1s}, target: {host: b}}", "c.source.max_lag: unknown key"},
		{"c: {source: {host: a, name: x}, target: {host: b}}",
			"c.source.name: may not stand here, only in a replica"},
		{"c: {host: a, source: {host: a}, target: {host: b}}",
			"c.host: may not stand here, only in a server"},
		{"c: {source: {host: 'a:3307'}, target: {host: b}}",
			"c.source.host: a host name or address (the port has a key of its own) is wanted, "
			"not 'a:3307'"},
		{"c: {source: {host: 'a b'}, target: {host: b}}",
			"c.source.host: a host name or address (the port has a key of its own) is wanted, "
			"not 'a b'"},
		{"c: {source: {host: a}, target: {host: A}}",
			"c.target.host: source and target are the same, A:3306"},
		{"c: {source: {host: a, replication_address: x}, target: {host: b, replication_address: x}}",
			"c.target.replication_address: source and target have the same, x:3306"},
		{"c: {source: {host: a}, target: {host: b}, replicas: {host: x}}",
			"c.replicas: a list of at most 64 servers is wanted"},
		{"c: {source: {host: a}, target: {host: b}, replicas: [{name: x}]}",
			"c.replicas[0].host: missing"},
		{"c: {source: {host: a}, target: {host: b}, replicas: [{host: b}]}",
			"c.replicas[0].host: target and b are the same, b:3306"},
		{"c: {source: {host: a}, target: {host: b}, replicas: [{host: x, name: source}]}",
			"c.replicas[0].name: the name source stands twice in the cluster"},
		{"c: {source: {host: a, tls: {cert: /etc/passwd}}, target: {host: b}}",
			"c.source.tls.key: missing: cert and key belong together"},
		{"c: {source: {host: a}, target: {host: b}, fence_probe: {password_env: HOME}}",
			"c.fence_probe.user: missing beside the password"},
		{"'': {source: {host: a}, target: {host: b}}",
			": a name has at most 48 letters, digits, '_', '-' and '.', and begins with a letter "
			"or digit"},
		{"a/b: {source: {host: a}, target: {host: b}}",
			"a/b: a name has at most 48 letters, digits, '_', '-' and '.', and begins with a "
			"letter or digit"},
		{"-a: {source: {host: a}, target: {host: b}}",
			"-a: a name has at most 48 letters, digits, '_', '-' and '.', and begins with a "
			"letter or digit"},
		{"c: {source: {host: a}, target: {host: b, password_env: HOME, credential: x}}",
			"c.target.credential: password_env stands at t:3 already; give one of them"},
	};

	char text[512], says[512];

	(void)state;
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		(void)snprintf(text, sizeof(text), DEFAULTS "clusters:\n  %s\n", rows[i].text);
		(void)snprintf(says, sizeof(says), "t:3: clusters.%s", rows[i].says);
		check(text, says);
	}
	check("defaults: {user: u}\nclusters: {c: {source: {host: a, replication: {user: r}},\n target: "
	      "{host: b}}}",
		"t:3: clusters.c.target.replication.user: missing; it may stand in defaults, the cluster or "
		"the server");
	check("defaults: {replication: {user: u}}\nclusters: {c: {source: {host: a, user: r},\n target: "
	      "{host: b}}}",
		"t:3: clusters.c.target.user: missing; it may stand in defaults, the cluster or the server");
}

#define RECORD "name: n.z, zone: z, servers: [10.0.0.1]"

static void endpoints(void **state)
{
	static const struct bad rows[] = {
		{"dns", ": an endpoint is a mapping with one key: dns, route53 or hook"},
		{"{proxy: {}}", ".proxy: no such endpoint; there are dns, route53 and hook"},
		{"{hook: {}}", ".hook.path: missing"},
		{"{hook: {path: /x, timeout: 2h}}", ".hook.timeout: 2h is outside 10ms to 1h"},
		{"{hook: {path: /x, order: later}}",
			".hook.order: before_open or after_open is wanted, not 'later'"},
		{"{hook: {path: /x, ttl: 5s}}", ".hook.ttl: unknown key"},
		{"{dns: {zone: z, servers: 10.0.0.1, type: A, source: 10.0.0.1, target: 10.0.0.2}}",
			".dns.name: missing"},
		{"{dns: {name: n.z, servers: 10.0.0.1, type: A, source: 10.0.0.1, target: 10.0.0.2}}",
			".dns.zone: missing"},
		{"{dns: {name: n.z, zone: z, type: A, source: 10.0.0.1, target: 10.0.0.2}}",
			".dns.servers: missing"},
		{"{dns: {name: n.z, zone: z, servers: [], type: A, source: 10.0.0.1, target: 10.0.0.2}}",
			".dns.servers: a value is missing"},
		{"{dns: {" RECORD ", source: 10.0.0.1, target: 10.0.0.2}}", ".dns.type: missing"},
		{"{dns: {" RECORD ", type: MX, source: 10.0.0.1, target: 10.0.0.2}}",
			".dns.type: A, AAAA or CNAME is wanted, not 'MX'"},
		{"{dns: {" RECORD ", type: A, target: 10.0.0.2}}", ".dns.source: missing"},
		{"{dns: {" RECORD ", type: A, source: 10.0.0.1}}", ".dns.target: missing"},
		{"{dns: {" RECORD ", type: A, source: [10.0.0.1, x], target: 10.0.0.2}}",
			".dns.source: 'x' is no value of type A"},
		{"{dns: {" RECORD ", type: AAAA, source: 10.0.0.1, target: '::1'}}",
			".dns.source: '10.0.0.1' is no value of type AAAA"},
		{"{dns: {" RECORD ", type: CNAME, source: a.b, target: 10.0.0.1}}",
			".dns.target: '10.0.0.1' is no value of type CNAME"},
		{"{dns: {" RECORD ", type: CNAME, source: [a.b, c.d], target: e.f}}",
			".dns.source: more than 1 value"},
		{"{dns: {" RECORD ", type: CNAME, source: a.b, target: A.B.}}",
			".dns.target: the same as source: nothing would switch"},
		{"{dns: {" RECORD ", type: AAAA, source: ['::1', '0::1'], target: '::2'}}",
			".dns.source: ::1 stands twice in the list"},
		{"{dns: {" RECORD ", type: A, source: [10.0.0.1, 10.0.0.2], target: [10.0.0.2, 10.0.0.1]}}",
			".dns.target: the same as source: nothing would switch"},
		{"{dns: {name: a..b, zone: z, servers: [10.0.0.1], type: A, source: 10.0.0.1, target: "
		 "10.0.0.2}}",
			".dns.name: a domain name is wanted, not 'a..b'"},
		{"{dns: {name: a.xz, zone: z, servers: [10.0.0.1], type: A, source: 10.0.0.1, target: "
		 "10.0.0.2}}",
			".dns.name: a.xz. is not in the zone z."},
		{"{dns: {name: Z, zone: z, servers: [10.0.0.1], type: CNAME, source: a, target: b}}",
			".dns.type: the top of a zone cannot be a CNAME"},
		{"{dns: {name: n.z, zone: z, servers: [ns1.z], type: A, source: 10.0.0.1, target: 10.0.0.2}}",
			".dns.servers[0]: ADDRESS[:PORT] or [v6]:PORT is wanted, the address as a number, "
			"not 'ns1.z'"},
		{"{dns: {name: n.z, zone: z, servers: ['10.0.0.1:0'], type: A, source: 10.0.0.1, target: "
		 "10.0.0.2}}",
			".dns.servers[0]: ADDRESS[:PORT] or [v6]:PORT is wanted, the address as a number, "
			"not '10.0.0.1:0'"},
		{"{dns: {" RECORD ", type: A, ttl: 1ms, source: 10.0.0.1, target: 10.0.0.2}}",
			".dns.ttl: 1ms is finer than 1s"},
		{"{dns: {" RECORD ", type: A, source: 10.0.0.1, target: 10.0.0.2, tsig: {name: k}}}",
			".dns.tsig.secret_file: missing"},
		{"{dns: {" RECORD ", type: A, source: 10.0.0.1, target: 10.0.0.2, tsig: {name: k, algorithm: "
		 "hmac-md5, secret: c2Vj}}}",
			".dns.tsig.algorithm: hmac-sha256 or hmac-sha512 is wanted, not 'hmac-md5'"},
		{"{route53: {name: n, type: A, source: 10.0.0.1, target: 10.0.0.2}}",
			".route53.hosted_zone_id: missing"},
	};
	char text[1024], says[1024];

	(void)state;
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		(void)snprintf(text, sizeof(text),
			DEFAULTS "clusters: {c: {source: {host: a}, target: {host: b}, endpoints: [\n%s]}}\n",
			rows[i].text);
		(void)snprintf(says, sizeof(says), "t:3: clusters.c.endpoints[0]%s", rows[i].says);
		check(text, says);
	}
	check(DEFAULTS "clusters: {c: {source: {host: a}, target: {host: b}, endpoints: [\n{hook: {path: "
		       "/a}},\n{hook: {path: /a}}]}}",
		"t:4: clusters.c.endpoints[1].hook: the same endpoint stands twice in the cluster");
	check(DEFAULTS "clusters: {c: {source: {host: a}, target: {host: b}, endpoints: x}}",
		"t:2: clusters.c.endpoints: a list of at most 100 endpoints is wanted");
}

static void groups(void **state)
{
	static const struct bad rows[] = {
		{"g: {}", "g.clusters: missing"},
		{"g: {clusters: []}", "g.clusters: a value is missing"},
		{"g: {clusters: [d]}", "g.clusters: there is no cluster d"},
		{"g: {clusters: c}", "g.clusters: a list is wanted"},
		{"g: {clusters: [c], barrier: 1}", "g.barrier: true or false is wanted, not '1'"},
		{"g: {clusters: [c], max_parallel: 0}", "g.max_parallel: 0 is outside 1 to 1000"},
		{"g: {clusters: [c], members: 0}", "g.members: unknown key"},
		{"c: {clusters: [c]}", "c: defined twice, first at t:2"},
	};
	char text[512], says[512];

	(void)state;
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		(void)snprintf(text, sizeof(text),
			DEFAULTS "clusters: {c: {source: {host: a}, target: {host: b}}}\ngroups:\n  %s\n",
			rows[i].text);
		(void)snprintf(says, sizeof(says), "t:4: groups.%s", rows[i].says);
		check(text, says);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(yaml),
		cmocka_unit_test(daemon_keys),
		cmocka_unit_test(policy_keys),
		cmocka_unit_test(connection_keys),
		cmocka_unit_test(clusters),
		cmocka_unit_test(lock_accounts),
		cmocka_unit_test(endpoints),
		cmocka_unit_test(groups),
	};

	(void)unsetenv("CREDENTIALS_DIRECTORY");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
