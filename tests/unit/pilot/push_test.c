/* The push engine with real streams: which proxies share what, what a change sends and what it does
 * not. Worlds are made from YAML; proxies are the fake ones of common/xds' tests. */
#include "pilot/push/class.h"
#include "pilot/registry/registry.h"
#include "tests/unit/pilot/push_rig.h"

struct seen {
	size_t proxies, classes;
	size_t sets; /* different ones among all proxies' clusters, endpoints and routes */
};

static void look(struct rig *r, void *arg)
{
	struct seen *s = arg;
	static const enum push_type shared[] = { PUSH_CDS, PUSH_EDS, PUSH_RDS };
	const struct mt_set *last[MT_ARRAY_SIZE(shared)] = { NULL };

	*s = (struct seen){ .classes = push_class_count(r->push, PILOT_CLUSTERS) };
	for (const struct push_proxy *x = push_proxies(r->push); x; x = x->next) {
		s->proxies++;
		for (size_t i = 0; push_snapshot(x) && i < MT_ARRAY_SIZE(shared); i++) {
			s->sets += push_snapshot(x)->sets[shared[i]] != last[i];
			last[i] = push_snapshot(x)->sets[shared[i]];
		}
	}
}

/* ---- tests; the loop variable: 0 state of the world, 1 delta ---- */

START_TEST(test_waits_for_the_first_world)
{
	struct rig *r = rig_new();
	struct fake_envoy *e = proxy(r, _i, NODE(1));
	struct seen s;

	do
		on_loop(r, look, &s);
	while (s.proxies != 1);
	ck_assert_uint_eq(fake_responses(e, FAKE_CDS), 0);
	publish_yaml(r, SERVICE("a", "10.1.0.1") SERVICE("b", "10.1.0.2"), MT_KIND_SERVICE_ENTRY);
	ck_assert(fake_wait_count(e, FAKE_EDS, 2));
	ck_assert(fake_wait_count(e, FAKE_RDS, 1));
	ck_assert(fake_has(e, FAKE_CDS, "outbound|80||a.default.svc.cluster.local"));
	ck_assert(fake_has(e, FAKE_CDS, "BlackHoleCluster"));
	fake_envoy_free(e);
	rig_free(r);
}
END_TEST

START_TEST(test_equal_proxies_share_their_sets)
{
	struct rig *r = rig_new();
	struct seen s;

	publish_yaml(r, SERVICE("a", "10.1.0.1"), MT_KIND_SERVICE_ENTRY);
	struct fake_envoy *e1 = proxy(r, _i, NODE(1)), *e2 = proxy(r, !_i, NODE(2));
	ck_assert(fake_wait_count(e1, FAKE_RDS, 1));
	ck_assert(fake_wait_count(e2, FAKE_RDS, 1));
	on_loop(r, look, &s);
	ck_assert_uint_eq(s.proxies, 2);
	ck_assert_uint_eq(s.classes, 1);
	ck_assert_uint_eq(s.sets, 3);
	fake_envoy_free(e1);
	fake_envoy_free(e2);
	do
		on_loop(r, look, &s);
	while (s.proxies);
	ck_assert_uint_eq(s.classes, 0); /* nobody uses it any more */
	rig_free(r);
}
END_TEST

static bool one_endpoint_response(struct fake_envoy *e, void *arg)
{
	return fake_responses(e, FAKE_EDS) > *(unsigned *)arg;
}

START_TEST(test_endpoints_cost_one_assignment)
{
	struct rig *r = rig_new();
	struct fixture before, after;

	publish_yaml(r, SERVICE("a", "10.1.0.1") SERVICE("b", "10.1.0.2"), MT_KIND_SERVICE_ENTRY);
	struct fake_envoy *e = proxy(r, _i, NODE(1));
	ck_assert(fake_wait_count(e, FAKE_RDS, 1));
	unsigned cds = fake_responses(e, FAKE_CDS), eds = fake_responses(e, FAKE_EDS);
	mt_free(fake_log(e));

	fixture_load(&before, SERVICE("a", "10.1.0.1") SERVICE("b", "10.1.0.2"));
	fixture_load(&after, SERVICE("a", "10.1.0.1") SERVICE("b", "10.1.0.9"));
	struct pilot_endpoints_change c = { "b.default.svc.cluster.local", "default",
		after.svcs.v[1].eps };
	struct publish p = { .eps = &c, .neps = 1 };
	p.w = pilot_world_update(before.w, &c, 1);
	ck_assert_ptr_nonnull(p.w);
	pilot_flow_endpoints(&p.dirty, false);
	on_loop(r, publish, &p);
	ck_assert(fake_wait(e, one_endpoint_response, &eds));
	char *log = fake_log(e);
	ck_assert_ptr_nonnull(strstr(log, "+outbound|80||b.default.svc.cluster.local"));
	if (_i) /* state of the world names all that was asked for */
		ck_assert_ptr_null(strstr(log, "+outbound|80||a.default.svc.cluster.local"));
	ck_assert_uint_eq(fake_responses(e, FAKE_CDS), cds);
	mt_free(log);
	pilot_world_unref(p.w);
	fixture_clear(&before);
	fixture_clear(&after);
	fake_envoy_free(e);
	rig_free(r);
}
END_TEST

static bool more_routes(struct fake_envoy *e, void *arg)
{
	return fake_responses(e, FAKE_RDS) > *(unsigned *)arg;
}

START_TEST(test_a_rule_sends_routes_only)
{
	struct rig *r = rig_new();

	publish_yaml(r, SERVICE("a", "10.1.0.1") RULE("5s"), MT_KIND_SERVICE_ENTRY);
	struct fake_envoy *e = proxy(r, _i, NODE(1));
	ck_assert(fake_wait_count(e, FAKE_RDS, 1));
	unsigned cds = fake_responses(e, FAKE_CDS), lds = fake_responses(e, FAKE_LDS),
		 rds = fake_responses(e, FAKE_RDS);

	/* Equal content, built anew, sends nothing: what comes after it would come later. */
	publish_yaml(r, SERVICE("a", "10.1.0.1") RULE("5s"), MT_KIND_VIRTUAL_SERVICE);
	publish_yaml(r, SERVICE("a", "10.1.0.1") RULE("6s"), MT_KIND_VIRTUAL_SERVICE);
	ck_assert(fake_wait(e, more_routes, &rds));
	ck_assert_uint_eq(fake_responses(e, FAKE_RDS), rds + 1);
	ck_assert_uint_eq(fake_responses(e, FAKE_CDS), cds);
	ck_assert_uint_eq(fake_responses(e, FAKE_LDS), lds);
	fake_envoy_free(e);
	rig_free(r);
}
END_TEST

START_TEST(test_refused)
{
	struct rig *r = rig_new();
	struct fake_envoy *bad = proxy(r, _i, "nonsense");

	ck_assert(fake_wait_end(bad));
	ck_assert_int_eq(fake_ended(bad), 3); /* INVALID_ARGUMENT */
	publish_yaml(r, SERVICE("a", "10.1.0.1"), MT_KIND_SERVICE_ENTRY);
	struct fake_envoy *e[3] = { proxy(r, _i, NODE(1)), proxy(r, _i, NODE(2)),
		proxy(r, _i, NODE(3)) };
	for (int i = 0; i < 3; i++)
		ck_assert(fake_wait_count(e[i], FAKE_RDS, 1));
	struct fake_envoy *many = proxy(r, _i, NODE(4));
	ck_assert(fake_wait_end(many));
	ck_assert_int_eq(fake_ended(many), 8); /* RESOURCE_EXHAUSTED: --max-proxies */
	for (int i = 0; i < 3; i++)
		fake_envoy_free(e[i]);
	fake_envoy_free(many);
	fake_envoy_free(bad);
	rig_free(r);
}
END_TEST

/* ---- classes alone ---- */

START_TEST(test_class_builds_what_changed)
{
	struct fixture f1, f2;
	struct pilot_proxy *p = proxy_make("10.9.0.1", "default", "");
	struct mt_arena *a = mt_arena_new(0);
	struct push_class *c = push_class_new(PILOT_ROUTES, "k", NULL);

	fixture_load(&f1, SERVICE("a", "10.1.0.1") SERVICE("b", "10.1.0.2") RULE("5s"));
	fixture_load(&f2, SERVICE("a", "10.1.0.1") SERVICE("b", "10.1.0.2") RULE("6s"));
	ck_assert_uint_eq(push_class_compute(c, pilot_job_new(f1.w, p, a), a, 1), 1);
	struct mt_set *first = mt_set_ref(c->set);
	struct mt_res *route = mt_res_ref(mt_set_find(first, "80"));
	ck_assert_ptr_nonnull(route);
	ck_assert_uint_eq(push_class_compute(c, pilot_job_new(f1.w, p, a), a, 2), 0);
	ck_assert_ptr_eq(c->set, first);
	ck_assert_uint_eq(push_class_compute(c, pilot_job_new(f2.w, p, a), a, 3), 1);
	ck_assert_ptr_ne(c->set, first);
	ck_assert(mt_set_find(c->set, "80")->hash != route->hash);
	/* Back again: the same bytes, the same version. */
	push_class_compute(c, pilot_job_new(f1.w, p, a), a, 4);
	ck_assert(mt_set_find(c->set, "80")->hash == route->hash);
	ck_assert_uint_gt(route->nprov, 0);
	mt_res_unref(route);
	mt_set_unref(first);
	push_class_free(c);
	mt_arena_free(a);
	pilot_proxy_unref(p);
	fixture_clear(&f1);
	fixture_clear(&f2);
}
END_TEST

/* ---- the registry of service entries ---- */

static enum pilot_services_change feed(struct pilot_registry *r, const char *yaml, const char *old,
	struct pilot_endpoints_changes *eps)
{
	struct mt_objects now = { 0 }, then = { 0 };
	struct mt_diags diags = { 0 };
	struct mt_err err = { 0 };

	if (yaml)
		ck_assert_int_eq(mt_decode_text("f", yaml, strlen(yaml), NULL, &now, &diags), 0);
	if (old)
		ck_assert_int_eq(mt_decode_text("f", old, strlen(old), NULL, &then, &diags), 0);
	const struct mt_feed_change c = { then.n ? then.v[0] : NULL, now.n ? now.v[0] : NULL };
	enum pilot_services_change change = r->ops->object(r, &c, eps, &err);
	mt_objects_clear(&now);
	mt_objects_clear(&then);
	return change;
}

START_TEST(test_registry_tells_endpoints_from_services)
{
	struct pilot_ids *ids = pilot_ids_new();
	struct pilot_registry *r = pilot_registry_service_entry.open(ids);
	struct pilot_endpoints_changes eps = { 0 };
	struct pilot_services_in all = { 0 };

	ck_assert_int_eq(feed(r, SERVICE("a", "10.1.0.1"), NULL, &eps), PILOT_SERVICES_CHANGED);
	ck_assert_int_eq(feed(r, SERVICE("a", "10.1.0.1"), NULL, &eps), PILOT_SERVICES_SAME);
	ck_assert_int_eq(feed(r, SERVICE("a", "10.1.0.2"), NULL, &eps), PILOT_SERVICES_ENDPOINTS);
	ck_assert_uint_eq(eps.n, 1);
	ck_assert_str_eq(eps.v[0].hostname, "a.default.svc.cluster.local");
	r->ops->list(r, &all);
	ck_assert_uint_eq(all.n, 1);
	ck_assert_str_eq(all.v[0].eps->v[0].address, "10.1.0.2");
	ck_assert_int_eq(feed(r, NULL, SERVICE("a", "10.1.0.2"), &eps), PILOT_SERVICES_CHANGED);
	ck_assert_int_eq(feed(r, NULL, SERVICE("a", "10.1.0.2"), &eps), PILOT_SERVICES_SAME);
	pilot_services_in_clear(&all);
	pilot_endpoints_changes_clear(&eps);
	r->ops->close(r);
	pilot_ids_free(ids);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("push");
	TCase *tc = tcase_create("push");
	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, test_waits_for_the_first_world, 0, 2);
	tcase_add_loop_test(tc, test_equal_proxies_share_their_sets, 0, 2);
	tcase_add_loop_test(tc, test_endpoints_cost_one_assignment, 0, 2);
	tcase_add_loop_test(tc, test_a_rule_sends_routes_only, 0, 2);
	tcase_add_loop_test(tc, test_refused, 0, 2);
	tcase_add_test(tc, test_class_builds_what_changed);
	tcase_add_test(tc, test_registry_tells_endpoints_from_services);
	suite_add_tcase(s, tc);
	SRunner *sr = srunner_create(s);
	srunner_set_fork_status(sr, CK_NOFORK);
	srunner_run_all(sr, CK_ENV);
	int failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
