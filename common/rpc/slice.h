/* Reference-counted bytes that travel to many streams without a copy: gRPC core's own slices. This
 * header and common/rpc are the only places that include gRPC. Threads: any. */
#pragma once

#include <grpc/slice.h>

#include "common/base/macros.h"

typedef grpc_slice mt_slice;

mt_slice mt_slice_copy(const void *p, size_t n);
mt_slice mt_slice_take(void *heap, size_t n); /* frees heap with mt_free when the last ref goes */
static inline mt_slice mt_slice_ref(mt_slice s)
{
	return grpc_slice_ref(s);
}
static inline void mt_slice_unref(mt_slice s)
{
	grpc_slice_unref(s);
}
#define mt_slice_p(s) ((const uint8_t *)GRPC_SLICE_START_PTR(s))
#define mt_slice_n(s) ((size_t)GRPC_SLICE_LENGTH(s))
