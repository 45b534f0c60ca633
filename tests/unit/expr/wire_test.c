/* Facts about workloads as text: round trip, limits, broken input. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "common/expr/wire.h"

START_TEST(test_round_trip)
{
	struct mt_buf b = { 0 };
	MT_AUTO(mt_arena_freep) struct mt_arena *a = mt_arena_new(0);
	struct mt_wire_pair *v;

	mt_wire_add(&b, "uid", "kubernetes://a b&c=d%");
	mt_wire_add(&b, "absent", "");
	mt_wire_add_entry(&b, "labels", "app.kubernetes.io/name", "reviews");
	ck_assert_str_eq(b.p,
		"uid=kubernetes%3A%2F%2Fa%20b%26c%3Dd%25&labels.app.kubernetes.io%2Fname=reviews");
	ck_assert_uint_eq(mt_wire_parse(b.p, b.n, a, &v), 2);
	ck_assert_str_eq(v[0].value, "kubernetes://a b&c=d%");
	ck_assert_str_eq(v[1].name, "labels.app.kubernetes.io/name");
	mt_buf_clear(&b);
}
END_TEST

START_TEST(test_broken)
{
	static const char text[] = "a=%4&b=%zz&=x&novalue&c=%00&d=1&e=%41";
	MT_AUTO(mt_arena_freep) struct mt_arena *a = mt_arena_new(0);
	struct mt_wire_pair *v;

	ck_assert_uint_eq(mt_wire_parse(text, strlen(text), a, &v), 2);
	ck_assert_str_eq(v[0].name, "d");
	ck_assert_str_eq(v[1].value, "A");
}
END_TEST

START_TEST(test_limits)
{
	MT_AUTO(mt_arena_freep) struct mt_arena *a = mt_arena_new(0);
	struct mt_wire_pair *v;
	struct mt_buf b = { 0 };

	for (int i = 0; i < 1000; i++)
		mt_wire_add(&b, "k", "v");
	ck_assert_uint_eq(mt_wire_parse(b.p, b.n, a, &v), MT_WIRE_PAIRS_MAX);
	mt_buf_clear(&b);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("wire");
	TCase *tc = tcase_create("wire");
	tcase_add_test(tc, test_round_trip);
	tcase_add_test(tc, test_broken);
	tcase_add_test(tc, test_limits);
	suite_add_tcase(s, tc);
	SRunner *sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	int failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
