/*
 * Fuzz target: configurations. Whatever the text, loading ends; what loads prints, loads again from its
 * journal form, and prints there the same.
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lib/model/conf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_journal(const struct conf *conf, const struct conf_cluster *c)
{
	char *text = conf_print_cluster(c), *again;
	struct conf *back = NULL;
	struct err err = {0};

	if (conf_with_journaled_cluster(conf, text, &back, &err) < 0)
		abort();
	again = conf_print_cluster(&back->clusters[0]);
	assert(strcmp(text, again) == 0);
	free(text);
	free(again);
	conf_unref(back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct conf_errors errors;
	struct conf *conf = NULL;
	int r = conf_load_text((const char *)data, size, "fuzz", &conf, &errors);

	assert((r < 0) == (errors.n > 0));
	for (int i = 0; i < errors.n; i++)
		assert(!strchr(errors.v[i], '\n'));
	conf_errors_free(&errors);
	if (r < 0)
		return 0;
	free(conf_print(conf));
	for (int i = 0; i < conf->nclusters; i++)
		check_journal(conf, &conf->clusters[i]);
	conf_unref(conf);
	return 0;
}
