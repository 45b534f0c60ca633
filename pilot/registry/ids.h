/* Numbers for configuration objects, for provenance: 32 bits instead of a name in each resource. A
 * number belongs to a key (kind, namespace, name) for as long as the process lives, so that an object
 * that comes back has the number that it had. Loop thread. */
#pragma once

#include "common/schema/object.h"

struct pilot_ids;

struct pilot_ids *pilot_ids_new(void);
void pilot_ids_free(struct pilot_ids *ids);                              /* NULL allowed */
uint32_t pilot_ids_of(struct pilot_ids *ids, const struct mt_object *o); /* from 1 */
/* "VirtualService default/reviews"; "" for 0 or an unknown number. */
const char *pilot_ids_title(const struct pilot_ids *ids, uint32_t id);
/* "default/reviews" and its kind; "" for 0 or an unknown number, ret_kind untouched. */
const char *pilot_ids_key(const struct pilot_ids *ids, uint32_t id, enum mt_kind_id *ret_kind);
size_t pilot_ids_count(const struct pilot_ids *ids); /* the largest number */
