/* Traffic policies onto clusters: load balancing, connection pools, outlier detection. */
#include <string.h>

#include "common/base/strs.h"
#include "envoy/extensions/upstreams/http/v3/http.pb-c.h"
#include "pilot/translate/cluster.h"

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
}

static void override_port(struct pilot_policy *p, const Nw__TrafficPolicy *t, uint16_t port)
{
	for (size_t i = 0; t && i < t->n_port_level_settings; i++) {
		const Nw__TrafficPolicy__PortTrafficPolicy *s = t->port_level_settings[i];
		if (!s->port || s->port->number != port)
			continue;
		/* A port's settings replace the whole policy for that port. */
		*p = (struct pilot_policy){ s->load_balancer, s->connection_pool,
			s->outlier_detection, s->tls };
	}
}

void pilot_policy_resolve(
	const struct pilot_dr *dr, const char *subset, uint16_t port, struct pilot_policy *ret)
{
	*ret = (struct pilot_policy){ 0 };
	if (!dr)
		return;
	override(ret, dr->policy);
	override_port(ret, dr->policy, port);
	for (size_t i = 0; *subset && i < dr->nsubsets; i++) {
		const Nw__Subset *s = dr->subsets[i].spec;
		if (strcmp(s->name, subset) != 0)
			continue;
		override(ret, s->traffic_policy);
		override_port(ret, s->traffic_policy, port);
	}
}

static void hash_lb(struct pilot_job *j, Cluster__Cluster *c,
	const Nw__LoadBalancerSettings__ConsistentHashLB *h)
{
	if (h->hash_algorithm_case ==
		NW__LOAD_BALANCER_SETTINGS__CONSISTENT_HASH_LB__HASH_ALGORITHM_MAGLEV) {
		c->lb_policy = CLUSTER__CLUSTER__LB_POLICY__MAGLEV;
		if (h->maglev->table_size) {
			Cluster__Cluster__MaglevLbConfig *m =
				pb_new(j->a, cluster__cluster__maglev_lb_config);
			m->table_size = pb_u64(j->a, h->maglev->table_size);
			c->lb_config_case = CLUSTER__CLUSTER__LB_CONFIG_MAGLEV_LB_CONFIG;
			c->maglev_lb_config = m;
		}
		return;
	}
	uint64_t size = h->minimum_ring_size;
	if (h->hash_algorithm_case ==
		NW__LOAD_BALANCER_SETTINGS__CONSISTENT_HASH_LB__HASH_ALGORITHM_RING_HASH)
		size = h->ring_hash->minimum_ring_size;
	Cluster__Cluster__RingHashLbConfig *r = pb_new(j->a, cluster__cluster__ring_hash_lb_config);
	r->minimum_ring_size = pb_u64(j->a, size ? size : 1024);
	c->lb_policy = CLUSTER__CLUSTER__LB_POLICY__RING_HASH;
	c->lb_config_case = CLUSTER__CLUSTER__LB_CONFIG_RING_HASH_LB_CONFIG;
	c->ring_hash_lb_config = r;
}

static void simple_lb(Cluster__Cluster *c, Nw__LoadBalancerSettings__SimpleLB lb)
{
	switch (lb) {
	case NW__LOAD_BALANCER_SETTINGS__SIMPLE_LB__ROUND_ROBIN:
		c->lb_policy = CLUSTER__CLUSTER__LB_POLICY__ROUND_ROBIN;
		return;
	case NW__LOAD_BALANCER_SETTINGS__SIMPLE_LB__RANDOM:
		c->lb_policy = CLUSTER__CLUSTER__LB_POLICY__RANDOM;
		return;
	case NW__LOAD_BALANCER_SETTINGS__SIMPLE_LB__PASSTHROUGH:
		c->lb_policy = CLUSTER__CLUSTER__LB_POLICY__CLUSTER_PROVIDED;
		c->type = CLUSTER__CLUSTER__DISCOVERY_TYPE__ORIGINAL_DST;
		c->eds_cluster_config = NULL;
		c->load_assignment = NULL;
		return;
	default: c->lb_policy = CLUSTER__CLUSTER__LB_POLICY__LEAST_REQUEST; return;
	}
}

static void load_balancer(
	struct pilot_job *j, Cluster__Cluster *c, const Nw__LoadBalancerSettings *lb)
{
	if (c->type == CLUSTER__CLUSTER__DISCOVERY_TYPE__ORIGINAL_DST) {
		c->lb_policy = CLUSTER__CLUSTER__LB_POLICY__CLUSTER_PROVIDED;
		return;
	}
	if (lb && lb->lb_policy_case == NW__LOAD_BALANCER_SETTINGS__LB_POLICY_CONSISTENT_HASH)
		hash_lb(j, c, lb->consistent_hash);
	else
		simple_lb(c,
			lb && lb->lb_policy_case == NW__LOAD_BALANCER_SETTINGS__LB_POLICY_SIMPLE
				? lb->simple
				: NW__LOAD_BALANCER_SETTINGS__SIMPLE_LB__UNSPECIFIED);
}

/* Only what is said is limited: Envoy's own default of 1,024 would surprise. */
static Google__Protobuf__UInt32Value *limit(struct pilot_job *j, int32_t v)
{
	return pb_u32(j->a, v > 0 ? (uint32_t)v : UINT32_MAX);
}

void pilot_cluster_limits(
	struct pilot_job *j, Cluster__Cluster *c, const Nw__ConnectionPoolSettings *pool)
{
	const Nw__ConnectionPoolSettings__TCPSettings *tcp = pool ? pool->tcp : NULL;
	const Nw__ConnectionPoolSettings__HTTPSettings *http = pool ? pool->http : NULL;
	Cluster__CircuitBreakers__Thresholds *t =
		pb_new(j->a, cluster__circuit_breakers__thresholds);
	t->max_connections = limit(j, tcp ? tcp->max_connections : 0);
	t->max_pending_requests = limit(j, http ? http->http1_max_pending_requests : 0);
	t->max_requests = limit(j, http ? http->http2_max_requests : 0);
	t->max_retries = limit(j, http ? http->max_retries : 0);
	t->track_remaining = true;
	c->circuit_breakers = pb_new(j->a, cluster__circuit_breakers);
	pb_add(j->a, c->circuit_breakers, thresholds, t);
	if (tcp && tcp->connect_timeout)
		c->connect_timeout = pb_dur_dup(j->a, tcp->connect_timeout);
	if (!tcp || !tcp->tcp_keepalive)
		return;
	const Nw__ConnectionPoolSettings__TCPSettings__TcpKeepalive *k = tcp->tcp_keepalive;
	Core__TcpKeepalive *o = pb_new(j->a, core__tcp_keepalive);
	if (k->probes)
		o->keepalive_probes = pb_u32(j->a, k->probes);
	if (k->time)
		o->keepalive_time = pb_u32(j->a, (uint32_t)k->time->seconds);
	if (k->interval)
		o->keepalive_interval = pb_u32(j->a, (uint32_t)k->interval->seconds);
	c->upstream_connection_options = pb_new(j->a, cluster__upstream_connection_options);
	c->upstream_connection_options->tcp_keepalive = o;
}

static Core__HttpProtocolOptions *common_http(
	struct pilot_job *j, const Nw__ConnectionPoolSettings *pool)
{
	const Nw__ConnectionPoolSettings__HTTPSettings *http = pool ? pool->http : NULL;
	const Nw__ConnectionPoolSettings__TCPSettings *tcp = pool ? pool->tcp : NULL;
	if (!(http && (http->idle_timeout || http->max_requests_per_connection > 0)) &&
		!(tcp && tcp->max_connection_duration))
		return NULL;
	Core__HttpProtocolOptions *o = pb_new(j->a, core__http_protocol_options);
	if (http && http->idle_timeout)
		o->idle_timeout = pb_dur_dup(j->a, http->idle_timeout);
	if (http && http->max_requests_per_connection > 0)
		o->max_requests_per_connection =
			pb_u32(j->a, (uint32_t)http->max_requests_per_connection);
	if (tcp && tcp->max_connection_duration)
		o->max_connection_duration = pb_dur_dup(j->a, tcp->max_connection_duration);
	return o;
}

static void http_protocol(struct pilot_job *j, Uphttp__HttpProtocolOptions *o, bool h2, bool client,
	const Nw__ConnectionPoolSettings__HTTPSettings *http)
{
	Core__Http2ProtocolOptions *h2o = pb_new(j->a, core__http2_protocol_options);
	if (http && http->max_concurrent_streams > 0)
		h2o->max_concurrent_streams = pb_u32(j->a, (uint32_t)http->max_concurrent_streams);
	if (http && http->http2_keep_alive) {
		h2o->connection_keepalive = pb_new(j->a, core__keepalive_settings);
		h2o->connection_keepalive->interval =
			pb_dur_dup(j->a, http->http2_keep_alive->interval);
		h2o->connection_keepalive->timeout =
			pb_dur_dup(j->a, http->http2_keep_alive->timeout);
	}
	if (client) {
		Uphttp__HttpProtocolOptions__UseDownstreamHttpConfig *d =
			pb_new(j->a, uphttp__http_protocol_options__use_downstream_http_config);
		d->http_protocol_options = pb_new(j->a, core__http1_protocol_options);
		d->http2_protocol_options = h2o;
		o->upstream_protocol_options_case =
			UPHTTP__HTTP_PROTOCOL_OPTIONS__UPSTREAM_PROTOCOL_OPTIONS_USE_DOWNSTREAM_PROTOCOL_CONFIG;
		o->use_downstream_protocol_config = d;
		return;
	}
	Uphttp__HttpProtocolOptions__ExplicitHttpConfig *e =
		pb_new(j->a, uphttp__http_protocol_options__explicit_http_config);
	o->upstream_protocol_options_case =
		UPHTTP__HTTP_PROTOCOL_OPTIONS__UPSTREAM_PROTOCOL_OPTIONS_EXPLICIT_HTTP_CONFIG;
	o->explicit_http_config = e;
	if (h2) {
		e->protocol_config_case =
			UPHTTP__HTTP_PROTOCOL_OPTIONS__EXPLICIT_HTTP_CONFIG__PROTOCOL_CONFIG_HTTP2_PROTOCOL_OPTIONS;
		e->http2_protocol_options = h2o;
	} else {
		e->protocol_config_case =
			UPHTTP__HTTP_PROTOCOL_OPTIONS__EXPLICIT_HTTP_CONFIG__PROTOCOL_CONFIG_HTTP_PROTOCOL_OPTIONS;
		e->http_protocol_options = pb_new(j->a, core__http1_protocol_options);
	}
}

void pilot_cluster_http(struct pilot_job *j, Cluster__Cluster *c, enum pilot_protocol protocol,
	const Nw__ConnectionPoolSettings *pool)
{
	const Nw__ConnectionPoolSettings__HTTPSettings *http = pool ? pool->http : NULL;
	bool h2 = pilot_protocol_is_h2(protocol);
	bool client = protocol == PILOT_AUTO || (http && http->use_client_protocol);
	Core__HttpProtocolOptions *common = common_http(j, pool);
	if (!h2 && !client && !common)
		return;
	Uphttp__HttpProtocolOptions *o = pb_new(j->a, uphttp__http_protocol_options);
	o->common_http_protocol_options = common;
	http_protocol(j, o, h2, client, http);
	Cluster__Cluster__TypedExtensionProtocolOptionsEntry *e =
		pb_new(j->a, cluster__cluster__typed_extension_protocol_options_entry);
	e->key = pb_s("envoy.extensions.upstreams.http.v3.HttpProtocolOptions");
	e->value = mt_pb_any(j->a, &o->base);
	pb_add(j->a, c, typed_extension_protocol_options, e);
}

static void outliers(struct pilot_job *j, Cluster__Cluster *c, const Nw__OutlierDetection *o)
{
	struct mt_arena *a = j->a;
	Cluster__OutlierDetection *m = pb_new(a, cluster__outlier_detection);
	if (o->interval)
		m->interval = pb_dur_dup(a, o->interval);
	if (o->base_ejection_time)
		m->base_ejection_time = pb_dur_dup(a, o->base_ejection_time);
	if (o->max_ejection_percent > 0)
		m->max_ejection_percent = pb_u32(a, (uint32_t)o->max_ejection_percent);
	m->enforcing_success_rate = pb_u32(a, 0);
	uint32_t n5xx = o->consecutive_5xx_errors ? o->consecutive_5xx_errors->value
						  : (uint32_t)MT_MAX(o->consecutive_errors, 0);
	uint32_t gateway = o->consecutive_gateway_errors ? o->consecutive_gateway_errors->value : 0;
	/* Zero switches one off; a rule that says neither has Envoy's five 5xx. */
	if (n5xx)
		m->consecutive_5xx = pb_u32(a, n5xx);
	if (o->consecutive_5xx_errors || n5xx || gateway)
		m->enforcing_consecutive_5xx = pb_u32(a, n5xx ? 100 : 0);
	if (gateway) {
		m->consecutive_gateway_failure = pb_u32(a, gateway);
		m->enforcing_consecutive_gateway_failure = pb_u32(a, 100);
	}
	if (o->split_external_local_origin_errors) {
		m->split_external_local_origin_errors = true;
		if (o->consecutive_local_origin_failures) {
			m->consecutive_local_origin_failure =
				pb_u32(a, o->consecutive_local_origin_failures->value);
			m->enforcing_consecutive_local_origin_failure = pb_u32(a, 100);
		}
		m->enforcing_local_origin_success_rate = pb_u32(a, 0);
	}
	/* One of two hosts is more than the default tenth: still let it be put aside. */
	m->always_eject_one_host = pb_bool(a, true);
	c->outlier_detection = m;
	if (o->min_health_percent > 0) {
		c->common_lb_config = pb_new(a, cluster__cluster__common_lb_config);
		c->common_lb_config->healthy_panic_threshold = pb_new(a, etype__percent);
		c->common_lb_config->healthy_panic_threshold->value = o->min_health_percent;
	}
}

void pilot_policy_apply(struct pilot_job *j, Cluster__Cluster *c, const struct pilot_policy *pol,
	enum pilot_protocol protocol)
{
	load_balancer(j, c, pol->lb);
	pilot_cluster_limits(j, c, pol->pool);
	pilot_cluster_http(j, c, protocol, pol->pool);
	if (pol->outlier)
		outliers(j, c, pol->outlier);
}
