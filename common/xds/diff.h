/* What leads from one set to another, encoded once for everyone who makes the same step. Private to
 * common/xds. Threads: any (immutable, reference counted; the cache in the newer set has a mutex). */
#pragma once

#include <pthread.h>

#include "common/xds/body.h"

struct mt_set_step; /* a difference or a union, with the number of the set that it starts from */

struct mt_set {
	struct mt_ref ref;
	uint64_t number; /* unique in this process, 0 for an empty set */
	uint64_t sum;    /* over (name, content) */
	size_t n;
	size_t bytes;
	pthread_mutex_t mu; /* of the cache: steps, nsteps, next */
	struct mt_set_step *steps;
	uint8_t nsteps;
	uint8_t next; /* the one to be replaced */
	struct mt_res *res[];
};

/* Takes over the references in res, which are sorted and distinct. */
struct mt_set *mt_set_make(struct mt_res *const *res, size_t n);
void mt_set_drop_steps(struct mt_set *s);

struct mt_diff {
	struct mt_ref ref;
	size_t n;              /* added or changed */
	struct mt_res **items; /* sorted by name; one reference each */
	size_t nremoved;
	char **removed;   /* sorted */
	mt_slice *slices; /* all of it, encoded in the mode that was asked for */
	size_t nslices;
	size_t bytes;
};

/* A new reference. old NULL or empty: everything in newer. At most a few differences are cached
 * with each set; others are computed for the caller alone. */
struct mt_diff *mt_set_diff(struct mt_set *old, struct mt_set *newer, enum mt_xds_mode mode);
void mt_diff_unref(struct mt_diff *d);                       /* NULL allowed */
bool mt_diff_has(const struct mt_diff *d, const char *name); /* among the items */

/* newer and what only old has: where a stream stands whose removals have to wait. A new reference,
 * to newer itself when there is nothing to keep; cached like the difference. */
struct mt_set *mt_set_union(struct mt_set *old, struct mt_set *newer);
