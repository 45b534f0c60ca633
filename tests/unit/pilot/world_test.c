#include "pilot/model/world.h"

#include <string.h>

#include "pilot/model/class.h"
#include "tests/unit/pilot/world_fixture.h"

static const char two_services[] = "kind: ServiceEntry\n"
				   "apiVersion: networking.istio.io/v1alpha3\n"
				   "metadata: {name: a, namespace: default}\n"
				   "spec:\n"
				   "  hosts: [a.default.svc.cluster.local]\n"
				   "  resolution: STATIC\n"
				   "  ports: [{number: 80, name: http, protocol: HTTP}]\n"
				   "  endpoints:\n"
				   "  - {address: 10.0.0.1, labels: {app: a, version: v1}}\n"
				   "  - {address: 10.0.0.2, labels: {app: a, version: v2}}\n"
				   "---\n"
				   "kind: ServiceEntry\n"
				   "apiVersion: networking.istio.io/v1alpha3\n"
				   "metadata: {name: b, namespace: other}\n"
				   "spec:\n"
				   "  hosts: [b.other.svc.cluster.local]\n"
				   "  exportTo: [\".\"]\n"
				   "  resolution: STATIC\n"
				   "  ports: [{number: 80, name: http, protocol: HTTP}]\n"
				   "  endpoints: [{address: 10.0.0.1, labels: {app: b}}]\n";

START_TEST(finds)
{
	struct fixture f;
	fixture_load(&f, two_services);
	ck_assert_uint_eq(pilot_world_nservices(f.w), 2);
	ck_assert_int_eq(pilot_world_find(f.w, "a.default.svc.cluster.local", "any"), 0);
	ck_assert_int_eq(pilot_world_find(f.w, "b.other.svc.cluster.local", "other"), 1);
	ck_assert_int_eq(pilot_world_find(f.w, "b.other.svc.cluster.local", "default"), -1);
	ck_assert_int_eq(pilot_world_find(f.w, "b.other.svc.cluster.local", ""), 1);
	ck_assert_int_eq(pilot_world_find(f.w, "nobody", ""), -1);
	fixture_clear(&f);
}
END_TEST

/* Two records of one name, as old as each other: the order in which they came does not decide. */
START_TEST(equals_are_told_apart_by_name)
{
	static const char entry[] = "kind: ServiceEntry\n"
				    "apiVersion: networking.istio.io/v1alpha3\n"
				    "metadata: {name: %s, namespace: default}\n"
				    "spec:\n"
				    "  hosts: [one.example]\n"
				    "  resolution: STATIC\n"
				    "  ports: [{number: 80, name: http, protocol: HTTP}]\n"
				    "  endpoints: [{address: %s}]\n---\n";
	for (int order = 0; order < 2; order++) {
		struct mt_buf b = { 0 };
		for (int i = 0; i < 2; i++) {
			bool first = i == order;
			mt_buf_printf(
				&b, entry, first ? "a" : "b", first ? "10.0.0.1" : "10.0.0.2");
		}
		struct fixture f;
		const struct pilot_endpoints *eps;
		fixture_load(&f, mt_buf_str(&b));
		int at = pilot_world_find(f.w, "one.example", "default");
		ck_assert_int_ge(at, 0);
		ck_assert_str_eq(pilot_world_service(f.w, (size_t)at, &eps)->name, "a");
		ck_assert_str_eq(eps->v[0].address, "10.0.0.1");
		fixture_clear(&f);
		mt_buf_clear(&b);
	}
}
END_TEST

START_TEST(an_endpoint_change_shares_the_rest)
{
	struct fixture f, g;
	const struct pilot_endpoints *before, *after, *other;
	fixture_load(&f, two_services);
	char *text = mt_strdup(two_services);
	memcpy(strstr(text, "10.0.0.2"), "10.0.0.9", 8);
	fixture_load(&g, text);
	mt_free(text);

	struct pilot_endpoints_change c = { "a.default.svc.cluster.local", "default",
		g.svcs.v[0].eps };
	struct pilot_world *w = pilot_world_update(f.w, &c, 1);
	ck_assert_ptr_nonnull(w);
	pilot_world_service(f.w, 0, &before);
	pilot_world_service(w, 0, &after);
	ck_assert_str_eq(before->v[1].address, "10.0.0.2");
	ck_assert_str_eq(after->v[1].address, "10.0.0.9");
	ck_assert_uint_ne(before->hash, after->hash);
	pilot_world_service(f.w, 1, &before);
	pilot_world_service(w, 1, &other);
	ck_assert_ptr_eq(before, other);
	ck_assert_uint_eq(pilot_world_index_hash(f.w), pilot_world_index_hash(w));
	ck_assert_uint_ne(pilot_world_addresses_hash(f.w), pilot_world_addresses_hash(w));

	c.hostname = "unknown";
	ck_assert_ptr_null(pilot_world_update(f.w, &c, 1));
	fixture_clear(&f); /* the derived one lives on */
	pilot_world_service(w, 1, &other);
	ck_assert_str_eq(other->v[0].address, "10.0.0.1");
	pilot_world_unref(w);
	fixture_clear(&g);
}
END_TEST

static size_t instances(const struct pilot_world *w, const char *ip, const char *ns,
	const char *labels, struct mt_arena *a, struct pilot_instance **ret)
{
	struct pilot_proxy *p = proxy_make(ip, ns, labels);
	size_t n = pilot_world_instances(w, p, a, ret);
	pilot_proxy_unref(p);
	return n;
}

/* Two workloads share 10.0.0.1; namespace and labels tell them apart. */
START_TEST(instances_of_a_proxy)
{
	struct fixture f;
	struct pilot_instance *v;
	struct mt_arena *a = mt_arena_new(0);
	fixture_load(&f, two_services);
	ck_assert_uint_eq(instances(f.w, "10.0.0.1", "default", "\"app\": \"a\"", a, &v), 1);
	ck_assert_uint_eq(v[0].service, 0);
	ck_assert_uint_eq(v[0].endpoint, 0);
	ck_assert_uint_eq(instances(f.w, "10.0.0.1", "other", "", a, &v), 1);
	ck_assert_uint_eq(v[0].service, 1);
	ck_assert_uint_eq(instances(f.w, "10.0.0.1", "default", "\"app\": \"c\"", a, &v), 0);
	ck_assert_uint_eq(instances(f.w, "10.0.0.3", "default", "", a, &v), 0);
	fixture_clear(&f);
	mt_arena_free(a);
}
END_TEST

static bool same_key(const struct pilot_world *w, enum pilot_table t, const struct pilot_proxy *p,
	const struct pilot_proxy *q)
{
	struct mt_arena *a = mt_arena_new(0);
	struct pilot_class_key x[PILOT_TABLES], y[PILOT_TABLES];
	pilot_class_keys(w, p, a, x);
	pilot_class_keys(w, q, a, y);
	bool same = strcmp(x[t].text, y[t].text) == 0;
	ck_assert_int_eq(same, x[t].hash == y[t].hash);
	mt_arena_free(a);
	return same;
}

START_TEST(class_keys)
{
	struct fixture f;
	char *text = mt_asprintf(
		"%s---\n"
		"kind: VirtualService\n"
		"apiVersion: networking.istio.io/v1alpha3\n"
		"metadata: {name: a, namespace: default}\n"
		"spec:\n"
		"  hosts: [a]\n"
		"  http: [{match: [{sourceLabels: {role: x}}], route: [{destination: {host: "
		"a}}]}]\n",
		two_services);
	fixture_load(&f, text);
	mt_free(text);
	struct pilot_proxy *p = proxy_make("10.0.0.1", "default", "\"app\": \"a\"");
	struct pilot_proxy *q = proxy_make("10.0.0.2", "default", "\"app\": \"other\"");
	struct pilot_proxy *r = proxy_make("10.0.0.2", "default", "\"role\": \"x\"");
	struct pilot_proxy *s = proxy_make("10.0.0.2", "other", "\"app\": \"a\"");
	/* No selector mentions app. */
	ck_assert(same_key(f.w, PILOT_CLUSTERS, p, q));
	ck_assert(same_key(f.w, PILOT_ROUTES, p, q));
	ck_assert(same_key(f.w, PILOT_ENDPOINTS, p, q));
	ck_assert(!same_key(f.w, PILOT_LISTENERS_INBOUND, p, q));
	ck_assert(!same_key(f.w, PILOT_ROUTES, p, r));
	ck_assert(!same_key(f.w, PILOT_CLUSTERS, p, s));
	/* A label that spells another key out is another text. */
	struct pilot_proxy *t = proxy_make("10.0.0.2", "default", "\"role\": \"x region=0:\"");
	ck_assert(!same_key(f.w, PILOT_ROUTES, r, t));
	pilot_proxy_unref(p);
	pilot_proxy_unref(q);
	pilot_proxy_unref(r);
	pilot_proxy_unref(s);
	pilot_proxy_unref(t);
	fixture_clear(&f);
}
END_TEST

START_TEST(class_keys_of_credentials)
{
	struct fixture f;
	fixture_load(&f,
		"kind: DestinationRule\n"
		"apiVersion: networking.istio.io/v1alpha3\n"
		"metadata: {name: a, namespace: default}\n"
		"spec:\n"
		"  host: a.example\n"
		"  subsets:\n"
		"  - {name: v1, trafficPolicy: {tls: {mode: SIMPLE, credentialName: one}}}\n"
		"---\n"
		"kind: Gateway\n"
		"apiVersion: networking.istio.io/v1alpha3\n"
		"metadata: {name: b, namespace: default}\n"
		"spec:\n"
		"  servers:\n"
		"  - hosts: ['*']\n"
		"    port: {number: 443, name: https, protocol: HTTPS}\n"
		"    tls: {mode: SIMPLE, credentialName: two}\n");
	struct pilot_proxy *p = proxy_make("10.0.0.1", "default", "\"app\": \"a\"");
	static const char *const has[][3] = { { "one-cacert", "two", "other" },
		{ "two", "one-cacert", "one" }, { "two" }, { "one-cacert" } };
	static const size_t n[] = { 3, 3, 1, 1 };
	struct pilot_proxy *q[MT_ARRAY_SIZE(n)];
	p->sds = true;
	for (size_t i = 0; i < MT_ARRAY_SIZE(n); i++)
		q[i] = pilot_proxy_with_credentials(p, has[i], n[i]);
	/* What no rule names parts nobody; who has not said what it has is a kind of its own. */
	for (size_t i = 0; i < MT_ARRAY_SIZE(n); i++) {
		ck_assert(!same_key(f.w, PILOT_LISTENERS, p, q[i]));
		for (size_t k = 0; k < i; k++)
			ck_assert_int_eq(
				same_key(f.w, PILOT_LISTENERS, q[i], q[k]), i == 1 && k == 0);
	}
	for (size_t i = 0; i < MT_ARRAY_SIZE(n); i++)
		pilot_proxy_unref(q[i]);
	pilot_proxy_unref(p);
	fixture_clear(&f);
}
END_TEST

START_TEST(protocols)
{
	enum pilot_protocol p;
	ck_assert_int_eq(pilot_protocol_parse("grpc-web", &p), 0);
	ck_assert_int_eq(p, PILOT_GRPC_WEB);
	ck_assert_int_eq(pilot_protocol_parse("HTTP2", &p), 0);
	ck_assert_int_eq(p, PILOT_HTTP2);
	ck_assert_int_eq(pilot_protocol_parse("smtp", &p), MT_INVALID);
	ck_assert_int_eq(pilot_protocol_of("", "http-web", 80), PILOT_HTTP);
	ck_assert_int_eq(pilot_protocol_of("", "https", 80), PILOT_HTTPS);
	ck_assert_int_eq(pilot_protocol_of("", "httpx", 80), PILOT_AUTO);
	ck_assert_int_eq(pilot_protocol_of("", "grpc-api", 80), PILOT_GRPC);
	ck_assert_int_eq(pilot_protocol_of("", "grpc-web", 80), PILOT_GRPC_WEB);
	ck_assert_int_eq(pilot_protocol_of("TCP", "http", 80), PILOT_TCP);
	ck_assert_int_eq(pilot_protocol_of("", "", 80), PILOT_AUTO);
	ck_assert_int_eq(pilot_protocol_of("", "db", 3306), PILOT_TCP);
}
END_TEST

START_TEST(bad_entries)
{
	static const char *const bad[] = { "ports: [{number: 70000, name: http}]",
		"ports: [{number: 80, name: http, protocol: SMTP}]",
		"ports: [{number: 80, name: http}]\n  endpoints: [{address: not-an-ip}]" };
	for (size_t i = 0; i < MT_ARRAY_SIZE(bad); i++) {
		struct mt_objects objs = { 0 };
		struct mt_diags diags = { 0 };
		struct pilot_services_in out = { 0 };
		struct mt_err err = { 0 };
		char *text = mt_asprintf("kind: ServiceEntry\n"
					 "apiVersion: networking.istio.io/v1alpha3\n"
					 "metadata: {name: a}\n"
					 "spec:\n  hosts: [a.b, c.d]\n  resolution: STATIC\n  %s\n",
			bad[i]);
		ck_assert_int_eq(mt_decode_text("t", text, strlen(text), NULL, &objs, &diags), 0);
		ck_assert_int_eq(
			pilot_service_entry(objs.v[0], 1, NULL, 0, &out, &err), MT_INVALID);
		ck_assert_str_ne(err.path, "");
		ck_assert_uint_eq(out.n, 0);
		mt_free(text);
		mt_objects_clear(&objs);
		mt_diags_clear(&diags);
		pilot_services_in_clear(&out);
	}
}
END_TEST

MT_UNIT(world, finds, equals_are_told_apart_by_name, an_endpoint_change_shares_the_rest,
	instances_of_a_proxy, class_keys, class_keys_of_credentials, protocols, bad_entries)
