/*
 * verify: the policy `verify: counts | checksum`, while both sides are closed and new has old's final
 * position: rows counted in every table, or the listed tables' checksums, side by side on both servers. That
 * the accounts may read the tables is proven before the fence.
 */
#include <errno.h>

#include "lib/base/clock.h"
#include "lib/flip/flip_priv.h"

#define TABLE_LIMIT_MS 60000

static int MAY_WAIT verify_tables(
	struct flip *f, struct arena *a, const char ***ret, int *ret_n, struct err *err)
{
	const struct conf_list *l = &f->policy.verify_tables;

	if (f->policy.verify != CONF_VERIFY_CHECKSUM)
		return flip_rc(node_list_tables(
				       f->old_side.act, a, flip_deadline(ROUND_TRIP_MS * 5), ret, ret_n, err),
			err);
	*ret = l->v;
	*ret_n = l->n;
	return 0;
}

int MAY_WAIT verify_prepare(struct flip *f, struct err *err)
{
	struct arena *a CLEANUP(arena_freep) = arena_new();
	struct flip_side *sides[] = {&f->old_side, &f->new_side};
	const char **tables = NULL;
	int n = 0, rc;

	if (f->policy.verify == CONF_VERIFY_NONE)
		return 0;
	rc = verify_tables(f, a, &tables, &n, err);
	if (rc == 0 && n == 0) { /* the server shows an account only the tables that it has a right to */
		err_hint(err,
			"GRANT SELECT ON the schemas to be compared to flipd's account, or set verify: none");
		return err_set(err, -ENOENT, "verify: flipd's account sees no table on %s",
			f->old_side.server->conf->name);
	}
	for (int s = 0; s < 2 && rc == 0; s++) {
		for (int i = 0; i < n && rc == 0; i++)
			rc = flip_rc(node_table_readable(
					     sides[s]->act, tables[i], flip_deadline(ROUND_TRIP_MS), err),
				err);
		if (rc < 0)
			err_hint(err, "verify needs GRANT SELECT on the tables it reads, on both sides, for "
				      "flipd's account");
	}
	return rc;
}

struct reader {
	struct flip *f;
	struct session *s;
	const char *table;
	int64_t limit_ms;
	uint64_t value;
	enum act act;
	struct err err;
};

static void reader_fiber(void *arg)
{
	struct reader *r = arg;

	r->act = node_table_value(r->s, r->table, r->f->policy.verify == CONF_VERIFY_CHECKSUM, r->limit_ms,
		flip_deadline(r->limit_ms + 1000), &r->value, &r->err);
}

static int MAY_WAIT compare_one(struct flip *f, const char *table, int64_t limit_ms, struct err *err)
{
	struct reader r[2] = {{.f = f, .s = f->old_side.act, .table = table, .limit_ms = limit_ms},
		{.f = f, .s = f->new_side.act, .table = table, .limit_ms = limit_ms}};
	struct fiber *fibers[2];

	for (int i = 0; i < 2; i++)
		fibers[i] = fiber_spawn("verify", reader_fiber, &r[i]);
	bool cancelled = fiber_join_or_cancel(fibers[0]) < 0;
	if (cancelled)
		fiber_cancel(fibers[1]);
	if (fiber_join_or_cancel(fibers[1]) < 0 || cancelled)
		return -ECANCELED;
	for (int i = 0; i < 2; i++)
		if (r[i].act != ACT_DONE) {
			*err = r[i].err;
			return flip_rc(r[i].act, &r[i].err);
		}
	if (r[0].value == r[1].value)
		return 0;
	err_hint(err, "the sides have diverged before this flip: compare the table on both, mend it, then "
		      "flip again");
	return err_set(err, -EIO, "%s differs: %llu on %s, %llu on %s", table, (unsigned long long)r[0].value,
		f->old_side.server->conf->name, (unsigned long long)r[1].value,
		f->new_side.server->conf->name);
}

int MAY_WAIT verify_time(struct flip *f, int *ret_tables, int64_t *ret_us, struct err *err)
{
	struct arena *a CLEANUP(arena_freep) = arena_new();
	int64_t begun_us = clock_us();
	const char **tables = NULL;
	int n = 0, rc;

	if (f->policy.verify == CONF_VERIFY_NONE)
		return 0;
	rc = verify_tables(f, a, &tables, &n, err);
	for (int i = 0; i < n && rc == 0; i++) {
		int64_t left = f->policy.max_blackout_ms - (clock_us() - begun_us) / 1000;
		struct reader r = {.f = f, .s = f->new_side.act, .table = tables[i], .limit_ms = left};

		if (left <= 0) {
			err_hint(err, "raise max_blackout, or let verify read less");
			return err_set(err, -ETIME, "verify reads for longer than max_blackout");
		}
		reader_fiber(&r);
		*err = r.err;
		rc = flip_rc(r.act, &r.err);
	}
	*ret_tables = n;
	*ret_us = clock_us() - begun_us;
	return rc;
}

int MAY_WAIT verify_compare(struct flip *f, struct err *err)
{
	struct arena *a CLEANUP(arena_freep) = arena_new();
	const char **tables = NULL;
	int n = 0, rc;

	if (f->policy.verify == CONF_VERIFY_NONE)
		return 0;
	rc = sess_open(f, &f->old_side, SESSION_ACT, flip_deadline(ROUND_TRIP_MS), err); /* after a resume */
	if (rc == 0)
		rc = verify_tables(f, a, &tables, &n, err);
	for (int i = 0; i < n && rc == 0; i++) {
		int64_t left = f->policy.max_blackout_ms - (clock_us() - f->fence_us) / 1000;
		if (fiber_cancelled() || left <= 0)
			return -ECANCELED;
		rc = compare_one(f, tables[i], left < TABLE_LIMIT_MS ? left : TABLE_LIMIT_MS, err);
	}
	if (rc == 0)
		flip_step_detail(f, "verify", "%d tables are the same on both sides", n);
	return rc;
}
