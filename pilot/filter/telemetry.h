/* Access logs, spans, and where they go. Private to translate/ and filter/. */
#pragma once

#include "pilot/filter/filter.h"
#include "pilot/model/telemetry.h"

struct pilot_provider {
	const Mesh__MeshConfig__ExtensionProvider *ext; /* NULL: one of the built-in names */
	const char *cluster;
	const char *host; /* of the service, or HOST:PORT; NULL: a file */
};
/* A provider that can be used here; what is missing is noted on object id. */
bool pilot_provider(struct pilot_job *j, const char *name, uint32_t id, struct pilot_provider *ret);
/* Fills job->telemetry; the services of providers in use have clusters. */
void pilot_scope_telemetry(struct pilot_job *j);
/* Clusters of providers that are addresses. */
enum { PILOT_PROVIDER_CLUSTERS = 2 };
size_t pilot_provider_clusters(
	struct pilot_job *j, const char *ret[static PILOT_PROVIDER_CLUSTERS]);
Cluster__Cluster *pilot_provider_cluster(struct pilot_job *j, const char *name); /* NULL: not one */

/* The access logs of a place. */
size_t pilot_access_logs(const struct pilot_filter_in *in, bool http, Accesslog__AccessLog ***ret);
/* NULL: no spans. */
Hcm__HttpConnectionManager__Tracing *pilot_tracing(const struct pilot_filter_in *in);
/* NULL: as Envoy has it. */
Hcm__RequestIDExtension *pilot_request_id(const struct pilot_filter_in *in);

static inline const struct pilot_telemetry_side *pilot_side_of(const struct pilot_filter_in *in)
{
	return &in->j->telemetry.side[in->at == PILOT_AT_INBOUND ? PILOT_SERVER : PILOT_CLIENT];
}
