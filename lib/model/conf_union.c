/* conf_union: values that are a word or a mapping: fence, verify; and the checks that preflight lowers. */
#include "lib/model/conf_priv.h"

#include <assert.h>
#include <string.h>

#define TABLE_NAME_MAX 260

/*
 * The layers that speak of the same thing as the most specific one: "mappings merge key by key", but a hook
 * does not merge into a security group.
 */
static struct conf_layers same_kind(struct conf_reader *rd, const struct conf_layers *found)
{
	struct conf_layers same = {0};
	const struct conf_node *top = found->v[found->n - 1];
	int first = found->n - 1;

	while (top->kind == CONF_NODE_MAP && top->n == 1 && first > 0) {
		const struct conf_node *below = found->v[first - 1];

		if (below->kind != CONF_NODE_MAP || below->n != 1 || !conf_node_get(below, top->v[0]->key))
			break;
		first--;
	}
	for (; first < found->n; first++)
		same = conf_layers_add(rd, &same, found->v[first]);
	return same;
}

static const struct conf_kind *find_kind(const struct conf_kind *kinds, int n, const char *word)
{
	for (int i = 0; i < n; i++)
		if (str_eq(kinds[i].word, word))
			return &kinds[i];
	return NULL;
}

/* One fence, from a word or from layers of a mapping with one key. False after an error. */
static bool read_fence_entry(struct conf_reader *rd, const struct conf_layers *layers, struct conf_fence *f)
{
	assert(layers->n > 0);
	const struct conf_node *n = layers->v[layers->n - 1];
	bool is_map = n->kind == CONF_NODE_MAP && n->n == 1;
	const struct conf_kind *kind;
	struct conf_layers inner = {0};

	if (!is_map && n->kind != CONF_NODE_SCALAR) {
		conf_error(rd, n, NULL, "a fence is a word or a mapping with one key");
		return false;
	}
	kind = find_kind(conf_fence_kinds, CONF_FENCE_KINDS, is_map ? n->v[0]->key : n->text);
	if (!kind) {
		conf_error(rd, is_map ? n->v[0] : n, NULL, "no such fence");
		return false;
	}
	f->kind = (enum conf_fence_kind)(kind - conf_fence_kinds);
	for (int i = 0; is_map && i < layers->n; i++) {
		const struct conf_node *in = layers->v[i]->v[0];

		if (!conf_node_want_map(rd, in))
			return false;
		conf_check_keys(rd, kind->keys, NULL, CONF_IN_OTHER, in);
		inner = conf_layers_add(rd, &inner, in);
	}
	conf_read_keys(rd, kind->keys, &inner, f);
	conf_check_fence(rd, is_map ? n->v[0] : n, f);
	return true;
}

static void read_fence_list(struct conf_reader *rd, const struct conf_node *list, struct conf_server *s)
{
	if (list->n == 0)
		conf_error(rd, list, NULL, "the list is empty");
	s->fences = arena_alloc(rd->arena, ((size_t)list->n + 1) * sizeof(*s->fences));
	for (int i = 0; i < list->n; i++) {
		struct conf_layers none = {0}, one = conf_layers_add(rd, &none, list->v[i]);
		struct conf_fence *f = &s->fences[s->nfences];

		if (!read_fence_entry(rd, &one, f))
			continue;
		for (int j = 0; j < s->nfences; j++)
			if (s->fences[j].kind == f->kind && str_eq(s->fences[j].hook_path, f->hook_path))
				conf_error(rd, list->v[i], NULL, "stands twice in the list");
		s->nfences++;
	}
}

/* Fills nfences and fences of a conf_server; read_only where nothing is said. */
static void read_fence(
	struct conf_reader *rd, const struct conf_key *k, const struct conf_layers *layers, void *field)
{
	struct conf_layers found = conf_layers_get(rd, layers, k->name);
	struct conf_server *s = field;

	if (found.n && found.v[found.n - 1]->kind == CONF_NODE_LIST) {
		read_fence_list(rd, found.v[found.n - 1], s);
		return;
	}
	s->nfences = 1;
	s->fences = arena_alloc(rd->arena, sizeof(*s->fences));
	s->fences[0].kind = CONF_FENCE_READ_ONLY;
	if (found.n) {
		found = same_kind(rd, &found);
		(void)read_fence_entry(rd, &found, &s->fences[0]);
	}
}

static void print_fence(struct conf_printer *p, const struct conf_key *k, const void *field)
{
	const struct conf_server *s = field;

	conf_print_line(p, "%s:", k->name);
	p->indent++;
	for (int i = 0; i < s->nfences; i++) {
		const struct conf_kind *kind = &conf_fence_kinds[s->fences[i].kind];

		if (!kind->keys->name) {
			conf_print_line(p, "- %s", kind->word);
			continue;
		}
		conf_print_line(p, "- %s:", kind->word);
		p->indent += 2;
		conf_print_rows(p, kind->keys, &s->fences[i]);
		p->indent -= 2;
	}
	p->indent--;
}

static const char *item_table(struct conf_reader *rd, const struct conf_node *n)
{
	const char *s = conf_read_text(rd, n, TABLE_NAME_MAX);
	const char *dot = s ? strchr(s, '.') : NULL;

	if (!s || (dot && dot > s && dot[1] && !strchr(dot + 1, '.')))
		return s;
	conf_error(rd, n, NULL, "DATABASE.TABLE is wanted, not '%.80s'", s);
	return NULL;
}

/* Fills verify and verify_tables of a conf_policy. */
static void read_verify(
	struct conf_reader *rd, const struct conf_key *k, const struct conf_layers *layers, void *field)
{
	struct conf_layers found = conf_layers_get(rd, layers, k->name);
	const struct conf_node *n = found.n ? found.v[found.n - 1] : NULL;
	const struct conf_node *tables = conf_node_get(n, "checksum");
	struct conf_policy *policy = field;

	policy->verify = CONF_VERIFY_NONE;
	if (!n || (n->kind == CONF_NODE_SCALAR && str_eq(n->text, "none")))
		return;
	if (n->kind == CONF_NODE_SCALAR && str_eq(n->text, "counts")) {
		policy->verify = CONF_VERIFY_COUNTS;
		return;
	}
	if (!tables || n->n != 1) {
		conf_error(rd, n, NULL, "none, counts or {checksum: [DATABASE.TABLE, ...]} is wanted");
		return;
	}
	policy->verify = CONF_VERIFY_CHECKSUM;
	if (conf_read_list(rd, tables, false, &policy->verify_tables, item_table) && !policy->verify_tables.n)
		conf_error(rd, tables, NULL, "the list is empty");
}

static void print_verify(struct conf_printer *p, const struct conf_key *k, const void *field)
{
	const struct conf_policy *policy = field;

	if (policy->verify != CONF_VERIFY_CHECKSUM) {
		conf_print_value(p, k->name, policy->verify == CONF_VERIFY_NONE ? "none" : "counts");
		return;
	}
	conf_print_line(p, "%s:", k->name);
	p->indent++;
	conf_print_list(p, "checksum", &policy->verify_tables);
	p->indent--;
}

static bool is_check(const char *name)
{
	for (const char *const *c = conf_check_names; *c; c++)
		if (str_eq(*c, name))
			return true;
	return false;
}

static struct conf_lowered *find_lowered(struct conf_policy *policy, const char *check)
{
	for (int i = 0; i < policy->nlower; i++)
		if (str_eq(policy->lower[i].check, check))
			return &policy->lower[i];
	return NULL;
}

static void read_one_lowered(struct conf_reader *rd, const struct conf_node *n, struct conf_policy *policy)
{
	static const char *const words[] = {"warn", "skip", NULL};
	static const struct conf_key key = {.words = words};
	struct conf_lowered *l = find_lowered(policy, n->key);
	int word;

	if (!is_check(n->key)) {
		conf_error(rd, n, NULL, "no such check");
		return;
	}
	if (!conf_type_word.read(rd, &key, n, &word))
		return;
	if (!l) {
		size_t size = (size_t)policy->nlower * sizeof(*l);

		policy->lower = arena_grow(rd->arena, policy->lower, size, size + sizeof(*l));
		l = &policy->lower[policy->nlower++];
	}
	*l = (struct conf_lowered){
		.check = arena_strdup(rd->arena, n->key), .to = word ? CONF_LOWER_SKIP : CONF_LOWER_WARN};
}

/* Fills nlower and lower of a conf_policy; what a more specific layer says of a check replaces what is there.
 */
static void read_lowered(
	struct conf_reader *rd, const struct conf_key *k, const struct conf_layers *layers, void *field)
{
	struct conf_layers found = conf_layers_get(rd, layers, k->name);

	for (int i = 0; i < found.n; i++)
		if (conf_node_want_map(rd, found.v[i]))
			for (int j = 0; j < found.v[i]->n; j++)
				read_one_lowered(rd, found.v[i]->v[j], field);
}

static void print_lowered(struct conf_printer *p, const struct conf_key *k, const void *field)
{
	const struct conf_policy *policy = field;

	conf_print_line(p, "%s:%s%s", k->name, policy->nlower ? "" : " ", policy->nlower ? "" : k->empty);
	p->indent++;
	for (int i = 0; i < policy->nlower; i++)
		conf_print_value(
			p, policy->lower[i].check, policy->lower[i].to == CONF_LOWER_SKIP ? "skip" : "warn");
	p->indent--;
}

const struct conf_type conf_type_fence = {"word, mapping or list", NULL, read_fence, print_fence};
const struct conf_type conf_type_verify = {
	"none|counts|{checksum: [DB.TABLE]}", NULL, read_verify, print_verify};
const struct conf_type conf_type_lowered = {"{CHECK: warn|skip}", NULL, read_lowered, print_lowered};
