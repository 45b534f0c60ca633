/* One HTTP rule of a VirtualService. Private to galley/validate. */
#pragma once

#include "galley/validate/check.h"

void galley_check_http_route(const struct check *c, const char *path, const Nw__HTTPRoute *r);
