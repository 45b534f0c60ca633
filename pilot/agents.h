/* What agents report of their workloads (proto/meltemi/agent/v1). Loop thread. */
#pragma once

#include "pilot/pilot.h"

struct pilot_agents *pilot_agents_new(struct pilot *p);
void pilot_agents_free(struct pilot_agents *as); /* after the servers have stopped; NULL allowed */
void pilot_agents_method(struct pilot_agents *as, struct mt_rpc_method *ret);
/* A WorkloadGroup or WorkloadEntry came, changed or went. NULL as: nothing. */
void pilot_agents_changed(struct pilot_agents *as, const struct mt_object *o);
