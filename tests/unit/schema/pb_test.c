#include "common/schema/pb.h"

#include <string.h>

#include "common/base/mem.h"
#include "common/schema/base64.h"
#include "common/schema/kind.h"
#include "common/schema/pb_types.h"
#include "envoy/config/cluster/v3/cluster.pb-c.h"
#include "google/protobuf/struct.pb-c.h"
#include "google/protobuf/wrappers.pb-c.h"
#include "istio/networking/v1alpha3/virtual_service.pb-c.h"
#include "istio/security/v1beta1/security.pb-c.h"
#include "tests/unit/unit.h"

static struct mt_arena *a;
static struct mt_diags diags;

static ProtobufCMessage *from(const ProtobufCMessageDescriptor *d, const char *json)
{
	json_t *j = json_loads(json, JSON_DECODE_ANY, NULL);

	ck_assert_ptr_nonnull(j);
	mt_diags_clear(&diags);
	mt_arena_free(a);
	a = mt_arena_new(0);
	ProtobufCMessage *m = mt_pb_from_json(d, j, "x", a, &diags);
	json_decref(j);
	return m;
}

static void same(const ProtobufCMessageDescriptor *d, const char *json, const char *want)
{
	ProtobufCMessage *m = from(d, json);
	struct mt_buf b = { 0 };

	ck_assert_msg(m != NULL, "%s: %s", json, diags.n ? diags.v[0].msg : "");
	/* Over the wire and back, too. */
	mt_pb_pack(m, &b);
	m = mt_pb_unpack(d, a, mt_buf_str(&b), b.n, NULL);
	ck_assert_ptr_nonnull(m);
	json_t *j = mt_pb_to_json(m);
	char *s = json_dumps(j, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));
	ck_assert_str_eq(s, want);
	free(s);
	json_decref(j);
	mt_buf_clear(&b);
}

static void bad(const ProtobufCMessageDescriptor *d, const char *json, const char *why)
{
	ck_assert_ptr_null(from(d, json));
	ck_assert_str_eq(diags.v[0].msg, why);
}

static void done(void)
{
	mt_diags_clear(&diags);
	mt_arena_free(MT_TAKE(a));
}

#define WRAP(type) &google__protobuf__##type##_value__descriptor

START_TEST(scalars)
{
	same(WRAP(int32), "-2147483648", "-2147483648");
	same(WRAP(int32), "\"12\"", "12");
	same(WRAP(int32), "1e2", "100");
	bad(WRAP(int32), "2147483648", "2147483648 is out of range");
	bad(WRAP(int32), "1.5", "an integer is expected, not the number 1.5");
	bad(WRAP(int32), "\"a\"", "an integer is expected, not the string \"a\"");
	bad(WRAP(int32), "[]", "an integer is expected, not a list");
	bad(WRAP(int32), "true", "an integer is expected, not the boolean true");
	same(WRAP(uint32), "4294967295", "4294967295");
	bad(WRAP(uint32), "-1", "-1 is out of range");
	same(WRAP(int64), "\"-9223372036854775808\"", "\"-9223372036854775808\"");
	same(WRAP(int64), "9007199254740993", "\"9007199254740993\"");
	bad(WRAP(int64), "\"9223372036854775808\"", "9223372036854775808 is out of range");
	same(WRAP(uint64), "\"18446744073709551615\"", "\"18446744073709551615\"");
	same(WRAP(double), "1.25", "1.25");
	same(WRAP(double), "\"-Infinity\"", "\"-Infinity\"");
	same(WRAP(double), "\"NaN\"", "\"NaN\"");
	same(WRAP(double), "7", "7");
	bad(WRAP(double), "\"x\"", "a number is expected, not the string \"x\"");
	same(WRAP(float), "0.1", "0.1");
	same(WRAP(bool), "true", "true");
	bad(WRAP(bool), "\"true\"", "true or false is expected, not the string \"true\"");
	bad(WRAP(bool), "1", "true or false is expected, not the number 1");
	same(WRAP(string), "\"\\u00e9\"", "\"\xc3\xa9\"");
	bad(WRAP(string), "1", "a string is expected, not the number 1: write it in quotes");
	same(WRAP(bytes), "\"aGk=\"", "\"aGk=\"");
	same(WRAP(bytes), "\"-_8\"", "\"+/8=\"");
	bad(WRAP(bytes), "\"a\"", "base64 text is expected, not the string \"a\"");
	done();
}
END_TEST

START_TEST(well_known)
{
	const ProtobufCMessageDescriptor *route = &nw__httproute__descriptor;

	same(route, "{\"timeout\":\"1.5s\"}", "{\"timeout\":\"1.500s\"}");
	same(route, "{\"timeout\":\"1h2m\"}", "{\"timeout\":\"3720s\"}");
	same(route, "{\"timeout\":\"0s\"}", "{\"timeout\":\"0s\"}");
	same(route, "{\"timeout\":null}", "{}");
	bad(route, "{\"timeout\":5}", "a duration such as 1.5s is expected, not the number 5");
	bad(route, "{\"timeout\":\"5\"}",
		"a duration such as 1.5s is expected, not the string \"5\"");
	same(route, "{\"mirrorPercent\":0}", "{\"mirrorPercent\":0}");
	same(&google__protobuf__struct__descriptor, "{\"a\":[-0.0,0,1.0]}", "{\"a\":[-0.0,0,1]}");
	same(&google__protobuf__struct__descriptor, "{\"b\":[1,\"x\",null,{\"c\":true}],\"a\":1.5}",
		"{\"a\":1.5,\"b\":[1,\"x\",null,{\"c\":true}]}");
	same(&google__protobuf__value__descriptor, "null", "null");
	same(&google__protobuf__list_value__descriptor, "[]", "[]");
	done();
}
END_TEST

START_TEST(fields)
{
	same(&nw__httproute__descriptor, "{\"append_headers\":{\"b\":\"2\",\"a\":\"1\"}}",
		"{\"appendHeaders\":{\"a\":\"1\",\"b\":\"2\"}}");
	same(&sec__peer_authentication__descriptor,
		"{\"portLevelMtls\":{\"8080\":{\"mode\":\"DISABLE\"},\"9\":{\"mode\":3}}}",
		"{\"portLevelMtls\":{\"8080\":{\"mode\":\"DISABLE\"},\"9\":{\"mode\":\"STRICT\"}}}");
	bad(&sec__peer_authentication__descriptor, "{\"portLevelMtls\":{\"x\":{}}}",
		"an integer is expected, not the string \"x\"");
	ck_assert_str_eq(diags.v[0].path, "x.portLevelMtls.x");
	bad(&sec__peer_authentication__descriptor, "{\"mtls\":{\"mode\":\"STRIKT\"}}",
		"\"STRIKT\" is not known (did you mean \"STRICT\"?)");
	bad(&sec__peer_authentication__descriptor, "{\"mtls\":{\"mode\":99}}",
		"\"99\" is not one of UNSET, DISABLE, PERMISSIVE, STRICT");
	bad(&nw__virtual_service__descriptor, "{\"hosts\":[null]}", "an empty item in a list");
	bad(&nw__virtual_service__descriptor, "{\"hosts\":\"a\"}",
		"a list is expected, not the string \"a\"");
	bad(&nw__httproute__descriptor, "{\"appendHeaders\":{\"a\":null}}", "a value is missing");
	ck_assert_str_eq(diags.v[0].path, "x.appendHeaders.a");
	done();
}
END_TEST

START_TEST(any)
{
	const char *json =
		"{\"name\":\"c\",\"typedExtensionProtocolOptions\":{\"x\":{\"@type\":\"type.googleapis.com/"
		"google.protobuf.StringValue\",\"value\":\"hello\"}}}";
	same(&cluster__cluster__descriptor, json, json);
	json = "{\"name\":\"c\",\"typedExtensionProtocolOptions\":{\"x\":{\"@type\":\"type.googleapis.com/"
	       "istio.networking.v1alpha3.VirtualService\",\"hosts\":[\"a\"]}}}";
	same(&cluster__cluster__descriptor, json, json);
	bad(&cluster__cluster__descriptor,
		"{\"typedExtensionProtocolOptions\":{\"x\":{\"@type\":\"x/y\"}}}",
		"unknown type \"x/y\"");
	bad(&cluster__cluster__descriptor, "{\"typedExtensionProtocolOptions\":{\"x\":{}}}",
		"an Any needs \"@type\"");
	done();
}
END_TEST

START_TEST(hostile_bytes)
{
	struct mt_buf b = { 0 };
	struct mt_err err = { 0 };
	const ProtobufCMessageDescriptor *value = &google__protobuf__value__descriptor;

	/* A Value in a list in a Value ... each level wraps the last. */
	mt_buf_adds(&b, "");
	for (int i = 0; i < 20000; i++) {
		/* Lengths would grow; an unfinished nesting is enough: the depth is found first. */
		mt_buf_add(&b, "\x32\xff\xff\xff\x7f\x0a\xff\xff\xff\x7f", 10);
	}
	a = mt_arena_new(1 << 20);
	ck_assert_ptr_null(mt_pb_unpack(value, a, b.p, b.n, &err));
	mt_buf_clear(&b);

	/* Well-formed, 200 levels. */
	char *inner = NULL;
	size_t n = 0;
	for (int i = 0; i < 200; i++) {
		struct mt_buf next = { 0 };
		mt_buf_addc(&next, i % 2 ? 0x32 : 0x0a);
		for (size_t v = n;; v >>= 7) {
			mt_buf_addc(&next, (char)((v & 0x7f) | (v > 0x7f ? 0x80 : 0)));
			if (v <= 0x7f)
				break;
		}
		mt_buf_add(&next, inner, n);
		mt_free(inner);
		inner = mt_buf_take(&next, &n);
	}
	err = (struct mt_err){ 0 };
	ck_assert_ptr_null(mt_pb_unpack(value, a, inner, n, &err));
	ck_assert_int_eq(err.code, MT_LIMIT);
	mt_free(inner);

	static const struct {
		const char *bytes;
		size_t n;
	} rows[] = {
		{ "\x0a\x05"
		  "ab",
			4 },                                            /* cut short */
		{ "\x08\x01", 2 },                                      /* a string as a varint */
		{ "\x0a\x01\xff", 3 },                                  /* not UTF-8 */
		{ "\x0a\x01\x00", 3 },                                  /* NUL */
		{ "\x00\x00", 2 },                                      /* field 0 */
		{ "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11 }, /* an endless tag */
		{ "\xf8\x07", 2 }, /* unknown varint, cut short */
		{ "\xfb\x07", 2 }, /* a group */
	};
	for (size_t i = 0; i < MT_ARRAY_SIZE(rows); i++)
		ck_assert_msg(!mt_pb_unpack(&nw__virtual_service__descriptor, a, rows[i].bytes,
				      rows[i].n, &err),
			"row %zu", i);
	/* Unknown fields are skipped. */
	ck_assert_ptr_nonnull(
		mt_pb_unpack(&nw__virtual_service__descriptor, a, "\xf8\x07\x01", 3, &err));
	done();
}
END_TEST

START_TEST(memory_is_limited)
{
	struct mt_buf b = { 0 };
	struct mt_err err = { 0 };

	for (int i = 0; i < 200000; i++)
		mt_buf_add(&b, "\x1a\x00", 2); /* empty HTTP routes */
	a = mt_arena_new(1 << 20);
	ck_assert_ptr_null(mt_pb_unpack(&nw__virtual_service__descriptor, a, b.p, b.n, &err));
	done();
	a = mt_arena_new(256 << 20);
	ck_assert_ptr_nonnull(mt_pb_unpack(&nw__virtual_service__descriptor, a, b.p, b.n, &err));
	mt_buf_clear(&b);
	done();
	/* One message again and again: merging it is quadratic. */
	for (int i = 0; i < 1000; i++)
		mt_buf_add(&b, "\x32\x00", 2); /* timeout */
	a = mt_arena_new(0);
	ck_assert_ptr_null(mt_pb_unpack(&nw__httproute__descriptor, a, b.p, b.n, &err));
	mt_buf_clear(&b);
	done();
}
END_TEST

START_TEST(types)
{
	for (size_t i = 1; i < mt_pb_types_n; i++)
		ck_assert_str_lt(mt_pb_types[i - 1]->name, mt_pb_types[i]->name);
	ck_assert_ptr_eq(mt_pb_type("istio.networking.v1alpha3.VirtualService"),
		&nw__virtual_service__descriptor);
	ck_assert_ptr_eq(mt_pb_type("type.googleapis.com/google.protobuf.Struct"),
		&google__protobuf__struct__descriptor);
	ck_assert_ptr_null(mt_pb_type("x"));
	ck_assert_ptr_null(mt_pb_type(""));
}
END_TEST

START_TEST(kinds)
{
	for (size_t i = 0; i < MT_KIND_N; i++) {
		const struct mt_kind *k = &mt_kinds[i];
		ck_assert_int_eq(k->id, (int)i);
		ck_assert_ptr_eq(mt_kind_by_type_url(k->type_url), k);
		ck_assert_ptr_eq(mt_kind_by_name(k->plural), k);
		ck_assert_ptr_eq(mt_kind_by_name(k->kind), k);
		ck_assert_ptr_nonnull(mt_pb_type(k->spec->name));
	}
	const struct mt_kind *vs = &mt_kinds[MT_KIND_VIRTUAL_SERVICE];
	ck_assert_str_eq(vs->type_url, "networking.istio.io/v1alpha3/VirtualService");
	ck_assert_ptr_eq(mt_kind_by_api("networking.istio.io/v1beta1", "VirtualService"), vs);
	ck_assert_ptr_eq(mt_kind_by_api("networking.istio.io/v1", "VirtualService"), vs);
	ck_assert_ptr_null(mt_kind_by_api("networking.istio.io/v", "VirtualService"));
	ck_assert_ptr_null(mt_kind_by_api("networking.istio.io/", "VirtualService"));
	ck_assert_ptr_null(mt_kind_by_api("networking.istio.io", "VirtualService"));
	ck_assert_ptr_null(mt_kind_by_api("networking.istio.io/v1", "virtualservice"));
	ck_assert_ptr_eq(mt_kind_by_name("VIRTUALSERVICES"), vs);
	ck_assert_ptr_null(mt_kind_by_name("pod"));
}
END_TEST

MT_UNIT(pb, scalars, well_known, fields, any, hostile_bytes, memory_is_limited, types, kinds)
