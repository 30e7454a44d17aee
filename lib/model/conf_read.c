/* conf_read: fills a struct from layers of mappings by a table of keys, and refuses the keys that no table
 * knows. */
#include "lib/model/conf_priv.h"

#include <stdio.h>
#include <string.h>

static void *field_of(void *base, const struct conf_key *k)
{
	return (char *)base + k->offset;
}

static void read_preset(struct conf_reader *rd, const struct conf_key *k, void *field)
{
	char text[64];
	struct conf_node n = {.kind = CONF_NODE_SCALAR, .file = "built-in", .key = k->name, .text = text};

	str_copy(text, sizeof(text), k->preset);
	(void)k->type->read(rd, k, &n, field);
}

void conf_read_keys(
	struct conf_reader *rd, const struct conf_key *keys, const struct conf_layers *layers, void *base)
{
	for (const struct conf_key *k = keys; k->name; k++) {
		struct conf_layers found;

		if (k->type->read_layers) {
			k->type->read_layers(rd, k, layers, field_of(base, k));
			continue;
		}
		if (!k->type->read)
			continue;
		found = conf_layers_get(rd, layers, k->name);
		if (found.n)
			(void)k->type->read(rd, k, found.v[found.n - 1], field_of(base, k));
		else if (k->preset)
			read_preset(rd, k, field_of(base, k));
	}
}

void conf_read_map(struct conf_reader *rd, const struct conf_key *keys, const struct conf_node *n, void *base)
{
	struct conf_layers none = {0}, one;

	if (!conf_node_want_map(rd, n))
		return;
	conf_check_keys(rd, keys, NULL, CONF_IN_OTHER, n);
	one = conf_layers_add(rd, &none, n);
	conf_read_keys(rd, keys, &one, base);
}

static const struct conf_key *find_key(const struct conf_key *keys, const char *name)
{
	for (const struct conf_key *k = keys; k && k->name; k++)
		if (str_eq(k->name, name))
			return k;
	return NULL;
}

static const char *where_text(unsigned where, char *buf, size_t size)
{
	static const struct {
		unsigned where;
		const char *text;
	} words[] = {
		{CONF_IN_DEFAULTS, "defaults"},
		{CONF_IN_CLUSTER, "a cluster"},
		{CONF_IN_SERVER, "a server"},
		{CONF_IN_REPLICA, "a replica"},
	};
	size_t used = 0;

	buf[0] = '\0';
	for (size_t i = 0; i < COUNT_OF(words); i++)
		if (where & words[i].where)
			used += (size_t)snprintf(
				buf + used, size - used, "%s%s", used ? ", " : "", words[i].text);
	return buf;
}

void conf_check_keys(struct conf_reader *rd, const struct conf_key *keys, const struct conf_key *more,
	unsigned where, const struct conf_node *n)
{
	if (n->kind != CONF_NODE_MAP)
		return;
	for (int i = 0; i < n->n; i++) {
		const struct conf_node *child = n->v[i];
		const struct conf_key *k = find_key(keys, child->key);
		char places[64];

		if (!k)
			k = find_key(more, child->key);
		if (!k)
			conf_error(rd, child, NULL, "unknown key");
		else if (k->where && !(k->where & where))
			conf_error(rd, child, NULL, "may not stand here, only in %s",
				where_text(k->where, places, sizeof(places)));
		else if (k->sub && conf_node_want_map(rd, child))
			conf_check_keys(rd, k->sub, NULL, where, child);
	}
}

static void read_sub(
	struct conf_reader *rd, const struct conf_key *k, const struct conf_layers *layers, void *field)
{
	struct conf_layers found = conf_layers_get(rd, layers, k->name);

	conf_read_keys(rd, k->sub, &found, field);
}

static void print_sub(struct conf_printer *p, const struct conf_key *k, const void *field)
{
	conf_print_map(p, k->name, k->sub, field);
}

const struct conf_type conf_type_map = {"mapping", NULL, read_sub, print_sub};
/* Read and printed by whoever puts the whole together. */
const struct conf_type conf_type_part = {"mapping", NULL, NULL, NULL};
const struct conf_type conf_type_part_list = {"list", NULL, NULL, NULL};
const struct conf_type conf_type_part_text = {"string", NULL, NULL, NULL};
