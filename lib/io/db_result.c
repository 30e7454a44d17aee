/* db_result: what a query answered, looked at by column name. Pure. */
#include <stdlib.h>

#include "lib/base/str.h"
#include "lib/io/db.h"

const char *db_get(const struct db_result *r, int row, const char *column)
{
	if (!r || row < 0 || row >= r->rows)
		return NULL;
	for (int c = 0; c < r->cols; c++) {
		if (str_ieq(r->names[c], column))
			return r->cells[(size_t)row * (size_t)r->cols + (size_t)c];
	}
	return NULL;
}

int64_t db_get_int(const struct db_result *r, int row, const char *column, int64_t otherwise)
{
	const char *s = db_get(r, row, column);
	int64_t value;

	if (!s || str_parse_int(s, INT64_MIN, INT64_MAX, &value) < 0)
		return otherwise;
	return value;
}

void db_result_free(struct db_result *r)
{
	while (r) {
		struct db_result *next = r->next;
		for (int c = 0; r->names && c < r->cols; c++)
			free(r->names[c]);
		for (size_t i = 0; r->cells && i < (size_t)r->rows * (size_t)r->cols; i++)
			free(r->cells[i]);
		free(r->names);
		free(r->cells);
		free(r);
		r = next;
	}
}
