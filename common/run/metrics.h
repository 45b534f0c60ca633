/* Metrics, one row each in a daemon's metrics.def:
 *
 *   METRIC(COUNTER, pilot_xds_pushes, "Pushes by type.", "type")
 *   METRIC(HISTOGRAM, pilot_proxy_convergence_time, "...", "", 0.1, 0.5, 1, 3, 5)
 *
 * Prometheus text (version 0.0.4) comes from mt_metrics_text(). A series is found once
 * (mt_metric_series(), takes a short lock) and kept; adding to it is one atomic operation.
 * At most MT_METRIC_SERIES_MAX series a metric: beyond, values go to one series whose labels all
 * say "other". Threads: any. */
#pragma once

#include "common/base/buf.h"
#include "common/base/macros.h"

enum { MT_METRIC_SERIES_MAX = 10000, MT_METRIC_LABELS_MAX = 32 };
enum mt_metric_type { MT_METRIC_COUNTER, MT_METRIC_GAUGE, MT_METRIC_HISTOGRAM };

struct mt_metric_desc {
	enum mt_metric_type type;
	const char *name;
	const char *help;
	const char *labels;    /* "type,code"; "" for none */
	const double *buckets; /* ascending, ends with 0; NULL: none or the default ones */
};
#define MT_METRIC_ROW(t, n, h, l, ...)                                                             \
	{ MT_METRIC_##t, #n, h, l, (const double[]){ __VA_ARGS__ __VA_OPT__(, ) 0 } },
#define MT_METRIC_ENUM(t, n, ...) METRIC_##n,

struct mt_metrics;       /* a registry */
struct mt_metric_series; /* one time series; valid as long as the registry (or until expired) */

struct mt_metrics *mt_metrics_new(const struct mt_metric_desc *rows, size_t n);
void mt_metrics_free(struct mt_metrics *m);
/* Adds a metric at run time (Mixer's prometheus adapter). Returns its index, or MT_EXISTS when the
 * name is there with other labels or type (the same: its index), MT_INVALID for a bad name. */
int mt_metrics_define(struct mt_metrics *m, const struct mt_metric_desc *row);
/* labels: as many values as the row has labels, in its order. Never NULL. */
struct mt_metric_series *mt_metric_series(
	struct mt_metrics *m, int metric, const char *const *labels);
void mt_series_add(struct mt_metric_series *s, double v);     /* counter, gauge */
void mt_series_set(struct mt_metric_series *s, double v);     /* gauge */
void mt_series_observe(struct mt_metric_series *s, double v); /* histogram */
double mt_series_value(const struct mt_metric_series *s);     /* tests, debug */
/* Convenience: mt_metric_add(m, METRIC_pilot_xds_pushes, 1, "cds"). Labels end by count. */
#define mt_metric_add(m, metric, v, ...)                                                           \
	mt_series_add(mt_metric_series((m), (metric),                                              \
			      (const char *const[]){ __VA_ARGS__ __VA_OPT__(, ) NULL }),           \
		(v))
#define mt_metric_set(m, metric, v, ...)                                                           \
	mt_series_set(mt_metric_series((m), (metric),                                              \
			      (const char *const[]){ __VA_ARGS__ __VA_OPT__(, ) NULL }),           \
		(v))
#define mt_metric_observe(m, metric, v, ...)                                                       \
	mt_series_observe(mt_metric_series((m), (metric),                                          \
				  (const char *const[]){ __VA_ARGS__ __VA_OPT__(, ) NULL }),       \
		(v))
void mt_metrics_text(const struct mt_metrics *m, struct mt_buf *out);
