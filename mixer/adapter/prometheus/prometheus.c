/* prometheus: metric instances become series. Which metric an instance feeds is written in the
 * handler (instanceName); the binding of an instance definition is that metric and, for each label,
 * which dimension it is. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "adapter/prometheus/config/config.pb-c.h"
#include "common/base/mem.h"
#include "common/base/strs.h"
#include "common/base/vec.h"
#include "mixer/adapter/adapter.h"
#include "mixer/adapter/prometheus/collectors.h"

#define NAMESPACE "istio" /* what a metric's name begins with unless it says otherwise */
enum { METRICS_MAX = 256, BUCKETS_MAX = 200 };

typedef AdapterPrometheus__Params__MetricInfo info_t;
typedef AdapterPrometheus__Params__MetricInfo__BucketsDefinition buckets_t;

struct metric {
	char *instance; /* name of the instance that feeds it */
	enum mt_metric_type type;
	struct mixer_collector *collector;
	char **labels;
	size_t nlabels;
};

struct prometheus {
	const struct mixer_adapter_env *env;
	char *handler;
	struct metric *metrics;
	size_t nmetrics;
};

struct binding {
	const struct metric *metric;
	int dimension[MT_METRIC_LABELS_MAX]; /* index into the instance's variables */
};

/* ---- definitions ---- */

/* The registry's list of bounds ends at 0, and nothing that we count falls below it. */
static void add_bound(double *out, size_t *n, double bound)
{
	if (bound != 0 && *n < BUCKETS_MAX)
		out[(*n)++] = bound;
}

static int linear(double *out, size_t *n, double offset, double width, int count)
{
	for (int i = 0; i <= count && i < BUCKETS_MAX; i++)
		add_bound(out, n, offset + i * width);
	return width > 0 && count > 0 ? 0 : MT_INVALID;
}

static int exponential(double *out, size_t *n, double scale, double factor, int count)
{
	double bound = scale;

	for (int i = 0; i <= count && i < BUCKETS_MAX; i++, bound *= factor)
		add_bound(out, n, bound);
	return scale > 0 && factor > 1 && count > 0 ? 0 : MT_INVALID;
}

static int explicit_bounds(double *out, size_t *n, const double *v, size_t nv)
{
	for (size_t i = 0; i < nv && i < BUCKETS_MAX; i++) {
		if (!isfinite(v[i]) || (i && v[i] <= v[i - 1]))
			return MT_INVALID;
		add_bound(out, n, v[i]);
	}
	return 0;
}

/* out has room for BUCKETS_MAX + 1. Without a definition: the registry's own bounds. */
static int bounds(const buckets_t *b, double *out)
{
	size_t n = 0;
	int r = 0;

	if (!b)
		return 0;
	switch (b->definition_case) {
	case ADAPTER_PROMETHEUS__PARAMS__METRIC_INFO__BUCKETS_DEFINITION__DEFINITION_LINEAR_BUCKETS:
		r = linear(out, &n, b->linear_buckets->offset, b->linear_buckets->width,
			b->linear_buckets->num_finite_buckets);
		break;
	case ADAPTER_PROMETHEUS__PARAMS__METRIC_INFO__BUCKETS_DEFINITION__DEFINITION_EXPONENTIAL_BUCKETS:
		r = exponential(out, &n, b->exponential_buckets->scale,
			b->exponential_buckets->growth_factor,
			b->exponential_buckets->num_finite_buckets);
		break;
	case ADAPTER_PROMETHEUS__PARAMS__METRIC_INFO__BUCKETS_DEFINITION__DEFINITION_EXPLICIT_BUCKETS:
		r = explicit_bounds(
			out, &n, b->explicit_buckets->bounds, b->explicit_buckets->n_bounds);
		break;
	default: break;
	}
	out[n] = 0;
	return r;
}

static int type_of(const info_t *i, enum mt_metric_type *ret)
{
	switch (i->kind) {
	case ADAPTER_PROMETHEUS__PARAMS__METRIC_INFO__KIND__GAUGE: *ret = MT_METRIC_GAUGE; return 0;
	case ADAPTER_PROMETHEUS__PARAMS__METRIC_INFO__KIND__COUNTER:
		*ret = MT_METRIC_COUNTER;
		return 0;
	case ADAPTER_PROMETHEUS__PARAMS__METRIC_INFO__KIND__DISTRIBUTION:
		*ret = MT_METRIC_HISTOGRAM;
		return 0;
	default: return MT_INVALID;
	}
}

/* "istio_requests_total": the parts joined; what Prometheus does not allow becomes '_'. */
static char *full_name(const info_t *i)
{
	const char *own = mt_str_empty(i->name) ? i->instance_name : i->name;
	char *name =
		mt_asprintf("%s_%s", mt_str_empty(i->namespace_) ? NAMESPACE : i->namespace_, own);

	for (char *p = name; *p; p++)
		if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_:", *p))
			*p = '_';
	return name;
}

static char *joined(char *const *v, size_t n)
{
	struct mt_buf b = { 0 };

	for (size_t i = 0; i < n; i++)
		mt_buf_printf(&b, "%s%s", i ? "," : "", v[i]);
	return b.p ? mt_buf_take(&b, NULL) : mt_strdup("");
}

static int get_collector(
	struct prometheus *p, const info_t *i, struct metric *m, struct mt_err *err)
{
	double buckets[BUCKETS_MAX + 1] = { 0 };
	MT_AUTO(mt_strfreep) char *name = full_name(i);
	MT_AUTO(mt_strfreep) char *labels = joined(i->label_names, i->n_label_names);
	const char *help = mt_str_empty(i->description) ? i->instance_name : i->description;
	const struct mt_metric_desc desc = { m->type, name, help, labels, buckets };
	const char *displaced;
	char why[400];
	int r;

	if (bounds(i->buckets, buckets) < 0)
		return mt_fail(err, MT_INVALID, "buckets",
			"bounds must rise, and a row of them needs a count and a width or factor");
	r = mixer_collectors_get(
		p->env->collectors, &desc, p->handler, &m->collector, &displaced, err);
	if (r == 0 && displaced && p->env->health) {
		snprintf(
			why, sizeof(why), "metric %s is defined otherwise by %s", name, p->handler);
		p->env->health(p->env->health_ctx, displaced, why);
	}
	return r;
}

static int add_metric(struct prometheus *p, const info_t *i, struct mt_err *err)
{
	struct metric *m = &p->metrics[p->nmetrics];
	int r;

	if (mt_str_empty(i->instance_name))
		return mt_fail(err, MT_INVALID, "instanceName", "is required");
	if (type_of(i, &m->type) < 0)
		return mt_fail(
			err, MT_INVALID, "kind", "is required: COUNTER, GAUGE or DISTRIBUTION");
	if (i->n_label_names > MT_METRIC_LABELS_MAX)
		return mt_fail(err, MT_LIMIT, "labelNames", "more than %d", MT_METRIC_LABELS_MAX);
	r = get_collector(p, i, m, err);
	if (r < 0)
		return r;
	p->nmetrics++;
	m->instance = mt_strdup(i->instance_name);
	m->labels = mt_reallocarray(NULL, i->n_label_names + 1, sizeof(char *));
	for (; m->nlabels < i->n_label_names; m->nlabels++)
		m->labels[m->nlabels] = mt_strdup(i->label_names[m->nlabels]);
	return 0;
}

static void close_prometheus(void *self)
{
	struct prometheus *p = self;

	for (size_t i = 0; i < p->nmetrics; i++) {
		struct metric *m = &p->metrics[i];

		mixer_collectors_put(p->env->collectors, m->collector);
		for (size_t j = 0; j < m->nlabels; j++)
			mt_free(m->labels[j]);
		mt_free(m->labels);
		mt_free(m->instance);
	}
	mt_free(p->metrics);
	mt_free(p->handler);
	mt_free(p);
}

static int open_prometheus(const struct mixer_adapter_env *env, const char *handler,
	const ProtobufCMessage *params, void **ret_self, struct mt_err *err)
{
	const AdapterPrometheus__Params *in = (const AdapterPrometheus__Params *)params;
	struct prometheus *p;

	if (in->n_metrics > METRICS_MAX)
		return mt_fail(err, MT_LIMIT, "metrics", "more than %d", METRICS_MAX);
	p = MT_NEW(struct prometheus);
	p->env = env;
	p->handler = mt_strdup(handler);
	p->metrics = mt_alloc((in->n_metrics + 1) * sizeof(*p->metrics));
	for (size_t i = 0; i < in->n_metrics; i++) {
		char field[64];
		int r = add_metric(p, in->metrics[i], err);

		if (r == 0)
			continue;
		close_prometheus(p);
		if (err) {
			snprintf(field, sizeof(field), "%.60s", err->path);
			snprintf(err->path, sizeof(err->path), "metrics[%zu]%s%s", i,
				*field ? "." : "", field);
		}
		return r;
	}
	*ret_self = p;
	return 0;
}

/* ---- instances ---- */

/* "requestcount.metric.istio-system" and "requestcount.instance.istio-system" are one name: the kind
 * in the middle depends on how the instance was written. Without a namespace, any will do. */
static bool same_instance(const char *wanted, const char *name)
{
	size_t base = strcspn(wanted, ".");
	const char *ns_wanted = strrchr(wanted, '.'), *ns = strrchr(name, '.');

	if (mt_streq(wanted, name))
		return true;
	if (strncmp(wanted, name, base) != 0 || name[base] != '.')
		return false;
	return !ns_wanted || mt_streq(ns_wanted, ns) || mt_streq(ns_wanted, ".metric") ||
		mt_streq(ns_wanted, ".instance");
}

static int bind_instance(
	void *self, const struct mixer_instance_def *def, void **ret_binding, struct mt_err *err)
{
	struct prometheus *p = self;
	struct binding *b;
	const struct metric *m = NULL;
	enum mt_vtype t = mt_expr_type(def->scalars[MIXER_S_VALUE]);

	for (size_t i = 0; !m && i < p->nmetrics; i++)
		if (same_instance(p->metrics[i].instance, def->name))
			m = &p->metrics[i];
	if (!m)
		return mt_fail(err, MT_NOT_FOUND, NULL,
			"the prometheus handler has no metric for instance %s", def->name);
	if (t != MT_V_INT64 && t != MT_V_DOUBLE && t != MT_V_DURATION && t != MT_V_BOOL)
		return mt_fail(err, MT_INVALID, NULL, "instance %s: value of type %s is no number",
			def->name, mt_vtype_name(t));
	b = MT_NEW(struct binding);
	b->metric = m;
	for (size_t i = 0; i < m->nlabels; i++) {
		b->dimension[i] = mixer_instance_def_find(def, MIXER_M_VARIABLES, m->labels[i]);
		if (b->dimension[i] >= 0)
			continue;
		mt_free(b);
		return mt_fail(err, MT_INVALID, NULL, "instance %s has no dimension %s", def->name,
			m->labels[i]);
	}
	*ret_binding = b;
	return 0;
}

static void unbind_instance(void *self, void *binding)
{
	(void)self;
	mt_free(binding);
}

static double number(const struct mt_value *v)
{
	switch (v->type) {
	case MT_V_DOUBLE: return v->d;
	case MT_V_DURATION: return (double)v->i / MT_NS_PER_SEC;
	case MT_V_BOOL: return v->b;
	default: return (double)v->i;
	}
}

static void report_one(
	const struct binding *b, const struct mixer_instance *in, struct mt_arena *scratch)
{
	const char *labels[MT_METRIC_LABELS_MAX];
	double v = number(&in->scalars[MIXER_S_VALUE]);
	struct mt_metric_series *s;

	for (size_t i = 0; i < b->metric->nlabels; i++) {
		struct mt_text t =
			mt_value_text(&in->maps[MIXER_M_VARIABLES][b->dimension[i]], scratch);

		labels[i] = t.n ? mt_arena_strndup(scratch, t.p, t.n) : "";
	}
	s = mixer_collector_series(b->metric->collector, labels);
	if (b->metric->type == MT_METRIC_COUNTER)
		mt_series_add(s, v);
	else if (b->metric->type == MT_METRIC_GAUGE)
		mt_series_set(s, v);
	else
		mt_series_observe(s, v);
}

static void report(void *self, void *const *bindings, const struct mixer_instance *const *v,
	size_t n, struct mt_arena *scratch)
{
	(void)self;
	for (size_t i = 0; i < n; i++)
		report_one(bindings[i], v[i], scratch);
}

extern const struct mixer_adapter mixer_adapter_prometheus;
const struct mixer_adapter mixer_adapter_prometheus = {
	.name = "prometheus",
	.kind = MT_KIND_PROMETHEUS,
	.params = &adapter_prometheus__params__descriptor,
	.templates = MIXER_ACCEPTS(METRIC),
	.help = "counts, and lets Prometheus scrape the result",
	.open = open_prometheus,
	.close = close_prometheus,
	.bind = bind_instance,
	.unbind = unbind_instance,
	.report = report,
};
