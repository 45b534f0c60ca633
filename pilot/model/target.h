/* targetRefs of Telemetry and EnvoyFilter: what they mean here is a Gateway of the object's namespace, and
 * with it every proxy that the Gateway selects, wherever that runs. Pure; threads: any. */
#pragma once

#include "istio/type/v1beta1/selector.pb-c.h"
#include "pilot/model/index.h"

/* ns: of the object that has the references. */
bool pilot_targets_select(const struct pilot_index *ix, const char *ns,
	Istype__PolicyTargetReference *const *refs, size_t n, const struct pilot_proxy *p);
/* Notes on object `id` those that can mean nothing. */
void pilot_targets_note(struct pilot_index *ix, uint32_t id, const char *ns, const char *path,
	Istype__PolicyTargetReference *const *refs, size_t n);
