/*
 * node_live: goes through every verb of node.h against two real servers and says what was not so.
 *
 *     node_live HOST_A PORT_A HOST_B PORT_B ADMIN PASSWORD [full_disk]
 *
 * full_disk: only what must not be killed while the disk under A's binlog is full. It says when it is to be
 * full, and when there is to be room again; whoever started it answers with a line, the first time the number
 * of a session whose commit waits there.
 *
 * Both servers are disposable: ADMIN (all privileges) resets their logs, replication and accounts. Server ids
 * differ, binlog and log_slave_updates are on, gtid_strict_mode too. All else is done by the accounts of
 * grants_text().
 */
#include <stdarg.h>
#include <string.h>

#include "lib/io/loop.h"
#include "lib/io/work.h"
#include "lib/model/grants.h"
#include "tests/live/node_live.h"

struct side sides[2];
struct arena *arena;
struct err err;
int checks;
static const char *args[6];
static bool full_disk;

struct db_result *admin_ask(struct side *s, const char *sql)
{
	struct db_result *r = NULL;

	err_clear(&err);
	if (db_query(s->admin, sql, IN(20000), &r, &err) != ACT_DONE) {
		printf("admin: %s\n\t%s\n", sql, err_text(&err));
		exit(1);
	}
	return r;
}

void admin(struct side *s, const char *fmt, ...)
{
	struct strbuf sql = {0};
	char text[2000];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	strbuf_add(&sql, text);
	db_result_free(admin_ask(s, strbuf_str(&sql)));
	strbuf_free(&sql);
}

struct session *open_as(struct side *s, enum session_role role, const struct conf_account *as)
{
	struct session *ret = NULL;

	err_clear(&err);
	CHECK(session_open(s->node, role, as, IN(5000), &ret, &err) == 0);
	CHECK(session_alive(ret) && session_get_mark(ret)->id > 0);
	return ret;
}

struct facts *look(struct side *s, unsigned what)
{
	static struct facts f[2];
	struct facts *mine = &f[s - sides];

	DONE(node_facts(s->watch, what, arena, IN(3000), mine, &err));
	return mine;
}

struct node_follow follow_of(struct side *master)
{
	return (struct node_follow){.master = &master->conf,
		.account = &master->conf.replication,
		.use_gtid = true,
		.has_slave_pos = true};
}

void await_replica(struct side *b, struct side *a)
{
	for (int i = 0; i < 1000; i++) {
		const struct facts *fa = look(a, 0), *fb = look(b, 0);
		const struct facts_channel *c = facts_channel_from(fb, fa->id.server_id, NULL, 0);
		if (c && str_eq(c->io, "Yes") && str_eq(c->sql, "Yes") && c->exec_log_pos == fa->position.pos)
			return;
		(void)fiber_sleep_ms(10);
	}
	const struct facts_channel *c = &look(b, 0)->channels[0];
	printf("no replica: io %s sql %s %s\n", c->io, c->sql, c->last_error);
	exit(1);
}

/* --- the stage --- */

/* The text of grants_text() with the account's name as its password, a statement at a time. */
static void make_accounts(struct side *s)
{
	struct strbuf text = {0};

	CHECK(grants_text("oracle", &text) < 0);
	CHECK(grants_text("mariadb", &text) == 0);
	for (char *line = strtok(text.data, "\n"); line; line = strtok(NULL, "\n")) {
		char *at = strstr(line, "'PASSWORD_OF_");
		if (at)
			memmove(at + 1, at + strlen("'PASSWORD_OF_"),
				strlen(at + strlen("'PASSWORD_OF_")) + 1);
		line[strlen(line) - 1] = '\0'; /* ; */
		admin(s, "%s", line);
	}
	strbuf_free(&text);
}

static void reset(struct side *s)
{
	static const char *const statements[] = {"SET SESSION sql_log_bin=0", "STOP ALL SLAVES",
		"RESET SLAVE ALL", "SET GLOBAL event_scheduler=OFF", "DROP DATABASE IF EXISTS flipd",
		"DROP DATABASE IF EXISTS app", "DROP USER IF EXISTS flipd@'%'",
		"DROP USER IF EXISTS flipd_probe@'%'", "DROP USER IF EXISTS repl@'%'",
		"DROP USER IF EXISTS app@'%'", "DROP USER IF EXISTS walker@'%'",
		"DROP USER IF EXISTS byrole@'%'", "DROP ROLE IF EXISTS inner_role",
		"DROP ROLE IF EXISTS outer_role"};

	for (size_t i = 0; i < COUNT_OF(statements); i++)
		admin(s, "%s", statements[i]);
	make_accounts(s);
	admin(s, "CREATE USER app@'%%' IDENTIFIED BY 'app'");
	admin(s, "GRANT ALL ON app.* TO app@'%%'");
	/* node_prepare makes the schema; the grants on its tables stay. */
	admin(s, "DROP DATABASE flipd");
	admin(s, "RESET MASTER");
	admin(s, "SET GLOBAL gtid_slave_pos=''");
	admin(s, "SET SESSION sql_log_bin=1");
}

static void set_the_stage(int i)
{
	static const char *const names[] = {"source", "target"};
	struct side *s = &sides[i];
	const struct db_opts opts = {.host = args[2 * i],
		.port = (uint16_t)atoi(args[2 * i + 1]),
		.user = args[4],
		.password = args[5]};

	s->conf = (struct conf_server){.name = names[i],
		.host = opts.host,
		.port = opts.port,
		.account = {"flipd", "flipd"},
		.replication = {"repl", "repl"},
		.boots_fenced = -1};
	s->node = node_new(&s->conf, "shard1", "flipd");
	CHECK(db_open(&opts, IN(5000), &s->admin, &err) == 0);
	reset(s);
	s->watch = open_as(s, SESSION_WATCH, NULL);
	/* Asked before anything sets read_only in this life of the server; the test that starts it knows what
	 * it is. */
	printf("%s boots_read_only %d\n", names[i], look(s, 0)->boots_read_only);
	s->act = open_as(s, SESSION_ACT, NULL);
	s->lock = open_as(s, SESSION_LOCK, NULL);
	s->reaper = open_as(s, SESSION_REAPER, NULL);
	s->heartbeat = open_as(s, SESSION_HEARTBEAT, NULL);
	DONE(node_unfence(s->lock, IN(1000), &err));
	s->probe = open_as(s, SESSION_PROBE, &(struct conf_account){"flipd_probe", "flipd_probe"});
}

static void clear_the_stage(struct side *s)
{
	struct session *const all[] = {s->watch, s->act, s->lock, s->reaper, s->heartbeat, s->probe};

	for (size_t i = 0; i < COUNT_OF(all); i++)
		session_close(all[i]);
	db_close(s->admin);
	node_free(s->node);
}

/* A is the master, B its closed replica. */
static void make_pair(void)
{
	struct node_follow f = follow_of(&sides[A]);

	CHECK(!look(&sides[A], 0)->schema_present);
	REFUSED(node_heartbeat(sides[A].heartbeat, 0, IN(1000), NULL, &err));
	CHECK(strstr(err.hint, "flipctl prepare"));
	DONE(node_prepare(sides[A].act, IN(5000), &err));
	CHECK(look(&sides[A], 0)->schema_present);
	uint64_t pos = look(&sides[A], 0)->position.pos;
	DONE(node_prepare(sides[A].act, IN(5000), &err));
	CHECK(look(&sides[A], 0)->position.pos == pos); /* nothing to do, nothing logged */
	admin(&sides[A], "CREATE DATABASE app");
	admin(&sides[A], "CREATE TABLE app.t (id INT AUTO_INCREMENT PRIMARY KEY, a INT)");

	DONE(node_fence(sides[B].lock, 500, IN(1000), &err));
	REFUSED(node_prepare(sides[B].act, IN(5000), &err));
	DONE(node_follow(sides[B].act, &f, IN(5000), &err));
	await_replica(&sides[B], &sides[A]);
	CHECK(look(&sides[B], 0)->schema_present);
}

static void run(void *arg)
{
	(void)arg;
	arena = arena_new();
	set_the_stage(A);
	set_the_stage(B);
	make_pair();
	if (full_disk) {
		exercise_full_disk();
	} else {
		exercise_looking();
		exercise_lock_and_row();
		exercise_fence();
		exercise_opening();
		exercise_reverse();
		exercise_kill();
	}
	clear_the_stage(&sides[A]);
	clear_the_stage(&sides[B]);
	arena_free(arena);
	printf("%d checks, all so\n", checks);
	loop_stop();
}

int main(int argc, char **argv)
{
	full_disk = argc == 8 && strcmp(argv[7], "full_disk") == 0;
	if (argc != 7 && !full_disk) {
		(void)fprintf(
			stderr, "usage: node_live HOST_A PORT_A HOST_B PORT_B ADMIN PASSWORD [full_disk]\n");
		return 1;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (int i = 0; i < 6; i++)
		args[i] = argv[i + 1];
	if (loop_init() < 0 || work_init() < 0)
		return 1;
	struct fiber *f = fiber_spawn("node_live", run, NULL);
	loop_run();
	fiber_join(f);
	work_free();
	loop_free();
	return 0;
}
