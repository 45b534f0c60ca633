/* Patches of listeners. Private to filter/. */
#pragma once

#include "pilot/filter/patch.h"

void pilot_patch_listener(struct pilot_job *j, pilot_patch_context context, Listener__Listener *l);
/* The patch removes the listener of this plan item. */
bool pilot_patch_listener_item(
	struct pilot_job *j, const struct pilot_patch *p, const struct pilot_item *it);
