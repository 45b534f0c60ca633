#include "common/rpc/slice.h"

#include "common/base/mem.h"

mt_slice mt_slice_copy(const void *p, size_t n)
{
	return grpc_slice_from_copied_buffer(p, n);
}

mt_slice mt_slice_take(void *heap, size_t n)
{
	return grpc_slice_new(heap, n, mt_free);
}
