/* A proxy, as its discovery node describes it. Reference counted, immutable. Threads: any. */
#pragma once

#include "common/base/arena.h"
#include "common/base/err.h"
#include "common/base/ref.h"
#include "common/schema/object.h"
#include "envoy/config/core/v3/core.pb-c.h"

enum pilot_proxy_type {
	PILOT_SIDECAR,
	PILOT_ROUTER,
	PILOT_PROXYLESS, /* no proxy at all: a gRPC client or server that asks for itself */
};
const char *pilot_proxy_type_name(enum pilot_proxy_type t); /* "sidecar" */
enum { PILOT_PROXY_IPS_MAX = 16, PILOT_PROXY_LABELS_MAX = 128, PILOT_PROXY_META_MAX = 64 };

struct pilot_proxy {
	struct mt_ref ref;
	struct mt_arena *arena;
	enum pilot_proxy_type type;
	const char *node_id;    /* whole: type~ip~id~domain */
	const char *id;         /* "reviews-v1.default" */
	const char *name;       /* id without its namespace */
	const char *ns;         /* metadata NAMESPACE, else from id, else from domain */
	const char *domain;     /* DNS domain of its namespace: "default.svc.cluster.local" */
	const char *const *ips; /* that of the node id first, then INSTANCE_IPS, without repeats */
	size_t nips;
	bool ipv4, ipv6;
	const struct mt_kv *labels; /* LABELS, sorted */
	size_t nlabels;
	const struct mt_kv *meta; /* metadata that is text, sorted; at most PILOT_PROXY_META_MAX */
	size_t nmeta;
	const char *cluster_id;      /* CLUSTER_ID; "" when not said, as all below */
	const char *network;         /* NETWORK */
	const char *node_name;       /* NODE_NAME */
	const char *service_account; /* SERVICE_ACCOUNT */
	const char *workload;        /* WORKLOAD_NAME, else label app/service name, else name */
	const char *agent;           /* user_agent_name and version: "envoy 1.40.0" */
	const char *admin; /* ENVOY_ADMIN: ADDR:PORT of Envoy's admin interface, as it says */
	const char *region, *zone, *subzone;
	bool tproxy; /* INTERCEPTION_MODE TPROXY */
	bool none;   /* INTERCEPTION_MODE NONE: nothing is captured */
	bool sds;    /* its agent serves certificates: metadata SDS true, or its tlsMode label */
	bool vhds;   /* takes virtual hosts as resources of their own; told by who serves it */
	int major, minor, patch; /* of Envoy; 0.0.0 unknown */
	/* By name, that its agent has for it (metadata CREDENTIALS "none": it serves none); NULL: not
	 * known. */
	const char *const *credentials;
	size_t ncredentials;
	bool reports; /* metadata CREDENTIALS "reported": its agent says them soon */
};

/* Everything is copied. MT_INVALID names what is wrong with the node: id of the form
 * type~ip~name~domain, a known type, an address, limits. */
int pilot_proxy_new(const Core__Node *node, struct pilot_proxy **ret, struct mt_err *err);
/* The same with labels, namespace and service account that are known better (from the registry or
 * the peer certificate); NULL leaves a thing as it is. */
struct pilot_proxy *pilot_proxy_with(const struct pilot_proxy *p, const struct mt_kv *labels,
	size_t nlabels, const char *ns, const char *service_account);
struct pilot_proxy *pilot_proxy_with_credentials(
	const struct pilot_proxy *p, const char *const *names, size_t n);
struct pilot_proxy *pilot_proxy_ref(const struct pilot_proxy *p);
void pilot_proxy_unref(struct pilot_proxy *p); /* NULL allowed */
MT_DEFINE_FREEP(struct pilot_proxy *, pilot_proxy_unrefp, pilot_proxy_unref)
