/*
 * journal_read: flips and records out of the journal. The lane reads into an arena of its own; here, on the
 * loop's thread, everything is copied into the caller's and made safe: texts are valid UTF-8 and never NULL
 * where the header does not say so, data is a JSON object. What is damaged is shown as far as it can be, and
 * brings nothing down.
 */
#include <errno.h>
#include <string.h>

#include "lib/base/str.h"
#include "lib/model/wire.h"
#include "lib/io/fiber.h"
#include "lib/store/journal_priv.h"

#define YIELD_BYTES ((size_t)256 << 10)

struct reading {
	enum journal_query query;
	const char *name;
	int limit;
	bool with_records;
	struct arena *arena;
	struct journal_flip *flips;
	struct journal_record *records;
	int flip_n, record_n;
};

static int read_on_lane(struct journal *j, void *arg, struct err *err)
{
	struct reading *q = arg;
	int r = journal_sql_flips(j->sql, q->query, q->name, q->limit, q->arena, &q->flips, &q->flip_n, err);

	if (r == 0 && q->with_records)
		r = journal_sql_records(j->sql, q->name, q->arena, &q->records, &q->record_n, err);
	return r;
}

/* Bytes of no character become '?'. */
static const char *text(struct arena *a, const char *s)
{
	char *copy = arena_strdup(a, s ? s : "");

	if (str_utf8_valid(copy, strlen(copy)))
		return copy;
	for (char *p = copy; *p; p++) {
		if ((unsigned char)*p >= 0x80)
			*p = '?';
	}
	return copy;
}

static const char *text_or_null(struct arena *a, const char *s)
{
	return s ? text(a, s) : NULL;
}

/* {"damaged": what was there} when it is no JSON object. */
static const char *object(struct arena *a, const char *s)
{
	struct wire *v = NULL;
	bool good = s && wire_parse(s, strlen(s), &v, NULL) == 0 && wire_type(v) == WIRE_OBJECT;

	wire_free(v);
	if (good)
		return arena_strdup(a, s);
	struct wire *o = wire_object();
	wire_set_str(o, "damaged", s);
	char *dump = wire_dump(o, 0);
	const char *copy = arena_strdup(a, dump);
	str_free_secret(dump);
	wire_free(o);
	return copy;
}

static void copy_flip(struct arena *a, const struct journal_flip *from, struct journal_flip *to)
{
	*to = (struct journal_flip){.id = text(a, from->id),
		.cluster = text(a, from->cluster),
		.group = text_or_null(a, from->group),
		.from = text(a, from->from),
		.to = text(a, from->to),
		.state = text(a, from->state),
		.outcome = text_or_null(a, from->outcome),
		.started_at_ms = from->started_at_ms,
		.ended_at_ms = from->ended_at_ms,
		.config = text(a, from->config),
		.document = text_or_null(a, from->document),
		.rehearsal = from->rehearsal};
}

static void copy_record(struct arena *a, const struct journal_record *from, struct journal_record *to)
{
	*to = (struct journal_record){.flip_id = text(a, from->flip_id),
		.seq = from->seq,
		.at_ms = from->at_ms,
		.kind = text(a, from->kind),
		.step = text(a, from->step),
		.data = object(a, from->data)};
}

static int MAY_WAIT read_flips(struct journal *j, struct arena *a, enum journal_query query, const char *name,
	int limit, struct journal_flip **ret, int *ret_n, struct err *err)
{
	struct reading q = {.query = query, .name = name, .limit = limit, .arena = arena_new()};
	int r = journal_call(j, read_on_lane, &q, err);

	if (r == 0) {
		struct journal_flip *flips = arena_alloc(a, (size_t)q.flip_n * sizeof(*flips));
		size_t bytes = 0;
		for (int i = 0; i < q.flip_n; i++) {
			copy_flip(a, &q.flips[i], &flips[i]);
			bytes += strlen(flips[i].document ? flips[i].document : "") + strlen(flips[i].config);
			if (bytes < YIELD_BYTES)
				continue;
			bytes = 0;
			fiber_shield(); /* a cancel is kept for who asked */
			(void)fiber_yield();
			fiber_unshield();
		}
		*ret = flips;
		*ret_n = q.flip_n;
	}
	arena_free(q.arena);
	return r;
}

int journal_unfinished(
	struct journal *j, struct arena *a, struct journal_flip **ret, int *ret_n, struct err *err)
{
	return read_flips(j, a, JOURNAL_UNFINISHED, NULL, 0, ret, ret_n, err);
}

int journal_history(struct journal *j, struct arena *a, const char *cluster, int limit,
	struct journal_flip **ret, int *ret_n, struct err *err)
{
	return read_flips(
		j, a, cluster ? JOURNAL_HISTORY_OF : JOURNAL_HISTORY, cluster, limit, ret, ret_n, err);
}

int journal_past(struct journal *j, struct arena *a, const char *cluster, bool rehearsals, int limit,
	struct journal_flip **ret, int *ret_n, struct err *err)
{
	return read_flips(
		j, a, rehearsals ? JOURNAL_REHEARSALS : JOURNAL_FLIPS, cluster, limit, ret, ret_n, err);
}

int journal_moved(struct journal *j, struct arena *a, const char *cluster, int limit,
	struct journal_flip **ret, int *ret_n, struct err *err)
{
	return read_flips(j, a, JOURNAL_MOVED, cluster, limit, ret, ret_n, err);
}

int journal_load(struct journal *j, struct arena *a, const char *flip_id, struct journal_flip *ret_flip,
	struct journal_record **ret, int *ret_n, struct err *err)
{
	struct reading q = {
		.query = JOURNAL_ONE, .name = flip_id, .limit = 1, .with_records = ret, .arena = arena_new()};
	int r = journal_call(j, read_on_lane, &q, err);

	if (r == 0 && q.flip_n == 0)
		r = err_set(err, -ENOENT, "no flip %s in the journal", flip_id);
	if (r == 0)
		copy_flip(a, &q.flips[0], ret_flip);
	if (r == 0 && ret) {
		struct journal_record *records = arena_alloc(a, (size_t)q.record_n * sizeof(*records));
		for (int i = 0; i < q.record_n; i++)
			copy_record(a, &q.records[i], &records[i]);
		*ret = records;
		*ret_n = q.record_n;
	}
	arena_free(q.arena);
	return r;
}
