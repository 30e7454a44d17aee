/*
 * fuzz_dns_answer: whatever a name server sends, the reader of answers refuses it or gives a sorted set of
 * values of the asked type. The first byte chooses the type that was asked for.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "lib/io/dns.h"
#include "lib/io/dns_update.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const types[] = {"CNAME", "A", "AAAA", "NS", "PTR"};
	static struct dns_answer a;
	struct err err = {0};
	char again[256];

	if (!size)
		return 0;
	const char *type = types[data[0] % COUNT_OF(types)];
	int r = dns_parse_answer(data + 1, size - 1, "db.example.test.", type, &a, &err);
	assert(r == 0 || (r == -EBADMSG && err.code == r && err.message[0]));
	if (r < 0)
		return 0;
	assert(a.nvalues >= 0 && a.nvalues <= DNS_VALUES_MAX && a.rcode >= 0);
	for (int i = 0; i < a.nvalues; i++) {
		assert(strlen(a.values[i]) > 0 && strlen(a.values[i]) < sizeof(a.values[i]));
		assert(!i || strcmp(a.values[i - 1], a.values[i]) < 0);
		assert(dns_canonical_value(type, a.values[i], again, sizeof(again), &err) == 0);
		assert(!strcmp(again, a.values[i]));
	}
	return 0;
}
