/* Discovery requests: see request.h. Two passes over the bytes: the first counts, so that the arrays
 * are allocated once; the second fills in. Fields that are unknown here are skipped, as protobuf
 * demands; a known field of another wire type is malformed. */
#include "common/xds/request.h"

#include <string.h>

#include "common/base/mem.h"
#include "common/schema/pb.h"

enum { /* what a field is, in both variants */
	F_OTHER,
	F_NODE,
	F_TYPE_URL,
	F_VERSION,
	F_NONCE,
	F_ERROR,
	F_NAME,
	F_GONE,
	F_HELD,
};
static const uint8_t sotw_fields[] = { F_OTHER, F_VERSION, F_NODE, F_NAME, F_TYPE_URL, F_NONCE,
	F_ERROR };
static const uint8_t delta_fields[] = { F_OTHER, F_NODE, F_TYPE_URL, F_NAME, F_GONE, F_HELD,
	F_NONCE, F_ERROR };

static int field_of(const struct mt_flat_field *f, bool delta)
{
	const uint8_t *t = delta ? delta_fields : sotw_fields;
	size_t n = delta ? MT_ARRAY_SIZE(delta_fields) : MT_ARRAY_SIZE(sotw_fields);
	return f->number < n ? t[f->number] : F_OTHER;
}

static int bad(struct mt_err *err, const char *what)
{
	return mt_fail(err, MT_INVALID, NULL, "discovery request: %s", what);
}

static int read_status(struct mt_view v, struct mt_xds_request *r, struct mt_err *err)
{
	struct mt_flat w = mt_flat_of(v.p, v.n);
	struct mt_flat_field f;
	r->rejected = true;
	while (mt_flat_next(&w, &f)) {
		if (f.number == 2 && f.type == 2)
			r->error = f.v;
	}
	return w.bad ? bad(err, "error_detail is malformed") : 0;
}

static int read_held(struct mt_view v, struct mt_xds_held *ret, struct mt_err *err)
{
	struct mt_flat w = mt_flat_of(v.p, v.n);
	struct mt_flat_field f;
	*ret = (struct mt_xds_held){ .name = { "", 0 }, .version = { "", 0 } };
	while (mt_flat_next(&w, &f)) {
		if (f.type != 2)
			continue;
		if (f.number == 1)
			ret->name = f.v;
		else if (f.number == 2)
			ret->version = f.v;
	}
	if (w.bad || !mt_view_text(ret->name) || !mt_view_text(ret->version))
		return bad(err, "initial_resource_versions is malformed");
	return 0;
}

static int count(
	struct mt_flat w, bool delta, size_t max, struct mt_xds_request *r, struct mt_err *err)
{
	struct mt_flat_field f;
	while (mt_flat_next(&w, &f)) {
		int what = field_of(&f, delta);
		if (what != F_OTHER && f.type != 2)
			return bad(err, "a field has the wrong wire type");
		r->nnames += what == F_NAME;
		r->ngone += what == F_GONE;
		r->nheld += what == F_HELD;
	}
	if (w.bad)
		return bad(err, "not a protobuf message");
	if (r->nnames > max || r->ngone > max || r->nheld > max)
		return mt_fail(err, MT_LIMIT, NULL, "discovery request: more than %zu names", max);
	return 0;
}

static int fill(struct mt_flat w, bool delta, struct mt_xds_request *r, struct mt_err *err)
{
	struct mt_flat_field f;
	size_t names = 0, gone = 0, held = 0;
	while (mt_flat_next(&w, &f)) {
		int what = field_of(&f, delta), rc = 0;
		bool text = what != F_OTHER && what != F_NODE && what != F_ERROR && what != F_HELD;
		if (text && !mt_view_text(f.v))
			return bad(err, "a string is not UTF-8");
		switch (what) {
		case F_NODE: r->node = f.v; break;
		case F_TYPE_URL: r->type_url = f.v; break;
		case F_VERSION: r->version = f.v; break;
		case F_NONCE: r->nonce = f.v; break;
		case F_ERROR: rc = read_status(f.v, r, err); break;
		case F_NAME: r->names[names++] = f.v; break;
		case F_GONE: r->gone[gone++] = f.v; break;
		case F_HELD: rc = read_held(f.v, &r->held[held++], err); break;
		default: break;
		}
		if (rc < 0)
			return rc;
	}
	return r->type_url.n ? 0 : bad(err, "no type_url");
}

int mt_xds_request_parse(const void *p, size_t n, bool delta, size_t max_names, struct mt_arena *a,
	struct mt_xds_request *ret, struct mt_err *err)
{
	struct mt_xds_request r = { 0 };
	struct mt_flat w = mt_flat_of(p, n);
	int rc = count(w, delta, max_names, &r, err);
	if (rc < 0)
		return rc;
	r.names = MT_ANEWN(a, struct mt_view, r.nnames + 1);
	r.gone = MT_ANEWN(a, struct mt_view, r.ngone + 1);
	r.held = MT_ANEWN(a, struct mt_xds_held, r.nheld + 1);
	rc = fill(w, delta, &r, err);
	if (rc == 0)
		*ret = r;
	return rc;
}

/* ---- node ---- */

enum { NODE_EXTENSIONS = 9 };

/* The node's bytes without its extensions. */
static int strip(struct mt_view v, struct mt_buf *out, struct mt_err *err)
{
	struct mt_flat w = mt_flat_of(v.p, v.n);
	struct mt_flat_field f;
	const uint8_t *from = w.p;
	while (mt_flat_next(&w, &f)) {
		if (f.number != NODE_EXTENSIONS)
			mt_buf_add(out, from, (size_t)(w.p - from));
		from = w.p;
	}
	return w.bad ? bad(err, "node is malformed") : 0;
}

/* A protobuf-c allocator that hands out one block from its start. */
struct block {
	ProtobufCAllocator pb;
	char *p;
	size_t used;
	size_t size;
};

static void *block_alloc(void *data, size_t n)
{
	struct block *b = data;
	n = (n + 15) & ~(size_t)15;
	if (n > b->size - b->used)
		return NULL;
	void *p = b->p + b->used;
	b->used += n;
	return p;
}

static void block_free(void *data MT_UNUSED, void *p MT_UNUSED)
{
}

int mt_xds_node_unpack(struct mt_view bytes, size_t max, Core__Node **ret, struct mt_err *err)
{
	struct mt_buf kept = { 0 };
	int rc = strip(bytes, &kept, err);
	if (rc == 0)
		rc = mt_pb_check(&core__node__descriptor, mt_buf_str(&kept), kept.n, err);
	/* The memory that unpacking takes is not known beforehand: grow until it fits. */
	for (size_t size = kept.n * 3 + 512; rc == 0; size *= 2) {
		struct block b = { .size = size, .p = mt_alloc(size) };
		b.pb = (ProtobufCAllocator){ block_alloc, block_free, &b };
		ProtobufCMessage *m = protobuf_c_message_unpack(
			&core__node__descriptor, &b.pb, kept.n, (const uint8_t *)mt_buf_str(&kept));
		if (m) {
			/* The message is the first thing in the block, so the block is freed by it. */
			*ret = (Core__Node *)m;
			break;
		}
		mt_free(b.p);
		if (size > max)
			rc = mt_fail(err, MT_LIMIT, NULL, "discovery request: node is too large");
	}
	mt_buf_clear(&kept);
	return rc;
}

Core__Node *mt_xds_node_shrink(Core__Node *node)
{
	size_t n = strlen(node->id) + 1;
	Core__Node *small = mt_alloc(sizeof(*small) + n);
	core__node__init(small);
	small->id = memcpy(small + 1, node->id, n);
	mt_free(node);
	return small;
}
