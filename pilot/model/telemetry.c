/* Which logs and spans: levels over levels. Within one level the entries of a list add up; the first
 * of them that names providers replaces those of the level before, which is how a namespace says "not
 * there, but here". */
#include "pilot/model/telemetry.h"

#include <string.h>

#include "common/base/hash.h"
#include "common/base/strs.h"
#include "common/base/vec.h"
#include "pilot/model/target.h"

const Mesh__MeshConfig__ExtensionProvider *pilot_mesh_provider(
	const struct pilot_mesh *m, const char *name)
{
	for (size_t i = 0; i < m->spec->n_extension_providers; i++)
		if (strcmp(m->spec->extension_providers[i]->name, name) == 0)
			return m->spec->extension_providers[i];
	return NULL;
}

const char *pilot_mesh_provider_address(const struct pilot_mesh *m, const char *name)
{
	const Mesh__ProxyConfig *c = m->spec->default_config;
	if (!c)
		return NULL;
	if (strcmp(name, PILOT_PROVIDER_ALS) == 0)
		return c->envoy_access_log_service && *c->envoy_access_log_service->address
			? c->envoy_access_log_service->address
			: NULL;
	if (strcmp(name, PILOT_PROVIDER_TRACER) != 0)
		return NULL;
	if (c->tracing && c->tracing->tracer_case == MESH__TRACING__TRACER_ZIPKIN)
		return *c->tracing->zipkin->address ? c->tracing->zipkin->address : NULL;
	if (c->tracing && c->tracing->tracer_case == MESH__TRACING__TRACER_DATADOG)
		return *c->tracing->datadog->address ? c->tracing->datadog->address : NULL;
	return *c->zipkin_address ? c->zipkin_address : NULL;
}

/* 0 workload, 1 namespace, 2 mesh; -1: not for this proxy. */
static int level(const struct pilot_index *ix, const struct pilot_telemetry_obj *t,
	const struct pilot_proxy *p)
{
	const Istype__WorkloadSelector *s = t->spec->selector;
	bool own = strcmp(t->obj->ns, p->ns) == 0;
	bool root = strcmp(t->obj->ns, ix->mesh.root_namespace) == 0;
	if (t->spec->targetref || t->spec->n_targetrefs)
		return pilot_targets_select(
			       ix, t->obj->ns, t->spec->targetrefs, t->spec->n_targetrefs, p) ||
				pilot_targets_select(ix, t->obj->ns, &t->spec->targetref,
					t->spec->targetref != NULL, p)
			? 0
			: -1;
	for (size_t i = 0; s && i < s->n_match_labels; i++)
		if (!mt_streq(pilot_label(p->labels, p->nlabels, s->match_labels[i]->key),
			    s->match_labels[i]->value))
			return -1;
	if (s && s->n_match_labels)
		return own || root ? 0 : -1;
	return root ? 2 : own ? 1 : -1;
}

static bool is_for(Telemetry__WorkloadMode mode, enum pilot_side side)
{
	return mode == TELEMETRY__WORKLOAD_MODE__CLIENT_AND_SERVER ||
		(mode == TELEMETRY__WORKLOAD_MODE__CLIENT) == (side == PILOT_CLIENT);
}

/* ---- logs ---- */

static void log_add(struct mt_arena *a, struct pilot_telemetry_side *s, const char *provider,
	const char *filter, uint32_t id)
{
	struct {
		struct pilot_log_use *v;
		size_t n, cap;
	} v = { s->logs, s->nlogs, s->cap };
	struct pilot_log_use u = { provider, filter, id };
	for (size_t i = 0; i < s->nlogs; i++)
		if (strcmp(s->logs[i].provider, provider) == 0) {
			s->logs[i] = u;
			return;
		}
	mt_vec_apush(a, &v, u);
	s->logs = v.v;
	s->nlogs = v.n;
	s->cap = v.cap;
}

static void log_remove(struct pilot_telemetry_side *s, const char *provider)
{
	size_t n = 0;
	for (size_t i = 0; i < s->nlogs; i++)
		if (strcmp(s->logs[i].provider, provider) != 0)
			s->logs[n++] = s->logs[i];
	s->nlogs = n;
}

static void log_defaults(
	const struct pilot_mesh *m, struct mt_arena *a, struct pilot_telemetry_side *s)
{
	const Mesh__MeshConfig__DefaultProviders *d = m->spec->default_providers;
	if (m->access_log_file)
		log_add(a, s, PILOT_PROVIDER_FILE, NULL, m->id);
	if (m->spec->enable_envoy_access_log_service &&
		pilot_mesh_provider_address(m, PILOT_PROVIDER_ALS))
		log_add(a, s, PILOT_PROVIDER_ALS, NULL, m->id);
	for (size_t i = 0; d && i < d->n_access_logging; i++)
		log_add(a, s, d->access_logging[i], NULL, m->id);
}

static void log_level(struct mt_arena *a, struct pilot_telemetry_side *s,
	const struct pilot_telemetry_obj *t, enum pilot_side side)
{
	bool fresh = true;
	for (size_t i = 0; i < t->spec->n_access_logging; i++) {
		const Telemetry__AccessLogging *l = t->spec->access_logging[i];
		const char *filter =
			l->filter && *l->filter->expression ? l->filter->expression : NULL;
		bool off = l->disabled && l->disabled->value;
		if (!is_for(l->match ? l->match->mode : 0, side))
			continue;
		if (off && !l->n_providers)
			s->nlogs = 0;
		for (size_t k = 0; off && k < l->n_providers; k++)
			log_remove(s, l->providers[k]->name);
		if (off)
			continue;
		if (!l->n_providers && !s->nlogs) /* turned on, and nobody said where to */
			log_add(a, s, PILOT_PROVIDER_FILE, NULL, t->id);
		for (size_t k = 0; !l->n_providers && filter && k < s->nlogs; k++)
			s->logs[k].filter = filter;
		if (l->n_providers && fresh) {
			s->nlogs = 0;
			fresh = false;
		}
		for (size_t k = 0; k < l->n_providers; k++)
			log_add(a, s, l->providers[k]->name, filter, t->id);
	}
}

/* ---- spans ---- */

static void trace_defaults(const struct pilot_mesh *m, struct pilot_trace_use *u)
{
	const Mesh__MeshConfig__DefaultProviders *d = m->spec->default_providers;
	const Mesh__ProxyConfig *c = m->spec->default_config;
	u->id = m->id;
	u->sampling = c && c->tracing && c->tracing->sampling > 0 ? c->tracing->sampling : 1.0;
	if (d && d->n_tracing)
		u->provider = d->tracing[0];
	else if (m->tracing && pilot_mesh_provider_address(m, PILOT_PROVIDER_TRACER))
		u->provider = PILOT_PROVIDER_TRACER;
}

static void trace_level(
	struct pilot_trace_use *u, const struct pilot_telemetry_obj *t, enum pilot_side side)
{
	for (size_t i = 0; i < t->spec->n_tracing; i++) {
		const Telemetry__Tracing *r = t->spec->tracing[i];
		if (!is_for(r->match ? r->match->mode : 0, side))
			continue;
		u->id = t->id;
		if (r->n_providers)
			u->provider = r->providers[0]->name;
		if (r->random_sampling_percentage)
			u->sampling = r->random_sampling_percentage->value;
		if (r->disable_span_reporting)
			u->off = r->disable_span_reporting->value;
		if (r->use_request_id_for_trace_sampling)
			u->request_id_apart = !r->use_request_id_for_trace_sampling->value;
		if (r->n_custom_tags) {
			u->tags =
				(const Telemetry__Tracing__CustomTagsEntry *const *)r->custom_tags;
			u->ntags = r->n_custom_tags;
		}
	}
}

void pilot_index_telemetry(const struct pilot_index *ix, const struct pilot_proxy *p,
	struct mt_arena *a, struct pilot_telemetry *ret)
{
	struct pilot_telemetry t = { 0 };
	for (size_t i = 0; i < ix->ntelemetries; i++) {
		int l = level(ix, &ix->telemetries[i], p);
		if (l < 0 || t.objs[2 - l])
			continue; /* the oldest stays */
		t.objs[2 - l] = &ix->telemetries[i];
	}
	for (int s = 0; s < PILOT_SIDES; s++) {
		log_defaults(&ix->mesh, a, &t.side[s]);
		trace_defaults(&ix->mesh, &t.side[s].trace);
		for (size_t l = 0; l < MT_ARRAY_SIZE(t.objs); l++) {
			if (!t.objs[l])
				continue;
			log_level(a, &t.side[s], t.objs[l], (enum pilot_side)s);
			trace_level(&t.side[s].trace, t.objs[l], (enum pilot_side)s);
		}
		if (t.side[s].trace.off)
			t.side[s].trace.provider = NULL;
	}
	for (size_t l = 0; l < MT_ARRAY_SIZE(t.objs); l++)
		t.hash = mt_hash_mix(
			t.hash, t.objs[l] ? mt_hash_mix(t.objs[l]->obj->hash, t.objs[l]->id) : l);
	*ret = t;
}

static void ignored(struct pilot_index *ix, uint32_t id, const char *path, const char *why)
{
	pilot_note_add(ix->arena, &ix->notes, id, PILOT_NOTE_IGNORED, path, "%s", why);
}

void pilot_telemetry_notes(struct pilot_index *ix, const struct pilot_telemetry_obj *t)
{
	const Telemetry__Telemetry *s = t->spec;
	if (s->n_metrics)
		ignored(ix, t->id, "spec.metrics",
			"metrics are Mixer's: its rules say which there are, and their dimensions");
	pilot_targets_note(
		ix, t->id, t->obj->ns, "spec.targetRef", &s->targetref, s->targetref != NULL);
	pilot_targets_note(
		ix, t->id, t->obj->ns, "spec.targetRefs", s->targetrefs, s->n_targetrefs);
	for (size_t i = 0; i < s->n_tracing; i++) {
		const char *path = mt_arena_printf(ix->arena, "spec.tracing[%zu]", i);
		if (s->tracing[i]->enable_istio_tags)
			ignored(ix, t->id, mt_arena_printf(ix->arena, "%s.enableIstioTags", path),
				"tags are those that are named");
		if (s->tracing[i]->disable_context_propagation)
			ignored(ix, t->id,
				mt_arena_printf(ix->arena, "%s.disableContextPropagation", path),
				"a trace that is not passed on ends here: Envoy passes it on");
	}
}
