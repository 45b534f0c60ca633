#include "common/base/arena.h"

#include <google/protobuf/struct.pb-c.h>
#include <stdint.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/vec.h"
#include "tests/unit/unit.h"

START_TEST(zeroed_and_aligned)
{
	struct mt_arena *a = mt_arena_new(0);

	for (size_t size = 0; size < 3000; size += 7) {
		unsigned char *p = mt_arena_alloc(a, size);

		ck_assert_uint_eq((uintptr_t)p % 16, 0);
		for (size_t i = 0; i < size; i++)
			ck_assert_uint_eq(p[i], 0);
		memset(p, 0xff, size);
	}
	mt_arena_reset(a);
	ck_assert_uint_eq(mt_arena_used(a), 0);
	for (int i = 0; i < 100; i++) {
		unsigned char *p = mt_arena_alloc(a, 50);

		for (size_t k = 0; k < 50; k++)
			ck_assert_uint_eq(p[k], 0);
	}
	mt_arena_free(a);
	mt_arena_free(NULL);
}
END_TEST

START_TEST(large_ones_leave_the_block_in_use)
{
	struct mt_arena *a = mt_arena_new(0);
	char *p = mt_arena_alloc(a, 16), *q;

	memset(mt_arena_alloc(a, 1 << 20), 1, 1 << 20);
	q = mt_arena_alloc(a, 16);
	ck_assert_int_lt(labs((long)(q - p)), 4096);
	mt_arena_free(a);
}
END_TEST

START_TEST(strings)
{
	struct mt_arena *a = mt_arena_new(0);

	ck_assert_str_eq(mt_arena_strdup(a, "abc"), "abc");
	ck_assert_ptr_null(mt_arena_strdup(a, NULL));
	ck_assert_str_eq(mt_arena_strndup(a, "abcdef", 3), "abc");
	ck_assert_str_eq(mt_arena_strndup(a, "ab", 30), "ab");
	ck_assert_str_eq(mt_arena_printf(a, "%s/%d", "x", 7), "x/7");
	ck_assert_mem_eq(mt_arena_memdup(a, "a\0b", 3), "a\0b", 3);
	mt_arena_free(a);
}
END_TEST

START_TEST(the_limit_is_honoured)
{
	struct mt_arena *a = mt_arena_new(1000);
	ProtobufCAllocator *pb = mt_arena_pb(a);

	ck_assert_ptr_nonnull(mt_arena_try_alloc(a, 500));
	ck_assert_ptr_null(mt_arena_try_alloc(a, 600));
	ck_assert_ptr_null(mt_arena_try_alloc(a, SIZE_MAX));
	ck_assert_ptr_null(mt_arena_try_alloc(a, SIZE_MAX - 8));
	ck_assert_ptr_nonnull(pb->alloc(pb->allocator_data, 400));
	ck_assert_ptr_null(pb->alloc(pb->allocator_data, 400));
	mt_arena_reset(a);
	ck_assert_ptr_nonnull(mt_arena_try_alloc(a, 900));
	/* Empty allocations count: a peer cannot have any number of them. */
	mt_arena_reset(a);
	for (int i = 0; i < 62; i++)
		ck_assert_ptr_nonnull(mt_arena_try_alloc(a, 0));
	ck_assert_ptr_null(mt_arena_try_alloc(a, 0));
	mt_arena_free(a);
}
END_TEST

/* A list value of n empty values: few bytes on the wire, much memory. */
static void amplifier(struct mt_buf *wire, int n)
{
	for (int i = 0; i < n; i++)
		mt_buf_add(wire, "\x0a\x00", 2);
}

START_TEST(unpack_stops_at_the_limit)
{
	struct mt_arena *a = mt_arena_new(64 * 1024);
	struct mt_buf wire = { 0 };
	Google__Protobuf__ListValue *list;

	amplifier(&wire, 100);
	list = google__protobuf__list_value__unpack(
		mt_arena_pb(a), wire.n, (const uint8_t *)wire.p);
	ck_assert_ptr_nonnull(list);
	ck_assert_uint_eq(list->n_values, 100);
	mt_arena_reset(a);
	amplifier(&wire, 10000);
	ck_assert_ptr_null(google__protobuf__list_value__unpack(
		mt_arena_pb(a), wire.n, (const uint8_t *)wire.p));
	ck_assert_uint_le(mt_arena_used(a), 64 * 1024);
	mt_buf_clear(&wire);
	mt_arena_free(a);
}
END_TEST

START_TEST(vectors)
{
	struct mt_arena *a = mt_arena_new(0);
	MT_VEC(int) heap = { 0 }, inside = { 0 };
	int sum = 0;

	for (int i = 0; i < 1000; i++) {
		mt_vec_push(&heap, i);
		mt_vec_apush(a, &inside, i);
	}
	ck_assert_uint_eq(heap.n, 1000);
	mt_vec_each (&heap, it)
		sum += *it;
	mt_vec_each (&inside, it)
		sum -= *it;
	ck_assert_int_eq(sum, 0);
	mt_vec_clear(&heap);
	ck_assert_uint_eq(heap.n, 0);
	mt_arena_free(a);
}
END_TEST

MT_UNIT(arena, zeroed_and_aligned, large_ones_leave_the_block_in_use, strings,
	the_limit_is_honoured, unpack_stops_at_the_limit, vectors)
