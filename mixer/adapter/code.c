#include "mixer/adapter/code.h"

#include "mixer/adapter/adapter.h"

static const struct {
	const char *name;
	int http;
} codes[MIXER_CODES] = {
#define CODE(number, name, http) [number] = { #name, http },
#include "mixer/adapter/codes.def"
#undef CODE
};

const char *mixer_code_name(int code)
{
	return code >= 0 && code < MIXER_CODES ? codes[code].name : "UNKNOWN";
}

int mixer_code_http(int code)
{
	return code >= 0 && code < MIXER_CODES ? codes[code].http : 500;
}
