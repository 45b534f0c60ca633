/* Envoy's log, kept from filling the disk: Envoy appends to it for as long as it lives, longer than the
 * agent that started it. Loop thread. */
#pragma once

#include <sys/types.h>

#include "common/base/err.h"

enum { AGENT_LOG_MAX = 32 << 20 }; /* bytes */

/* When path is larger than `max`: its content goes to path.1 (of the time before, that is replaced)
 * and path starts again, empty. What is written between the two steps is lost. */
int agent_log_cap(const char *path, off_t max, struct mt_err *err);
