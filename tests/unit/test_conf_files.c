/* Tests of conf: defaults, merging, files, secrets, the way through the journal. Bad input:
 * test_conf_errors.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/str.h"
#include "lib/model/conf.h"
#include "tests/unit/conf_text.h"

static char dir[] = "/tmp/flipd-test-conf-XXXXXX";

static int make_dir(void **state)
{
	(void)state;
	return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
	static const char *const files[] = {"flipd.yaml", "conf.d/10.yaml", "conf.d/9.yaml",
		"conf.d/.hidden.yaml", "conf.d/note.txt", "conf.d", "db.password", "repl.password",
		"probe.password", "tsig.key", "empty"};
	char path[256];

	(void)state;
	for (size_t i = 0; i < COUNT_OF(files); i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", dir, files[i]);
		(void)remove(path);
	}
	return rmdir(dir);
}

static const char *in_dir(const char *name)
{
	static char path[4][256];
	static int turn;
	char *p = path[turn++ % 4];

	(void)snprintf(p, sizeof(path[0]), "%s/%s", dir, name);
	return p;
}

static void write_file(const char *name, const char *text)
{
	FILE *f = fopen(in_dir(name), "w");

	assert_non_null(f);
	assert_int_equal(fwrite(text, 1, strlen(text), f), strlen(text));
	assert_int_equal(fclose(f), 0);
}

static struct conf *load_file(void)
{
	struct conf_errors errors;
	struct conf *conf = NULL;
	int r = conf_load(in_dir("flipd.yaml"), &conf, &errors);

	return loaded(r, conf, &errors);
}

static void files_in_order(void **state)
{
	struct conf *conf;

	(void)state;
	assert_int_equal(mkdir(in_dir("conf.d"), 0700), 0);
	write_file("flipd.yaml",
		"daemon: {poll_interval: 2s, control_group: g}\n" ACCOUNTS "clusters: {a: {" SIDES "}}\n");
	write_file("conf.d/10.yaml", "daemon: {poll_interval: 3s}\nclusters: {b: {" SIDES "}}\n");
	write_file("conf.d/9.yaml",
		"daemon: {poll_interval: 4s}\ndefaults: {port: 1}\ngroups: {g: {clusters: [b]}}\n");
	write_file("conf.d/.hidden.yaml", "nonsense: 1\n");
	write_file("conf.d/note.txt", "nonsense: 1\n");
	conf = load_file();
	assert_int_equal(conf->daemon.poll_interval_ms, 4000); /* "10" sorts before "9" */
	assert_string_equal(conf->daemon.control_group, "g");
	assert_int_equal(conf->nclusters, 2);
	assert_int_equal(conf->clusters[0].side[0].port, 1);
	assert_string_equal(conf->file, in_dir("flipd.yaml"));
	conf_unref(conf);
}

static void secrets_from_everywhere(void **state)
{
	struct conf *conf;
	char text[1024];

	(void)state;
	write_file("db.password", "from file\n");
	write_file("repl.password", "two\n\n");
	assert_int_equal(setenv("FLIPD_TEST_SECRET", "from env", 1), 0);
	assert_int_equal(setenv("CREDENTIALS_DIRECTORY", dir, 1), 0);
	(void)snprintf(text, sizeof(text),
		"defaults: {user: u, password_file: %s/db.password, replication: {user: r, credential: "
		"repl.password}}\n"
		"clusters: {c: {source: {host: a}, target: {host: b, password_env: FLIPD_TEST_SECRET}}}\n",
		dir);
	conf = load(text);
	assert_string_equal(conf->clusters[0].side[0].account.password, "from file");
	assert_string_equal(conf->clusters[0].side[1].account.password, "from env");
	assert_string_equal(conf->clusters[0].side[1].replication.password, "two\n");
	assert_int_equal(conf->nwarnings, 0);
	conf_unref(conf);
	/* Out of sight after the first time; a new value counts. */
	assert_string_equal(getenv("FLIPD_TEST_SECRET"), "");
	for (int i = 0; i < 2; i++) {
		conf = load(text);
		assert_string_equal(conf->clusters[0].side[1].account.password, i ? "new" : "from env");
		conf_unref(conf);
		assert_int_equal(setenv("FLIPD_TEST_SECRET", "new", 1), 0);
	}
	conf = load(ACCOUNTS);
	assert_int_equal(conf->nwarnings, 2);
	assert_string_equal(conf->warnings[0], "t.yaml:1: defaults.password: a secret in the configuration "
					       "itself; a file of its own is safer");
	conf_unref(conf);
}

/* A dns endpoint with this key and secret file. */
static int load_tsig(const char *keys, const char *secret, struct conf **ret, struct conf_errors *errors)
{
	char text[1024];

	write_file("tsig.key", secret);
	(void)snprintf(text, sizeof(text),
		ACCOUNTS "clusters: {c: {" SIDES
			 ", endpoints: [{dns: {name: n.z., zone: z., type: A, servers: 10.0.0.1,\n"
			 " source: 10.0.0.2, target: 10.0.0.3, tsig: {%ssecret_file: %s}}}]}}\n",
		keys, in_dir("tsig.key"));
	return conf_load_text(text, strlen(text), "t.yaml", ret, errors);
}

#define CLAUSE "key \"k.example\" {\n\talgorithm hmac-sha512;\n\tsecret \"c2Vj cmV0\";\n};\n"

static void tsig_keys(void **state)
{
	static const struct {
		const char *keys, *file, *name, *algorithm, *secret;
	} rows[] = {
		{"name: k, ", "c2VjcmV0\n", "k.", "hmac-sha256", "c2VjcmV0"},
		{"name: k., algorithm: HMAC-SHA512, ", " c2Vj\ncmU= ", "k.", "hmac-sha512", "c2VjcmU="},
		{"", CLAUSE, "k.example.", "hmac-sha512", "c2VjcmV0"},
		{"name: K.Example., algorithm: hmac-sha512, ", CLAUSE, "k.example.", "hmac-sha512",
			"c2VjcmV0"},
		{"", "# made by hand\nkey k { /* x */ secret c2Vj; // y\n algorithm \"HMAC-SHA256.\" ; }",
			"k.", "hmac-sha256", "c2Vj"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct conf_errors errors;
		struct conf *conf = NULL;
		const struct conf_endpoint *e;
		int r = load_tsig(rows[i].keys, rows[i].file, &conf, &errors);

		e = &loaded(r, conf, &errors)->clusters[0].endpoints[0];
		assert_true(str_ieq(e->tsig_name, rows[i].name));
		assert_string_equal(e->tsig_algorithm, rows[i].algorithm);
		assert_string_equal(e->tsig_secret, rows[i].secret);
		conf_unref(conf);
	}
}

static void bad_tsig_keys(void **state)
{
	static const struct {
		const char *keys, *file, *says;
	} rows[] = {
		{"", "c2Vj", "tsig.name: missing"},
		{"name: k, ", "SECRET!", "tsig: the secret is not base64"},
		{"name: k, ", "SECRE", "tsig: the secret is not base64"},
		{"name: k, ", "c2=j", "tsig: the secret is not base64"},
		{"name: k, ", "====", "tsig: the secret is not base64"},
		{"name: k, ", "\n", "leads to an empty text"},
		{"name: other., ", CLAUSE, "name is other., the key clause says k.example."},
		{"algorithm: hmac-sha256, ", CLAUSE,
			"algorithm is hmac-sha256, the key clause says hmac-sha512"},
		{"", "key k { algorithm hmac-md5; secret SECRET==; };",
			"other than hmac-sha256 and hmac-sha512"},
		{"", "key k { algorithm hmac-sha256; secret SECRET!; };", "the secret is not base64"},
		{"", "key k { algorithm hmac-sha256; };", "is wanted"},
		{"", "key k { secret c2Vj; };", "is wanted"},
		{"", "key k { algorithm hmac-sha256; secret c2Vj; ", "is wanted"},
		{"", "key k { algorithm hmac-sha256; secret c2Vj; }; key l {};", "is wanted"},
		{"", "key \"k { algorithm hmac-sha256; secret c2Vj; };", "is wanted"},
		{"", "key k { algorithm hmac-sha256; secret c2Vj; secret c2Vj; };", "is wanted"},
		{"", "key .. { algorithm hmac-sha256; secret c2Vj; };", "no name"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct conf_errors errors;
		struct conf *conf = NULL;

		assert_int_equal(load_tsig(rows[i].keys, rows[i].file, &conf, &errors), -EINVAL);
		if (!strstr(errors.v[0], rows[i].says))
			fail_msg("row %zu: %s", i, errors.v[0]);
		for (int j = 0; j < errors.n; j++)
			assert_null(strstr(errors.v[j], "SECRE")); /* no secret in any message */
		conf_errors_free(&errors);
	}
}

/* conf/flipd.yaml with its secrets in this test's directory. */
static struct conf *load_example(void)
{
	struct strbuf b = {0};
	char line[512];
	FILE *f = fopen("conf/flipd.yaml", "r");
	const char *at;

	assert_non_null(f);
	while (fgets(line, sizeof(line), f)) {
		const char *rest = line;

		while ((at = strstr(rest, "/etc/flipd/"))) {
			strbuf_addn(&b, rest, (size_t)(at - rest));
			strbuf_addf(&b, "%s/", dir);
			rest = at + strlen("/etc/flipd/");
		}
		strbuf_add(&b, rest);
	}
	(void)fclose(f);
	write_file("flipd.yaml", strbuf_str(&b));
	strbuf_free(&b);
	write_file("db.password", "the-db-password\n");
	write_file("repl.password", "the-repl-password\n");
	write_file("probe.password", "the-probe-password\n");
	write_file("tsig.key", "key \"flipd-key\" { algorithm hmac-sha256; secret \"dGhlLXRzaWc=\"; };\n");
	(void)remove(in_dir("conf.d/10.yaml"));
	(void)remove(in_dir("conf.d/9.yaml"));
	return load_file();
}

static void example_loads(void **state)
{
	struct conf *conf = load_example();
	const struct conf_cluster *c = conf_find_cluster(conf, "shard1");

	(void)state;
	assert_int_equal(conf->nwarnings, 0);
	assert_int_equal(conf->nclusters, 2);
	assert_string_equal(c->side[CONF_TARGET].account.password, "the-db-password");
	assert_string_equal(c->replicas[0].name, "reports");
	assert_int_equal(c->nendpoints, 2);
	assert_string_equal(c->endpoints[0].tsig_secret, "dGhlLXRzaWc=");
	assert_string_equal(c->hooks.after_open.v[0], "https://chat.example.com/webhook");
	assert_int_equal(conf_find_cluster(conf, "shard2")->policy.max_blackout_ms, 5000);
	assert_int_equal(conf_find_group(conf, "everything")->clusters.n, 2);
	conf_unref(conf);
}

/* What is printed loads again and prints the same; it shows no secret. */
static void prints_what_loads(void **state)
{
	struct conf *conf = load_example(), *again;
	char *text = conf_print(conf), *second;

	(void)state;
	assert_null(strstr(text, "the-"));
	assert_null(strstr(text, "dGhl"));
	assert_non_null(strstr(text, "password: '***'"));
	assert_non_null(strstr(text, "max_lag: 1s\n"));
	assert_non_null(strstr(text, "status_listen: \"127.0.0.1:9633\"\n"));
	/* Three stars are no base64. */
	while ((second = strstr(text, "secret: '***'")))
		memcpy(second, "secret: dGhl ", strlen("secret: dGhl "));
	again = load(text);
	second = conf_print(again);
	free(text);
	text = conf_print(conf);
	assert_string_equal(text, second);
	free(text);
	free(second);
	conf_unref(again);
	conf_unref(conf);
}

static struct conf *through_journal(const struct conf *now, const char *yaml)
{
	struct conf *conf = NULL;
	struct err err = {0};

	if (conf_with_journaled_cluster(now, yaml, &conf, &err) < 0)
		fail_msg("%s", err_text(&err));
	assert_int_equal(conf->nclusters, 1);
	return conf;
}

static void journal_keeps_all_but_secrets(void **state)
{
	struct conf *now = load_example(), *back;
	char *text = conf_print_cluster(conf_find_cluster(now, "shard1")), *again;

	(void)state;
	assert_null(strstr(text, "the-"));
	assert_null(strstr(text, "dGhl"));
	assert_null(strstr(text, "***"));
	back = through_journal(now, text);
	again = conf_print_cluster(&back->clusters[0]);
	assert_string_equal(text, again);
	assert_string_equal(back->clusters[0].side[0].account.password, "the-db-password");
	assert_string_equal(back->clusters[0].replicas[0].replication.password, "the-repl-password");
	assert_string_equal(back->clusters[0].policy.fence_probe.password, "the-probe-password");
	assert_string_equal(back->clusters[0].endpoints[0].tsig_secret, "dGhlLXRzaWc=");
	assert_string_equal(back->daemon.control_group, "flipd");
	assert_string_equal(back->file, now->file);
	conf_unref(now); /* the snapshot stands by itself */
	assert_string_equal(back->clusters[0].side[1].account.password, "the-db-password");
	conf_unref(back);
	back = through_journal(NULL, text);
	assert_null(back->clusters[0].side[0].account.password);
	assert_null(back->clusters[0].endpoints[0].tsig_secret);
	conf_unref(back);
	free(text);
	free(again);
}

static void journal_beats_today(void **state)
{
	struct conf *old = load("defaults: {user: u, password: p1, replication: {user: r, password: r1}}\n"
				"clusters: {c: {source: {host: a}, target: {host: b, user: t, password: t1}, "
				"max_lag: 7s}}\n");
	struct conf *now = load("defaults: {user: u, password: p2, replication: {user: gone, password: r2}}\n"
				"clusters: {c: {source: {host: x}, target: {host: y, password: p3}}}\n");
	struct conf *other = load("clusters: {}\n"), *back;
	char *text = conf_print_cluster(&old->clusters[0]);
	const struct conf_cluster *c;

	(void)state;
	back = through_journal(now, text);
	c = &back->clusters[0];
	assert_string_equal(c->side[0].host, "a");
	assert_int_equal(c->policy.max_lag_ms, 7000);
	assert_string_equal(c->side[0].account.password, "p2");
	assert_null(c->side[1].account.password);     /* t is no more */
	assert_null(c->side[0].replication.password); /* neither is r */
	conf_unref(back);
	back = through_journal(other, text); /* the cluster is no more */
	assert_null(back->clusters[0].side[0].account.password);
	conf_unref(back);
	conf_unref(old);
	conf_unref(now);
	conf_unref(other);
	free(text);
}

static void bad_journals(void **state)
{
	static const char *const bad[] = {"", "clusters: {}", "clusters: {a: {}}", "{", "x: 1",
		"clusters: {a: {source: {host: x, user: u, replication: {user: r}}}}"};
	struct conf *conf = NULL;

	(void)state;
	for (size_t i = 0; i < COUNT_OF(bad); i++) {
		struct err err = {0};

		assert_int_equal(conf_with_journaled_cluster(NULL, bad[i], &conf, &err), -EINVAL);
		assert_non_null(strstr(err.message, "journaled configuration"));
	}
	assert_null(conf);
}

static void key_table_is_aligned(void **state)
{
	char *text = conf_print_keys(), *line, *rest = text;
	const char *in = strstr(text, " IN ");
	long column = in - text;

	(void)state;
	assert_non_null(strstr(text, "\nmax_lag "));
	assert_non_null(strstr(text, "\nendpoints[].dns.tsig.secret_file "));
	assert_non_null(strstr(text, "disabled|preferred|required|verify_ca|verify_identity"));
	while ((line = strtok_r(rest, "\n", &rest))) {
		assert_true((long)strlen(line) > column + 4);
		assert_true(line[column] == ' ' && line[column + 1] != ' ');
	}
	free(text);
}

static void references_are_counted(void **state)
{
	struct conf *conf = load("{}"), *same = conf_ref(conf);

	(void)state;
	assert_true(conf == same);
	conf_unref(conf);
	assert_int_equal(same->nclusters, 0);
	conf_unref(same);
	conf_unref(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(files_in_order),
		cmocka_unit_test(secrets_from_everywhere),
		cmocka_unit_test(tsig_keys),
		cmocka_unit_test(bad_tsig_keys),
		cmocka_unit_test(example_loads),
		cmocka_unit_test(prints_what_loads),
		cmocka_unit_test(journal_keeps_all_but_secrets),
		cmocka_unit_test(journal_beats_today),
		cmocka_unit_test(bad_journals),
		cmocka_unit_test(key_table_is_aligned),
		cmocka_unit_test(references_are_counted),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
