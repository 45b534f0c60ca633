/* Asks the workload, as its WorkloadGroup says, whether it can take requests: HTTP, TCP, a command, gRPC's
 * health service. One question at a time; thresholds decide when its health changes. Loop thread. */
#pragma once

#include "common/rpc/rpc.h"
#include "common/run/loop.h"
#include "istio/networking/v1alpha3/workload_group.pb-c.h"

enum agent_health { AGENT_HEALTH_UNKNOWN, AGENT_HEALTHY, AGENT_UNHEALTHY };

struct agent_probe;

struct agent_probe_opts {
	struct mt_loop *loop;
	struct mt_rpc_env *env;
	const char *ip;  /* of the workload: who is asked when the probe names no host */
	bool allow_exec; /* commands may be run */
	/* Its health is another; reason: why it is not healthy, else "". */
	void (*changed)(void *ctx, enum agent_health health, const char *reason);
	void *ctx;
};

struct agent_probe *agent_probe_new(const struct agent_probe_opts *o);
/* What to ask from now on; the same again changes nothing. NULL: nothing is asked, health is unknown. */
void agent_probe_set(struct agent_probe *p, const Nw__ReadinessProbe *spec);
void agent_probe_free(struct agent_probe *p); /* NULL allowed */
