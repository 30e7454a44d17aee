/*
 * dialect_mariadb_repl: waiting for a position, opening under its guard, and who follows whom, in MariaDB's
 * words.
 *
 * MASTER_GTID_WAIT compares sequence numbers only: at 0-1-10 it has "reached" 0-77-3 (E1e). So each condition
 * here also looks the transaction up with its server id: in gtid_slave_pos, or, for a transaction that the
 * server wrote itself in an earlier life as master, in its gtid_binlog_state (gtid_slave_pos never holds
 * those).
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "lib/base/str.h"
#include "lib/io/db.h"
#include "lib/provider/dialect.h"

#define CHANNEL "'flipd_reverse'"

/* --- conditions --- */

static void add_seconds(struct strbuf *out, int64_t ms)
{
	strbuf_addf(out, "%" PRId64 ".%03" PRId64, ms / 1000, ms % 1000);
}

/* "entry D-S-... of the list is at N or later"; FALSE when there is no such entry. */
static void add_entry_reached(struct strbuf *out, const char *variable, const struct gtid *g)
{
	strbuf_addf(out,
		"CAST(SUBSTRING_INDEX(SUBSTRING_INDEX(CONCAT(',', @@global.%s), ',%" PRIu32 "-%" PRIu32
		"-', -1), ',', 1) AS UNSIGNED) >= %" PRIu64,
		variable, g->domain, g->server, g->seq);
}

/* The goal without the receiver's own transactions: for those nobody waits. */
static void split_goal(
	const struct dialect_ctx *ctx, const struct gtid_list *goal, struct gtid_list *ret_others)
{
	*ret_others = (struct gtid_list){0};
	for (int i = 0; i < goal->n; i++) {
		if (goal->v[i].server != ctx->server_id)
			ret_others->v[ret_others->n++] = goal->v[i];
	}
}

static void add_gtid_wait(struct strbuf *out, const struct gtid_list *others, int64_t limit_ms)
{
	char text[GTID_MAX * 44];

	if (!others->n) {
		strbuf_add(out, "0"); /* reached: there is nothing to wait for */
		return;
	}
	strbuf_add(out, "MASTER_GTID_WAIT(");
	db_quote(out, gtid_format(others, text, sizeof(text)));
	strbuf_add(out, ", ");
	add_seconds(out, limit_ms);
	strbuf_add(out, ")");
}

static void add_gtid_entries(const struct dialect_ctx *ctx, struct strbuf *out, const struct gtid_list *goal)
{
	if (!goal->n)
		strbuf_add(out, "FALSE"); /* an empty goal proves nothing */
	for (int i = 0; i < goal->n; i++) {
		bool own = goal->v[i].server == ctx->server_id;
		if (i)
			strbuf_add(out, " AND ");
		add_entry_reached(out, own ? "gtid_binlog_state" : "gtid_slave_pos", &goal->v[i]);
	}
}

/* Whole seconds of at least 1: a fraction is cut to 0, and that waits for ever (E22). */
static void add_file_wait(struct strbuf *out, const struct node_goal *goal, int64_t limit_ms)
{
	int64_t s = limit_ms < 1000 ? 1 : (limit_ms + 999) / 1000;

	strbuf_add(out, "MASTER_POS_WAIT(");
	if (goal) {
		db_quote(out, goal->file);
		strbuf_addf(out, ", %" PRIu64, goal->pos);
	} else {
		strbuf_add(out, "'<FILE>', <POSITION>");
	}
	strbuf_addf(out, ", %" PRId64 ")", s);
}

void mariadb_wait(const struct dialect_ctx *ctx, const struct node_goal *goal, bool use_gtid,
	int64_t limit_ms, struct strbuf *out)
{
	struct gtid_list others;

	if (limit_ms < 1)
		limit_ms = 1;
	if (!use_gtid) {
		strbuf_add(out, "SET STATEMENT max_statement_time=");
		add_seconds(out, limit_ms);
		strbuf_add(out, " FOR SELECT ");
		add_file_wait(out, goal, limit_ms);
		strbuf_add(out, " AS waited, '' AS position");
		return;
	}
	strbuf_add(out, "SELECT ");
	if (goal) {
		split_goal(ctx, &goal->gtid, &others);
		add_gtid_wait(out, &others, limit_ms);
		strbuf_add(out, " AS waited, (");
		add_gtid_entries(ctx, out, &goal->gtid);
		strbuf_add(out, ") AS reached");
	} else {
		strbuf_add(out, "MASTER_GTID_WAIT('<POSITION>', ");
		add_seconds(out, limit_ms);
		strbuf_add(out, ") AS waited");
	}
	strbuf_add(out, ", @@global.gtid_slave_pos AS position");
}

void mariadb_open_state(const struct dialect_ctx *ctx, struct strbuf *out)
{
	strbuf_add(out, "SELECT @@global.read_only AS read_only, IS_USED_LOCK(");
	db_quote(out, ctx->lock);
	strbuf_add(out, ") <=> CONNECTION_ID() AS holds_lock, @@global.gtid_slave_pos AS position");
}

/*
 * NOT (...) and not IF(..., 0, 1): an IF in SET is evaluated twice when it is not NULL, so it would wait
 * twice (measured on 10.11.19: 0.6 s with a wait of 0.3 s). Each part is TRUE or FALSE, never NULL; an error,
 * a KILL QUERY or max_statement_time leaves the server closed (E1d, E1f). The time-out is a constant: with an
 * expression there the list is read before the wait, and the server stays closed.
 */
void mariadb_open_guarded(const struct dialect_ctx *ctx, const struct node_goal *goal, bool use_gtid,
	int64_t limit_ms, struct strbuf *out)
{
	struct gtid_list others;

	limit_ms = limit_ms < 1 ? 1 : limit_ms > 1000 ? 1000 : limit_ms;
	strbuf_add(out, "SET STATEMENT max_statement_time=");
	/* The file form is cut by this limit alone: its own time-out is a second at least. */
	add_seconds(out, use_gtid ? limit_ms + 200 : limit_ms);
	strbuf_add(out, " FOR SET GLOBAL read_only = NOT (IS_USED_LOCK(");
	db_quote(out, ctx->lock);
	strbuf_add(out, ") <=> CONNECTION_ID() AND ");
	if (!use_gtid) {
		strbuf_add(out, "COALESCE(");
		add_file_wait(out, goal, 1000);
		strbuf_add(out, " >= 0, FALSE)");
	} else if (goal) {
		split_goal(ctx, &goal->gtid, &others);
		add_gtid_wait(out, &others, limit_ms);
		strbuf_add(out, " <=> 0 AND ");
		add_gtid_entries(ctx, out, &goal->gtid);
	} else {
		strbuf_add(out, "MASTER_GTID_WAIT('<POSITION>', ");
		add_seconds(out, limit_ms);
		strbuf_add(out, ") <=> 0 AND <POSITION with its server id is in @@global.gtid_slave_pos>");
	}
	strbuf_add(out, "); ");
	mariadb_open_state(ctx, out);
}

int mariadb_read_guard(const struct db_result *chain, struct dialect_guard *ret)
{
	const struct db_result *waited = dialect_find(chain, "waited");
	const struct db_result *state = dialect_find(chain, "read_only");
	const struct db_result *r = waited ? waited : state;

	if (!r || r->rows < 1 || (!waited && !db_get(r, 0, "read_only")))
		return -EPROTO;
	*ret = (struct dialect_guard){.answered = true, .read_only = true};
	dialect_copy(ret->position, sizeof(ret->position), r, 0, "position");
	if (waited) {
		ret->null = !db_get(r, 0, "waited");
		ret->reached = db_get_int(r, 0, "waited", -1) >= 0 && db_get_int(r, 0, "reached", 1) == 1;
	} else {
		ret->read_only = mariadb_read_only(r, "read_only");
		ret->holds_lock = db_get_int(r, 0, "holds_lock", 0) == 1;
	}
	return 0;
}

/* --- who follows whom --- */

void mariadb_start(const struct dialect_ctx *ctx, struct strbuf *out)
{
	(void)ctx;
	strbuf_add(out, "START SLAVE");
}

void mariadb_stop(const struct dialect_ctx *ctx, struct strbuf *out)
{
	(void)ctx;
	strbuf_add(out, "STOP SLAVE");
}

/* Both answer with a note, not an error, where there is no replication. */
void mariadb_forget(const struct dialect_ctx *ctx, struct strbuf *out)
{
	(void)ctx;
	strbuf_add(out, "STOP SLAVE; RESET SLAVE ALL");
}

/*
 * CHANGE MASTER takes a quoted string and nothing else, so not the hexadecimal form in which db_quote()
 * writes a backslash. Doubled it means itself here: every session has the sql_mode of hello_settings(),
 * without NO_BACKSLASH_ESCAPES.
 */
static void add_literal(struct strbuf *out, const char *value)
{
	if (!strchr(value, '\\')) {
		db_quote(out, value);
		return;
	}
	strbuf_add(out, "'");
	for (; *value; value++) {
		if (*value == '\\' || *value == '\'')
			strbuf_addn(out, value, 1);
		strbuf_addn(out, value, 1);
	}
	strbuf_add(out, "'");
}

static void add_option(struct strbuf *out, const char *name, const char *value)
{
	strbuf_addf(out, ", %s=", name);
	add_literal(out, value ? value : "");
}

/* The server knows no word for preferred, and MASTER_SSL=1 is an error where the master has no TLS: so it is
 * as flipd's own connection there. */
static void add_tls(struct strbuf *out, const struct conf_tls_opts *tls, bool encrypted)
{
	if (tls->mode < CONF_TLS_REQUIRED) {
		/* Encrypted, and nobody proven, as our own: what a replica had to prove its last master by
		 * (from 11.4 on it does by itself) need not fit this one. */
		strbuf_add(out, tls->mode == CONF_TLS_PREFERRED && encrypted
					? ", MASTER_SSL=1, MASTER_SSL_VERIFY_SERVER_CERT=0, MASTER_SSL_CA=''"
					: ", MASTER_SSL=0");
		return;
	}
	strbuf_addf(out, ", MASTER_SSL=1, MASTER_SSL_VERIFY_SERVER_CERT=%d",
		tls->mode == CONF_TLS_VERIFY_IDENTITY);
	add_option(out, "MASTER_SSL_CA", tls->ca);
	add_option(out, "MASTER_SSL_CERT", tls->cert);
	add_option(out, "MASTER_SSL_KEY", tls->key);
}

static void add_log_position(struct strbuf *out, const struct node_follow *f, bool mask)
{
	if (f->file[0] || !mask) {
		strbuf_add(out, ", MASTER_USE_GTID=no");
		add_option(out, "MASTER_LOG_FILE", f->file);
		strbuf_addf(out, ", MASTER_LOG_POS=%" PRIu64, f->pos);
	} else {
		strbuf_add(out, ", MASTER_USE_GTID=no, MASTER_LOG_FILE='<FILE>', MASTER_LOG_POS=<POSITION>");
	}
}

/* MASTER_HOST ... MASTER_CONNECT_RETRY of a CHANGE MASTER; the password stays in this text alone. */
static void add_master(struct strbuf *out, const struct node_follow *f, bool mask)
{
	const struct conf_server *m = f->master;
	uint16_t port = m->replication_port ? m->replication_port : m->port;

	strbuf_add(out, "MASTER_HOST=");
	add_literal(out, m->replication_host ? m->replication_host : m->host);
	strbuf_addf(out, ", MASTER_PORT=%u", port ? port : 3306);
	add_option(out, "MASTER_USER", f->account->user);
	add_option(out, "MASTER_PASSWORD", mask ? "***" : f->account->password);
	strbuf_add(out, ", MASTER_CONNECT_RETRY=1");
	add_tls(out, &m->tls, f->encrypted);
}

void mariadb_follow(const struct dialect_ctx *ctx, const struct node_follow *f, bool mask, struct strbuf *out)
{
	char text[GTID_MAX * 44];

	mariadb_stop(ctx, out);
	strbuf_add(out, "; ");
	if (f->use_gtid && f->has_slave_pos) {
		strbuf_add(out, "SET GLOBAL gtid_slave_pos=");
		db_quote(out, mask ? "<POSITION>" : gtid_format(&f->gtid_slave_pos, text, sizeof(text)));
		strbuf_add(out, "; ");
	}
	strbuf_add(out, "CHANGE MASTER TO ");
	add_master(out, f, mask);
	strbuf_add(out, ", MASTER_DELAY=0");
	if (f->use_gtid)
		strbuf_add(out, ", MASTER_USE_GTID=slave_pos");
	else
		add_log_position(out, f, mask);
	strbuf_add(out, "; ");
	mariadb_start(ctx, out);
}

/*
 * E5c: at the master's present end, delayed by the maximum and without the SQL thread. After a crash the
 * server starts both threads of what it remembers (E5: without the delay the master's own rows were applied).
 */
void mariadb_try_reverse(const struct dialect_ctx *ctx, const struct node_follow *f, struct strbuf *out)
{
	(void)ctx;
	strbuf_add(out, "CHANGE MASTER " CHANNEL " TO ");
	add_master(out, f, false);
	add_log_position(out, f, false);
	strbuf_add(out, ", MASTER_DELAY=2147483647; START SLAVE " CHANNEL " IO_THREAD");
}

void mariadb_try_reverse_state(const struct dialect_ctx *ctx, struct strbuf *out)
{
	(void)ctx;
	strbuf_add(out, "SHOW SLAVE " CHANNEL " STATUS");
}

void mariadb_try_reverse_remove(const struct dialect_ctx *ctx, struct strbuf *out)
{
	(void)ctx;
	strbuf_add(out, "STOP SLAVE " CHANNEL "; RESET SLAVE " CHANNEL " ALL");
}
