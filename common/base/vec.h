/* Typed vectors: `MT_VEC(struct foo *) foos = {0}; mt_vec_push(&foos, f);`
 * Owner: whoever declares it; mt_vec_clear() frees the storage, not what elements point to. */
#pragma once

#include "common/base/arena.h"
#include "common/base/mem.h"

#define MT_VEC(type)                                                                               \
	struct {                                                                                   \
		type *v;                                                                           \
		size_t n;                                                                          \
		size_t cap;                                                                        \
	}

#define mt_vec_push(vec, item)                                                                     \
	do {                                                                                       \
		if ((vec)->n == (vec)->cap) {                                                      \
			(vec)->cap = (vec)->cap ? (vec)->cap * 2 : 8;                              \
			(vec)->v = mt_reallocarray((vec)->v, (vec)->cap, sizeof(*(vec)->v));       \
		}                                                                                  \
		(vec)->v[(vec)->n++] = (item);                                                     \
	} while (0)

/* The same, with storage in an arena (old storage stays there until the arena goes). */
#define mt_vec_apush(arena, vec, item)                                                             \
	do {                                                                                       \
		if ((vec)->n == (vec)->cap) {                                                      \
			size_t mt_cap_ = (vec)->cap ? (vec)->cap * 2 : 8;                          \
			void *mt_v_ = mt_arena_alloc((arena), mt_cap_ * sizeof(*(vec)->v));        \
			if ((vec)->n)                                                              \
				memcpy(mt_v_, (vec)->v, (vec)->n * sizeof(*(vec)->v));             \
			(vec)->v = mt_v_;                                                          \
			(vec)->cap = mt_cap_;                                                      \
		}                                                                                  \
		(vec)->v[(vec)->n++] = (item);                                                     \
	} while (0)

#define mt_vec_clear(vec)                                                                          \
	do {                                                                                       \
		mt_free((vec)->v);                                                                 \
		(vec)->v = NULL;                                                                   \
		(vec)->n = (vec)->cap = 0;                                                         \
	} while (0)

/* The first condition: NULL + 0, of a vector that never had an element, is undefined. */
#define mt_vec_each(vec, it)                                                                       \
	for (__typeof__((vec)->v) it = (vec)->v; (vec)->n && it < (vec)->v + (vec)->n; it++)
