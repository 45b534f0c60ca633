/* Injected clock. Code takes a `const struct mt_clock *`; daemons pass mt_clock_system, tests a
 * struct mt_test_clock that they turn by hand. Times are nanoseconds. Threads: any. */
#pragma once

#include <stdatomic.h>

#include "common/base/macros.h"

#define MT_NS_PER_SEC 1000000000LL
#define MT_NS_PER_MS 1000000LL

struct mt_clock {
	int64_t (*mono)(const struct mt_clock *c); /* since an arbitrary start, never goes back */
	int64_t (*wall)(const struct mt_clock *c); /* since 1970-01-01 UTC */
};
extern const struct mt_clock mt_clock_system;
static inline int64_t mt_mono(const struct mt_clock *c)
{
	return c->mono(c);
}
static inline int64_t mt_wall(const struct mt_clock *c)
{
	return c->wall(c);
}

struct mt_test_clock {
	struct mt_clock clock; /* pass &tc.clock */
	_Atomic int64_t mono_ns;
	_Atomic int64_t wall_ns;
};
void mt_test_clock_init(struct mt_test_clock *tc, int64_t mono_ns, int64_t wall_ns);
void mt_test_clock_advance(struct mt_test_clock *tc, int64_t ns); /* both */

/* RFC 3339 UTC, "2026-11-24T03:12:01.123Z" (6 or 9 digits where the value has them); buf of 32
 * bytes at least. */
void mt_time_format(int64_t wall_ns, char *buf, size_t n);
int mt_time_parse(const char *text, int64_t *ret_wall_ns); /* MT_INVALID */
