/* Indexes of Galley's metrics: METRIC_galley_objects and so on. */
#pragma once

#include "common/run/metrics.h"

enum galley_metric {
#define METRIC(type, name, ...) METRIC_##name,
#include "galley/metrics.def"
#undef METRIC
	GALLEY_METRIC_N
};
