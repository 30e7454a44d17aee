/* dialect_mariadb_read: what MariaDB answered to the packets of dialect_mariadb_facts.c, into facts and
 * proofs. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "lib/base/arena.h"
#include "lib/base/str.h"
#include "lib/io/db.h"
#include "lib/provider/dialect.h"

/* What the readers fill. */
struct reading {
	struct facts *facts;
	struct dialect_extra *extra;
	struct arena *arena;
	int settings_cap;
};

static int read_gtid(const struct db_result *r, const char *column, struct gtid_list *ret)
{
	const char *text = db_get(r, 0, column);

	return text ? gtid_parse(text, ret) : -EPROTO;
}

static void read_master_status(const struct db_result *r, struct reading *to)
{
	struct facts *f = to->facts;

	if (!r->rows)
		return; /* no log */
	dialect_copy(f->position.file, sizeof(f->position.file), r, 0, "File");
	f->position.pos = (uint64_t)db_get_int(r, 0, "Position", 0);
	dialect_copy(f->binlog_do_db, sizeof(f->binlog_do_db), r, 0, "Binlog_Do_DB");
	dialect_copy(f->binlog_ignore_db, sizeof(f->binlog_ignore_db), r, 0, "Binlog_Ignore_DB");
}

/* A list that is not there, or cannot be read whole, is an error: half a position proves nothing. */
static int read_positions(const struct db_result *r, struct facts_position *p)
{
	int e = read_gtid(r, "binlog_pos", &p->binlog_pos);

	if (e == 0)
		e = read_gtid(r, "binlog_state", &p->binlog_state);
	if (e == 0)
		e = read_gtid(r, "slave_pos", &p->slave_pos);
	if (e == 0)
		e = read_gtid(r, "current_pos", &p->current_pos);
	return e;
}

/* A number up to 11.x; from 12.0 on a word, of which only OFF is open. */
bool mariadb_read_only(const struct db_result *r, const char *column)
{
	const char *value = db_get(r, 0, column);

	return value && !str_eq(value, "0") && !str_ieq(value, "OFF");
}

/* 10.11.19-MariaDB -> 101119 */
static int version_number(const char *s)
{
	int part[3] = {0};

	for (int i = 0; i < 3 && *s >= '0' && *s <= '9'; i++) {
		char *end;
		part[i] = (int)strtol(s, &end, 10);
		s = *end == '.' ? end + 1 : end;
	}
	return part[0] * 10000 + part[1] * 100 + part[2];
}

static void read_core(const struct db_result *r, struct reading *to)
{
	struct facts *f = to->facts;
	int64_t flush_log;

	f->wall_ms = db_get_int(r, 0, "wall_ms", 0);
	dialect_copy(f->current_user, sizeof(f->current_user), r, 0, "account");
	dialect_copy(f->version, sizeof(f->version), r, 0, "version");
	f->version_num = version_number(f->version);
	f->is_mariadb = true;
	dialect_copy(f->id.hostname, sizeof(f->id.hostname), r, 0, "hostname");
	f->id.port = (uint32_t)db_get_int(r, 0, "port", 0);
	f->id.server_id = (uint32_t)db_get_int(r, 0, "server_id", 0);
	f->read_only = mariadb_read_only(r, "read_only");
	f->log_bin = db_get_int(r, 0, "log_bin", 0) == 1;
	f->log_slave_updates = db_get_int(r, 0, "log_slave_updates", 0) == 1;
	f->gtid_strict_mode = db_get_int(r, 0, "gtid_strict_mode", 0) == 1;
	dialect_copy(f->binlog_format, sizeof(f->binlog_format), r, 0, "binlog_format");
	dialect_copy(f->binlog_row_image, sizeof(f->binlog_row_image), r, 0, "binlog_row_image");
	f->gtid_domain_id = (uint32_t)db_get_int(r, 0, "gtid_domain_id", 0);
	f->expire_logs_s = db_get_int(r, 0, "expire_s", 0);
	f->sync_binlog_full = db_get_int(r, 0, "sync_binlog", 0) == 1;
	flush_log = db_get_int(r, 0, "flush_log", 0);
	f->flush_log_full = flush_log == 1 || flush_log == 3; /* 3: as durable, one sync more */
	to->extra->error = read_positions(r, &f->position);
	f->semi_sync_master = db_get_int(r, 0, "semi_master", 0) == 1;
	f->semi_sync_slave = db_get_int(r, 0, "semi_slave", 0) == 1;
	f->semi_sync_timeout_ms = db_get_int(r, 0, "semi_timeout_ms", 0);
	dialect_copy(f->event_scheduler, sizeof(f->event_scheduler), r, 0, "event_scheduler");
	dialect_copy(f->slave_skip_errors, sizeof(f->slave_skip_errors), r, 0, "skip_errors");
	dialect_copy(f->slave_exec_mode, sizeof(f->slave_exec_mode), r, 0, "exec_mode");
}

/* What every look shows; false for a name that is kept as it is. */
static bool take_figure(struct facts *f, const char *name, const char *value)
{
	int64_t n = value ? strtoll(value, NULL, 10) : 0;

	if (str_ieq(name, "Uptime"))
		f->uptime_s = n;
	else if (str_ieq(name, "Slaves_connected"))
		f->nreplicas_connected = (int)n;
	else if (str_ieq(name, "Rpl_semi_sync_master_clients"))
		f->semi_sync_clients = (int)n;
	else if (str_ieq(name, "Slave_skipped_errors"))
		f->skipped_errors = n;
	else if (str_ieq(name, "wsrep_on"))
		f->wsrep_on = str_ieq(value, "ON") || str_eq(value, "1") ? 'Y' : 'N';
	else
		return false;
	return true;
}

static void keep_setting(struct reading *to, int room, const char *name, const char *value)
{
	struct facts *f = to->facts;
	size_t size = (size_t)f->nsettings * sizeof(*f->settings);

	if (f->nsettings == to->settings_cap) {
		to->settings_cap += room;
		f->settings = arena_grow(
			to->arena, f->settings, size, (size_t)to->settings_cap * sizeof(*f->settings));
	}
	f->settings[f->nsettings++] = (struct facts_setting){
		.name = arena_strdup(to->arena, name), .value = arena_strdup(to->arena, value)};
}

/* SHOW GLOBAL STATUS and SHOW GLOBAL VARIABLES look alike: a name and a value. */
static void read_named(const struct db_result *r, struct reading *to)
{
	for (int i = 0; i < r->rows; i++) {
		const char *name = db_get(r, i, "Variable_name");
		const char *value = db_get(r, i, "Value");

		if (name && !take_figure(to->facts, name, value))
			keep_setting(to, r->rows - i, name, value);
	}
}

static void add_filter(char *buf, size_t size, const char *name, const char *value)
{
	size_t used = strlen(buf);

	if (!value || !*value || used + 4 > size)
		return;
	struct strbuf line = {0};
	strbuf_addf(&line, "%s%s=%s", used ? "; " : "", name, value);
	str_copy(buf + used, size - used, strbuf_str(&line));
	strbuf_free(&line);
}

static void read_filters(const struct db_result *r, int row, char *buf, size_t size)
{
	static const char *const filters[] = {"Replicate_Do_DB", "Replicate_Ignore_DB", "Replicate_Do_Table",
		"Replicate_Ignore_Table", "Replicate_Wild_Do_Table", "Replicate_Wild_Ignore_Table",
		"Replicate_Ignore_Server_Ids", "Replicate_Do_Domain_Ids", "Replicate_Ignore_Domain_Ids",
		"Replicate_Rewrite_DB"};

	for (size_t i = 0; i < COUNT_OF(filters); i++)
		add_filter(buf, size, filters[i], db_get(r, row, filters[i]));
}

static void read_default_filters(const struct db_result *r, struct reading *to)
{
	if (r->rows)
		read_filters(r, 0, to->facts->default_filters, sizeof(to->facts->default_filters));
}

static void read_channel_row(const struct db_result *r, int row, struct facts_channel *c)
{
	dialect_copy(c->name, sizeof(c->name), r, row, "Connection_name");
	dialect_copy(c->host, sizeof(c->host), r, row, "Master_Host");
	c->port = (uint32_t)db_get_int(r, row, "Master_Port", 0);
	dialect_copy(c->user, sizeof(c->user), r, row, "Master_User");
	dialect_copy(c->io, sizeof(c->io), r, row, "Slave_IO_Running");
	dialect_copy(c->sql, sizeof(c->sql), r, row, "Slave_SQL_Running");
	dialect_copy(c->master_log_file, sizeof(c->master_log_file), r, row, "Master_Log_File");
	c->read_master_log_pos = (uint64_t)db_get_int(r, row, "Read_Master_Log_Pos", 0);
	dialect_copy(c->exec_log_file, sizeof(c->exec_log_file), r, row, "Relay_Master_Log_File");
	c->exec_log_pos = (uint64_t)db_get_int(r, row, "Exec_Master_Log_Pos", 0);
	dialect_copy(c->gtid_io_pos, sizeof(c->gtid_io_pos), r, row, "Gtid_IO_Pos");
	dialect_copy(c->using_gtid, sizeof(c->using_gtid), r, row, "Using_Gtid");
	c->lag_s = db_get_int(r, row, "Seconds_Behind_Master", -1);
	c->delay_s = db_get_int(r, row, "SQL_Delay", 0);
	c->last_io_errno = db_get_int(r, row, "Last_IO_Errno", 0);
	c->last_sql_errno = db_get_int(r, row, "Last_SQL_Errno", 0);
	dialect_copy(c->last_error, sizeof(c->last_error), r, row,
		c->last_io_errno ? "Last_IO_Error" : "Last_SQL_Error");
	c->master_server_id = (uint32_t)db_get_int(r, row, "Master_Server_Id", 0);
	read_filters(r, row, c->filters, sizeof(c->filters));
}

static void read_channels(const struct db_result *r, struct reading *to)
{
	struct facts *f = to->facts;

	f->nchannels = r->rows < FACTS_CHANNELS_MAX ? r->rows : FACTS_CHANNELS_MAX;
	for (int i = 0; i < f->nchannels; i++)
		read_channel_row(r, i, &f->channels[i]);
}

/* SHOW SLAVE 'name' STATUS: the same row without its name. */
int mariadb_read_channel(const struct db_result *chain, struct facts_channel *ret)
{
	const struct db_result *r = dialect_find(chain, "Slave_IO_State");

	if (!r || r->rows < 1)
		return -ENOENT;
	*ret = (struct facts_channel){0};
	read_channel_row(r, 0, ret);
	return 0;
}

static void read_flip_row(const struct db_result *r, struct reading *to)
{
	struct facts *f = to->facts;

	dialect_copy(f->flip_row_id, sizeof(f->flip_row_id), r, 0, "flip_id");
	dialect_copy(f->flip_row_host, sizeof(f->flip_row_host), r, 0, "host");
	dialect_copy(f->flip_row_journal, sizeof(f->flip_row_journal), r, 0, "journal");
	dialect_copy(f->flip_row_direction, sizeof(f->flip_row_direction), r, 0, "direction");
	dialect_copy(f->flip_row_state, sizeof(f->flip_row_state), r, 0, "state");
}

static void read_sessions(const struct db_result *r, struct reading *to)
{
	struct facts_session *v = arena_alloc(to->arena, ((size_t)r->rows + 1) * sizeof(*v));

	for (int i = 0; i < r->rows; i++) {
		struct facts_session *s = &v[i];
		s->id = (uint64_t)db_get_int(r, i, "process_id", 0);
		dialect_copy(s->user, sizeof(s->user), r, i, "user");
		dialect_copy(s->host, sizeof(s->host), r, i, "host");
		dialect_copy(s->db, sizeof(s->db), r, i, "db");
		dialect_copy(s->command, sizeof(s->command), r, i, "command");
		dialect_copy(s->state, sizeof(s->state), r, i, "state");
		dialect_copy(s->info, sizeof(s->info), r, i, "info");
		s->waits_for_space = mariadb_waits_for_space(s->state);
		s->time_ms = db_get_int(r, i, "time_ms", 0);
		s->trx_age_ms = -1;
	}
	to->facts->sessions = v;
	to->facts->nsessions = r->rows;
}

/* The session that row of a later result set speaks of; NULL when it came after the list, or went. */
static struct facts_session *session_of(
	const struct db_result *r, int row, const char *column, struct reading *to)
{
	uint64_t id = (uint64_t)db_get_int(r, row, column, 0);

	for (int i = 0; i < to->facts->nsessions; i++) {
		if (to->facts->sessions[i].id == id)
			return &to->facts->sessions[i];
	}
	return NULL;
}

static void read_transactions(const struct db_result *r, struct reading *to)
{
	for (int i = 0; i < r->rows; i++) {
		struct facts_session *s = session_of(r, i, "trx_session", to);
		if (!s)
			continue;
		s->trx_rows = (uint64_t)db_get_int(r, i, "trx_rows", 0);
		s->trx_age_ms = db_get_int(r, i, "trx_age_ms", -1);
	}
}

static void read_lockers(const struct db_result *r, struct reading *to)
{
	for (int i = 0; i < r->rows; i++) {
		struct facts_session *s = session_of(r, i, "locker", to);
		if (s)
			s->holds_tables = true;
	}
}

static void read_bypass(const struct db_result *r, struct reading *to)
{
	struct facts_account *v = arena_alloc(to->arena, ((size_t)r->rows + 1) * sizeof(*v));

	for (int i = 0; i < r->rows; i++) {
		dialect_copy(v[i].user, sizeof(v[i].user), r, i, "bypass_user");
		dialect_copy(v[i].host, sizeof(v[i].host), r, i, "bypass_host");
	}
	to->facts->bypass = v;
	to->facts->nbypass = r->rows;
}

static void read_own(const struct db_result *r, struct reading *to)
{
	struct facts_own *v = arena_alloc(to->arena, ((size_t)r->rows + 1) * sizeof(*v));

	for (int i = 0; i < r->rows; i++) {
		dialect_copy(v[i].user, sizeof(v[i].user), r, i, "own_user");
		dialect_copy(v[i].host, sizeof(v[i].host), r, i, "own_host");
		v[i].locked = db_get_int(r, i, "locked", 0) == 1;
		v[i].expires_s = db_get_int(r, i, "expires_s", INT64_MAX);
		v[i].max_queries = db_get_int(r, i, "max_queries", 0);
		v[i].max_updates = db_get_int(r, i, "max_updates", 0);
		v[i].max_connections = db_get_int(r, i, "max_connections", 0);
	}
	to->facts->own = v;
	to->facts->nown = r->rows;
}

/* "GRANT ... TO `flipd`@`%` IDENTIFIED BY PASSWORD '*...'": what comes after IDENTIFIED is nobody's business.
 */
static void read_grants(const struct db_result *r, struct reading *to)
{
	struct strbuf all = {0};

	for (int i = 0; i < r->rows; i++) {
		const char *line = r->cells[i * r->cols];
		const char *cut = line ? strstr(line, " IDENTIFIED ") : NULL;
		if (line)
			strbuf_addn(&all, line, cut ? (size_t)(cut - line) : strlen(line));
		strbuf_add(&all, "\n");
	}
	to->facts->privileges = arena_strdup(to->arena, strbuf_str(&all));
	strbuf_free(&all);
}

/* A value whose origin is SQL was set since the start: it does not tell what a restart brings (E0). */
static void read_origin(const struct db_result *r, struct reading *to)
{
	const char *origin = db_get(r, 0, "origin");
	const char *value = db_get(r, 0, "value");

	if (!r->rows)
		return;
	to->extra->origin_read = true;
	if (str_ieq(origin, "COMPILE-TIME"))
		to->extra->boots = 0;
	else if (!str_ieq(origin, "SQL"))
		to->extra->boots = !str_ieq(value, "OFF") && !str_eq(value, "0");
}

static void read_heartbeat(const struct db_result *r, struct reading *to)
{
	to->facts->heartbeat_wall_ms = db_get_int(r, 0, "heartbeat_ms", -1);
}

static void read_events(const struct db_result *r, struct reading *to)
{
	to->facts->nevents_enabled = (int)db_get_int(r, 0, "events_enabled", -1);
}

static void read_xa(const struct db_result *r, struct reading *to)
{
	to->facts->nxa = r->rows;
}

static void read_schema(const struct db_result *r, struct reading *to)
{
	to->facts->schema_present = db_get_int(r, 0, "schema_tables", 0) == 3;
}

/* Who reads which result set. */
static const struct {
	const char *first_column;
	void (*read)(const struct db_result *, struct reading *);
} readers[] = {
	{"File", read_master_status}, {"wall_ms", read_core}, {"Connection_name", read_channels},
	{"Variable_name", read_named}, {"schema_tables", read_schema}, {"heartbeat_ms", read_heartbeat},
	{"flip_id", read_flip_row}, {"origin", read_origin}, {"process_id", read_sessions},
	{"trx_session", read_transactions}, {"locker", read_lockers}, {"bypass_user", read_bypass},
	{"events_enabled", read_events}, {"own_user", read_own}, {"formatID", read_xa},
	{"default_filters", read_default_filters}, {"Grants for", read_grants}, /* "Grants for flipd@%" */
};

void mariadb_read_facts(
	const struct db_result *r, struct arena *arena, struct facts *f, struct dialect_extra *x)
{
	struct reading to = {.facts = f, .extra = x, .arena = arena};

	*x = (struct dialect_extra){.boots = -1};
	f->heartbeat_wall_ms = -1;
	f->nbypass = f->nevents_enabled = -1;
	for (; r; r = r->next) {
		const char *first = r->cols > 0 ? r->names[0] : "";
		for (size_t i = 0; i < COUNT_OF(readers); i++) {
			if (strncasecmp(first, readers[i].first_column, strlen(readers[i].first_column)) == 0)
				readers[i].read(r, &to);
		}
	}
}

int mariadb_read_prove(const struct db_result *chain, struct node_proof *ret)
{
	const struct db_result *r = dialect_find(chain, "read_only");
	const struct db_result *log = dialect_find(chain, "File");

	if (!db_get(r, 0, "read_only"))
		return -EPROTO;
	*ret = (struct node_proof){0};
	ret->read_only = mariadb_read_only(r, "read_only");
	ret->holds_lock = db_get_int(r, 0, "holds_lock", 0) == 1;
	int e = read_positions(r, &ret->position);
	if (e < 0)
		return e;
	if (log && log->rows) {
		dialect_copy(ret->position.file, sizeof(ret->position.file), log, 0, "File");
		ret->position.pos = (uint64_t)db_get_int(log, 0, "Position", 0);
	}
	return 0;
}
