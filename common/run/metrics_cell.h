/* What a series is made of: shared by the registry and its text page, for nobody else. */
#pragma once

#include <stdatomic.h>

#include "common/run/metrics.h"

typedef _Atomic double mt_metric_cell;

/* The part of a metric that never changes once it is in the registry, but for its series. */
struct mt_metric_info {
	enum mt_metric_type type;
	char *name;
	char *help;
	char *labels[MT_METRIC_LABELS_MAX];
	size_t nlabels;
	double *buckets; /* upper bounds, without +Inf */
	size_t nbuckets;
	_Atomic(struct mt_metric_series *) first;
};

struct mt_metric_series {
	_Atomic(struct mt_metric_series *) next;
	const struct mt_metric_info *info;
	const char *labels;       /* rendered: a="x",b="y" */
	mt_metric_cell value;     /* histogram: the sum */
	_Atomic uint64_t whole;   /* counter: the integral part of what was added */
	_Atomic uint64_t cells[]; /* histogram: one a bucket, not cumulative, the last is +Inf */
};

/* The i-th metric, NULL beyond the last. */
const struct mt_metric_info *mt_metrics_at(const struct mt_metrics *m, size_t i);
