/* world_look: what a server shows when it is asked: facts, the proof of a fence, its sessions. */
#include <stdio.h>
#include <string.h>

#include "tests/scenario/fake_loop.h"
#include "tests/scenario/world.h"

bool session_waits_for_space(const struct wsession *x)
{
	return x->client && x->client->kind >= CLIENT_NO_SPACE && x->running && x->running->writing;
}

static void fill_session(const struct wsession *x, struct facts_session *s)
{
	const struct stmt *m = x->running;

	s->id = x->id;
	str_copy(s->user, sizeof(s->user), x->user);
	str_copy(s->host, sizeof(s->host), "10.9.0.1:4711");
	str_copy(s->db, sizeof(s->db), "app");
	str_copy(s->command, sizeof(s->command), m || x->reads ? "Query" : "Sleep");
	if (x->reads)
		str_copy(s->info, sizeof(s->info), "SELECT count(*) FROM t");
	if (m && m->op == OP_WRITE)
		str_copy(s->info, sizeof(s->info),
			"UPDATE t SET v = v + 1 WHERE id IN (SELECT id FROM u WHERE later) /* nightly job "
			"*/");
	if (m && m->queued)
		str_copy(s->state, sizeof(s->state), "Waiting for backup lock");
	if (x->login) {
		str_copy(s->command, sizeof(s->command), "Connect");
		str_copy(s->state, sizeof(s->state), "login");
	}
	s->time_ms = (vtime_us() - x->since_us) / 1000;
	s->trx_rows = x->trx_rows;
	s->trx_age_ms = x->trx_rows ? s->time_ms : -1;
	s->waits_for_space = session_waits_for_space(x);
	s->holds_tables = x->locks_tables;
}

int op_sessions(struct stmt *m)
{
	struct server *s = m->session->server;
	int n = 1;

	for (struct wsession *x = s->sessions; x; x = x->next)
		n++;
	m->out->list = arena_alloc(w.arena, (size_t)n * sizeof(*m->out->list));
	for (struct wsession *x = s->sessions; x; x = x->next)
		fill_session(x, &m->out->list[m->out->n++]);
	str_copy(m->out->list[m->out->n].user, 32, "system user");
	str_copy(m->out->list[m->out->n++].command, 32, "Slave_SQL");
	m->act = ACT_DONE;
	return STEP_END;
}

static void fill_channel(const struct server *s, struct facts *f)
{
	const struct link *l = &s->link;
	struct facts_channel *c = &f->channels[f->nchannels++];

	str_copy(c->host, sizeof(c->host), w.conf->clusters[0].side[l->master].host);
	c->port = 3306;
	str_copy(c->io, sizeof(c->io), link_io(s));
	str_copy(c->sql, sizeof(c->sql), l->sql ? "Yes" : "No");
	str_copy(c->using_gtid, sizeof(c->using_gtid), l->use_gtid ? "Slave_Pos" : "No");
	str_copy(c->master_log_file, sizeof(c->master_log_file), "binlog.000007");
	str_copy(c->exec_log_file, sizeof(c->exec_log_file), "binlog.000007");
	c->read_master_log_pos = pos_of(l->fetched);
	c->exec_log_pos = pos_of(l->applied);
	c->lag_s = l->io && l->sql ? s->lag_s : -1;
	c->master_server_id = w.server[l->master].server_id;
	if (l->error == 1236)
		c->last_io_errno = l->error;
	else
		c->last_sql_errno = l->error;
	str_copy(c->last_error, sizeof(c->last_error), l->last_error);
}

void server_identify(const struct server *s, struct facts_identity *id)
{
	*id = (struct facts_identity){
		.port = 3306, .server_id = s->impostor ? 99 : s->server_id, .boot_s = s->boot_wall_s};
	str_copy(id->hostname, sizeof(id->hostname), s->impostor ? "elsewhere" : s->name);
}

static void fill_row(const struct server *s, struct facts *f)
{
	const struct node_row *r = s->row >= 0 ? &w.row[s->row] : NULL;

	if (!r || !strcmp(r->state, "closed"))
		return;
	str_copy(f->flip_row_id, sizeof(f->flip_row_id), r->id);
	str_copy(f->flip_row_host, sizeof(f->flip_row_host), r->host);
	str_copy(f->flip_row_journal, sizeof(f->flip_row_journal), r->journal);
	str_copy(f->flip_row_state, sizeof(f->flip_row_state), r->state);
	str_copy(f->flip_row_direction, sizeof(f->flip_row_direction), r->direction);
}

static void fill_bypass(const struct server *s, struct facts *f)
{
	bool there = w.bypass_account;

	(void)s;
	f->bypass = arena_alloc(w.arena, 2 * sizeof(*f->bypass));
	str_copy(f->bypass[0].user, 32, "flipd");
	str_copy(f->bypass[0].host, 32, "%");
	f->nbypass = 1;
	for (int i = 0; i < w.nclients; i++)
		there = there || client_walks(&w.client[i]);
	if (!there || w.reckless[MUTANT_LEAKY_FENCE])
		return;
	str_copy(f->bypass[1].user, 32, "legacy");
	str_copy(f->bypass[1].host, 32, "%");
	f->nbypass = 2;
}

int op_facts(struct stmt *m)
{
	struct server *s = m->session->server;
	struct facts *f = arena_alloc(w.arena, sizeof(*f));

	*f = (struct facts){.up = true,
		.taken_at_ms = vtime_us() / 1000,
		.asked_at_us = vtime_us(),
		.answered_at_us = vtime_us(),
		.version_num = 101119,
		.is_mariadb = true,
		.wall_ms = vtime_wall_ms(),
		.log_bin = true,
		.log_slave_updates = true,
		.gtid_strict_mode = s->strict,
		.sync_binlog_full = true,
		.flush_log_full = true,
		.boots_read_only = s->boots_closed,
		.schema_present = true,
		.wsrep_on = 'N',
		.heartbeat_wall_ms = w.no_heartbeat ? -1 : s->heartbeat_wall_ms,
		.read_only = s->read_only,
		.semi_sync_master = s->semi_sync,
		.semi_sync_timeout_ms = 10000,
		.semi_sync_clients = 1};
	server_identify(s, &f->id);
	server_position(s, &f->position);
	str_copy(f->version, sizeof(f->version), "10.11.19-MariaDB-log");
	str_copy(f->binlog_format, sizeof(f->binlog_format), w.binlog_mixed ? "MIXED" : "ROW");
	str_copy(f->event_scheduler, sizeof(f->event_scheduler), s->scheduler ? "ON" : "OFF");
	str_copy(f->slave_skip_errors, sizeof(f->slave_skip_errors), "OFF");
	str_copy(f->slave_exec_mode, sizeof(f->slave_exec_mode), "STRICT");
	str_copy(f->current_user, sizeof(f->current_user), "flipd@%");
	str_copy(f->schema, sizeof(f->schema), "flipd");
	f->privileges = "GRANT ALL PRIVILEGES ON *.* TO `flipd`@`%` WITH GRANT OPTION";
	if (s->link.there)
		fill_channel(s, f);
	fill_row(s, f);
	if (m->in->what & FACTS_SESSIONS) {
		(void)op_sessions(m);
		f->sessions = m->out->list;
		f->nsessions = m->out->n;
	}
	if (m->in->what & FACTS_ACCOUNTS)
		fill_bypass(s, f);
	m->out->facts = f;
	m->act = ACT_DONE;
	return STEP_END;
}

int op_prove(struct stmt *m)
{
	struct server *s = m->session->server;
	int nlog = s->nlog;

	if (w.reckless[MUTANT_LEAKY_FENCE] && s->index == 0 && s->read_only) /* it lies */
		s->nlog = s->nlog_at_fence;
	m->out->proof = (struct node_proof){
		.read_only = s->read_only, .holds_lock = s->lock_holder == m->session->id};
	server_position(s, &m->out->proof.position);
	if (s->nlog != nlog)
		m->out->proof.position.binlog_state = s->state_at_fence;
	s->nlog = nlog;
	m->act = ACT_DONE;
	return STEP_END;
}
