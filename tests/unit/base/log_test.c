#include "common/base/log.h"

#include <jansson.h>
#include <pthread.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "tests/unit/unit.h"

static struct mt_log_scope ads = MT_LOG_SCOPE("ads");
static struct mt_log_scope ads_again = MT_LOG_SCOPE("ads");
static struct mt_log_scope late = MT_LOG_SCOPE("late");
static struct mt_buf lines;

static void sink(void *ctx, const char *line, size_t n)
{
	mt_buf_add(ctx, line, n);
}

static void begin(const char *spec, bool json)
{
	struct mt_err err;

	mt_buf_clear(&lines);
	mt_log_set_sink(sink, &lines);
	ck_assert_int_eq(mt_log_configure(spec, json, &err), 0);
}

static void end(void)
{
	mt_log_set_sink(NULL, NULL);
	mt_buf_clear(&lines);
}

START_TEST(text_lines)
{
	begin("info", false);
	mt_log_info(&ads, "connected", MT_S("proxy", "a~b"), MT_I("n", -3), MT_D("t", 0.5),
		MT_S("none", NULL), MT_S("spaced", "a \"b\"\nc"), MT_S("empty", ""));
	mt_log_debug(&ads, "not seen");
	mt_log_warn(&ads, "bare");
	ck_assert_ptr_nonnull(strstr(lines.p,
		"Z info  ads: connected proxy=a~b n=-3 t=0.5 none=- "
		"spaced=\"a \\\"b\\\"\\nc\" empty=\"\"\n"));
	ck_assert_ptr_null(strstr(lines.p, "not seen"));
	ck_assert_ptr_nonnull(strstr(lines.p, " warn  ads: bare\n"));
	end();
}
END_TEST

START_TEST(json_lines_are_json)
{
	json_t *o;

	begin("info", true);
	mt_log_info(&ads, "a \"message\"", MT_S("bad", "x\xff\xc3(\x01\t"),
		MT_S("good", "caf\xc3\xa9 \xf0\x9f\x98\x80"), MT_D("nan", 0.0 / 0.0));
	o = json_loads(lines.p, 0, NULL);
	ck_assert_msg(o != NULL, "%s", lines.p);
	ck_assert_str_eq(json_string_value(json_object_get(o, "scope")), "ads");
	ck_assert_str_eq(json_string_value(json_object_get(o, "msg")), "a \"message\"");
	ck_assert_str_eq(
		json_string_value(json_object_get(o, "good")), "caf\xc3\xa9 \xf0\x9f\x98\x80");
	ck_assert_str_eq(
		json_string_value(json_object_get(o, "bad")), "x\xef\xbf\xbd\xef\xbf\xbd(\x01\t");
	ck_assert(json_is_null(json_object_get(o, "nan")));
	json_decref(o);
	end();
}
END_TEST

START_TEST(long_values_are_cut)
{
	static char big[100000];

	begin("info", false);
	memset(big, 'x', sizeof(big) - 1);
	mt_log_info(&ads, "m", MT_S("v", big));
	ck_assert_uint_lt(lines.n, 5000);
	end();
}
END_TEST

START_TEST(levels)
{
	enum mt_level l = MT_LOG_NONE;

	begin("default:warn,late:debug", false);
	ck_assert(!mt_log_on(&ads, MT_LOG_INFO) && mt_log_on(&ads, MT_LOG_WARN));
	ck_assert(mt_log_on(&late, MT_LOG_DEBUG)); /* registers only now */
	ck_assert_int_eq(mt_log_set_level("ads", MT_LOG_DEBUG), 0);
	ck_assert(mt_log_on(&ads, MT_LOG_DEBUG) && mt_log_on(&ads_again, MT_LOG_DEBUG));
	ck_assert_int_eq(mt_log_set_level("default", MT_LOG_NONE), 0);
	ck_assert(mt_log_on(&ads, MT_LOG_DEBUG)); /* has its own */
	ck_assert_int_eq(mt_log_set_level("nobody", MT_LOG_INFO), MT_NOT_FOUND);
	ck_assert_int_eq(mt_log_level_parse("debug", &l), 0);
	ck_assert_int_eq(l, MT_LOG_DEBUG);
	ck_assert_int_lt(mt_log_level_parse("verbose", &l), 0);
	end();
}
END_TEST

START_TEST(bad_specs)
{
	struct mt_err err = { 0 };

	begin("error", false);
	ck_assert_int_eq(mt_log_configure("info,ads:loud", true, &err), MT_INVALID);
	ck_assert_ptr_nonnull(strstr(err.msg, "loud"));
	ck_assert_int_eq(mt_log_configure("nonsense", true, &err), MT_INVALID);
	ck_assert_int_eq(mt_log_configure(":info", true, NULL), MT_INVALID);
	ck_assert(!mt_log_on(&ads, MT_LOG_WARN)); /* unchanged */
	end();
}
END_TEST

static void count(void *ctx, const char *scope, enum mt_level level)
{
	int *n = ctx;

	if (strcmp(scope, "default") == 0)
		n[1] = (int)level;
	n[0]++;
}

START_TEST(each_scope_once)
{
	int n[2] = { 0 };

	begin("error", false);
	mt_log_on(&ads, MT_LOG_INFO);
	mt_log_on(&ads_again, MT_LOG_INFO);
	mt_log_on(&late, MT_LOG_INFO);
	mt_log_each(count, n);
	ck_assert_int_eq(n[0], 3); /* default, ads, late */
	ck_assert_int_eq(n[1], MT_LOG_ERROR);
	end();
}
END_TEST

static struct mt_log_scope shared[50];

static void *race(void *arg)
{
	for (int i = 0; i < 50; i++) {
		mt_log_info(&shared[i], "x", MT_I("i", i));
		mt_log_set_level("shared", i % 2 ? MT_LOG_INFO : MT_LOG_DEBUG);
	}
	return arg;
}

START_TEST(threads_register_once)
{
	pthread_t t[4];
	int seen = 0;

	for (int i = 0; i < 50; i++)
		shared[i] = (struct mt_log_scope)MT_LOG_SCOPE("shared");
	begin("info", false);
	for (int i = 0; i < 4; i++)
		pthread_create(&t[i], NULL, race, NULL);
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	for (const char *p = lines.p; (p = strchr(p, '\n')); p++)
		seen++;
	ck_assert_int_eq(seen, 200);
	end();
}
END_TEST

MT_UNIT(log, text_lines, json_lines_are_json, long_values_are_cut, levels, bad_specs,
	each_scope_once, threads_register_once)
