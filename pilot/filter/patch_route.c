/* Patches of route configurations, virtual hosts and routes.
 *
 * An outbound route configuration is a header and virtual hosts, each planned and built alone: so virtual
 * hosts are added and removed in the plan. An inbound one is whole, and everything happens at once. */
#include <string.h>

#include "common/base/hash.h"
#include "common/base/strs.h"
#include "pilot/filter/patch.h"

#define TO(name) NW__ENVOY_FILTER__APPLY_TO__##name
#define OP(name) NW__ENVOY_FILTER__PATCH__OPERATION__##name
#define IN(name) NW__ENVOY_FILTER__PATCH_CONTEXT__##name

typedef const Nw__EnvoyFilter__RouteConfigurationMatch rc_match;
typedef const Nw__EnvoyFilter__RouteConfigurationMatch__VirtualHostMatch vhost_match;
typedef const Nw__EnvoyFilter__RouteConfigurationMatch__RouteMatch route_match;

struct pilot_patch_routes pilot_patch_routes_of(
	struct pilot_job *j, const struct pilot_route_ref *rc)
{
	struct pilot_patch_routes at = { .context = IN(SIDECAR_OUTBOUND),
		.name = rc->name,
		.port = rc->port,
		.server = rc->server };
	if (j->p->type != PILOT_ROUTER)
		return at;
	at.context = IN(GATEWAY);
	for (size_t i = 0; i < j->ngws && !rc->server; i++)
		if (j->gws[i].plain_http && j->gws[i].port == rc->port)
			at.gateway = &j->gws[i];
	return at;
}

static rc_match *match_of(const struct pilot_patch *p)
{
	const Nw__EnvoyFilter__EnvoyConfigObjectMatch *m = p->match;
	return m &&
			m->object_types_case ==
				NW__ENVOY_FILTER__ENVOY_CONFIG_OBJECT_MATCH__OBJECT_TYPES_ROUTE_CONFIGURATION
		? m->route_configuration
		: NULL;
}

static bool server_meant(const struct pilot_gw_server *s, rc_match *m)
{
	return (!*m->gateway || strcmp(m->gateway, s->gw->name) == 0) &&
		(!*m->port_name || strcmp(m->port_name, s->spec->port->name) == 0);
}

static bool rc_meant(const struct pilot_patch_routes *at, const struct pilot_patch *p)
{
	rc_match *m = match_of(p);
	if (!pilot_patch_is_route(p) || !pilot_patch_in(p, at->context))
		return false;
	if (!m)
		return true;
	if ((*m->name && strcmp(m->name, at->name) != 0) ||
		(m->port_number && m->port_number != at->port))
		return false;
	if (!*m->gateway && !*m->port_name)
		return true;
	if (at->server)
		return server_meant(at->server, m);
	for (size_t i = 0; at->gateway && i < at->gateway->n; i++)
		if (server_meant(&at->gateway->v[i], m))
			return true;
	return false;
}

static vhost_match *vhost_of(const struct pilot_patch *p)
{
	rc_match *m = match_of(p);
	return m ? m->vhost : NULL;
}

static bool vhost_meant(
	const struct pilot_patch *p, const char *name, const char *const *domains, size_t n)
{
	vhost_match *m = vhost_of(p);
	bool found = !m || !*m->domain_name;
	for (size_t i = 0; i < n && !found; i++)
		found = strcmp(domains[i], m->domain_name) == 0;
	return found && (!m || !*m->name || strcmp(m->name, name) == 0);
}

/* ---- one virtual host ---- */

static bool action_is(const Route__Route *r, const struct pilot_patch *p)
{
	vhost_match *v = vhost_of(p);
	route_match *m = v ? v->route : NULL;
	switch (m ? m->action : 0) {
	case NW__ENVOY_FILTER__ROUTE_CONFIGURATION_MATCH__ROUTE_MATCH__ACTION__ROUTE:
		return r->action_case == ROUTE__ROUTE__ACTION_ROUTE;
	case NW__ENVOY_FILTER__ROUTE_CONFIGURATION_MATCH__ROUTE_MATCH__ACTION__REDIRECT:
		return r->action_case == ROUTE__ROUTE__ACTION_REDIRECT;
	case NW__ENVOY_FILTER__ROUTE_CONFIGURATION_MATCH__ROUTE_MATCH__ACTION__DIRECT_RESPONSE:
		return r->action_case == ROUTE__ROUTE__ACTION_DIRECT_RESPONSE;
	default: return true;
	}
}

/* Routes by their action too: those that are not meant are put aside while the list is changed. */
static void routes(struct pilot_job *j, const struct pilot_patch *p, Route__VirtualHost *v)
{
	bool whole = p->op == OP(ADD) || p->op == OP(INSERT_FIRST) || p->op == OP(INSERT_BEFORE) ||
		p->op == OP(INSERT_AFTER);
	size_t n = 0;
	bool hit = false;
	if (whole) {
		struct pilot_patch_list l = { (ProtobufCMessage ***)&v->routes, &v->n_routes,
			false };
		hit = pilot_patch_list(j, p, &l, true);
	} else {
		for (size_t i = 0; i < v->n_routes; i++) {
			ProtobufCMessage *one = &v->routes[i]->base, **list = &one;
			size_t left = 1;
			struct pilot_patch_list l = { &list, &left, false };
			if (action_is(v->routes[i], p))
				hit = pilot_patch_list(j, p, &l, true) || hit;
			if (left)
				v->routes[n++] = (Route__Route *)list[0];
		}
		v->n_routes = n;
	}
	if (!hit && *p->target)
		pilot_job_note(j, p->id, PILOT_NOTE_IGNORED, p->path, "%s has no route %s", v->name,
			p->target);
}

static bool is_merge(const struct pilot_patch *p)
{
	return p->op == OP(MERGE) || p->op == OP(MERGE_AND_REPLACE_LIST);
}

static void vhost(struct pilot_job *j, const struct pilot_patch_routes *at, Route__VirtualHost *v)
{
	for (size_t i = 0; i < j->npatches; i++) {
		const struct pilot_patch *p = j->patches[i];
		if (!rc_meant(at, p) ||
			!vhost_meant(p, v->name, (const char *const *)v->domains, v->n_domains))
			continue;
		if (p->to == TO(VIRTUAL_HOST) && is_merge(p))
			pilot_patch_merge(j, p, &v->base);
		else if (p->to == TO(HTTP_ROUTE))
			routes(j, p, v);
	}
}

void pilot_patch_vhost(
	struct pilot_job *j, const struct pilot_vhost_ref *ref, Route__VirtualHost *v)
{
	if (!ref->rc)
		return;
	struct pilot_patch_routes at = pilot_patch_routes_of(j, ref->rc);
	pilot_patch_own(j, &v->base);
	vhost(j, &at, v);
}

void pilot_patch_route_header(
	struct pilot_job *j, const struct pilot_route_ref *rc, Route__RouteConfiguration *m)
{
	struct pilot_patch_routes at = pilot_patch_routes_of(j, rc);
	for (size_t i = 0; i < j->npatches; i++) {
		const struct pilot_patch *p = j->patches[i];
		if (p->to == TO(ROUTE_CONFIGURATION) && is_merge(p) && rc_meant(&at, p))
			pilot_patch_merge(j, p, &m->base);
	}
}

/* ---- plans ---- */

/* false: a patch takes the virtual host away. */
static bool stays(struct pilot_job *j, const struct pilot_patch_routes *at, struct pilot_item *it,
	struct pilot_route_ref *rc)
{
	struct pilot_vhost_ref *ref = (struct pilot_vhost_ref *)it->what;
	for (size_t i = 0; i < j->npatches; i++) {
		const struct pilot_patch *p = j->patches[i];
		if ((p->to != TO(VIRTUAL_HOST) && p->to != TO(HTTP_ROUTE)) || !rc_meant(at, p) ||
			!vhost_meant(p, it->name, ref->domains, ref->ndomains))
			continue;
		if (p->to == TO(VIRTUAL_HOST) && p->op == OP(REMOVE)) {
			pilot_patch_hit(j, p);
			return false;
		}
		it->fp = mt_hash_mix(it->fp, p->hash);
		ref->rc = rc;
	}
	return true;
}

void pilot_patch_vhosts(struct pilot_job *j, struct pilot_route_ref *rc)
{
	struct pilot_patch_routes at = pilot_patch_routes_of(j, rc);
	struct pilot_plan *plan = &rc->vhosts;
	size_t n = 0;
	if (!j->npatches)
		return;
	for (size_t i = 0; i < plan->n; i++)
		if (stays(j, &at, &plan->v[i], rc))
			plan->v[n++] = plan->v[i];
	plan->n = n;
	for (size_t i = 0; i < j->npatches; i++) {
		const struct pilot_patch *p = j->patches[i];
		if (p->to == TO(VIRTUAL_HOST) && p->op == OP(ADD) && rc_meant(&at, p))
			pilot_plan_add(j, plan, pilot_patch_name_of(p->value), p->hash,
				PILOT_HOW_PATCHED, p);
	}
}

void pilot_patch_routes_inbound(struct pilot_job *j, uint16_t port, Route__RouteConfiguration *m)
{
	const struct pilot_patch_routes at = {
		.context = IN(SIDECAR_INBOUND), .name = m->name, .port = port
	};
	bool own = false;
	for (size_t i = 0; i < j->npatches; i++) {
		const struct pilot_patch *p = j->patches[i];
		size_t n = 0;
		if (!rc_meant(&at, p))
			continue;
		if (!own)
			pilot_patch_own(j, &m->base);
		own = true;
		if (p->to == TO(ROUTE_CONFIGURATION) && is_merge(p))
			pilot_patch_merge(j, p, &m->base);
		if (p->to != TO(VIRTUAL_HOST))
			continue;
		for (size_t k = 0; k < m->n_virtual_hosts && p->op == OP(REMOVE); k++) {
			Route__VirtualHost *v = m->virtual_hosts[k];
			if (!vhost_meant(p, v->name, (const char *const *)v->domains, v->n_domains))
				m->virtual_hosts[n++] = v;
			else
				pilot_patch_hit(j, p);
		}
		if (p->op == OP(REMOVE))
			m->n_virtual_hosts = n;
		if (p->op != OP(ADD))
			continue;
		pb_add(j->a, m, virtual_hosts, (Route__VirtualHost *)pilot_patch_value(j, p));
		pilot_patch_hit(j, p);
	}
	for (size_t k = 0; own && k < m->n_virtual_hosts; k++)
		vhost(j, &at, m->virtual_hosts[k]);
}
