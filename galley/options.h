/* Galley's options: the common ones first, then its own rows. Plain data, set before the start. */
#pragma once

#include "common/run/daemon.h"

struct galley_options {
	struct mt_common_options common;
#define OPT MT_OPT_MEMBER
#include "galley/options.def"
#undef OPT
};
