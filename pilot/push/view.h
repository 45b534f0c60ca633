/* Views: the proxies that share all their classes, and the snapshot that they are sent. Private to
 * pilot/push. Loop thread. */
#pragma once

#include "pilot/push/class.h"
#include "pilot/push/push.h"

struct push_view {
	char *key; /* the addresses of its classes */
	struct push_class *classes[PILOT_TABLES];
	struct mt_snapshot *snap;
	struct mt_set *made_of[PILOT_TABLES]; /* what snap's sets were made from; references */
	struct push_proxy *first;
	size_t n;
};

struct push_views {
	struct mt_map *classes[PILOT_TABLES]; /* key -> struct push_class */
	struct mt_map *views;                 /* key -> struct push_view */
};

void push_views_init(struct push_views *v);
void push_views_clear(struct push_views *v);
/* Moves a proxy to the view that its keys say (made when new); frees what nobody uses any more. */
void push_view_enter(struct push_views *v, struct push_proxy *x,
	const struct pilot_class_key keys[PILOT_TABLES]);
void push_view_leave(struct push_views *v, struct push_proxy *x);
/* Recomputes the classes of a view that this epoch has not reached yet, for the tables in the mask
 * (and those never computed). */
void push_view_compute(
	struct push_view *v, const struct pilot_world *w, uint64_t epoch, unsigned tables);
/* A new snapshot if any set changed; true then. */
bool push_view_snapshot(struct push_view *v, uint64_t id, int64_t made_ns);
