/* Destination rules of the index, from inside: destination.c and destination_notes.c. */
#pragma once

#include "pilot/model/index.h"

/* Notes the parts of a rule that can have no effect. true: something in it depends on the proxy's
 * locality (distribution, or failover because unhealthy endpoints are found). */
bool pilot_destination_notes(struct pilot_index *ix, const struct pilot_config *c);
