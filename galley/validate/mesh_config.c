#include <string.h>

#include "common/base/cidr.h"
#include "common/base/clock.h"
#include "common/base/strs.h"
#include "galley/validate/load_balancer.h"
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

static void proxy(const struct check *c, const Mesh__ProxyConfig *p)
{
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
	if (m->access_log_encoding == MESH__MESH_CONFIG__ACCESS_LOG_ENCODING__JSON &&
		!mt_str_empty(m->access_log_format))
		galley_check_json_format(c, "spec.accessLogFormat", m->access_log_format);
	galley_check_providers(c, m);
	if (m->default_config)
		proxy(c, m->default_config);
}
