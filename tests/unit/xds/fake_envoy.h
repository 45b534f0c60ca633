/* A proxy that speaks discovery as Envoy does, without being one: for tests, and (by the thousand)
 * for the load generator. It asks for clusters as a wildcard; asks for the endpoints of each EDS
 * cluster and withholds the acknowledgement of the clusters until those came (warming); then asks
 * for listeners, and for the routes that they name; for virtual hosts as a wildcard once a route says
 * that it has them (delta). Like Envoy it forgets virtual hosts whose route it does not hold, and
 * acknowledges them all the same. Both protocol variants.
 *
 * Threads: create, reconnect and free on any thread, one at a time; the judge and the event run on
 * the stream's thread; the accessors and fake_wait() on any. */
#pragma once

#include "common/base/buf.h"
#include "common/rpc/rpc.h"

enum fake_type { FAKE_CDS, FAKE_EDS, FAKE_LDS, FAKE_RDS, FAKE_VHDS, FAKE_TYPES };
extern const char *const fake_type_url[FAKE_TYPES];
extern const char *const fake_type_name[FAKE_TYPES]; /* "CDS" */

struct fake_envoy;
struct fake_wire; /* fake_wire.h */

struct fake_response {
	int type;
	size_t bytes;
	const char *const *names; /* of the resources in it, sorted */
	const uint64_t *versions; /* likewise: hashes of their bytes */
	size_t n;
	const char *const *removed; /* delta */
	size_t nremoved;
};

struct fake_opts {
	struct mt_rpc_channel *channel;
	const struct fake_wire *wire; /* NULL: gRPC core, over channel */
	void *wire_ctx;
	bool delta;
	const char *id;   /* of the node */
	const void *node; /* packed Node; NULL: one with just the id */
	size_t node_n;
	bool node_always;   /* in every request, as old proxies do */
	bool no_warming;    /* acknowledge clusters at once, as other clients do */
	bool manual;        /* the test subscribes and answers: fake_send() */
	bool all_at_once;   /* asks for all types at the first moment */
	bool quiet;         /* no log: a thousand of them */
	bool lds_after_rds; /* acknowledges listeners only when their routes came */
	/* NULL accepts, words reject. Runs before the resources are taken in. */
	const char *(*judge)(void *ctx, struct fake_envoy *e, const struct fake_response *r);
	/* A response was taken in and (unless it is withheld) answered. */
	void (*event)(void *ctx, struct fake_envoy *e, const struct fake_response *r);
	void (*closed)(void *ctx, struct fake_envoy *e, int status, const char *msg);
	void *ctx;
};

struct fake_envoy *fake_envoy_new(const struct fake_opts *o); /* connects; strings are borrowed */
void fake_envoy_disconnect(struct fake_envoy *e);             /* cancels and waits for the end */
/* Opens a new stream; the delta variant reports what it holds. After the old one has ended. */
void fake_envoy_connect(struct fake_envoy *e);
void fake_envoy_free(struct fake_envoy *e);
void fake_intern_clear(void); /* after the last proxy: what they shared */

/* ---- state; copies, any thread ---- */
/* What happened, one word each, since the last call: "CDS" for a response, "+a" and "-a" for what
 * was in it, "!CDS" for a rejection, "end:7" for the stream's end. Sorted names within a response. */
char *fake_log(struct fake_envoy *e); /* mt_free() */
bool fake_has(struct fake_envoy *e, int type, const char *name);
size_t fake_count(struct fake_envoy *e, int type);
/* Hex version of what it holds; "" when not there. */
void fake_version(struct fake_envoy *e, int type, const char *name, char buf[24]);
unsigned fake_responses(struct fake_envoy *e, int type);
size_t fake_bytes(struct fake_envoy *e, int type);
/* Everything that it wants is there: listeners, the routes that they name, warm clusters. */
bool fake_complete(struct fake_envoy *e);
bool fake_warming(struct fake_envoy *e); /* a cluster acknowledgement is withheld */
int fake_ended(struct fake_envoy *e);    /* status of the stream's end, -1 while it lives */

/* Waits until cond is true; it is tried again whenever something happens at the proxy. False after
 * 20 seconds. */
bool fake_wait(struct fake_envoy *e, bool (*cond)(struct fake_envoy *e, void *arg), void *arg);
bool fake_wait_log(struct fake_envoy *e, const char *part); /* in what fake_log() would return */
bool fake_wait_count(struct fake_envoy *e, int type, size_t n);
bool fake_wait_end(struct fake_envoy *e);

/* ---- by hand ---- */
struct fake_request {
	int type;
	const char *const *add; /* names: resource_names, resource_names_subscribe */
	size_t nadd;
	const char *const *del;
	size_t ndel;
	const char *nonce;  /* NULL none; "" the last one of the type */
	const char *reject; /* words */
	bool no_node;
};
void fake_send(struct fake_envoy *e, const struct fake_request *r);
void fake_send_raw(struct fake_envoy *e, const void *p, size_t n);
