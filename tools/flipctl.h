/*
 * flipctl: asks flipd over its control socket and says what it answers: to people in words, to programs as
 * one JSON document. It needs no configuration and no server library.
 */
#ifndef TOOLS_FLIPCTL_H
#define TOOLS_FLIPCTL_H

#include <stdio.h>

#include "lib/base/base.h"
#include "lib/base/str.h"
#include "lib/model/wire.h"

/* How flipctl exits. */
enum exit_code {
	EXIT_DONE = 0,
	EXIT_USAGE = 1,
	EXIT_REFUSED = 2,
	EXIT_ROLLED_BACK = 3,
	EXIT_STUCK = 4,
	EXIT_UNREACHABLE = 5,
	EXIT_NOT_ALLOWED = 6,
	EXIT_BUSY = 7,
	EXIT_INTERRUPTED = 130
};

/* What the command line says. */
struct ctl {
	const char *socket;
	const char *to, *at, *window, *max_lag, *max_blackout, *side, *as, *html;
	int64_t limit; /* 0: flipd's own */
	bool json, yes, no_wait, watch, accept_loss, dry_run;
	const char *name; /* the command's word, or two */
	int nargs;
	char **args;
};

/* flipctl_conn.c: one request at a time */

struct conn;
/* Called for each event while an answer is awaited; with event NULL every tick_ms, for what shows time
 * passing. */
typedef void (*conn_event_fn)(const struct wire *event, void *arg);

/* NULL when flipd is out of reach: it has said so. */
struct conn *conn_open(const struct ctl *);
void conn_close(struct conn *);
/*
 * Asks, and waits for the answer. EXIT_DONE with the result in *ret (owned by the caller); else the exit
 * code, and why was said on stderr: except EXIT_UNREACHABLE (lost) and EXIT_INTERRUPTED of what conn_asked,
 * which the caller explains. args is taken over. A connection that flipd has closed since is opened again.
 */
int conn_ask(struct conn *, const char *cmd, struct wire *args, conn_event_fn, int tick_ms, void *arg,
	struct wire **ret) MUSTCHECK;
/* Whether the last request went out: flipd may have taken it. */
bool conn_asked(const struct conn *);
/* conn_ask for what has no events; explains every failure. */
int conn_ask_plain(struct conn *, const char *cmd, struct wire *args, struct wire **ret) MUSTCHECK;
/* Ctrl-C from now on ends waiting instead of the process. */
void conn_catch_interrupt(void);
bool conn_interrupted(void);

/* flipctl_text.c: words for people */

struct cell {
	const char *text, *colour;
};
/* Rows of columns cells, aligned; the first row is the heading. */
void text_table(FILE *, const char *indent, const struct cell *cells, int rows, int columns);
/* Colours; "" when stdout is no terminal. */
const char *text_good(void);
const char *text_bad(void);
const char *text_warn(void);
const char *text_dim(void);
const char *text_plain(void);
const char *text_state_colour(const char *state);
/* Texts from outside, fit for a terminal; they last until the process ends. */
const char *text_of(const struct wire *o, const char *key); /* "" when absent */
const char *text_clean(const char *s);
/* How many bytes of it are at most so many characters, each taken for one column wide. */
int text_fits(const char *s, int columns);
const char *text_printf(const char *fmt, ...) PRINTF(1, 2);
const char *text_ms(const struct wire *o, const char *key);   /* "143 ms", "2.3 s", or "-" */
const char *text_time(const struct wire *o, const char *key); /* local time, or "-" */
/* The JSON document itself. */
int text_json(const struct wire *);
/* Frees all texts that the functions above have given: for those who go on and on. */
void text_forget(void);
/* What was printed goes out; EXIT_USAGE, and said, when nobody took it. */
int text_flush(void);

/* flipctl_show.c */
void show_status(const struct wire *, bool details);
void show_check(const struct wire *);
void show_plan(const struct wire *);
void show_history(const struct wire *);
void show_flip(const struct wire *);
/* How a flip ended, in a few lines. */
void show_end(const struct wire *);

/* flipctl_live.c: a flip as it runs, on stderr: redrawn on a terminal, else a line for each step that ends */
struct live_view;
struct live_view *live_new(bool plain_lines);
void live_event(const struct wire *event, void *view); /* a conn_event_fn */
const char *live_flip_id(const struct live_view *);    /* "" before it is known */
void live_free(struct live_view *);		       /* takes NULL */

/* flipctl_flip.c, flipctl_look.c: the commands */
int do_flip(const struct ctl *);
int do_abort(const struct ctl *);
int do_resolve(const struct ctl *);
int do_prepare(const struct ctl *);
int do_status(const struct ctl *);
int do_check(const struct ctl *);
int do_plan(const struct ctl *);
int do_rehearse(const struct ctl *);
int do_history(const struct ctl *);
int do_show(const struct ctl *);
int do_schedule_list(const struct ctl *);
int do_schedule_cancel(const struct ctl *);
int do_grants(const struct ctl *);
int do_reload(const struct ctl *);
int do_ping(const struct ctl *);
int do_version(const struct ctl *);

#endif
