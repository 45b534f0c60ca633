#include "pilot/registry/registry.h"

#include "common/base/mem.h"

void pilot_endpoints_changes_add(
	struct pilot_endpoints_changes *c, struct pilot_service *svc, struct pilot_endpoints *eps)
{
	if (c->n == c->cap) {
		c->cap = c->cap ? c->cap * 2 : 8;
		c->v = mt_reallocarray(c->v, c->cap, sizeof(*c->v));
		c->svc = mt_reallocarray(c->svc, c->cap, sizeof(*c->svc));
	}
	c->svc[c->n] = pilot_service_ref(svc);
	c->v[c->n++] =
		(struct pilot_endpoints_change){ svc->hostname, svc->ns, pilot_endpoints_ref(eps) };
}

void pilot_endpoints_changes_clear(struct pilot_endpoints_changes *c)
{
	for (size_t i = 0; i < c->n; i++) {
		pilot_endpoints_unref(c->v[i].eps);
		pilot_service_unref(c->svc[i]);
	}
	mt_free(c->v);
	mt_free(c->svc);
	*c = (struct pilot_endpoints_changes){ 0 };
}
