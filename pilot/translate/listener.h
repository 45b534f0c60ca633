/* Listeners. Private to translate/. */
#pragma once

#include "envoy/config/listener/v3/listener.pb-c.h"
#include "pilot/filter/filter.h"
#include "pilot/translate/job.h"
#include "pilot/translate/names.h"

void pilot_plan_listeners(struct pilot_job *j, struct pilot_plan *p);
void pilot_plan_listeners_inbound(struct pilot_job *j, struct pilot_plan *p);
/* Of what inbound resources may say of the proxy alone. */
uint64_t pilot_proxy_fp(const struct pilot_job *j);
/* The routes of HTTP chains of inbound listeners, each named as its port's cluster. */
void pilot_plan_routes_inbound(struct pilot_job *j, struct pilot_plan *p);
ProtobufCMessage *pilot_build_route_inbound(struct pilot_job *j, const struct pilot_item *it);
ProtobufCMessage *pilot_build_listener(struct pilot_job *j, const struct pilot_item *it);

/* A port of a service behind an outbound listener. */
struct pilot_out_target {
	uint32_t svc;
	uint32_t port;    /* index */
	const char *cidr; /* of a wildcard listener: only this block */
};
struct pilot_out_listener {
	const char *name;
	const char *bind;
	uint16_t port;
	bool capture;
	const struct pilot_egress *egress;
	/* RDS name: it is HTTP; NULL: TCP. With targets too, the first bytes decide. */
	const char *route;
	bool one;           /* the routes are those of its one target */
	unsigned protocols; /* bit mask of enum pilot_protocol, of the HTTP services */
	struct pilot_out_target *v;
	size_t n;
	size_t cap;
	uint64_t fp;
};
/* Every outbound listener but the virtual one. Also tells which routes are named. */
size_t pilot_out_listeners(struct pilot_job *j, struct pilot_out_listener **ret);
Listener__Listener *pilot_build_out(struct pilot_job *j, const struct pilot_out_listener *o);
Listener__Listener *pilot_build_gateway(struct pilot_job *j, const struct pilot_gw_port *g);
Listener__Listener *pilot_build_inbound_own(struct pilot_job *j, const struct pilot_inbound *in);
Listener__Listener *pilot_build_inbound_virtual(struct pilot_job *j);

Listener__Listener *pilot_listener_new(struct pilot_job *j, const char *name, const char *bind,
	uint16_t port, Core__TrafficDirection dir);
Listener__FilterChain *pilot_chain_new(struct pilot_job *j, const char *name, Listener__Filter *f);
/* The chain's match, made when it has none. */
Listener__FilterChainMatch *pilot_chain_match(struct pilot_job *j, Listener__FilterChain *c);
void pilot_listener_filter(
	struct pilot_job *j, Listener__Listener *l, const char *name, const char *type);
void pilot_tls_inspector(struct pilot_job *j, Listener__Listener *l);  /* once a listener */
void pilot_http_inspector(struct pilot_job *j, Listener__Listener *l); /* the same */
/* The chain takes what the inspector found to be HTTP in plaintext. */
void pilot_match_http(struct pilot_job *j, Listener__FilterChain *c);
/* What a protocol needs besides the TCP proxy that ends the chain: statistics for Mongo; Redis is
 * spoken instead of passed on when the option says so and everything goes to one cluster (else NULL). */
void pilot_chain_protocol(struct pilot_job *j, Listener__FilterChain *c,
	enum pilot_protocol protocol, const char *stat_prefix, const char *cluster);

/* The chains of one listener, kept from overlapping. Set j and l. */
struct pilot_chains {
	struct pilot_job *j;
	Listener__Listener *l;
	struct pilot_names taken;
};
/* What a chain takes: every combination; an empty list (and the name "*"): any. */
struct pilot_chain_on {
	uint32_t id;      /* whose it is, for notes and provenance */
	const char *path; /* where in it */
	char *const *sni;
	size_t nsni;
	char *const *dst; /* blocks of addresses */
	size_t ndst;
	char *const *src;
	size_t nsrc;
};
/* Adds fc (its match is made here), or what of it no earlier chain takes. */
void pilot_chains_add(
	struct pilot_chains *c, const struct pilot_chain_on *on, const Listener__FilterChain *fc);

/* Where the tcp and tls rules of a virtual service are read. */
struct pilot_l4_ctx {
	struct pilot_chains *c;
	struct pilot_filter_in f;
	const struct pilot_vs *vs;
	const struct pilot_gw_server *server; /* NULL: mesh */
	uint16_t port;
	enum pilot_protocol protocol;
	const char *stat;
	Core__TransportSocket *socket; /* NULL none */
	char *const *sni;              /* of tcp rules: names of the server that terminates TLS */
	size_t nsni;
	char *const *cidr; /* of rules that name no subnets */
	size_t ncidr;
};
/* Chains of the tcp rules that are for here. true: one takes every connection. */
bool pilot_tcp_rules(const struct pilot_l4_ctx *c);
/* Chains of the tls rules. true: there was one for here. */
bool pilot_tls_rules(const struct pilot_l4_ctx *c);
/* Everything that those rules read beyond the job's own fingerprints. */
uint64_t pilot_l4_fp(struct pilot_job *j, const struct pilot_vs *vs);

struct pilot_hcm {
	struct pilot_filter_in f;
	const char *stat_prefix;
	const char *rds; /* name of its route configuration */
	bool h2_only;
	bool mtls;
};
Listener__Filter *pilot_hcm_filter(struct pilot_job *j, const struct pilot_hcm *h);
Listener__Filter *pilot_tcp_filter(struct pilot_job *j, const struct pilot_filter_in *f,
	const char *stat_prefix, const char *cluster);
/* Weighted destinations of a tcp or tls route. */
Listener__Filter *pilot_tcp_route_filter(struct pilot_job *j, const struct pilot_filter_in *f,
	const char *stat_prefix, Nw__RouteDestination **dst, size_t n, const struct pilot_vs *vs,
	const char *path, uint16_t port);
const char *pilot_listener_name(struct pilot_job *j, const char *bind, uint16_t port);
/* RDS name of an HTTPS server of a gateway, and of the plain HTTP servers of a port. */
const char *pilot_https_route(struct pilot_job *j, const struct pilot_gw_server *s);
const char *pilot_http_route(struct pilot_job *j, const struct pilot_gw_port *g);
bool pilot_server_plain_http(const Nw__Server *s);
bool pilot_server_auto(const Nw__Server *s); /* AUTO_PASSTHROUGH */

/* A gateway's listener while it is put together. */
struct pilot_gw_chains {
	struct pilot_job *j;
	struct pilot_filter_in f;
	struct pilot_chains out;
};
/* What a server's host ("ns/host", "./host", "*" + "/host" or "host") and a host of namespace ns have
 * in common: the narrower of the two, NULL nothing. */
const char *pilot_gw_host(
	const struct pilot_gw_server *s, const char *pattern, const char *ns, const char *host);
/* The chains of an AUTO_PASSTHROUGH server, and what they read. */
uint64_t pilot_gw_auto_fp(struct pilot_job *j, const struct pilot_gw_port *g);
void pilot_gw_auto(struct pilot_gw_chains *c, const struct pilot_gw_server *s);
/* Hosts that a virtual service claims on a gateway's server: array in the arena. */
size_t pilot_server_hosts(struct pilot_job *j, const struct pilot_gw_server *s,
	const struct pilot_vs *vs, const char ***ret);
