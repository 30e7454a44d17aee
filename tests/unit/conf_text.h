/* conf_text: a configuration from a text that is right. */
#ifndef TESTS_UNIT_CONF_TEXT_H
#define TESTS_UNIT_CONF_TEXT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "lib/model/conf.h"

#define ACCOUNTS "defaults: {user: flipd, password: own, replication: {user: repl, password: rp}}\n"
#define SIDES "source: {host: a}, target: {host: b}"

/* The result of a conf_load_*() that found nothing to say; the test fails with what it said otherwise. */
static inline struct conf *loaded(int r, struct conf *conf, struct conf_errors *errors)
{
	if (r < 0)
		fail_msg("%s", errors->v[0]);
	assert_int_equal(errors->n, 0);
	conf_errors_free(errors);
	return conf;
}

static inline struct conf *load(const char *text)
{
	struct conf_errors errors;
	struct conf *conf = NULL;
	int r = conf_load_text(text, strlen(text), "t.yaml", &conf, &errors);

	return loaded(r, conf, &errors);
}

#endif
