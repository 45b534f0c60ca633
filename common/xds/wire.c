/* Protobuf wire format: see wire.h. */
#include "common/xds/wire.h"

#include <string.h>

#include "common/base/strs.h"

enum { VARINT_MAX = 10 };

static bool get_varint(struct mt_flat *w, uint64_t *ret)
{
	uint64_t v = 0;
	for (int i = 0; i < VARINT_MAX && w->p < w->end; i++) {
		uint8_t byte = *w->p++;
		v |= (uint64_t)(byte & 0x7f) << (7 * i);
		if (!(byte & 0x80)) {
			*ret = v;
			return true;
		}
	}
	return false;
}

static bool get_fixed(struct mt_flat *w, size_t n, uint64_t *ret)
{
	if ((size_t)(w->end - w->p) < n)
		return false;
	uint64_t v = 0;
	for (size_t i = 0; i < n; i++)
		v |= (uint64_t)w->p[i] << (8 * i);
	w->p += n;
	*ret = v;
	return true;
}

static bool get_bytes(struct mt_flat *w, struct mt_view *ret)
{
	uint64_t n;
	if (!get_varint(w, &n) || n > (uint64_t)(w->end - w->p))
		return false;
	*ret = (struct mt_view){ (const char *)w->p, n };
	w->p += n;
	return true;
}

bool mt_flat_next(struct mt_flat *w, struct mt_flat_field *ret_f)
{
	if (w->bad || w->p == w->end)
		return false;
	uint64_t tag;
	struct mt_flat_field f = { 0 };
	bool ok = get_varint(w, &tag) && tag >> 3 > 0 && tag >> 3 < (1u << 29);
	if (ok) {
		f.number = (uint32_t)(tag >> 3);
		f.type = tag & 7;
		switch (f.type) {
		case 0: ok = get_varint(w, &f.scalar); break;
		case 1: ok = get_fixed(w, 8, &f.scalar); break;
		case 2: ok = get_bytes(w, &f.v); break;
		case 5: ok = get_fixed(w, 4, &f.scalar); break;
		default: ok = false;
		}
	}
	w->bad = !ok;
	if (ok)
		*ret_f = f;
	return ok;
}

bool mt_view_text(struct mt_view v)
{
	return mt_utf8_valid(v.p, v.n);
}

bool mt_view_eq(struct mt_view v, const char *s)
{
	return strlen(s) == v.n && memcmp(v.p, s, v.n) == 0;
}

size_t mt_flat_varint_size(uint64_t v)
{
	size_t n = 1;
	while (v >>= 7)
		n++;
	return n;
}

uint8_t *mt_flat_put_varint(uint8_t *p, uint64_t v)
{
	for (; v >= 0x80; v >>= 7)
		*p++ = (uint8_t)(v | 0x80);
	*p++ = (uint8_t)v;
	return p;
}

uint8_t *mt_flat_put_head(uint8_t *p, uint32_t number, size_t n)
{
	return mt_flat_put_varint(mt_flat_put_varint(p, (uint64_t)number << 3 | 2), n);
}

size_t mt_flat_head_size(uint32_t number, size_t n)
{
	return mt_flat_varint_size((uint64_t)number << 3 | 2) + mt_flat_varint_size(n);
}

void mt_flat_add_head(struct mt_buf *b, uint32_t number, size_t n)
{
	uint8_t head[2 * VARINT_MAX];
	mt_buf_add(b, head, (size_t)(mt_flat_put_head(head, number, n) - head));
}

void mt_flat_add(struct mt_buf *b, uint32_t number, const void *p, size_t n)
{
	mt_flat_add_head(b, number, n);
	mt_buf_add(b, p, n);
}

void mt_flat_adds(struct mt_buf *b, uint32_t number, const char *s)
{
	if (!mt_str_empty(s))
		mt_flat_add(b, number, s, strlen(s));
}

void mt_flat_add_varint(struct mt_buf *b, uint32_t number, uint64_t v)
{
	uint8_t bytes[2 * VARINT_MAX];
	uint8_t *end = mt_flat_put_varint(mt_flat_put_varint(bytes, (uint64_t)number << 3), v);
	mt_buf_add(b, bytes, (size_t)(end - bytes));
}
