/* Hash map from string to pointer (uthash inside). Keys are copied; values belong to the caller.
 * Iteration is in insertion order. Threads: one writer; readers may share it once nobody writes. */
#pragma once

#include "common/base/macros.h"

struct mt_map;

struct mt_map *mt_map_new(void);
/* free_value may be NULL. The map itself may be NULL. */
void mt_map_free(struct mt_map *m, void (*free_value)(void *));
/* Returns the value that was there before, or NULL. value must not be NULL. */
void *mt_map_put(struct mt_map *m, const char *key, void *value);
void *mt_map_get(const struct mt_map *m, const char *key); /* NULL when absent; m may be NULL */
void *mt_map_del(struct mt_map *m, const char *key);       /* the value removed, or NULL */
size_t mt_map_size(const struct mt_map *m);
/* Insertion-order walk: `struct mt_map_it it = {0}; while (mt_map_next(m, &it)) use(it.key, it.value);`
 * The current entry may be deleted during the walk. */
struct mt_map_it {
	const char *key;
	void *value;
	void *next_; /* private */
	bool started_;
};
bool mt_map_next(const struct mt_map *m, struct mt_map_it *it);
/* All keys, sorted bytewise; heap array to mt_free(), keys owned by the map. */
const char **mt_map_sorted_keys(const struct mt_map *m, size_t *ret_n);
