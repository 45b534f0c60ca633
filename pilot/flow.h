/* The declared flow (idea 5 of the design): from what changed to the tables to recompute. */
#pragma once

#include "common/schema/kind.h"
#include "pilot/model/class.h"

enum {
	T_ALL = (1u << PILOT_TABLES) - 1,
	T_INBOUND = 1u << PILOT_CLUSTERS_INBOUND | 1u << PILOT_LISTENERS_INBOUND |
		1u << PILOT_ROUTES_INBOUND,
	T_OUTBOUND = T_ALL & ~T_INBOUND,
};

/* What happened since the last recomputation. */
struct pilot_dirty {
	bool any;
	bool index;         /* the world's index must be built again */
	bool services;      /* ... because services changed */
	unsigned tables;    /* bit mask of enum pilot_table */
	int64_t since_ns;   /* mono: when the first of the changes was seen */
	const char *reason; /* of the first: label of pilot_push_reasons */
};

void pilot_flow_object(struct pilot_dirty *d, enum mt_kind_id kind);
/* Endpoints only: the endpoint table, unless addresses moved (then inbound tables too). */
void pilot_flow_endpoints(struct pilot_dirty *d, bool addresses);
/* ... of which something stands in clusters. */
void pilot_flow_clusters(struct pilot_dirty *d);
void pilot_flow_all(struct pilot_dirty *d, const char *reason);
void pilot_flow_services(struct pilot_dirty *d);
/* A proxy refused what came of an object: what is in force is decided again. */
void pilot_flow_refused(struct pilot_dirty *d);
