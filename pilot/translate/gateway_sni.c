/* AUTO_PASSTHROUGH: a gateway between networks. A proxy of the mesh says in the server name of its own
 * TLS which service, port and subset it wants ("outbound_.PORT_.SUBSET_.HOST"), and the
 * gateway passes the connection on to a cluster of that very name, without ending the TLS.
 *
 * These clusters are the outbound ones once more, without a TLS socket, for the services that the
 * server's hosts cover. Their endpoints are resources of their own: Envoy warms a cluster by its own
 * load assignment. */
#include <string.h>

#include "common/base/hash.h"
#include "pilot/translate/cluster.h"
#include "pilot/translate/listener.h"

bool pilot_server_auto(const Nw__Server *s)
{
	return s->tls && !s->tls->https_redirect &&
		s->tls->mode == NW__SERVER_TLSSETTINGS__TLSMODE__AUTO_PASSTHROUGH;
}

static const char *sni_name(
	struct pilot_job *j, const struct pilot_service *s, uint32_t port, const char *subset)
{
	return mt_arena_printf(
		j->a, "outbound_.%u_.%s_.%s", s->ports[port].number, subset, s->hostname);
}

static bool covers(const struct pilot_gw_server *g, const struct pilot_service *s)
{
	if (s->resolution == PILOT_RES_NONE || s->resolution == PILOT_RES_DYNAMIC_DNS ||
		s->external)
		return false;
	for (size_t i = 0; i < g->spec->n_hosts; i++)
		if (pilot_gw_host(g, g->spec->hosts[i], s->ns, s->hostname))
			return true;
	return false;
}

static bool covered(struct pilot_job *j, const struct pilot_service *s)
{
	for (size_t i = 0; i < j->ngws; i++)
		for (size_t k = 0; k < j->gws[i].n; k++)
			if (pilot_server_auto(j->gws[i].v[k].spec) && covers(&j->gws[i].v[k], s))
				return true;
	return false;
}

void pilot_plan_sni_clusters(struct pilot_job *j, struct pilot_plan *p)
{
	size_t n = p->n;
	for (size_t i = 0; i < n; i++) {
		const struct pilot_cluster_ref *ref = p->v[i].what;
		if (p->v[i].how != PILOT_HOW_CLUSTER || !covered(j, j->ix->svcs[ref->svc]))
			continue;
		struct pilot_cluster_ref *sni = MT_ANEW(j->a, struct pilot_cluster_ref);
		*sni = *ref;
		sni->sni = true;
		pilot_plan_add(j, p, sni_name(j, j->ix->svcs[ref->svc], ref->port, ref->subset),
			mt_hash_mix(p->v[i].fp, 7), PILOT_HOW_CLUSTER, sni);
	}
}

bool pilot_sni_cluster(struct pilot_job *j, const char *name, struct pilot_cluster_name *ret)
{
	/* The same parts, other marks between them. */
	const char *port = strstr(name, "_."), *subset = port ? strstr(port + 2, "_.") : NULL;
	const char *host = subset ? strstr(subset + 2, "_.") : NULL;
	if (!host || port != name + strlen("outbound"))
		return false;
	const char *plain = mt_arena_printf(j->a, "%.*s|%.*s|%.*s|%s", (int)(port - name), name,
		(int)(subset - port) - 2, port + 2, (int)(host - subset) - 2, subset + 2, host + 2);
	if (pilot_cluster_name_parse(plain, ret) < 0)
		return false;
	int svc = pilot_world_find(j->w, ret->host, j->p->ns);
	return svc >= 0 && covered(j, j->ix->svcs[svc]);
}

const char *pilot_sni_twin(
	struct pilot_job *j, const struct pilot_service *s, uint32_t port, const char *subset)
{
	return covered(j, s) ? sni_name(j, s, port, subset) : NULL;
}

static void service_chains(struct pilot_gw_chains *c, const struct pilot_gw_server *g, uint32_t svc)
{
	struct pilot_job *j = c->j;
	const struct pilot_service *s = j->ix->svcs[svc];
	const struct pilot_dr *dr = pilot_job_dr(j, s->hostname, (int)svc);
	for (uint32_t k = 0; k < s->nports; k++) {
		if (s->ports[k].protocol == PILOT_UDP)
			continue;
		for (size_t i = 0; i <= (dr ? dr->nsubsets : 0); i++) {
			const char *name =
				sni_name(j, s, k, i ? dr->subsets[i - 1].spec->name : "");
			Listener__FilterChain *fc =
				pilot_chain_new(j, name, pilot_tcp_filter(j, &c->f, name, name));
			char *sni = pb_s(name);
			pilot_chains_add(&c->out,
				&(struct pilot_chain_on){ .id = g->gw->id,
					.path = "spec.servers",
					.sni = &sni,
					.nsni = 1 },
				fc);
		}
	}
	pilot_prov_add(j, s->id);
}

void pilot_gw_auto(struct pilot_gw_chains *c, const struct pilot_gw_server *g)
{
	const struct pilot_egress *e = &c->j->egress[0];
	for (size_t i = 0; i < e->nsvcs; i++)
		if (covers(g, c->j->ix->svcs[e->svcs[i]]))
			service_chains(c, g, e->svcs[i]);
}

uint64_t pilot_gw_auto_fp(struct pilot_job *j, const struct pilot_gw_port *g)
{
	const struct pilot_egress *e = &j->egress[0];
	uint64_t fp = 0;
	for (size_t k = 0; k < g->n; k++) {
		if (!pilot_server_auto(g->v[k].spec))
			continue;
		for (size_t i = 0; i < e->nsvcs; i++) {
			const struct pilot_service *s = j->ix->svcs[e->svcs[i]];
			const struct pilot_dr *dr = pilot_job_dr(j, s->hostname, (int)e->svcs[i]);
			fp = mt_hash_mix(mt_hash_mix(fp, s->hash), dr ? dr->hash : 0);
		}
		break;
	}
	return fp;
}
