/* Resources of one class of proxies in one table: computed from any of its members, shared by all.
 *
 * A class keeps each resource with the fingerprint of what it was made from, so that computing again
 * builds only what changed, and hands out the same set when nothing did. Loop thread; the sets that
 * it hands out are immutable. */
#pragma once

#include "common/base/map.h"
#include "common/xds/set.h"
#include "pilot/push/notes.h"
#include "pilot/push/tally.h"
#include "pilot/translate/translate.h"

struct push_class {
	enum pilot_table table;
	char *key;
	unsigned refs;  /* views that use it */
	uint64_t epoch; /* of the last computation, 0 never */
	uint8_t *scope; /* PILOT_ENDPOINTS: pilot_job_scope() at scope_epoch; NULL: not known */
	uint64_t scope_epoch;
	struct mt_map *items;  /* name -> struct push_item */
	struct mt_map *vhosts; /* PILOT_ROUTES: "route/vhost" -> struct push_vhost */
	struct mt_set *set;    /* NULL until computed */
	struct mt_set *good;   /* what a view of it was last allowed to have, NULL none */
	struct mt_set *clear;  /* all of it was known to be good, NULL none ... */
	unsigned clear_epoch;  /* ... when the verdicts were at this */
	bool mixed;            /* proxies of several older classes came to it: no common good */
	bool prov_moved;       /* the last computation changed provenance, perhaps nothing else */
	struct push_tallies tallies;
	struct push_notes *notes;   /* where its notes stand; NULL: none are kept */
	struct push_noted *noted;   /* list: of its resources, virtual hosts and plan */
	struct push_noted *planned; /* ... of the last plan, NULL none */
	/* Of an inbound class: its set joined with an outbound one, for all views that join the two. */
	struct mt_set *joined, *joined_with, *joined_own;
};

/* notes must outlive it. */
struct push_class *push_class_new(
	enum pilot_table table, const char *key, struct push_notes *notes);
void push_class_free(struct push_class *c); /* NULL allowed */

/* Brings the whole table up to date with the job's world. Returns how many resources were built. */
size_t push_class_compute(
	struct push_class *c, struct pilot_job *j, struct mt_arena *a, uint64_t epoch);
/* PILOT_ROUTES: each virtual host with the objects behind it. */
typedef void (*push_vhost_fn)(
	void *ctx, const char *route, const char *name, const uint32_t *prov, size_t n);
void push_class_each_vhost(const struct push_class *c, push_vhost_fn fn, void *ctx);
/* PILOT_ENDPOINTS: only these clusters. */
size_t push_class_patch(
	struct push_class *c, struct pilot_job *j, const char *const *names, size_t n);
