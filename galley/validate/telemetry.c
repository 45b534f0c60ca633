/* Telemetry objects, and the providers of the mesh configuration that they name. */
#include "istio/telemetry/v1alpha1/telemetry.pb-c.h"

#include <jansson.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/strs.h"
#include "galley/validate/check.h"
#include "galley/validate/telemetry.h"

static void providers(const struct check *c, const char *path, Telemetry__ProviderRef **v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (mt_str_empty(v[i]->name))
			fault(c, at(c, "%s.providers[%zu].name", path, i), "is missing");
}

static void tag(const struct check *c, const char *path, const Telemetry__Tracing__CustomTag *t)
{
	switch (t ? t->type_case : TELEMETRY__TRACING__CUSTOM_TAG__TYPE__NOT_SET) {
	case TELEMETRY__TRACING__CUSTOM_TAG__TYPE_LITERAL:
		if (mt_str_empty(t->literal->value))
			fault(c, at(c, "%s.literal.value", path), "is missing");
		return;
	case TELEMETRY__TRACING__CUSTOM_TAG__TYPE_ENVIRONMENT:
		if (mt_str_empty(t->environment->name))
			fault(c, at(c, "%s.environment.name", path), "is missing");
		return;
	case TELEMETRY__TRACING__CUSTOM_TAG__TYPE_HEADER:
		check_header_name(c, at(c, "%s.header.name", path), t->header->name);
		return;
	case TELEMETRY__TRACING__CUSTOM_TAG__TYPE_FORMATTER:
		if (mt_str_empty(t->formatter->value))
			fault(c, at(c, "%s.formatter.value", path), "is missing");
		return;
	default: fault(c, path, "needs literal, environment, header or formatter");
	}
}

static void tracing(const struct check *c, const char *path, const Telemetry__Tracing *t)
{
	providers(c, path, t->providers, t->n_providers);
	if (t->n_providers > 1)
		fault(c, at(c, "%s.providers", path), "one tracer at a time: a proxy has one");
	if (t->random_sampling_percentage &&
		(t->random_sampling_percentage->value < 0 ||
			t->random_sampling_percentage->value > 100))
		fault(c, at(c, "%s.randomSamplingPercentage", path), "%g is not between 0 and 100",
			t->random_sampling_percentage->value);
	for (size_t i = 0; i < t->n_custom_tags; i++) {
		if (mt_str_empty(t->custom_tags[i]->key))
			fault(c, at(c, "%s.customTags", path), "a tag needs a name");
		tag(c, at(c, "%s.customTags[\"%s\"]", path, t->custom_tags[i]->key),
			t->custom_tags[i]->value);
	}
	if (t->enable_istio_tags || t->disable_context_propagation)
		remark(c, path, "enableIstioTags and disableContextPropagation have no effect");
}

void galley_check_telemetry(const struct check *c, const ProtobufCMessage *spec)
{
	const Telemetry__Telemetry *t = (const Telemetry__Telemetry *)spec;

	for (size_t i = 0; t->selector && i < t->selector->n_match_labels; i++)
		check_label(c, "spec.selector.matchLabels", t->selector->match_labels[i]->key,
			t->selector->match_labels[i]->value);
	if (t->selector && (t->targetref || t->n_targetrefs))
		fault(c, "spec.selector", "say selector or targetRefs, not both");
	for (size_t i = 0; i < t->n_tracing; i++)
		tracing(c, at(c, "spec.tracing[%zu]", i), t->tracing[i]);
	for (size_t i = 0; i < t->n_access_logging; i++) {
		const Telemetry__AccessLogging *l = t->access_logging[i];
		const char *path = at(c, "spec.accessLogging[%zu]", i);
		providers(c, path, l->providers, l->n_providers);
		if (l->filter && mt_str_empty(l->filter->expression))
			fault(c, at(c, "%s.filter.expression", path), "is missing");
	}
	if (t->n_metrics)
		remark(c, "spec.metrics", "has no effect: metrics are Mixer's");
}

/* ---- providers of the mesh configuration ---- */

typedef Mesh__MeshConfig__ExtensionProvider provider;

static void service(const struct check *c, const char *path, const char *host, uint32_t port)
{
	const char *slash = strchr(host ? host : "", '/');

	if (mt_str_empty(host))
		fault(c, at(c, "%s.service", path), "is missing");
	else
		check_host(c, at(c, "%s.service", path), slash ? slash + 1 : host, false);
	check_port(c, at(c, "%s.port", path), port);
}

#define SERVICE(CASE, member, name)                                                                \
	case MESH__MESH_CONFIG__EXTENSION_PROVIDER__PROVIDER_##CASE:                               \
		service(c, at(c, "%s." name, path), p->member->service, p->member->port);          \
		return

static void one_provider(const struct check *c, const char *path, const provider *p)
{
	switch (p->provider_case) {
		SERVICE(ENVOY_EXT_AUTHZ_HTTP, envoy_ext_authz_http, "envoyExtAuthzHttp");
		SERVICE(ENVOY_EXT_AUTHZ_GRPC, envoy_ext_authz_grpc, "envoyExtAuthzGrpc");
		SERVICE(ZIPKIN, zipkin, "zipkin");
		SERVICE(DATADOG, datadog, "datadog");
		SERVICE(SKYWALKING, skywalking, "skywalking");
		SERVICE(ENVOY_HTTP_ALS, envoy_http_als, "envoyHttpAls");
		SERVICE(ENVOY_TCP_ALS, envoy_tcp_als, "envoyTcpAls");
		SERVICE(ENVOY_OTEL_ALS, envoy_otel_als, "envoyOtelAls");
		SERVICE(OPENTELEMETRY, opentelemetry, "opentelemetry");
	case MESH__MESH_CONFIG__EXTENSION_PROVIDER__PROVIDER__NOT_SET:
		fault(c, path,
			"says not what it is: zipkin, opentelemetry, envoyFileAccessLog, ...");
		return;
	case MESH__MESH_CONFIG__EXTENSION_PROVIDER__PROVIDER_ENVOY_FILE_ACCESS_LOG: return;
	default:
		remark(c, path,
			"\"%s\" is of a kind that Envoy no longer has, or that is not served",
			p->name);
	}
}

void galley_check_providers(const struct check *c, const Mesh__MeshConfig *m)
{
	for (size_t i = 0; i < m->n_extension_providers; i++) {
		const provider *p = m->extension_providers[i];
		const char *path = at(c, "spec.extensionProviders[%zu]", i);
		if (mt_str_empty(p->name))
			fault(c, at(c, "%s.name", path), "is missing");
		for (size_t k = 0; k < i; k++)
			if (strcmp(m->extension_providers[k]->name, p->name) == 0)
				fault(c, at(c, "%s.name", path), "\"%s\" is already defined",
					p->name);
		one_provider(c, path, p);
	}
}

void galley_check_json_format(const struct check *c, const char *path, const char *text)
{
	json_error_t e;
	json_t *j = json_loads(text, JSON_REJECT_DUPLICATES, &e);

	if (!j)
		fault(c, path, "is not JSON, as accessLogEncoding says it is: %s", e.text);
	else if (!json_is_object(j))
		fault(c, path, "is not a JSON object");
	json_decref(j);
}
