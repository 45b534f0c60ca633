#include "mixer/rule/names.h"

#include <string.h>

#include "tests/unit/unit.h"

static const char *find(const struct mixer_names *n, const char *ref, const char *ns)
{
	static struct mt_err err;
	void *thing;

	return mixer_names_find(n, "handler", ref, ns, &thing, &err) == 0 ? thing
									  : mt_code_name(err.code);
}

START_TEST(all_forms)
{
	struct mixer_names *n = mixer_names_new();

	mixer_names_add(n, "h", "denier", "a", false, "a denier");
	mixer_names_add(n, "h", "denier", "b", false, "b denier");
	mixer_names_add(n, "p", "handler", "istio-system", true, "general p");
	mixer_names_add(n, "p", "prometheus", "istio-system", false, "own p");
	mixer_names_add(n, "x", "denier", "a", false, "x denier");
	mixer_names_add(n, "x", "stdio", "a", false, "x stdio");
	mixer_names_add(n, "with.dots", "denier", "a", false, "dots");
	ck_assert_str_eq(find(n, "h.denier.b", "a"), "b denier");
	ck_assert_str_eq(find(n, "h.denier", "a"), "a denier");
	ck_assert_str_eq(find(n, "h.b", "a"), "b denier");
	ck_assert_str_eq(find(n, "h", "b"), "b denier");
	ck_assert_str_eq(find(n, "p.istio-system", "a"), "general p");
	ck_assert_str_eq(find(n, "p.prometheus.istio-system", "a"), "own p");
	ck_assert_str_eq(find(n, "p", "istio-system"), "general p");
	ck_assert_str_eq(find(n, "x", "a"), "conflict");
	ck_assert_str_eq(find(n, "x.stdio", "a"), "x stdio");
	ck_assert_str_eq(find(n, "with.dots", "a"), "dots");
	ck_assert_str_eq(find(n, "with.dots.denier.a", "z"), "dots");
	ck_assert_str_eq(find(n, "h", "z"), "not_found");
	ck_assert_str_eq(find(n, "h.stdio.a", "a"), "not_found");
	ck_assert_str_eq(find(n, "", "a"), "invalid");
	mixer_names_free(n);
}
END_TEST

MT_UNIT(names, all_forms)
