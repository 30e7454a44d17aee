/*
 * accounts: how the configuration names accounts of a server: "app" is app at every host, "app@10.1.%" or
 * "'app'@'10.1.%'" is that one. Pure.
 */
#ifndef MODEL_ACCOUNTS_H
#define MODEL_ACCOUNTS_H

#include "lib/base/base.h"

struct account_name {
	char user[128], host[256];
	bool any_host; /* host is empty */
};

/* 0, or -EINVAL: no user in it, or longer than any server's. */
int account_name_parse(const char *entry, struct account_name *ret) MUSTCHECK;
/* The entry names that account; users by letter case, hosts without (as the servers compare them). */
bool account_name_matches(const char *entry, const char *user, const char *host);

#endif
