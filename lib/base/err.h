/*
 * err: why something failed, for the operator. The first cause is kept; callers wrap context around it:
 * "fence: shard1 source 10.1.0.5: Access denied". A struct err is plain memory, zeroed by err_clear or = {0}.
 */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include "lib/base/base.h"

struct err {
	int code;	    /* negative errno of the first cause; 0 = no error */
	unsigned sql_errno; /* the server's error number, when a server refused; else 0 */
	char server[64];    /* "source", "target", a replica's name, an endpoint's name; or empty */
	char message[512];  /* plain English, context first */
	char hint[256];	    /* what to do; or empty */
};

/* Sets the cause unless one is set already. code is negative; returns the code kept. e may be NULL
 * everywhere. */
int err_set(struct err *e, int code, const char *fmt, ...) PRINTF(3, 4);
#ifdef FLIPD_ANALYSE
/* Analysers see one file at a time; that what err_set returns is never 0 they are told here. */
#define err_set(e, code, ...) ((void)err_set(e, code, __VA_ARGS__), (code))
#endif
/* Puts "context: " before the message. */
void err_wrap(struct err *e, const char *fmt, ...) PRINTF(2, 3);
/* Says what to do; the first hint is kept. */
void err_hint(struct err *e, const char *fmt, ...) PRINTF(2, 3);
/* Names the server; the first name is kept. */
void err_server(struct err *e, const char *name);
void err_clear(struct err *e);
/* "message (hint)" or "no error"; points into e or static memory. */
const char *err_text(const struct err *e);

#endif
