/* text_has: what a text that was built must have in it, must not have, or is. */
#ifndef TESTS_UNIT_TEXT_HAS_H
#define TESTS_UNIT_TEXT_HAS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "lib/base/str.h"

static inline void has(const struct strbuf *b, const char *what)
{
	if (!strstr(strbuf_str(b), what))
		fail_msg("\"%s\" is not in:\n%s", what, strbuf_str(b));
}

static inline void lacks(const struct strbuf *b, const char *what)
{
	if (strstr(strbuf_str(b), what))
		fail_msg("\"%s\" is in:\n%s", what, strbuf_str(b));
}

/* All of it; b is freed. */
static inline void is(struct strbuf *b, const char *what)
{
	assert_string_equal(strbuf_str(b), what);
	strbuf_free(b);
}

#endif
