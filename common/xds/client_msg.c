/* Messages of a delta discovery client: see client_msg.h. */
#include "common/xds/client_msg.h"

#include <string.h>

#include "common/base/mem.h"

enum { /* DeltaDiscoveryRequest */
	REQ_NODE = 1,
	REQ_TYPE_URL = 2,
	REQ_SUBSCRIBE = 3,
	REQ_HELD = 5,
	REQ_NONCE = 6,
	REQ_ERROR = 7,
};
enum { /* DeltaDiscoveryResponse, Resource, Any */
	RSP_RESOURCES = 2,
	RSP_TYPE_URL = 4,
	RSP_NONCE = 5,
	RSP_REMOVED = 6,
	RES_VERSION = 1,
	RES_ANY = 2,
	RES_NAME = 3,
	ANY_VALUE = 2,
};
enum { STATUS_INVALID_ARGUMENT = 3, WHY_MAX = 2048 };

void mt_xds_msg_subscribe(struct mt_buf *out, const Core__Node *node,
	const struct mt_xds_client_type *type, const struct mt_map *held)
{
	if (node) {
		size_t n = core__node__get_packed_size(node);
		uint8_t *packed = mt_alloc(n + 1);
		core__node__pack(node, packed);
		mt_flat_add(out, REQ_NODE, packed, n);
		mt_free(packed);
	}
	mt_flat_adds(out, REQ_TYPE_URL, type->type_url);
	for (size_t i = 0; i < type->nnames; i++)
		mt_flat_adds(out, REQ_SUBSCRIBE, type->names[i]);
	struct mt_map_it it = { 0 };
	while (mt_map_next(held, &it)) {
		struct mt_buf entry = { 0 };
		mt_flat_adds(&entry, 1, it.key);
		mt_flat_adds(&entry, 2, it.value);
		mt_flat_add(out, REQ_HELD, mt_buf_str(&entry), entry.n);
		mt_buf_clear(&entry);
	}
}

void mt_xds_msg_answer(
	struct mt_buf *out, const char *type_url, struct mt_view nonce, const char *why)
{
	mt_flat_adds(out, REQ_TYPE_URL, type_url);
	mt_flat_add(out, REQ_NONCE, nonce.p, nonce.n);
	if (!why)
		return;
	struct mt_buf status = { 0 };
	mt_flat_add_varint(&status, 1, STATUS_INVALID_ARGUMENT);
	mt_flat_add(&status, 2, why, strnlen(why, WHY_MAX));
	mt_flat_add(out, REQ_ERROR, status.p, status.n);
	mt_buf_clear(&status);
}

static int bad(struct mt_err *err, const char *what)
{
	return mt_fail(err, MT_INVALID, NULL, "discovery response: %s", what);
}

static int read_resource(
	struct mt_view v, struct mt_arena *a, struct mt_xds_item *ret, struct mt_err *err)
{
	struct mt_flat w = mt_flat_of(v.p, v.n);
	struct mt_flat_field f;
	struct mt_view name = { 0 }, version = { "", 0 }, any = { "", 0 };
	while (mt_flat_next(&w, &f)) {
		if (f.type != 2)
			continue;
		switch (f.number) {
		case RES_VERSION: version = f.v; break;
		case RES_ANY: any = f.v; break;
		case RES_NAME: name = f.v; break;
		default: break;
		}
	}
	if (w.bad || !name.n || !mt_view_text(name) || !mt_view_text(version))
		return bad(err, "a resource is malformed");
	ret->name = mt_arena_strndup(a, name.p, name.n);
	ret->version = mt_arena_strndup(a, version.p, version.n);
	ret->value = (const uint8_t *)any.p;
	ret->n = 0;
	w = mt_flat_of(any.p, any.n);
	while (mt_flat_next(&w, &f)) {
		if (f.number == ANY_VALUE && f.type == 2) {
			ret->value = (const uint8_t *)f.v.p;
			ret->n = f.v.n;
		}
	}
	return w.bad ? bad(err, "an Any is malformed") : 0;
}

static int count(struct mt_flat w, struct mt_xds_response *r, struct mt_err *err)
{
	struct mt_flat_field f;
	while (mt_flat_next(&w, &f)) {
		bool bytes = f.number == RSP_RESOURCES || f.number == RSP_TYPE_URL ||
			f.number == RSP_NONCE || f.number == RSP_REMOVED;
		if (bytes && f.type != 2)
			return bad(err, "a field has the wrong wire type");
		r->n += f.number == RSP_RESOURCES;
		r->nremoved += f.number == RSP_REMOVED;
	}
	return w.bad ? bad(err, "not a protobuf message") : 0;
}

int mt_xds_msg_read(const void *p, size_t n, struct mt_arena *a, struct mt_xds_response *ret,
	struct mt_err *err)
{
	struct mt_xds_response r = { 0 };
	int rc = count(mt_flat_of(p, n), &r, err);
	if (rc < 0)
		return rc;
	r.items = MT_ANEWN(a, struct mt_xds_item, r.n + 1);
	r.removed = MT_ANEWN(a, const char *, r.nremoved + 1);
	r.n = r.nremoved = 0;
	struct mt_flat w = mt_flat_of(p, n);
	struct mt_flat_field f;
	while (rc == 0 && mt_flat_next(&w, &f)) {
		switch (f.number) {
		case RSP_RESOURCES: rc = read_resource(f.v, a, &r.items[r.n++], err); break;
		case RSP_TYPE_URL: r.type_url = f.v; break;
		case RSP_NONCE: r.nonce = f.v; break;
		case RSP_REMOVED:
			if (!mt_view_text(f.v))
				rc = bad(err, "a name is not UTF-8");
			r.removed[r.nremoved++] = mt_arena_strndup(a, f.v.p, f.v.n);
			break;
		default: break;
		}
	}
	if (rc == 0)
		*ret = r;
	return rc;
}
