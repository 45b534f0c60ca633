/* Citadel's options: the common ones first, then its own rows. Plain data, set before the start. */
#pragma once

#include "common/run/daemon.h"

struct citadel_options {
	struct mt_common_options common;
#define OPT MT_OPT_MEMBER
#include "citadel/options.def"
#undef OPT
};
