/*
 * dialect_mariadb_kill: ending sessions, and those that must not be ended. Where the disk under its binary
 * log is full MariaDB refuses nothing: whoever commits waits, with the log's lock, until there is room
 * ("Waiting for someone to free space", looked at every 60 s). A KILL ends that wait, SOFT or HARD, of the
 * session or of its statement alone, and what was written of the transaction stays in the log: half an event.
 * No replica can read past it (1595 "could not queue event from master"), and what old acknowledges from then
 * on reaches none of them (measured on 10.11.19). Those queued behind it are as badly off where the room does
 * not last. Asking for the state in the statement that kills would cost 0.7 ms of a blackout (PROCESSLIST is
 * a table on disk there): whoever kills many has just listed them.
 */
#include <inttypes.h>
#include <string.h>

#include "lib/base/str.h"
#include "lib/io/db.h"
#include "lib/provider/dialect.h"

#define WAITS_FOR_SPACE "Waiting for someone to free space"

bool mariadb_waits_for_space(const char *state)
{
	return str_ieq(state, WAITS_FOR_SPACE);
}

/* HARD is the default; said so that the text tells (SOFT would spare a statement that must not be cut). */
void mariadb_kill(const struct dialect_ctx *ctx, uint64_t id, bool query_only, struct strbuf *out)
{
	(void)ctx;
	strbuf_addf(out, "KILL HARD %s %" PRIu64, query_only ? "QUERY" : "CONNECTION", id);
}

/* An error of one, gone already (1094) or not to be killed (1095), does not keep the next from being killed.
 */
void mariadb_kill_many(const struct dialect_ctx *ctx, const uint64_t *ids, int n, struct strbuf *out)
{
	strbuf_add(out, "BEGIN NOT ATOMIC DECLARE CONTINUE HANDLER FOR SQLEXCEPTION BEGIN END; ");
	for (int i = 0; i < n; i++) {
		mariadb_kill(ctx, ids[i], false, out);
		strbuf_add(out, "; ");
	}
	strbuf_add(out, "END");
}

/* A session leaves the process list only when its clean-up (roll back, named locks) has ended. */
void mariadb_session_there(
	const struct dialect_ctx *ctx, uint64_t id, const char *account, struct strbuf *out)
{
	(void)ctx;
	const char *at = strrchr(account, '@');
	struct strbuf user = {0};

	strbuf_addn(&user, account, at ? (size_t)(at - account) : strlen(account));
	strbuf_addf(out,
		"SELECT COUNT(*) AS there, COALESCE(SUM(STATE IN ('Commit', '" WAITS_FOR_SPACE
		"')), 0) AND EXISTS (SELECT 1 FROM information_schema.PROCESSLIST WHERE "
		"STATE='" WAITS_FOR_SPACE
		"') AS committing FROM information_schema.PROCESSLIST WHERE ID=%" PRIu64 " AND USER=",
		id);
	db_quote(out, strbuf_str(&user));
	strbuf_free(&user);
}
