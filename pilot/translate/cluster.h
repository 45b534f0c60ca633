/* Clusters. Private to translate/. */
#pragma once

#include "envoy/config/cluster/v3/cluster.pb-c.h"
#include "pilot/translate/job.h"

void pilot_plan_clusters(struct pilot_job *j, struct pilot_plan *p);
void pilot_plan_clusters_inbound(struct pilot_job *j, struct pilot_plan *p);
ProtobufCMessage *pilot_build_cluster(struct pilot_job *j, const struct pilot_item *it);
/* gateway_sni.c: for each cluster planned so far that an AUTO_PASSTHROUGH server covers, its twin. */
void pilot_plan_sni_clusters(struct pilot_job *j, struct pilot_plan *p);
/* Is this the name of such a twin? Its parts. */
bool pilot_sni_cluster(struct pilot_job *j, const char *name, struct pilot_cluster_name *ret);
/* Name of the twin, NULL none. */
const char *pilot_sni_twin(
	struct pilot_job *j, const struct pilot_service *s, uint32_t port, const char *subset);

/* What is spoken to a service: HTTP/1.1 becomes HTTP/2 on the way where the rule says so, or the mesh
 * does and the service is of the mesh. */
enum pilot_protocol pilot_cluster_protocol(struct pilot_job *j, const struct pilot_cluster_ref *ref,
	const Nw__ConnectionPoolSettings *pool);
/* What the mesh configuration says of clusters of services and no rule said otherwise: keepalive, DNS
 * refreshing, names of statistics. */
void pilot_cluster_mesh(
	struct pilot_job *j, Cluster__Cluster *c, const struct pilot_cluster_ref *ref);
void pilot_cluster_mesh_inbound(
	struct pilot_job *j, Cluster__Cluster *c, const struct pilot_inbound *in);
