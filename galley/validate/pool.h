/* Connection pools and outlier detection of destination rules, which the mesh has too. Private to
 * galley/validate. */
#pragma once

#include "galley/validate/check.h"
#include "istio/networking/v1alpha3/destination_rule.pb-c.h"

/* NULL is fine. */
void galley_check_pool(
	const struct check *c, const char *path, const Nw__ConnectionPoolSettings *p);
void galley_check_outlier(const struct check *c, const char *path, const Nw__OutlierDetection *o);
