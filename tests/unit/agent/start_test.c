/* What the settings of a proxy come to: its options, its bootstrap, patches merged into it. */
#include "agent/start.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "agent/bootstrap_stats.h"
#include "agent/json_merge.h"
#include "common/base/clock.h"

static const Mesh__ProxyConfig *parse(struct mt_arena *a, const char *yaml)
{
	const Mesh__ProxyConfig *c = NULL;
	struct mt_err err = { 0 };

	ck_assert_msg(agent_start_parse(yaml, a, &c, &err) == 0, "%s", err.msg);
	return c;
}

START_TEST(parses)
{
	MT_AUTO(mt_arena_freep) struct mt_arena *a = mt_arena_new(0);
	const Mesh__ProxyConfig *c = (const Mesh__ProxyConfig *)a;
	struct mt_err err = { 0 };

	ck_assert_int_eq(agent_start_parse("", a, &c, &err), 0);
	ck_assert_ptr_null(c);
	ck_assert_int_eq(parse(a, "{statNameLength: 7}")->stat_name_length, 7);
	ck_assert_int_eq(agent_start_parse("{noSuch: 1}", a, &c, &err), MT_INVALID);
	ck_assert_msg(strstr(err.msg, "noSuch"), "%s", err.msg);
	ck_assert_int_eq(agent_start_parse("{", a, &c, &err), MT_INVALID);
}
END_TEST

static bool only_drain(void *ctx, const char *option)
{
	(void)ctx;
	return strcmp(option, "drain") == 0;
}

START_TEST(options_that_nobody_set)
{
	MT_AUTO(mt_arena_freep) struct mt_arena *a = mt_arena_new(0);
	struct agent_options o = { .envoy_admin = "127.0.0.1:15000", .concurrency = 2, .drain = 5 };

	agent_settings_apply(
		parse(a,
			"{concurrency: 0, drainDuration: 45s, terminationDrainDuration: 9s, "
			"proxyAdminPort: 15099, fileFlushInterval: 0.25s, fileFlushMinSizeKb: 8}"),
		only_drain, NULL, a, &o);
	ck_assert_int_eq(o.concurrency, 0);
	ck_assert_int_eq(o.drain_duration, 45 * MT_NS_PER_SEC);
	ck_assert_int_eq(o.drain, 5);
	ck_assert_str_eq(o.envoy_admin, "127.0.0.1:15099");
	ck_assert_uint_eq(o.envoy_arg.n, 4);
	ck_assert_str_eq(o.envoy_arg.v[0], "--file-flush-interval-msec");
	ck_assert_str_eq(o.envoy_arg.v[1], "250");
	ck_assert_str_eq(o.envoy_arg.v[3], "8");
}
END_TEST

START_TEST(merges)
{
	static const struct {
		const char *dst, *patch, *want;
	} cases[] = {
		{ "{\"a\":{\"b\":1},\"l\":[1]}", "{\"a\":{\"c\":2},\"l\":[2]}",
			"{\"a\":{\"b\":1,\"c\":2},\"l\":[1,2]}" },
		{ "{\"stats_config\":{\"x\":1}}", "{\"statsConfig\":{\"useAllDefaultTags\":true}}",
			"{\"stats_config\":{\"use_all_default_tags\":true,\"x\":1}}" },
		{ "{\"a\":1}", "{\"a\":{\"b\":[{\"cD\":1}]}}", "{\"a\":{\"b\":[{\"c_d\":1}]}}" },
		{ "{}", "{\"m\":{\"@type\":\"t\",\"some.Name\":1,\"NAME\":2}}",
			"{\"m\":{\"@type\":\"t\",\"NAME\":2,\"some.Name\":1}}" },
	};

	for (size_t i = 0; i < MT_ARRAY_SIZE(cases); i++) {
		json_t *dst = json_loads(cases[i].dst, 0, NULL);
		json_t *patch = json_loads(cases[i].patch, 0, NULL);
		json_t *want = json_loads(cases[i].want, 0, NULL);
		agent_json_merge(dst, patch);
		char *got = json_dumps(dst, JSON_COMPACT | JSON_SORT_KEYS);
		ck_assert_msg(json_equal(dst, want), "%zu: %s", i, got);
		free(got);
		json_decref(dst);
		json_decref(patch);
		json_decref(want);
	}
}
END_TEST

START_TEST(statistics)
{
	MT_AUTO(mt_arena_freep) struct mt_arena *a = mt_arena_new(0);
	json_t *clusters = json_array();
	json_t *j = agent_stats_config(parse(a, "{extraStatTags: [good, 'b(d']}")), *tags;

	tags = json_object_get(j, "stats_tags");
	ck_assert_ptr_null(json_object_get(j, "stats_matcher"));
	ck_assert_str_eq(json_string_value(json_object_get(
				 json_array_get(tags, json_array_size(tags) - 1), "tag_name")),
		"good");
	json_decref(j);
	j = agent_stats_sinks(parse(a, "{statsdUdpAddress: 'name:1'}"), clusters);
	ck_assert_ptr_null(j);
	j = agent_stats_sinks(parse(a,
				      "{statsdUdpAddress: '10.0.0.1:8125', "
				      "envoyMetricsService: {address: 'metrics:15000'}}"),
		clusters);
	ck_assert_uint_eq(json_array_size(j), 2);
	ck_assert_uint_eq(json_array_size(clusters), 1);
	json_decref(j);
	json_decref(clusters);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("start");
	TCase *t = tcase_create("all");
	tcase_add_test(t, parses);
	tcase_add_test(t, options_that_nobody_set);
	tcase_add_test(t, merges);
	tcase_add_test(t, statistics);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
