/* Routes of inbound listeners: everything goes to the application.
 *
 * What they say about the workload's service (the operation of its spans, the facts for Mixer) changes
 * when an endpoint joins or leaves a service. In resources of their own such a change leaves the listener
 * as it is, and with it the connections that Envoy would drain. */
#include "common/base/hash.h"
#include "pilot/filter/patch.h"
#include "pilot/translate/listener.h"

static Route__RouteConfiguration *routes(struct pilot_job *j, const struct pilot_inbound *in)
{
	struct mt_arena *a = j->a;
	Route__RouteAction *act = pb_new(a, route__route_action);
	act->cluster_specifier_case = ROUTE__ROUTE_ACTION__CLUSTER_SPECIFIER_CLUSTER;
	act->cluster = pb_s(in->cluster);
	act->timeout = pb_dur(a, 0);
	Route__Route *r = pb_new(a, route__route);
	r->name = pb_s("default");
	r->match = pb_new(a, route__route_match);
	r->match->path_specifier_case = ROUTE__ROUTE_MATCH__PATH_SPECIFIER_PREFIX;
	r->match->prefix = pb_s("/");
	r->action_case = ROUTE__ROUTE__ACTION_ROUTE;
	r->route = act;
	r->decorator = pb_new(a, route__decorator);
	r->decorator->operation = mt_arena_printf(a, "%s:%u/*",
		in->svc ? in->svc->hostname : "inbound", in->svc ? in->svc_port : in->port);
	pilot_mixer_inbound_tag(j, in, r);
	Route__VirtualHost *v = pb_new(a, route__virtual_host);
	v->name = mt_arena_printf(a, "inbound|http|%u", in->port);
	pb_add(a, v, domains, pb_s("*"));
	pb_add(a, v, routes, r);
	const ProtobufCMessage *facts = pilot_mixer_inbound(j, in);
	if (facts) {
		Route__VirtualHost__TypedPerFilterConfigEntry *e =
			pb_new(a, route__virtual_host__typed_per_filter_config_entry);
		e->key = pb_s(pilot_mixer_name);
		e->value = mt_pb_any(a, facts);
		pb_add(a, v, typed_per_filter_config, e);
	}
	Route__RouteConfiguration *rc = pb_new(a, route__route_configuration);
	rc->name = pb_s(in->cluster);
	rc->validate_clusters = pb_bool(a, false);
	pb_add(a, rc, virtual_hosts, v);
	return rc;
}

ProtobufCMessage *pilot_build_route_inbound(struct pilot_job *j, const struct pilot_item *it)
{
	const struct pilot_inbound *in = it->what;
	Route__RouteConfiguration *m = routes(j, in);
	pilot_prov_add(j, in->svc ? in->svc->id : 0);
	pilot_prov_add(j, j->sidecar ? j->sidecar->id : 0);
	pilot_patch_routes_inbound(j, in->port, m);
	return &m->base;
}

void pilot_plan_routes_inbound(struct pilot_job *j, struct pilot_plan *p)
{
	uint64_t own = pilot_class_own_inbound_routes(j->w) ? pilot_proxy_fp(j) : 0;
	for (size_t i = 0; i < j->ninbound; i++) {
		const struct pilot_inbound *in = &j->inbound[i];
		if (!pilot_protocol_is_http(in->protocol) && in->protocol != PILOT_AUTO)
			continue;
		uint64_t fp = mt_hash_mix(own, in->svc ? in->svc->hash : 0);
		pilot_plan_add(j, p, in->cluster, mt_hash_mix(fp, in->svc_port),
			PILOT_HOW_ROUTE_INBOUND, in);
	}
}
