/* Arena.
 *
 * Blocks form a list whose head is the block that is filled now. A request that does not fit starts
 * a new block, twice as large as the last one up to BLOCK_MAX; a request larger than a block gets
 * one of its own, put behind the head, so that the room left in the head is not lost.
 *
 * `used` counts payload rounded up to the alignment: an empty submessage of a peer is not free of
 * charge, and the limit bounds real memory (a block of slack aside).
 *
 * Under AddressSanitizer free space is poisoned and each allocation is followed by a poisoned gap,
 * so an overrun inside the arena is found as it would be on the heap. */
#include "common/base/arena.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"

#if defined(__SANITIZE_ADDRESS__)
#define WITH_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WITH_ASAN 1
#endif
#endif
#ifdef WITH_ASAN
#include <sanitizer/asan_interface.h>
enum { GAP = 16 };
#else
#define ASAN_POISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#define ASAN_UNPOISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
enum { GAP = 0 };
#endif

enum { ALIGN = 16, BLOCK_MIN = 4096, BLOCK_MAX = 256 * 1024 };

struct block {
	struct block *next;
	size_t size; /* of data */
	size_t fill;
	_Alignas(ALIGN) char data[];
};

struct mt_arena {
	struct block *head;
	size_t limit;
	size_t used;
	size_t next_size;
	ProtobufCAllocator pb;
};

static void *pb_alloc(void *ctx, size_t size);
static void pb_free(void *ctx, void *p);

struct mt_arena *mt_arena_new(size_t limit)
{
	struct mt_arena *a = MT_NEW(struct mt_arena);

	a->limit = limit;
	a->next_size = BLOCK_MIN - sizeof(struct block);
	a->pb = (ProtobufCAllocator){ .alloc = pb_alloc, .free = pb_free, .allocator_data = a };
	return a;
}

struct mt_arena *mt_arena_new_sized(size_t limit, size_t size)
{
	struct mt_arena *a = mt_arena_new(limit);

	a->next_size = MT_MAX(MT_MIN(size, (size_t)BLOCK_MAX), 4 * (size_t)ALIGN);
	return a;
}

static void free_blocks(struct block *b)
{
	while (b) {
		struct block *next = b->next;

		ASAN_UNPOISON_MEMORY_REGION(b->data, b->size);
		mt_free(b);
		b = next;
	}
}

void mt_arena_free(struct mt_arena *a)
{
	if (!a)
		return;
	free_blocks(a->head);
	mt_free(a);
}

static struct block *block_new(size_t size)
{
	struct block *b = mt_realloc(NULL, sizeof(*b) + size);

	b->next = NULL;
	b->size = size;
	b->fill = 0;
	ASAN_POISON_MEMORY_REGION(b->data, size);
	return b;
}

/* A block with room for need bytes. */
static struct block *block_for(struct mt_arena *a, size_t need)
{
	struct block *b = a->head;

	if (b && b->size - b->fill >= need)
		return b;
	if (need > a->next_size && b) {
		b = block_new(need);
		b->next = a->head->next;
		a->head->next = b;
		return b;
	}
	b = block_new(MT_MAX(need, a->next_size));
	b->next = a->head;
	a->head = b;
	a->next_size = MT_MIN(a->next_size * 2, (size_t)BLOCK_MAX - sizeof(struct block));
	return b;
}

/* Not zeroed. NULL beyond the limit. */
static void *raw_alloc(struct mt_arena *a, size_t size)
{
	size_t need, with_gap;
	struct block *b;
	void *p;

	if (size > SIZE_MAX / 2)
		return NULL;
	need = (MT_MAX(size, 1) + ALIGN - 1) & ~(size_t)(ALIGN - 1);
	if (a->limit && (a->used > a->limit || need > a->limit - a->used))
		return NULL;
	with_gap = need + GAP;
	b = block_for(a, with_gap);
	p = b->data + b->fill;
	b->fill += with_gap;
	a->used += need;
	ASAN_UNPOISON_MEMORY_REGION(p, size);
	return p;
}

static void *must(const struct mt_arena *a, void *p, size_t size)
{
	if (!p) {
		fprintf(stderr, "meltemi: arena: %zu bytes beyond the limit (%zu of %zu used)\n",
			size, a->used, a->limit);
		abort();
	}
	return p;
}

void *mt_arena_try_alloc(struct mt_arena *a, size_t size)
{
	void *p = raw_alloc(a, size);

	return p ? memset(p, 0, size) : NULL;
}

void *mt_arena_alloc(struct mt_arena *a, size_t size)
{
	return must(a, mt_arena_try_alloc(a, size), size);
}

void *mt_arena_memdup(struct mt_arena *a, const void *p, size_t n)
{
	void *q = must(a, raw_alloc(a, n), n);

	if (n)
		memcpy(q, p, n);
	return q;
}

char *mt_arena_strdup(struct mt_arena *a, const char *s)
{
	return s ? mt_arena_memdup(a, s, strlen(s) + 1) : NULL;
}

char *mt_arena_strndup(struct mt_arena *a, const char *s, size_t n)
{
	size_t len;
	char *p;

	if (!s)
		return NULL;
	len = strnlen(s, n);
	p = must(a, raw_alloc(a, len + 1), len + 1);
	memcpy(p, s, len);
	p[len] = '\0';
	return p;
}

char *mt_arena_vprintf(struct mt_arena *a, const char *fmt, va_list ap)
{
	va_list again;
	char *p;
	int n;

	va_copy(again, ap);
	n = vsnprintf(NULL, 0, fmt, again);
	va_end(again);
	if (n < 0)
		abort();
	p = must(a, raw_alloc(a, (size_t)n + 1), (size_t)n + 1);
	vsnprintf(p, (size_t)n + 1, fmt, ap);
	return p;
}

char *mt_arena_printf(struct mt_arena *a, const char *fmt, ...)
{
	va_list ap;
	char *p;

	va_start(ap, fmt);
	p = mt_arena_vprintf(a, fmt, ap);
	va_end(ap);
	return p;
}

size_t mt_arena_used(const struct mt_arena *a)
{
	return a->used;
}

void mt_arena_reset(struct mt_arena *a)
{
	struct block *keep = a->head;

	a->used = 0;
	if (!keep)
		return;
	free_blocks(keep->next);
	keep->next = NULL;
	keep->fill = 0;
	ASAN_POISON_MEMORY_REGION(keep->data, keep->size);
}

/* protobuf-c initialises what it allocates. */
static void *pb_alloc(void *ctx, size_t size)
{
	return raw_alloc(ctx, size);
}

static void pb_free(void *ctx, void *p)
{
	(void)ctx, (void)p; /* freed with the arena */
}

ProtobufCAllocator *mt_arena_pb(struct mt_arena *a)
{
	return &a->pb;
}
