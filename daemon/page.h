/* page: the status endpoint's page: every cluster in one table. No outside resources. */
#ifndef DAEMON_PAGE_H
#define DAEMON_PAGE_H

#include "lib/base/base.h"

struct server;
struct strbuf;

void MAY_WAIT page_print(struct server *, struct strbuf *);

#endif
