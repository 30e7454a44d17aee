/*
 * http: one request and its answer (libcurl's multi interface on the loop, named in http.c alone). http and
 * https only, no redirects, certificates verified against the system's authorities, connections kept for the
 * next request.
 */
#ifndef IO_HTTP_H
#define IO_HTTP_H

#include "lib/base/base.h"
#include "lib/base/err.h"

#define HTTP_BODY_MAX (4 << 20)	   /* bytes of an answer that are taken; more is -EMSGSIZE */
#define HTTP_HEADER_MAX (64 << 10) /* bytes of its headers */

/*
 * Sends method (GET, POST, PUT, DELETE) to url with these headers ("Name: value", ended by NULL; NULL: none)
 * and body (NULL: none). 0 when a whole answer came, whatever its status; *ret_body is NUL-terminated and the
 * caller's to free, both may be NULL. -EINVAL (url, protocol), -ENOENT (name not found), -ECONNREFUSED,
 * -EACCES (TLS refused): the server has not seen the request. -ETIMEDOUT, -ECANCELED, -ECONNRESET, -EMSGSIZE,
 * -EPROTO: it may have.
 */
int MAY_WAIT http_do(const char *method, const char *url, const char *body, const char *const headers[],
	int64_t deadline_us, int *ret_status, char **ret_body, struct err *err) MUSTCHECK;
/* True when code, as returned by http_do, says that the server has not seen the request. */
bool http_not_sent(int code);
/* Drops kept connections; before loop_free, with no request under way. */
void http_free(void);

#endif
