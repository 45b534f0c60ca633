/* What an EnvoyFilter's patches hold: read the same way by who validates them and who applies them.
 * Pure; threads: any. */
#pragma once

#include "common/schema/pb_merge.h"
#include "istio/networking/v1alpha3/envoy_filter.pb-c.h"

/* The message that a patch of this kind changes, NULL when there is none (BOOTSTRAP: the agent merges
 * JSON). */
const ProtobufCMessageDescriptor *mt_patch_type(Nw__EnvoyFilter__ApplyTo to);
/* A patch's value as that message. Extensions of unknown types become TypedStructs; unknown fields of
 * known messages are faults, with paths from path on. NULL: faulty, or the kind has no message. */
ProtobufCMessage *mt_patch_value(Nw__EnvoyFilter__ApplyTo to, const Google__Protobuf__Struct *value,
	const char *path, struct mt_arena *a, struct mt_diags *diags);
/* A filter as 1.0 wrote it, name and untyped configuration: HttpFilter or network Filter. */
ProtobufCMessage *mt_patch_filter(const Nw__EnvoyFilter__Filter *f, const char *path,
	struct mt_arena *a, struct mt_diags *diags);
/* What can be done with a thing of this kind. */
bool mt_patch_can(Nw__EnvoyFilter__ApplyTo to, Nw__EnvoyFilter__Patch__Operation op);
/* "HTTP_FILTER", "REPLACE": as users write them; NULL: no value of the enum. */
const char *mt_patch_kind_name(Nw__EnvoyFilter__ApplyTo to);
const char *mt_patch_op_name(Nw__EnvoyFilter__Patch__Operation op);
/* The name of today for a filter's name of any time: "envoy.lua" is "envoy.filters.http.lua". */
const char *mt_patch_filter_name(const char *name);
