/* Small macros that the whole tree uses: cleanup by attribute, ownership transfer, sizes. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* `MT_AUTO(mt_buf_freep) struct mt_buf *b` calls mt_buf_freep(&b) when b leaves its scope. */
#define MT_AUTO(freep) __attribute__((cleanup(freep)))

/* Yields the pointer and leaves NULL behind: hands ownership over to `ret_x`. */
#define MT_TAKE(p)                                                                                 \
	({                                                                                         \
		__typeof__(p) mt_taken_ = (p);                                                     \
		(p) = NULL;                                                                        \
		mt_taken_;                                                                         \
	})

/* Defines `name(T **p)`, which frees *p with `fn` (accepting NULL) and clears it. */
#define MT_DEFINE_FREEP(type, name, fn)                                                            \
	static inline void name(type *p)                                                           \
	{                                                                                          \
		fn(*p);                                                                            \
		*p = NULL;                                                                         \
	}

#define MT_ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define MT_PRINTF(f, a) __attribute__((format(printf, f, a)))
#define MT_UNUSED __attribute__((unused))
#define MT_CONTAINER(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))
#define MT_MIN(a, b) ((a) < (b) ? (a) : (b))
#define MT_MAX(a, b) ((a) > (b) ? (a) : (b))
