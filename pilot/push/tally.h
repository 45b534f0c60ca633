/* Counting what classes came upon: conflicts, clusters without endpoints. Private to pilot/push but
 * for the page. Loop thread. */
#pragma once

#include "common/run/metrics.h"
#include "pilot/model/world.h"
#include "pilot/translate/tally.h"

enum { PUSH_TALLY_MAX = 1000 }; /* keys kept of a class; more are not told apart */

struct push_class;
struct push_views;

struct push_tallies { /* of a class, from its last plan */
	struct push_tally {
		enum pilot_tally_kind kind;
		char *key;
	} * v;
	size_t n;
	size_t empty; /* load assignments without endpoints */
};
void push_tally_take(struct push_class *c, const struct pilot_job *j);
void push_tally_clear(struct push_tallies *t);
/* Sets the gauges: distinct keys over all classes; facts of the world. */
void push_tally_publish(
	const struct push_views *v, const struct pilot_world *w, struct mt_metrics *m);
/* Distinct keys, by kind and name: fn for each. */
void push_tally_each(const struct push_views *v,
	void (*fn)(void *ctx, const char *metric, const char *key), void *ctx);
