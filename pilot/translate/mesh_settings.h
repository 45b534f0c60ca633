/* What defaultConfig of the mesh says of proxies that run: gatewayTopology, proxyHeaders,
 * connectionSettings. What it says of how a proxy is started is the agent's. Private to translate/ and
 * filter/. */
#pragma once

#include "envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.pb-c.h"
#include "pilot/translate/job.h"

/* Never NULL: an empty message when nothing is said. */
const Mesh__ProxyConfig__ProxyHeaders *pilot_proxy_headers(const struct pilot_job *j);
const Mesh__ProxyConfig__ConnectionSettings *pilot_connection_settings(const struct pilot_job *j);
/* Connections to a gateway begin with the PROXY protocol's header. */
bool pilot_reads_proxy_protocol(const struct pilot_job *j);
/* Names of HTTP/1 headers keep their case; NULL: they become lower case. */
Core__Http1ProtocolOptions__HeaderKeyFormat *pilot_header_case(struct pilot_job *j);
/* at: PILOT_AT_... All of a connection manager that they speak of. */
void pilot_hcm_settings(struct pilot_job *j, Hcm__HttpConnectionManager *m, int at);

static inline bool pilot_is_true(const Google__Protobuf__BoolValue *v)
{
	return v && v->value;
}
