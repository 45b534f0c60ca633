/* Collectors: the metrics that prometheus handlers define, under the names that Prometheus scrapes.
 *
 * A collector is shared by name and definition, so that counters go on when the configuration changes
 * around them. One with another definition takes the name over: the old one is no longer shown, and
 * goes with its last user. Get, put and text on the loop thread; series from any thread. */
#pragma once

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/run/metrics.h"

struct mixer_collectors;
struct mixer_collector;

struct mixer_collectors *mixer_collectors_new(void);
void mixer_collectors_free(struct mixer_collectors *c); /* after its collectors were put */

/* Returns a reference. owner: the handler. *ret_displaced: whose definition this one displaced when that
 * was another handler's, else NULL; valid until the next call. MT_INVALID for a name or label that
 * Prometheus does not allow. */
int mixer_collectors_get(struct mixer_collectors *c, const struct mt_metric_desc *desc,
	const char *owner, struct mixer_collector **ret, const char **ret_displaced,
	struct mt_err *err);
void mixer_collectors_put(struct mixer_collectors *c, struct mixer_collector *m);
struct mt_metric_series *mixer_collector_series(
	struct mixer_collector *m, const char *const *labels);
/* All collectors in the order in which they came. Loop thread. */
void mixer_collectors_text(const struct mixer_collectors *c, struct mt_buf *out);
size_t mixer_collectors_count(const struct mixer_collectors *c);
