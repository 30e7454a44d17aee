/*
 * facts: what a server showed when it was last looked at. Filled by node_facts() in one round trip; judged by
 * preflight, watcher and recovery. Plain data: strings live in the facts' own fixed buffers or its arena.
 */
#ifndef MODEL_FACTS_H
#define MODEL_FACTS_H

#include "lib/base/base.h"
#include "lib/model/gtid.h"

struct arena;

/* What identifies a run of a server: connection ids mean something only within one boot. */
struct facts_identity {
	char hostname[128];
	uint32_t port;
	uint32_t server_id;
	char uuid[64];	/* MySQL's server_uuid, MariaDB's @@server_uid where there is one; or empty */
	int64_t boot_s; /* unix time the server started (exact to 1 s: compare with facts_same_boot) */
};

struct facts_position { /* where a server's own log stands */
	char file[128];
	uint64_t pos;
	struct gtid_list binlog_pos;   /* @@gtid_binlog_pos */
	struct gtid_list binlog_state; /* @@gtid_binlog_state */
	struct gtid_list slave_pos;    /* @@gtid_slave_pos */
	struct gtid_list current_pos;  /* @@gtid_current_pos */
};

struct facts_channel { /* one line of SHOW ALL SLAVES STATUS */
	char name[64]; /* connection name; empty = default */
	char host[256];
	uint32_t port;
	char user[128];
	char io[32], sql[32];	   /* "Yes", "No", "Connecting", "Preparing" */
	char master_log_file[128]; /* read by the IO thread */
	uint64_t read_master_log_pos;
	char exec_log_file[128]; /* Relay_Master_Log_File */
	uint64_t exec_log_pos;
	char gtid_io_pos[1024];
	char using_gtid[16]; /* "No", "Slave_Pos", "Current_Pos" */
	int64_t lag_s;	     /* -1 = NULL */
	int64_t delay_s;
	int64_t last_io_errno, last_sql_errno;
	char last_error[256];
	uint32_t master_server_id;
	char filters[512]; /* non-empty when any replicate_* filter is set, as the server spells it */
};

#define FACTS_CHANNELS_MAX 8

struct facts_session { /* one line of the process list */
	uint64_t id;
	char user[128], host[128], db[64], command[32], state[64];
	char info[256];
	int64_t time_ms;
	uint64_t trx_rows;    /* rows changed by its open transaction (innodb_trx); 0 none */
	int64_t trx_age_ms;   /* -1 no transaction */
	bool waits_for_space; /* in a commit: the disk under the binary log is full. It must not be killed */
	bool holds_tables; /* has LOCK TABLES or metadata locks in a way that blocks, where it can be seen */
};

/* The first that waits for disk space in its commit, or NULL: nobody is killed there then. */
const struct facts_session *facts_waits_for_space(const struct facts_session *, int n);

struct facts_account { /* who may walk through the fence, or is to be locked */
	char user[128], host[256];
	bool locked; /* ACCOUNT LOCK; of node_list_accounts only */
};

struct facts_own { /* flipd's own account, or one by which others replicate from here */
	char user[128], host[256];
	bool locked;
	int64_t expires_s; /* until its password does; INT64_MAX never, 0 or less it has */
	int64_t max_queries, max_updates, max_connections; /* an hour; 0 no limit */
};

struct facts_setting { /* one line of SHOW GLOBAL VARIABLES or STATUS */
	const char *name, *value;
};

struct facts {
	bool up;
	int64_t taken_at_ms; /* monotonic */
	int64_t asked_at_us, answered_at_us;
	struct facts_identity id;
	char version[64];
	int version_num; /* 101119 for 10.11.19 */
	bool is_mariadb;
	int64_t uptime_s;
	bool read_only;	 /* @@global.read_only */
	int64_t wall_ms; /* the server's clock */
	/* log */
	bool log_bin, log_slave_updates, gtid_strict_mode, skip_slave_start;
	char binlog_format[16], binlog_row_image[16];
	char binlog_do_db[256], binlog_ignore_db[256];
	uint32_t gtid_domain_id;
	int64_t expire_logs_s;
	bool sync_binlog_full, flush_log_full; /* sync_binlog=1, innodb_flush_log_at_trx_commit=1 or 3 */
	struct facts_position position;
	/* replication */
	int nchannels;
	struct facts_channel channels[FACTS_CHANNELS_MAX];
	char default_filters[512]; /* those of the default connection, which need not be there yet */
	int nreplicas_connected;   /* dump threads */
	/* what its applier passes over; exec_mode empty = not shown; skipped_errors since the start */
	char slave_skip_errors[256], slave_exec_mode[16];
	int64_t skipped_errors;
	/* semi-sync */
	bool semi_sync_master, semi_sync_slave;
	int64_t semi_sync_timeout_ms;
	int semi_sync_clients;
	/* events */
	char event_scheduler[16]; /* ON, OFF, DISABLED */
	/* how a restart leaves it: from the variable's origin when first seen after a start */
	int boots_read_only; /* -1 not known, 0 no, 1 yes */
	/* heartbeat: the row in SCHEMA.heartbeat as this server shows it; -1 = no row or no table */
	int64_t heartbeat_wall_ms;
	/* flip row still open in SCHEMA.flips, the newest; id empty = none */
	char flip_row_id[64], flip_row_host[128], flip_row_journal[64], flip_row_state[24],
		flip_row_direction[16];
	bool schema_present; /* SCHEMA and its tables exist */
	/* on demand (FACTS_SESSIONS, FACTS_ACCOUNTS, FACTS_SETTINGS); arrays in the arena */
	int nsessions;
	struct facts_session *sessions;
	int nbypass;
	struct facts_account *bypass;
	int nxa;       /* prepared XA transactions */
	char wsrep_on; /* 'Y' a Galera node, 'N' not */
	int nevents_enabled;
	/* SHOW GRANTS of flipd's own account, one per line, passwords cut away; NULL = not shown. As long as
	 * the server makes it: what was granted to PUBLIC, or to a role, is in it. */
	const char *privileges;
	int nown; /* FACTS_GRANTS; 0 = not shown */
	struct facts_own *own;
	int nsettings; /* FACTS_SETTINGS */
	struct facts_setting *settings;
	char current_user[192];
	char schema[72]; /* where flipd's own tables are looked for */
};

/* A variable or status figure as the server shows it; NULL when it was not shown. */
const char *facts_setting(const struct facts *, const char *name);
bool facts_same_boot(const struct facts_identity *a,
	const struct facts_identity *b); /* server id, host, boot within 2 s */
bool facts_same_server(const struct facts_identity *a, const struct facts_identity *b); /* boot apart */
/* The channel that replicates from the given server (by server id, or host and port), or NULL. */
const struct facts_channel *facts_channel_from(
	const struct facts *f, uint32_t server_id, const char *host, uint32_t port);

#endif
