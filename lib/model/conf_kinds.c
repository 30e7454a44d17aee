/* conf_kinds: the kinds of fences and endpoints with their keys, and the names of the checks of preflight. */
#include "lib/model/conf_priv.h"

#define MS INT64_C(1000)
#define SEC (1000 * MS)
#define HOUR (3600 * SEC)
#define TEXT_MAX 1024

/* clang-format off */
/* NOLINTBEGIN(bugprone-macro-parentheses): rows of a table, not expressions */
#define AT(field) offsetof(struct conf_endpoint, field)
#define FENCE_AT(field) offsetof(struct conf_fence, field)
#define HOOK_ROWS(path_at, timeout_at) \
	{.name = "path", .type = &conf_type_hook, .max = TEXT_MAX, .offset = path_at, \
		.does = "program or http(s) URL; required"}, \
	{.name = "timeout", .type = &conf_type_duration, .preset = "10s", .unit = MS, .min = 10 * MS, .max = HOUR, \
		.offset = timeout_at, .does = "longest time for one action"}
#define TEXT_ROW(key, at, text) {.name = key, .type = &conf_type_string, .max = TEXT_MAX, .offset = at, .does = text}
/* NOLINTEND(bugprone-macro-parentheses) */

static const char *const type_words[] = {"A", "AAAA", "CNAME", NULL};
static const char *const order_words[] = {"before_open", "after_open", NULL};
static const char *const algorithm_words[] = {"hmac-sha256", "hmac-sha512", NULL};

/* The secret may be the base64 text alone or a BIND key clause, which brings name and algorithm. */
static const struct conf_key tsig_keys[] = {
	{.name = "name", .type = &conf_type_dns_name, .max = TEXT_MAX, .offset = AT(tsig_name), .does = "of the key"},
	{.name = "algorithm", .type = &conf_type_choice, .words = algorithm_words, .offset = AT(tsig_algorithm),
		.does = "of the key; default: what the key clause says, else hmac-sha256"},
	{.name = "secret", .type = &conf_type_secret, .offset = AT(tsig_secret), .does = "inline; works, and warns"},
	{.name = "secret_file", .type = &conf_type_secret_way, .does = "base64 alone, or a BIND key clause"},
	{.name = "secret_env", .type = &conf_type_secret_way, .does = "the same from an environment variable"},
	{.name = "credential", .type = &conf_type_secret_way, .does = "the same from a systemd credential"},
	{0},
};

#define RECORD_ROWS \
	{.name = "name", .type = &conf_type_dns_name, .max = TEXT_MAX, .offset = AT(rr_name), .does = "of the record; required"}, \
	{.name = "type", .type = &conf_type_choice, .words = type_words, .offset = AT(type), \
		.does = "of the record; required"}, \
	{.name = "ttl", .type = &conf_type_duration, .preset = "5s", .unit = SEC, .min = 0, .max = 168 * HOUR, \
		.offset = AT(ttl_s), .does = "of the record"}, \
	{.name = "source", .type = &conf_type_one_or_list, .offset = AT(value[CONF_SOURCE]), \
		.does = "its value while source is master; required"}, \
	{.name = "target", .type = &conf_type_one_or_list, .offset = AT(value[CONF_TARGET]), \
		.does = "its value while target is master; required"}
#define ORDER_ROW \
	{.name = "order", .type = &conf_type_word, .words = order_words, .preset = "before_open", .offset = AT(order), \
		.does = "whether the flip waits for it before new opens"}

static const struct conf_key dns_keys[] = {
	RECORD_ROWS,
	{.name = "zone", .type = &conf_type_dns_name, .max = TEXT_MAX, .offset = AT(zone), .does = "it is in; required"},
	{.name = "servers", .type = &conf_type_addresses, .offset = AT(servers),
		.does = "take updates, tried in order, over TCP; required"},
	{.name = "authoritative", .type = &conf_type_addresses, .offset = AT(authoritative),
		.does = "must show the change; default: the zone's NS set"},
	{.name = "tsig", .type = &conf_type_map, .sub = tsig_keys, .does = "the key that signs updates"},
	ORDER_ROW,
	{0},
};

static const struct conf_key route53_keys[] = {
	TEXT_ROW("hosted_zone_id", AT(hosted_zone_id), "Route 53's id of the zone; required"),
	RECORD_ROWS,
	ORDER_ROW,
	{0},
};

static const struct conf_key hook_keys[] = {
	HOOK_ROWS(AT(path), AT(timeout_ms)),
	ORDER_ROW,
	{0},
};

static const struct conf_key fence_hook_keys[] = {
	HOOK_ROWS(FENCE_AT(hook_path), FENCE_AT(hook_timeout_ms)),
	{0},
};

static const struct conf_key no_keys[] = {
	{0},
};

#define REGION_ROW TEXT_ROW("region", FENCE_AT(region), "AWS region; required")

static const struct conf_key security_group_keys[] = {
	REGION_ROW,
	TEXT_ROW("cluster_id", FENCE_AT(cluster_id), "Aurora cluster"),
	TEXT_ROW("instance_id", FENCE_AT(instance_id), "or RDS instance"),
	{.name = "open", .type = &conf_type_list, .offset = FENCE_AT(open), .does = "groups while open; required"},
	{.name = "closed", .type = &conf_type_list, .offset = FENCE_AT(closed), .does = "groups while closed; required"},
	{0},
};

static const struct conf_key rds_read_only_keys[] = {
	REGION_ROW,
	TEXT_ROW("cluster_id", FENCE_AT(cluster_id), "Aurora cluster; required"),
	{0},
};

static const struct conf_key parameter_group_keys[] = {
	REGION_ROW,
	TEXT_ROW("instance_id", FENCE_AT(instance_id), "RDS instance; required"),
	TEXT_ROW("group", FENCE_AT(group), "its parameter group; required"),
	{0},
};

const struct conf_kind conf_fence_kinds[CONF_FENCE_KINDS] = {
	[CONF_FENCE_READ_ONLY] = {"read_only", no_keys, false},
	[CONF_FENCE_SECURITY_GROUP] = {"security_group", security_group_keys, true},
	[CONF_FENCE_RDS_READ_ONLY] = {"rds_read_only", rds_read_only_keys, true},
	[CONF_FENCE_PARAMETER_GROUP] = {"parameter_group", parameter_group_keys, true},
	[CONF_FENCE_HOOK] = {"hook", fence_hook_keys, false},
};

const struct conf_kind conf_endpoint_kinds[CONF_ENDPOINT_KINDS] = {
	[CONF_ENDPOINT_DNS] = {"dns", dns_keys, false},
	[CONF_ENDPOINT_HOOK] = {"hook", hook_keys, false},
	[CONF_ENDPOINT_ROUTE53] = {"route53", route53_keys, true},
};
/* clang-format on */

const char *const conf_check_names[] = {"connect", "clock_skew", "server_id", "version_order", "flavor_pair",
	"privileges", "own_accounts", "spare_connection", "binlog", "log_retention", "variables",
	"durability", "capacity", "boot_fence", "galera", "managers", "self_reference", "unfinished_flip",
	"replicating", "binlog_filters", "skipped_errors", "lag", "delay", "gtid", "channels", "reverse_path",
	"parallel", "semi_sync", "standby_fenced", "single_master", "stray_writers", "auto_increment",
	"long_transactions", "ddl", "locks", "backups", "temporary_tables", "bypass", "events", "sessions",
	"fence_probe", "schema", "accounts", "engines", "primary_keys", "dns_current", "dns_ttl",
	"dns_update", "route53", "proxy", "hooks", "security_groups", "pending_modifications",
	"write_forwarding", NULL};
