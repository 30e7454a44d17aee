/* world: time and chance, flipd's crash, what is to happen when. */
#include "tests/scenario/world.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/io/loop.h"
#include "tests/scenario/fake_loop.h"

struct world w;

static const char *const fault_names[] = {[FAULT_NONE] = "none",
	[FAULT_REFUSED] = "refused",
	[FAULT_HANGS] = "hangs",
	[FAULT_REPLY_LOST] = "reply lost",
	[FAULT_LATE] = "effect late",
	[FAULT_CRASH_BEFORE] = "crash before",
	[FAULT_CRASH_AFTER] = "crash after",
	[FAULT_CRASH_SENT] = "crash, effect late",
	[FAULT_MACHINE_BEFORE] = "machine dies before",
	[FAULT_MACHINE_AFTER] = "machine dies after"};

const char *fault_name(enum fault f)
{
	return fault_names[f];
}

static const char *const op_names[OPS] = {[OP_HELLO] = "hello",
	[OP_FACTS] = "facts",
	[OP_PROVE] = "prove",
	[OP_SESSIONS] = "sessions",
	[OP_LOCK_TAKE] = "lock_take",
	[OP_LOCK_HOLDER] = "lock_holder",
	[OP_LOCK_RELEASE] = "lock_release",
	[OP_ROW_WRITE] = "row_write",
	[OP_ROW_READ] = "row_read",
	[OP_FLUSH] = "flush",
	[OP_SCHEDULER] = "scheduler",
	[OP_SEMI_SYNC] = "semi_sync",
	[OP_FENCE] = "fence",
	[OP_UNFENCE] = "unfence",
	[OP_PROBE] = "probe",
	[OP_PROBE_TRY] = "probe_try",
	[OP_WAIT] = "wait",
	[OP_OPEN_GUARDED] = "open_guarded",
	[OP_FORGET] = "forget",
	[OP_FOLLOW] = "follow",
	[OP_START] = "start",
	[OP_STOP] = "stop",
	[OP_KILL] = "kill",
	[OP_KILL_QUERY] = "kill_query",
	[OP_THERE] = "there",
	[OP_HEARTBEAT] = "heartbeat",
	[OP_PREPARE] = "prepare",
	[OP_TRY] = "try_reverse",
	[OP_TRY_REMOVE] = "try_remove",
	[OP_TABLES] = "tables",
	[OP_ACCOUNTS] = "accounts",
	[OP_LOCK_ACCOUNTS] = "lock_accounts",
	[OP_UNLOCK_ACCOUNTS] = "unlock_accounts",
	[OP_TABLE] = "table",
	[OP_EVENTS] = "events",
	[OP_EVENTS_ON] = "events_on",
	[OP_WRITE] = "write"};

const char *op_name(enum op op)
{
	return op_names[op];
}

/* xorshift64*: fast, and the same everywhere. */
static uint64_t chance(void)
{
	w.rng ^= w.rng >> 12;
	w.rng ^= w.rng << 25;
	w.rng ^= w.rng >> 27;
	return w.rng * UINT64_C(2685821657736338717);
}

/* Between two thirds and four thirds of it. */
int64_t jitter_us(int64_t about)
{
	return about * 2 / 3 + (int64_t)(chance() % (uint64_t)(about * 2 / 3 + 1));
}

void note(const char *fmt, ...)
{
	char text[512];
	va_list ap;

	if (w.quiet)
		return;
	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	strbuf_addf(&w.trace, "%10.3f ms  %s\n", (double)(vtime_us() - w.begun_us) / 1000, text);
}

void violation(const char *fmt, ...)
{
	char text[sizeof(w.first_violation)];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	note("VIOLATION: %s", text);
	if (w.violations++ == 0)
		str_copy(w.first_violation, sizeof(w.first_violation), text);
}

/* --- flipd's end --- */

static void life_again(void *arg)
{
	(void)arg;
	life_begin_at(vtime_us());
}

/* A process that is killed closes its connections; a machine that dies leaves them behind in the servers. */
static void close_sessions(bool machine)
{
	for (int i = 0; i < w.nservers; i++) {
		struct server *s = &w.server[i];
		bool again = !machine && !s->partitioned;

		for (struct wsession *x = s->sessions; x && s->partitioned && !machine; x = x->next)
			if (x->flipd && !x->client_gone)
				net_keep_end(x);
		while (again) {
			again = false;
			for (struct wsession *x = s->sessions; x; x = x->next) {
				if (!x->flipd || x->client_gone)
					continue;
				x->client_gone = true;
				if (x->running)
					continue;
				server_drop(x);
				again = true;
				break;
			}
		}
	}
}

void flipd_crash(bool machine)
{
	static struct fiber_cond never;

	note("flipd crashes%s", machine ? ", machine and all" : "");
	w.alive = false;
	w.life++;
	w.flip = NULL;
	w.cluster = NULL;
	fake_loop_forget();
	if (machine) {
		fake_journal_lose();
		w.machines++;
	}
	if (w.next_fault) { /* the second of two faults */
		w.fault = w.next_fault;
		w.fault_at = w.events + w.next_at;
		w.next_fault = FAULT_NONE;
	}
	close_sessions(machine);
	if (w.restart_us)
		vtime_at(vtime_us() + w.restart_us, life_again, NULL);
	if (fiber_self()) {
		never.head = NULL;
		fiber_shield();
		(void)fiber_cond_wait(&never, CLOCK_FOREVER);
		abort();
	}
}

void fault_after(enum fault f)
{
	if (f == FAULT_CRASH_AFTER || f == FAULT_MACHINE_AFTER)
		flipd_crash(f == FAULT_MACHINE_AFTER);
}

static const struct spoil *spoiled(const char *what, const char *where, bool slow)
{
	for (int i = 0; i < w.nspoils; i++) {
		const struct spoil *s = &w.spoil[i];
		if (vtime_us() < s->until_us && (s->slow_us > 0) == slow &&
			(!strcmp(s->what, what) ||
				(!strcmp(s->what, "any") && strcmp(what, "connect") != 0)) &&
			(!strcmp(s->where, where) || !strcmp(s->where, "any")))
			return s;
	}
	return NULL;
}

int64_t flipd_waits_us(const char *what, const char *where)
{
	const struct spoil *s = spoiled(what, where, true);

	return s ? s->slow_us : 0;
}

enum fault flipd_calls(const char *what, const char *where)
{
	const struct spoil *bad = spoiled(what, where, false);

	if (++w.events == w.second_at && w.server[w.second_server].up)
		server_restart(&w.server[w.second_server], w.second_closed, w.second_down_us);
	if (w.events == w.call_at)
		w.call_fn();
	if (w.op_fault && !strcmp(w.fault_op, what)) {
		w.fault = w.op_fault;
		w.op_fault = FAULT_NONE;
		w.fault_at = w.events;
	}
	if (w.events != w.fault_at)
		return bad ? bad->fault : FAULT_NONE;
	(void)snprintf(w.fault_name, sizeof(w.fault_name), "call %d, %s %s: %s", w.events, what, where,
		fault_name(w.fault));
	note("FAULT: %s", w.fault_name);
	if (w.fault == FAULT_CRASH_BEFORE || w.fault == FAULT_MACHINE_BEFORE)
		flipd_crash(w.fault == FAULT_MACHINE_BEFORE);
	return w.fault;
}

/* --- triggers --- */

struct trigger *trigger_add(enum when when, const char *word, void (*fn)(struct trigger *))
{
	struct trigger *t = &w.trigger[w.ntriggers++];

	if (w.ntriggers > TRIGGERS_MAX)
		abort();
	*t = (struct trigger){.when = when, .server = -1, .fn = fn};
	str_copy(t->word, sizeof(t->word), word);
	return t;
}

static void pull(void *arg)
{
	struct trigger *t = arg;

	t->fn(t);
}

void trigger_at_time(struct trigger *t)
{
	t->fired = true;
	vtime_at(vtime_us() + t->delay_us, pull, t);
}

static void trigger_fire(struct trigger *t)
{
	if (t->skip-- > 0)
		return;
	t->fired = true;
	if (t->delay_us)
		vtime_at(vtime_us() + t->delay_us, pull, t);
	else
		t->fn(t);
}

static void trigger_word(enum when when, const char *word)
{
	for (int i = 0; i < w.ntriggers; i++) {
		struct trigger *t = &w.trigger[i];
		if (!t->fired && t->when == when && !strcmp(t->word, word))
			trigger_fire(t);
	}
}

void trigger_step(const char *step)
{
	trigger_word(WHEN_STEP, step);
}

void trigger_journal(enum when when, const char *kind)
{
	trigger_word(when, kind);
}

void trigger_op(enum when when, enum op op, int server)
{
	for (int i = 0; i < w.ntriggers; i++) {
		struct trigger *t = &w.trigger[i];
		if (!t->fired && t->when == when && t->op == op && (t->server < 0 || t->server == server))
			trigger_fire(t);
	}
}

/* --- making one --- */

static void server_init(struct server *s, int i, const char *name, bool use_gtid)
{
	uint32_t master_id = (uint32_t)w.from + 1, other_id = (uint32_t)w.to + 1;

	*s = (struct server){.name = name,
		.index = i,
		.server_id = (uint32_t)i + 1,
		.up = true,
		.read_only = i != w.from,
		.boots_closed = true,
		.boots = 1,
		.boot_wall_s = VTIME_WALL_BASE_MS / 1000 - 100000,
		.next_id = 1000 + (uint64_t)i * 100,
		.row = -1,
		.apply_us = 300,
		.strict = use_gtid};
	s->account_locked[ACCOUNT_RETIRED] = true;
	s->heartbeat_wall_ms = vtime_wall_ms();
	s->writable_since_us = vtime_us();
	/* Both sides have been master before. */
	for (uint64_t seq = 1; seq <= 10; seq++)
		log_append(s, (struct gtid){0, seq <= 5 ? other_id : master_id, seq}, ENTRY_HAND, 0);
	s->slave_pos = (struct gtid_list){
		.n = 1, .v = {{0, i == w.from ? other_id : master_id, i == w.from ? 5 : 10}}};
}

static struct conf *read_conf(const char *yaml)
{
	struct conf_errors errors = {0};
	struct conf *conf = NULL;

	if (conf_load_text(yaml, strlen(yaml), "world.yaml", &conf, &errors) < 0) {
		for (int i = 0; i < errors.n; i++)
			(void)fprintf(stderr, "%s\n", errors.v[i]);
		abort();
	}
	conf_errors_free(&errors);
	return conf;
}

void world_new(const char *yaml, uint64_t seed, bool use_gtid, enum conf_side master)
{
	const struct conf_cluster *c;

	memset(&w, 0, sizeof(w));
	if (loop_init() < 0)
		abort();
	w.arena = arena_new();
	w.rng = seed * UINT64_C(0x9E3779B97F4A7C15) + 1;
	w.conf = read_conf(yaml);
	c = &w.conf->clusters[0];
	w.nservers = 2 + c->nreplicas;
	w.begun_us = vtime_us();
	w.quick_until_us = vtime_us() + 1500000;
	w.spread_us = 2000;
	w.restart_us = 60000;
	w.from = w.endpoint = w.endpoint_spread = (int)master;
	w.to = !w.from;
	for (int i = 0; i < w.nservers; i++)
		server_init(&w.server[i], i, i < 2 ? c->side[i].name : c->replicas[i - 2].name, use_gtid);
	for (int i = 0; i < w.nservers; i++) {
		if (i == w.from)
			continue;
		link_set(&w.server[i], w.from, use_gtid, w.server[w.from].nlog);
		link_start(&w.server[i]);
	}
	fake_journal_reset();
	net_reset();
	pending_word.said = false;
}

void world_free(void)
{
	for (int i = 0; i < w.nservers; i++) {
		free(w.server[i].log);
		free(w.server[i].data);
	}
	free(w.acked);
	strbuf_free(&w.trace);
	conf_unref(w.conf);
	arena_free(w.arena);
	loop_free();
}

#ifdef FLIPD_COVERAGE
#include <gcov.h>
#endif

void world_leave(int status)
{
#ifdef FLIPD_COVERAGE
	__gcov_dump(); /* _exit would lose it */
#endif
	_exit(status);
}
