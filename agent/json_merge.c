#include "agent/json_merge.h"

#include <ctype.h>
#include <string.h>

#include "common/base/arena.h"

/* Names of fields alone: keys of maps hold dots, or begin with '@' or a capital. */
static const char *snake(struct mt_arena *a, const char *key)
{
	char *r, *w;

	if (!islower((unsigned char)*key) || strpbrk(key, "./@-_ "))
		return key;
	r = w = mt_arena_alloc(a, 2 * strlen(key) + 1);
	for (; *key; key++) {
		if (isupper((unsigned char)*key))
			*w++ = '_';
		*w++ = (char)tolower((unsigned char)*key);
	}
	*w = '\0';
	return r;
}

static json_t *copy(struct mt_arena *a, const json_t *from);

static void merge(struct mt_arena *a, json_t *dst, const json_t *patch)
{
	const char *key;
	json_t *v;

	json_object_foreach((json_t *)(uintptr_t)patch, key, v)
	{
		const char *name = snake(a, key);
		json_t *old = json_object_get(dst, name);
		size_t i;
		json_t *item;

		if (json_is_object(old) && json_is_object(v)) {
			merge(a, old, v);
		} else if (json_is_array(old) && json_is_array(v)) {
			json_array_foreach(v, i, item) json_array_append_new(old, copy(a, item));
		} else {
			json_object_set_new(dst, name, copy(a, v));
		}
	}
}

static json_t *copy(struct mt_arena *a, const json_t *from)
{
	json_t *r, *item;
	size_t i;

	if (json_is_object(from)) {
		r = json_object();
		merge(a, r, from);
		return r;
	}
	if (!json_is_array(from))
		return json_deep_copy(from);
	r = json_array();
	json_array_foreach((json_t *)(uintptr_t)from, i, item)
		json_array_append_new(r, copy(a, item));
	return r;
}

void agent_json_merge(json_t *dst, const json_t *patch)
{
	MT_AUTO(mt_arena_freep) struct mt_arena *a = mt_arena_new(0);

	if (json_is_object(patch))
		merge(a, dst, patch);
}
