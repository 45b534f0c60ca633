/* Classes of proxies (idea 4 of the design): proxies whose keys are equal for a table get the same
 * resources of that table, built once from any one of them.
 *
 * A key is a text that spells out everything about a proxy that the table's translation may read:
 * equal text, equal result. It is exact (labels come from outside: a chosen hash collision must not
 * hand one workload the configuration of another), and it can be shown. Only labels that some
 * selector mentions are in it. Keys depend on the index of the world, not on endpoints, but for the
 * inbound tables, which depend on pilot_world_instances(). Pure; threads: any. */
#pragma once

#include "pilot/model/world.h"

enum pilot_table {
	PILOT_CLUSTERS,         /* outbound clusters, black hole, pass-through, mixer */
	PILOT_CLUSTERS_INBOUND, /* inbound ones: shared by the replicas of a workload */
	PILOT_ENDPOINTS,
	PILOT_LISTENERS,         /* outbound (sidecar), servers (gateway) */
	PILOT_LISTENERS_INBOUND, /* shared by replicas; with captureMode NONE per proxy */
	PILOT_ROUTES,
	PILOT_ROUTES_INBOUND, /* shared by replicas; always whole */
	PILOT_VIRTUAL_HOSTS, /* of the routes, for proxies that take them as resources of their own */
	PILOT_TABLES
};

struct pilot_class_key {
	uint64_t hash;
	const char *text; /* in the arena that was given */
};

/* Do inbound listeners of the proxy have something of it alone in them (addresses that they bind, facts
 * that travel to Mixer)? Else replicas share them. */
bool pilot_class_own_inbound(const struct pilot_world *w, const struct pilot_proxy *p);

/* The same for its inbound routes: facts for Mixer alone. */
bool pilot_class_own_inbound_routes(const struct pilot_world *w);

/* Returns how many instances the proxy is. */
size_t pilot_class_keys(const struct pilot_world *w, const struct pilot_proxy *p,
	struct mt_arena *a, struct pilot_class_key ret[PILOT_TABLES]);
