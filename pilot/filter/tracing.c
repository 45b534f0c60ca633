/* Spans: the tracer of a connection manager, its sampling, and tags.
 *
 * The name of the service in a span is Envoy's own for Zipkin (its node's cluster), and for
 * OpenTelemetry and Datadog the application's label and namespace, so that proxies of one application
 * share their listeners. */
#include <stdlib.h>
#include <string.h>

#include "common/base/strs.h"
#include "envoy/config/trace/v3/trace.pb-c.h"
#include "envoy/extensions/request_id/uuid/v3/uuid.pb-c.h"
#include "envoy/extensions/tracers/opentelemetry/resource_detectors/v3/environment.pb-c.h"
#include "pilot/filter/telemetry.h"

static const char *service_name(struct pilot_job *j)
{
	static const char *const keys[] = { "service.istio.io/canonical-name", "app" };
	for (size_t i = 0; i < MT_ARRAY_SIZE(keys); i++) {
		const char *v = pilot_label(j->p->labels, j->p->nlabels, keys[i]);
		if (v)
			return mt_arena_printf(j->a, "%s.%s", v, j->p->ns);
	}
	return mt_arena_printf(j->a, "istio-proxy.%s", j->p->ns);
}

typedef Mesh__MeshConfig__ExtensionProvider__HttpHeader header;

static const char *header_value(struct pilot_job *j, const header *h)
{
	if (h->header_value_case ==
		MESH__MESH_CONFIG__EXTENSION_PROVIDER__HTTP_HEADER__HEADER_VALUE_VALUE)
		return h->value;
	/* The proxy's environment, not Pilot's. */
	return mt_arena_printf(j->a, "%%ENVIRONMENT(%s)%%", h->env_name);
}

static Core__HttpService *http_service(struct pilot_job *j, const struct pilot_provider *p,
	const char *path, int64_t timeout_ns, header *const *headers, size_t n)
{
	Core__HttpService *s = pb_new(j->a, core__http_service);
	s->http_uri = pb_new(j->a, core__http_uri);
	s->http_uri->uri = mt_arena_printf(j->a, "http://%s%s", p->host, path);
	s->http_uri->http_upstream_type_case = CORE__HTTP_URI__HTTP_UPSTREAM_TYPE_CLUSTER;
	s->http_uri->cluster = pb_s(p->cluster);
	s->http_uri->timeout = pb_dur(j->a, timeout_ns ? timeout_ns : 5 * MT_NS_PER_SEC);
	for (size_t i = 0; i < n; i++)
		pb_add(j->a, s, request_headers_to_add,
			pb_header(j->a, headers[i]->name, header_value(j, headers[i]), false));
	return s;
}

static const ProtobufCMessage *zipkin(struct pilot_job *j, const struct pilot_provider *p,
	const Mesh__MeshConfig__ExtensionProvider__ZipkinTracingProvider *z)
{
	Trace__ZipkinConfig *m = pb_new(j->a, trace__zipkin_config);
	const char *path = z && *z->path ? z->path : "/api/v2/spans";
	m->collector_endpoint_version = TRACE__ZIPKIN_CONFIG__COLLECTOR_ENDPOINT_VERSION__HTTP_JSON;
	m->trace_id_128bit = !z || !z->enable_64bit_trace_id;
	m->shared_span_context = pb_bool(j->a, false);
	if (z)
		m->trace_context_option =
			(Trace__ZipkinConfig__TraceContextOption)z->trace_context_option;
	if (z && (z->n_headers || z->timeout)) {
		m->collector_service =
			http_service(j, p, path, pb_dur_ns(z->timeout), z->headers, z->n_headers);
		return &m->base;
	}
	m->collector_cluster = pb_s(p->cluster);
	m->collector_endpoint = pb_s(path);
	m->collector_hostname = pb_s(p->host);
	return &m->base;
}

static const ProtobufCMessage *opentelemetry(struct pilot_job *j, const struct pilot_provider *p)
{
	const Mesh__MeshConfig__ExtensionProvider__OpenTelemetryTracingProvider *o =
		p->ext->opentelemetry;
	Trace__OpenTelemetryConfig *m = pb_new(j->a, trace__open_telemetry_config);
	m->service_name = pb_s(service_name(j));
	if (o->http) {
		m->http_service = http_service(j, p, *o->http->path ? o->http->path : "/v1/traces",
			pb_dur_ns(o->http->timeout), o->http->headers, o->http->n_headers);
	} else {
		m->grpc_service =
			pb_grpc(j->a, p->cluster, o->grpc ? pb_dur_ns(o->grpc->timeout) : 0);
		for (size_t i = 0; o->grpc && i < o->grpc->n_initial_metadata; i++) {
			Core__HeaderValue *h = pb_new(j->a, core__header_value);
			h->key = o->grpc->initial_metadata[i]->name;
			h->value = pb_s(header_value(j, o->grpc->initial_metadata[i]));
			pb_add(j->a, m->grpc_service, initial_metadata, h);
		}
	}
	if (o->resource_detectors && o->resource_detectors->environment) {
		Core__TypedExtensionConfig *d = pb_new(j->a, core__typed_extension_config);
		Oteldetect__EnvironmentResourceDetectorConfig *e =
			pb_new(j->a, oteldetect__environment_resource_detector_config);
		d->name = pb_s("envoy.tracers.opentelemetry.resource_detectors.environment");
		d->typed_config = mt_pb_any(j->a, &e->base);
		pb_add(j->a, m, resource_detectors, d);
	}
	if (o->dynatrace_sampler || (o->resource_detectors && o->resource_detectors->dynatrace))
		pilot_job_note(j, j->mesh->id, PILOT_NOTE_IGNORED, "spec.extensionProviders",
			"provider %s: what belongs to Dynatrace is left out", p->ext->name);
	return &m->base;
}

static const ProtobufCMessage *datadog(struct pilot_job *j, const struct pilot_provider *p)
{
	Trace__DatadogConfig *m = pb_new(j->a, trace__datadog_config);
	m->collector_cluster = pb_s(p->cluster);
	m->service_name = pb_s(service_name(j));
	m->collector_hostname = pb_s(p->host);
	return &m->base;
}

static const ProtobufCMessage *skywalking(struct pilot_job *j, const struct pilot_provider *p)
{
	const char *token = p->ext->skywalking->access_token;
	Trace__SkyWalkingConfig *m = pb_new(j->a, trace__sky_walking_config);
	m->grpc_service = pb_grpc(j->a, p->cluster, 0);
	if (*token) {
		m->client_config = pb_new(j->a, trace__client_config);
		m->client_config->backend_token_specifier_case =
			TRACE__CLIENT_CONFIG__BACKEND_TOKEN_SPECIFIER_BACKEND_TOKEN;
		m->client_config->backend_token = pb_s(token);
	}
	return &m->base;
}

static bool is_datadog(const struct pilot_job *j)
{
	const Mesh__ProxyConfig *c = j->mesh->spec->default_config;
	return c && c->tracing && c->tracing->tracer_case == MESH__TRACING__TRACER_DATADOG;
}

/* The tracer, and the provider's own limit of a tag's length (0: none). */
static const ProtobufCMessage *tracer(struct pilot_job *j, const struct pilot_provider *p,
	uint32_t id, const char **ret_name, uint32_t *ret_max)
{
	*ret_max = 0;
	*ret_name = "envoy.tracers.zipkin";
	if (!p->ext && p->host && !is_datadog(j))
		return zipkin(j, p, NULL);
	if (p->ext &&
		p->ext->provider_case == MESH__MESH_CONFIG__EXTENSION_PROVIDER__PROVIDER_ZIPKIN) {
		*ret_max = p->ext->zipkin->max_tag_length;
		return zipkin(j, p, p->ext->zipkin);
	}
	*ret_name = "envoy.tracers.opentelemetry";
	if (p->ext &&
		p->ext->provider_case ==
			MESH__MESH_CONFIG__EXTENSION_PROVIDER__PROVIDER_OPENTELEMETRY) {
		*ret_max = p->ext->opentelemetry->max_tag_length;
		return opentelemetry(j, p);
	}
	*ret_name = "envoy.tracers.skywalking";
	if (p->ext &&
		p->ext->provider_case == MESH__MESH_CONFIG__EXTENSION_PROVIDER__PROVIDER_SKYWALKING)
		return skywalking(j, p);
	*ret_name = "envoy.tracers.datadog";
	if ((!p->ext && p->host) ||
		(p->ext &&
			p->ext->provider_case ==
				MESH__MESH_CONFIG__EXTENSION_PROVIDER__PROVIDER_DATADOG)) {
		*ret_max = p->ext ? p->ext->datadog->max_tag_length : 0;
		return datadog(j, p);
	}
	pilot_job_note(j, id, PILOT_NOTE_IGNORED, "spec",
		"provider %s is not for tracing, or of a kind that Envoy lacks",
		p->ext ? p->ext->name : p->cluster);
	return NULL;
}

/* ---- tags ---- */

static Etracing__CustomTag *tag_new(struct pilot_job *j, const char *name)
{
	Etracing__CustomTag *t = pb_new(j->a, etracing__custom_tag);
	t->tag = pb_s(name);
	return t;
}

static void tag_literal(struct pilot_job *j, Etracing__CustomTag *t, const char *value)
{
	t->type_case = ETRACING__CUSTOM_TAG__TYPE_LITERAL;
	t->literal = pb_new(j->a, etracing__custom_tag__literal);
	t->literal->value = pb_s(value);
}

static void tag_environment(
	struct pilot_job *j, Etracing__CustomTag *t, const char *name, const char *def)
{
	t->type_case = ETRACING__CUSTOM_TAG__TYPE_ENVIRONMENT;
	t->environment = pb_new(j->a, etracing__custom_tag__environment);
	t->environment->name = pb_s(name);
	t->environment->default_value = pb_s(def);
}

static void tag_header(
	struct pilot_job *j, Etracing__CustomTag *t, const char *name, const char *def)
{
	t->type_case = ETRACING__CUSTOM_TAG__TYPE_REQUEST_HEADER;
	t->request_header = pb_new(j->a, etracing__custom_tag__header);
	t->request_header->name = pb_s(name);
	t->request_header->default_value = pb_s(def);
}

static Etracing__CustomTag *tag_telemetry(
	struct pilot_job *j, const Telemetry__Tracing__CustomTagsEntry *e)
{
	const Telemetry__Tracing__CustomTag *c = e->value;
	Etracing__CustomTag *t = tag_new(j, e->key);
	switch (c ? c->type_case : TELEMETRY__TRACING__CUSTOM_TAG__TYPE__NOT_SET) {
	case TELEMETRY__TRACING__CUSTOM_TAG__TYPE_LITERAL:
		tag_literal(j, t, c->literal->value);
		return t;
	case TELEMETRY__TRACING__CUSTOM_TAG__TYPE_ENVIRONMENT:
		tag_environment(j, t, c->environment->name, c->environment->default_value);
		return t;
	case TELEMETRY__TRACING__CUSTOM_TAG__TYPE_HEADER:
		tag_header(j, t, c->header->name, c->header->default_value);
		return t;
	case TELEMETRY__TRACING__CUSTOM_TAG__TYPE_FORMATTER:
		t->type_case = ETRACING__CUSTOM_TAG__TYPE_VALUE;
		t->value = c->formatter->value;
		return t;
	default: return NULL;
	}
}

static Etracing__CustomTag *tag_mesh(struct pilot_job *j, const Mesh__Tracing__CustomTagsEntry *e)
{
	const Mesh__Tracing__CustomTag *c = e->value;
	Etracing__CustomTag *t = tag_new(j, e->key);
	switch (c ? c->type_case : MESH__TRACING__CUSTOM_TAG__TYPE__NOT_SET) {
	case MESH__TRACING__CUSTOM_TAG__TYPE_LITERAL:
		tag_literal(j, t, c->literal->value);
		return t;
	case MESH__TRACING__CUSTOM_TAG__TYPE_ENVIRONMENT:
		tag_environment(j, t, c->environment->name, c->environment->default_value);
		return t;
	case MESH__TRACING__CUSTOM_TAG__TYPE_HEADER:
		tag_header(j, t, c->header->name, c->header->default_value);
		return t;
	default: return NULL;
	}
}

static int by_tag(const void *a, const void *b)
{
	return strcmp(
		(*(Etracing__CustomTag *const *)a)->tag, (*(Etracing__CustomTag *const *)b)->tag);
}

/* A Telemetry object's tags replace those of the mesh configuration. */
static void tags(struct pilot_job *j, Hcm__HttpConnectionManager__Tracing *m,
	const struct pilot_trace_use *u, const Mesh__Tracing *mesh)
{
	for (size_t i = 0; i < u->ntags; i++) {
		Etracing__CustomTag *t = tag_telemetry(j, u->tags[i]);
		if (t)
			pb_add(j->a, m, custom_tags, t);
	}
	for (size_t i = 0; !u->ntags && mesh && i < mesh->n_custom_tags; i++) {
		Etracing__CustomTag *t = tag_mesh(j, mesh->custom_tags[i]);
		if (t)
			pb_add(j->a, m, custom_tags, t);
	}
	if (m->n_custom_tags > 1)
		qsort(m->custom_tags, m->n_custom_tags, sizeof(*m->custom_tags), by_tag);
}

static Etype__Percent *percent(struct pilot_job *j, double v)
{
	Etype__Percent *p = pb_new(j->a, etype__percent);
	p->value = v;
	return p;
}

/* Envoy's own unless a Telemetry object says otherwise. */
Hcm__RequestIDExtension *pilot_request_id(const struct pilot_filter_in *in)
{
	if (!pilot_side_of(in)->trace.request_id_apart)
		return NULL;
	Requuid__UuidRequestIdConfig *m = pb_new(in->j->a, requuid__uuid_request_id_config);
	m->use_request_id_for_trace_sampling = pb_bool(in->j->a, false);
	Hcm__RequestIDExtension *e = pb_new(in->j->a, hcm__request_idextension);
	e->typed_config = mt_pb_any(in->j->a, &m->base);
	return e;
}

Hcm__HttpConnectionManager__Tracing *pilot_tracing(const struct pilot_filter_in *in)
{
	struct pilot_job *j = in->j;
	const struct pilot_trace_use *u = &pilot_side_of(in)->trace;
	const Mesh__ProxyConfig *c = j->mesh->spec->default_config;
	const Mesh__Tracing *mesh = c ? c->tracing : NULL;
	struct pilot_provider p;
	const char *name;
	uint32_t max;
	if (!u->provider || !pilot_provider(j, u->provider, u->id, &p))
		return NULL;
	const ProtobufCMessage *t = tracer(j, &p, u->id, &name, &max);
	if (!t)
		return NULL;
	Hcm__HttpConnectionManager__Tracing *m =
		pb_new(j->a, hcm__http_connection_manager__tracing);
	m->client_sampling = percent(j, 100);
	m->random_sampling = percent(j, u->sampling);
	m->overall_sampling = percent(j, 100);
	m->provider = pb_new(j->a, trace__tracing__http);
	m->provider->name = pb_s(name);
	m->provider->config_type_case = TRACE__TRACING__HTTP__CONFIG_TYPE_TYPED_CONFIG;
	m->provider->typed_config = mt_pb_any(j->a, t);
	if (!max && mesh)
		max = mesh->max_path_tag_length;
	if (max)
		m->max_path_tag_length = pb_u32(j->a, max);
	tags(j, m, u, mesh);
	pilot_prov_add(j, u->id);
	return m;
}
