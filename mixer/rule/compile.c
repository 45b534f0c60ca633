/* The compiler runs over all objects whenever one changed: vocabulary, handlers, instances, rules, in
 * that order, as each names the ones before. That is simple, and fast enough (some microseconds an
 * object); what must not be made anew - the state of handlers - is found again by name and hash.
 *
 * The vocabulary only grows: attribute numbers in expressions of last good versions stay right. */
#include "mixer/rule/compile.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/hash.h"
#include "common/base/map.h"
#include "common/base/mem.h"
#include "common/base/strs.h"
#include "common/base/vec.h"
#include "common/schema/pb.h"
#include "istio/policy/v1beta1/policy.pb-c.h"
#include "mixer/metrics.h"
#include "mixer/rule/names.h"
#include "mixer/rule/params.h"

enum { NAME_MAX_LEN = 1024 };

struct mixer_compiler {
	struct mixer_compiler_opts o;
	struct mixer_counts counts;
	struct mixer_words *words;
	uint64_t number;
	/* In force, by full name; each holds a reference. */
	struct mt_map *handlers;
	struct mt_map *instances;
	struct mt_map *rules;
	struct mt_diags diags;
};

struct run { /* one run */
	struct mixer_compiler *c;
	struct mt_object *const *objects;
	size_t n;
	struct mt_map *handlers, *instances, *rules; /* the next ones */
	struct mixer_names *handler_names, *instance_names;
	size_t errors[3]; /* objects with faults: handlers, instances, rules */
};
enum { HANDLERS, INSTANCES, RULES };

static void unref_handler(void *p)
{
	mixer_handler_unref(p);
}

static void unref_instance(void *p)
{
	mixer_instance_def_unref(p);
}

static void unref_rule(void *p)
{
	mixer_rule_unref(p);
}

/* ---- metrics ---- */

static struct mt_metric_series *series(struct mixer_compiler *c, int metric)
{
	return c->o.metrics ? mt_metric_series(c->o.metrics, metric, NULL) : NULL;
}

static void add(struct mixer_compiler *c, int metric, double v)
{
	if (c->o.metrics)
		mt_series_add(series(c, metric), v);
}

static void set(struct mixer_compiler *c, int metric, double v)
{
	if (c->o.metrics)
		mt_series_set(series(c, metric), v);
}

struct mixer_compiler *mixer_compiler_new(const struct mixer_compiler_opts *o)
{
	struct mixer_compiler *c = MT_NEW(struct mixer_compiler);

	c->o = *o;
	c->words = mixer_words_new(mt_vocab_new());
	c->handlers = mt_map_new();
	c->instances = mt_map_new();
	c->rules = mt_map_new();
	c->counts = (struct mixer_counts){
		.match_errors = series(c, METRIC_mixer_config_rule_config_match_error_count),
		.instance_errors = series(c, METRIC_mixer_instance_error_count),
		.destinations = series(c, METRIC_mixer_dispatcher_destinations_per_request),
		.instances = series(c, METRIC_mixer_dispatcher_instances_per_request),
	};
	return c;
}

void mixer_compiler_free(struct mixer_compiler *c)
{
	if (!c)
		return;
	mt_map_free(c->rules, unref_rule);
	mt_map_free(c->instances, unref_instance);
	mt_map_free(c->handlers, unref_handler);
	mixer_words_unref(c->words);
	mt_diags_clear(&c->diags);
	mt_free(c);
}

/* ---- vocabulary ---- */

static void add_manifest(struct mixer_compiler *c, const struct mt_object *o, struct mt_vocab *v)
{
	const Policy__AttributeManifest *m = (const Policy__AttributeManifest *)o->spec;

	for (size_t i = 0; i < m->n_attributes; i++) {
		const Policy__AttributeManifest__AttributesEntry *e = m->attributes[i];
		struct mt_err err = { 0 };
		char path[300];

		if (mt_vocab_add(v, e->key,
			    e->value ? (enum mt_vtype)e->value->value_type : MT_V_NONE, &err) == 0)
			continue;
		snprintf(path, sizeof(path), "spec.attributes.%.200s", e->key);
		mt_object_diag(o, &c->diags, MT_SEV_ERROR, path, "%s", err.msg);
	}
}

static void compile_vocab(struct run *r)
{
	struct mixer_compiler *c = r->c;
	const struct mt_vocab *old = c->words->vocab;
	struct mt_vocab *v = mt_vocab_new();

	for (size_t i = mt_vocab_size(v); i < mt_vocab_size(old); i++)
		mt_vocab_add(v, mt_vocab_name(old, i), mt_vocab_type(old, i), NULL);
	for (size_t i = 0; i < r->n; i++)
		if (r->objects[i]->kind->id == MT_KIND_ATTRIBUTE_MANIFEST)
			add_manifest(c, r->objects[i], v);
	set(c, METRIC_mixer_config_attribute_count, (double)mt_vocab_size(v));
	if (mt_vocab_size(v) == mt_vocab_size(old)) {
		mt_vocab_free(v);
		return;
	}
	mixer_words_unref(c->words);
	c->words = mixer_words_new(v);
}

/* ---- handlers ---- */

static const char *full_name(const struct mt_object *o, char *buf)
{
	return mixer_name_full(o->name, o->kind->kind, o->ns, buf, NAME_MAX_LEN);
}

static uint64_t params_hash(const struct mixer_adapter *a, const ProtobufCMessage *params)
{
	return mt_hash_mix(mt_hash_str(a->name), mt_pb_hash(params));
}

static void count_handler(struct mixer_compiler *c, struct mixer_handler *h)
{
	const char *labels[] = { h->name, h->adapter->name, NULL };

	add(c, METRIC_mixer_handler_new_handler_count, 1);
	if (!c->o.metrics)
		return;
	h->dispatched = mt_metric_series(c->o.metrics, METRIC_mixer_runtime_dispatch_count, labels);
	h->failed =
		mt_metric_series(c->o.metrics, METRIC_mixer_runtime_dispatch_error_count, labels);
	h->duration = mt_metric_series(
		c->o.metrics, METRIC_mixer_runtime_dispatch_duration_seconds, labels);
}

/* A fault found by an adapter or a template, whose paths begin at the parameters. */
static int fault(struct mixer_compiler *c, const struct mt_object *o, const struct mt_err *err)
{
	bool general = o->kind->id == MT_KIND_HANDLER || o->kind->id == MT_KIND_INSTANCE;
	char path[300];

	snprintf(path, sizeof(path), "spec%s%s%s", general ? ".params" : "", *err->path ? "." : "",
		err->path);
	return mt_object_diag(o, &c->diags, MT_SEV_ERROR, path, "%s", err->msg);
}

/* A new reference. NULL: neither this nor an earlier version of it can be used. */
static struct mixer_handler *make_handler(
	struct run *r, const struct mt_object *o, const char *name, bool *ret_is_handler)
{
	struct mixer_compiler *c = r->c;
	struct mixer_handler *old = mt_map_get(c->handlers, name), *h;
	MT_AUTO(mt_arena_freep) struct mt_arena *a = mt_arena_new(0);
	const struct mixer_adapter *adapter;
	const ProtobufCMessage *params;
	struct mt_err err = { 0 };
	int rc = mixer_handler_params(o, a, &adapter, &params, &c->diags);

	*ret_is_handler = rc < 0 || adapter;
	if (rc == 0 && !adapter)
		return NULL;
	if (rc == 0) {
		uint64_t hash = params_hash(adapter, params);

		if (old && old->hash == hash) {
			add(c, METRIC_mixer_handler_reused_handler_count, 1);
			return mixer_handler_ref(old);
		}
		rc = mixer_handler_new(adapter, c->o.env, name, hash, params, &h, &err);
		if (rc == 0) {
			count_handler(c, h);
			return h;
		}
		add(c, METRIC_mixer_handler_handler_build_failure_count, 1);
		fault(c, o, &err);
	}
	r->errors[HANDLERS]++;
	return old ? mixer_handler_ref(old) : NULL;
}

static void compile_handler(struct run *r, const struct mt_object *o)
{
	char name[NAME_MAX_LEN];
	bool is_handler;
	struct mixer_handler *h = make_handler(r, o, full_name(o, name), &is_handler);

	if (!h)
		return;
	mixer_handler_unref(mt_map_put(r->handlers, name, h));
	mixer_names_add(
		r->handler_names, o->name, o->kind->kind, o->ns, o->kind->id == MT_KIND_HANDLER, h);
}

/* ---- instances ---- */

static void compile_instance(struct run *r, const struct mt_object *o)
{
	struct mixer_compiler *c = r->c;
	MT_AUTO(mt_arena_freep) struct mt_arena *a = mt_arena_new(0);
	const struct mixer_template *t;
	const ProtobufCMessage *params;
	struct mixer_instance_def *d = NULL;
	struct mt_err err = { 0 };
	char name[NAME_MAX_LEN];
	int rc = mixer_instance_params(o, a, &t, &params, &c->diags);

	full_name(o, name);
	if (rc == 0 && !t)
		return; /* not an instance */
	if (rc == 0) {
		rc = mixer_instance_compile(t, name, params, c->words->vocab, &d, &err);
		if (rc < 0)
			fault(c, o, &err);
	}
	if (rc < 0) {
		r->errors[INSTANCES]++;
		d = mt_map_get(c->instances, name);
		if (!d)
			return;
		mixer_instance_def_ref(d);
	}
	mixer_instance_def_unref(mt_map_put(r->instances, name, d));
	mixer_names_add(r->instance_names, o->name, o->kind->kind, o->ns,
		o->kind->id == MT_KIND_INSTANCE, d);
}

/* ---- rules ---- */

static int find_handler(
	void *ctx, const char *ref, const char *ns, struct mixer_handler **ret, struct mt_err *err)
{
	struct run *r = ctx;
	void *thing;
	int rc = mixer_names_find(r->handler_names, "handler", ref, ns, &thing, err);

	if (rc == 0)
		*ret = thing;
	else
		add(r->c, METRIC_mixer_config_unsatisfied_action_handler_count, 1);
	return rc;
}

static int find_instance(void *ctx, const char *ref, const char *ns,
	struct mixer_instance_def **ret, struct mt_err *err)
{
	struct run *r = ctx;
	void *thing;
	int rc = mixer_names_find(r->instance_names, "instance", ref, ns, &thing, err);

	if (rc == 0)
		*ret = thing;
	return rc;
}

/* With faults the last good version stays; without one, what is right of this. */
static void compile_rule(struct run *r, const struct mt_object *o)
{
	struct mixer_compiler *c = r->c;
	const struct mixer_lookup lookup = { find_handler, find_instance, r };
	struct mixer_rule *rule, *old;
	char key[NAME_MAX_LEN];
	int rc = mixer_rule_compile(o, c->words->vocab, &lookup, c->o.env, &rule, &c->diags);

	mt_object_key(o, key, sizeof(key));
	old = mt_map_get(c->rules, key);
	if (rc < 0)
		r->errors[RULES]++;
	if (rc < 0 && old && (!old->partial || !rule)) {
		mixer_rule_unref(rule);
		rule = mixer_rule_ref(old);
	}
	if (rule)
		mixer_rule_unref(mt_map_put(r->rules, key, rule));
}

/* ---- programs ---- */

static struct mixer_program *link_program(struct run *r)
{
	struct mixer_compiler *c = r->c;
	size_t n;
	const char **keys = mt_map_sorted_keys(r->rules, &n);
	struct mixer_rule **rules = mt_alloc((n + 1) * sizeof(struct mixer_rule *));
	struct mixer_program *p;

	for (size_t i = 0; i < n; i++)
		rules[i] = mixer_rule_ref(mt_map_get(r->rules, keys[i]));
	p = mixer_program_new(
		++c->number, mixer_words_ref(c->words), rules, n, c->o.root_namespace, &c->counts);
	mt_free(rules);
	mt_free(keys);
	return p;
}

static void replace(struct mt_map **map, struct mt_map *with, void (*unref)(void *))
{
	mt_map_free(*map, unref);
	*map = with;
}

static void publish_counts(struct run *r)
{
	struct mixer_compiler *c = r->c;
	struct mt_map_it it = { 0 };

	while (mt_map_next(c->handlers, &it))
		if (mt_map_get(r->handlers, it.key) != it.value)
			add(c, METRIC_mixer_handler_closed_handler_count, 1);
	set(c, METRIC_mixer_config_handler_config_count, (double)mt_map_size(r->handlers));
	set(c, METRIC_mixer_config_instance_config_count, (double)mt_map_size(r->instances));
	set(c, METRIC_mixer_config_rule_config_count, (double)mt_map_size(r->rules));
	set(c, METRIC_mixer_config_handler_config_error_count, (double)r->errors[HANDLERS]);
	set(c, METRIC_mixer_config_instance_config_error_count, (double)r->errors[INSTANCES]);
	set(c, METRIC_mixer_config_rule_config_error_count, (double)r->errors[RULES]);
}

struct mixer_program *mixer_compiler_run(
	struct mixer_compiler *c, struct mt_object *const *objects, size_t n)
{
	struct run r = {
		c,
		objects,
		n,
		mt_map_new(),
		mt_map_new(),
		mt_map_new(),
		mixer_names_new(),
		mixer_names_new(),
		{ 0 },
	};
	struct mixer_program *p;

	mt_diags_clear(&c->diags);
	compile_vocab(&r);
	for (size_t i = 0; i < n; i++) {
		compile_handler(&r, objects[i]);
		compile_instance(&r, objects[i]);
	}
	for (size_t i = 0; i < n; i++)
		if (objects[i]->kind->id == MT_KIND_RULE)
			compile_rule(&r, objects[i]);
	p = link_program(&r);
	publish_counts(&r);
	replace(&c->rules, r.rules, unref_rule);
	replace(&c->instances, r.instances, unref_instance);
	replace(&c->handlers, r.handlers, unref_handler);
	mixer_names_free(r.handler_names);
	mixer_names_free(r.instance_names);
	return p;
}

const struct mt_diags *mixer_compiler_diags(const struct mixer_compiler *c)
{
	return &c->diags;
}

bool mixer_compiler_has(const struct mixer_compiler *c, const char *handler)
{
	return mt_map_get(c->handlers, handler) != NULL;
}

/* ---- pages ---- */

static json_t *names_json(const struct mt_map *m)
{
	json_t *out = json_array();
	struct mt_map_it it = { 0 };

	while (mt_map_next(m, &it))
		json_array_append_new(out, json_string(it.key));
	return out;
}

json_t *mixer_compiler_json(const struct mixer_compiler *c)
{
	json_t *errors = json_array(), *handlers = json_array();
	struct mt_map_it it = { 0 };

	for (size_t i = 0; i < c->diags.n; i++) {
		char *text = mt_diag_format(&c->diags.v[i]);

		json_array_append_new(errors, json_string(text));
		mt_free(text);
	}
	while (mt_map_next(c->handlers, &it)) {
		const struct mixer_handler *h = it.value;

		json_array_append_new(handlers,
			json_pack("{s:s, s:s}", "name", h->name, "adapter", h->adapter->name));
	}
	return json_pack("{s:o, s:o, s:o}", "handlers", handlers, "instances",
		names_json(c->instances), "errors", errors);
}

size_t mixer_compiler_kinds(enum mt_kind_id *ret, size_t max)
{
	size_t n = 0;

	for (int k = 0; k < MT_KIND_N && n < max; k++)
		if (k == MT_KIND_RULE || k == MT_KIND_HANDLER || k == MT_KIND_INSTANCE ||
			k == MT_KIND_ATTRIBUTE_MANIFEST || mixer_adapter_by_kind(k) ||
			mixer_template_by_kind(k))
			ret[n++] = (enum mt_kind_id)k;
	return n;
}
