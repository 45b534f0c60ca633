#include <string.h>

#include "common/base/clock.h"
#include "common/base/strs.h"
#include "galley/validate/check.h"
#include "galley/validate/tls.h"
#include "istio/networking/v1alpha3/destination_rule.pb-c.h"

static void consistent_hash(const struct check *c, const char *path,
	const Nw__LoadBalancerSettings__ConsistentHashLB *h)
{
	switch (h->hash_key_case) {
	case NW__LOAD_BALANCER_SETTINGS__CONSISTENT_HASH_LB__HASH_KEY_HTTP_HEADER_NAME:
		check_header_name(c, at(c, "%s.httpHeaderName", path), h->http_header_name);
		break;
	case NW__LOAD_BALANCER_SETTINGS__CONSISTENT_HASH_LB__HASH_KEY_HTTP_COOKIE:
		if (mt_str_empty(h->http_cookie->name))
			fault(c, at(c, "%s.httpCookie.name", path), "is missing");
		check_duration(c, at(c, "%s.httpCookie.ttl", path), h->http_cookie->ttl, 0);
		break;
	case NW__LOAD_BALANCER_SETTINGS__CONSISTENT_HASH_LB__HASH_KEY_HTTP_QUERY_PARAMETER_NAME:
		if (mt_str_empty(h->http_query_parameter_name))
			fault(c, at(c, "%s.httpQueryParameterName", path), "is empty");
		break;
	case NW__LOAD_BALANCER_SETTINGS__CONSISTENT_HASH_LB__HASH_KEY_USE_SOURCE_IP: break;
	default:
		fault(c, path,
			"needs one of httpHeaderName, httpCookie, useSourceIp, httpQueryParameterName");
	}
	if (h->hash_algorithm_case ==
			NW__LOAD_BALANCER_SETTINGS__CONSISTENT_HASH_LB__HASH_ALGORITHM_MAGLEV &&
		h->maglev->table_size > 5000011)
		fault(c, at(c, "%s.maglev.tableSize", path), "%llu is more than 5000011",
			(unsigned long long)h->maglev->table_size);
	if (h->minimum_ring_size > 8388608)
		fault(c, at(c, "%s.minimumRingSize", path), "%llu is more than 8388608",
			(unsigned long long)h->minimum_ring_size);
}

static void locality(
	const struct check *c, const char *path, const Nw__LocalityLoadBalancerSetting *l)
{
	if (!l)
		return;
	if ((l->n_distribute > 0) + (l->n_failover > 0) > 1)
		fault(c, path, "has both distribute and failover");
	for (size_t i = 0; i < l->n_distribute; i++) {
		uint64_t sum = 0;
		for (size_t k = 0; k < l->distribute[i]->n_to; k++)
			sum += l->distribute[i]->to[k]->value;
		if (sum != 100)
			fault(c, at(c, "%s.distribute[%zu].to", path, i),
				"the weights add up to %llu, not to 100", (unsigned long long)sum);
	}
	for (size_t i = 0; i < l->n_failover; i++)
		if (strcmp(l->failover[i]->from, l->failover[i]->to) == 0)
			fault(c, at(c, "%s.failover[%zu].to", path, i),
				"\"%s\" fails over to itself", l->failover[i]->to);
}

static void load_balancer(
	const struct check *c, const char *path, const Nw__LoadBalancerSettings *lb)
{
	if (!lb)
		return;
	if (lb->lb_policy_case == NW__LOAD_BALANCER_SETTINGS__LB_POLICY_CONSISTENT_HASH)
		consistent_hash(c, at(c, "%s.consistentHash", path), lb->consistent_hash);
	locality(c, at(c, "%s.localityLbSetting", path), lb->locality_lb_setting);
	check_duration(c, at(c, "%s.warmupDurationSecs", path), lb->warmup_duration_secs, 0);
}

static void not_negative(const struct check *c, const char *path, int64_t v)
{
	if (v < 0)
		fault(c, path, "must not be negative");
}

static void connection_pool(
	const struct check *c, const char *path, const Nw__ConnectionPoolSettings *p)
{
	if (!p)
		return;
	if (p->tcp) {
		not_negative(c, at(c, "%s.tcp.maxConnections", path), p->tcp->max_connections);
		check_duration(c, at(c, "%s.tcp.connectTimeout", path), p->tcp->connect_timeout,
			MT_NS_PER_MS);
		if (p->tcp->tcp_keepalive) {
			check_duration(c, at(c, "%s.tcp.tcpKeepalive.time", path),
				p->tcp->tcp_keepalive->time, MT_NS_PER_SEC);
			check_duration(c, at(c, "%s.tcp.tcpKeepalive.interval", path),
				p->tcp->tcp_keepalive->interval, MT_NS_PER_SEC);
		}
	}
	if (p->http) {
		not_negative(c, at(c, "%s.http.http1MaxPendingRequests", path),
			p->http->http1_max_pending_requests);
		not_negative(
			c, at(c, "%s.http.http2MaxRequests", path), p->http->http2_max_requests);
		not_negative(c, at(c, "%s.http.maxRequestsPerConnection", path),
			p->http->max_requests_per_connection);
		not_negative(c, at(c, "%s.http.maxRetries", path), p->http->max_retries);
		check_duration(c, at(c, "%s.http.idleTimeout", path), p->http->idle_timeout, 0);
	}
}

static void outlier(const struct check *c, const char *path, const Nw__OutlierDetection *o)
{
	if (!o)
		return;
	not_negative(c, at(c, "%s.consecutiveErrors", path), o->consecutive_errors);
	check_duration(c, at(c, "%s.interval", path), o->interval, MT_NS_PER_MS);
	check_duration(c, at(c, "%s.baseEjectionTime", path), o->base_ejection_time, MT_NS_PER_MS);
	check_percent_int(c, at(c, "%s.maxEjectionPercent", path), o->max_ejection_percent);
	check_percent_int(c, at(c, "%s.minHealthPercent", path), o->min_health_percent);
}

static void policy(const struct check *c, const char *path, const Nw__TrafficPolicy *p)
{
	if (!p)
		return;
	load_balancer(c, at(c, "%s.loadBalancer", path), p->load_balancer);
	connection_pool(c, at(c, "%s.connectionPool", path), p->connection_pool);
	outlier(c, at(c, "%s.outlierDetection", path), p->outlier_detection);
	galley_check_client_tls(c, at(c, "%s.tls", path), p->tls);
	for (size_t i = 0; i < p->n_port_level_settings; i++) {
		const Nw__TrafficPolicy__PortTrafficPolicy *pl = p->port_level_settings[i];
		const char *pp = at(c, "%s.portLevelSettings[%zu]", path, i);
		if (!pl->port)
			fault(c, at(c, "%s.port", pp), "is missing");
		else
			check_port(c, at(c, "%s.port.number", pp), pl->port->number);
		load_balancer(c, at(c, "%s.loadBalancer", pp), pl->load_balancer);
		connection_pool(c, at(c, "%s.connectionPool", pp), pl->connection_pool);
		outlier(c, at(c, "%s.outlierDetection", pp), pl->outlier_detection);
		galley_check_client_tls(c, at(c, "%s.tls", pp), pl->tls);
	}
}

void galley_check_destination_rule(const struct check *c, const ProtobufCMessage *spec)
{
	const Nw__DestinationRule *r = (const Nw__DestinationRule *)spec;

	check_host(c, "spec.host", r->host, true);
	policy(c, "spec.trafficPolicy", r->traffic_policy);
	for (size_t i = 0; i < r->n_subsets; i++) {
		check_subset_name(c, at(c, "spec.subsets[%zu].name", i), r->subsets[i]->name);
		for (size_t k = 0; k < i; k++)
			if (strcmp(r->subsets[k]->name, r->subsets[i]->name) == 0)
				fault(c, at(c, "spec.subsets[%zu].name", i),
					"\"%s\" stands here twice", r->subsets[i]->name);
		policy(c, at(c, "spec.subsets[%zu].trafficPolicy", i),
			r->subsets[i]->traffic_policy);
	}
	check_export_to(c, r->export_to, r->n_export_to);
}
