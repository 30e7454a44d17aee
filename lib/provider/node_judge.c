/*
 * node_judge: whether flipd's account may do what a flip needs, from its SHOW GRANTS and the table in
 * lib/model/grants.c that also makes `flipctl grants`. Pure.
 */
#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "lib/base/str.h"
#include "lib/model/grants.h"
#include "lib/provider/node.h"

/* A slice of a grant's line. */
struct piece {
	const char *s;
	size_t n;
};

static struct piece trim(struct piece p)
{
	while (p.n && isspace((unsigned char)p.s[0]))
		p.s++, p.n--;
	while (p.n && isspace((unsigned char)p.s[p.n - 1]))
		p.n--;
	return p;
}

/* "READ_ONLY ADMIN" (as MariaDB 10.5 to 11.x show it) is "READ ONLY ADMIN". */
static bool same_word(struct piece p, const char *word)
{
	if (p.n != strlen(word))
		return false;
	for (size_t i = 0; i < p.n; i++) {
		char c = p.s[i] == '_' ? ' ' : (char)toupper((unsigned char)p.s[i]);
		if (c != word[i])
			return false;
	}
	return true;
}

/* The next privilege of a list; commas within brackets (columns) do not part. */
static struct piece next_privilege(struct piece *list)
{
	size_t i = 0;
	int depth = 0;

	for (; i < list->n && (list->s[i] != ',' || depth); i++)
		depth += (list->s[i] == '(') - (list->s[i] == ')');
	struct piece word = {list->s, i};
	size_t skip = i < list->n ? i + 1 : i;
	list->s += skip;
	list->n -= skip;
	return trim(word);
}

static bool list_has(struct piece list, const char *privilege)
{
	while (list.n) {
		struct piece word = next_privilege(&list);
		if (same_word(word, privilege) || same_word(word, "ALL PRIVILEGES") || same_word(word, "ALL"))
			return true;
	}
	return false;
}

/* "`flipd`.*" and "`my\_app`.`t`" without quotes and escapes. */
static void plain_object(struct piece p, char *buf, size_t size)
{
	size_t n = 0;

	for (size_t i = 0; i < p.n && n + 1 < size; i++) {
		if (p.s[i] != '`' && p.s[i] != '\\')
			buf[n++] = p.s[i];
	}
	buf[n] = '\0';
}

/* A grant on everything, or on the whole schema, covers what stands in it. */
static bool covers(const char *granted, const char *schema, const char *object)
{
	size_t n = strlen(schema);

	if (str_eq(granted, "*.*") || str_eq(granted, object))
		return true;
	return strncmp(granted, schema, n) == 0 && str_eq(granted + n, ".*") && !str_eq(object, "*.*");
}

/* Takes "GRANT a, b ON x TO y" apart; false for a line that grants a role. */
static bool split_line(struct piece line, struct piece *ret_list, char *object, size_t size)
{
	const char *on = memmem(line.s, line.n, " ON ", 4);

	if (line.n < 6 || strncasecmp(line.s, "GRANT ", 6) != 0 || !on)
		return false;
	struct piece rest = {on + 4, line.n - (size_t)(on + 4 - line.s)};
	const char *to = memmem(rest.s, rest.n, " TO ", 4);
	if (!to)
		return false;
	plain_object((struct piece){rest.s, (size_t)(to - rest.s)}, object, size);
	*ret_list = (struct piece){line.s + 6, (size_t)(on - line.s - 6)};
	return true;
}

static bool granted(const char *lines, const char *schema, const char *object, const char *privilege)
{
	while (lines && *lines) {
		size_t n = strcspn(lines, "\n");
		struct piece list;
		char on[300];
		if (split_line((struct piece){lines, n}, &list, on, sizeof(on)) &&
			covers(on, schema, object) && list_has(list, privilege))
			return true;
		lines += n + (lines[n] == '\n');
	}
	return false;
}

bool node_judge_granted(const struct facts *f, const char *privilege)
{
	return granted(f->privileges, "*", "*.*", privilege);
}

static bool need_met(const struct facts *f, const char *own_schema, const struct grants_need *need)
{
	char object[200], schema[100];

	if (need->on)
		str_copy(object, sizeof(object), need->on);
	else
		str_copy(str_copy(object, sizeof(object), own_schema) + strlen(object), 3, ".*");
	str_copy(schema, sizeof(schema), object);
	schema[strcspn(schema, ".")] = '\0';
	if (granted(f->privileges, schema, object, need->privilege))
		return true;
	bool super = need->super_does || f->version_num < need->super_until;
	return super && granted(f->privileges, "*", "*.*", "SUPER");
}

/* All the missing ones; the hint is the one GRANT that mends the first object in question. */
static bool is_asked(const struct grants_need *need, unsigned what)
{
	return need->when == GRANTS_ALWAYS || (need->when == GRANTS_EVENTS && (what & NODE_NEEDS_EVENTS)) ||
	       (need->for_locks && (what & NODE_NEEDS_LOCKS));
}

/* "'flipd'@'10.%'" out of CURRENT_USER(). */
static void add_own_name(struct strbuf *out, const char *current_user)
{
	const char *at = strrchr(current_user, '@');
	int n = at ? (int)(at - current_user) : (int)strlen(current_user);

	strbuf_addf(out, "'%.*s'@'%s'", n, current_user, at ? at + 1 : "%");
}

enum act node_judge_privileges(const struct facts *f, unsigned what, struct err *err)
{
	const char *own_schema = f->schema[0] ? f->schema : "flipd";
	struct strbuf missing = {0}, mend = {0};
	const char *mend_on = NULL;
	bool only_locks = true;
	int n;
	const struct grants_need *needs = grants_needs(&n);

	for (int i = 0; i < n; i++) {
		const struct grants_need *need = &needs[i];
		if (!is_asked(need, what) || need_met(f, own_schema, need))
			continue;
		only_locks = only_locks && need->for_locks;
		const char *on = need->on ? need->on : own_schema;
		bool everywhere = str_eq(on, "*.*");
		strbuf_addf(&missing, "%s%s%s%s", missing.len ? ", " : "", need->privilege,
			everywhere ? "" : " ON ", everywhere ? "" : on);
		mend_on = mend_on ? mend_on : on;
		if (str_eq(on, mend_on))
			strbuf_addf(&mend, "%s%s", mend.len ? ", " : "GRANT ", need->privilege);
	}
	if (!missing.len)
		return ACT_DONE;
	err_set(err, -EPERM, "account %s lacks privileges: %s", f->current_user, strbuf_str(&missing));
	strbuf_addf(&mend, " ON %s%s TO ", mend_on, strchr(mend_on, '.') ? "" : ".*");
	add_own_name(&mend, f->current_user);
	err_hint(err, "%s; %s", strbuf_str(&mend),
		only_locks ? "sessions.lock_accounts needs it, see flipd.yaml(5)"
			   : "flipctl grants mariadb prints all");
	strbuf_free(&missing);
	strbuf_free(&mend);
	return ACT_REFUSED;
}
