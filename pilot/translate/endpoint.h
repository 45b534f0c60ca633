/* Load assignments. Private to translate/. */
#pragma once

#include "envoy/config/endpoint/v3/endpoint.pb-c.h"
#include "pilot/translate/job.h"

void pilot_plan_endpoints(struct pilot_job *j, struct pilot_plan *p);
bool pilot_plan_endpoints_one(struct pilot_job *j, const char *name, struct pilot_item *ret);
ProtobufCMessage *pilot_build_endpoints(struct pilot_job *j, const struct pilot_item *it);
/* Also the inline assignment of a DNS cluster. */
Endpoint__ClusterLoadAssignment *pilot_load_assignment(
	struct pilot_job *j, const char *name, const struct pilot_cluster_ref *ref);
/* Of what the assignment reads of the proxy's own place; 0 nothing. */
uint64_t pilot_endpoints_place_fp(
	struct pilot_job *j, const struct pilot_dr *dr, const struct pilot_cluster_ref *ref);
/* One address, for clusters of our own making. */
Endpoint__ClusterLoadAssignment *pilot_load_one(
	struct pilot_job *j, const char *name, const char *addr, uint16_t port);
