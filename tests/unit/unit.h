/* What every unit test program does the same way: list the tests, run them in this process (so that
 * the sanitizers see leaks; CK_FORK=yes for isolation), answer with the exit status.
 *
 *   START_TEST(parses) { ... } END_TEST
 *   MT_UNIT(arena, parses, refuses)
 */
#pragma once

#include <check.h>
#include <stdlib.h>

#include "common/base/macros.h"

static inline int mt_unit_run(const char *name, const TTest *const *tests, size_t n)
{
	Suite *s = suite_create(name);
	SRunner *sr;
	int failed;

	for (size_t i = 0; i < n; i++) {
		TCase *tc = tcase_create(tests[i]->name);

		tcase_set_timeout(tc, 60);
		tcase_add_test(tc, tests[i]);
		suite_add_tcase(s, tc);
	}
	sr = srunner_create(s);
	if (!getenv("CK_FORK"))
		srunner_set_fork_status(sr, CK_NOFORK);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

#define MT_UNIT(name, ...)                                                                         \
	int main(void)                                                                             \
	{                                                                                          \
		const TTest *const tests[] = { __VA_ARGS__ };                                      \
		return mt_unit_run(#name, tests, MT_ARRAY_SIZE(tests));                            \
	}
