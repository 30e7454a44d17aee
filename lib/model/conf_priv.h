/*
 * conf_priv: what the files of conf share. A text becomes a tree of nodes (conf_yaml.c); tables of keys
 * (conf_keys.c) say what may stand where and which field takes it; the reader (conf_read.c, conf_type.c)
 * fills fields from layers of nodes, the most specific last; conf_cluster.c, conf_endpoint.c and conf_check.c
 * put clusters together; the printer (conf_print.c) walks the same tables the other way.
 */
#ifndef MODEL_CONF_PRIV_H
#define MODEL_CONF_PRIV_H

#include "lib/base/arena.h"
#include "lib/base/base.h"
#include "lib/base/str.h"
#include "lib/model/conf.h"

/* ---- nodes: one YAML value each, in the scratch arena ---- */

enum conf_node_kind { CONF_NODE_NULL, CONF_NODE_SCALAR, CONF_NODE_LIST, CONF_NODE_MAP };

struct conf_node {
	enum conf_node_kind kind;
	const char *file;
	int line; /* of the key, for what stands under one */
	const struct conf_node *parent;
	const char *key;     /* under which it stands in a mapping, else NULL */
	int index;	     /* in a list */
	char *text;	     /* scalar */
	const char **secret; /* scalar: what it leads to, once that was read */
	int n, cap;
	struct conf_node **v;
};

struct conf_place {
	const char *file;
	int line;
};

/* What one load works on. */
struct conf_reader {
	struct conf_box *box;
	struct arena *arena;   /* the configuration's own */
	struct arena *scratch; /* gone after the load */
	struct conf_errors *errors;
	struct conf_place *places; /* of the errors, which are kept in the order of the text */
	bool journaled;		   /* a journal's text: no secrets, no files looked for */
	bool partial;		   /* a text could not be read: what is missing may stand there */
	int ndocs;
	const struct conf_node **docs; /* the files' top mappings, in order */
};

/* Adds the tree of one text to docs; what is wrong with it goes to the errors. */
void conf_yaml_read(struct conf_reader *, const char *file, const char *text, size_t len);

/* "FILE:LINE: KEY: message", once each. sub, when not NULL, is a key below the node. */
void conf_error(struct conf_reader *, const struct conf_node *, const char *sub, const char *fmt, ...)
	PRINTF(4, 5);
void conf_error_at(struct conf_reader *, const char *file, int line, const char *key, const char *fmt, ...)
	PRINTF(5, 6);
void conf_warn(struct conf_reader *, const struct conf_node *, const char *sub, const char *fmt, ...)
	PRINTF(4, 5);
const struct conf_node *conf_node_get(const struct conf_node *map, const char *key);
/* False, with an error, unless it is a mapping; null is an empty one. */
bool conf_node_want_map(struct conf_reader *, const struct conf_node *);

/* ---- keys ---- */

enum conf_where {
	CONF_IN_DEFAULTS = 1,
	CONF_IN_CLUSTER = 2,
	CONF_IN_SERVER = 4,
	CONF_IN_REPLICA = 8,
	CONF_IN_OTHER = 16, /* one place only, which the table itself names */
};

struct conf_key;
struct conf_layers;
struct conf_printer;

/* How values of one type are read and printed. field is inside the struct that the table fills. */
struct conf_type {
	const char *name;
	/* One scalar or list. False after an error. */
	bool (*read)(struct conf_reader *, const struct conf_key *, const struct conf_node *, void *field);
	/* Or all the layers in which the key stands (mappings, secrets); called even where it stands nowhere.
	 */
	void (*read_layers)(
		struct conf_reader *, const struct conf_key *, const struct conf_layers *, void *field);
	/* NULL: printed by its owner. Prints nothing where there is nothing to say. */
	void (*print)(struct conf_printer *, const struct conf_key *, const void *field);
};

struct conf_key {
	const char *name;
	const struct conf_type *type;
	unsigned where;
	size_t offset;
	const char *preset; /* the built-in default as it would be written; NULL: none */
	const char *empty;  /* the built-in default where that is nothing: "[]", "{}" */
	int64_t min, max;   /* numbers; durations in microseconds; strings: longest */
	int64_t unit;	    /* durations: the field's unit in microseconds */
	const char *const *words;
	const struct conf_key *sub; /* mappings */
	const char *does;
};

extern const struct conf_type conf_type_string, conf_type_ident, conf_type_path, conf_type_file,
	conf_type_hook, conf_type_host, conf_type_port, conf_type_duration, conf_type_number, conf_type_count,
	conf_type_bool, conf_type_tristate, conf_type_word, conf_type_choice, conf_type_list, conf_type_hooks,
	conf_type_one_or_list, conf_type_addresses, conf_type_dns_name, conf_type_secret,
	conf_type_secret_way, conf_type_map, conf_type_part, conf_type_part_list, conf_type_part_text,
	conf_type_fence, conf_type_verify, conf_type_lowered, conf_type_address, conf_type_listen;

/* Tables end with a row without a name. */
extern const struct conf_key conf_keys_top[], conf_keys_daemon[], conf_keys_server[], conf_keys_cluster[],
	conf_keys_group[];

struct conf_kind { /* of fences and endpoints */
	const char *word;
	const struct conf_key *keys;
	bool later; /* parsed and checked, but not built yet */
};
extern const struct conf_kind conf_fence_kinds[], conf_endpoint_kinds[];
#define CONF_FENCE_KINDS (CONF_FENCE_HOOK + 1)
#define CONF_ENDPOINT_KINDS (CONF_ENDPOINT_ROUTE53 + 1)
extern const char *const conf_flavor_words[];
extern const char *const conf_check_names[]; /* of preflight, ended by NULL */

/* ---- reading ---- */

struct conf_layers {
	int n;
	const struct conf_node **v; /* least specific first */
};

struct conf_layers conf_layers_add(
	struct conf_reader *, const struct conf_layers *, const struct conf_node *);
/* The values of a key in all layers that have it. */
struct conf_layers conf_layers_get(struct conf_reader *, const struct conf_layers *, const char *key);
/* Fills base from the layers, presets where a key stands nowhere. */
void conf_read_keys(
	struct conf_reader *, const struct conf_key *keys, const struct conf_layers *, void *base);
/* The same from one mapping, unknown keys refused. */
void conf_read_map(struct conf_reader *, const struct conf_key *keys, const struct conf_node *, void *base);
/* Errors for keys that are in none of the tables (the second may be NULL) or may not stand in `where`. */
void conf_check_keys(struct conf_reader *, const struct conf_key *keys, const struct conf_key *more,
	unsigned where, const struct conf_node *);
/* A string that a line of log, SQL or DNS can carry; NULL after an error. */
const char *conf_read_text(struct conf_reader *, const struct conf_node *, int64_t longest);
bool conf_read_list(struct conf_reader *, const struct conf_node *, bool one_too, struct conf_list *ret,
	const char *(*item)(struct conf_reader *, const struct conf_node *));
/* "HOST[:PORT]", "[v6]:PORT", "v6"; in place of a missing port 0. False for anything else. */
bool conf_split_address(struct arena *, const char *s, const char **ret_host, uint16_t *ret_port);
bool conf_is_ip(const char *s);
bool conf_is_host(const char *s);
/* A copy that is wiped with the box. */
const char *conf_keep_secret(struct conf_box *, const char *s, size_t n);
/* The secret of an endpoint, base64 or a key clause, becomes base64; name and algorithm agree or are filled
 * in. */
void conf_check_tsig(struct conf_reader *, const struct conf_node *, struct conf_endpoint *);
/* "name." for "name"; NULL when it is no domain name. */
const char *conf_dns_name(struct arena *, const char *s);

/* ---- assembling ---- */

void conf_read_all(struct conf_reader *); /* all docs into the box's conf */
void conf_read_endpoints(struct conf_reader *, const struct conf_node *list, struct conf_cluster *);
void conf_read_groups(struct conf_reader *);
bool conf_check_name(struct conf_reader *, const struct conf_node *); /* of a cluster or group */
void conf_check_fence(struct conf_reader *, const struct conf_node *, const struct conf_fence *);
void conf_check_server(struct conf_reader *, const struct conf_node *, const struct conf_server *);
void conf_check_cluster(struct conf_reader *, const struct conf_node *, const struct conf_cluster *);
/* nodes: where each cluster stands. */
void conf_check_shared(struct conf_reader *, const struct conf_node *const *nodes);
void conf_check_endpoint(struct conf_reader *, const struct conf_node *, struct conf_endpoint *);
/* An error for a key that is needed and stands nowhere. True when it is there. */
bool conf_need(struct conf_reader *, const struct conf_node *, const char *key, bool is_there);

/* ---- the snapshot ---- */

struct conf_secret {
	struct conf_secret *next;
	size_t size;
	char text[];
};

struct conf_box {
	struct conf conf;
	int refs;
	struct arena *arena;
	struct conf_secret *secrets;
};

struct conf_box *conf_box_new(const char *file);
/* Everything in the docs read and checked; 0 with a reference, or -EINVAL and the box is gone. */
int conf_finish(struct conf_reader *, struct conf **ret) MUSTCHECK;

/* ---- printing ---- */

struct conf_printer {
	struct strbuf out;
	int indent;
	bool secrets; /* as ***; else not at all */
};

/* A hook's path; of a URL's user and password three stars. */
void conf_print_hook(struct strbuf *out, const char *path);

void conf_print_line(struct conf_printer *, const char *fmt, ...) PRINTF(2, 3);
void conf_print_value(struct conf_printer *, const char *key, const char *value); /* quoted where needed */
void conf_print_list(struct conf_printer *, const char *key, const struct conf_list *);
void conf_print_rows(struct conf_printer *, const struct conf_key *keys, const void *base);
/* A mapping under a key; left out when nothing is in it and unless is not. */
void conf_print_map(struct conf_printer *, const char *key, const struct conf_key *keys, const void *base);
void conf_print_one_cluster(struct conf_printer *, const struct conf_cluster *);

#endif
