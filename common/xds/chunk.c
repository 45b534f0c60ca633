/* Runs of resources: see chunk.h.
 *
 * Why runs: the sets of two proxies of different workloads differ in a few resources of thousands,
 * and so do a set and the next one. What is the same between them is the same chunk: one pointer for
 * 64 resources, skipped when two sets are compared, and encoded once for all whole responses that
 * contain it. A run that only one set has is encoded for the moment; the encoding is kept from the
 * second time on, when it is likely that more will ask. */
#include "common/xds/chunk.h"

#include <string.h>

#include "common/base/mem.h"

struct mt_chunk *mt_chunk_new(struct mt_res *const *res, size_t n)
{
	struct mt_chunk *c = mt_alloc(sizeof(*c) + n * sizeof(struct mt_res *));
	mt_ref_init(&c->ref);
	c->n = (uint32_t)n;
	for (size_t i = 0; i < n; i++) {
		c->res[i] = res[i];
		c->bytes += res[i]->bytes;
		uint64_t name = mt_hash_str(res[i]->name);
		c->names += name;
		c->sum += mt_set_term(name, res[i]->hash);
	}
	return c;
}

struct mt_chunk *mt_chunk_ref(struct mt_chunk *c)
{
	mt_ref_get(&c->ref);
	return c;
}

static void encoded_free(struct mt_encoded *e)
{
	for (size_t i = 0; e && i < e->nslices; i++)
		mt_slice_unref(e->slices[i]);
	mt_free(e);
}

void mt_chunk_unref(struct mt_chunk *c)
{
	if (!c || !mt_ref_put(&c->ref))
		return;
	for (uint32_t i = 0; i < c->n; i++)
		mt_res_unref(c->res[i]);
	for (int m = 0; m < 2; m++)
		encoded_free(atomic_load(&c->encoded[m]));
	mt_free(c);
}

static struct mt_encoded *encode(const struct mt_chunk *c, enum mt_xds_mode mode)
{
	struct mt_body b = { .mode = mode, .join_below = MT_BODY_SHARED };
	for (uint32_t i = 0; i < c->n; i++)
		mt_body_res(&b, c->res[i]);
	mt_body_finish(&b);
	struct mt_encoded *e = mt_alloc(sizeof(*e) + b.slices.n * sizeof(mt_slice));
	e->nslices = b.slices.n;
	e->bytes = b.bytes;
	memcpy(e->slices, b.slices.v, b.slices.n * sizeof(mt_slice));
	mt_vec_clear(&b.slices);
	return e;
}

size_t mt_chunk_encode(struct mt_chunk *c, enum mt_xds_mode mode, struct mt_body *b)
{
	struct mt_encoded *e = atomic_load(&c->encoded[mode]), *own = NULL;
	if (!e) {
		own = e = encode(c, mode);
		struct mt_encoded *none = NULL;
		if (atomic_fetch_add(&c->asked[mode], 1) > 0 &&
			atomic_compare_exchange_strong(&c->encoded[mode], &none, own))
			own = NULL;
	}
	mt_body_slices(b, e->slices, e->nslices);
	size_t bytes = e->bytes;
	encoded_free(own);
	return bytes;
}

bool mt_cursor_pair(
	struct mt_cursor *a, struct mt_cursor *b, struct mt_res **ret_a, struct mt_res **ret_b)
{
	struct mt_res *x = mt_cursor_res(a), *y = mt_cursor_res(b);
	while (x && y && !a->at && !b->at &&
		a->set->chunks[a->chunk].c == b->set->chunks[b->chunk].c) {
		a->chunk++;
		b->chunk++;
		x = mt_cursor_res(a);
		y = mt_cursor_res(b);
	}
	if (!x && !y)
		return false;
	int c = !x ? 1 : !y ? -1 : x == y ? 0 : strcmp(x->name, y->name);
	*ret_a = c <= 0 ? x : NULL;
	*ret_b = c >= 0 ? y : NULL;
	if (c <= 0)
		mt_cursor_next(a);
	if (c >= 0)
		mt_cursor_next(b);
	return true;
}
