/* What the agent tells Pilot of its workload: its health, as the probe of its WorkloadGroup finds it, and
 * the credentials that it has for its proxy. Pilot answers with the group. Loop thread. */
#pragma once

#include "agent/node.h"
#include "common/pki/identity.h"
#include "common/rpc/rpc.h"
#include "common/run/loop.h"
#include "envoy/config/core/v3/core.pb-c.h"

struct agent_report;

struct agent_report_opts {
	struct mt_loop *loop;
	struct mt_rpc_env *env;
	const char *pilot_addr;
	const char *pilot_id;              /* SPIFFE id; NULL: plaintext */
	struct mt_identity_slot *identity; /* NULL: plaintext */
	const struct agent_node *node;
	const char *group; /* "" none */
	struct mt_strlist credentials_dirs;
	bool allow_exec;
};

/* MT_INVALID: an address is wrong. */
int agent_report_start(
	const struct agent_report_opts *o, struct agent_report **ret, struct mt_err *err);
/* The workload goes away: it is unhealthy from now on, whatever the probe finds. NULL allowed. */
void agent_report_drain(struct agent_report *r);
/* The node of the proxy beside the workload. */
int agent_report_node(const struct agent_report_opts *o, struct mt_arena *a, Core__Node **ret,
	struct mt_err *err);
void agent_report_stop(struct agent_report *r); /* NULL allowed */
