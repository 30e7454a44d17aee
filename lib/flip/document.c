/* document: a flip as JSON (INTERFACES.md, section 3): one shape for status, show, events and the journal. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/base/str.h"
#include "lib/flip/flip_priv.h"

static void set_time(struct wire *o, const char *key, int64_t wall_ms)
{
	char buf[40];

	wire_set_str(o, key, wall_ms ? clock_format_rfc3339(wall_ms, buf, sizeof(buf)) : NULL);
}

static void set_ms(struct wire *o, const char *key, int64_t us)
{
	if (us < 0)
		wire_set_null(o, key);
	else
		wire_set_real(o, key, (double)us / 1000.0);
}

static struct wire *step_wire(const struct flip *f, int row)
{
	static const char *const words[] = {[STEP_PENDING] = "pending",
		[STEP_RUNNING] = "running",
		[STEP_DONE] = "done",
		[STEP_WAS_SKIPPED] = "skipped",
		[STEP_FAILED] = "failed",
		[STEP_UNKNOWN] = "unknown",
		[STEP_UNDONE] = "undone"};
	const struct step_state *st = &f->st[row];
	struct wire *o = wire_object();

	wire_set_str(o, "name", steps[row].name);
	wire_set_str(o, "state", words[st->status]);
	set_time(o, "started_at", st->started_wall_ms);
	set_ms(o, "duration_ms", st->duration_us);
	wire_set_str(o, "detail", st->detail[0] ? st->detail : NULL);
	return o;
}

void flip_emit_kept(struct flip *f)
{
	f->hush = false;
	for (int k = 0; k < f->norder; k++) {
		int row = f->order[k];

		if (f->st[row].unsaid)
			flip_emit_step(f, row);
	}
}

/* Telling clients and the log costs processor time: in the blackout it is put off, but for no longer than
 * people can see. */
void flip_emit_step(struct flip *f, int row)
{
	struct wire *o;

	f->st[row].unsaid = f->hush;
	if (f->hush)
		return;
	o = step_wire(f, row);

	wire_set_str(o, "does", steps[row].does);
	flip_emit(f, "step", o);
}

int64_t flip_blackout_us(const struct flip *f)
{
	if (!f->recovered && f->opened_us && f->fence_us && f->opened_us >= f->fence_us)
		return f->opened_us - f->fence_us;
	if (f->opened_wall_ms && f->fence_wall_ms &&
		f->opened_wall_ms >= f->fence_wall_ms) /* over a restart */
		return (f->opened_wall_ms - f->fence_wall_ms) * 1000;
	return -1;
}

static void set_killed(const struct flip *f, struct wire *doc)
{
	struct wire *a = wire_set_array(doc, "killed");

	for (int i = 0; i < f->nvictims; i++) {
		const struct victim *v = &f->victims[i];
		struct wire *o = wire_add_object(a);
		wire_set_str(o, "server", v->server);
		wire_set_strf(o, "id", "%ju", (uintmax_t)v->id); /* as all ids */
		wire_set_str(o, "user", v->user);
		wire_set_str(o, "host", v->host);
		wire_set_str(o, "db", v->db[0] ? v->db : NULL);
		wire_set_int(o, "age_ms", v->age_ms);
		wire_set_str(o, "digest", v->digest[0] ? v->digest : NULL);
	}
}

static void set_attempts(const struct flip *f, struct wire *doc)
{
	struct wire *a = wire_set_array(doc, "attempts");

	for (int i = 0; i < f->nattempts; i++) {
		struct wire *o = wire_add_object(a);
		set_time(o, "at", f->attempts[i].at_wall_ms);
		set_ms(o, "blackout_ms", f->attempts[i].blackout_us);
		wire_set_str(o, "blockers", f->attempts[i].blockers[0] ? f->attempts[i].blockers : NULL);
	}
}

static void set_endpoints(const struct flip *f, struct wire *doc)
{
	static const char *const words[] = {[EP_PENDING] = "pending",
		[EP_SWITCHED] = "switched",
		[EP_REVERTED] = "reverted",
		[EP_FAILED] = "failed"};
	struct wire *a = wire_set_array(doc, "endpoints");

	for (int i = 0; i < f->conf->nendpoints; i++) {
		const struct conf_endpoint *e = &f->conf->endpoints[i];
		struct wire *o = wire_add_object(a);
		wire_set_str(o, "name", e->label);
		wire_set_str(
			o, "type", f->cluster->endpoint_ops[i] ? f->cluster->endpoint_ops[i]->type : NULL);
		wire_set_str(
			o, "from", e->value[f->from].n ? e->value[f->from].v[0] : conf_side_name(f->from));
		wire_set_str(o, "to", e->value[f->to].n ? e->value[f->to].v[0] : conf_side_name(f->to));
		wire_set_str(o, "state", words[f->ends[i].state]);
	}
}

static void set_position_text(struct wire *o, const char *key, bool has, const struct facts_position *p)
{
	char gtid[1024];

	if (has)
		wire_set_strf(o, key, "%s:%llu %s", p->file, (unsigned long long)p->pos,
			gtid_format(&p->binlog_pos, gtid, sizeof(gtid)));
	else
		wire_set_null(o, key);
}

static void set_probe(const struct flip *f, struct wire *doc)
{
	const struct probe_result *r = &f->probe_result;
	struct wire *o;

	if (!f->has_probe_result) {
		wire_set_null(doc, "probe");
		return;
	}
	o = wire_set_object(doc, "probe");
	wire_set_str(o, "via", r->via);
	wire_set_real(o, "interval_ms", r->interval_ms);
	wire_set_int(o, "writes", r->writes);
	wire_set_int(o, "refused", r->refused);
	set_time(o, "last_old_at", r->last_old_at_ms);
	set_time(o, "first_new_at", r->first_new_at_ms);
	set_ms(o, "blackout_ms", r->first_new_us && r->last_old_us ? r->first_new_us - r->last_old_us : -1);
}

static void set_error(const struct flip *f, struct wire *doc)
{
	bool shown = f->error.code && f->outcome != FLIP_DONE && f->outcome != FLIP_NOTHING_TO_DO;
	struct wire *o;

	if (!shown) {
		wire_set_null(doc, "error");
		return;
	}
	o = wire_set_object(doc, "error");
	wire_set_str(o, "step", f->error_step[0] ? f->error_step : NULL);
	wire_set_str(o, "server", f->error.server[0] ? f->error.server : NULL);
	wire_set_str(o, "message", f->error.message);
	wire_set_str(o, "hint", f->error.hint[0] ? f->error.hint : NULL);
}

static void set_head(const struct flip *f, struct wire *doc)
{
	struct wire *by;

	wire_set_str(doc, "id", f->id[0] ? f->id : NULL);
	wire_set_str(doc, "cluster", f->conf->name);
	wire_set_str(doc, "group", f->request.group);
	wire_set_bool(doc, "rehearsal", f->request.rehearsal);
	wire_set_str(doc, "from", conf_side_name(f->from));
	wire_set_str(doc, "to", conf_side_name(f->to));
	wire_set_str(doc, "state", flip_state_name(f->state));
	wire_set_str(doc, "outcome", flip_outcome_name(f->outcome));
	set_time(doc, "started_at", f->started_wall_ms);
	set_time(doc, "ended_at", f->ended_wall_ms);
	set_ms(doc, "blackout_ms", flip_blackout_us(f));
	set_ms(doc, "predicted_blackout_ms", f->predicted_us);
	by = wire_set_object(doc, "requested_by");
	wire_set_str(by, "user", f->request.user[0] ? f->request.user : NULL);
	wire_set_int(by, "uid", f->request.uid);
	wire_set_int(by, "pid", f->request.pid);
	struct wire *w = wire_set_array(doc, "warnings");
	for (int i = 0; i < f->nwarnings; i++)
		wire_add_str(w, f->warnings[i]);
}

/* What an earlier life of this flip said is said on: what went wrong, what to do, the warnings. */
void flip_read_past(struct flip *f)
{
	const struct wire *error = wire_get(f->past, "error"), *list = wire_get(f->past, "warnings");
	const char *text = wire_get_str(error, "message"), *step = wire_get_str(error, "step");

	for (size_t i = 0; i < wire_len(list); i++)
		if (wire_str(wire_at(list, i)))
			flip_warn(f, "%s", wire_str(wire_at(list, i)));
	if (text)
		err_set(&f->error, -EIO, "%s", text);
	if (wire_get_str(error, "server"))
		err_server(&f->error, wire_get_str(error, "server"));
	if (wire_get_str(error, "hint"))
		err_hint(&f->error, "%s", wire_get_str(error, "hint"));
	str_copy(f->error_step, sizeof(f->error_step), step ? step : "");
}

/* What only an earlier life of this flip saw is taken over from the document that it saved last. */
static void set_from_past(const struct flip *f, struct wire *doc, const char *key)
{
	if (f->past && wire_len(wire_get(doc, key)) == 0 && wire_len(wire_get(f->past, key)) > 0)
		wire_set(doc, key, wire_copy(wire_get(f->past, key)));
}

struct wire *flip_document(const struct flip *f, bool whole)
{
	struct wire *doc = wire_object(), *a, *pos;

	set_head(f, doc);
	a = wire_set_array(doc, "steps");
	for (int i = 0; whole && i < steps_count; i++)
		wire_add(a, step_wire(f, i));
	wire_set(doc, "checks", whole && f->preflight.n ? preflight_wire(&f->preflight) : wire_array());
	set_killed(f, doc);
	set_attempts(f, doc);
	set_endpoints(f, doc);
	pos = wire_set_object(doc, "position");
	set_position_text(pos, "final", f->has_final, &f->final);
	set_position_text(pos, "way_back", f->has_baseline, &f->baseline);
	set_probe(f, doc);
	set_error(f, doc);
	if (whole)
		set_from_past(f, doc, "checks");
	set_from_past(f, doc, "killed");
	set_from_past(f, doc, "attempts");
	set_from_past(f, doc, "probe");
	return doc;
}
