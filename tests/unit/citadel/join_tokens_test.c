#include "citadel/identity/join_tokens.h"

#include "citadel/identity/join_token_line.h"
#include "tests/unit/citadel/citadel_unit.h"

#define A UNIT_ID("a")
#define TOKEN_A "aaaaaaaaaaaaaaaa"

static int parse(const char *text, struct citadel_token_line **ret, bool *clear, struct mt_err *err)
{
	return citadel_token_line_parse(text, strlen(text), "cluster.local", ret, clear, err);
}

START_TEST(lines)
{
	struct citadel_token_line *l = NULL;
	bool clear;

	ck_assert_int_eq(
		parse(TOKEN_A "\t" A "," UNIT_ID("*") " expires=2026-12-01T00:00:00Z uses=3 # x",
			&l, &clear, NULL),
		0);
	ck_assert(clear);
	ck_assert_uint_eq(l->nallowed, 2);
	ck_assert_str_eq(l->allowed[1], UNIT_ID("*"));
	ck_assert_uint_eq(l->uses, 3);
	ck_assert_int_eq(l->expires_ns / MT_NS_PER_SEC, 1796083200);
	ck_assert_str_eq(
		l->hex, "0c0beacef8877bbf2416eb00f2b5dc96354e26dd1df5517320459b1236860f8c");
	mt_free(l);
	ck_assert_int_eq(
		parse("sha256:0C0BEACEf8877bbf2416eb00f2b5dc96354e26dd1df5517320459b1236860f8c " A,
			&l, &clear, NULL),
		0);
	ck_assert(!clear);
	ck_assert_str_eq(
		l->hex, "0c0beacef8877bbf2416eb00f2b5dc96354e26dd1df5517320459b1236860f8c");
	mt_free(l);
	ck_assert_int_eq(parse("   # nothing", &l, &clear, NULL), 0);
	ck_assert_ptr_null(l);
	ck_assert_int_eq(parse("\r", &l, &clear, NULL), 0);
	ck_assert_ptr_null(l);
}
END_TEST

START_TEST(bad_lines)
{
	static const char *const bad[] = {
		"short " A,
		TOKEN_A,
		"sha256:12 " A,
		"sha256:zz0beacef8877bbf2416eb00f2b5dc96354e26dd1df5517320459b1236860f8c " A,
		TOKEN_A " spiffe://other.domain/ns/shop/sa/a",
		TOKEN_A " spiffe://cluster.local/ns/shop",
		TOKEN_A " spiffe://*/ns/shop/sa/a",
		TOKEN_A " spiffe://cluster.local/ns/sh*p/sa/a",
		TOKEN_A " spiffe://cluster.local/*/shop/sa/a",
		TOKEN_A " " A " uses=0",
		TOKEN_A " " A " uses=-1",
		TOKEN_A " " A " uses=1x",
		TOKEN_A " " A " expires=tomorrow",
		TOKEN_A " " A " frobnicate",
		"aaaaaaaaaaaaaaa\x01 " A,
		TOKEN_A " ,",
	};

	for (size_t i = 0; i < MT_ARRAY_SIZE(bad); i++) {
		struct citadel_token_line *l = NULL;
		struct mt_err err = { 0 };
		bool clear;

		ck_assert_msg(parse(bad[i], &l, &clear, &err) == MT_INVALID, "%s", bad[i]);
		ck_assert_ptr_null(l);
		ck_assert_msg(*err.msg, "%s", bad[i]);
	}
}
END_TEST

START_TEST(patterns)
{
	ck_assert(citadel_pattern_match(A, A));
	ck_assert(citadel_pattern_match(UNIT_ID("*"), A));
	ck_assert(citadel_pattern_match("spiffe://cluster.local/ns/*/sa/*", A));
	ck_assert(!citadel_pattern_match(UNIT_ID("*"), UNIT_ID("a/b")));
	ck_assert(!citadel_pattern_match(UNIT_ID("*"), "spiffe://cluster.local/ns/shop/sa/"));
	ck_assert(!citadel_pattern_match(UNIT_ID("*"), "spiffe://cluster.local/ns/shop/sa"));
	ck_assert(!citadel_pattern_match(UNIT_ID("*"), "spiffe://cluster.local/ns/other/sa/a"));
	ck_assert(!citadel_pattern_match(A, UNIT_ID("ab")));
	ck_assert(!citadel_pattern_match(UNIT_ID("ab"), A));
	ck_assert(!citadel_pattern_match(A, ""));
}
END_TEST

START_TEST(found_expired_used_up)
{
	struct citadel_caller c = { 0 };
	struct unit_citadel u;
	struct mt_err err;

	/* The test clock starts at 2027-01-15T08:00:00Z. */
	unit_citadel_open(&u,
		TOKEN_A " " A "\nbbbbbbbbbbbbbbbb " UNIT_ID("b") " expires=2027-01-15T08:01:00Z\n"
								 "cccccccccccccccc " UNIT_ID(
									 "c") " uses=2\n");
	ck_assert_int_eq(citadel_tokens_find(u.s.authority.tokens, TOKEN_A, &c, &err), 0);
	ck_assert_str_eq(c.allowed[0], A);
	ck_assert_int_eq(citadel_tokens_find(u.s.authority.tokens, "aaaaaaaaaaaaaaab", &c, &err),
		MT_UNAUTHENTICATED);
	ck_assert_int_eq(
		citadel_tokens_find(u.s.authority.tokens, "", &c, &err), MT_UNAUTHENTICATED);
	ck_assert_int_eq(
		citadel_tokens_find(u.s.authority.tokens, "bbbbbbbbbbbbbbbb", &c, &err), 0);
	mt_test_clock_advance(&u.clock, 61 * MT_NS_PER_SEC);
	ck_assert_int_eq(citadel_tokens_find(u.s.authority.tokens, "bbbbbbbbbbbbbbbb", &c, &err),
		MT_UNAUTHENTICATED);
	ck_assert_str_eq(err.msg, "the join token has expired");
	for (int i = 0; i < 2; i++) {
		ck_assert_int_eq(
			citadel_tokens_find(u.s.authority.tokens, "cccccccccccccccc", &c, &err), 0);
		ck_assert_int_eq(citadel_tokens_use(u.s.authority.tokens, c.token, &err), 0);
	}
	ck_assert_int_eq(
		citadel_tokens_use(u.s.authority.tokens, c.token, &err), MT_UNAUTHENTICATED);
	/* A restart gives no use back. */
	citadel_tokens_close(u.s.authority.tokens);
	ck_assert_int_eq(citadel_tokens_open(u.tokens_path, "cluster.local", u.state, u.s.clock,
				 &u.s.authority.tokens, &err),
		0);
	ck_assert_int_eq(citadel_tokens_find(u.s.authority.tokens, "cccccccccccccccc", &c, &err),
		MT_UNAUTHENTICATED);
	ck_assert_str_eq(err.msg, "the join token is used up");
	unit_citadel_close(&u);
}
END_TEST

START_TEST(read_again)
{
	struct citadel_caller c = { 0 };
	struct unit_citadel u;
	struct mt_err err;
	json_t *j;

	unit_citadel_open(&u, TOKEN_A " " A "\n");
	unit_write(u.tokens_path, "bbbbbbbbbbbbbbbb " UNIT_ID("b") "\n", 0600);
	mt_test_clock_advance(&u.clock, 2 * MT_NS_PER_SEC);
	ck_assert_int_eq(
		citadel_tokens_find(u.s.authority.tokens, TOKEN_A, &c, &err), MT_UNAUTHENTICATED);
	ck_assert_int_eq(
		citadel_tokens_find(u.s.authority.tokens, "bbbbbbbbbbbbbbbb", &c, &err), 0);
	/* A broken text changes nothing, and is told of. */
	unit_write(u.tokens_path, "nonsense\n", 0600);
	mt_test_clock_advance(&u.clock, 2 * MT_NS_PER_SEC);
	ck_assert_int_eq(
		citadel_tokens_find(u.s.authority.tokens, "bbbbbbbbbbbbbbbb", &c, &err), 0);
	j = citadel_tokens_json(u.s.authority.tokens);
	ck_assert_ptr_nonnull(strstr(json_string_value(json_object_get(j, "fault")), "tokens:1"));
	json_decref(j);
	unit_citadel_close(&u);
}
END_TEST

START_TEST(secrets_that_others_read)
{
	struct citadel_tokens *t = NULL;
	struct unit_citadel u;
	struct mt_err err;

	unit_citadel_open(&u, TOKEN_A " " A "\n");
	unit_write(u.tokens_path, TOKEN_A " " A "\n", 0644);
	ck_assert_int_eq(
		citadel_tokens_open(u.tokens_path, "cluster.local", u.state, u.s.clock, &t, &err),
		MT_INVALID);
	ck_assert_ptr_nonnull(strstr(err.msg, "chmod 600"));
	unit_write(u.tokens_path,
		"sha256:0c0beacef8877bbf2416eb00f2b5dc96354e26dd1df5517320459b1236860f8c " A "\n",
		0644);
	ck_assert_int_eq(
		citadel_tokens_open(u.tokens_path, "cluster.local", u.state, u.s.clock, &t, &err),
		0);
	citadel_tokens_close(t);
	unit_citadel_close(&u);
}
END_TEST

MT_UNIT(join_tokens, lines, bad_lines, patterns, found_expired_used_up, read_again,
	secrets_that_others_read)
