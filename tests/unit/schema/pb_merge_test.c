/* Merging: what is set replaces, messages merge, lists append, maps go by key, oneofs switch. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "common/schema/envoy_patch.h"
#include "envoy/config/cluster/v3/cluster.pb-c.h"
#include "envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.pb-c.h"

static ProtobufCMessage *read_text(
	const ProtobufCMessageDescriptor *d, const char *text, struct mt_arena *a)
{
	struct mt_diags diags = { 0 };
	json_t *j = json_loads(text, 0, NULL);
	ck_assert_ptr_nonnull(j);
	ProtobufCMessage *m = mt_pb_from_json_open(d, j, NULL, a, &diags);
	json_decref(j);
	ck_assert_msg(m != NULL, "%s", diags.n ? diags.v[0].msg : "?");
	mt_diags_clear(&diags);
	return m;
}

#define TYPE "\"@type\": \"type.googleapis.com/envoy.extensions.filters.http."
static const struct {
	const ProtobufCMessageDescriptor *d;
	const char *dst, *src, *want;
	bool replace;
} cases[] = {
	{ &cluster__cluster__descriptor, "{\"name\": \"a\", \"connectTimeout\": \"1.500s\"}",
		"{\"connectTimeout\": \"3s\", \"altStatName\": \"s\"}",
		"{\"name\": \"a\", \"connectTimeout\": \"3s\", \"altStatName\": \"s\"}", false },
	/* a list, and the zero in a wrapper */
	{ &cluster__cluster__descriptor,
		"{\"circuitBreakers\": {\"thresholds\": [{\"maxRetries\": 1}]}}",
		"{\"circuitBreakers\": {\"thresholds\": [{\"maxRetries\": 0}]}}",
		"{\"circuitBreakers\": {\"thresholds\": [{\"maxRetries\": 1}, {\"maxRetries\": 0}]}}",
		false },
	{ &cluster__cluster__descriptor,
		"{\"circuitBreakers\": {\"thresholds\": [{\"maxRetries\": 1}]}}",
		"{\"circuitBreakers\": {\"thresholds\": [{\"maxRetries\": 0}]}}",
		"{\"circuitBreakers\": {\"thresholds\": [{\"maxRetries\": 0}]}}", true },
	{ &cluster__cluster__descriptor, "{\"perConnectionBufferLimitBytes\": 5}",
		"{\"perConnectionBufferLimitBytes\": 0}", "{\"perConnectionBufferLimitBytes\": 0}",
		false },
	/* maps by key, sorted */
	{ &core__metadata__descriptor,
		"{\"filterMetadata\": {\"b\": {\"x\": \"1\"}, \"c\": {\"x\": \"2\"}}}",
		"{\"filterMetadata\": {\"c\": {\"y\": \"3\"}, \"a\": {}}}",
		"{\"filterMetadata\": {\"a\": {}, \"b\": {\"x\": \"1\"}, \"c\": {\"y\": \"3\"}}}",
		false },
	/* a oneof merges when it stays, or switches */
	{ &core__address__descriptor, "{\"pipe\": {\"path\": \"/x\", \"mode\": 7}}",
		"{\"pipe\": {\"path\": \"/y\"}}", "{\"pipe\": {\"path\": \"/y\", \"mode\": 7}}",
		false },
	{ &core__address__descriptor, "{\"pipe\": {\"path\": \"/x\"}}",
		"{\"socketAddress\": {\"address\": \"1.2.3.4\", \"portValue\": 1}}",
		"{\"socketAddress\": {\"address\": \"1.2.3.4\", \"portValue\": 1}}", false },
	/* an Any merges with one of its type, and gives way to another */
	{ &hcm__http_filter__descriptor,
		"{\"name\": \"f\", \"typedConfig\": {" TYPE
		"router.v3.Router\", \"startChildSpan\": true}}",
		"{\"typedConfig\": {" TYPE "router.v3.Router\", \"suppressEnvoyHeaders\": true}}",
		"{\"name\": \"f\", \"typedConfig\": {" TYPE
		"router.v3.Router\", \"startChildSpan\": true, \"suppressEnvoyHeaders\": true}}",
		false },
	{ &hcm__http_filter__descriptor,
		"{\"name\": \"f\", \"typedConfig\": {" TYPE
		"router.v3.Router\", \"startChildSpan\": true}}",
		"{\"typedConfig\": {" TYPE "cors.v3.Cors\"}}",
		"{\"name\": \"f\", \"typedConfig\": {" TYPE "cors.v3.Cors\"}}", false },
};

START_TEST(merges)
{
	struct mt_arena *a = mt_arena_new(0);
	ProtobufCMessage *dst = read_text(cases[_i].d, cases[_i].dst, a);
	ProtobufCMessage *src = read_text(cases[_i].d, cases[_i].src, a);
	uint64_t before = mt_pb_hash(src);
	mt_pb_merge(dst, src, a, cases[_i].replace);
	json_t *got = mt_pb_to_json(dst), *want = json_loads(cases[_i].want, 0, NULL);
	char *text = json_dumps(got, 0);
	ck_assert_ptr_nonnull(want);
	ck_assert_msg(json_equal(got, want), "case %d gives %s", _i, text);
	ck_assert_uint_eq(mt_pb_hash(src), before);
	free(text);
	json_decref(got);
	json_decref(want);
	mt_arena_free(a);
}
END_TEST

/* What came from src may be changed in dst: src is shared by many, and stays. */
START_TEST(source_stays)
{
	struct mt_arena *a = mt_arena_new(0);
	const char *text = "{\"circuitBreakers\": {\"thresholds\": [{\"maxRetries\": 1}]}}";
	Cluster__Cluster *dst =
		(Cluster__Cluster *)read_text(&cluster__cluster__descriptor, text, a);
	ProtobufCMessage *src = read_text(&cluster__cluster__descriptor, text, a);
	uint64_t before = mt_pb_hash(src);
	mt_pb_merge(&dst->base, src, a, false);
	ck_assert_uint_eq(dst->circuit_breakers->n_thresholds, 2);
	dst->circuit_breakers->thresholds[1]->track_remaining = true;
	dst->circuit_breakers->thresholds[1]->max_retries->value = 9;
	ck_assert_uint_eq(mt_pb_hash(src), before);
	mt_arena_free(a);
}
END_TEST

/* What is not known here travels as it is; what is known is checked. */
START_TEST(open_types)
{
	struct mt_arena *a = mt_arena_new(0);
	struct mt_diags diags = { 0 };
	Hcm__HttpFilter *f = (Hcm__HttpFilter *)read_text(&hcm__http_filter__descriptor,
		"{\"typed_config\": {\"@type\": \"x.com/some.v3.Thing\", \"deep\": [1, {\"a\": true}]}}",
		a);
	ck_assert_str_eq(f->typed_config->type_url, "type.googleapis.com/xds.type.v3.TypedStruct");
	json_t *j = mt_pb_to_json(&f->base), *c = json_object_get(j, "typedConfig");
	ck_assert_str_eq(json_string_value(json_object_get(c, "typeUrl")), "x.com/some.v3.Thing");
	c = json_array_get(json_object_get(json_object_get(c, "value"), "deep"), 1);
	ck_assert(json_is_true(json_object_get(c, "a")));
	json_decref(j);
	j = json_loads("{\"typed_config\": {" TYPE "cors.v3.Cors\", \"no\": 1}}", 0, NULL);
	ck_assert_ptr_null(mt_pb_from_json_open(&hcm__http_filter__descriptor, j, "p", a, &diags));
	ck_assert_uint_eq(diags.errors, 1);
	json_decref(j);
	mt_diags_clear(&diags);
	mt_arena_free(a);
}
END_TEST

START_TEST(old_names)
{
	ck_assert_str_eq(mt_patch_filter_name("envoy.lua"), "envoy.filters.http.lua");
	ck_assert_str_eq(mt_patch_filter_name("envoy.filters.http.lua"), "envoy.filters.http.lua");
	ck_assert_str_eq(mt_patch_filter_name("mine"), "mine");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("pb_merge");
	TCase *tc = tcase_create("pb_merge");
	tcase_add_loop_test(tc, merges, 0, (int)MT_ARRAY_SIZE(cases));
	tcase_add_test(tc, source_stays);
	tcase_add_test(tc, open_types);
	tcase_add_test(tc, old_names);
	suite_add_tcase(s, tc);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
