/* gRPC: what a browser sends is turned into it (gRPC-web), and calls are counted. Both stand only where
 * such a service is: every filter costs every request. */
#include "envoy/extensions/filters/http/grpc_stats/v3/grpc_stats.pb-c.h"
#include "envoy/extensions/filters/http/grpc_web/v3/grpc_web.pb-c.h"
#include "pilot/filter/filter.h"

const ProtobufCMessage *pilot_filter_grpc_web(
	const struct pilot_filter_in *in, const char **ret_name)
{
	if (!(in->protocols & 1u << PILOT_GRPC_WEB))
		return NULL;
	Grpcweb__GrpcWeb *m = pb_new(in->j->a, grpcweb__grpc_web);
	*ret_name = "envoy.filters.http.grpc_web";
	return &m->base;
}

const ProtobufCMessage *pilot_filter_grpc_stats(
	const struct pilot_filter_in *in, const char **ret_name)
{
	/* A detected port may carry gRPC; one of HTTP/2 is often that in truth. */
	static const unsigned where =
		1u << PILOT_GRPC | 1u << PILOT_GRPC_WEB | 1u << PILOT_HTTP2 | 1u << PILOT_AUTO;
	if (!(in->protocols & where))
		return NULL;
	Grpcstats__FilterConfig *m = pb_new(in->j->a, grpcstats__filter_config);
	m->emit_filter_state = true; /* message counts, for access logs */
	m->per_method_stat_specifier_case =
		GRPCSTATS__FILTER_CONFIG__PER_METHOD_STAT_SPECIFIER_STATS_FOR_ALL_METHODS;
	/* Names of methods come from clients: without a bound they would fill the memory. */
	m->stats_for_all_methods = pb_bool(in->j->a, false);
	*ret_name = "envoy.filters.http.grpc_stats";
	return &m->base;
}
