/* Metrics: from reports to the text that Prometheus scrapes, and over changes of the configuration. */
#include "tests/unit/mixer/lab.h"

#define HEAD "apiVersion: config.istio.io/v1alpha2\n"
#define METRIC                                                                                     \
	HEAD "kind: metric\nmetadata: {name: count, namespace: istio-system}\nspec:\n"             \
	     "  value: response.size | 1\n  dimensions:\n"                                         \
	     "    code: response.code | 200\n    who: source.labels[\"app\"] | \"unknown\"\n---\n"
#define PROM(metric)                                                                               \
	HEAD "kind: prometheus\nmetadata: {name: p, namespace: istio-system}\nspec:\n"             \
	     "  metrics:\n  - {" metric ", instanceName: count.metric.istio-system}\n---\n"
#define RULE                                                                                       \
	HEAD "kind: rule\nmetadata: {name: r, namespace: istio-system}\nspec:\n"                   \
	     "  actions: [{handler: p.prometheus, instances: [count.metric]}]\n---\n"
#define COUNTER "name: requests_total, kind: COUNTER, labelNames: [who, code]"

static const char *page(struct lab *l)
{
	struct mt_buf b = { 0 };
	const char *copy;

	mixer_collectors_text(l->collectors, &b);
	copy = mt_arena_strdup(l->a, mt_buf_str(&b));
	mt_buf_clear(&b);
	return copy;
}

#define HAS(l, line) ck_assert_msg(strstr(page(l), line "\n") != NULL, "%s", page(l))

START_TEST(counter)
{
	struct lab l;

	lab_start(&l);
	ck_assert_msg(lab_config(&l, METRIC PROM(COUNTER) RULE) == 0, "%s", lab_fault(&l));
	LAB_REPORT(&l, 3, "source.labels.app", "front", "response.code", "503");
	LAB_REPORT(&l, 1, "response.size", "40");
	HAS(&l, "istio_requests_total{who=\"front\",code=\"503\"} 3");
	HAS(&l, "istio_requests_total{who=\"unknown\",code=\"200\"} 40");
	lab_stop(&l);
}
END_TEST

START_TEST(gauge)
{
	struct lab l;

	lab_start(&l);
	lab_config(&l,
		METRIC PROM("name: size, kind: GAUGE, namespace: mine, labelNames: [who]") RULE);
	LAB_REPORT(&l, 1, "response.size", "40");
	LAB_REPORT(&l, 1, "response.size", "7");
	HAS(&l, "mine_size{who=\"unknown\"} 7");
	lab_stop(&l);
}
END_TEST

START_TEST(distributions)
{
	static const struct {
		const char *buckets, *bound;
	} v[] = {
		{ "explicit_buckets: {bounds: [10, 50, 100]}", "le=\"50\"} 1" },
		{ "linearBuckets: {numFiniteBuckets: 3, width: 20, offset: 10}", "le=\"50\"} 1" },
		{ "exponentialBuckets: {numFiniteBuckets: 2, scale: 5, growthFactor: 10}",
			"le=\"50\"} 1" },
		{ "linearBuckets: {numFiniteBuckets: 3, width: 50, offset: 0}", "le=\"50\"} 1" },
	};

	for (size_t i = 0; i < MT_ARRAY_SIZE(v); i++) {
		struct lab l;

		lab_start(&l);
		ck_assert_msg(
			lab_config(&l,
				mt_arena_printf(l.a, "%s%s%s%s%s", METRIC,
					HEAD
					"kind: prometheus\nmetadata: {name: p, namespace: "
					"istio-system}\nspec:\n  metrics:\n  - {name: size, "
					"kind: DISTRIBUTION, instance_name: "
					"count.metric.istio-system, label_names: [], buckets: {",
					v[i].buckets, "}}\n---\n", RULE)) == 0,
			"%s", lab_fault(&l));
		LAB_REPORT(&l, 1, "response.size", "40");
		ck_assert_msg(strstr(page(&l), v[i].bound) != NULL, "%s", page(&l));
		ck_assert_ptr_nonnull(strstr(page(&l), "istio_size_sum 40"));
		ck_assert_ptr_nonnull(strstr(page(&l), "istio_size_count 1"));
		lab_stop(&l);
	}
}
END_TEST

START_TEST(bad_buckets)
{
	static const char *const v[] = { "explicitBuckets: {bounds: [10, 5]}",
		"linearBuckets: {width: 5}",
		"exponentialBuckets: {numFiniteBuckets: 5, scale: 1, growthFactor: 1}" };

	for (size_t i = 0; i < MT_ARRAY_SIZE(v); i++) {
		struct lab l;

		lab_start(&l);
		ck_assert_uint_eq(
			lab_config(&l,
				mt_arena_printf(l.a,
					HEAD
					"kind: prometheus\nmetadata: {name: p, namespace: "
					"istio-system}\nspec:\n  metrics:\n  - {name: size, "
					"kind: DISTRIBUTION, instanceName: x, buckets: {%s}}\n",
					v[i])),
			1);
		ck_assert_ptr_nonnull(strstr(lab_fault(&l), "metrics[0].buckets"));
		lab_stop(&l);
	}
}
END_TEST

START_TEST(counters_go_on_over_changes)
{
	struct lab l;
	const struct mixer_handler *before;

	lab_start(&l);
	lab_config(&l, METRIC PROM(COUNTER) RULE);
	LAB_REPORT(&l, 2, "source.labels.app", "front");
	before = l.program->rules[0]->actions[0].handler;
	/* Something else changes: the very handler stays. */
	lab_config(&l,
		METRIC PROM(COUNTER) RULE HEAD
		"kind: rule\nmetadata: {name: other}\nspec: {match: 'true'}\n");
	ck_assert_ptr_eq(before, l.program->rules[l.program->nrules - 1]->actions[0].handler);
	LAB_REPORT(&l, 1, "source.labels.app", "front");
	HAS(&l, "istio_requests_total{who=\"front\",code=\"200\"} 3");
	/* The handler changes, this metric of it does not. */
	ck_assert_uint_eq(
		lab_config(&l,
			METRIC PROM(COUNTER) RULE HEAD
			"kind: prometheus\nmetadata: {name: q, namespace: istio-system}\n"
			"spec: {metrics: [{name: more, kind: GAUGE, instanceName: x}]}\n"),
		0);
	LAB_REPORT(&l, 1, "source.labels.app", "front");
	HAS(&l, "istio_requests_total{who=\"front\",code=\"200\"} 4");
	lab_stop(&l);
}
END_TEST

START_TEST(another_definition_takes_the_name)
{
	struct lab l;

	lab_start(&l);
	lab_config(&l, METRIC PROM(COUNTER) RULE);
	LAB_REPORT(&l, 2, "source.labels.app", "front");
	ck_assert_msg(lab_config(&l,
			      METRIC PROM("name: requests_total, kind: COUNTER, labelNames: "
					  "[code]") RULE) == 0,
		"%s", lab_fault(&l));
	LAB_REPORT(&l, 1, "source.labels.app", "front");
	HAS(&l, "istio_requests_total{code=\"200\"} 1");
	ck_assert_ptr_null(strstr(page(&l), "who="));
	/* And back: what was counted then is gone. */
	lab_config(&l, METRIC PROM(COUNTER) RULE);
	LAB_REPORT(&l, 1, "source.labels.app", "front");
	HAS(&l, "istio_requests_total{who=\"front\",code=\"200\"} 1");
	/* Without a handler nothing is shown. */
	lab_config(&l, METRIC);
	ck_assert_str_eq(page(&l), "");
	lab_stop(&l);
}
END_TEST

START_TEST(bindings)
{
	struct lab l;

	lab_start(&l);
	ck_assert_uint_eq(
		lab_config(&l, METRIC PROM("name: x, kind: COUNTER, labelNames: [nope]") RULE), 1);
	ck_assert_ptr_nonnull(strstr(lab_fault(&l), "has no dimension nope"));
	ck_assert_uint_eq(lab_config(&l,
				  METRIC HEAD
				  "kind: prometheus\nmetadata: {name: p, namespace: istio-system}\n"
				  "spec: {metrics: [{name: x, kind: COUNTER, instanceName: "
				  "other.metric.istio-system}]}\n---\n" RULE),
		1);
	ck_assert_ptr_nonnull(strstr(lab_fault(&l), "no metric for instance"));
	ck_assert_uint_eq(
		lab_config(&l,
			HEAD "kind: metric\nmetadata: {name: count, namespace: istio-system}\n"
			     "spec: {value: request.id}\n---\n" PROM("name: x, kind: COUNTER")
				     RULE),
		1);
	ck_assert_ptr_nonnull(strstr(lab_fault(&l), "is no number"));
	lab_stop(&l);
}
END_TEST

MT_UNIT(prometheus, counter, gauge, distributions, bad_buckets, counters_go_on_over_changes,
	another_definition_takes_the_name, bindings)
