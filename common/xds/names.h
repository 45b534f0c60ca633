/* Lists of resource names that streams subscribe to: immutable, sorted, without duplicates. A table
 * keeps one copy of equal lists, so that a thousand proxies of a class share theirs.
 *
 * NULL is the empty list. Threads: any; the table's short mutex also guards the counts of its
 * lists. A list outlives its table only by mistake: free the table last. */
#pragma once

#include "common/xds/wire.h"

struct mt_names;
struct mt_names_table;

struct mt_names_table *mt_names_table_new(void);
void mt_names_table_free(struct mt_names_table *t);   /* NULL allowed */
size_t mt_names_table_size(struct mt_names_table *t); /* distinct lists: tests, debug */

/* base with names added and removed (in both: added). A new reference, to base itself when nothing
 * changed, NULL when nothing is left. The views are sorted in place. t NULL: not shared, for lists
 * that live for a moment. */
struct mt_names *mt_names_edit(struct mt_names_table *t, struct mt_names *base, struct mt_view *add,
	size_t nadd, struct mt_view *del, size_t ndel);
struct mt_names *mt_names_ref(struct mt_names *n);
void mt_names_unref(struct mt_names *n); /* NULL allowed */

size_t mt_names_size(const struct mt_names *n);
uint64_t mt_names_sum(const struct mt_names *n); /* of mt_hash() of each */
const char *mt_names_at(const struct mt_names *n, size_t i);
bool mt_names_has(const struct mt_names *n, const char *name);
bool mt_names_has_view(const struct mt_names *n, struct mt_view name);
/* Do the views name the same set, in whatever order? By count and a sum of hashes: a false yes needs
 * a collision that hurts only the peer who made it; a false no (duplicates) costs an edit. */
bool mt_names_same(const struct mt_names *n, const struct mt_view *v, size_t nv);
