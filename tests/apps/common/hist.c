/* Values below HIST_SUB have a bucket each; above, each power of two is cut in HIST_SUB parts. */
#include "tests/apps/common/hist.h"

static size_t index_of(uint64_t v)
{
	if (v < HIST_SUB)
		return (size_t)v;
	unsigned shift = 63 - (unsigned)__builtin_clzll(v) - 5; /* HIST_SUB is 2^5 */
	size_t i = (size_t)(shift + 1) * HIST_SUB + (size_t)((v >> shift) - HIST_SUB);

	return i < HIST_BUCKETS ? i : HIST_BUCKETS - 1;
}

static uint64_t value_of(size_t i)
{
	if (i < HIST_SUB)
		return i;
	unsigned shift = (unsigned)(i / HIST_SUB) - 1;

	return (HIST_SUB + i % HIST_SUB) << shift;
}

void hist_add(struct hist *h, int64_t us)
{
	uint64_t v = us > 0 ? (uint64_t)us : 0;

	h->bucket[index_of(v)]++;
	h->n++;
	h->sum += v;
	if (v > h->max)
		h->max = v;
}

double hist_ms(const struct hist *h, double quantile)
{
	uint64_t want = (uint64_t)(quantile * (double)h->n), seen = 0;

	if (!h->n)
		return 0;
	for (size_t i = 0; i < HIST_BUCKETS; i++) {
		seen += h->bucket[i];
		if (seen > want)
			return (double)value_of(i) / 1000;
	}
	return (double)h->max / 1000;
}
