/* conf_help: the tables of keys as text, for --print-keys and the manual. */
#include "lib/model/conf_priv.h"

#include <stdio.h>
#include <string.h>

#define COLUMNS 5

/* Widths first, lines after: two walks with the same rows. */
struct table {
	bool measuring;
	size_t width[COLUMNS];
	struct strbuf out;
};

static void add_row(struct table *t, const char *const cell[COLUMNS])
{
	for (int i = 0; i < COLUMNS; i++) {
		size_t len = strlen(cell[i]);

		if (t->measuring) {
			if (len > t->width[i])
				t->width[i] = len;
		} else if (i < COLUMNS - 1) {
			strbuf_addf(&t->out, "%-*s  ", (int)t->width[i], cell[i]);
		} else {
			strbuf_addf(&t->out, "%s\n", cell[i]);
		}
	}
}

static void add_words(struct strbuf *b, const char *const *words)
{
	for (int i = 0; words[i]; i++)
		strbuf_addf(b, "%s%s", i ? "|" : "", words[i]);
}

static void describe_type(struct strbuf *b, const struct conf_key *k)
{
	char least[24], most[24];

	if (k->words) {
		add_words(b, k->words);
		return;
	}
	strbuf_add(b, *k->type->name			 ? k->type->name
		      : k->type == &conf_type_secret_way ? "string"
							 : "mapping");
	if (k->type == &conf_type_duration)
		strbuf_addf(b, " %s..%s", str_format_duration(k->min, least, sizeof(least)),
			str_format_duration(k->max, most, sizeof(most)));
	else if (k->type == &conf_type_number || k->type == &conf_type_count || k->type == &conf_type_port)
		strbuf_addf(b, " %lld..%lld", (long long)k->min, (long long)k->max);
}

static void describe_where(struct strbuf *b, unsigned where)
{
	static const char *const words[] = {"defaults", "cluster", "server", "replica"};

	for (size_t i = 0; i < COUNT_OF(words); i++)
		if (where & (1u << i))
			strbuf_addf(b, "%s%s", b->len ? ", " : "", words[i]);
}

static void add_keys(
	struct table *t, const char *prefix, const char *place, unsigned where, const struct conf_key *keys);

static const char *default_of(const struct conf_key *k)
{
	if (k->preset)
		return k->preset;
	return k->empty ? k->empty : "-";
}

static void add_key(
	struct table *t, const char *prefix, const char *place, unsigned above, const struct conf_key *k)
{
	struct strbuf name = {0}, type = {0}, where = {0};
	unsigned here = k->where ? k->where : above;

	strbuf_addf(&name, "%s%s", prefix, k->name);
	describe_type(&type, k);
	describe_where(&where, here);
	add_row(t, (const char *const[COLUMNS]){strbuf_str(&name), strbuf_str(&type), default_of(k),
			   where.len ? strbuf_str(&where) : place, k->does});
	if (k->sub) {
		strbuf_add(&name, ".");
		add_keys(t, strbuf_str(&name), place, here, k->sub);
	}
	strbuf_free(&name);
	strbuf_free(&type);
	strbuf_free(&where);
}

static void add_keys(
	struct table *t, const char *prefix, const char *place, unsigned where, const struct conf_key *keys)
{
	for (const struct conf_key *k = keys; k->name; k++)
		add_key(t, prefix, place, where, k);
}

static void add_kinds(struct table *t, const char *prefix, const char *place, unsigned where,
	const struct conf_kind *kinds, int n)
{
	for (int i = 0; i < n; i++) {
		char name[64];

		(void)snprintf(name, sizeof(name), "%s%s.", prefix, kinds[i].word);
		add_keys(t, name, place, where, kinds[i].keys);
	}
}

static void add_all(struct table *t)
{
	add_row(t, (const char *const[COLUMNS]){"KEY", "TYPE", "DEFAULT", "IN", "DOES"});
	add_keys(t, "", "top", 0, conf_keys_top);
	add_keys(t, "daemon.", "daemon", 0, conf_keys_daemon);
	add_keys(t, "", "", 0, conf_keys_server);
	add_kinds(t, "fence.", "", CONF_IN_DEFAULTS | CONF_IN_CLUSTER | CONF_IN_SERVER, conf_fence_kinds,
		CONF_FENCE_KINDS);
	add_keys(t, "", "", 0, conf_keys_cluster);
	add_kinds(t, "endpoints[].", "", CONF_IN_CLUSTER, conf_endpoint_kinds, CONF_ENDPOINT_KINDS);
	add_keys(t, "groups.NAME.", "group", 0, conf_keys_group);
}

char *conf_print_keys(void)
{
	struct table t = {.measuring = true};
	char *text;

	add_all(&t);
	t.measuring = false;
	add_all(&t);
	text = xstrdup(strbuf_str(&t.out));
	strbuf_free(&t.out);
	return text;
}
