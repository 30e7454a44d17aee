/* conf_type: what a single value may look like, one struct conf_type per kind: read into its field, and
 * printed. */
#include "lib/model/conf_priv.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define SHOWN 80 /* bytes of a wrong value that an error repeats */

static bool wrong(struct conf_reader *rd, const struct conf_node *n, const char *wanted)
{
	conf_error(rd, n, NULL, "%s is wanted, not '%.*s'", wanted, SHOWN, n->text);
	return false;
}

/* The text of a scalar; NULL after an error. */
static const char *scalar(struct conf_reader *rd, const struct conf_node *n)
{
	if (n->kind == CONF_NODE_SCALAR)
		return n->text;
	conf_error(rd, n, NULL,
		n->kind == CONF_NODE_NULL ? "a value is missing" : "one value is wanted, not a %s",
		n->kind == CONF_NODE_LIST ? "list" : "mapping");
	return NULL;
}

const char *conf_read_text(struct conf_reader *rd, const struct conf_node *n, int64_t longest)
{
	const char *s = scalar(rd, n);

	if (!s)
		return NULL;
	if (!*s || (longest && strlen(s) > (size_t)longest)) {
		conf_error(rd, n, NULL, *s ? "longer than %" PRId64 " bytes" : "empty", longest);
		return NULL;
	}
	for (const char *c = s; *c; c++)
		if ((unsigned char)*c < ' ' || *c == 0x7f) {
			conf_error(rd, n, NULL, "has a control character");
			return NULL;
		}
	return arena_strdup(rd->arena, s);
}

/* One text that passes a test. */
static bool read_tested(struct conf_reader *rd, const struct conf_key *k, const struct conf_node *n,
	void *field, bool (*test)(const char *), const char *wanted)
{
	const char *s = conf_read_text(rd, n, k->max);

	if (!s)
		return false;
	if (!test(s))
		return wrong(rd, n, wanted);
	*(const char **)field = s;
	return true;
}

static void print_text(struct conf_printer *p, const struct conf_key *k, const void *field)
{
	const char *s = *(const char *const *)field;

	if (s)
		conf_print_value(p, k->name, s);
}

/* Only what people read hides a URL's user: the journal's copy has to work. */
static void print_hook(struct conf_printer *p, const struct conf_key *k, const void *field)
{
	const char *s = *(const char *const *)field;
	struct strbuf b = {0};

	if (!s)
		return;
	conf_print_hook(&b, s);
	conf_print_value(p, k->name, p->secrets ? strbuf_str(&b) : s);
	strbuf_free(&b);
}

static bool any(const char *s)
{
	return *s;
}

static bool read_string(
	struct conf_reader *rd, const struct conf_key *k, const struct conf_node *n, void *field)
{
	return read_tested(rd, k, n, field, any, "a string");
}

static bool is_ident(const char *s)
{
	return s[strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_$-")] == '\0';
}

static bool read_ident(
	struct conf_reader *rd, const struct conf_key *k, const struct conf_node *n, void *field)
{
	return read_tested(rd, k, n, field, is_ident, "a name of letters, digits, '_', '$' and '-'");
}

static bool is_path(const char *s)
{
	return *s == '/';
}

static bool read_path(
	struct conf_reader *rd, const struct conf_key *k, const struct conf_node *n, void *field)
{
	return read_tested(rd, k, n, field, is_path, "an absolute path");
}

/* A file that has to be there. A journal may come from a time when another one was. */
static bool read_existing(
	struct conf_reader *rd, const struct conf_key *k, const struct conf_node *n, void *field)
{
	if (!read_path(rd, k, n, field))
		return false;
	if (rd->journaled || access(n->text, R_OK) == 0)
		return true;
	conf_error(rd, n, NULL, "%s cannot be read: %s", n->text, strerror(errno));
	return false;
}

static bool is_hook(const char *s)
{
	return is_path(s) || (strncmp(s, "http://", 7) == 0 && s[7]) ||
	       (strncmp(s, "https://", 8) == 0 && s[8]);
}

static bool read_hook(
	struct conf_reader *rd, const struct conf_key *k, const struct conf_node *n, void *field)
{
	const char *s = conf_read_text(rd, n, k->max);
	char name[SHOWN + 1];

	if (!s)
		return false;
	if (!is_hook(s)) {
		/* Not as it stands there: a URL may hold a password. */
		conf_error(rd, n, NULL, "an absolute path or an http(s) URL is wanted, not '%s'",
			conf_hook_name(s, name, sizeof(name)));
		return false;
	}
	*(const char **)field = s;
	return true;
}

static bool read_host(
	struct conf_reader *rd, const struct conf_key *k, const struct conf_node *n, void *field)
{
	return read_tested(
		rd, k, n, field, conf_is_host, "a host name or address (the port has a key of its own)");
}

static bool read_dns_name(
	struct conf_reader *rd, const struct conf_key *k, const struct conf_node *n, void *field)
{
	const char *s = conf_read_text(rd, n, k->max);
	const char *name = s ? conf_dns_name(rd->arena, s) : NULL;

	if (!name)
		return s ? wrong(rd, n, "a domain name") : false;
	*(const char **)field = name;
	return true;
}

static bool read_whole(
	struct conf_reader *rd, const struct conf_key *k, const struct conf_node *n, int64_t *ret)
{
	const char *s = scalar(rd, n);
	int r;

	if (!s)
		return false;
	r = str_parse_int(s, k->min, k->max, ret);
	if (r == -ERANGE)
		conf_error(rd, n, NULL, "%.*s is outside %" PRId64 " to %" PRId64, SHOWN, s, k->min, k->max);
	else if (r < 0)
		wrong(rd, n, "a whole number");
	return r == 0;
}

static bool read_number(
	struct conf_reader *rd, const struct conf_key *k, const struct conf_node *n, void *field)
{
	return read_whole(rd, k, n, field);
}

static void print_number(struct conf_printer *p, const struct conf_key *k, const void *field)
{
	conf_print_line(p, "%s: %" PRId64, k->name, *(const int64_t *)field);
}

static bool read_count(
	struct conf_reader *rd, const struct conf_key *k, const struct conf_node *n, void *field)
{
	int64_t v;

	if (!read_whole(rd, k, n, &v))
		return false;
	*(int *)field = (int)v;
	return true;
}

static void print_count(struct conf_printer *p, const struct conf_key *k, const void *field)
{
	conf_print_line(p, "%s: %d", k->name, *(const int *)field);
}

static bool read_port(
	struct conf_reader *rd, const struct conf_key *k, const struct conf_node *n, void *field)
{
	int64_t v;

	if (!read_whole(rd, k, n, &v))
		return false;
	*(uint16_t *)field = (uint16_t)v;
	return true;
}

static void print_port(struct conf_printer *p, const struct conf_key *k, const void *field)
{
	conf_print_line(p, "%s: %d", k->name, *(const uint16_t *)field);
}

static bool read_duration(
	struct conf_reader *rd, const struct conf_key *k, const struct conf_node *n, void *field)
{
	const char *s = scalar(rd, n);
	char least[24], most[24];
	int64_t us;

	if (!s)
		return false;
	if (str_parse_duration_us(s, &us) < 0)
		return wrong(rd, n, "a duration such as 500ms (us ms s m h)");
	if (us < k->min || us > k->max) {
		conf_error(rd, n, NULL, "%.*s is outside %s to %s", SHOWN, s,
			str_format_duration(k->min, least, sizeof(least)),
			str_format_duration(k->max, most, sizeof(most)));
		return false;
	}
	if (us % k->unit) {
		conf_error(rd, n, NULL, "%.*s is finer than %s", SHOWN, s,
			str_format_duration(k->unit, least, sizeof(least)));
		return false;
	}
	*(int64_t *)field = us / k->unit;
	return true;
}

static void print_duration(struct conf_printer *p, const struct conf_key *k, const void *field)
{
	char text[24];

	conf_print_line(p, "%s: %s", k->name,
		str_format_duration(*(const int64_t *)field * k->unit, text, sizeof(text)));
}

static bool read_truth(struct conf_reader *rd, const struct conf_node *n, bool *ret)
{
	static const char *const words[] = {"false", "true", "no", "yes", "off", "on"};
	const char *s = scalar(rd, n);

	if (!s)
		return false;
	for (size_t i = 0; i < COUNT_OF(words); i++)
		if (str_ieq(s, words[i])) {
			*ret = i % 2;
			return true;
		}
	return wrong(rd, n, "true or false");
}

static bool read_bool(
	struct conf_reader *rd, const struct conf_key *k, const struct conf_node *n, void *field)
{
	(void)k;
	return read_truth(rd, n, field);
}

static void print_bool(struct conf_printer *p, const struct conf_key *k, const void *field)
{
	conf_print_line(p, "%s: %s", k->name, *(const bool *)field ? "true" : "false");
}

static bool read_tristate(
	struct conf_reader *rd, const struct conf_key *k, const struct conf_node *n, void *field)
{
	bool v;

	(void)k;
	if (!read_truth(rd, n, &v))
		return false;
	*(int *)field = v;
	return true;
}

static void print_tristate(struct conf_printer *p, const struct conf_key *k, const void *field)
{
	int v = *(const int *)field;

	if (v >= 0)
		conf_print_line(p, "%s: %s", k->name, v ? "true" : "false");
}

static bool find_word(struct conf_reader *rd, const struct conf_key *k, const struct conf_node *n,
	bool (*same)(const char *, const char *), int *ret)
{
	const char *s = scalar(rd, n);
	struct strbuf all = {0};

	if (!s)
		return false;
	for (int i = 0; k->words[i]; i++) {
		if (same(s, k->words[i])) {
			*ret = i;
			strbuf_free(&all);
			return true;
		}
		strbuf_addf(&all, "%s%s", !i ? "" : k->words[i + 1] ? ", " : " or ", k->words[i]);
	}
	wrong(rd, n, strbuf_str(&all));
	strbuf_free(&all);
	return false;
}

/* Fields are enums whose values are the words' places. */
static bool read_word(
	struct conf_reader *rd, const struct conf_key *k, const struct conf_node *n, void *field)
{
	return find_word(rd, k, n, str_eq, field);
}

static void print_word(struct conf_printer *p, const struct conf_key *k, const void *field)
{
	conf_print_value(p, k->name, k->words[*(const int *)field]);
}

/* Fields are strings: one of the words, however it was spelled. */
static bool read_choice(
	struct conf_reader *rd, const struct conf_key *k, const struct conf_node *n, void *field)
{
	int i;

	if (!find_word(rd, k, n, str_ieq, &i))
		return false;
	*(const char **)field = k->words[i];
	return true;
}

const struct conf_type conf_type_string = {"string", read_string, NULL, print_text};
const struct conf_type conf_type_ident = {"name", read_ident, NULL, print_text};
const struct conf_type conf_type_path = {"path", read_path, NULL, print_text};
const struct conf_type conf_type_file = {"path", read_existing, NULL, print_text};
const struct conf_type conf_type_hook = {"path or URL", read_hook, NULL, print_hook};
const struct conf_type conf_type_host = {"host", read_host, NULL, print_text};
const struct conf_type conf_type_dns_name = {"domain name", read_dns_name, NULL, print_text};
const struct conf_type conf_type_number = {"number", read_number, NULL, print_number};
const struct conf_type conf_type_count = {"number", read_count, NULL, print_count};
const struct conf_type conf_type_port = {"number", read_port, NULL, print_port};
const struct conf_type conf_type_duration = {"duration", read_duration, NULL, print_duration};
const struct conf_type conf_type_bool = {"true|false", read_bool, NULL, print_bool};
const struct conf_type conf_type_tristate = {"true|false", read_tristate, NULL, print_tristate};
const struct conf_type conf_type_word = {"word", read_word, NULL, print_word};
const struct conf_type conf_type_choice = {"word", read_choice, NULL, print_text};
