/* Connection managers and TCP proxies: the network filters that end every chain. */
#include <string.h>

#include "common/base/strs.h"
#include "envoy/extensions/access_loggers/file/v3/file.pb-c.h"
#include "envoy/extensions/filters/network/tcp_proxy/v3/tcp_proxy.pb-c.h"
#include "pilot/translate/listener.h"

static Accesslog__AccessLog *file_log(struct pilot_job *j)
{
	const struct pilot_mesh *m = j->mesh;
	if (!m->access_log_file)
		return NULL;
	Filelog__FileAccessLog *f = pb_new(j->a, filelog__file_access_log);
	f->path = pb_s(m->access_log_file);
	if (m->access_log_format && !m->access_log_json) {
		Core__SubstitutionFormatString *s = pb_new(j->a, core__substitution_format_string);
		s->format_case = CORE__SUBSTITUTION_FORMAT_STRING__FORMAT_TEXT_FORMAT_SOURCE;
		s->text_format_source = pb_new(j->a, core__data_source);
		s->text_format_source->specifier_case = CORE__DATA_SOURCE__SPECIFIER_INLINE_STRING;
		s->text_format_source->inline_string = pb_s(m->access_log_format);
		f->access_log_format_case = FILELOG__FILE_ACCESS_LOG__ACCESS_LOG_FORMAT_LOG_FORMAT;
		f->log_format = s;
	}
	Accesslog__AccessLog *a = pb_new(j->a, accesslog__access_log);
	a->name = pb_s("envoy.access_loggers.file");
	a->config_type_case = ACCESSLOG__ACCESS_LOG__CONFIG_TYPE_TYPED_CONFIG;
	a->typed_config = mt_pb_any(j->a, &f->base);
	return a;
}

static void client_certificates(struct pilot_job *j, Hcm__HttpConnectionManager *m, int at)
{
	if (at == PILOT_AT_OUTBOUND)
		return; /* what the application claims about certificates is dropped */
	/* Only a verified certificate is appended; a header from a plaintext peer is dropped. */
	m->forward_client_cert_details = at == PILOT_AT_GATEWAY
		? HCM__HTTP_CONNECTION_MANAGER__FORWARD_CLIENT_CERT_DETAILS__SANITIZE_SET
		: HCM__HTTP_CONNECTION_MANAGER__FORWARD_CLIENT_CERT_DETAILS__APPEND_FORWARD;
	m->set_current_client_cert_details =
		pb_new(j->a, hcm__http_connection_manager__set_current_client_cert_details);
	m->set_current_client_cert_details->subject = pb_bool(j->a, true);
	m->set_current_client_cert_details->dns = true;
	m->set_current_client_cert_details->uri = true;
}

Listener__Filter *pilot_hcm_filter(struct pilot_job *j, const struct pilot_hcm *h)
{
	struct mt_arena *a = j->a;
	Hcm__HttpConnectionManager *m = pb_new(a, hcm__http_connection_manager);
	m->stat_prefix = pb_s(h->stat_prefix);
	if (h->rds) {
		Hcm__Rds *rds = pb_new(a, hcm__rds);
		rds->config_source = pb_ads(a);
		rds->route_config_name = pb_s(h->rds);
		m->route_specifier_case = HCM__HTTP_CONNECTION_MANAGER__ROUTE_SPECIFIER_RDS;
		m->rds = rds;
	} else {
		m->route_specifier_case =
			HCM__HTTP_CONNECTION_MANAGER__ROUTE_SPECIFIER_ROUTE_CONFIG;
		m->route_config = h->routes;
	}
	bool gateway = h->f.at == PILOT_AT_GATEWAY;
	m->use_remote_address = pb_bool(a, gateway);
	if (gateway) /* nobody outside is trusted: what only the mesh may say is dropped */
		m->internal_address_config =
			pb_new(a, hcm__http_connection_manager__internal_address_config);
	m->server_name = pb_s("istio-envoy");
	if (h->f.at == PILOT_AT_INBOUND)
		m->server_header_transformation =
			HCM__HTTP_CONNECTION_MANAGER__SERVER_HEADER_TRANSFORMATION__PASS_THROUGH;
	m->normalize_path = pb_bool(a, true);
	m->stream_idle_timeout = pb_dur(a, 0); /* long streams live */
	client_certificates(j, m, h->f.at);
	Hcm__HttpConnectionManager__UpgradeConfig *ws =
		pb_new(a, hcm__http_connection_manager__upgrade_config);
	ws->upgrade_type = pb_s("websocket");
	pb_add(a, m, upgrade_configs, ws);
	m->http_protocol_options = pb_new(a, core__http1_protocol_options);
	m->http_protocol_options->accept_http_10 = true;
	pilot_filters_add(&h->f, m);
	Accesslog__AccessLog *log = file_log(j);
	if (log)
		pb_add(a, m, access_log, log);
	pilot_mixer_log_http(&h->f, m);
	return pb_filter(a, "envoy.filters.network.http_connection_manager", &m->base);
}

static Listener__Filter *tcp_done(
	struct pilot_job *j, const struct pilot_filter_in *f, Tcpproxy__TcpProxy *t)
{
	Accesslog__AccessLog *log = file_log(j), *mixer = pilot_mixer_log_tcp(f);
	if (log)
		pb_add(j->a, t, access_log, log);
	if (mixer)
		pb_add(j->a, t, access_log, mixer);
	return pb_filter(j->a, "envoy.filters.network.tcp_proxy", &t->base);
}

Listener__Filter *pilot_tcp_filter(struct pilot_job *j, const struct pilot_filter_in *f,
	const char *stat_prefix, const char *cluster)
{
	Tcpproxy__TcpProxy *t = pb_new(j->a, tcpproxy__tcp_proxy);
	t->stat_prefix = pb_s(stat_prefix);
	t->cluster_specifier_case = TCPPROXY__TCP_PROXY__CLUSTER_SPECIFIER_CLUSTER;
	t->cluster = pb_s(cluster);
	return tcp_done(j, f, t);
}

Listener__Filter *pilot_tcp_route_filter(struct pilot_job *j, const struct pilot_filter_in *f,
	const char *stat_prefix, Nw__RouteDestination **dst, size_t n, const struct pilot_vs *vs,
	uint16_t port)
{
	if (n == 1)
		return pilot_tcp_filter(
			j, f, stat_prefix, pilot_dest_cluster(j, dst[0]->destination, vs, port));
	Tcpproxy__TcpProxy *t = pb_new(j->a, tcpproxy__tcp_proxy);
	Tcpproxy__TcpProxy__WeightedCluster *w =
		pb_new(j->a, tcpproxy__tcp_proxy__weighted_cluster);
	t->stat_prefix = pb_s(stat_prefix);
	for (size_t i = 0; i < n; i++) {
		if (dst[i]->weight <= 0)
			continue;
		Tcpproxy__TcpProxy__WeightedCluster__ClusterWeight *cw =
			pb_new(j->a, tcpproxy__tcp_proxy__weighted_cluster__cluster_weight);
		cw->name = pb_s(pilot_dest_cluster(j, dst[i]->destination, vs, port));
		cw->weight = (uint32_t)dst[i]->weight;
		pb_add(j->a, w, clusters, cw);
	}
	if (!w->n_clusters)
		return pilot_tcp_filter(j, f, stat_prefix, "BlackHoleCluster");
	t->cluster_specifier_case = TCPPROXY__TCP_PROXY__CLUSTER_SPECIFIER_WEIGHTED_CLUSTERS;
	t->weighted_clusters = w;
	return tcp_done(j, f, t);
}
