/*
 * conf: one configuration, read whole from YAML, checked whole, never changed afterwards. A flip and the
 * watcher hold a reference to the snapshot they started with; a reload makes a new one. The keys are a table
 * (conf_keys.c), and
 * --print-keys, the man page and the parser all read that table.
 */
#ifndef MODEL_CONF_H
#define MODEL_CONF_H

#include "lib/base/base.h"
#include "lib/base/err.h"

enum conf_flavor {
	CONF_FLAVOR_AUTO,
	CONF_FLAVOR_MARIADB,
	CONF_FLAVOR_MYSQL,
	CONF_FLAVOR_RDS,
	CONF_FLAVOR_AURORA
};
enum conf_tls {
	CONF_TLS_DISABLED,
	CONF_TLS_PREFERRED,
	CONF_TLS_REQUIRED,
	CONF_TLS_VERIFY_CA,
	CONF_TLS_VERIFY_IDENTITY
};
enum conf_flush { CONF_FLUSH_AUTO, CONF_FLUSH_ALWAYS, CONF_FLUSH_NEVER };
enum conf_blockers { CONF_BLOCKERS_KILL, CONF_BLOCKERS_WAIT, CONF_BLOCKERS_WITHDRAW };
enum conf_restart { CONF_RESTART_ROLL_BACK, CONF_RESTART_RESUME };
enum conf_guard { CONF_GUARD_ALARM, CONF_GUARD_FENCE };
enum conf_verify { CONF_VERIFY_NONE, CONF_VERIFY_COUNTS, CONF_VERIFY_CHECKSUM };
enum conf_via { CONF_VIA_SERVERS, CONF_VIA_ENDPOINT, CONF_VIA_NONE };
enum conf_lower { CONF_LOWER_NO, CONF_LOWER_WARN, CONF_LOWER_SKIP };
enum conf_order { CONF_ORDER_BEFORE_OPEN, CONF_ORDER_AFTER_OPEN };
/* The most that the keys max_lag and max_blackout take, and requests that set them. */
enum { CONF_LAG_MOST_MS = 3600000, CONF_BLACKOUT_MOST_MS = 600000 };

enum conf_side { CONF_SOURCE = 0, CONF_TARGET = 1 };
enum conf_fence_kind {
	CONF_FENCE_READ_ONLY,
	CONF_FENCE_SECURITY_GROUP,
	CONF_FENCE_RDS_READ_ONLY,
	CONF_FENCE_PARAMETER_GROUP,
	CONF_FENCE_HOOK
};
enum conf_endpoint_kind { CONF_ENDPOINT_DNS, CONF_ENDPOINT_HOOK, CONF_ENDPOINT_ROUTE53 };

struct conf_list { /* of strings */
	int n;
	const char **v;
};

struct conf_account {
	const char *user, *password; /* password read at load time; NULL where none was given */
};

struct conf_tls_opts {
	enum conf_tls mode;
	const char *ca, *cert, *key;
};

struct conf_fence {
	enum conf_fence_kind kind;
	const char *hook_path; /* CONF_FENCE_HOOK */
	int64_t hook_timeout_ms;
	const char *region, *cluster_id, *instance_id, *group; /* AWS kinds */
	struct conf_list open, closed;
};

struct conf_server {
	const char *name; /* "source", "target", or the replica's name */
	const char *host, *socket;
	uint16_t port;		      /* 3306 */
	const char *replication_host; /* where other servers reach this one; default host and port */
	uint16_t replication_port;
	enum conf_flavor flavor;
	struct conf_account account; /* flipd's own, merged from all levels */
	struct conf_account replication;
	struct conf_tls_opts tls;
	int nfences;
	struct conf_fence *fences; /* at least one; default read_only */
	int boots_fenced;	   /* -1 not said, 0 no, 1 yes: what a restart of this server does */
};

struct conf_endpoint {
	enum conf_endpoint_kind kind;
	enum conf_order order;
	const char *label; /* "dns db.example.com." / "hook /usr/local/..."; unique in the cluster */
	/* dns, route53 */
	const char *rr_name, *zone, *type; /* fully qualified with the dot; type A, AAAA, CNAME */
	int64_t ttl_s;
	struct conf_list servers, authoritative; /* ADDRESS[:PORT], [v6]:PORT; authoritative may be empty */
	const char *tsig_name, *tsig_algorithm, *tsig_secret; /* base64; NULL without tsig */
	struct conf_list value[2];			      /* by enum conf_side */
	const char *hosted_zone_id;			      /* route53 */
	/* hook */
	const char *path;
	int64_t timeout_ms;
};

struct conf_policy {
	int64_t max_lag_ms, max_transaction_age_ms, max_transaction_rows, drain_timeout_ms;
	int64_t fence_timeout_ms, fence_attempts, kill_timeout_ms, max_blackout_ms, settle_timeout_ms,
		recover_within_ms;
	enum conf_blockers blockers;
	enum conf_flush flush;
	enum conf_restart on_restart;
	enum conf_guard guard;
	enum conf_verify verify;
	struct conf_list verify_tables; /* db.table, for checksum */
	const char *heartbeat_schema;	/* "flipd" */
	int64_t heartbeat_interval_ms;
	struct conf_account heartbeat_account; /* user NULL: flipd's own */
	struct conf_account fence_probe;       /* user NULL: not configured */
	enum conf_via probe_via;
	int64_t probe_interval_us;
	struct conf_list exempt_users, lock_accounts;
	bool keep_text;
	int nlower;
	struct conf_lowered {
		const char *check;
		enum conf_lower to;
	} * lower;
};

struct conf_hooks {
	struct conf_list before_fence, after_open, after_rollback, after_end, on_stuck;
};

struct conf_cluster {
	const char *name;
	struct conf_server side[2]; /* by enum conf_side */
	int nreplicas;
	struct conf_server *replicas;
	int nendpoints;
	struct conf_endpoint *endpoints;
	struct conf_hooks hooks;
	struct conf_policy policy;
};

struct conf_group {
	const char *name;
	struct conf_list clusters; /* expanded names */
	bool barrier;
	int max_parallel;
};

struct conf_daemon {
	const char *state_dir, *control_socket, *control_group; /* control_group NULL: unset */
	const char *status_host;				/* NULL: none */
	uint16_t status_port;
	int64_t poll_interval_ms;
};

struct conf {
	struct conf_daemon daemon;
	int nclusters;
	struct conf_cluster *clusters; /* in the files' order */
	int ngroups;
	struct conf_group *groups;
	int nwarnings;
	const char **warnings; /* "FILE:LINE: KEY: message", e.g. an inline password */
	const char *file;      /* the main file, for reload */
};

/* Errors found while reading: "FILE:LINE: KEY: message" each. */
struct conf_errors {
	int n;
	char **v;
};

/*
 * Reads path and conf.d/ beside it (all *.yaml in byte order), secrets included (password_file, password_env,
 * credential under $CREDENTIALS_DIRECTORY). 0 with a reference in *ret, or -EINVAL with every error in
 * *errors.
 */
int conf_load(const char *path, struct conf **ret, struct conf_errors *errors) MUSTCHECK;
/* The same from one text (tests, fuzzing); file is the name for messages. */
int conf_load_text(const char *text, size_t len, const char *file, struct conf **ret,
	struct conf_errors *errors) MUSTCHECK;
void conf_errors_free(struct conf_errors *);
struct conf *conf_ref(struct conf *);
void conf_unref(struct conf *); /* takes NULL; wipes the secrets */
const struct conf_cluster *conf_find_cluster(const struct conf *, const char *name);
const struct conf_group *conf_find_group(const struct conf *, const char *name);
/* The effective configuration as YAML, secrets as ***; freed by the caller. */
char *conf_print(const struct conf *);
/* The key table as text for --print-keys: name, type, default, where it may stand, what it does; freed by the
 * caller. */
char *conf_print_keys(void);
/* One cluster as YAML without secrets, to be kept in the journal; and read back (secrets taken from now where
 * the same account is still configured there). now may be NULL. */
char *conf_print_cluster(const struct conf_cluster *);
/* A snapshot of now in which the cluster has the journaled policy, servers and endpoints; 0 or -EINVAL. */
int conf_with_journaled_cluster(
	const struct conf *now, const char *yaml, struct conf **ret, struct err *) MUSTCHECK;

/* How a hook is called wherever it may be read: a program's path; of a URL "https://host", since a user
 * before the host or what comes after it may be a token. Returns buf. */
const char *conf_hook_name(const char *path, char *buf, size_t size);

/* Names of enum values, as in the YAML. */
const char *conf_side_name(enum conf_side); /* "source", "target" */
const char *conf_flavor_name(enum conf_flavor);
const char *conf_fence_kind_name(enum conf_fence_kind);

#endif
