/* arena: zeroed, aligned, never overlapping, gone at once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "lib/base/arena.h"

static void test_alloc(void **state)
{
	struct arena *a = arena_new();
	unsigned char *p[500];
	(void)state;

	for (size_t i = 0; i < COUNT_OF(p); i++) {
		size_t size = i * 7 % 300 + (i % 50 == 0 ? 10000 : 0);
		p[i] = arena_alloc(a, size + 1);
		assert_int_equal((uintptr_t)p[i] % _Alignof(max_align_t), 0);
		for (size_t k = 0; k <= size; k++)
			assert_int_equal(p[i][k], 0);
		memset(p[i], (int)(i & 0xff), size + 1);
	}
	for (size_t i = 0; i < COUNT_OF(p); i++) {
		size_t size = i * 7 % 300 + (i % 50 == 0 ? 10000 : 0);
		for (size_t k = 0; k <= size; k++)
			assert_int_equal(p[i][k], i & 0xff);
	}
	assert_non_null(arena_alloc(a, 0));
	arena_free(a);
	arena_free(NULL);
}

static void test_strings(void **state)
{
	CLEANUP(arena_freep) struct arena *a = arena_new();
	(void)state;

	assert_null(arena_strdup(a, NULL));
	assert_string_equal(arena_strdup(a, "text"), "text");
	assert_string_equal(arena_strndup(a, "text", 2), "te");
	assert_string_equal(arena_strndup(a, "text", 20), "text");
	assert_string_equal(arena_printf(a, "%s-%05d", "x", 42), "x-00042");
	assert_int_equal(strlen(arena_printf(a, "%100000s", "x")), 100000);
}

static void test_grow(void **state)
{
	CLEANUP(arena_freep) struct arena *a = arena_new();
	int *numbers = NULL;
	(void)state;

	for (int n = 0; n < 1000; n++) {
		numbers = arena_grow(a, numbers, (size_t)n * sizeof(int), (size_t)(n + 1) * sizeof(int));
		assert_int_equal(numbers[n], 0);
		numbers[n] = n;
	}
	for (int n = 0; n < 1000; n++)
		assert_int_equal(numbers[n], n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_alloc),
		cmocka_unit_test(test_strings),
		cmocka_unit_test(test_grow),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
