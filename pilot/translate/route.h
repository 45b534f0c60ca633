/* Route configurations. Private to translate/. */
#pragma once

#include "envoy/config/route/v3/route.pb-c.h"
#include "pilot/translate/job.h"

struct pilot_route_ref {
	const char *name;
	const struct pilot_egress *egress; /* sidecar */
	uint16_t port;                     /* 0: every HTTP port (HTTP_PROXY) */
	int one;                           /* index of the only service, -1: all of the port */
	bool any_host; /* hosts of virtual services without a service stand here too */
	const struct pilot_gw_server *server; /* gateway, HTTPS */
	const struct pilot_gw_port *gateway;  /* gateway, plain HTTP: all servers of the port */
	struct pilot_plan vhosts;
};

enum pilot_vhost_kind {
	PILOT_VHOST_SERVICE,  /* of a service, with its virtual service if any */
	PILOT_VHOST_RULE,     /* of virtual services alone: gateways, hosts without a service */
	PILOT_VHOST_REDIRECT, /* a gateway's host that only redirects to HTTPS */
	PILOT_VHOST_ANY,      /* what no virtual host claims */
};
struct pilot_vhost_ref {
	enum pilot_vhost_kind kind;
	const char **domains;
	size_t ndomains;
	size_t cap;
	int svc; /* index, -1 none */
	uint16_t port;
	const struct pilot_vs **vs;
	size_t nvs;
	const struct pilot_gw_server *server; /* gateway */
	bool passthrough;                     /* ANY: goes on to where it was going */
	bool require_tls;
	const struct pilot_route_ref *rc; /* whose it is, when patches touch it; else NULL */
};

/* prov.c: virtual services that claim the host of this one too, and lost. */
uint64_t pilot_prov_rivals_fp(struct pilot_job *j, const struct pilot_vhost_ref *ref);
void pilot_prov_rivals(struct pilot_job *j, const struct pilot_vhost_ref *ref);

/* A route configuration with the virtual host of one service alone. */
void pilot_plan_route_of(
	struct pilot_job *j, struct pilot_plan *p, struct pilot_route_ref *rc, uint32_t svc);
/* The same of a host that only a virtual service knows. */
void pilot_plan_route_rule(struct pilot_job *j, struct pilot_plan *p, struct pilot_route_ref *rc,
	const struct pilot_vs *vs, const char *host);
void pilot_plan_routes(struct pilot_job *j, struct pilot_plan *p);
void pilot_plan_virtual_hosts(struct pilot_job *j, struct pilot_plan *p);
ProtobufCMessage *pilot_build_vhost_apart(struct pilot_job *j, const struct pilot_item *it);
ProtobufCMessage *pilot_build_route(struct pilot_job *j, const struct pilot_item *it);
ProtobufCMessage *pilot_build_vhost(struct pilot_job *j, const struct pilot_item *it);
void pilot_built_finish(struct pilot_job *j, struct pilot_built *b);

/* Where rules are read: a sidecar's port, or a gateway's server. */
struct pilot_route_ctx {
	struct pilot_job *j;
	const struct pilot_vs *vs;            /* whose rule it is, perhaps a delegate */
	const char *path;                     /* of the rule in it, for notes */
	const struct pilot_gw_server *server; /* NULL: mesh */
	uint16_t port;
};
struct pilot_route_ctx pilot_route_ctx(struct pilot_job *j, const struct pilot_http *h,
	const struct pilot_gw_server *server, uint16_t port);
/* Some HTTP rule is for this proxy, or this server of it. */
bool pilot_vs_applies(struct pilot_job *j, const struct pilot_vs *vs,
	const struct pilot_gw_server *server, uint16_t port);
/* false: the match is not for here. NULL match: everything. */
bool pilot_match_applies(const struct pilot_route_ctx *c, const Nw__HTTPMatchRequest *m);
Route__RouteMatch *pilot_match_build(struct pilot_job *j, const Nw__HTTPMatchRequest *m);
/* Nothing gets past this match. */
bool pilot_match_all(const Nw__HTTPMatchRequest *m);
/* The action and all that hangs on the route: headers, faults, CORS. m: which match it is for. */
void pilot_action_build(const struct pilot_route_ctx *c, const Nw__HTTPRoute *h,
	const Nw__HTTPMatchRequest *m, Route__Route *r);
void pilot_redirect(const struct pilot_route_ctx *c, Route__Route *r, const Nw__HTTPRedirect *d);
void pilot_direct_response(struct pilot_job *j, Route__Route *r, const Nw__HTTPDirectResponse *d);
/* NULL rule: the default ones. hashed: the route has a hash policy. NULL: none. */
Route__RetryPolicy *pilot_retries(struct pilot_job *j, const Nw__HTTPRetry *r, bool hashed);

enum pilot_header_dir { PILOT_REQUEST, PILOT_RESPONSE };
struct pilot_headers {
	struct mt_arena *a;
	Core__HeaderValueOption **add[2];
	size_t nadd[2];
	char **del[2];
	size_t ndel[2];
	const char *host; /* Host or :authority is set: a rewrite; NULL none */
};
void pilot_headers_route(struct pilot_headers *l, const Nw__HTTPRoute *h);
void pilot_headers_dest(struct pilot_headers *l, const Nw__HTTPRouteDestination *d);
/* Into a Route or a ClusterWeight. */
#define PILOT_PUT_HEADERS(m, l)                                                                    \
	do {                                                                                       \
		(m)->request_headers_to_add = (l).add[0];                                          \
		(m)->n_request_headers_to_add = (l).nadd[0];                                       \
		(m)->response_headers_to_add = (l).add[1];                                         \
		(m)->n_response_headers_to_add = (l).nadd[1];                                      \
		(m)->request_headers_to_remove = (l).del[0];                                       \
		(m)->n_request_headers_to_remove = (l).ndel[0];                                    \
		(m)->response_headers_to_remove = (l).del[1];                                      \
		(m)->n_response_headers_to_remove = (l).ndel[1];                                   \
	} while (0)
/* The route of a service that no rule speaks of. */
Route__Route *pilot_route_default(struct pilot_job *j, int svc, uint16_t port);
