/* Reading EnvoyFilter objects of both generations into one list.
 *
 * 1.0's `filters` become patches: an insertion of an HTTP or network filter, with their own way to say
 * where. What a patch holds is decoded here, once a world; translation only copies it into place. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "pilot/model/envoy_filter.h"

#include <pcre2.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/hash.h"
#include "common/base/strs.h"
#include "common/base/vec.h"
#include "common/schema/envoy_patch.h"
#include "pilot/model/target.h"

struct patches {
	struct pilot_patch *v;
	size_t n;
	size_t cap;
};

static void note_faults(
	struct pilot_index *ix, const struct pilot_patch *p, const struct mt_diags *diags)
{
	for (size_t i = 0; i < diags->n; i++)
		pilot_note_add(ix->arena, &ix->notes, p->id, PILOT_NOTE_INVALID,
			mt_arena_strdup(ix->arena, diags->v[i].path ? diags->v[i].path : p->path),
			"%s", diags->v[i].msg);
}

static const char *or_empty(const char *s)
{
	return s ? s : "";
}

/* What the patch stands at, as its match says it. */
static const char *target_of(const struct pilot_patch *p)
{
	const Nw__EnvoyFilter__EnvoyConfigObjectMatch *m = p->match;
	if (!m)
		return "";
	if (p->to == NW__ENVOY_FILTER__APPLY_TO__HTTP_ROUTE &&
		m->object_types_case ==
			NW__ENVOY_FILTER__ENVOY_CONFIG_OBJECT_MATCH__OBJECT_TYPES_ROUTE_CONFIGURATION)
		return m->route_configuration->vhost && m->route_configuration->vhost->route
			? or_empty(m->route_configuration->vhost->route->name)
			: "";
	if (m->object_types_case !=
		NW__ENVOY_FILTER__ENVOY_CONFIG_OBJECT_MATCH__OBJECT_TYPES_LISTENER)
		return "";
	if (p->to == NW__ENVOY_FILTER__APPLY_TO__LISTENER_FILTER)
		return or_empty(m->listener->listener_filter);
	const Nw__EnvoyFilter__ListenerMatch__FilterMatch *f =
		m->listener->filter_chain ? m->listener->filter_chain->filter : NULL;
	if (!f)
		return "";
	if (p->to == NW__ENVOY_FILTER__APPLY_TO__HTTP_FILTER)
		return f->sub_filter ? mt_patch_filter_name(f->sub_filter->name) : "";
	return mt_patch_filter_name(f->name);
}

static bool is_removal(pilot_patch_op op)
{
	return op == NW__ENVOY_FILTER__PATCH__OPERATION__REMOVE;
}

static void add_patch(struct pilot_index *ix, struct patches *all, struct pilot_patch p, size_t i)
{
	const Nw__EnvoyFilter__EnvoyConfigObjectPatch *c = p.spec->config_patches[i];
	struct mt_diags diags = { 0 };
	p.path = mt_arena_printf(ix->arena, "spec.configPatches[%zu]", i);
	p.hash = mt_hash_mix(p.hash, i);
	p.to = c->apply_to;
	p.match = c->match;
	p.context = c->match ? c->match->context : NW__ENVOY_FILTER__PATCH_CONTEXT__ANY;
	p.op = c->patch ? c->patch->operation : NW__ENVOY_FILTER__PATCH__OPERATION__INVALID;
	p.where = c->patch ? c->patch->filter_class : 0;
	p.target = target_of(&p);
	if (p.to == NW__ENVOY_FILTER__APPLY_TO__BOOTSTRAP && mt_patch_can(p.to, p.op) &&
		c->patch->value) {
		p.value = &c->patch->value->base;
		pilot_note_add(ix->arena, &ix->notes, p.id, PILOT_NOTE_IGNORED, p.path,
			"takes effect when the agent starts a proxy next");
		mt_vec_apush(ix->arena, all, p);
		return;
	}
	if (!mt_patch_type(p.to) || p.context == NW__ENVOY_FILTER__PATCH_CONTEXT__WAYPOINT) {
		pilot_note_add(ix->arena, &ix->notes, p.id, PILOT_NOTE_IGNORED, p.path,
			"there is nothing of this kind to change");
		return;
	}
	if (p.where && p.op != NW__ENVOY_FILTER__PATCH__OPERATION__ADD)
		pilot_note_add(ix->arena, &ix->notes, p.id, PILOT_NOTE_IGNORED,
			mt_arena_printf(ix->arena, "%s.patch.filterClass", p.path),
			"is for ADD alone");
	if (!mt_patch_can(p.to, p.op)) {
		pilot_note_add(ix->arena, &ix->notes, p.id, PILOT_NOTE_IGNORED,
			mt_arena_printf(ix->arena, "%s.patch.operation", p.path),
			"%s is not possible for %s", or_empty(mt_patch_op_name(p.op)),
			or_empty(mt_patch_kind_name(p.to)));
		return;
	}
	if (!is_removal(p.op)) {
		p.value = mt_patch_value(p.to, c->patch ? c->patch->value : NULL,
			mt_arena_printf(ix->arena, "%s.patch.value", p.path), ix->arena, &diags);
		note_faults(ix, &p, &diags);
	}
	mt_diags_clear(&diags);
	if (p.value || is_removal(p.op))
		mt_vec_apush(ix->arena, all, p);
}

static pilot_patch_op op_of(const Nw__EnvoyFilter__InsertPosition *pos)
{
	switch (pos ? pos->index : NW__ENVOY_FILTER__INSERT_POSITION__INDEX__FIRST) {
	case NW__ENVOY_FILTER__INSERT_POSITION__INDEX__LAST:
		return NW__ENVOY_FILTER__PATCH__OPERATION__ADD;
	case NW__ENVOY_FILTER__INSERT_POSITION__INDEX__BEFORE:
		return NW__ENVOY_FILTER__PATCH__OPERATION__INSERT_BEFORE;
	case NW__ENVOY_FILTER__INSERT_POSITION__INDEX__AFTER:
		return NW__ENVOY_FILTER__PATCH__OPERATION__INSERT_AFTER;
	default: return NW__ENVOY_FILTER__PATCH__OPERATION__INSERT_FIRST;
	}
}

static void add_old(struct pilot_index *ix, struct patches *all, struct pilot_patch p, size_t i)
{
	const Nw__EnvoyFilter__Filter *f = p.spec->filters[i];
	struct mt_diags diags = { 0 };
	p.path = mt_arena_printf(ix->arena, "spec.filters[%zu]", i);
	p.hash = mt_hash_mix(p.hash, 1000000 + i);
	p.to = f->filter_type == NW__ENVOY_FILTER__FILTER__FILTER_TYPE__HTTP
		? NW__ENVOY_FILTER__APPLY_TO__HTTP_FILTER
		: NW__ENVOY_FILTER__APPLY_TO__NETWORK_FILTER;
	p.old = f->listener_match;
	/* The listener types of 1.0 have the numbers of today's contexts. */
	p.context = f->listener_match ? (pilot_patch_context)f->listener_match->listener_type
				      : NW__ENVOY_FILTER__PATCH_CONTEXT__ANY;
	p.op = op_of(f->insert_position);
	p.target = f->insert_position ? mt_patch_filter_name(f->insert_position->relative_to) : "";
	p.value = mt_patch_filter(f, p.path, ix->arena, &diags);
	note_faults(ix, &p, &diags);
	mt_diags_clear(&diags);
	if (p.value)
		mt_vec_apush(ix->arena, all, p);
}

/* Stable: arrival is by age. */
static void order(struct patches *all)
{
	for (size_t i = 1; i < all->n; i++) {
		struct pilot_patch p = all->v[i];
		size_t k = i;
		for (; k > 0; k--) {
			const struct pilot_patch *o = &all->v[k - 1];
			if (o->priority < p.priority ||
				(o->priority == p.priority && (o->root || !p.root)))
				break;
			all->v[k] = *o;
		}
		all->v[k] = p;
	}
	for (size_t i = 0; i < all->n; i++)
		all->v[i].index = (uint32_t)i;
}

void pilot_index_patches(struct pilot_index *ix, const struct pilot_config *c, size_t n)
{
	struct patches all = { 0 };
	for (size_t i = 0; i < n; i++) {
		const Nw__EnvoyFilter *s = (const Nw__EnvoyFilter *)c[i].obj->spec;
		struct pilot_patch p = { .id = c[i].id,
			.obj = c[i].obj,
			.hash = mt_hash_mix(c[i].obj->hash, c[i].id),
			.priority = s->priority,
			.root = strcmp(c[i].obj->ns, ix->mesh.root_namespace) == 0,
			.target = "",
			.spec = s };
		pilot_targets_note(
			ix, p.id, p.obj->ns, "spec.targetRefs", s->targetrefs, s->n_targetrefs);
		for (size_t k = 0; k < s->n_filters; k++)
			add_old(ix, &all, p, k);
		for (size_t k = 0; k < s->n_config_patches; k++)
			add_patch(ix, &all, p, k);
	}
	order(&all);
	ix->patches = all.v;
	ix->npatches = all.n;
}

/* ---- for whom ---- */

/* As RE2 finds it anywhere in the text. */
static bool matches(const char *pattern, const char *text)
{
	int err;
	PCRE2_SIZE at;
	pcre2_code *re =
		pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED, 0, &err, &at, NULL);
	if (!re)
		return false;
	pcre2_match_data *md = pcre2_match_data_create_from_pattern(re, NULL);
	int r = pcre2_match(re, (PCRE2_SPTR)text, PCRE2_ZERO_TERMINATED, 0, 0, md, NULL);
	pcre2_match_data_free(md);
	pcre2_code_free(re);
	return r >= 0;
}

static bool proxy_matches(const Nw__EnvoyFilter__ProxyMatch *m, const struct pilot_proxy *x)
{
	if (!m)
		return true;
	const char *version = pilot_label(x->meta, x->nmeta, "ISTIO_VERSION");
	if (!mt_str_empty(m->proxy_version) &&
		(mt_str_empty(version) || !matches(m->proxy_version, version)))
		return false;
	for (size_t i = 0; i < m->n_metadata; i++)
		if (!mt_streq(pilot_label(x->meta, x->nmeta, m->metadata[i]->key),
			    m->metadata[i]->value))
			return false;
	return true;
}

bool pilot_patch_selects(
	const struct pilot_index *ix, const struct pilot_patch *p, const struct pilot_proxy *x)
{
	const Nw__WorkloadSelector *s = p->spec->workload_selector;
	if (p->spec->n_targetrefs) {
		if (!pilot_targets_select(
			    ix, p->obj->ns, p->spec->targetrefs, p->spec->n_targetrefs, x))
			return false;
	} else if (!p->root && strcmp(p->obj->ns, x->ns) != 0)
		return false;
	for (size_t i = 0; s && i < s->n_labels; i++)
		if (!mt_streq(pilot_label(x->labels, x->nlabels, s->labels[i]->key),
			    s->labels[i]->value))
			return false;
	for (size_t i = 0; i < p->spec->n_workload_labels; i++)
		if (!mt_streq(pilot_label(x->labels, x->nlabels, p->spec->workload_labels[i]->key),
			    p->spec->workload_labels[i]->value))
			return false;
	bool gateway = p->context == NW__ENVOY_FILTER__PATCH_CONTEXT__GATEWAY;
	if (p->context != NW__ENVOY_FILTER__PATCH_CONTEXT__ANY &&
		gateway != (x->type == PILOT_ROUTER))
		return false;
	return proxy_matches(p->match ? p->match->proxy : NULL, x);
}

size_t pilot_world_npatches(const struct pilot_world *w)
{
	return w->ix->npatches;
}

bool pilot_world_patch_selects(const struct pilot_world *w, size_t i, const struct pilot_proxy *p)
{
	return p->type != PILOT_PROXYLESS && pilot_patch_selects(w->ix, &w->ix->patches[i], p);
}

void pilot_world_patch_idle(
	const struct pilot_world *w, size_t i, struct mt_arena *a, struct pilot_note *ret)
{
	const struct pilot_patch *p = &w->ix->patches[i];
	*ret = (struct pilot_note){ p->id, PILOT_NOTE_IGNORED, p->path,
		mt_arena_printf(a, "changes nothing: there is no %s as the match says",
			or_empty(mt_patch_kind_name(p->to))),
		PILOT_NOTE_BUILT, 0 };
}

size_t pilot_world_bootstrap(const struct pilot_world *w, const struct pilot_proxy *x,
	struct mt_arena *a, Google__Protobuf__Struct ***ret)
{
	const struct pilot_index *ix = w->ix;
	Google__Protobuf__Struct **v = MT_ANEWN(a, Google__Protobuf__Struct *, ix->npatches + 1);
	size_t n = 0;
	for (size_t i = 0; i < ix->npatches; i++)
		if (ix->patches[i].to == NW__ENVOY_FILTER__APPLY_TO__BOOTSTRAP &&
			pilot_patch_selects(ix, &ix->patches[i], x))
			v[n++] = (Google__Protobuf__Struct *)(uintptr_t)ix->patches[i].value;
	*ret = v;
	return n;
}
