/* A latency histogram of fixed size: microseconds up to an hour, 3 % wide buckets. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define HIST_SUB 32
#define HIST_BUCKETS (HIST_SUB * 32)

struct hist {
	uint64_t bucket[HIST_BUCKETS];
	uint64_t n, sum, max;
};

void hist_add(struct hist *h, int64_t us);
double hist_ms(const struct hist *h, double quantile); /* 0 when empty */
