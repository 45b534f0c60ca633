/* Mutual TLS between a proxy and each service that it sees, from both sides: what `authn tls-check`
 * of Istio shows. Pure. */
#pragma once

#include "pilot/translate/translate.h"

struct pilot_tls_view {
	const char *host;
	uint16_t port;
	const char *
		server; /* "STRICT", "PERMISSIVE", "DISABLE", "mixed": of its endpoints; "-": none */
	const char *client; /* "mTLS", "TLS", "HTTP", "auto": mTLS where the endpoint takes it */
	bool conflict;      /* at least one endpoint refuses what this client sends */
	uint32_t policy_id; /* the policy behind server, 0: the mesh's default */
	const uint32_t *rule_ids; /* the destination rules behind client */
	size_t nrule_ids;
};
/* Array in the job's arena, by host and port; returns its length. */
size_t pilot_tls_views(struct pilot_job *j, struct pilot_tls_view **ret);
