#include "common/base/buf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"

void mt_buf_reserve(struct mt_buf *b, size_t more)
{
	size_t need, cap;

	if (__builtin_add_overflow(b->n, more, &need) || need >= SIZE_MAX / 2)
		abort(); /* a length computed wrongly: a bug of ours */
	need++;          /* the NUL */
	if (need <= b->cap)
		return;
	cap = MT_MAX(b->cap * 2, (size_t)64);
	b->cap = MT_MAX(cap, need);
	b->p = mt_realloc(b->p, b->cap);
	b->p[b->n] = '\0';
}

void mt_buf_add(struct mt_buf *b, const void *p, size_t n)
{
	mt_buf_reserve(b, n);
	if (n)
		memcpy(b->p + b->n, p, n);
	b->n += n;
	b->p[b->n] = '\0';
}

void mt_buf_adds(struct mt_buf *b, const char *s)
{
	mt_buf_add(b, s, strlen(s));
}

void mt_buf_addc(struct mt_buf *b, char c)
{
	mt_buf_add(b, &c, 1);
}

void mt_buf_vprintf(struct mt_buf *b, const char *fmt, va_list ap)
{
	va_list again;
	int n;

	mt_buf_reserve(b, 64);
	va_copy(again, ap);
	n = vsnprintf(b->p + b->n, b->cap - b->n, fmt, again);
	va_end(again);
	if (n < 0)
		abort(); /* a wrong format: a bug of ours */
	if ((size_t)n >= b->cap - b->n) {
		mt_buf_reserve(b, (size_t)n);
		vsnprintf(b->p + b->n, b->cap - b->n, fmt, ap);
	}
	b->n += (size_t)n;
}

void mt_buf_printf(struct mt_buf *b, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	mt_buf_vprintf(b, fmt, ap);
	va_end(ap);
}

void mt_buf_clear(struct mt_buf *b)
{
	if (!b)
		return;
	mt_free(b->p);
	*b = (struct mt_buf){ 0 };
}

const char *mt_buf_str(const struct mt_buf *b)
{
	return b->p ? b->p : "";
}

char *mt_buf_take(struct mt_buf *b, size_t *ret_n)
{
	char *p;

	mt_buf_reserve(b, 0);
	p = b->p;
	if (ret_n)
		*ret_n = b->n;
	*b = (struct mt_buf){ 0 };
	return p;
}
