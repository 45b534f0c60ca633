/* What proxies said about resources: by content hash and Envoy version. Loop thread. */
#pragma once

#include "common/base/macros.h"

enum push_verdict {
	PUSH_UNTRIED,
	PUSH_TRYING, /* a canary has it */
	PUSH_PASSED, /* nobody answered for long: it goes to all, and is not known to be good */
	PUSH_GOOD,   /* a proxy of this version acknowledged it */
	PUSH_BAD,    /* one rejected it: nobody of this version gets it */
};

/* A version of Envoy as a number, such as of 1.40.0. */
static inline uint32_t push_envoy(int major, int minor, int patch)
{
	return (uint32_t)major << 20 | (uint32_t)minor << 8 | (uint32_t)patch;
}

struct push_verdicts;
struct push_verdicts *push_verdicts_new(void);
void push_verdicts_free(struct push_verdicts *v); /* NULL allowed */

enum push_verdict push_verdict_of(const struct push_verdicts *v, uint64_t hash, uint32_t envoy);
/* Each replaces what was there; UNTRIED forgets. */
void push_verdict_set(
	struct push_verdicts *v, uint64_t hash, uint32_t envoy, enum push_verdict verdict);
/* A proxy's words about what is bad. */
void push_verdict_condemn(
	struct push_verdicts *v, uint64_t hash, uint32_t envoy, const char *words);
const char *push_verdict_words(const struct push_verdicts *v, uint64_t hash, uint32_t envoy);
size_t push_verdicts_bad(const struct push_verdicts *v);
/* Grows when something turns bad: what was free of it may not be any more. */
unsigned push_verdicts_epoch(const struct push_verdicts *v);
/* Forgets what is good when there is much of it (a change that comes back is then tried again) and,
 * beyond a limit, some that is bad. */
void push_verdicts_trim(struct push_verdicts *v);
