/* conf_list: values that are lists, and addresses: "HOST[:PORT]", "[v6]:PORT". */
#include "lib/model/conf_priv.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIST_MAX 10000
#define TEXT_MAX 1024
#define NAME_MAX_DNS 253
#define LABEL_MAX_DNS 63
#define HOST_MAX 255

bool conf_is_ip(const char *s)
{
	struct in6_addr a;

	return inet_pton(AF_INET, s, &a) == 1 || inet_pton(AF_INET6, s, &a) == 1;
}

static bool is_v6(const char *s)
{
	struct in6_addr a;

	return inet_pton(AF_INET6, s, &a) == 1;
}

bool conf_is_host(const char *s)
{
	if (conf_is_ip(s))
		return true;
	if (!*s || *s == '-' || *s == '.' || strlen(s) > HOST_MAX)
		return false;
	for (; *s; s++)
		if (!isalnum((unsigned char)*s) && !strchr("._-", *s))
			return false;
	return true;
}

bool conf_split_address(struct arena *a, const char *s, const char **ret_host, uint16_t *ret_port)
{
	const char *colon = *s == '[' ? strstr(s, "]:") : strrchr(s, ':');
	bool bracket = *s == '[';
	const char *host;
	int64_t port = 0;

	if (!bracket && is_v6(s))
		colon = NULL;
	if (bracket && !colon && s[strlen(s) - 1] != ']')
		return false;
	if (colon && str_parse_int(colon + (bracket ? 2 : 1), 1, UINT16_MAX, &port) < 0)
		return false;
	if (bracket)
		host = arena_strndup(a, s + 1, (colon ? (size_t)(colon - s) : strlen(s) - 1) - 1);
	else
		host = colon ? arena_strndup(a, s, (size_t)(colon - s)) : arena_strdup(a, s);
	if (bracket ? !is_v6(host) : !conf_is_host(host) || (colon && is_v6(host)))
		return false;
	*ret_host = host;
	*ret_port = (uint16_t)port;
	return true;
}

const char *conf_dns_name(struct arena *a, const char *s)
{
	size_t len = strlen(s), label = 0;

	if (len && s[len - 1] == '.')
		len--;
	if (!len || len > NAME_MAX_DNS)
		return NULL;
	for (size_t i = 0; i < len; i++) {
		if (s[i] == '.' ? label == 0 : !isalnum((unsigned char)s[i]) && !strchr("_-/", s[i]))
			return NULL;
		label = s[i] == '.' ? 0 : label + 1;
		if (label > LABEL_MAX_DNS)
			return NULL;
	}
	return label ? arena_printf(a, "%.*s.", (int)len, s) : NULL;
}

static bool is_in(const struct conf_list *l, const char *s)
{
	for (int i = 0; i < l->n; i++)
		if (str_eq(l->v[i], s))
			return true;
	return false;
}

static void read_items(struct conf_reader *rd, const struct conf_node *n, struct conf_list *l,
	const char *(*item)(struct conf_reader *, const struct conf_node *))
{
	l->v = arena_alloc(rd->arena, (size_t)n->n * sizeof(*l->v));
	for (int i = 0; i < n->n; i++) {
		const char *s = item(rd, n->v[i]);

		if (s && is_in(l, s))
			conf_error(rd, n->v[i], NULL, "stands twice in the list");
		else if (s)
			l->v[l->n++] = s;
	}
}

bool conf_read_list(struct conf_reader *rd, const struct conf_node *n, bool one_too, struct conf_list *ret,
	const char *(*item)(struct conf_reader *, const struct conf_node *))
{
	struct conf_list list = {0};

	if (n->kind == CONF_NODE_LIST && n->n > LIST_MAX) {
		conf_error(rd, n, NULL, "more than %d entries", LIST_MAX);
		return false;
	}
	if (n->kind == CONF_NODE_LIST) {
		read_items(rd, n, &list, item);
		if (list.n < n->n)
			return false;
	} else if (n->kind == CONF_NODE_SCALAR && one_too) {
		const char *s = item(rd, n);

		if (!s)
			return false;
		list.v = arena_alloc(rd->arena, sizeof(*list.v));
		list.v[list.n++] = s;
	} else if (n->kind != CONF_NODE_NULL) {
		conf_error(rd, n, NULL, one_too ? "one value or a list is wanted" : "a list is wanted");
		return false;
	}
	*ret = list;
	return true;
}

static void print_list(struct conf_printer *p, const struct conf_key *k, const void *field)
{
	const struct conf_list *l = field;

	if (!l->n && k->empty)
		conf_print_line(p, "%s: %s", k->name, k->empty);
	conf_print_list(p, k->name, l);
}

static const char *item_text(struct conf_reader *rd, const struct conf_node *n)
{
	return conf_read_text(rd, n, TEXT_MAX);
}

static bool read_list(
	struct conf_reader *rd, const struct conf_key *k, const struct conf_node *n, void *field)
{
	(void)k;
	return conf_read_list(rd, n, false, field, item_text);
}

static bool read_one_or_list(
	struct conf_reader *rd, const struct conf_key *k, const struct conf_node *n, void *field)
{
	(void)k;
	return conf_read_list(rd, n, true, field, item_text);
}

static const char *item_hook(struct conf_reader *rd, const struct conf_node *n)
{
	static const struct conf_key key = {.max = TEXT_MAX};
	const char *s;

	return conf_type_hook.read(rd, &key, n, &s) ? s : NULL;
}

static bool read_hooks(
	struct conf_reader *rd, const struct conf_key *k, const struct conf_node *n, void *field)
{
	(void)k;
	return conf_read_list(rd, n, false, field, item_hook);
}

static const char *item_address(struct conf_reader *rd, const struct conf_node *n)
{
	const char *s = conf_read_text(rd, n, TEXT_MAX), *host;
	uint16_t port;

	if (!s)
		return NULL;
	if (conf_split_address(rd->scratch, s, &host, &port) && conf_is_ip(host))
		return s;
	conf_error(rd, n, NULL, "ADDRESS[:PORT] or [v6]:PORT is wanted, the address as a number, not '%.80s'",
		s);
	return NULL;
}

static bool read_addresses(
	struct conf_reader *rd, const struct conf_key *k, const struct conf_node *n, void *field)
{
	(void)k;
	return conf_read_list(rd, n, true, field, item_address);
}

/* Where other servers reach this one: fills two fields of a conf_server. */
static bool read_address(
	struct conf_reader *rd, const struct conf_key *k, const struct conf_node *n, void *field)
{
	struct conf_server *s = field;
	const char *text = conf_read_text(rd, n, k->max);

	if (!text)
		return false;
	if (conf_split_address(rd->arena, text, &s->replication_host, &s->replication_port))
		return true;
	conf_error(rd, n, NULL, "HOST:PORT is wanted, not '%.80s'", text);
	return false;
}

static void print_host_port(struct conf_printer *p, const char *key, const char *host, uint16_t port)
{
	char text[HOST_MAX + 16];

	(void)snprintf(text, sizeof(text), is_v6(host) ? "[%s]:%d" : "%s:%d", host, port);
	conf_print_value(p, key, text);
}

static void print_address(struct conf_printer *p, const struct conf_key *k, const void *field)
{
	const struct conf_server *s = field;

	if (s->replication_host)
		print_host_port(p, k->name, s->replication_host, s->replication_port);
}

/* status_listen: fills two fields of a conf_daemon; a name would have to be resolved. */
static bool read_listen(
	struct conf_reader *rd, const struct conf_key *k, const struct conf_node *n, void *field)
{
	struct conf_daemon *d = field;
	const char *text = conf_read_text(rd, n, k->max), *host;
	uint16_t port;

	if (!text)
		return false;
	if (str_eq(text, "none")) {
		d->status_host = NULL;
		return true;
	}
	if (!conf_split_address(rd->arena, text, &host, &port) || !port ||
		(!conf_is_ip(host) && !str_eq(host, "localhost"))) {
		conf_error(rd, n, NULL, "ADDRESS:PORT or none is wanted, not '%.80s'", text);
		return false;
	}
	d->status_host = str_eq(host, "localhost") ? "127.0.0.1" : host;
	d->status_port = port;
	return true;
}

static void print_listen(struct conf_printer *p, const struct conf_key *k, const void *field)
{
	const struct conf_daemon *d = field;

	if (d->status_host)
		print_host_port(p, k->name, d->status_host, d->status_port);
	else
		conf_print_value(p, k->name, "none");
}

/* Only what people read hides a URL's user: the journal's copy has to work. */
static void print_hooks(struct conf_printer *p, const struct conf_key *k, const void *field)
{
	const struct conf_list *l = field;
	struct strbuf *texts = xcalloc((size_t)l->n + 1, sizeof(*texts));
	struct conf_list shown = {.v = xcalloc((size_t)l->n + 1, sizeof(*shown.v)), .n = l->n};

	for (int i = 0; i < l->n; i++) {
		conf_print_hook(&texts[i], l->v[i]);
		shown.v[i] = p->secrets ? strbuf_str(&texts[i]) : l->v[i];
	}
	conf_print_list(p, k->name, &shown);
	for (int i = 0; i < l->n; i++)
		strbuf_free(&texts[i]);
	free(texts);
	free(shown.v);
}

const struct conf_type conf_type_list = {"list", read_list, NULL, print_list};
const struct conf_type conf_type_one_or_list = {"value or list", read_one_or_list, NULL, print_list};
const struct conf_type conf_type_hooks = {"list of paths or URLs", read_hooks, NULL, print_hooks};
const struct conf_type conf_type_addresses = {"list of ADDRESS[:PORT]", read_addresses, NULL, print_list};
const struct conf_type conf_type_address = {"HOST[:PORT]", read_address, NULL, print_address};
const struct conf_type conf_type_listen = {"ADDRESS:PORT|none", read_listen, NULL, print_listen};
