/* The names of the tags are Istio's, so that its dashboards find them. Envoy's own rules end a name at its
 * first dot, and names of clusters and of listeners here hold dots: each pattern knows what follows. */
#include "agent/bootstrap_stats.h"

#include <stdio.h>
#include <string.h>

#include "common/base/cidr.h"
#include "common/base/log.h"
#include "common/base/strs.h"

static struct mt_log_scope scope = MT_LOG_SCOPE("bootstrap");

/* An address and a port, as listeners and connection managers are named: 10.0.0.1_80, [__1]_80. */
#define PLACE "[0-9a-fA-F_.\\[\\]]+_[0-9]+"

/* What stands between the name of a cluster and the last word of a statistic. */
#define GROUPS                                                                                         \
	"circuit_breakers\\.(?:default|high)|outlier_detection|health_check|external|internal|canary|" \
	"zone\\.[^.]+\\.[^.]+|ssl|http1|http2|http3|ext_authz|ratelimit|client_ssl_socket_factory|"    \
	"grpc|tcp_proxy|redis"

/* The first group is taken out of the name, the second is the tag's value. */
static const struct {
	const char *tag, *regex;
} tags[] = {
	{ "cluster_name", "^cluster\\.((.+?)\\.)(?:(?:" GROUPS ")\\.)*[a-z0-9_]+$" },
	/* Names that end in what a group holds, not in a word. */
	{ "cluster_name",
		"^cluster\\.((.+?)\\.)(?:ssl\\.(?:ciphers|versions|curves|sigalgs|certificate)"
		"\\..+|grpc\\..+|default\\.total_match_count)$" },
	{ "tcp_prefix", "^tcp\\.((.+)\\.)[a-z_0-9]+$" },
	{ "response_code", "_rq(_(\\d{3}))$" },
	{ "response_code_class", "_rq(_(\\dxx))$" },
	{ "http_conn_manager_listener_prefix",
		"^listener\\..+\\.http\\.(((?:in|out)bound_" PLACE "|[^.]+)\\.)" },
	{ "http_conn_manager_prefix", "^http\\.(((?:in|out)bound_" PLACE "|[^.]+)\\.)" },
	{ "rds_route_config", "^http\\..+\\.rds\\.(?:vhds\\.)?((.+)\\.)[a-z_]+$" },
	{ "listener_address", "^listener\\.((" PLACE ")\\.)" },
	{ "mongo_prefix", "^mongo\\.((.+?)\\.)(?:collection|cmd|cx_|op_|delays_|decoding_)" },
};

static void add_tag(json_t *list, const char *tag, const char *regex)
{
	json_array_append_new(list, json_pack("{s:s, s:s}", "tag_name", tag, "regex", regex));
}

/* A name of a tag goes into a pattern: others could mean anything there. */
static bool is_tag(const char *s)
{
	return *s &&
		strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") ==
		strlen(s);
}

/* In a name of statistics they are written "TAG=.=VALUE;.;". */
static void extra(json_t *list, const Mesh__ProxyConfig *c)
{
	char regex[300];

	for (size_t i = 0; i < c->n_extra_stat_tags; i++) {
		const char *t = c->extra_stat_tags[i];
		if (!is_tag(t) || strlen(t) > 200) {
			mt_log_warn(&scope, "extraStatTags: not a name of a tag", MT_S("tag", t));
			continue;
		}
		snprintf(regex, sizeof(regex), "(%s=\\.=(.*?);\\.;)", t);
		add_tag(list, t, regex);
	}
}

static void match(json_t *list, const char *how, const char *what)
{
	json_array_append_new(list, json_pack("{s:s}", how, what));
}

static void match_regex(json_t *list, const char *regex)
{
	json_array_append_new(list, json_pack("{s:{s:s}}", "safe_regex", "regex", regex));
}

/* Without what the agent asks for itself it would not know when Envoy is ready, or drained. */
static void needed(json_t *list)
{
	static const char *const prefixes[] = { "cluster_manager", "listener_manager", "server",
		"cluster.xds-grpc" };

	for (size_t i = 0; i < MT_ARRAY_SIZE(prefixes); i++)
		match(list, "prefix", prefixes[i]);
	match_regex(list, "^listener\\..*downstream_cx_active$");
}

static json_t *matcher(const Mesh__ProxyConfig__ProxyStatsMatcher *m)
{
	json_t *list = json_array();

	needed(list);
	for (size_t i = 0; i < m->n_inclusion_prefixes; i++)
		match(list, "prefix", m->inclusion_prefixes[i]);
	for (size_t i = 0; i < m->n_inclusion_suffixes; i++)
		match(list, "suffix", m->inclusion_suffixes[i]);
	for (size_t i = 0; i < m->n_inclusion_regexps; i++)
		match_regex(list, m->inclusion_regexps[i]);
	return json_pack("{s:{s:o}}", "inclusion_list", "patterns", list);
}

json_t *agent_stats_config(const Mesh__ProxyConfig *c)
{
	const Mesh__ProxyConfig__ProxyStatsMatcher *m = c->proxy_stats_matcher;
	json_t *list = json_array(), *j;

	for (size_t i = 0; i < MT_ARRAY_SIZE(tags); i++)
		add_tag(list, tags[i].tag, tags[i].regex);
	extra(list, c);
	j = json_pack("{s:b, s:o}", "use_all_default_tags", 0, "stats_tags", list);
	if (m && (m->n_inclusion_prefixes || m->n_inclusion_suffixes || m->n_inclusion_regexps))
		json_object_set_new(j, "stats_matcher", matcher(m));
	return j;
}

/* ---- sinks ---- */

static json_t *socket_address(const char *what, const char *text, bool *ret_is_ip)
{
	char host[256];
	uint16_t port;
	struct mt_ip ip;

	if (mt_hostport_parse(text, host, &port) < 0 || !*host || !port) {
		mt_log_warn(&scope, "not HOST:PORT: left out", MT_S("field", what),
			MT_S("value", text));
		return NULL;
	}
	*ret_is_ip = mt_ip_parse(host, &ip) == 0;
	return json_pack(
		"{s:{s:s, s:i}}", "socket_address", "address", host, "port_value", (int)port);
}

static void statsd(json_t *list, const char *text)
{
	bool is_ip;
	json_t *a = socket_address("statsdUdpAddress", text, &is_ip);

	if (!a)
		return;
	if (!is_ip) {
		mt_log_warn(&scope, "statsdUdpAddress: Envoy sends to an IP address alone",
			MT_S("value", text));
		json_decref(a);
		return;
	}
	json_array_append_new(list,
		json_pack("{s:s, s:{s:s, s:o}}", "name", "envoy.stat_sinks.statsd", "typed_config",
			"@type", "type.googleapis.com/envoy.config.metrics.v3.StatsdSink",
			"address", a));
}

#define METRICS_CLUSTER "envoy_metrics_service"

static void metrics_service(json_t *list, const char *text, json_t *clusters)
{
	bool is_ip;
	json_t *a = socket_address("envoyMetricsService.address", text, &is_ip);

	if (!a)
		return;
	json_array_append_new(clusters,
		json_pack("{s:s, s:s, s:s, s:{s:s, s:[{s:[{s:{s:o}}]}]}, s:{s:{s:s, s:{s:{}}}}}",
			"name", METRICS_CLUSTER, "type", is_ip ? "STATIC" : "STRICT_DNS",
			"connect_timeout", "5s", "load_assignment", "cluster_name", METRICS_CLUSTER,
			"endpoints", "lb_endpoints", "endpoint", "address", a,
			"typed_extension_protocol_options",
			"envoy.extensions.upstreams.http.v3.HttpProtocolOptions", "@type",
			"type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
			"explicit_http_config", "http2_protocol_options"));
	json_array_append_new(list,
		json_pack("{s:s, s:{s:s, s:s, s:{s:{s:s}}}}", "name",
			"envoy.stat_sinks.metrics_service", "typed_config", "@type",
			"type.googleapis.com/envoy.config.metrics.v3.MetricsServiceConfig",
			"transport_api_version", "V3", "grpc_service", "envoy_grpc", "cluster_name",
			METRICS_CLUSTER));
}

json_t *agent_stats_sinks(const Mesh__ProxyConfig *c, json_t *clusters)
{
	const char *service = c->envoy_metrics_service && *c->envoy_metrics_service->address
		? c->envoy_metrics_service->address
		: c->envoy_metrics_service_address;
	json_t *list = json_array();

	if (*c->statsd_udp_address)
		statsd(list, c->statsd_udp_address);
	if (*service)
		metrics_service(list, service, clusters);
	if (json_array_size(list))
		return list;
	json_decref(list);
	return NULL;
}
