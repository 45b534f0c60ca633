/* Translation: (world, any proxy of a class) -> Envoy resources. Pure: no I/O, no clock, no globals;
 * a job belongs to one thread, several jobs may read one world at once.
 *
 * Two steps, so that a change costs what it changed. First a *plan*: the names of all resources of a
 * table, each with a fingerprint of everything that its translation reads (objects, services, mesh
 * settings, the class). Then *build* of those whose fingerprint is not the one in hand. Equal name,
 * equal fingerprint: equal message. Different fingerprints may still build equal messages: compare
 * the hash of the packed bytes before sending. Fingerprints hold across jobs and worlds: clusters,
 * endpoints and virtual hosts without rules have the same ones in every class that sees the service
 * alike, so that one resource can serve several classes.
 *
 *   struct pilot_job *j = pilot_job_new(world, proxy, arena);
 *   pilot_plan(j, PILOT_CLUSTERS, &plan);
 *   for each item: if cached(item.name, item.fp) reuse; else pilot_build(j, &item, &msg);
 *
 * A route configuration is a header and virtual hosts, each with a name and a fingerprint of its own:
 * pilot_plan_route() plans them, and the packed whole is the header's bytes followed by, for each
 * virtual host, field 2 (tag 0x12), its length and its bytes: a rope.
 *
 * Everything made lies in the job's arena: messages, names, plans, notes. */
#pragma once

#include "pilot/model/class.h"
#include "pilot/model/world.h"

struct pilot_job;

/* Resolves what the proxy sees (sidecar scope or gateway servers). world, proxy and arena must
 * outlive the job, which is freed with the arena. */
struct pilot_job *pilot_job_new(
	const struct pilot_world *w, const struct pilot_proxy *p, struct mt_arena *a);
/* Which services the proxy has clusters of: a heap block to mt_free(), which holds for all proxies of
 * its endpoint class until a world is built anew (updates keep it). NULL for a gateway. */
uint8_t *pilot_job_scope(const struct pilot_job *j);
/* A job for endpoints alone (pilot_clusters_of(), plans and builds of PILOT_ENDPOINTS), which does not
 * have to find out what the proxy sees. scope is borrowed. */
struct pilot_job *pilot_job_endpoints(const struct pilot_world *w, const struct pilot_proxy *p,
	const uint8_t *scope, struct mt_arena *a);
/* Notes of all plans and builds so far. A plan's carry its table (those of what the proxy sees at all
 * one that is planned whenever that may have changed), a build's PILOT_NOTE_BUILT. */
const struct pilot_notes *pilot_job_notes(const struct pilot_job *j);
/* Those of everything that the proxy gets, each once: plans and builds it all. For tests; Pilot keeps
 * notes beside what carries them. */
void pilot_job_all_notes(struct pilot_job *j, struct pilot_notes *ret);

struct pilot_item {
	const char *name;
	uint64_t fp;
	const void *what; /* private to the translation */
	uint8_t how;      /* private */
};
struct pilot_plan {
	struct pilot_item
		*v; /* sorted by name for clusters and listeners; order matters for vhosts */
	size_t n;
	size_t cap;
};

struct pilot_built {
	const char *name;
	ProtobufCMessage *msg;
	const uint32_t *prov; /* ids of objects, sorted, without repeats */
	size_t nprov;
};

/* Clusters and listeners (the four of those tables): every resource that the proxy gets.
 * PILOT_ENDPOINTS: every cluster of the PILOT_CLUSTERS plan that is discovered by EDS; the
 * fingerprint covers the endpoints. PILOT_ROUTES: every route configuration that its listeners name;
 * the fingerprint covers the header and all virtual hosts in order. PILOT_VIRTUAL_HOSTS: those hosts,
 * named "ROUTE/host:port", for a proxy that takes them as resources of their own (then the route
 * configuration is its header), else nothing. */
void pilot_plan(struct pilot_job *j, enum pilot_table t, struct pilot_plan *ret);
/* One of them by name (endpoints, routes: Envoy subscribes by name). false: there is none. */
bool pilot_plan_one(
	struct pilot_job *j, enum pilot_table t, const char *name, struct pilot_item *ret);
/* msg is Cluster, ClusterLoadAssignment, Listener, or a whole RouteConfiguration. */
void pilot_build(struct pilot_job *j, const struct pilot_item *it, struct pilot_built *ret);

struct pilot_route_plan {
	struct pilot_built header; /* RouteConfiguration without virtual hosts */
	/* None of them when they are resources of their own. */
	struct pilot_plan vhosts; /* pilot_build() makes each a VirtualHost, named "host:port" */
};
/* item: of PILOT_ROUTES. */
void pilot_plan_route(
	struct pilot_job *j, const struct pilot_item *it, struct pilot_route_plan *ret);

/* "outbound|9080|v1|reviews.default.svc.cluster.local" taken apart; the parts lie in buf.
 * MT_INVALID. */
struct pilot_cluster_name {
	bool inbound;
	uint16_t port;
	const char *subset; /* "" none */
	const char *host;   /* "" for inbound */
	char buf[512];
};
int pilot_cluster_name_parse(const char *name, struct pilot_cluster_name *ret);

/* For the declared flow: which cluster names (with subsets) of the job depend on the endpoints of a
 * service. Names in the job's arena; returns how many. */
size_t pilot_clusters_of(struct pilot_job *j, uint32_t service, const char ***ret);
