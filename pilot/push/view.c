#include "pilot/push/view.h"

#include <stdio.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/vec.h"

void push_views_init(struct push_views *v, struct mt_metrics *metrics)
{
	for (int t = 0; t < PILOT_TABLES; t++)
		v->classes[t] = mt_map_new();
	v->views = mt_map_new();
	v->notes = push_notes_new(metrics);
}

static void class_release(struct push_views *v, struct push_class *c)
{
	if (--c->refs)
		return;
	mt_map_del(v->classes[c->table], c->key);
	push_class_free(c);
}

static void view_free(struct push_views *v, struct push_view *view)
{
	for (int t = 0; t < PILOT_TABLES; t++) {
		mt_set_unref(view->made_of[t]);
		mt_set_unref(view->pinned[t]);
		mt_set_unref(view->proven[t]);
	}
	for (int t = 0; t < PILOT_TABLES; t++)
		class_release(v, view->classes[t]);
	mt_snapshot_unref(view->snap);
	mt_free(view->key);
	mt_free(view);
}

void push_views_clear(struct push_views *v)
{
	for (struct mt_map_it it = { 0 }; mt_map_next(v->views, &it);)
		view_free(v, it.value);
	mt_map_free(v->views, NULL);
	for (int t = 0; t < PILOT_TABLES; t++)
		mt_map_free(v->classes[t], NULL);
	push_notes_free(v->notes);
}

void push_view_leave(struct push_views *v, struct push_proxy *x)
{
	struct push_view *view = x->view;

	if (!view)
		return;
	if (v->leaving)
		v->leaving(v->ctx, x);
	if (x->view_next)
		x->view_next->view_prev = x->view_prev;
	if (x->view_prev)
		x->view_prev->view_next = x->view_next;
	else
		view->first = x->view_next;
	x->view = NULL;
	x->view_prev = x->view_next = NULL;
	if (--view->n == 0) {
		mt_map_del(v->views, view->key);
		view_free(v, view);
	}
}

static struct push_class *class_get(struct push_views *v, enum pilot_table t, const char *key)
{
	struct push_class *c = mt_map_get(v->classes[t], key);

	if (!c) {
		c = push_class_new(t, key, v->notes);
		mt_map_put(v->classes[t], key, c);
	}
	c->refs++;
	return c;
}

/* Proxies come to a new class (its key has another part now) with what they were allowed to have in
 * the one before: that is what they keep until the new is known to be good. */
static void inherit(struct push_view *to, const struct push_view *from)
{
	for (int t = 0; t < PILOT_TABLES; t++) {
		struct push_class *c = to->classes[t];
		struct mt_set *had = from->made_of[t];
		if (c->mixed || !had || c->good == had || c->set)
			continue;
		c->mixed = c->good != NULL;
		mt_set_unref(c->good);
		c->good = c->mixed ? NULL : mt_set_ref(had);
	}
}

void push_view_enter(
	struct push_views *v, struct push_proxy *x, const struct pilot_class_key keys[PILOT_TABLES])
{
	struct push_class *classes[PILOT_TABLES];
	char key[PILOT_TABLES * 20 + 1];
	size_t n = 0;

	for (enum pilot_table t = 0; t < PILOT_TABLES; t++) {
		classes[t] = class_get(v, t, keys[t].text);
		n += (size_t)snprintf(key + n, sizeof(key) - n, "%p ", (void *)classes[t]);
	}
	struct push_view *view = mt_map_get(v->views, key);
	if (view) {
		for (enum pilot_table t = 0; t < PILOT_TABLES; t++)
			class_release(v, classes[t]);
	} else {
		view = MT_NEW(struct push_view);
		view->key = mt_strdup(key);
		memcpy(view->classes, classes, sizeof(classes));
		mt_map_put(v->views, key, view);
	}
	if (x->view == view)
		return;
	if (x->view && !view->snap)
		inherit(view, x->view);
	push_view_leave(v, x);
	x->view = view;
	x->view_next = view->first;
	if (view->first)
		view->first->view_prev = x;
	view->first = x;
	view->n++;
}

void push_view_compute(
	struct push_view *v, const struct pilot_world *w, uint64_t epoch, unsigned tables)
{
	MT_AUTO(mt_arena_freep) struct mt_arena *a = NULL;
	struct pilot_job *j = NULL;

	for (enum pilot_table t = 0; t < PILOT_TABLES; t++) {
		struct push_class *c = v->classes[t];
		if (c->set && (c->epoch == epoch || !(tables & 1u << t)))
			continue;
		if (!j) {
			a = mt_arena_new(0);
			j = pilot_job_new(w, v->first->proxy, a);
		}
		push_class_compute(c, j, a, epoch);
	}
}

/* Both halves of a table as one set. The inbound class remembers the last pair: views that differ in
 * other tables only share the set, and so the differences that are computed from it. */
static struct mt_set *join(struct mt_set *out, struct mt_set *in, struct push_class *c)
{
	if (mt_set_size(in) == 0)
		return mt_set_ref(out);
	if (mt_set_size(out) == 0)
		return mt_set_ref(in);
	if (c->joined_with == out && c->joined_own == in)
		return mt_set_ref(c->joined);

	size_t n = mt_set_size(in);
	struct mt_res **res = mt_reallocarray(NULL, n, sizeof(struct mt_res *));
	for (size_t i = 0; i < n; i++)
		res[i] = mt_res_ref(mt_set_at(in, i));
	mt_set_unref(c->joined);
	mt_set_unref(c->joined_with);
	mt_set_unref(c->joined_own);
	c->joined = mt_set_patch(out, res, n, NULL, 0);
	c->joined_with = mt_set_ref(out);
	c->joined_own = mt_set_ref(in);
	mt_free(res);
	return mt_set_ref(c->joined);
}

static const struct {
	enum push_type type;
	int tables[2]; /* -1: none */
} parts[] = {
	{ PUSH_CDS, { PILOT_CLUSTERS, PILOT_CLUSTERS_INBOUND } },
	{ PUSH_EDS, { PILOT_ENDPOINTS, -1 } },
	{ PUSH_LDS, { PILOT_LISTENERS, PILOT_LISTENERS_INBOUND } },
	{ PUSH_RDS, { PILOT_ROUTES, PILOT_ROUTES_INBOUND } },
	{ PUSH_VHDS, { PILOT_VIRTUAL_HOSTS, -1 } },
};

static bool part_changed(
	const struct push_view *v, struct mt_set *const sets[PILOT_TABLES], size_t i)
{
	for (int k = 0; k < 2; k++) {
		int t = parts[i].tables[k];
		if (t >= 0 && sets[t] != v->made_of[t])
			return true;
	}
	return false;
}

void push_view_join(struct push_view *v, struct mt_set *const sets[PILOT_TABLES],
	struct mt_set *ret[PUSH_TYPES])
{
	for (size_t i = 0; i < MT_ARRAY_SIZE(parts); i++) {
		enum push_type type = parts[i].type;
		int second = parts[i].tables[1];
		struct mt_set *out = sets[parts[i].tables[0]];
		if (v->snap && !part_changed(v, sets, i))
			ret[type] = mt_set_ref(v->snap->sets[type]);
		else
			ret[type] = second >= 0 ? join(out, sets[second], v->classes[second])
						: mt_set_ref(out);
	}
}

bool push_view_snapshot(
	struct push_view *v, struct mt_set *const sets[PILOT_TABLES], uint64_t id, int64_t made_ns)
{
	struct mt_snapshot *snap = mt_snapshot_new(id, made_ns, PUSH_TYPES);
	bool changed = !v->snap;

	push_view_join(v, sets, snap->sets);
	for (int t = 0; t < PUSH_TYPES; t++)
		changed = changed || mt_set_hash(snap->sets[t]) != mt_set_hash(v->snap->sets[t]);
	for (int t = 0; t < PILOT_TABLES; t++) {
		struct mt_set *old = v->made_of[t];
		v->made_of[t] = mt_set_ref(sets[t]);
		mt_set_unref(old);
	}
	if (!changed) {
		/* Equal content, but perhaps other objects behind it: proxies have nothing to learn,
		 * pages have. */
		snap->id = v->snap->id;
		snap->made_ns = v->snap->made_ns;
	}
	mt_snapshot_unref(v->snap);
	v->snap = snap;
	return changed;
}
