/* Fuzz target: gtid lists. What parses formats and parses again the same; the relations hold what they
 * promise. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lib/model/gtid.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_one(const struct gtid_list *l)
{
	struct gtid_list again;
	char buf[GTID_MAX * 44 + 1];

	for (int i = 1; i < l->n; i++)
		assert(l->v[i - 1].domain < l->v[i].domain ||
			(l->v[i - 1].domain == l->v[i].domain && l->v[i - 1].server < l->v[i].server));
	if (gtid_parse(gtid_format(l, buf, sizeof(buf)), &again) < 0)
		abort();
	assert(gtid_equal(l, &again));
	assert(gtid_reached(l, l));
	for (int i = 0; i < l->n; i++)
		assert(gtid_own_beyond(l, l, l->v[i].server, NULL) == 0);
}

static void check_two(const struct gtid_list *a, const struct gtid_list *b)
{
	struct gtid_list later, other;
	struct gtid first = {0};

	gtid_later(a, b, &later);
	gtid_later(&later, b, &other);
	if (later.n < GTID_MAX)
		assert(gtid_equal(&later, &other));
	for (int i = 0; i < a->n; i++) {
		uint64_t n = gtid_own_beyond(a, b, a->v[i].server, &first);

		assert((n > 0) == (first.seq > 0));
		first = (struct gtid){0};
	}
}

/* Two lists, parted by a '|'. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = calloc(size + 1, 1), *bar;
	struct gtid_list a, b = {0};

	memcpy(text, data, size);
	bar = strchr(text, '|');
	if (bar)
		*bar = '\0';
	if (gtid_parse(text, &a) == 0) {
		check_one(&a);
		if (bar && gtid_parse(bar + 1, &b) == 0) {
			check_one(&b);
			check_two(&a, &b);
			check_two(&b, &a);
		}
	}
	free(text);
	return 0;
}
