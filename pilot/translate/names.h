/* A set of names, for one piece of work: open addressing in an arena, nothing is ever taken out.
 * Set .a before the first use; the strings must outlive the set. Private to translate/. */
#pragma once

#include <string.h>

#include "common/base/arena.h"
#include "common/base/hash.h"

struct pilot_names {
	struct mt_arena *a;
	const char **slot;
	size_t cap; /* a power of two */
	size_t n;
};

static inline size_t pilot_names_at(const struct pilot_names *d, const char *s)
{
	size_t i = mt_hash_str(s) & (d->cap - 1);
	while (d->slot[i] && strcmp(d->slot[i], s) != 0)
		i = (i + 1) & (d->cap - 1);
	return i;
}

static inline bool pilot_names_has(const struct pilot_names *d, const char *s)
{
	return d->cap && d->slot[pilot_names_at(d, s)];
}

/* false: it is in already. */
static inline bool pilot_names_put(struct pilot_names *d, const char *s)
{
	if (2 * (d->n + 1) > d->cap) {
		struct pilot_names old = *d;
		d->cap = old.cap ? 4 * old.cap : 64;
		d->slot = MT_ANEWN(d->a, const char *, d->cap);
		for (size_t i = 0; i < old.cap; i++)
			if (old.slot[i])
				d->slot[pilot_names_at(d, old.slot[i])] = old.slot[i];
	}
	size_t i = pilot_names_at(d, s);
	if (d->slot[i])
		return false;
	d->slot[i] = s;
	d->n++;
	return true;
}
