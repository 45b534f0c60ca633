#include "mixer/adapter/listchecker/list.h"

#include <string.h>

#include "tests/unit/unit.h"

static struct mixer_list *make(enum mixer_list_type type, const char *text)
{
	struct mixer_list *l = NULL;
	struct mt_err err = { 0 };

	ck_assert_msg(
		mixer_list_new(type, NULL, 0, text, strlen(text), &l, &err) == 0, "%s", err.msg);
	return l;
}

static bool has(const struct mixer_list *l, const char *text)
{
	struct mt_arena *a = mt_arena_new(0);
	struct mt_value v = mt_value_str(text, strlen(text));
	bool found;

	ck_assert_int_eq(mixer_list_has(l, &v, a, &found, NULL), 0);
	mt_arena_free(a);
	return found;
}

START_TEST(texts)
{
	struct mixer_list *l = make(MIXER_LIST_STRINGS, "b # two\n\n  a\r\n# none\nc");

	ck_assert_uint_eq(mixer_list_size(l), 3);
	ck_assert(has(l, "a") && has(l, "b") && has(l, "c"));
	ck_assert(!has(l, "A") && !has(l, "") && !has(l, "ab") && !has(l, "# none"));
	mixer_list_unref(l);
}
END_TEST

START_TEST(texts_without_case)
{
	struct mixer_list *l = make(MIXER_LIST_NO_CASE, "Alice\nBOB");

	ck_assert(has(l, "alice") && has(l, "ALICE") && has(l, "bob"));
	ck_assert(!has(l, "carol"));
	mixer_list_unref(l);
}
END_TEST

START_TEST(addresses)
{
	struct mixer_list *l = make(MIXER_LIST_IPS,
		"10.57.3.1/16\n192.0.2.7\n2001:db8::/32\n0.0.0.0/32\n10.57.128.0/17");
	struct mt_arena *a = mt_arena_new(0);
	struct mt_value v = { .type = MT_V_IP_ADDRESS };
	bool found = false;

	ck_assert(has(l, "10.57.0.1") && has(l, "10.57.255.255") && has(l, "192.0.2.7"));
	ck_assert(!has(l, "10.58.0.1") && !has(l, "192.0.2.8") && !has(l, "0.0.0.1"));
	ck_assert(has(l, "2001:db8:1::1") && !has(l, "2001:db9::1"));
	ck_assert_int_eq(mt_ip_parse("10.57.9.9", &v.ip), 0);
	ck_assert_int_eq(mixer_list_has(l, &v, a, &found, NULL), 0);
	ck_assert(found);
	v = mt_value_str("nonsense", 8);
	ck_assert_int_eq(mixer_list_has(l, &v, a, &found, NULL), MT_INVALID);
	mt_arena_free(a);
	mixer_list_unref(l);
}
END_TEST

START_TEST(every_address)
{
	struct mixer_list *l = make(MIXER_LIST_IPS, "0.0.0.0/0");

	ck_assert(has(l, "1.2.3.4") && !has(l, "::1"));
	mixer_list_unref(l);
}
END_TEST

START_TEST(patterns)
{
	struct mixer_list *l = make(MIXER_LIST_REGEX, "^a+$\nb.*z");

	ck_assert(has(l, "aaa") && has(l, "xbyz") && !has(l, "ab"));
	mixer_list_unref(l);
}
END_TEST

START_TEST(runaway_patterns_end)
{
	struct mixer_list *l = make(MIXER_LIST_REGEX, "^(a+)+$");

	ck_assert(!has(l, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab"));
	mixer_list_unref(l);
}
END_TEST

START_TEST(faults)
{
	static const struct {
		enum mixer_list_type type;
		const char *entry, *word;
	} v[] = {
		{ MIXER_LIST_IPS, "300.1.1.1", "300.1.1.1" },
		{ MIXER_LIST_IPS, "10.0.0.0/33", "10.0.0.0/33" },
		{ MIXER_LIST_REGEX, "(", "(" },
	};

	for (size_t i = 0; i < MT_ARRAY_SIZE(v); i++) {
		struct mixer_list *l;
		struct mt_err err = { 0 };

		ck_assert_int_eq(
			mixer_list_new(v[i].type, &v[i].entry, 1, "", 0, &l, &err), MT_INVALID);
		ck_assert_ptr_nonnull(strstr(err.msg, v[i].word));
	}
}
END_TEST

MT_UNIT(list, texts, texts_without_case, addresses, every_address, patterns, runaway_patterns_end,
	faults)
