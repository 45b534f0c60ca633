/* What plans come upon, counted: conflicts of listeners, and that classes forget what is gone. */
#include "tests/unit/pilot/world_fixture.h"

#include "pilot/push/class.h"
#include "pilot/translate/tally.h"

#define SERVICE(name, protocol, endpoints)                                                         \
	"apiVersion: networking.istio.io/v1alpha3\nkind: ServiceEntry\n"                           \
	"metadata: {name: " name ", namespace: default}\n"                                         \
	"spec: {hosts: [" name ".default.svc.cluster.local], location: MESH_INTERNAL, "            \
	"resolution: STATIC, ports: [{number: 9080, name: p, protocol: " protocol "}], "           \
	"endpoints: [" endpoints "]}\n---\n"

static size_t count(const struct push_class *c, enum pilot_tally_kind k, const char *key)
{
	size_t n = 0;
	for (size_t i = 0; i < c->tallies.n; i++)
		n += c->tallies.v[i].kind == k && strcmp(c->tallies.v[i].key, key) == 0;
	return n;
}

static void compute(struct push_class *c, const char *yaml, uint64_t epoch)
{
	struct fixture f;
	struct pilot_proxy *p = proxy_make("10.9.0.1", "default", "");
	struct mt_arena *a = mt_arena_new(0);
	fixture_load(&f, yaml);
	push_class_compute(c, pilot_job_new(f.w, p, a), a, epoch);
	mt_arena_free(a);
	pilot_proxy_unref(p);
	fixture_clear(&f);
}

START_TEST(listeners_in_conflict)
{
	struct push_class *c = push_class_new(PILOT_LISTENERS, "k", NULL);
	compute(c, SERVICE("a", "HTTP", "") SERVICE("b", "TCP", ""), 1);
	ck_assert_uint_eq(count(c, PILOT_TALLY_conflict_outbound_listener_tcp_over_current_http,
				  "b.default.svc.cluster.local:9080"),
		1);
	compute(c, SERVICE("b", "TCP", "") SERVICE("c", "TCP", ""), 2);
	ck_assert_uint_eq(count(c, PILOT_TALLY_conflict_outbound_listener_tcp_over_current_tcp,
				  "c.default.svc.cluster.local:9080"),
		1);
	ck_assert_uint_eq(c->tallies.n, 1);
	compute(c, SERVICE("b", "TCP", ""), 3);
	ck_assert_uint_eq(c->tallies.n, 0);
	push_class_free(c);
}
END_TEST

START_TEST(ports_of_a_workload_in_conflict)
{
	struct push_class *c = push_class_new(PILOT_LISTENERS_INBOUND, "k", NULL);
	compute(c,
		SERVICE("a", "HTTP", "{address: 10.9.0.1}")
			SERVICE("b", "HTTP", "{address: 10.9.0.1}"),
		1);
	ck_assert_uint_eq(count(c, PILOT_TALLY_conflict_inbound_listener, "w:9080"), 1);
	push_class_free(c);
}
END_TEST

START_TEST(clusters_without_endpoints)
{
	struct push_class *c = push_class_new(PILOT_ENDPOINTS, "k", NULL);
	compute(c, SERVICE("a", "HTTP", "") SERVICE("b", "HTTP", "{address: 10.1.0.1}"), 1);
	ck_assert_uint_eq(c->tallies.empty, 1);
	compute(c, SERVICE("a", "HTTP", "") SERVICE("b", "HTTP", ""), 2);
	ck_assert_uint_eq(c->tallies.empty, 2);
	compute(c, SERVICE("b", "HTTP", ""), 3);
	ck_assert_uint_eq(c->tallies.empty, 1);
	compute(c, SERVICE("b", "HTTP", "{address: 10.1.0.1}"), 4);
	ck_assert_uint_eq(c->tallies.empty, 0);
	push_class_free(c);
}
END_TEST

MT_UNIT(tally, listeners_in_conflict, ports_of_a_workload_in_conflict, clusters_without_endpoints)
