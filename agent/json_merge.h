/* Patches of the bootstrap. Pure; threads: any. */
#pragma once

#include <jansson.h>

/* Merges patch into dst as protobuf messages merge: objects field by field, lists are appended, all else
 * replaces. A field that is written as fieldName in the patch is the field_name of dst. */
void agent_json_merge(json_t *dst, const json_t *patch);
