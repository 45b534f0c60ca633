/* Texts to trees: YAML's traps, limits, hostile texts, and JSON. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/base/vec.h"
#include "common/schema/node.h"
#include "tests/unit/unit.h"

static struct mt_diags diags;
static struct mt_nodes docs;
static struct mt_arena *arena;
static char last[700];

static int read_n(const char *file, const char *text, size_t n)
{
	mt_diags_clear(&diags);
	mt_vec_clear(&docs);
	mt_arena_free(arena);
	arena = mt_arena_new(0);
	int r = mt_text_read(file, text, n, &mt_decode_defaults, arena, &docs, &diags);
	last[0] = 0;
	if (diags.n) {
		char *s = mt_diag_format(&diags.v[0]);
		snprintf(last, sizeof(last), "%s", s);
		mt_free(s);
	}
	return r;
}

static int read_text(const char *text)
{
	return read_n("f", text, strlen(text));
}

static void done(void)
{
	mt_diags_clear(&diags);
	mt_vec_clear(&docs);
	mt_arena_free(MT_TAKE(arena));
}

static void refused(const char *text, const char *why)
{
	ck_assert_int_eq(read_text(text), MT_INVALID);
	ck_assert_str_eq(last, why);
}

/* The first document as compact JSON. */
static void is_json(const char *text, const char *want)
{
	ck_assert_msg(read_text(text) == 0, "%s", last);
	json_t *j = mt_node_to_json(docs.v[0]);
	char *s = json_dumps(j, JSON_COMPACT | JSON_ENCODE_ANY);
	ck_assert_str_eq(s, want);
	free(s);
	json_decref(j);
}

START_TEST(values)
{
	is_json("a: 1\nb: [x, \"2\", ~, true, 1.5]\nc: {d: 0x10}\n",
		"{\"a\":1,\"b\":[\"x\",\"2\",null,true,1.5],\"c\":{\"d\":16}}");
	is_json("a: |\n  two\n  lines\nb: >-\n  one\n  line\n",
		"{\"a\":\"two\\nlines\\n\",\"b\":\"one line\"}");
	is_json("a: !!str 5\nb: ! 6\n", "{\"a\":\"5\",\"b\":\"6\"}");
	is_json("\xef\xbb\xbf"
		"a: b\n",
		"{\"a\":\"b\"}");
	is_json("a: b\r\nc:\r\n- d\r\n", "{\"a\":\"b\",\"c\":[\"d\"]}");
	is_json("%YAML 1.1\n---\na: b\n", "{\"a\":\"b\"}");
	is_json("a: .inf\n", "{\"a\":\".inf\"}");
	is_json("a: 18446744073709551615\n", "{\"a\":1.8446744073709552e19}");
	is_json("1: a\n", "{\"1\":\"a\"}");
	done();
}
END_TEST

START_TEST(anchors)
{
	is_json("a: &x {b: c}\nd: *x\ne: [*x, *x]\n",
		"{\"a\":{\"b\":\"c\"},\"d\":{\"b\":\"c\"},\"e\":[{\"b\":\"c\"},{\"b\":\"c\"}]}");
	refused("a: *x\n", "f:1:4: error: a: alias *x: no such anchor before it");
	refused("a: &x [*x]\n", "f:1:8: error: a[0]: alias *x: no such anchor before it");
	refused("a: &x 1\n---\nb: *x\n", "f:3:4: error: b: alias *x: no such anchor before it");
	refused("a: &x {b: 1}\nc:\n  <<: *x\n",
		"f:3:3: error: c: merge keys (<<) are not supported: write the fields out");
	is_json("\"<<\": 1\n", "{\"<<\":1}");
	done();
}
END_TEST

START_TEST(faults)
{
	refused("a: 1\na: 2\n", "f:2:1: error: duplicate key \"a\"");
	refused("x:\n- {a: 1, b: 2, a: 3}\n", "f:2:16: error: x[0]: duplicate key \"a\"");
	refused("a:\n\tb: 1\n",
		"f:2:1: error: a: not YAML: found character that cannot start any token, "
		"while scanning for the next token (a tab: YAML is indented with spaces)");
	refused("a: !!binary aGk=\n",
		"f:1:4: error: a: the tag tag:yaml.org,2002:binary is not supported");
	refused("a: !x {}\n", "f:1:4: error: a: the tag !x is not supported");
	refused("? [a]\n: b\n", "f:1:3: error: a key must be a word, not a list");
	refused("a: \"x\\0y\"\n", "f:1:4: error: a: a NUL character");
	refused("a: \xff\n", "f:1:4: error: not UTF-8");
	refused("a: b\nc: d\xc3\n", "f:2:5: error: not UTF-8");
	ck_assert_int_eq(read_n("f", "a: b\0c\n", 7), MT_INVALID);
	ck_assert_str_eq(last, "f:1:5: error: a NUL character: not a text in UTF-8");
	ck_assert_int_eq(read_n("f",
				 "\xff\xfe"
				 "a\0",
				 4),
		MT_INVALID);
	ck_assert_int_eq(read_text("a: [1\n"), MT_INVALID);
	ck_assert_int_eq(read_text("a: \"x\n"), MT_INVALID);
	ck_assert_int_eq(read_text("a: b: c\n"), MT_INVALID);
	ck_assert_int_eq(read_text("@a: b\n"), MT_INVALID);
	/* Of several documents the good ones stay. */
	ck_assert_int_eq(read_text("a: 1\n---\nb: 1\nb: 2\n---\nc: 1\n"), MT_INVALID);
	ck_assert_uint_eq(docs.n, 2);
	done();
}
END_TEST

/* Of this thread alone: other programs on a busy machine do not count. */
static int64_t cpu_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return ts.tv_sec * MT_NS_PER_SEC + ts.tv_nsec;
}

/* Each is refused within a moment, whatever its size would become. */
static void bomb(const char *text, size_t n, const char *why)
{
	int64_t start = cpu_ns();

	ck_assert_int_eq(read_n("f", text, n), MT_INVALID);
	ck_assert_msg(strstr(last, why) != NULL, "%s", last);
	ck_assert_int_lt(cpu_ns() - start, 2 * MT_NS_PER_SEC);
}

START_TEST(bombs)
{
	struct mt_buf b = { 0 };

	mt_buf_adds(&b, "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
	for (int i = 1; i < 20; i++) {
		mt_buf_printf(&b, "a%d: &a%d [", i, i);
		for (int k = 0; k < 10; k++)
			mt_buf_printf(&b, "%s*a%d", k ? "," : "", i - 1);
		mt_buf_adds(&b, "]\n");
	}
	bomb(b.p, b.n, "more than 1000000 values");
	mt_buf_clear(&b);

	for (int i = 0; i < 50000; i++)
		mt_buf_addc(&b, '[');
	bomb(b.p, b.n, "nested deeper than 64");
	mt_buf_clear(&b);
	for (int i = 0; i < 50000; i++)
		mt_buf_adds(&b, "{a: ");
	bomb(b.p, b.n, "nested deeper than 64");
	mt_buf_clear(&b);
	for (int i = 0; i < 50000; i++)
		mt_buf_adds(&b, "- ");
	bomb(b.p, b.n, "nested deeper than 64");
	mt_buf_clear(&b);
	/* Depth by aliases. */
	mt_buf_adds(&b, "a0: &a0 [x]\n");
	for (int i = 1; i < 80; i++)
		mt_buf_printf(&b, "a%d: &a%d [*a%d]\n", i, i, i - 1);
	bomb(b.p, b.n, "nested deeper than 64");
	mt_buf_clear(&b);
	for (int i = 0; i < 1100000; i++)
		mt_buf_adds(&b, "- 1\n");
	bomb(b.p, b.n, "more than the limit of 4194304");
	mt_buf_clear(&b);
	/* Many keys: duplicates are found without comparing each with each. */
	for (int i = 0; i < 200000; i++)
		mt_buf_printf(&b, "k%d: 1\n", i);
	mt_buf_adds(&b, "k77: 1\n");
	bomb(b.p, b.n, "duplicate key \"k77\"");
	mt_buf_clear(&b);
	done();
}
END_TEST

START_TEST(json)
{
	is_json("{\"a\": \"\\ud83d\\ude00\\/\\n\\u00e9\", \"b\":\t[1, -2.5e3, true, false, null, {}, []]}",
		"{\"a\":\"\xf0\x9f\x98\x80/\\n\xc3\xa9\",\"b\":[1,-2500.0,true,false,null,{},[]]}");
	ck_assert_int_eq(read_n("a.json", "{\"a\": 1} {\"b\": 2}", 17), 0);
	ck_assert_uint_eq(docs.n, 2);
	ck_assert_uint_eq(docs.v[1]->col, 10);
	/* What is no JSON but YAML in braces. */
	is_json("{a: b, c: [d]}", "{\"a\":\"b\",\"c\":[\"d\"]}");
	static const struct {
		const char *text, *why;
	} bad[] = {
		{ "{a: b}", "a.json:1:2: error: not JSON: a key in quotes is expected here" },
		{ "{\"a\": 1,}", "a.json:1:9: error: not JSON: a key in quotes is expected here" },
		{ "{\"a\": 1\n \"b\": 2}",
			"a.json:2:2: error: not JSON: ',' or '}' is expected here" },
		{ "[1, 01]", "a.json:1:5: error: not JSON: a value is expected here" },
		{ "[1, +1]", "a.json:1:5: error: not JSON: a value is expected here" },
		{ "[nul]", "a.json:1:2: error: not JSON: a value is expected here" },
		{ "[\"\\ud83d\"]", "a.json:1:9: error: not JSON: a bad escape in a string" },
		{ "[\"\\u0000\"]", "a.json:1:9: error: not JSON: a bad escape in a string" },
		{ "[\"a", "a.json:1:4: error: not JSON: a string does not end" },
		{ "[\"a\nb\"]", "a.json:1:4: error: not JSON: a control character in a string" },
		{ "{\"a\": 1, \"a\": 2}",
			"a.json:1:17: error: not JSON: duplicate key \"a\" (line 1)" },
		{ "[", "a.json:1:2: error: not JSON: the text ends too early" },
	};
	for (size_t i = 0; i < MT_ARRAY_SIZE(bad); i++) {
		ck_assert_int_eq(read_n("a.json", bad[i].text, strlen(bad[i].text)), MT_INVALID);
		ck_assert_str_eq(last, bad[i].why);
	}
	struct mt_buf b = { 0 };
	for (int i = 0; i < 100000; i++)
		mt_buf_addc(&b, '[');
	ck_assert_int_eq(read_n("a.json", b.p, b.n), MT_INVALID);
	ck_assert_ptr_nonnull(strstr(last, "nested deeper than 64"));
	mt_buf_clear(&b);
	done();
}
END_TEST

MT_UNIT(text, values, anchors, faults, bombs, json)
