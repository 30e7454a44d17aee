/* web: what the status endpoint answers. No request changes anything. */
#ifndef DAEMON_WEB_H
#define DAEMON_WEB_H

struct httpd_request;

/* For httpd_start; arg is the struct server. */
void web_request(struct httpd_request *, const char *path, void *arg);

#endif
