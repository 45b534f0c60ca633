/* The bootstrap, made of small JSON builders.
 *
 * Two static clusters: xds-grpc (Pilot) and sds-grpc (this agent's Unix socket). With TLS, the
 * connection to Pilot shows the workload's certificate and expects Pilot's identity; both come by SDS
 * from the agent, so a renewed certificate needs no new bootstrap. The node goes out once a stream
 * (set_node_on_first_message_only). Initial fetches have no time limit: an Envoy that cannot reach
 * Pilot yet is not ready, rather than ready with nothing. */
#include "agent/bootstrap.h"

#include <string.h>

#include "agent/bootstrap_stats.h"
#include "agent/json_merge.h"
#include "common/base/cidr.h"
#include "common/base/strs.h"

#define TYPE(name) "type.googleapis.com/envoy.extensions." name

static json_t *str(const char *s)
{
	return json_string(s);
}

static const Mesh__ProxyConfig *config(const struct agent_bootstrap *b)
{
	static const Mesh__ProxyConfig none = MESH__PROXY_CONFIG__INIT;

	return b->config ? b->config : &none;
}

/* ISTIO_META_NAME of proxyMetadata is NAME, unless the agent says it itself. */
static void more_metadata(json_t *m, const Mesh__ProxyConfig *c)
{
	static const char prefix[] = "ISTIO_META_";

	for (size_t i = 0; i < c->n_proxy_metadata; i++) {
		const char *key = c->proxy_metadata[i]->key;
		if (!mt_str_prefix(key, prefix) || json_object_get(m, key + strlen(prefix)))
			continue;
		json_object_set_new(m, key + strlen(prefix), str(c->proxy_metadata[i]->value));
	}
}

static json_t *metadata(const struct agent_bootstrap *b)
{
	const struct agent_node *n = b->node;
	json_t *labels = json_object(), *m;

	for (size_t i = 0; i < n->nlabels; i++)
		json_object_set_new(labels, n->labels[i].key, str(n->labels[i].value));
	m = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:o, s:b}", "NAME", n->name,
		"NAMESPACE", n->ns, "WORKLOAD_NAME", n->workload, "SERVICE_ACCOUNT",
		n->service_account, "INSTANCE_IPS", n->instance_ips, "INTERCEPTION_MODE",
		n->interception, "MELTEMI_VERSION", b->version, "ENVOY_ADMIN", b->admin_addr,
		"LABELS", labels, "SDS", b->pilot_id != NULL);
	if (m && *n->cluster_id)
		json_object_set_new(m, "CLUSTER_ID", str(n->cluster_id));
	if (m)
		json_object_set_new(m, "CREDENTIALS", str(b->credentials ? "reported" : "none"));
	if (m && *n->network)
		json_object_set_new(m, "NETWORK", str(n->network));
	if (m)
		more_metadata(m, config(b));
	return m;
}

json_t *agent_bootstrap_node(const struct agent_bootstrap *b)
{
	const struct agent_node *n = b->node;
	json_t *where = json_object();
	MT_AUTO(mt_arena_freep) struct mt_arena *a = mt_arena_new(0);

	if (*n->region)
		json_object_set_new(where, "region", str(n->region));
	if (*n->zone)
		json_object_set_new(where, "zone", str(n->zone));
	if (*n->subzone)
		json_object_set_new(where, "sub_zone", str(n->subzone));
	if (!*n->zone && *config(b)->availability_zone)
		json_object_set_new(where, "zone", str(config(b)->availability_zone));
	return json_pack("{s:s, s:s, s:o, s:o}", "id", n->id, "cluster",
		config(b)->cluster_name_case == MESH__PROXY_CONFIG__CLUSTER_NAME_SERVICE_CLUSTER
			? config(b)->service_cluster
			: mt_arena_printf(a, "%s.%s", n->workload, n->ns),
		"locality", where, "metadata", metadata(b));
}

static int address(const char *text, const char *option, bool must_be_ip, bool *ret_is_ip,
	json_t **ret, struct mt_err *err)
{
	char host[256];
	uint16_t port;
	struct mt_ip ip;

	if (mt_hostport_parse(text, host, &port) < 0 || !port || !*host)
		return mt_fail(err, MT_INVALID, option, "\"%s\" is not ADDR:PORT", text);
	*ret_is_ip = mt_ip_parse(host, &ip) == 0;
	if (must_be_ip && !*ret_is_ip)
		return mt_fail(err, MT_INVALID, option, "\"%s\" is not an IP address", host);
	*ret = json_pack(
		"{s:{s:s, s:i}}", "socket_address", "address", host, "port_value", (int)port);
	return 0;
}

static json_t *http2(int keepalive_s)
{
	json_t *h2 = json_object();

	if (keepalive_s)
		json_object_set_new(h2, "connection_keepalive",
			json_pack("{s:o, s:s}", "interval", json_sprintf("%ds", keepalive_s),
				"timeout", "10s"));
	return json_pack("{s:{s:s, s:{s:o}}}",
		"envoy.extensions.upstreams.http.v3.HttpProtocolOptions", "@type",
		TYPE("upstreams.http.v3.HttpProtocolOptions"), "explicit_http_config",
		"http2_protocol_options", h2);
}

/* To the control plane. It includes the TLS handshake, and after a restart thousands of them queue for
 * two cores: who gives up early begins again at the end of the queue, and nobody gets through. */
#define CONNECT_TIMEOUT "10s"

static json_t *cluster(const char *name, const char *type, json_t *addr, int keepalive_s)
{
	return json_pack("{s:s, s:s, s:s, s:{s:s, s:[{s:[{s:{s:o}}]}]}, s:o}", "name", name, "type",
		type, "connect_timeout", CONNECT_TIMEOUT, "load_assignment", "cluster_name", name,
		"endpoints", "lb_endpoints", "endpoint", "address", addr,
		"typed_extension_protocol_options", http2(keepalive_s));
}

static void connect_time(json_t *cluster, const Google__Protobuf__Duration *d)
{
	if (d && (d->seconds > 0 || d->nanos > 0))
		json_object_set_new(cluster, "connect_timeout",
			json_sprintf("%lld.%09ds", (long long)d->seconds, (int)d->nanos));
}

static json_t *sds(const char *name)
{
	return json_pack("{s:s, s:{s:s, s:s, s:{s:s, s:s, s:b, s:[{s:{s:s}}]}}}", "name", name,
		"sds_config", "resource_api_version", "V3", "initial_fetch_timeout", "0s",
		"api_config_source", "api_type", "GRPC", "transport_api_version", "V3",
		"set_node_on_first_message_only", 1, "grpc_services", "envoy_grpc", "cluster_name",
		"sds-grpc");
}

static json_t *upstream_tls(const char *peer_id)
{
	json_t *san = json_pack("{s:s, s:{s:s}}", "san_type", "URI", "matcher", "exact", peer_id);
	json_t *common = json_pack("{s:[s], s:{s:s}, s:[o], s:{s:{s:[o]}, s:o}}", "alpn_protocols",
		"h2", "tls_params", "tls_minimum_protocol_version", "TLSv1_2",
		"tls_certificate_sds_secret_configs", sds("default"), "combined_validation_context",
		"default_validation_context", "match_typed_subject_alt_names", san,
		"validation_context_sds_secret_config", sds("ROOTCA"));

	return json_pack("{s:s, s:{s:s, s:o}}", "name", "envoy.transport_sockets.tls",
		"typed_config", "@type", TYPE("transport_sockets.tls.v3.UpstreamTlsContext"),
		"common_tls_context", common);
}

static int clusters(const struct agent_bootstrap *b, json_t **ret, struct mt_err *err)
{
	json_t *addr, *xds, *secrets;
	bool is_ip;
	int r;

	if ((r = address(b->pilot_addr, "--pilot-addr", false, &is_ip, &addr, err)) < 0)
		return r;
	xds = cluster("xds-grpc", is_ip ? "STATIC" : "STRICT_DNS", addr, 30);
	connect_time(xds, config(b)->connect_timeout);
	if (b->pilot_id)
		json_object_set_new(xds, "transport_socket", upstream_tls(b->pilot_id));
	secrets = cluster(
		"sds-grpc", "STATIC", json_pack("{s:{s:s}}", "pipe", "path", b->sds_socket), 0);
	*ret = json_pack("[o, o]", xds, secrets);
	return 0;
}

static json_t *ads_source(void)
{
	return json_pack("{s:{}, s:s, s:s}", "ads", "resource_api_version", "V3",
		"initial_fetch_timeout", "0s");
}

static json_t *dynamic(const struct agent_bootstrap *b)
{
	return json_pack("{s:o, s:o, s:{s:s, s:s, s:b, s:[{s:{s:s}}]}}", "lds_config", ads_source(),
		"cds_config", ads_source(), "ads_config", "api_type",
		b->delta ? "DELTA_GRPC" : "GRPC", "transport_api_version", "V3",
		"set_node_on_first_message_only", 1, "grpc_services", "envoy_grpc", "cluster_name",
		"xds-grpc");
}

/* Not a limit that protects anything yet; without one Envoy warns at each start. */
static json_t *overload(const Mesh__ProxyConfig *c)
{
	const Google__Protobuf__Int32Value *most = c->connection_settings
		? c->connection_settings->global_downstream_connection_limit
		: NULL;

	return json_pack("{s:[{s:s, s:{s:s, s:I}}]}", "resource_monitors", "name",
		"envoy.resource_monitors.global_downstream_max_connections", "typed_config",
		"@type",
		TYPE("resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig"),
		"max_active_downstream_connections",
		most && most->value > 0 ? (json_int_t)most->value : (json_int_t)100000);
}

/* What the operator types at the admin interface is over what the mesh says. */
static json_t *runtime(const Mesh__ProxyConfig *c)
{
	json_t *layers = json_array(), *values = json_object();

	for (size_t i = 0; i < c->n_runtime_values; i++)
		json_object_set_new(
			values, c->runtime_values[i]->key, str(c->runtime_values[i]->value));
	json_array_append_new(
		layers, json_pack("{s:s, s:o}", "name", "mesh", "static_layer", values));
	json_array_append_new(layers, json_pack("{s:s, s:{}}", "name", "admin", "admin_layer"));
	return json_pack("{s:o}", "layers", layers);
}

int agent_bootstrap_make(const struct agent_bootstrap *b, json_t **ret, struct mt_err *err)
{
	json_t *static_clusters, *admin, *j, *sinks;
	bool is_ip;
	int r;

	if ((r = address(b->admin_addr, "--envoy-admin", true, &is_ip, &admin, err)) < 0)
		return r;
	if ((r = clusters(b, &static_clusters, err)) < 0) {
		json_decref(admin);
		return r;
	}
	sinks = agent_stats_sinks(config(b), static_clusters);
	j = json_pack("{s:o, s:{s:o, s:b}, s:o, s:{s:o}, s:o, s:o, s:o, s:o*}", "node",
		agent_bootstrap_node(b), "admin", "address", admin, "ignore_global_conn_limit", 1,
		"dynamic_resources", dynamic(b), "static_resources", "clusters", static_clusters,
		"overload_manager", overload(config(b)), "layered_runtime", runtime(config(b)),
		"stats_config", agent_stats_config(config(b)), "stats_sinks", sinks);
	if (!j)
		return mt_fail(
			err, MT_INVALID, NULL, "a name or label of the workload is not UTF-8");
	for (size_t i = 0; i < b->npatches; i++)
		agent_json_merge(j, b->patches[i]);
	*ret = j;
	return 0;
}
