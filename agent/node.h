/* Who the proxy is: what Envoy tells Pilot about itself, and what its workload's identity is. Checked
 * once at the start. Plain data in an arena; immutable afterwards. */
#pragma once

#include "agent/options.h"
#include "common/base/arena.h"
#include "common/base/workload.h"
#include "common/pki/spiffe.h"

enum { AGENT_LABELS_MAX = 128 };

struct agent_node {
	const char *type, *ip, *name, *ns, *domain;
	const char *id; /* TYPE~IP~NAME.NAMESPACE~DOMAIN */
	const char *workload, *service_account, *cluster_id, *network, *interception;
	const char *region, *zone, *subzone;
	const char *instance_ips; /* comma separated, `ip` first */
	struct mt_workload_label labels[AGENT_LABELS_MAX];
	size_t nlabels;
	char spiffe_id[MT_SPIFFE_ID_MAX];
	const char *workload_env; /* value of MT_WORKLOAD_ENV */
};

/* MT_INVALID names the option that is missing or wrong. */
int agent_node_make(const struct agent_options *o, struct mt_arena *a, struct agent_node *ret,
	struct mt_err *err);
