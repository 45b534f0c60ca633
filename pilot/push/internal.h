/* What the files of the engine share: push.c (a world comes), proxies.c (a proxy comes, speaks, goes),
 * look.c (what others ask). The loop's thread. */
#pragma once

#include "common/base/mem.h"
#include "pilot/metrics.h"
#include "pilot/push/canary.h"
#include "pilot/push/push.h"
#include "pilot/push/view.h"

struct push {
	struct mt_loop *loop;
	struct mt_metrics *metrics;
	unsigned max_proxies;
	bool virtual_hosts;
	struct pilot_world *world;
	uint64_t epoch;       /* of the world: grows with each */
	uint64_t built_epoch; /* of the last that more than endpoints changed in */
	uint64_t next_id;     /* of snapshots */
	struct push_views views;
	struct push_canary *canary;
	struct push_proxy *first;
	unsigned n;
	struct mt_metric_series *pushes[PUSH_TYPES]; /* pilot_xds_pushes */
	struct mt_map *credentials;    /* of proxies whose agents reported: credentials.h */
	void (*on_secrets)(void *ctx); /* NULL: nobody asks */
	void *on_secrets_ctx;
};

/* The proxy enters the view of its keys in the world of now, which there is. */
void push_enter(struct push *p, struct push_proxy *x);
/* What changed (tables) or came to be in a view is computed; its proxies are told as the canary lets
 * them. */
void push_refresh(struct push *p, struct push_view *v, unsigned tables, int64_t made_ns);
/* Whether certificate and registry agree on who it is, and who that is in this world: x->proxy. */
int push_admit(struct push *p, struct push_proxy *x, struct mt_err *err);
/* One of pilot_xds_pushes{type="cds"} */
struct mt_metric_series *push_series(struct mt_metrics *m, int metric, int type);
