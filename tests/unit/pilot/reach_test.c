/* Verdicts, and how far an object has come. */
#include "pilot/push/reach.h"
#include "pilot/push/verdicts.h"
#include "tests/unit/pilot/canary_rig.h"

START_TEST(test_verdicts)
{
	struct push_verdicts *v = push_verdicts_new();

	ck_assert_int_eq(push_verdict_of(v, 1, push_envoy(1, 40, 0)), PUSH_UNTRIED);
	push_verdict_set(v, 1, push_envoy(1, 40, 0), PUSH_TRYING);
	push_verdict_set(v, 1, push_envoy(1, 36, 2), PUSH_GOOD);
	ck_assert_int_eq(push_verdict_of(v, 1, push_envoy(1, 40, 0)), PUSH_TRYING);
	push_verdict_condemn(v, 1, push_envoy(1, 40, 0), "why");
	ck_assert_uint_eq(push_verdicts_bad(v), 1);
	ck_assert_str_eq(push_verdict_words(v, 1, push_envoy(1, 40, 0)), "why");
	ck_assert_int_eq(push_verdict_of(v, 1, push_envoy(1, 36, 2)), PUSH_GOOD);
	for (uint64_t i = 2; i < 70000; i++)
		push_verdict_set(v, i, push_envoy(1, 40, 0), PUSH_GOOD);
	push_verdicts_trim(v);
	ck_assert_int_eq(push_verdict_of(v, 5, push_envoy(1, 40, 0)), PUSH_UNTRIED);
	ck_assert_int_eq(push_verdict_of(v, 1, push_envoy(1, 40, 0)), PUSH_BAD);
	push_verdict_set(v, 1, push_envoy(1, 40, 0), PUSH_UNTRIED);
	ck_assert_uint_eq(push_verdicts_bad(v), 0);
	push_verdicts_free(v);
}
END_TEST

struct reach_ask {
	struct push_reached all, none;
};

static void reach(struct rig *r, void *arg)
{
	struct reach_ask *a = arg;
	struct push_reach *look = push_reach_new(r->push);
	push_reach_of(look, 1, 1, &a->all); /* the service a: in every proxy */
	push_reach_of(look, 999, 1, &a->none);
	push_reach_free(look);
}

START_TEST(test_reach)
{
	struct fleet *f = fleet_new(_i, "");
	struct reach_ask a;

	on_loop(f->r, reach, &a);
	ck_assert_uint_eq(a.all.concerned, 3);
	ck_assert_uint_eq(a.all.in_force, 3);
	ck_assert_uint_eq(a.all.behind, 0);
	ck_assert_uint_eq(a.none.concerned, 0);
	fleet_free(f);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("reach");
	TCase *tc = tcase_create("reach");
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, test_verdicts);
	tcase_add_loop_test(tc, test_reach, 0, 2);
	suite_add_tcase(s, tc);
	SRunner *sr = srunner_create(s);
	srunner_set_fork_status(sr, CK_NOFORK);
	srunner_run_all(sr, CK_ENV);
	int failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
