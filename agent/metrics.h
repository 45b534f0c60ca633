/* Indexes of the agent's metrics: METRIC_agent_certificates_total and so on. */
#pragma once

#include "common/run/metrics.h"

enum agent_metric {
#define METRIC(type, name, ...) METRIC_##name,
#include "agent/metrics.def"
#undef METRIC
	AGENT_METRIC_N
};
