/*
 * httpd: a small HTTP/1.1 server for pages that only show things: GET and HEAD, one request a connection, no
 * bodies taken. It stands on listen.c rather than evhttp because evhttp 2.1 bounds neither how many clients
 * there are nor how long a request may take to arrive.
 */
#ifndef IO_HTTPD_H
#define IO_HTTPD_H

#include "lib/base/base.h"
#include "lib/base/err.h"

struct httpd;
struct httpd_request;

/*
 * Called for each request; the path has its query cut off and is not decoded. The owner answers now or later,
 * once, with httpd_reply, also when the client has gone meanwhile.
 */
typedef void (*httpd_fn)(struct httpd_request *, const char *path, void *arg);

/* host: a numeric address or "localhost". fd: a listening socket to take over, else -1. 0 or negative errno.
 */
int httpd_start(const char *host, uint16_t port, int fd, httpd_fn, void *arg, struct httpd **ret,
	struct err *) MUSTCHECK;
void httpd_stop(struct httpd *); /* requests not answered yet stay valid; takes NULL */
/* Answers and frees the request. type: the Content-Type. body is copied. */
void httpd_reply(struct httpd_request *, int status, const char *type, const char *body, size_t len);
/* A line of text. */
void httpd_reply_text(struct httpd_request *, int status, const char *text);

#endif
