/* Fuzz target: JSON texts. What parses dumps, compact and indented, to texts that parse to an equal value. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lib/model/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The text of v, parsed and dumped once more: reals lose digits in the first dump only. */
static void check(const struct wire *v, int indent)
{
	struct wire *again = NULL;
	char *text = wire_dump(v, indent), *second;

	if (wire_parse(text, strlen(text), &again, NULL) < 0)
		abort();
	second = wire_dump(again, indent);
	assert(strlen(text) > 4096 || strcmp(text, second) == 0);
	free(text);
	free(second);
	wire_free(again);
}

/* Any bytes become a string that a document can carry. */
static void check_string(const uint8_t *data, size_t size)
{
	struct wire *o = wire_object();
	char *s = calloc(size + 1, 1);

	memcpy(s, data, size);
	wire_set_str(o, "s", s);
	wire_set_null(o, s);
	check(o, 0);
	free(s);
	wire_free(o);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct wire *v = NULL;

	check_string(data, size);
	if (wire_parse((const char *)data, size, &v, NULL) < 0)
		return 0;
	check(v, 0);
	check(v, 2);
	for (size_t i = 0; i < wire_len(v); i++)
		(void)wire_type(wire_at(v, i));
	wire_free(v);
	return 0;
}
