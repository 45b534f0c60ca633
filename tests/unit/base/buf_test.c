#include "common/base/buf.h"

#include <string.h>

#include "common/base/mem.h"
#include "common/base/strs.h"
#include "tests/unit/unit.h"

START_TEST(grows_and_stays_terminated)
{
	struct mt_buf b = { 0 };

	ck_assert_str_eq(mt_buf_str(&b), "");
	for (int i = 0; i < 1000; i++) {
		mt_buf_addc(&b, 'x');
		ck_assert_uint_eq(strlen(b.p), b.n);
	}
	mt_buf_clear(&b);
	ck_assert_ptr_null(b.p);
	mt_buf_add(&b, NULL, 0);
	ck_assert_str_eq(mt_buf_str(&b), "");
	mt_buf_clear(&b);
	mt_buf_clear(NULL);
}
END_TEST

START_TEST(prints_short_and_long)
{
	struct mt_buf b = { 0 };
	char big[5000];
	size_t n;
	char *s;

	memset(big, 'y', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	mt_buf_printf(&b, "%d,", 12);
	mt_buf_printf(&b, "%s", big);
	mt_buf_adds(&b, "!");
	ck_assert_uint_eq(b.n, 3 + sizeof(big) - 1 + 1);
	s = mt_buf_take(&b, &n);
	ck_assert_uint_eq(n, strlen(s));
	ck_assert(mt_str_prefix(s, "12,yyy") && mt_str_suffix(s, "yy!"));
	ck_assert_ptr_null(b.p);
	mt_free(s);
	s = mt_buf_take(&b, NULL);
	ck_assert_str_eq(s, "");
	mt_free(s);
}
END_TEST

START_TEST(memory_helpers)
{
	char *s = mt_asprintf("%s-%d", "a", 5), *t = mt_strndup("abcdef", 2);
	void *empty = mt_alloc(0);

	ck_assert_str_eq(s, "a-5");
	ck_assert_str_eq(t, "ab");
	ck_assert_ptr_null(mt_strdup(NULL));
	ck_assert_ptr_nonnull(empty);
	mt_free(empty);
	mt_strfreep(&s);
	ck_assert_ptr_null(s);
	mt_free(t);
}
END_TEST

START_TEST(utf8)
{
	static const char *const good[] = { "", "plain", "caf\xc3\xa9", "\xe2\x82\xac",
		"\xf0\x9f\x98\x80", "\xf4\x8f\xbf\xbf", "\xed\x9f\xbf" };
	static const char *const bad[] = { "\x80", "\xc0\xaf", "\xc3", "\xe0\x80\x80",
		"\xed\xa0\x80", "\xf0\x80\x80\x80", "\xf4\x90\x80\x80", "\xff", "\xe2\x82" };

	for (size_t i = 0; i < MT_ARRAY_SIZE(good); i++)
		ck_assert_msg(mt_utf8_valid(good[i], strlen(good[i])), "%zu", i);
	for (size_t i = 0; i < MT_ARRAY_SIZE(bad); i++)
		ck_assert_msg(!mt_utf8_valid(bad[i], strlen(bad[i])), "%zu", i);
	ck_assert(!mt_utf8_valid("a\0b", 3));
	/* In the middle of longer text, at any distance from its start. */
	for (size_t at = 0; at < 20; at++) {
		char text[40];
		for (size_t i = 0; i < MT_ARRAY_SIZE(good); i++) {
			memset(text, 'x', sizeof(text));
			memcpy(text + at, good[i], strlen(good[i]));
			ck_assert_msg(mt_utf8_valid(text, sizeof(text)), "%zu at %zu", i, at);
		}
		for (size_t i = 0; i < MT_ARRAY_SIZE(bad); i++) {
			memset(text, 'x', sizeof(text));
			memcpy(text + at, bad[i], strlen(bad[i]));
			ck_assert_msg(!mt_utf8_valid(text, sizeof(text)), "%zu at %zu", i, at);
		}
		memset(text, 'x', sizeof(text));
		text[at] = '\0';
		ck_assert_msg(!mt_utf8_valid(text, sizeof(text)), "NUL at %zu", at);
	}
}
END_TEST

START_TEST(string_helpers)
{
	ck_assert(mt_str_prefix("abc", "ab") && !mt_str_prefix("a", "ab"));
	ck_assert(!mt_str_prefix(NULL, "a") && !mt_str_suffix(NULL, ""));
	ck_assert(mt_str_suffix("abc", "bc") && !mt_str_suffix("c", "bc"));
	ck_assert(mt_streq(NULL, NULL) && !mt_streq(NULL, "") && mt_streq("a", "a"));
	ck_assert(mt_str_empty(NULL) && mt_str_empty("") && !mt_str_empty("x"));
}
END_TEST

MT_UNIT(buf, grows_and_stays_terminated, prints_short_and_long, memory_helpers, utf8,
	string_helpers)
