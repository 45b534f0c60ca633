/* Connection managers and TCP proxies: the network filters that end every chain. */
#include <string.h>

#include "common/base/strs.h"
#include "envoy/extensions/filters/network/tcp_proxy/v3/tcp_proxy.pb-c.h"
#include "pilot/filter/telemetry.h"
#include "pilot/translate/listener.h"
#include "pilot/translate/mesh_settings.h"
#include "pilot/translate/policy.h"

/* How paths are brought to one form before anything matches them. */
static void normalization(struct pilot_job *j, Hcm__HttpConnectionManager *m)
{
	const Mesh__MeshConfig__ProxyPathNormalization *n = j->mesh->spec->path_normalization;
	switch (n ? n->normalization
		  : MESH__MESH_CONFIG__PROXY_PATH_NORMALIZATION__NORMALIZATION_TYPE__DEFAULT) {
	case MESH__MESH_CONFIG__PROXY_PATH_NORMALIZATION__NORMALIZATION_TYPE__NONE:
		m->normalize_path = pb_bool(j->a, false);
		return;
	case MESH__MESH_CONFIG__PROXY_PATH_NORMALIZATION__NORMALIZATION_TYPE__DECODE_AND_MERGE_SLASHES:
		m->path_with_escaped_slashes_action =
			HCM__HTTP_CONNECTION_MANAGER__PATH_WITH_ESCAPED_SLASHES_ACTION__UNESCAPE_AND_FORWARD;
		m->merge_slashes = true;
		break;
	case MESH__MESH_CONFIG__PROXY_PATH_NORMALIZATION__NORMALIZATION_TYPE__MERGE_SLASHES:
		m->merge_slashes = true;
		break;
	default: break;
	}
	m->normalize_path = pb_bool(j->a, true);
}

Listener__Filter *pilot_hcm_filter(struct pilot_job *j, const struct pilot_hcm *h)
{
	struct mt_arena *a = j->a;
	Hcm__HttpConnectionManager *m = pb_new(a, hcm__http_connection_manager);
	m->stat_prefix = pb_s(h->stat_prefix);
	m->rds = pb_new(a, hcm__rds);
	m->rds->config_source = pb_ads(a);
	m->rds->route_config_name = pb_s(h->rds);
	m->route_specifier_case = HCM__HTTP_CONNECTION_MANAGER__ROUTE_SPECIFIER_RDS;
	bool gateway = h->f.at == PILOT_AT_GATEWAY;
	m->use_remote_address = pb_bool(a, gateway);
	if (gateway) /* nobody outside is trusted: what only the mesh may say is dropped */
		m->internal_address_config =
			pb_new(a, hcm__http_connection_manager__internal_address_config);
	normalization(j, m);
	pilot_hcm_settings(j, m, h->f.at);
	Hcm__HttpConnectionManager__UpgradeConfig *ws =
		pb_new(a, hcm__http_connection_manager__upgrade_config);
	ws->upgrade_type = pb_s("websocket");
	pb_add(a, m, upgrade_configs, ws);
	pilot_filters_add(&h->f, m);
	m->tracing = pilot_tracing(&h->f);
	m->request_id_extension = pilot_request_id(&h->f);
	m->n_access_log = pilot_access_logs(&h->f, true, &m->access_log);
	return pb_filter(a, "envoy.filters.network.http_connection_manager", &m->base);
}

static Listener__Filter *tcp_done(
	struct pilot_job *j, const struct pilot_filter_in *f, Tcpproxy__TcpProxy *t)
{
	t->n_access_log = pilot_access_logs(f, false, &t->access_log);
	return pb_filter(j->a, "envoy.filters.network.tcp_proxy", &t->base);
}

Listener__Filter *pilot_tcp_filter(struct pilot_job *j, const struct pilot_filter_in *f,
	const char *stat_prefix, const char *cluster)
{
	Tcpproxy__TcpProxy *t = pb_new(j->a, tcpproxy__tcp_proxy);
	t->stat_prefix = pb_s(stat_prefix);
	t->cluster_specifier_case = TCPPROXY__TCP_PROXY__CLUSTER_SPECIFIER_CLUSTER;
	t->cluster = pb_s(cluster);
	pilot_policy_tcp(j, t, cluster);
	return tcp_done(j, f, t);
}

static uint64_t settings(struct pilot_job *j, const char *cluster)
{
	Tcpproxy__TcpProxy *t = pb_new(j->a, tcpproxy__tcp_proxy);
	pilot_policy_tcp(j, t, cluster);
	return mt_pb_hash(&t->base);
}

/* A filter has one idle time, longest life, hash and tunnel: those of the first. */
static void weighted_settings(
	struct pilot_job *j, Tcpproxy__TcpProxy *t, const struct pilot_vs *vs, const char *path)
{
	const Tcpproxy__TcpProxy__WeightedCluster *w = t->weighted_clusters;
	uint64_t first = settings(j, w->clusters[0]->name);
	for (size_t i = 1; i < w->n_clusters; i++)
		if (settings(j, w->clusters[i]->name) != first)
			pilot_job_note(j, vs->id, PILOT_NOTE_IGNORED, path,
				"the TCP settings of %s (times, hash, tunnel) do not hold: those of "
				"%s do for all",
				w->clusters[i]->name, w->clusters[0]->name);
	pilot_policy_tcp(j, t, w->clusters[0]->name);
}

Listener__Filter *pilot_tcp_route_filter(struct pilot_job *j, const struct pilot_filter_in *f,
	const char *stat_prefix, Nw__RouteDestination **dst, size_t n, const struct pilot_vs *vs,
	const char *path, uint16_t port)
{
	if (n == 1)
		return pilot_tcp_filter(j, f, stat_prefix,
			pilot_dest_cluster(j, dst[0]->destination, vs, path, port));
	Tcpproxy__TcpProxy *t = pb_new(j->a, tcpproxy__tcp_proxy);
	Tcpproxy__TcpProxy__WeightedCluster *w =
		pb_new(j->a, tcpproxy__tcp_proxy__weighted_cluster);
	t->stat_prefix = pb_s(stat_prefix);
	for (size_t i = 0; i < n; i++) {
		if (dst[i]->weight <= 0)
			continue;
		Tcpproxy__TcpProxy__WeightedCluster__ClusterWeight *cw =
			pb_new(j->a, tcpproxy__tcp_proxy__weighted_cluster__cluster_weight);
		cw->name = pb_s(pilot_dest_cluster(j, dst[i]->destination, vs, path, port));
		cw->weight = (uint32_t)dst[i]->weight;
		pb_add(j->a, w, clusters, cw);
	}
	if (!w->n_clusters)
		return pilot_tcp_filter(j, f, stat_prefix, "BlackHoleCluster");
	t->cluster_specifier_case = TCPPROXY__TCP_PROXY__CLUSTER_SPECIFIER_WEIGHTED_CLUSTERS;
	t->weighted_clusters = w;
	weighted_settings(j, t, vs, path);
	return tcp_done(j, f, t);
}
