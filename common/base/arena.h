/* Arena: memory for one piece of work, freed whole. Also a ProtobufCAllocator, so that protobuf-c
 * unpacks into it (then never call *__free_unpacked: free the arena).
 *
 * Owner: the creator; mt_arena_free(). Threads: one at a time.
 * Limit: bytes of payload; 0 means none. mt_arena_alloc() aborts beyond it (a bug of ours);
 * mt_arena_try_alloc() and the protobuf allocator return NULL (a peer's doing: unpack then fails). */
#pragma once

#include <protobuf-c/protobuf-c.h>
#include <stdarg.h>

#include "common/base/macros.h"

struct mt_arena;

struct mt_arena *mt_arena_new(size_t limit);
/* The same for what is to be kept, with a first block for about `size` bytes instead of a page. */
struct mt_arena *mt_arena_new_sized(size_t limit, size_t size);
void mt_arena_free(struct mt_arena *a); /* NULL allowed */
MT_DEFINE_FREEP(struct mt_arena *, mt_arena_freep, mt_arena_free)

void *mt_arena_alloc(struct mt_arena *a, size_t size); /* zeroed, aligned to 16 */
void *mt_arena_try_alloc(struct mt_arena *a, size_t size);
void *mt_arena_memdup(struct mt_arena *a, const void *p, size_t n);
char *mt_arena_strdup(struct mt_arena *a, const char *s); /* NULL gives NULL */
char *mt_arena_strndup(struct mt_arena *a, const char *s, size_t n);
char *mt_arena_printf(struct mt_arena *a, const char *fmt, ...) MT_PRINTF(2, 3);
char *mt_arena_vprintf(struct mt_arena *a, const char *fmt, va_list ap);
size_t mt_arena_used(const struct mt_arena *a); /* bytes handed out */
/* Frees all that was allocated, keeps one block for reuse. */
void mt_arena_reset(struct mt_arena *a);
ProtobufCAllocator *mt_arena_pb(struct mt_arena *a);

#define MT_ANEW(arena, type) ((type *)mt_arena_alloc((arena), sizeof(type)))
#define MT_ANEWN(arena, type, n) ((type *)mt_arena_alloc((arena), sizeof(type) * (n)))
