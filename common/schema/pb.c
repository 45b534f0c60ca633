#include "common/schema/pb.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/hash.h"
#include "common/base/strs.h"
#include "common/schema/node.h"
#include "common/schema/pb_decode.h"
#include "common/schema/pb_merge.h"
#include "common/schema/pb_types.h"

enum { JSON_DEPTH_MAX = 64 };

ProtobufCMessage *mt_pb_unpack(const ProtobufCMessageDescriptor *d, struct mt_arena *a,
	const void *p, size_t n, struct mt_err *err)
{
	if (mt_pb_check(d, p, n, err) < 0)
		return NULL;
	ProtobufCMessage *m = protobuf_c_message_unpack(d, mt_arena_pb(a), n, p);
	if (!m)
		mt_fail(err, MT_INVALID, NULL,
			"%s: not unpacked: malformed, or beyond the memory limit", d->name);
	return m;
}

void mt_pb_pack(const ProtobufCMessage *m, struct mt_buf *out)
{
	size_t n = protobuf_c_message_get_packed_size(m);

	mt_buf_reserve(out, n + 1);
	protobuf_c_message_pack(m, (uint8_t *)out->p + out->n);
	out->n += n;
	out->p[out->n] = 0;
}

uint64_t mt_pb_hash(const ProtobufCMessage *m)
{
	struct mt_buf b = { 0 };

	mt_pb_pack(m, &b);
	uint64_t h = mt_hash(b.p, b.n);
	mt_buf_clear(&b);
	return h;
}

ProtobufCMessage *mt_pb_new(const ProtobufCMessageDescriptor *d, struct mt_arena *a)
{
	ProtobufCMessage *m = mt_arena_alloc(a, d->sizeof_message);

	d->message_init(m);
	return m;
}

ProtobufCMessage *mt_pb_dup(const ProtobufCMessage *m, struct mt_arena *a)
{
	struct mt_buf b = { 0 };

	mt_pb_pack(m, &b);
	ProtobufCMessage *copy = protobuf_c_message_unpack(
		m->descriptor, mt_arena_pb(a), b.n, (const uint8_t *)mt_buf_str(&b));
	mt_buf_clear(&b);
	return copy;
}

static ProtobufCMessage *from_json(const ProtobufCMessageDescriptor *d, const json_t *j,
	const char *path, bool open, struct mt_arena *a, struct mt_diags *diags)
{
	struct mt_arena *scratch = mt_arena_new(0);
	struct mt_node *n = mt_node_from_json(j, scratch, JSON_DEPTH_MAX);
	struct mt_pb_decode dec = { .a = a, .diags = diags, .open = open };
	struct mt_path root = { NULL, path, 0 };
	size_t errors = diags->errors;
	ProtobufCMessage *m = NULL;

	if (!n)
		mt_pb_fault(
			&dec, 0, 0, path ? &root : NULL, "nested deeper than %d", JSON_DEPTH_MAX);
	else
		m = mt_pb_decode(&dec, d, n, path ? &root : NULL);
	mt_arena_free(scratch);
	return diags->errors > errors ? NULL : m;
}

ProtobufCMessage *mt_pb_from_json(const ProtobufCMessageDescriptor *d, const json_t *j,
	const char *path, struct mt_arena *a, struct mt_diags *diags)
{
	return from_json(d, j, path, false, a, diags);
}

ProtobufCMessage *mt_pb_from_json_open(const ProtobufCMessageDescriptor *d, const json_t *j,
	const char *path, struct mt_arena *a, struct mt_diags *diags)
{
	return from_json(d, j, path, true, a, diags);
}

static int type_cmp(const void *key, const void *item)
{
	return strcmp(key, (*(const ProtobufCMessageDescriptor *const *)item)->name);
}

const ProtobufCMessageDescriptor *mt_pb_type(const char *name_or_url)
{
	const char *slash = strrchr(name_or_url, '/');
	const ProtobufCMessageDescriptor *const *found = bsearch(slash ? slash + 1 : name_or_url,
		mt_pb_types, mt_pb_types_n, sizeof(mt_pb_types[0]), type_cmp);

	return found ? *found : NULL;
}

Google__Protobuf__Any *mt_pb_any(struct mt_arena *a, const ProtobufCMessage *m)
{
	Google__Protobuf__Any *any = MT_ANEW(a, Google__Protobuf__Any);

	google__protobuf__any__init(any);
	any->type_url = mt_arena_printf(a, "type.googleapis.com/%s", m->descriptor->name);
	any->value.len = protobuf_c_message_get_packed_size(m);
	any->value.data = mt_arena_alloc(a, any->value.len + 1);
	protobuf_c_message_pack(m, any->value.data);
	return any;
}

ProtobufCMessage *mt_pb_any_unpack(
	const Google__Protobuf__Any *any, struct mt_arena *a, struct mt_err *err)
{
	const ProtobufCMessageDescriptor *d = any->type_url ? mt_pb_type(any->type_url) : NULL;

	if (!d) {
		mt_fail(err, MT_UNSUPPORTED, NULL, "unknown type %s",
			any->type_url ? any->type_url : "");
		return NULL;
	}
	return mt_pb_unpack(d, a, any->value.data, any->value.len, err);
}
