/*
 * checks: private to the preflight. The judges and proofs by theme, named judge_NAME and prove_NAME after
 * their rows in the table of preflight.c, and what they share. A judge is pure; every text names the server
 * and the figures, every warning and refusal has a hint.
 */
#ifndef FLIP_CHECKS_H
#define FLIP_CHECKS_H

#include "lib/flip/preflight.h"

/* A server as a judge sees it; neither pointer is ever NULL. */
struct checks_side {
	const struct conf_server *conf;
	const struct facts *facts; /* .up false when it did not answer */
	const struct err *error;
};

struct checks_side checks_old(const struct check_input *);
struct checks_side checks_new(const struct check_input *);
/* Both answered; else says `skip` and who did not. */
bool checks_both_up(const struct check_input *, struct check_out *);
/* new's channel from old, by server id or old's replication address; NULL when there is none. */
const struct facts_channel *checks_channel(const struct check_input *);
/* old's channel from new. */
const struct facts_channel *checks_channel_back(const struct check_input *);

/* Where a server's replicas reach it. */
const char *checks_repl_host(const struct conf_server *);
unsigned checks_repl_port(const struct conf_server *);

/* For texts: "source 10.1.0.5:3306". */
#define AT "%s " HOST_PORT
#define AT_OF(s) (s).conf->name, HOST_PORT_OF((s).conf->host, (s).conf->port)

/* Why, without the server's name where the reason begins with it: the judge has named it already. */
const char *checks_reason(const struct checks_side *, const struct err *);

/* The delay of the connection that reverse_path makes: the largest that MASTER_DELAY takes. */
#define CHECKS_TRIAL_DELAY_S 2147483647

/* "a, b and 3 more", bounded. Zero-initialised is empty. */
struct checks_list {
	char text[280];
	int n, shown;
};
void checks_list_add(struct checks_list *, const char *fmt, ...) PRINTF(2, 3);
const char *checks_list_text(struct checks_list *);

/* Whose session it is, for kill and judges alike. */
enum checks_who {
	CHECKS_WHO_SERVER, /* the server's own, replication and dump threads */
	CHECKS_WHO_FLIPD,
	CHECKS_WHO_EXEMPT, /* sessions.exempt_users */
	CHECKS_WHO_CLIENT
};
enum checks_who checks_session_who(
	const struct conf_cluster *, const struct conf_server *, const struct facts_session *);
bool checks_list_has(const struct conf_list *, const char *s);
/* The account is one of flipd's own on that server: its own, the heartbeat's. */
bool checks_user_is_flipd(const struct conf_cluster *, const struct conf_server *, const char *user);

/* The clients of a server by account: "app 10, report 2"; returns how many there are. */
int checks_clients(const struct check_input *, const struct checks_side *, struct checks_list *ret);

/* limit_ms from now, but not after deadline_us; monotonic us. */
int64_t checks_deadline(int64_t limit_ms, int64_t deadline_us);

/* What the configuration's `preflight:` says of a check. */
enum conf_lower checks_lowered(const struct conf_cluster *, const char *name);
/* An empty result for a row; true when the configuration skips it, and then that is said. */
bool checks_begin(const struct conf_cluster *, const struct check *, struct check_out *);
/* Applies `preflight: {NAME: warn}`. */
void checks_end(const struct conf_cluster *, struct check_out *);
bool checks_ready(const struct check_out *, int n);

/* The judge or the proof of the row NAME. */
#define JUDGE(name) void judge_##name(const struct check_input *, struct check_out *)
#define PROVE(name)                                                                                          \
	void MAY_WAIT prove_##name(const struct check_input *, struct check_env *, struct check_out *)

/* checks_servers.c */
JUDGE(connect);
JUDGE(clock_skew);
JUDGE(server_id);
JUDGE(version_order);
JUDGE(flavor_pair);
JUDGE(privileges);
JUDGE(own_accounts);
JUDGE(binlog);
JUDGE(durability);
JUDGE(boot_fence);
JUDGE(galera);
JUDGE(self_reference);
JUDGE(unfinished_flip);

/* checks_replication.c */
JUDGE(replicating);
JUDGE(binlog_filters);
JUDGE(lag);
JUDGE(delay);
JUDGE(gtid);
JUDGE(channels);
JUDGE(semi_sync);
PROVE(reverse_path);

/* checks_settings.c */
JUDGE(log_retention);
JUDGE(variables);
JUDGE(capacity);
JUDGE(spare_connection);
JUDGE(skipped_errors);
JUDGE(parallel);
JUDGE(auto_increment);

/* checks_schema.c */
JUDGE(schema);
JUDGE(accounts);
JUDGE(engines);
JUDGE(primary_keys);

/* checks_statements.c */
JUDGE(managers);
JUDGE(ddl);
JUDGE(backups);

/* checks_writers.c */
JUDGE(standby_fenced);
JUDGE(single_master);
JUDGE(stray_writers);
JUDGE(long_transactions);
JUDGE(locks);
JUDGE(temporary_tables);
JUDGE(events);
JUDGE(sessions);
PROVE(fence_probe);

/* checks_bypass.c */
JUDGE(bypass);

/* checks_endpoints.c */
PROVE(dns_current);
PROVE(dns_ttl);
PROVE(dns_update);
PROVE(route53);
PROVE(hooks);
PROVE(security_groups);

#endif
