/* Routes as gRPC takes them: paths, headers and fractions; clusters by weight; retries, a limit of
 * time, hashes of a header; faults. What a gRPC client cannot do to a request (rewrites, header
 * operations, mirrors) is not passed on. A redirect or an answer without a server stays: gRPC fails
 * such a call, as it should. */
#include <string.h>

#include "common/base/strs.h"
#include "pilot/filter/filter.h"
#include "pilot/translate/grpc.h"
#include "pilot/translate/route.h"

static Route__RouteMatch *cut_match(struct pilot_job *j, const Route__RouteMatch *r)
{
	Route__RouteMatch *m = pb_new(j->a, route__route_match);
	m->case_sensitive = r->case_sensitive;
	m->runtime_fraction = r->runtime_fraction;
	m->headers = r->headers;
	m->n_headers = r->n_headers;
	m->query_parameters = r->query_parameters; /* gRPC has none: the route never matches */
	m->n_query_parameters = r->n_query_parameters;
	m->path_specifier_case = r->path_specifier_case;
	switch (r->path_specifier_case) {
	case ROUTE__ROUTE_MATCH__PATH_SPECIFIER_PATH: m->path = r->path; break;
	case ROUTE__ROUTE_MATCH__PATH_SPECIFIER_SAFE_REGEX: m->safe_regex = r->safe_regex; break;
	case ROUTE__ROUTE_MATCH__PATH_SPECIFIER_PATH_SEPARATED_PREFIX:
		/* A method's path is /SERVICE/METHOD: the separated prefix is a service. */
		m->path_specifier_case = ROUTE__ROUTE_MATCH__PATH_SPECIFIER_PREFIX;
		m->prefix = mt_arena_printf(j->a, "%s/", r->path_separated_prefix);
		break;
	default:
		m->path_specifier_case = ROUTE__ROUTE_MATCH__PATH_SPECIFIER_PREFIX;
		m->prefix = r->path_specifier_case == ROUTE__ROUTE_MATCH__PATH_SPECIFIER_PREFIX
			? r->prefix
			: pb_s("/");
		break;
	}
	return m;
}

static Route__WeightedCluster *cut_weights(struct pilot_job *j, const Route__WeightedCluster *w)
{
	Route__WeightedCluster *m = pb_new(j->a, route__weighted_cluster);
	for (size_t i = 0; i < w->n_clusters; i++) {
		Route__WeightedCluster__ClusterWeight *c =
			pb_new(j->a, route__weighted_cluster__cluster_weight);
		c->name = w->clusters[i]->name;
		c->weight = w->clusters[i]->weight;
		pb_add(j->a, m, clusters, c);
	}
	return m;
}

static Route__RetryPolicy *cut_retries(struct pilot_job *j, const Route__RetryPolicy *r)
{
	if (!r)
		return NULL;
	Route__RetryPolicy *m = pb_new(j->a, route__retry_policy);
	m->retry_on = r->retry_on; /* conditions that gRPC does not know are ignored by it */
	m->num_retries = r->num_retries;
	m->retry_back_off = r->retry_back_off;
	return m;
}

static void cut_hashes(struct pilot_job *j, Route__RouteAction *m, const Route__RouteAction *a)
{
	for (size_t i = 0; i < a->n_hash_policy; i++)
		if (a->hash_policy[i]->policy_specifier_case ==
			ROUTE__ROUTE_ACTION__HASH_POLICY__POLICY_SPECIFIER_HEADER)
			pb_add(j->a, m, hash_policy, a->hash_policy[i]);
}

static Route__RouteAction *cut_action(struct pilot_job *j, const Route__RouteAction *a)
{
	Route__RouteAction *m = pb_new(j->a, route__route_action);
	m->cluster_specifier_case = a->cluster_specifier_case;
	if (a->cluster_specifier_case == ROUTE__ROUTE_ACTION__CLUSTER_SPECIFIER_WEIGHTED_CLUSTERS) {
		m->weighted_clusters = cut_weights(j, a->weighted_clusters);
	} else {
		m->cluster_specifier_case = ROUTE__ROUTE_ACTION__CLUSTER_SPECIFIER_CLUSTER;
		m->cluster = a->cluster;
	}
	/* Envoy's timeout is of the whole answer; gRPC knows that of the stream, which for a call with
	 * one answer is the same. */
	if (pb_dur_ns(a->timeout) > 0) {
		m->max_stream_duration = pb_new(j->a, route__route_action__max_stream_duration);
		m->max_stream_duration->max_stream_duration = a->timeout;
	}
	m->retry_policy = cut_retries(j, a->retry_policy);
	cut_hashes(j, m, a);
	return m;
}

static Route__Route *cut_one(struct pilot_job *j, const Route__Route *r)
{
	Route__Route *m = pb_new(j->a, route__route);
	m->name = r->name;
	m->match = cut_match(j, r->match);
	m->action_case = r->action_case;
	switch (r->action_case) {
	case ROUTE__ROUTE__ACTION_ROUTE: m->route = cut_action(j, r->route); break;
	case ROUTE__ROUTE__ACTION_REDIRECT: m->redirect = r->redirect; break;
	case ROUTE__ROUTE__ACTION_DIRECT_RESPONSE: m->direct_response = r->direct_response; break;
	default: m->action_case = ROUTE__ROUTE__ACTION__NOT_SET; break;
	}
	for (size_t i = 0; i < r->n_typed_per_filter_config; i++)
		if (strcmp(r->typed_per_filter_config[i]->key, pilot_fault_name) == 0)
			pb_add(j->a, m, typed_per_filter_config, r->typed_per_filter_config[i]);
	return m;
}

ProtobufCMessage *pilot_grpc_cut_vhost(struct pilot_job *j, ProtobufCMessage *msg)
{
	const Route__VirtualHost *v = (const Route__VirtualHost *)msg;
	Route__VirtualHost *m = pb_new(j->a, route__virtual_host);
	m->name = v->name;
	pb_add(j->a, m, domains, pb_s("*"));
	for (size_t i = 0; i < v->n_routes; i++)
		pb_add(j->a, m, routes, cut_one(j, v->routes[i]));
	m->retry_policy = cut_retries(j, v->retry_policy);
	return &m->base;
}

void pilot_grpc_cut_route(struct pilot_job *j, ProtobufCMessage *msg)
{
	Route__RouteConfiguration *m = (Route__RouteConfiguration *)msg, old = *m;
	route__route_configuration__init(m);
	m->name = old.name;
	for (size_t i = 0; i < old.n_virtual_hosts; i++)
		pb_add(j->a, m, virtual_hosts,
			(Route__VirtualHost *)pilot_grpc_cut_vhost(j, &old.virtual_hosts[i]->base));
}
