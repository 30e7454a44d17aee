/* act: what a script can make happen: to servers, to flipd, to the endpoint, the journal, by an operator. */
#include "tests/scenario/script/script.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/clock.h"
#include "tests/scenario/fake_loop.h"

/* --- servers --- */

static struct server *server_of(const struct trigger *t)
{
	return &w.server[t->arg_server];
}

static void do_kill(struct trigger *t)
{
	if (t->arg_us < 0)
		server_down(server_of(t));
	else
		server_restart(server_of(t), t->arg, t->arg_us);
}

static void do_partition(struct trigger *t)
{
	net_partition(server_of(t), t->arg, t->arg_us);
}

static void do_open(struct trigger *t)
{
	server_set_read_only(server_of(t), false, false, "by hand");
}

static void do_close(struct trigger *t)
{
	server_set_read_only(server_of(t), true, false, "by hand");
}

static void do_write(struct trigger *t)
{
	note("a hand writes on %s", server_of(t)->name);
	log_write(server_of(t), ENTRY_HAND, 0);
}

/* Somebody closes the flip's row by hand, or another flipd writes into it. */
static void do_row(struct trigger *t)
{
	struct server *s = server_of(t);
	struct node_row *r = &w.row[w.nrows];

	if (s->row < 0)
		scenario_bad("no row is there yet");
	*r = w.row[s->row];
	str_copy(t->arg ? r->journal : r->state, sizeof(r->state), t->arg ? "other" : "closed");
	note("a hand changes the row on %s", s->name);
	log_write(s, ENTRY_ROW, w.nrows++);
}

static void parse_row(struct trigger *t, const struct words *l, int i)
{
	t->arg = !strcmp(words_at(l, i), "other");
	t->arg_server = words_server(words_at(l, i + 1));
}

static void do_lose(struct trigger *t)
{
	if (t->arg > 0)
		log_lose(server_of(t), t->arg);
	else if (t->arg < 0)
		link_break(server_of(t));
	else
		server_of(t)->row = -1;
}

static void do_lock(struct trigger *t)
{
	struct wsession *x = server_connect(server_of(t), "flipd");

	note("another host's flipd takes the lock on %s", server_of(t)->name);
	server_of(t)->lock_holder = x->id;
	x->foreign = true;
	w.foreign_lock = true;
}

static void do_slow(struct trigger *t)
{
	server_of(t)->slow_until_us = vtime_us() + t->arg_us;
}

static void do_apply(struct trigger *t)
{
	server_of(t)->apply_us = t->arg_us;
}

static void do_replication(struct trigger *t)
{
	static void (*const deeds[])(struct server *) = {link_stop, link_start, link_forget};

	deeds[t->arg](server_of(t));
}

static void do_backup(struct trigger *t)
{
	note("a backup on %s %s", server_of(t)->name, t->arg ? "takes its lock" : "has ended");
	server_of(t)->backup = t->arg;
	server_poke(server_of(t));
}

static void do_client(struct trigger *t)
{
	client_add((enum client_kind)t->arg, t->arg_server, t->arg_us)->again_us = t->arg2_us;
}

/* Somebody kills the session that holds the cluster's lock. */
static void do_cut_lock(struct trigger *t)
{
	note("a hand kills session %llu on %s", (unsigned long long)server_of(t)->lock_holder,
		server_of(t)->name);
	server_kill(server_of(t), server_of(t)->lock_holder, false);
}

/* Every session of flipd's there is killed. */
static void do_cut_all(struct trigger *t)
{
	note("a hand kills flipd's sessions on %s", server_of(t)->name);
	for (struct wsession *x = server_of(t)->sessions; x; x = x->next)
		if (x->flipd)
			server_kill(server_of(t), x->id, false);
}

/* The applier alone: what was received stays there. */
static void do_stop_applier(struct trigger *t)
{
	server_of(t)->link.sql = server_of(t)->link.applying = false;
	server_of(t)->apply_us = CLOCK_FOREVER / 4;
}

static void do_lies(struct trigger *t)
{
	w.lying = (enum op)t->arg_server;
	w.lies = t->arg;
}

static void do_lag(struct trigger *t)
{
	server_of(t)->lag_s = t->arg_us / 1000000;
}

static void real_again(void *arg)
{
	struct server *s = arg;

	server_down(s);
	s->impostor = false;
	server_boot(s, s->boots_closed);
}

/* Its address leads to another server for a while; it comes back closed. */
static void do_impostor(struct trigger *t)
{
	struct server *s = server_of(t);

	note("another server answers for %s", s->name);
	server_down(s);
	s->impostor = true;
	server_boot(s, true);
	vtime_at(vtime_us() + t->arg_us, real_again, s);
}

/* --- flipd --- */

static void crash_now(void *arg)
{
	struct trigger *t = arg;

	if (w.alive)
		flipd_crash(t->arg);
}

/* In one of flipd's own fibers it would not return; as an event of the world it does. */
static void do_crash(struct trigger *t)
{
	vtime_at(vtime_us(), crash_now, t);
}

static void do_terminate(struct trigger *t)
{
	(void)t;
	note("SIGTERM");
	if (w.flip)
		flip_terminate(w.flip);
}

static void do_fault(struct trigger *t)
{
	w.op_fault = (enum fault)t->arg;
	str_copy(w.fault_op, sizeof(w.fault_op), t->fault_op);
}

static void do_spoil(struct trigger *t)
{
	struct spoil *s = &w.spoil[w.nspoils++];

	if (w.nspoils > SPOILS_MAX)
		scenario_bad("too many calls go wrong");
	*s = t->spoil;
	s->until_us = vtime_us() + t->arg_us;
	note("from now on: %s %s goes wrong", s->what, s->where);
}

#define REPLY_LOST 2

static void do_journal(struct trigger *t)
{
	if (t->arg == REPLY_LOST)
		fake_journal_lose_reply(t->fault_op);
	else
		fake_journal_fail(t->fault_op, t->arg);
}

/* --- the rest of the world --- */

static int64_t flipd_wall_ms(void)
{
	return vtime_wall_ms() + w.clock_off_ms;
}

static void do_clock(struct trigger *t)
{
	w.clock_off_ms = t->arg ? -t->arg_us / 1000 : t->arg_us / 1000;
	clock_replace(vtime_us, flipd_wall_ms);
}

static void do_dns(struct trigger *t)
{
	if (!strcmp(t->fault_op, "third"))
		w.endpoint = 2;
	else if (!strcmp(t->fault_op, "silent"))
		endpoint_silent = t->arg;
	else if (!strcmp(t->fault_op, "lost"))
		endpoint_lost = t->arg;
	else
		w.spread_us = t->arg_us;
}

static void do_hook(struct trigger *t)
{
	hook_fail.action = t->fault_op;
}

static void do_spread(struct trigger *t)
{
	w.spread_us = t->arg_us;
}

/* --- parsing --- */

static void parse_server(struct trigger *t, const struct words *l, int i)
{
	t->arg_server = words_server(words_at(l, i));
}

static void parse_kill(struct trigger *t, const struct words *l, int i)
{
	parse_server(t, l, i);
	t->arg = !strcmp(words_at(l, i + 1), "closed");
	t->arg_us = strcmp(words_at(l, i + 1), "forever") ? words_us(words_at(l, i + 2)) : -1;
}

static void parse_lose(struct trigger *t, const struct words *l, int i)
{
	parse_server(t, l, i);
	t->arg = !strcmp(words_at(l, i + 1), "relay") ? -1 : atoi(words_at(l, i + 1));
}

static void parse_server_time(struct trigger *t, const struct words *l, int i)
{
	parse_server(t, l, i);
	t->arg_us = strcmp(words_at(l, i + 1), "forever") ? words_us(words_at(l, i + 1)) : -1;
}

static void parse_partition(struct trigger *t, const struct words *l, int i)
{
	parse_server_time(t, l, i);
	t->arg = !strcmp(words_at(l, i + 2), "cut"); /* from what replicates, too */
}

static void parse_fault(struct trigger *t, const struct words *l, int i)
{
	const char *name = words_rest(l, i + 1);

	str_copy(t->fault_op, sizeof(t->fault_op), words_at(l, i));
	for (int f = 0; f < FAULTS; f++)
		if (!strcmp(fault_name((enum fault)f), name))
			t->arg = f;
	if (!t->arg)
		scenario_bad("no fault is called %s", name);
}

static void parse_lies(struct trigger *t, const struct words *l, int i)
{
	t->arg_server = (int)words_op(words_at(l, i));
	t->arg = atoi(words_at(l, i + 1));
}

static void parse_spoiled(struct trigger *t, const struct words *l, int i)
{
	const char *where = words_at(l, i + 1);

	str_copy(t->spoil.what, sizeof(t->spoil.what), words_at(l, i));
	if (!strcmp(where, "old") || !strcmp(where, "new"))
		where = w.server[words_server(where)].name;
	str_copy(t->spoil.where, sizeof(t->spoil.where), where);
	t->arg_us = words_us(words_at(l, i + 2));
}

static void parse_broken(struct trigger *t, const struct words *l, int i)
{
	parse_spoiled(t, l, i);
	t->spoil.fault = !strcmp(words_at(l, i + 3), "hangs") ? FAULT_HANGS : FAULT_REFUSED;
}

static void parse_late(struct trigger *t, const struct words *l, int i)
{
	parse_spoiled(t, l, i);
	t->spoil.slow_us = words_us(words_at(l, i + 3));
}

static void parse_journal(struct trigger *t, const struct words *l, int i)
{
	str_copy(t->fault_op, sizeof(t->fault_op), words_at(l, i + 1));
	t->arg = !strcmp(words_at(l, i + 2), "ever") ? -1
		 : !strcmp(words_at(l, i), "mended") ? 0
		 : !strcmp(words_at(l, i), "loses")  ? REPLY_LOST
						     : 1;
}

static void parse_dns(struct trigger *t, const struct words *l, int i)
{
	str_copy(t->fault_op, sizeof(t->fault_op), words_at(l, i));
	t->arg = atoi(words_at(l, i + 1));
	if (!strcmp(words_at(l, i), "slow"))
		t->arg_us = words_us(words_at(l, i + 1));
}

static void parse_clock(struct trigger *t, const struct words *l, int i)
{
	t->arg = !strcmp(words_at(l, i), "back");
	t->arg_us = words_us(words_at(l, i + 1));
}

static void parse_hook(struct trigger *t, const struct words *l, int i)
{
	str_copy(t->fault_op, sizeof(t->fault_op), words_at(l, i + 1));
}

static void parse_replication(struct trigger *t, const struct words *l, int i)
{
	t->arg = !strcmp(words_at(l, i), "start") ? 1 : !strcmp(words_at(l, i), "forget") ? 2 : 0;
	t->arg_server = i + 1 < l->n ? words_server(words_at(l, i + 1)) : w.to;
}

static void parse_backup(struct trigger *t, const struct words *l, int i)
{
	t->arg = !strcmp(words_at(l, i), "begins");
	t->arg_server = w.from;
}

static void parse_client(struct trigger *t, const struct words *l, int i)
{
	static const char *const kinds[] = {"writer", "blocker", "locker", "bypass", "legacy", "holder",
		"straggler", "reader", "temporary", "no_space", "walker_no_space"};

	for (int k = 0; k < (int)COUNT_OF(kinds); k++)
		if (!strcmp(kinds[k], words_at(l, i)))
			t->arg = k;
	t->arg_server = w.from;
	t->arg2_us = i + 2 < l->n ? words_us(words_at(l, i + 2)) : 0;
	if (t->arg == CLIENT_HOLDER)
		t->arg_us = atoi(words_at(l, i + 1)); /* so many rows */
	else
		t->arg_us = i + 1 < l->n ? words_us(words_at(l, i + 1)) : 0;
}

static void parse_machine(struct trigger *t, const struct words *l, int i)
{
	t->arg = !strcmp(words_at(l, i), "machine");
}

static void parse_nothing(struct trigger *t, const struct words *l, int i)
{
	(void)t;
	(void)l;
	(void)i;
}

static const struct action actions[] = {
	{"kill", parse_kill, do_kill},		      /* SERVER open|closed DOWN | SERVER forever */
	{"partition", parse_partition, do_partition}, /* SERVER DURATION|forever [cut] */
	{"open", parse_server, do_open},	      /* SERVER, by hand */
	{"close", parse_server, do_close}, {"write", parse_server, do_write},
	{"lose", parse_lose, do_lose},	 /* SERVER N: the end of its log | row: the flip's | relay */
	{"lock", parse_server, do_lock}, /* by a flipd of another host */
	/* SERVER DURATION; lag: as it says itself; apply: for each transaction */
	{"slow", parse_server_time, do_slow}, {"lag", parse_server_time, do_lag},
	{"apply", parse_server_time, do_apply}, {"impostor", parse_server_time, do_impostor},
	{"replication", parse_replication, do_replication}, /* stop|start|forget [SERVER] */
	{"row", parse_row, do_row},			    /* closed|other SERVER */
	{"cut-lock", parse_server, do_cut_lock},	    /* SERVER: the lock's session is killed */
	{"cut-all", parse_server, do_cut_all}, {"stop-applier", parse_server, do_stop_applier},
	{"lies", parse_lies, do_lies}, /* OP N: it says done, and does nothing */
	/* blocker DURATION | locker | bypass [DURATION AGAIN] | legacy | holder ROWS | straggler | reader |
	   temporary */
	{"client", parse_client, do_client}, {"crash", parse_machine, do_crash},      /* [machine] */
	{"terminate", parse_nothing, do_terminate}, {"fault", parse_fault, do_fault}, /* OP FAULT: next */
	/* CALL SERVER|any DURATION [hangs]: each such call, and how late: CALL SERVER DURATION LATE */
	{"broken", parse_broken, do_spoil}, {"late", parse_late, do_spoil},
	{"backup", parse_backup, do_backup},	/* begins|ends, on old */
	{"journal", parse_journal, do_journal}, /* fails KIND [ever] | mended KIND | loses KIND: its reply */
	{"dns", parse_dns, do_dns},		/* third | lost N | silent N | slow DURATION */
	{"spread", parse_server_time, do_spread}, {"hook", parse_hook, do_hook}, /* fails POINT */
	{"clock", parse_clock, do_clock}, /* back|forth DURATION: of flipd's host */
};

void act_parse(struct trigger *t, const struct words *l, int i)
{
	for (size_t k = 0; k < COUNT_OF(actions); k++) {
		if (strcmp(actions[k].name, words_at(l, i)) != 0)
			continue;
		t->fn = actions[k].fn;
		actions[k].parse(t, l, i + 1);
		return;
	}
	for (int k = 0; k < nasks; k++) {
		if (strcmp(asks[k].name, words_at(l, i)) != 0)
			continue;
		t->fn = asks[k].fn;
		asks[k].parse(t, l, i + 1);
		return;
	}
	scenario_bad("no action is called %s", words_at(l, i));
}
