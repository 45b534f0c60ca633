#include "common/base/workload.h"

#include <string.h>

#include "tests/unit/unit.h"

static const struct mt_workload_label labels[] = { { "app", "reviews" },
	{ "version", "v1 &=%\xc3\xa9" } };

START_TEST(goes_around)
{
	struct mt_arena *a = mt_arena_new(0);
	const struct mt_workload w = { "reviews-v1", "shop", "reviews", "east", labels, 2 };
	struct mt_workload back;
	const char *text;

	ck_assert_int_eq(mt_workload_format(&w, a, &text, NULL), 0);
	ck_assert_str_eq(text,
		"name=reviews-v1&ns=shop&sa=reviews&cluster=east&l.app=reviews&l.version="
		"v1%20%26%3D%25%C3%A9");
	ck_assert_int_eq(mt_workload_parse(text, strlen(text), a, &back, NULL), 0);
	ck_assert_str_eq(back.name, "reviews-v1");
	ck_assert_str_eq(back.ns, "shop");
	ck_assert_str_eq(back.service_account, "reviews");
	ck_assert_str_eq(back.cluster, "east");
	ck_assert_uint_eq(back.nlabels, 2);
	ck_assert_str_eq(back.labels[1].key, "version");
	ck_assert_str_eq(back.labels[1].value, labels[1].value);
	mt_arena_free(a);
}
END_TEST

START_TEST(empty_is_empty)
{
	struct mt_arena *a = mt_arena_new(0);
	struct mt_workload back;

	ck_assert_int_eq(mt_workload_parse("", 0, a, &back, NULL), 0);
	ck_assert_str_eq(back.name, "");
	ck_assert_uint_eq(back.nlabels, 0);
	ck_assert_int_eq(mt_workload_parse("future=1&name=x", 15, a, &back, NULL), 0);
	ck_assert_str_eq(back.name, "x");
	mt_arena_free(a);
}
END_TEST

START_TEST(refuses)
{
	static const char *const bad[] = { "name", "name=%", "name=%4", "name=%zz", "name=%00",
		"name=%ff", "&", "a=b&&c=d" };
	struct mt_arena *a = mt_arena_new(0);
	struct mt_workload back;
	char *big = mt_arena_alloc(a, MT_WORKLOAD_MAX + 2);

	for (size_t i = 0; i < MT_ARRAY_SIZE(bad); i++)
		ck_assert_msg(
			mt_workload_parse(bad[i], strlen(bad[i]), a, &back, NULL) == MT_INVALID,
			"%s", bad[i]);
	memset(big, 'a', MT_WORKLOAD_MAX + 1);
	ck_assert_int_eq(mt_workload_parse(big, MT_WORKLOAD_MAX + 1, a, &back, NULL), MT_LIMIT);
	for (int i = 0; i < 500; i++)
		memcpy(big + i * 5, "l.a=&", 5);
	ck_assert_int_eq(mt_workload_parse(big, 1000, a, &back, NULL), MT_LIMIT);
	mt_arena_free(a);
}
END_TEST

START_TEST(too_long_to_say)
{
	struct mt_arena *a = mt_arena_new(0);
	char *big = mt_arena_alloc(a, MT_WORKLOAD_MAX + 2);
	const char *text = NULL;

	memset(big, 'a', MT_WORKLOAD_MAX);
	ck_assert_int_eq(
		mt_workload_format(&(struct mt_workload){ .name = big }, a, &text, NULL), MT_LIMIT);
	ck_assert_ptr_null(text);
	mt_arena_free(a);
}
END_TEST

MT_UNIT(workload, goes_around, empty_is_empty, refuses, too_long_to_say)
