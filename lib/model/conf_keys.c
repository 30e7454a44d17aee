/*
 * conf_keys: every key outside endpoints and fences, once: where it may stand, what it may be, its default,
 * what it does. The parser, the printer, --print-keys and the manual read these rows.
 */
#include "lib/model/conf_priv.h"

#define US INT64_C(1)
#define MS (1000 * US)
#define SEC (1000 * MS)
#define MIN (60 * SEC)
#define HOUR (60 * MIN)

#define TEXT_MAX 1024
#define USER_MAX 127   /* what facts can hold; MariaDB takes 128 characters, MySQL 32 */
#define SOCKET_MAX 107 /* sun_path, unix(7) */
#define SCHEMA_MAX 64

#define CONNECTION (CONF_IN_DEFAULTS | CONF_IN_CLUSTER | CONF_IN_SERVER)
#define POLICY (CONF_IN_DEFAULTS | CONF_IN_CLUSTER)

/* clang-format off */
/* NOLINTBEGIN(bugprone-macro-parentheses): rows of a table, not expressions */
/* The ways in which a secret is given stand side by side; the first row reads them all. */
#define SECRET_ROWS(places, at) \
	{.name = "password", .type = &conf_type_secret, .where = places, .offset = at, \
		.does = "inline; works, and warns"}, \
	{.name = "password_file", .type = &conf_type_secret_way, .where = places, \
		.does = "file that holds it; a trailing newline is cut"}, \
	{.name = "password_env", .type = &conf_type_secret_way, .where = places, \
		.does = "environment variable that holds it"}, \
	{.name = "credential", .type = &conf_type_secret_way, .where = places, \
		.does = "name of a systemd credential (LoadCredential=)"}

#define AT(struct_, field) offsetof(struct struct_, field)

const char *const conf_flavor_words[] = {"auto", "mariadb", "mysql", "rds", "aurora", NULL};
static const char *const tls_words[] = {"disabled", "preferred", "required", "verify_ca", "verify_identity", NULL};
static const char *const flush_words[] = {"auto", "always", "never", NULL};
static const char *const blockers_words[] = {"kill", "wait", "withdraw", NULL};
static const char *const restart_words[] = {"roll_back", "resume", NULL};
static const char *const guard_words[] = {"alarm", "fence", NULL};
static const char *const via_words[] = {"servers", "endpoint", "none", NULL};

static const struct conf_key account_keys[] = {
	{.name = "user", .type = &conf_type_string, .max = USER_MAX, .offset = AT(conf_account, user),
		.does = "account name"},
	SECRET_ROWS(0, AT(conf_account, password)),
	{0},
};

static const struct conf_key tls_keys[] = {
	{.name = "mode", .type = &conf_type_word, .words = tls_words, .preset = "preferred",
		.offset = AT(conf_tls_opts, mode), .does = "how far connections are encrypted and servers proven, those of replication that a flip sets "
			"up too"},
	{.name = "ca", .type = &conf_type_file, .max = TEXT_MAX, .offset = AT(conf_tls_opts, ca),
		.does = "certificates to trust, on the servers' hosts too"},
	{.name = "cert", .type = &conf_type_file, .max = TEXT_MAX, .offset = AT(conf_tls_opts, cert),
		.does = "flipd's own certificate, on the servers' hosts too"},
	{.name = "key", .type = &conf_type_file, .max = TEXT_MAX, .offset = AT(conf_tls_opts, key),
		.does = "and its key"},
	{0},
};

const struct conf_key conf_keys_server[] = {
	{.name = "name", .type = &conf_type_part_text, .where = CONF_IN_REPLICA, .does = "what it is called; default: the host"},
	{.name = "host", .type = &conf_type_host, .where = CONF_IN_SERVER, .max = TEXT_MAX, .offset = AT(conf_server, host),
		.does = "name or address; required"},
	{.name = "port", .type = &conf_type_port, .where = CONNECTION, .preset = "3306", .min = 1, .max = UINT16_MAX,
		.offset = AT(conf_server, port), .does = "TCP port"},
	{.name = "socket", .type = &conf_type_path, .where = CONNECTION, .max = SOCKET_MAX,
		.offset = AT(conf_server, socket), .does = "Unix socket, for flipd's own connections"},
	{.name = "replication_address", .type = &conf_type_address, .where = CONNECTION, .max = TEXT_MAX,
		.does = "where other servers reach this one; default: host and port"},
	{.name = "flavor", .type = &conf_type_word, .where = CONNECTION, .words = conf_flavor_words, .preset = "auto",
		.offset = AT(conf_server, flavor), .does = "what kind of server it is"},
	{.name = "user", .type = &conf_type_string, .where = CONNECTION, .max = USER_MAX,
		.offset = AT(conf_server, account.user), .does = "flipd's account; required at some level"},
	SECRET_ROWS(CONNECTION, AT(conf_server, account.password)),
	{.name = "replication", .type = &conf_type_map, .where = CONNECTION, .sub = account_keys,
		.offset = AT(conf_server, replication),
		.does = "the account with which servers replicate; replication.user is required at some level"},
	{.name = "tls", .type = &conf_type_map, .where = CONNECTION, .sub = tls_keys, .offset = AT(conf_server, tls),
		.does = "encryption of connections"},
	{.name = "fence", .type = &conf_type_fence, .where = CONNECTION, .preset = "read_only",
		.does = "what keeps applications from writing; of a list all must hold, read_only among them"},
	{.name = "boots_fenced", .type = &conf_type_tristate, .where = CONNECTION,
		.offset = AT(conf_server, boots_fenced), .does = "whether a restart leaves the server refusing writes"},
	{0},
};

static const struct conf_key heartbeat_keys[] = {
	{.name = "schema", .type = &conf_type_ident, .preset = "flipd", .max = SCHEMA_MAX,
		.offset = AT(conf_policy, heartbeat_schema), .does = "schema of flipd's own tables"},
	{.name = "interval", .type = &conf_type_duration, .preset = "1s", .unit = MS, .min = 10 * MS, .max = HOUR,
		.offset = AT(conf_policy, heartbeat_interval_ms), .does = "time between beats outside a flip"},
	{.name = "user", .type = &conf_type_string, .max = USER_MAX, .offset = AT(conf_policy, heartbeat_account.user),
		.does = "account; default: flipd's own"},
	SECRET_ROWS(0, AT(conf_policy, heartbeat_account.password)),
	{0},
};

static const struct conf_key probe_keys[] = {
	{.name = "via", .type = &conf_type_word, .words = via_words, .preset = "servers",
		.offset = AT(conf_policy, probe_via), .does = "how the probe finds the master"},
	{.name = "interval", .type = &conf_type_duration, .preset = "10ms", .unit = US, .min = 100 * US, .max = 10 * SEC,
		.offset = AT(conf_policy, probe_interval_us), .does = "time between its writes in a flip"},
	{0},
};

static const struct conf_key sessions_keys[] = {
	{.name = "exempt_users", .type = &conf_type_list, .offset = AT(conf_policy, exempt_users),
		.does = "accounts whose sessions are not killed"},
	{.name = "lock_accounts", .type = &conf_type_list, .empty = "[]", .offset = AT(conf_policy, lock_accounts),
		.does = "accounts that cannot log in to old for as long as a flip lasts: USER (at every host) or USER@HOST"},
	{.name = "keep_text", .type = &conf_type_bool, .preset = "false", .offset = AT(conf_policy, keep_text),
		.does = "keep the statements of killed sessions, not only their digest"},
	{0},
};

static const struct conf_key hooks_keys[] = {
	{.name = "before_fence", .type = &conf_type_hooks, .offset = AT(conf_hooks, before_fence),
		.does = "outside the blackout; failing refuses the flip"},
	{.name = "after_open", .type = &conf_type_hooks, .offset = AT(conf_hooks, after_open), .does = "new takes writes"},
	{.name = "after_rollback", .type = &conf_type_hooks, .offset = AT(conf_hooks, after_rollback),
		.does = "whenever before_fence was begun and the flip did not happen"},
	{.name = "after_end", .type = &conf_type_hooks, .offset = AT(conf_hooks, after_end),
		.does = "always, with FLIPD_OUTCOME"},
	{.name = "on_stuck", .type = &conf_type_hooks, .offset = AT(conf_hooks, on_stuck), .does = "an operator is needed"},
	{0},
};

#define POLICY_DURATION(key, field, least, most, default_, text) \
	{.name = key, .type = &conf_type_duration, .where = POLICY, .preset = default_, .unit = MS, .min = least, \
		.max = most, .offset = AT(conf_cluster, policy.field), .does = text}
#define POLICY_NUMBER(key, field, most, default_, text) \
	{.name = key, .type = &conf_type_number, .where = POLICY, .preset = default_, .min = 1, .max = most, \
		.offset = AT(conf_cluster, policy.field), .does = text}
#define POLICY_WORD(key, field, list, default_, text) \
	{.name = key, .type = &conf_type_word, .where = POLICY, .preset = default_, .words = list, \
		.offset = AT(conf_cluster, policy.field), .does = text}
#define POLICY_MAP(key, keys, at, text) \
	{.name = key, .type = &conf_type_map, .where = POLICY, .sub = keys, .offset = AT(conf_cluster, at), .does = text}
/* NOLINTEND(bugprone-macro-parentheses) */

const struct conf_key conf_keys_cluster[] = {
	{.name = "source", .type = &conf_type_part, .where = CONF_IN_CLUSTER, .does = "one side; required"},
	{.name = "target", .type = &conf_type_part, .where = CONF_IN_CLUSTER, .does = "the other side; required"},
	{.name = "replicas", .type = &conf_type_part_list, .where = CONF_IN_CLUSTER, .does = "list of further servers"},
	{.name = "endpoints", .type = &conf_type_part_list, .where = CONF_IN_CLUSTER,
		.does = "list of what applications follow to the master"},
	POLICY_DURATION("max_lag", max_lag_ms, 1 * MS, CONF_LAG_MOST_MS * MS, "1s", "the flip waits until new is closer than this"),
	POLICY_DURATION("max_transaction_age", max_transaction_age_ms, 1 * MS, HOUR, "2s",
		"the flip waits for transactions with changes older than this"),
	POLICY_NUMBER("max_transaction_rows", max_transaction_rows, 1000000000, "10000",
		"and for those with more changed rows"),
	POLICY_DURATION("drain_timeout", drain_timeout_ms, 10 * MS, 24 * HOUR, "30s", "longest wait for the right moment"),
	POLICY_DURATION("fence_timeout", fence_timeout_ms, 10 * MS, MIN, "500ms", "longest wait for the fence statement"),
	POLICY_NUMBER("fence_attempts", fence_attempts, 100, "5", "how often the fence is tried"),
	POLICY_WORD("blockers", blockers, blockers_words, "kill", "what becomes of sessions that block the fence"),
	POLICY_DURATION("kill_timeout", kill_timeout_ms, 10 * MS, 10 * MIN, "5s", "longest wait for killed sessions to go"),
	POLICY_WORD("flush", flush, flush_words, "auto", "FLUSH LOCAL TABLES before the fence"),
	POLICY_DURATION("max_blackout", max_blackout_ms, 100 * MS, CONF_BLACKOUT_MOST_MS * MS, "10s",
		"the flip rolls back when writes have stood still for so long"),
	POLICY_DURATION("settle_timeout", settle_timeout_ms, SEC, 24 * HOUR, "10m", "longest time for the steps after open"),
	POLICY_WORD("on_restart", on_restart, restart_words, "roll_back", "what recovery does with a fenced flip"),
	POLICY_DURATION("recover_within", recover_within_ms, SEC, 720 * HOUR, "1h",
		"older unfinished flips wait for flipctl resolve"),
	POLICY_WORD("guard", guard, guard_words, "alarm", "what happens when a closed side is found open after a flip"),
	{.name = "verify", .type = &conf_type_verify, .where = POLICY, .preset = "none",
		.offset = AT(conf_cluster, policy), .does = "comparison of data before the opening"},
	POLICY_MAP("heartbeat", heartbeat_keys, policy, "the table that measures lag"),
	POLICY_MAP("fence_probe", account_keys, policy.fence_probe,
		"an account that the fence stops, for proofs and the probe"),
	POLICY_MAP("probe", probe_keys, policy, "measures the blackout from outside the procedure"),
	POLICY_MAP("sessions", sessions_keys, policy, "what is killed and what is kept of it"),
	{.name = "preflight", .type = &conf_type_lowered, .where = POLICY, .empty = "{}",
		.offset = AT(conf_cluster, policy), .does = "checks that are to refuse less"},
	POLICY_MAP("hooks", hooks_keys, hooks, "programs and URLs that are told"),
	{0},
};

const struct conf_key conf_keys_daemon[] = {
	{.name = "state_dir", .type = &conf_type_path, .preset = "/var/lib/flipd", .max = TEXT_MAX,
		.offset = AT(conf_daemon, state_dir), .does = "where the journal is"},
	{.name = "control_socket", .type = &conf_type_path, .preset = "/run/flipd/control.sock", .max = SOCKET_MAX,
		.offset = AT(conf_daemon, control_socket), .does = "where flipctl connects"},
	{.name = "control_group", .type = &conf_type_string, .max = USER_MAX, .offset = AT(conf_daemon, control_group),
		.does = "its members may change things; unset: only root and flipd's own user"},
	{.name = "status_listen", .type = &conf_type_listen, .preset = "127.0.0.1:9633", .max = TEXT_MAX,
		.does = "address of the status endpoint"},
	{.name = "poll_interval", .type = &conf_type_duration, .preset = "1s", .unit = MS, .min = 50 * MS, .max = HOUR,
		.offset = AT(conf_daemon, poll_interval_ms), .does = "time between two looks at a server"},
	{0},
};

const struct conf_key conf_keys_group[] = {
	{.name = "clusters", .type = &conf_type_list, .offset = AT(conf_group, clusters),
		.does = "names of clusters; \"*\": all"},
	{.name = "barrier", .type = &conf_type_bool, .preset = "false", .offset = AT(conf_group, barrier),
		.does = "all members flip, or none"},
	{.name = "max_parallel", .type = &conf_type_count, .preset = "8", .min = 1, .max = 1000,
		.offset = AT(conf_group, max_parallel), .does = "how many flip at a time without a barrier"},
	{0},
};

const struct conf_key conf_keys_top[] = {
	{.name = "daemon", .type = &conf_type_part, .does = "the process"},
	{.name = "defaults", .type = &conf_type_part, .does = "what holds where a cluster or server says nothing"},
	{.name = "clusters", .type = &conf_type_part, .does = "by name"},
	{.name = "groups", .type = &conf_type_part, .does = "by name; clusters and groups share one name space"},
	{0},
};
