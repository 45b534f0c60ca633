/* One pass over the resources of each class makes a bit set of the objects that shaped any of them;
 * one pass over the proxies, the oldest snapshot that each has acknowledged in all its types. An
 * object is then counted view by view.
 *
 * A proxy has acknowledged what came with snapshot `since` when its oldest acknowledgement is that
 * snapshot or a newer one, or the newest of its view, if that is older: then the change did not
 * concern the view. A view that is held back while a canary tries a change stands at what it had; one that
 * has no snapshot yet is behind in all. */
#include "pilot/push/reach.h"

#include <stdio.h>
#include <string.h>

#include "common/base/map.h"
#include "common/base/mem.h"
#include "common/base/vec.h"
#include "pilot/push/canary.h"

struct bits {
	size_t n; /* of v */
	uint64_t v[];
};

struct proxy {
	const struct push_proxy *x;
	uint64_t acked;
};
struct group { /* a view */
	const struct push_view *view;
	const struct bits *objects[PILOT_TABLES];
	struct proxy *proxies;
	size_t n;
};

struct doubt {
	struct push_reach_doubt d;
	struct mt_res *res; /* a reference */
	char *words;
};

struct push_reach {
	MT_VEC(struct doubt) doubts;
	struct mt_map *sets; /* address of a set -> struct bits */
	MT_VEC(struct group) groups;
};

static const struct bits *bits_make(const struct mt_set *s)
{
	uint32_t max = 0;
	for (size_t i = 0; i < mt_set_size(s); i++) {
		const struct mt_res *res = mt_set_at(s, i);
		if (res->nprov)
			max = MT_MAX(max, res->prov[res->nprov - 1]); /* sorted */
	}
	struct bits *b = mt_alloc(sizeof(*b) + (max / 64 + 1) * sizeof(b->v[0]));
	b->n = max / 64 + 1;
	for (size_t i = 0; i < mt_set_size(s); i++) {
		const struct mt_res *res = mt_set_at(s, i);
		for (uint32_t k = 0; k < res->nprov; k++)
			b->v[res->prov[k] / 64] |= 1ull << (res->prov[k] % 64);
	}
	return b;
}

static const struct bits *bits_of(struct push_reach *r, const struct mt_set *s)
{
	char key[24];
	snprintf(key, sizeof(key), "%p", (const void *)s);
	const struct bits *b = mt_map_get(r->sets, key);
	if (!b) {
		b = bits_make(s);
		mt_map_put(r->sets, key, (void *)b);
	}
	return b;
}

/* The oldest snapshot among those that a proxy acknowledged, over the types that it wants. */
static uint64_t acknowledged(const struct push_proxy *x)
{
	uint64_t least = UINT64_MAX;
	for (int t = 0; t < PUSH_TYPES; t++) {
		struct mt_xds_status st;
		mt_xds_sub_status(x->sub, t, &st);
		if (st.subscribed)
			least = MT_MIN(least, st.acked_id);
	}
	return least == UINT64_MAX ? 0 : least;
}

static void add_doubt(void *ctx, const struct push_doubt *d)
{
	struct push_reach *r = ctx;
	mt_vec_each (&r->doubts, have)
		if (have->res->hash == d->res->hash && strcmp(have->d.envoy, d->envoy) == 0)
			return;
	struct doubt n = { .d = { .resource = d->res->name, .type = d->type },
		.res = mt_res_ref((struct mt_res *)d->res),
		.words = d->words ? mt_strdup(d->words) : NULL };
	snprintf(n.d.envoy, sizeof(n.d.envoy), "%s", d->envoy);
	n.d.words = n.words;
	mt_vec_push(&r->doubts, n);
}

static void doubts_free(struct push_reach *r)
{
	mt_vec_each (&r->doubts, d) {
		mt_res_unref(d->res);
		mt_free(d->words);
	}
	mt_vec_clear(&r->doubts);
}

void push_reach_doubts(const struct push_reach *r, uint32_t id,
	void (*fn)(void *ctx, const struct push_reach_doubt *d), void *ctx)
{
	for (size_t i = 0; i < r->doubts.n; i++) {
		const struct mt_res *res = r->doubts.v[i].res;
		bool here = false;
		for (uint32_t k = 0; k < res->nprov; k++)
			here = here || res->prov[k] == id;
		if (here)
			fn(ctx, &r->doubts.v[i].d);
	}
}

struct push_reach *push_reach_new(const struct push *p)
{
	struct push_reach *r = MT_NEW(struct push_reach);
	r->sets = mt_map_new();
	push_canary_doubts(push_canary_of(p), add_doubt, r);
	for (struct mt_map_it it = { 0 }; mt_map_next(push_views_of(p)->views, &it);) {
		const struct push_view *v = it.value;
		struct group g = { .view = v };
		for (int t = 0; t < PILOT_TABLES; t++)
			g.objects[t] = bits_of(r, v->snap ? v->made_of[t] : v->classes[t]->set);
		g.proxies = mt_reallocarray(NULL, v->n, sizeof(*g.proxies));
		for (const struct push_proxy *x = v->first; x; x = x->view_next)
			g.proxies[g.n++] = (struct proxy){ x, acknowledged(x) };
		mt_vec_push(&r->groups, g);
	}
	return r;
}

void push_reach_free(struct push_reach *r)
{
	if (!r)
		return;
	mt_vec_each (&r->groups, g)
		mt_free(g->proxies);
	mt_vec_clear(&r->groups);
	mt_map_free(r->sets, mt_free);
	doubts_free(r);
	mt_free(r);
}

static bool concerns(const struct group *g, uint32_t id)
{
	for (int t = 0; t < PILOT_TABLES; t++)
		if (id / 64 < g->objects[t]->n && g->objects[t]->v[id / 64] >> (id % 64) & 1)
			return true;
	return false;
}

void push_reach_of(
	const struct push_reach *r, uint32_t id, uint64_t since, struct push_reached *ret)
{
	*ret = (struct push_reached){ 0 };
	for (size_t k = 0; k < r->groups.n; k++) {
		const struct group *g = &r->groups.v[k];
		bool here = concerns(g, id);
		uint64_t need = g->view->snap ? MT_MIN(since, g->view->snap->id) : since;
		if (here)
			ret->concerned += (unsigned)g->n;
		for (size_t i = 0; i < g->n; i++) {
			bool has = g->view->snap && g->proxies[i].acked >= need &&
				!push_view_lacks(g->view, since);
			if (has) {
				ret->in_force += here;
				continue;
			}
			ret->behind++;
			if (ret->nlagging < PUSH_LAGGING_MAX)
				ret->lagging[ret->nlagging++] = g->proxies[i].x;
		}
	}
}
