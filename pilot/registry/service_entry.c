/* The registry that configuration itself is: each ServiceEntry object stands for one service a host,
 * and WorkloadEntry objects are the endpoints of those that select them by label.
 *
 * The services made from an object are kept with it, so that a change re-reads one object, and a
 * change that moved endpoints only is told apart by comparing the services' hashes. A WorkloadEntry
 * that comes, changes or goes makes the entries that select it (before or after) again: their services
 * come out equal, so this is a change of endpoints and nothing else.
 *
 * What an agent says of its workload's health (pilot/health.c) lies beside the objects, not in them:
 * it outlives a change of the object and goes with it. */
#include <string.h>

#include "common/base/map.h"
#include "common/base/mem.h"
#include "common/base/vec.h"
#include "istio/networking/v1alpha3/service_entry.pb-c.h"
#include "pilot/registry/registry.h"

struct entry { /* a ServiceEntry */
	struct mt_object *obj;
	struct pilot_services_in svcs;
};

struct workload { /* a WorkloadEntry */
	struct mt_object *obj;
};

struct service_entries {
	struct pilot_registry base;
	struct pilot_ids *ids;
	struct mt_map *objects;   /* "ns/name" -> struct entry */
	struct mt_map *workloads; /* "ns/name" -> struct workload */
	struct mt_map *selecting; /* "ns/name" -> struct entry of objects: those with a selector */
	struct mt_map *unhealthy; /* "ns/name" of a WorkloadEntry -> anything */
};

static void entry_free(void *p)
{
	struct entry *e = p;

	pilot_services_in_clear(&e->svcs);
	mt_object_unref(e->obj);
	mt_free(e);
}

static void workload_free(void *p)
{
	struct workload *w = p;

	mt_object_unref(w->obj);
	mt_free(w);
}

static struct pilot_registry *open_entries(struct pilot_ids *ids)
{
	struct service_entries *r = MT_NEW(struct service_entries);
	r->base.ops = &pilot_registry_service_entry;
	r->ids = ids;
	r->objects = mt_map_new();
	r->workloads = mt_map_new();
	r->selecting = mt_map_new();
	r->unhealthy = mt_map_new();
	return &r->base;
}

static void close_entries(struct pilot_registry *base)
{
	struct service_entries *r = MT_CONTAINER(base, struct service_entries, base);
	mt_map_free(r->selecting, NULL);
	mt_map_free(r->objects, entry_free);
	mt_map_free(r->workloads, workload_free);
	mt_map_free(r->unhealthy, NULL);
	mt_free(r);
}

static enum pilot_services_change compare(const struct pilot_services_in *old,
	const struct pilot_services_in *new, struct pilot_endpoints_changes *eps)
{
	enum pilot_services_change change = PILOT_SERVICES_SAME;

	if (old->n != new->n)
		return PILOT_SERVICES_CHANGED;
	for (size_t i = 0; i < new->n; i++)
		if (old->v[i].svc->hash != new->v[i].svc->hash)
			return PILOT_SERVICES_CHANGED;
	for (size_t i = 0; i < new->n; i++) {
		if (old->v[i].eps->hash == new->v[i].eps->hash)
			continue;
		pilot_endpoints_changes_add(eps, new->v[i].svc, new->v[i].eps);
		change = PILOT_SERVICES_ENDPOINTS;
	}
	return change;
}

/* Those that o selects; heap array. */
static struct pilot_workload *workloads_of(
	struct service_entries *r, const struct mt_object *o, size_t *ret_n)
{
	MT_VEC(struct pilot_workload) v = { 0 };

	for (struct mt_map_it it = { 0 }; mt_map_next(r->workloads, &it);) {
		struct workload *w = it.value;
		struct pilot_workload one = { pilot_ids_of(r->ids, w->obj), w->obj,
			mt_map_get(r->unhealthy, it.key) != NULL };
		if (pilot_service_entry_selects(o, w->obj))
			mt_vec_push(&v, one);
	}
	*ret_n = v.n;
	return v.v;
}

static int make(struct service_entries *r, const struct mt_object *o, struct pilot_services_in *ret,
	struct mt_err *err)
{
	const Nw__ServiceEntry *spec = (const Nw__ServiceEntry *)o->spec;
	size_t n = 0;
	struct pilot_workload *w = spec->workload_selector ? workloads_of(r, o, &n) : NULL;
	int code = pilot_service_entry(o, pilot_ids_of(r->ids, o), w, n, ret, err);

	mt_free(w);
	return code;
}

static enum pilot_services_change entry_gone(struct service_entries *r, const char *key)
{
	void *gone = mt_map_del(r->objects, key);

	if (!gone)
		return PILOT_SERVICES_SAME;
	mt_map_del(r->selecting, key);
	entry_free(gone);
	return PILOT_SERVICES_CHANGED;
}

static enum pilot_services_change entry_changed(struct service_entries *r, const char *key,
	struct mt_object *o, struct pilot_endpoints_changes *eps, struct mt_err *err)
{
	struct entry *e = MT_NEW(struct entry), *old = mt_map_get(r->objects, key);

	if (make(r, o, &e->svcs, err) < 0) {
		entry_free(e);
		return PILOT_SERVICES_SAME;
	}
	e->obj = mt_object_ref(o);
	enum pilot_services_change change =
		old ? compare(&old->svcs, &e->svcs, eps) : PILOT_SERVICES_CHANGED;
	mt_map_put(r->objects, key, e);
	if (((const Nw__ServiceEntry *)o->spec)->workload_selector)
		mt_map_put(r->selecting, key, e);
	else
		mt_map_del(r->selecting, key);
	if (old)
		entry_free(old);
	return change;
}

/* Makes an entry's endpoints again; its services stay the objects that they are. */
static enum pilot_services_change endpoints_again(
	struct service_entries *r, struct entry *e, struct pilot_endpoints_changes *eps)
{
	struct pilot_services_in made = { 0 };
	enum pilot_services_change change = PILOT_SERVICES_SAME;

	if (make(r, e->obj, &made, NULL) < 0 || made.n != e->svcs.n) {
		pilot_services_in_clear(&made);
		return PILOT_SERVICES_SAME; /* cannot be: it was made once */
	}
	for (size_t i = 0; i < made.n; i++) {
		struct pilot_service_in *in = &e->svcs.v[i];
		if (in->eps->hash == made.v[i].eps->hash)
			continue;
		pilot_endpoints_unref(in->eps);
		in->eps = pilot_endpoints_ref(made.v[i].eps);
		pilot_endpoints_changes_add(eps, in->svc, in->eps);
		change = PILOT_SERVICES_ENDPOINTS;
	}
	pilot_services_in_clear(&made);
	return change;
}

static enum pilot_services_change selecting_again(struct service_entries *r,
	const struct mt_object *before, const struct mt_object *after,
	struct pilot_endpoints_changes *eps)
{
	enum pilot_services_change change = PILOT_SERVICES_SAME;

	for (struct mt_map_it it = { 0 }; mt_map_next(r->selecting, &it);) {
		struct entry *e = it.value;
		bool selected = (before && pilot_service_entry_selects(e->obj, before)) ||
			(after && pilot_service_entry_selects(e->obj, after));
		if (selected && endpoints_again(r, e, eps) == PILOT_SERVICES_ENDPOINTS)
			change = PILOT_SERVICES_ENDPOINTS;
	}
	return change;
}

static enum pilot_services_change workload_changed(struct service_entries *r, const char *key,
	struct mt_object *o, struct pilot_endpoints_changes *eps)
{
	struct workload *old = o ? mt_map_get(r->workloads, key) : mt_map_del(r->workloads, key);

	if (o) {
		struct workload *w = MT_NEW(struct workload);
		w->obj = mt_object_ref(o);
		mt_map_put(r->workloads, key, w);
	} else {
		mt_map_del(r->unhealthy, key);
	}
	enum pilot_services_change change = selecting_again(r, old ? old->obj : NULL, o, eps);
	if (old)
		workload_free(old);
	return change;
}

static enum pilot_services_change object_changed(struct pilot_registry *base,
	const struct mt_feed_change *c, struct pilot_endpoints_changes *eps, struct mt_err *err)
{
	struct service_entries *r = MT_CONTAINER(base, struct service_entries, base);
	const struct mt_object *o = c->new ? c->new : c->old;
	char key[600];

	mt_object_key(o, key, sizeof(key));
	if (o->kind->id == MT_KIND_WORKLOAD_ENTRY)
		return workload_changed(r, key, c->new, eps);
	if (o->kind->id != MT_KIND_SERVICE_ENTRY)
		return PILOT_SERVICES_SAME;
	return c->new ? entry_changed(r, key, c->new, eps, err) : entry_gone(r, key);
}

static enum pilot_services_change workload_health(struct pilot_registry *base, const char *key,
	bool healthy, struct pilot_endpoints_changes *eps)
{
	struct service_entries *r = MT_CONTAINER(base, struct service_entries, base);
	struct workload *w = mt_map_get(r->workloads, key);

	if (!w || healthy == !mt_map_get(r->unhealthy, key))
		return PILOT_SERVICES_SAME;
	if (healthy)
		mt_map_del(r->unhealthy, key);
	else
		mt_map_put(r->unhealthy, key, r);
	return selecting_again(r, w->obj, NULL, eps);
}

static void list(struct pilot_registry *base, struct pilot_services_in *out)
{
	struct service_entries *r = MT_CONTAINER(base, struct service_entries, base);

	for (struct mt_map_it it = { 0 }; mt_map_next(r->objects, &it);) {
		const struct entry *e = it.value;
		for (size_t i = 0; i < e->svcs.n; i++) {
			struct pilot_service_in in = { pilot_service_ref(e->svcs.v[i].svc),
				pilot_endpoints_ref(e->svcs.v[i].eps) };
			mt_vec_push(out, in);
		}
	}
}

const struct pilot_registry_ops pilot_registry_service_entry = {
	.name = "ServiceEntry",
	.open = open_entries,
	.close = close_entries,
	.object = object_changed,
	.health = workload_health,
	.list = list,
};
