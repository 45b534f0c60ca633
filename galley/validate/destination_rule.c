#include <string.h>

#include "common/base/cidr.h"
#include "common/base/clock.h"
#include "common/base/strs.h"
#include "common/schema/health.h"
#include "galley/validate/check.h"
#include "galley/validate/load_balancer.h"
#include "galley/validate/pool.h"
#include "galley/validate/tls.h"
#include "istio/networking/v1alpha3/destination_rule.pb-c.h"

static void not_negative(const struct check *c, const char *path, int64_t v)
{
	if (v < 0)
		fault(c, path, "must not be negative");
}

static void tcp_pool(
	const struct check *c, const char *path, const Nw__ConnectionPoolSettings__TCPSettings *p)
{
	not_negative(c, at(c, "%s.maxConnections", path), p->max_connections);
	check_duration(c, at(c, "%s.connectTimeout", path), p->connect_timeout, MT_NS_PER_MS);
	check_duration(c, at(c, "%s.maxConnectionDuration", path), p->max_connection_duration,
		MT_NS_PER_MS);
	check_duration(c, at(c, "%s.idleTimeout", path), p->idle_timeout, 0);
	if (!p->tcp_keepalive)
		return;
	check_duration(
		c, at(c, "%s.tcpKeepalive.time", path), p->tcp_keepalive->time, MT_NS_PER_SEC);
	check_duration(c, at(c, "%s.tcpKeepalive.interval", path), p->tcp_keepalive->interval,
		MT_NS_PER_SEC);
}

static void http_pool(
	const struct check *c, const char *path, const Nw__ConnectionPoolSettings__HTTPSettings *p)
{
	not_negative(c, at(c, "%s.http1MaxPendingRequests", path), p->http1_max_pending_requests);
	not_negative(c, at(c, "%s.http2MaxRequests", path), p->http2_max_requests);
	not_negative(c, at(c, "%s.maxRequestsPerConnection", path), p->max_requests_per_connection);
	not_negative(c, at(c, "%s.maxRetries", path), p->max_retries);
	not_negative(c, at(c, "%s.maxConcurrentStreams", path), p->max_concurrent_streams);
	check_duration(c, at(c, "%s.idleTimeout", path), p->idle_timeout, 0);
	if (p->use_client_protocol &&
		p->h2_upgrade_policy ==
			NW__CONNECTION_POOL_SETTINGS__HTTPSETTINGS__H2_UPGRADE_POLICY__UPGRADE)
		fault(c, at(c, "%s.useClientProtocol", path),
			"has no place with h2UpgradePolicy UPGRADE");
	if (!p->http2_keep_alive)
		return;
	check_duration(c, at(c, "%s.http2KeepAlive.interval", path), p->http2_keep_alive->interval,
		MT_NS_PER_MS);
	check_duration(c, at(c, "%s.http2KeepAlive.timeout", path), p->http2_keep_alive->timeout,
		MT_NS_PER_MS);
	if (p->http2_keep_alive->interval && !p->http2_keep_alive->timeout)
		fault(c, at(c, "%s.http2KeepAlive.timeout", path), "is missing");
}

void galley_check_pool(const struct check *c, const char *path, const Nw__ConnectionPoolSettings *p)
{
	if (p && p->tcp)
		tcp_pool(c, at(c, "%s.tcp", path), p->tcp);
	if (p && p->http)
		http_pool(c, at(c, "%s.http", path), p->http);
}

void galley_check_outlier(const struct check *c, const char *path, const Nw__OutlierDetection *o)
{
	if (!o)
		return;
	not_negative(c, at(c, "%s.consecutiveErrors", path), o->consecutive_errors);
	check_duration(c, at(c, "%s.interval", path), o->interval, MT_NS_PER_MS);
	check_duration(c, at(c, "%s.baseEjectionTime", path), o->base_ejection_time, MT_NS_PER_MS);
	check_percent_int(c, at(c, "%s.maxEjectionPercent", path), o->max_ejection_percent);
	check_percent_int(c, at(c, "%s.minHealthPercent", path), o->min_health_percent);
	for (size_t i = 0; i < o->n_outlier_detection_http_error_codes; i++)
		check_http_status(c, at(c, "%s.outlierDetectionHttpErrorCodes[%zu]", path, i),
			o->outlier_detection_http_error_codes[i]);
	if (o->consecutive_errors && (o->consecutive_5xx_errors || o->consecutive_gateway_errors))
		remark(c, at(c, "%s.consecutiveErrors", path),
			"is the old name: consecutive5xxErrors or consecutiveGatewayErrors win");
	if (o->consecutive_local_origin_failures && !o->split_external_local_origin_errors)
		remark(c, at(c, "%s.consecutiveLocalOriginFailures", path),
			"has no effect without splitExternalLocalOriginErrors");
}

static void tunnel(
	const struct check *c, const char *path, const Nw__TrafficPolicy__TunnelSettings *t)
{
	struct mt_ip ip;

	if (!t)
		return;
	if (*t->protocol && !mt_streq(t->protocol, "CONNECT") && !mt_streq(t->protocol, "POST"))
		fault(c, at(c, "%s.protocol", path), "\"%s\" is neither CONNECT nor POST",
			t->protocol);
	if (mt_ip_parse(t->target_host, &ip) < 0)
		check_host(c, at(c, "%s.targetHost", path), t->target_host, false);
	check_port(c, at(c, "%s.targetPort", path), t->target_port);
}

static void retry_budget(
	const struct check *c, const char *path, const Nw__TrafficPolicy__RetryBudget *b)
{
	if (!b)
		return;
	if (b->percent && !(b->percent->value >= 0 && b->percent->value <= 100))
		fault(c, at(c, "%s.percent", path), "%g is not a percentage (0 to 100)",
			b->percent->value);
	check_duration(c, at(c, "%s.budgetInterval", path), b->budget_interval, 0);
}

/* Ports and subsets are told apart by number and name: the second of two is never found. */
static void port_twice(
	const struct check *c, const char *path, const Nw__TrafficPolicy *p, size_t i)
{
	for (size_t k = 0; k < i; k++)
		if (p->port_level_settings[k]->port && p->port_level_settings[i]->port &&
			p->port_level_settings[k]->port->number ==
				p->port_level_settings[i]->port->number)
			fault(c, at(c, "%s.port.number", path), "%u stands here twice",
				p->port_level_settings[i]->port->number);
}

static void policy(const struct check *c, const char *path, const Nw__TrafficPolicy *p)
{
	if (!p)
		return;
	galley_check_load_balancer(c, at(c, "%s.loadBalancer", path), p->load_balancer);
	galley_check_pool(c, at(c, "%s.connectionPool", path), p->connection_pool);
	galley_check_outlier(c, at(c, "%s.outlierDetection", path), p->outlier_detection);
	galley_check_client_tls(c, at(c, "%s.tls", path), p->tls);
	tunnel(c, at(c, "%s.tunnel", path), p->tunnel);
	retry_budget(c, at(c, "%s.retryBudget", path), p->retry_budget);
	for (size_t i = 0; i < p->n_port_level_settings; i++) {
		const Nw__TrafficPolicy__PortTrafficPolicy *pl = p->port_level_settings[i];
		const char *pp = at(c, "%s.portLevelSettings[%zu]", path, i);
		if (!pl->port)
			fault(c, at(c, "%s.port", pp), "is missing");
		else
			check_port(c, at(c, "%s.port.number", pp), pl->port->number);
		port_twice(c, pp, p, i);
		galley_check_load_balancer(c, at(c, "%s.loadBalancer", pp), pl->load_balancer);
		galley_check_pool(c, at(c, "%s.connectionPool", pp), pl->connection_pool);
		galley_check_outlier(c, at(c, "%s.outlierDetection", pp), pl->outlier_detection);
		galley_check_client_tls(c, at(c, "%s.tls", pp), pl->tls);
	}
}

static void health(const struct check *c)
{
	const char *text = mt_object_annotation(c->obj, MT_HEALTH_CHECK_ANNOTATION);
	struct mt_diags found = { 0 };

	if (!text || mt_health_check_parse(text, c->arena, &found))
		return;
	for (size_t i = 0; i < found.n; i++)
		fault(c,
			at(c, "%s%s%s", MT_HEALTH_CHECK_PATH,
				mt_str_empty(found.v[i].path) || *found.v[i].path == '.' ? "" : ".",
				found.v[i].path ? found.v[i].path : ""),
			"%s", found.v[i].msg);
	mt_diags_clear(&found);
}

static void subset(const struct check *c, const Nw__DestinationRule *r, size_t i)
{
	const Nw__Subset *s = r->subsets[i];

	check_subset_name(c, at(c, "spec.subsets[%zu].name", i), s->name);
	for (size_t k = 0; k < i; k++)
		if (strcmp(r->subsets[k]->name, s->name) == 0)
			fault(c, at(c, "spec.subsets[%zu].name", i), "\"%s\" stands here twice",
				s->name);
	for (size_t k = 0; k < s->n_labels; k++)
		check_label(c, at(c, "spec.subsets[%zu].labels[\"%s\"]", i, s->labels[k]->key),
			s->labels[k]->key, s->labels[k]->value);
	policy(c, at(c, "spec.subsets[%zu].trafficPolicy", i), s->traffic_policy);
}

static void selector(const struct check *c, const Istype__WorkloadSelector *s)
{
	for (size_t i = 0; s && i < s->n_match_labels; i++)
		check_label(c,
			at(c, "spec.workloadSelector.matchLabels[\"%s\"]", s->match_labels[i]->key),
			s->match_labels[i]->key, s->match_labels[i]->value);
}

void galley_check_destination_rule(const struct check *c, const ProtobufCMessage *spec)
{
	const Nw__DestinationRule *r = (const Nw__DestinationRule *)spec;

	check_host(c, "spec.host", r->host, true);
	policy(c, "spec.trafficPolicy", r->traffic_policy);
	for (size_t i = 0; i < r->n_subsets; i++)
		subset(c, r, i);
	check_export_to(c, r->export_to, r->n_export_to);
	selector(c, r->workload_selector);
	health(c);
}
