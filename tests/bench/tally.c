/*
 * tally: see tally.h.
 *
 * The master has changed when a server other than the current one acknowledges a write that was *issued*
 * after the current one's first acknowledgement. An acknowledgement of the old master that was merely read
 * late (its write was issued before) is no change, only counted. So a lawful flip is one change, and two
 * sides open at once show as a flutter of changes.
 */
#include "tests/bench/tally.h"

#include <assert.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

enum { ERRORS_MAX = 32, SERVERS_MAX = 8, CHANGES_MAX = 4096 };

struct change {
	int from, to;
	int64_t last_old_us, first_new_us, first_new_issued_us;
};

struct count {
	unsigned key;
	int64_t n;
};

struct tally {
	pthread_mutex_t mutex;
	int writers, begun, nchanges, current;
	int64_t current_first_us, last_us, first_us, gap_us, late;
	int64_t acked, refused, unknown, unconnected;
	int64_t *writer_last_us, writer_gap_us;
	struct count errors[ERRORS_MAX], servers[SERVERS_MAX];
	struct change changes[CHANGES_MAX];
};

struct tally *tally_new(int writers)
{
	struct tally *t = calloc(1, sizeof(*t));

	assert(t);
	t->writers = writers;
	t->writer_last_us = calloc((size_t)writers, sizeof(int64_t));
	assert(t->writer_last_us);
	pthread_mutex_init(&t->mutex, NULL);
	return t;
}

void tally_free(struct tally *t)
{
	if (!t)
		return;
	pthread_mutex_destroy(&t->mutex);
	free(t->writer_last_us);
	free(t);
}

static void count_add(struct count *counts, int max, unsigned key, int64_t n)
{
	for (int i = 0; i < max; i++)
		if (counts[i].n == 0 || counts[i].key == key) {
			counts[i].key = key;
			counts[i].n += n;
			return;
		}
}

static int64_t max64(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

static void see_server(struct tally *t, int server, int64_t began_us, int64_t ended_us)
{
	if (server == t->current)
		return;
	if (t->current && began_us <= t->current_first_us) {
		t->late++;
		return;
	}
	if (t->current && t->nchanges < CHANGES_MAX)
		t->changes[t->nchanges++] = (struct change){.from = t->current,
			.to = server,
			.last_old_us = t->last_us,
			.first_new_us = ended_us,
			.first_new_issued_us = began_us};
	t->current = server;
	t->current_first_us = ended_us;
}

static void see_gaps(struct tally *t, int writer, int64_t ended_us)
{
	int64_t *mine = &t->writer_last_us[writer];

	if (!t->first_us)
		t->first_us = ended_us;
	else
		t->gap_us = max64(t->gap_us, ended_us - t->last_us);
	if (!*mine)
		t->begun++;
	else
		t->writer_gap_us = max64(t->writer_gap_us, ended_us - *mine);
	*mine = ended_us;
}

void tally_acked(struct tally *t, int writer, int server, int64_t began_us, int64_t ended_us, int n)
{
	pthread_mutex_lock(&t->mutex);
	see_server(t, server, began_us, ended_us);
	see_gaps(t, writer, ended_us);
	t->last_us = max64(t->last_us, ended_us);
	t->acked += n;
	count_add(t->servers, SERVERS_MAX, (unsigned)server, n);
	pthread_mutex_unlock(&t->mutex);
}

static void count_failure(struct tally *t, int64_t *which, unsigned err, int n)
{
	pthread_mutex_lock(&t->mutex);
	*which += n;
	count_add(t->errors, ERRORS_MAX, err, 1);
	pthread_mutex_unlock(&t->mutex);
}

void tally_refused(struct tally *t, unsigned err, int n)
{
	count_failure(t, &t->refused, err, n);
}

void tally_unknown(struct tally *t, unsigned err, int n)
{
	count_failure(t, &t->unknown, err, n);
}

void tally_unconnected(struct tally *t, unsigned err)
{
	count_failure(t, &t->unconnected, err, 1);
}

int tally_begun(struct tally *t)
{
	int n;

	pthread_mutex_lock(&t->mutex);
	n = t->begun;
	pthread_mutex_unlock(&t->mutex);
	return n;
}

static void print_counts(FILE *out, const char *name, const struct count *counts, int max)
{
	fprintf(out, ",\"%s\":{", name);
	for (int i = 0; i < max && counts[i].n; i++)
		fprintf(out, "%s\"%u\":%lld", i ? "," : "", counts[i].key, (long long)counts[i].n);
	fprintf(out, "}");
}

static void print_changes(FILE *out, const struct tally *t)
{
	fprintf(out, ",\"changes\":[");
	for (int i = 0; i < t->nchanges; i++) {
		const struct change *c = &t->changes[i];

		fprintf(out,
			"%s{\"from\":%d,\"to\":%d,\"last_old_us\":%lld,\"first_new_us\":%lld,"
			"\"first_new_issued_us\":%lld,\"gap_ms\":%.3f}",
			i ? "," : "", c->from, c->to, (long long)c->last_old_us, (long long)c->first_new_us,
			(long long)c->first_new_issued_us, (double)(c->first_new_us - c->last_old_us) / 1000);
	}
	fprintf(out, "]");
}

void tally_print(struct tally *t, FILE *out)
{
	pthread_mutex_lock(&t->mutex);
	fprintf(out,
		"{\"acked\":%lld,\"refused\":%lld,\"lost\":%lld,\"unconnected\":%lld,\"first_us\":%lld,"
		"\"last_us\":%lld,"
		"\"longest_gap_ms\":%.3f,\"writer_longest_gap_ms\":%.3f,\"late_acks\":%lld,\"writers\":%d",
		(long long)t->acked, (long long)t->refused, (long long)t->unknown, (long long)t->unconnected,
		(long long)t->first_us, (long long)t->last_us, (double)t->gap_us / 1000,
		(double)t->writer_gap_us / 1000, (long long)t->late, t->writers);
	print_counts(out, "errors", t->errors, ERRORS_MAX);
	print_counts(out, "servers", t->servers, SERVERS_MAX);
	print_changes(out, t);
	fprintf(out, "}\n");
	pthread_mutex_unlock(&t->mutex);
}
