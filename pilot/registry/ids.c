#include "pilot/registry/ids.h"

#include "common/base/map.h"
#include "common/base/vec.h"

struct pilot_ids {
	struct mt_map *by_title; /* title -> number */
	MT_VEC(char *) titles;   /* number - 1 -> title */
};

struct pilot_ids *pilot_ids_new(void)
{
	struct pilot_ids *ids = MT_NEW(struct pilot_ids);
	ids->by_title = mt_map_new();
	return ids;
}

void pilot_ids_free(struct pilot_ids *ids)
{
	if (!ids)
		return;
	mt_map_free(ids->by_title, NULL);
	mt_vec_each (&ids->titles, t)
		mt_free(*t);
	mt_vec_clear(&ids->titles);
	mt_free(ids);
}

uint32_t pilot_ids_of(struct pilot_ids *ids, const struct mt_object *o)
{
	char title[600];

	mt_object_title(o, title, sizeof(title));
	uintptr_t id = (uintptr_t)mt_map_get(ids->by_title, title);
	if (!id) {
		mt_vec_push(&ids->titles, mt_strdup(title));
		id = ids->titles.n;
		mt_map_put(ids->by_title, title, (void *)id);
	}
	return (uint32_t)id;
}

const char *pilot_ids_title(const struct pilot_ids *ids, uint32_t id)
{
	return id && id <= ids->titles.n ? ids->titles.v[id - 1] : "";
}
