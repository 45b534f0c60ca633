/* Envoy's bootstrap: who it is, where Pilot and the secrets are, its admin interface. Everything else
 * comes from Pilot. Pure; threads: any. */
#pragma once

#include <jansson.h>

#include "agent/node.h"
#include "istio/mesh/v1alpha1/proxy.pb-c.h"

struct agent_bootstrap {
	const struct agent_node *node;
	const char *pilot_addr; /* ADDR:PORT; a name is resolved by Envoy */
	const char *pilot_id;   /* SPIFFE id that Pilot must have; NULL: plaintext */
	const char *sds_socket; /* absolute path */
	const char *admin_addr; /* IP:PORT */
	const char *version;    /* of the agent */
	bool delta;
	bool credentials;                /* the agent serves some by name, and reports which */
	const Mesh__ProxyConfig *config; /* NULL: nobody said anything */
	json_t *const *patches;          /* merged last */
	size_t npatches;
};

/* Of it only the node. NULL: a name or label is not UTF-8. */
json_t *agent_bootstrap_node(const struct agent_bootstrap *b);
/* The JSON that Envoy reads. MT_INVALID names the option whose address is wrong. */
int agent_bootstrap_make(const struct agent_bootstrap *b, json_t **ret, struct mt_err *err);
