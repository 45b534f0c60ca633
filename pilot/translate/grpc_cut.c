/* Clusters and load assignments as gRPC takes them.
 *
 * What a rule asks for and gRPC does not have: load balancers other than round robin, least request (of
 * some languages, gRFC A48) and hash rings, TLS with certificates in files. The first falls back to
 * round robin with a note; the second makes the cluster name endpoints that do not exist, because
 * plaintext was not asked for. */
#include <string.h>

#include "common/base/cidr.h"
#include "envoy/extensions/load_balancing_policies/least_request/v3/least_request.pb-c.h"
#include "envoy/extensions/load_balancing_policies/round_robin/v3/round_robin.pb-c.h"
#include "envoy/extensions/load_balancing_policies/wrr_locality/v3/wrr_locality.pb-c.h"
#include "envoy/extensions/transport_sockets/tls/v3/tls.pb-c.h"
#include "pilot/translate/cluster.h"
#include "pilot/translate/endpoint.h"
#include "pilot/translate/grpc.h"
#include "pilot/translate/policy.h"

static Tls__CertificateProviderPluginInstance *plugin(struct pilot_job *j, const char *name)
{
	Tls__CertificateProviderPluginInstance *m =
		pb_new(j->a, tls__certificate_provider_plugin_instance);
	m->instance_name = pb_s("default");
	m->certificate_name = pb_s(name);
	return m;
}

/* gRPC reads the older list of names, of which each is a URI or a DNS name alike. */
static void expect(struct pilot_job *j, Tls__CertificateValidationContext *v,
	const struct pilot_service *s, const struct pilot_endpoints *eps,
	const Nw__ClientTLSSettings *tls)
{
	for (size_t i = 0; i < tls->n_subject_alt_names; i++)
		pb_add(j->a, v, match_subject_alt_names, pb_exact(j->a, tls->subject_alt_names[i]));
	for (size_t i = 0; !tls->n_subject_alt_names && i < eps->naccounts; i++) {
		const char *account = eps->accounts[i], *slash = strchr(account, '/');
		if (strncmp(account, "spiffe://", 9) != 0)
			account = mt_arena_printf(j->a, "spiffe://%s/ns/%.*s/sa/%s",
				j->mesh->trust_domain, (int)(slash - account), account, slash + 1);
		pb_add(j->a, v, match_subject_alt_names, pb_exact(j->a, account));
	}
	for (size_t i = 0; i < s->nsans; i++)
		pb_add(j->a, v, match_subject_alt_names, pb_exact(j->a, s->sans[i]));
	if (!v->n_match_subject_alt_names)
		pb_add(j->a, v, match_subject_alt_names,
			pb_prefix(j->a,
				mt_arena_printf(j->a, "spiffe://%s/", j->mesh->trust_domain)));
}

static Core__TransportSocket *mesh_tls(
	struct pilot_job *j, const struct pilot_cluster_ref *ref, const Nw__ClientTLSSettings *tls)
{
	Tls__UpstreamTlsContext *u = pb_new(j->a, tls__upstream_tls_context);
	Tls__CommonTlsContext *c = pb_new(j->a, tls__common_tls_context);
	Tls__CertificateValidationContext *v = pb_new(j->a, tls__certificate_validation_context);
	Tls__CommonTlsContext__CombinedCertificateValidationContext *both =
		pb_new(j->a, tls__common_tls_context__combined_certificate_validation_context);
	c->tls_certificate_provider_instance = plugin(j, "default");
	v->ca_certificate_provider_instance = plugin(j, "ROOTCA");
	expect(j, v, j->ix->svcs[ref->svc], pilot_world_eps(j->w, ref->svc), tls);
	both->default_validation_context = v;
	c->validation_context_type_case =
		TLS__COMMON_TLS_CONTEXT__VALIDATION_CONTEXT_TYPE_COMBINED_VALIDATION_CONTEXT;
	c->combined_validation_context = both;
	u->common_tls_context = c;
	return pb_socket(j->a, "envoy.transport_sockets.tls", &u->base);
}

static void by_eds(struct pilot_job *j, Cluster__Cluster *m, const char *service_name)
{
	m->type = CLUSTER__CLUSTER__DISCOVERY_TYPE__EDS;
	m->eds_cluster_config = pb_new(j->a, cluster__cluster__eds_cluster_config);
	m->eds_cluster_config->eds_config = pb_ads(j->a);
	m->eds_cluster_config->service_name = pb_s(service_name);
	m->load_assignment = NULL;
}

static void policy(
	struct pilot_job *j, Cluster__LoadBalancingPolicy *l, const ProtobufCMessage *config)
{
	Cluster__LoadBalancingPolicy__Policy *p =
		pb_new(j->a, cluster__load_balancing_policy__policy);
	p->typed_extension_config = pb_new(j->a, core__typed_extension_config);
	p->typed_extension_config->name = pb_s(config->descriptor->name);
	p->typed_extension_config->typed_config = mt_pb_any(j->a, config);
	pb_add(j->a, l, policies, p);
}

/* A client takes the first of a list that it knows (gRFC A52), and the old field where it knows no
 * lists: no client has to refuse the cluster. */
static void least_request(struct pilot_job *j, Cluster__Cluster *m)
{
	Lblr__LeastRequest *least = pb_new(j->a, lblr__least_request);
	Lbrr__RoundRobin *robin = pb_new(j->a, lbrr__round_robin);
	Lbwrrlocality__WrrLocality *by_place = pb_new(j->a, lbwrrlocality__wrr_locality);
	by_place->endpoint_picking_policy = pb_new(j->a, cluster__load_balancing_policy);
	policy(j, by_place->endpoint_picking_policy, &least->base);
	policy(j, by_place->endpoint_picking_policy, &robin->base);
	m->load_balancing_policy = pb_new(j->a, cluster__load_balancing_policy);
	policy(j, m->load_balancing_policy, &by_place->base);
}

static void balance(struct pilot_job *j, Cluster__Cluster *m, const Cluster__Cluster *c,
	const struct pilot_dr *dr, const struct pilot_policy *pol)
{
	m->lb_policy = CLUSTER__CLUSTER__LB_POLICY__ROUND_ROBIN;
	if (!pol->lb)
		return;
	if (c->lb_policy == CLUSTER__CLUSTER__LB_POLICY__RING_HASH ||
		c->lb_policy == CLUSTER__CLUSTER__LB_POLICY__MAGLEV) {
		m->lb_policy = CLUSTER__CLUSTER__LB_POLICY__RING_HASH;
		if (c->lb_config_case == CLUSTER__CLUSTER__LB_CONFIG_RING_HASH_LB_CONFIG) {
			m->lb_config_case = c->lb_config_case;
			m->ring_hash_lb_config = c->ring_hash_lb_config;
		}
	} else if (c->lb_policy != CLUSTER__CLUSTER__LB_POLICY__ROUND_ROBIN && dr->nids) {
		bool least = c->lb_policy == CLUSTER__CLUSTER__LB_POLICY__LEAST_REQUEST;
		if (least)
			least_request(j, m);
		pilot_job_note(j, dr->ids[0], PILOT_NOTE_IGNORED, "spec.trafficPolicy.loadBalancer",
			least ? "a gRPC client without a proxy balances %s by least request where its "
				"language can, else round robin"
			      : "a gRPC client without a proxy balances %s round robin",
			m->name);
	}
}

/* Only the number of requests under way is limited by gRPC itself. */
static void limits(struct pilot_job *j, Cluster__Cluster *m, const Cluster__Cluster *c)
{
	const Cluster__CircuitBreakers__Thresholds *t =
		c->circuit_breakers && c->circuit_breakers->n_thresholds
		? c->circuit_breakers->thresholds[0]
		: NULL;
	if (!t || !t->max_requests)
		return;
	Cluster__CircuitBreakers__Thresholds *own =
		pb_new(j->a, cluster__circuit_breakers__thresholds);
	own->max_requests = t->max_requests;
	m->circuit_breakers = pb_new(j->a, cluster__circuit_breakers);
	pb_add(j->a, m->circuit_breakers, thresholds, own);
}

/* gRPC takes exactly one name for a cluster that DNS resolves. */
static bool one_name(const Endpoint__ClusterLoadAssignment *l)
{
	return l && l->n_endpoints == 1 && l->endpoints[0]->n_lb_endpoints == 1;
}

static Endpoint__ClusterLoadAssignment *name_alone(
	struct pilot_job *j, const Endpoint__ClusterLoadAssignment *l)
{
	Endpoint__ClusterLoadAssignment *m = pb_new(j->a, endpoint__cluster_load_assignment);
	Endpoint__LocalityLbEndpoints *at = pb_new(j->a, endpoint__locality_lb_endpoints);
	Endpoint__LbEndpoint *e = pb_new(j->a, endpoint__lb_endpoint);
	e->host_identifier_case = ENDPOINT__LB_ENDPOINT__HOST_IDENTIFIER_ENDPOINT;
	e->endpoint = pb_new(j->a, endpoint__endpoint);
	e->endpoint->address = l->endpoints[0]->lb_endpoints[0]->endpoint->address;
	pb_add(j->a, at, lb_endpoints, e);
	pb_add(j->a, m, endpoints, at);
	return m;
}

static Cluster__Cluster *cut_cluster(
	struct pilot_job *j, const struct pilot_cluster_ref *ref, const Cluster__Cluster *c)
{
	const struct pilot_service *s = j->ix->svcs[ref->svc];
	const struct pilot_dr *dr = pilot_job_dr(j, s->hostname, (int)ref->svc);
	struct pilot_policy pol;
	Cluster__Cluster *m = pb_new(j->a, cluster__cluster);

	pilot_policy_resolve(j->mesh, dr, ref->subset, s->ports[ref->port].number, &pol);
	m->name = c->name;
	m->cluster_discovery_type_case = CLUSTER__CLUSTER__CLUSTER_DISCOVERY_TYPE_TYPE;
	m->connect_timeout = c->connect_timeout;
	balance(j, m, c, dr, &pol);
	limits(j, m, c);
	m->outlier_detection = c->outlier_detection;
	by_eds(j, m, m->name);
	if (s->resolution != PILOT_RES_STATIC) {
		if (one_name(c->load_assignment)) {
			m->type = CLUSTER__CLUSTER__DISCOVERY_TYPE__LOGICAL_DNS;
			m->eds_cluster_config = NULL;
			m->load_assignment = name_alone(j, c->load_assignment);
		} else {
			pilot_job_note(j, s->id, PILOT_NOTE_IGNORED, "spec.endpoints",
				"a gRPC client without a proxy resolves one name, %s has others",
				m->name);
		}
	}
	if (!pol.tls || pol.tls->mode == NW__CLIENT_TLSSETTINGS__TLSMODE__DISABLE)
		return m;
	if (pol.tls->mode == NW__CLIENT_TLSSETTINGS__TLSMODE__ISTIO_MUTUAL) {
		m->transport_socket = mesh_tls(j, ref, pol.tls);
	} else {
		by_eds(j, m, "none");
		pilot_job_note(j, dr && dr->nids ? dr->ids[0] : 0, PILOT_NOTE_IGNORED,
			"spec.trafficPolicy.tls",
			"a gRPC client without a proxy has no certificates in files: %s is not reached",
			m->name);
	}
	return m;
}

/* ---- load assignments ---- */

static bool usable(const Endpoint__LbEndpoint *e)
{
	struct mt_ip ip;
	const Core__SocketAddress *s = e->endpoint && e->endpoint->address &&
			e->endpoint->address->address_case == CORE__ADDRESS__ADDRESS_SOCKET_ADDRESS
		? e->endpoint->address->socket_address
		: NULL;
	return s && mt_ip_parse(s->address, &ip) == 0;
}

/* A locality is required, even an empty one, and its weight is the sum of what it keeps. */
static Endpoint__LocalityLbEndpoints *cut_locality(
	struct pilot_job *j, const Endpoint__LocalityLbEndpoints *l)
{
	Endpoint__LocalityLbEndpoints *m = pb_new(j->a, endpoint__locality_lb_endpoints);
	uint32_t weight = 0;
	m->locality = l->locality ? l->locality : pb_new(j->a, core__locality);
	m->priority = l->priority;
	for (size_t i = 0; i < l->n_lb_endpoints; i++) {
		const Endpoint__LbEndpoint *e = l->lb_endpoints[i];
		if (!usable(e))
			continue;
		Endpoint__LbEndpoint *own = pb_new(j->a, endpoint__lb_endpoint);
		own->host_identifier_case = e->host_identifier_case;
		own->endpoint = e->endpoint;
		own->health_status = e->health_status;
		own->load_balancing_weight = e->load_balancing_weight;
		weight += e->load_balancing_weight ? e->load_balancing_weight->value : 1;
		pb_add(j->a, m, lb_endpoints, own);
	}
	m->load_balancing_weight =
		l->load_balancing_weight && m->n_lb_endpoints == l->n_lb_endpoints
		? l->load_balancing_weight
		: pb_u32(j->a, weight);
	return m->n_lb_endpoints ? m : NULL;
}

/* Priorities must follow each other from 0 without a gap. */
static void close_gaps(Endpoint__ClusterLoadAssignment *m)
{
	for (uint32_t want = 0;; want++) {
		uint32_t least = UINT32_MAX;
		for (size_t i = 0; i < m->n_endpoints; i++)
			if (m->endpoints[i]->priority >= want)
				least = MT_MIN(least, m->endpoints[i]->priority);
		if (least == UINT32_MAX)
			return;
		for (size_t i = 0; i < m->n_endpoints; i++)
			if (m->endpoints[i]->priority == least)
				m->endpoints[i]->priority = want;
	}
}

static Endpoint__ClusterLoadAssignment *cut_endpoints(
	struct pilot_job *j, const Endpoint__ClusterLoadAssignment *l)
{
	Endpoint__ClusterLoadAssignment *m = pb_new(j->a, endpoint__cluster_load_assignment);
	m->cluster_name = l->cluster_name;
	for (size_t i = 0; i < l->n_endpoints; i++) {
		Endpoint__LocalityLbEndpoints *at = cut_locality(j, l->endpoints[i]);
		if (at)
			pb_add(j->a, m, endpoints, at);
	}
	close_gaps(m);
	return m;
}

ProtobufCMessage *pilot_grpc_cut(
	struct pilot_job *j, const struct pilot_item *it, ProtobufCMessage *m)
{
	switch ((enum pilot_how)it->how) {
	case PILOT_HOW_CLUSTER: return &cut_cluster(j, it->what, (const Cluster__Cluster *)m)->base;
	case PILOT_HOW_ENDPOINTS:
		return &cut_endpoints(j, (const Endpoint__ClusterLoadAssignment *)m)->base;
	case PILOT_HOW_VHOST: return pilot_grpc_cut_vhost(j, m);
	case PILOT_HOW_ROUTE: pilot_grpc_cut_route(j, m); return m;
	default: return m;
	}
}
