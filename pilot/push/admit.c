#include "pilot/push/admit.h"

#include <string.h>

#include "common/base/strs.h"
#include "common/pki/spiffe.h"

static bool same_account(
	const struct pilot_endpoint *e, const struct mt_spiffe *id, const char *whole)
{
	if (mt_str_empty(e->service_account))
		return true; /* nobody said whose address it is */
	if (mt_str_prefix(e->service_account, "spiffe://"))
		return strcmp(e->service_account, whole) == 0;
	return strcmp(e->service_account, id->sa) == 0;
}

static int from_registry(const struct pilot_world *w, const struct pilot_proxy *claimed,
	const struct mt_spiffe *id, const char *whole, const struct pilot_endpoint **ret,
	struct mt_err *err)
{
	MT_AUTO(mt_arena_freep) struct mt_arena *a = mt_arena_new(0);
	struct pilot_instance *in;
	size_t n = pilot_world_instances(w, claimed, a, &in);

	*ret = NULL;
	for (size_t i = 0; i < n; i++) {
		const struct pilot_endpoints *eps;
		pilot_world_service(w, in[i].service, &eps);
		const struct pilot_endpoint *e = &eps->v[in[i].endpoint];
		if (!same_account(e, id, whole))
			return mt_fail(err, MT_DENIED, NULL,
				"address %s belongs to service account %s, not to %s", e->address,
				e->service_account, whole);
		if (!*ret)
			*ret = e;
	}
	return 0;
}

int pilot_admit(const struct pilot_world *w, const struct pilot_proxy *claimed,
	const struct mt_rpc_peer *peer, struct pilot_proxy **ret, struct mt_err *err)
{
	struct mt_spiffe id;
	const struct pilot_endpoint *known = NULL;
	int r;

	if (!peer->tls) {
		*ret = pilot_proxy_ref(claimed);
		return 0;
	}
	if ((r = mt_spiffe_parse(peer->spiffe_id, &id, err)) < 0)
		return r;
	if (strcmp(claimed->ns, id.ns) != 0)
		return mt_fail(err, MT_DENIED, NULL,
			"node %s says namespace %s, its certificate %s", claimed->node_id,
			claimed->ns, id.ns);
	if (!mt_str_empty(claimed->service_account) && strcmp(claimed->service_account, id.sa) != 0)
		return mt_fail(err, MT_DENIED, NULL,
			"node %s says service account %s, its certificate %s", claimed->node_id,
			claimed->service_account, id.sa);
	if (w && (r = from_registry(w, claimed, &id, peer->spiffe_id, &known, err)) < 0)
		return r;
	*ret = pilot_proxy_with(
		claimed, known ? known->labels : NULL, known ? known->nlabels : 0, id.ns, id.sa);
	return 0;
}
