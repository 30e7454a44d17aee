/* node_live_verbs: looking, lock and row, fence, kill: each verb with its refusals. */
#include <errno.h>
#include <string.h>

#include "lib/provider/node_priv.h"
#include "tests/live/node_live.h"

/* --- looking --- */

static void look_at_master(void)
{
	const struct facts *f = look(&sides[A], FACTS_SESSIONS | FACTS_ACCOUNTS | FACTS_GRANTS);

	CHECK(f->up && f->is_mariadb && f->version_num > 100500 && !f->read_only && f->log_bin &&
		f->log_slave_updates);
	CHECK(f->gtid_strict_mode && str_eq(f->binlog_format, "ROW") && f->position.pos > 4 &&
		f->position.file[0]);
	CHECK(f->id.server_id && f->id.hostname[0] && f->id.port == sides[A].conf.port && f->id.boot_s > 0);
	CHECK(llabs(f->wall_ms - clock_wall_ms()) < 2000 && f->uptime_s >= 0);
	CHECK(f->position.binlog_pos.n == 1 && f->position.binlog_state.n >= 1 &&
		f->nreplicas_connected == 1);
	CHECK(f->nsessions > 5 && f->wsrep_on == 'N' && f->nxa == 0 && f->nevents_enabled == 0);
	CHECK(str_eq(f->current_user, "flipd@%") && strstr(f->privileges, "READ_ONLY ADMIN"));
	CHECK(!strstr(f->privileges, "IDENTIFIED") && !strchr(f->privileges, '*') == false &&
		!strstr(f->privileges, "'*"));
	CHECK(str_eq(f->schema, "flipd") && f->schema_present && !f->flip_row_id[0] && f->nchannels == 0);
	DONE(node_judge_privileges(f, true, &err));
}

static bool bypasses(const struct facts *f, const char *user)
{
	for (int i = 0; i < f->nbypass; i++) {
		if (str_eq(f->bypass[i].user, user))
			return true;
	}
	return false;
}

static void look_at_accounts(void)
{
	struct side *a = &sides[A];

	admin(a, "CREATE USER walker@'%%' IDENTIFIED BY 'walker'");
	admin(a, "GRANT READ ONLY ADMIN ON *.* TO walker@'%%'");
	admin(a, "CREATE ROLE inner_role");
	admin(a, "GRANT READ ONLY ADMIN ON *.* TO inner_role");
	admin(a, "CREATE ROLE outer_role");
	admin(a, "GRANT inner_role TO outer_role");
	admin(a, "CREATE USER byrole@'%%' IDENTIFIED BY 'byrole'");
	admin(a, "GRANT outer_role TO byrole@'%%'");
	admin(a, "CREATE EVENT app.e ON SCHEDULE EVERY 1 DAY DO SELECT 1");
	admin(a, "XA START 'x'");
	admin(a, "INSERT INTO app.t (a) VALUES (1)");
	admin(a, "XA END 'x'");
	admin(a, "XA PREPARE 'x'");
	const struct facts *f = look(a, FACTS_ACCOUNTS);
	CHECK(bypasses(f, "walker") && bypasses(f, "byrole") && !bypasses(f, "app") && !bypasses(f, "flipd"));
	CHECK(!bypasses(f, "inner_role") && !bypasses(f, "mariadb.sys") && f->nevents_enabled == 1 &&
		f->nxa == 1);
	admin(a, "XA ROLLBACK 'x'");
	admin(a, "DROP EVENT app.e");
	if (f->version_num >= 101100) { /* everybody has what PUBLIC has, by way of a role or not */
		admin(a, "GRANT inner_role TO PUBLIC");
		f = look(a, FACTS_ACCOUNTS);
		CHECK(bypasses(f, "app") && !bypasses(f, "flipd") && !bypasses(f, "PUBLIC"));
		admin(a, "REVOKE inner_role FROM PUBLIC");
		admin(a, "GRANT READ ONLY ADMIN ON *.* TO PUBLIC");
		CHECK(bypasses(look(a, FACTS_ACCOUNTS), "app"));
		admin(a, "REVOKE READ ONLY ADMIN ON *.* FROM PUBLIC");
		CHECK(!bypasses(look(a, FACTS_ACCOUNTS), "app"));
	}

	/* An account that may not look: the checks learn that, and the rest is there. */
	struct session *poor = NULL;
	struct node *n = node_new(&a->conf, "shard1", "flipd");
	CHECK(session_open(n, SESSION_ACT, &(struct conf_account){"walker", "walker"}, IN(5000), &poor,
		      &err) == 0);
	struct facts *g = xcalloc(1, sizeof(*g));
	REFUSED(node_facts(poor, FACTS_ACCOUNTS | FACTS_GRANTS, arena, IN(3000), g, &err));
	CHECK(err.sql_errno == 1227 && strstr(err.hint, "flipctl grants mariadb") &&
		str_eq(err.server, "source"));
	admin(a, "GRANT BINLOG MONITOR, SLAVE MONITOR ON *.* TO walker@'%%'");
	session_close(poor);
	CHECK(session_open(n, SESSION_ACT, &(struct conf_account){"walker", "walker"}, IN(5000), &poor,
		      &err) == 0);
	DONE(node_facts(poor, FACTS_ACCOUNTS | FACTS_GRANTS, arena, IN(3000), g, &err));
	CHECK(g->nbypass == -1 && g->nevents_enabled == -1 && g->nxa == 0 && g->wsrep_on == 'N');
	REFUSED(node_judge_privileges(g, false, &err));
	CHECK(strstr(err.message, "RELOAD") && strstr(err.message, "UPDATE ON flipd") &&
		!strstr(err.message, "SUPER") && !strstr(err.message, "READ ONLY ADMIN") &&
		strstr(err.hint, "GRANT CONNECTION ADMIN"));
	/* LOCK and REAPER need sql_log_bin. */
	session_close(poor);
	poor = NULL;
	err_clear(&err);
	CHECK(session_open(n, SESSION_LOCK, &(struct conf_account){"walker", "walker"}, IN(5000), &poor,
		      &err) < 0);
	CHECK(!poor && err.sql_errno == 1227);
	err_clear(&err);
	CHECK(session_open(n, SESSION_ACT, &(struct conf_account){"walker", "sesame"}, IN(5000), &poor,
		      &err) == -EACCES);
	CHECK(!strstr(err_text(&err), "sesame"));
	free(g);
	node_free(n);
}

static void look_at_sessions(void)
{
	struct side *a = &sides[A];
	struct facts_session *list;
	int n, found = 0;

	admin(a, "BEGIN");
	admin(a, "INSERT INTO app.t (a) VALUES (1), (2)");
	(void)fiber_sleep_ms(150); /* INNODB_TRX is a copy that is renewed every 100 ms */
	DONE(node_sessions(a->watch, arena, IN(3000), &list, &n, &err));
	for (int i = 0; i < n; i++) {
		if (list[i].id != db_connection_id(a->admin))
			continue;
		found++;
		CHECK(list[i].trx_rows == 2 && list[i].trx_age_ms >= 100 && list[i].trx_age_ms < 5000);
		CHECK(str_eq(list[i].command, "Sleep") && list[i].time_ms >= 0);
	}
	CHECK(found == 1);
	admin(a, "ROLLBACK");

	/* Who holds a table lock shows with the plugin, and nothing is missed without it. */
	admin(a, "INSTALL SONAME 'metadata_lock_info'");
	admin(a, "LOCK TABLES app.t WRITE");
	DONE(node_sessions(a->watch, arena, IN(3000), &list, &n, &err));
	found = 0;
	for (int i = 0; i < n; i++)
		found += list[i].holds_tables && list[i].id == db_connection_id(a->admin);
	CHECK(found == 1);
	admin(a, "UNLOCK TABLES");
	admin(a, "UNINSTALL SONAME 'metadata_lock_info'");
	DONE(node_sessions(a->watch, arena, IN(3000), &list, &n, &err));
	for (int i = 0; i < n; i++)
		CHECK(!list[i].holds_tables);
}

/* Nothing is written on a closed server, whatever the account could. */
static void create_account_on_a_closed_server(void)
{
	const struct conf_account late = {.user = "late", .password = "late"};

	admin(&sides[B],
		"SET STATEMENT sql_log_bin=0 FOR GRANT CREATE USER, READ ONLY ADMIN ON *.* TO flipd@'%%'");
	struct session *s = open_as(&sides[B], SESSION_ACT, NULL);
	REFUSED(node_create_account(s, GRANTS_FOR_PROBE, &late, IN(3000), &err));
	CHECK(err.code == -EROFS && strstr(err.message, "read_only"));
	struct db_result *r =
		admin_ask(&sides[B], "SELECT COUNT(*) AS n FROM mysql.user WHERE User = 'late'");
	CHECK(db_get_int(r, 0, "n", -1) == 0);
	db_result_free(r);
	session_close(s);
	admin(&sides[B], "SET STATEMENT sql_log_bin=0 FOR REVOKE CREATE USER ON *.* FROM flipd@'%%'");
}

void exercise_looking(void)
{
	look_at_master();
	const struct facts *f = look(&sides[B], 0);
	CHECK(f->read_only && f->nchannels == 1 && str_eq(f->channels[0].using_gtid, "Slave_Pos"));
	CHECK(f->channels[0].port == sides[A].conf.port && str_eq(f->channels[0].user, "repl") &&
		!f->channels[0].filters[0]);
	look_at_accounts();
	create_account_on_a_closed_server();
	look_at_sessions();
	sides[B].conf.boots_fenced = 1;
	CHECK(look(&sides[B], 0)->boots_read_only == 1);
	sides[B].conf.boots_fenced = -1;
	/* Tables that go away are a finding. */
	admin(&sides[A], "RENAME TABLE flipd.flips TO flipd.other");
	CHECK(!look(&sides[A], 0)->schema_present);
	admin(&sides[A], "RENAME TABLE flipd.other TO flipd.flips");
	CHECK(look(&sides[A], 0)->schema_present);
}

/* --- lock and row --- */

static void lock_once(void)
{
	struct side *a = &sides[A];
	uint64_t holder = 99, own = session_get_mark(a->lock)->id;
	struct node_proof proof;

	DONE(node_lock_holder(a->watch, IN(1000), &holder, &err));
	CHECK(holder == 0);
	DONE(node_lock_release(a->lock, IN(1000), &err));
	DONE(node_lock_take(a->lock, IN(1000), &holder, &err));
	DONE(node_lock_take(a->lock, IN(1000), &holder, &err));
	CHECK(holder == own);
	REFUSED(node_lock_take(a->act, IN(1000), &holder, &err));
	CHECK(holder == own && err.code == -EBUSY);
	REFUSED(node_lock_release(a->act, IN(1000), &err));
	DONE(node_prove(a->lock, IN(1000), &proof, &err));
	CHECK(proof.holds_lock && !proof.read_only && proof.position.pos > 4 &&
		proof.position.binlog_pos.n == 1);
	DONE(node_lock_release(a->lock, IN(1000), &err));
	DONE(node_lock_holder(a->watch, IN(1000), &holder, &err));
	CHECK(holder == 0); /* once was enough */
}

static void write_rows(void)
{
	struct side *a = &sides[A], *b = &sides[B];
	struct node_row row = {.id = "7",
				.cluster = "shard1",
				.host = "h'o\\st",
				.journal = "j",
				.direction = "to target",
				.state = "running",
				.marker = 1},
			got;

	DONE(node_row_write(a->act, &row, IN(1000), &err));
	row.marker = 2;
	DONE(node_row_write(a->act, &row, IN(1000), &err));
	await_replica(b, a); /* the table was renamed and renamed back */
	REFUSED(node_row_write(b->act, &row, IN(1000), &err));
	CHECK(err.code == -EROFS);
	DONE(node_row_read(b->act, NULL, IN(1000), &got, &err));
	CHECK(got.marker == 2 && str_eq(got.id, "7") && str_eq(got.host, row.host) &&
		str_eq(got.state, "running"));
	CHECK(str_eq(look(b, 0)->flip_row_id, "7") && str_eq(look(b, 0)->flip_row_journal, "j"));
	REFUSED(node_row_read(a->act, "8", IN(1000), &got, &err));
	CHECK(err.code == -ENOENT);
	str_copy(row.state, sizeof(row.state), "closed");
	DONE(node_row_write(a->act, &row, IN(1000), &err));
	REFUSED(node_row_read(a->act, NULL, IN(1000), &got, &err));
	DONE(node_row_read(a->act, "7", IN(1000), &got, &err));
	CHECK(!look(a, 0)->flip_row_id[0]);
}

static void beat(void)
{
	struct side *a = &sides[A], *b = &sides[B];
	uint64_t own = session_get_mark(a->lock)->id;
	bool written = false;

	DONE(node_heartbeat(a->heartbeat, 0, IN(1000), &written, &err));
	CHECK(written && llabs(look(a, 0)->heartbeat_wall_ms - clock_wall_ms()) < 1000);
	DONE(node_heartbeat(b->heartbeat, 0, IN(1000), &written, &err));
	CHECK(!written); /* closed */
	DONE(node_lock_take(a->lock, IN(1000), NULL, &err));
	DONE(node_heartbeat(a->heartbeat, 0, IN(1000), &written, &err));
	CHECK(!written); /* the lock is another's */
	DONE(node_heartbeat(a->heartbeat, own, IN(1000), &written, &err));
	CHECK(written);
	DONE(node_lock_release(a->lock, IN(1000), &err));
	DONE(node_heartbeat(a->heartbeat, own, IN(1000), &written, &err));
	CHECK(written);
	DONE(node_probe_write(a->probe, 1, IN(1000), &err));
	DONE(node_probe_write(a->probe, 2, IN(1000), &err));
	REFUSED(node_probe_write(b->probe, 3, IN(1000), &err));
	CHECK(err.sql_errno == 1290);
	REFUSED(node_probe_try(b->probe, IN(1000), &err));
	CHECK(err.sql_errno == 1290);
	struct node_proof before, after;
	DONE(node_prove(a->lock, IN(1000), &before, &err));
	DONE(node_probe_try(a->probe, IN(1000), &err));
	DONE(node_prove(a->lock, IN(1000), &after, &err));
	CHECK(before.position.pos == after.position.pos); /* nothing in the log */
	await_replica(b, a);
	CHECK(look(b, 0)->heartbeat_wall_ms == look(a, 0)->heartbeat_wall_ms);
}

void exercise_lock_and_row(void)
{
	lock_once();
	write_rows();
	beat();
}

/* --- killing --- */

static void sleeper(void *arg)
{
	struct session *s = arg;
	struct node_goal never = {.use_gtid = true, .gtid = {.n = 1, .v = {{0, 77, 1000000}}}};
	struct err e = {0};

	CHECK(node_wait_position(s, &never, 20000, IN(20000), &e) != ACT_DONE);
}

/* More than go into one statement, and the first of them is nobody. */
static void kill_many(struct side *a)
{
	struct session *victims[3];
	uint64_t ids[303], holder;

	for (int i = 0; i < 300; i++)
		ids[i] = 4000000000 + (uint64_t)i;
	for (int i = 0; i < 3; i++) {
		victims[i] = open_as(a, SESSION_ACT, NULL);
		ids[300 + i] = session_get_mark(victims[i])->id;
	}
	DONE(node_kill_many(a->reaper, ids, 303, IN(3000), &err));
	DONE(node_kill_many(a->reaper, ids, 0, IN(3000), &err));
	for (int i = 0; i < 3; i++) {
		struct err e = {0};
		CHECK(node_lock_holder(victims[i], IN(1000), &holder, &e) == ACT_UNKNOWN &&
			!session_alive(victims[i]));
		session_close(victims[i]);
	}
}

void exercise_kill(void)
{
	struct side *a = &sides[A];
	struct session *victim = open_as(a, SESSION_ACT, NULL), *orphan = open_as(a, SESSION_LOCK, NULL);
	struct session_mark mark = *session_get_mark(victim), other;
	uint64_t holder;

	/* A running statement: ended by KILL QUERY, the session lives on. */
	struct fiber *f = fiber_spawn("sleeper", sleeper, victim);
	(void)fiber_sleep_ms(50);
	DONE(node_kill(a->reaper, mark.id, true, IN(1000), &err));
	fiber_join(f);
	CHECK(session_alive(victim));

	/* An answer that does not come: unknown, the session is dead, its statement lives until it is killed.
	 */
	struct node_goal never = {.use_gtid = true, .gtid = {.n = 1, .v = {{0, 77, 1000000}}}};
	DONE(node_lock_take(orphan, IN(1000), NULL, &err));
	err_clear(&err);
	CHECK(node_wait_position(orphan, &never, 20000, IN(100), &err) == ACT_UNKNOWN &&
		!session_alive(orphan));
	mark = *session_get_mark(orphan);
	session_close(orphan);
	DONE(node_lock_holder(a->reaper, IN(1000), &holder, &err));
	CHECK(holder == mark.id);
	other = mark;
	other.server.boot_s -= 1000;
	DONE(node_kill_own(a->reaper, &other, IN(1000), &err)); /* another life of the server: not touched */
	other = mark;
	other.server.server_id += 1000;
	REFUSED(node_kill_own(a->reaper, &other, IN(1000), &err));
	other = mark;
	str_copy(other.account, sizeof(other.account), "somebody@%");
	DONE(node_kill_own(a->reaper, &other, IN(1000), &err)); /* the number is another's: not touched */
	DONE(node_lock_holder(a->reaper, IN(1000), &holder, &err));
	CHECK(holder == mark.id);
	DONE(node_kill_own(a->reaper, &mark, IN(3000), &err));
	DONE(node_lock_holder(a->reaper, IN(1000), &holder, &err));
	CHECK(holder == 0);
	DONE(node_kill_own(a->reaper, &mark, IN(1000), &err));
	DONE(node_kill(a->reaper, mark.id, false, IN(1000), &err)); /* 1094 */
	REFUSED(node_kill_own(a->reaper, session_get_mark(a->reaper), IN(1000), &err));
	session_close(victim);
	kill_many(a);
}

/* What whoever started it answers. */
static uint64_t told(const char *asked)
{
	char line[64];

	printf("%s\n", asked);
	if (!fgets(line, sizeof(line), stdin))
		exit(1);
	return strtoull(line, NULL, 10);
}

/* A KILL would leave half of that commit in the binlog, and B could never read on. */
void exercise_full_disk(void)
{
	struct side *a = &sides[A];
	struct session *idle = open_as(a, SESSION_ACT, NULL);
	uint64_t waits = told("fill the disk");
	struct session_mark mark = *session_get_mark(a->reaper);
	struct facts_session *list = NULL;
	int n = 0, waiting = 0;

	DONE(node_sessions(a->reaper, arena, IN(3000), &list, &n, &err));
	for (int i = 0; i < n; i++)
		waiting += list[i].waits_for_space;
	CHECK(waiting == 1 && facts_waits_for_space(list, n)->id == waits);
	mark.id = waits;
	str_copy(mark.account, sizeof(mark.account), "app@%");
	REFUSED(node_kill_own(a->reaper, &mark, IN(3000), &err));
	CHECK(err.code == -ENOSPC && strstr(err.message, "waits for disk space"));
	DONE(node_kill_own(a->reaper, session_get_mark(idle), IN(3000), &err)); /* in no commit */
	session_close(idle);

	(void)told("make room");
	await_replica(&sides[B], a);
	DONE(node_kill_own(a->reaper, &mark, IN(3000), &err));
}
