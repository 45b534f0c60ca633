/* A destination rule's traffic policy, resolved and put onto clusters, listeners and load assignments.
 * Private to translate/. */
#pragma once

#include "envoy/config/cluster/v3/cluster.pb-c.h"
#include "envoy/config/endpoint/v3/endpoint.pb-c.h"
#include "envoy/extensions/filters/network/tcp_proxy/v3/tcp_proxy.pb-c.h"
#include "envoy/extensions/upstreams/http/v3/http.pb-c.h"
#include "pilot/translate/job.h"

/* The policy in force for a port and subset: port-level settings beat the subset's, those beat the
 * rule's own; by part (load balancer, pool, outliers, TLS), as Istio does. The pool and the outliers that
 * none of them says are the mesh's defaultTrafficPolicy. */
struct pilot_policy {
	const Nw__LoadBalancerSettings *lb;
	const Nw__ConnectionPoolSettings *pool;
	const Nw__OutlierDetection *outlier;
	const Nw__ClientTLSSettings *tls;
	const Nw__TrafficPolicy__TunnelSettings *tunnel;
	const Nw__TrafficPolicy__ProxyProtocol *proxy_protocol;
	const Nw__TrafficPolicy__RetryBudget *retry_budget;
	const Meltemi__HealthCheck *health;
	const struct pilot_dr
		*dr; /* whose it is; NULL: none, and all but pool and outlier are NULL too */
};
void pilot_policy_resolve(const struct pilot_mesh *m, const struct pilot_dr *dr, const char *subset,
	uint16_t port, struct pilot_policy *ret); /* dr NULL: what the mesh says */

/* Load balancer, circuit breakers, outliers, checks, keepalive, HTTP options of an outbound cluster. */
void pilot_policy_apply(struct pilot_job *j, Cluster__Cluster *c, const struct pilot_policy *pol,
	const struct pilot_service *s, enum pilot_protocol protocol);
/* After the transport sockets are set: what wraps them (the PROXY protocol). */
void pilot_policy_wrap(struct pilot_job *j, Cluster__Cluster *c, const struct pilot_policy *pol);
Core__TransportSocket *pilot_socket_raw(struct pilot_job *j); /* plaintext */
/* Idle time, longest life, hash and tunnel of a TCP proxy towards a cluster. */
void pilot_policy_tcp(struct pilot_job *j, Tcpproxy__TcpProxy *t, const char *cluster);

/* balance.c */
void pilot_cluster_balance(
	struct pilot_job *j, Cluster__Cluster *c, const struct pilot_policy *pol);
bool pilot_policy_is_passthrough(const struct pilot_policy *pol);
/* NULL: the policy does not hash. */
const Nw__LoadBalancerSettings__ConsistentHashLB *pilot_policy_hash(const struct pilot_policy *pol);

/* pool.c. HTTP options of what is spoken (pilot_cluster_protocol()); pol NULL: none; tls: of a cluster whose SNI each request brings, else NULL. Limits;
 * pol NULL: none (inbound clusters). */
void pilot_cluster_http(struct pilot_job *j, Cluster__Cluster *c, enum pilot_protocol protocol,
	const struct pilot_policy *pol, const Nw__ClientTLSSettings *tls);
void pilot_cluster_limits(struct pilot_job *j, Cluster__Cluster *c, const struct pilot_policy *pol);

/* outlier.c */
Uphttp__HttpProtocolOptions__OutlierDetection *pilot_outlier_codes(
	struct pilot_job *j, const Nw__OutlierDetection *o);
void pilot_cluster_outliers(
	struct pilot_job *j, Cluster__Cluster *c, const struct pilot_policy *pol);
void pilot_cluster_checks(struct pilot_job *j, Cluster__Cluster *c, const struct pilot_policy *pol,
	const struct pilot_service *s, bool h2);

/* locality.c: how the endpoints of a cluster are ranked or weighed for a proxy. */
struct pilot_locality {
	enum { PILOT_LOCALITY_FLAT, PILOT_LOCALITY_WEIGHTS, PILOT_LOCALITY_RANKS } how;
	const Nw__LocalityLoadBalancerSetting *set; /* NULL with RANKS: by locality alone */
	const Nw__LocalityLoadBalancerSetting__Distribute *weights;
};
struct pilot_locality pilot_locality_of(struct pilot_job *j, const struct pilot_policy *pol);
/* The cluster's balancer has to look at localities, for some proxy at least. */
bool pilot_locality_weighted(struct pilot_job *j, const struct pilot_policy *pol);
/* Of everything that ranks and weights read of the proxy; 0 when FLAT. */
uint64_t pilot_locality_fp(struct pilot_job *j, const struct pilot_locality *l);
/* 0 is the best; gaps are allowed. */
unsigned pilot_locality_rank(
	struct pilot_job *j, const struct pilot_locality *l, const struct pilot_endpoint *e);
/* WEIGHTS: sets the weights of the localities and takes those out that get nothing. */
void pilot_locality_weigh(
	struct pilot_job *j, const struct pilot_locality *l, Endpoint__ClusterLoadAssignment *m);
