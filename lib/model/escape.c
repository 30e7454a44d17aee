/* escape: HTML and Prometheus labels. */
#include "lib/model/escape.h"

#include "lib/base/str.h"

static void escape(struct strbuf *b, const char *s, const char *const escapes[128])
{
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;

		if (c < 128 && escapes[c])
			strbuf_add(b, escapes[c]);
		else
			strbuf_addn(b, s, 1);
	}
}

void escape_html(struct strbuf *b, const char *s)
{
	static const char *const escapes[128] = {
		['&'] = "&amp;", ['<'] = "&lt;", ['>'] = "&gt;", ['"'] = "&quot;", ['\''] = "&#39;"};

	escape(b, s, escapes);
}

void escape_label(struct strbuf *b, const char *s)
{
	static const char *const escapes[128] = {['\\'] = "\\\\", ['"'] = "\\\"", ['\n'] = "\\n"};

	escape(b, s, escapes);
}
