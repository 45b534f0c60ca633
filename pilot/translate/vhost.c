/* Virtual hosts: the routes of one set of domains.
 *
 * At a gateway several virtual services may claim one host: their rules are joined, the oldest first.
 * A rule that takes every request goes to the end, so that it hides no other object's rules; of
 * several such the oldest stays. */
#include <string.h>

#include "common/base/strs.h"
#include "pilot/filter/patch.h"
#include "pilot/translate/grpc.h"
#include "pilot/translate/listener.h"
#include "pilot/translate/mesh_settings.h"
#include "pilot/translate/route.h"

struct routes {
	struct pilot_job *j;
	Route__VirtualHost *v;
	Route__Route *all; /* takes every request: stands last */
	const struct pilot_vs *all_of;
};

static void add_route(struct routes *o, const struct pilot_route_ctx *c, const Nw__HTTPRoute *h,
	const Nw__HTTPMatchRequest *m)
{
	Route__Route *r = pb_new(o->j->a, route__route);
	r->match = pilot_match_build(o->j, m);
	pilot_action_build(c, h, m, r);
	if (o->j->p->type == PILOT_PROXYLESS)
		pilot_grpc_notes(c, h, m);
	pilot_prov_add(o->j, c->vs->id);
	if (!pilot_match_all(m)) {
		pb_add(o->j->a, o->v, routes, r);
	} else if (!o->all) {
		o->all = r;
		o->all_of = c->vs;
	} else {
		pilot_job_note(o->j, c->vs->id, PILOT_NOTE_SHADOWED, c->path,
			"%s/%s is older and takes every other request of %s", o->all_of->obj->ns,
			o->all_of->obj->name, o->v->name);
	}
}

/* Rules in order; matches of one rule become routes in order. Once a route takes everything, what
 * follows in the same virtual service can never be reached: it is noted and left out. */
static void vs_routes(
	struct routes *o, const struct pilot_vs *vs, const struct pilot_vhost_ref *ref)
{
	for (size_t i = 0; i < vs->nhttp; i++) {
		const Nw__HTTPRoute *h = vs->http[i].spec;
		struct pilot_route_ctx c =
			pilot_route_ctx(o->j, &vs->http[i], ref->server, ref->port);
		for (size_t k = 0; k < (h->n_match ? h->n_match : 1); k++) {
			const Nw__HTTPMatchRequest *m = h->n_match ? h->match[k] : NULL;
			if (!pilot_match_applies(&c, m))
				continue;
			add_route(o, &c, h, m);
			if (!pilot_match_all(m))
				continue;
			if (i + 1 < vs->nhttp)
				pilot_job_note(o->j, vs->http[i + 1].from->id, PILOT_NOTE_IGNORED,
					mt_arena_printf(
						o->j->a, "spec.http[%zu]", vs->http[i + 1].at),
					"an earlier rule takes every request");
			return;
		}
	}
}

struct pilot_route_ctx pilot_route_ctx(struct pilot_job *j, const struct pilot_http *h,
	const struct pilot_gw_server *server, uint16_t port)
{
	return (struct pilot_route_ctx){ .j = j,
		.vs = h->from,
		.path = mt_arena_printf(j->a, "spec.http[%zu]", h->at),
		.server = server,
		.port = port };
}

bool pilot_vs_applies(struct pilot_job *j, const struct pilot_vs *vs,
	const struct pilot_gw_server *server, uint16_t port)
{
	for (size_t i = 0; i < vs->nhttp; i++) {
		const Nw__HTTPRoute *h = vs->http[i].spec;
		struct pilot_route_ctx c = {
			.j = j, .vs = vs->http[i].from, .server = server, .port = port
		};
		if (!h->n_match)
			return true;
		for (size_t k = 0; k < h->n_match; k++)
			if (pilot_match_applies(&c, h->match[k]))
				return true;
	}
	return false;
}

static void any_routes(
	struct pilot_job *j, const struct pilot_vhost_ref *ref, Route__VirtualHost *v)
{
	Route__Route *r = pb_new(j->a, route__route);
	r->match = pilot_match_build(j, NULL);
	if (ref->passthrough) {
		Route__RouteAction *a = pb_new(j->a, route__route_action);
		a->cluster_specifier_case = ROUTE__ROUTE_ACTION__CLUSTER_SPECIFIER_CLUSTER;
		a->cluster = pb_s(j->unknown);
		a->timeout = pb_dur(j->a, 0);
		r->name = pb_s("allow_any");
		r->action_case = ROUTE__ROUTE__ACTION_ROUTE;
		r->route = a;
	} else {
		r->name = pb_s("block_all");
		r->action_case = ROUTE__ROUTE__ACTION_DIRECT_RESPONSE;
		r->direct_response = pb_new(j->a, route__direct_response_action);
		r->direct_response->status = ref->server || j->pilot_in_gateway ? 404 : 502;
	}
	pb_add(j->a, v, routes, r);
}

static Route__VirtualHost *build(struct pilot_job *j, const struct pilot_item *it)
{
	const struct pilot_vhost_ref *ref = it->what;
	Route__VirtualHost *v = pb_new(j->a, route__virtual_host);
	v->name = pb_s(it->name);
	for (size_t i = 0; i < ref->ndomains; i++)
		pb_add(j->a, v, domains, pb_s(ref->domains[i]));
	if (ref->require_tls)
		v->require_tls = ROUTE__VIRTUAL_HOST__TLS_REQUIREMENT_TYPE__ALL;
	if (ref->svc >= 0)
		pilot_prov_add(j, j->ix->svcs[ref->svc]->id);
	if (ref->server)
		pilot_prov_add(j, ref->server->gw->id);
	pilot_prov_rivals(j, ref);
	if (ref->kind == PILOT_VHOST_ANY) {
		pilot_prov_add(j, j->mesh->id); /* outboundTrafficPolicy */
		pilot_prov_add(j, j->sidecar ? j->sidecar->id : 0);
		any_routes(j, ref, v);
		return v;
	}
	const Mesh__ProxyConfig__ProxyHeaders *h = pilot_proxy_headers(j);
	v->include_request_attempt_count =
		!(h->attempt_count && pilot_is_true(h->attempt_count->disabled));
	struct routes o = { .j = j, .v = v };
	for (size_t i = 0; i < ref->nvs; i++) {
		vs_routes(&o, ref->vs[i], ref);
		pilot_prov_add(j, ref->vs[i]->id);
	}
	if (o.all)
		pb_add(j->a, v, routes, o.all);
	/* A virtual service without HTTP rules for this proxy says nothing about HTTP. */
	if (!v->n_routes && ref->svc >= 0)
		pb_add(j->a, v, routes, pilot_route_default(j, ref->svc, ref->port));
	return v;
}

ProtobufCMessage *pilot_build_vhost(struct pilot_job *j, const struct pilot_item *it)
{
	if (it->how == PILOT_HOW_PATCHED)
		return pilot_patch_added(j, it->what);
	Route__VirtualHost *v = build(j, it);
	pilot_patch_vhost(j, it->what, v);
	return &v->base;
}
