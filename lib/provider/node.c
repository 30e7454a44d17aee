/*
 * node: a MySQL-family server: what is known of it between sessions, and the one way by which a statement
 * gets to it. The verbs: node_session.c opens sessions, node_facts.c looks, node_row.c holds lock, row and
 * heartbeat, node_flip.c closes and opens, node_repl.c says who follows whom, node_kill.c ends sessions,
 * node_judge.c judges privileges, node_plan.c prints.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/arena.h"
#include "lib/base/str.h"
#include "lib/io/fiber.h"
#include "lib/provider/node_priv.h"

#define LOCK_NAME_MAX 64 /* MySQL's limit; MariaDB takes 192 */

static uint64_t hash_text(const char *s)
{
	uint64_t h = UINT64_C(14695981039346656037); /* FNV-1a */

	for (; *s; s++)
		h = (h ^ (unsigned char)*s) * UINT64_C(1099511628211);
	return h;
}

/* flipd.CLUSTER; a longer name is cut and told apart by its hash. Two flipds must always come to the same
 * name. */
static void name_lock(char *buf, size_t size, const char *cluster)
{
	if (strlen(cluster) + strlen("flipd.") <= LOCK_NAME_MAX)
		(void)snprintf(buf, size, "flipd.%s", cluster);
	else
		(void)snprintf(buf, size, "flipd.%.32s.%016" PRIx64, cluster, hash_text(cluster));
}

struct node *node_new(const struct conf_server *conf, const char *cluster, const char *schema)
{
	struct node *n = xcalloc(1, sizeof(*n));

	n->conf = conf;
	n->cluster = xstrdup(cluster);
	n->schema = xstrdup(schema);
	name_lock(n->lock, sizeof(n->lock), cluster);
	n->dialect = &dialect_mariadb;
	n->boots_read_only = -1;
	return n;
}

void node_free(struct node *n)
{
	if (!n)
		return;
	free(n->cluster);
	free(n->schema);
	node_trx_free(n);
	free(n);
}

const struct conf_server *node_conf(const struct node *n)
{
	return n->conf;
}

bool node_is_encrypted(const struct node *n)
{
	return n->encrypted;
}

const char *node_name(const struct node *n)
{
	return n->conf->name ? n->conf->name : "";
}

const char *node_label(const struct node *n, char *buf, size_t size)
{
	if (n->conf->socket)
		(void)snprintf(buf, size, "%s %s", node_name(n), n->conf->socket);
	else
		(void)snprintf(
			buf, size, "%s " HOST_PORT, node_name(n), HOST_PORT_OF(n->conf->host, n->conf->port));
	return buf;
}

struct dialect_ctx node_ctx(const struct node *n)
{
	return (struct dialect_ctx){
		.schema = n->schema,
		.cluster = n->cluster,
		.node = node_name(n),
		.lock = n->lock,
		.version = n->version,
		.replication_user = n->conf->replication.user,
		.schema_seen = n->schema_seen,
	};
}

struct dialect_ctx session_ctx(const struct session *s)
{
	struct dialect_ctx ctx = node_ctx(s->node);

	ctx.server_id = s->mark.server.server_id;
	return ctx;
}

/* --- asking --- */

void db_result_freep(struct db_result **r)
{
	db_result_free(*r);
}

void node_pass_err(struct err *to, const struct err *from)
{
	if (to && !to->code)
		*to = *from;
}

static void explain(struct err *e, const struct session *s, const char *what)
{
	char label[300];

	if (e->sql_errno == DIALECT_ER_PRIVILEGE || e->sql_errno == DIALECT_ER_TABLE_ACCESS ||
		e->sql_errno == DIALECT_ER_DB_ACCESS)
		err_hint(e, "flipctl grants %s prints the privileges that flipd's accounts need",
			s->node->dialect->name);
	else if (e->sql_errno == DIALECT_ER_NO_SUCH_TABLE || e->sql_errno == DIALECT_ER_BAD_DB)
		err_hint(e, "flipctl prepare creates flipd's schema and tables");
	err_wrap(e, "%s: %s", node_label(s->node, label, sizeof(label)), what);
	err_server(e, node_name(s->node));
}

enum act node_ask(struct session *s, struct strbuf *sql, const char *what, int64_t deadline_us,
	struct db_result **ret, struct err *err)
{
	struct strbuf tagged = {0};
	struct err e = {0};

	fiber_doing("%s: %s", node_name(s->node), what);
	strbuf_add(&tagged, s->tag);
	strbuf_add(&tagged, strbuf_str(sql));
	enum act act = db_query(s->db, strbuf_str(&tagged), deadline_us, ret, &e);
	strbuf_free(&tagged);
	strbuf_free(sql);
	if (act != ACT_DONE) {
		explain(&e, s, what);
		node_pass_err(err, &e);
	}
	return act;
}

enum act node_tell(
	struct session *s, struct strbuf *sql, const char *what, int64_t deadline_us, struct err *err)
{
	return node_ask(s, sql, what, deadline_us, NULL, err);
}

enum act node_refuse(struct session *s, int code, struct err *err, const char *fmt, ...)
{
	struct err e = {0};
	char text[sizeof(e.message)], label[300];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	err_set(&e, code, "%s: %s", node_label(s->node, label, sizeof(label)), text);
	err_server(&e, node_name(s->node));
	node_pass_err(err, &e);
	return ACT_REFUSED;
}
