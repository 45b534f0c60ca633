#include "mixer/serve/server.h"

#include "common/base/strs.h"
#include "common/pki/spiffe.h"

enum { MESSAGE_ARENA_MAX = 64 << 20 };

void mixer_serve_init(struct mixer_serve *s)
{
	for (int i = 0; i < MIXER_THREADS_MAX; i++) {
		s->thread[i].message = mt_arena_new(MESSAGE_ARENA_MAX);
		s->thread[i].scratch = mt_arena_new(0);
	}
}

void mixer_serve_clear(struct mixer_serve *s)
{
	for (int i = 0; i < MIXER_THREADS_MAX; i++) {
		mt_arena_free(s->thread[i].message);
		mt_arena_free(s->thread[i].scratch);
		s->thread[i].message = s->thread[i].scratch = NULL;
	}
}

int mixer_serve_allow(
	const struct mixer_serve *s, const struct mt_rpc_peer *peer, struct mt_err *err)
{
	if (!s->trust_domain)
		return 0;
	if (mt_str_empty(peer->spiffe_id))
		return mt_fail(
			err, MT_UNAUTHENTICATED, NULL, "a certificate of the mesh is needed");
	if (!mt_spiffe_in_td(peer->spiffe_id, s->trust_domain))
		return mt_fail(err, MT_DENIED, NULL, "%s is not of this mesh", peer->spiffe_id);
	return 0;
}

void mixer_serve_count(const struct mixer_serve *s, int metric, double v, const char *label)
{
	const char *labels[] = { label, NULL };

	if (s->metrics)
		mt_series_add(mt_metric_series(s->metrics, metric, labels), v);
}
