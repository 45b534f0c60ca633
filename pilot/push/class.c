/* Computing a table: plan it (names and fingerprints), keep what has its fingerprint in hand, build the
 * rest. What was built may still pack to the same bytes as before; then the old resource stays, so
 * that sets compare by pointer.
 *
 * A route configuration is packed as a rope: header bytes, then each virtual host as field 2 of
 * RouteConfiguration, whose packed bytes are kept by fingerprint: one changed route packs one virtual
 * host. Items that a computation did not see belong to an older world and are dropped after it. */
#include "pilot/push/class.h"

#include <stdio.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/vec.h"
#include "common/schema/pb.h"
#include "envoy/config/endpoint/v3/endpoint.pb-c.h"

struct push_item {
	uint64_t fp;
	bool empty;     /* a load assignment without endpoints */
	uint64_t epoch; /* of the last plan that had it */
	struct mt_res *res;
	struct push_noted *noted;
};

struct push_vhost {
	uint64_t fp;
	uint64_t epoch;
	mt_slice bytes; /* tag, length, VirtualHost */
	uint32_t *prov;
	size_t nprov;
	struct push_noted *noted;
};

static void item_free(struct push_class *c, struct push_item *it)
{
	push_noted_drop(c->notes, &it->noted);
	mt_res_unref(it->res);
	mt_free(it);
}

static void vhost_free(struct push_class *c, struct push_vhost *v)
{
	push_noted_drop(c->notes, &v->noted);
	mt_slice_unref(v->bytes);
	mt_free(v->prov);
	mt_free(v);
}

struct push_class *push_class_new(enum pilot_table table, const char *key, struct push_notes *notes)
{
	struct push_class *c = MT_NEW(struct push_class);
	c->notes = notes;
	c->table = table;
	c->key = mt_strdup(key);
	c->items = mt_map_new();
	if (table == PILOT_ROUTES)
		c->vhosts = mt_map_new();
	return c;
}

void push_class_free(struct push_class *c)
{
	if (!c)
		return;
	for (struct mt_map_it it = { 0 }; mt_map_next(c->items, &it);)
		item_free(c, it.value);
	for (struct mt_map_it it = { 0 }; c->vhosts && mt_map_next(c->vhosts, &it);)
		vhost_free(c, it.value);
	mt_map_free(c->items, NULL);
	mt_map_free(c->vhosts, NULL);
	push_noted_drop(c->notes, &c->planned);
	mt_set_unref(c->set);
	mt_set_unref(c->good);
	mt_set_unref(c->clear);
	mt_set_unref(c->joined);
	mt_set_unref(c->joined_with);
	mt_set_unref(c->joined_own);
	push_tally_clear(&c->tallies);
	mt_free(c->scope);
	mt_free(c->key);
	mt_free(c);
}

/* ---- routes ---- */

static size_t varint(uint8_t *p, size_t v)
{
	size_t n = 0;
	for (; v >= 0x80; v >>= 7)
		p[n++] = (uint8_t)(v | 0x80);
	p[n++] = (uint8_t)v;
	return n;
}

enum { VIRTUAL_HOSTS_TAG = 2 << 3 | 2 };

static struct push_vhost *vhost_get(
	struct push_class *c, struct pilot_job *j, const char *route, const struct pilot_item *it)
{
	char key[1024];
	snprintf(key, sizeof(key), "%s/%s", route, it->name);
	struct push_vhost *v = mt_map_get(c->vhosts, key);

	if (v && v->fp == it->fp)
		return v;

	struct pilot_built b;
	struct mt_buf body = { 0 }, whole = { 0 };
	uint8_t head[16] = { VIRTUAL_HOSTS_TAG };
	size_t from = pilot_job_notes(j)->n;
	pilot_build(j, it, &b);
	mt_pb_pack(b.msg, &body);
	mt_buf_add(&whole, head, 1 + varint(head + 1, body.n));
	mt_buf_add(&whole, body.p, body.n);
	mt_buf_clear(&body);

	if (v) {
		mt_slice_unref(v->bytes);
		mt_free(v->prov);
	} else {
		v = MT_NEW(struct push_vhost);
		mt_map_put(c->vhosts, key, v);
	}
	size_t n;
	v->fp = it->fp;
	push_noted_set(c->notes, &c->noted, &v->noted, j, PILOT_NOTE_BUILT, from);
	char *bytes = mt_buf_take(&whole, &n);
	v->bytes = mt_slice_take(bytes, n);
	v->prov = b.nprov ? mt_memdup(b.prov, b.nprov * sizeof(*b.prov)) : NULL;
	v->nprov = b.nprov;
	return v;
}

static struct mt_res *route_build(struct push_class *c, struct pilot_job *j, struct mt_arena *a,
	const struct pilot_item *it, struct push_item *have)
{
	struct pilot_route_plan plan = { 0 };
	size_t from = pilot_job_notes(j)->n;
	pilot_plan_route(j, it, &plan);
	push_noted_set(c->notes, &c->noted, &have->noted, j, PILOT_NOTE_BUILT, from);

	struct mt_buf head = { 0 };
	mt_pb_pack(plan.header.msg, &head);
	size_t n = 0, nhead;
	char *bytes = mt_buf_take(&head, &nhead);
	mt_slice *pieces = MT_ANEWN(a, mt_slice, plan.vhosts.n + 1);
	MT_VEC(uint32_t) prov = { 0 };

	pieces[n++] = mt_slice_take(bytes, nhead);
	for (size_t i = 0; i < plan.header.nprov; i++)
		mt_vec_apush(a, &prov, plan.header.prov[i]);
	for (size_t i = 0; i < plan.vhosts.n; i++) {
		struct push_vhost *v = vhost_get(c, j, it->name, &plan.vhosts.v[i]);
		v->epoch = have->epoch;
		pieces[n++] = mt_slice_ref(v->bytes);
		for (size_t k = 0; k < v->nprov; k++)
			mt_vec_apush(a, &prov, v->prov[k]);
	}
	return mt_res_new_rope(it->name,
		"type.googleapis.com/envoy.config.route.v3.RouteConfiguration", pieces, n, prov.v,
		prov.n);
}

/* ---- tables ---- */

static struct mt_res *build(struct push_class *c, struct pilot_job *j, struct mt_arena *a,
	const struct pilot_item *it, struct push_item *have, bool *ret_empty)
{
	if (c->table == PILOT_ROUTES)
		return route_build(c, j, a, it, have);
	struct pilot_built b;
	size_t from = pilot_job_notes(j)->n;
	pilot_build(j, it, &b);
	push_noted_set(c->notes, &c->noted, &have->noted, j, PILOT_NOTE_BUILT, from);
	*ret_empty = c->table == PILOT_ENDPOINTS &&
		!((const Endpoint__ClusterLoadAssignment *)b.msg)->n_endpoints;
	return mt_res_new(b.name, b.msg, b.prov, b.nprov);
}

static bool same_prov(const struct mt_res *a, const struct mt_res *b)
{
	return a->nprov == b->nprov &&
		(!a->nprov || memcmp(a->prov, b->prov, a->nprov * sizeof(*a->prov)) == 0);
}

/* The resource of an item, built if its fingerprint changed. Borrowed. */
static struct push_item *refresh(struct push_class *c, struct pilot_job *j, struct mt_arena *a,
	const struct pilot_item *it, uint64_t epoch, size_t *built)
{
	struct push_item *have = mt_map_get(c->items, it->name);

	if (!have) {
		have = MT_NEW(struct push_item);
		mt_map_put(c->items, it->name, have);
	}
	have->epoch = epoch;
	if (have->res && have->fp == it->fp)
		return have;

	bool empty = false;
	struct mt_res *res = build(c, j, a, it, have, &empty);
	c->tallies.empty += (size_t)empty - (size_t)have->empty;
	have->empty = empty;
	(*built)++;
	have->fp = it->fp;
	if (have->res && have->res->hash == res->hash) {
		if (same_prov(have->res, res)) {
			mt_res_unref(res);
			return have;
		}
		c->prov_moved = true;
	}
	mt_res_unref(have->res);
	have->res = res;
	return have;
}

static void drop_unseen(struct push_class *c, uint64_t epoch)
{
	for (struct mt_map_it it = { 0 }; mt_map_next(c->items, &it);)
		if (((struct push_item *)it.value)->epoch != epoch) {
			c->tallies.empty -= ((struct push_item *)it.value)->empty;
			item_free(c, mt_map_del(c->items, it.key));
		}
}

/* Virtual hosts of a route configuration that was not rebuilt keep an older epoch and stay; those of a
 * rebuilt one (or of one that is gone) that this epoch did not use go. */
static void drop_vhosts(struct push_class *c, uint64_t epoch, const struct mt_map *rebuilt)
{
	for (struct mt_map_it it = { 0 }; mt_map_next(c->vhosts, &it);) {
		const struct push_vhost *v = it.value;
		if (v->epoch == epoch)
			continue;
		const char *slash = strchr(it.key, '/');
		char route[1024];
		snprintf(route, sizeof(route), "%.*s", slash ? (int)(slash - it.key) : 0, it.key);
		if (mt_map_get(rebuilt, route) || !mt_map_get(c->items, route))
			vhost_free(c, mt_map_del(c->vhosts, it.key));
	}
}

static void replace_set(struct push_class *c, struct mt_set *set)
{
	if (c->set && mt_set_hash(c->set) == mt_set_hash(set) && !c->prov_moved) {
		mt_set_unref(set);
		return;
	}
	mt_set_unref(c->set);
	c->set = set;
}

size_t push_class_compute(
	struct push_class *c, struct pilot_job *j, struct mt_arena *a, uint64_t epoch)
{
	struct pilot_plan plan = { 0 };
	size_t built = 0;
	struct mt_map *rebuilt = c->table == PILOT_ROUTES ? mt_map_new() : NULL;

	c->prov_moved = false;
	pilot_plan(j, c->table, &plan);
	push_tally_take(c, j);
	push_noted_set(c->notes, &c->noted, &c->planned, j, (int)c->table, 0);
	struct mt_res **res = mt_reallocarray(NULL, plan.n ? plan.n : 1, sizeof(struct mt_res *));
	for (size_t i = 0; i < plan.n; i++) {
		size_t before = built;
		res[i] = mt_res_ref(refresh(c, j, a, &plan.v[i], epoch, &built)->res);
		if (rebuilt && built != before)
			mt_map_put(rebuilt, plan.v[i].name, c);
	}
	replace_set(c, mt_set_new(res, plan.n));
	mt_free(res);
	if (mt_map_size(c->items) > plan.n)
		drop_unseen(c, epoch);
	if (rebuilt && mt_map_size(rebuilt))
		drop_vhosts(c, epoch, rebuilt);
	mt_map_free(rebuilt, NULL);
	c->epoch = epoch;
	return built;
}

size_t push_class_patch(
	struct push_class *c, struct pilot_job *j, const char *const *names, size_t n)
{
	size_t built = 0, changed = 0;
	struct mt_res **res = mt_reallocarray(NULL, n ? n : 1, sizeof(struct mt_res *));

	for (size_t i = 0; i < n; i++) {
		struct pilot_item it;
		if (!pilot_plan_one(j, c->table, names[i], &it))
			continue;
		size_t before = built;
		struct push_item *have = refresh(c, j, NULL, &it, c->epoch, &built);
		if (built != before)
			res[changed++] = mt_res_ref(have->res);
	}
	struct mt_set *set = mt_set_patch(c->set, res, changed, NULL, 0);
	mt_set_unref(c->set);
	c->set = set;
	mt_free(res);
	return built;
}

void push_class_each_vhost(const struct push_class *c, push_vhost_fn fn, void *ctx)
{
	for (struct mt_map_it it = { 0 }; c->vhosts && mt_map_next(c->vhosts, &it);) {
		const struct push_vhost *v = it.value;
		const char *slash = strchr(it.key, '/');
		char route[1024];
		if (!slash)
			continue;
		snprintf(route, sizeof(route), "%.*s", (int)(slash - it.key), it.key);
		fn(ctx, route, slash + 1, v->prov, v->nprov);
	}
}
