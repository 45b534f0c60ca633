/* Programs from YAML: which rules apply, what they answer, what stays in force when some of the
 * configuration is wrong. */
#include "tests/unit/mixer/lab.h"

#define DENIER                                                                                          \
	"{apiVersion: config.istio.io/v1alpha2, kind: denier, metadata: {name: deny, namespace: shop}," \
	" spec: {status: {code: 7, message: go away}}}\n---\n"                                          \
	"{apiVersion: config.istio.io/v1alpha2, kind: checknothing,"                                    \
	" metadata: {name: ask, namespace: shop}, spec: {}}\n---\n"
#define RULE(name, ns, match)                                                                      \
	"{apiVersion: config.istio.io/v1alpha2, kind: rule, metadata: {name: " name                \
	", namespace: " ns "}, spec: {match: '" match                                              \
	"', actions: [{handler: deny.denier.shop, instances: [ask.checknothing.shop]}]}}\n---\n"

START_TEST(denied_by_match)
{
	struct lab l;
	struct mixer_outcome out;

	lab_start(&l);
	ck_assert_uint_eq(lab_config(&l,
				  DENIER RULE("r", "shop",
					  "destination.labels[\"app\"] == \"details\" && "
					  "source.labels[\"app\"] == \"front\"")),
		0);
	ck_assert_int_eq(LAB_CHECK(&l, &out, NULL, "destination.namespace", "shop",
				 "destination.labels.app", "details", "source.labels.app", "front"),
		0);
	ck_assert_int_eq(out.code, 7);
	ck_assert_str_eq(out.message, "go away");
	ck_assert_str_eq(out.handler, "deny.denier.shop");
	ck_assert_str_eq(out.rule, "shop/r");
	ck_assert_int_eq(LAB_CHECK(&l, &out, NULL, "destination.namespace", "shop",
				 "destination.labels.app", "details", "source.labels.app", "other"),
		0);
	ck_assert_int_eq(out.code, 0);
	/* Unknown: the match cannot be evaluated, the rule does not apply. */
	ck_assert_int_eq(LAB_CHECK(&l, &out, NULL, "destination.namespace", "shop",
				 "destination.labels.app", "details"),
		0);
	ck_assert_int_eq(out.code, 0);
	lab_stop(&l);
}
END_TEST

START_TEST(namespaces)
{
	struct lab l;
	struct mixer_outcome out;

	lab_start(&l);
	lab_config(&l,
		DENIER RULE("r", "shop", "request.method == \"PUT\"")
			RULE("all", "istio-system", "request.method == \"DELETE\""));
	LAB_CHECK(&l, &out, NULL, "destination.namespace", "shop", "request.method", "PUT");
	ck_assert_int_eq(out.code, 7);
	LAB_CHECK(&l, &out, NULL, "destination.namespace", "other", "request.method", "PUT");
	ck_assert_int_eq(out.code, 0);
	LAB_CHECK(&l, &out, NULL, "request.method", "PUT");
	ck_assert_int_eq(out.code, 0);
	LAB_CHECK(&l, &out, NULL, "destination.namespace", "other", "request.method", "DELETE");
	ck_assert_int_eq(out.code, 7);
	LAB_CHECK(&l, &out, NULL, "request.method", "DELETE");
	ck_assert_int_eq(out.code, 7);
	/* The namespace follows from the service where nothing else says it. */
	LAB_CHECK(&l, &out, NULL, "destination.service.host", "d.shop.svc.cluster.local",
		"request.method", "PUT");
	ck_assert_int_eq(out.code, 7);
	lab_stop(&l);
}
END_TEST

START_TEST(general_kinds)
{
	struct lab l;
	struct mixer_outcome out;

	lab_start(&l);
	ck_assert_uint_eq(
		lab_config(&l,
			"apiVersion: config.istio.io/v1alpha2\nkind: handler\nmetadata: {name: v, "
			"namespace: shop}\nspec:\n  compiledAdapter: listchecker\n  params:\n    "
			"overrides: [v1, v2]\n    blacklist: false\n    cachingInterval: 5s\n---\n"
			"apiVersion: config.istio.io/v1alpha2\nkind: instance\nmetadata: {name: i, "
			"namespace: shop}\nspec:\n  compiledTemplate: listentry\n  params:\n    "
			"value: source.labels[\"version\"] | \"none\"\n---\n"
			"apiVersion: config.istio.io/v1alpha2\nkind: rule\nmetadata: {name: r, "
			"namespace: shop}\nspec:\n  actions: [{handler: v, instances: [i]}]\n"),
		0);
	LAB_CHECK(&l, &out, NULL, "destination.namespace", "shop", "source.labels.version", "v2");
	ck_assert_int_eq(out.code, 0);
	LAB_CHECK(&l, &out, NULL, "destination.namespace", "shop", "source.labels.version", "v3");
	ck_assert_int_eq(out.code, 5);
	ck_assert_str_eq(out.message, "v3 is not whitelisted");
	LAB_CHECK(&l, &out, NULL, "destination.namespace", "shop");
	ck_assert_str_eq(out.message, "none is not whitelisted");
	lab_stop(&l);
}
END_TEST

START_TEST(instance_that_cannot_be_evaluated)
{
	struct lab l;
	struct mixer_outcome out;
	struct mt_err err = { 0 };

	lab_start(&l);
	lab_config(&l,
		"{apiVersion: config.istio.io/v1alpha2, kind: listchecker, metadata: {name: v, "
		"namespace: shop}, spec: {overrides: [a]}}\n---\n"
		"{apiVersion: config.istio.io/v1alpha2, kind: listentry, metadata: {name: i, "
		"namespace: shop}, spec: {value: request.id}}\n---\n"
		"{apiVersion: config.istio.io/v1alpha2, kind: rule, metadata: {name: r, namespace: "
		"shop}, spec: {actions: [{handler: v.listchecker, instances: [i.listentry]}]}}");
	ck_assert_int_eq(LAB_CHECK(&l, &out, &err, "destination.namespace", "shop"), MT_INTERNAL);
	ck_assert_ptr_nonnull(strstr(err.msg, "i.listentry.shop"));
	ck_assert_ptr_nonnull(strstr(err.msg, "request.id"));
	lab_stop(&l);
}
END_TEST

START_TEST(headers)
{
	struct lab l;
	struct mixer_outcome out;

	lab_start(&l);
	ck_assert_uint_eq(
		lab_config(&l,
			"apiVersion: config.istio.io/v1alpha2\nkind: rule\nmetadata: {name: r, "
			"namespace: shop}\nspec:\n  requestHeaderOperations:\n  - {name: X-Who, "
			"values: [source.principal | \"nobody\"]}\n  - {name: x-tag, values: "
			"['\"a\"', '\"b\"'], operation: APPEND}\n  - {name: x-gone, operation: "
			"REMOVE}\n  responseHeaderOperations:\n  - {name: x-by, values: "
			"['\"mixer\"']}\n"),
		0);
	LAB_CHECK(&l, &out, NULL, "destination.namespace", "shop");
	ck_assert_uint_eq(out.request.n, 4);
	ck_assert_str_eq(out.request.v[0].name, "x-who");
	ck_assert_str_eq(out.request.v[0].value, "nobody");
	ck_assert_int_eq(out.request.v[0].op, MIXER_HEADER_REPLACE);
	ck_assert_str_eq(out.request.v[2].value, "b");
	ck_assert_int_eq(out.request.v[2].op, MIXER_HEADER_APPEND);
	ck_assert_int_eq(out.request.v[3].op, MIXER_HEADER_REMOVE);
	ck_assert_uint_eq(out.response.n, 1);
	lab_stop(&l);
}
END_TEST

START_TEST(bad_headers)
{
	struct lab l;

	lab_start(&l);
	ck_assert_uint_eq(
		lab_config(&l,
			"apiVersion: config.istio.io/v1alpha2\nkind: rule\nmetadata: {name: r, "
			"namespace: shop}\nspec:\n  requestHeaderOperations:\n  - {name: ':path', "
			"values: ['\"/\"']}\n  - {name: host, operation: REMOVE}\n  - {name: a b, "
			"values: ['\"x\"']}\n  - {name: x-empty}\n  - {name: x-int, values: ['1']}\n  "
			"responseHeaderOperations:\n  - {name: x-gone, operation: REMOVE}\n"),
		6);
	lab_stop(&l);
}
END_TEST

START_TEST(last_good_rule_stays)
{
	struct lab l;
	struct mixer_outcome out;

	lab_start(&l);
	lab_config(&l, DENIER RULE("r", "shop", "request.method == \"PUT\""));
	/* A wrong match; a match with another type; then the handler is gone. */
	ck_assert_uint_eq(lab_config(&l, DENIER RULE("r", "shop", "request.mehtod == \"PUT\"")), 1);
	ck_assert_ptr_nonnull(strstr(lab_fault(&l), "test.yaml"));
	ck_assert_ptr_nonnull(strstr(lab_fault(&l), "spec.match"));
	LAB_CHECK(&l, &out, NULL, "destination.namespace", "shop", "request.method", "PUT");
	ck_assert_int_eq(out.code, 7);
	ck_assert_uint_eq(lab_config(&l, RULE("r", "shop", "request.method == \"PUT\"")), 1);
	LAB_CHECK(&l, &out, NULL, "destination.namespace", "shop", "request.method", "PUT");
	ck_assert_int_eq(out.code, 7);
	/* A rule that is gone is gone. */
	ck_assert_uint_eq(lab_config(&l, ""), 0);
	LAB_CHECK(&l, &out, NULL, "destination.namespace", "shop", "request.method", "PUT");
	ck_assert_int_eq(out.code, 0);
	/* Without an earlier version a rule with a wrong match does not apply at all. */
	lab_config(&l, DENIER RULE("r", "shop", "nonsense("));
	LAB_CHECK(&l, &out, NULL, "destination.namespace", "shop", "request.method", "PUT");
	ck_assert_int_eq(out.code, 0);
	lab_stop(&l);
}
END_TEST

START_TEST(others_go_on)
{
	struct lab l;
	struct mixer_outcome out;

	lab_start(&l);
	ck_assert_uint_eq(lab_config(&l,
				  DENIER RULE("bad", "shop", "1 == ")
					  RULE("good", "shop", "request.method == \"PUT\"")),
		1);
	LAB_CHECK(&l, &out, NULL, "destination.namespace", "shop", "request.method", "PUT");
	ck_assert_int_eq(out.code, 7);
	lab_stop(&l);
}
END_TEST

START_TEST(order_of_arrival)
{
	struct lab l;
	struct mixer_outcome out;

	lab_start(&l);
	/* The rule first, what it names later: in the end all is in force. */
	ck_assert_uint_eq(lab_config(&l, RULE("r", "shop", "true")), 1);
	ck_assert(l.program->rules[0]->partial);
	ck_assert_uint_eq(lab_config(&l, DENIER RULE("r", "shop", "true")), 0);
	LAB_CHECK(&l, &out, NULL, "destination.namespace", "shop");
	ck_assert_int_eq(out.code, 7);
	lab_stop(&l);
}
END_TEST

START_TEST(last_good_handler_stays)
{
	struct lab l;
	struct mixer_outcome out;
	const char *rules = RULE("r", "shop", "true");
	const char *bad =
		"{apiVersion: config.istio.io/v1alpha2, kind: denier, metadata: {name: deny, namespace: "
		"shop}, spec: {status: {code: 99}}}\n---\n{apiVersion: config.istio.io/v1alpha2, "
		"kind: checknothing, metadata: {name: ask, namespace: shop}, spec: {}}\n---\n";

	lab_start(&l);
	lab_config(&l, mt_arena_printf(l.a, "%s%s", DENIER, rules));
	ck_assert_uint_eq(lab_config(&l, mt_arena_printf(l.a, "%s%s", bad, rules)), 1);
	ck_assert_ptr_nonnull(strstr(lab_fault(&l), "spec.status.code"));
	LAB_CHECK(&l, &out, NULL, "destination.namespace", "shop");
	ck_assert_str_eq(out.message, "go away");
	lab_stop(&l);
}
END_TEST

START_TEST(faults_name_their_place)
{
	static const struct {
		const char *yaml, *word;
	} v[] = {
		{ "{kind: handler, apiVersion: config.istio.io/v1alpha2, metadata: {name: h}, spec: "
		  "{compiledAdapter: nonsense}}",
			"there is no adapter" },
		{ "{kind: handler, apiVersion: config.istio.io/v1alpha2, metadata: {name: h}, spec: "
		  "{compiledAdapter: denier, params: {stauts: {code: 7}}}}",
			"stauts" },
		{ "{kind: instance, apiVersion: config.istio.io/v1alpha2, metadata: {name: i}, spec: "
		  "{compiledTemplate: metric, params: {value: '1', dimensions: {a: b.c}}}}",
			"spec.params.dimensions.a" },
		{ "{kind: metric, apiVersion: config.istio.io/v1alpha2, metadata: {name: i}, spec: "
		  "{dimensions: {a: '1'}}}",
			"spec.value" },
		{ "{kind: rule, apiVersion: config.istio.io/v1alpha2, metadata: {name: r}, spec: "
		  "{actions: [{handler: missing}]}}",
			"spec.actions[0].handler" },
		{ "{kind: rule, apiVersion: config.istio.io/v1alpha2, metadata: {name: r}, spec: "
		  "{match: '12'}}",
			"spec.match" },
		{ "{kind: prometheus, apiVersion: config.istio.io/v1alpha2, metadata: {name: p}, "
		  "spec: {metrics: [{name: a, instanceName: x, kind: COUNTER, labelNames: [b-c]}]}}",
			"spec.metrics[0]" },
		{ "{kind: attributemanifest, apiVersion: config.istio.io/v1alpha2, metadata: {name: "
		  "m}, spec: {attributes: {source.ip: {valueType: STRING}}}}",
			"source.ip" },
	};

	for (size_t i = 0; i < MT_ARRAY_SIZE(v); i++) {
		struct lab l;

		lab_start(&l);
		ck_assert_uint_ge(lab_config(&l, v[i].yaml), 1);
		ck_assert_msg(
			strstr(lab_fault(&l), v[i].word) != NULL, "%zu: %s", i, lab_fault(&l));
		lab_stop(&l);
	}
}
END_TEST

START_TEST(manifests_add_attributes)
{
	struct lab l;
	struct mixer_outcome out;

	lab_start(&l);
	ck_assert_uint_eq(
		lab_config(&l,
			DENIER "{apiVersion: config.istio.io/v1alpha2, kind: attributemanifest, "
			       "metadata: {name: m, namespace: shop}, spec: {attributes: "
			       "{request.colour: {valueType: STRING}}}}\n---\n" RULE(
				       "r", "shop", "request.colour == \"red\"")),
		0);
	LAB_CHECK(&l, &out, NULL, "destination.namespace", "shop", "request.colour", "red");
	ck_assert_int_eq(out.code, 7);
	LAB_CHECK(&l, &out, NULL, "destination.namespace", "shop", "request.colour", "blue");
	ck_assert_int_eq(out.code, 0);
	lab_stop(&l);
}
END_TEST

START_TEST(thousands_of_rules_by_index)
{
	struct lab l;
	struct mixer_outcome out;
	struct mt_buf yaml = { 0 };
	uint32_t *numbers;

	lab_start(&l);
	mt_buf_adds(&yaml, DENIER);
	for (int i = 0; i < 2000; i++)
		mt_buf_printf(&yaml,
			RULE("r%d", "shop",
				"destination.labels[\"app\"] == \"a%d\" && request.method == \"PUT\""),
			i, i);
	ck_assert_uint_eq(lab_config(&l, mt_buf_str(&yaml)), 0);
	mt_buf_clear(&yaml);
	struct mixer_facts f = lab_facts(&l,
		(const char *const[]){ "destination.namespace", "shop", "destination.labels.app",
			"a1234", "request.method", "PUT", NULL });
	ck_assert_uint_eq(
		mixer_index_find(l.program->index, mt_text("shop"), &f.bag, l.a, &numbers), 1);
	ck_assert_int_eq(mixer_program_check(l.program, &f.bag, l.a, &out, NULL), 0);
	ck_assert_int_eq(out.code, 7);
	ck_assert_str_eq(out.rule, "shop/r1234");
	lab_stop(&l);
}
END_TEST

MT_UNIT(program, denied_by_match, namespaces, general_kinds, instance_that_cannot_be_evaluated,
	headers, bad_headers, last_good_rule_stays, others_go_on, order_of_arrival,
	last_good_handler_stays, faults_name_their_place, manifests_add_attributes,
	thousands_of_rules_by_index)
