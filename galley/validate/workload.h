/* Workloads in configuration: entries, groups, selectors. Private to galley/validate. */
#pragma once

#include "galley/validate/check.h"
#include "istio/networking/v1alpha3/sidecar.pb-c.h"
#include "istio/networking/v1alpha3/workload_entry.pb-c.h"

/* dns: its address may be a host name. */
void galley_check_workload(
	const struct check *c, const char *path, const Nw__WorkloadEntry *w, bool dns);
/* All but the address. */
void galley_check_workload_rest(
	const struct check *c, const char *path, const Nw__WorkloadEntry *w);
void galley_check_workload_selector(
	const struct check *c, const char *path, const Nw__WorkloadSelector *s); /* NULL is fine */
