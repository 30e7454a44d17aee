/* checks_statements: judges of what others do on the servers right now, as their sessions show it: another
 * manager, a table being altered, a backup. */
#include "lib/flip/checks.h"

#include <ctype.h>
#include <inttypes.h>
#include <string.h>
#include <strings.h>

#include "lib/base/str.h"

/* What a statement begins with, behind blanks, brackets and comments; a comment that is a hint for the server
 * begins with an exclamation mark and is text. */
static const char *statement_of(const char *info)
{
	for (;;) {
		while (isspace((unsigned char)*info) || *info == '(')
			info++;
		if (strncmp(info, "/*", 2) != 0 || info[2] == '!')
			return info;
		const char *end = strstr(info + 2, "*/");
		if (!end)
			return "";
		info = end + 2;
	}
}

static bool begins_with_any(const char *text, const char *const *words, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (strncasecmp(text, words[i], strlen(words[i])) == 0)
			return true;
	return false;
}

static bool sessions_there(const struct checks_side *s, struct check_out *out)
{
	if (s->facts->up && s->facts->nsessions > 0)
		return true;
	check_say(out, CHECK_SKIP, s->conf->name, "the sessions of " AT " were not looked at", AT_OF(*s));
	return false;
}

/* --- managers --- */

/* The accounts that their manuals use. */
static const char *const manager_users[] = {"maxscale", "orchestrator", "orc_", "replication_manager",
	"repman", "mysync", "pacemaker", "hacluster"};

/* The locks that others take by a name of their own stand among the settings: "lock NAME". */
static void add_lock_holders(const struct facts *f, struct checks_list *found)
{
	for (int i = 0; i < f->nsettings; i++) {
		const struct facts_setting *one = &f->settings[i];

		if (one->value && strncmp(one->name, "lock ", 5) == 0)
			checks_list_add(found, "#%s holds the %s", one->value, one->name);
	}
}

static void judge_managers_of(
	const struct check_input *in, const struct checks_side *s, struct check_out *out)
{
	struct checks_list found = {0};
	const char *last = "";

	if (!sessions_there(s, out))
		return;
	add_lock_holders(s->facts, &found);
	for (int i = 0; i < s->facts->nsessions; i++) {
		const struct facts_session *one = &s->facts->sessions[i];
		enum checks_who who = checks_session_who(in->conf, s->conf, one);

		if (who == CHECKS_WHO_SERVER || who == CHECKS_WHO_FLIPD || str_eq(one->user, last) ||
			!begins_with_any(one->user, manager_users, COUNT_OF(manager_users)))
			continue;
		last = one->user;
		checks_list_add(&found, "#%" PRIu64 " %s@%s", one->id, one->user, one->host);
	}
	if (!found.n) {
		check_say(out, CHECK_OK, NULL, "no other manager shows on %s", s->conf->name);
		return;
	}
	check_say(out, CHECK_WARN, s->conf->name, "another manager seems to be at work on " AT ": %s",
		AT_OF(*s), checks_list_text(&found));
	check_hint(out,
		"it may move the master or open a side by itself: stop it, or set it to maintenance, for "
		"the time of the flip; if it only looks, preflight: {managers: skip}");
}

void judge_managers(const struct check_input *in, struct check_out *out)
{
	const struct checks_side old = checks_old(in), new = checks_new(in);

	judge_managers_of(in, &old, out);
	judge_managers_of(in, &new, out);
}

/* --- DDL --- */

static const char *const ddl_words[] = {"ALTER TABLE", "ALTER ONLINE TABLE", "ALTER IGNORE TABLE",
	"CREATE INDEX", "CREATE UNIQUE INDEX", "CREATE FULLTEXT INDEX", "CREATE OR REPLACE INDEX",
	"DROP INDEX", "OPTIMIZE ", "RENAME TABLE", "TRUNCATE ", "DROP TABLE", "REPAIR "};

/* gh-ost's sessions say so in a comment; pt-online-schema-change copies into a table named _..._new, with a
 * comment of its own (their sources). */
static bool is_schema_change_tool(const struct facts_session *s)
{
	return strstr(s->info, "/* gh-ost") || strstr(s->info, "/*pt-online-schema-change");
}

static void judge_ddl_of(const struct check_input *in, const struct checks_side *s, struct check_out *out)
{
	struct checks_list found = {0};

	for (int i = 0; i < s->facts->nsessions; i++) {
		const struct facts_session *one = &s->facts->sessions[i];

		if (checks_session_who(in->conf, s->conf, one) == CHECKS_WHO_FLIPD)
			continue;
		if (begins_with_any(statement_of(one->info), ddl_words, COUNT_OF(ddl_words)) ||
			is_schema_change_tool(one))
			checks_list_add(&found, "#%" PRIu64 " %s for %" PRId64 " s: %.60s", one->id,
				one->user, one->time_ms / 1000, one->info);
	}
	if (!found.n) {
		check_say(out, CHECK_OK, NULL, "no table is being altered on %s", s->conf->name);
		return;
	}
	check_say(out, CHECK_WARN, s->conf->name, "tables are being altered on " AT ": %s", AT_OF(*s),
		checks_list_text(&found));
	check_hint(out,
		"let it end: the fence waits for it, and so does every replica, for as long as it took; "
		"drain "
		"waits at most %" PRId64 " s",
		in->conf->policy.drain_timeout_ms / 1000);
}

/* On new the applier's: all that comes after it waits. */
void judge_ddl(const struct check_input *in, struct check_out *out)
{
	const struct checks_side old = checks_old(in), new = checks_new(in);

	if (!sessions_there(&old, out) || !sessions_there(&new, out))
		return;
	judge_ddl_of(in, &old, out);
	judge_ddl_of(in, &new, out);
}

/* --- backups --- */

/* mariadb-dump reads with a hint that no application writes; mariadb-backup goes through the stages. */
static const char *const backup_words[] = {"SELECT /*!40001 SQL_NO_CACHE */",
	"SELECT /*!40001 SQL_NO_CACHE `", "BACKUP STAGE", "BACKUP LOCK", "FLUSH TABLES WITH READ LOCK",
	"FLUSH NO_WRITE_TO_BINLOG TABLES WITH READ LOCK"};
static const char *const backup_users[] = {
	"mariabackup", "mariadb-backup", "mariadb_backup", "xtrabackup", "backup", "mydumper"};

static bool is_backup(
	const struct check_input *in, const struct checks_side *s, const struct facts_session *one)
{
	enum checks_who who = checks_session_who(in->conf, s->conf, one);

	if (who == CHECKS_WHO_FLIPD || who == CHECKS_WHO_SERVER)
		return false;
	return begins_with_any(statement_of(one->info), backup_words, COUNT_OF(backup_words)) ||
	       begins_with_any(one->user, backup_users, COUNT_OF(backup_users)) ||
	       strcasecmp(one->state, "Waiting for backup lock") == 0;
}

static void judge_backups_of(const struct check_input *in, const struct checks_side *s, struct check_out *out)
{
	struct checks_list found = {0};

	for (int i = 0; i < s->facts->nsessions; i++) {
		const struct facts_session *one = &s->facts->sessions[i];

		if (is_backup(in, s, one))
			checks_list_add(&found, "#%" PRIu64 " %s@%s %s%.40s", one->id, one->user, one->host,
				one->info[0] ? "" : one->command, one->info);
	}
	if (!found.n) {
		check_say(out, CHECK_OK, NULL, "no backup runs on %s", s->conf->name);
		return;
	}
	check_say(out, CHECK_WARN, s->conf->name, "a backup seems to run on " AT ": %s", AT_OF(*s),
		checks_list_text(&found));
	check_hint(out, "let it end: its locks hold up the fence or the applier, and on the old master its "
			"session is killed by the flip");
}

void judge_backups(const struct check_input *in, struct check_out *out)
{
	const struct checks_side old = checks_old(in), new = checks_new(in);

	if (!sessions_there(&old, out) || !sessions_there(&new, out))
		return;
	judge_backups_of(in, &old, out);
	judge_backups_of(in, &new, out);
}
