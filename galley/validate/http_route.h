/* One HTTP rule of a VirtualService. Private to galley/validate. */
#pragma once

#include "galley/validate/check.h"

void check_route_headers(const struct check *c, const char *path, const Nw__HTTPRoute *r);
void check_destination_headers(
	const struct check *c, const char *path, const Nw__HTTPRouteDestination *d);
void galley_check_http_route(const struct check *c, const char *path, const Nw__HTTPRoute *r);
