#include "pilot/registry/ids.h"

#include <string.h>

#include "common/base/map.h"
#include "common/base/vec.h"

struct known {
	enum mt_kind_id kind;
	char *title;
};

struct pilot_ids {
	struct mt_map *by_title;  /* title -> number */
	MT_VEC(struct known) all; /* by number - 1 */
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
	mt_vec_each (&ids->all, k)
		mt_free(k->title);
	mt_vec_clear(&ids->all);
	mt_free(ids);
}

uint32_t pilot_ids_of(struct pilot_ids *ids, const struct mt_object *o)
{
	char title[600];

	mt_object_title(o, title, sizeof(title));
	uintptr_t id = (uintptr_t)mt_map_get(ids->by_title, title);
	if (!id) {
		struct known k = { o->kind->id, mt_strdup(title) };
		mt_vec_push(&ids->all, k);
		id = ids->all.n;
		mt_map_put(ids->by_title, title, (void *)id);
	}
	return (uint32_t)id;
}

const char *pilot_ids_title(const struct pilot_ids *ids, uint32_t id)
{
	return id && id <= ids->all.n ? ids->all.v[id - 1].title : "";
}

const char *pilot_ids_key(const struct pilot_ids *ids, uint32_t id, enum mt_kind_id *ret_kind)
{
	if (!id || id > ids->all.n)
		return "";
	const struct known *k = &ids->all.v[id - 1];
	const char *space = strchr(k->title, ' ');
	*ret_kind = k->kind;
	return space ? space + 1 : k->title;
}

size_t pilot_ids_count(const struct pilot_ids *ids)
{
	return ids->all.n;
}
