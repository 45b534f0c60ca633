/* The attribute language: precedence, types, absence, functions, limits. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/expr/expr.h"

static struct mt_vocab *vocab;
static struct mt_arena *arena;
static struct mt_bag bag;

static void setup(void)
{
	static const struct mt_pair labels[] = { { { "app", 3 }, { "ratings", 7 } },
		{ { "version", 7 }, { "v2", 2 } } };
	struct mt_ip ip;

	vocab = mt_vocab_new();
	ck_assert_int_eq(mt_vocab_add(vocab, "acme.host", MT_V_DNS_NAME, NULL), 0);
	arena = mt_arena_new(0);
	mt_bag_init(&bag, arena, mt_vocab_size(vocab));
	mt_bag_str(&bag, MT_ATTR_SOURCE_NAMESPACE, "shop");
	mt_bag_str(&bag, MT_ATTR_REQUEST_PATH, "/api/books?x=1");
	mt_bag_int(&bag, MT_ATTR_RESPONSE_CODE, 503);
	mt_bag_int(&bag, MT_ATTR_REQUEST_SIZE, -4);
	mt_bag_bool(&bag, MT_ATTR_CONNECTION_MTLS, true);
	mt_bag_duration(&bag, MT_ATTR_RESPONSE_DURATION, 25 * MT_NS_PER_MS);
	mt_bag_map(&bag, MT_ATTR_DESTINATION_LABELS, labels, 2);
	ck_assert_int_eq(mt_ip_parse("10.1.2.3", &ip), 0);
	mt_bag_ip(&bag, MT_ATTR_SOURCE_IP, &ip);
	mt_bag_str(&bag, (size_t)mt_vocab_find(vocab, "acme.host", 9, NULL), "Books.Example.COM");
}

static void teardown(void)
{
	mt_vocab_free(vocab);
	mt_arena_free(arena);
}

/* Result as text; "!NOT_FOUND ..." style for errors of evaluation, "?column n: ..." of compilation. */
static const char *eval(const char *text)
{
	static char out[900];
	struct mt_err err = { 0 };
	struct mt_value v;
	MT_AUTO(mt_expr_freep) struct mt_expr *e = NULL;

	if (mt_expr_compile(text, vocab, MT_V_NONE, &e, &err) < 0) {
		snprintf(out, sizeof(out), "?%s: %s", err.path, err.msg);
		return out;
	}
	if (mt_expr_eval(e, &bag, arena, NULL, &v, &err) < 0) {
		snprintf(out, sizeof(out), "!%s: %s", mt_code_name(err.code), err.msg);
		return out;
	}
	ck_assert_int_eq(v.type, mt_expr_type(e));
	struct mt_text t = mt_value_text(&v, arena);
	snprintf(out, sizeof(out), "%.*s", (int)t.n, t.p);
	return out;
}

static const struct {
	const char *text;
	const char *want;
} cases[] = {
	{ "true", "true" },
	{ "false || true && false", "false" },
	{ "(false || true) && true", "true" },
	{ "12", "12" },
	{ "-12", "-12" },
	{ "0x10", "16" },
	{ "1.5", "1.5" },
	{ "\"a\\\"b\\x41\\n\"", "a\"bA\n" },
	{ "`a\\n`", "a\\n" },
	{ "source.namespace", "shop" },
	{ "source.namespace == \"shop\"", "true" },
	{ "\"shop\" != source.namespace", "false" },
	{ "destination.labels[\"app\"] == \"ratings\" && destination.labels[\"version\"] == \"v2\"",
		"true" },
	{ "destination.labels[\"none\"] | \"unknown\"", "unknown" },
	{ "source.name | destination.labels[\"none\"] | source.namespace", "shop" },
	{ "(source.name + \"x\" + source.namespace) | \"y\"", "y" },
	{ "\"a\" + (source.name | \"b\") + \"c\"", "abc" },
	{ "(source.name | \"b\") == \"b\" && response.code >= 500", "true" },
	{ "request.path.startsWith(\"/api\")", "true" },
	{ "startsWith(request.path, \"/web\")", "false" },
	{ "\"a.b\".endsWith(\".b\")", "true" },
	{ "match(request.path, \"/api/*\")", "true" },
	{ "match(request.path, \"*x=1\")", "true" },
	{ "match(request.path, \"/api\")", "false" },
	{ "\"^/api/[a-z]+\".matches(request.path)", "true" },
	{ "\"^api\".matches(request.path)", "false" },
	{ "response.duration > \"20ms\"", "true" },
	{ "response.duration < \"20ms\"", "false" },
	{ "response.duration", "0.025s" },
	{ "request.size < 0", "true" },
	{ "source.ip == ip(\"10.1.2.3\")", "true" },
	{ "source.ip | ip(\"0.0.0.0\")", "10.1.2.3" },
	{ "origin.ip | ip(\"0.0.0.0\")", "0.0.0.0" },
	{ "timestamp(\"2026-01-02T03:04:05Z\") < timestamp(\"2026-01-02T03:04:06Z\")", "true" },
	{ "acme.host == dnsName(\"books.example.com\")", "true" },
	{ "conditional(response.code > 399, \"bad\", source.name)", "bad" },
	{ "conditionalString(connection.mtls, \"mtls\", \"plain\")", "mtls" },
	{ "conditional(false, 1, 2)", "2" },
	{ "emptyStringMap() == source.labels | emptyStringMap()", "true" },
	{ "toLower(\"AbC\")", "abc" },
	{ "size(\"abc\") == 3", "true" },
	{ "source.labels[source.namespace] | \"none\"", "none" },
	{ "destination.labels[\"a\" + \"pp\"]", "ratings" },
	/* absent without an alternative */
	{ "source.name == \"x\"", "!not_found: attribute source.name is absent" },
	{ "destination.labels[\"none\"] == \"x\"",
		"!not_found: attribute destination.labels[\"none\"] is absent" },
	{ "connection.mtls || source.name == \"x\"", "true" }, /* not looked at */
	/* mistakes */
	{ "", "?column 1: the expression is empty" },
	{ "sorce.namespace",
		"?column 1: unknown attribute \"sorce.namespace\" (did you mean source.namespace?)" },
	{ "source.namespace == 3", "?column 18: operator == does not take STRING and INT64" },
	{ "source.namespace && true", "?column 18: operator && does not take STRING and BOOL" },
	{ "1 < 2 < 3", "?column 7: comparisons cannot be chained" },
	{ "ip(\"10.0.0\")", "?column 4: \"10.0.0\" is not of type IP_ADDRESS" },
	{ "nope(1)", "?column 1: unknown function \"nope\"" },
	{ "source.namespace.ip()", "?column 1: unknown method \"ip\"" },
	{ "match(\"a\")", "?column 10: match() takes 2 arguments" },
	{ "match(\"a\", \"b\", \"c\")", "?column 17: too many arguments of match()" },
	{ "match(1, \"b\")", "?column 7: argument 1 of match() is INT64, not STRING" },
	{ "\"(\".matches(\"x\")", "?column 1: bad pattern at 1: missing closing parenthesis" },
	{ "source.namespace.matches(\"x\")",
		"?column 1: the pattern of matches() must be a literal" },
	{ "true true", "?column 6: expected an operator or the end" },
	{ "(true", "?column 6: expected \")\"" },
	{ "\"abc", "?column 1: a text is not closed with \"" },
	{ "a ? b", "?column 3: unexpected character '?'" },
	{ "12abc", "?column 1: \"12abc\" is not a number" },
	{ "source.ip | \"0.0.0.0\"", "?column 11: operator | does not take IP_ADDRESS and STRING" },
};

START_TEST(test_case)
{
	ck_assert_msg(strcmp(eval(cases[_i].text), cases[_i].want) == 0, "%s gives <%s>, not <%s>",
		cases[_i].text, eval(cases[_i].text), cases[_i].want);
}
END_TEST

START_TEST(test_wanted_type)
{
	struct mt_expr *e = NULL;
	struct mt_err err = { 0 };

	ck_assert_int_eq(
		mt_expr_compile("source.namespace", vocab, MT_V_BOOL, &e, &err), MT_INVALID);
	ck_assert_str_eq(err.msg, "the expression is STRING, not BOOL");
	ck_assert_ptr_null(e);
}
END_TEST

START_TEST(test_value_of_another_type_is_absent)
{
	mt_bag_int(&bag, MT_ATTR_SOURCE_NAMESPACE, 7);
	ck_assert_str_eq(eval("source.namespace | \"other\""), "other");
	mt_bag_str(&bag, MT_ATTR_DESTINATION_LABELS, "text");
	ck_assert_str_eq(eval("destination.labels[\"app\"] | \"other\""), "other");
}
END_TEST

START_TEST(test_limits)
{
	char deep[4000] = "";
	struct mt_expr *e = NULL;
	struct mt_err err;

	memset(deep, '(', sizeof(deep) - 1);
	ck_assert_int_eq(mt_expr_compile(deep, vocab, MT_V_NONE, &e, &err), MT_INVALID);
	ck_assert_ptr_nonnull(strstr(err.msg, "nested deeper"));

	char *longer = malloc(5001);
	memset(longer, '1', 5000);
	longer[5000] = 0;
	ck_assert_int_eq(mt_expr_compile(longer, vocab, MT_V_NONE, &e, &err), MT_INVALID);
	free(longer);

	/* A pattern that backtracks without end is stopped. */
	mt_bag_str(&bag, MT_ATTR_REQUEST_PATH, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!");
	ck_assert_int_eq(
		strncmp(eval("\"^(a+)+(b|c)$\".matches(request.path)"), "!limit", 6) == 0 ||
			strcmp(eval("\"^(a+)+(b|c)$\".matches(request.path)"), "false") == 0,
		1);
}
END_TEST

struct seen {
	char text[256];
};

static void note(void *ctx, size_t attr, const struct mt_text *key, bool present)
{
	struct seen *s = ctx;
	size_t n = strlen(s->text);
	snprintf(s->text + n, sizeof(s->text) - n, "%s[%.*s]%c ", mt_vocab_name(vocab, attr),
		key ? (int)key->n : 0, key ? key->p : "", present ? '+' : '-');
}

START_TEST(test_references)
{
	struct seen s = { "" };
	struct mt_expr_refs refs = { note, &s };
	MT_AUTO(mt_expr_freep) struct mt_expr *e = NULL;
	struct mt_value v;

	ck_assert_int_eq(
		mt_expr_compile(
			"(source.name | destination.labels[\"app\"]) == \"ratings\" || source.uid == \"\"",
			vocab, MT_V_BOOL, &e, NULL),
		0);
	ck_assert_int_eq(mt_expr_eval(e, &bag, arena, &refs, &v, NULL), 0);
	ck_assert_str_eq(s.text, "source.name[]- destination.labels[app]+ ");
}
END_TEST

START_TEST(test_equalities)
{
	MT_AUTO(mt_expr_freep) struct mt_expr *e = NULL;
	struct mt_expr_equality eq[4];

	ck_assert_int_eq(
		mt_expr_compile(
			"destination.service.host == \"a\" && (source.name == \"x\" || true) && "
			"\"v2\" == destination.labels[\"version\"]",
			vocab, MT_V_BOOL, &e, NULL),
		0);
	ck_assert_uint_eq(mt_expr_equalities(e, eq, 4), 2);
	ck_assert_uint_eq(eq[0].attr, MT_ATTR_DESTINATION_SERVICE_HOST);
	ck_assert_uint_eq(eq[1].attr, MT_ATTR_DESTINATION_LABELS);
	ck_assert_int_eq(memcmp(eq[1].key.p, "version", 7), 0);
}
END_TEST

START_TEST(test_vocabulary)
{
	struct mt_err err;

	ck_assert_int_eq(mt_vocab_add(vocab, "acme.host", MT_V_DNS_NAME, &err), 0);
	ck_assert_int_eq(mt_vocab_add(vocab, "acme.host", MT_V_STRING, &err), MT_EXISTS);
	ck_assert_int_eq(mt_vocab_add(vocab, "no spaces", MT_V_STRING, &err), MT_INVALID);
	ck_assert_int_eq(mt_vocab_add(vocab, ".x", MT_V_STRING, &err), MT_INVALID);
	ck_assert_int_eq(mt_vocab_find(vocab, "source.ip", 9, NULL), MT_ATTR_SOURCE_IP);
	ck_assert_ptr_null(mt_vocab_nearest(vocab, "something.else.entirely"));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("expr");
	TCase *tc = tcase_create("expr");
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, test_case, 0, (int)MT_ARRAY_SIZE(cases));
	tcase_add_test(tc, test_wanted_type);
	tcase_add_test(tc, test_value_of_another_type_is_absent);
	tcase_add_test(tc, test_limits);
	tcase_add_test(tc, test_references);
	tcase_add_test(tc, test_equalities);
	tcase_add_test(tc, test_vocabulary);
	suite_add_tcase(s, tc);
	SRunner *sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	int failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
