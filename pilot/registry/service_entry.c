/* The registry that configuration itself is: each ServiceEntry object stands for one service a host.
 * The services made from an object are kept with it, so that a change re-reads one object, and a
 * change that moved endpoints only is told apart by comparing the services' hashes. */
#include "common/base/map.h"
#include "common/base/mem.h"
#include "pilot/registry/registry.h"

struct service_entries {
	struct pilot_registry base;
	struct pilot_ids *ids;
	struct mt_map *objects; /* "ns/name" -> struct pilot_services_in */
};

static void services_free(void *p)
{
	pilot_services_in_clear(p);
	mt_free(p);
}

static struct pilot_registry *open_entries(struct pilot_ids *ids)
{
	struct service_entries *r = MT_NEW(struct service_entries);
	r->base.ops = &pilot_registry_service_entry;
	r->ids = ids;
	r->objects = mt_map_new();
	return &r->base;
}

static void close_entries(struct pilot_registry *base)
{
	struct service_entries *r = MT_CONTAINER(base, struct service_entries, base);
	mt_map_free(r->objects, services_free);
	mt_free(r);
}

static enum pilot_services_change compare(const struct pilot_services_in *old,
	const struct pilot_services_in *new, struct pilot_endpoints_changes *eps)
{
	enum pilot_services_change change = PILOT_SERVICES_SAME;

	if (!old || old->n != new->n)
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

static enum pilot_services_change object_changed(struct pilot_registry *base,
	const struct mt_feed_change *c, struct pilot_endpoints_changes *eps, struct mt_err *err)
{
	struct service_entries *r = MT_CONTAINER(base, struct service_entries, base);
	const struct mt_object *o = c->new ? c->new : c->old;
	char key[600];

	if (o->kind->id != MT_KIND_SERVICE_ENTRY)
		return PILOT_SERVICES_SAME;
	mt_object_key(o, key, sizeof(key));
	if (!c->new) {
		void *gone = mt_map_del(r->objects, key);
		if (!gone)
			return PILOT_SERVICES_SAME;
		services_free(gone);
		return PILOT_SERVICES_CHANGED;
	}

	struct pilot_services_in *made = MT_NEW(struct pilot_services_in);
	if (pilot_service_entry(o, pilot_ids_of(r->ids, o), made, err) < 0) {
		services_free(made);
		return PILOT_SERVICES_SAME;
	}
	enum pilot_services_change change = compare(mt_map_get(r->objects, key), made, eps);
	void *old = mt_map_put(r->objects, key, made);
	if (old)
		services_free(old);
	return change;
}

static void list(struct pilot_registry *base, struct pilot_services_in *out)
{
	struct service_entries *r = MT_CONTAINER(base, struct service_entries, base);

	for (struct mt_map_it it = { 0 }; mt_map_next(r->objects, &it);) {
		const struct pilot_services_in *s = it.value;
		for (size_t i = 0; i < s->n; i++) {
			if (out->n == out->cap) {
				out->cap = out->cap ? out->cap * 2 : 64;
				out->v = mt_reallocarray(out->v, out->cap, sizeof(*out->v));
			}
			out->v[out->n++] =
				(struct pilot_service_in){ pilot_service_ref(s->v[i].svc),
					pilot_endpoints_ref(s->v[i].eps) };
		}
	}
}

const struct pilot_registry_ops pilot_registry_service_entry = {
	.name = "ServiceEntry",
	.open = open_entries,
	.close = close_entries,
	.object = object_changed,
	.list = list,
};
