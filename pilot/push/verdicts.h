/* What proxies said about resources: by content hash and Envoy version. Loop thread. */
#pragma once

#include "common/base/macros.h"

enum push_verdict {
	PUSH_UNTRIED,
	PUSH_TRYING, /* a canary has it */
	PUSH_GOOD,   /* a proxy of this version acknowledged it */
	PUSH_BAD,    /* one rejected it: nobody of this version gets it */
};

struct push_verdicts;
struct push_verdicts *push_verdicts_new(void);
void push_verdicts_free(struct push_verdicts *v); /* NULL allowed */

enum push_verdict push_verdict_of(const struct push_verdicts *v, uint64_t hash, const char *envoy);
/* BAD and TRYING replace GOOD and each other; UNTRIED forgets. */
void push_verdict_set(
	struct push_verdicts *v, uint64_t hash, const char *envoy, enum push_verdict verdict);
/* A proxy's words about what is bad. */
void push_verdict_condemn(
	struct push_verdicts *v, uint64_t hash, const char *envoy, const char *words);
const char *push_verdict_words(const struct push_verdicts *v, uint64_t hash, const char *envoy);
size_t push_verdicts_bad(const struct push_verdicts *v);
/* Forgets what is good when there is much of it (a change that comes back is then tried again) and,
 * beyond a limit, the oldest that is bad. */
void push_verdicts_trim(struct push_verdicts *v);
