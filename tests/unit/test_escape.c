/* test_escape: nothing that is escaped can end the text it stands in, and everything else stays as it is. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

#include "lib/base/str.h"
#include "lib/model/escape.h"

static void check(void (*escape)(struct strbuf *, const char *), const char *from, const char *to)
{
	struct strbuf b = {0};

	escape(&b, from);
	assert_string_equal(strbuf_str(&b), to);
	strbuf_free(&b);
}

static void test_html(void **state)
{
	(void)state;
	check(escape_html, "", "");
	check(escape_html, "shard-1.example.com", "shard-1.example.com");
	check(escape_html, "<script>alert('x' & \"y\")</script>",
		"&lt;script&gt;alert(&#39;x&#39; &amp; &quot;y&quot;)&lt;/script&gt;");
	check(escape_html, "\xc3\xa9t\xc3\xa9", "\xc3\xa9t\xc3\xa9");
}

static void test_label(void **state)
{
	(void)state;
	check(escape_label, "", "");
	check(escape_label, "shard1", "shard1");
	check(escape_label, "a\"} 1\nb{c=\"\\", "a\\\"} 1\\nb{c=\\\"\\\\");
	check(escape_label, "<&'>", "<&'>");
}

/* Every byte: no quote, bracket or newline is left bare. */
static void test_every_byte(void **state)
{
	(void)state;
	for (int c = 1; c < 256; c++) {
		const char text[2] = {(char)c, '\0'};
		struct strbuf html = {0}, label = {0};
		escape_html(&html, text);
		escape_label(&label, text);
		assert_null(strpbrk(strbuf_str(&html), "<>\"'"));
		assert_null(strchr(strbuf_str(&label), '\n'));
		assert_true(label.len == 1 ? c != '"' && c != '\\' : label.data[0] == '\\');
		strbuf_free(&html);
		strbuf_free(&label);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_html),
		cmocka_unit_test(test_label),
		cmocka_unit_test(test_every_byte),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
