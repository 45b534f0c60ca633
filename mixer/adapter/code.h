/* Codes of google.rpc.Code that adapters answer. */
#pragma once

enum mixer_code {
#define CODE(number, name, http) MIXER_##name = number,
#include "mixer/adapter/codes.def"
#undef CODE
	MIXER_CODES
};
