/* Patches of generated configuration, decoded once and in the order in which they apply: by priority,
 * those of the root namespace first, then the oldest. Pure; threads: any. */
#pragma once

#include "istio/networking/v1alpha3/envoy_filter.pb-c.h"
#include "pilot/model/index.h"

typedef Nw__EnvoyFilter__ApplyTo pilot_apply_to;
typedef Nw__EnvoyFilter__PatchContext pilot_patch_context;
typedef Nw__EnvoyFilter__Patch__Operation pilot_patch_op;
typedef Nw__EnvoyFilter__Patch__FilterClass pilot_filter_class;

struct pilot_patch {
	uint32_t index; /* in the order of all */
	uint32_t id;
	const struct mt_object *obj;
	const char *path; /* "spec.configPatches[2]" */
	uint64_t hash;    /* of the object, and which of its patches */
	int32_t priority;
	bool root; /* of the root namespace: for all */
	pilot_apply_to to;
	pilot_patch_context context;
	pilot_patch_op op;
	pilot_filter_class where; /* of ADD, for filters: after which of Pilot's own it stands */
	const Nw__EnvoyFilter *spec;
	const Nw__EnvoyFilter__EnvoyConfigObjectMatch *match; /* NULL: anything */
	const Nw__EnvoyFilter__DeprecatedListenerMatch *old;  /* 1.0's match; NULL: anything */
	const char *target; /* filter, listener filter or route that it stands at; "" none */
	const ProtobufCMessage *value; /* NULL: nothing to put */
};

/* For rules.c: fills index->patches; what cannot be read or has no meaning is noted and left out. */
void pilot_index_patches(struct pilot_index *ix, const struct pilot_config *c, size_t n);
/* The patch is for this proxy: namespace, labels, version, metadata. */
bool pilot_patch_selects(
	const struct pilot_index *ix, const struct pilot_patch *p, const struct pilot_proxy *x);
/* Those for the bootstrap of this proxy, in order: an array in the arena, of what the world keeps. */
size_t pilot_world_bootstrap(const struct pilot_world *w, const struct pilot_proxy *x,
	struct mt_arena *a, Google__Protobuf__Struct ***ret);
