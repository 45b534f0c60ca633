/* Proxyless gRPC: clients and servers that speak xDS themselves. Private to translate/.
 *
 * Such a client asks by name: a listener "host:port" (the rest of its `xds:///host:port`), the route
 * configuration that this names, the clusters that the routes name, their endpoints. The plans hold
 * everything that it may ask for; the discovery server sends what it did ask for. */
#pragma once

#include "pilot/translate/job.h"
#include "pilot/translate/route.h"

/* Any table but PILOT_ENDPOINTS, which is planned as for everybody. */
void pilot_plan_grpc(struct pilot_job *j, enum pilot_table t, struct pilot_plan *p);
/* PILOT_HOW_GRPC_LISTENER and PILOT_HOW_GRPC_SERVER. */
ProtobufCMessage *pilot_build_grpc(struct pilot_job *j, const struct pilot_item *it);
/* What a sidecar would get, cut down to what gRPC knows; other messages are returned as they are.
 * gRPC rejects a whole response for one value that it does not know, so nothing is passed on that is
 * not named in grpc_cut.c or grpc_route.c. */
ProtobufCMessage *pilot_grpc_cut(
	struct pilot_job *j, const struct pilot_item *it, ProtobufCMessage *m);

/* ---- among the files ---- */
struct pilot_grpc_listener {
	const char *route; /* name of the route configuration */
	uint32_t id;       /* of the virtual service of a host that no service has; else 0 */
};
/* grpc_hosts.c: a host that only a virtual service knows, at a port. */
struct pilot_grpc_host {
	const struct pilot_vs *vs;
	const struct pilot_egress *egress;
	const char *host;
	uint16_t port;
	bool bare; /* the host without a port means this one */
};
typedef void pilot_grpc_host_fn(struct pilot_job *j, const struct pilot_grpc_host *to, void *arg);
/* Each of them that the client sees, once. */
void pilot_grpc_hosts(struct pilot_job *j, pilot_grpc_host_fn *fn, void *arg);
const char *pilot_grpc_route_name(struct pilot_job *j, uint16_t port, const char *host);
/* grpc_route.c */
void pilot_grpc_cut_route(struct pilot_job *j, ProtobufCMessage *route_configuration);
ProtobufCMessage *pilot_grpc_cut_vhost(struct pilot_job *j, ProtobufCMessage *virtual_host);
/* grpc_notes.c: what of a rule is left out. m: which match; NULL everything. */
void pilot_grpc_notes(
	const struct pilot_route_ctx *c, const Nw__HTTPRoute *h, const Nw__HTTPMatchRequest *m);
