#include "pilot/translate/tls_view.h"

#include <string.h>

#include "pilot/translate/policy.h"

static const char *const modes[] = { [PILOT_MTLS_UNSET] = "PERMISSIVE",
	[PILOT_MTLS_DISABLE] = "DISABLE",
	[PILOT_MTLS_PERMISSIVE] = "PERMISSIVE",
	[PILOT_MTLS_STRICT] = "STRICT" };

enum sends { SENDS_PLAIN, SENDS_TLS, SENDS_MTLS, SENDS_AUTO };
static const char *const words[] = { "HTTP", "TLS", "mTLS", "auto" };

static enum sends client(struct pilot_job *j, const struct pilot_service *s,
	const struct pilot_dr *dr, const struct pilot_port *port)
{
	struct pilot_policy pol;
	pilot_policy_resolve(j->mesh, dr, "", port->number, &pol);
	if (!pol.tls)
		return j->mesh->auto_mtls && j->p->sds && !s->external ? SENDS_AUTO : SENDS_PLAIN;
	switch (pol.tls->mode) {
	case NW__CLIENT_TLSSETTINGS__TLSMODE__ISTIO_MUTUAL: return SENDS_MTLS;
	case NW__CLIENT_TLSSETTINGS__TLSMODE__DISABLE: return SENDS_PLAIN;
	default: return SENDS_TLS;
	}
}

/* An endpoint without a sidecar takes plaintext alone. */
static enum pilot_mtls server(struct pilot_job *j, const struct pilot_service *s,
	const struct pilot_endpoint *e, size_t port, uint32_t *ret_id)
{
	struct pilot_mtls_query q = { .ns = e->ns,
		.labels = e->labels,
		.nlabels = e->nlabels,
		.port = e->ports[port],
		.service = mt_arena_strndup(j->a, s->hostname, strcspn(s->hostname, ".")),
		.service_port = s->ports[port].number };
	*ret_id = 0;
	return e->mtls ? pilot_index_mtls(j->ix, &q, ret_id) : PILOT_MTLS_DISABLE;
}

static bool refuses(enum pilot_mtls mode, enum sends sends)
{
	switch (sends) {
	case SENDS_AUTO: return false;
	case SENDS_MTLS: return mode == PILOT_MTLS_DISABLE;
	default: return mode == PILOT_MTLS_STRICT;
	}
}

static void view(struct pilot_job *j, uint32_t svc, size_t port, struct pilot_tls_view *v)
{
	const struct pilot_service *s = j->ix->svcs[svc];
	const struct pilot_endpoints *eps = pilot_world_eps(j->w, svc);
	const struct pilot_dr *dr = pilot_job_dr(j, s->hostname, (int)svc);
	enum sends sends = client(j, s, dr, &s->ports[port]);
	enum pilot_mtls first = PILOT_MTLS_UNSET;

	*v = (struct pilot_tls_view){ .host = s->hostname,
		.port = s->ports[port].number,
		.server = "-",
		.client = words[sends],
		.rule_ids = dr ? dr->ids : NULL,
		.nrule_ids = dr ? dr->nids : 0 };
	for (size_t i = 0; i < eps->n; i++) {
		uint32_t id;
		enum pilot_mtls mode = server(j, s, &eps->v[i], port, &id);
		if (!i) {
			first = mode;
			v->server = modes[mode];
			v->policy_id = id;
		} else if (mode != first) {
			v->server = "mixed";
		}
		v->conflict |= refuses(mode, sends);
	}
}

size_t pilot_tls_views(struct pilot_job *j, struct pilot_tls_view **ret)
{
	size_t n = 0, max = 0;
	for (size_t i = 0; i < j->ix->nsvcs; i++)
		max += j->clusters[i] ? j->ix->svcs[i]->nports : 0;
	struct pilot_tls_view *v = MT_ANEWN(j->a, struct pilot_tls_view, max + 1);
	for (uint32_t i = 0; i < j->ix->nsvcs; i++)
		for (size_t k = 0; j->clusters[i] && k < j->ix->svcs[i]->nports; k++)
			view(j, i, k, &v[n++]);
	*ret = v;
	return n;
}
