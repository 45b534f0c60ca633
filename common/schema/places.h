/* Where each field of an object was written: a flat tree in preorder, 16 bytes a value, whose keys
 * are the descriptor's field names (or the map's keys in the object's arena). Private to schema. */
#pragma once

#include "common/base/arena.h"
#include "common/base/diag.h"
#include "common/base/mem.h"

struct mt_place {
	const char *key; /* field or map key; NULL: an item of a list */
	unsigned line : 22;
	unsigned col : 10;
	uint32_t end; /* index after its last descendant */
};
struct mt_places {
	uint32_t n;
	struct mt_place v[];
};

/* Collects while a message is decoded. Not an owner of keys. */
struct mt_places_build {
	struct mt_place *v;
	size_t n;
	size_t cap;
};
size_t mt_places_open(struct mt_places_build *b, const char *key, uint32_t line, uint32_t col);
void mt_places_close(struct mt_places_build *b, size_t index);
const struct mt_places *mt_places_done(struct mt_places_build *b, struct mt_arena *a);
void mt_places_clear(struct mt_places_build *b);

/* Line and column of path, or of its nearest written ancestor. False: none is known. */
bool mt_places_find(const struct mt_places *p, const char *path, int *ret_line, int *ret_col);
