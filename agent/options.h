/* The agent's options: the common ones first, then its own rows. */
#pragma once

#include "common/run/daemon.h"

struct agent_options {
	struct mt_common_options common;
#define OPT MT_OPT_MEMBER
#include "agent/options.def"
#undef OPT
};
