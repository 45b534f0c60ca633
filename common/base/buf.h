/* Growing byte buffer, always NUL terminated after the last byte (the NUL is not counted).
 * Owner: whoever declares it; mt_buf_clear() frees. Zero-initialise with {0}. Threads: one. */
#pragma once

#include <stdarg.h>

#include "common/base/macros.h"

struct mt_buf {
	char *p; /* NULL until something was added */
	size_t n;
	size_t cap;
};

void mt_buf_add(struct mt_buf *b, const void *p, size_t n);
void mt_buf_adds(struct mt_buf *b, const char *s);
void mt_buf_addc(struct mt_buf *b, char c);
void mt_buf_printf(struct mt_buf *b, const char *fmt, ...) MT_PRINTF(2, 3);
void mt_buf_vprintf(struct mt_buf *b, const char *fmt, va_list ap);
void mt_buf_reserve(struct mt_buf *b, size_t more);
void mt_buf_clear(struct mt_buf *b);            /* frees and zeroes; NULL allowed */
const char *mt_buf_str(const struct mt_buf *b); /* never NULL */
/* Takes the bytes out as a heap string (mt_free) and leaves the buffer empty. */
char *mt_buf_take(struct mt_buf *b, size_t *ret_n);
