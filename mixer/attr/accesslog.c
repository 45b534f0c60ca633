#include "mixer/attr/accesslog.h"

#include <stdio.h>
#include <string.h>

#include "common/base/strs.h"
#include "common/base/workload.h"
#include "common/expr/wire.h"
#include "mixer/attr/parts.h"
#include "mixer/attr/source.h"

const char *mixer_flags_text(const Alog__ResponseFlags *flags, struct mt_arena *a)
{
	char buf[256], *w = buf;

	if (!flags)
		return "-";
#define FLAG(field, text)                                                                          \
	if (flags->field)                                                                          \
		w += sprintf(w, "%s%s", w == buf ? "" : ",", text);
#include "mixer/attr/flags.def"
#undef FLAG
	return w == buf ? "-" : mt_arena_strndup(a, buf, (size_t)(w - buf));
}

static const char *uri_of(const Alog__TLSProperties__CertificateProperties *c)
{
	for (size_t i = 0; c && i < c->n_subject_alt_name; i++) {
		const Alog__TLSProperties__CertificateProperties__SubjectAltName *s =
			c->subject_alt_name[i];

		if (s->san_case ==
			ALOG__TLSPROPERTIES__CERTIFICATE_PROPERTIES__SUBJECT_ALT_NAME__SAN_URI)
			return s->uri;
	}
	return NULL;
}

/* outbound|9080|v1|details.bookshop.svc.cluster.local */
static void add_cluster(struct mixer_facts *f, const char *cluster)
{
	const char *part = cluster;

	if (!cluster || !mt_str_prefix(cluster, "outbound"))
		return;
	for (int i = 0; i < 3; i++) {
		part = strchr(part, '|');
		if (!part)
			return;
		part++;
	}
	mixer_facts_str(f, MT_ATTR_DESTINATION_SERVICE_HOST, part);
}

static void add_tls(struct mixer_facts *f, const Alog__TLSProperties *t, const char *workload,
	const struct mixer_log_opts *o)
{
	/* Outbound, the session is the application's with its own proxy: it says nothing. */
	if (!o->outbound) {
		mixer_source_add(f, t ? uri_of(t->peer_certificate_properties) : NULL, workload,
			o->trust_source_header);
		if (t)
			mixer_facts_str(f, MT_ATTR_DESTINATION_PRINCIPAL,
				mixer_principal(uri_of(t->local_certificate_properties)));
	}
	mixer_facts_bool(f, MT_ATTR_CONNECTION_MTLS, false);
	if (t)
		mixer_facts_str(f, MT_ATTR_CONNECTION_REQUESTED_SERVER_NAME, t->tls_sni_hostname);
}

static void add_addresses(
	struct mixer_facts *f, const Alog__AccessLogCommon *c, const struct mixer_log_opts *o)
{
	if (o->outbound)
		mixer_add_address(f, c->upstream_remote_address, MT_ATTR_DESTINATION_IP,
			MT_ATTR_DESTINATION_PORT);
	mixer_add_address(
		f, c->downstream_local_address, MT_ATTR_DESTINATION_IP, MT_ATTR_DESTINATION_PORT);
	mixer_add_address(
		f, c->downstream_direct_remote_address, MT_ATTR_SOURCE_IP, MT_ATTR_SOURCE_PORT);
	mixer_add_address(f, c->downstream_remote_address, MT_ATTR_SOURCE_IP, MT_ATTR_SOURCE_PORT);
	if (c->downstream_remote_address)
		mixer_add_address(f, c->downstream_remote_address, MT_ATTR_ORIGIN_IP, SIZE_MAX);
}

static int64_t duration_of(const Alog__AccessLogCommon *c)
{
	return mixer_duration_ns(c->duration ? c->duration : c->time_to_last_downstream_tx_byte);
}

/* Custom tags whose names are attribute names; `destination` holds several in wire form: what the
 * endpoint that was chosen says of itself. */
static void add_tags(struct mixer_facts *f, const Alog__AccessLogCommon *c)
{
	for (size_t i = 0; i < c->n_custom_tags; i++) {
		const char *key = c->custom_tags[i]->key, *value = c->custom_tags[i]->value;
		struct mt_wire_pair *v;
		size_t n;

		if (mt_str_empty(value))
			continue;
		if (!mt_streq(key, "destination")) {
			mixer_facts_add(f, key, value);
			continue;
		}
		n = mt_wire_parse(value, strlen(value), f->arena, &v);
		for (size_t k = 0; k < n; k++)
			if (mt_str_prefix(v[k].name, "destination."))
				mixer_facts_add(f, v[k].name, v[k].value);
	}
}

static void add_common(struct mixer_facts *f, const Alog__AccessLogCommon *c, const char *workload,
	const struct mixer_log_opts *o)
{
	int64_t ns = duration_of(c);

	add_tags(f, c);
	add_tls(f, c->tls_properties, workload, o);
	add_addresses(f, c, o);
	if (o->outbound)
		add_cluster(f, c->upstream_cluster);
	mixer_facts_str(f, MT_ATTR_RESPONSE_FLAGS, mixer_flags_text(c->response_flags, f->arena));
	if (c->start_time) {
		mixer_add_time(f, MT_ATTR_REQUEST_TIME, c->start_time, 0);
		mixer_add_time(f, MT_ATTR_RESPONSE_TIME, c->start_time, ns);
	}
	mt_bag_time(&f->bag, MT_ATTR_CONTEXT_TIME, o->now_ns);
}

static const char *method_name(Core__RequestMethod m)
{
	const ProtobufCEnumValue *v =
		protobuf_c_enum_descriptor_get_value(&core__request_method__descriptor, m);

	return m && v ? v->name : NULL;
}

/* Returns the workload header. */
static const char *add_request(struct mixer_facts *f, const Alog__HTTPRequestProperties *q)
{
	const char *workload = NULL;

	for (size_t i = 0; i < q->n_request_headers; i++) {
		const char *key = q->request_headers[i]->key, *value = q->request_headers[i]->value;

		if (mt_streq(key, MT_WORKLOAD_HEADER))
			workload = value;
		else
			mixer_facts_entry(f, MT_ATTR_REQUEST_HEADERS, key, value);
	}
	mixer_facts_str(f, MT_ATTR_REQUEST_ID, q->request_id);
	mixer_facts_str(f, MT_ATTR_REQUEST_METHOD, method_name(q->request_method));
	mixer_facts_str(f, MT_ATTR_REQUEST_HOST, q->authority);
	mixer_facts_str(f, MT_ATTR_REQUEST_SCHEME, q->scheme);
	mixer_add_path(f, mt_str_empty(q->original_path) ? q->path : q->original_path);
	mixer_facts_str(f, MT_ATTR_REQUEST_USERAGENT, q->user_agent);
	mixer_facts_str(f, MT_ATTR_REQUEST_REFERER, q->referer);
	mixer_facts_int(f, MT_ATTR_REQUEST_SIZE, (int64_t)q->request_body_bytes);
	mixer_facts_int(f, MT_ATTR_REQUEST_TOTAL_SIZE,
		(int64_t)(q->request_headers_bytes + q->request_body_bytes));
	return workload;
}

static void add_response(struct mixer_facts *f, const Alog__HTTPResponseProperties *p)
{
	const char *status;

	for (size_t i = 0; i < p->n_response_headers; i++)
		mixer_facts_entry(f, MT_ATTR_RESPONSE_HEADERS, p->response_headers[i]->key,
			p->response_headers[i]->value);
	for (size_t i = 0; i < p->n_response_trailers; i++)
		mixer_facts_entry(f, MT_ATTR_RESPONSE_HEADERS, p->response_trailers[i]->key,
			p->response_trailers[i]->value);
	mixer_facts_int(f, MT_ATTR_RESPONSE_CODE, p->response_code ? p->response_code->value : 0);
	mixer_facts_int(f, MT_ATTR_RESPONSE_SIZE, (int64_t)p->response_body_bytes);
	mixer_facts_int(f, MT_ATTR_RESPONSE_TOTAL_SIZE,
		(int64_t)(p->response_headers_bytes + p->response_body_bytes));
	status = mixer_map_find(f, MT_ATTR_RESPONSE_HEADERS, "grpc-status");
	mixer_facts_str(f, MT_ATTR_RESPONSE_GRPC_STATUS, status);
	mixer_facts_str(f, MT_ATTR_RESPONSE_GRPC_MESSAGE,
		mixer_map_find(f, MT_ATTR_RESPONSE_HEADERS, "grpc-message"));
}

/* gRPC when either side said so in what was logged. */
static const char *protocol_of(const struct mixer_facts *f)
{
	const char *q = mixer_map_find(f, MT_ATTR_REQUEST_HEADERS, "content-type");
	const char *p = mixer_map_find(f, MT_ATTR_RESPONSE_HEADERS, "content-type");

	return (q && mt_str_prefix(q, "application/grpc")) ||
			(p && mt_str_prefix(p, "application/grpc"))
		? "grpc"
		: "http";
}

void mixer_attr_http_log(
	struct mixer_facts *f, const Alog__HTTPAccessLogEntry *e, const struct mixer_log_opts *o)
{
	const char *workload = e->request ? add_request(f, e->request) : NULL;

	if (e->response)
		add_response(f, e->response);
	mixer_facts_str(f, MT_ATTR_CONTEXT_PROTOCOL, protocol_of(f));
	if (e->common_properties) {
		if (!mixer_facts_has(f, MT_ATTR_RESPONSE_DURATION))
			mt_bag_duration(&f->bag, MT_ATTR_RESPONSE_DURATION,
				duration_of(e->common_properties));
		add_common(f, e->common_properties, workload, o);
	}
	mixer_facts_finish(f);
}

static const char *event_of(const Alog__AccessLogCommon *c)
{
	if (c->access_log_type == ALOG__ACCESS_LOG_TYPE__TcpUpstreamConnected)
		return "open";
	return c->intermediate_log_entry ? "continue" : "close";
}

static void add_bytes(struct mixer_facts *f, const Alog__ConnectionProperties *p, bool last)
{
	mixer_facts_int(f, MT_ATTR_CONNECTION_RECEIVED_BYTES_TOTAL, (int64_t)p->received_bytes);
	mixer_facts_int(f, MT_ATTR_CONNECTION_SENT_BYTES_TOTAL, (int64_t)p->sent_bytes);
	/* What was not reported before is known at the end alone, when it is everything: entries on
	 * the way carry running totals. */
	mixer_facts_int(
		f, MT_ATTR_CONNECTION_RECEIVED_BYTES, last ? (int64_t)p->received_bytes : 0);
	mixer_facts_int(f, MT_ATTR_CONNECTION_SENT_BYTES, last ? (int64_t)p->sent_bytes : 0);
}

void mixer_attr_tcp_log(
	struct mixer_facts *f, const Alog__TCPAccessLogEntry *e, const struct mixer_log_opts *o)
{
	const Alog__AccessLogCommon *c = e->common_properties;

	mixer_facts_str(f, MT_ATTR_CONTEXT_PROTOCOL, "tcp");
	if (c) {
		mixer_facts_str(f, MT_ATTR_CONNECTION_ID, c->stream_id);
		mixer_facts_str(f, MT_ATTR_CONNECTION_EVENT, event_of(c));
		if (!mixer_facts_has(f, MT_ATTR_CONNECTION_DURATION))
			mt_bag_duration(&f->bag, MT_ATTR_CONNECTION_DURATION, duration_of(c));
		add_common(f, c, NULL, o);
	}
	if (e->connection_properties)
		add_bytes(f, e->connection_properties, !c || mt_streq(event_of(c), "close"));
	mixer_facts_finish(f);
}
