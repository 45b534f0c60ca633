/* Traffic policies: which parts are in force for a port and subset, and what they are put on.
 *
 *   part               cluster                       listener            load assignment
 *   loadBalancer       balance.c, route hash         TCP hash            locality.c
 *   connectionPool     pool.c                        TCP times
 *   outlierDetection   outlier.c                                         (lets locality.c rank)
 *   tls                cluster.c, tls.c
 *   proxyProtocol      wraps the sockets
 *   tunnel                                           TCP proxy
 *   retryBudget        pool.c
 *   health annotation  outlier.c                                         port of the check */
#include "pilot/translate/policy.h"

#include <string.h>

#include "common/base/strs.h"
#include "envoy/extensions/transport_sockets/proxy_protocol/v3/proxy_protocol.pb-c.h"

static void override(struct pilot_policy *p, const Nw__TrafficPolicy *t)
{
	if (!t)
		return;
	if (t->load_balancer)
		p->lb = t->load_balancer;
	if (t->connection_pool)
		p->pool = t->connection_pool;
	if (t->outlier_detection)
		p->outlier = t->outlier_detection;
	if (t->tls)
		p->tls = t->tls;
	if (t->tunnel)
		p->tunnel = t->tunnel;
	if (t->proxy_protocol)
		p->proxy_protocol = t->proxy_protocol;
	if (t->retry_budget)
		p->retry_budget = t->retry_budget;
}

static void override_port(struct pilot_policy *p, const Nw__TrafficPolicy *t, uint16_t port)
{
	for (size_t i = 0; t && i < t->n_port_level_settings; i++) {
		const Nw__TrafficPolicy__PortTrafficPolicy *s = t->port_level_settings[i];
		if (!s->port || s->port->number != port)
			continue;
		/* A port's settings replace, for that port, all that a port can have. */
		p->lb = s->load_balancer;
		p->pool = s->connection_pool;
		p->outlier = s->outlier_detection;
		p->tls = s->tls;
		return;
	}
}

/* What no rule says, the mesh may say for all: by part, as everything here. */
static void mesh_default(const struct pilot_mesh *m, struct pilot_policy *p)
{
	const Mesh__MeshConfig__DefaultTrafficPolicy *d = m->spec->default_traffic_policy;
	if (d && !p->pool)
		p->pool = d->connection_pool;
	if (d && !p->outlier)
		p->outlier = d->outlier_detection;
}

static void of_rule(
	const struct pilot_dr *dr, const char *subset, uint16_t port, struct pilot_policy *ret)
{
	override(ret, dr->policy);
	override_port(ret, dr->policy, port);
	for (size_t i = 0; *subset && i < dr->nsubsets; i++) {
		const Nw__Subset *s = dr->subsets[i].spec;
		if (strcmp(s->name, subset) != 0)
			continue;
		override(ret, s->traffic_policy);
		override_port(ret, s->traffic_policy, port);
	}
	ret->health = dr->health;
	ret->dr = dr;
}

void pilot_policy_resolve(const struct pilot_mesh *m, const struct pilot_dr *dr, const char *subset,
	uint16_t port, struct pilot_policy *ret)
{
	*ret = (struct pilot_policy){ 0 };
	if (dr)
		of_rule(dr, subset, port, ret);
	mesh_default(m, ret);
}

static const struct pilot_dr *of_cluster(
	struct pilot_job *j, const char *cluster, struct pilot_policy *ret)
{
	struct pilot_cluster_name cn;
	*ret = (struct pilot_policy){ 0 };
	if (pilot_cluster_name_parse(cluster, &cn) < 0 || cn.inbound)
		return NULL;
	const struct pilot_dr *dr =
		pilot_job_dr(j, cn.host, pilot_world_find(j->w, cn.host, j->p->ns));
	pilot_policy_resolve(j->mesh, dr, cn.subset, cn.port, ret);
	return dr;
}

static bool asks_by_host(const struct pilot_policy *pol, const struct pilot_service *s)
{
	return pol->tls && !*pol->tls->sni && pilot_host_is_wild(s->hostname) &&
		(pol->tls->mode == NW__CLIENT_TLSSETTINGS__TLSMODE__SIMPLE ||
			pol->tls->mode == NW__CLIENT_TLSSETTINGS__TLSMODE__MUTUAL);
}

void pilot_policy_apply(struct pilot_job *j, Cluster__Cluster *c, const struct pilot_policy *pol,
	const struct pilot_service *s, enum pilot_protocol protocol)
{
	pilot_cluster_balance(j, c, pol);
	pilot_cluster_limits(j, c, pol);
	if (pilot_protocol_is_http(protocol) || protocol == PILOT_AUTO)
		pilot_cluster_http(j, c, protocol, pol, asks_by_host(pol, s) ? pol->tls : NULL);
	pilot_cluster_outliers(j, c, pol);
	pilot_cluster_checks(j, c, pol, s, pilot_protocol_is_h2(protocol));
}

Core__TransportSocket *pilot_socket_raw(struct pilot_job *j)
{
	return pb_socket(j->a, "envoy.transport_sockets.raw_buffer",
		mt_pb_new(mt_pb_type("envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer"),
			j->a));
}

static Core__TransportSocket *with_header(struct pilot_job *j, Core__TransportSocket *inner,
	const Nw__TrafficPolicy__ProxyProtocol *p)
{
	Ppupstream__ProxyProtocolUpstreamTransport *m =
		pb_new(j->a, ppupstream__proxy_protocol_upstream_transport);
	m->config = pb_new(j->a, core__proxy_protocol_config);
	m->config->version = p->version == NW__TRAFFIC_POLICY__PROXY_PROTOCOL__VERSION__V2
		? CORE__PROXY_PROTOCOL_CONFIG__VERSION__V2
		: CORE__PROXY_PROTOCOL_CONFIG__VERSION__V1;
	m->transport_socket = inner ? inner : pilot_socket_raw(j);
	return pb_socket(j->a, "envoy.transport_sockets.upstream_proxy_protocol", &m->base);
}

void pilot_policy_wrap(struct pilot_job *j, Cluster__Cluster *c, const struct pilot_policy *pol)
{
	if (!pol->proxy_protocol)
		return;
	for (size_t i = 0; i < c->n_transport_socket_matches; i++)
		c->transport_socket_matches[i]->transport_socket = with_header(
			j, c->transport_socket_matches[i]->transport_socket, pol->proxy_protocol);
	if (c->transport_socket || !c->n_transport_socket_matches)
		c->transport_socket = with_header(j, c->transport_socket, pol->proxy_protocol);
}

static void tunnel(
	struct pilot_job *j, Tcpproxy__TcpProxy *t, const Nw__TrafficPolicy__TunnelSettings *s)
{
	Tcpproxy__TcpProxy__TunnelingConfig *m =
		pb_new(j->a, tcpproxy__tcp_proxy__tunneling_config);
	m->hostname = mt_arena_printf(j->a, strchr(s->target_host, ':') ? "[%s]:%u" : "%s:%u",
		s->target_host, s->target_port);
	m->use_post = mt_streq(s->protocol, "POST");
	t->tunneling_config = m;
}

void pilot_policy_tcp(struct pilot_job *j, Tcpproxy__TcpProxy *t, const char *cluster)
{
	struct pilot_policy pol;
	const struct pilot_dr *dr = of_cluster(j, cluster, &pol);
	const Nw__ConnectionPoolSettings__TCPSettings *tcp = pol.pool ? pol.pool->tcp : NULL;
	const Nw__LoadBalancerSettings__ConsistentHashLB *h = pilot_policy_hash(&pol);
	bool hash = h && h->use_source_ip &&
		h->hash_key_case ==
			NW__LOAD_BALANCER_SETTINGS__CONSISTENT_HASH_LB__HASH_KEY_USE_SOURCE_IP;
	if (tcp) {
		t->idle_timeout = pb_dur_dup(j->a, tcp->idle_timeout);
		t->max_downstream_connection_duration =
			pb_dur_dup(j->a, tcp->max_connection_duration);
	}
	if (hash) {
		Etype__HashPolicy *p = pb_new(j->a, etype__hash_policy);
		p->policy_specifier_case = ETYPE__HASH_POLICY__POLICY_SPECIFIER_SOURCE_IP;
		p->source_ip = pb_new(j->a, etype__hash_policy__source_ip);
		pb_add(j->a, t, hash_policy, p);
	}
	if (pol.tunnel)
		tunnel(j, t, pol.tunnel);
	if (hash || pol.tunnel || (tcp && (tcp->idle_timeout || tcp->max_connection_duration)))
		for (size_t i = 0; dr && i < dr->nids; i++)
			pilot_prov_add(j, dr->ids[i]);
}
