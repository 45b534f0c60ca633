#include <sys/random.h>

#include "common/base/clock.h"
#include "common/rpc/rpc.h"

int64_t mt_rpc_backoff_ns(unsigned n)
{
	const int64_t base = 250 * MT_NS_PER_MS, max = 15 * MT_NS_PER_SEC;
	int64_t d = n < 6 ? base << n : max; /* 250 ms * 2^6 is beyond the maximum */
	uint32_t random;

	/* Upper half is chance: a thousand clients of a server that went away come back spread out. */
	if (getrandom(&random, sizeof(random), GRND_NONBLOCK) != sizeof(random))
		random = UINT32_MAX / 2;
	return d / 2 + (int64_t)((double)random / UINT32_MAX * (double)(d - d / 2));
}
