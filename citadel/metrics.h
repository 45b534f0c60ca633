/* Indexes of Citadel's metrics: METRIC_citadel_server_csr_count and so on. */
#pragma once

#include "common/run/metrics.h"

enum citadel_metric {
#define METRIC(type, name, ...) METRIC_##name,
#include "citadel/metrics.def"
#undef METRIC
	CITADEL_METRIC_N
};
