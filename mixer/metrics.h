/* Numbers of Mixer's metrics, in the order of its table. */
#pragma once

#include "common/run/metrics.h"

enum {
#define METRIC MT_METRIC_ENUM
#include "mixer/metrics.def"
#undef METRIC
};
