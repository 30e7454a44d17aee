/* test_table: what must hold of the step table: each rule broken once, by name; and how it is printed. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "lib/flip/flip.h"

#define ROWS_MAX 32

static struct step table[ROWS_MAX];

static struct step *row(const char *name)
{
	for (int i = 0; i < steps_count; i++)
		if (!strcmp(table[i].name, name))
			return &table[i];
	fail_msg("no step is called %s", name);
	return NULL;
}

static void fresh(void)
{
	assert_true(steps_count <= ROWS_MAX);
	memcpy(table, steps, sizeof(*steps) * (size_t)steps_count);
}

static void refused(const char *why)
{
	struct err err = {0};

	assert_int_equal(steps_check(table, steps_count, &err), -EINVAL);
	assert_string_equal(err.message, why);
	fresh();
}

static void test_rules(void **state)
{
	struct err err = {0};

	(void)state;
	assert_int_equal(steps_check(steps, steps_count, &err), 0);
	fresh();
	row("flush")->name = "lock";
	refused("step lock: the name stands twice");
	row("flush")->run = NULL;
	refused("step flush: no run");
	row("fence")->undo = NULL;
	refused("step fence changes the world before the pivot without undo and undone");
	row("fence")->undone = NULL;
	refused("step fence changes the world before the pivot without undo and undone");
	row("sync")->changes = true;
	row("sync")->undo = row("sync")->undone = row("fence")->undo;
	refused("step sync: `either` is for rows that change nothing");
	row("finish")->kind = BACK;
	row("finish")->changes = false;
	refused("step finish: BACK after the pivot");
	row("drain")->kind = FORWARD;
	refused("step drain: FORWARD before the pivot");
	row("kill")->early = "nowhere";
	refused("step kill: early names no row before it");
	row("kill")->early = "open";
	refused("step kill: early names no row before it");
	row("detach")->early = "fence";
	refused("step detach: early crosses the pivot");
	row("open")->kind = PIVOT;
	refused("step open: a second PIVOT");
	row("intent")->kind = FORWARD;
	refused("no step is the PIVOT");
}

static void test_print(void **state)
{
	char *text = steps_print(false), *at = text;

	(void)state;
	for (int i = 0; i < steps_count; i++) { /* a line each, in order */
		at = strchr(at, '\n') + 1;
		assert_int_equal(strncmp(at, steps[i].name, strlen(steps[i].name)), 0);
		assert_non_null(strstr(at, steps[i].does));
	}
	assert_non_null(
		strstr(text, "\nkill         old       back     early: fence        kills every session"));
	assert_non_null(strstr(text, "\nendpoints    -         back     early: coordinates  switches"));
	assert_non_null(strstr(text, "\nintent       -         pivot    -                   makes durable"));
	assert_non_null(strstr(text, "\nsync         new       either   -"));
	assert_non_null(strstr(text, "\nrepoint      replicas  forward  late"));
	assert_non_null(strstr(text, "\npropagate    -         forward  early: detach, late switches"));
	free(text);
}

static void test_dot(void **state)
{
	char *text = steps_print(true);

	(void)state;
	assert_int_equal(strncmp(text, "digraph flip {\n", 15), 0);
	assert_non_null(
		strstr(text, "\tintent [label=\"intent\\npivot\", style=bold];\n\tendpoints -> intent;\n"));
	assert_non_null(strstr(text, "\tfence -> kill [style=dashed, label=early];\n"));
	assert_non_null(strstr(text, "\tpropagate -> finish [style=dashed, label=late];\n"));
	assert_string_equal(text + strlen(text) - 3, "\n}\n");
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rules),
		cmocka_unit_test(test_print),
		cmocka_unit_test(test_dot),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
