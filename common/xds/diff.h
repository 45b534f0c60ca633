/* What leads from one set to another, encoded once for everyone who makes the same step. Private to
 * common/xds. Threads: any (immutable, reference counted; the cache in the newer set has a mutex). */
#pragma once

#include "common/xds/chunk.h"

struct mt_diff {
	struct mt_ref ref;
	size_t n;              /* added or changed */
	struct mt_res **items; /* sorted by name, one reference each; NULL: all of `whole` */
	struct mt_set *whole;  /* a reference */
	size_t nremoved;
	char **removed;   /* sorted */
	mt_slice *slices; /* all of it, encoded in the mode that was asked for */
	size_t nslices;
	size_t bytes;
};

/* A new reference. old NULL or empty: everything in newer, put together from the encodings of its
 * runs. Else at most a few differences are cached with each set; others are computed for the caller
 * alone. */
struct mt_diff *mt_set_diff(struct mt_set *old, struct mt_set *newer, enum mt_xds_mode mode);
void mt_diff_unref(struct mt_diff *d);                       /* NULL allowed */
bool mt_diff_has(const struct mt_diff *d, const char *name); /* among the items */
struct mt_res *mt_diff_at(const struct mt_diff *d, size_t i);

/* mt_set_union() (set.h) is where a stream stands whose removals have to wait: newer itself when there
 * is nothing to keep; cached like the difference. */
