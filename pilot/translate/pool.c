/* Connection pools: circuit breakers, keepalive, and the HTTP options of a cluster. */
#include "common/base/strs.h"
#include "pilot/translate/mesh_settings.h"
#include "pilot/translate/policy.h"
#include "pilot/translate/tls.h"

/* Only what is said is limited: Envoy's own default of 1,024 would surprise. */
static Google__Protobuf__UInt32Value *limit(struct pilot_job *j, int32_t v)
{
	return pb_u32(j->a, v > 0 ? (uint32_t)v : UINT32_MAX);
}

/* Envoy 1.40 has the field, 1.36 does not. */
static bool knows_interval(const struct pilot_proxy *p)
{
	return p->major > 1 || (p->major == 1 && p->minor >= 40);
}

/* Retries in flight as a share of the requests in flight, or of those of the last while; max_retries
 * has no say then. */
static Cluster__CircuitBreakers__Thresholds__RetryBudget *budget(
	struct pilot_job *j, const struct pilot_policy *pol)
{
	const Nw__TrafficPolicy__RetryBudget *b = pol->retry_budget;
	Cluster__CircuitBreakers__Thresholds__RetryBudget *m =
		pb_new(j->a, cluster__circuit_breakers__thresholds__retry_budget);
	if (b->percent) {
		m->budget_percent = pb_new(j->a, etype__percent);
		m->budget_percent->value = b->percent->value;
	}
	if (b->min_retry_concurrency)
		m->min_retry_concurrency = pb_u32(j->a, b->min_retry_concurrency);
	if (pb_dur_ns(b->budget_interval) > 0 && knows_interval(j->p))
		m->budget_interval = pb_dur_dup(j->a, b->budget_interval);
	else if (pb_dur_ns(b->budget_interval) > 0)
		pilot_job_note(j, pol->dr->ids[0], PILOT_NOTE_IGNORED,
			"spec.trafficPolicy.retryBudget.budgetInterval",
			"needs Envoy 1.40: the budget is of the requests that are active");
	return m;
}

void pilot_cluster_limits(struct pilot_job *j, Cluster__Cluster *c, const struct pilot_policy *pol)
{
	const Nw__ConnectionPoolSettings *pool = pol ? pol->pool : NULL;
	const Nw__ConnectionPoolSettings__TCPSettings *tcp = pool ? pool->tcp : NULL;
	const Nw__ConnectionPoolSettings__HTTPSettings *http = pool ? pool->http : NULL;
	Cluster__CircuitBreakers__Thresholds *t =
		pb_new(j->a, cluster__circuit_breakers__thresholds);
	t->max_connections = limit(j, tcp ? tcp->max_connections : 0);
	t->max_pending_requests = limit(j, http ? http->http1_max_pending_requests : 0);
	t->max_requests = limit(j, http ? http->http2_max_requests : 0);
	t->max_retries = limit(j, http ? http->max_retries : 0);
	if (pol && pol->retry_budget)
		t->retry_budget = budget(j, pol);
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
		d->http_protocol_options->header_key_format = pilot_header_case(j);
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
		e->http_protocol_options->header_key_format = pilot_header_case(j);
	}
}

/* The name to ask a TLS server for is the request's own, where the service has none. */
static Core__UpstreamHttpProtocolOptions *sni_of_request(
	struct pilot_job *j, const Nw__ClientTLSSettings *tls)
{
	Core__UpstreamHttpProtocolOptions *m = pb_new(j->a, core__upstream_http_protocol_options);
	m->auto_sni = true;
	m->auto_san_validation = pilot_tls_verifies(j, tls) && !tls->n_subject_alt_names;
	return m;
}

void pilot_cluster_http(struct pilot_job *j, Cluster__Cluster *c, enum pilot_protocol protocol,
	const struct pilot_policy *pol, const Nw__ClientTLSSettings *tls)
{
	const Nw__ConnectionPoolSettings *pool = pol ? pol->pool : NULL;
	bool codes = pol && pol->outlier && pol->outlier->n_outlier_detection_http_error_codes;
	bool h2 = pilot_protocol_is_h2(protocol);
	const Nw__ConnectionPoolSettings__HTTPSettings *http = pool ? pool->http : NULL;
	bool client = protocol == PILOT_AUTO || (http && http->use_client_protocol);
	Core__HttpProtocolOptions *common = common_http(j, pool);
	if (!h2 && !client && !common && !tls && !codes && !pilot_header_case(j))
		return;
	Uphttp__HttpProtocolOptions *o = pb_new(j->a, uphttp__http_protocol_options);
	o->common_http_protocol_options = common;
	if (tls)
		o->upstream_http_protocol_options = sni_of_request(j, tls);
	if (codes)
		o->outlier_detection = pilot_outlier_codes(j, pol->outlier);
	http_protocol(j, o, h2, client, http);
	Cluster__Cluster__TypedExtensionProtocolOptionsEntry *e =
		pb_new(j->a, cluster__cluster__typed_extension_protocol_options_entry);
	e->key = pb_s("envoy.extensions.upstreams.http.v3.HttpProtocolOptions");
	e->value = mt_pb_any(j->a, &o->base);
	pb_add(j->a, c, typed_extension_protocol_options, e);
}
