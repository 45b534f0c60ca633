/* The registry that configuration is: what each change of an object comes to. */
#include "pilot/registry/registry.h"

#include <string.h>

#include "common/base/mem.h"
#include "common/base/strs.h"
#include "common/schema/decode.h"
#include "tests/unit/unit.h"

struct bed {
	struct pilot_ids *ids;
	struct pilot_registry *r;
	struct pilot_endpoints_changes eps;
};

static void bed_open(struct bed *b)
{
	*b = (struct bed){ .ids = pilot_ids_new() };
	b->r = pilot_registry_service_entry.open(b->ids);
}

static void bed_close(struct bed *b)
{
	pilot_endpoints_changes_clear(&b->eps);
	b->r->ops->close(b->r);
	pilot_ids_free(b->ids);
}

static struct mt_objects decode(const char *kind, const char *name, const char *spec)
{
	struct mt_objects objs = { 0 };
	struct mt_diags diags = { 0 };
	char *text = mt_asprintf("kind: %s\napiVersion: networking.istio.io/v1alpha3\n"
				 "metadata: {name: %s, namespace: default}\nspec: %s\n",
		kind, name, spec);

	ck_assert_msg(mt_decode_text("t", text, strlen(text), NULL, &objs, &diags) == 0, "%s: %s",
		diags.n ? diags.v[0].path : "", diags.n ? diags.v[0].msg : "");
	mt_diags_clear(&diags);
	mt_free(text);
	return objs;
}

static enum pilot_services_change put(
	struct bed *b, const char *kind, const char *name, const char *spec)
{
	struct mt_objects objs = decode(kind, name, spec);
	struct mt_feed_change c = { .new = objs.v[0] };

	pilot_endpoints_changes_clear(&b->eps);
	enum pilot_services_change r = b->r->ops->object(b->r, &c, &b->eps, NULL);
	mt_objects_clear(&objs);
	return r;
}

static enum pilot_services_change drop(struct bed *b, const char *kind, const char *name)
{
	struct mt_objects objs = decode(kind, name, "{}");
	struct mt_feed_change c = { .old = objs.v[0] };

	pilot_endpoints_changes_clear(&b->eps);
	enum pilot_services_change r = b->r->ops->object(b->r, &c, &b->eps, NULL);
	mt_objects_clear(&objs);
	return r;
}

static enum pilot_services_change health(struct bed *b, const char *key, bool healthy)
{
	pilot_endpoints_changes_clear(&b->eps);
	return b->r->ops->health(b->r, key, healthy, &b->eps);
}

static const char selecting[] = "{hosts: [a.default.svc.cluster.local], resolution: STATIC, "
				"ports: [{number: 80, name: http, protocol: HTTP}], "
				"workloadSelector: {labels: {app: a}}}";

START_TEST(a_workload_entry_changes_endpoints_only)
{
	struct bed b;
	bed_open(&b);
	ck_assert_int_eq(put(&b, "ServiceEntry", "a", selecting), PILOT_SERVICES_CHANGED);
	ck_assert_int_eq(put(&b, "WorkloadEntry", "w1", "{address: 10.0.0.1, labels: {app: a}}"),
		PILOT_SERVICES_ENDPOINTS);
	ck_assert_uint_eq(b.eps.n, 1);
	ck_assert_str_eq(b.eps.v[0].hostname, "a.default.svc.cluster.local");
	ck_assert_uint_eq(b.eps.v[0].eps->n, 1);
	/* The same again, and one that nobody selects: nothing. */
	ck_assert_int_eq(put(&b, "WorkloadEntry", "w1", "{address: 10.0.0.1, labels: {app: a}}"),
		PILOT_SERVICES_SAME);
	ck_assert_int_eq(put(&b, "WorkloadEntry", "w2", "{address: 10.0.0.2, labels: {app: b}}"),
		PILOT_SERVICES_SAME);
	/* Its labels move it in, and out. */
	ck_assert_int_eq(put(&b, "WorkloadEntry", "w2", "{address: 10.0.0.2, labels: {app: a}}"),
		PILOT_SERVICES_ENDPOINTS);
	ck_assert_uint_eq(b.eps.v[0].eps->n, 2);
	ck_assert_int_eq(put(&b, "WorkloadEntry", "w2", "{address: 10.0.0.2, labels: {app: b}}"),
		PILOT_SERVICES_ENDPOINTS);
	ck_assert_uint_eq(b.eps.v[0].eps->n, 1);
	ck_assert_int_eq(drop(&b, "WorkloadEntry", "w1"), PILOT_SERVICES_ENDPOINTS);
	ck_assert_uint_eq(b.eps.v[0].eps->n, 0);
	ck_assert_int_eq(drop(&b, "WorkloadEntry", "w1"), PILOT_SERVICES_SAME);
	bed_close(&b);
}
END_TEST

START_TEST(workloads_before_the_service)
{
	struct bed b;
	struct pilot_services_in all = { 0 };
	bed_open(&b);
	put(&b, "WorkloadEntry", "w2", "{address: 10.0.0.2, labels: {app: a}}");
	put(&b, "WorkloadEntry", "w1", "{address: 10.0.0.1, labels: {app: a}}");
	ck_assert_int_eq(put(&b, "ServiceEntry", "a", selecting), PILOT_SERVICES_CHANGED);
	b.r->ops->list(b.r, &all);
	ck_assert_uint_eq(all.n, 1);
	ck_assert_uint_eq(all.v[0].eps->n, 2);
	ck_assert_str_eq(all.v[0].eps->v[0].address, "10.0.0.1");
	ck_assert_str_eq(all.v[0].eps->v[0].workload, "w1");
	pilot_services_in_clear(&all);
	/* Without a selector no workload is its endpoint. */
	ck_assert_int_eq(put(&b, "ServiceEntry", "a",
				 "{hosts: [a.default.svc.cluster.local], resolution: STATIC, "
				 "ports: [{number: 80, name: http, protocol: HTTP}]}"),
		PILOT_SERVICES_ENDPOINTS);
	ck_assert_int_eq(drop(&b, "WorkloadEntry", "w1"), PILOT_SERVICES_SAME);
	ck_assert_int_eq(drop(&b, "ServiceEntry", "a"), PILOT_SERVICES_CHANGED);
	bed_close(&b);
}
END_TEST

START_TEST(health_stays_with_the_workload)
{
	struct bed b;
	bed_open(&b);
	put(&b, "ServiceEntry", "a", selecting);
	put(&b, "WorkloadEntry", "w1", "{address: 10.0.0.1, labels: {app: a}}");
	ck_assert_int_eq(health(&b, "default/w1", true), PILOT_SERVICES_SAME);
	ck_assert_int_eq(health(&b, "default/w1", false), PILOT_SERVICES_ENDPOINTS);
	ck_assert(b.eps.v[0].eps->v[0].unhealthy);
	ck_assert_int_eq(health(&b, "default/w1", false), PILOT_SERVICES_SAME);
	put(&b, "WorkloadEntry", "w1", "{address: 10.0.0.9, labels: {app: a}}");
	ck_assert(b.eps.v[0].eps->v[0].unhealthy);
	ck_assert_int_eq(health(&b, "default/w1", true), PILOT_SERVICES_ENDPOINTS);
	ck_assert(!b.eps.v[0].eps->v[0].unhealthy);
	ck_assert_int_eq(health(&b, "default/nobody", false), PILOT_SERVICES_SAME);
	bed_close(&b);
}
END_TEST

MT_UNIT(registry, a_workload_entry_changes_endpoints_only, workloads_before_the_service,
	health_stays_with_the_workload)
