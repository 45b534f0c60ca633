/* HTTP filters, each in a file of its own; their order is filters.def. A filter is a pure function of
 * where it stands. */
#pragma once

#include "envoy/config/cluster/v3/cluster.pb-c.h"
#include "envoy/config/route/v3/route.pb-c.h"
#include "envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.pb-c.h"
#include "pilot/translate/job.h"

enum { PILOT_AT_INBOUND = 1, PILOT_AT_OUTBOUND = 2, PILOT_AT_GATEWAY = 4 };

struct pilot_filter_in {
	struct pilot_job *j;
	int at;                              /* one of PILOT_AT_ */
	const struct pilot_inbound *inbound; /* inbound only; NULL for a port without a service */
	unsigned protocols; /* bit mask of enum pilot_protocol that are served here */
};
/* Sets the filter's name in ret_name (Envoy's well-known one) and returns its configuration, or NULL
 * when it does not stand here. */
typedef const ProtobufCMessage *pilot_filter_fn(
	const struct pilot_filter_in *in, const char **ret_name);
#define FILTER(name, where) pilot_filter_fn pilot_filter_##name;
#include "pilot/filter/filters.def"
#undef FILTER

/* Adds the filters of a place to a connection manager, in the table's order. */
void pilot_filters_add(const struct pilot_filter_in *in, Hcm__HttpConnectionManager *m);

/* ---- per-route configuration, by the files that own the filters ---- */
/* Both return NULL when the rule asks for nothing. */
const ProtobufCMessage *pilot_fault_config(struct pilot_job *j, const Nw__HTTPFaultInjection *f);
const ProtobufCMessage *pilot_cors_config(struct pilot_job *j, const Nw__CorsPolicy *c);
extern const char pilot_fault_name[], pilot_cors_name[], pilot_mixer_name[];

/* A port of a service with resolution DYNAMIC_DNS, of a protocol that tells which name is meant. */
bool pilot_dynamic_dns_has(const struct pilot_service *s, uint32_t port);
/* Where it is one for TLS: the server name of a connection is resolved first. */
void pilot_dynamic_dns_chain(struct pilot_job *j, Listener__FilterChain *c,
	const struct pilot_service *s, uint32_t port);
/* The cluster of such a port: it resolves what is asked for. */
void pilot_dynamic_dns_cluster(struct pilot_job *j, Cluster__Cluster *c);

/* HTTP under the mesh's TLS, on a port of which nobody says what it speaks: what the sender offers
 * (pilot/filter/alpn.c). */
extern const char *const pilot_alpn_http[];
extern const size_t pilot_nalpn_http;
/* Requests to this cluster, whose TLS is the mesh's, say that they are HTTP. */
void pilot_alpn_cluster(struct pilot_job *j, Cluster__Cluster *c);

/* ---- Mixer: pilot/filter/mixer.c says what travels ---- */
const char *pilot_mixer_check_cluster(struct pilot_job *j); /* NULL: no checks */
/* Requests are checked there: inbound and at gateways, outbound when the mesh says so. */
bool pilot_mixer_checks_at(struct pilot_job *j, int at);
const char *pilot_mixer_report_cluster(struct pilot_job *j); /* NULL: no reports */
Cluster__Cluster *pilot_mixer_cluster(struct pilot_job *j, const char *name);
/* Facts about the destination for a check: NULL when there is no check here. svc may be NULL. */
const ProtobufCMessage *pilot_mixer_inbound(struct pilot_job *j, const struct pilot_inbound *in);
/* The same for reports, in the route. */
void pilot_mixer_inbound_tag(
	struct pilot_job *j, const struct pilot_inbound *in, Route__Route *route);
const ProtobufCMessage *pilot_mixer_service(
	struct pilot_job *j, const struct pilot_service *svc, const char *host, uint16_t port);
/* Access logs: HTTP and TCP. */
Accesslog__AccessLog *pilot_mixer_log_http(const struct pilot_filter_in *in); /* NULL none */
Accesslog__AccessLog *pilot_mixer_log_tcp(const struct pilot_filter_in *in);  /* NULL none */
/* Header that says who the source is, set by the source's own proxy. */
void pilot_mixer_source_header(struct pilot_job *j, Route__RouteConfiguration *rc);
