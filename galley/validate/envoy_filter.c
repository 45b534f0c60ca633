/* Patches of Envoy's configuration: does each say something that can be done, and is its value what it
 * says it is. Whether the filter that it names is there is known only when a proxy is. */
#include <string.h>

#include "common/base/strs.h"
#include "common/schema/envoy_patch.h"
#include "galley/validate/check.h"

#define TO(name) NW__ENVOY_FILTER__APPLY_TO__##name
#define OP(name) NW__ENVOY_FILTER__PATCH__OPERATION__##name
static void value(const struct check *c, const char *path, Nw__EnvoyFilter__ApplyTo to,
	const Google__Protobuf__Struct *v)
{
	struct mt_diags diags = { 0 };

	mt_patch_value(to, v, path, c->arena, &diags);
	for (size_t i = 0; i < diags.n; i++)
		fault(c, mt_arena_strdup(c->arena, diags.v[i].path), "%s%s", diags.v[i].msg,
			mt_str_prefix(diags.v[i].msg, "unknown field")
				? " (of an extension: write it as xds.type.v3.TypedStruct, and Envoy decides)"
				: "");
	mt_diags_clear(&diags);
}

static bool needs_name(Nw__EnvoyFilter__ApplyTo to, unsigned op)
{
	if (op == OP(ADD))
		return to == TO(CLUSTER) || to == TO(LISTENER) || to == TO(VIRTUAL_HOST) ||
			to == TO(EXTENSION_CONFIG) || to == TO(HTTP_FILTER) ||
			to == TO(NETWORK_FILTER) || to == TO(LISTENER_FILTER);
	return (op == OP(INSERT_BEFORE) || op == OP(INSERT_AFTER) || op == OP(INSERT_FIRST) ||
		       op == OP(REPLACE)) &&
		to != TO(HTTP_ROUTE);
}

static bool has_name(const Google__Protobuf__Struct *v)
{
	for (size_t i = 0; v && i < v->n_fields; i++)
		if (strcmp(v->fields[i]->key, "name") == 0)
			return true;
	return false;
}

static void object_match(const struct check *c, const char *path,
	const Nw__EnvoyFilter__EnvoyConfigObjectMatch *m, Nw__EnvoyFilter__ApplyTo to)
{
	bool route =
		to == TO(ROUTE_CONFIGURATION) || to == TO(VIRTUAL_HOST) || to == TO(HTTP_ROUTE);
	if (!m)
		return;
	if (m->proxy && !mt_str_empty(m->proxy->proxy_version))
		check_regex(c, at(c, "%s.proxy.proxyVersion", path), m->proxy->proxy_version);
	switch (m->object_types_case) {
	case NW__ENVOY_FILTER__ENVOY_CONFIG_OBJECT_MATCH__OBJECT_TYPES_CLUSTER:
		if (to != TO(CLUSTER))
			fault(c, at(c, "%s.cluster", path), "is for CLUSTER alone");
		return;
	case NW__ENVOY_FILTER__ENVOY_CONFIG_OBJECT_MATCH__OBJECT_TYPES_ROUTE_CONFIGURATION:
		if (!route)
			fault(c, at(c, "%s.routeConfiguration", path),
				"is for ROUTE_CONFIGURATION, VIRTUAL_HOST and HTTP_ROUTE");
		return;
	case NW__ENVOY_FILTER__ENVOY_CONFIG_OBJECT_MATCH__OBJECT_TYPES_LISTENER:
		if (route || to == TO(CLUSTER))
			fault(c, at(c, "%s.listener", path),
				"is for listeners and what is in them");
		return;
	case NW__ENVOY_FILTER__ENVOY_CONFIG_OBJECT_MATCH__OBJECT_TYPES_WAYPOINT:
		remark(c, at(c, "%s.waypoint", path), "has no effect: there are no waypoints");
		return;
	default: return;
	}
}

/* The agent merges it when it starts a proxy: Envoy alone knows whether it is right. */
static void bootstrap(const struct check *c, const char *path, const Nw__EnvoyFilter__Patch *p)
{
	if (!p || !mt_patch_can(TO(BOOTSTRAP), p->operation))
		fault(c, at(c, "%s.patch.operation", path),
			"is not MERGE, which BOOTSTRAP has alone");
	else if (!p->value || !p->value->n_fields)
		fault(c, at(c, "%s.patch.value", path), "is missing");
	else
		remark(c, at(c, "%s.applyTo", path),
			"takes effect when the agent starts a proxy next");
}

static void patch(
	const struct check *c, const char *path, const Nw__EnvoyFilter__EnvoyConfigObjectPatch *p)
{
	Nw__EnvoyFilter__Patch__Operation op = p->patch ? p->patch->operation : OP(INVALID);

	if (p->apply_to == TO(BOOTSTRAP)) {
		bootstrap(c, path, p->patch);
		return;
	}
	if (!mt_patch_type(p->apply_to)) {
		fault(c, at(c, "%s.applyTo", path), "is missing");
		return;
	}
	if (op == OP(INVALID))
		fault(c, at(c, "%s.patch.operation", path), "is missing");
	else if (!mt_patch_can(p->apply_to, op))
		remark(c, at(c, "%s.patch.operation", path),
			"has no effect: %s is not possible for %s", mt_patch_op_name(op),
			mt_patch_kind_name(p->apply_to));
	if (op != OP(INVALID) && op != OP(ADD) && p->patch->filter_class)
		remark(c, at(c, "%s.patch.filterClass", path), "has no effect: is for ADD alone");
	object_match(c, at(c, "%s.match", path), p->match, p->apply_to);
	if (op == OP(INVALID) || op == OP(REMOVE))
		return;
	if (!p->patch->value || !p->patch->value->n_fields)
		fault(c, at(c, "%s.patch.value", path), "is missing");
	else if (needs_name(p->apply_to, op) && !has_name(p->patch->value))
		fault(c, at(c, "%s.patch.value.name", path), "is missing");
	else
		value(c, at(c, "%s.patch.value", path), p->apply_to, p->patch->value);
}

static void filter(const struct check *c, const char *path, const Nw__EnvoyFilter__Filter *f)
{
	struct mt_diags diags = { 0 };
	const Nw__EnvoyFilter__InsertPosition *pos = f->insert_position;

	if (mt_str_empty(f->filter_name))
		fault(c, at(c, "%s.filterName", path), "is missing");
	if (f->filter_type == NW__ENVOY_FILTER__FILTER__FILTER_TYPE__INVALID)
		fault(c, at(c, "%s.filterType", path), "is missing: HTTP or NETWORK");
	if (pos && pos->index >= NW__ENVOY_FILTER__INSERT_POSITION__INDEX__BEFORE &&
		mt_str_empty(pos->relative_to))
		fault(c, at(c, "%s.insertPosition.relativeTo", path), "is missing");
	for (size_t i = 0; f->listener_match && i < f->listener_match->n_address; i++)
		check_address(c, at(c, "%s.listenerMatch.address[%zu]", path, i),
			f->listener_match->address[i]);
	if (mt_str_empty(f->filter_name))
		return;
	mt_patch_filter(f, path, c->arena, &diags);
	for (size_t i = 0; i < diags.n; i++)
		fault(c, mt_arena_strdup(c->arena, diags.v[i].path), "%s", diags.v[i].msg);
	mt_diags_clear(&diags);
}

void galley_check_envoy_filter(const struct check *c, const ProtobufCMessage *spec)
{
	const Nw__EnvoyFilter *s = (const Nw__EnvoyFilter *)spec;

	for (size_t i = 0; s->workload_selector && i < s->workload_selector->n_labels; i++)
		check_label(c, "spec.workloadSelector.labels", s->workload_selector->labels[i]->key,
			s->workload_selector->labels[i]->value);
	if (s->workload_selector && s->n_targetrefs)
		fault(c, "spec.workloadSelector", "say workloadSelector or targetRefs, not both");
	if (!s->n_filters && !s->n_config_patches)
		remark(c, "spec", "has no patches");
	for (size_t i = 0; i < s->n_filters; i++)
		filter(c, at(c, "spec.filters[%zu]", i), s->filters[i]);
	for (size_t i = 0; i < s->n_config_patches; i++)
		patch(c, at(c, "spec.configPatches[%zu]", i), s->config_patches[i]);
}
