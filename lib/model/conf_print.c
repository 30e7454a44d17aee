/* conf_print: configurations as YAML again, by the tables that read them. */
#include "lib/model/conf_priv.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void conf_print_line(struct conf_printer *p, const char *fmt, ...)
{
	va_list ap;
	char *text;

	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		abort(); /* GCOVR_EXCL_LINE: out of memory */
	va_end(ap);
	strbuf_addf(&p->out, "%*s%s\n", p->indent * 2, "", text);
	free(text);
}

/* Safe without quotes whatever stands around it, and a string to every reader of YAML. */
static bool is_plain(const char *s)
{
	static const char safe[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./-";
	static const char *const words[] = {"null", "true", "false", "yes", "no", "on", "off", "y", "n"};

	for (size_t i = 0; i < COUNT_OF(words); i++)
		if (str_ieq(s, words[i]))
			return false;
	return (isalpha((unsigned char)*s) || *s == '/') && s[strspn(s, safe)] == '\0';
}

/* As the text of a double-quoted scalar: control characters cannot be in it. */
static void add_quoted(struct strbuf *b, const char *s)
{
	bool plain = is_plain(s);

	strbuf_add(b, plain ? "" : "\"");
	for (; *s; s++) {
		if (*s == '"' || *s == '\\')
			strbuf_add(b, "\\");
		strbuf_addn(b, s, 1);
	}
	strbuf_add(b, plain ? "" : "\"");
}

void conf_print_value(struct conf_printer *p, const char *key, const char *value)
{
	struct strbuf b = {0};

	add_quoted(&b, value);
	conf_print_line(p, "%s: %s", key, strbuf_str(&b));
	strbuf_free(&b);
}

void conf_print_list(struct conf_printer *p, const char *key, const struct conf_list *l)
{
	struct strbuf b = {0};

	if (!l->n)
		return;
	for (int i = 0; i < l->n; i++) {
		strbuf_add(&b, i ? ", " : "");
		add_quoted(&b, l->v[i]);
	}
	conf_print_line(p, "%s: [%s]", key, strbuf_str(&b));
	strbuf_free(&b);
}

void conf_print_rows(struct conf_printer *p, const struct conf_key *keys, const void *base)
{
	for (const struct conf_key *k = keys; k->name; k++)
		if (k->type->print)
			k->type->print(p, k, (const char *)base + k->offset);
}

/* Takes back a heading under which nothing came. */
static void drop_empty(struct conf_printer *p, size_t before, size_t after_heading)
{
	if (p->out.len == after_heading) {
		p->out.len = before;
		p->out.data[before] = '\0';
	}
}

void conf_print_map(struct conf_printer *p, const char *key, const struct conf_key *keys, const void *base)
{
	size_t before = p->out.len, heading;

	conf_print_line(p, "%s:", key);
	heading = p->out.len;
	p->indent++;
	conf_print_rows(p, keys, base);
	p->indent--;
	drop_empty(p, before, heading);
}

static void print_replicas(struct conf_printer *p, const struct conf_cluster *c)
{
	if (!c->nreplicas)
		return;
	conf_print_line(p, "replicas:");
	for (int i = 0; i < c->nreplicas; i++) {
		p->indent++;
		conf_print_value(p, "- name", c->replicas[i].name);
		p->indent++;
		conf_print_rows(p, conf_keys_server, &c->replicas[i]);
		p->indent -= 2;
	}
}

static void print_endpoints(struct conf_printer *p, const struct conf_cluster *c)
{
	if (!c->nendpoints)
		return;
	conf_print_line(p, "endpoints:");
	for (int i = 0; i < c->nendpoints; i++) {
		const struct conf_kind *kind = &conf_endpoint_kinds[c->endpoints[i].kind];

		p->indent++;
		conf_print_line(p, "- %s:", kind->word);
		p->indent += 2;
		conf_print_rows(p, kind->keys, &c->endpoints[i]);
		p->indent -= 3;
	}
}

void conf_print_one_cluster(struct conf_printer *p, const struct conf_cluster *c)
{
	struct strbuf name = {0};

	add_quoted(&name, c->name);
	conf_print_line(p, "%s:", strbuf_str(&name));
	strbuf_free(&name);
	p->indent++;
	for (int side = CONF_SOURCE; side <= CONF_TARGET; side++)
		conf_print_map(p, c->side[side].name, conf_keys_server, &c->side[side]);
	print_replicas(p, c);
	print_endpoints(p, c);
	conf_print_rows(p, conf_keys_cluster, c);
	p->indent--;
}

static void print_clusters(struct conf_printer *p, const struct conf *conf)
{
	conf_print_line(p, conf->nclusters ? "clusters:" : "clusters: {}");
	p->indent++;
	for (int i = 0; i < conf->nclusters; i++)
		conf_print_one_cluster(p, &conf->clusters[i]);
	p->indent--;
}

static void print_groups(struct conf_printer *p, const struct conf *conf)
{
	conf_print_line(p, conf->ngroups ? "groups:" : "groups: {}");
	p->indent++;
	for (int i = 0; i < conf->ngroups; i++) {
		struct strbuf name = {0};

		add_quoted(&name, conf->groups[i].name);
		conf_print_map(p, strbuf_str(&name), conf_keys_group, &conf->groups[i]);
		strbuf_free(&name);
	}
	p->indent--;
}

static char *take_text(struct conf_printer *p)
{
	char *text = xstrdup(strbuf_str(&p->out));

	strbuf_free(&p->out);
	return text;
}

char *conf_print(const struct conf *conf)
{
	struct conf_printer p = {.secrets = true};

	conf_print_map(&p, "daemon", conf_keys_daemon, &conf->daemon);
	print_clusters(&p, conf);
	print_groups(&p, conf);
	return take_text(&p);
}

char *conf_print_cluster(const struct conf_cluster *c)
{
	struct conf_printer p = {0};

	conf_print_line(&p, "clusters:");
	p.indent++;
	conf_print_one_cluster(&p, c);
	return take_text(&p);
}
