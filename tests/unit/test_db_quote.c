/* db_quote: a string becomes SQL that reads the same in every sql_mode. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "lib/base/str.h"
#include "lib/io/db.h"

static void test_strings(void **state)
{
	static const struct {
		const char *in, *out;
	} rows[] = {
		{"", "''"},
		{"plain", "'plain'"},
		{"it's", "'it''s'"},
		{"''", "''''''"},
		{"a\"b`c", "'a\"b`c'"},
		{"\xc3\xa4", "'\xc3\xa4'"},
		{"a\\b", "_utf8mb4 x'615c62'"},
		{"\\' OR 1=1 -- ", "_utf8mb4 x'5c27204f5220313d31202d2d20'"},
		{"a\nb", "_utf8mb4 x'610a62'"},
		{"\x1a", "_utf8mb4 x'1a'"},
		{"\x7f", "_utf8mb4 x'7f'"},
		{"\xc3\xa4\\", "_utf8mb4 x'c3a45c'"},
		/* A lone lead byte before a quote, as old multi-byte attacks have it. */
		{"\xbf'", "_binary x'bf27'"},
		{"\xff", "_binary x'ff'"},
		{NULL, "NULL"},
	};
	(void)state;

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct strbuf b = {0};
		db_quote(&b, rows[i].in);
		assert_string_equal(strbuf_str(&b), rows[i].out);
		strbuf_free(&b);
	}
}

/* Reads one literal the way a server does, in either mode of the backslash; the length taken, or 0. */
static size_t read_literal(const char *sql, bool backslash_escapes)
{
	size_t i = 1;

	if (sql[0] != '\'')
		return strncmp(sql, "_utf8mb4 x'", 11) == 0 || strncmp(sql, "_binary x'", 10) == 0
			       ? strlen(sql)
			       : 0;
	for (; sql[i]; i++) {
		if (backslash_escapes && sql[i] == '\\' && sql[i + 1])
			i++;
		else if (sql[i] == '\'' && sql[i + 1] == '\'')
			i++;
		else if (sql[i] == '\'')
			return i + 1;
	}
	return 0;
}

static void test_never_ends_early(void **state)
{
	static const char alphabet[] = "'\\\"`a\n-;";
	(void)state;

	/* Every string of up to 5 of the dangerous characters. */
	for (unsigned n = 0; n < 9u * 9 * 9 * 9 * 9; n++) {
		struct strbuf b = {0};
		char text[6];
		size_t len = 0;
		for (unsigned k = n; len < 5 && k; k /= 9) {
			if (k % 9)
				text[len++] = alphabet[k % 9 - 1];
		}
		text[len] = '\0';
		db_quote(&b, text);
		assert_int_equal(read_literal(b.data, true), b.len);
		assert_int_equal(read_literal(b.data, false), b.len);
		strbuf_free(&b);
		db_quote_text(&b, text);
		assert_int_equal(read_literal(b.data, true), b.len);
		assert_int_equal(read_literal(b.data, false), b.len);
		strbuf_free(&b);
	}
}

static void test_names(void **state)
{
	struct strbuf b = {0};
	(void)state;

	db_quote_name(&b, "a`b");
	strbuf_add(&b, ".");
	db_quote_name(&b, "it's \\");
	assert_string_equal(strbuf_str(&b), "`a``b`.`it's \\`");
	strbuf_free(&b);
}

static void test_text(void **state)
{
	struct strbuf b = {0};
	(void)state;

	db_quote_text(&b, "it's \\ ok");
	assert_string_equal(strbuf_str(&b), "'it''s \\\\ ok'");
	strbuf_free(&b);
}

static void test_result_lookup(void **state)
{
	char *names[] = {(char[]){"Id"}, (char[]){"Text"}};
	char *cells[] = {(char[]){"1"}, NULL, (char[]){"-20"}, (char[]){"x"}};
	struct db_result r = {.rows = 2, .cols = 2, .names = names, .cells = cells};
	(void)state;

	assert_string_equal(db_get(&r, 0, "ID"), "1");
	assert_null(db_get(&r, 0, "text"));
	assert_string_equal(db_get(&r, 1, "text"), "x");
	assert_null(db_get(&r, 2, "id"));
	assert_null(db_get(&r, -1, "id"));
	assert_null(db_get(&r, 0, "other"));
	assert_null(db_get(NULL, 0, "id"));
	assert_int_equal(db_get_int(&r, 1, "id", 7), -20);
	assert_int_equal(db_get_int(&r, 1, "text", 7), 7);
	assert_int_equal(db_get_int(&r, 0, "text", 7), 7);
	db_result_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_strings),
		cmocka_unit_test(test_never_ends_early),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_text),
		cmocka_unit_test(test_result_lookup),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
