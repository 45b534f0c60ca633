/* Views: the proxies that share all their classes, and the snapshot that they are sent. Private to
 * pilot/push. Loop thread. */
#pragma once

#include "pilot/push/class.h"
#include "pilot/push/push.h"

struct push_view {
	char *key; /* the addresses of its classes */
	struct push_class *classes[PILOT_TABLES];
	struct mt_snapshot *snap;             /* NULL: its proxies are not told anything yet */
	struct mt_set *made_of[PILOT_TABLES]; /* what snap's sets were made from; references */
	bool held; /* its classes have newer sets that nobody has accepted yet */
	/* By number of the world (and so of the snapshots that it led to): up to which its classes'
	 * sets are in what it has; in what is pinned; while it is held, in what it was given. */
	uint64_t allowed_id, pinned_id, approved_id;
	/* allow.c and canary.c: what is being decided while it is held, else what was; since when; the
	 * trial; the list of held ones */
	struct mt_set *pinned[PILOT_TABLES];
	int64_t pinned_ns, newest_ns, held_ns;
	struct push_trial *trial;
	struct push_view *held_next, **held_prev;
	/* What is known to be accepted of what it has: references, NULL nothing. */
	struct mt_set *proven[PILOT_TABLES];
	uint64_t proven_id;  /* the world of it, 0: nothing */
	bool unproven;       /* it has more than that */
	bool silent;         /* ... and nobody has said anything of it for long */
	int64_t unproven_ns; /* since when */
	struct push_proxy *first;
	size_t n;
};

struct push_views {
	struct mt_map *classes[PILOT_TABLES]; /* key -> struct push_class */
	struct mt_map *views;                 /* key -> struct push_view */
	struct push_notes *notes;             /* what classes say of objects */
	/* A proxy is about to leave its view, which may be freed. NULL: nobody cares. */
	void (*leaving)(void *ctx, struct push_proxy *x);
	void *ctx;
};

const struct push_views *push_views_of(const struct push *p);
const struct push_canary *push_canary_of(const struct push *p);
/* Is what came with this snapshot still held back from the view? */
static inline bool push_view_lacks(const struct push_view *v, uint64_t since)
{
	return v->held && since > v->approved_id;
}

void push_views_init(struct push_views *v, struct mt_metrics *metrics);
void push_views_clear(struct push_views *v);
/* Moves a proxy to the view that its keys say (made when new); frees what nobody uses any more. */
void push_view_enter(struct push_views *v, struct push_proxy *x,
	const struct pilot_class_key keys[PILOT_TABLES]);
void push_view_leave(struct push_views *v, struct push_proxy *x);
/* Recomputes the classes of a view that this epoch has not reached yet, for the tables in the mask
 * (and those never computed). */
void push_view_compute(
	struct push_view *v, const struct pilot_world *w, uint64_t epoch, unsigned tables);
/* Sets of types out of sets of tables: both halves of a table joined. New references. */
void push_view_join(struct push_view *v, struct mt_set *const sets[PILOT_TABLES],
	struct mt_set *ret[PUSH_TYPES]);
/* A new snapshot if any of the sets is another than before; true then. */
bool push_view_snapshot(
	struct push_view *v, struct mt_set *const sets[PILOT_TABLES], uint64_t id, int64_t made_ns);
