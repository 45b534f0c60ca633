/* Services and their endpoints, as every registry reports them. No Envoy types.
 *
 * A service is what it is called, its ports and how it is resolved; its endpoints are an object of
 * their own, so that a change of endpoints replaces nothing else.
 * Owner: both are reference counted and immutable once made; what they point to lies in their own
 * arena. Threads: any. */
#pragma once

#include "common/base/arena.h"
#include "common/base/ref.h"
#include "common/schema/object.h"

enum pilot_protocol {
	PILOT_TCP,
	PILOT_HTTP,
	PILOT_HTTP2,
	PILOT_GRPC,
	PILOT_HTTPS,
	PILOT_TLS,
	PILOT_MONGO,
	PILOT_REDIS,
	PILOT_UDP,        /* never served */
	PILOT_HTTP_PROXY, /* only on a Sidecar's egress listener */
	PILOT_GRPC_WEB,   /* to the application it is gRPC */
	PILOT_AUTO,       /* nobody said: what the first bytes look like, HTTP or TCP */
};
/* "HTTP", "grpc-web", ...: a port's protocol field. MT_INVALID. */
int pilot_protocol_parse(const char *text, enum pilot_protocol *ret);
/* By what is said of the port; without a word by the prefix of its name ("http-web" is HTTP);
 * without that PILOT_AUTO, but for well-known ports on which the server speaks first and nothing
 * could be detected: those are TCP. */
enum pilot_protocol pilot_protocol_of(const char *protocol, const char *name, uint16_t number);
bool pilot_protocol_is_http(enum pilot_protocol p); /* HTTP, HTTP2, GRPC, gRPC-web */
bool pilot_protocol_is_h2(enum pilot_protocol p);   /* HTTP2, GRPC, gRPC-web */
bool pilot_protocol_is_tls(enum pilot_protocol p);  /* HTTPS, TLS: passed through */
const char *pilot_protocol_name(enum pilot_protocol p);

enum pilot_resolution {
	PILOT_RES_NONE,
	PILOT_RES_STATIC,
	PILOT_RES_DNS,
	PILOT_RES_DNS_ROUND_ROBIN, /* each connection goes to the address that was resolved last */
	PILOT_RES_DYNAMIC_DNS,     /* resolved by the proxy from the request's own host name */
};
bool pilot_resolution_is_dns(enum pilot_resolution r); /* DNS, DNS_ROUND_ROBIN */

struct pilot_port {
	const char *name;
	uint16_t number;
	uint16_t target; /* default port of its endpoints */
	enum pilot_protocol protocol;
};

struct pilot_service {
	struct mt_ref ref;
	struct mt_arena *arena;
	const char *hostname; /* fully qualified, may be a wildcard "*.example.com" */
	const char *ns;
	const char *name;     /* of the record behind it: of two as old, the first by name wins */
	const char *registry; /* "ServiceEntry", "Kubernetes", ... */
	const char *const *addresses; /* VIPs and CIDR blocks */
	size_t naddresses;
	const struct pilot_port *ports;
	size_t nports;
	const char *const *sans; /* subject alternative names that were declared */
	size_t nsans;
	const char *const *export_to; /* "*", ".", namespaces; none: everybody */
	size_t nexport_to;
	enum pilot_resolution resolution;
	bool external;      /* MESH_EXTERNAL */
	uint32_t id;        /* configuration object or registry record behind it; 0 none */
	int64_t created_ns; /* oldest wins */
	uint64_t hash;      /* of all above but ref, arena */
};

struct pilot_endpoint {
	const char *address; /* IP, DNS name (resolution DNS), or "/path" of a Unix socket */
	bool unix_socket;
	bool mtls; /* carries security.istio.io/tlsMode: istio */
	bool unhealthy;
	const uint16_t *ports;      /* by index of the service's ports; 0: not served here */
	const struct mt_kv *labels; /* sorted by key */
	size_t nlabels;
	const char *region, *zone, *subzone; /* "" unknown */
	const char *network;
	const char *cluster;
	const char *service_account; /* name, or a whole spiffe:// id; "" unknown */
	const char *ns;
	const char *workload; /* "" unknown */
	uint32_t weight;      /* 0: not given */
	uint32_t id;          /* object behind it */
};

struct pilot_left_out {   /* what stands for no endpoint, though it should */
	uint32_t id;      /* object */
	const char *path; /* "spec.address" */
	const char *why;
};
struct pilot_endpoints {
	struct mt_ref ref;
	struct mt_arena *arena;
	struct pilot_endpoint *v;
	size_t n;
	size_t nports; /* length of each endpoint's ports */
	struct pilot_left_out *left_out;
	size_t nleft_out;
	/* computed by pilot_endpoints_done(): */
	uint64_t hash; /* of all endpoints */
	const char *
		*accounts; /* distinct identities of mTLS endpoints, sorted: "NS/SA" or spiffe:// */
	size_t naccounts;
	uint64_t accounts_hash; /* of accounts and any_mtls */
	bool any_mtls;
};

/* Registries fill a new one in (strings from its arena) and then call the _done function, which
 * computes the hash; afterwards it is immutable. */
struct pilot_service *pilot_service_new(void);
void pilot_service_done(struct pilot_service *s);
struct pilot_service *pilot_service_ref(const struct pilot_service *s);
void pilot_service_unref(struct pilot_service *s); /* NULL allowed */
struct pilot_endpoints *pilot_endpoints_new(void);
void pilot_endpoints_done(struct pilot_endpoints *e);
struct pilot_endpoints *pilot_endpoints_ref(const struct pilot_endpoints *e);
void pilot_endpoints_unref(struct pilot_endpoints *e); /* NULL allowed */

/* Value of a label, NULL when absent. */
const char *pilot_label(const struct mt_kv *labels, size_t n, const char *key);
/* Every pair of want is in labels. Empty want: true. */
bool pilot_labels_match(
	const struct mt_kv *labels, size_t n, const struct mt_kv *want, size_t nwant);
/* Index of a port by number, -1 when absent. */
int pilot_service_port(const struct pilot_service *s, uint16_t number);

/* One service and its endpoints: what a registry hands to the world. */
struct pilot_service_in {
	struct pilot_service *svc;
	struct pilot_endpoints *eps; /* never NULL, may be empty */
};
struct pilot_services_in { /* references owned; pilot_services_in_clear() */
	struct pilot_service_in *v;
	size_t n;
	size_t cap;
};
void pilot_services_in_clear(struct pilot_services_in *s);

/* A WorkloadEntry object, and what is known of its health beyond it. */
struct pilot_workload {
	uint32_t id;
	const struct mt_object *obj;
	bool unhealthy;
};
/* workloadSelector of the ServiceEntry o names this WorkloadEntry. */
bool pilot_service_entry_selects(const struct mt_object *o, const struct mt_object *workload);
/* The services that a ServiceEntry object stands for, one a host, appended to out (references handed
 * over). Endpoints are shared by the services of one entry. w: the WorkloadEntry objects there are, in
 * any order; those that it does not select are passed over. Pure. MT_INVALID names the field. */
int pilot_service_entry(const struct mt_object *o, uint32_t id, const struct pilot_workload *w,
	size_t n, struct pilot_services_in *out, struct mt_err *err);
