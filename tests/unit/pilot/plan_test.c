/* The promise that the push engine lives on: equal name, equal fingerprint, equal bytes. Random
 * configurations that differ in a few things at a time are translated for several proxies; whatever
 * was seen before under one name and fingerprint must be built to the same bytes again. */
#include <stdio.h>
#include <string.h>

#include "common/base/map.h"
#include "pilot/translate/translate.h"
#include "tests/unit/pilot/world_fixture.h"

static uint32_t seed = 1;

static uint32_t rnd(uint32_t n)
{
	seed = seed * 1664525u + 1013904223u;
	return (seed >> 8) % n;
}

static void random_telemetry(struct mt_buf *b)
{
	if (rnd(3) == 0)
		mt_buf_printf(b,
			"---\nkind: Telemetry\napiVersion: telemetry.istio.io/v1\n"
			"metadata: {name: t, namespace: n0}\nspec:\n  selector: {matchLabels: {role: r1}}\n"
			"  accessLogging: [{match: {mode: CLIENT}}]\n"
			"  tracing: [{providers: [{name: p}], randomSamplingPercentage: %u}]\n",
			rnd(2));
}

/* A patch of each kind, each there or not. */
static void random_patches(struct mt_buf *b)
{
	static const char *const patches[] = {
		"{applyTo: CLUSTER, match: {cluster: {portNumber: 80}}, patch: {operation: MERGE, value: {connect_timeout: 7s}}}",
		"{applyTo: CLUSTER, match: {cluster: {service: s1.n1.svc.cluster.local}}, patch: {operation: REMOVE}}",
		"{applyTo: CLUSTER, patch: {operation: ADD, value: {name: extra}}}",
		"{applyTo: HTTP_FILTER, match: {listener: {portName: http}}, patch: {operation: INSERT_FIRST, value: {name: x}}}",
		"{applyTo: LISTENER, match: {context: SIDECAR_INBOUND}, patch: {operation: MERGE, value: {stat_prefix: a}}}",
		"{applyTo: ROUTE_CONFIGURATION, match: {routeConfiguration: {name: '80'}}, patch: {operation: MERGE, value: {request_headers_to_remove: [a]}}}",
		"{applyTo: VIRTUAL_HOST, match: {routeConfiguration: {portNumber: 80}}, patch: {operation: MERGE, value: {request_headers_to_remove: [b]}}}",
		"{applyTo: HTTP_ROUTE, match: {routeConfiguration: {vhost: {route: {action: ROUTE}}}}, patch: {operation: MERGE, value: {response_headers_to_remove: [c]}}}",
		"{applyTo: VIRTUAL_HOST, match: {routeConfiguration: {vhost: {name: allow_any}}}, patch: {operation: REMOVE}}",
	};
	if (rnd(3))
		return;
	mt_buf_printf(b,
		"---\nkind: EnvoyFilter\napiVersion: networking.istio.io/v1alpha3\n"
		"metadata: {name: e, namespace: %s}\nspec:\n  workloadSelector: {labels: {role: r%u}}\n"
		"  configPatches:\n",
		rnd(2) ? "istio-system" : "n0", rnd(2));
	for (size_t i = 0; i < MT_ARRAY_SIZE(patches); i++)
		if (rnd(2))
			mt_buf_printf(b, "  - %s\n", patches[i]);
}

/* Each part has a few variants; a part may be missing. */
static void random_config(struct mt_buf *b)
{
	static const char *const lb[] = { "simple: RANDOM", "simple: PASSTHROUGH",
		"consistentHash: {httpHeaderName: x}" };
	static const char *const tls[] = { "", ", tls: {mode: ISTIO_MUTUAL}",
		", tls: {mode: DISABLE}" };
	static const char *const protocols[] = { "HTTP", "HTTP", "GRPC", "\"\"" };
	static const char *const tcp[] = { "tcp", "mongo", "any" };
	b->n = 0;
	/* First, so that their ids do not depend on what else there is. */
	if (rnd(2))
		mt_buf_printf(b,
			"---\nkind: MeshConfig\napiVersion: mesh.istio.io/v1alpha1\n"
			"metadata: {name: default}\nspec: {connectTimeout: %us%s%s}\n",
			1 + rnd(2), rnd(2) ? ", mixerCheckServer: \"127.0.0.1:9091\"" : "",
			rnd(2) ? ", extensionProviders: [{name: p, zipkin: {service: s1.n1.svc.cluster.local, port: 80}}]"
			       : "");
	random_telemetry(b);
	random_patches(b);
	for (int s = 0; s < 4; s++) {
		if (rnd(8) == 0)
			continue;
		mt_buf_printf(b,
			"---\nkind: ServiceEntry\napiVersion: networking.istio.io/v1alpha3\n"
			"metadata: {name: s%d, namespace: n%d}\nspec:\n"
			"  hosts: [s%d.n%d.svc.cluster.local]\n  location: MESH_INTERNAL\n"
			"  resolution: %s\n  exportTo: [\"%s\"]\n"
			"  ports: [{number: 80, name: http, protocol: %s}, {number: %u, name: %s}]\n"
			"  endpoints: [{address: 10.0.%d.%u, serviceAccount: sa%u, labels: {app: s%d, "
			"version: v%u, security.istio.io/tlsMode: istio}}, {address: 10.0.%d.200, "
			"locality: r/z%u}]\n",
			s, s % 2, s, s % 2, rnd(4) ? "STATIC" : "DNS", rnd(3) ? "*" : ".",
			protocols[rnd(4)], 90 + rnd(2), tcp[rnd(3)], s, 1 + rnd(2), rnd(2), s,
			1 + rnd(2), s, rnd(2));
	}
	for (int s = 0; s < 4; s++) {
		if (rnd(2))
			mt_buf_printf(b,
				"---\nkind: VirtualService\napiVersion: networking.istio.io/v1alpha3\n"
				"metadata: {name: v%d, namespace: n%d}\nspec:\n  hosts: [s%d%s]\n"
				"  gateways: [%s]\n  http:\n"
				"  - match: [{uri: {prefix: /x%u}, sourceLabels: {role: r%u}}]\n"
				"    route: [{destination: {host: s%u, subset: v%u}}]\n"
				"  - route: [{destination: {host: s%d, subset: v1}, weight: %u}, "
				"{destination: {host: s%u.n%u.svc.cluster.local}, weight: 50}]\n"
				"  tcp: [{match: [{destinationSubnets: [10.%u.0.0/16]}, {sourceSubnet: 10.%u.0.0/16}],"
				" route: [{destination: {host: s%u}}]},"
				" {route: [{destination: {host: s%u, port: {number: 90}}}]}]\n"
				"  tls: [{match: [{sniHosts: [a.x, b%u.x]}, {sniHosts: [b0.x, c.x], sourceLabels: {role: r%u}}],"
				" route: [{destination: {host: s%u, subset: v%u}}]}]\n",
				s, s % 2, s, rnd(3) ? "" : ".example.com",
				rnd(2) ? "mesh, gw" : "mesh", rnd(2), rnd(2), rnd(4), 1 + rnd(2), s,
				50 + rnd(2), rnd(4), rnd(2), rnd(2), rnd(2), rnd(4), rnd(4), rnd(2),
				rnd(2), rnd(4), 1 + rnd(2));
		if (rnd(3) == 0)
			mt_buf_printf(b,
				"---\nkind: VirtualService\napiVersion: networking.istio.io/v1\n"
				"metadata: {name: root%d, namespace: n%d}\nspec:\n  hosts: [root%d.example.com]\n"
				"  gateways: [mesh, gw]\n  http:\n"
				"  - {match: [{uri: {prefix: /x}}], delegate: {name: leaf, namespace: n%u}}\n",
				s, s % 2, s, rnd(2));
		if (rnd(2))
			mt_buf_printf(b,
				"---\nkind: DestinationRule\napiVersion: networking.istio.io/v1alpha3\n"
				"metadata: {name: d%d, namespace: n%u}\nspec:\n"
				"  host: s%d.n%d.svc.cluster.local\n  exportTo: [\"%s\"]\n"
				"  trafficPolicy: {loadBalancer: {%s}%s}\n"
				"  subsets: [{name: v1, labels: {version: v%u}}, {name: v2, labels: "
				"{version: v2}}]\n",
				s, rnd(2), s, s % 2, rnd(3) ? "*" : ".", lb[rnd(3)], tls[rnd(3)],
				1 + rnd(2));
	}
	for (int n = 0; n < 2; n++)
		if (rnd(2))
			mt_buf_printf(b,
				"---\nkind: VirtualService\napiVersion: networking.istio.io/v1\n"
				"metadata: {name: leaf, namespace: n%d}\nspec:\n  exportTo: [\"%s\"]\n  http:\n"
				"  - {match: [{uri: {exact: /x/%u}}], route: [{destination: {host: s%u}}]}\n"
				"  - {timeout: %us, route: [{destination: {host: s%u, subset: v%u}}]}\n",
				n, rnd(3) ? "*" : ".", rnd(2), rnd(4), 1 + rnd(2), rnd(4),
				1 + rnd(2));
	if (rnd(2))
		mt_buf_printf(b,
			"---\nkind: Sidecar\napiVersion: networking.istio.io/v1alpha3\n"
			"metadata: {name: sc, namespace: n0}\nspec:\n  egress: [{hosts: [\"%s/*\"]}]\n",
			rnd(2) ? "." : "*");
	if (rnd(2))
		mt_buf_printf(b,
			"---\nkind: Gateway\napiVersion: networking.istio.io/v1alpha3\n"
			"metadata: {name: gw, namespace: n%u}\nspec:\n  selector: {app: s0}\n"
			"  servers: [{port: {number: 8080, name: http, protocol: HTTP}, hosts: [\"*%s\"]},"
			" {port: {number: 8081, name: tcp, protocol: TCP}, hosts: [\"*\"]},"
			" {port: {number: 8082, name: tls, protocol: TLS}, hosts: [\"*\"], tls: {mode: PASSTHROUGH}}]\n",
			rnd(2), rnd(2) ? "" : ".example.com");
	if (rnd(3) == 0)
		mt_buf_printf(b,
			"---\nkind: PeerAuthentication\napiVersion: security.istio.io/v1beta1\n"
			"metadata: {name: pa, namespace: n%u}\nspec: {mtls: {mode: %s}}\n",
			rnd(2), rnd(2) ? "STRICT" : "DISABLE");
}

static void check_item(
	struct mt_map *seen, struct pilot_job *j, enum pilot_table t, const struct pilot_item *it)
{
	struct pilot_built b;
	char key[600];
	pilot_build(j, it, &b);
	uint64_t h = mt_pb_hash(b.msg);
	snprintf(key, sizeof(key), "%d %016llx %s", t, (unsigned long long)it->fp, it->name);
	uint64_t *old = mt_map_get(seen, key);
	if (old) {
		ck_assert_msg(*old == h, "%s: equal fingerprints, different bytes", key);
		return;
	}
	old = mt_alloc(sizeof(*old));
	*old = h;
	mt_map_put(seen, key, old);
}

static void check_table(struct mt_map *seen, struct pilot_job *j, enum pilot_table t)
{
	struct pilot_plan p;
	pilot_plan(j, t, &p);
	for (size_t i = 0; i < p.n; i++) {
		struct pilot_route_plan rp;
		if (i)
			ck_assert_str_lt(p.v[i - 1].name, p.v[i].name);
		check_item(seen, j, t, &p.v[i]);
		if (t != PILOT_ROUTES)
			continue;
		pilot_plan_route(j, &p.v[i], &rp);
		for (size_t k = 0; k < rp.vhosts.n; k++)
			check_item(seen, j, PILOT_TABLES, &rp.vhosts.v[k]);
	}
}

static struct pilot_proxy *router(void)
{
	struct pilot_proxy *p = NULL;
	struct mt_err err;
	ck_assert_int_eq(proxy_of_json("{\"id\": \"router~10.9.0.1~gw.n0~n0.svc.cluster.local\","
				       "\"metadata\": {\"LABELS\": {\"app\": \"s0\"}}}",
				 &p, &err),
		0);
	return p;
}

START_TEST(fingerprints_cover_all_that_is_read)
{
	struct mt_map *seen = mt_map_new();
	struct mt_buf text = { 0 };
	struct pilot_proxy *p[] = { proxy_make("10.0.0.1", "n0", "\"role\": \"r1\""),
		proxy_make("10.0.1.1", "n1",
			"\"role\": \"r0\", \"security.istio.io/tlsMode\": \"istio\""),
		proxy_make("10.0.9.9", "n1", ""), router() };
	for (int round = 0; round < 1500; round++) {
		struct fixture f;
		random_config(&text);
		if (!text.n)
			continue;
		fixture_load(&f, mt_buf_str(&text));
		for (size_t i = 0; i < MT_ARRAY_SIZE(p); i++) {
			struct mt_arena *a = mt_arena_new(0);
			struct pilot_job *j = pilot_job_new(f.w, p[i], a);
			for (int t = 0; t < PILOT_TABLES; t++)
				check_table(seen, j, (enum pilot_table)t);
			mt_arena_free(a);
		}
		fixture_clear(&f);
	}
	ck_assert_uint_gt(mt_map_size(seen), 1000);
	for (size_t i = 0; i < MT_ARRAY_SIZE(p); i++)
		pilot_proxy_unref(p[i]);
	mt_map_free(seen, mt_free);
	mt_buf_clear(&text);
}
END_TEST

/* Two proxies of one class get the same bytes. */
START_TEST(a_class_shares)
{
	struct mt_buf text = { 0 };
	struct pilot_proxy *p[] = { proxy_make("10.0.0.1", "n0", "\"role\": \"r1\", \"x\": \"1\""),
		proxy_make("10.0.0.77", "n0", "\"role\": \"r1\", \"y\": \"2\""),
		proxy_make("10.0.0.78", "n0", "\"role\": \"r0\"") };
	for (int round = 0; round < 100; round++) {
		struct fixture f;
		random_config(&text);
		if (!text.n)
			continue;
		fixture_load(&f, mt_buf_str(&text));
		for (size_t i = 1; i < MT_ARRAY_SIZE(p); i++) {
			struct mt_arena *a = mt_arena_new(0);
			struct pilot_job *j = pilot_job_new(f.w, p[0], a),
					 *k = pilot_job_new(f.w, p[i], a);
			struct pilot_class_key x[PILOT_TABLES], y[PILOT_TABLES];
			pilot_class_keys(f.w, p[0], a, x);
			pilot_class_keys(f.w, p[i], a, y);
			for (int t = 0; t < PILOT_TABLES; t++) {
				struct pilot_plan m, n;
				if (strcmp(x[t].text, y[t].text) != 0)
					continue;
				pilot_plan(j, (enum pilot_table)t, &m);
				pilot_plan(k, (enum pilot_table)t, &n);
				ck_assert_uint_eq(m.n, n.n);
				for (size_t q = 0; q < m.n; q++) {
					struct pilot_built c, d;
					pilot_build(j, &m.v[q], &c);
					pilot_build(k, &n.v[q], &d);
					ck_assert_str_eq(c.name, d.name);
					ck_assert_uint_eq(mt_pb_hash(c.msg), mt_pb_hash(d.msg));
				}
			}
			mt_arena_free(a);
		}
		fixture_clear(&f);
	}
	for (size_t i = 0; i < MT_ARRAY_SIZE(p); i++)
		pilot_proxy_unref(p[i]);
	mt_buf_clear(&text);
}
END_TEST

/* Of the clusters of every service the light job plans and builds what the whole job does, also for
 * another proxy of the endpoint class than the one that the scope came from. */
static size_t check_light(const struct fixture *f, struct pilot_proxy *from, struct pilot_proxy *p)
{
	MT_AUTO(mt_arena_freep) struct mt_arena *a = mt_arena_new(0);
	uint8_t *scope = pilot_job_scope(pilot_job_new(f->w, from, a));
	struct pilot_job *whole = pilot_job_new(f->w, p, a),
			 *light = pilot_job_endpoints(f->w, p, scope, a);
	struct pilot_plan plan;
	size_t n = 0;
	pilot_plan(whole, PILOT_ENDPOINTS, &plan);
	for (size_t i = 0; i < pilot_world_nservices(f->w); i++) {
		const char **names, **light_names;
		size_t count = pilot_clusters_of(whole, (uint32_t)i, &names);
		ck_assert_uint_eq(pilot_clusters_of(light, (uint32_t)i, &light_names), count);
		for (size_t k = 0; k < count; k++)
			ck_assert_str_eq(names[k], light_names[k]);
	}
	for (size_t i = 0; i < plan.n; i++) {
		struct pilot_item it;
		struct pilot_built x, y;
		ck_assert_msg(pilot_plan_one(light, PILOT_ENDPOINTS, plan.v[i].name, &it), "%s",
			plan.v[i].name);
		ck_assert_uint_eq(it.fp, plan.v[i].fp);
		pilot_build(whole, &plan.v[i], &x);
		pilot_build(light, &it, &y);
		ck_assert_uint_eq(mt_pb_hash(x.msg), mt_pb_hash(y.msg));
		ck_assert_uint_eq(x.nprov, y.nprov);
		n++;
	}
	mt_free(scope);
	return n;
}

START_TEST(endpoints_without_finding_out_the_scope)
{
	struct mt_buf text = { 0 };
	struct pilot_proxy *p[] = { proxy_make("10.0.0.1", "n0", "\"role\": \"r1\""),
		proxy_make("10.0.0.77", "n0", "\"role\": \"r1\", \"y\": \"2\""),
		proxy_make("10.0.1.1", "n1", "\"role\": \"r0\"") };
	size_t checked = 0;
	for (int round = 0; round < 300; round++) {
		struct fixture f;
		random_config(&text);
		if (!text.n)
			continue;
		fixture_load(&f, mt_buf_str(&text));
		for (size_t i = 0; i < MT_ARRAY_SIZE(p); i++)
			for (size_t k = 0; k < MT_ARRAY_SIZE(p); k++) {
				MT_AUTO(mt_arena_freep) struct mt_arena *a = mt_arena_new(0);
				struct pilot_class_key x[PILOT_TABLES], y[PILOT_TABLES];
				pilot_class_keys(f.w, p[i], a, x);
				pilot_class_keys(f.w, p[k], a, y);
				if (strcmp(x[PILOT_ENDPOINTS].text, y[PILOT_ENDPOINTS].text) == 0)
					checked += check_light(&f, p[i], p[k]);
			}
		fixture_clear(&f);
	}
	ck_assert_uint_gt(checked, 1000);
	for (size_t i = 0; i < MT_ARRAY_SIZE(p); i++)
		pilot_proxy_unref(p[i]);
	mt_buf_clear(&text);
}
END_TEST

START_TEST(cluster_names)
{
	struct pilot_cluster_name c;
	ck_assert_int_eq(pilot_cluster_name_parse("outbound|80|v1|a.b", &c), 0);
	ck_assert(!c.inbound && c.port == 80);
	ck_assert_str_eq(c.subset, "v1");
	ck_assert_str_eq(c.host, "a.b");
	ck_assert_int_eq(pilot_cluster_name_parse("inbound|80||", &c), 0);
	ck_assert(c.inbound && !*c.host);
	static const char *const bad[] = { "", "BlackHoleCluster", "outbound|x||a", "outbound|80|a",
		"outbound|80|a|b|c", "outbound|65536||a", "sideways|1||a", "outbound|||a" };
	for (size_t i = 0; i < MT_ARRAY_SIZE(bad); i++)
		ck_assert_int_eq(pilot_cluster_name_parse(bad[i], &c), MT_INVALID);
}
END_TEST

MT_UNIT(plan, fingerprints_cover_all_that_is_read, a_class_shares,
	endpoints_without_finding_out_the_scope, cluster_names)
