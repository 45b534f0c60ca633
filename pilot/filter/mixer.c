/* Mixer: checks through ext_authz and reports through gRPC access logs, when the mesh configuration
 * names it (mixerCheckServer, mixerReportServer: HOST:PORT).
 *
 * Where: checks stand inbound and on gateways; outbound, which an application can go around, only in
 * addition and when enableClientSidePolicyCheck asks for it.
 *
 * What a check carries besides the request: context extensions, facts about the destination only
 * (facts about the source would multiply routes), named by the attributes that they become:
 *   destination.service.host, destination.service.name, destination.service.namespace,
 *   destination.port, destination.name, destination.namespace, destination.uid, destination.ip,
 *   destination.principal, destination.workload.name, destination.workload.namespace,
 *   destination.labels.KEY for each label, context.reporter.kind (inbound or outbound)
 *
 * A report says the same in its log's name, in the form of common/expr/wire.h: that is sent once a
 * stream. The service and the labels, which may change while connections last, an HTTP report has in the
 * custom tag `destination`, in the same form, from the route's metadata. Outbound, the service is the
 * upstream cluster's name, and the workload what the endpoint's metadata says of it, in that tag.
 *
 * Who the source is: `x-meltemi-workload`, set by the source's own proxy from its environment
 * (MELTEMI_WORKLOAD), so that all proxies of a class keep equal routes. It overwrites what the
 * application sent; at a gateway it is dropped before any filter sees it. Mixer believes it only when
 * its service account is the one in the peer's certificate. */
#include <stdlib.h>
#include <string.h>

#include "common/base/cidr.h"
#include "common/base/strs.h"
#include "common/base/workload.h"
#include "common/expr/wire.h"
#include "envoy/extensions/access_loggers/grpc/v3/grpc.pb-c.h"
#include "envoy/extensions/filters/http/ext_authz/v3/ext_authz.pb-c.h"
#include "envoy/type/tracing/v3/tracing.pb-c.h"
#include "pilot/filter/filter.h"
#include "pilot/translate/cluster.h"
#include "pilot/translate/endpoint.h"
#include "pilot/translate/policy.h"
#include "pilot/translate/tls.h"

const char pilot_mixer_name[] = "envoy.filters.http.ext_authz";
static const char source_header[] = MT_WORKLOAD_HEADER;
static const int64_t check_timeout_ns = MT_NS_PER_SEC;

const char *pilot_mixer_check_cluster(struct pilot_job *j)
{
	return j->mesh->mixer_check ? "mixer" : NULL;
}

bool pilot_mixer_checks_at(struct pilot_job *j, int at)
{
	return pilot_mixer_check_cluster(j) &&
		(at != PILOT_AT_OUTBOUND || j->mesh->spec->enable_client_side_policy_check);
}

const char *pilot_mixer_report_cluster(struct pilot_job *j)
{
	const struct pilot_mesh *m = j->mesh;
	if (!m->mixer_report)
		return NULL;
	return !m->mixer_check || strcmp(m->mixer_check, m->mixer_report) == 0 ? "mixer"
									       : "mixer-report";
}

Cluster__Cluster *pilot_mixer_cluster(struct pilot_job *j, const char *name)
{
	const struct pilot_mesh *m = j->mesh;
	const char *addr =
		strcmp(name, "mixer") == 0 && m->mixer_check ? m->mixer_check : m->mixer_report;
	char host[256] = "";
	uint16_t port = 0;
	struct mt_ip ip;
	Cluster__Cluster *c = pb_new(j->a, cluster__cluster);
	c->name = pb_s(name);
	c->connect_timeout = pb_dur(j->a, MT_NS_PER_SEC);
	c->cluster_discovery_type_case = CLUSTER__CLUSTER__CLUSTER_DISCOVERY_TYPE_TYPE;
	pilot_prov_add(j, m->id);
	if (mt_hostport_parse(addr, host, &port) < 0 || !*host) {
		/* A cluster without endpoints: the filter's failure mode decides. */
		pilot_job_note(j, m->id, PILOT_NOTE_INVALID, "spec", "%s is not HOST:PORT", addr);
		c->type = CLUSTER__CLUSTER__DISCOVERY_TYPE__STATIC;
		return c;
	}
	bool is_ip = mt_ip_parse(host, &ip) == 0;
	c->type = is_ip ? CLUSTER__CLUSTER__DISCOVERY_TYPE__STATIC
			: CLUSTER__CLUSTER__DISCOVERY_TYPE__STRICT_DNS;
	c->dns_lookup_family = CLUSTER__CLUSTER__DNS_LOOKUP_FAMILY__V4_PREFERRED;
	c->load_assignment = pilot_load_one(j, name, mt_arena_strdup(j->a, host), port);
	pilot_cluster_limits(j, c, NULL);
	pilot_cluster_http(j, c, PILOT_GRPC, NULL, NULL);
	if (m->control_plane_tls && j->p->sds)
		c->transport_socket = pilot_tls_daemon(j, m->mixer_spiffe_id);
	return c;
}

const ProtobufCMessage *pilot_filter_mixer(const struct pilot_filter_in *in, const char **ret_name)
{
	struct pilot_job *j = in->j;
	const char *cluster = pilot_mixer_check_cluster(j);
	if (!pilot_mixer_checks_at(j, in->at))
		return NULL;
	Extauthz__ExtAuthz *m = pb_new(j->a, extauthz__ext_authz);
	m->services_case = EXTAUTHZ__EXT_AUTHZ__SERVICES_GRPC_SERVICE;
	m->grpc_service = pb_grpc(j->a, cluster, check_timeout_ns);
	m->transport_api_version = CORE__API_VERSION__V3;
	m->failure_mode_allow = j->mesh->fail_open;
	/* Without Mixer the mesh is unavailable, not forbidden. */
	m->status_on_error = pb_new(j->a, etype__http_status);
	m->status_on_error->code = ETYPE__STATUS_CODE__ServiceUnavailable;
	m->clear_route_cache = true; /* a verdict may change headers that routes look at */
	*ret_name = pilot_mixer_name;
	return &m->base;
}

/* ---- facts ---- */

struct facts {
	struct mt_kv *v;
	size_t n;
	size_t cap;
};

static void fact(struct pilot_job *j, struct facts *f, const char *key, const char *value)
{
	struct mt_kv kv = { key, value };
	if (!mt_str_empty(value))
		mt_vec_apush(j->a, f, kv);
}

static void service_facts(struct pilot_job *j, struct facts *f, const struct pilot_service *s,
	const char *host, uint16_t port)
{
	fact(j, f, "destination.service.host", host);
	fact(j, f, "destination.service.name", mt_arena_strndup(j->a, host, strcspn(host, ".")));
	fact(j, f, "destination.service.namespace", s ? s->ns : NULL);
	fact(j, f, "destination.port", mt_arena_printf(j->a, "%u", port));
}

static void label_facts(struct pilot_job *j, struct facts *f)
{
	for (size_t i = 0; i < j->p->nlabels; i++)
		fact(j, f, mt_arena_printf(j->a, "destination.labels.%s", j->p->labels[i].key),
			j->p->labels[i].value);
}

/* Those that stay the same for as long as the proxy runs. */
static void workload_facts(struct pilot_job *j, struct facts *f)
{
	const struct pilot_proxy *p = j->p;
	fact(j, f, "destination.ip", p->ips[0]);
	fact(j, f, "destination.name", p->name);
	fact(j, f, "destination.namespace", p->ns);
	fact(j, f, "destination.uid", mt_arena_printf(j->a, "kubernetes://%s.%s", p->name, p->ns));
	if (*p->service_account)
		fact(j, f, "destination.principal",
			mt_str_prefix(p->service_account, "spiffe://")
				? p->service_account
				: mt_arena_printf(j->a, "spiffe://%s/ns/%s/sa/%s",
					  j->mesh->trust_domain, p->ns, p->service_account));
	fact(j, f, "destination.workload.name", p->workload);
	fact(j, f, "destination.workload.namespace", p->ns);
}

static void inbound_facts(struct pilot_job *j, struct facts *f, const struct pilot_inbound *in)
{
	fact(j, f, "context.reporter.kind", "inbound");
	if (in && in->svc)
		service_facts(j, f, in->svc, in->svc->hostname, in->port);
	else if (in)
		fact(j, f, "destination.port", mt_arena_printf(j->a, "%u", in->port));
	workload_facts(j, f);
	label_facts(j, f);
}

static int fact_cmp(const void *a, const void *b)
{
	return strcmp(((const struct mt_kv *)a)->key, ((const struct mt_kv *)b)->key);
}

static const ProtobufCMessage *settings(struct pilot_job *j, struct facts *f)
{
	Extauthz__CheckSettings *c = pb_new(j->a, extauthz__check_settings);
	if (f->n > 1)
		qsort(f->v, f->n, sizeof(*f->v), fact_cmp);
	for (size_t i = 0; i < f->n; i++) {
		Extauthz__CheckSettings__ContextExtensionsEntry *e =
			pb_new(j->a, extauthz__check_settings__context_extensions_entry);
		e->key = pb_s(f->v[i].key);
		e->value = pb_s(f->v[i].value);
		pb_add(j->a, c, context_extensions, e);
	}
	Extauthz__ExtAuthzPerRoute *m = pb_new(j->a, extauthz__ext_authz_per_route);
	m->override_case = EXTAUTHZ__EXT_AUTHZ_PER_ROUTE__OVERRIDE_CHECK_SETTINGS;
	m->check_settings = c;
	return &m->base;
}

const ProtobufCMessage *pilot_mixer_inbound(struct pilot_job *j, const struct pilot_inbound *in)
{
	struct facts f = { 0 };
	if (!pilot_mixer_check_cluster(j))
		return NULL;
	inbound_facts(j, &f, in);
	return settings(j, &f);
}

const ProtobufCMessage *pilot_mixer_service(
	struct pilot_job *j, const struct pilot_service *svc, const char *host, uint16_t port)
{
	struct facts f = { 0 };
	if (!pilot_mixer_check_cluster(j))
		return NULL;
	fact(j, &f, "context.reporter.kind", "outbound");
	service_facts(j, &f, svc, host, port);
	return settings(j, &f);
}

/* ---- reports ---- */

static char *wire(struct pilot_job *j, struct facts *f)
{
	struct mt_buf b = { 0 };
	if (f->n > 1)
		qsort(f->v, f->n, sizeof(*f->v), fact_cmp);
	for (size_t i = 0; i < f->n; i++)
		mt_wire_add(&b, f->v[i].key, f->v[i].value);
	char *text = mt_arena_strdup(j->a, mt_buf_str(&b));
	mt_buf_clear(&b);
	return text;
}

/* What is the same for all entries of a listener stands in the log's name, which is sent once a
 * stream; for HTTP without what may change while the listener stays, see pilot_mixer_inbound_tag(). */
static char *log_name(const struct pilot_filter_in *in, bool http)
{
	struct pilot_job *j = in->j;
	struct facts f = { 0 };
	if (in->at != PILOT_AT_INBOUND) {
		fact(j, &f, "context.reporter.kind", "outbound");
	} else if (http) {
		fact(j, &f, "context.reporter.kind", "inbound");
		if (in->inbound)
			fact(j, &f, "destination.port",
				mt_arena_printf(j->a, "%u", in->inbound->port));
		workload_facts(j, &f);
	} else {
		inbound_facts(j, &f, in->inbound);
	}
	return wire(j, &f);
}

static const char tag_key[] = "destination";

void pilot_mixer_inbound_tag(
	struct pilot_job *j, const struct pilot_inbound *in, Route__Route *route)
{
	struct facts f = { 0 };
	if (!pilot_mixer_report_cluster(j) || j->mesh->spec->disable_mixer_http_reports)
		return;
	if (in->svc) { /* its name follows from its host */
		fact(j, &f, "destination.service.host", in->svc->hostname);
		fact(j, &f, "destination.service.namespace", in->svc->ns);
	}
	label_facts(j, &f);
	if (f.n)
		pb_metadata_add(j->a, &route->metadata, "istio", tag_key, wire(j, &f));
}

/* What the endpoint that was chosen says of itself (pilot/translate/endpoint.c), or the route that was
 * taken of the workload behind it. */
static Etracing__CustomTag *destination_tag(struct pilot_job *j, bool route)
{
	Etracing__CustomTag *t = pb_new(j->a, etracing__custom_tag);
	t->tag = pb_s(tag_key);
	t->type_case = ETRACING__CUSTOM_TAG__TYPE_METADATA;
	t->metadata = pb_new(j->a, etracing__custom_tag__metadata);
	t->metadata->kind = pb_new(j->a, emeta__metadata_kind);
	if (route) {
		t->metadata->kind->kind_case = EMETA__METADATA_KIND__KIND_ROUTE;
		t->metadata->kind->route = pb_new(j->a, emeta__metadata_kind__route);
	} else {
		t->metadata->kind->kind_case = EMETA__METADATA_KIND__KIND_HOST;
		t->metadata->kind->host = pb_new(j->a, emeta__metadata_kind__host);
	}
	t->metadata->metadata_key = pb_new(j->a, emeta__metadata_key);
	t->metadata->metadata_key->key = pb_s("istio");
	Emeta__MetadataKey__PathSegment *step = pb_new(j->a, emeta__metadata_key__path_segment);
	step->segment_case = EMETA__METADATA_KEY__PATH_SEGMENT__SEGMENT_KEY;
	step->key = pb_s(tag_key);
	pb_add(j->a, t->metadata->metadata_key, path, step);
	return t;
}

static Grpclog__CommonGrpcAccessLogConfig *log_common(
	const struct pilot_filter_in *in, const char *cluster, bool http)
{
	struct pilot_job *j = in->j;
	Grpclog__CommonGrpcAccessLogConfig *c =
		pb_new(j->a, grpclog__common_grpc_access_log_config);
	c->log_name = log_name(in, http);
	c->grpc_service = pb_grpc(j->a, cluster, 0);
	c->transport_api_version = CORE__API_VERSION__V3;
	c->buffer_flush_interval = j->mesh->spec->report_batch_max_time
		? pb_dur_dup(j->a, j->mesh->spec->report_batch_max_time)
		: pb_dur(j->a, MT_NS_PER_SEC);
	c->buffer_size_bytes = pb_u32(j->a, j->mesh->spec->disable_report_batch ? 0 : 16384);
	if (in->at != PILOT_AT_INBOUND || http)
		pb_add(j->a, c, custom_tags, destination_tag(j, in->at == PILOT_AT_INBOUND));
	return c;
}

static Accesslog__AccessLog *log_named(
	struct pilot_job *j, const char *name, const ProtobufCMessage *cfg)
{
	Accesslog__AccessLog *a = pb_new(j->a, accesslog__access_log);
	a->name = pb_s(name);
	a->config_type_case = ACCESSLOG__ACCESS_LOG__CONFIG_TYPE_TYPED_CONFIG;
	a->typed_config = mt_pb_any(j->a, cfg);
	return a;
}

Accesslog__AccessLog *pilot_mixer_log_http(const struct pilot_filter_in *in)
{
	/* What is not listed is not logged; authority, path, method, user agent and referer always are. */
	static const char *const request[] = { source_header, "content-type", "x-b3-traceid",
		"x-b3-spanid", "traceparent", "x-forwarded-client-cert", "x-api-key", "end-user" };
	static const char *const response[] = { "content-type", "server", "grpc-status",
		"grpc-message" };
	struct pilot_job *j = in->j;
	const char *cluster = pilot_mixer_report_cluster(j);
	if (!cluster || j->mesh->spec->disable_mixer_http_reports)
		return NULL;
	Grpclog__HttpGrpcAccessLogConfig *c = pb_new(j->a, grpclog__http_grpc_access_log_config);
	c->common_config = log_common(in, cluster, true);
	for (size_t i = 0; i < MT_ARRAY_SIZE(request); i++)
		pb_add(j->a, c, additional_request_headers_to_log, pb_s(request[i]));
	for (size_t i = 0; i < MT_ARRAY_SIZE(response); i++)
		pb_add(j->a, c, additional_response_headers_to_log, pb_s(response[i]));
	pb_add(j->a, c, additional_response_trailers_to_log, pb_s("grpc-status"));
	return log_named(j, "envoy.access_loggers.http_grpc", &c->base);
}

Accesslog__AccessLog *pilot_mixer_log_tcp(const struct pilot_filter_in *in)
{
	const char *cluster = pilot_mixer_report_cluster(in->j);
	if (!cluster)
		return NULL;
	Grpclog__TcpGrpcAccessLogConfig *c = pb_new(in->j->a, grpclog__tcp_grpc_access_log_config);
	c->common_config = log_common(in, cluster, false);
	return log_named(in->j, "envoy.access_loggers.tcp_grpc", &c->base);
}

void pilot_mixer_source_header(struct pilot_job *j, Route__RouteConfiguration *rc)
{
	if (!j->mesh->mixer_check && !j->mesh->mixer_report)
		return;
	pb_add(j->a, rc, request_headers_to_add,
		pb_header(j->a, source_header, MT_WORKLOAD_FORMAT, false));
	if (j->p->type == PILOT_ROUTER)
		pb_add(j->a, rc, internal_only_headers, pb_s(source_header));
}
