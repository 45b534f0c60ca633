/* Access logs: to files in text or JSON, to a gRPC service, as OpenTelemetry logs.
 *
 * Which ones is decided by pilot/model/telemetry.c; here each use becomes Envoy's message. A log that
 * cannot be made (a format that is no JSON object, a provider that is not there) is noted and left
 * out: traffic goes on without it. */
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/mem.h"
#include "common/base/strs.h"
#include "envoy/extensions/access_loggers/file/v3/file.pb-c.h"
#include "envoy/extensions/access_loggers/filters/cel/v3/cel.pb-c.h"
#include "envoy/extensions/access_loggers/grpc/v3/grpc.pb-c.h"
#include "envoy/extensions/access_loggers/open_telemetry/v3/open_telemetry.pb-c.h"
#include "pilot/filter/telemetry.h"

enum quoting { STAMP, REQUEST, PLAIN, QUOTED };
static const struct {
	const char *key, *op;
	enum quoting quoting;
} fields[] = {
#define LOG(key, op, quoting) { key, op, quoting },
#include "pilot/filter/access_log_fields.def"
#undef LOG
};

static char *default_text(struct mt_arena *a)
{
	struct mt_buf b = { 0 };
	for (size_t i = 0; i < MT_ARRAY_SIZE(fields); i++) {
		bool req = fields[i].quoting == REQUEST;
		bool open = req && fields[i - 1].quoting != REQUEST;
		bool close = req && fields[i + 1].quoting != REQUEST;
		mt_buf_printf(&b, "%s%s%s%s", i ? " " : "",
			fields[i].quoting == STAMP                    ? "["
				: open || fields[i].quoting == QUOTED ? "\""
								      : "",
			fields[i].op,
			fields[i].quoting == STAMP                     ? "]"
				: close || fields[i].quoting == QUOTED ? "\""
								       : "");
	}
	char *s = mt_arena_printf(a, "%s\n", mt_buf_str(&b));
	mt_buf_clear(&b);
	return s;
}

static void struct_add(
	struct mt_arena *a, Google__Protobuf__Struct *s, const char *key, const char *v)
{
	Google__Protobuf__Struct *one = pb_struct1(a, key, v);
	pb_add(a, s, fields, one->fields[0]);
}

static int by_key(const void *pa, const void *pb)
{
	return strcmp((*(Google__Protobuf__Struct__FieldsEntry *const *)pa)->key,
		(*(Google__Protobuf__Struct__FieldsEntry *const *)pb)->key);
}

static Google__Protobuf__Struct *default_json(struct mt_arena *a)
{
	Google__Protobuf__Struct *s = pb_new(a, google__protobuf__struct);
	for (size_t i = 0; i < MT_ARRAY_SIZE(fields); i++)
		struct_add(a, s, fields[i].key, fields[i].op);
	qsort(s->fields, s->n_fields, sizeof(*s->fields), by_key);
	return s;
}

/* A JSON object in the text of a field. */
static Google__Protobuf__Struct *parse_json(struct mt_arena *a, const char *text)
{
	struct mt_diags diags = { 0 };
	json_t *j = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	Google__Protobuf__Struct *s = NULL;
	if (json_is_object(j))
		s = (Google__Protobuf__Struct *)mt_pb_from_json(
			&google__protobuf__struct__descriptor, j, NULL, a, &diags);
	json_decref(j);
	mt_diags_clear(&diags);
	return s;
}

struct format {
	const char *text;               /* or: */
	Google__Protobuf__Struct *json; /* both NULL: the default text */
	bool omit_empty;
};

static Core__SubstitutionFormatString *format_string(struct mt_arena *a, const struct format *f)
{
	Core__SubstitutionFormatString *s = pb_new(a, core__substitution_format_string);
	s->omit_empty_values = f->omit_empty;
	if (f->json) {
		s->format_case = CORE__SUBSTITUTION_FORMAT_STRING__FORMAT_JSON_FORMAT;
		s->json_format = f->json;
		return s;
	}
	const char *text = f->text ? f->text : default_text(a);
	if (!mt_str_suffix(text, "\n"))
		text = mt_arena_printf(a, "%s\n", text);
	s->format_case = CORE__SUBSTITUTION_FORMAT_STRING__FORMAT_TEXT_FORMAT_SOURCE;
	s->text_format_source = pb_new(a, core__data_source);
	s->text_format_source->specifier_case = CORE__DATA_SOURCE__SPECIFIER_INLINE_STRING;
	s->text_format_source->inline_string = pb_s(text);
	return s;
}

static const ProtobufCMessage *file_log(
	struct pilot_job *j, const char *path, const struct format *f)
{
	Filelog__FileAccessLog *m = pb_new(j->a, filelog__file_access_log);
	m->path = pb_s(path);
	m->access_log_format_case = FILELOG__FILE_ACCESS_LOG__ACCESS_LOG_FORMAT_LOG_FORMAT;
	m->log_format = format_string(j->a, f);
	return &m->base;
}

/* accessLogFile, accessLogFormat, accessLogEncoding. */
static const ProtobufCMessage *mesh_file(struct pilot_job *j)
{
	const struct pilot_mesh *m = j->mesh;
	struct format f = { .text = m->access_log_json ? NULL : m->access_log_format };
	if (m->access_log_json && m->access_log_format) {
		f.json = parse_json(j->a, m->access_log_format);
		if (!f.json)
			pilot_job_note(j, m->id, PILOT_NOTE_INVALID, "spec.accessLogFormat",
				"is not a JSON object: the default fields are logged");
	}
	if (m->access_log_json && !f.json)
		f.json = default_json(j->a);
	return file_log(j, m->access_log_file ? m->access_log_file : "/dev/stdout", &f);
}

static const ProtobufCMessage *provider_file(struct pilot_job *j,
	const Mesh__MeshConfig__ExtensionProvider__EnvoyFileAccessLogProvider *p)
{
	struct format f = { .omit_empty = p->omit_empty_values };
	if (p->log_format &&
		p->log_format->log_format_case ==
			MESH__MESH_CONFIG__EXTENSION_PROVIDER__ENVOY_FILE_ACCESS_LOG_PROVIDER__LOG_FORMAT__LOG_FORMAT_TEXT)
		f.text = p->log_format->text;
	else if (p->log_format && p->log_format->labels)
		f.json = p->log_format->labels->n_fields ? p->log_format->labels
							 : default_json(j->a);
	return file_log(j, *p->path ? p->path : "/dev/stdout", &f);
}

static Grpclog__CommonGrpcAccessLogConfig *common(
	struct pilot_job *j, const char *cluster, const char *name, const char *def)
{
	Grpclog__CommonGrpcAccessLogConfig *c =
		pb_new(j->a, grpclog__common_grpc_access_log_config);
	c->log_name = pb_s(*name ? name : def);
	c->grpc_service = pb_grpc(j->a, cluster, 0);
	c->transport_api_version = CORE__API_VERSION__V3;
	return c;
}

static const ProtobufCMessage *http_als(struct pilot_job *j, const char *cluster,
	const Mesh__MeshConfig__ExtensionProvider__EnvoyHttpGrpcV3LogProvider *p)
{
	Grpclog__HttpGrpcAccessLogConfig *m = pb_new(j->a, grpclog__http_grpc_access_log_config);
	m->common_config = common(j, cluster, p ? p->log_name : "", "http_envoy_accesslog");
	if (!p)
		return &m->base;
	m->common_config->filter_state_objects_to_log = p->filter_state_objects_to_log;
	m->common_config->n_filter_state_objects_to_log = p->n_filter_state_objects_to_log;
	m->additional_request_headers_to_log = p->additional_request_headers_to_log;
	m->n_additional_request_headers_to_log = p->n_additional_request_headers_to_log;
	m->additional_response_headers_to_log = p->additional_response_headers_to_log;
	m->n_additional_response_headers_to_log = p->n_additional_response_headers_to_log;
	m->additional_response_trailers_to_log = p->additional_response_trailers_to_log;
	m->n_additional_response_trailers_to_log = p->n_additional_response_trailers_to_log;
	return &m->base;
}

static const ProtobufCMessage *tcp_als(struct pilot_job *j, const char *cluster,
	const Mesh__MeshConfig__ExtensionProvider__EnvoyTcpGrpcV3LogProvider *p)
{
	Grpclog__TcpGrpcAccessLogConfig *m = pb_new(j->a, grpclog__tcp_grpc_access_log_config);
	m->common_config = common(j, cluster, p ? p->log_name : "", "tcp_envoy_accesslog");
	if (p) {
		m->common_config->filter_state_objects_to_log = p->filter_state_objects_to_log;
		m->common_config->n_filter_state_objects_to_log = p->n_filter_state_objects_to_log;
	}
	return &m->base;
}

static Otelcommon__AnyValue *otel_string(struct pilot_job *j, const char *s)
{
	Otelcommon__AnyValue *v = pb_new(j->a, otelcommon__any_value);
	v->value_case = OTELCOMMON__ANY_VALUE__VALUE_STRING_VALUE;
	v->string_value = pb_s(s);
	return v;
}

static const ProtobufCMessage *otel(struct pilot_job *j, const char *cluster,
	const Mesh__MeshConfig__ExtensionProvider__EnvoyOpenTelemetryLogProvider *p)
{
	Otellog__OpenTelemetryAccessLogConfig *m =
		pb_new(j->a, otellog__open_telemetry_access_log_config);
	const Google__Protobuf__Struct *labels = p->log_format ? p->log_format->labels : NULL;
	const char *text =
		p->log_format && *p->log_format->text ? p->log_format->text : default_text(j->a);
	m->common_config = common(j, cluster, p->log_name, "otel_envoy_accesslog");
	m->body = otel_string(j, text);
	for (size_t i = 0; labels && i < labels->n_fields; i++) {
		const Google__Protobuf__Value *v = labels->fields[i]->value;
		if (!v || v->kind_case != GOOGLE__PROTOBUF__VALUE__KIND_STRING_VALUE)
			continue;
		if (!m->attributes)
			m->attributes = pb_new(j->a, otelcommon__key_value_list);
		Otelcommon__KeyValue *kv = pb_new(j->a, otelcommon__key_value);
		kv->key = labels->fields[i]->key;
		kv->value = otel_string(j, v->string_value);
		pb_add(j->a, m->attributes, values, kv);
	}
	return &m->base;
}

/* ---- one use ---- */

/* NULL: not for this protocol, or not known here (noted). */
static const ProtobufCMessage *config(struct pilot_job *j, const struct pilot_log_use *u,
	const struct pilot_provider *p, bool http, const char **ret_name)
{
	*ret_name = "envoy.access_loggers.file";
	if (!p->ext && !p->host)
		return mesh_file(j);
	*ret_name = http ? "envoy.access_loggers.http_grpc" : "envoy.access_loggers.tcp_grpc";
	if (!p->ext)
		return http ? http_als(j, p->cluster, NULL) : tcp_als(j, p->cluster, NULL);
	switch (p->ext->provider_case) {
	case MESH__MESH_CONFIG__EXTENSION_PROVIDER__PROVIDER_ENVOY_FILE_ACCESS_LOG:
		*ret_name = "envoy.access_loggers.file";
		return provider_file(j, p->ext->envoy_file_access_log);
	case MESH__MESH_CONFIG__EXTENSION_PROVIDER__PROVIDER_ENVOY_HTTP_ALS:
		return http ? http_als(j, p->cluster, p->ext->envoy_http_als) : NULL;
	case MESH__MESH_CONFIG__EXTENSION_PROVIDER__PROVIDER_ENVOY_TCP_ALS:
		return http ? NULL : tcp_als(j, p->cluster, p->ext->envoy_tcp_als);
	case MESH__MESH_CONFIG__EXTENSION_PROVIDER__PROVIDER_ENVOY_OTEL_ALS:
		*ret_name = "envoy.access_loggers.open_telemetry";
		return otel(j, p->cluster, p->ext->envoy_otel_als);
	default:
		pilot_job_note(j, u->id, PILOT_NOTE_IGNORED, "spec",
			"provider %s is not for access logs, or of a kind that Envoy lacks",
			u->provider);
		return NULL;
	}
}

static Accesslog__AccessLogFilter *filter(struct pilot_job *j, const char *expression)
{
	Celfilter__ExpressionFilter *m = pb_new(j->a, celfilter__expression_filter);
	m->expression = pb_s(expression);
	Accesslog__AccessLogFilter *f = pb_new(j->a, accesslog__access_log_filter);
	f->filter_specifier_case = ACCESSLOG__ACCESS_LOG_FILTER__FILTER_SPECIFIER_EXTENSION_FILTER;
	f->extension_filter = pb_new(j->a, accesslog__extension_filter);
	f->extension_filter->name = pb_s("envoy.access_loggers.extension_filters.cel");
	f->extension_filter->config_type_case =
		ACCESSLOG__EXTENSION_FILTER__CONFIG_TYPE_TYPED_CONFIG;
	f->extension_filter->typed_config = mt_pb_any(j->a, &m->base);
	return f;
}

size_t pilot_access_logs(const struct pilot_filter_in *in, bool http, Accesslog__AccessLog ***ret)
{
	struct pilot_job *j = in->j;
	const struct pilot_telemetry_side *side = pilot_side_of(in);
	Accesslog__AccessLog **v = MT_ANEWN(j->a, Accesslog__AccessLog *, side->nlogs + 1);
	size_t n = 0;
	for (size_t i = 0; i < side->nlogs; i++) {
		const struct pilot_log_use *u = &side->logs[i];
		struct pilot_provider p;
		const char *name;
		if (!pilot_provider(j, u->provider, u->id, &p))
			continue;
		const ProtobufCMessage *m = config(j, u, &p, http, &name);
		if (!m)
			continue;
		Accesslog__AccessLog *l = pb_new(j->a, accesslog__access_log);
		l->name = pb_s(name);
		l->config_type_case = ACCESSLOG__ACCESS_LOG__CONFIG_TYPE_TYPED_CONFIG;
		l->typed_config = mt_pb_any(j->a, m);
		if (u->filter)
			l->filter = filter(j, u->filter);
		pilot_prov_add(j, u->id);
		v[n++] = l;
	}
	Accesslog__AccessLog *mixer = http ? pilot_mixer_log_http(in) : pilot_mixer_log_tcp(in);
	if (mixer)
		v[n++] = mixer;
	*ret = v;
	return n;
}
