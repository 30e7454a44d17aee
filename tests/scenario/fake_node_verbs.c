/* fake_node_verbs: the verbs of lib/provider/node.h, each one call or, as the real ones do, several. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/model/accounts.h"
#include "tests/scenario/fake_node.h"

#define GONE_POLL_MS 5

static enum act MAY_WAIT ask_simple(struct session *s, enum op op, int64_t deadline_us, struct err *err)
{
	return ask(s, stmt_new(op), 0, deadline_us, err);
}

/* --- looking --- */

enum act node_facts(struct session *s, unsigned what, struct arena *arena, int64_t deadline_us,
	struct facts *ret, struct err *err)
{
	struct stmt *m = stmt_new(OP_FACTS);
	enum act act;

	(void)arena; /* the lists live as long as the world */
	m->in->what = what;
	act = ask(s, m, 0, deadline_us, err);
	if (act == ACT_DONE)
		*ret = *m->out->facts;
	return act;
}

/* Both sides hold nothing, and the same nothing. */
void node_survey(struct session *s, unsigned what, int64_t limit_ms, struct arena *arena, struct survey *ret)
{
	(void)s;
	(void)what;
	(void)limit_ms;
	(void)arena;
	*ret = (struct survey){.accounts = {.state = SURVEY_DONE}, .schema = {.state = SURVEY_DONE}};
}

enum act node_prove(struct session *s, int64_t deadline_us, struct node_proof *ret, struct err *err)
{
	struct stmt *m = stmt_new(OP_PROVE);
	enum act act = ask(s, m, 0, deadline_us, err);

	if (act == ACT_DONE)
		*ret = m->out->proof;
	return act;
}

enum act node_sessions(struct session *s, struct arena *arena, int64_t deadline_us,
	struct facts_session **ret, int *ret_n, struct err *err)
{
	struct stmt *m = stmt_new(OP_SESSIONS);
	enum act act = ask(s, m, 0, deadline_us, err);

	(void)arena;
	if (act == ACT_DONE) {
		*ret = m->out->list;
		*ret_n = m->out->n;
	}
	return act;
}

/* --- lock, row, heartbeat --- */

enum act node_lock_take(struct session *s, int64_t deadline_us, uint64_t *ret_holder, struct err *err)
{
	struct stmt *m = stmt_new(OP_LOCK_TAKE);
	enum act act = ask(s, m, 0, deadline_us, err);

	if (act != ACT_UNKNOWN && ret_holder)
		*ret_holder = m->out->number;
	return act;
}

enum act node_lock_holder(struct session *s, int64_t deadline_us, uint64_t *ret_holder, struct err *err)
{
	struct stmt *m = stmt_new(OP_LOCK_HOLDER);
	enum act act = ask(s, m, 0, deadline_us, err);

	if (act == ACT_DONE)
		*ret_holder = m->out->number;
	return act;
}

enum act node_lock_release(struct session *s, int64_t deadline_us, struct err *err)
{
	return ask_simple(s, OP_LOCK_RELEASE, deadline_us, err);
}

enum act node_row_write(struct session *s, const struct node_row *row, int64_t deadline_us, struct err *err)
{
	struct stmt *m = stmt_new(OP_ROW_WRITE);

	m->in->row = *row;
	return ask(s, m, 0, deadline_us, err);
}

enum act node_row_read(
	struct session *s, const char *id, int64_t deadline_us, struct node_row *ret, struct err *err)
{
	struct stmt *m = stmt_new(OP_ROW_READ);
	enum act act;

	str_copy(m->in->user, sizeof(m->in->user), id ? id : "");
	act = ask(s, m, 0, deadline_us, err);
	if (act == ACT_DONE)
		*ret = m->out->row;
	return act;
}

enum act node_heartbeat(
	struct session *s, uint64_t lock_session, int64_t deadline_us, bool *ret_written, struct err *err)
{
	struct stmt *m = stmt_new(OP_HEARTBEAT);
	enum act act;

	m->in->number = lock_session;
	act = ask(s, m, 0, deadline_us, err);
	if (act == ACT_DONE && ret_written)
		*ret_written = m->out->yes;
	return act;
}

enum act node_prepare(struct session *s, int64_t deadline_us, struct err *err)
{
	return ask_simple(s, OP_PREPARE, deadline_us, err);
}

enum act node_probe_write(struct session *s, uint64_t seq, int64_t deadline_us, struct err *err)
{
	(void)seq;
	return ask_simple(s, OP_PROBE, deadline_us, err);
}

enum act node_probe_try(struct session *s, int64_t deadline_us, struct err *err)
{
	return ask_simple(s, OP_PROBE_TRY, deadline_us, err);
}

/* --- the flip --- */

enum act node_flush(struct session *s, int64_t limit_ms, int64_t deadline_us, struct err *err)
{
	return ask(s, stmt_new(OP_FLUSH), limit_ms, deadline_us, err);
}

static enum act MAY_WAIT ask_on(struct session *s, enum op op, bool on, int64_t deadline_us, struct err *err)
{
	struct stmt *m = stmt_new(op);

	m->in->on = on;
	return ask(s, m, 0, deadline_us, err);
}

enum act node_set_event_scheduler(struct session *s, bool on, int64_t deadline_us, struct err *err)
{
	return ask_on(s, OP_SCHEDULER, on, deadline_us, err);
}

/* Most clusters of this world have no events, and then they cost no call. */
static const char *const event_names[] = {"app.purge", "app.rollup"};

enum act node_list_events(struct session *s, struct arena *a, int64_t deadline_us, const char ***ret,
	int *ret_n, struct err *err)
{
	struct stmt *m = stmt_new(OP_EVENTS);
	enum act act = w.nevents ? ask(s, m, 0, deadline_us, err) : ACT_DONE;

	*ret = arena_alloc(a, sizeof(event_names));
	*ret_n = 0;
	for (unsigned i = 0; act == ACT_DONE && i < COUNT_OF(event_names); i++)
		if (m->out->number & 1u << i)
			(*ret)[(*ret_n)++] = event_names[i];
	return act;
}

enum act node_enable_events(
	struct session *s, const char **names, int n, int64_t deadline_us, struct err *err)
{
	struct stmt *m = stmt_new(OP_EVENTS_ON);

	for (int k = 0; k < n; k++)
		for (unsigned i = 0; i < COUNT_OF(event_names); i++)
			if (!strcmp(event_names[i], names[k]))
				m->in->number |= 1u << i;
	return ask(s, m, 0, deadline_us, err);
}

enum act node_set_semi_sync_master(struct session *s, bool on, int64_t deadline_us, struct err *err)
{
	return ask_on(s, OP_SEMI_SYNC, on, deadline_us, err);
}

enum act node_list_accounts(struct session *s, const struct conf_list *entries, struct arena *a,
	int64_t deadline_us, struct facts_account **ret, int *ret_n, struct err *err)
{
	struct stmt *m = stmt_new(OP_ACCOUNTS);
	enum act act = ask(s, m, 0, deadline_us, err);
	int n = 0;

	if (act != ACT_DONE)
		return act;
	*ret = arena_alloc(a, ACCOUNTS * sizeof(**ret));
	for (int i = 0; i < m->out->n; i++)
		for (int k = 0; k < entries->n; k++)
			if (account_name_matches(
				    entries->v[k], m->out->accounts[i].user, m->out->accounts[i].host)) {
				(*ret)[n++] = m->out->accounts[i];
				break;
			}
	*ret_n = n;
	return ACT_DONE;
}

enum act node_lock_accounts(struct session *s, const struct facts_account *accounts, int n, bool lock,
	int64_t deadline_us, struct err *err)
{
	struct stmt *m = stmt_new(lock ? OP_LOCK_ACCOUNTS : OP_UNLOCK_ACCOUNTS);
	struct facts_account *copy = arena_alloc(w.arena, (size_t)(n + 1) * sizeof(*copy));

	for (int i = 0; i < n; i++)
		copy[i] = accounts[i];
	m->in->accounts = copy;
	m->in->naccounts = n;
	return ask(s, m, 1000, deadline_us, err);
}

void node_accounts_text(
	const struct node *n, const struct facts_account *accounts, int count, bool lock, struct strbuf *out)
{
	(void)n;
	strbuf_add(out, "ALTER USER");
	for (int i = 0; i < count; i++)
		strbuf_addf(out, "%s '%s'@'%s'", i ? "," : "", accounts[i].user, accounts[i].host);
	strbuf_addf(out, " ACCOUNT %s", lock ? "LOCK" : "UNLOCK");
}

enum act node_fence(struct session *s, int64_t limit_ms, int64_t deadline_us, struct err *err)
{
	return ask(s, stmt_new(OP_FENCE), limit_ms, deadline_us, err);
}

enum act node_fence_proven(
	struct session *s, int64_t limit_ms, int64_t deadline_us, struct node_proof *ret, struct err *err)
{
	enum act act = node_fence(s, limit_ms, deadline_us, err);

	return act == ACT_DONE ? node_prove(s, deadline_us, ret, err) : act;
}

enum act node_unfence(struct session *s, int64_t deadline_us, struct err *err)
{
	return ask_simple(s, OP_UNFENCE, deadline_us, err);
}

enum act node_wait_position(struct session *s, const struct node_goal *goal, int64_t limit_ms,
	int64_t deadline_us, struct err *err)
{
	struct stmt *m = stmt_new(OP_WAIT);

	m->in->goal = *goal;
	return ask(s, m, limit_ms, deadline_us, err);
}

/* Refused by an error of the server: what holds is asked, as the real one does. */
enum act node_open_guarded(struct session *s, const struct node_goal *goal, int64_t limit_ms,
	int64_t deadline_us, struct err *err)
{
	struct stmt *m = stmt_new(OP_OPEN_GUARDED);
	struct node_proof p;
	struct err e = {0};
	enum act act;

	m->in->goal = *goal;
	act = ask(s, m, limit_ms, deadline_us, &e);
	if (act == ACT_REFUSED && e.sql_errno) {
		if (node_prove(s, deadline_us, &p, err) != ACT_DONE)
			return ACT_UNKNOWN;
		act = p.read_only ? ACT_REFUSED : ACT_DONE;
	}
	if (act != ACT_DONE && err && !err->code)
		*err = e;
	return act;
}

enum act node_forget_replication(struct session *s, int64_t deadline_us, struct err *err)
{
	return ask_simple(s, OP_FORGET, deadline_us, err);
}

enum act node_follow(struct session *s, const struct node_follow *f, int64_t deadline_us, struct err *err)
{
	struct stmt *m = stmt_new(OP_FOLLOW);

	m->in->follow = *f;
	return ask(s, m, 0, deadline_us, err);
}

enum act node_start_replication(struct session *s, int64_t deadline_us, struct err *err)
{
	return ask_simple(s, OP_START, deadline_us, err);
}

enum act node_stop_replication(struct session *s, int64_t deadline_us, struct err *err)
{
	return ask_simple(s, OP_STOP, deadline_us, err);
}

enum act node_try_reverse(
	struct session *s, const struct node_follow *f, int64_t deadline_us, struct err *err)
{
	(void)f;
	return ask_simple(s, OP_TRY, deadline_us, err);
}

enum act node_try_reverse_remove(struct session *s, int64_t deadline_us, struct err *err)
{
	return ask_simple(s, OP_TRY_REMOVE, deadline_us, err);
}

enum act node_list_tables(struct session *s, struct arena *a, int64_t deadline_us, const char ***ret,
	int *ret_n, struct err *err)
{
	enum act act = ask_simple(s, OP_TABLES, deadline_us, err);

	if (act != ACT_DONE)
		return act;
	*ret = arena_alloc(a, sizeof(**ret));
	**ret = "app.t";
	*ret_n = !w.no_tables;
	return ACT_DONE;
}

enum act node_table_value(struct session *s, const char *table, bool checksum, int64_t limit_ms,
	int64_t deadline_us, uint64_t *ret, struct err *err)
{
	struct stmt *m = stmt_new(OP_TABLE);
	enum act act = ask(s, m, limit_ms, deadline_us, err);

	(void)table;
	(void)checksum;
	if (act == ACT_DONE)
		*ret = m->out->number;
	return act;
}

enum act node_table_readable(struct session *s, const char *table, int64_t deadline_us, struct err *err)
{
	(void)table;
	return ask_simple(s, OP_TABLES, deadline_us, err);
}

/* --- kills --- */

enum act node_kill(struct session *s, uint64_t id, bool query_only, int64_t deadline_us, struct err *err)
{
	struct stmt *m = stmt_new(query_only ? OP_KILL_QUERY : OP_KILL);

	m->in->number = id;
	return ask(s, m, 0, deadline_us, err);
}

/* As one statement that goes on past those who are gone: what one of them answers is not told. */
enum act node_kill_many(struct session *s, const uint64_t *ids, int n, int64_t deadline_us, struct err *err)
{
	enum act act = ACT_DONE;

	for (int i = 0; i < n && act != ACT_UNKNOWN; i++)
		act = node_kill(s, ids[i], false, deadline_us, err);
	return act == ACT_UNKNOWN ? act : ACT_DONE;
}

static enum act MAY_WAIT ask_there(
	struct session *s, const struct session_mark *mark, int64_t deadline_us, bool *ret, struct err *err)
{
	struct stmt *m = stmt_new(OP_THERE);
	const char *at = strrchr(mark->account, '@');
	enum act act;

	m->in->number = mark->id;
	(void)snprintf(m->in->user, sizeof(m->in->user), "%.*s", (int)(at - mark->account), mark->account);
	act = ask(s, m, 0, deadline_us, err);
	*ret = m->out->yes;
	return act;
}

enum act node_kill_own(
	struct session *s, const struct session_mark *mark, int64_t deadline_us, struct err *err)
{
	bool there = false;
	enum act act;

	if (!facts_same_server(&s->mark.server, &mark->server) || mark->id == s->mark.id) {
		if (facts_same_boot(&s->mark.server, &mark->server)) {
			err_set(err, -EINVAL, "session %llu cannot kill itself",
				(unsigned long long)mark->id);
			return ACT_REFUSED;
		}
	}
	if (w.reckless[MUTANT_NO_KILL] || !facts_same_boot(&s->mark.server, &mark->server))
		return ACT_DONE; /* no session outlives its server */
	act = ask_there(s, mark, deadline_us, &there, err);
	if (act != ACT_DONE || !there)
		return act;
	act = node_kill(s, mark->id, false, deadline_us, err);
	while (act == ACT_DONE && there) {
		act = ask_there(s, mark, deadline_us, &there, err);
		if (act != ACT_DONE || !there)
			break;
		if (clock_us() + GONE_POLL_MS * 1000 >= deadline_us || fiber_sleep_ms(GONE_POLL_MS) < 0) {
			err_set(err, -ETIMEDOUT, "session %llu was killed but is still there",
				(unsigned long long)mark->id);
			return ACT_REFUSED;
		}
	}
	return act;
}
