/* Selecting patches, their part in plans and fingerprints, and clusters. */
#include "pilot/filter/patch.h"

#include <string.h>

#include "common/base/hash.h"
#include "common/base/strs.h"
#include "common/schema/envoy_patch.h"
#include "common/schema/pb_merge.h"
#include "pilot/filter/patch_listener.h"

typedef const Nw__EnvoyFilter__EnvoyConfigObjectMatch match;

#define TO(name) NW__ENVOY_FILTER__APPLY_TO__##name
#define OP(name) NW__ENVOY_FILTER__PATCH__OPERATION__##name
#define IN(name) NW__ENVOY_FILTER__PATCH_CONTEXT__##name

void pilot_scope_patches(struct pilot_job *j)
{
	j->patches = MT_ANEWN(j->a, const struct pilot_patch *, j->ix->npatches + 1);
	for (size_t i = 0; i < j->ix->npatches; i++)
		if (j->ix->patches[i].to != TO(BOOTSTRAP) &&
			pilot_patch_selects(j->ix, &j->ix->patches[i], j->p))
			j->patches[j->npatches++] = &j->ix->patches[i];
}

void pilot_patch_hit(struct pilot_job *j, const struct pilot_patch *p)
{
	pilot_job_note(j, p->id, PILOT_NOTE_APPLIED, p->path, "%s", "");
}

static bool has_note(const struct pilot_job *j, const struct pilot_patch *p)
{
	for (size_t i = 0; i < j->notes.n; i++)
		if (j->notes.v[i].id == p->id && strcmp(j->notes.v[i].path, p->path) == 0)
			return true;
	return false;
}

void pilot_patch_notes(struct pilot_job *j)
{
	for (size_t i = 0; i < j->npatches; i++) {
		const struct pilot_patch *p = j->patches[i];
		struct pilot_note note;
		if (has_note(j, p))
			continue;
		pilot_world_patch_idle(j->w, p->index, j->a, &note);
		mt_vec_apush(j->a, &j->notes, note);
	}
}

void pilot_patch_own(struct pilot_job *j, ProtobufCMessage *m)
{
	memcpy(m, mt_pb_dup(m, j->a), m->descriptor->sizeof_message);
}

bool pilot_patch_in(const struct pilot_patch *p, pilot_patch_context context)
{
	return p->context == IN(ANY) || p->context == context;
}

bool pilot_patch_is_route(const struct pilot_patch *p)
{
	return p->to == TO(ROUTE_CONFIGURATION) || p->to == TO(VIRTUAL_HOST) ||
		p->to == TO(HTTP_ROUTE);
}

static bool is_listener(const struct pilot_patch *p)
{
	return p->to == TO(LISTENER) || p->to == TO(FILTER_CHAIN) || p->to == TO(NETWORK_FILTER) ||
		p->to == TO(HTTP_FILTER) || p->to == TO(LISTENER_FILTER) ||
		p->to == TO(EXTENSION_CONFIG);
}

static pilot_patch_context context_of(struct pilot_job *j, enum pilot_how how, const char *name)
{
	bool inbound = how == PILOT_HOW_CLUSTER_INBOUND || how == PILOT_HOW_LISTENER_IN ||
		how == PILOT_HOW_LISTENER_VIRTUAL_IN || how == PILOT_HOW_ROUTE_INBOUND ||
		(how == PILOT_HOW_CLUSTER_FIXED && mt_str_prefix(name, "Inbound"));
	if (j->p->type == PILOT_ROUTER)
		return IN(GATEWAY);
	return inbound ? IN(SIDECAR_INBOUND) : IN(SIDECAR_OUTBOUND);
}

/* ---- clusters ---- */

static bool cluster_matches(const struct pilot_patch *p, const char *name)
{
	struct pilot_cluster_name n;
	match *m = p->match;
	if (!m ||
		m->object_types_case !=
			NW__ENVOY_FILTER__ENVOY_CONFIG_OBJECT_MATCH__OBJECT_TYPES_CLUSTER)
		return true;
	const Nw__EnvoyFilter__ClusterMatch *c = m->cluster;
	if (*c->name && strcmp(c->name, name) != 0)
		return false;
	if (!c->port_number && !*c->service && !*c->subset)
		return true;
	return pilot_cluster_name_parse(name, &n) == 0 &&
		(!c->port_number || c->port_number == n.port) &&
		(!*c->service || strcmp(c->service, n.host) == 0) &&
		(!*c->subset || strcmp(c->subset, n.subset) == 0);
}

static bool is_cluster(enum pilot_how how)
{
	return how == PILOT_HOW_CLUSTER || how == PILOT_HOW_CLUSTER_FIXED ||
		how == PILOT_HOW_CLUSTER_INBOUND;
}

/* ---- plans ---- */

/* Virtual hosts are seen to by pilot_patch_vhosts(). */
static bool concerns(
	struct pilot_job *j, const struct pilot_patch *p, enum pilot_how how, const char *name)
{
	pilot_patch_context context = context_of(j, how, name);
	switch (how) {
	case PILOT_HOW_CLUSTER:
	case PILOT_HOW_CLUSTER_FIXED:
	case PILOT_HOW_CLUSTER_INBOUND:
		return p->to == TO(CLUSTER) && pilot_patch_in(p, context) &&
			cluster_matches(p, name);
	case PILOT_HOW_ENDPOINTS:
	case PILOT_HOW_VHOST:
	case PILOT_HOW_VHOST_APART:
	case PILOT_HOW_PATCHED: return false;
	case PILOT_HOW_ROUTE:
	case PILOT_HOW_ROUTE_INBOUND: return pilot_patch_is_route(p) && pilot_patch_in(p, context);
	default: return pilot_patch_in(p, context) && is_listener(p);
	}
}

/* Which ports have a name is said by services and objects that a listener need not read otherwise. */
static bool by_port_name(const struct pilot_patch *p)
{
	match *m = p->match;
	return (p->old && *p->old->port_name_prefix) ||
		(m &&
			m->object_types_case ==
				NW__ENVOY_FILTER__ENVOY_CONFIG_OBJECT_MATCH__OBJECT_TYPES_LISTENER &&
			*m->listener->port_name);
}

uint64_t pilot_patch_fp(struct pilot_job *j, enum pilot_how how, const char *name)
{
	uint64_t h = 0;
	for (size_t i = 0; i < j->npatches; i++)
		if (concerns(j, j->patches[i], how, name))
			h = mt_hash_mix(h,
				mt_hash_mix(j->patches[i]->hash,
					by_port_name(j->patches[i]) ? j->ix->hash : 0));
	return h;
}

static bool removed(struct pilot_job *j, const struct pilot_item *it, pilot_apply_to to)
{
	pilot_patch_context context = context_of(j, it->how, it->name);
	for (size_t i = 0; i < j->npatches; i++) {
		const struct pilot_patch *p = j->patches[i];
		if (p->to != to || p->op != OP(REMOVE) || !pilot_patch_in(p, context))
			continue;
		if (to == TO(CLUSTER) ? cluster_matches(p, it->name)
				      : pilot_patch_listener_item(j, p, it)) {
			pilot_patch_hit(j, p);
			return true;
		}
	}
	return false;
}

static void add(struct pilot_job *j, struct pilot_plan *plan, const struct pilot_patch *p)
{
	const char *name = pilot_patch_name_of(p->value);
	for (size_t i = 0; i < plan->n; i++)
		if (strcmp(plan->v[i].name, name) == 0) {
			pilot_job_note(j, p->id, PILOT_NOTE_SHADOWED, p->path,
				"there is a resource of the name %s already", name);
			return;
		}
	pilot_plan_add(j, plan, name, p->hash, PILOT_HOW_PATCHED, p);
}

void pilot_patch_plan(struct pilot_job *j, enum pilot_table t, struct pilot_plan *plan)
{
	bool cluster = t == PILOT_CLUSTERS || t == PILOT_CLUSTERS_INBOUND;
	bool inbound = t == PILOT_CLUSTERS_INBOUND || t == PILOT_LISTENERS_INBOUND;
	pilot_apply_to to = cluster ? TO(CLUSTER) : TO(LISTENER);
	size_t n = 0;
	if (!j->npatches || t == PILOT_ENDPOINTS || t == PILOT_ROUTES ||
		t == PILOT_ROUTES_INBOUND || t == PILOT_VIRTUAL_HOSTS)
		return;
	for (size_t i = 0; i < plan->n; i++)
		if (!removed(j, &plan->v[i], to))
			plan->v[n++] = plan->v[i];
	plan->n = n;
	for (size_t i = 0; i < j->npatches; i++) {
		const struct pilot_patch *p = j->patches[i];
		/* One for any place stands outbound, or at the gateway. */
		if (p->to == to && p->op == OP(ADD) &&
			inbound == (p->context == IN(SIDECAR_INBOUND)))
			add(j, plan, p);
	}
}

void pilot_patch_built(struct pilot_job *j, const struct pilot_item *it, ProtobufCMessage *m)
{
	enum pilot_how how = (enum pilot_how)it->how;
	pilot_patch_context context = context_of(j, how, it->name);
	bool own = false;
	if (!j->npatches || how == PILOT_HOW_ENDPOINTS || how == PILOT_HOW_ROUTE ||
		how == PILOT_HOW_ROUTE_INBOUND || how == PILOT_HOW_VHOST ||
		how == PILOT_HOW_VHOST_APART || how == PILOT_HOW_PATCHED)
		return;
	if (!is_cluster(how)) {
		bool any = false;
		for (size_t i = 0; i < j->npatches && !any; i++)
			any = concerns(j, j->patches[i], how, it->name);
		if (!any)
			return;
		pilot_patch_own(j, m);
		pilot_patch_listener(j, context, (Listener__Listener *)m);
		return;
	}
	for (size_t i = 0; i < j->npatches; i++) {
		const struct pilot_patch *p = j->patches[i];
		bool merge = p->op == OP(MERGE) || p->op == OP(MERGE_AND_REPLACE_LIST);
		if (!merge || !concerns(j, p, how, it->name))
			continue;
		if (!own)
			pilot_patch_own(j, m);
		own = true;
		pilot_patch_merge(j, p, m);
	}
}

/* ---- shared ---- */

const char *pilot_patch_name_of(const ProtobufCMessage *m)
{
	const ProtobufCFieldDescriptor *f =
		protobuf_c_message_descriptor_get_field_by_name(m->descriptor, "name");
	const char *s = f ? *(const char *const *)((const char *)m + f->offset) : NULL;
	return s ? s : "";
}

void pilot_patch_merge(struct pilot_job *j, const struct pilot_patch *p, ProtobufCMessage *m)
{
	mt_pb_merge(m, p->value, j->a, p->op == OP(MERGE_AND_REPLACE_LIST));
	pilot_patch_hit(j, p);
}

/* A filter whose configuration is discovered under a name that another patch has: Pilot serves no
 * discovery of extensions, so it is put in place. */
static void put_in_place(struct pilot_job *j, Hcm__HttpFilter *f)
{
	if (f->config_type_case != HCM__HTTP_FILTER__CONFIG_TYPE_CONFIG_DISCOVERY)
		return;
	for (size_t i = 0; i < j->npatches; i++) {
		const struct pilot_patch *p = j->patches[i];
		if (p->to != TO(EXTENSION_CONFIG) || !p->value ||
			strcmp(pilot_patch_name_of(p->value), f->name) != 0)
			continue;
		f->config_type_case = HCM__HTTP_FILTER__CONFIG_TYPE_TYPED_CONFIG;
		f->typed_config = ((const Core__TypedExtensionConfig *)p->value)->typed_config;
		pilot_patch_hit(j, p);
		return;
	}
}

ProtobufCMessage *pilot_patch_value(struct pilot_job *j, const struct pilot_patch *p)
{
	ProtobufCMessage *m = mt_pb_dup(p->value, j->a);
	if (p->to == TO(HTTP_FILTER))
		put_in_place(j, (Hcm__HttpFilter *)m);
	return m;
}

ProtobufCMessage *pilot_patch_added(struct pilot_job *j, const struct pilot_patch *p)
{
	pilot_patch_hit(j, p);
	return pilot_patch_value(j, p);
}

static void insert(
	struct pilot_job *j, const struct pilot_patch_list *l, size_t at, ProtobufCMessage *m)
{
	ProtobufCMessage **v = MT_ANEWN(j->a, ProtobufCMessage *, *l->n + 1);
	for (size_t i = 0; i < *l->n; i++)
		v[i < at ? i : i + 1] = (*l->v)[i];
	v[at] = m;
	*l->v = v;
	++*l->n;
}

static bool change(struct pilot_job *j, const struct pilot_patch *p,
	const struct pilot_patch_list *l, bool all)
{
	bool hit = false;
	size_t n = 0;
	for (size_t i = 0; i < *l->n; i++) {
		ProtobufCMessage *m = (*l->v)[i];
		bool this = *p->target ? strcmp(pilot_patch_name_of(m), p->target) == 0 : all;
		hit = hit || this;
		if (this && p->op == OP(REPLACE))
			m = pilot_patch_value(j, p);
		else if (this && p->op != OP(REMOVE))
			pilot_patch_merge(j, p, m);
		if (!this || p->op != OP(REMOVE))
			(*l->v)[n++] = m;
	}
	*l->n = n;
	if (hit)
		pilot_patch_hit(j, p);
	return hit;
}

/* Those of Pilot's own filters that a class comes after. What identifies comes first. */
static bool is_before(const char *name, pilot_filter_class where)
{
	static const struct {
		const char *name;
		bool authn;
	} own[] = {
		{ "envoy.filters.http.jwt_authn", true },
		{ "envoy.filters.http.rbac", false },
		{ "envoy.filters.http.ext_authz", false },
		{ "envoy.filters.network.rbac", false },
		{ "envoy.filters.network.ext_authz", false },
	};
	for (size_t i = 0; i < MT_ARRAY_SIZE(own); i++)
		if (strcmp(own[i].name, name) == 0)
			return own[i].authn ||
				where == NW__ENVOY_FILTER__PATCH__FILTER_CLASS__AUTHZ;
	return false;
}

/* An earlier patch of the same class put a filter of this name. */
static bool is_earlier(
	const struct pilot_job *j, const struct pilot_patch *p, const ProtobufCMessage *m)
{
	for (size_t i = 0; i < j->npatches && j->patches[i] != p; i++) {
		const struct pilot_patch *o = j->patches[i];
		if (o->to == p->to && o->op == OP(ADD) && o->where == p->where &&
			strcmp(pilot_patch_name_of(o->value), pilot_patch_name_of(m)) == 0)
			return true;
	}
	return false;
}

/* Where a filter that is added stands: last, unless its class says otherwise; within a class in the
 * order of the patches. Statistics are taken at the end, so before them is last too. */
static size_t class_place(const struct pilot_job *j, const struct pilot_patch *p,
	const struct pilot_patch_list *l, size_t last)
{
	size_t at = 0;
	if (!l->end || !p->where || p->where == NW__ENVOY_FILTER__PATCH__FILTER_CLASS__STATS)
		return last;
	for (size_t i = 0; i < last; i++)
		if (is_before(pilot_patch_name_of((*l->v)[i]), p->where))
			at = i + 1;
	while (at < last && is_earlier(j, p, (*l->v)[at]))
		at++;
	return at;
}

bool pilot_patch_list(struct pilot_job *j, const struct pilot_patch *p,
	const struct pilot_patch_list *l, bool all)
{
	size_t last = *l->n - (l->end && *l->n ? 1 : 0), at = *l->n;
	switch (p->op) {
	case OP(MERGE):
	case OP(MERGE_AND_REPLACE_LIST):
	case OP(REPLACE):
	case OP(REMOVE): return change(j, p, l, all);
	case OP(ADD): at = class_place(j, p, l, last); break;
	case OP(INSERT_FIRST): at = 0; break;
	default:
		for (size_t i = 0; *p->target && i < *l->n; i++)
			if (strcmp(pilot_patch_name_of((*l->v)[i]), p->target) == 0) {
				at = p->op == OP(INSERT_AFTER) ? i + 1 : i;
				break;
			}
		if (!*p->target)
			at = p->op == OP(INSERT_AFTER) ? last : 0;
		else if (at == *l->n &&
			(p->op == OP(INSERT_BEFORE) || !*l->n ||
				strcmp(pilot_patch_name_of((*l->v)[at - 1]), p->target) != 0))
			return false;
	}
	insert(j, l, at, pilot_patch_value(j, p));
	pilot_patch_hit(j, p);
	return true;
}
