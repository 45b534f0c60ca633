/* Pilot's metrics, from metrics.def. */
#pragma once

#include "common/run/metrics.h"

enum pilot_metric {
#define METRIC MT_METRIC_ENUM
#include "pilot/metrics.def"
#undef METRIC
	PILOT_METRICS_N
};
