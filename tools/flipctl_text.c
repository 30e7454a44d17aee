/* flipctl_text: tables, colours, times, and texts from outside made fit for a terminal. */
#include "tools/flipctl.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lib/base/arena.h"
#include "lib/base/clock.h"

/* Colours */

static const char *colour(const char *code)
{
	static int wanted = -1;

	if (wanted < 0) {
		const char *term = getenv("TERM"), *no_color = getenv("NO_COLOR");
		wanted = isatty(STDOUT_FILENO) && !(no_color && no_color[0]) && term && !str_eq(term, "dumb");
	}
	return wanted ? code : "";
}

const char *text_good(void)
{
	return colour("\033[32m");
}

const char *text_bad(void)
{
	return colour("\033[1;31m");
}

const char *text_warn(void)
{
	return colour("\033[33m");
}

const char *text_dim(void)
{
	return colour("\033[2m");
}

const char *text_plain(void)
{
	return colour("\033[0m");
}

const char *text_state_colour(const char *word)
{
	static const char *const good[] = {"ok", "done", "nothing_to_do", "switched"};
	static const char *const bad[] = {
		"stuck", "split_brain", "no_master", "failed", "unknown", "refuse", "refused", "open twice"};

	for (size_t i = 0; i < COUNT_OF(good); i++) {
		if (str_eq(good[i], word))
			return text_good();
	}
	for (size_t i = 0; i < COUNT_OF(bad); i++) {
		if (str_eq(bad[i], word))
			return text_bad();
	}
	return str_eq(word, "pending") || str_eq(word, "skipped") || str_eq(word, "skip") ? text_dim()
											  : text_warn();
}

/* Texts */

static struct arena *all_texts;

static struct arena *texts(void)
{
	if (!all_texts)
		all_texts = arena_new();
	return all_texts;
}

void text_forget(void)
{
	arena_free(all_texts);
	all_texts = NULL;
}

/* Bytes that would command a terminal become blanks: servers and clients choose many of these texts. */
const char *text_clean(const char *s)
{
	char *copy = arena_strdup(texts(), s ? s : "");

	for (unsigned char *p = (unsigned char *)copy; *p; p++) {
		bool c1 = p[0] == 0xc2 && p[1] >= 0x80 && p[1] < 0xa0; /* U+0080 to U+009F */
		if (*p < 0x20 || *p == 0x7f)
			*p = ' ';
		else if (c1)
			p[0] = p[1] = ' ';
	}
	return copy;
}

int text_fits(const char *s, int columns)
{
	int n = 0;

	for (; s[n] && (columns > 0 || ((unsigned char)s[n] & 0xc0) == 0x80); n++)
		columns -= ((unsigned char)s[n] & 0xc0) != 0x80; /* the first byte of a character */
	return n;
}

const char *text_of(const struct wire *o, const char *key)
{
	return text_clean(wire_get_str(o, key));
}

const char *text_printf(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	const char *s = arena_vprintf(texts(), fmt, ap);
	va_end(ap);
	return s;
}

const char *text_ms(const struct wire *o, const char *key)
{
	double ms = wire_get_real(o, key, -1);

	if (ms < 0)
		return "-";
	if (ms < 10)
		return text_printf("%.1f ms", ms);
	if (ms < 1000)
		return text_printf("%.0f ms", ms);
	return ms < 120000 ? text_printf("%.1f s", ms / 1000) : text_printf("%.0f min", ms / 60000);
}

const char *text_time(const struct wire *o, const char *key)
{
	const char *at = wire_get_str(o, key);
	int64_t wall_ms;
	char buf[32];
	struct tm tm;

	if (!at || clock_parse_time(at, &wall_ms) < 0)
		return "-";
	time_t t = (time_t)(wall_ms / 1000);
	if (!localtime_r(&t, &tm) || strftime(buf, sizeof(buf), "%Y-%m-%d %H:%M:%S", &tm) == 0)
		return "-";
	return text_printf("%s", buf);
}

int text_json(const struct wire *value)
{
	char *text = wire_dump(value, isatty(STDOUT_FILENO) ? 2 : 0);
	int code = printf("%s\n", text) < 0 ? EXIT_USAGE : EXIT_DONE;

	free(text);
	return code;
}

int text_flush(void)
{
	errno = 0;
	if (fflush(stdout) != EOF && !ferror(stdout))
		return EXIT_DONE;
	(void)fprintf(stderr, "flipctl: the answer could not be written%s%s\n", errno ? ": " : "",
		errno ? strerror(errno) : "");
	return EXIT_USAGE;
}

/* Tables */

static int width_of(const char *s)
{
	int n = 0;

	for (; *s; s++)
		n += ((unsigned char)*s & 0xc0) != 0x80;
	return n;
}

static int column_width(const struct cell *cells, int rows, int columns, int column)
{
	int width = 0;

	for (int r = 0; r < rows; r++) {
		const char *text = cells[r * columns + column].text;
		int w = text ? width_of(text) : 0;
		width = w > width ? w : width;
	}
	return width;
}

static void print_cell(FILE *f, const struct cell *cell, bool heading, int pad)
{
	const char *on = heading ? text_dim() : cell->colour ? cell->colour : "";

	(void)fprintf(f, "%s%s%s%*s", on, cell->text ? cell->text : "", on[0] ? text_plain() : "", pad, "");
}

void text_table(FILE *f, const char *indent, const struct cell *cells, int rows, int columns)
{
	int *widths = xcalloc((size_t)columns, sizeof(*widths));

	for (int c = 0; c < columns; c++)
		widths[c] = column_width(cells, rows, columns, c);
	for (int r = 0; r < rows; r++) {
		int last = columns - 1;
		while (last > 0 && (!cells[r * columns + last].text || !cells[r * columns + last].text[0]))
			last--;
		(void)fputs(indent, f);
		for (int c = 0; c <= last; c++) {
			const struct cell *cell = &cells[r * columns + c];
			int pad = c == last ? 0 : widths[c] - width_of(cell->text ? cell->text : "") + 2;
			print_cell(f, cell, r == 0, pad);
		}
		(void)fputc('\n', f);
	}
	free(widths);
}
