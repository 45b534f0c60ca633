/* What a proxy logs and traces: the mesh configuration's defaults, then the Telemetry objects of the
 * root namespace, of the proxy's own and those that select the workload, each over the one before.
 * Pure; threads: any. */
#pragma once

#include "istio/telemetry/v1alpha1/telemetry.pb-c.h"
#include "pilot/model/index.h"

/* The two ends of a request: gateways are clients. */
enum pilot_side { PILOT_CLIENT, PILOT_SERVER, PILOT_SIDES };

/* Providers that need no extensionProviders entry. */
#define PILOT_PROVIDER_FILE "envoy"                  /* accessLogFile, else standard output */
#define PILOT_PROVIDER_ALS "envoy_accesslog_service" /* defaultConfig.envoyAccessLogService */
#define PILOT_PROVIDER_TRACER "tracer"               /* defaultConfig.tracing, zipkinAddress */

struct pilot_log_use {
	const char *provider;
	const char *filter; /* CEL, NULL: all */
	uint32_t id;        /* object that said so */
};
struct pilot_trace_use {
	const char *provider;  /* NULL: no spans */
	double sampling;       /* percent */
	bool off;              /* nothing is reported */
	bool request_id_apart; /* the request's id does not decide about sampling */
	const Telemetry__Tracing__CustomTagsEntry *const *tags;
	size_t ntags;
	uint32_t id;
};
struct pilot_telemetry_side {
	struct pilot_log_use *logs;
	size_t nlogs;
	size_t cap;
	struct pilot_trace_use trace;
};
struct pilot_telemetry {
	struct pilot_telemetry_side side[PILOT_SIDES];
	const struct pilot_telemetry_obj *objs[3]; /* mesh, namespace, workload; NULL none */
	uint64_t hash;                             /* of the objects in force */
};

/* Notes what of the object has no effect. */
void pilot_telemetry_notes(struct pilot_index *ix, const struct pilot_telemetry_obj *t);
/* Everything lies in the arena or the index. */
void pilot_index_telemetry(const struct pilot_index *ix, const struct pilot_proxy *p,
	struct mt_arena *a, struct pilot_telemetry *ret);
/* An entry of extensionProviders by name, NULL none. */
const Mesh__MeshConfig__ExtensionProvider *pilot_mesh_provider(
	const struct pilot_mesh *m, const char *name);
/* The address of a provider that is not a service of the mesh: HOST:PORT, NULL none. */
const char *pilot_mesh_provider_address(const struct pilot_mesh *m, const char *name);
