/* Pilot's options, from options.def. */
#pragma once

#include "common/run/daemon.h"

struct pilot_options {
	struct mt_common_options common;
#define OPT MT_OPT_MEMBER
#include "pilot/options.def"
#undef OPT
};
