/*
 * flipctl_live: a flip as it runs. On a terminal the steps are lines that are redrawn, the running one with
 * the time it has taken so far; elsewhere each step is a line when it has ended.
 */
#include "tools/flipctl.h"

#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "lib/base/arena.h"
#include "lib/base/clock.h"

#define LINES_MOST 40
#define DETAIL_MOST 70
#define BEFORE_DETAIL 36 /* columns */

struct live_line {
	char name[32], state[16], detail[160];
	double duration_ms; /* -1: not ended */
	int64_t since_ms;
};

struct live_view {
	bool terminal, plain_lines;
	char flip[64];
	struct live_line lines[LINES_MOST];
	int nlines, drawn;
	int killed;
	int64_t began_ms;
};

struct live_view *live_new(bool plain_lines)
{
	struct live_view *v = xcalloc(1, sizeof(*v));
	const char *term = getenv("TERM");

	v->terminal = isatty(STDERR_FILENO) && term && !str_eq(term, "dumb");
	v->plain_lines = plain_lines;
	v->began_ms = clock_ms();
	return v;
}

const char *live_flip_id(const struct live_view *v)
{
	return v->flip;
}

/* For a line's detail, so that it does not wrap: what is drawn again goes up by lines. A narrow terminal
 * shows none. */
static int detail_columns(const struct live_view *v)
{
	struct winsize size = {0};
	int width = 80;

	if (!v->terminal)
		return DETAIL_MOST;
	if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
		width = size.ws_col;
	width -= BEFORE_DETAIL + 1;
	return width < 0 ? 0 : width < DETAIL_MOST ? width : DETAIL_MOST;
}

static void draw_line(const struct live_view *v, const struct live_line *line)
{
	bool running = str_eq(line->state, "running");
	double ms = running ? (double)(clock_ms() - line->since_ms) : line->duration_ms;
	char took[24] = "";

	if (ms >= 0)
		(void)snprintf(
			took, sizeof(took), ms < 1000 ? "%.1f ms" : "%.1f s", ms < 1000 ? ms : ms / 1000);
	(void)fprintf(stderr, "  %-12s %-8s %10s  %.*s", line->name, line->state, took,
		text_fits(line->detail, detail_columns(v)), line->detail);
}

static void redraw(struct live_view *v)
{
	if (v->drawn)
		(void)fprintf(stderr, "\033[%dA", v->drawn);
	for (int i = 0; i < v->nlines; i++) {
		(void)fputs("\r\033[2K", stderr);
		draw_line(v, &v->lines[i]);
		(void)fputc('\n', stderr);
	}
	(void)fprintf(stderr, "\r\033[2K  %.1f s%s", (double)(clock_ms() - v->began_ms) / 1000,
		v->killed ? text_printf(", %d sessions killed", v->killed) : "");
	(void)fputs("\r", stderr);
	v->drawn = v->nlines;
}

static struct live_line *find_line(struct live_view *v, const char *name)
{
	for (int i = 0; i < v->nlines; i++) {
		if (str_eq(v->lines[i].name, name))
			return &v->lines[i];
	}
	if (v->nlines == LINES_MOST)
		return NULL;
	struct live_line *line = &v->lines[v->nlines++];
	str_copy(line->name, sizeof(line->name), name);
	return line;
}

static void on_step(struct live_view *v, const struct wire *event)
{
	struct live_line *line = find_line(v, text_of(event, "name"));

	if (!line)
		return;
	str_copy(line->state, sizeof(line->state), text_of(event, "state"));
	str_copy(line->detail, sizeof(line->detail), text_of(event, "detail"));
	line->duration_ms = wire_get_real(event, "duration_ms", -1);
	line->since_ms = clock_ms();
	if (v->terminal || !v->plain_lines || str_eq(line->state, "running"))
		return;
	draw_line(v, line);
	(void)fputc('\n', stderr);
}

void live_event(const struct wire *event, void *view)
{
	struct live_view *v = view;
	const char *type = wire_get_str(event, "type");

	if (event && wire_get_str(event, "flip"))
		str_copy(v->flip, sizeof(v->flip), text_of(event, "flip"));
	if (str_eq(type, "accepted") && (v->terminal || v->plain_lines))
		(void)fprintf(stderr, "flip %s\n", v->flip);
	else if (str_eq(type, "step"))
		on_step(v, event);
	else if (str_eq(type, "killed"))
		v->killed++;
	if (v->terminal && v->nlines)
		redraw(v);
}

void live_free(struct live_view *v)
{
	if (!v)
		return;
	if (v->terminal && v->nlines)
		(void)fputs("\r\033[2K", stderr);
	free(v);
}
