/* Load balancers of destination rules, and the locality setting that the mesh has too. Private to
 * galley/validate. */
#pragma once

#include "galley/validate/check.h"
#include "istio/networking/v1alpha3/destination_rule.pb-c.h"

/* NULL is fine. */
void galley_check_load_balancer(
	const struct check *c, const char *path, const Nw__LoadBalancerSettings *lb);
void galley_check_locality(
	const struct check *c, const char *path, const Nw__LocalityLoadBalancerSetting *l);
