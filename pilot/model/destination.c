/* Destination rules of the index.
 *
 * Rules of one host and namespace that also agree in exportTo and workload selector are merged: the
 * oldest's traffic policy, the subsets of all, the oldest of two subsets with one name. Rules that
 * differ there stay apart, since each has clients of its own; which one a client obeys is said in
 * select.c. Whatever loses, and whatever cannot have an effect (destination_notes.c), is noted. */
#include <stdlib.h>
#include <string.h>

#include "common/base/hash.h"
#include "common/base/strs.h"
#include "common/schema/health.h"
#include "pilot/model/destination.h"
#include "pilot/model/host.h"

struct dr_in {
	const char *host;
	struct pilot_config c;
};

static int dr_in_cmp(const void *pa, const void *pb)
{
	const struct dr_in *a = pa, *b = pb;
	int r = strcmp(a->host, b->host);
	if (!r)
		r = strcmp(a->c.obj->ns, b->c.obj->ns);
	return r ? r : pilot_config_by_age(&a->c, &b->c);
}

static bool lists(const char *const *v, size_t n, const char *s)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(v[i], s) == 0)
			return true;
	return false;
}

static bool same_export(const struct pilot_dr *a, const struct pilot_dr *b)
{
	for (size_t i = 0; i < a->nexport_to; i++)
		if (!lists(b->export_to, b->nexport_to, a->export_to[i]))
			return false;
	for (size_t i = 0; i < b->nexport_to; i++)
		if (!lists(a->export_to, a->nexport_to, b->export_to[i]))
			return false;
	return true;
}

/* Some namespace other than their own sees both. */
static bool both_seen(const struct pilot_dr *a, const struct pilot_dr *b)
{
	if (lists(a->export_to, a->nexport_to, "*"))
		return b->nexport_to && !lists(b->export_to, b->nexport_to, "~");
	if (lists(b->export_to, b->nexport_to, "*"))
		return a->nexport_to && !lists(a->export_to, a->nexport_to, "~");
	for (size_t i = 0; i < a->nexport_to; i++)
		if (lists(b->export_to, b->nexport_to, a->export_to[i]))
			return true;
	return false;
}

static bool same_selector(const struct pilot_dr *a, const struct pilot_dr *b)
{
	const Istype__WorkloadSelector *x = a->selector, *y = b->selector;
	if (!x || !y)
		return x == y;
	if (x->n_match_labels != y->n_match_labels)
		return false;
	for (size_t i = 0; i < x->n_match_labels; i++) {
		bool found = false;
		for (size_t k = 0; k < y->n_match_labels; k++)
			found = found ||
				(strcmp(x->match_labels[i]->key, y->match_labels[k]->key) == 0 &&
					strcmp(x->match_labels[i]->value,
						y->match_labels[k]->value) == 0);
		if (!found)
			return false;
	}
	return true;
}

static void take_health(
	struct pilot_index *ix, struct pilot_dr *dr, const struct pilot_config *c, const char *text)
{
	struct mt_diags diags = { 0 };
	const Meltemi__HealthCheck *h = mt_health_check_parse(text, ix->arena, &diags);
	if (!h)
		pilot_note_add(ix->arena, &ix->notes, c->id, PILOT_NOTE_INVALID,
			MT_HEALTH_CHECK_PATH, "%s", diags.n ? diags.v[0].msg : "is not understood");
	else if (dr->health)
		pilot_note_add(ix->arena, &ix->notes, c->id, PILOT_NOTE_SHADOWED,
			MT_HEALTH_CHECK_PATH, "%s is older and checks %s", dr->obj->name, dr->host);
	else
		dr->health = h;
	mt_diags_clear(&diags);
}

static void take_subsets(
	struct pilot_index *ix, struct pilot_dr *dr, const struct pilot_config *c, uint32_t id)
{
	const Nw__DestinationRule *s = (const Nw__DestinationRule *)c->obj->spec;
	struct pilot_subset *v =
		MT_ANEWN(ix->arena, struct pilot_subset, dr->nsubsets + s->n_subsets + 1);
	if (dr->nsubsets)
		memcpy(v, dr->subsets, dr->nsubsets * sizeof(*v));
	for (size_t i = 0; i < s->n_subsets; i++) {
		bool dup = false;
		for (size_t k = 0; k < dr->nsubsets; k++)
			dup = dup || strcmp(v[k].spec->name, s->subsets[i]->name) == 0;
		if (dup)
			pilot_note_add(ix->arena, &ix->notes, id, PILOT_NOTE_SHADOWED,
				"spec.subsets", "subset %s of %s is already defined",
				s->subsets[i]->name, dr->host);
		else
			v[dr->nsubsets++] = (struct pilot_subset){ s->subsets[i], id };
	}
	dr->subsets = v;
}

static void merge_dr(struct pilot_index *ix, struct pilot_dr *dr, const struct pilot_config *c)
{
	const Nw__DestinationRule *s = (const Nw__DestinationRule *)c->obj->spec;
	uint32_t *ids = MT_ANEWN(ix->arena, uint32_t, dr->nids + 1);
	if (dr->nids)
		memcpy(ids, dr->ids, dr->nids * sizeof(*ids));
	if (dr->policy && s->traffic_policy)
		pilot_note_add(ix->arena, &ix->notes, c->id, PILOT_NOTE_SHADOWED,
			"spec.trafficPolicy", "%s is older and has a policy for %s", dr->obj->name,
			dr->host);
	ids[dr->nids++] = c->id;
	dr->ids = ids;
	if (!dr->policy)
		dr->policy = s->traffic_policy;
	take_subsets(ix, dr, c, c->id);
	const char *health = mt_object_annotation(c->obj, MT_HEALTH_CHECK_ANNOTATION);
	if (health)
		take_health(ix, dr, c, health);
	dr->hash = mt_hash_mix(dr->hash, mt_hash_mix(c->obj->hash, c->id));
}

static struct pilot_dr dr_new(struct pilot_index *ix, const struct dr_in *in)
{
	static const char *const everybody[] = { "*" };
	const Nw__DestinationRule *s = (const Nw__DestinationRule *)in->c.obj->spec;
	struct pilot_dr dr = { .host = in->host, .ns = in->c.obj->ns, .obj = in->c.obj };
	const Mesh__MeshConfig *m = ix->mesh.spec;
	dr.export_to =
		(const char *const *)(s->n_export_to ? s->export_to
						     : m->default_destination_rule_export_to);
	dr.nexport_to = s->n_export_to ? s->n_export_to : m->n_default_destination_rule_export_to;
	if (!dr.nexport_to) {
		dr.export_to = everybody;
		dr.nexport_to = 1;
	}
	if (s->workload_selector && s->workload_selector->n_match_labels)
		dr.selector = s->workload_selector;
	return dr;
}

/* Of one host and namespace: v[0..n), oldest first. */
static void index_group(struct pilot_index *ix, const struct dr_in *v, size_t n)
{
	struct pilot_dr *all = &ix->drs[ix->ndrs];
	size_t k = 0;
	for (size_t i = 0; i < n; i++) {
		struct pilot_dr dr = dr_new(ix, &v[i]);
		size_t at = 0;
		while (at < k && !(same_export(&all[at], &dr) && same_selector(&all[at], &dr)))
			at++;
		if (at == k) {
			for (size_t o = 0; o < k && !dr.selector; o++)
				if (!all[o].selector && both_seen(&all[o], &dr)) {
					pilot_note_add(ix->arena, &ix->notes, v[i].c.id,
						PILOT_NOTE_SHADOWED, "spec.host",
						"%s is older and is for %s too, with another "
						"exportTo: who sees both obeys that one",
						all[o].obj->name, dr.host);
					break;
				}
			all[k++] = dr;
		}
		merge_dr(ix, &all[at], &v[i].c);
	}
	/* Selectors first; stable, so oldest first within. */
	struct pilot_dr *sorted = MT_ANEWN(ix->arena, struct pilot_dr, k + 1);
	size_t m = 0;
	for (int plain = 0; plain < 2; plain++)
		for (size_t i = 0; i < k; i++)
			if ((all[i].selector == NULL) == (plain == 1))
				sorted[m++] = all[i];
	memcpy(all, sorted, k * sizeof(*all));
	ix->ndrs += k;
}

static int by_dr_length(const void *pa, const void *pb)
{
	const struct pilot_dr *a = *(const struct pilot_dr *const *)pa;
	const struct pilot_dr *b = *(const struct pilot_dr *const *)pb;
	size_t na = strlen(a->host), nb = strlen(b->host);
	return na != nb ? (na > nb ? -1 : 1) : (a > b) - (a < b); /* one array, in its order */
}

/* A host that is resolved by name has its endpoints in the cluster, and so their order by locality. */
static bool has_dns(const struct pilot_index *ix)
{
	for (size_t i = 0; i < ix->nsvcs; i++)
		if (pilot_resolution_is_dns(ix->svcs[i]->resolution))
			return true;
	return false;
}

static int svc_host_cmp(const void *host, const void *svc)
{
	return strcmp(host, (*(const struct pilot_service *const *)svc)->hostname);
}

static bool has_service(const struct pilot_index *ix, const char *host)
{
	if (!pilot_host_is_wild(host))
		return bsearch(host, ix->svcs, ix->nsvcs, sizeof(*ix->svcs), svc_host_cmp);
	for (size_t i = 0; i < ix->nsvcs; i++)
		if (pilot_host_covers(host, ix->svcs[i]->hostname))
			return true;
	return false;
}

/* written: a ServiceEntry may use a bare name. */
static void note_nobody(struct pilot_index *ix, const struct dr_in *in, const char *written)
{
	if (!has_service(ix, in->host) && !has_service(ix, written))
		pilot_note_add(ix->arena, &ix->notes, in->c.id, PILOT_NOTE_IGNORED, "spec.host",
			"there is no service %s", in->host);
}

void pilot_index_destinations(struct pilot_index *ix, const struct pilot_world_in *in)
{
	struct pilot_config *c;
	size_t n = pilot_index_of_type(ix, in, &nw__destination_rule__descriptor, &c);
	struct dr_in *v = MT_ANEWN(ix->arena, struct dr_in, n + 1);
	bool local = ix->mesh.spec->locality_lb_setting &&
		ix->mesh.spec->locality_lb_setting->n_distribute;
	for (size_t i = 0; i < n; i++) {
		v[i].c = c[i];
		const char *host = ((const Nw__DestinationRule *)c[i].obj->spec)->host;
		v[i].host = pilot_host_resolve(ix->arena, host, c[i].obj->ns, ix->mesh.domain);
		note_nobody(ix, &v[i], host);
		local = pilot_destination_notes(ix, &c[i]) || local;
	}
	qsort(v, n, sizeof(*v), dr_in_cmp);
	ix->drs = MT_ANEWN(ix->arena, struct pilot_dr, n + 1);
	for (size_t i = 0, end; i < n; i = end) {
		for (end = i + 1; end < n && strcmp(v[end].host, v[i].host) == 0 &&
			strcmp(v[end].c.obj->ns, v[i].c.obj->ns) == 0;)
			end++;
		index_group(ix, &v[i], end - i);
	}
	ix->wild_drs = MT_ANEWN(ix->arena, const struct pilot_dr *, ix->ndrs + 1);
	for (size_t i = 0; i < ix->ndrs; i++)
		if (pilot_host_is_wild(ix->drs[i].host))
			ix->wild_drs[ix->nwild_drs++] = &ix->drs[i];
	qsort(ix->wild_drs, ix->nwild_drs, sizeof(*ix->wild_drs), by_dr_length);
	ix->dns_by_locality = local && has_dns(ix);
}
