/*
 * Fuzz target: every function by which a text from outside goes into SQL, JSON, HTML, labels, YAML, DNS or a
 * line of the log. What comes out is read back the way its reader does, and is the text that went in; nothing
 * in it ends the literal early.
 */
#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/log.h"
#include "lib/base/str.h"
#include "lib/io/db.h"
#include "lib/io/dns_update.h"
#include "lib/model/conf.h"
#include "lib/model/escape.h"
#include "lib/model/wire.h"
#include "lib/provider/dialect.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* --- SQL --- */

/* Reads a literal as a server does: the text into *b, where it ends as the result; NULL: it never ends. */
static const char *read_quoted(const char *sql, bool backslash, struct strbuf *b)
{
	char quote = *sql;

	for (const char *p = sql + 1; *p; p++) {
		if (backslash && *p == '\\' && p[1])
			p++;
		else if (*p == quote && p[1] == quote)
			p++;
		else if (*p == quote)
			return p + 1;
		strbuf_addn(b, p, 1);
	}
	return NULL;
}

static int hex(char c)
{
	assert((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'));
	return c <= '9' ? c - '0' : c - 'a' + 10;
}

static const char *read_hex(const char *p, struct strbuf *b)
{
	for (; *p != '\''; p += 2)
		strbuf_addn(b, (const char[]){(char)(hex(p[0]) << 4 | hex(p[1]))}, 1);
	return p + 1;
}

static const char *read_literal(const char *sql, bool backslash, struct strbuf *b)
{
	if (*sql == '\'' || *sql == '`')
		return read_quoted(sql, backslash && *sql == '\'', b);
	if (!strncmp(sql, "_utf8mb4 x'", 11))
		return read_hex(sql + 11, b);
	assert(!strncmp(sql, "_binary x'", 10));
	return read_hex(sql + 10, b);
}

static void check_sql(
	void (*quote)(struct strbuf *, const char *), const char *text, bool backslash, bool same)
{
	struct strbuf out = {0}, back = {0};

	quote(&out, text);
	const char *end = read_literal(strbuf_str(&out), backslash, &back);
	assert(end && *end == '\0');
	assert(!same || str_eq(strbuf_str(&back), text));
	strbuf_free(&out);
	strbuf_free(&back);
}

/* A table's name of the configuration becomes two names. */
static void check_table(const char *text)
{
	const struct dialect_ctx ctx = {.schema = "flipd", .cluster = "c", .lock = "l"};
	struct strbuf out = {0}, db = {0}, name = {0};
	const char *dot = strchr(text, '.'), *end;

	dialect_mariadb.table_value(&ctx, text, DIALECT_COUNT, 0, &out);
	end = strchr(strbuf_str(&out), '`');
	assert(end);
	end = read_quoted(end, false, dot ? &db : &name);
	if (dot) {
		assert(end && *end == '.');
		end = read_quoted(end + 1, false, &name);
		assert(!strncmp(strbuf_str(&db), text, (size_t)(dot - text)) &&
			db.len == (size_t)(dot - text));
	}
	assert(end && *end == '\0' && str_eq(strbuf_str(&name), dot ? dot + 1 : text));
	strbuf_free(&out);
	strbuf_free(&db);
	strbuf_free(&name);
}

/* --- HTML, labels --- */

static void check_html(const char *text)
{
	static const struct {
		const char *entity;
		char c;
	} known[] = {{"&amp;", '&'}, {"&lt;", '<'}, {"&gt;", '>'}, {"&quot;", '"'}, {"&#39;", '\''}};
	struct strbuf out = {0}, back = {0};

	escape_html(&out, text);
	assert(!strpbrk(strbuf_str(&out), "<>\"'"));
	for (const char *p = strbuf_str(&out); *p; p++) {
		const char *c = p;
		for (size_t i = 0; *p == '&' && i < COUNT_OF(known); i++)
			if (!strncmp(p, known[i].entity, strlen(known[i].entity))) {
				c = &known[i].c;
				p += strlen(known[i].entity) - 1;
			}
		assert(c != p || *p != '&');
		strbuf_addn(&back, c, 1);
	}
	assert(str_eq(strbuf_str(&back), text));
	strbuf_free(&out);
	strbuf_free(&back);
}

static void check_label(const char *text)
{
	struct strbuf out = {0}, back = {0};

	escape_label(&out, text);
	for (const char *p = strbuf_str(&out); *p; p++) {
		assert(*p != '"' && *p != '\n');
		if (*p == '\\') {
			p++;
			assert(strchr("\\\"n", *p) && *p);
			strbuf_add(&back, *p == 'n' ? "\n" : *p == '"' ? "\"" : "\\");
		} else
			strbuf_addn(&back, p, 1);
	}
	assert(str_eq(strbuf_str(&back), text));
	strbuf_free(&out);
	strbuf_free(&back);
}

/* --- JSON --- */

static void check_json(const char *text)
{
	struct wire *o = wire_object(), *back = NULL;
	bool utf8 = str_utf8_valid(text, strlen(text));

	wire_set_str(o, "s", text);
	char *dump = wire_dump(o, 0);
	for (const unsigned char *p = (const unsigned char *)dump; *p; p++)
		assert(*p >= 0x20); /* a document is one line */
	if (wire_parse(dump, strlen(dump), &back, NULL) < 0)
		abort();
	assert(wire_len(back) == 1 && wire_get_str(back, "s"));
	assert(!utf8 || str_eq(wire_get_str(back, "s"), text));
	free(dump);
	wire_free(o);
	wire_free(back);
}

/* --- the journaled configuration (YAML) --- */

/* A hook's path takes nearly any text: printed for the journal and read back it is the same. */
static void check_yaml(const char *text)
{
	struct wire *quoted = wire_string(text);
	struct strbuf yaml = {0};
	struct conf_errors errors;
	struct conf *conf = NULL, *back = NULL;
	struct err err = {0};
	char *value = wire_dump(quoted, 0);

	strbuf_addf(&yaml,
		"clusters: {c: {user: u, password: p, replication: {user: %s, password: p}, "
		"source: {host: a}, target: {host: b}}}\n",
		value);
	if (conf_load_text(strbuf_str(&yaml), yaml.len, "fuzz", &conf, &errors) == 0) {
		char *print = conf_print_cluster(&conf->clusters[0]);
		if (conf_with_journaled_cluster(NULL, print, &back, &err) < 0)
			abort();
		assert(str_eq(conf->clusters[0].side[0].replication.user,
			back->clusters[0].side[0].replication.user));
		conf_unref(back);
		free(print);
	}
	conf_unref(conf);
	conf_errors_free(&errors);
	free(value);
	strbuf_free(&yaml);
	wire_free(quoted);
}

/* --- DNS --- */

/* What is a value has one spelling, and that is its own. */
static void check_dns(const char *text)
{
	static const char *const types[] = {"A", "AAAA", "CNAME"};

	for (size_t i = 0; i < COUNT_OF(types); i++) {
		char once[1100], twice[1100];
		struct err err = {0};
		int r = dns_canonical_value(types[i], text, once, sizeof(once), &err);
		assert(r == 0 || (r == -EINVAL && err.message[0]));
		if (r < 0)
			continue;
		for (const unsigned char *p = (const unsigned char *)once; *p; p++)
			assert(*p > 0x20 && *p < 0x7f);
		if (dns_canonical_value(types[i], once, twice, sizeof(twice), &err) < 0)
			abort();
		assert(str_eq(once, twice));
	}
}

/* --- the log --- */

static char logged[4096];

static void sink(enum log_level level, const struct log_ctx *ctx, const char *message)
{
	(void)level, (void)ctx;
	(void)str_copy(logged, sizeof(logged), message);
}

static void check_log(const char *text)
{
	log_at(LOG_LEVEL_ERROR, NULL, "said: %s", text);
	assert(!strncmp(logged, "said: ", 6));
	for (const unsigned char *p = (const unsigned char *)logged; *p; p++)
		assert(*p >= 0x20 && *p != 0x7f);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc, (void)argv;
	log_init(sink, LOG_LEVEL_ERROR);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = calloc(size + 1, 1);

	memcpy(text, data, size);
	check_sql(db_quote, text, true, true);
	check_sql(db_quote, text, false, true);
	check_sql(db_quote_name, text, false, true);
	check_sql(db_quote_text, text, true, true);
	check_sql(db_quote_text, text, false, false);
	check_table(text);
	check_html(text);
	check_label(text);
	check_json(text);
	check_yaml(text);
	check_dns(text);
	check_log(text);
	free(text);
	return 0;
}
