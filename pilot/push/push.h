/* The push engine: from the world to what each proxy is sent.
 *
 *   world ── classes (one a table and key) ── views (one a combination of classes) ── proxies
 *
 * A view is the set of proxies that share all their tables, and has one snapshot for all of them. A
 * change recomputes the classes that it touches, once each; views of which a set changed get a new
 * snapshot, and their proxies are woken. Loop thread. */
#pragma once

#include "common/run/loop.h"
#include "common/run/metrics.h"
#include "common/xds/server.h"
#include "pilot/flow.h"
#include "pilot/model/world.h"

enum push_type { PUSH_CDS, PUSH_EDS, PUSH_LDS, PUSH_RDS, PUSH_VHDS, PUSH_TYPES };
extern const struct mt_xds_type push_types[PUSH_TYPES];

struct push;
struct push_view;

struct push_proxy { /* one connected proxy; owned by the engine */
	struct mt_xds_sub *sub;
	struct pilot_proxy *proxy;   /* as translated: labels from the registry where it is known */
	struct pilot_proxy *claimed; /* as it describes itself */
	struct push_view *view;      /* NULL before there is a world */
	bool no_ip;                  /* no service has an endpoint at its addresses */
	unsigned nacked;             /* types of which the last response was rejected; a mask */
	/* By type: the gauge of its rejection, NULL when the last response was not rejected. */
	struct mt_metric_series *rejected[PUSH_TYPES];
	int64_t connected_ns;                     /* wall clock */
	char spiffe_id[MT_SPIFFE_ID_MAX];         /* "" on plaintext */
	struct push_proxy *prev, *next;           /* all */
	struct push_proxy *view_prev, *view_next; /* of the view */
};

struct push *push_new(struct mt_loop *l, struct mt_metrics *metrics, unsigned max_proxies);
/* Virtual hosts as resources of their own, for proxies that can (default: no). */
void push_virtual_hosts(struct push *p, bool on);
void push_free(struct push *p);

struct push_refusal { /* borrowed during the call */
	const struct mt_res *res;
	enum push_type type;
	const struct push_proxy *proxy; /* NULL: several, which disconnected */
	const char *words;
	/* Objects behind it. When the proxy has accepted nothing yet, those that shape nothing that
	 * another one is known to accept. */
	const uint32_t *ids;
	size_t nids;
	uint64_t settled; /* what came into force up to this snapshot was accepted before; else 0 */
};
struct push_safety {
	bool canary; /* what changed goes to one proxy first (canary.c) */
	int64_t canary_timeout_ns;
	int64_t first_timeout_ns; /* proxies that have nothing yet wait no longer for an answer */
	/* A resource was condemned: no proxy gets it. True: objects are to blame, and a world without
	 * what they brought is coming. */
	bool (*refused)(void *ctx, const struct push_refusal *r);
	/* Nothing is being tried, held back or unproven any more. True: another change follows from
	 * what was refused; until nothing does, what changes is tried even without a canary. */
	bool (*settled)(void *ctx);
	void *ctx;
};
/* Without this there is no canary. Before the first world. */
void push_safety(struct push *p, const struct push_safety *s);

/* A new world (a reference is taken). d says what changed since the one before; eps which services'
 * endpoints changed, when that is all. */
void push_world(struct push *p, struct pilot_world *w, const struct pilot_dirty *d,
	const struct pilot_endpoints_change *eps, size_t neps);
const struct pilot_world *push_current(const struct push *p); /* NULL before the first */
/* The number of the next snapshot: of a world that is made now, all have this number or a later one. */
uint64_t push_next_id(const struct push *p);
/* What came into force before this snapshot is known to be accepted by proxies. */
uint64_t push_settled(const struct push *p);
bool push_idle(const struct push *p); /* nothing is being tried or held back */

/* The agent of this node has these credentials by name for its proxy, now or when it connects. */
void push_credentials(struct push *p, const char *node_id, const char *const *names, size_t n);
/* It does not report any more. A proxy that is connected goes on as it is. */
void push_credentials_forget(struct push *p, const char *node_id);
/* fn: which proxies there are, or what credentials they have, may have changed. fn NULL: nobody is told. */
void push_on_secrets(struct push *p, void (*fn)(void *ctx), void *ctx);

/* Callbacks of the discovery server; ctx is the struct push. */
void push_measure(void *ctx, enum mt_xds_measure what, int type, double v); /* any thread */
extern const struct mt_xds_app push_app;

/* Pages. */
const struct push_proxy *push_proxies(const struct push *p); /* first of the list */
const struct push_proxy *push_find(
	const struct push *p, const char *id); /* node id or name.namespace; NULL */
const struct mt_snapshot *push_snapshot(const struct push_proxy *x); /* borrowed, NULL */
/* Virtual hosts of a proxy's route configurations: with the objects behind each. */
void push_each_vhost(const struct push_proxy *x,
	void (*fn)(void *ctx, const char *route, const char *name, const uint32_t *prov, size_t n),
	void *ctx);
/* Classes of a table: what they get (borrowed), and how many combinations of classes use it. */
void push_each_class(const struct push *p, enum pilot_table t,
	void (*fn)(void *ctx, const char *key, unsigned views, struct mt_set *set), void *ctx);
/* Conflicts that the plans came upon: metric and what it counts. */
void push_each_conflict(const struct push *p,
	void (*fn)(void *ctx, const char *metric, const char *key), void *ctx);
/* What translation says of objects: each note once, and how many classes of proxies and proxies it
 * concerns. x: only those of its own tables (0 classes, 1 proxy); NULL: all.
 * What fn gets lies in the arena, or lives until the loop goes on. A patch that changes nothing of a proxy
 * that it selects is known from no note of it being there. */
typedef void (*push_note_fn)(
	void *ctx, const struct pilot_note *n, unsigned classes, unsigned proxies);
void push_each_note(const struct push *p, const struct push_proxy *x, struct mt_arena *a,
	push_note_fn fn, void *ctx);
const char *push_table_name(enum pilot_table t);
size_t push_class_count(const struct push *p, enum pilot_table t);
