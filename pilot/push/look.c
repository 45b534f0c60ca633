/* What pages, status and metrics ask of the engine. */
#include <string.h>

#include "pilot/push/internal.h"
#include "pilot/push/tally.h"

static const char *const table_names[PILOT_TABLES] = {
	[PILOT_CLUSTERS] = "clusters",
	[PILOT_CLUSTERS_INBOUND] = "clusters_inbound",
	[PILOT_ENDPOINTS] = "endpoints",
	[PILOT_LISTENERS] = "listeners",
	[PILOT_ROUTES] = "routes",
	[PILOT_VIRTUAL_HOSTS] = "virtual_hosts",
	[PILOT_LISTENERS_INBOUND] = "listeners_inbound",
	[PILOT_ROUTES_INBOUND] = "routes_inbound",
};

const struct push_views *push_views_of(const struct push *p)
{
	return &p->views;
}

const struct push_canary *push_canary_of(const struct push *p)
{
	return p->canary;
}

const struct pilot_world *push_current(const struct push *p)
{
	return p->world;
}

uint64_t push_next_id(const struct push *p)
{
	return p->next_id + 1;
}

uint64_t push_settled(const struct push *p)
{
	return push_canary_settled(p->canary);
}

bool push_idle(const struct push *p)
{
	return push_canary_idle(p->canary);
}

const struct push_proxy *push_proxies(const struct push *p)
{
	return p->first;
}

const struct push_proxy *push_find(const struct push *p, const char *id)
{
	for (const struct push_proxy *x = p->first; x; x = x->next)
		if (strcmp(x->claimed->node_id, id) == 0 || strcmp(x->claimed->id, id) == 0)
			return x;
	return NULL;
}

const struct mt_snapshot *push_snapshot(const struct push_proxy *x)
{
	return x->view ? x->view->snap : NULL;
}

const char *push_table_name(enum pilot_table t)
{
	return table_names[t];
}

size_t push_class_count(const struct push *p, enum pilot_table t)
{
	return mt_map_size(p->views.classes[t]);
}

void push_each_vhost(const struct push_proxy *x, push_vhost_fn fn, void *ctx)
{
	if (x->view)
		push_class_each_vhost(x->view->classes[PILOT_ROUTES], fn, ctx);
}

void push_each_class(const struct push *p, enum pilot_table t,
	void (*fn)(void *ctx, const char *key, unsigned views, struct mt_set *set), void *ctx)
{
	for (struct mt_map_it it = { 0 }; mt_map_next(p->views.classes[t], &it);) {
		const struct push_class *c = it.value;
		fn(ctx, c->key, c->refs, c->set);
	}
}

void push_each_conflict(
	const struct push *p, void (*fn)(void *ctx, const char *metric, const char *key), void *ctx)
{
	push_tally_each(&p->views, fn, ctx);
}
