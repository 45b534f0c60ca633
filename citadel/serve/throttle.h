/* How often one address may do something: a token bucket for each, in a table of fixed size (an
 * address that falls on a full place takes that of the one that was quiet the longest; it starts
 * with a full bucket, so the limit is per address only as long as there are not many more addresses
 * than places). Threads: any. */
#pragma once

#include "common/base/clock.h"

struct citadel_throttle;
/* rate a second, burst of 4 seconds' worth (at least 1). rate 0: no limit. */
struct citadel_throttle *citadel_throttle_new(int64_t rate, const struct mt_clock *clock);
void citadel_throttle_free(struct citadel_throttle *t); /* NULL allowed */
/* Is there something in the bucket of this address? Takes n of it when there is. n 0 only asks. */
bool citadel_throttle_take(struct citadel_throttle *t, const char *addr, unsigned n);
/* "ipv4:127.0.0.1:4711" without the port. */
void citadel_addr_host(const char *peer, char *buf, size_t n);
