/* Mixer's options: the common ones first, then its own rows. Plain data, set before the start. */
#pragma once

#include "common/run/daemon.h"

struct mixer_options {
	struct mt_common_options common;
#define OPT MT_OPT_MEMBER
#include "mixer/options.def"
#undef OPT
};
