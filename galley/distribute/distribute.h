/* Configuration to whoever may read it: every kind is a type of one discovery server, each object an
 * istio.mcp.v1alpha1.Resource. One set a kind, shared by all streams, patched by each change.
 * Loop thread. */
#pragma once

#include <jansson.h>

#include "common/ident/daemon_identity.h"
#include "common/run/metrics.h"
#include "common/xds/server.h"
#include "galley/store/store.h"

struct galley_distribute;

struct galley_distribute_opts {
	struct mt_loop *loop;
	struct mt_metrics *metrics;
	const struct mt_daemon_identity *identity; /* checks who calls; NULL: anyone may */
	const char *const *allow;                  /* SPIFFE ids; NULL: Pilot, Mixer and Citadel */
	size_t nallow;
};

struct galley_distribute *galley_distribute_new(const struct galley_distribute_opts *o);
void galley_distribute_methods(struct galley_distribute *g, struct mt_rpc_method methods[2]);
void galley_distribute_free(struct galley_distribute *g); /* after the rpc server; NULL allowed */

void galley_distribute_change(
	struct galley_distribute *g, const struct galley_change *c, size_t n, int64_t since_ns);
/* [{node, peer, id, types: {kind: {acked, nacked, error}}}] */
json_t *galley_distribute_json(const struct galley_distribute *g);
