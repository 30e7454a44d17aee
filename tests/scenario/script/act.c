/* act: what a script can make happen: to servers, to flipd, to the endpoint, the journal, by an operator. */
#include "tests/scenario/script/script.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/clock.h"
#include "tests/scenario/fake_loop.h"

struct flip_word pending_word;

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

static void heal(void *arg)
{
	struct server *s = arg;
	bool again = true;

	note("%s can be reached again", s->name);
	s->partitioned = false;
	while (again) { /* clients that went away meanwhile are noticed now */
		again = false;
		for (struct wsession *x = s->sessions; x && !again; x = x->next) {
			if (!x->flipd || x->running || (x->id && !x->client_gone))
				continue;
			server_drop(x);
			again = true;
		}
	}
}

static void do_partition(struct trigger *t)
{
	note("%s cannot be reached by flipd", server_of(t)->name);
	server_of(t)->partitioned = true;
	if (t->arg_us >= 0)
		vtime_at(vtime_us() + t->arg_us, heal, server_of(t));
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

static void do_lose(struct trigger *t)
{
	if (t->arg)
		log_lose(server_of(t), t->arg);
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
	if (t->arg)
		link_start(server_of(t));
	else
		link_stop(server_of(t));
}

static void do_client(struct trigger *t)
{
	client_add((enum client_kind)t->arg, t->arg_server, t->arg_us);
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

static void do_abort(struct trigger *t)
{
	(void)t;
	if (w.flip)
		(void)!flip_abort(w.flip, "aborted by the script", NULL);
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

static void do_journal(struct trigger *t)
{
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
	else if (!strcmp(t->fault_op, "lost"))
		endpoint_lost = t->arg;
	else
		w.spread_us = t->arg_us;
}

static void do_hook(struct trigger *t)
{
	hook_fail.action = t->fault_op;
}

static void word_fiber(void *arg)
{
	struct err err = {0};

	(void)arg;
	if (flip_set_word(w.flip, &pending_word, &err) < 0)
		violation("resolve: %s", err_text(&err));
	pending_word.said = false;
}

/* While it still looks by itself it is told; one that is stuck is taken up again by its life. */
static void do_resolve(struct trigger *t)
{
	pending_word = (struct flip_word){.said = true,
		.side = (enum conf_side)t->arg_server,
		.word = t->arg & 1   ? RECOVER_WORD_DEAD
			: t->arg & 4 ? RECOVER_WORD_FENCED
				     : RECOVER_WORD_NONE,
		.accept_loss = t->arg & 2,
		.user = "dba"};
	w.loss_accepted = w.loss_accepted || pending_word.accept_loss;
	note("an operator resolves");
	if (w.flip && flip_get_state(w.flip) == FLIP_RECOVERING)
		fiber_detach(fiber_spawn("resolve", word_fiber, NULL));
}

static void do_spread(struct trigger *t)
{
	w.spread_us = t->arg_us;
}

/* --- parsing --- */

static const char *word(const struct words *l, int i)
{
	return i < l->n ? l->v[i] : "";
}

static void parse_server(struct trigger *t, const struct words *l, int i)
{
	t->arg_server = words_server(word(l, i));
}

static void parse_kill(struct trigger *t, const struct words *l, int i)
{
	parse_server(t, l, i);
	t->arg = !strcmp(word(l, i + 1), "closed");
	t->arg_us = strcmp(word(l, i + 1), "forever") ? words_us(word(l, i + 2)) : -1;
}

static void parse_lose(struct trigger *t, const struct words *l, int i)
{
	parse_server(t, l, i);
	t->arg = atoi(word(l, i + 1));
}

static void parse_server_time(struct trigger *t, const struct words *l, int i)
{
	parse_server(t, l, i);
	t->arg_us = strcmp(word(l, i + 1), "forever") ? words_us(word(l, i + 1)) : -1;
}

static void parse_fault(struct trigger *t, const struct words *l, int i)
{
	const char *name = words_rest(l, i + 1);

	str_copy(t->fault_op, sizeof(t->fault_op), word(l, i));
	for (int f = 0; f < FAULTS; f++)
		if (!strcmp(fault_name((enum fault)f), name))
			t->arg = f;
	if (!t->arg)
		scenario_bad("no fault is called %s", name);
}

static void parse_journal(struct trigger *t, const struct words *l, int i)
{
	str_copy(t->fault_op, sizeof(t->fault_op), word(l, i + 1));
	t->arg = !strcmp(word(l, i + 2), "ever") ? -1 : !strcmp(word(l, i), "mended") ? 0 : 1;
}

static void parse_dns(struct trigger *t, const struct words *l, int i)
{
	str_copy(t->fault_op, sizeof(t->fault_op), word(l, i));
	t->arg = atoi(word(l, i + 1));
	if (!strcmp(word(l, i), "slow"))
		t->arg_us = words_us(word(l, i + 1));
}

static void parse_clock(struct trigger *t, const struct words *l, int i)
{
	t->arg = !strcmp(word(l, i), "back");
	t->arg_us = words_us(word(l, i + 1));
}

static void parse_hook(struct trigger *t, const struct words *l, int i)
{
	str_copy(t->fault_op, sizeof(t->fault_op), word(l, i + 1));
}

static void parse_replication(struct trigger *t, const struct words *l, int i)
{
	t->arg = !strcmp(word(l, i), "start");
	t->arg_server = i + 1 < l->n ? words_server(word(l, i + 1)) : w.to;
}

static void parse_client(struct trigger *t, const struct words *l, int i)
{
	static const char *const kinds[] = {"writer", "blocker", "locker", "bypass"};

	for (int k = 0; k < (int)COUNT_OF(kinds); k++)
		if (!strcmp(kinds[k], word(l, i)))
			t->arg = k;
	t->arg_server = w.from;
	t->arg_us = i + 1 < l->n ? words_us(word(l, i + 1)) : 0;
}

static void parse_resolve(struct trigger *t, const struct words *l, int i)
{
	if (i < l->n && strcmp(word(l, i), "as-it-is") != 0)
		parse_server(t, l, i);
	for (; i < l->n; i++)
		t->arg |= !strcmp(word(l, i), "dead")	       ? 1
			  : !strcmp(word(l, i), "accept-loss") ? 2
			  : !strcmp(word(l, i), "fenced")      ? 4
							       : 0;
}

static void parse_machine(struct trigger *t, const struct words *l, int i)
{
	t->arg = !strcmp(word(l, i), "machine");
}

static void parse_nothing(struct trigger *t, const struct words *l, int i)
{
	(void)t;
	(void)l;
	(void)i;
}

static const struct action {
	const char *name;
	void (*parse)(struct trigger *, const struct words *, int i);
	void (*fn)(struct trigger *);
} actions[] = {
	{"kill", parse_kill, do_kill},			/* SERVER open|closed DOWN | SERVER forever */
	{"partition", parse_server_time, do_partition}, /* SERVER DURATION|forever */
	{"open", parse_server, do_open},		/* SERVER, by hand */
	{"close", parse_server, do_close}, {"write", parse_server, do_write},
	{"lose", parse_lose, do_lose},		/* SERVER N: the end of its log | row: the flip's */
	{"lock", parse_server, do_lock},	/* by a flipd of another host */
	{"slow", parse_server_time, do_slow},	/* SERVER DURATION */
	{"apply", parse_server_time, do_apply}, /* SERVER DURATION, for each transaction */
	{"replication", parse_replication, do_replication}, /* stop|start [SERVER] */
	{"client", parse_client, do_client},		    /* blocker DURATION | locker | bypass */
	{"crash", parse_machine, do_crash},		    /* [machine] */
	{"abort", parse_nothing, do_abort}, {"terminate", parse_nothing, do_terminate},
	{"fault", parse_fault, do_fault},	/* OP FAULT: flipd's next call of it */
	{"journal", parse_journal, do_journal}, /* fails KIND [ever] | mended KIND */
	{"dns", parse_dns, do_dns},		/* third | lost N | slow DURATION */
	{"spread", parse_server_time, do_spread}, {"hook", parse_hook, do_hook}, /* fails POINT */
	{"clock", parse_clock, do_clock},	/* back|forth DURATION: of flipd's host */
	{"resolve", parse_resolve, do_resolve}, /* SERVER dead|fenced [accept-loss] | as-it-is */
};

void act_parse(struct trigger *t, const struct words *l, int i)
{
	for (size_t k = 0; k < COUNT_OF(actions); k++) {
		if (strcmp(actions[k].name, word(l, i)) != 0)
			continue;
		t->fn = actions[k].fn;
		actions[k].parse(t, l, i + 1);
		return;
	}
	scenario_bad("no action is called %s", word(l, i));
}
