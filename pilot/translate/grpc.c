/* What proxyless gRPC may ask for: names, and its listeners.
 *
 *   xds:///HOST:PORT                            a client's listener; HOST whole or short as DNS would
 *                                               complete it, without :PORT when there is one only;
 *                                               a host of a virtual service alone: grpc_hosts.c
 *   outbound|PORT||HOST                         its route configuration, and its cluster
 *   xds.istio.io/grpc/lds/inbound/ADDRESS:PORT  a server's listener; 0.0.0.0 and [::] too, because a
 *                                               server asks for the address that it was told to bind
 *
 * A virtual host stands alone in its route configuration and takes every domain: gRPC chose by the
 * listener's name already. */
#include "pilot/translate/grpc.h"

#include <string.h>

#include "common/base/hash.h"
#include "common/base/strs.h"
#include "envoy/extensions/filters/http/fault/v3/fault.pb-c.h"
#include "envoy/extensions/filters/http/router/v3/router.pb-c.h"
#include "envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.pb-c.h"
#include "envoy/extensions/transport_sockets/tls/v3/tls.pb-c.h"
#include "pilot/translate/cluster.h"
#include "pilot/translate/listener.h"
#include "pilot/translate/route.h"

static const char server_prefix[] = "xds.istio.io/grpc/lds/inbound/";

const char *pilot_grpc_route_name(struct pilot_job *j, uint16_t port, const char *host)
{
	return pilot_out_name(j, port, "", host);
}

/* ---- plans ---- */

struct names {
	struct pilot_job *j;
	struct pilot_plan *p;
	struct pilot_grpc_listener *to;
	uint16_t port;
	bool bare; /* without the port too */
};

static void add_name(struct names *n, const char *host)
{
	struct pilot_job *j = n->j;
	uint64_t fp = mt_hash_mix(mt_hash_str(n->to->route), n->to->id);
	pilot_plan_add(j, n->p, mt_arena_printf(j->a, "%s:%u", host, n->port), fp,
		PILOT_HOW_GRPC_LISTENER, n->to);
	if (n->bare)
		pilot_plan_add(j, n->p, host, fp, PILOT_HOW_GRPC_LISTENER, n->to);
}

/* "reviews.shop.svc.cluster.local" is "reviews.shop.svc" and "reviews.shop" to all, "reviews" to its
 * own namespace. */
static void add_names(struct names *n, const char *host, const char *ns)
{
	struct pilot_job *j = n->j;
	const char *suffix = mt_arena_printf(j->a, ".%s.svc.%s", ns, j->mesh->domain);
	add_name(n, host);
	if (!mt_str_suffix(host, suffix))
		return;
	const char *name = mt_arena_strndup(j->a, host, strlen(host) - strlen(suffix));
	add_name(n, mt_arena_printf(j->a, "%s.%s.svc", name, ns));
	add_name(n, mt_arena_printf(j->a, "%s.%s", name, ns));
	if (strcmp(ns, j->p->ns) == 0)
		add_name(n, name);
}

static void plan_host_listener(struct pilot_job *j, const struct pilot_grpc_host *h, void *arg)
{
	struct pilot_grpc_listener *to = MT_ANEW(j->a, struct pilot_grpc_listener);
	to->route = pilot_grpc_route_name(j, h->port, h->host);
	to->id = h->vs->id;
	struct names n = { j, arg, to, h->port, h->bare };
	add_names(&n, h->host, h->vs->obj->ns);
}

static void plan_host_route(struct pilot_job *j, const struct pilot_grpc_host *h, void *arg)
{
	struct pilot_route_ref *rc = MT_ANEW(j->a, struct pilot_route_ref);
	rc->name = pilot_grpc_route_name(j, h->port, h->host);
	rc->egress = h->egress;
	rc->port = h->port;
	pilot_plan_route_rule(j, arg, rc, h->vs, h->host);
}

/* Calls fn for each service that the client sees, once. */
static void each_service(struct pilot_job *j, struct pilot_plan *p,
	void (*fn)(struct pilot_job *j, struct pilot_plan *p, const struct pilot_egress *e,
		uint32_t svc))
{
	uint8_t *seen = MT_ANEWN(j->a, uint8_t, j->ix->nsvcs + 1);
	for (size_t i = 0; i < j->negress; i++)
		for (size_t k = 0; k < j->egress[i].nsvcs; k++) {
			uint32_t svc = j->egress[i].svcs[k];
			if (seen[svc] || pilot_host_is_wild(j->ix->svcs[svc]->hostname))
				continue;
			seen[svc] = 1;
			fn(j, p, &j->egress[i], svc);
		}
}

static void plan_listeners(struct pilot_job *j, struct pilot_plan *p,
	const struct pilot_egress *e MT_UNUSED, uint32_t svc)
{
	const struct pilot_service *s = j->ix->svcs[svc];
	for (size_t k = 0; k < s->nports; k++) {
		if (s->ports[k].protocol == PILOT_UDP)
			continue;
		struct pilot_grpc_listener *to = MT_ANEW(j->a, struct pilot_grpc_listener);
		to->route = pilot_grpc_route_name(j, s->ports[k].number, s->hostname);
		struct names n = { j, p, to, s->ports[k].number, s->nports == 1 };
		add_names(&n, s->hostname, s->ns);
	}
}

static void plan_routes(
	struct pilot_job *j, struct pilot_plan *p, const struct pilot_egress *e, uint32_t svc)
{
	const struct pilot_service *s = j->ix->svcs[svc];
	for (size_t k = 0; k < s->nports; k++) {
		if (s->ports[k].protocol == PILOT_UDP)
			continue;
		struct pilot_route_ref *rc = MT_ANEW(j->a, struct pilot_route_ref);
		rc->name = pilot_grpc_route_name(j, s->ports[k].number, s->hostname);
		rc->egress = e;
		rc->port = s->ports[k].number;
		pilot_plan_route_of(j, p, rc, svc);
	}
}

static void plan_clusters(struct pilot_job *j, struct pilot_plan *p)
{
	struct pilot_plan all = { 0 };
	pilot_plan_clusters(j, &all);
	for (size_t i = 0; i < all.n; i++) {
		const struct pilot_cluster_ref *ref = all.v[i].what;
		if (all.v[i].how != PILOT_HOW_CLUSTER)
			continue;
		if (j->ix->svcs[ref->svc]->resolution == PILOT_RES_NONE)
			continue; /* goes to wherever the connection was going: gRPC has none */
		mt_vec_apush(j->a, p, all.v[i]);
	}
}

static void plan_servers(struct pilot_job *j, struct pilot_plan *p)
{
	for (size_t i = 0; i < j->ninbound; i++) {
		const struct pilot_inbound *in = &j->inbound[i];
		uint64_t fp =
			mt_hash_mix((uint64_t)in->port << 8 | (uint64_t)in->mtls, in->mtls_id);
		fp = mt_hash_mix(fp, in->svc ? in->svc->id : 0);
		const char *const any[] = { "0.0.0.0", "[::]" };
		for (size_t k = 0; k < j->p->nips + MT_ARRAY_SIZE(any); k++) {
			const char *ip = k < j->p->nips ? j->p->ips[k] : any[k - j->p->nips];
			bool v6 = strchr(ip, ':') && *ip != '[';
			pilot_plan_add(j, p,
				mt_arena_printf(j->a, v6 ? "%s[%s]:%u" : "%s%s:%u", server_prefix,
					ip, in->port),
				fp, PILOT_HOW_GRPC_SERVER, in);
		}
	}
}

void pilot_plan_grpc(struct pilot_job *j, enum pilot_table t, struct pilot_plan *p)
{
	switch (t) {
	case PILOT_CLUSTERS: plan_clusters(j, p); break;
	case PILOT_LISTENERS:
		each_service(j, p, plan_listeners);
		pilot_grpc_hosts(j, plan_host_listener, p);
		break;
	case PILOT_ROUTES:
		each_service(j, p, plan_routes);
		pilot_grpc_hosts(j, plan_host_route, p);
		break;
	case PILOT_LISTENERS_INBOUND: plan_servers(j, p); break;
	default: break; /* a server has no clusters */
	}
}

/* ---- listeners ---- */

static void http_filter(
	struct pilot_job *j, Hcm__HttpConnectionManager *m, const char *name, ProtobufCMessage *cfg)
{
	Hcm__HttpFilter *f = pb_new(j->a, hcm__http_filter);
	f->name = pb_s(name);
	f->config_type_case = HCM__HTTP_FILTER__CONFIG_TYPE_TYPED_CONFIG;
	f->typed_config = mt_pb_any(j->a, cfg);
	pb_add(j->a, m, http_filters, f);
}

static void router(struct pilot_job *j, Hcm__HttpConnectionManager *m)
{
	Router__Router *r = pb_new(j->a, router__router);
	http_filter(j, m, "envoy.filters.http.router", &r->base);
}

static Listener__Listener *client_listener(struct pilot_job *j, const struct pilot_item *it)
{
	const struct pilot_grpc_listener *to = it->what;
	Listener__Listener *l = pb_new(j->a, listener__listener);
	Hcm__HttpConnectionManager *m = pb_new(j->a, hcm__http_connection_manager);
	Fault__HTTPFault *fault = pb_new(j->a, fault__httpfault);
	struct pilot_cluster_name cn;

	l->name = pb_s(it->name);
	m->route_specifier_case = HCM__HTTP_CONNECTION_MANAGER__ROUTE_SPECIFIER_RDS;
	m->rds = pb_new(j->a, hcm__rds);
	m->rds->config_source = pb_ads(j->a);
	m->rds->route_config_name = pb_s(to->route);
	http_filter(j, m, pilot_fault_name, &fault->base);
	router(j, m);
	l->api_listener = pb_new(j->a, listener__api_listener);
	l->api_listener->api_listener = mt_pb_any(j->a, &m->base);
	int svc = pilot_cluster_name_parse(to->route, &cn) == 0
		? pilot_world_find(j->w, cn.host, j->p->ns)
		: -1;
	if (svc >= 0)
		pilot_prov_add(j, j->ix->svcs[svc]->id);
	pilot_prov_add(j, to->id);
	pilot_prov_add(j, j->sidecar ? j->sidecar->id : 0);
	return l;
}

/* Everything that arrives is the application's own. */
static Route__RouteConfiguration *own_routes(struct pilot_job *j)
{
	Route__RouteConfiguration *m = pb_new(j->a, route__route_configuration);
	Route__VirtualHost *v = pb_new(j->a, route__virtual_host);
	Route__Route *r = pb_new(j->a, route__route);
	m->name = pb_s("inbound");
	v->name = pb_s("inbound");
	pb_add(j->a, v, domains, pb_s("*"));
	r->match = pb_new(j->a, route__route_match);
	r->match->path_specifier_case = ROUTE__ROUTE_MATCH__PATH_SPECIFIER_PREFIX;
	r->match->prefix = pb_s("/");
	r->action_case = ROUTE__ROUTE__ACTION_NON_FORWARDING_ACTION;
	r->non_forwarding_action = pb_new(j->a, route__non_forwarding_action);
	pb_add(j->a, v, routes, r);
	pb_add(j->a, m, virtual_hosts, v);
	return m;
}

/* Certificates come from the plugin that the bootstrap calls "default", as Istio's agent writes it. */
static Core__TransportSocket *server_tls(struct pilot_job *j)
{
	Tls__DownstreamTlsContext *d = pb_new(j->a, tls__downstream_tls_context);
	Tls__CertificateValidationContext *v = pb_new(j->a, tls__certificate_validation_context);
	Tls__CommonTlsContext__CombinedCertificateValidationContext *both =
		pb_new(j->a, tls__common_tls_context__combined_certificate_validation_context);
	d->common_tls_context = pb_new(j->a, tls__common_tls_context);
	d->common_tls_context->tls_certificate_provider_instance =
		pb_new(j->a, tls__certificate_provider_plugin_instance);
	d->common_tls_context->tls_certificate_provider_instance->instance_name = pb_s("default");
	d->common_tls_context->tls_certificate_provider_instance->certificate_name =
		pb_s("default");
	v->ca_certificate_provider_instance =
		pb_new(j->a, tls__certificate_provider_plugin_instance);
	v->ca_certificate_provider_instance->instance_name = pb_s("default");
	v->ca_certificate_provider_instance->certificate_name = pb_s("ROOTCA");
	both->default_validation_context = v;
	d->common_tls_context->validation_context_type_case =
		TLS__COMMON_TLS_CONTEXT__VALIDATION_CONTEXT_TYPE_COMBINED_VALIDATION_CONTEXT;
	d->common_tls_context->combined_validation_context = both;
	d->require_client_certificate = pb_bool(j->a, true);
	return pb_socket(j->a, "envoy.transport_sockets.tls", &d->base);
}

/* A gRPC server cannot tell TLS from plaintext on one port: permissive is plaintext. */
static Listener__Listener *server_listener(struct pilot_job *j, const struct pilot_item *it)
{
	const struct pilot_inbound *in = it->what;
	Listener__Listener *l = pb_new(j->a, listener__listener);
	Hcm__HttpConnectionManager *m = pb_new(j->a, hcm__http_connection_manager);
	const char *address = it->name + strlen(server_prefix);
	const char *colon = strrchr(address, ':');
	size_t n = (size_t)(colon - address), skip = *address == '[';

	l->name = pb_s(it->name);
	l->address = pb_addr(j->a, mt_arena_strndup(j->a, address + skip, n - 2 * skip), in->port);
	l->traffic_direction = CORE__TRAFFIC_DIRECTION__INBOUND;
	m->stat_prefix = pb_s(in->cluster);
	m->route_specifier_case = HCM__HTTP_CONNECTION_MANAGER__ROUTE_SPECIFIER_ROUTE_CONFIG;
	m->route_config = own_routes(j);
	router(j, m);
	Listener__FilterChain *c = pilot_chain_new(j, in->cluster,
		pb_filter(j->a, "envoy.filters.network.http_connection_manager", &m->base));
	if (in->mtls == PILOT_MTLS_STRICT)
		c->transport_socket = server_tls(j);
	pb_add(j->a, l, filter_chains, c);
	pilot_prov_add(j, in->svc ? in->svc->id : 0);
	pilot_prov_add(j, in->mtls_id);
	return l;
}

ProtobufCMessage *pilot_build_grpc(struct pilot_job *j, const struct pilot_item *it)
{
	return it->how == PILOT_HOW_GRPC_SERVER ? &server_listener(j, it)->base
						: &client_listener(j, it)->base;
}
