/* What an agent is told when it starts its proxy. Loop thread. */
#pragma once

#include "meltemi/agent/v1/agent.pb-c.h"
#include "pilot/pilot.h"

/* group: NULL none. What is answered lies in the arena or in the world that is current. */
void pilot_start_answer(struct pilot *p, const struct pilot_proxy *x, const struct mt_object *group,
	struct mt_arena *a, Mtagent__ReportResponse *ret);
