/* What the mesh configuration says and Pilot has no use for: the object is told, field by field. Many
 * of these are for other programs (the agent has its own options, Kubernetes ingress its own
 * controller) or for a protocol that is gone (refresh delays of polling). */
#include <string.h>

#include "common/base/strs.h"
#include "common/schema/tls_names.h"
#include "pilot/model/index.h"

struct field {
	const char *name;
	const char *why; /* NULL: obeyed */
};

static const struct field mesh_fields[] = {
#define MESH(name) { #name, NULL },
#define MESH_NOTE(name, why) { #name, why },
#define PROXY(name)
#define AGENT(name)
#define PROXY_NOTE(name, why)
#include "pilot/model/mesh_fields.def"
#undef MESH
#undef MESH_NOTE
#undef PROXY
#undef AGENT
#undef PROXY_NOTE
};

static const struct field proxy_fields[] = {
#define MESH(name)
#define MESH_NOTE(name, why)
#define PROXY(name) { #name, NULL },
#define AGENT(name) { #name, "takes effect when the agent starts a proxy next" },
#define PROXY_NOTE(name, why) { #name, why },
#include "pilot/model/mesh_fields.def"
#undef MESH
#undef MESH_NOTE
#undef PROXY
#undef AGENT
#undef PROXY_NOTE
};

static bool is_set(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f)
{
	const char *v = (const char *)m + f->offset;
	const char *q = (const char *)m + f->quantifier_offset;
	if (f->label == PROTOBUF_C_LABEL_REPEATED)
		return *(const size_t *)q > 0;
	if (f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF)
		return *(const uint32_t *)q == f->id;
	switch (f->type) {
	case PROTOBUF_C_TYPE_MESSAGE: return *(const void *const *)v != NULL;
	case PROTOBUF_C_TYPE_STRING: return !mt_str_empty(*(const char *const *)v);
	case PROTOBUF_C_TYPE_BOOL: return *(const protobuf_c_boolean *)v;
	case PROTOBUF_C_TYPE_DOUBLE: return *(const double *)v != 0;
	default: return *(const uint32_t *)v != 0;
	}
}

/* snake_case to the name that users write. */
static const char *camel(struct mt_arena *a, const char *s)
{
	char *r = mt_arena_strdup(a, s), *w = r;
	for (; *s; s++)
		*w++ = *s == '_' && s[1] ? (char)(*++s >= 'a' && *s <= 'z' ? *s - 32 : *s) : *s;
	*w = '\0';
	return r;
}

static void note(struct pilot_index *ix, const char *path, const char *why)
{
	pilot_note_add(ix->arena, &ix->notes, ix->mesh.id, PILOT_NOTE_IGNORED, path, "%s", why);
}

static const char *why_not(const struct field *v, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(v[i].name, name) == 0)
			return v[i].why;
	return "is not known to Pilot";
}

static void fields(struct pilot_index *ix, const ProtobufCMessage *m, const char *prefix,
	const struct field *v, size_t n)
{
	for (unsigned i = 0; i < m->descriptor->n_fields; i++) {
		const ProtobufCFieldDescriptor *f = &m->descriptor->fields[i];
		const char *why = is_set(m, f) ? why_not(v, n, f->name) : NULL;
		if (why)
			note(ix,
				mt_arena_printf(
					ix->arena, "%s.%s", prefix, camel(ix->arena, f->name)),
				why);
	}
}

static void tls(struct pilot_index *ix, const char *path, const Mesh__MeshConfig__TLSConfig *t)
{
	for (size_t i = 0; t && i < t->n_cipher_suites; i++)
		if (!mt_tls_is_cipher(t->cipher_suites[i]))
			note(ix, mt_arena_printf(ix->arena, "%s.cipherSuites[%zu]", path, i),
				"is not known to Envoy");
	for (size_t i = 0; t && i < t->n_ecdh_curves; i++)
		if (!mt_tls_is_curve(t->ecdh_curves[i]))
			note(ix, mt_arena_printf(ix->arena, "%s.ecdhCurves[%zu]", path, i),
				"is not known to Envoy");
}

/* What parts of defaultConfig say that nobody reads. */
static void proxy_parts(struct pilot_index *ix, const Mesh__ProxyConfig *c)
{
	const Mesh__ProxyConfig__ConnectionSettings *s = c->connection_settings;
	if (c->proxy_headers && c->proxy_headers->metadata_exchange_headers)
		note(ix, "spec.defaultConfig.proxyHeaders.metadataExchangeHeaders",
			"proxies tell each other nothing in such headers");
	if (s && s->profile)
		note(ix, "spec.defaultConfig.connectionSettings.profile",
			"gateways have the settings of an edge: say the others one by one");
	if (s && s->listener_connection_limit)
		note(ix, "spec.defaultConfig.connectionSettings.listenerConnectionLimit",
			"is a runtime value: envoy.resource_limits.listener.NAME.connection_limit");
	if (s && s->global_downstream_connection_limit)
		note(ix, "spec.defaultConfig.connectionSettings.globalDownstreamConnectionLimit",
			"takes effect when the agent starts a proxy next");
	if (c->tracing && c->tracing->tls_settings)
		note(ix, "spec.defaultConfig.tracing.tlsSettings",
			"spans go in plaintext: name a provider whose service has a rule with TLS");
	if (c->tracing && c->tracing->enable_istio_tags)
		note(ix, "spec.defaultConfig.tracing.enableIstioTags",
			"tags are those that are named");
	if (c->envoy_access_log_service && c->envoy_access_log_service->tls_settings)
		note(ix, "spec.defaultConfig.envoyAccessLogService.tlsSettings",
			"logs go in plaintext: name a provider whose service has a rule with TLS");
}

void pilot_mesh_notes(struct pilot_index *ix)
{
	const Mesh__MeshConfig *m = ix->mesh.spec;
	fields(ix, &m->base, "spec", mesh_fields, MT_ARRAY_SIZE(mesh_fields));
	tls(ix, "spec.meshMTLS", m->mesh_mtls);
	tls(ix, "spec.tlsDefaults", m->tls_defaults);
	if (!m->default_config)
		return;
	fields(ix, &m->default_config->base, "spec.defaultConfig", proxy_fields,
		MT_ARRAY_SIZE(proxy_fields));
	proxy_parts(ix, m->default_config);
}
