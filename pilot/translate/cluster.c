/* Clusters: one for each port of each visible service and for each subset, those of the workload's
 * own ports, and a few of fixed meaning.
 *
 *   outbound|PORT|SUBSET|HOST   EDS (static), STRICT_DNS (by name), ORIGINAL_DST (resolution NONE)
 *   inbound|PORT||              the application behind this proxy
 *   PassthroughCluster          where the connection was going anyway
 *   InboundPassthroughCluster   the same for a port that no service has
 *   BlackHoleCluster            nowhere: a connection that may not go on is closed
 *   mixer, mixer-report         Mixer, see pilot/filter/mixer.c
 *
 * The identities expected of a service's endpoints are part of its cluster, so its fingerprint covers
 * the accounts of its endpoints, but not the endpoints. */
#include "pilot/translate/cluster.h"

#include <string.h>

#include "common/base/hash.h"
#include "common/base/strs.h"
#include "pilot/filter/telemetry.h"
#include "pilot/translate/endpoint.h"
#include "pilot/translate/mesh_settings.h"
#include "pilot/translate/policy.h"
#include "pilot/translate/tls.h"

static void plan_service(struct pilot_job *j, struct pilot_plan *p, uint32_t svc)
{
	const struct pilot_service *s = j->ix->svcs[svc];
	const struct pilot_dr *dr = pilot_job_dr(j, s->hostname, (int)svc);
	const struct pilot_endpoints *eps = pilot_world_eps(j->w, svc);
	uint64_t fp = mt_hash_mix(s->hash, dr ? dr->hash : 0);
	fp = mt_hash_mix(fp,
		pilot_resolution_is_dns(s->resolution) ? mt_hash_mix(eps->hash, j->ix->auth_hash)
						       : eps->accounts_hash);
	for (uint32_t k = 0; k < s->nports; k++) {
		if (s->ports[k].protocol == PILOT_UDP)
			continue;
		for (size_t i = 0; i <= (dr ? dr->nsubsets : 0); i++) {
			struct pilot_cluster_ref *ref = MT_ANEW(j->a, struct pilot_cluster_ref);
			*ref = (struct pilot_cluster_ref){ svc, k,
				i ? dr->subsets[i - 1].spec->name : "", false };
			pilot_plan_add(j, p,
				pilot_out_name(j, s->ports[k].number, ref->subset, s->hostname),
				pilot_resolution_is_dns(s->resolution)
					? mt_hash_mix(fp, pilot_endpoints_place_fp(j, dr, ref))
					: fp,
				PILOT_HOW_CLUSTER, ref);
		}
	}
}

void pilot_plan_clusters(struct pilot_job *j, struct pilot_plan *p)
{
	for (size_t i = 0; i < j->ix->nsvcs; i++)
		if (j->clusters[i])
			plan_service(j, p, (uint32_t)i);
	pilot_plan_sni_clusters(j, p);
	pilot_plan_add(j, p, "BlackHoleCluster", 1, PILOT_HOW_CLUSTER_FIXED, NULL);
	if (j->p->type == PILOT_SIDECAR)
		pilot_plan_add(j, p, "PassthroughCluster", 1, PILOT_HOW_CLUSTER_FIXED, NULL);
	const char *sinks[PILOT_PROVIDER_CLUSTERS];
	size_t nsinks = pilot_provider_clusters(j, sinks);
	for (size_t i = 0; i < nsinks; i++)
		pilot_plan_add(j, p, sinks[i], 2, PILOT_HOW_CLUSTER_FIXED, NULL);
	if (pilot_mixer_check_cluster(j))
		pilot_plan_add(
			j, p, pilot_mixer_check_cluster(j), 1, PILOT_HOW_CLUSTER_FIXED, NULL);
	const char *report = pilot_mixer_report_cluster(j);
	if (report && !mt_streq(report, pilot_mixer_check_cluster(j)))
		pilot_plan_add(j, p, report, 1, PILOT_HOW_CLUSTER_FIXED, NULL);
}

void pilot_plan_clusters_inbound(struct pilot_job *j, struct pilot_plan *p)
{
	bool captured = false;
	for (size_t i = 0; i < j->ninbound; i++) {
		const struct pilot_inbound *in = &j->inbound[i];
		uint64_t fp =
			mt_hash_mix(mt_hash_str(in->to), (uint64_t)in->to_port << 8 | in->protocol);
		fp = mt_hash_mix(fp, in->svc ? in->svc->hash : 0);
		pilot_plan_add(j, p, in->cluster, fp, PILOT_HOW_CLUSTER_INBOUND, in);
		captured = captured || in->capture;
	}
	if (j->p->type == PILOT_SIDECAR && !j->p->none)
		pilot_plan_add(
			j, p, "InboundPassthroughCluster", captured, PILOT_HOW_CLUSTER_FIXED, NULL);
}

static Cluster__Cluster *cluster_new(
	struct pilot_job *j, const char *name, Cluster__Cluster__DiscoveryType type)
{
	Cluster__Cluster *c = pb_new(j->a, cluster__cluster);
	c->name = pb_s(name);
	c->cluster_discovery_type_case = CLUSTER__CLUSTER__CLUSTER_DISCOVERY_TYPE_TYPE;
	c->type = type;
	c->connect_timeout = pb_dur(j->a, j->mesh->connect_timeout_ns);
	const Google__Protobuf__Int32Value *buffer =
		pilot_connection_settings(j)->cluster_per_connection_buffer_limit_bytes;
	if (buffer && buffer->value > 0)
		c->per_connection_buffer_limit_bytes = pb_u32(j->a, (uint32_t)buffer->value);
	return c;
}

static Cluster__Cluster__DiscoveryType discovery_type(const struct pilot_service *s)
{
	switch (s->resolution) {
	case PILOT_RES_STATIC: return CLUSTER__CLUSTER__DISCOVERY_TYPE__EDS;
	case PILOT_RES_DNS: return CLUSTER__CLUSTER__DISCOVERY_TYPE__STRICT_DNS;
	case PILOT_RES_DNS_ROUND_ROBIN: return CLUSTER__CLUSTER__DISCOVERY_TYPE__LOGICAL_DNS;
	default: return CLUSTER__CLUSTER__DISCOVERY_TYPE__ORIGINAL_DST;
	}
}

/* Envoy takes one name for a cluster of this type, and refuses the cluster with more. */
static void only_one(
	struct pilot_job *j, const struct pilot_service *s, Endpoint__ClusterLoadAssignment *m)
{
	if (m->n_endpoints > 1 || (m->n_endpoints && m->endpoints[0]->n_lb_endpoints > 1))
		pilot_job_note(j, s->id, PILOT_NOTE_IGNORED, "spec.endpoints",
			"DNS_ROUND_ROBIN has one endpoint: the first serves");
	if (!m->n_endpoints)
		return;
	m->n_endpoints = 1;
	m->endpoints[0]->n_lb_endpoints = 1;
}

static void discovery(struct pilot_job *j, Cluster__Cluster *c, const struct pilot_cluster_ref *ref)
{
	const struct pilot_service *s = j->ix->svcs[ref->svc];
	if (s->resolution == PILOT_RES_STATIC) {
		c->eds_cluster_config = pb_new(j->a, cluster__cluster__eds_cluster_config);
		c->eds_cluster_config->eds_config = pb_ads(j->a);
		c->eds_cluster_config->service_name = c->name;
	} else if (pilot_resolution_is_dns(s->resolution)) {
		c->dns_lookup_family = j->p->ipv6 && !j->p->ipv4
			? CLUSTER__CLUSTER__DNS_LOOKUP_FAMILY__V6_ONLY
			: j->p->ipv6 ? CLUSTER__CLUSTER__DNS_LOOKUP_FAMILY__ALL
				     : CLUSTER__CLUSTER__DNS_LOOKUP_FAMILY__V4_ONLY;
		c->load_assignment = pilot_load_assignment(j, c->name, ref);
		if (s->resolution == PILOT_RES_DNS_ROUND_ROBIN)
			only_one(j, s, c->load_assignment);
	}
}

static void socket_match(struct pilot_job *j, Cluster__Cluster *c, const char *name,
	Google__Protobuf__Struct *match, Core__TransportSocket *socket)
{
	Cluster__Cluster__TransportSocketMatch *m =
		pb_new(j->a, cluster__cluster__transport_socket_match);
	m->name = pb_s(name);
	m->match = match;
	m->transport_socket = socket;
	pb_add(j->a, c, transport_socket_matches, m);
}

/* Without a word in a rule: TLS to the endpoints that carry the tlsMode label, plaintext to others. */
static void auto_tls(struct pilot_job *j, Cluster__Cluster *c, const struct pilot_service *s,
	const struct pilot_endpoints *eps, const char *sni, bool h2)
{
	if (!j->mesh->auto_mtls || !j->p->sds || s->external || s->resolution == PILOT_RES_NONE ||
		s->resolution == PILOT_RES_DYNAMIC_DNS ||
		(pilot_resolution_is_dns(s->resolution) && !eps->any_mtls))
		return;
	socket_match(j, c, "tlsMode-istio", pb_struct1(j->a, "tlsMode", "istio"),
		pilot_tls_mesh_upstream(j, s, eps, NULL, sni, h2));
	socket_match(j, c, "tlsMode-disabled", pb_new(j->a, google__protobuf__struct),
		pilot_socket_raw(j));
}

static void outbound_tls(struct pilot_job *j, Cluster__Cluster *c,
	const struct pilot_cluster_ref *ref, const struct pilot_dr *dr,
	const Nw__ClientTLSSettings *tls, bool h2)
{
	const struct pilot_service *s = j->ix->svcs[ref->svc];
	const struct pilot_endpoints *eps = pilot_world_eps(j->w, ref->svc);
	const char *sni = mt_arena_printf(
		j->a, "outbound_.%u_.%s_.%s", s->ports[ref->port].number, ref->subset, s->hostname);
	if (!tls) {
		auto_tls(j, c, s, eps, sni, h2);
		return;
	}
	switch (tls->mode) {
	case NW__CLIENT_TLSSETTINGS__TLSMODE__ISTIO_MUTUAL:
		if (j->p->sds)
			c->transport_socket = pilot_tls_mesh_upstream(j, s, eps, tls, sni, h2);
		break;
	case NW__CLIENT_TLSSETTINGS__TLSMODE__SIMPLE:
	case NW__CLIENT_TLSSETTINGS__TLSMODE__MUTUAL:
		c->transport_socket = pilot_tls_upstream(j, tls, s, h2);
		break;
	default: return; /* DISABLE */
	}
	if (c->transport_socket)
		return;
	/* No certificate: nothing is reached, rather than in plaintext. */
	c->type = CLUSTER__CLUSTER__DISCOVERY_TYPE__STATIC;
	c->eds_cluster_config = NULL;
	c->load_assignment = NULL;
	pilot_job_note(j, dr->ids[0], PILOT_NOTE_IGNORED, "spec.trafficPolicy.tls",
		"%s asks for TLS with a certificate that the proxy does not have", s->hostname);
}

static bool mesh_tls(const Cluster__Cluster *c, const Nw__ClientTLSSettings *tls)
{
	return tls
		? c->transport_socket && tls->mode == NW__CLIENT_TLSSETTINGS__TLSMODE__ISTIO_MUTUAL
		: c->n_transport_socket_matches;
}

static Cluster__Cluster *build_outbound(
	struct pilot_job *j, const char *name, const struct pilot_cluster_ref *ref)
{
	const struct pilot_service *s = j->ix->svcs[ref->svc];
	const struct pilot_port *port = &s->ports[ref->port];
	const struct pilot_dr *dr = pilot_job_dr(j, s->hostname, (int)ref->svc);
	struct pilot_policy pol;
	Cluster__Cluster *c = cluster_new(j, name, discovery_type(s));
	discovery(j, c, ref);
	pilot_policy_resolve(j->mesh, dr, ref->subset, port->number, &pol);
	enum pilot_protocol protocol = pilot_cluster_protocol(j, ref, pol.pool);
	pilot_policy_apply(j, c, &pol, s, protocol);
	if (!ref->sni)
		outbound_tls(j, c, ref, dr, pol.tls, pilot_protocol_is_h2(protocol));
	if (port->protocol == PILOT_AUTO && mesh_tls(c, pol.tls))
		pilot_alpn_cluster(j, c);
	pilot_policy_wrap(j, c, &pol);
	pilot_cluster_mesh(j, c, ref);
	if (pilot_dynamic_dns_has(s, ref->port))
		pilot_dynamic_dns_cluster(j, c);
	else if (s->resolution == PILOT_RES_DYNAMIC_DNS)
		pilot_job_note(j, s->id, PILOT_NOTE_IGNORED, "spec.resolution",
			"DYNAMIC_DNS needs HTTP or TLS: port %u goes where its connections were going",
			port->number);
	pilot_prov_add(j, s->id);
	for (size_t i = 0; dr && i < dr->nids; i++)
		pilot_prov_add(j, dr->ids[i]);
	return c;
}

/* Where the connection was going. */
static Cluster__Cluster *original(struct pilot_job *j, const char *name)
{
	Cluster__Cluster *c = cluster_new(j, name, CLUSTER__CLUSTER__DISCOVERY_TYPE__ORIGINAL_DST);
	c->lb_policy = CLUSTER__CLUSTER__LB_POLICY__CLUSTER_PROVIDED;
	return c;
}

/* A source address of its own keeps the connection from being captured again. */
static void own_source(struct pilot_job *j, Cluster__Cluster *c)
{
	bool v4 = j->p->ipv4 || !j->p->ipv6;
	c->upstream_bind_config = pb_new(j->a, core__bind_config);
	c->upstream_bind_config->source_address =
		pb_addr(j->a, v4 ? "127.0.0.6" : "::6", 0)->socket_address;
	if (v4 && j->p->ipv6) {
		Core__ExtraSourceAddress *x = pb_new(j->a, core__extra_source_address);
		x->address = pb_addr(j->a, "::6", 0)->socket_address;
		pb_add(j->a, c->upstream_bind_config, extra_source_addresses, x);
	}
}

static Cluster__Cluster *build_inbound(struct pilot_job *j, const struct pilot_inbound *in)
{
	Cluster__Cluster *c = in->as_addressed
		? original(j, in->cluster)
		: cluster_new(j, in->cluster, CLUSTER__CLUSTER__DISCOVERY_TYPE__STATIC);
	if (in->as_addressed)
		own_source(j, c);
	else
		c->load_assignment = pilot_load_one(j, in->cluster, in->to, in->to_port);
	const struct pilot_policy pol = { .pool = in->pool };
	pilot_cluster_limits(j, c, in->pool ? &pol : NULL);
	pilot_cluster_http(j, c, in->protocol, in->pool ? &pol : NULL, NULL);
	pilot_cluster_mesh_inbound(j, c, in);
	pilot_prov_add(j, in->svc ? in->svc->id : 0);
	pilot_prov_add(j, j->sidecar ? j->sidecar->id : 0);
	return c;
}

static Cluster__Cluster *build_fixed(struct pilot_job *j, const char *name)
{
	if (strcmp(name, "BlackHoleCluster") == 0)
		return cluster_new(j, name, CLUSTER__CLUSTER__DISCOVERY_TYPE__STATIC);
	Cluster__Cluster *sink = pilot_provider_cluster(j, name);
	if (sink)
		return sink;
	if (!mt_str_suffix(name, "assthroughCluster"))
		return pilot_mixer_cluster(j, name);
	Cluster__Cluster *c = original(j, name);
	pilot_cluster_limits(j, c, NULL);
	if (strcmp(name, "InboundPassthroughCluster") == 0)
		own_source(j, c);
	return c;
}

ProtobufCMessage *pilot_build_cluster(struct pilot_job *j, const struct pilot_item *it)
{
	switch ((enum pilot_how)it->how) {
	case PILOT_HOW_CLUSTER: return &build_outbound(j, it->name, it->what)->base;
	case PILOT_HOW_CLUSTER_INBOUND: return &build_inbound(j, it->what)->base;
	default: return &build_fixed(j, it->name)->base;
	}
}
