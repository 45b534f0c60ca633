/* How often Pilot is asked. Threads: any (pure). */
#pragma once

#include <stdint.h>

/* The pause after the n-th answer (from 0) that was not the last one: doubling, and not beyond the end of
 * the wait, when Pilot is asked once more. */
int64_t ctl_wait_pause_ns(unsigned n, int64_t left_ns);
