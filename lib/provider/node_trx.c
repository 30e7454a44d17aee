/*
 * node_trx: when INFORMATION_SCHEMA.INNODB_TRX is read. The server answers from a copy that it renews only
 * when nobody has read it for 100 ms (trx_i_s_possibly_fetch_data_into_cache): whoever asks more often gets
 * the same old transactions for ever, and sees them grow older (10.11.19: one of 2 ms seen as open for 31 s).
 * So flipd reads it no more often than that, and in between knows what it read last.
 */
#include <stdlib.h>

#include "lib/base/clock.h"
#include "lib/provider/node_priv.h"

#define RENEWED_AFTER_US 110000

bool node_trx_due(struct node *n)
{
	int64_t now = clock_us();

	if (n->trx.read_us && now - n->trx.read_us < RENEWED_AFTER_US)
		return false;
	n->trx.read_us = now;
	return true;
}

void node_trx_keep(struct node *n, const struct facts_session *list, int nlist)
{
	struct node_trx *t = &n->trx;

	t->read_us = clock_us();
	t->nopen = 0;
	for (int i = 0; i < nlist; i++) {
		if (list[i].trx_age_ms < 0)
			continue;
		if (t->nopen == t->cap) {
			t->cap = t->cap ? t->cap * 2 : 16;
			t->open = xrealloc(t->open, (size_t)t->cap * sizeof(*t->open));
		}
		t->open[t->nopen++] = (struct node_trx_open){
			.session = list[i].id, .rows = list[i].trx_rows, .age_ms = list[i].trx_age_ms};
	}
}

static void recall(const struct node_trx *t, struct facts_session *s)
{
	for (int i = 0; i < t->nopen; i++) {
		if (t->open[i].session != s->id)
			continue;
		s->trx_rows = t->open[i].rows;
		s->trx_age_ms = t->open[i].age_ms;
	}
}

void node_trx_recall(const struct node *n, struct facts_session *list, int nlist)
{
	for (int i = 0; i < nlist; i++)
		recall(&n->trx, &list[i]);
}

void node_trx_free(struct node *n)
{
	free(n->trx.open);
}
