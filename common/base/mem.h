/* Heap memory that cannot fail: a process without memory aborts with a message (it is restarted and
 * serves its last good state). What a peer can make grow is limited by its owner, not here.
 * Threads: any. */
#pragma once

#include "common/base/macros.h"

void *mt_alloc(size_t size); /* zeroed; size 0 gives a unique pointer */
void *mt_realloc(void *p, size_t size);
void *mt_reallocarray(void *p, size_t n, size_t size); /* aborts on overflow of n * size */
char *mt_strdup(const char *s);                        /* NULL gives NULL */
char *mt_strndup(const char *s, size_t n);
void *mt_memdup(const void *p, size_t n);
char *mt_asprintf(const char *fmt, ...) MT_PRINTF(1, 2);
void mt_free(void *p);
static inline void mt_strfreep(char **p)
{
	mt_free(*p);
	*p = NULL;
}
#define MT_NEW(type) ((type *)mt_alloc(sizeof(type)))
