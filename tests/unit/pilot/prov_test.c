/* Provenance: who stands behind a resource, and that it is told anew when only that changed. */
#include "tests/unit/pilot/world_fixture.h"

#include "pilot/changes.h"
#include "pilot/push/class.h"

#define SERVICE                                                                                    \
	"apiVersion: networking.istio.io/v1alpha3\nkind: ServiceEntry\n"                           \
	"metadata: {name: a, namespace: default}\n"                                                \
	"spec: {hosts: [a.default.svc.cluster.local], location: MESH_INTERNAL, "                   \
	"resolution: STATIC, ports: [{number: 80, name: http, protocol: HTTP}], "                  \
	"endpoints: [{address: 10.1.0.1}]}\n---\n"
#define RULE(name, created)                                                                        \
	"apiVersion: networking.istio.io/v1alpha3\nkind: VirtualService\n"                         \
	"metadata: {name: " name ", namespace: default, creationTimestamp: '" created              \
	"T00:00:00Z'}\n"                                                                           \
	"spec: {hosts: [a], http: [{route: [{destination: {host: a}}]}]}\n---\n"

static bool behind(const struct mt_res *r, uint32_t id)
{
	for (uint32_t i = 0; i < r->nprov; i++)
		if (r->prov[i] == id)
			return true;
	return false;
}

static void collect(void *ctx, const char *route, const char *name, const uint32_t *prov, size_t n)
{
	if (strcmp(route, "80") == 0 && strcmp(name, "a.default.svc.cluster.local:80") == 0) {
		ck_assert_uint_ge(n, 1);
		ck_assert_uint_eq(prov[0], 1);
		*(size_t *)ctx = n;
	}
}

START_TEST(the_loser_stands_behind_it_too)
{
	struct fixture f1, f2;
	struct pilot_proxy *p = proxy_make("10.9.0.1", "default", "");
	struct mt_arena *a = mt_arena_new(0);
	struct push_class *c = push_class_new(PILOT_ROUTES, "k", NULL);
	size_t n = 0;

	fixture_load(&f1, SERVICE RULE("old", "2020-01-01"));
	fixture_load(&f2, SERVICE RULE("old", "2020-01-01") RULE("young", "2021-01-01"));
	push_class_compute(c, pilot_job_new(f1.w, p, a), a, 1);
	struct mt_res *before = mt_res_ref(mt_set_find(c->set, "80"));
	ck_assert(behind(before, 1) && behind(before, 2) && !behind(before, 3));
	push_class_each_vhost(c, collect, &n);
	ck_assert_uint_eq(n, 2);

	/* The younger one has no effect: the same bytes, so nothing to send, but it is named. */
	push_class_compute(c, pilot_job_new(f2.w, p, a), a, 2);
	struct mt_res *after = mt_set_find(c->set, "80");
	ck_assert(after->hash == before->hash);
	ck_assert(behind(after, 3));
	push_class_each_vhost(c, collect, &n);
	ck_assert_uint_eq(n, 3);

	mt_res_unref(before);
	push_class_free(c);
	mt_arena_free(a);
	pilot_proxy_unref(p);
	fixture_clear(&f1);
	fixture_clear(&f2);
}
END_TEST

START_TEST(who_changes_most)
{
	struct pilot_changes *c = pilot_changes_new();
	struct pilot_change_source v[3];
	char title[40];

	ck_assert_uint_eq(pilot_changes_top(c, v, 3), 0);
	for (int i = 0; i < 20 * PILOT_CHANGES_TOP; i++) {
		snprintf(title, sizeof(title), "ServiceEntry default/s%d", i);
		pilot_changes_object(c, title, i);
		if (i % 4 == 0)
			pilot_changes_object(c, "ServiceEntry default/restless", i);
		if (i % 16 == 0)
			pilot_changes_object(c, "VirtualService default/second", i);
	}
	ck_assert_uint_eq(pilot_changes_top(c, v, 3), 3);
	ck_assert_str_eq(v[0].title, "ServiceEntry default/restless");
	ck_assert_str_eq(v[1].title, "VirtualService default/second");
	ck_assert_uint_eq(v[0].count - v[0].error, 20 * PILOT_CHANGES_TOP / 4);
	pilot_changes_free(c);
}
END_TEST

START_TEST(last_recomputations)
{
	struct pilot_changes *c = pilot_changes_new();
	struct pilot_recomputation v[PILOT_CHANGES_LAST];

	pilot_changes_computed(c, "services", 1, 10);
	ck_assert_uint_eq(pilot_changes_last(c, v, PILOT_CHANGES_LAST), 1);
	for (int i = 2; i <= 3 * PILOT_CHANGES_LAST; i++)
		pilot_changes_computed(c, "endpoints", i, i);
	ck_assert_uint_eq(pilot_changes_last(c, v, PILOT_CHANGES_LAST), PILOT_CHANGES_LAST);
	ck_assert_int_eq(v[0].at_ns, 3 * PILOT_CHANGES_LAST);
	ck_assert_int_eq(v[PILOT_CHANGES_LAST - 1].at_ns, 2 * PILOT_CHANGES_LAST + 1);
	pilot_changes_free(c);
}
END_TEST

MT_UNIT(prov, the_loser_stands_behind_it_too, who_changes_most, last_recomputations)
