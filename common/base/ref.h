/* Reference counts for immutable things that threads share. */
#pragma once
#include <stdatomic.h>

#include "common/base/macros.h"

struct mt_ref {
	atomic_uint n;
};
static inline void mt_ref_init(struct mt_ref *r)
{
	atomic_init(&r->n, 1);
}
static inline void mt_ref_get(struct mt_ref *r)
{
	atomic_fetch_add_explicit(&r->n, 1, memory_order_relaxed);
}
/* True for the caller that must destroy. */
static inline bool mt_ref_put(struct mt_ref *r)
{
	/* Acquire here and not by a fence at the end: ThreadSanitizer does not know fences. */
	return atomic_fetch_sub_explicit(&r->n, 1, memory_order_acq_rel) == 1;
}
