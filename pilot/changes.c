/* Heavy hitters by the space-saving algorithm (Metwally, Agrawal, El Abbadi, 2005): a full table gives
 * the place with the smallest count to a newcomer, which inherits the count as its possible error. An
 * object with more than 1/PILOT_CHANGES_TOP of all changes is always in the table. */
#include "pilot/changes.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/map.h"
#include "common/base/mem.h"

struct pilot_changes {
	struct pilot_change_source top[PILOT_CHANGES_TOP];
	size_t n;
	struct mt_map *by_title; /* -> an element of top */
	struct pilot_recomputation last[PILOT_CHANGES_LAST];
	uint64_t computed; /* how many in all */
};

struct pilot_changes *pilot_changes_new(void)
{
	struct pilot_changes *c = MT_NEW(struct pilot_changes);
	c->by_title = mt_map_new();
	return c;
}

void pilot_changes_free(struct pilot_changes *c)
{
	if (!c)
		return;
	for (size_t i = 0; i < c->n; i++)
		mt_free(c->top[i].title);
	mt_map_free(c->by_title, NULL);
	mt_free(c);
}

static struct pilot_change_source *place(struct pilot_changes *c)
{
	if (c->n < PILOT_CHANGES_TOP)
		return &c->top[c->n++];
	struct pilot_change_source *least = &c->top[0];
	for (size_t i = 1; i < c->n; i++)
		if (c->top[i].count < least->count)
			least = &c->top[i];
	mt_map_del(c->by_title, least->title);
	mt_free(least->title);
	least->error = least->count;
	return least;
}

void pilot_changes_object(struct pilot_changes *c, const char *title, int64_t now_ns)
{
	struct pilot_change_source *s = mt_map_get(c->by_title, title);

	if (!s) {
		s = place(c);
		s->title = mt_strdup(title);
		mt_map_put(c->by_title, title, s);
	}
	s->count++;
	s->last_ns = now_ns;
}

void pilot_changes_computed(
	struct pilot_changes *c, const char *reason, int64_t now_ns, int64_t took_ns)
{
	c->last[c->computed++ % PILOT_CHANGES_LAST] =
		(struct pilot_recomputation){ reason, now_ns, took_ns };
}

static int by_count(const void *pa, const void *pb)
{
	const struct pilot_change_source *a = pa, *b = pb;
	int r = (a->count < b->count) - (a->count > b->count);
	return r ? r : strcmp(a->title, b->title);
}

size_t pilot_changes_top(const struct pilot_changes *c, struct pilot_change_source *v, size_t n)
{
	struct pilot_change_source all[PILOT_CHANGES_TOP];

	memcpy(all, c->top, c->n * sizeof(*all));
	qsort(all, c->n, sizeof(*all), by_count);
	n = MT_MIN(n, c->n);
	memcpy(v, all, n * sizeof(*v));
	return n;
}

size_t pilot_changes_last(const struct pilot_changes *c, struct pilot_recomputation *v, size_t n)
{
	size_t have = MT_MIN(c->computed, (uint64_t)PILOT_CHANGES_LAST);

	n = MT_MIN(n, have);
	for (size_t i = 0; i < n; i++)
		v[i] = c->last[(c->computed - 1 - i) % PILOT_CHANGES_LAST];
	return n;
}
