/* A translation job from inside: what the proxy sees, resolved once. Private to translate/ and
 * filter/. */
#pragma once

#include "common/base/vec.h"
#include "pilot/model/host.h"
#include "pilot/model/index.h"
#include "pilot/model/telemetry.h"
#include "pilot/translate/pb.h"
#include "pilot/translate/tally.h"
#include "pilot/translate/translate.h"

/* An egress listener of the sidecar scope; without a Sidecar object there is one, the catch-all. */
struct pilot_egress {
	const Nw__IstioEgressListener *spec; /* NULL: everything */
	uint16_t port;                       /* 0: every port that no other listener has */
	enum pilot_protocol protocol;
	const char *bind;  /* address, or unix://; NULL: as captured */
	bool unix_socket;  /* bind is one: without a port, it is for those of all its services */
	bool capture;      /* false: binds for itself */
	const char *route; /* RDS name when HTTP and port is set */
	uint32_t *svcs;    /* indices, ascending: by hostname */
	size_t nsvcs;
};

/* A port on which the workload is served. */
struct pilot_inbound {
	uint16_t port; /* where connections arrive */
	enum pilot_protocol protocol;
	const char *bind; /* when not captured */
	bool capture;
	const char *to; /* address, or unix:// */
	uint16_t to_port;
	bool as_addressed;               /* not there, but where the connection was going */
	const struct pilot_service *svc; /* NULL: none known */
	const struct pilot_endpoint *ep; /* NULL: none known */
	uint16_t svc_port;
	enum pilot_mtls mtls;
	uint32_t mtls_id;
	const char *cluster; /* "inbound|9080||" */
	/* Of the Sidecar object, NULL none: */
	const Nw__ServerTLSSettings *tls; /* for who comes without the mesh's own TLS */
	const Nw__ConnectionPoolSettings *pool;
};

struct pilot_gw_server {
	const struct pilot_gw *gw;
	const Nw__Server *spec;
};
/* Servers of all selected gateways that share an address and port. */
struct pilot_gw_port {
	const char *bind;
	uint16_t port; /* 0: a Unix socket */
	bool plain_http;
	struct pilot_gw_server *v;
	size_t n;
	size_t cap;
};

struct pilot_prov {
	uint32_t *v;
	size_t n;
	size_t cap;
};

struct pilot_job {
	const struct pilot_world *w;
	const struct pilot_index *ix;
	const struct pilot_mesh *mesh;
	const struct pilot_proxy *p;
	struct mt_arena *a;
	struct pilot_notes notes;
	int8_t noting; /* the table that is planned, or PILOT_NOTE_BUILT: see pilot_job_noted() */
	struct pilot_tallies tallies;
	const struct pilot_sidecar *sidecar;
	bool passthrough;    /* outbound to what is not known: allowed */
	const char *unknown; /* the cluster that this goes to, BlackHoleCluster when not allowed */
	bool has_egress_proxy; /* it is that of a Sidecar's egressProxy */
	struct pilot_egress *egress;
	size_t negress;
	const uint8_t *clusters; /* by service index: has clusters here */
	uint8_t *marks;          /* the same, while what the proxy sees is being found out */
	bool dynamic_dns;        /* one of them is resolved from what requests ask for */
	struct pilot_inbound *inbound;
	size_t ninbound;
	struct pilot_gw_port *gws;
	size_t ngws;
	uint64_t fp_shared; /* mesh settings, address families, certificates: what clusters read */
	uint64_t fp;        /* that, and namespace, domain, labels, scope */
	const struct pilot_plan *routes; /* pilot_job_routes() */
	struct pilot_prov prov;          /* of the resource that is being built */
	bool pilot_in_gateway;
	struct pilot_telemetry telemetry;
	const struct pilot_patch **patches; /* for this proxy, in order */
	size_t npatches;
};

enum pilot_how {
	PILOT_HOW_CLUSTER,         /* struct pilot_cluster_ref */
	PILOT_HOW_CLUSTER_FIXED,   /* by name */
	PILOT_HOW_CLUSTER_INBOUND, /* struct pilot_inbound */
	PILOT_HOW_ENDPOINTS,       /* struct pilot_cluster_ref */
	PILOT_HOW_LISTENER_OUT,    /* struct pilot_out_listener */
	PILOT_HOW_LISTENER_VIRTUAL_OUT,
	PILOT_HOW_LISTENER_VIRTUAL_IN,
	PILOT_HOW_LISTENER_IN,      /* struct pilot_inbound */
	PILOT_HOW_LISTENER_GATEWAY, /* struct pilot_gw_port */
	PILOT_HOW_ROUTE,            /* struct pilot_route_ref */
	PILOT_HOW_ROUTE_INBOUND,    /* struct pilot_inbound */
	PILOT_HOW_VHOST,            /* struct pilot_vhost_ref */
	PILOT_HOW_VHOST_APART,      /* struct pilot_item of the host */
	PILOT_HOW_PATCHED,          /* struct pilot_patch, whose value it is */
	PILOT_HOW_GRPC_LISTENER,    /* struct pilot_grpc_listener */
	PILOT_HOW_GRPC_SERVER,      /* struct pilot_inbound */
};

struct pilot_cluster_ref {
	uint32_t svc;
	uint32_t port;      /* index */
	const char *subset; /* "" none */
	bool sni;           /* of an AUTO_PASSTHROUGH gateway: without TLS of its own */
};

/* ---- shared by the files of translate/ ---- */
void pilot_prov_add(struct pilot_job *j, uint32_t id); /* 0 is ignored */
/* The object of a note stands behind what is being built too, though it lost. */
#define pilot_job_note(j, id, kind, path, ...)                                                     \
	(pilot_prov_add((j), (id)),                                                                \
		pilot_note_add((j)->a, &(j)->notes, (id), (kind), (path), __VA_ARGS__),            \
		pilot_job_noted(j))
/* Every note belongs to what is planned or built while it is made, and goes with it. */
static inline void pilot_job_noted(struct pilot_job *j)
{
	j->notes.v[j->notes.n - 1].table = j->noting;
}
/* One that is counted too. */
#define pilot_job_note_about(j, what, ...)                                                         \
	(pilot_job_note((j), __VA_ARGS__), pilot_job_counted((j), PILOT_ABOUT_##what))
static inline void pilot_job_counted(struct pilot_job *j, enum pilot_about about)
{
	j->notes.v[j->notes.n - 1].about = (uint8_t)about;
}
/* fp: of all that the item reads beyond what the job's own fingerprints cover. */
void pilot_plan_add(struct pilot_job *j, struct pilot_plan *p, const char *name, uint64_t fp,
	enum pilot_how how, const void *what);
const char *pilot_out_name(
	struct pilot_job *j, uint16_t port, const char *subset, const char *host);
/* The service that a rule in ns names by host: index or -1; ret_host is the resolved name. */
int pilot_job_service(struct pilot_job *j, const char *host, const char *ns, const char **ret_host);
const struct pilot_dr *pilot_job_dr(struct pilot_job *j, const char *host, int svc);
/* Oldest visible mesh virtual service for a host of an egress listener: exact, then the longest
 * wildcard. Only those with rules of the kind count, and HTTP rules only when one is for this proxy and
 * port. NULL none. */
enum pilot_vs_rules { PILOT_VS_HTTP, PILOT_VS_TCP, PILOT_VS_TLS };
const struct pilot_vs *pilot_job_vs(struct pilot_job *j, const struct pilot_egress *e,
	const char *host, enum pilot_vs_rules rules, uint16_t port);
/* An egress listener lets this virtual service in. */
bool pilot_egress_vs(struct pilot_job *j, const struct pilot_egress *e, const struct pilot_vs *vs);
/* A match names this server's gateway (NULL: the mesh), or none at all. */
bool pilot_match_gateway(struct pilot_job *j, const struct pilot_vs *vs,
	const struct pilot_gw_server *s, char *const *names, size_t n);
bool pilot_job_labels(struct pilot_job *j, const void *entries, size_t n); /* map<string,string> */
/* Cluster name of a destination; what is missing is noted as pending, at the path of the rule. */
const char *pilot_dest_cluster(struct pilot_job *j, const Nw__Destination *d,
	const struct pilot_vs *vs, const char *path, uint16_t listen_port);
/* Everything that pilot_dest_cluster() and its route read. */
uint64_t pilot_dest_fp(struct pilot_job *j, const Nw__Destination *d, const struct pilot_vs *vs);

/* Route configurations with their virtual hosts, planned once. */
const struct pilot_plan *pilot_job_routes(struct pilot_job *j);

void pilot_scope_sidecar(struct pilot_job *j);
void pilot_scope_inbound(struct pilot_job *j);
void pilot_scope_gateway(struct pilot_job *j);
