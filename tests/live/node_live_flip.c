/* node_live_flip: fence, guarded opening, who follows whom: what a flip rests on, with the ways in which it
 * fails. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "tests/live/node_live.h"

/* --- fence --- */

static void fence_against_a_lock(void)
{
	struct side *a = &sides[A];
	int64_t begun = clock_ms();

	admin(a, "LOCK TABLES app.t WRITE");
	REFUSED(node_fence(a->lock, 300, IN(2000), &err));
	CHECK(err.sql_errno == 1969 && clock_ms() - begun >= 290 && clock_ms() - begun < 900);
	CHECK(!look(a, 0)->read_only);
	DONE(node_flush(a->act, 200, IN(2000), &err)); /* MariaDB 10.11 does not wait for tables in use */
	admin(a, "UNLOCK TABLES");
	(void)fiber_sleep_ms(100);
	CHECK(!look(a, 0)->read_only); /* nothing comes later */
}

/* Beats as fast as it can until told to stop. */
struct drum {
	struct session *session;
	bool stop;
	int written, held;
};

static void drummer(void *arg)
{
	struct drum *d = arg;

	while (!d->stop) {
		struct err e = {0};
		bool written = false;
		enum act act = node_heartbeat(d->session, 0, IN(3000), &written, &e);
		CHECK(act == ACT_DONE || (act == ACT_REFUSED && e.sql_errno == 1290));
		*(written ? &d->written : &d->held) += 1;
	}
}

/* A hundred fences while it beats: not one heartbeat in the log after the fence was answered. */
static void fence_against(struct drum *d)
{
	struct side *a = &sides[A];
	struct fiber *f = fiber_spawn("drummer", drummer, d);
	struct node_proof first, later;

	for (int i = 0; i < 100; i++) {
		(void)fiber_sleep_us(i * 37 % 3000);
		DONE(node_fence(a->lock, 500, IN(2000), &err));
		DONE(node_prove(a->lock, IN(1000), &first, &err));
		(void)fiber_sleep_ms(3);
		DONE(node_prove(a->lock, IN(1000), &later, &err));
		CHECK(first.read_only && later.read_only && first.position.pos == later.position.pos);
		CHECK(gtid_equal(&first.position.binlog_state, &later.position.binlog_state));
		DONE(node_unfence(a->lock, IN(1000), &err));
	}
	d->stop = true;
	fiber_join(f);
}

/*
 * While a flip holds the lock another flipd's heartbeat is held back by the lock alone. An account that the
 * fence stops needs no guard. (flipd's own account needs the pause before the fence: see
 * mariadb_heartbeat().)
 */
static void fence_against_heartbeats(void)
{
	struct side *a = &sides[A];
	struct drum foreign = {.session = a->heartbeat}, plain = {0};

	DONE(node_lock_take(a->lock, IN(1000), NULL, &err));
	fence_against(&foreign);
	CHECK(foreign.written == 0 && foreign.held > 100);
	DONE(node_lock_release(a->lock, IN(1000), &err));
	admin(a, "GRANT SELECT, INSERT, UPDATE ON flipd.heartbeat TO app@'%%'");
	plain.session = open_as(a, SESSION_HEARTBEAT, &(struct conf_account){"app", "app"});
	fence_against(&plain);
	CHECK(plain.written > 10 && plain.held > 10);
	session_close(plain.session);
}

/* All that flipd does on a closed server but the flip's row stays out of its binlog. */
static void fence_and_silence(void)
{
	struct side *a = &sides[A];
	struct node_proof first, later;
	struct facts_session *list;
	int n;

	session_tag(a->lock, "0-flip*/", "fence");
	DONE(node_fence(a->lock, 500, IN(1000), &err));
	REFUSED(node_probe_write(a->probe, 5, IN(1000), &err));
	CHECK(err.sql_errno == 1290);
	DONE(node_prove(a->lock, IN(1000), &first, &err));
	DONE(node_flush(a->act, 500, IN(1000), &err));
	DONE(node_set_event_scheduler(a->act, true, IN(1000), &err));
	CHECK(str_eq(look(a, 0)->event_scheduler, "ON"));
	DONE(node_set_event_scheduler(a->act, false, IN(1000), &err));
	DONE(node_set_semi_sync_master(a->act, true, IN(1000), &err));
	CHECK(look(a, 0)->semi_sync_master);
	DONE(node_set_semi_sync_master(a->act, false, IN(1000), &err));
	DONE(node_sessions(a->watch, arena, IN(1000), &list, &n, &err));
	DONE(node_prove(a->lock, IN(1000), &later, &err));
	CHECK(first.position.pos == later.position.pos && str_eq(first.position.file, later.position.file));
	session_tag(a->lock, NULL, NULL);
}

void exercise_fence(void)
{
	fence_against_a_lock();
	fence_against_heartbeats();
	fence_and_silence(); /* A stays closed */
}

/* --- the guarded opening --- */

static struct node_goal gtid_goal(uint32_t domain, uint32_t server, uint64_t seq)
{
	return (struct node_goal){.use_gtid = true, .gtid = {.n = 1, .v = {{domain, server, seq}}}};
}

static void refuse_to_open(struct side *b, const struct node_goal *g, int64_t limit_ms, const char *why)
{
	int64_t begun = clock_ms();

	REFUSED(node_open_guarded(b->lock, g, limit_ms, IN(4000), &err));
	CHECK(strstr(err.message, why) && clock_ms() - begun < limit_ms + 400 && look(b, 0)->read_only);
}

static void start_applier_later(void *arg)
{
	struct side *b = arg;

	(void)fiber_sleep_ms(150);
	db_result_free(admin_ask(b, "START SLAVE SQL_THREAD"));
}

/* Opens while the position is still on its way; closed again for the next. */
static void open_in_time(struct side *b, const struct node_goal *g)
{
	int64_t begun = clock_ms();
	struct fiber *f = fiber_spawn("applier", start_applier_later, b);

	DONE(node_open_guarded(b->lock, g, 900, IN(4000), &err));
	CHECK(clock_ms() - begun >= 140 && !look(b, 0)->read_only);
	fiber_join(f);
	DONE(node_fence(b->lock, 500, IN(1000), &err));
}

static void write_on(struct side *s)
{
	DONE(node_unfence(s->lock, IN(1000), &err));
	admin(s, "INSERT INTO app.t (a) VALUES (3)");
	DONE(node_fence(s->lock, 500, IN(1000), &err));
}

static struct node_goal file_goal(const struct facts *f)
{
	struct node_goal g = {.pos = f->position.pos};

	str_copy(g.file, sizeof(g.file), f->position.file);
	return g;
}

static void wait_for(struct side *b, const struct facts *fa)
{
	struct node_goal g = {.use_gtid = true, .gtid = fa->position.binlog_pos}, file = file_goal(fa),
			 none = {.use_gtid = true};

	DONE(node_wait_position(b->act, &g, 2000, IN(4000), &err));
	DONE(node_wait_position(b->act, &file, 2000, IN(4000), &err));
	REFUSED(node_wait_position(b->act, &none, 1000, IN(4000), &err));
	g.gtid.v[0].seq += 5;
	REFUSED(node_wait_position(b->act, &g, 100, IN(4000), &err));
	CHECK(err.code == -ETIMEDOUT);
	file.pos += 500;
	int64_t begun = clock_ms();
	REFUSED(node_wait_position(b->act, &file, 300, IN(4000), &err));
	CHECK(clock_ms() - begun >= 290 && clock_ms() - begun < 900);
}

void exercise_opening(void)
{
	struct side *a = &sides[A], *b = &sides[B];
	const struct facts *fa = look(a, 0);

	await_replica(b, a);
	wait_for(b, fa);
	struct gtid last = fa->position.binlog_pos.v[0];
	static struct node_goal g, file, none = {.use_gtid = true}, no_file;
	g = gtid_goal(last.domain, last.server, last.seq);
	file = file_goal(fa);
	refuse_to_open(b, &g, 300, "does not hold the lock");
	DONE(node_lock_take(b->lock, IN(1000), NULL, &err));
	refuse_to_open(b, &none, 300, "no position");
	refuse_to_open(b, &no_file, 300, "no position");
	g = gtid_goal(
		last.domain, 77, last.seq - 3); /* E1e: the number is passed, the transaction another's */
	refuse_to_open(b, &g, 300, "not reached");
	g = gtid_goal(last.domain, last.server, last.seq + 1);
	refuse_to_open(b, &g, 300, "not reached");
	file.pos += 300;
	refuse_to_open(b, &file, 300, "not reached");
	file.pos -= 300;
	DONE(node_open_guarded(b->lock, &file, 1000, IN(4000), &err));
	DONE(node_fence(b->lock, 500, IN(1000), &err));

	db_result_free(admin_ask(b, "STOP SLAVE SQL_THREAD"));
	write_on(a);
	fa = look(a, 0);
	last = fa->position.binlog_pos.v[0];
	g = gtid_goal(last.domain, last.server, last.seq);
	refuse_to_open(b, &g, 200, "not reached");
	open_in_time(b, &g);
	db_result_free(admin_ask(b, "STOP SLAVE SQL_THREAD"));
	file = file_goal(fa);
	refuse_to_open(b, &file, 200, "not reached"); /* NULL: the applier does not run */
	db_result_free(admin_ask(b, "START SLAVE SQL_THREAD"));
	await_replica(b, a);
}

/* --- the way back --- */

static void try_reverse(void)
{
	struct side *a = &sides[A], *b = &sides[B];
	struct node_follow f = follow_of(b);
	const struct conf_account wrong = {"repl", "wr\\ong"};
	const struct facts *fb = look(b, 0);

	f.use_gtid = false;
	str_copy(f.file, sizeof(f.file), fb->position.file);
	f.pos = fb->position.pos;
	DONE(node_try_reverse_remove(a->act, IN(1000), &err));
	DONE(node_try_reverse(a->act, &f, IN(5000), &err));
	CHECK(look(a, 0)->nchannels == 0);
	f.account = &wrong;
	REFUSED(node_try_reverse(a->act, &f, IN(5000), &err));
	CHECK(strstr(err.message, "Access denied") && !strstr(err.message, "ong'"));
	CHECK(look(a, 0)->nchannels == 0);
	f.account = &(struct conf_account){0};
	REFUSED(node_try_reverse(a->act, &f, IN(5000), &err));
	CHECK(strstr(err.message, "no replication account"));
	DONE(node_try_reverse_remove(a->act, IN(1000), &err));
}

/* from is closed and to is closed and level: to takes over, from follows it. */
static void flip(struct side *from, struct side *to)
{
	const struct facts *f = look(from, 0), *t = look(to, 0);
	struct node_goal g = {.use_gtid = true, .gtid = f->position.binlog_pos};
	struct node_follow back = follow_of(to);

	DONE(node_lock_take(to->lock, IN(1000), NULL, &err));
	gtid_later(&t->position.current_pos, &f->position.binlog_pos, &back.gtid_slave_pos);
	DONE(node_open_guarded(to->lock, &g, 1000, IN(4000), &err));
	admin(to, "INSERT INTO app.t (a) VALUES (4)");
	DONE(node_forget_replication(to->act, IN(3000), &err));
	DONE(node_forget_replication(to->act, IN(3000), &err));
	CHECK(look(to, 0)->nchannels == 0);
	DONE(node_follow(from->act, &back, IN(3000), &err));
	await_replica(from, to);
	DONE(node_lock_release(to->lock, IN(1000), &err));
}

static void count_rows(const char *how)
{
	char n[2][32];

	for (int i = A; i <= B; i++) {
		struct db_result *r =
			admin_ask(&sides[i], "SELECT COUNT(*) AS n, COALESCE(SUM(id), 0) AS s FROM app.t");
		(void)snprintf(n[i], sizeof(n[i]), "%s %s", db_get(r, 0, "n"), db_get(r, 0, "s"));
		db_result_free(r);
	}
	if (!str_eq(n[A], n[B])) {
		printf("%s: rows differ: %s, %s\n", how, n[A], n[B]);
		exit(1);
	}
	checks++;
}

void exercise_reverse(void)
{
	struct side *a = &sides[A], *b = &sides[B];

	try_reverse();
	flip(a, b);
	count_rows("A to B");
	/* And back: the position now holds transactions that A wrote itself. */
	DONE(node_fence(b->lock, 500, IN(1000), &err));
	await_replica(a, b);
	flip(b, a);
	count_rows("B to A");
	const struct facts *f = look(a, 0);
	struct node_goal own = {.use_gtid = true, .gtid = f->position.binlog_pos};
	DONE(node_fence(a->lock, 500, IN(1000), &err));
	DONE(node_lock_take(a->lock, IN(1000), NULL, &err));
	DONE(node_open_guarded(a->lock, &own, 500, IN(2000), &err)); /* its own: in gtid_binlog_state */
	DONE(node_lock_release(a->lock, IN(1000), &err));
	DONE(node_stop_replication(b->act, IN(2000), &err));
	CHECK(str_eq(look(b, 0)->channels[0].sql, "No"));
	DONE(node_start_replication(b->act, IN(2000), &err));
	await_replica(b, a);
	REFUSED(node_start_replication(a->act, IN(2000), &err)); /* 1200: it follows nobody */
	CHECK(err.sql_errno == 1200);
}
