/*
 * db_quote: the one place where a string becomes SQL. A backslash means itself or not by the session's
 * sql_mode (NO_BACKSLASH_ESCAPES), so a string with one never stands between quotes: it goes as a hexadecimal
 * literal, which reads the same in every mode. So do control bytes (logs, terminals) and what is not UTF-8
 * (as bytes, since the server refuses a malformed _utf8mb4). Hexadecimal literals are expressions: statements
 * whose grammar takes nothing but a quoted string (CHANGE MASTER, IDENTIFIED BY) refuse them, which is safe.
 */
#include <string.h>

#include "lib/base/str.h"
#include "lib/io/db.h"

static bool plain(const char *s)
{
	for (const unsigned char *p = (const unsigned char *)s; *p; p++) {
		if (*p < 0x20 || *p == 0x7f || *p == '\\')
			return false;
	}
	return str_utf8_valid(s, strlen(s));
}

/* Writes s between quotes, the quote itself and what is in also_double twice. */
static void add_doubled(struct strbuf *b, const char *s, char quote, const char *also_double)
{
	strbuf_addn(b, &quote, 1);
	for (; *s; s++) {
		if (*s == quote || strchr(also_double, *s))
			strbuf_addn(b, s, 1);
		strbuf_addn(b, s, 1);
	}
	strbuf_addn(b, &quote, 1);
}

static void add_hex(struct strbuf *b, const char *s)
{
	static const char digits[] = "0123456789abcdef";

	strbuf_add(b, str_utf8_valid(s, strlen(s)) ? "_utf8mb4 x'" : "_binary x'");
	for (const unsigned char *p = (const unsigned char *)s; *p; p++)
		strbuf_addn(b, (const char[]){digits[*p >> 4], digits[*p & 15]}, 2);
	strbuf_add(b, "'");
}

void db_quote(struct strbuf *b, const char *s)
{
	if (!s)
		strbuf_add(b, "NULL");
	else if (plain(s))
		add_doubled(b, s, '\'', "");
	else
		add_hex(b, s);
}

void db_quote_name(struct strbuf *b, const char *s)
{
	add_doubled(b, s ? s : "", '`', "");
}

void db_quote_text(struct strbuf *b, const char *s)
{
	add_doubled(b, s ? s : "", '\'', "\\");
}
