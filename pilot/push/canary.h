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
bool push_canary_idle(const struct push_canary *c);
void push_canary_configure(struct push_canary *c, const struct push_safety *s);
/* The view's snapshot under a new number, to one proxy. */
void push_canary_again(struct push_canary *c, struct push_proxy *x);
