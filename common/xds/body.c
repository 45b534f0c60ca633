/* Bodies of discovery responses: see body.h.
 *
 * DiscoveryResponse.resources is a repeated Any (field 2), DeltaDiscoveryResponse.resources a
 * repeated Resource (field 2 as well) with version 1, resource 2 and name 3; removed names are
 * field 6. The fields of a message may come in any order, so the head ends where the Any begins. */
#include "common/xds/body.h"

#include <string.h>

#include "common/base/buf.h"
#include "common/base/hash.h"
#include "common/xds/wire.h"

enum {
	RESPONSE_RESOURCES = 2,
	DELTA_REMOVED = 6,
	RESOURCE_VERSION = 1,
	RESOURCE_ANY = 2,
	RESOURCE_NAME = 3,
	FLUSH_SIZE = 64 * 1024, /* core keeps room for as many slices as its largest message had */
};

static void flush(struct mt_body *b)
{
	if (!b->pending.n)
		return;
	mt_vec_push(&b->slices, mt_slice_copy(b->pending.p, b->pending.n));
	b->pending.n = 0;
}

void mt_body_bytes(struct mt_body *b, const void *p, size_t n)
{
	mt_buf_add(&b->pending, p, n);
	b->bytes += n;
}

static void add_slice(struct mt_body *b, mt_slice s)
{
	size_t n = mt_slice_n(s);
	if (n < b->join_below) {
		mt_body_bytes(b, mt_slice_p(s), n);
		if (b->pending.n >= FLUSH_SIZE)
			flush(b);
		return;
	}
	flush(b);
	mt_vec_push(&b->slices, mt_slice_ref(s));
	b->bytes += n;
}

void mt_body_slices(struct mt_body *b, const mt_slice *s, size_t n)
{
	flush(b);
	for (size_t i = 0; i < n; i++) {
		mt_vec_push(&b->slices, mt_slice_ref(s[i]));
		b->bytes += mt_slice_n(s[i]);
	}
}

void mt_body_res(struct mt_body *b, const struct mt_res *r)
{
	size_t before = b->pending.n;
	if (b->mode == MT_XDS_SOTW) {
		mt_flat_add_head(&b->pending, RESPONSE_RESOURCES, r->bytes);
	} else {
		char version[17];
		mt_hash_hex(r->hash, version);
		size_t name_n = strlen(r->name);
		size_t n = mt_flat_head_size(RESOURCE_VERSION, 16) + 16 +
			mt_flat_head_size(RESOURCE_NAME, name_n) + name_n +
			mt_flat_head_size(RESOURCE_ANY, r->bytes) + r->bytes;
		mt_flat_add_head(&b->pending, RESPONSE_RESOURCES, n);
		mt_flat_add(&b->pending, RESOURCE_VERSION, version, 16);
		mt_flat_add(&b->pending, RESOURCE_NAME, r->name, name_n);
		mt_flat_add_head(&b->pending, RESOURCE_ANY, r->bytes);
	}
	b->bytes += b->pending.n - before;
	for (uint32_t i = 0; i < r->nslices; i++)
		add_slice(b, r->slices[i]);
}

void mt_body_removed(struct mt_body *b, const char *name)
{
	if (b->mode != MT_XDS_DELTA)
		return;
	size_t before = b->pending.n;
	mt_flat_add(&b->pending, DELTA_REMOVED, name, strlen(name));
	b->bytes += b->pending.n - before;
}

void mt_body_finish(struct mt_body *b)
{
	flush(b);
	mt_buf_clear(&b->pending);
}
