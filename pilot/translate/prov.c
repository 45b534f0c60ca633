/* Provenance: the configuration objects behind a resource, those that lost included. Whatever a build
 * reads and names here must be in the fingerprint of its item, or the resource would go on naming
 * what was true before. */
#include <string.h>

#include "common/base/hash.h"
#include "pilot/translate/route.h"

void pilot_prov_add(struct pilot_job *j, uint32_t id)
{
	if (id)
		mt_vec_apush(j->a, &j->prov, id);
}

/* Virtual services of the mesh that claim the same host as this virtual host. */
static size_t rivals(
	struct pilot_job *j, const struct pilot_vhost_ref *ref, const struct pilot_vs_host **ret)
{
	return ref->server || !ref->ndomains || ref->kind == PILOT_VHOST_ANY
		? 0
		: pilot_index_mesh_hosts(j->ix, ref->domains[0], ret);
}

uint64_t pilot_prov_rivals_fp(struct pilot_job *j, const struct pilot_vhost_ref *ref)
{
	const struct pilot_vs_host *v;
	uint64_t fp = ref->kind == PILOT_VHOST_ANY && j->sidecar ? j->sidecar->id : 0;
	size_t n = rivals(j, ref, &v);
	for (size_t i = 0; i < n; i++)
		fp = mt_hash_mix(fp, v[i].vs->id);
	if (n > 1)
		pilot_tally(j, PILOT_TALLY_vservice_dup_domain, "%s", ref->domains[0]);
	return fp;
}

void pilot_prov_rivals(struct pilot_job *j, const struct pilot_vhost_ref *ref)
{
	const struct pilot_vs_host *v;
	for (size_t i = 0, n = rivals(j, ref, &v); i < n; i++)
		pilot_prov_add(j, v[i].vs->id);
}
