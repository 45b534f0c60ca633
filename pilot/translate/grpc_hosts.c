/* Hosts that only a virtual service knows, for gRPC without a proxy.
 *
 * A sidecar finds such a host by the request, whatever port it came to. A gRPC client asks for
 * "HOST:PORT" before there is a request, so the ports have to be known: 80, as for a sidecar's port that
 * is not named, those that matches name, those of the destinations. HOST alone is HOST:80. A wildcard
 * host has no name that could be planned. */
#include "pilot/translate/grpc.h"

#include <string.h>

#include "common/base/vec.h"
#include "pilot/translate/names.h"
#include "pilot/translate/route.h"

struct ports {
	uint16_t *v;
	size_t n;
	size_t cap;
};

static void add_port(struct mt_arena *a, struct ports *l, uint32_t port)
{
	if (!port || port > UINT16_MAX)
		return;
	for (size_t i = 0; i < l->n; i++)
		if (l->v[i] == port)
			return;
	mt_vec_apush(a, l, (uint16_t)port);
}

static struct ports ports_of(struct mt_arena *a, const struct pilot_vs *vs)
{
	struct ports l = { 0 };
	add_port(a, &l, 80);
	for (size_t i = 0; i < vs->nhttp; i++) {
		const Nw__HTTPRoute *h = vs->http[i].spec;
		for (size_t k = 0; k < h->n_match; k++)
			add_port(a, &l, h->match[k]->port);
		for (size_t k = 0; k < h->n_route; k++)
			if (h->route[k]->destination && h->route[k]->destination->port)
				add_port(a, &l, h->route[k]->destination->port->number);
	}
	return l;
}

static void each_port(struct pilot_job *j, struct pilot_names *seen, struct pilot_grpc_host *to,
	pilot_grpc_host_fn *fn, void *arg)
{
	struct ports ports = ports_of(j->a, to->vs);
	for (size_t i = 0; i < ports.n; i++) {
		to->port = ports.v[i];
		to->bare = to->port == 80;
		if (pilot_vs_applies(j, to->vs, NULL, to->port) &&
			pilot_names_put(seen, mt_arena_printf(j->a, "%s:%u", to->host, to->port)))
			fn(j, to, arg);
	}
}

void pilot_grpc_hosts(struct pilot_job *j, pilot_grpc_host_fn *fn, void *arg)
{
	struct pilot_names seen = { .a = j->a };
	for (size_t i = 0; i < j->negress; i++)
		for (size_t k = 0; k < j->ix->nvss; k++) {
			struct pilot_grpc_host to = { .vs = &j->ix->vss[k],
				.egress = &j->egress[i] };
			if (!to.vs->mesh || !pilot_egress_vs(j, to.egress, to.vs))
				continue;
			for (size_t m = 0; m < to.vs->nhosts; m++) {
				to.host = to.vs->hosts[m];
				if (!pilot_host_is_wild(to.host) &&
					pilot_world_find(j->w, to.host, j->p->ns) < 0)
					each_port(j, &seen, &to, fn, arg);
			}
		}
}
