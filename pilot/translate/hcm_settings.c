/* What defaultConfig of the mesh says of HTTP: gatewayTopology, proxyHeaders, connectionSettings. */
#include "common/base/strs.h"
#include "envoy/extensions/http/header_formatters/preserve_case/v3/preserve_case.pb-c.h"
#include "pilot/filter/filter.h"
#include "pilot/translate/listener.h"
#include "pilot/translate/mesh_settings.h"

static const Mesh__ProxyConfig *config(const struct pilot_job *j)
{
	static const Mesh__ProxyConfig none = MESH__PROXY_CONFIG__INIT;
	return j->mesh->spec->default_config ? j->mesh->spec->default_config : &none;
}

const Mesh__ProxyConfig__ProxyHeaders *pilot_proxy_headers(const struct pilot_job *j)
{
	static const Mesh__ProxyConfig__ProxyHeaders none = MESH__PROXY_CONFIG__PROXY_HEADERS__INIT;
	return config(j)->proxy_headers ? config(j)->proxy_headers : &none;
}

const Mesh__ProxyConfig__ConnectionSettings *pilot_connection_settings(const struct pilot_job *j)
{
	static const Mesh__ProxyConfig__ConnectionSettings none =
		MESH__PROXY_CONFIG__CONNECTION_SETTINGS__INIT;
	return config(j)->connection_settings ? config(j)->connection_settings : &none;
}

bool pilot_reads_proxy_protocol(const struct pilot_job *j)
{
	const Mesh__Topology *t = config(j)->gateway_topology;
	return j->p->type == PILOT_ROUTER && t && t->proxy_protocol;
}

Core__Http1ProtocolOptions__HeaderKeyFormat *pilot_header_case(struct pilot_job *j)
{
	if (!pilot_is_true(pilot_proxy_headers(j)->preserve_http1_header_case))
		return NULL;
	Core__Http1ProtocolOptions__HeaderKeyFormat *f =
		pb_new(j->a, core__http1_protocol_options__header_key_format);
	Preservecase__PreserveCaseFormatterConfig *p =
		pb_new(j->a, preservecase__preserve_case_formatter_config);
	f->header_format_case =
		CORE__HTTP1_PROTOCOL_OPTIONS__HEADER_KEY_FORMAT__HEADER_FORMAT_STATEFUL_FORMATTER;
	f->stateful_formatter = pb_new(j->a, core__typed_extension_config);
	f->stateful_formatter->name = pb_s("preserve_case");
	f->stateful_formatter->typed_config = mt_pb_any(j->a, &p->base);
	return f;
}

/* ---- client certificates ---- */

/* Both enumerations count alike but for what is not said. */
static Mesh__ForwardClientCertDetails details(const struct pilot_job *j, int at)
{
	const Mesh__Topology *t = config(j)->gateway_topology;
	if (at == PILOT_AT_GATEWAY)
		return t ? t->forward_client_cert_details : 0;
	return pilot_proxy_headers(j)->forwarded_client_cert;
}

static void client_certificates(struct pilot_job *j, Hcm__HttpConnectionManager *m, int at)
{
	const Mesh__ProxyConfig__ProxyHeaders__SetCurrentClientCertDetails *set =
		at == PILOT_AT_INBOUND ? pilot_proxy_headers(j)->set_current_client_cert_details
				       : NULL;
	Hcm__HttpConnectionManager__SetCurrentClientCertDetails *d;
	if (at == PILOT_AT_OUTBOUND)
		return; /* what the application claims about certificates is dropped */
	/* Only a verified certificate is appended; a header from a plaintext peer is dropped. */
	m->forward_client_cert_details = at == PILOT_AT_GATEWAY
		? HCM__HTTP_CONNECTION_MANAGER__FORWARD_CLIENT_CERT_DETAILS__SANITIZE_SET
		: HCM__HTTP_CONNECTION_MANAGER__FORWARD_CLIENT_CERT_DETAILS__APPEND_FORWARD;
	if (details(j, at))
		m->forward_client_cert_details =
			(Hcm__HttpConnectionManager__ForwardClientCertDetails)(details(j, at) - 1);
	d = pb_new(j->a, hcm__http_connection_manager__set_current_client_cert_details);
	m->set_current_client_cert_details = d;
	if (set) {
		d->subject = pb_bool(j->a, pilot_is_true(set->subject));
		d->cert = pilot_is_true(set->cert);
		d->chain = pilot_is_true(set->chain);
		d->dns = pilot_is_true(set->dns);
		d->uri = pilot_is_true(set->uri);
		return;
	}
	d->subject = pb_bool(j->a, true);
	d->dns = true;
	d->uri = true;
}

/* ---- headers ---- */

static void headers(struct pilot_job *j, Hcm__HttpConnectionManager *m, int at)
{
	const Mesh__ProxyConfig__ProxyHeaders *h = pilot_proxy_headers(j);
	bool off = h->server && pilot_is_true(h->server->disabled);
	m->server_name = pb_s("istio-envoy");
	if (h->server && *h->server->value)
		m->server_name = h->server->value;
	/* The server's own name goes through its own proxy, unless one was chosen for all. */
	if (off || (at == PILOT_AT_INBOUND && !(h->server && *h->server->value)))
		m->server_header_transformation =
			HCM__HTTP_CONNECTION_MANAGER__SERVER_HEADER_TRANSFORMATION__PASS_THROUGH;
	if (h->request_id && pilot_is_true(h->request_id->disabled))
		m->generate_request_id = pb_bool(j->a, false);
	m->append_x_forwarded_port =
		h->x_forwarded_port && pilot_is_true(h->x_forwarded_port->enabled);
	m->http_protocol_options->header_key_format = pilot_header_case(j);
}

/* ---- connections ---- */

static Google__Protobuf__UInt32Value *count(
	struct pilot_job *j, const Google__Protobuf__Int32Value *v)
{
	return v && v->value > 0 ? pb_u32(j->a, (uint32_t)v->value) : NULL;
}

static void http2(struct pilot_job *j, Hcm__HttpConnectionManager *m,
	const Mesh__ProxyConfig__ConnectionSettings *s)
{
	if (!s->http_max_concurrent_streams && !s->http2_initial_stream_window_size &&
		!s->http2_initial_connection_window_size)
		return;
	Core__Http2ProtocolOptions *o = pb_new(j->a, core__http2_protocol_options);
	o->max_concurrent_streams = count(j, s->http_max_concurrent_streams);
	o->initial_stream_window_size = count(j, s->http2_initial_stream_window_size);
	o->initial_connection_window_size = count(j, s->http2_initial_connection_window_size);
	m->http2_protocol_options = o;
}

static void common(struct pilot_job *j, Hcm__HttpConnectionManager *m,
	const Mesh__ProxyConfig__ConnectionSettings *s)
{
	if (!s->http_idle_timeout && !s->http_max_connection_duration &&
		!s->http_max_stream_duration && !s->http_headers_with_underscores_action)
		return;
	Core__HttpProtocolOptions *o = pb_new(j->a, core__http_protocol_options);
	o->idle_timeout = pb_dur_dup(j->a, s->http_idle_timeout);
	o->max_connection_duration = pb_dur_dup(j->a, s->http_max_connection_duration);
	o->max_stream_duration = pb_dur_dup(j->a, s->http_max_stream_duration);
	if (s->http_headers_with_underscores_action)
		o->headers_with_underscores_action =
			(Core__HttpProtocolOptions__HeadersWithUnderscoresAction)(s->http_headers_with_underscores_action -
				1);
	m->common_http_protocol_options = o;
}

static void connections(struct pilot_job *j, Hcm__HttpConnectionManager *m)
{
	const Mesh__ProxyConfig__ConnectionSettings *s = pilot_connection_settings(j);
	m->stream_idle_timeout = s->http_stream_idle_timeout
		? pb_dur_dup(j->a, s->http_stream_idle_timeout)
		: pb_dur(j->a, 0); /* long streams live */
	m->drain_timeout = pb_dur_dup(j->a, s->http_drain_timeout);
	m->request_timeout = pb_dur_dup(j->a, s->http_request_timeout);
	m->request_headers_timeout = pb_dur_dup(j->a, s->http_request_headers_timeout);
	if (s->http_merge_slashes)
		m->merge_slashes = s->http_merge_slashes->value;
	/* Both enumerations count alike. */
	if (s->http_path_with_escaped_slashes_action)
		m->path_with_escaped_slashes_action =
			(Hcm__HttpConnectionManager__PathWithEscapedSlashesAction)
				s->http_path_with_escaped_slashes_action;
	http2(j, m, s);
	common(j, m, s);
}

void pilot_hcm_settings(struct pilot_job *j, Hcm__HttpConnectionManager *m, int at)
{
	const Mesh__Topology *t = config(j)->gateway_topology;
	if (at == PILOT_AT_GATEWAY && t)
		m->xff_num_trusted_hops = t->num_trusted_proxies;
	m->http_protocol_options = pb_new(j->a, core__http1_protocol_options);
	m->http_protocol_options->accept_http_10 = true;
	headers(j, m, at);
	connections(j, m);
	client_certificates(j, m, at);
}
