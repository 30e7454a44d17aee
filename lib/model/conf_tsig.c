/*
 * conf_tsig: the secret of a TSIG key: base64 alone, or the clause that tsig-keygen writes and BIND reads
 * (named.conf(5)): key "name" { algorithm hmac-sha256; secret "..."; };
 */
#include "lib/model/conf_priv.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#define SECRET_BYTES_MAX 512

/* The words of a clause, with comments and quotes taken away. One is looked at and taken at a time. */
struct words {
	const char *at;
	const char *word; /* in the text itself */
	size_t len;
};

static const char *skip_comment(const char *s)
{
	if (*s == '#' || (s[0] == '/' && s[1] == '/'))
		return s + strcspn(s, "\n");
	if (s[0] == '/' && s[1] == '*') {
		const char *end = strstr(s + 2, "*/");

		return end ? end + 2 : s + strlen(s);
	}
	return s;
}

static bool next_word(struct words *w)
{
	const char *s = w->at, *before;

	do {
		before = s;
		while (isspace((unsigned char)*s))
			s++;
		s = skip_comment(s);
	} while (s != before);
	if (!*s)
		return false;
	if (*s == '"') {
		w->word = s + 1;
		w->len = strcspn(w->word, "\"\n");
		w->at = w->word + w->len + (w->word[w->len] == '"');
		return w->word[w->len] == '"';
	}
	w->word = s;
	w->len = strchr("{};", *s) ? 1 : strcspn(s, "{}; \t\r\n\"");
	w->at = s + w->len;
	return true;
}

static bool is_word(const struct words *w, const char *word)
{
	return w->len == strlen(word) && strncasecmp(w->word, word, w->len) == 0;
}

static bool take_word(struct words *w, const char *word)
{
	return next_word(w) && is_word(w, word);
}

struct clause {
	struct words name, algorithm, secret; /* len 0: not there */
};

/* What is inside the braces. */
static bool read_body(struct words *w, struct clause *c)
{
	while (next_word(w)) {
		struct words *to = is_word(w, "algorithm") ? &c->algorithm
				   : is_word(w, "secret")  ? &c->secret
							   : NULL;

		if (is_word(w, "}"))
			return c->algorithm.len && c->secret.len;
		if (!to || to->len || !next_word(w))
			return false;
		*to = *w;
		if (!take_word(w, ";"))
			return false;
	}
	return false;
}

static bool read_clause(const char *text, struct clause *c)
{
	struct words w = {.at = text};

	if (!take_word(&w, "key") || !next_word(&w))
		return false;
	c->name = w;
	if (!take_word(&w, "{") || !read_body(&w, c))
		return false;
	return !next_word(&w) || (is_word(&w, ";") && !next_word(&w));
}

static int base64_value(char c)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const char *at = c ? strchr(digits, c) : NULL;

	return at ? (int)(at - digits) : -1;
}

/* RFC 4648 with its padding, and blanks between; kept without them. NULL when it is not. */
static const char *keep_base64(struct conf_box *box, const char *s, size_t len)
{
	char clean[SECRET_BYTES_MAX * 4 / 3 + 8];
	size_t n = 0, padding = 0;
	const char *kept = NULL;

	for (size_t i = 0; i < len; i++) {
		if (isspace((unsigned char)s[i]))
			continue;
		if (n + 1 >= sizeof(clean) || (s[i] != '=' && (padding || base64_value(s[i]) < 0)))
			goto out;
		padding += s[i] == '=';
		clean[n++] = s[i];
	}
	if (n > padding && n % 4 == 0 && padding <= 2)
		kept = conf_keep_secret(box, clean, n);
out:
	explicit_bzero(clean, sizeof(clean));
	return kept;
}

static void take_name(
	struct conf_reader *rd, const struct conf_node *n, const struct clause *c, struct conf_endpoint *e)
{
	const char *name = conf_dns_name(rd->arena, arena_strndup(rd->scratch, c->name.word, c->name.len));

	if (!name)
		conf_error(rd, n, NULL, "the key clause has no name that is a domain name");
	else if (e->tsig_name && !str_ieq(e->tsig_name, name))
		conf_error(rd, n, NULL, "name is %s, the key clause says %s", e->tsig_name, name);
	else
		e->tsig_name = name;
}

static void take_algorithm(
	struct conf_reader *rd, const struct conf_node *n, const struct clause *c, struct conf_endpoint *e)
{
	static const char *const known[] = {"hmac-sha256", "hmac-sha512"};
	size_t len = c->algorithm.len - (c->algorithm.word[c->algorithm.len - 1] == '.');

	for (size_t i = 0; i < COUNT_OF(known); i++) {
		if (len != strlen(known[i]) || strncasecmp(known[i], c->algorithm.word, len) != 0)
			continue;
		if (e->tsig_algorithm && !str_eq(e->tsig_algorithm, known[i]))
			conf_error(rd, n, NULL, "algorithm is %s, the key clause says %s", e->tsig_algorithm,
				known[i]);
		e->tsig_algorithm = known[i];
		return;
	}
	conf_error(rd, n, NULL, "the key clause has an algorithm other than hmac-sha256 and hmac-sha512");
}

void conf_check_tsig(struct conf_reader *rd, const struct conf_node *n, struct conf_endpoint *e)
{
	const char *raw = e->tsig_secret;
	struct clause c = {0};

	if (raw && strchr(raw, '{')) {
		e->tsig_secret = NULL;
		if (!read_clause(raw, &c)) {
			conf_error(rd, n, NULL, "key \"NAME\" { algorithm ...; secret \"...\"; }; is wanted");
			return;
		}
		take_name(rd, n, &c, e);
		take_algorithm(rd, n, &c, e);
		e->tsig_secret = keep_base64(rd->box, c.secret.word, c.secret.len);
	} else if (raw) {
		e->tsig_secret = keep_base64(rd->box, raw, strlen(raw));
	}
	if (raw && !e->tsig_secret)
		conf_error(rd, n, NULL, "the secret is not base64");
	if (!e->tsig_algorithm)
		e->tsig_algorithm = "hmac-sha256";
	conf_need(rd, n, "name", e->tsig_name);
	if (!conf_node_get(n, "secret") && !conf_node_get(n, "secret_env") && !conf_node_get(n, "credential"))
		conf_need(rd, n, "secret_file", rd->journaled || conf_node_get(n, "secret_file"));
}
