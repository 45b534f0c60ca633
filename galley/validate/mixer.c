/* Mixer's kinds: every expression is compiled, so that a rule that cannot work is refused when it is
 * written. An attribute that nobody knows may come from an attributemanifest: that is a warning. */
#include <string.h>

#include "adapter/list/config/config.pb-c.h"
#include "adapter/prometheus/config/config.pb-c.h"
#include "common/base/cidr.h"
#include "common/base/clock.h"
#include "common/base/strs.h"
#include "common/expr/expr.h"
#include "galley/validate/check.h"
#include "istio/policy/v1beta1/policy.pb-c.h"
#include "template/listentry.pb-c.h"
#include "template/logentry.pb-c.h"
#include "template/metric.pb-c.h"

static void expression(
	const struct check *c, const char *path, const char *text, enum mt_vtype want)
{
	MT_AUTO(mt_vocab_freep) struct mt_vocab *vocab = mt_vocab_new();
	MT_AUTO(mt_expr_freep) struct mt_expr *e = NULL;
	struct mt_err err = { 0 };

	if (mt_expr_compile(text, vocab, want, &e, &err) == 0)
		return;
	if (mt_str_prefix(err.msg, "unknown attribute"))
		remark(c, path, "%s: %s", err.path, err.msg);
	else
		fault(c, path, "%s: %s", err.path, err.msg);
}

static void operations(const struct check *c, const char *path,
	Policy__Rule__HeaderOperationTemplate *const *v, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		check_header_name(c, at(c, "%s[%zu].name", path, i), v[i]->name);
		for (size_t k = 0; k < v[i]->n_values; k++)
			expression(c, at(c, "%s[%zu].values[%zu]", path, i, k), v[i]->values[k],
				MT_V_STRING);
	}
}

void galley_check_rule(const struct check *c, const ProtobufCMessage *spec)
{
	const Policy__Rule *r = (const Policy__Rule *)spec;

	if (!mt_str_empty(r->match))
		expression(c, "spec.match", r->match, MT_V_BOOL);
	if (!r->n_actions && !r->n_request_header_operations && !r->n_response_header_operations)
		fault(c, "spec.actions", "is missing");
	for (size_t i = 0; i < r->n_actions; i++) {
		if (mt_str_empty(r->actions[i]->handler))
			fault(c, at(c, "spec.actions[%zu].handler", i), "is missing");
		if (!r->actions[i]->n_instances)
			fault(c, at(c, "spec.actions[%zu].instances", i), "is missing");
	}
	operations(c, "spec.requestHeaderOperations", r->request_header_operations,
		r->n_request_header_operations);
	operations(c, "spec.responseHeaderOperations", r->response_header_operations,
		r->n_response_header_operations);
}

void galley_check_handler(const struct check *c, const ProtobufCMessage *spec)
{
	const Policy__Handler *h = (const Policy__Handler *)spec;

	if (mt_str_empty(h->adapter) == mt_str_empty(h->compiled_adapter))
		fault(c, "spec.compiledAdapter", "say compiledAdapter or adapter, one of them");
}

void galley_check_instance(const struct check *c, const ProtobufCMessage *spec)
{
	const Policy__Instance *i = (const Policy__Instance *)spec;

	if (mt_str_empty(i->template_) == mt_str_empty(i->compiled_template))
		fault(c, "spec.compiledTemplate", "say compiledTemplate or template, one of them");
}

void galley_check_metric(const struct check *c, const ProtobufCMessage *spec)
{
	const TemplateMetric__InstanceParam *m = (const TemplateMetric__InstanceParam *)spec;

	if (mt_str_empty(m->value))
		fault(c, "spec.value", "is missing");
	else
		expression(c, "spec.value", m->value, MT_V_NONE);
	for (size_t i = 0; i < m->n_dimensions; i++)
		expression(c, at(c, "spec.dimensions.%s", m->dimensions[i]->key),
			m->dimensions[i]->value, MT_V_NONE);
}

void galley_check_logentry(const struct check *c, const ProtobufCMessage *spec)
{
	const TemplateLogentry__InstanceParam *l = (const TemplateLogentry__InstanceParam *)spec;

	for (size_t i = 0; i < l->n_variables; i++)
		expression(c, at(c, "spec.variables.%s", l->variables[i]->key),
			l->variables[i]->value, MT_V_NONE);
	if (!mt_str_empty(l->severity))
		expression(c, "spec.severity", l->severity, MT_V_STRING);
	if (!mt_str_empty(l->timestamp))
		expression(c, "spec.timestamp", l->timestamp, MT_V_TIMESTAMP);
}

void galley_check_listentry(const struct check *c, const ProtobufCMessage *spec)
{
	const TemplateListentry__InstanceParam *l = (const TemplateListentry__InstanceParam *)spec;

	if (mt_str_empty(l->value))
		fault(c, "spec.value", "is missing");
	else
		expression(c, "spec.value", l->value, MT_V_NONE);
}

void galley_check_listchecker(const struct check *c, const ProtobufCMessage *spec)
{
	const AdapterList__Params *p = (const AdapterList__Params *)spec;

	if (mt_str_empty(p->provider_url) && !p->n_overrides)
		fault(c, "spec.overrides", "is missing, and so is providerUrl");
	check_duration(c, "spec.refreshInterval", p->refresh_interval, MT_NS_PER_SEC);
	check_duration(c, "spec.ttl", p->ttl, MT_NS_PER_SEC);
	for (size_t i = 0; i < p->n_overrides; i++) {
		const char *path = at(c, "spec.overrides[%zu]", i);
		if (p->entry_type == ADAPTER_LIST__PARAMS__LIST_ENTRY_TYPE__IP_ADDRESSES)
			check_cidr(c, path, p->overrides[i]);
		else if (p->entry_type == ADAPTER_LIST__PARAMS__LIST_ENTRY_TYPE__REGEX)
			check_regex(c, path, p->overrides[i]);
	}
}

static void buckets(const struct check *c, const char *path,
	const AdapterPrometheus__Params__MetricInfo__BucketsDefinition *b)
{
	switch (b->definition_case) {
	case ADAPTER_PROMETHEUS__PARAMS__METRIC_INFO__BUCKETS_DEFINITION__DEFINITION_LINEAR_BUCKETS:
		if (b->linear_buckets->num_finite_buckets < 1 || b->linear_buckets->width <= 0)
			fault(c, at(c, "%s.linearBuckets", path),
				"needs numFiniteBuckets and width above zero");
		break;
	case ADAPTER_PROMETHEUS__PARAMS__METRIC_INFO__BUCKETS_DEFINITION__DEFINITION_EXPONENTIAL_BUCKETS:
		if (b->exponential_buckets->num_finite_buckets < 1 ||
			b->exponential_buckets->growth_factor <= 1 ||
			b->exponential_buckets->scale <= 0)
			fault(c, at(c, "%s.exponentialBuckets", path),
				"needs numFiniteBuckets and scale above zero, growthFactor above one");
		break;
	case ADAPTER_PROMETHEUS__PARAMS__METRIC_INFO__BUCKETS_DEFINITION__DEFINITION_EXPLICIT_BUCKETS:
		for (size_t i = 1; i < b->explicit_buckets->n_bounds; i++)
			if (b->explicit_buckets->bounds[i] <= b->explicit_buckets->bounds[i - 1])
				fault(c, at(c, "%s.explicitBuckets.bounds[%zu]", path, i),
					"bounds must ascend");
		break;
	default: fault(c, path, "has no definition");
	}
}

void galley_check_prometheus(const struct check *c, const ProtobufCMessage *spec)
{
	const AdapterPrometheus__Params *p = (const AdapterPrometheus__Params *)spec;

	for (size_t i = 0; i < p->n_metrics; i++) {
		const AdapterPrometheus__Params__MetricInfo *m = p->metrics[i];
		const char *path = at(c, "spec.metrics[%zu]", i);
		if (mt_str_empty(m->instance_name))
			fault(c, at(c, "%s.instanceName", path), "is missing");
		if (m->kind == ADAPTER_PROMETHEUS__PARAMS__METRIC_INFO__KIND__UNSPECIFIED)
			fault(c, at(c, "%s.kind", path),
				"is missing: GAUGE, COUNTER or DISTRIBUTION");
		if (m->buckets)
			buckets(c, at(c, "%s.buckets", path), m->buckets);
	}
}
