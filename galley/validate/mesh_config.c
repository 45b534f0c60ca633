#include <string.h>

#include "common/base/cidr.h"
#include "common/base/clock.h"
#include "common/base/strs.h"
#include "common/schema/tls_names.h"
#include "galley/validate/load_balancer.h"
#include "galley/validate/pool.h"
#include "galley/validate/telemetry.h"

static void server(const struct check *c, const char *path, const char *s)
{
	char host[256];
	uint16_t port;

	if (mt_str_empty(s))
		return;
	if (mt_hostport_parse(s, host, &port) < 0 || !*host || !port)
		fault(c, path, "\"%s\" is not HOST:PORT", s);
}

static void keepalive(
	const struct check *c, const Nw__ConnectionPoolSettings__TCPSettings__TcpKeepalive *k)
{
	if (!k)
		return;
	check_duration(c, "spec.tcpKeepalive.time", k->time, MT_NS_PER_SEC);
	check_duration(c, "spec.tcpKeepalive.interval", k->interval, MT_NS_PER_SEC);
}

static void tls(const struct check *c, const char *path, const Mesh__MeshConfig__TLSConfig *t)
{
	for (size_t i = 0; t && i < t->n_cipher_suites; i++)
		if (!mt_tls_is_cipher(t->cipher_suites[i]))
			remark(c, at(c, "%s.cipherSuites[%zu]", path, i),
				"\"%s\" is not known to Envoy: left out", t->cipher_suites[i]);
	for (size_t i = 0; t && i < t->n_ecdh_curves; i++)
		if (!mt_tls_is_curve(t->ecdh_curves[i]))
			remark(c, at(c, "%s.ecdhCurves[%zu]", path, i),
				"\"%s\" is not known to Envoy: left out", t->ecdh_curves[i]);
}

static void connections(const struct check *c, const Mesh__ProxyConfig__ConnectionSettings *s)
{
	const struct {
		const char *path;
		const Google__Protobuf__Duration *d;
		int64_t least;
	} v[] = {
#define TIME(name, field, least) { "spec.defaultConfig.connectionSettings." name, s->field, least }
		TIME("httpIdleTimeout", http_idle_timeout, 0),
		TIME("httpMaxConnectionDuration", http_max_connection_duration, MT_NS_PER_MS),
		TIME("httpDrainTimeout", http_drain_timeout, 0),
		TIME("httpRequestTimeout", http_request_timeout, 0),
		TIME("httpRequestHeadersTimeout", http_request_headers_timeout, 0),
		TIME("httpStreamIdleTimeout", http_stream_idle_timeout, 0),
		TIME("httpMaxStreamDuration", http_max_stream_duration, MT_NS_PER_MS),
#undef TIME
	};
	const Google__Protobuf__Int32Value *window = s->http2_initial_stream_window_size;
	for (size_t i = 0; i < MT_ARRAY_SIZE(v); i++)
		check_duration(c, v[i].path, v[i].d, v[i].least);
	/* What HTTP/2 begins with is the least that it can have. */
	if (window && window->value < 65535)
		fault(c, "spec.defaultConfig.connectionSettings.http2InitialStreamWindowSize",
			"%d is below 65535", window->value);
	window = s->http2_initial_connection_window_size;
	if (window && window->value < 65535)
		fault(c, "spec.defaultConfig.connectionSettings.http2InitialConnectionWindowSize",
			"%d is below 65535", window->value);
}

/* What a proxy is started with: Envoy does not start with a pattern that it cannot read. */
static void starting(const struct check *c, const Mesh__ProxyConfig *p)
{
	const Mesh__ProxyConfig__ProxyStatsMatcher *m = p->proxy_stats_matcher;
	for (size_t i = 0; m && i < m->n_inclusion_regexps; i++)
		check_regex(c,
			at(c, "spec.defaultConfig.proxyStatsMatcher.inclusionRegexps[%zu]", i),
			m->inclusion_regexps[i]);
	if (p->concurrency && (p->concurrency->value < 0 || p->concurrency->value > 1024))
		fault(c, "spec.defaultConfig.concurrency", "%d is not between 0 and 1024",
			p->concurrency->value);
	if (p->proxy_admin_port)
		check_port(c, "spec.defaultConfig.proxyAdminPort", (uint32_t)p->proxy_admin_port);
	check_duration(c, "spec.defaultConfig.drainDuration", p->drain_duration, 0);
	check_duration(
		c, "spec.defaultConfig.terminationDrainDuration", p->termination_drain_duration, 0);
	check_duration(c, "spec.defaultConfig.connectTimeout", p->connect_timeout, MT_NS_PER_MS);
	server(c, "spec.defaultConfig.statsdUdpAddress", p->statsd_udp_address);
	server(c, "spec.defaultConfig.envoyMetricsServiceAddress",
		p->envoy_metrics_service_address);
}

static void proxy(const struct check *c, const Mesh__ProxyConfig *p)
{
	if (p->connection_settings)
		connections(c, p->connection_settings);
	starting(c, p);
	server(c, "spec.defaultConfig.zipkinAddress", p->zipkin_address);
	if (p->envoy_access_log_service)
		server(c, "spec.defaultConfig.envoyAccessLogService.address",
			p->envoy_access_log_service->address);
	if (!p->tracing)
		return;
	if (p->tracing->sampling < 0 || p->tracing->sampling > 100)
		fault(c, "spec.defaultConfig.tracing.sampling", "%g is not between 0 and 100",
			p->tracing->sampling);
	if (p->tracing->tracer_case == MESH__TRACING__TRACER_ZIPKIN)
		server(c, "spec.defaultConfig.tracing.zipkin.address", p->tracing->zipkin->address);
	else if (p->tracing->tracer_case == MESH__TRACING__TRACER_DATADOG)
		server(c, "spec.defaultConfig.tracing.datadog.address",
			p->tracing->datadog->address);
	else if (p->tracing->tracer_case != MESH__TRACING__TRACER__NOT_SET)
		remark(c, "spec.defaultConfig.tracing", "Envoy no longer has this tracer");
}

void galley_check_mesh_config(const struct check *c, const ProtobufCMessage *spec)
{
	const Mesh__MeshConfig *m = (const Mesh__MeshConfig *)spec;

	if (strcmp(c->obj->name, "default") != 0)
		fault(c, "metadata.name", "the mesh has one configuration, named default");
	server(c, "spec.mixerCheckServer", m->mixer_check_server);
	server(c, "spec.mixerReportServer", m->mixer_report_server);
	check_duration(c, "spec.connectTimeout", m->connect_timeout, MT_NS_PER_MS);
	galley_check_locality(c, "spec.localityLbSetting", m->locality_lb_setting);
	if (m->proxy_listen_port)
		check_port(c, "spec.proxyListenPort", (uint32_t)m->proxy_listen_port);
	if (m->proxy_inbound_listen_port)
		check_port(
			c, "spec.proxyInboundListenPort", (uint32_t)m->proxy_inbound_listen_port);
	if (m->proxy_http_port)
		check_port(c, "spec.proxyHttpPort", (uint32_t)m->proxy_http_port);
	check_duration(c, "spec.dnsRefreshRate", m->dns_refresh_rate, MT_NS_PER_MS);
	check_duration(c, "spec.protocolDetectionTimeout", m->protocol_detection_timeout, 0);
	keepalive(c, m->tcp_keepalive);
	check_duration(c, "spec.reportBatchMaxTime", m->report_batch_max_time, MT_NS_PER_MS);
	tls(c, "spec.meshMTLS", m->mesh_mtls);
	tls(c, "spec.tlsDefaults", m->tls_defaults);
	if (m->default_traffic_policy) {
		galley_check_pool(c, "spec.defaultTrafficPolicy.connectionPool",
			m->default_traffic_policy->connection_pool);
		galley_check_outlier(c, "spec.defaultTrafficPolicy.outlierDetection",
			m->default_traffic_policy->outlier_detection);
	}
	if (m->access_log_encoding == MESH__MESH_CONFIG__ACCESS_LOG_ENCODING__JSON &&
		!mt_str_empty(m->access_log_format))
		galley_check_json_format(c, "spec.accessLogFormat", m->access_log_format);
	galley_check_providers(c, m);
	if (m->default_config)
		proxy(c, m->default_config);
}
