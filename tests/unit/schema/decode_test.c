#include "common/schema/decode.h"

#include <string.h>

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/base/strs.h"
#include "common/schema/pb.h"
#include "istio/authentication/v1alpha1/authentication.pb-c.h"
#include "istio/networking/v1alpha3/virtual_service.pb-c.h"
#include "istio/policy/v1beta1/policy.pb-c.h"
#include "template/metric.pb-c.h"
#include "tests/unit/unit.h"

static struct mt_objects objects;
static struct mt_diags diags;

static void teardown(void)
{
	mt_objects_clear(&objects);
	mt_diags_clear(&diags);
}

static int decode(const char *text)
{
	mt_objects_clear(&objects);
	mt_diags_clear(&diags);
	return mt_decode_text("a.yaml", text, strlen(text), NULL, &objects, &diags);
}

static void ok(const char *text)
{
	int r = decode(text);
	for (size_t i = 0; i < diags.n; i++)
		fprintf(stderr, "%s\n", mt_diag_format(&diags.v[i]));
	ck_assert_int_eq(r, 0);
}

/* One fault, formatted, equals what is expected. */
static void fault(const char *text, const char *expected)
{
	ck_assert_int_eq(decode(text), MT_INVALID);
	ck_assert_uint_ge(diags.n, 1);
	char *s = mt_diag_format(&diags.v[0]);
	ck_assert_str_eq(s, expected);
	mt_free(s);
}

#define VS                                                                                         \
	"apiVersion: networking.istio.io/v1alpha3\nkind: VirtualService\nmetadata:\n  name: reviews\n"

START_TEST(whole_object)
{
	ok("apiVersion: networking.istio.io/v1\n"
	   "kind: VirtualService\n"
	   "metadata:\n"
	   "  name: reviews\n"
	   "  namespace: shop\n"
	   "  labels: {b: two, a: one}\n"
	   "  annotations:\n"
	   "    note: \"12\"\n"
	   "  creationTimestamp: 2026-11-24T03:12:01Z\n"
	   "spec:\n"
	   "  hosts: [reviews]\n"
	   "  http:\n"
	   "  - match:\n"
	   "    - uri: {prefix: /a}\n"
	   "      headers:\n"
	   "        x-user: {exact: jason}\n"
	   "    route:\n"
	   "    - destination:\n"
	   "        host: reviews\n"
	   "        subset: v2\n"
	   "        port: {number: 9080}\n"
	   "      weight: 25\n"
	   "    - destination: {host: reviews}\n"
	   "      weight: 75\n"
	   "    timeout: 1.5s\n"
	   "    fault:\n"
	   "      abort: {http_status: 503, percentage: {value: 12.5}}\n"
	   "    retries: {attempts: 3, perTryTimeout: 250ms}\n");
	ck_assert_uint_eq(objects.n, 1);
	struct mt_object *o = objects.v[0];
	char buf[100];
	ck_assert_str_eq(mt_object_title(o, buf, sizeof(buf)), "VirtualService shop/reviews");
	ck_assert_str_eq(mt_object_key(o, buf, sizeof(buf)), "shop/reviews");
	ck_assert_str_eq(mt_object_label(o, "a"), "one");
	ck_assert_str_eq(mt_object_label(o, "b"), "two");
	ck_assert_ptr_null(mt_object_label(o, "c"));
	ck_assert_str_eq(mt_object_annotation(o, "note"), "12");
	ck_assert_int_eq(o->created_ns / MT_NS_PER_SEC, 1795489921);
	const Nw__VirtualService *vs = (const Nw__VirtualService *)o->spec;
	ck_assert_uint_eq(vs->n_http, 1);
	const Nw__HTTPRoute *r = vs->http[0];
	ck_assert_uint_eq(r->n_route, 2);
	ck_assert_int_eq(r->route[0]->weight, 25);
	ck_assert_uint_eq(r->route[0]->destination->port->number, 9080);
	ck_assert_int_eq(r->timeout->seconds, 1);
	ck_assert_int_eq(r->timeout->nanos, 500000000);
	ck_assert_int_eq(r->retries->per_try_timeout->nanos, 250000000);
	ck_assert_int_eq(r->match[0]->uri->match_type_case, NW__STRING_MATCH__MATCH_TYPE_PREFIX);
	ck_assert_str_eq(r->match[0]->headers[0]->key, "x-user");

	struct mt_pos p = mt_object_place(o, "spec.http[0].route[1].weight");
	ck_assert_int_eq(p.line, 24);
	ck_assert_int_eq(p.col, 15);
	p = mt_object_place(o, "spec.http[0].fault.abort.httpStatus");
	ck_assert_int_eq(p.line, 27);
	p = mt_object_place(o, "spec.http[0].match[0].headers[\"x-user\"].exact");
	ck_assert_int_eq(p.line, 16);
	p = mt_object_place(o, "spec.http[0].match[0].headers.x-user");
	ck_assert_int_eq(p.line, 16);
	p = mt_object_place(o, "spec.http[0].mirror.host"); /* nearest ancestor */
	ck_assert_int_eq(p.line, 13);
	ck_assert_str_eq(p.file, "a.yaml");
	p = mt_object_place(o, "metadata.labels.a");
	ck_assert_int_eq(p.line, 6);
}
END_TEST

START_TEST(unknown_field)
{
	fault(VS "spec:\n  hosts: [a]\n  http:\n  - timeot: 5s\n",
		"a.yaml:8:5: error: VirtualService default/reviews: spec.http[0]: unknown field "
		"\"timeot\" (did you mean \"timeout\"?)");
	fault(VS "spec:\n  hosts: [a]\n  zebra: 1\n",
		"a.yaml:7:3: error: VirtualService default/reviews: spec: unknown field \"zebra\"");
	fault(VS "sepc: {}\n",
		"a.yaml:5:1: error: VirtualService default/reviews: unknown field \"sepc\" (did you mean "
		"\"spec\"?)");
	fault("apiVersion: networking.istio.io/v1\nkind: VirtualServce\nmetadata: {name: a}\n",
		"a.yaml:2:7: error: kind: unknown kind VirtualServce in networking.istio.io/v1 (did you "
		"mean VirtualService?)");
	fault("apiVersion: networking.istio.io/v9\nkind: Gateway\nmetadata: {name: a}\n",
		"a.yaml:1:13: error: apiVersion: networking.istio.io/v9 is not a version of Gateway: it "
		"is in networking.istio.io (v1alpha3,v1beta1,v1)");
}
END_TEST

START_TEST(every_fault_is_found)
{
	ck_assert_int_eq(decode(VS "spec:\n  hosts: 5\n  gatways: []\n  http:\n  - timeout: 5\n"
				   "    route: {}\n    rewrite: [1]\n"),
		MT_INVALID);
	ck_assert_uint_eq(diags.n, 5);
	ck_assert_uint_eq(objects.n, 0);
}
END_TEST

START_TEST(oneofs)
{
	fault(VS "spec:\n  http:\n  - match:\n    - uri: {exact: /a, prefix: /b}\n",
		"a.yaml:8:24: error: VirtualService default/reviews: spec.http[0].match[0].uri.prefix: "
		"only one of exact and prefix may be set");
	ok(VS "spec:\n  http:\n  - match:\n    - uri: {exact: /a, prefix: null}\n");
	/* An empty string in a oneof is a value. */
	ok(VS "spec:\n  http:\n  - match:\n    - uri: {exact: \"\"}\n");
	const Nw__VirtualService *vs = (const Nw__VirtualService *)objects.v[0]->spec;
	struct mt_arena *a = mt_arena_new(0);
	vs = (const Nw__VirtualService *)mt_pb_dup(&vs->base, a);
	ck_assert_int_eq(
		vs->http[0]->match[0]->uri->match_type_case, NW__STRING_MATCH__MATCH_TYPE_EXACT);
	mt_arena_free(a);
}
END_TEST

START_TEST(duplicates)
{
	fault(VS "spec:\n  hosts: [a]\n  hosts: [b]\n",
		"a.yaml:7:3: error: spec: duplicate key \"hosts\"");
	fault(VS
		"spec:\n  http:\n  - match:\n    - ignoreUriCase: true\n      ignore_uri_case: true\n",
		"a.yaml:9:7: error: VirtualService default/reviews: spec.http[0].match[0]: the field "
		"\"ignore_uri_case\" stands twice");
}
END_TEST

START_TEST(many_documents)
{
	ok("---\n" VS "---\n# nothing here\n---\n" VS "---\n...\n");
	ck_assert_uint_eq(objects.n, 2);
	ok("");
	ck_assert_uint_eq(objects.n, 0);
	ok("# only a comment\n");
	/* The good one of two stays; the bad one is reported. */
	ck_assert_int_eq(decode(VS "---\nkind: x\n---\n" VS), MT_INVALID);
	ck_assert_uint_eq(objects.n, 2);
	ok("apiVersion: v1\nkind: List\nitems:\n- apiVersion: networking.istio.io/v1\n"
	   "  kind: Gateway\n  metadata: {name: a}\n- apiVersion: networking.istio.io/v1\n"
	   "  kind: Gateway\n  metadata: {name: b}\n");
	ck_assert_uint_eq(objects.n, 2);
	fault("hello\n",
		"a.yaml:1:1: error: an object (apiVersion, kind, metadata, spec) is expected, "
		"not the string \"hello\"");
}
END_TEST

START_TEST(metadata)
{
	fault("apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: A_b}\n",
		"a.yaml:3:18: error: Gateway default/A_b: metadata.name: \"A_b\" is not a name: lower-case "
		"letters, digits, '-' and '.', at most 253");
	fault("apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {}\n",
		"a.yaml:3:11: error: metadata: name is missing");
	fault("apiVersion: networking.istio.io/v1\nkind: Gateway\nspec: {}\n",
		"a.yaml:1:1: error: metadata: it is missing");
	fault("apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: a, nmespace: b}\n",
		"a.yaml:3:21: error: Gateway default/a: metadata: unknown field \"nmespace\" (did you mean "
		"\"namespace\"?)");
	fault("apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata:\n  name: a\n  labels:\n"
	      "    version: 1.10\n",
		"a.yaml:6:14: error: Gateway default/a: metadata.labels.version: a string is expected, not "
		"the number 1.10: write it in quotes");
	fault("apiVersion: authentication.istio.io/v1alpha1\nkind: MeshPolicy\nmetadata: {name: default, "
	      "namespace: a}\n",
		"a.yaml:3:38: error: MeshPolicy a/default: metadata.namespace: a MeshPolicy belongs to no "
		"namespace");
	ok("apiVersion: mesh.istio.io/v1alpha1\nkind: MeshConfig\nmetadata: {name: default}\nspec:\n"
	   "  policyCheckFailOpen: true\n  connectTimeout: 1s\n");
	ck_assert_str_eq(objects.v[0]->ns, "");
}
END_TEST

START_TEST(expressions_may_be_bare)
{
	ok("apiVersion: config.istio.io/v1alpha2\nkind: metric\nmetadata: {name: a}\nspec:\n  value: 1\n"
	   "  dimensions:\n    code: response.code | 200\n    reporter: true\n");
	const TemplateMetric__InstanceParam *m =
		(const TemplateMetric__InstanceParam *)objects.v[0]->spec;
	ck_assert_str_eq(m->value, "1");
	ck_assert_str_eq(m->dimensions[0]->key, "code");
	ck_assert_str_eq(m->dimensions[1]->value, "true");
	ok("apiVersion: config.istio.io/v1alpha2\nkind: handler\nmetadata: {name: a}\nspec:\n"
	   "  compiledAdapter: listchecker\n  params:\n    overrides: [a, \"1\", 2]\n    blacklist: true\n");
	const Policy__Handler *h = (const Policy__Handler *)objects.v[0]->spec;
	ck_assert_str_eq(h->compiled_adapter, "listchecker");
	ck_assert_uint_eq(h->params->n_fields, 2);
	ck_assert_str_eq(h->params->fields[0]->key, "blacklist");
	struct mt_pos p = mt_object_place(objects.v[0], "spec.params.overrides[2]");
	ck_assert_int_eq(p.line, 7);
	ck_assert_int_eq(p.col, 25);
}
END_TEST

START_TEST(null_for_a_method)
{
	ok("apiVersion: authentication.istio.io/v1alpha1\nkind: Policy\nmetadata: {name: default}\n"
	   "spec:\n  peers:\n  - mtls:\n");
	const Authn__Policy *p = (const Authn__Policy *)objects.v[0]->spec;
	ck_assert_int_eq(p->peers[0]->params_case, AUTHN__PEER_AUTHENTICATION_METHOD__PARAMS_MTLS);
	ck_assert_ptr_nonnull(p->peers[0]->mtls);
}
END_TEST

START_TEST(equal_content_equal_hash)
{
	ok(VS "spec:\n  hosts: [a]\n  http:\n  - appendHeaders: {a: x, b: y}\n");
	uint64_t h = objects.v[0]->hash;
	ok("{\"apiVersion\": \"networking.istio.io/v1alpha3\", \"kind\": \"VirtualService\", \"metadata\": "
	   "{\"name\": \"reviews\"}, \"spec\": {\"http\": [{\"append_headers\": {\"b\": \"y\", \"a\": "
	   "\"x\"}}], \"hosts\": [\"a\"]}}");
	ck_assert_uint_eq(objects.v[0]->hash, h);
	ok(VS "spec:\n  hosts: [b]\n  http:\n  - appendHeaders: {a: x, b: y}\n");
	ck_assert_uint_ne(objects.v[0]->hash, h);
}
END_TEST

START_TEST(there_and_back)
{
	ok("apiVersion: networking.istio.io/v1alpha3\nkind: VirtualService\nmetadata:\n  name: reviews\n"
	   "  labels: {version: \"1.10\", on: \"no\"}\nspec:\n  hosts: [\"*\", a.b, \"10\"]\n  http:\n"
	   "  - match:\n    - uri: {regex: \"^a: #b\\\\d+$\"}\n    - queryParams: {\"x: y\": {exact: \" \"}}\n"
	   "    route: [{destination: {host: a, port: {number: 1}}, weight: 3}]\n    timeout: 0.5s\n"
	   "    headers: {request: {set: {a: \"line\\nbreak\", b: \"\\u00e9\", c: \"<<\"}}}\n");
	struct mt_object *o = mt_object_ref(objects.v[0]);
	json_t *j = mt_object_to_json(o);
	char *yaml = mt_json_to_yaml(j);
	ok(yaml);
	ck_assert_uint_eq(objects.n, 1);
	ck_assert_uint_eq(objects.v[0]->hash, o->hash);
	mt_objects_clear(&objects);
	ck_assert_int_eq(mt_decode_json(NULL, j, &objects, &diags), 0);
	ck_assert_uint_eq(objects.v[0]->hash, o->hash);
	mt_free(yaml);
	json_decref(j);
	mt_object_unref(o);
}
END_TEST

START_TEST(limits)
{
	struct mt_decode_limits l = { .objects = 2, .bytes = 1000 };
	teardown();
	const char *text = VS "---\n" VS "---\n" VS "---\n" VS;
	ck_assert_int_eq(mt_decode_text("a", text, strlen(text), &l, &objects, &diags), MT_INVALID);
	ck_assert_uint_eq(objects.n, 2);
	ck_assert_uint_eq(diags.n, 1);
	mt_diags_clear(&diags);
	l.bytes = 10;
	ck_assert_int_eq(mt_decode_text("a", text, strlen(text), &l, &objects, &diags), MT_INVALID);
	ck_assert_str_eq(diags.v[0].msg, "364 bytes, more than the limit of 10");
}
END_TEST

START_TEST(cleans_up)
{
	teardown();
}
END_TEST

MT_UNIT(decode, whole_object, unknown_field, every_fault_is_found, oneofs, duplicates,
	many_documents, metadata, expressions_may_be_bare, null_for_a_method,
	equal_content_equal_hash, there_and_back, limits, cleans_up)
