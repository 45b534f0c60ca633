/* The index of a world, seen from inside: what translation walks. Everything lies in the index's own
 * arena and is immutable. Only pilot/model and pilot/translate include this. */
#pragma once

#include "istio/networking/v1alpha3/destination_rule.pb-c.h"
#include "istio/networking/v1alpha3/gateway.pb-c.h"
#include "istio/networking/v1alpha3/sidecar.pb-c.h"
#include "istio/networking/v1alpha3/virtual_service.pb-c.h"
#include "istio/telemetry/v1alpha1/telemetry.pb-c.h"
#include "meltemi/networking/v1/health_check.pb-c.h"
#include "pilot/model/world.h"

struct pilot_vs;
/* An HTTP rule in force: the virtual service's own, or one that it delegates to another. */
struct pilot_http {
	const Nw__HTTPRoute *spec;   /* what both say, merged */
	const struct pilot_vs *from; /* whose rule it is: short names and notes are this one's */
	size_t at;                   /* index in that one's spec.http */
};
struct pilot_vs {
	uint32_t id;
	const struct mt_object *obj;
	const Nw__VirtualService *spec; /* as written; HTTP rules in force are below */
	struct pilot_http *http;
	size_t nhttp;
	uint64_t hash;      /* of id, object and delegates */
	const char **hosts; /* resolved */
	size_t nhosts;
	const char **gateways; /* "ns/name"; without "mesh" */
	size_t ngateways;
	bool mesh; /* for sidecars */
};

struct pilot_subset {
	const Nw__Subset *spec;
	uint32_t id;
};
/* Destination rules of one host, namespace, exportTo and workload selector, merged: the oldest's policy,
 * subsets of all. */
struct pilot_dr {
	const char *host;
	const char *ns;
	const char *const *export_to; /* of the rule, or the mesh's default */
	size_t nexport_to;
	const Istype__WorkloadSelector *selector; /* NULL: every workload */
	const Meltemi__HealthCheck *health;       /* NULL: none; of the oldest that has one */
	const struct mt_object *obj;              /* the oldest */
	const Nw__TrafficPolicy *policy;          /* NULL none */
	struct pilot_subset *subsets;
	size_t nsubsets;
	uint32_t *ids;
	size_t nids;
	uint64_t hash;
};

struct pilot_gw {
	uint32_t id;
	const struct mt_object *obj;
	const Nw__Gateway *spec;
	const char *name; /* "ns/name" */
};

struct pilot_sidecar {
	uint32_t id;
	const struct mt_object *obj;
	const Nw__Sidecar *spec;
};

enum pilot_mtls { PILOT_MTLS_UNSET, PILOT_MTLS_DISABLE, PILOT_MTLS_PERMISSIVE, PILOT_MTLS_STRICT };

struct pilot_peer_auth { /* PeerAuthentication, Policy or MeshPolicy */
	uint32_t id;
	const struct mt_object *obj;
};

struct pilot_telemetry_obj {
	uint32_t id;
	const struct mt_object *obj;
	const Telemetry__Telemetry *spec;
};

struct pilot_vs_host { /* sorted by host, then oldest first */
	const char *host;
	const struct pilot_vs *vs;
};

struct pilot_index {
	struct mt_ref ref;
	struct mt_arena *arena;
	uint64_t hash;
	struct pilot_mesh mesh;
	struct pilot_notes notes;

	const struct mt_object **objs; /* references held */
	size_t nobjs;
	const struct pilot_service *
		*svcs; /* sorted by hostname, registry order and age; references */
	size_t nsvcs;

	struct pilot_vs *vss; /* oldest first */
	size_t nvss;
	struct pilot_vs_host *mesh_hosts; /* exact and wildcard hosts of mesh virtual services */
	size_t nmesh_hosts;
	struct pilot_vs_host *wild_hosts; /* only the wildcards, the longest first */
	size_t nwild_hosts;
	struct pilot_dr
		*drs; /* sorted by host, ns; those with a selector first, then oldest first */
	size_t ndrs;
	const struct pilot_dr **wild_drs; /* the longest host first */
	size_t nwild_drs;
	struct pilot_gw *gws; /* oldest first */
	size_t ngws;
	struct pilot_sidecar *sidecars; /* oldest first */
	size_t nsidecars;
	struct pilot_peer_auth *peers; /* PeerAuthentication, oldest first */
	size_t npeers;
	struct pilot_peer_auth *policies; /* authentication.istio.io, oldest first */
	size_t npolicies;
	struct pilot_telemetry_obj *telemetries; /* oldest first */
	size_t ntelemetries;
	struct pilot_patch
		*patches; /* in the order in which they apply: pilot/model/envoy_filter.h */
	size_t npatches;
	const char **meta_keys; /* of a node's metadata, mentioned by a patch, sorted */
	size_t nmeta_keys;
	uint64_t auth_hash;      /* of both */
	bool dns_by_locality;    /* clusters resolved by name may depend on the proxy's locality */
	const char **label_keys; /* mentioned by a selector, sorted */
	size_t nlabel_keys;
	const char **secrets; /* that gateways, sidecars and destination rules name, sorted */
	size_t nsecrets;
};

enum { PILOT_CHUNK = 64 };
struct pilot_chunk {
	struct mt_ref ref;
	struct pilot_endpoints *eps[PILOT_CHUNK];
};
struct pilot_addr { /* sorted by hash */
	uint64_t hash;
	uint32_t service;
	uint32_t endpoint;
};
struct pilot_addrs {
	struct mt_ref ref;
	uint64_t hash;
	size_t n;
	struct pilot_addr v[];
};
struct pilot_world {
	struct mt_ref ref;
	struct pilot_index *ix;
	struct pilot_addrs *addrs;
	size_t nchunks;
	struct pilot_chunk *chunks[];
};

static inline const struct pilot_endpoints *pilot_world_eps(const struct pilot_world *w, size_t i)
{
	return w->chunks[i / PILOT_CHUNK]->eps[i % PILOT_CHUNK];
}

/* The sidecar object that a proxy gets: by selector, of its namespace, of the root. NULL none. */
const struct pilot_sidecar *pilot_index_sidecar(
	const struct pilot_index *ix, const struct pilot_proxy *p);
/* The destination rule that a client obeys for a host: its own namespace's, the service's (svc_ns), the
 * root's; exact before wildcard; among those of its own namespace one that selects it before one for
 * everybody. NULL none. */
const struct pilot_dr *pilot_index_dr(const struct pilot_index *ix, const char *host,
	const struct pilot_proxy *p, const char *svc_ns);
/* Range of mesh_hosts with exactly this host. */
size_t pilot_index_mesh_hosts(
	const struct pilot_index *ix, const char *host, const struct pilot_vs_host **ret);
/* Who is asked about: a workload and one of its ports. */
struct pilot_mtls_query {
	const char *ns;
	const struct mt_kv *labels;
	size_t nlabels;
	uint16_t port;       /* the workload's own; 0 any */
	const char *service; /* short name, NULL none: 1.0's policies target services */
	uint16_t service_port;
};
/* The mode in force; the object that said so goes to ret_id (0: the mesh's default). */
enum pilot_mtls pilot_index_mtls(
	const struct pilot_index *ix, const struct pilot_mtls_query *q, uint32_t *ret_id);

/* exportTo; when the object says nothing, the mesh's default for its kind. */
enum pilot_export { PILOT_EXPORT_SERVICE, PILOT_EXPORT_VS, PILOT_EXPORT_DR };
bool pilot_index_exported(const struct pilot_index *ix, enum pilot_export kind,
	const char *const *to, size_t n, const char *own_ns, const char *from_ns);

/* For world.c: fill a part of the index. */
void pilot_index_mesh(struct pilot_index *ix, const struct pilot_world_in *in);
void pilot_mesh_notes(struct pilot_index *ix); /* fields that are set and have no effect here */
void pilot_index_rules(struct pilot_index *ix, const struct pilot_world_in *in);
void pilot_index_destinations(struct pilot_index *ix, const struct pilot_world_in *in);
void pilot_index_keys(struct pilot_index *ix);
void pilot_index_delegates(struct pilot_index *ix); /* fills in http and hash of ix->vss */
/* Configs of one type, oldest first, in the arena. */
size_t pilot_index_of_type(struct pilot_index *ix, const struct pilot_world_in *in,
	const ProtobufCMessageDescriptor *d, struct pilot_config **ret);
int pilot_config_by_age(const void *a, const void *b);

void pilot_note_add(struct mt_arena *a, struct pilot_notes *n, uint32_t id,
	enum pilot_note_kind kind, const char *path, const char *fmt, ...) MT_PRINTF(6, 7);
