/*
 * checks_schema: judges of what both sides hold, by names and digests (survey.h): what the application misses
 * after the flip if new does not have it.
 */
#include "lib/flip/checks.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "lib/base/str.h"

/* The surveys of both sides; NULL where there is none. */
struct both {
	struct checks_side old, new;
	const struct survey *at_old, *at_new;
};

static const struct survey no_survey;

static struct both both_of(const struct check_input *in)
{
	return (struct both){
		.old = checks_old(in),
		.new = checks_new(in),
		.at_old = in->old_survey ? in->old_survey : &no_survey,
		.at_new = in->new_survey ? in->new_survey : &no_survey,
	};
}

static void say_half(const struct checks_side *s, const struct survey_half *h, struct check_out *out)
{
	if (h->state == SURVEY_NOT_ASKED)
		check_say(out, CHECK_SKIP, s->conf->name, AT " was not asked", AT_OF(*s));
	else if (h->state == SURVEY_LATE)
		check_say(out, CHECK_SKIP, s->conf->name, AT ": %s%s", AT_OF(*s), h->why,
			"; `flipctl check` has more time than a flip");
	else
		check_say(out, CHECK_SKIP, s->conf->name, AT ": %s", AT_OF(*s), h->why);
}

static bool half_done(const struct checks_side *s, const struct survey_half *h, struct check_out *out)
{
	if (h->state == SURVEY_DONE)
		return true;
	say_half(s, h, out);
	return false;
}

static bool accounts_seen(const struct both *b, struct check_out *out)
{
	return half_done(&b->old, &b->at_old->accounts, out) && half_done(&b->new, &b->at_new->accounts, out);
}

/* Without one of these an account sees no columns of others' tables, and all seems equal. */
static bool sees_tables(const struct facts *f)
{
	return node_judge_granted(f, "REFERENCES") || node_judge_granted(f, "SELECT");
}

static bool tables_seen(const struct both *b, struct check_out *out)
{
	const struct checks_side *side[2] = {&b->old, &b->new};

	for (int i = 0; i < 2; i++) {
		if (sees_tables(side[i]->facts))
			continue;
		check_say(out, CHECK_SKIP, side[i]->conf->name,
			"flipd's account may not see the tables of " AT, AT_OF(*side[i]));
		check_hint(out,
			"GRANT REFERENCES, SHOW VIEW ON *.* TO flipd's account (`flipctl grants mariadb`): "
			"it shows names and types, no data");
		return false;
	}
	return half_done(&b->old, &b->at_old->schema, out) && half_done(&b->new, &b->at_new->schema, out);
}

/* --- schema --- */

struct differences {
	const struct both *both;
	enum survey_kind kind;
	struct checks_list list;
};

/* Indexes and engine of a table that is on one side only go without saying. */
static void tell_difference(void *arg, enum survey_side where, const struct survey_thing *thing)
{
	struct differences *d = arg;
	const struct both *b = d->both;
	const char *kind = survey_kind_name(d->kind);
	bool part = d->kind == SURVEY_INDEXES || d->kind == SURVEY_ENGINE;

	if (part && (!survey_find(b->at_old, SURVEY_TABLE, thing->name) ||
			    !survey_find(b->at_new, SURVEY_TABLE, thing->name)))
		return;
	if (where == SURVEY_BOTH || part)
		checks_list_add(&d->list, "%s %s differ", kind, thing->name);
	else
		checks_list_add(&d->list, "%s %s only on %s", kind, thing->name,
			where == SURVEY_ONLY_A ? b->old.conf->name : b->new.conf->name);
}

/* What both sides were seen to hold, or may be taken to. */
static bool comparable(const struct both *b, enum survey_kind kind)
{
	const char *privilege = kind == SURVEY_VIEW ? "SHOW VIEW" : kind == SURVEY_TRIGGER ? "TRIGGER" : NULL;

	if (privilege && (!node_judge_granted(b->old.facts, privilege) ||
				 !node_judge_granted(b->new.facts, privilege)))
		return false;
	return b->at_old->seen[kind] && b->at_new->seen[kind];
}

void judge_schema(const struct check_input *in, struct check_out *out)
{
	static const enum survey_kind kinds[] = {SURVEY_TABLE, SURVEY_INDEXES, SURVEY_ENGINE, SURVEY_VIEW,
		SURVEY_TRIGGER, SURVEY_ROUTINE, SURVEY_EVENT};
	const struct both b = both_of(in);
	struct differences d = {.both = &b};
	struct checks_list unseen = {0};
	const struct survey_thing *list;

	if (!checks_both_up(in, out) || !tables_seen(&b, out))
		return;
	for (size_t i = 0; i < COUNT_OF(kinds); i++) {
		d.kind = kinds[i];
		if (comparable(&b, kinds[i]))
			(void)survey_compare(b.at_old, b.at_new, kinds[i], tell_difference, &d);
		else
			checks_list_add(&unseen, "%ss", survey_kind_name(kinds[i]));
	}
	if (d.list.n) {
		check_say(out, CHECK_WARN, NULL, "%d differences: %s", d.list.n, checks_list_text(&d.list));
		check_hint(out,
			"look again once %s has caught up; then diff mariadb-dump --no-data --routines "
			"--triggers of both, and mend %s with sql_log_bin=0",
			b.new.conf->name, b.new.conf->name);
	}
	check_say(out, CHECK_OK, NULL, "%d tables are the same on both sides%s%s",
		survey_slice(b.at_old, SURVEY_ENGINE, &list), unseen.n ? "; may not see " : "",
		unseen.n ? checks_list_text(&unseen) : "");
}

/* --- accounts --- */

/* Accounts of the machine: each server has its own. */
static bool is_local(const char *name)
{
	static const char *const own[] = {"root@", "mysql@", "mariadb.sys@", "@"};

	for (size_t i = 0; i < COUNT_OF(own); i++)
		if (strncmp(name, own[i], strlen(own[i])) == 0)
			return true;
	return false;
}

/* What only new has does nobody harm. */
static void tell_account(void *arg, enum survey_side where, const struct survey_thing *thing)
{
	struct differences *d = arg;
	const char *name = thing->name;

	if (where == SURVEY_ONLY_B || is_local(name))
		return;
	if (d->kind == SURVEY_ACCOUNT)
		checks_list_add(&d->list, where == SURVEY_BOTH ? "%s differs" : "%s is missing", name);
	else if (survey_find(d->both->at_new, SURVEY_ACCOUNT, name))
		checks_list_add(&d->list, "grants of %s differ", name);
}

/* A role is its name alone as a definer, and has an empty host among the accounts. */
static bool is_there(const struct survey *s, const char *definer)
{
	struct strbuf role = {0};
	bool there;

	if (strchr(definer, '@'))
		return survey_find(s, SURVEY_ACCOUNT, definer);
	strbuf_addf(&role, "%s@", definer);
	there = survey_find(s, SURVEY_ACCOUNT, strbuf_str(&role));
	strbuf_free(&role);
	return there;
}

static void judge_definers(const struct both *b, struct check_out *out)
{
	const struct survey_thing *definer;
	int n = survey_slice(b->at_new, SURVEY_DEFINER, &definer);
	struct checks_list missing = {0};
	const char *last = "";

	for (int i = 0; i < n; last = definer[i++].name)
		if (!str_eq(last, definer[i].name) && !is_there(b->at_new, definer[i].name))
			checks_list_add(&missing, "%s", definer[i].name);
	if (!missing.n)
		return;
	check_say(out, CHECK_WARN, b->new.conf->name,
		"routines, events or views of " AT " run as accounts that are not there: %s", AT_OF(b->new),
		checks_list_text(&missing));
	check_hint(out,
		"they fail with error 1449 when they are used: create the accounts, or give them another "
		"DEFINER");
}

static void tell_plugin(void *arg, enum survey_side where, const struct survey_thing *thing)
{
	struct differences *d = arg;

	if (where == SURVEY_ONLY_A && str_eq(thing->digest, "AUTHENTICATION"))
		checks_list_add(&d->list, "%s", thing->name);
}

static void judge_plugins(const struct both *b, struct check_out *out)
{
	struct differences d = {.both = b, .kind = SURVEY_PLUGIN};

	(void)survey_compare(b->at_old, b->at_new, SURVEY_PLUGIN, tell_plugin, &d);
	if (!d.list.n)
		return;
	check_say(out, CHECK_WARN, b->new.conf->name, AT " does not have the authentication plugins %s",
		AT_OF(b->new), checks_list_text(&d.list));
	check_hint(out, "INSTALL SONAME on %s, or plugin_load_add in its my.cnf", b->new.conf->name);
}

void judge_accounts(const struct check_input *in, struct check_out *out)
{
	const struct both b = both_of(in);
	struct differences d = {.both = &b};
	const struct survey_thing *list;

	if (!checks_both_up(in, out) || !accounts_seen(&b, out))
		return;
	if (!b.at_old->seen[SURVEY_ACCOUNT] || !b.at_new->seen[SURVEY_ACCOUNT]) {
		check_say(out, CHECK_SKIP, NULL,
			"flipd's account may not see the accounts (GRANT SELECT ON "
			"mysql.global_priv)");
		return;
	}
	for (d.kind = SURVEY_ACCOUNT; d.kind <= SURVEY_GRANTS; d.kind++)
		if (b.at_old->seen[d.kind] && b.at_new->seen[d.kind])
			(void)survey_compare(b.at_old, b.at_new, d.kind, tell_account, &d);
	if (d.list.n) {
		check_say(out, CHECK_WARN, b.new.conf->name, "accounts of %s on " AT ": %s", b.old.conf->name,
			AT_OF(b.new), checks_list_text(&d.list));
		check_hint(out,
			"compare SHOW CREATE USER and SHOW GRANTS of both sides and mend %s with "
			"sql_log_bin=0",
			b.new.conf->name);
	}
	judge_definers(&b, out);
	judge_plugins(&b, out);
	check_say(out, CHECK_OK, NULL, "the %d accounts of %s are on %s too%s",
		survey_slice(b.at_old, SURVEY_ACCOUNT, &list), b.old.conf->name, b.new.conf->name,
		b.at_old->seen[SURVEY_GRANTS] ? ""
					      : "; may not see their grants (GRANT SELECT ON mysql.db ...)");
}

/* --- engines, primary keys --- */

static bool is_transactional(const char *engine)
{
	static const char *const engines[] = {"InnoDB", "ROCKSDB", "TokuDB"};

	for (size_t i = 0; i < COUNT_OF(engines); i++)
		if (strcasecmp(engines[i], engine) == 0)
			return true;
	return false;
}

static bool engine_there(const struct survey *s, const char *engine)
{
	char name[65];

	str_copy(name, sizeof(name), engine);
	for (char *c = name; *c; c++)
		*c = (char)tolower((unsigned char)*c);
	return !s->seen[SURVEY_PLUGIN] || survey_find(s, SURVEY_PLUGIN, name);
}

void judge_engines(const struct check_input *in, struct check_out *out)
{
	const struct both b = both_of(in);
	struct checks_list plain = {0}, lacking = {0};
	const struct survey_thing *t;

	if (!checks_both_up(in, out) || !tables_seen(&b, out))
		return;
	int n = survey_slice(b.at_old, SURVEY_ENGINE, &t);
	for (int i = 0; i < n; i++) {
		if (!engine_there(b.at_new, t[i].digest))
			checks_list_add(&lacking, "%s (%s)", t[i].name, t[i].digest);
		else if (!is_transactional(t[i].digest))
			checks_list_add(&plain, "%s (%s)", t[i].name, t[i].digest);
	}
	if (lacking.n) {
		check_say(out, CHECK_WARN, b.new.conf->name, AT " does not have the engine of %d tables: %s",
			AT_OF(b.new), lacking.n, checks_list_text(&lacking));
		check_hint(out, "INSTALL SONAME the engine on %s, or ALTER TABLE ... ENGINE=InnoDB",
			b.new.conf->name);
	}
	if (plain.n) {
		check_say(out, CHECK_WARN, b.old.conf->name, "%d tables of " AT " have no transactions: %s",
			plain.n, AT_OF(b.old), checks_list_text(&plain));
		check_hint(out,
			"a statement that the flip kills stays half done in them, and a crash loses them: "
			"ALTER TABLE ... ENGINE=InnoDB");
	}
	check_say(out, CHECK_OK, b.old.conf->name, "all %d tables of " AT " have transactions", n,
		AT_OF(b.old));
}

void judge_primary_keys(const struct check_input *in, struct check_out *out)
{
	const struct both b = both_of(in);
	struct checks_list without = {0};
	const struct survey_thing *t;

	if (!checks_both_up(in, out) || !tables_seen(&b, out))
		return;
	int n = survey_slice(b.at_old, SURVEY_ENGINE, &t);
	for (int i = 0; i < n; i++) {
		const struct survey_thing *columns = survey_find(b.at_old, SURVEY_TABLE, t[i].name);

		if (columns && columns->n == 0)
			checks_list_add(&without, "%s", t[i].name);
	}
	if (without.n) {
		check_say(out, CHECK_WARN, b.old.conf->name, "%d tables of " AT " have no primary key: %s",
			without.n, AT_OF(b.old), checks_list_text(&without));
		check_hint(out,
			"a replica reads such a table whole for each row that changes, and lags: ALTER "
			"TABLE ... ADD PRIMARY KEY");
	}
	check_say(out, CHECK_OK, b.old.conf->name, "all %d tables of " AT " have a primary key", n,
		AT_OF(b.old));
}
