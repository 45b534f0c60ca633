/* Virtual hosts: the routes of one set of domains. */
#include <string.h>

#include "common/base/strs.h"
#include "pilot/filter/filter.h"
#include "pilot/translate/listener.h"
#include "pilot/translate/route.h"

/* Rules in order; matches of one rule become routes in order. Once a route takes everything, what
 * follows can never be reached: it is noted and left out. */
static bool vs_routes(const struct pilot_route_ctx *c, Route__VirtualHost *v)
{
	struct pilot_job *j = c->j;
	for (size_t i = 0; i < c->vs->spec->n_http; i++) {
		const Nw__HTTPRoute *h = c->vs->spec->http[i];
		for (size_t k = 0; k < (h->n_match ? h->n_match : 1); k++) {
			const Nw__HTTPMatchRequest *m = h->n_match ? h->match[k] : NULL;
			if (!pilot_match_applies(c, m))
				continue;
			Route__Route *r = pb_new(j->a, route__route);
			r->match = pilot_match_build(j, m);
			pilot_action_build(c, h, m, r);
			pb_add(j->a, v, routes, r);
			if (!pilot_match_all(m))
				continue;
			if (i + 1 < c->vs->spec->n_http)
				pilot_job_note(j, c->vs->id, PILOT_NOTE_IGNORED,
					mt_arena_printf(j->a, "spec.http[%zu]", i + 1),
					"an earlier rule takes every request");
			return true;
		}
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
		a->cluster = pb_s("PassthroughCluster");
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

ProtobufCMessage *pilot_build_vhost(struct pilot_job *j, const struct pilot_item *it)
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
	if (ref->kind == PILOT_VHOST_ANY) {
		any_routes(j, ref, v);
		return &v->base;
	}
	v->include_request_attempt_count = true;
	bool done = false, http = false;
	for (size_t i = 0; i < ref->nvs; i++) {
		struct pilot_route_ctx c = { j, ref->vs[i], ref->server, ref->port };
		http = http || ref->vs[i]->spec->n_http;
		if (done)
			pilot_job_note(j, ref->vs[i]->id, PILOT_NOTE_SHADOWED, "spec.http",
				"an older virtual service takes every request of %s", it->name);
		else
			done = vs_routes(&c, v);
		pilot_prov_add(j, ref->vs[i]->id);
	}
	/* A virtual service without HTTP rules says nothing about HTTP. */
	if (!http && ref->svc >= 0)
		pb_add(j->a, v, routes, pilot_route_default(j, ref->svc, ref->port));
	return &v->base;
}
