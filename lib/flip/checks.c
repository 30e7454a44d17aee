/* checks: what the judges share: how a result is said, which side is which, whose session it is. */
#include "lib/flip/checks.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "lib/base/clock.h"
#include "lib/base/str.h"

/* Which of two results counts. */
static const int ranks[] = {[CHECK_OK] = 0, [CHECK_SKIP] = 1, [CHECK_WARN] = 2, [CHECK_REFUSE] = 3};

/* Nothing is said in halves: a text that does not fit is left out. */
static void append(char *buf, size_t size, const char *text)
{
	size_t used = strlen(buf);

	if (!text[0] || strstr(buf, text) || used + strlen(text) + 3 > size)
		return;
	(void)snprintf(buf + used, size - used, "%s%s", used ? "; " : "", text);
}

static void take(struct check_out *out, enum check_result result, const char *server, const char *seen)
{
	char before[sizeof(out->seen)] = "";

	if (out->result == CHECK_WARN)
		str_copy(before, sizeof(before), out->seen);
	out->result = result;
	out->hint[0] = '\0';
	str_copy(out->server, sizeof(out->server), server);
	str_copy(out->seen, sizeof(out->seen), seen);
	append(out->seen, sizeof(out->seen), before);
}

void check_say(struct check_out *out, enum check_result result, const char *server, const char *fmt, ...)
{
	char seen[sizeof(out->seen)];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(seen, sizeof(seen), fmt, ap);
	va_end(ap);
	server = server ? server : "";
	if (!out->seen[0] || ranks[result] > ranks[out->result]) {
		take(out, result, server, seen);
		return;
	}
	if (result == out->result && strcmp(out->server, server) != 0)
		out->server[0] = '\0';
	if (result == out->result || result == CHECK_WARN)
		append(out->seen, sizeof(out->seen), seen);
}

void check_hint(struct check_out *out, const char *fmt, ...)
{
	char hint[sizeof(out->hint)];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(hint, sizeof(hint), fmt, ap);
	va_end(ap);
	append(out->hint, sizeof(out->hint), hint);
	if (!out->hint[0]) /* longer than append takes: the beginning is better than nothing */
		str_copy(out->hint, sizeof(out->hint), hint);
}

static const struct facts no_facts;
static const struct err no_error;

struct checks_side checks_old(const struct check_input *in)
{
	return (struct checks_side){
		.conf = &in->conf->side[in->from],
		.facts = in->old_facts ? in->old_facts : &no_facts,
		.error = in->old_error ? in->old_error : &no_error,
	};
}

struct checks_side checks_new(const struct check_input *in)
{
	return (struct checks_side){
		.conf = &in->conf->side[in->to],
		.facts = in->new_facts ? in->new_facts : &no_facts,
		.error = in->new_error ? in->new_error : &no_error,
	};
}

bool checks_both_up(const struct check_input *in, struct check_out *out)
{
	const struct checks_side side[2] = {checks_old(in), checks_new(in)};
	bool up = true;

	for (int i = 0; i < 2; i++) {
		if (side[i].facts->up)
			continue;
		check_say(out, CHECK_SKIP, side[i].conf->name, AT " does not answer", AT_OF(side[i]));
		up = false;
	}
	return up;
}

static const struct facts_channel *channel_between(
	const struct checks_side *on, const struct checks_side *from)
{
	const struct conf_server *c = from->conf;

	return facts_channel_from(on->facts, from->facts->up ? from->facts->id.server_id : 0,
		c->replication_host ? c->replication_host : c->host,
		c->replication_port ? c->replication_port : c->port);
}

const struct facts_channel *checks_channel(const struct check_input *in)
{
	const struct checks_side old = checks_old(in), new = checks_new(in);

	return channel_between(&new, &old);
}

const struct facts_channel *checks_channel_back(const struct check_input *in)
{
	const struct checks_side old = checks_old(in), new = checks_new(in);

	return channel_between(&old, &new);
}

const char *checks_reason(const struct checks_side *side, const struct err *err)
{
	const char *text = err_text(err);
	char name[400];
	int n = snprintf(name, sizeof(name), AT ": ", AT_OF(*side));

	return n > 0 && (size_t)n < sizeof(name) && strncmp(text, name, (size_t)n) == 0 ? text + n : text;
}

void checks_list_add(struct checks_list *l, const char *fmt, ...)
{
	size_t used = strlen(l->text);
	char text[200];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	l->n++;
	/* Room is kept for " and N more"; once one was left out, so are all after it. */
	if (l->shown < l->n - 1 || used + strlen(text) + 24 > sizeof(l->text))
		return;
	(void)snprintf(l->text + used, sizeof(l->text) - used, "%s%s", used ? ", " : "", text);
	l->shown++;
}

const char *checks_list_text(struct checks_list *l)
{
	size_t used = strlen(l->text);

	if (l->shown < l->n) {
		(void)snprintf(l->text + used, sizeof(l->text) - used, " and %d more", l->n - l->shown);
		l->shown = l->n;
	}
	return l->text;
}

bool checks_list_has(const struct conf_list *l, const char *s)
{
	for (int i = 0; i < l->n; i++)
		if (str_eq(l->v[i], s))
			return true;
	return false;
}

bool checks_user_is_flipd(const struct conf_cluster *conf, const struct conf_server *server, const char *user)
{
	return str_eq(user, server->account.user) || str_eq(user, conf->policy.heartbeat_account.user);
}

static bool in_table(const char *const *table, size_t n, const char *s)
{
	for (size_t i = 0; i < n; i++)
		if (strcasecmp(table[i], s) == 0)
			return true;
	return false;
}

/*
 * Threads that no flip may kill. Names of commands as MariaDB and MySQL show them; rdsadmin and rdsrepladmin
 * are the service's own accounts (RDS and Aurora user guides).
 */
static bool is_servers_own(const struct facts_session *s)
{
	static const char *const commands[] = {
		"Binlog Dump", "Binlog Dump GTID", "Slave_IO", "Slave_SQL", "Slave_worker", "Daemon"};
	static const char *const users[] = {"system user", "event_scheduler", "unauthenticated user",
		"rdsadmin", "rdsrepladmin", "rdsrepladmin_priv_checks_user"};

	return in_table(commands, COUNT_OF(commands), s->command) ||
	       in_table(users, COUNT_OF(users), s->user);
}

enum checks_who checks_session_who(
	const struct conf_cluster *conf, const struct conf_server *server, const struct facts_session *s)
{
	if (is_servers_own(s) || str_eq(s->user, server->replication.user))
		return CHECKS_WHO_SERVER;
	if (checks_user_is_flipd(conf, server, s->user) || str_eq(s->user, conf->policy.fence_probe.user))
		return CHECKS_WHO_FLIPD;
	if (checks_list_has(&conf->policy.exempt_users, s->user))
		return CHECKS_WHO_EXEMPT;
	return CHECKS_WHO_CLIENT;
}

#define TALLY_MAX 12

/* Accounts beyond TALLY_MAX are counted together. */
struct tally {
	const char *user[TALLY_MAX];
	int count[TALLY_MAX], n, others;
};

static void tally_add(struct tally *t, const char *user)
{
	int i = 0;

	while (i < t->n && strcmp(t->user[i], user) != 0)
		i++;
	if (i == TALLY_MAX) {
		t->others++;
		return;
	}
	if (i == t->n) {
		t->user[i] = user;
		t->n++;
	}
	t->count[i]++;
}

int checks_clients(const struct check_input *in, const struct checks_side *side, struct checks_list *ret)
{
	struct tally t = {0};
	int total = 0;

	for (int i = 0; i < side->facts->nsessions; i++) {
		const struct facts_session *s = &side->facts->sessions[i];

		if (checks_session_who(in->conf, side->conf, s) != CHECKS_WHO_CLIENT)
			continue;
		tally_add(&t, s->user);
		total++;
	}
	for (int i = 0; i < t.n; i++)
		checks_list_add(ret, "%s %d", t.user[i], t.count[i]);
	if (t.others)
		checks_list_add(ret, "other accounts %d", t.others);
	return total;
}

int64_t checks_deadline(int64_t limit_ms, int64_t deadline_us)
{
	int64_t limit = clock_us() + limit_ms * 1000;

	return limit < deadline_us ? limit : deadline_us;
}

enum conf_lower checks_lowered(const struct conf_cluster *conf, const char *name)
{
	for (int i = 0; i < conf->policy.nlower; i++)
		if (str_eq(conf->policy.lower[i].check, name))
			return conf->policy.lower[i].to;
	return CONF_LOWER_NO;
}

bool checks_begin(const struct conf_cluster *conf, const struct check *check, struct check_out *out)
{
	memset(out, 0, sizeof(*out));
	out->name = check->name;
	if (checks_lowered(conf, check->name) != CONF_LOWER_SKIP)
		return false;
	check_say(out, CHECK_SKIP, NULL, "not looked at: the configuration says preflight: {%s: skip}",
		check->name);
	return true;
}

void checks_end(const struct conf_cluster *conf, struct check_out *out)
{
	if (out->result != CHECK_REFUSE || checks_lowered(conf, out->name) != CONF_LOWER_WARN)
		return;
	out->result = CHECK_WARN;
	append(out->seen, sizeof(out->seen), "lowered from refuse by the configuration");
}

bool checks_ready(const struct check_out *results, int n)
{
	for (int i = 0; i < n; i++)
		if (results[i].result == CHECK_REFUSE)
			return false;
	return true;
}
