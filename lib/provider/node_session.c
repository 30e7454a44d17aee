/* node_session: opening and closing the connections to a server, and what they are known by. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/arena.h"
#include "lib/provider/node_priv.h"

static const enum db_tls_mode tls_modes[] = {
	[CONF_TLS_DISABLED] = DB_TLS_DISABLED,
	[CONF_TLS_PREFERRED] = DB_TLS_PREFERRED,
	[CONF_TLS_REQUIRED] = DB_TLS_REQUIRED,
	[CONF_TLS_VERIFY_CA] = DB_TLS_VERIFY_CA,
	[CONF_TLS_VERIFY_IDENTITY] = DB_TLS_VERIFY_IDENTITY,
};

static const char *const role_names[] = {
	[SESSION_WATCH] = "flipd watch",
	[SESSION_ACT] = "flipd act",
	[SESSION_LOCK] = "flipd lock",
	[SESSION_REAPER] = "flipd reaper",
	[SESSION_HEARTBEAT] = "flipd heartbeat",
	[SESSION_PROBE] = "flipd probe",
};

/* A version number out of "10.11.19-MariaDB-0+deb12u1-log", perhaps behind the "5.5.5-" of the old handshake.
 */
static int version_from(const char *text)
{
	int major = 0, minor = 0, patch = 0;

	if (strncmp(text, "5.5.5-", 6) == 0)
		text += 6;
	if (sscanf(text, "%d.%d.%d", &major, &minor, &patch) < 2)
		return 0;
	return major * 10000 + minor * 100 + patch;
}

/* From 10.5 on: the split privileges, and the spellings that the dialect uses. */
static int check_version(struct session *s, struct err *err)
{
	const char *version = db_server_version(s->db);
	char label[300];

	node_label(s->node, label, sizeof(label));
	if (!version || !strstr(version, "MariaDB"))
		return err_set(err, -ENOTSUP,
			"%s: the server is not MariaDB but %s, which this flipd does not speak", label,
			version ? version : "unknown");
	s->node->version = version_from(version);
	if (s->node->version < 100500)
		return err_set(
			err, -ENOTSUP, "%s: MariaDB %s is too old: 10.5 or later is needed", label, version);
	return 0;
}

/* An act of the first packet as an errno: the reason is in err already. */
static int act_errno(enum act act, const struct err *err)
{
	if (act == ACT_DONE)
		return 0;
	if (err->code)
		return err->code;
	return act == ACT_REFUSED ? -EPERM : -ETIMEDOUT;
}

static int MAY_WAIT say_hello(struct session *s, int64_t deadline_us, struct err *err)
{
	struct db_result *r CLEANUP(db_result_freep) = NULL;
	struct dialect_ctx ctx = node_ctx(s->node);
	struct dialect_hello hello;
	struct strbuf sql = {0};

	s->node->dialect->hello(&ctx, s->role, &sql);
	enum act act = node_ask(s, &sql, "setting up the session", deadline_us, &r, err);
	if (act != ACT_DONE)
		return act_errno(act, err);
	if (s->node->dialect->read_hello(r, &hello) < 0) {
		(void)node_refuse(
			s, -EPROTO, err, "setting up the session: the server did not say who it is");
		return -EPROTO;
	}
	s->mark = hello.mark;
	return 0;
}

static int MAY_WAIT connect_db(
	struct session *s, const struct conf_account *as, int64_t deadline_us, struct err *err)
{
	const struct conf_server *c = s->node->conf;
	const struct db_opts opts = {
		.host = c->host,
		.socket = c->socket,
		.port = c->port,
		.user = as->user,
		.password = as->password,
		.tls_mode = tls_modes[c->tls.mode],
		.tls_ca = c->tls.ca,
		.tls_cert = c->tls.cert,
		.tls_key = c->tls.key,
		.program = role_names[s->role],
	};
	int r = db_open(&opts, deadline_us, &s->db, err);

	if (r < 0) {
		char label[300];
		err_wrap(err, "%s: connecting as %s", node_label(s->node, label, sizeof(label)),
			as->user ? as->user : "(no user)");
		return r;
	}
	s->node->encrypted = db_is_tls(s->db);
	r = check_version(s, err);
	return r < 0 ? r : say_hello(s, deadline_us, err);
}

int session_open(struct node *n, enum session_role role, const struct conf_account *as, int64_t deadline_us,
	struct session **ret, struct err *err)
{
	struct session *s = xcalloc(1, sizeof(*s));
	struct err e = {0};

	s->node = n;
	s->role = role;
	int r = connect_db(s, as ? as : &n->conf->account, deadline_us, &e);
	if (r < 0) {
		err_server(&e, node_name(n));
		node_pass_err(err, &e);
		session_close(s);
		return r;
	}
	*ret = s;
	return 0;
}

void session_close(struct session *s)
{
	if (!s)
		return;
	db_close(s->db);
	free(s);
}

bool session_alive(const struct session *s)
{
	return s && s->db && db_alive(s->db);
}

struct node *session_node(const struct session *s)
{
	return s->node;
}

const struct session_mark *session_get_mark(const struct session *s)
{
	return &s->mark;
}

/* Only what cannot end the comment or the statement. */
static void add_word(struct strbuf *out, const char *word)
{
	for (; word && *word; word++) {
		bool plain = (*word >= 'a' && *word <= 'z') || (*word >= 'A' && *word <= 'Z') ||
			     (*word >= '0' && *word <= '9') || strchr("_.-:", *word);
		strbuf_addn(out, plain ? word : "_", 1);
	}
}

void session_tag(struct session *s, const char *flip_id, const char *step)
{
	struct strbuf tag = {0};

	s->tag[0] = '\0';
	if (!flip_id)
		return;
	strbuf_add(&tag, "/* flipd ");
	add_word(&tag, flip_id);
	strbuf_add(&tag, " ");
	add_word(&tag, step);
	/* A comment that were cut would swallow the statement. */
	if (tag.len + strlen(" */ ") < sizeof(s->tag))
		(void)snprintf(s->tag, sizeof(s->tag), "%s */ ", strbuf_str(&tag));
	strbuf_free(&tag);
}
