/* Protobuf wire format, as much as discovery messages need. The requests and responses are flat, so
 * they are read in place (views into the received bytes) and written around shared slices; only the
 * node is unpacked into a message. Pure; threads: any. */
#pragma once

#include "common/base/buf.h"

struct mt_view {
	const char *p;
	size_t n;
};

/* Reads one message field by field: no recursion, nothing is copied. */
struct mt_flat {
	const uint8_t *p;
	const uint8_t *end;
	bool bad; /* truncated or malformed: mt_flat_next() returned false because of it */
};
struct mt_flat_field {
	uint32_t number;
	uint8_t type;     /* 0 varint, 1 fixed64, 2 bytes, 5 fixed32 */
	uint64_t scalar;  /* types 0, 1, 5 */
	struct mt_view v; /* type 2 */
};

static inline struct mt_flat mt_flat_of(const void *p, size_t n)
{
	return (struct mt_flat){ .p = p, .end = (const uint8_t *)p + n };
}
/* False at the end or when the bytes are malformed (then w->bad). Groups count as malformed. */
bool mt_flat_next(struct mt_flat *w, struct mt_flat_field *ret_f);

/* Valid UTF-8 without NUL: what a name, a version or a nonce must be. */
bool mt_view_text(struct mt_view v);
bool mt_view_eq(struct mt_view v, const char *s);

/* Writers. */
size_t mt_flat_varint_size(uint64_t v);
uint8_t *mt_flat_put_varint(uint8_t *p, uint64_t v);
/* Tag and length of a length-delimited field; mt_flat_head_size() bytes. */
uint8_t *mt_flat_put_head(uint8_t *p, uint32_t number, size_t n);
size_t mt_flat_head_size(uint32_t number, size_t n);
void mt_flat_add_head(struct mt_buf *b, uint32_t number, size_t n);
void mt_flat_add(struct mt_buf *b, uint32_t number, const void *p, size_t n);
void mt_flat_adds(struct mt_buf *b, uint32_t number, const char *s); /* "" and NULL are left out */
void mt_flat_add_varint(struct mt_buf *b, uint32_t number, uint64_t v);
