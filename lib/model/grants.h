/*
 * grants: the SQL that creates flipd's accounts with the least privileges, per flavor; needs no server.
 * Shared text of `flipctl grants`, preflight's hints and the manual.
 */
#ifndef MODEL_GRANTS_H
#define MODEL_GRANTS_H

#include "lib/base/base.h"

struct strbuf;
/* One statement a line; 0, or -EINVAL for a flavor it does not know. */
int grants_text(const char *flavor, struct strbuf *ret) MUSTCHECK;

enum grants_when {
	GRANTS_ALWAYS, /* no flip without it */
	GRANTS_EVENTS, /* only where the event scheduler runs */
	GRANTS_LOOK,   /* a check that cannot look is skipped */
	GRANTS_LOCKS,  /* only with sessions.lock_accounts; too powerful to be given to everybody */
};

/* One privilege of flipd's own account. */
struct grants_need {
	const char *privilege; /* as GRANT takes it */
	const char *on;	       /* "*.*", "mysql.event", ...; NULL: flipd's own schema, SCHEMA.* */
	enum grants_when when;
	bool for_locks;	 /* with sessions.lock_accounts no flip without it */
	bool super_does; /* SUPER does as well */
	int super_until; /* SUPER does before this version; 0 never */
	const char *why;
};

/* The rows for MariaDB, 10.5 and later. */
const struct grants_need *grants_needs(int *ret_n);
/* What an account beside flipd's own is for, and the least that it takes. */
enum grants_use { GRANTS_FOR_PROBE, GRANTS_FOR_HEARTBEAT, GRANTS_FOR_REPLICATION };
struct grants_least {
	const char *privileges, *table; /* of flipd's own schema; NULL: everywhere */
};
const struct grants_least *grants_least(enum grants_use);
/* CREATE statements of flipd's schema and tables, separated by separator. */
void grants_schema_text(const char *schema, const char *separator, struct strbuf *out);

#endif
