/* A resource: name, content hash and the packed google.protobuf.Any in reference-counted slices.
 *
 * The hash covers the bytes of the whole Any, fed piece by piece, so that a message packed at once
 * and the same bytes given as a rope have the same version. The struct, its name, its provenance and
 * its slice table are one block. */
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "common/base/buf.h"
#include "common/base/mem.h"
#include "common/schema/pb.h"
#include "common/xds/set.h"
#include "common/xds/wire.h"

enum {
	ANY_TYPE_URL = 1,
	ANY_VALUE = 2,
	JOIN_SIZE = 16 * 1024, /* pieces of a rope are joined until they are this large */
};
#define TYPE_PREFIX "type.googleapis.com/"

static int id_cmp(const void *a, const void *b)
{
	const uint32_t *x = a, *y = b;
	return (*x > *y) - (*x < *y);
}

/* Sorted, each once: those of a rope come piece by piece. Returns how many. */
static size_t ids_sort(uint32_t *ids, size_t n)
{
	size_t k = 0;
	bool rising = true;
	for (size_t i = 1; i < n; i++)
		rising = rising && ids[i - 1] < ids[i];
	if (rising)
		return n;
	qsort(ids, n, sizeof(*ids), id_cmp);
	for (size_t i = 0; i < n; i++)
		if (!k || ids[k - 1] != ids[i])
			ids[k++] = ids[i];
	return k;
}

static struct mt_res *res_alloc(
	const char *name, size_t nslices, const uint32_t *prov, size_t nprov)
{
	/* Slices first (the strictest alignment), then provenance, then nothing: the name is the
	 * flexible member at the front, padded. */
	size_t name_size = strlen(name) + 1;
	size_t slices_at = (sizeof(struct mt_res) + name_size + 15) & ~(size_t)15;
	size_t prov_at = slices_at + nslices * sizeof(mt_slice);
	struct mt_res *r = mt_alloc(prov_at + nprov * sizeof(*prov));
	mt_ref_init(&r->ref);
	memcpy(r->name, name, name_size);
	r->slices = (mt_slice *)((char *)r + slices_at);
	r->nslices = (uint32_t)nslices;
	r->prov = (uint32_t *)((char *)r + prov_at);
	r->nprov = (uint32_t)nprov;
	if (nprov)
		memcpy(r->prov, prov, nprov * sizeof(*prov));
	r->nprov = (uint32_t)ids_sort(r->prov, nprov);
	return r;
}

static void res_seal(struct mt_res *r)
{
	XXH3_state_t *st = XXH3_createState();
	XXH3_64bits_reset(st);
	for (uint32_t i = 0; i < r->nslices; i++) {
		XXH3_64bits_update(st, mt_slice_p(r->slices[i]), mt_slice_n(r->slices[i]));
		r->bytes += mt_slice_n(r->slices[i]);
	}
	r->hash = XXH3_64bits_digest(st);
	XXH3_freeState(st);
}

struct mt_res *mt_res_new(
	const char *name, const ProtobufCMessage *msg, const uint32_t *prov, size_t nprov)
{
	const char *full = msg->descriptor->name;
	size_t full_n = strlen(full), url_n = strlen(TYPE_PREFIX) + full_n;
	size_t value_n = protobuf_c_message_get_packed_size(msg);
	size_t n = mt_flat_head_size(ANY_TYPE_URL, url_n) + url_n;
	if (value_n)
		n += mt_flat_head_size(ANY_VALUE, value_n) + value_n;
	uint8_t *block = mt_alloc(n);
	uint8_t *p = mt_flat_put_head(block, ANY_TYPE_URL, url_n);
	p = (uint8_t *)memcpy(p, TYPE_PREFIX, strlen(TYPE_PREFIX)) + strlen(TYPE_PREFIX);
	p = (uint8_t *)memcpy(p, full, full_n) + full_n;
	if (value_n)
		protobuf_c_message_pack(msg, mt_flat_put_head(p, ANY_VALUE, value_n));
	struct mt_res *r = res_alloc(name, 1, prov, nprov);
	r->slices[0] = mt_slice_take(block, n);
	res_seal(r);
	return r;
}

/* Joins the pieces into out (room for n + 1 slices); releases them. Returns how many came out. */
static size_t rope_join(struct mt_buf *pending, mt_slice *pieces, size_t n, mt_slice *out)
{
	size_t k = 0;
	for (size_t i = 0; i < n; i++) {
		bool large = mt_slice_n(pieces[i]) >= JOIN_SIZE;
		if (pending->n && (large || pending->n >= JOIN_SIZE)) {
			out[k++] = mt_slice_copy(pending->p, pending->n);
			pending->n = 0;
		}
		if (large) {
			out[k++] = pieces[i];
		} else {
			mt_buf_add(pending, mt_slice_p(pieces[i]), mt_slice_n(pieces[i]));
			mt_slice_unref(pieces[i]);
		}
	}
	if (pending->n)
		out[k++] = mt_slice_copy(pending->p, pending->n);
	mt_buf_clear(pending);
	return k;
}

struct mt_res *mt_res_new_rope(const char *name, const char *type_url, mt_slice *pieces, size_t n,
	const uint32_t *prov, size_t nprov)
{
	size_t value_n = 0;
	for (size_t i = 0; i < n; i++)
		value_n += mt_slice_n(pieces[i]);
	struct mt_buf head = { 0 };
	mt_flat_adds(&head, ANY_TYPE_URL, type_url);
	if (value_n)
		mt_flat_add_head(&head, ANY_VALUE, value_n);
	/* A slice comes out for each large piece and for the small ones between two of them. */
	mt_slice *out = mt_reallocarray(NULL, 2 * n + 2, sizeof(*out));
	size_t k = rope_join(&head, pieces, n, out);
	struct mt_res *r = res_alloc(name, k, prov, nprov);
	memcpy(r->slices, out, k * sizeof(*out));
	mt_free(out);
	res_seal(r);
	return r;
}

struct mt_res *mt_res_ref(struct mt_res *r)
{
	mt_ref_get(&r->ref);
	return r;
}

void mt_res_unref(struct mt_res *r)
{
	if (!r || !mt_ref_put(&r->ref))
		return;
	for (uint32_t i = 0; i < r->nslices; i++)
		mt_slice_unref(r->slices[i]);
	mt_free(r);
}

ProtobufCMessage *mt_res_unpack(const struct mt_res *r, struct mt_arena *a)
{
	uint8_t *bytes = mt_arena_alloc(a, r->bytes ? r->bytes : 1);
	size_t at = 0;
	for (uint32_t i = 0; i < r->nslices; i++) {
		memcpy(bytes + at, mt_slice_p(r->slices[i]), mt_slice_n(r->slices[i]));
		at += mt_slice_n(r->slices[i]);
	}
	struct mt_flat w = mt_flat_of(bytes, at);
	struct mt_flat_field f;
	struct mt_view url = { 0 }, value = { "", 0 };
	while (mt_flat_next(&w, &f)) {
		if (f.number == ANY_TYPE_URL)
			url = f.v;
		else if (f.number == ANY_VALUE)
			value = f.v;
	}
	const ProtobufCMessageDescriptor *d = mt_pb_type(mt_arena_strndup(a, url.p, url.n));
	return d ? mt_pb_unpack(d, a, value.p, value.n, NULL) : NULL;
}
