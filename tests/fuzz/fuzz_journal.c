/*
 * Fuzz target: the journal's contents, as they come out of the database, read back by a later life. The first
 * line is the flip (from, to, state, document), each other line a record (kind, step, data), parted by tabs.
 * Whatever they are: the flip loads or is refused with a reason; the phase is that of the records, so that no
 * opening is permitted without an intent that lives; damage leaves the flip to an operator.
 */
#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/str.h"
#include "lib/flip/flip_priv.h"
#include "lib/model/recover.h"
#include "lib/store/journal_priv.h"

#define RECORDS_MAX 80

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct cluster *cluster;
static struct journal_flip row;
static struct journal_record records[RECORDS_MAX];
static int nrecords;

/* --- in the place of the lane and the database --- */

int __wrap_journal_call(
	struct journal *j, int (*fn)(struct journal *, void *, struct err *), void *arg, struct err *err);
int __wrap_journal_sql_flips(struct journal_sql *s, enum journal_query q, const char *name, int limit,
	struct arena *a, struct journal_flip **ret, int *ret_n, struct err *err);
int __wrap_journal_sql_records(struct journal_sql *s, const char *id, struct arena *a,
	struct journal_record **ret, int *ret_n, struct err *err);

int __wrap_journal_call(
	struct journal *j, int (*fn)(struct journal *, void *, struct err *), void *arg, struct err *err)
{
	return fn(j, arg, err);
}

int __wrap_journal_sql_flips(struct journal_sql *s, enum journal_query q, const char *name, int limit,
	struct arena *a, struct journal_flip **ret, int *ret_n, struct err *err)
{
	(void)s, (void)name, (void)limit, (void)a, (void)err;
	assert(q == JOURNAL_ONE);
	*ret = &row;
	*ret_n = 1;
	return 0;
}

int __wrap_journal_sql_records(struct journal_sql *s, const char *id, struct arena *a,
	struct journal_record **ret, int *ret_n, struct err *err)
{
	(void)s, (void)id, (void)a, (void)err;
	*ret = records;
	*ret_n = nrecords;
	return 0;
}

/* --- the text --- */

/* The next field of *s, ended by one of the bytes given; NULL at the end. */
static char *field(char **s, const char *ends)
{
	char *at = *s;

	if (!at)
		return NULL;
	*s = strpbrk(at, ends);
	if (*s)
		*(*s)++ = '\0';
	return at;
}

static void read_text(char *text)
{
	char *line = field(&text, "\n");

	row = (struct journal_flip){
		.id = "20260101-000000.000-1", .cluster = "c", .started_at_ms = INT64_MAX / 4};
	row.from = field(&line, "\t");
	row.to = field(&line, "\t");
	row.state = field(&line, "\t");
	row.document = line;
	for (nrecords = 0; nrecords < RECORDS_MAX && (line = field(&text, "\n")); nrecords++) {
		struct journal_record *r = &records[nrecords];
		*r = (struct journal_record){
			.flip_id = row.id, .seq = nrecords + 1, .at_ms = 1000 + nrecords};
		r->kind = field(&line, "\t");
		r->step = field(&line, "\t");
		r->data = line;
	}
}

/* --- what must hold --- */

/* The phase by the kinds alone, the way the protocol defines it. */
static enum recover_phase phase_due(void)
{
	bool fence = false, lives = false, opened = false;

	for (int i = 0; i < nrecords; i++) {
		const char *kind = records[i].kind;
		if (str_eq(kind, "fence"))
			fence = true;
		else if (str_eq(kind, "intent"))
			lives = true;
		else if (str_eq(kind, "revoke")) {
			fence = fence || lives;
			lives = opened = false;
		} else if (str_eq(kind, "opened"))
			opened = lives;
	}
	return opened  ? RECOVER_OPENED
	       : lives ? RECOVER_INTENT
	       : fence ? RECOVER_FENCED
		       : RECOVER_BEFORE_FENCE;
}

static bool opens_new(enum recover_action a)
{
	return a == RECOVER_DO_FORWARD || a == RECOVER_DO_SERVE_STUCK;
}

static bool opens_old(enum recover_action a)
{
	return a == RECOVER_DO_ROLL_BACK || a == RECOVER_DO_ROLL_BACK_BLIND || a == RECOVER_DO_OPEN_OLD_LOSS;
}

/* Over all that the servers can show, without an operator's word. */
static void check_decisions(enum recover_phase phase)
{
	for (unsigned i = 0; i < 1 << 9; i++) {
		struct recover_input in = {.phase = phase,
			.old_side = {.up = i & 1, .writable = i & 2, .beyond = i & 4},
			.new_side = {.up = i & 8, .writable = i & 16, .beyond = i & 32},
			.row_written = i & 64,
			.position_reachable = i & 128,
			.position_reached = i & 128,
			.settle_over = i & 256};
		struct recover_decision d;
		recover_decide(&in, &d);
		if (opens_new(d.action))
			assert(phase == RECOVER_INTENT || phase == RECOVER_OPENED);
		if (opens_old(d.action))
			assert(phase == RECOVER_FENCED);
	}
}

static void check_flip(struct flip *f)
{
	struct err err = {0};
	struct wire *doc = flip_document(f, true), *again = NULL;
	char *text = wire_dump(doc, 0);
	enum recover_phase phase = jn_phase(f);

	assert(f->from != f->to && flip_get_state(f) != FLIP_ENDED);
	assert(phase == phase_due());
	check_decisions(phase);
	/* It waits for an operator, and says why; or it was stuck before; or nothing is wrong with it. */
	if (f->error.code)
		assert(flip_get_state(f) == FLIP_STUCK && f->error.message[0] && f->error.hint[0]);
	for (int i = 0; i < nrecords; i++)
		if (!records[i].data || records[i].data[strspn(records[i].data, " \t\r")] != '{')
			assert(flip_get_state(f) == FLIP_STUCK && f->error.code == -EBADMSG);
	if (wire_parse(text, strlen(text), &again, &err) < 0)
		abort();
	wire_free(again);
	wire_free(doc);
	free(text);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	static const char yaml[] =
		"clusters:\n  c:\n    user: u\n    password: p\n    replication: {user: r, password: p}\n"
		"    source: {host: 10.0.0.1}\n    target: {host: 10.0.0.2}\n"
		"    replicas: [{name: r1, host: 10.0.0.3}]\n"
		"    endpoints:\n      - hook: {path: /bin/true}\n";
	struct conf_errors errors;
	struct err err = {0};
	struct conf *conf;
	(void)argc, (void)argv;

	if (conf_load_text(yaml, sizeof(yaml) - 1, "fuzz", &conf, &errors) < 0) {
		(void)fprintf(stderr, "%s\n", errors.v[0]);
		abort();
	}
	if (cluster_new(conf, &conf->clusters[0], &cluster, &err) < 0)
		abort();
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = calloc(size + 1, 1);
	static struct journal journal;
	struct err err = {0};
	struct flip *f = NULL;

	memcpy(text, data, size);
	read_text(text);
	int r = flip_load(cluster, &journal, row.id, "fuzz", &f, &err);
	assert(r == 0 || (r == -EBADMSG && err.message[0]));
	if (r == 0)
		check_flip(f);
	flip_free(f);
	free(text);
	return 0;
}
