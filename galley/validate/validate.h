/* Semantic validation of configuration objects: what strict decoding cannot know. A pure library:
 * Galley calls it for everything that it reads, `meltemi validate` without any daemon. One file a kind
 * (or family of kinds), a row each in validators.def. Threads: any. */
#pragma once

#include "common/schema/object.h"

/* Adds every fault of the object to diags, with field path and place. Returns 0 when there is no error
 * (warnings may have been added), else MT_INVALID. */
int galley_validate(const struct mt_object *o, struct mt_diags *diags);
