/* Localities: which endpoints a proxy prefers, by where it stands itself.
 *
 * The setting is the destination rule's, else the mesh's (which is on unless switched off). It means one
 * of two things, never both:
 *
 *   distribute   the first entry whose `from` holds the proxy gives each locality its share of the
 *                traffic; a locality that no `to` names gets none
 *   ranks        priorities, of which Envoy uses the next only as far as the one before is unhealthy:
 *                by `failoverPriority` (labels that proxy and endpoint share, in order), then by
 *                locality (same subzone, zone, region, elsewhere; `failover` names the region that comes
 *                first elsewhere). Only with outlier detection or active checks: unless somebody finds
 *                endpoints unhealthy the first rank would be all that is ever used
 *
 * Neither: the endpoints are one flat group, as if they stood in one place. */
#include <stdlib.h>
#include <string.h>

#include "common/base/hash.h"
#include "common/base/strs.h"
#include "pilot/translate/policy.h"

static const Nw__LocalityLoadBalancerSetting *setting(
	struct pilot_job *j, const struct pilot_policy *pol, bool *ret_off)
{
	const Nw__LocalityLoadBalancerSetting *s = pol->lb ? pol->lb->locality_lb_setting : NULL;
	if (!s)
		s = j->mesh->spec->locality_lb_setting;
	*ret_off = s && s->enabled && !s->enabled->value;
	return s;
}

bool pilot_locality_weighted(struct pilot_job *j, const struct pilot_policy *pol)
{
	bool off;
	const Nw__LocalityLoadBalancerSetting *s = setting(j, pol, &off);
	return !off && ((s && s->n_distribute) || pol->outlier || pol->health);
}

/* "region/zone/subzone"; "*" or a part left out is any. */
static bool covers(const char *pattern, const char *region, const char *zone, const char *subzone)
{
	const char *part[3] = { region, zone, subzone };
	for (int i = 0; i < 3 && *pattern; i++) {
		size_t n = strcspn(pattern, "/");
		bool any = n == 1 && *pattern == '*';
		if (n && !any && (strlen(part[i]) != n || memcmp(part[i], pattern, n) != 0))
			return false;
		pattern += n + (pattern[n] == '/');
	}
	return true;
}

struct pilot_locality pilot_locality_of(struct pilot_job *j, const struct pilot_policy *pol)
{
	struct pilot_locality l = { .how = PILOT_LOCALITY_FLAT };
	bool off;
	const Nw__LocalityLoadBalancerSetting *s = setting(j, pol, &off);
	if (off)
		return l;
	if (s && s->n_distribute) {
		for (size_t i = 0; i < s->n_distribute && !l.weights; i++)
			if (covers(s->distribute[i]->from, j->p->region, j->p->zone, j->p->subzone))
				l.weights = s->distribute[i];
		if (l.weights)
			l.how = PILOT_LOCALITY_WEIGHTS;
	} else if (pol->outlier || pol->health) {
		l.how = PILOT_LOCALITY_RANKS;
		l.set = s;
	}
	return l;
}

/* ---- ranks ---- */

/* Labels that everybody has without writing them down. */
static const char *place_of(const char *key, const char *region, const char *zone,
	const char *subzone, const char *network, const char *cluster)
{
	const struct {
		const char *key, *value;
	} known[] = { { "topology.kubernetes.io/region", region },
		{ "topology.kubernetes.io/zone", zone }, { "topology.istio.io/subzone", subzone },
		{ "topology.istio.io/network", network },
		{ "topology.istio.io/cluster", cluster } };
	for (size_t i = 0; i < MT_ARRAY_SIZE(known); i++)
		if (strcmp(known[i].key, key) == 0)
			return known[i].value;
	return NULL;
}

static const char *of_proxy(const struct pilot_proxy *p, const char *key)
{
	const char *v = pilot_label(p->labels, p->nlabels, key);
	if (!v)
		v = place_of(key, p->region, p->zone, p->subzone, p->network, p->cluster_id);
	return v ? v : "";
}

static const char *of_endpoint(const struct pilot_endpoint *e, const char *key)
{
	const char *v = pilot_label(e->labels, e->nlabels, key);
	if (!v)
		v = place_of(key, e->region, e->zone, e->subzone, e->network, e->cluster);
	return v ? v : "";
}

/* How many of the labels, from the first on, proxy and endpoint do not share: 0 is the best. */
static unsigned label_rank(struct pilot_job *j, const Nw__LocalityLoadBalancerSetting *s,
	const struct pilot_endpoint *e)
{
	for (size_t i = 0; i < s->n_failover_priority; i++) {
		const char *text = s->failover_priority[i], *eq = strchr(text, '=');
		const char *key = eq ? mt_arena_strndup(j->a, text, (size_t)(eq - text)) : text;
		if (strcmp(eq ? eq + 1 : of_proxy(j->p, key), of_endpoint(e, key)) != 0)
			return (unsigned)(s->n_failover_priority - i);
	}
	return 0;
}

enum { RANKS_BY_PLACE = 5 };

static unsigned place_rank(struct pilot_job *j, const Nw__LocalityLoadBalancerSetting *s,
	const struct pilot_endpoint *e)
{
	const struct pilot_proxy *p = j->p;
	if (strcmp(p->region, e->region) == 0) {
		if (strcmp(p->zone, e->zone) != 0)
			return 2;
		return strcmp(p->subzone, e->subzone) != 0;
	}
	for (size_t i = 0; s && i < s->n_failover; i++)
		if (strcmp(s->failover[i]->from, p->region) == 0)
			return strcmp(s->failover[i]->to, e->region) == 0 ? 3 : 4;
	return 3;
}

unsigned pilot_locality_rank(
	struct pilot_job *j, const struct pilot_locality *l, const struct pilot_endpoint *e)
{
	if (l->how != PILOT_LOCALITY_RANKS)
		return 0;
	if (!l->set || !l->set->n_failover_priority)
		return place_rank(j, l->set, e);
	unsigned rank = label_rank(j, l->set, e) * RANKS_BY_PLACE;
	return l->set->n_failover ? rank + place_rank(j, l->set, e) : rank;
}

uint64_t pilot_locality_fp(struct pilot_job *j, const struct pilot_locality *l)
{
	if (l->how == PILOT_LOCALITY_FLAT)
		return 0;
	const struct pilot_proxy *p = j->p;
	const char *const read[] = { p->region, p->zone, p->subzone, p->network, p->cluster_id };
	uint64_t h = (uint64_t)l->how;
	for (size_t i = 0; i < MT_ARRAY_SIZE(read); i++)
		h = mt_hash_mix(h, mt_hash_str(read[i]));
	for (size_t i = 0; l->set && i < l->set->n_failover_priority; i++) {
		const char *text = l->set->failover_priority[i];
		h = mt_hash_mix(h,
			mt_hash_str(of_proxy(p, mt_arena_strndup(j->a, text, strcspn(text, "=")))));
	}
	return h;
}

/* ---- weights ---- */

typedef Nw__LocalityLoadBalancerSetting__Distribute__ToEntry to_entry;

/* The nearest pattern first: the longest, then by text so that the order is always the same. */
static int to_cmp(const void *pa, const void *pb)
{
	const to_entry *a = *(to_entry *const *)pa, *b = *(to_entry *const *)pb;
	size_t na = strlen(a->key), nb = strlen(b->key);
	return na != nb ? (na > nb ? -1 : 1) : strcmp(a->key, b->key);
}

static bool covers_group(const char *pattern, const Endpoint__LocalityLbEndpoints *g)
{
	const Core__Locality *l = g->locality;
	return covers(pattern, l ? l->region : "", l ? l->zone : "", l ? l->sub_zone : "");
}

/* Percent to weights: fine enough to split one share among localities of different sizes. */
enum { WEIGHT_SCALE = 100 };

void pilot_locality_weigh(
	struct pilot_job *j, const struct pilot_locality *l, Endpoint__ClusterLoadAssignment *m)
{
	if (l->how != PILOT_LOCALITY_WEIGHTS)
		return;
	size_t n = l->weights->n_to;
	to_entry **to = MT_ANEWN(j->a, to_entry *, n + 1);
	uint64_t *total = MT_ANEWN(j->a, uint64_t, n + 1);
	size_t *by = MT_ANEWN(j->a, size_t, m->n_endpoints + 1);
	memcpy(to, l->weights->to, n * sizeof(*to));
	if (n > 1)
		qsort(to, n, sizeof(*to), to_cmp);
	for (size_t i = 0; i < m->n_endpoints; i++) {
		while (by[i] < n && !covers_group(to[by[i]]->key, m->endpoints[i]))
			by[i]++;
		total[by[i]] += m->endpoints[i]->load_balancing_weight->value;
	}
	size_t kept = 0;
	for (size_t i = 0; i < m->n_endpoints; i++) {
		uint64_t own = m->endpoints[i]->load_balancing_weight->value;
		if (by[i] == n || !to[by[i]]->value || !own)
			continue;
		uint64_t w = to[by[i]]->value * (uint64_t)WEIGHT_SCALE * own / total[by[i]];
		m->endpoints[i]->load_balancing_weight->value = (uint32_t)MT_MAX(w, 1);
		m->endpoints[kept++] = m->endpoints[i];
	}
	m->n_endpoints = kept;
}
