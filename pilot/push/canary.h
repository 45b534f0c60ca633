/* The canary: a changed cluster, listener or route configuration goes first to one proxy (canary.c).
 *
 * Owner: the push engine. Loop thread. */
#pragma once

#include "common/run/loop.h"
#include "common/run/metrics.h"
#include "pilot/push/view.h"

struct push_canary;

struct push_canary_opts {
	struct mt_loop *loop;
	struct mt_metrics *metrics;
	struct push_views *views;
	uint64_t *last_id; /* of snapshots; the canary makes some too */
};

struct push_canary *push_canary_new(const struct push_canary_opts *o);
void push_canary_free(struct push_canary *c); /* NULL allowed */

/* A new world, which the next views have; its number. */
void push_canary_world(struct push_canary *c, uint64_t id);
/* The classes of a view have other sets than its snapshot: lets through what may go to all, and tries
 * the rest. */
void push_canary_view(struct push_canary *c, struct push_view *v, int64_t made_ns);
/* After all views: starts what was put off, tells `settled`. */
void push_canary_run(struct push_canary *c);
/* Events of a proxy. */
void push_canary_event(struct push_canary *c, struct push_proxy *x, const struct mt_xds_event *ev);
/* It leaves its view (or the mesh). */
void push_canary_leaving(struct push_canary *c, struct push_proxy *x);
/* What came into force up to this snapshot is known to be accepted. */
uint64_t push_canary_settled(const struct push_canary *c);
/* What some proxies do not get because one refused it, and what all have though nobody has answered
 * (words NULL then). The same may come several times. */
struct push_doubt { /* borrowed during the call */
	const struct mt_res *res;
	enum push_type type;
	const char *envoy; /* "1.40.0": proxies of this version */
	const char *words;
};
void push_canary_doubts(
	const struct push_canary *c, void (*fn)(void *ctx, const struct push_doubt *d), void *ctx);
/* It has just been given its view's snapshot. */
void push_canary_watch(struct push_canary *c, struct push_proxy *x);
bool push_canary_idle(const struct push_canary *c);
void push_canary_configure(struct push_canary *c, const struct push_safety *s);
/* The view's snapshot under a new number, to one proxy. */
void push_canary_again(struct push_canary *c, struct push_proxy *x);
