#include "common/pki/spiffe.h"

#include <stdio.h>
#include <string.h>

#include "tests/unit/unit.h"

static int check(const char *s)
{
	return mt_spiffe_check(s, strlen(s), NULL);
}

START_TEST(valid_ids)
{
	static const char *const good[] = { "spiffe://a", "spiffe://mesh.test/ns/a/sa/b",
		"spiffe://my_td-1.x/..a/A/...", "spiffe://1/a" };
	for (size_t i = 0; i < MT_ARRAY_SIZE(good); i++)
		ck_assert_msg(check(good[i]) == 0, "%s", good[i]);
}
END_TEST

START_TEST(invalid_ids)
{
	static const char *const bad[] = { "", "spiffe", "spiffe:/a", "spiffe://", "spiffe:///a",
		"SPIFFE://a/b", "Spiffe://a", "http://a/b", "spiffe://A/b", "spiffe://a/",
		"spiffe://a//b", "spiffe://a/b/", "spiffe://a/./b", "spiffe://a/..",
		"spiffe://a:80/b", "spiffe://u@a/b", "spiffe://a/b?c", "spiffe://a/b#c",
		"spiffe://a?x", "spiffe://a/b%20c", "spiffe://a b/c", "spiffe://a/\xc3\xa9",
		"spiffe://[::1]/a", " spiffe://a", "spiffe://a/b\n" };
	for (size_t i = 0; i < MT_ARRAY_SIZE(bad); i++)
		ck_assert_msg(check(bad[i]) == MT_INVALID, "%s", bad[i]);
	ck_assert_int_eq(mt_spiffe_check("spiffe://a/b\0c", 14, NULL), MT_INVALID);
}
END_TEST

START_TEST(lengths)
{
	char text[3000] = "spiffe://";

	memset(text + 9, 'a', 255);
	ck_assert_int_eq(mt_spiffe_check(text, 9 + 255, NULL), 0);
	text[9 + 255] = 'a';
	ck_assert_int_eq(mt_spiffe_check(text, 9 + 256, NULL), MT_INVALID);
	memset(text, 'x', sizeof(text));
	memcpy(text, "spiffe://a/", 11);
	ck_assert_int_eq(mt_spiffe_check(text, 2048, NULL), 0);
	ck_assert_int_eq(mt_spiffe_check(text, 2049, NULL), MT_INVALID);
}
END_TEST

START_TEST(own_form)
{
	struct mt_spiffe id;
	char buf[MT_SPIFFE_ID_MAX];
	static const char *const bad[] = { "spiffe://a", "spiffe://a/ns/b", "spiffe://a/ns/b/sa",
		"spiffe://a/ns/b/sa/c/d", "spiffe://a/NS/b/sa/c", "spiffe://a/sa/b/ns/c",
		"spiffe://a/nsx/b/sa/c", "spiffe://a/ns//sa/c" };

	ck_assert_int_eq(mt_spiffe_parse("spiffe://mesh.test/ns/shop/sa/web.x", &id, NULL), 0);
	ck_assert_str_eq(id.td, "mesh.test");
	ck_assert_str_eq(id.ns, "shop");
	ck_assert_str_eq(id.sa, "web.x");
	ck_assert_int_eq(mt_spiffe_format(&id, buf, sizeof(buf), NULL), 0);
	ck_assert_str_eq(buf, "spiffe://mesh.test/ns/shop/sa/web.x");
	for (size_t i = 0; i < MT_ARRAY_SIZE(bad); i++)
		ck_assert_msg(mt_spiffe_parse(bad[i], &id, NULL) == MT_INVALID, "%s", bad[i]);
	ck_assert_str_eq(id.sa, "web.x"); /* untouched */
}
END_TEST

START_TEST(make)
{
	char buf[MT_SPIFFE_ID_MAX], small[20], ns[65];

	ck_assert_int_eq(mt_spiffe_make("a", "b", "c", buf, sizeof(buf), NULL), 0);
	ck_assert_str_eq(buf, "spiffe://a/ns/b/sa/c");
	ck_assert_int_eq(mt_spiffe_make("a", "b/sa/x", "c", buf, sizeof(buf), NULL), MT_INVALID);
	ck_assert_int_eq(mt_spiffe_make("a", "b", "c/d", buf, sizeof(buf), NULL), MT_INVALID);
	ck_assert_int_eq(mt_spiffe_make("a/ns/z", "b", "c", buf, sizeof(buf), NULL), MT_INVALID);
	ck_assert_int_eq(mt_spiffe_make("a", "", "c", buf, sizeof(buf), NULL), MT_INVALID);
	ck_assert_int_eq(mt_spiffe_make("a", "b", "c", small, sizeof(small), NULL), MT_LIMIT);
	memset(ns, 'n', 64);
	ns[64] = 0;
	ck_assert_int_eq(mt_spiffe_make("a", ns, "c", buf, sizeof(buf), NULL), MT_INVALID);
	ns[63] = 0;
	ck_assert_int_eq(mt_spiffe_make("a", ns, "c", buf, sizeof(buf), NULL), 0);
}
END_TEST

START_TEST(trust_domain)
{
	ck_assert(mt_spiffe_in_td("spiffe://a/b", "a"));
	ck_assert(mt_spiffe_in_td("spiffe://a", "a"));
	ck_assert(!mt_spiffe_in_td("spiffe://ab/b", "a"));
	ck_assert(!mt_spiffe_in_td("spiffe://a/b", "ab"));
	ck_assert(!mt_spiffe_in_td("http://a/b", "a"));
	ck_assert_int_eq(mt_spiffe_td_check("a.b", NULL), 0);
	ck_assert_int_eq(mt_spiffe_td_check("a/b", NULL), MT_INVALID);
	ck_assert_int_eq(mt_spiffe_td_check("", NULL), MT_INVALID);
}
END_TEST

MT_UNIT(spiffe, valid_ids, invalid_ids, lengths, own_form, make, trust_domain)
